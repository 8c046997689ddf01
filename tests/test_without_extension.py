"""The package without its extension, and without the libraries that it does not need."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fast_axolotl

PACKAGE = Path(fast_axolotl.__file__).parent
ANSWERS = """
import hashlib
import fast_axolotl as f
assert f.pad_sequences([[1, 2], [3]], pad_to_multiple_of=4) == [[1, 2, 0, 0], [3, 0, 0, 0]]
assert f.pack_sequences([[1, 2], [3]], 8, 0, 9)["input_ids"] == [[1, 2, 9, 0, 3, 9, 0, 0]]
assert f.concatenate_and_pack([[1]], [[2]], [[1]], 2, 0)["labels"] == [[2, -100]]
assert f.create_padding_mask(3, 5) == [0, 1]
assert f.parallel_hash_rows(["a"]) == [hashlib.sha256(b"a").hexdigest()]
assert f.deduplicate_indices(["a", "b", "a"])[0] == [0, 1]
try:
    f.pad_sequences([[1, 2]], 1)
except ValueError as error:
    assert "sequences[0] has length 2" in str(error)
else:
    raise SystemExit("no error")
"""
WITHOUT = """
import fast_axolotl
from fast_axolotl import reference
assert fast_axolotl.RUST_AVAILABLE is False
assert fast_axolotl.is_available() is False
assert fast_axolotl.__version__ in fast_axolotl.get_version()
assert "not available" in fast_axolotl.get_version()
for name in reference.__all__:
    assert getattr(fast_axolotl, name) is getattr(reference, name), name
"""
REASON = """
import sys
from fast_axolotl import _native
python = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
assert f"has no extension for {python}: install" in _native.UNAVAILABLE, _native.UNAVAILABLE
"""


def run(code: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        cwd=environment.get("PYTHONPATH"),
    )
    assert done.returncode == 0, done.stderr


def test_switched_off() -> None:
    run(WITHOUT + ANSWERS, FAST_AXOLOTL_DISABLE_RUST="1")


def test_not_there(tmp_path: Path) -> None:
    """A copy of the package that holds no extension, as on a platform without a wheel."""
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "*.dylib", "__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "fast_axolotl", ignore=ignored)
    where = f"import fast_axolotl; assert fast_axolotl.__file__.startswith({str(tmp_path)!r})\n"
    code = where + WITHOUT + ANSWERS + REASON
    run(code, PYTHONPATH=str(tmp_path), FAST_AXOLOTL_DISABLE_RUST="0")


def test_in_an_archive(tmp_path: Path) -> None:
    """Where no file of the package has a path that can be opened."""
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "*.dylib", "__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "copy" / "fast_axolotl", ignore=ignored)
    archive = shutil.make_archive(str(tmp_path / "package"), "zip", tmp_path / "copy")
    where = f"import sys; sys.path.insert(0, {archive!r})\n"
    report = """
assert "package.zip" in fast_axolotl.__file__
assert fast_axolotl.explain("pad", rows=8, length=8).winner == "python"
import runpy
sys.argv = ["fast-axolotl", "doctor"]
runpy.run_module("fast_axolotl", run_name="__main__")
"""
    run(where + WITHOUT + ANSWERS + report, FAST_AXOLOTL_DISABLE_RUST="0")


@pytest.mark.parametrize("disabled", ["0", "1"])
@pytest.mark.parametrize(
    ("library", "output"), [("numpy", "numpy"), ("torch", "torch"), ("pyarrow", "arrow")]
)
def test_a_library_is_missing(library: str, output: str, disabled: str) -> None:
    """An output names what to install; everything else works."""
    if disabled == "1" or not fast_axolotl.RUST_AVAILABLE:
        disabled = "1"
    code = f"""
import sys
sys.modules[{library!r}] = None
import fast_axolotl as f
for call in (
    lambda: f.pad_sequences([[1]], output={output!r}),
    lambda: f.pack_sequences([[1]], 4, 0, 2, output={output!r}),
    lambda: f.concatenate_and_pack([[1]], [[1]], [[1]], 4, 0, output={output!r}),
):
    try:
        call()
    except ImportError as error:
        assert str(error) == (
            "output={output!r} needs {library}, which is not installed: pip install {library}"
        ), error
    else:
        raise SystemExit("no error")
assert f.pad_sequences([(1,), [2, 3]]) == [[1, 0], [2, 3]]
try:
    f.pad_sequences([object()])
except TypeError:
    pass
"""
    run(code + ANSWERS, FAST_AXOLOTL_DISABLE_RUST=disabled)


@pytest.mark.skipif(not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension")
@pytest.mark.parametrize(
    ("library", "expression", "what"),
    [
        ("pyarrow", "reader.schema", "the schema of a reader"),
        ("pyarrow", "reader.read_all()", "a table"),
        ("pyarrow", "f.open_dataset('rows.csv', filters=[('a', '>', 1)])", "filters="),
        ("datasets", "reader.to_dataset()", "a Dataset"),
        ("datasets", "reader.to_iterable_dataset()", "an IterableDataset"),
        (
            "datasets",
            "f.open_dataset('rows.csv', thousands='.')",
            "{folder}/rows.csv: this option, or this schema,",
        ),
    ],
)
def test_a_reader_without_a_library(
    library: str, expression: str, what: str, tmp_path: Path
) -> None:
    """What needs a library says so; batches, dicts and columns need none."""
    what = what.replace("{folder}", str(tmp_path))
    code = f"""
import os, sys
os.chdir({str(tmp_path)!r})
sys.modules[{library!r}] = None
import fast_axolotl as f
with open("rows.csv", "w") as file:
    file.write("a\\n1\\n2\\n")
reader = f.open_dataset("rows.csv")
try:
    {expression}
except (ImportError, ValueError) as error:
    wanted = {what!r} + " needs {library}, which is not installed: pip install {library}"
    assert str(error) == wanted, error
else:
    raise SystemExit("no error")
assert [batch.num_rows for batch in reader] == [2]
if {library!r} == "pyarrow":
    assert list(map(repr, reader)) == ["<Batch of 2 rows: a>"]
assert list(reader.dicts()) == [{{"a": [1, 2]}}]
assert reader.to_pydict() == {{"a": [1, 2]}}
"""
    run(code)


def test_arrow_without_pyarrow(rust: object) -> None:
    """Rust reads the capsules of any library by itself; Python says what it needs."""
    del rust
    pytest.importorskip("arro3.core")
    code = """
import sys
import arro3.core
import struct
import fast_axolotl as f
from fast_axolotl import _core, reference
texts = arro3.core.Array(["a", "b"], arro3.core.DataType.string())
assert "pyarrow" not in sys.modules
sys.modules["pyarrow"] = None
assert _core.parallel_hash_rows(texts) == _core.parallel_hash_rows(["a", "b"])
try:
    reference.parallel_hash_rows(texts)
except ImportError as error:
    expected = "rows is an Arrow array: install pyarrow (pip install pyarrow) to read it"
    assert str(error) == expected, error
else:
    raise SystemExit("no error")
"""
    run(code)


def test_rust_cannot_be_lost_by_chance() -> None:
    """Where this suite runs without Rust, somebody asked for it."""
    asked = os.environ.get("FAST_AXOLOTL_DISABLE_RUST") == "1"
    assert fast_axolotl.RUST_AVAILABLE is not asked
