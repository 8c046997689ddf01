"""What must be read of a damaged file, found without our reader."""

import contextlib
import io
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

Rows = list[dict[str, Any]]


class Seed(NamedTuple):
    """A sound file: its rows, and where they end."""

    name: str
    data: bytes
    rows: Rows
    #: Of each row, the byte of the content (decompressed, if it is text) behind the last it needs.
    ends: list[int]
    #: Bytes that must be unchanged for any row to be readable: those before this one.
    head: int = 0
    #: And those from this one on.
    tail: int | None = None


def seed(name: str, data: bytes, rows: Rows) -> Seed:
    """Return the seed of a file with these rows."""
    kind = kind_of(name)
    if kind == "parquet":
        return _parquet(name, data, rows)
    if kind in ("arrow", "arrows"):
        return _arrow(name, data, rows)
    text = content(data)[0]
    if kind == "jsonl":
        return Seed(name, data, rows, _ends_of_lines(text))
    if kind == "json":
        return Seed(name, data, rows, _ends_of_items(text.decode()))
    if kind == "txt":
        lines = [{"text": line} for line in text.decode().split("\n")[:-1]]
        return Seed(name, data, lines, _ends_of_lines(text))
    # Every other line feed is within quotes.
    ends = _ends_of_lines(text)
    separator = b"\t" if kind == "tsv" else b","
    first, *_ = text.split(b"\n", 1)
    assert first == separator.join((b"i", b"s", b"f"))
    flat = [
        {"i": row.get("i", 1), "s": f'{row["s"]}{separator.decode()} "q"\n', "f": number / 7}
        for number, row in enumerate(rows)
    ]
    return Seed(name, data, flat, ends[2::2], head=ends[0])


def kind_of(name: str) -> str:
    """Return the ending of a name, without that of a compression."""
    return name.removesuffix(".gz").removesuffix(".zst").rsplit(".", 1)[-1]


def content(data: bytes) -> tuple[bytes, bool]:
    """Return what is in a file, decompressed up to the damage, and whether that is all."""
    if data.startswith(b"\x1f\x8b"):
        return _gunzip(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return _unzstd(data)
    return data, True


def _gunzip(data: bytes) -> tuple[bytes, bool]:
    out = b""
    while data.startswith(b"\x1f\x8b"):
        decoder = zlib.decompressobj(31)
        # A byte at a time: what comes before the damage is wanted.
        for place in range(len(data)):
            try:
                out += decoder.decompress(data[place : place + 1])
            except zlib.error:
                return out, False
            if decoder.eof:
                break
        if not decoder.eof:
            return out, False
        data = data[place + 1 :].lstrip(b"\0")
    return out, not data


def _unzstd(data: bytes) -> tuple[bytes, bool]:
    import zstandard

    out = b""
    while data.startswith(b"\x28\xb5\x2f\xfd"):
        decoder = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        try:
            out += decoder.decompress(data)
        except zstandard.ZstdError:
            return out, False
        if not decoder.eof:
            return out, False
        data = decoder.unused_data
    return out, not data


def _ends_of_lines(text: bytes) -> list[int]:
    return [place + 1 for place, byte in enumerate(text) if byte == 10]


def _ends_of_items(text: str) -> list[int]:
    decoder, place, ends = json.JSONDecoder(), 1, []
    while text[place:].strip() != "]":
        place += len(text[place:]) - len(text[place:].lstrip(" \n,"))
        _, place = decoder.raw_decode(text, place)
        # With what follows it: a comma, or the bracket.
        place += len(text[place:]) - len(text[place:].lstrip(" \n")) + 1
        ends.append(len(text[:place].encode()))
        if text[place - 1] == "]":
            break
    return ends


def _parquet(name: str, data: bytes, rows: Rows) -> Seed:
    metadata = pq.read_metadata(io.BytesIO(data))
    ends = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(index) for index in range(group.num_columns)]
        end = max(
            (column.dictionary_page_offset or column.data_page_offset)
            + column.total_compressed_size
            for column in columns
        )
        ends += [end] * group.num_rows
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return Seed(name, data, rows, ends, head=4, tail=footer)


def _arrow(name: str, data: bytes, rows: Rows) -> Seed:
    ends: list[int] = []
    head = 0
    is_file = data.startswith(b"ARROW1")
    source = pa.BufferReader(data)
    if is_file:
        source.seek(8)
    reader = pa.ipc.MessageReader.open_stream(source)
    with contextlib.suppress(StopIteration):
        for message in reader:
            if message.type == "record batch":
                ends += [source.tell()] * 16
            elif not ends:
                head = source.tell()
    del ends[len(rows) :]
    footer = len(data) - 10 - int.from_bytes(data[-10:-6], "little") if is_file else None
    return Seed(name, data, rows, ends, head, footer)


def check(seed: Seed, path: Path, rows: Rows, error: Exception | None) -> None:
    """Raise an AssertionError where rows were lost or changed.

    `rows` are those that our reader gave of the file that the seed was made to, before `error`.
    """
    if error is not None and "NUL character" in str(error):
        return  # Such a name can't be passed on, nor any row under it.
    data = path.read_bytes()
    whole = True
    expected = (
        seed.rows[: _unchanged(seed, data)] if kind_of(path.name) == kind_of(seed.name) else []
    )
    is_text = kind_of(seed.name) not in ("parquet", "arrow", "arrows")
    if is_text:
        text, whole = content(data)
    for number, (found, wanted) in enumerate(zip(rows, expected, strict=False)):
        # A name that the damage gave a column is there, too.
        assert all(_same(found.get(name), value) for name, value in wanted.items()), (
            f"row {number} was {wanted}, is {found} ({error})"
        )
    assert len(rows) >= len(expected), f"{len(rows)} rows of {len(expected)} before: {error}"
    if error is not None:
        return
    assert whole, "ended without an error, and there is more"
    if is_text and kind_of(path.name) == kind_of(seed.name):
        if data[:2] == text[:2] or not text.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
            _count_text(kind_of(seed.name), text, rows)
    elif not is_text:
        _count_columnar(data, rows)


def _unchanged(seed: Seed, data: bytes) -> int:
    """Rows that lie before the damage."""
    if kind_of(seed.name) in ("parquet", "arrow", "arrows"):
        before, after = seed.data, data
        if data.startswith(b"\x1f\x8b"):
            after = content(data)[0]
        if (
            seed.tail is not None
            and before[seed.tail :] != after[len(after) - (len(before) - seed.tail) :]
        ):
            return 0
    else:
        before, after = content(seed.data)[0], content(data)[0]
    place = len(before)
    if before[:place] != after[:place]:
        place = next(
            index
            for index in range(len(before))
            if index >= len(after) or before[index] != after[index]
        )
    if place < seed.head:
        return 0
    return sum(end <= place for end in seed.ends)


def _same(found: Any, wanted: Any) -> bool:
    """Whether values are the same, in whatever type the column has now."""
    if found == wanted:
        return True
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(_same(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(found, str) and not isinstance(wanted, str):
        with contextlib.suppress(ValueError):
            return _same(json.loads(found), wanted)
        return found == str(wanted)
    if isinstance(found, str) and isinstance(wanted, str):
        with contextlib.suppress(ValueError):
            return bool(json.loads(found) == wanted)
    return False


def _count_text(kind: str, text: bytes, rows: Rows) -> None:
    if kind == "txt":
        lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        count = lines.count(b"\n") + (not lines.endswith(b"\n") and lines != b"")
    elif kind in ("json", "jsonl"):
        try:
            count = _count_json(text.decode("utf-8-sig"))
        except ValueError:
            return
    else:
        return
    assert len(rows) == count, f"{len(rows)} rows without an error, {count} are there"


def _count_json(text: str) -> int:
    """Return the number of objects, one after the other or in an array."""
    decoder, place, count = json.JSONDecoder(), 0, 0
    # A value may go on behind a line feed, and another may follow on the same line.
    while text[place:].strip(" \t\r\n"):
        rest = text[place:]
        value, place = decoder.raw_decode(text, place + len(rest) - len(rest.lstrip(" \t\r\n")))
        count += len(value) if isinstance(value, list) else 1
    return count


def _count_columnar(data: bytes, rows: Rows) -> None:
    readers = (
        lambda: pq.read_metadata(io.BytesIO(data)).num_rows,
        lambda: pa.ipc.open_file(data).read_all().num_rows,
        lambda: pa.ipc.open_stream(data).read_all().num_rows,
    )
    for read in readers:
        with contextlib.suppress(pa.ArrowException, OSError, ValueError, NotImplementedError):
            count = read()
            assert len(rows) == count, f"{len(rows)} rows without an error, {count} are there"
            return
