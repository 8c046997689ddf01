"""Padding rows to one width."""

from . import reference
from ._native import dispatched

__all__ = ["create_padding_mask", "pad_sequences"]

create_padding_mask = dispatched(reference.create_padding_mask, __name__)
pad_sequences = dispatched(reference.pad_sequences, __name__)
