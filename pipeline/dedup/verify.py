"""Verification: no document is dropped because of a bucket or a sketch; the similarity of each pair that holds is counted exactly."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from decontam.normalize import Normalized
from decontam.numba_types import writable
from pipeline.dedup.shingles import (
    BLOCK,
    BYTES,
    CODEPOINTS,
    HASHES,
    OFFSETS,
    Shingling,
    hash_block,
    hash_word_shingles,
    word_breaks,
    workspace,
)


@numba.njit(types.int64(types.int64), cache=True, nogil=True)
def _table_size(entries: int) -> int:
    size = 16
    while size < 2 * entries:
        size *= 2
    return size


@numba.njit(types.int64(HASHES, types.int64, HASHES, types.int64), cache=True, nogil=True)
def _fill_set(table: np.ndarray, size: int, hashes: np.ndarray, count: int) -> int:
    """Put hashes into an open-addressing set in the first `size` places of a table (0 = free); returns how many are distinct."""
    table[:size] = np.uint64(0)
    mask = np.uint64(size - 1)
    distinct = 0
    for index in range(count):
        key = max(hashes[index], np.uint64(1))
        place = key & mask
        while table[place] != np.uint64(0) and table[place] != key:
            place = (place + np.uint64(1)) & mask
        distinct += table[place] == np.uint64(0)
        table[place] = key
    return distinct


@numba.njit(
    types.UniTuple(types.int64, 2)(HASHES, types.int64, writable(types.uint8), types.uint8, HASHES, types.int64, types.int64),
    cache=True,
    nogil=True,
)
def _look_up(table: np.ndarray, size: int, met: np.ndarray, stamp: np.uint8, hashes: np.ndarray, first: int, stop: int) -> Any:
    """(members of a set among `hashes[first:stop]` that `met` had not stamped yet, end of the others, which are moved to `first`)."""
    mask = np.uint64(size - 1)
    common, others = 0, np.uint64(first)
    for index in range(np.uint64(first), np.uint64(stop)):
        key = max(hashes[index], np.uint64(1))
        place = key & mask
        while table[place] != np.uint64(0) and table[place] != key:
            place = (place + np.uint64(1)) & mask
        if table[place] == key:
            common += met[place] != stamp
            met[place] = stamp
        else:
            hashes[others] = key
            others += np.uint64(1)
    return common, np.int64(others)


@numba.njit(
    types.void(
        CODEPOINTS, BYTES, OFFSETS, OFFSETS, OFFSETS, types.boolean, types.int64, types.uint64, types.float64, types.int64,
        types.float64[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _jaccard(
    codepoints: np.ndarray,
    breaks: np.ndarray,
    offsets: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    words: bool,
    shingle_size: int,
    seed: np.uint64,
    threshold: float,
    longest: int,
    similarity: np.ndarray,
) -> None:
    work = workspace(1 if words else shingle_size)
    hashes = np.empty(longest + BLOCK, np.uint64)
    table, met = np.empty(_table_size(longest), np.uint64), np.empty(_table_size(longest), np.uint8)
    loaded, distinct, size, stamp = np.int64(-1), 0, 16, np.uint8(0)
    for pair in range(len(left)):
        if left[pair] != loaded:
            loaded = left[pair]
            start, stop, count = offsets[loaded], offsets[loaded + 1], 0
            if words:
                count = hash_word_shingles(codepoints, breaks, start, stop, shingle_size, seed, hashes)
            else:
                for first in range(start, stop, BLOCK):
                    count += hash_block(codepoints, start, first, stop, shingle_size, seed, work, hashes, count)
            size = _table_size(count)
            distinct, stamp = _fill_set(table, size, hashes, count), np.uint8(255)
        stamp = np.uint8(stamp + 1)
        if stamp == 0:
            met[:size] = np.uint8(0)
            stamp = np.uint8(1)
        start, stop = offsets[right[pair]], offsets[right[pair] + 1]
        common, others = 0, 0
        if words:
            count = hash_word_shingles(codepoints, breaks, start, stop, shingle_size, seed, hashes)
            common, others = _look_up(table, size, met, stamp, hashes, 0, count)
        else:
            for first in range(start, stop, BLOCK):
                # No more shingles begin than characters are left, and the union has at least the left set. 0.5: against rounding.
                if common + stop - first + 0.5 < threshold * distinct:
                    common = 0
                    break
                count = hash_block(codepoints, start, first, stop, shingle_size, seed, work, hashes, others)
                found, others = _look_up(table, size, met, stamp, hashes, others, others + count)
                common += found
        if common > 0:
            extra = _table_size(others)
            union = distinct + _fill_set(np.empty(extra, np.uint64), extra, hashes, others)
            similarity[pair] = common / union


def exact_similarities(texts: Normalized, left: np.ndarray, right: np.ndarray, shingling: Shingling, threshold: float = 0.0) -> np.ndarray:
    """float64[pairs]: the Jaccard similarity of the shingle sets of documents left[i] and right[i] (int64 indices into `texts`).

    `texts` is what `prepare` gave for this shingling. Shingles are compared by 64-bit hash: two sets of a million shingles share one by
    accident with probability 5e-8. Two empty texts have similarity 0. With a threshold, a pair below it may be given as 0 instead, as soon
    as that is certain. Pairs with the same left document in a row are cheaper. Memory: 80 bytes per character of the longest document.
    """
    similarity = np.zeros(len(left))
    longest = int(np.diff(texts.offsets).max(initial=0))
    lefts, rights = np.ascontiguousarray(left, np.int64), np.ascontiguousarray(right, np.int64)
    words, breaks = word_breaks(texts, shingling)
    seed = np.uint64(shingling.seed)
    _jaccard(texts.codepoints, breaks, texts.offsets, lefts, rights, words, shingling.size, seed, threshold, longest, similarity)
    return similarity
