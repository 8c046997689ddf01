#!/usr/bin/env bash
# Runs the core under what finds undefined behaviour; docs/testing.md says what each part can see.
#
#   tests/sanitize.sh [checked] [miri] [address]     all three without arguments
#
# A part whose tools are not installed is skipped and says so; SANITIZE_STRICT=1 makes that an error.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-python}
tests=()
for name in parity_pad parity_pack parity_hash answers bad_input reentrancy; do
    tests+=("$root/tests/test_$name.py")
done
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

skip() {
    echo "sanitize: skipped $1: $2"
    [ -z "${SANITIZE_STRICT:-}" ] || exit 1
}

# A copy of the package with the extension given, ahead of the installed one.
package() {
    mkdir -p "$work/$1"
    cp -r fast_axolotl "$work/$1/"
    rm -f "$work/$1"/fast_axolotl/_core*.so
    cp "$2" "$work/$1/fast_axolotl/_core$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')"
}

# With the copy first on sys.path, also of processes that tests start: the checkout's own extension
# would be found.
run_tests() {
    cd "$work/$1"
    export PYTHONPATH=$PWD
    "$python" -c "import fast_axolotl._core as c; assert c.__file__.startswith('$work/$1'), c.__file__"
    "$python" -m pytest -q -p no:cacheprovider -c "$root/pyproject.toml" --rootdir "$root" \
        --hypothesis-profile=sanitize "${@:2}"
    cd "$root"
    unset PYTHONPATH
}

checked() {
    echo "sanitize: every assertion and overflow check on"
    PYO3_PYTHON=$(command -v "$python") cargo build --lib --profile checked
    cargo test --profile checked -p fast-axolotl-kernels -p fast-axolotl-rowtext
    package checked "$target/checked/lib_core.so"
    run_tests checked "${tests[@]}"
}

miri() {
    if ! cargo +nightly miri --version > /dev/null 2>&1; then
        skip miri "rustup component add --toolchain nightly miri rust-src"
        return
    fi
    echo "sanitize: the kernels in Miri"
    # Five tests hash so much that Miri would take hours.
    # rayon's queues are sound by tree borrows only, and its pool outlives the process.
    PROPTEST_CASES=${PROPTEST_CASES:-4} \
        MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-tree-borrows -Zmiri-ignore-leaks" \
        CARGO_TARGET_DIR="$target/miri-kernels" \
        cargo +nightly miri test --lib -p fast-axolotl-kernels -- \
        --skip every_thread_count --skip every_length --skip every_number --skip stopping_ends \
        --skip long_work_stops
}

address() {
    local host runtime
    host=$(rustc +nightly -vV 2> /dev/null | sed -n 's/^host: //p') || true
    runtime=$(gcc -print-file-name=libasan.so 2> /dev/null) || true
    if [ -z "$host" ] || [ ! -e "$runtime" ]; then
        skip address "needs a nightly toolchain, and gcc with libasan"
        return
    fi
    echo "sanitize: AddressSanitizer over the kernels and the text of rows"
    CARGO_TARGET_DIR="$target/address-kernels" RUSTFLAGS="-Zsanitizer=address" \
        cargo +nightly test --lib --target "$host" -p fast-axolotl-kernels -p fast-axolotl-rowtext
    echo "sanitize: AddressSanitizer over the extension"
    # The runtime comes first with LD_PRELOAD, since python itself has none.
    PYO3_PYTHON=$(command -v "$python") CARGO_TARGET_DIR="$target/address" \
        RUSTFLAGS="-Zsanitizer=address -Zexternal-clangrt" \
        cargo +nightly build --lib --profile checked --target "$host"
    package address "$target/address/$host/checked/lib_core.so"
    LD_PRELOAD="$runtime" ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
        PYTHONMALLOC=malloc run_tests address "${tests[@]}"
}

parts=("$@")
[ "${#parts[@]}" -gt 0 ] || parts=(checked miri address)
for part in "${parts[@]}"; do
    case $part in
        checked | miri | address) "$part" ;;
        *) echo "sanitize: no part named $part" >&2 && exit 2 ;;
    esac
done
