"""Padding: Rust and the public functions against the Python originals."""

from types import SimpleNamespace
from typing import Any

import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parity import OUTPUTS, assert_same

keep_fixture = settings(suppress_health_check=list(HealthCheck))


def every_layout_and_output(
    subject: SimpleNamespace, table: list[list[Any]], options: dict[str, Any]
) -> None:
    before = [list(map(id, row)) for row in table]
    for layout in strategies.layouts(table):
        for output in OUTPUTS:
            assert_same(
                subject,
                "pad_sequences",
                lambda layout=layout, output=output: (  # type: ignore[misc]
                    (layout.make(),),
                    {**options, "output": output},
                ),
                shares=layout.shares,
            )
    assert [list(map(id, row)) for row in table] == before


@keep_fixture
@given(
    table=strategies.tables,
    target=st.one_of(st.none(), st.integers(0, 40)),
    fill=st.sampled_from((0, -100, 257, 2**63 - 1)),
    side=st.sampled_from(("right", "left")),
    multiple=st.sampled_from((None, 0, 1, 3, 8)),
    truncate=st.booleans(),
)
def test_every_layout(
    rust: SimpleNamespace,
    table: list[list[Any]],
    target: int | None,
    fill: int,
    side: str,
    multiple: int | None,
    truncate: bool,
) -> None:
    options = {
        "target_length": target,
        "pad_value": fill,
        "padding_side": side,
        "pad_to_multiple_of": multiple,
        "truncate": truncate,
    }
    every_layout_and_output(rust, table, options)


@keep_fixture
@given(
    table=strategies.odd_tables,
    fill=strategies.fills,
    side=st.sampled_from(("right", "left")),
    truncate=st.booleans(),
    target=st.one_of(st.none(), st.integers(0, 12)),
)
def test_odd_tokens(
    rust: SimpleNamespace,
    table: list[list[Any]],
    fill: Any,
    side: str,
    truncate: bool,
    target: int | None,
) -> None:
    options = {
        "target_length": target,
        "pad_value": fill,
        "padding_side": side,
        "truncate": truncate,
    }
    every_layout_and_output(rust, table, options)


@keep_fixture
@given(
    table=st.one_of(strategies.tables, strategies.odd_tables),
    target=strategies.lengths,
    fill=strategies.fills,
    side=strategies.sides,
    multiple=strategies.multiples,
    truncate=strategies.flags,
    output=st.one_of(st.sampled_from(OUTPUTS), strategies.bad_outputs),
)
def test_odd_arguments(
    subject: SimpleNamespace,
    table: list[list[Any]],
    target: Any,
    fill: Any,
    side: Any,
    multiple: Any,
    truncate: Any,
    output: Any,
) -> None:
    for layout in strategies.layouts(table):
        assert_same(
            subject,
            "pad_sequences",
            lambda layout=layout: (  # type: ignore[misc]
                (layout.make(), target, fill, side, multiple),
                {"truncate": truncate, "output": output},
            ),
            shares=layout.shares,
        )


@keep_fixture
@given(current=strategies.lengths, target=strategies.lengths, near=st.integers(0, 300))
def test_create_padding_mask(
    subject: SimpleNamespace, current: Any, target: Any, near: int
) -> None:
    for args in ((current, target), (current, near), (near, target), (0, near), (near, near + 7)):
        assert_same(subject, "create_padding_mask", lambda args=args: (args, {}))  # type: ignore[misc]
