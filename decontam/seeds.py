"""Seeds: which windows of the benchmark text start a comparison, and the table that finds them in eight bytes each.

A segment lists the pool positions of its windows in the order of their hashes (`Seeds`). The table of an index (`SeedTable`) is made of
the lists of its segments: a directory from the hash's leading bits to the place in the list, one byte of each hash, and in front a Bloom
filter, since nearly every window of nearly every document is in no benchmark. So a window is looked up once, however many benchmarks
there are. A window that more than `max_seed_items` items of a benchmark share, or that occurs more than `PLACES_PER_ITEM` times that often
in it, has no places in the list, since a template or a one-letter run would cost a comparison per place. It is listed as common, and where
a document has it every window around is probed: so a match is found if any of its windows is not common. Hashes only choose what is
compared: every match is verified against the pool text, so a collision costs time, never a wrong result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numba
import numpy as np
from numba import types

from decontam.hashing import MULTIPLIERS, POOL_TYPES, filter_bits, filter_word, fingerprint, is_hangul_array, window_hash
from decontam.numba_types import read_only, writable
from decontam.settings import Family

SEPARATOR = 0xFFFF
"""Stands before, between and after pool entries. It is no character, so normalised text never holds it and a comparison stops there."""

PLACES_PER_ITEM = 8
FILTER_BITS_PER_SEED = 14
"""Of the windows that are in no benchmark about one in 140 then passes, whatever the number of seeds."""

_SEEDS_PER_BUCKET = 8


@dataclass(frozen=True)
class Seeds:
    """The windows of one family in one segment. positions: uint32[s], by their hashes, those of one hash ascending. common: uint64[c],
    the hashes of the windows that have too many places, ascending."""

    positions: np.ndarray
    common: np.ndarray


@dataclass(frozen=True)
class SeedTable:
    """The seeds of one family in all segments of an index, all arrays flat so that they can be memory-mapped.

    words: uint64[w], the Bloom filter. directory: uint32[2^b + 1], where the seeds begin whose hash has these b leading bits.
    fingerprints: uint8[s], eight more bits of each hash. postings: uint32[s], positions in the pool of all segments; those of one bucket
    are in the order of their hashes, then ascending. common: uint64[c], as in `Seeds`.
    """

    words: np.ndarray
    directory: np.ndarray
    fingerprints: np.ndarray
    postings: np.ndarray
    common: np.ndarray

    @property
    def shift(self) -> int:
        """How far a hash is shifted right to give its bucket; 64 where there is one bucket."""
        return 64 - (len(self.directory) - 1).bit_length() + 1

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name, as they are saved."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@numba.njit(
    [types.void(pool, read_only(types.uint32), types.int64, read_only(types.uint32), writable(types.uint64)) for pool in POOL_TYPES],
    cache=True, nogil=True,
)  # fmt: skip
def _hash_windows(pool, positions, width, multipliers, hashes):
    """The hash of the window at each position."""
    for row in range(len(positions)):
        hashes[row] = window_hash(pool, np.int64(positions[row]), width, multipliers)


@numba.njit(types.void(read_only(types.uint64), writable(types.uint64)), cache=True, nogil=True)
def _enter(hashes, words):
    """Set the bits of each hash in a filter."""
    count = np.uint64(len(words))
    for row in range(len(hashes)):
        words[filter_word(hashes[row], count)] |= filter_bits(hashes[row])


@numba.njit(types.void(read_only(types.uint64), writable(types.uint8)), cache=True, nogil=True)
def _fingerprints(hashes, out):
    for row in range(len(hashes)):
        out[row] = fingerprint(hashes[row])


def hash_windows(pool: np.ndarray, positions: np.ndarray, width: int) -> np.ndarray:
    """uint64[n] hashes of the windows at `positions` (uint32[n]) of a pool."""
    hashes = np.empty(len(positions), np.uint64)
    _hash_windows(pool, positions, width, MULTIPLIERS, hashes)
    return hashes


def window_positions(pool: np.ndarray, starts: np.ndarray, lengths: np.ndarray, family: Family) -> np.ndarray:
    """uint32[n], ascending: the pool positions of a family's windows in the stretches `pool[starts[i] : starts[i] + lengths[i]]`.

    Stretches shorter than the family's length have none. Of a family with Hangul these are the windows with Hangul in reach, of one
    without those that hold none. A family of whole texts needs no more windows than lie in `family.length` characters: the first ones,
    or those that hold the first Hangul character.
    """
    strides, width = family.strides, family.strides.width
    hangul_before = np.zeros(len(pool) + 1, np.uint32)
    np.cumsum(is_hangul_array(pool), out=hangul_before[1:])
    lengths = np.where(lengths >= family.length, lengths, 0)
    if family.whole:
        starts, lengths = _narrowed(hangul_before, starts, lengths, family)
    counts = np.maximum(0, (lengths - width) // strides.pool + 1)
    ends = np.repeat(starts + lengths, counts)
    begins = np.repeat(starts, counts)
    positions = begins + (np.arange(len(begins)) - np.repeat(np.cumsum(counts) - counts, counts)) * strides.pool
    if family.hangul:
        low, high = np.maximum(positions - family.reach, begins), np.minimum(positions + width + family.reach, ends)
        chosen = hangul_before[high] > hangul_before[low]
    else:
        chosen = hangul_before[positions + width] == hangul_before[positions]
    return positions[chosen].astype(np.uint32)


def _narrowed(hangul_before: np.ndarray, starts: np.ndarray, lengths: np.ndarray, family: Family) -> tuple[np.ndarray, np.ndarray]:
    """Of each whole text the `family.length` characters that are searched for; none where it is the other family's."""
    has_hangul = hangul_before[starts + lengths] > hangul_before[starts]
    lengths = np.where(has_hangul == family.hangul, lengths, 0)
    if family.hangul:
        first = np.searchsorted(hangul_before, hangul_before[starts] + 1, side="left") - 1
        starts = np.where(lengths > 0, np.maximum(starts, np.minimum(first, starts + lengths - family.length)), starts)
    return starts, np.minimum(lengths, family.length)


def build_seeds(pool: np.ndarray, positions: np.ndarray, items: np.ndarray, family: Family, max_items: int) -> Seeds:
    """The windows at `positions` (uint32[n], ascending), of which window i belongs to item `items[i]` (ascending too)."""
    hashes = hash_windows(pool, positions, family.strides.width)
    order = np.argsort(hashes, kind="stable")
    hashes, positions, items = hashes[order], positions[order], items[order]
    first = np.ones(len(hashes), np.bool_)
    first[1:] = hashes[1:] != hashes[:-1]
    new_item = first.copy()
    new_item[1:] |= items[1:] != items[:-1]
    group = np.cumsum(first) - 1
    groups = int(group[-1]) + 1 if len(group) else 0
    rare = np.bincount(group[new_item], minlength=groups) <= max_items
    rare &= np.bincount(group, minlength=groups) <= PLACES_PER_ITEM * max_items
    kept = rare[group] if groups else np.zeros(0, np.bool_)
    return Seeds(positions[kept], hashes[first & ~kept])


def merge_seeds(pool: np.ndarray, bases: Sequence[int], lists: Sequence[Seeds], family: Family) -> SeedTable:
    """The table of the seeds of several segments, whose pools stand in `pool` from `bases` on.

    The hashes are computed again from the pool, which is quicker than to store them. Takes about 40 bytes per seed while it runs.
    """
    parts = [seeds.positions + np.uint32(base) for base, seeds in zip(bases, lists, strict=True)]
    positions = np.concatenate([np.zeros(0, np.uint32), *parts])
    common = np.unique(np.concatenate([np.zeros(0, np.uint64), *(seeds.common for seeds in lists)]))
    hashes = hash_windows(pool, positions, family.strides.width)
    order = np.argsort(hashes, kind="stable")  # merges the sorted lists
    hashes, positions = hashes[order], positions[order]
    words = np.zeros(max(1, (len(hashes) + len(common)) * FILTER_BITS_PER_SEED // 64), np.uint64)
    _enter(hashes, words)
    _enter(common, words)
    bits = max(0, len(hashes) // _SEEDS_PER_BUCKET).bit_length()
    buckets = (hashes >> np.uint64(64 - bits)).astype(np.int64) if bits else np.zeros(len(hashes), np.int64)
    directory = np.zeros((1 << bits) + 1, np.uint32)
    np.cumsum(np.bincount(buckets, minlength=1 << bits), out=directory[1:])
    marks = np.empty(len(hashes), np.uint8)
    _fingerprints(hashes, marks)
    return SeedTable(words, directory, marks, positions, common)
