"""Hashing and deduplication: Rust and the public functions against the Python originals."""

import hashlib
from types import SimpleNamespace
from typing import Any

import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parity import assert_same

keep_fixture = settings(suppress_health_check=list(HealthCheck))
columns = st.one_of(strategies.text_columns, strategies.bytes_columns, strategies.odd_columns)


def known_hashes(rows: list[Any]) -> list[str]:
    texts = [row for row in rows if type(row) is str and strategies._encodes(row)]
    return [hashlib.sha256(row.encode()).hexdigest() for row in texts[::2]]


@keep_fixture
@given(rows=columns, threads=st.sampled_from((0, 1, 2, 3)))
def test_hashes(rust: SimpleNamespace, rows: list[Any], threads: int) -> None:
    for layout in strategies.text_layouts(rows):
        for count in (threads, 1):
            assert_same(
                rust,
                "parallel_hash_rows",
                lambda layout=layout, count=count: ((layout.make(),), {"num_threads": count}),  # type: ignore[misc]
            )


@keep_fixture
@given(rows=columns, data=st.data(), threads=st.sampled_from((0, 1, 2, 3)))
def test_deduplicate(
    rust: SimpleNamespace, rows: list[Any], data: st.DataObject, threads: int
) -> None:
    existing = data.draw(strategies.existing_hashes(known_hashes(rows)))
    for layout in strategies.text_layouts(rows):
        for made in (existing, lambda: None):
            assert_same(
                rust,
                "deduplicate_indices",
                lambda layout=layout, made=made: ((layout.make(), made(), threads), {}),  # type: ignore[misc]
            )


@keep_fixture
@given(
    rows=columns,
    threads=strategies.thread_counts,
    whole=st.one_of(
        st.none(),
        st.sampled_from((None, 5, "text", b"text", {"a": 1}, {"a"}, object(), iter("ab"))),
    ),
)
def test_odd_arguments(subject: SimpleNamespace, rows: list[Any], threads: Any, whole: Any) -> None:
    held = rows if whole is None else whole
    assert_same(subject, "parallel_hash_rows", lambda: ((held, threads), {}))
    assert_same(subject, "parallel_hash_rows", lambda: ((), {"rows": held}))
    assert_same(subject, "deduplicate_indices", lambda: ((held, None, threads), {}))
    assert_same(
        subject,
        "deduplicate_indices",
        lambda: ((held,), {"num_threads": threads, "existing_hashes": rows}),
    )
