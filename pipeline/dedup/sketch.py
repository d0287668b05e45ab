"""Sketches: a few hundred bytes per document whose equal slots estimate how similar two documents' shingle sets are.

One-permutation hashing (Li, Owen, Zhang 2012) puts each shingle's hash into one of `permutations` bins and keeps the least value of each
bin, so a shingle costs one hash instead of one per slot. Empty bins take over the value of another bin by optimal densification
(Shrivastava, "Optimal Densification for Fast and Accurate Minwise Hashing", ICML 2017), after which the share of equal slots is an
unbiased estimate of the Jaccard similarity, also for short documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numba import types

from decontam.normalize import Normalized
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
from pipeline.kernels import mix

_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_TABLE = types.Array(types.uint16, 2, "C", readonly=True)
_PROBE = np.uint64(0xD6E8FEB86659FD93)  # odd: distinct (bin, attempt) pairs of one document stay distinct before mixing


@dataclass(frozen=True)
class Sketches:
    """Sketches of n documents. signatures: uint32[n, permutations]. filled: uint16[n], slots with a value of their own (empty text: 0)."""

    signatures: np.ndarray
    filled: np.ndarray


@numba.njit(types.void(HASHES, types.int64, HASHES), cache=True, nogil=True)
def _lower(hashes: np.ndarray, count: int, bins: np.ndarray) -> None:
    """Take hashes into the minima of their bins. The low half of a hash chooses the bin, the high half decides: they are independent."""
    slots = np.uint64(len(bins))
    for index in range(count):
        place = ((hashes[index] & _LOW) * slots) >> _HALF
        bins[place] = min(bins[place], hashes[index])


@numba.njit(types.void(types.uint64, types.uint64[:, ::1]), cache=True, nogil=True)
def _write_keys(seed: np.uint64, keys: np.ndarray) -> None:
    for slot in range(len(keys)):
        for place in range(keys.shape[1]):
            keys[slot, place] = mix((np.uint64(slot) * _PROBE) ^ (np.uint64(place) + np.uint64(1) + seed))


@lru_cache(maxsize=4)
def _probes(slots: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(order, rank), uint16[slots, slots]: the random order in which each slot looks at the bins, and each bin's place in it."""
    keys = np.empty((slots, slots), np.uint64)
    _write_keys(np.uint64(seed), keys)
    order = np.argsort(keys, axis=1, kind="stable").astype(np.uint16)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order.astype(np.int64), np.arange(slots, dtype=np.uint16)[None, :], axis=1)
    return order, rank


@numba.njit(types.void(HASHES, types.int64, _TABLE, _TABLE, HASHES), cache=True, nogil=True)
def _densify(bins: np.ndarray, own: int, order: np.ndarray, rank: np.ndarray, values: np.ndarray) -> None:
    """Copy `bins`, `own` of them not empty, to `values`; an empty one takes the value of the filled one that comes first in its order."""
    slots = len(bins)
    if own * own > slots:
        for slot in range(slots):
            source, attempt = slot, 0
            while bins[source] == _EMPTY:
                source = int(order[slot, attempt])
                attempt += 1
            values[slot] = bins[source]
        return
    # Few are filled: to look for the one of least rank among them is shorter, and finds the same.
    filled = np.empty(own, np.int64)
    count = 0
    for slot in range(slots):
        if bins[slot] != _EMPTY:
            filled[count] = slot
            count += 1
    for slot in range(slots):
        source = filled[0]
        for index in range(1, own):
            if rank[slot, filled[index]] < rank[slot, source]:
                source = filled[index]
        values[slot] = bins[slot] if bins[slot] != _EMPTY else bins[source]


@numba.njit(
    types.void(
        CODEPOINTS,
        BYTES,
        OFFSETS,
        types.boolean,
        types.int64,
        types.uint64,
        types.uint32[:, ::1],
        types.uint16[::1],
        HASHES,
        _TABLE,
        _TABLE,
    ),
    cache=True,
    nogil=True,
)
def _sketch(
    codepoints: np.ndarray,
    breaks: np.ndarray,
    offsets: np.ndarray,
    words: bool,
    size: int,
    seed: np.uint64,
    signatures: np.ndarray,
    filled: np.ndarray,
    hashes: np.ndarray,
    order: np.ndarray,
    rank: np.ndarray,
) -> None:
    slots = signatures.shape[1]
    bins, values = np.empty(slots, np.uint64), np.empty(slots, np.uint64)
    work = workspace(1 if words else size)
    for document in range(len(offsets) - 1):
        start, stop = offsets[document], offsets[document + 1]
        bins[:] = _EMPTY
        if words:
            _lower(hashes, hash_word_shingles(codepoints, breaks, start, stop, size, seed, hashes), bins)
        else:
            for first in range(start, stop, BLOCK):
                _lower(hashes, hash_block(codepoints, start, first, stop, size, seed, work, hashes, 0), bins)
        own = 0
        for slot in range(slots):
            own += bins[slot] != _EMPTY
        filled[document] = own
        if own == 0:
            continue  # no text; or one crafted so that its only hash is that of an empty bin, which then has no near duplicates
        if own == slots:
            values[:] = bins
        else:
            _densify(bins, own, order, rank, values)
        for slot in range(slots):
            signatures[document, slot] = np.uint32(values[slot] >> _HALF)


def sketch_batch(texts: Normalized, permutations: int, shingling: Shingling) -> Sketches:
    """Sketch texts as `prepare` gives them. Memory beside the result: for shingles of words, 8 bytes per character of the longest text."""
    count = len(texts.offsets) - 1
    signatures, filled = np.zeros((count, permutations), np.uint32), np.zeros(count, np.uint16)
    words, breaks = word_breaks(texts, shingling)
    room = int(np.diff(texts.offsets).max(initial=0)) if words else BLOCK
    seed, hashes = np.uint64(shingling.seed), np.empty(room, np.uint64)
    _sketch(
        texts.codepoints,
        breaks,
        texts.offsets,
        words,
        shingling.size,
        seed,
        signatures,
        filled,
        hashes,
        *_probes(permutations, shingling.seed),
    )
    return Sketches(signatures, filled)
