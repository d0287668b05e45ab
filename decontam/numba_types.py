"""Array types for kernel signatures: inputs are read-only (Arrow and memory-mapped buffers are), outputs are not."""

from __future__ import annotations

from numba import types


def read_only(item: types.Type) -> types.Array:
    """A one-dimensional contiguous input."""
    return types.Array(item, 1, "C", readonly=True)


def writable(item: types.Type) -> types.Array:
    """A one-dimensional contiguous output."""
    return types.Array(item, 1, "C")
