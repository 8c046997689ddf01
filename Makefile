# make run, make test: a fresh clone needs Rust, CPython 3.10 to 3.13 and a package index.
# PYTHON=... chooses the interpreter, WORKERS=... the number of test processes.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

# `python3` where it is one of ours, else the newest that is.
PYTHON ?= $(shell python3 -c 'import sys; v = sys.version_info[:2]; \
	(3, 10) <= v <= (3, 13) and print(sys.executable)' 2>/dev/null | grep . || tools/pythons | tail -n 1)
WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin
RUST := $(shell find src Cargo.toml Cargo.lock build.rs rustfmt.toml -type f -not -path '*/target/*')
PACKAGE := $(shell find fast_axolotl -name '*.py' -o -name '*.pyi' -o -name '*.json' -o -name '*.yaml')
# The same examples in every run; what the suite itself warns about is an error.
PYTEST := $(BIN)/pytest -q -n $(WORKERS) --dist worksteal
PARITY_CALLS := 100000

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help
help: ## Show the targets.
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

# --- Environments --------------------------------------------------------------------------------

$(VENV)/tools: pyproject.toml
	@test -n "$(PYTHON)" || { echo "no CPython 3.10 to 3.13 found; set PYTHON=..." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip 'maturin>=1.9,<2'
	$(BIN)/python -m pip install --quiet --group lint --group test --group docs
	@touch $@

$(VENV)/built: export VIRTUAL_ENV = $(CURDIR)/$(VENV)
$(VENV)/built: $(VENV)/tools $(RUST)
	$(BIN)/maturin develop --release --quiet
	@touch $@

.PHONY: build
build: $(VENV)/built ## Build the extension and install the package, editable, into .venv.

# --- Use -----------------------------------------------------------------------------------------

.venv-run/installed: pyproject.toml README.md $(RUST) $(PACKAGE)
	@test -n "$(PYTHON)" || { echo "no CPython 3.10 to 3.13 found; set PYTHON=..." >&2; exit 1; }
	"$(PYTHON)" -m venv .venv-run
	.venv-run/bin/python -m pip install --quiet --upgrade pip
	.venv-run/bin/python -m pip install '.[demo]'
	@touch $@

.PHONY: run
run: .venv-run/installed ## Build the wheel, install it into .venv-run, run `fast-axolotl demo`.
	.venv-run/bin/fast-axolotl demo

# --- Checks --------------------------------------------------------------------------------------

.PHONY: test
test: lint rust-test python-test ## Everything that must pass: lint, types, docs, Rust and Python tests.

.PHONY: lint
lint: export PYO3_PYTHON = $(CURDIR)/$(BIN)/python
lint: build ## Formats, lints, types (stubs included), workflows, docs.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest fast_axolotl._core --ignore-disjoint-bases
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/mkdocs build --strict --quiet

.PHONY: rust-test
rust-test: build ## Test the crates that know no Python.
	if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace --exclude fast-axolotl --locked --no-fail-fast \
			--status-level fail; \
	else cargo test --workspace --exclude fast-axolotl --locked --no-fail-fast; fi

COMPAT := build/compat/fast_axolotl-0.2.0
$(COMPAT): | $(VENV)/tools
	mkdir -p build/compat
	$(BIN)/python -m pip download --quiet --no-deps --no-build-isolation --no-binary fast-axolotl \
		--dest build/compat fast-axolotl==0.2.0
	tar -xzf build/compat/fast_axolotl-0.2.0.tar.gz -C build/compat

.PHONY: python-test
python-test: build $(COMPAT) ## Test the package with the extension, and with it disabled.
	$(PYTEST) --min-parity-calls $(PARITY_CALLS)
	FAST_AXOLOTL_DISABLE_RUST=1 $(PYTEST)

.PHONY: soak
soak: build ## A million parity calls on examples that were not drawn before.
	$(PYTEST) --hypothesis-profile soak --min-parity-calls 1000000 tests/test_parity_*.py

.PHONY: fuzz
fuzz: build ## Read 100,000 damaged files of all formats; what it finds is in build/fuzz.
	$(BIN)/python tests/reader/fuzz.py --inputs 100000

.PHONY: matrix
matrix: $(VENV)/tools ## Build and test the wheel on every CPython 3.10 to 3.13 found.
	found=$$(tools/pythons); test -n "$$found"; \
	for python in $$found; do tools/test_wheel "$$python" "$(BIN)/maturin" "$(WORKERS)"; done

.PHONY: sanitize
sanitize: build ## Kernels under Miri, the extension with its checks on and under AddressSanitizer.
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/sanitize.sh

# --- Axolotl -------------------------------------------------------------------------------------

# An environment of several gigabytes: outside the repository, once for each list of packages.
AXOLOTL_PACKAGES := tools/axolotl-packages.txt
AXOLOTL_ENV ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fast-axolotl/axolotl-env-$(shell \
	{ cat $(AXOLOTL_PACKAGES); "$(PYTHON)" -V; } 2>/dev/null | cksum | cut -d' ' -f1)
AXOLOTL_BIN := $(AXOLOTL_ENV)/bin
AXOLOTL_PYTEST := FAST_AXOLOTL_REQUIRE_AXOLOTL=1 $(AXOLOTL_BIN)/python -m pytest -q -p no:anyio
AXOLOTL_WORKERS ?= 2

$(AXOLOTL_ENV)/stamp: $(AXOLOTL_PACKAGES)
	@test -n "$(PYTHON)" || { echo "no CPython 3.10 to 3.13 found; set PYTHON=..." >&2; exit 1; }
	"$(PYTHON)" -m venv "$(AXOLOTL_ENV)"
	$(AXOLOTL_BIN)/python -m pip install --quiet --upgrade pip
	$(AXOLOTL_BIN)/python -m pip install --quiet $$(sed -n '1,/^# no-deps/{/^[^#]/p}' $<)
	$(AXOLOTL_BIN)/python -m pip install --quiet --no-deps $$(sed -n '/^# no-deps/,$${/^[^#]/p}' $<)
	@touch $@

.PHONY: axolotl-env
axolotl-env: build $(AXOLOTL_ENV)/stamp ## The environment with Axolotl, outside the repository, and our wheel in it.
	rm -rf build/axolotl-wheel
	$(BIN)/maturin build --release --quiet --out build/axolotl-wheel --interpreter $(AXOLOTL_BIN)/python
	$(AXOLOTL_BIN)/python -m pip install --quiet --force-reinstall --no-deps build/axolotl-wheel/*.whl

# Away from the sources: the installed wheel is what is tested.
.PHONY: axolotl-copy
axolotl-copy: axolotl-env
	rm -rf build/axolotl-tests && mkdir -p build/axolotl-tests
	cp -r tests benches pyproject.toml build/axolotl-tests/

.PHONY: axolotl-test
axolotl-test: axolotl-copy ## The shim against the real Axolotl, and what makes tensors where torch is installed.
	cd build/axolotl-tests && $(AXOLOTL_PYTEST) -n $(AXOLOTL_WORKERS) --dist loadfile \
		--ignore tests/with_axolotl/test_conformance.py tests/with_axolotl tests/test_shim.py \
		tests/test_parity_pack.py tests/test_parity_pad.py tests/reader/test_datasets.py

.PHONY: axolotl-conformance
axolotl-conformance: axolotl-copy ## Axolotl's commands, stock and ours side by side, over a matrix of configurations.
	cd build/axolotl-tests && $(AXOLOTL_PYTEST) tests/with_axolotl/test_conformance.py

AXOLOTL_SDIST := build/axolotl-sdist/axolotl-0.16.1
$(AXOLOTL_SDIST): | $(AXOLOTL_ENV)/stamp
	mkdir -p build/axolotl-sdist
	$(AXOLOTL_BIN)/python -m pip download --quiet --no-deps --no-binary axolotl \
		--dest build/axolotl-sdist axolotl==0.16.1
	tar -xzf build/axolotl-sdist/axolotl-0.16.1.tar.gz -C build/axolotl-sdist

.PHONY: axolotl-own-tests
axolotl-own-tests: axolotl-env $(AXOLOTL_SDIST) ## Axolotl's own tests of its data modules, stock and in every mode.
	tools/axolotl_own_tests $(AXOLOTL_BIN)/python $(AXOLOTL_SDIST)

.PHONY: axolotl-versions
axolotl-versions: axolotl-copy ## What differs between versions of Axolotl, in the older ones.
	tools/axolotl_versions $(AXOLOTL_BIN)/python build/axolotl-tests/tests/with_axolotl build/axolotl-versions

.PHONY: run-axolotl
run-axolotl: axolotl-env ## `axolotl preprocess` of rows made from docstrings, stock and ours side by side.
	tools/run_axolotl $(AXOLOTL_BIN) 5000 20000

.PHONY: compat-020
compat-020: build $(COMPAT) ## Run the test file of the published 0.2.0, unmodified, against this package.
	$(BIN)/pytest -q tests/test_compat_020.py

.PHONY: bench
bench: build ## Measure the speed table; writes benches/results/core.{json,md}.
	$(BIN)/python benches/core.py

.PHONY: docs
docs: build ## Build the documentation into site/.
	$(BIN)/mkdocs build --strict

.PHONY: clean
clean: ## Remove what was built.
	rm -rf .venv .venv-run .venv-matrix .venv-sanitize build dist site
	cargo clean
