"""The compiled pass that hashes normalised paragraphs. Importing this module loads (the first time: compiles) the kernel."""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from pipeline.kernels import mix

_CODEPOINTS = types.Array(types.uint32, 1, "C", readonly=True)
_NUMBERS = types.Array(types.int64, 1, "C", readonly=True)
_SALTS = types.Array(types.uint64, 1, "C", readonly=True)


@numba.njit(types.void(_CODEPOINTS, _NUMBERS, _SALTS, types.uint64[::1]), cache=True, nogil=True)
def hash_codepoints(codepoints: np.ndarray, offsets: np.ndarray, salts: np.ndarray, hashes: np.ndarray) -> None:
    """Fill `hashes`, one per text: of its code points and its salt. Text i is codepoints[offsets[i]:offsets[i + 1]]."""
    for text in range(len(salts)):
        start, end = offsets[text], offsets[text + 1]
        value = mix(salts[text] + np.uint64(end - start))
        for position in range(start, end - 1, 2):
            value = mix(value + (np.uint64(codepoints[position]) << np.uint64(32) | np.uint64(codepoints[position + 1])))
        if (end - start) & 1:
            value = mix(value + np.uint64(codepoints[end - 1]))
        hashes[text] = value
