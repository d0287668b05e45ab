"""Sketches: a few hundred bytes per document whose equal slots estimate how similar two documents' shingle sets are.

One-permutation hashing (Li, Owen, Zhang 2012) puts each shingle's hash into one of `permutations` bins and keeps the least value of each
bin, so a shingle costs one hash instead of one per slot. Empty bins take over the value of another bin by optimal densification
(Shrivastava, "Optimal Densification for Fast and Accurate Minwise Hashing", ICML 2017), after which the share of equal slots is an
unbiased estimate of the Jaccard similarity, also for short documents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numba import types

from decontam.normalize import Normalized
from pipeline.dedup.shingles import CODEPOINTS, HASHES, OFFSETS, hash_shingles, powers
from pipeline.kernels import mix

_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_PROBE = np.uint64(0xD6E8FEB86659FD93)  # odd: distinct (bin, attempt) pairs of one document stay distinct before mixing


@dataclass(frozen=True)
class Sketches:
    """Sketches of n documents. signatures: uint32[n, permutations]. filled: uint16[n], slots with a value of their own (empty text: 0)."""

    signatures: np.ndarray
    filled: np.ndarray


@numba.njit(
    types.void(CODEPOINTS, OFFSETS, types.int64, types.uint64, types.uint32[:, ::1], types.uint16[::1], HASHES), cache=True, nogil=True
)
def _sketch(
    codepoints: np.ndarray,
    offsets: np.ndarray,
    shingle_bytes: int,
    seed: np.uint64,
    signatures: np.ndarray,
    filled: np.ndarray,
    scratch: np.ndarray,
) -> None:
    slots = signatures.shape[1]
    wide = np.uint64(slots)
    bins = np.empty(slots, np.uint64)
    power = powers(shingle_bytes)
    for document in range(len(offsets) - 1):
        count = hash_shingles(codepoints, offsets[document], offsets[document + 1], shingle_bytes, seed, power, scratch)
        if count == 0:
            continue
        bins[:] = _EMPTY
        for index in range(count):
            # The high half of the hash chooses the bin, the low half is the value: the two are independent.
            place = np.int64(((scratch[index] >> _HALF) * wide) >> _HALF)
            bins[place] = min(bins[place], scratch[index] & _LOW)
        own = 0
        for slot in range(slots):
            source = np.int64(slot)
            if bins[source] != _EMPTY:
                own += 1
            attempt = np.uint64(0)
            while bins[source] == _EMPTY:
                attempt += np.uint64(1)
                source = np.int64(((mix((np.uint64(slot) * _PROBE) ^ (attempt + seed)) >> _HALF) * wide) >> _HALF)
            signatures[document, slot] = np.uint32(bins[source])
        filled[document] = own


def sketch_batch(texts: Normalized, permutations: int, shingle_bytes: int, seed: int) -> Sketches:
    """Sketch normalised documents. Memory beside the result: 8 bytes per character of the longest one."""
    count = len(texts.offsets) - 1
    signatures, filled = np.zeros((count, permutations), np.uint32), np.zeros(count, np.uint16)
    longest = int(np.diff(texts.offsets).max()) if count else 0
    _sketch(texts.codepoints, texts.offsets, shingle_bytes, np.uint64(seed), signatures, filled, np.empty(longest, np.uint64))
    return Sketches(signatures, filled)
