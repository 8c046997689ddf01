"""Damaged files: all rows before the damage, unchanged, then an error with file and place."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fast_axolotl
from fast_axolotl.streaming import DamagedFileError, ReaderError, TooLargeError

from . import fuzz

pytestmark = pytest.mark.skipif(
    not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension"
)

ROWS = [{"a": i, "s": f"row {i} é", "l": [i, None]} for i in range(60)]
TABLE = pa.Table.from_pylist(ROWS)


def read(path: Path, **options: Any) -> tuple[list[dict[str, Any]], Exception | None]:
    rows: list[dict[str, Any]] = []
    try:
        for batch in fast_axolotl.open_dataset(path, batch_size=7, **options):
            batch.validate(full=True)
            rows.extend(batch.to_pylist())
    except (ReaderError, OSError) as error:
        return rows, error
    return rows, None


def stream(table: Any, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as out:
        out.write_table(table, max_chunksize=5)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def spoil(path: Path, group: int, column: int) -> None:
    """Overwrite the middle of a column in a row group of Parquet."""
    chunk = pq.ParquetFile(path).metadata.row_group(group).column(column)
    data = bytearray(path.read_bytes())
    middle = chunk.data_page_offset + chunk.total_compressed_size // 2
    data[middle : middle + 900] = b"\xff" * 900
    path.write_bytes(data)


def lines() -> bytes:
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_stream_cut_anywhere(tmp_path: Path, threads: int) -> None:
    path = tmp_path / "cut.arrows"
    whole = stream(TABLE)
    for end in range(0, len(whole) - 8, 37):
        path.write_bytes(whole[:end])
        rows, error = read(path, num_threads=threads)
        assert rows == ROWS[: len(rows)]
        # A cut between two messages can't be told from the end.
        if len(rows) % 5:
            assert error is not None
        if error is not None:
            assert "cut.arrows" in str(error)


def test_a_file_without_its_footer(tmp_path: Path) -> None:
    path = tmp_path / "cut.arrow"
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, TABLE.schema) as out:
        out.write_table(TABLE, max_chunksize=5)
    path.write_bytes(sink.getvalue().to_pybytes()[:-20])
    rows, error = read(path)
    assert rows == ROWS
    assert isinstance(error, DamagedFileError)
    assert "footer" in str(error)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_damaged_page_of_parquet(tmp_path: Path, threads: int) -> None:
    path = tmp_path / "page.parquet"
    table = pa.table({"a": range(20_000), "s": [f"row {i}" for i in range(20_000)]})
    pq.write_table(
        table,
        path,
        row_group_size=5000,
        data_page_size=2000,
        use_dictionary=False,
        compression="snappy",
    )
    spoil(path, 2, 1)
    rows, error = read(path, num_threads=threads)
    assert rows == table.slice(0, len(rows)).to_pylist()
    # The rows of the pages before the damage, not of whole batches or row groups.
    assert len(rows) > 11_000
    assert isinstance(error, DamagedFileError)
    assert error.row == len(rows)
    assert error.column == "s"
    assert "page.parquet" in str(error)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_damaged_page_among_many_columns(tmp_path: Path, threads: int) -> None:
    """A few of them are decoded together: the damage is that of one."""
    path = tmp_path / "wide.parquet"
    table = pa.table({f"c{number}": range(number, number + 2000) for number in range(200)})
    pq.write_table(
        table,
        path,
        data_page_size=1000,
        write_batch_size=100,
        use_dictionary=False,
        compression="gzip",
    )
    spoil(path, 0, 71)
    rows, error = read(path, num_threads=threads)
    assert rows == table.slice(0, len(rows)).to_pylist()
    assert len(rows) > 300
    assert isinstance(error, DamagedFileError)
    assert (error.row, error.column) == (len(rows), "c71")
    asked = ["c199", "c3", "c72", "c70"] + [f"c{number}" for number in range(100, 199)]
    others = fast_axolotl.open_dataset(path, columns=asked, num_threads=threads)
    assert pa.table(others).equals(table.select(asked))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_row_group_that_begins_inside_a_row(tmp_path: Path, version: str) -> None:
    """By a damaged repetition level: the row before it is the last of another row group."""
    path = tmp_path / "levels.parquet"
    lists = [[i] * (i % 3 + 1) for i in range(48)]
    table = pa.table({"l": lists, "n": [[[i], [i, i]][: i % 3] for i in range(48)]})
    pq.write_table(
        table,
        path,
        row_group_size=16,
        use_dictionary=False,
        compression="none",
        data_page_version=version,
        write_statistics=False,
    )
    whole, metadata = path.read_bytes(), pq.read_metadata(path)
    damaged = 0
    for number in range(2):
        column = metadata.row_group(1).column(number)
        # The levels come first, behind a short header.
        for place in range(column.data_page_offset, column.data_page_offset + 70):
            for bit in (0, 1, 7):
                data = bytearray(whole)
                data[place] ^= 1 << bit
                path.write_bytes(data)
                rows, error = read(path)
                assert rows[:16] == table.slice(0, 16).to_pylist(), (number, place, bit)
                damaged += "begins a page inside a row" in str(error)
    assert damaged >= 2


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_group_with_other_rows_than_it_says(tmp_path: Path, threads: int) -> None:
    """Its rows are not taken from the next one, nor given to it."""
    path = tmp_path / "count.parquet"
    lists = [[i, i] for i in range(48)]
    pq.write_table(
        pa.table({"l": lists}), path, row_group_size=16, use_dictionary=False, compression="none"
    )
    column = pq.read_metadata(path).row_group(1).column(0)
    data = path.read_bytes()
    start = column.data_page_offset
    # Levels 0, 1, 0, 1...: one bit less and there is a row more, one more and there is a row less.
    levels = data.index(b"\xaa" * 4, start)
    for packed in (0x2A, 0xEA):
        path.write_bytes(data[:levels] + bytes([packed]) + data[levels + 1 :])
        rows, error = read(path, num_threads=threads)
        assert [row["l"] for row in rows[:16]] == lists[:16]
        assert len(rows) <= 32
        assert isinstance(error, DamagedFileError)
        assert "row group 1 has" in str(error)
        assert error.column == "l"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("said", [0, 59, 61])
def test_a_footer_with_other_rows_than_its_row_groups(
    tmp_path: Path, said: int, threads: int
) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE, path)
    data = path.read_bytes()
    # Thrift: field 3, num_rows, a zigzag number of one byte; then field 4, a list of one row group.
    field = b"\x16%c\x19\x1c"
    assert data.count(field % (2 * 60)) == 1
    path.write_bytes(data.replace(field % (2 * 60), field % (2 * said)))
    rows, error = read(path, num_threads=threads)
    assert rows == ROWS
    assert isinstance(error, DamagedFileError)
    assert f"the file says it has {said} rows, its row groups 60" in str(error)
    assert fast_axolotl.open_dataset(path).num_rows is None


@pytest.mark.parametrize("threads", [1, 2])
def test_gzip_cut_anywhere(tmp_path: Path, threads: int) -> None:
    path = tmp_path / "cut.jsonl.gz"
    whole = gzip.compress(lines(), mtime=0)
    for end in range(20, len(whole), 61):
        path.write_bytes(whole[:end])
        rows, error = read(path, num_threads=threads)
        assert rows == ROWS[: len(rows)]
        assert error is not None, end
        assert "cut.jsonl.gz" in str(error)


def test_compressed_twice(tmp_path: Path) -> None:
    path = tmp_path / "twice.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.compress(lines())))
    rows, error = read(path)
    assert rows == []
    assert isinstance(error, DamagedFileError)


def test_text_that_is_no_utf8_in_arrow(tmp_path: Path) -> None:
    path = tmp_path / "text.arrows"
    whole = stream(TABLE)
    path.write_bytes(whole.replace("row 12 é".encode(), b"row 12 \xff\xff"))
    rows, error = read(path)
    assert rows == ROWS[:10]
    assert isinstance(error, DamagedFileError)
    assert error.row == 12
    assert error.column == "s"


def test_lying_lengths(tmp_path: Path) -> None:
    path = tmp_path / "lie.arrows"
    whole = bytearray(stream(TABLE, "zstd"))
    frame = whole.index(b"\x28\xb5\x2f\xfd")
    whole[frame - 8 : frame] = (1 << 40).to_bytes(8, "little")
    path.write_bytes(whole)
    rows, error = read(path)
    assert rows == []
    assert isinstance(error, (DamagedFileError, TooLargeError))


# What `make fuzz` has found: a NUL in a message, a time that Python has not, rows before a wrong
# checksum, an error without a file, headers that are skipped for ever, a decimal of no digits.
FINDS = [1508, 6843, 73, 184, 6205, 14189, 51070, 57629, 57791]


def test_mutated_files(tmp_path: Path) -> None:
    """A few of the inputs that `make fuzz` reads, and those that it found something with."""
    found = fuzz.seeds(tmp_path)
    for number in [*range(300), *FINDS]:
        name, data, seed = fuzz.mutated(found, number)
        (tmp_path / name).write_bytes(data)
        fuzz.read(tmp_path / name, number, seed)
