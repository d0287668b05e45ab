"""Hashes of windows of characters, the Bloom filter's addressing, and which characters are Hangul."""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only
from decontam.settings import MAX_SEED

_SPLITMIX_STEP = 0x9E3779B97F4A7C15
_SPREAD = np.uint64(0xBF58476D1CE4E5B9)


def _multipliers() -> np.ndarray:
    """uint32[MAX_SEED] odd multipliers, one per position in a window: high halves of the SplitMix64 sequence (Steele et al. 2014)."""
    state, values = 0, []
    for _ in range(MAX_SEED):
        state = (state + _SPLITMIX_STEP) & (2**64 - 1)
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        z = (z ^ z >> 27) * 0x94D049BB133111EB & (2**64 - 1)
        values.append((z ^ z >> 31) >> 32 | 1)
    return np.array(values, np.uint32)


MULTIPLIERS = _multipliers()
MULTIPLIERS.setflags(write=False)


@numba.njit(types.uint64(types.uint64), cache=True, nogil=True, inline="always")
def mix(h):
    """Spread a sum of products: a multiplication carries every bit upwards, a shift brings the high half down again."""
    h = (h ^ (h >> np.uint64(29))) * _SPREAD
    return h ^ (h >> np.uint64(32))


@numba.njit(inline="always")
def window_hash(codes, position, width, multipliers):
    """Multilinear hash of `width` characters: a sum of independent 32 x 32 bit products, which the compiler makes into vector code.

    Strides are wide, so that a rolling hash would save nothing: with 31 characters between windows of 20 none overlap.
    """
    h = np.uint64(0)
    start = np.uint64(position)  # an unsigned index needs no test for being negative, which would keep the loop scalar
    for index in range(np.uint64(width)):
        h += np.uint64(codes[start + index]) * np.uint64(multipliers[index])
    return mix(h)


@numba.njit(types.boolean(types.uint32), cache=True, nogil=True, inline="always")
def is_hangul(code):
    """Hangul syllables and conjoining jamo: all that normalisation leaves of Hangul."""
    if code < 0x1100:
        return False
    return 0xAC00 <= code <= 0xD7FF or code <= 0x11FF or 0xA960 <= code <= 0xA97F


@numba.njit(types.int64(types.uint64, types.uint64), cache=True, nogil=True, inline="always")
def filter_word(h, words):
    """The word of a hash in a filter of any size below 2^32 words: its high half, scaled (Lemire 2019, multiply-shift)."""
    return np.int64(((h >> np.uint64(32)) * words) >> np.uint64(32))


@numba.njit(types.uint64(types.uint64), cache=True, nogil=True, inline="always")
def filter_bits(h):
    """Four bits of one word (register-blocked Bloom filter, Lang et al., VLDB 2019), from the low 24 bits."""
    one = np.uint64(1)
    low = np.uint64(63)
    bits = one << (h & low) | one << ((h >> np.uint64(6)) & low)
    return bits | one << ((h >> np.uint64(12)) & low) | one << ((h >> np.uint64(18)) & low)


@numba.njit(types.uint8(types.uint64), cache=True, nogil=True, inline="always")
def fingerprint(h):
    """Eight bits that neither the filter's bits nor, in tables of up to 2^32 buckets, the bucket use."""
    return np.uint8(h >> np.uint64(24))


def is_hangul_array(codes: np.ndarray) -> np.ndarray:
    """`is_hangul` for integers [n]: bool[n]."""
    return ((codes >= 0xAC00) & (codes <= 0xD7FF)) | ((codes >= 0x1100) & (codes <= 0x11FF)) | ((codes >= 0xA960) & (codes <= 0xA97F))


POOL_TYPES = (read_only(types.uint16), read_only(types.uint32))
"""A pool holds 16-bit characters where all its text allows it, else 32-bit ones: kernels are compiled for both."""
