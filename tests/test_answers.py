"""What every implementation must answer, by oracles that share nothing with it: naive loops."""

import hashlib
import math
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

keep_fixture = settings(suppress_health_check=list(HealthCheck))


def naive_pad(
    rows: list[list[int]], target: int | None, fill: int, left: bool, multiple: int | None
) -> list[list[int]]:
    width = max((len(row) for row in rows), default=0) if target is None else target
    if multiple:
        width = math.ceil(width / multiple) * multiple
    padded = []
    for row in rows:
        new = []
        for position in range(width):
            source = position - (width - len(row)) if left else position
            new.append(row[source] if 0 <= source < len(row) else fill)
        padded.append(new)
    return padded


def naive_pack(
    rows: list[list[int]], limit: int, pad: int, eos: int, label_pad: int
) -> dict[str, list[list[int]]]:
    """The loop of Axolotl's `encode_streaming` after tokenizing, token by token."""
    return naive_concatenate(
        [[*row, eos, pad] for row in rows],
        [[*row, eos, label_pad] for row in rows],
        [[1] * (len(row) + 1) + [0] for row in rows],
        limit,
        pad,
        label_pad,
    )


def naive_concatenate(
    ids: list[list[int]],
    labels: list[list[int]],
    masks: list[list[int]],
    limit: int,
    pad: int,
    label_pad: int,
) -> dict[str, list[list[int]]]:
    packed: dict[str, list[list[int]]] = {"input_ids": [], "labels": [], "attention_mask": []}
    columns = ((ids, pad), (labels, label_pad), (masks, 0))
    used = limit  # as if a full row stood before the first
    for i in range(len(ids)):
        if ids[i] and used + len(ids[i]) > limit:
            for rows, (_, fill) in zip(packed.values(), columns, strict=True):
                rows.append([fill] * limit)
            used = 0
        for rows, (column, _) in zip(packed.values(), columns, strict=True):
            for offset, token in enumerate(column[i]):
                rows[-1][used + offset] = token
        used += len(ids[i])
    return packed


def as_lists(result: Any) -> Any:
    if isinstance(result, dict):
        return {name: as_lists(rows) for name, rows in result.items()}
    if isinstance(result, pa.Array):
        return result.to_pylist()
    return result if isinstance(result, list) else result.tolist()


outputs = pytest.mark.parametrize("output", ["lists", "numpy", "arrow"])


@outputs
@keep_fixture
@given(
    rows=strategies.tables,
    extra=st.one_of(st.none(), st.integers(0, 20)),
    left=st.booleans(),
    multiple=st.sampled_from((None, 0, 1, 2, 5, 64)),
)
def test_pad(
    impl: SimpleNamespace,
    output: str,
    rows: list[list[int]],
    extra: int | None,
    left: bool,
    multiple: int | None,
) -> None:
    target = None if extra is None else max(map(len, rows), default=0) + extra
    side = "left" if left else "right"
    found = impl.pad_sequences(rows, target, -7, side, multiple, output=output)
    assert as_lists(found) == naive_pad(rows, target, -7, left, multiple)


@keep_fixture
@given(rows=strategies.tables, target=st.integers(0, 12), left=st.booleans())
def test_truncate_keeps_the_head(
    impl: SimpleNamespace, rows: list[list[int]], target: int, left: bool
) -> None:
    side = "left" if left else "right"
    found = impl.pad_sequences(rows, target, 0, side, truncate=True)
    assert found == naive_pad([row[:target] for row in rows], target, 0, left, None)


@outputs
@keep_fixture
@given(rows=strategies.tables, room=st.integers(2, 40))
def test_pack(impl: SimpleNamespace, output: str, rows: list[list[int]], room: int) -> None:
    limit = max(map(len, rows), default=0) + room
    found = impl.pack_sequences(rows, limit, 0, 2, -100, output=output)
    assert as_lists(found) == naive_pack(rows, limit, 0, 2, -100)


@outputs
@keep_fixture
@given(rows=strategies.tables, room=st.integers(0, 40))
def test_concatenate(impl: SimpleNamespace, output: str, rows: list[list[int]], room: int) -> None:
    limit = max(1, max(map(len, rows), default=0) + room)
    labels = [[token // 2 for token in row] for row in rows]
    masks = [[i % 2 for i in range(len(row))] for row in rows]
    found = impl.concatenate_and_pack(rows, labels, masks, limit, 9, -100, output=output)
    assert as_lists(found) == naive_concatenate(rows, labels, masks, limit, 9, -100)


def test_default_arguments(impl: SimpleNamespace) -> None:
    assert impl.pad_sequences([[1], [2, 3]]) == [[1, 0], [2, 3]]
    packed = impl.pack_sequences([[5]], 4, 0, 2)
    assert packed["labels"] == [[5, 2, -100, -100]]
    assert impl.concatenate_and_pack([[5]], [[6]], [[1]], 2, 0)["labels"] == [[6, -100]]


def test_edges(impl: SimpleNamespace) -> None:
    empty: dict[str, list[Any]] = {"input_ids": [], "labels": [], "attention_mask": []}
    assert impl.pad_sequences([]) == []
    assert impl.pad_sequences([[], []]) == [[], []]
    assert impl.pad_sequences([[]], 2) == [[0, 0]]
    assert impl.pad_sequences([[1, 2, 3]], pad_to_multiple_of=0) == [[1, 2, 3]]
    assert impl.pad_sequences([[1, 2, 3]], 5, pad_to_multiple_of=4) == [[1, 2, 3, 0, 0, 0, 0, 0]]
    # The multiple applies to a width of 3 too, and makes room for a row of 4.
    assert impl.pad_sequences([[1] * 4], 3, pad_to_multiple_of=4) == [[1] * 4]
    assert impl.pack_sequences([], 10, 0, 2) == empty
    assert impl.pack_sequences([[]], 3, 0, 2) == {
        "input_ids": [[2, 0, 0]],
        "labels": [[2, -100, -100]],
        "attention_mask": [[1, 0, 0]],
    }
    assert impl.concatenate_and_pack([], [], [], 10, 0) == empty
    assert impl.concatenate_and_pack([[], []], [[], []], [[], []], 10, 0) == empty
    # A full row, then an empty sequence: no second row.
    full = impl.concatenate_and_pack([[1, 2], []], [[1, 2], []], [[1, 1], []], 2, 0)
    assert full == {"input_ids": [[1, 2]], "labels": [[1, 2]], "attention_mask": [[1, 1]]}
    # Room for exactly one sequence and its ends.
    assert impl.pack_sequences([[1], [2]], 3, 0, 9)["input_ids"] == [[1, 9, 0], [2, 9, 0]]
    assert impl.create_padding_mask(3, 8) == [0, 1, 2, 3, 4]
    assert impl.create_padding_mask(8, 3) == []
    assert impl.create_padding_mask(-2, 1) == [0, 1, 2]
    assert impl.parallel_hash_rows([]) == []
    assert impl.deduplicate_indices([]) == ([], [])


def test_arrays_without_rows(impl: SimpleNamespace) -> None:
    assert impl.pad_sequences([], output="numpy").shape == (0, 0)
    assert impl.pad_sequences([], 5, output="numpy").shape == (0, 5)
    assert impl.pad_sequences([[], []], output="numpy").shape == (2, 0)
    assert impl.pad_sequences([], 5, output="arrow").type == pa.list_(pa.int64(), 5)
    packed = impl.pack_sequences([], 5, 0, 2, output="numpy")
    assert {name: rows.shape for name, rows in packed.items()} == {
        "input_ids": (0, 5),
        "labels": (0, 5),
        "attention_mask": (0, 5),
    }


def test_results_share_no_memory_with_the_input(impl: SimpleNamespace) -> None:
    rows = np.arange(6).reshape(2, 3)
    padded = impl.pad_sequences(rows, output="numpy")
    assert not np.shares_memory(padded, rows)
    padded[0, 0] = 99
    assert rows[0, 0] == 0
    lists = [[1, 2, 3], [4, 5, 6]]
    found = impl.pad_sequences(lists)
    assert found == lists
    assert not {id(row) for row in found} & {id(row) for row in lists}
    packed = impl.pack_sequences([[1, 2]], 4, 0, 9, output="numpy")
    for name, rows in packed.items():
        for other, others in packed.items():
            assert name == other or not np.shares_memory(rows, others)


def test_the_very_objects_come_back(impl: SimpleNamespace) -> None:
    big, odd, fill = 10**40, strategies.Int(5), 3 * 10**40
    rows = [[big, odd, True], [None, "text"]]
    padded = impl.pad_sequences(rows, 4, fill)
    assert [list(map(id, row)) for row in padded] == [
        [id(big), id(odd), id(True), id(fill)],
        [id(None), id(rows[1][1]), id(fill), id(fill)],
    ]
    packed = impl.pack_sequences(rows, 5, pad_token_id=fill, eos_token_id=odd, label_pad_id=big)
    assert all(x is y for x, y in zip(packed["input_ids"][0], [*rows[0], odd, fill], strict=True))
    assert all(x is y for x, y in zip(packed["labels"][0], [*rows[0], odd, big], strict=True))


@keep_fixture
@given(rows=st.one_of(strategies.text_columns, strategies.bytes_columns))
def test_hashes(impl: SimpleNamespace, rows: list[Any]) -> None:
    expected = [
        hashlib.sha256(row if isinstance(row, bytes) else row.encode()).hexdigest() for row in rows
    ]
    assert impl.parallel_hash_rows(rows) == expected
    indices, hashes = impl.deduplicate_indices(rows, expected[1:2])
    first: dict[str, int] = {}
    for i, digest in enumerate(expected):
        first.setdefault(digest, i)
    kept = [i for digest, i in first.items() if digest not in expected[1:2]]
    assert indices == sorted(kept)
    assert hashes == [expected[i] for i in indices]


def test_known_digests(impl: SimpleNamespace) -> None:
    # The examples of FIPS 180-2.
    assert impl.parallel_hash_rows(
        ["abc", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "a" * 1_000_000, ""]
    ) == [
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ]


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_many_hashes_of_every_length(impl: SimpleNamespace, threads: int) -> None:
    # Enough for every lane and every thread, with lengths that never pair up.
    draw = random.Random(threads)
    rows = [draw.randbytes(n % 700) for n in range(20_000)]
    expected = [hashlib.sha256(row).hexdigest() for row in rows]
    assert impl.parallel_hash_rows(rows, threads) == expected
    text = [row.hex() for row in rows]
    expected = [hashlib.sha256(row.encode()).hexdigest() for row in text]
    assert impl.parallel_hash_rows(text, threads) == expected
    indices, hashes = impl.deduplicate_indices(text + text, None, threads)
    assert [expected[i] for i in indices] == hashes == list(dict.fromkeys(expected))


def test_existing_hashes_stay_as_they_are(impl: SimpleNamespace) -> None:
    existing = set(impl.parallel_hash_rows(["a"]))
    before = set(existing)
    assert impl.deduplicate_indices(["a", "b"], existing)[0] == [1]
    assert existing == before


def test_large_tables(impl: SimpleNamespace) -> None:
    draw = random.Random(7)
    rows = [[draw.randrange(2**40) for _ in range(draw.randrange(120))] for _ in range(3_000)]
    assert impl.pad_sequences(rows) == naive_pad(rows, None, 0, False, None)
    expected = naive_pack(rows, 512, 0, 2, -100)
    assert impl.pack_sequences(rows, 512, 0, 2) == expected
    found = impl.pack_sequences(rows, 512, 0, 2, output="numpy")
    assert as_lists(found) == expected
    masks = [[1] * len(row) for row in rows]
    joined = impl.concatenate_and_pack(rows, rows, masks, 512, 0)
    assert joined == naive_concatenate(rows, rows, masks, 512, 0, -100)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("width", [1, 63, 64, 65, 99, 123, 124, 130, 200])
def test_batches_of_every_shape(impl: SimpleNamespace, width: int, left: bool) -> None:
    draw = random.Random(width)
    for count in (1, 7, 8, 15, 22, 64):
        rows = [[draw.randrange(5000) for _ in range(draw.randint(0, width))] for _ in range(count)]
        side = "left" if left else "right"
        padded = impl.pad_sequences(rows, width, 7000, side)
        assert padded == naive_pad(rows, width, 7000, left, None)
        for row in padded:
            # Lists like any other: they grow, shrink and are copied.
            expected = [*row, *range(9)]
            row.extend(range(9))
            assert row == expected == row.copy()
            del row[width // 2 :]
            assert row == expected[: width // 2]


def test_extension_types_are_what_they_are_made_of(impl: SimpleNamespace) -> None:
    texts = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["1", "[]"]))
    assert impl.parallel_hash_rows(texts) == impl.parallel_hash_rows(["1", "[]"])
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(6).reshape(2, 3))
    assert impl.pad_sequences(tensors, 4) == [[0, 1, 2, 0], [3, 4, 5, 0]]
    flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([0, 1, 7], pa.int8()))
    for lists in (
        pa.ListArray.from_arrays(pa.array([0, 1, 3], pa.int32()), flags),
        pa.LargeListArray.from_arrays(pa.array([0, 1, 3], pa.int64()), flags),
    ):
        assert impl.pad_sequences(lists) == [[0, 0], [1, 7]]
    assert impl.pad_sequences(pa.FixedSizeListArray.from_arrays(flags, 3)) == [[0, 1, 7]]


def test_arrow_without_rows_may_be_without_offsets(impl: SimpleNamespace) -> None:
    for kind in (pa.list_(pa.int64()), pa.large_list(pa.int64())):
        none = pa.Array.from_buffers(kind, 0, [None, None], children=[pa.array([], pa.int64())])
        chunks = pa.chunked_array([none, pa.array([[1], [2, 3]], kind), none])
        assert impl.pad_sequences(none) == []
        assert impl.pad_sequences(none, output="numpy").shape == (0, 0)
        assert impl.pad_sequences(chunks) == [[1, 0], [2, 3]]
        assert impl.pack_sequences(chunks, 4, 0, 9)["input_ids"] == [[1, 9, 0, 0], [2, 3, 9, 0]]
