"""Verification: no document is dropped because of a bucket or a sketch; the similarity of each pair that holds is counted exactly."""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.normalize import Normalized
from pipeline.dedup.shingles import CODEPOINTS, HASHES, OFFSETS, hash_shingles, powers

SIGMAS = 3.0
"""Standard errors by which an estimate must be below the threshold to rule a pair out: about 1 in 740 of those right at it is lost so."""

VERIFY_BYTES = 64 << 20
"""Text bytes that one verification task holds: four bytes per character when normalised, so 256 MB for English."""


def rejection_limits(threshold: float, permutations: int) -> np.ndarray:
    """int64[permutations + 1], in equal slots of two sketches: fewer rule the pair out.

    Index: the smaller number of slots that the two filled on their own; only those are independent samples, so the standard error of the
    estimate at similarity t is sqrt(t (1 - t) / filled) (binomial). Sketches only ever reject: a pair that they don't rule out, however
    alike they are, is similar if its texts say so.
    """
    filled = np.maximum(np.arange(permutations + 1), 1)
    error = SIGMAS * np.sqrt(threshold * (1.0 - threshold) / filled)
    rejected_below = np.ceil((threshold - error) * permutations - 1e-9).astype(np.int64)
    return np.maximum(rejected_below, 0)


_TABLE = types.uint64[::1]


@numba.njit(types.int64(types.int64), cache=True, nogil=True)
def _table_size(entries: int) -> int:
    size = 16
    while size < 2 * entries:
        size *= 2
    return size


@numba.njit(types.int64(_TABLE, types.int64, HASHES, types.int64), cache=True, nogil=True)
def _fill_set(table: np.ndarray, size: int, hashes: np.ndarray, count: int) -> int:
    """Put hashes into an open-addressing set of `size` places (0 = free); returns how many are distinct, and leaves these in front."""
    table[:size] = np.uint64(0)
    mask = np.uint64(size - 1)
    distinct = 0
    for index in range(count):
        key = max(hashes[index], np.uint64(1))
        place = key & mask
        while table[place] != np.uint64(0) and table[place] != key:
            place = (place + np.uint64(1)) & mask
        if table[place] == np.uint64(0):
            table[place] = key
            hashes[distinct] = key
            distinct += 1
    return distinct


@numba.njit(
    types.void(CODEPOINTS, OFFSETS, OFFSETS, OFFSETS, types.int64, types.uint64, types.int64, types.float64[::1]), cache=True, nogil=True
)
def _jaccard(
    codepoints: np.ndarray,
    offsets: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    shingle_bytes: int,
    seed: np.uint64,
    longest: int,
    similarity: np.ndarray,
) -> None:
    power = powers(shingle_bytes)
    hashes = np.empty(longest, np.uint64)
    mine, theirs = np.empty(_table_size(longest), np.uint64), np.empty(_table_size(longest), np.uint64)
    loaded, mine_count, size = np.int64(-1), 0, 16
    for pair in range(len(left)):
        if left[pair] != loaded:
            loaded = left[pair]
            count = hash_shingles(codepoints, offsets[loaded], offsets[loaded + 1], shingle_bytes, seed, power, hashes)
            size = _table_size(count)
            mine_count = _fill_set(mine, size, hashes, count)
        other = right[pair]
        count = hash_shingles(codepoints, offsets[other], offsets[other + 1], shingle_bytes, seed, power, hashes)
        their_count = _fill_set(theirs, _table_size(count), hashes, count)
        mask = np.uint64(size - 1)
        common = 0
        for index in range(their_count):
            place = hashes[index] & mask
            while mine[place] != np.uint64(0) and mine[place] != hashes[index]:
                place = (place + np.uint64(1)) & mask
            common += mine[place] == hashes[index]
        union = mine_count + their_count - common
        similarity[pair] = common / union if union > 0 else 0.0


def exact_similarities(texts: Normalized, left: np.ndarray, right: np.ndarray, shingle_bytes: int, seed: int) -> np.ndarray:
    """float64[pairs]: the Jaccard similarity of the shingle sets of documents left[i] and right[i] (int64 indices into `texts`).

    Shingles are compared by 64-bit hash: two sets of a million shingles share one by accident with probability 5e-8. Two empty texts have
    similarity 0. Pairs with the same left document in a row are cheaper. Memory: 40 bytes per character of the longest document.
    """
    similarity = np.zeros(len(left))
    longest = int(np.diff(texts.offsets).max()) if len(texts.offsets) > 1 else 0
    lefts, rights = np.ascontiguousarray(left, np.int64), np.ascontiguousarray(right, np.int64)
    _jaccard(texts.codepoints, texts.offsets, lefts, rights, shingle_bytes, np.uint64(seed), max(longest, 1), similarity)
    return similarity


def chunks(better: np.ndarray, worse: np.ndarray, size_of_rank: np.ndarray, limit: int) -> np.ndarray:
    """int64[e]: cut pairs (sorted by `better`) into consecutive chunks 0, 1, ... whose texts have at most about `limit` bytes together."""
    first = np.concatenate(([True], better[1:] != better[:-1]))[: len(better)]
    total = np.cumsum(size_of_rank[worse] + np.where(first, size_of_rank[better], 0))
    _, dense = np.unique(total // limit, return_inverse=True)
    return dense
