"""Packing sequences into rows of one length."""

from . import reference
from ._native import dispatched

__all__ = ["concatenate_and_pack", "pack_sequences"]

concatenate_and_pack = dispatched(reference.concatenate_and_pack, __name__)
pack_sequences = dispatched(reference.pack_sequences, __name__)
