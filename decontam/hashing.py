"""Hashes of code point windows, the Bloom filter's addressing, and which code points are Hangul."""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only

HASH_WIDTH = 64
"""Most code points of one block: document strides are at most 8, whole short items are hashed in one block of their first characters."""

_SPLITMIX_STEP = 0x9E3779B97F4A7C15
BLOCK_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
_FINAL_1 = np.uint64(0xBF58476D1CE4E5B9)
_FINAL_2 = np.uint64(0x94D049BB133111EB)


def _multipliers() -> np.ndarray:
    """uint64[HASH_WIDTH] odd multipliers, one per position in a block, from the SplitMix64 sequence (Steele et al. 2014)."""
    state, values = 0, []
    for _ in range(HASH_WIDTH):
        state = (state + _SPLITMIX_STEP) & (2**64 - 1)
        z = state
        z = (z ^ z >> 30) * int(_FINAL_1) & (2**64 - 1)
        z = (z ^ z >> 27) * int(_FINAL_2) & (2**64 - 1)
        values.append((z ^ z >> 31) | 1)
    return np.array(values, np.uint64)


MULTIPLIERS = _multipliers()
MULTIPLIERS.setflags(write=False)


@numba.njit(types.uint64(types.uint64), cache=True, nogil=True, inline="always")
def finish(h):
    """SplitMix64's finaliser: every input bit reaches the high bits that choose word and slot."""
    h = (h ^ (h >> np.uint64(30))) * _FINAL_1
    h = (h ^ (h >> np.uint64(27))) * _FINAL_2
    return h ^ (h >> np.uint64(31))


@numba.njit(
    types.uint64(read_only(types.uint32), types.int64, types.int64, read_only(types.uint64)), cache=True, nogil=True, inline="always"
)
def block_hash(codes, position, width, multipliers):
    """Multilinear hash of `width` code points: a sum of independent products, so that the processor overlaps them."""
    h = np.uint64(0)
    for index in range(width):
        h += np.uint64(codes[position + index]) * multipliers[index]
    return h


@numba.njit(types.boolean(types.uint32), cache=True, nogil=True, inline="always")
def is_hangul(code):
    """Hangul syllables and conjoining jamo: all that normalisation leaves of Hangul."""
    if code < 0x1100:
        return False
    return 0xAC00 <= code <= 0xD7FF or code <= 0x11FF or 0xA960 <= code <= 0xA97F


@numba.njit(types.uint64(types.int64), cache=True, nogil=True)
def bloom_shift(words):
    """Right shift that leaves as many high bits as `words`, a power of two, needs."""
    shift = np.uint64(64)
    while words > 1:
        words >>= 1
        shift -= np.uint64(1)
    return shift


@numba.njit(types.int64(types.uint64, types.uint64), cache=True, nogil=True, inline="always")
def bloom_word(h, shift):
    """The word of a hash: its highest bits (shift 64 means a filter of one word)."""
    return np.int64(h >> shift) if shift < np.uint64(64) else np.int64(0)


@numba.njit(types.uint64(types.uint64), cache=True, nogil=True, inline="always")
def bloom_bits(h):
    """Four bits of one word (register-blocked Bloom filter, Lang et al., VLDB 2019), from the low 24 bits."""
    one = np.uint64(1)
    low = np.uint64(63)
    bits = one << (h & low) | one << ((h >> np.uint64(6)) & low)
    return bits | one << ((h >> np.uint64(12)) & low) | one << ((h >> np.uint64(18)) & low)


def is_hangul_array(codes: np.ndarray) -> np.ndarray:
    """`is_hangul` for uint32[n]: bool[n]."""
    return ((codes >= 0xAC00) & (codes <= 0xD7FF)) | ((codes >= 0x1100) & (codes <= 0x11FF)) | ((codes >= 0xA960) & (codes <= 0xA97F))
