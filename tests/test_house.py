"""Rules of the house that no compiler and no linter checks."""

import re
from pathlib import Path

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # CPython 3.10; pytest needs it there
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.rs"))

# Each is made for its unsafe code; there is none anywhere else.
UNSAFE = {
    "src/kernels/lent.rs": "work that outlives no call, on threads that do",
    "src/kernels/prefetch.rs": "an instruction that takes any address",
    "src/kernels/sha256/four.rs": "the SHA instructions of the CPU, four messages at a time",
    "src/kernels/sha256/lanes.rs": "the SHA instructions of the CPU",
    "src/py/arrow_capsule.rs": "the structs of the Arrow C data interface",
    "src/py/fastcall.rs": "vectors of arguments",
    "src/py/fresh_array.rs": "the memory of an array just made",
    "src/py/integer_buffer.rs": "the memory of NumPy arrays",
    "src/py/interpreter.rs": "the context and the collector",
    "src/py/list_emitter.rs": "the insides of lists",
    "src/py/small_ints.rs": "the digits of ints",
    "src/reader/columnar/utf8.rs": "strings made of checked binaries",
    "src/reader/joined.rs": "strings joined of strings",
    "src/reader/mapped.rs": "files mapped into memory",
    "src/reader/texts.rs": "strings made of texts",
    "src/py/text.rs": "the bytes of str and bytes objects",
    "src/reader/json/find.rs": "the vector instructions of the CPU",
    "src/rowtext/integers/eight.rs": "the vector instructions of the CPU",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code_of(path: Path) -> list[str]:
    """The lines of a file, without what is in comments and strings."""
    lines = path.read_text().splitlines()
    return [re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//")[0] for line in lines]


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 10


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_unsafe_is_where_it_belongs(path: Path) -> None:
    text = path.read_text()
    has_unsafe = any(re.search(r"\bunsafe\b", line) for line in code_of(path))
    allows = "allow(unsafe_code)" in text
    assert allows == (relative(path) in UNSAFE), "tests/test_house.py lists these files"
    if has_unsafe:
        assert allows
    if allows:
        assert has_unsafe, "allowed, and not needed"
        head = text[: text.index("allow(unsafe_code)")]
        assert head.endswith("#!["), "allowed for the module, at its head"
        assert head.startswith("//!"), "says what it is made for"


@pytest.mark.parametrize("path", [p for p in SOURCES if relative(p) in UNSAFE], ids=relative)
def test_every_unsafe_block_says_why(path: Path) -> None:
    lines = path.read_text().splitlines()
    code = code_of(path)
    for number, line in enumerate(code):
        if re.search(r"\bunsafe (fn|extern)\b", line) and "type " not in line:
            # What its callers promise; a pointer to one promises nothing by itself.
            if re.search(r"\bfn \w+", line):
                doc = "\n".join(lines[max(0, number - 25) : number])
                assert "# Safety" in doc, f"{relative(path)}:{number + 1}"
            continue
        if not re.search(r"\bunsafe\s*(\{|$|impl)", line):
            continue
        # The comment stands right above the statement, which may begin some lines before the block.
        above = "\n".join(lines[max(0, number - 8) : number + 1])
        assert "SAFETY:" in above, f"{relative(path)}:{number + 1}: {line.strip()}"


def test_kernels_never_see_python() -> None:
    manifest = tomllib.loads((ROOT / "src/kernels/Cargo.toml").read_text())
    named = {*manifest.get("dependencies", {}), *manifest.get("target", {})}
    assert not {name for name in named if "py" in name or "arrow" in name or "numpy" in name}
    for path in SOURCES:
        if relative(path).startswith("src/kernels/"):
            assert not re.search(r"\b(pyo3|Python|PyAny|PyErr)\b", "\n".join(code_of(path))), path


def test_lints_stay_on() -> None:
    lints = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["lints"]
    assert lints["rust"]["unsafe_code"] == "deny"
    assert {"undocumented_unsafe_blocks", "unwrap_used", "expect_used"} <= set(lints["clippy"])
    manifests = [ROOT / "Cargo.toml", *sorted(ROOT.glob("src/*/Cargo.toml"))]
    assert len(manifests) == 4
    for manifest in manifests:
        assert tomllib.loads(manifest.read_text())["lints"] == {"workspace": True}


def test_a_panic_unwinds() -> None:
    profiles = tomllib.loads((ROOT / "Cargo.toml").read_text())["profile"]
    assert profiles["release"]["panic"] == "unwind"
    assert all(profile.get("panic", "unwind") == "unwind" for profile in profiles.values())


def test_versions_are_one() -> None:
    import fast_axolotl

    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    assert cargo["workspace"]["package"]["version"] == fast_axolotl.__version__
    if fast_axolotl.RUST_AVAILABLE:
        from fast_axolotl import _core

        assert _core.__version__ == fast_axolotl.__version__
