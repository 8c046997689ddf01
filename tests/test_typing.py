"""The types that users see: checked against the extension, and strict."""

import inspect
import subprocess
import sys
from pathlib import Path

import implementations
import pytest
from mypy import api

import fast_axolotl
from fast_axolotl import reference

ROOT = Path(__file__).parent.parent
FUNCTIONS = implementations.FUNCTIONS


def test_the_stub_is_the_extension(rust: object) -> None:
    del rust
    config = str(ROOT / "pyproject.toml")
    run = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "fast_axolotl._core", "--mypy-config-file", config],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_package_is_typed_strictly() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "mypy"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


USER = """
from typing import Any, assert_type
import fast_axolotl as f

padded = f.pad_sequences([[1, 2], [3]], target_length=4, truncate=True, output="numpy")
assert_type(f.pack_sequences([[1]], 4, 0, 2)["labels"], Any)
assert_type(f.create_padding_mask(1, 2), list[int])
assert_type(f.parallel_hash_rows(["a"]), list[str])
assert_type(f.deduplicate_indices(["a"], existing_hashes={"b"}), tuple[list[int], list[str]])
assert_type(f.RUST_AVAILABLE, bool)
assert_type(f.get_version(), str)
f.pad_sequences([[1]], padding_side=3)
f.pack_sequences([[1]], "4", 0, 2)
f.parallel_hash_rows(["a"], threads=2)
"""


def test_a_user_gets_types(tmp_path: Path) -> None:
    """From the installed package, through py.typed: right calls pass, wrong ones are found."""
    user = tmp_path / "user.py"
    user.write_text(USER)
    out, _, _ = api.run(["--strict", "--python-version", "3.12", str(user)])
    wrong = {line.split(":")[1] for line in out.splitlines() if ": error:" in line}
    first = USER[: USER.index("f.pad_sequences([[1]], padding_side")].count("\n") + 1
    assert wrong == {str(first), str(first + 1), str(first + 2)}, out


@pytest.mark.skipif(implementations.WITHOUT_RUST, reason="FAST_AXOLOTL_DISABLE_RUST=1")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures(name: str) -> None:
    """Names, kinds and defaults are the original's, on every side."""
    from fast_axolotl import _core

    original = inspect.signature(getattr(reference, name))
    for function in (getattr(_core, name), getattr(fast_axolotl, name)):
        found = inspect.signature(function)
        assert [(p.name, p.kind, p.default) for p in found.parameters.values()] == [
            (p.name, p.kind, p.default) for p in original.parameters.values()
        ]
        assert function.__name__ == name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_are_documented(name: str) -> None:
    public = getattr(fast_axolotl, name)
    assert inspect.getdoc(public) == inspect.getdoc(getattr(reference, name))
    assert public.__name__ == name
    assert public.__module__.startswith("fast_axolotl.")


def test_public_names() -> None:
    assert sorted(fast_axolotl.__all__) == fast_axolotl.__all__
    assert all(hasattr(fast_axolotl, name) for name in fast_axolotl.__all__)
    assert set(FUNCTIONS) <= set(fast_axolotl.__all__)
