"""The compiled pass that lays out encoded documents as a shard has them. Importing this module loads (the first time: compiles) it."""

from __future__ import annotations

import numba
import numpy as np
from numba import types

_IDS = types.Array(types.uint32, 1, "C", readonly=True)
_NUMBERS = types.Array(types.int64, 1, "C", readonly=True)


@numba.njit(types.void(_IDS, _NUMBERS, _NUMBERS, types.int64, types.int32[::1]), cache=True, nogil=True)
def lay_out(ids: np.ndarray, offsets: np.ndarray, rows: np.ndarray, closing: int, out: np.ndarray) -> None:
    """Copy the ids of the documents `rows` to `out`, one after the other, each followed by `closing` unless that is negative.

    Document i is ids[offsets[i]:offsets[i + 1]]; `out` has exactly the room that this takes.
    """
    written = 0
    for row in rows:
        for place in range(offsets[row], offsets[row + 1]):
            out[written] = np.int32(ids[place])
            written += 1
        if closing >= 0:
            out[written] = np.int32(closing)
            written += 1
