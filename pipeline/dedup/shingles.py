"""Shingles: the overlapping pieces of a normalised text whose set stands for the document when documents are compared.

A shingle starts at every character and is the shortest run of whole characters of at least `shingle_bytes` UTF-8 bytes. Bytes, because they
nearly equalise the two languages: Korean text has 0.45 times the characters of its English translation, of 3 bytes each.
A text shorter than one shingle is one shingle as a whole; an empty text has none.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable
from pipeline.kernels import mix

_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no character's contribution is lost modulo 2**64
_ONE = np.uint64(1)

CODEPOINTS = read_only(types.uint32)
OFFSETS = read_only(types.int64)
HASHES = writable(types.uint64)


@numba.njit(types.int64(types.uint32), cache=True, nogil=True, inline="always")
def _utf8_bytes(codepoint: Any) -> Any:
    return 1 + (codepoint >= 0x80) + (codepoint >= 0x800) + (codepoint >= 0x10000)


@numba.njit(HASHES(types.int64), cache=True, nogil=True)
def powers(count: int) -> np.ndarray:
    """uint64[count + 1]: powers of the hash base, what a character weighs when it leaves a shingle of that many later characters."""
    result = np.empty(count + 1, np.uint64)
    result[0] = _ONE
    for index in range(1, count + 1):
        result[index] = result[index - 1] * _BASE
    return result


@numba.njit(types.int64(CODEPOINTS, types.int64, types.int64, types.int64, types.uint64, HASHES, HASHES), cache=True, nogil=True)
def hash_shingles(
    codepoints: np.ndarray, start: int, stop: int, shingle_bytes: int, seed: np.uint64, power: np.ndarray, out: np.ndarray
) -> int:
    """Write the hash of each shingle of `codepoints[start:stop]` to `out` (uint64, room for stop - start) in text order.

    The hash is a polynomial over the shingle's code points modulo 2**64, rolled along the text, then mixed with the seed. Its low bits
    alone are weak (bit j depends on bits up to j only), so the mixing is not optional. `power` is `powers(shingle_bytes)`.
    Returns the number of shingles; repeated shingles are written repeatedly.
    """
    rolled = np.uint64(0)
    salt = mix(seed + _BASE)
    size, end, count = 0, start, 0
    for first in range(start, stop):
        while size < shingle_bytes and end < stop:
            rolled = rolled * _BASE + np.uint64(codepoints[end]) + _ONE
            size += _utf8_bytes(codepoints[end])
            end += 1
        if size < shingle_bytes and first > start:
            break
        out[count] = mix(rolled ^ salt)
        count += 1
        if size < shingle_bytes:
            break
        rolled -= (np.uint64(codepoints[first]) + _ONE) * power[end - first - 1]
        size -= _utf8_bytes(codepoints[first])
    return count
