"""Packing: Rust and the public functions against the Python originals."""

from types import SimpleNamespace
from typing import Any

import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parity import OUTPUTS, assert_same

keep_fixture = settings(suppress_health_check=list(HealthCheck))
limits = st.one_of(st.integers(1, 30), st.sampled_from((64, 512, 600)))


def fitting(table: list[list[Any]], limit: int) -> int:
    """A limit that the longest row fits in, nine times out of ten."""
    longest = max(map(len, table), default=0) + 2
    return limit if limit % 10 == 0 else max(limit, longest)


@keep_fixture
@given(
    table=strategies.tables,
    limit=limits,
    pad=st.sampled_from((0, 257)),
    eos=st.sampled_from((2, 50256)),
    label_pad=st.sampled_from((-100, 0)),
)
def test_every_layout(
    rust: SimpleNamespace,
    table: list[list[Any]],
    limit: int,
    pad: int,
    eos: int,
    label_pad: int,
) -> None:
    before = [list(map(id, row)) for row in table]
    limit = fitting(table, limit)
    for layout in strategies.layouts(table):
        for output in OUTPUTS:
            assert_same(
                rust,
                "pack_sequences",
                lambda layout=layout, output=output: (  # type: ignore[misc]
                    (layout.make(), limit, pad, eos, label_pad),
                    {"output": output},
                ),
                shares=layout.shares,
            )
    assert [list(map(id, row)) for row in table] == before


@keep_fixture
@given(
    table=strategies.odd_tables,
    limit=limits,
    pad=strategies.fills,
    eos=strategies.fills,
    label_pad=strategies.fills,
)
def test_odd_tokens(
    rust: SimpleNamespace, table: list[list[Any]], limit: int, pad: Any, eos: Any, label_pad: Any
) -> None:
    limit = fitting(table, limit)
    for layout in strategies.layouts(table):
        for output in OUTPUTS:
            assert_same(
                rust,
                "pack_sequences",
                lambda layout=layout, output=output: (  # type: ignore[misc]
                    (layout.make(), limit, pad, eos),
                    {"label_pad_id": label_pad, "output": output},
                ),
                shares=layout.shares,
            )


@keep_fixture
@given(
    table=st.one_of(strategies.tables, strategies.odd_tables),
    limit=strategies.lengths,
    pad=strategies.fills,
    eos=strategies.fills,
    label_pad=strategies.fills,
    output=st.one_of(st.sampled_from(OUTPUTS), strategies.bad_outputs),
)
def test_odd_arguments(
    subject: SimpleNamespace,
    table: list[list[Any]],
    limit: Any,
    pad: Any,
    eos: Any,
    label_pad: Any,
    output: Any,
) -> None:
    for layout in strategies.layouts(table):
        assert_same(
            subject,
            "pack_sequences",
            lambda layout=layout: (  # type: ignore[misc]
                (layout.make(), limit, pad, eos, label_pad),
                {"output": output},
            ),
            shares=layout.shares,
        )


def columns_of(table: list[list[Any]], salt: int) -> tuple[list[list[Any]], list[list[Any]]]:
    """Labels and masks that go with `table`: other tokens, the same lengths."""
    labels = [[-100 if (i + salt) % 3 else token for i, token in enumerate(row)] for row in table]
    masks = [[(i + salt) % 2 for i in range(len(row))] for row in table]
    return labels, masks


@keep_fixture
@given(
    table=st.one_of(strategies.tables, strategies.odd_tables),
    limit=limits,
    salt=st.integers(0, 5),
    pad=st.sampled_from((0, 257)),
    label_pad=st.sampled_from((-100, 300)),
)
def test_three_columns(
    rust: SimpleNamespace,
    table: list[list[Any]],
    limit: int,
    salt: int,
    pad: int,
    label_pad: int,
) -> None:
    labels, masks = columns_of(table, salt)
    limit = fitting(table, limit)
    ids_layouts = strategies.layouts(table)
    labels_layouts = strategies.layouts(labels)
    masks_layouts = strategies.layouts(masks)
    for i, ids in enumerate(ids_layouts):
        # The same layout for all three, and three that differ.
        same = {layout.name: layout for layout in labels_layouts}.get(ids.name, labels_layouts[0])
        same_mask = {layout.name: layout for layout in masks_layouts}.get(
            ids.name, masks_layouts[0]
        )
        other = labels_layouts[(i + salt) % len(labels_layouts)]
        other_mask = masks_layouts[(i * 3 + salt) % len(masks_layouts)]
        for partner, mask in ((same, same_mask), (other, other_mask)):
            for output in OUTPUTS:
                assert_same(
                    rust,
                    "concatenate_and_pack",
                    lambda ids=ids, partner=partner, mask=mask, output=output: (  # type: ignore[misc]
                        (ids.make(), partner.make(), mask.make(), limit, pad),
                        {"label_pad_id": label_pad, "output": output},
                    ),
                    shares=ids.shares and partner.shares and mask.shares,
                )


@keep_fixture
@given(
    table=strategies.odd_tables,
    labels=strategies.odd_tables,
    masks=strategies.tables,
    follow=st.booleans(),
    limit=strategies.lengths,
    pad=strategies.fills,
    label_pad=strategies.fills,
    output=st.one_of(st.sampled_from(OUTPUTS), strategies.bad_outputs),
)
def test_odd_columns(
    rust: SimpleNamespace,
    table: list[list[Any]],
    labels: list[list[Any]],
    masks: list[list[Any]],
    follow: bool,
    limit: Any,
    pad: Any,
    label_pad: Any,
    output: Any,
) -> None:
    if follow:  # one ragged row, or one row missing
        partner, mask = columns_of(table, 1)
        labels = [*partner[:-1], *labels[:1]]
        masks = mask if len(masks) % 2 else [*mask[:-1], *masks[:1]]
    for ids in strategies.layouts(table):
        assert_same(
            rust,
            "concatenate_and_pack",
            lambda ids=ids: (  # type: ignore[misc]
                (ids.make(), labels, masks, limit, pad, label_pad),
                {"output": output},
            ),
            shares=ids.shares,
        )
