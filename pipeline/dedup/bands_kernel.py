"""The keys of a sketch's bands: a 64-bit hash of the band's number and of its slots in order."""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from pipeline.kernels import mix


@numba.njit(types.void(types.Array(types.uint32, 2, "C", readonly=True), types.int64, types.uint64[:, ::1]), cache=True, nogil=True)
def write_band_keys(signatures: np.ndarray, rows: int, keys: np.ndarray) -> None:
    """Fill `keys` (uint64[n, bands]) from `signatures` (uint32[n, slots], slots >= bands * rows)."""
    for document in range(len(signatures)):
        for band in range(keys.shape[1]):
            key = mix(np.uint64(band + 1))
            for slot in range(band * rows, (band + 1) * rows):
                key = mix(key ^ np.uint64(signatures[document, slot]))
            keys[document, band] = key
