"""Seed tables: which windows of the pool (the benchmark text) start a comparison, found by hash behind a Bloom filter.

A table holds every `pool`-th window of every entry (`settings.choose_strides`). A seed that more than `max_seed_items` items share, or
that occurs more than `PLACES_PER_ITEM` times that often in all, is left out of the table, since a template or a one-letter run would cost
a comparison per place; a match all of whose seeds are left out is not found. Seed hashes only choose what is compared: every match is
verified against the pool text, so a collision costs time, never a wrong result.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numba
import numpy as np
from numba import types

from decontam.hashing import BLOCK_MULTIPLIER, MULTIPLIERS, block_hash, bloom_bits, bloom_shift, bloom_word, finish, is_hangul
from decontam.numba_types import read_only, writable
from decontam.settings import Strides

SEPARATOR = 0xFFFFFFFF
"""Stands before, between and after pool entries; no code point equals it, so a comparison stops there by itself."""

PLACES_PER_ITEM = 8
BLOOM_BITS_PER_SEED = 16
EMPTY = 0xFFFFFFFF


@dataclass(frozen=True)
class SeedTable:
    """One hash table over seeds, all arrays flat so that they can be memory-mapped.

    bloom: uint64[2^a], four bits of one word per seed. slots: uint32[2 * 2^b], pairs (fingerprint, group), linear probing.
    group_offsets: int64[g + 1] into postings: uint32[p], pool positions, ascending in a group.
    frequency: int32[s], per indexable window in pool order, the number of items that hold it (0: outside this table).
    frequency_offsets: int64[entries + 1] into it; window j of an entry starts at its position j * stride.
    """

    bloom: np.ndarray
    slots: np.ndarray
    group_offsets: np.ndarray
    postings: np.ndarray
    frequency: np.ndarray
    frequency_offsets: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@numba.njit(
    types.void(
        read_only(types.uint32), read_only(types.int64), read_only(types.int64), read_only(types.int64), types.int64, types.int64,
        types.int64, types.int64, read_only(types.uint64), writable(types.uint64), writable(types.uint32), writable(types.boolean),
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _hash_windows(pool, starts, lengths, window_offsets, stride, block, width, reach, multipliers, hashes, positions, usable):
    """Hash each entry's windows. With `reach` >= 0, a window is usable only if Hangul stands within `reach` characters of it."""
    for entry in range(len(starts)):
        begin = starts[entry]
        end = begin + lengths[entry]
        for window in range(window_offsets[entry + 1] - window_offsets[entry]):
            position = begin + window * stride
            h = np.uint64(0)
            for piece in range(width // block):
                h = h * BLOCK_MULTIPLIER + block_hash(pool, position + piece * block, block, multipliers)
            row = window_offsets[entry] + window
            hashes[row] = finish(h)
            positions[row] = position
            found = reach < 0
            if not found:
                for index in range(max(begin, position - reach), min(end, position + width + reach)):
                    if is_hangul(pool[index]):
                        found = True
                        break
            usable[row] = found


@numba.njit(types.void(read_only(types.uint64), writable(types.uint64), writable(types.uint32)), cache=True, nogil=True)
def _fill(hashes, bloom, slots):
    """Enter group i's hash into the Bloom filter and the slot table."""
    shift = bloom_shift(len(bloom))
    slot_count = len(slots) // 2
    slot_mask = slot_count - 1
    for group in range(len(hashes)):
        h = hashes[group]
        bloom[bloom_word(h, shift)] |= bloom_bits(h)
        slot = np.int64(h >> np.uint64(20)) & slot_mask
        while slots[2 * slot + 1] != EMPTY:
            slot = (slot + 1) & slot_mask
        slots[2 * slot] = np.uint32(h)
        slots[2 * slot + 1] = np.uint32(group)


def build_seed_table(
    pool: np.ndarray, starts: np.ndarray, lengths: np.ndarray, items: np.ndarray, strides: Strides, reach: int, max_items: int
) -> SeedTable:
    """Index the windows of the entries `pool[starts[i] : starts[i] + lengths[i]]`; `items[i]` numbers the item of entry i.

    `reach` >= 0 keeps only windows with Hangul that near; -1 keeps all.
    """
    counts = np.maximum(0, (lengths - strides.width) // strides.pool + 1)
    window_offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    total = int(window_offsets[-1])
    hashes, positions, usable = np.empty(total, np.uint64), np.empty(total, np.uint32), np.empty(total, np.bool_)
    # fmt: off
    _hash_windows(
        pool, starts, lengths, window_offsets, strides.pool, strides.document, strides.width, reach, MULTIPLIERS,
        hashes, positions, usable,
    )
    # fmt: on
    rows = np.flatnonzero(usable)
    owner = np.repeat(items, counts)[rows]
    order = np.lexsort((positions[rows], owner, hashes[rows]))
    rows, owner = rows[order], owner[order]
    sorted_hashes = hashes[rows]
    first = np.ones(len(rows), np.bool_)
    first[1:] = sorted_hashes[1:] != sorted_hashes[:-1]
    new_item = first.copy()
    new_item[1:] |= owner[1:] != owner[:-1]
    group = np.cumsum(first) - 1
    group_items = np.bincount(group, new_item).astype(np.int64) if len(rows) else np.zeros(0, np.int64)
    group_sizes = np.bincount(group) if len(rows) else np.zeros(0, np.int64)
    frequency = np.zeros(total, np.int32)
    frequency[rows] = group_items[group]
    kept = (group_items <= max_items) & (group_sizes <= PLACES_PER_ITEM * max_items)
    group_hashes = np.ascontiguousarray(sorted_hashes[first][kept])
    bloom = np.zeros(_power_of_two(len(group_hashes) * BLOOM_BITS_PER_SEED // 64), np.uint64)
    slots = np.full(2 * _power_of_two(2 * len(group_hashes) + 1), EMPTY, np.uint32)
    _fill(group_hashes, bloom, slots)
    group_offsets = np.concatenate([[0], np.cumsum(group_sizes[kept])]).astype(np.int64)
    postings = np.ascontiguousarray(positions[rows][kept[group]]) if len(rows) else np.zeros(0, np.uint32)
    return SeedTable(bloom, slots, group_offsets, postings, frequency, window_offsets)


def _power_of_two(value: int) -> int:
    return 1 << max(0, value - 1).bit_length()
