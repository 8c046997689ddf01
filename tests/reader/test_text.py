"""Text files: the rows of `datasets`, which are those of Python's text files."""

import gzip
import lzma
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fast_axolotl
from fast_axolotl.streaming import DamagedFileError, SchemaError, TooLargeError

from .by_builder import before_error, same, theirs, unknown_compressions


def ours(path: Path, **options: Any) -> pa.Table:
    return fast_axolotl.open_dataset(path, **options).read_all()


def written(folder: Path, content: "bytes | str", name: str = "x.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


LABELS = datasets.Features({"text": datasets.ClassLabel(names=["x", "y"])})


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("a\nb\nc\n", {}),
        ("a\nb\n\nc", {}),
        ("\n", {}),
        ("a\rb\r", {}),
        ("a\r\nb\r\r\nc\n\r", {}),
        ("a\x0bb\x0cc\x1cd\x85e\u2028f\n", {}),
        ("a\0b\nc\n", {}),
        ("\ufeffa\nb\n", {}),
        ("a\r\nb\rc", {"keep_linebreaks": True}),
        ("a\n\n\n\n", {"keep_linebreaks": True}),
        ("p1 l1\np1 l2\n\np2\n\n\n\np3\n", {"sample_by": "paragraph"}),
        ("p1\n\n\np2\r\n\r\np3\r\rp4\n\n\n", {"sample_by": "paragraph"}),
        ("\n\n\n", {"sample_by": "paragraph"}),
        ("a\r\nb\n", {"sample_by": "document"}),
        ("", {"sample_by": "document"}),
        (b"ok\ncaf\xe9\n", {"encoding_errors": "replace"}),
        (b"ok\ncaf\xe9\n\xff\xfe", {"encoding_errors": "ignore"}),
        (b"caf\xe9\x85\n", {"encoding": "latin-1"}),
        (b"\xef\xbb\xbfa\n", {"encoding": "utf-8-sig"}),
        ("é\r\nb\n".encode("utf-16"), {"encoding": "utf-16"}),
        ("é\r\nb\n".encode("utf-16-be"), {"encoding": "utf-16-be"}),
        # These are decoded by Python itself.
        ("日本\nb\n".encode("shift-jis"), {"encoding": "shift-jis"}),
        (b"ok\ncaf\xe9\n", {"encoding_errors": "backslashreplace"}),
        # These are made by `datasets`.
        ("x\ny\nx\n", {"features": LABELS}),
    ],
)
def test_the_rows_of_datasets(
    tmp_path: Path, content: "bytes | str", options: dict[str, Any]
) -> None:
    path = written(tmp_path, content)
    same(ours(path, **options), theirs("text", path, **options))


TEXTS = st.lists(
    st.sampled_from(
        ["\n", "\n\n", "\r", "\r\n", "a", "é", "😀", " ", "\0", "\x0b", "\x85", "\u2028"]
    ),
    max_size=40,
).map("".join)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, st.sampled_from(["line", "paragraph", "document"]), st.booleans(), st.integers(1, 9))
def test_random_text(tmp_path: Path, text: str, by: str, ends: bool, chunk: int) -> None:
    path = written(tmp_path, text)
    options = {"sample_by": by, "keep_linebreaks": ends}
    found = ours(path, batch_size=3, **options)
    try:
        expected = theirs("text", path, chunksize=chunk, **options)
    except IndexError:  # no row at all
        assert found.num_rows == 0
        return
    same(found, expected)


LINES = "".join(f"line {index} 😀 with some more text\r\n" for index in range(60_000))


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("batch_size", [1000, 7, 100_000])
def test_many_blocks(tmp_path: Path, num_threads: int, batch_size: int) -> None:
    path = written(tmp_path, LINES)
    batches = list(fast_axolotl.open_dataset(path, batch_size=batch_size, num_threads=num_threads))
    assert {batch.num_rows for batch in batches[:-1]} <= {batch_size}
    same(pa.Table.from_batches(batches), theirs("text", path))
    zipped = written(tmp_path, gzip.compress(LINES.encode()), "x.txt.gz")
    same(ours(zipped, num_threads=num_threads), theirs("text", path))


def test_many_paragraphs(tmp_path: Path) -> None:
    path = written(tmp_path, LINES.replace("9 😀", "\n\n\n"))
    same(ours(path, sample_by="paragraph"), theirs("text", path, sample_by="paragraph"))


def test_against_load_dataset(tmp_path: Path) -> None:
    path = written(tmp_path, "a\r\nb\n\nc")
    expected = datasets.load_dataset(
        "text", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    reader = fast_axolotl.open_dataset(path)
    assert datasets.Features.from_arrow_schema(reader.schema) == expected.features
    assert reader.read_all().to_pylist() == list(expected)


def test_a_given_schema(tmp_path: Path) -> None:
    path = written(tmp_path, "1\n2\n")
    schema = pa.schema({"n": pa.int32()})
    assert ours(path, schema=schema).to_pydict() == {"n": [1, 2]}
    with pytest.raises(ValueError, match="x"):
        ours(written(tmp_path, "x\n", "y.txt"), schema=schema)


def test_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "a\n")
    assert ours(path, columns=["text"]).to_pydict() == {"text": ["a"]}
    with pytest.raises(ValueError, match="z"):
        ours(path, columns=["z"])


class TestDamage:
    def test_not_utf8(self, tmp_path: Path) -> None:
        path = written(tmp_path, b"ok\ncaf\xe9\nmore\n")
        batches = iter(fast_axolotl.open_dataset(path, batch_size=1))
        assert next(batches).to_pydict() == {"text": ["ok"]}
        with pytest.raises(DamagedFileError) as raised:
            next(batches)
        for piece in (str(path), "line 2", "row 1", "byte 6", "0xe9", "invalid continuation byte"):
            assert piece in str(raised.value)

    def test_truncated_gzip(self, tmp_path: Path) -> None:
        data = gzip.compress(LINES.encode())
        path = written(tmp_path, data[: len(data) // 2], "x.txt.gz")
        seen, error = before_error(path)
        assert "truncated" in str(error)
        rows = [row for batch in seen for row in batch.column(0).to_pylist()]
        assert len(rows) > 10_000
        assert rows == LINES.split("\r\n")[: len(rows)]

    def test_empty(self, tmp_path: Path) -> None:
        path = written(tmp_path, "")
        for options in ({}, {"encoding": "koi8-r"}, {"encoding": "utf-16"}):
            assert ours(path, **options).to_pydict() == {"text": []}

    def test_utf_16_without_a_mark(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a\n".encode("utf-16-le"))
        with pytest.raises(UnicodeError, match="BOM"):
            theirs("text", path, encoding="utf-16")
        with pytest.raises(DamagedFileError, match="without a mark"):
            ours(path, encoding="utf-16")

    @pytest.mark.parametrize("encoding", ["utf-8", "koi8-r"])
    def test_compressions(self, tmp_path: Path, encoding: str) -> None:
        data = "я\nb\n".encode(encoding)
        xz = written(tmp_path, lzma.compress(data), "x.txt.xz")
        assert ours(xz, encoding=encoding).to_pydict() == {"text": ["я", "b"]}
        for name, compressed in unknown_compressions(data).items():
            path = written(tmp_path, compressed, f"x.txt.{name}")
            for format_ in ("text", None):
                with pytest.raises(DamagedFileError, match=f"{name}, which is not supported"):
                    ours(path, format=format_, encoding=encoding)

    def test_labels(self, tmp_path: Path) -> None:
        path = written(tmp_path, "x\nz\n")
        with pytest.raises(SchemaError, match="label z"):
            ours(path, features=LABELS)

    def test_an_endless_line(self, tmp_path: Path) -> None:
        path = tmp_path / "x.txt.gz"
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(b"first\n")
            for _ in range(600):
                file.write(b"x" * (1 << 20))
        with pytest.raises(TooLargeError, match="longer than"):
            ours(path)

    def test_options(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a\n")
        with pytest.raises(ValueError, match="sample_by"):
            ours(path, sample_by="word")
        with pytest.raises(ValueError, match="linebreaks"):
            ours(path, linebreaks=True)
