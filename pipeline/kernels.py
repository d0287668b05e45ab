"""What several kernels of the pipeline share. (decontam has its own: it imports nothing of ours.)"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

_SHIFT = np.uint64(33)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)


@numba.njit(types.uint64(types.uint64), cache=True, nogil=True, inline="always")
def mix(value: np.uint64) -> np.uint64:
    """MurmurHash3's finaliser: a bijection of 64-bit integers in which every input bit changes every output bit half of the time."""
    value ^= value >> _SHIFT
    value *= _MIX_1
    value ^= value >> _SHIFT
    value *= _MIX_2
    value ^= value >> _SHIFT
    return value
