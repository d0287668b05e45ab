"""The scanning kernels: probe a document's windows, and grow every seed that is found to the longest common substring around it."""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.hashing import BLOCK_MULTIPLIER, block_hash, bloom_bits, bloom_shift, bloom_word, finish, is_hangul
from decontam.numba_types import read_only, writable
from decontam.seeds import EMPTY

_DIAGONALS = 8192
"""Size of the direct-mapped memory of diagonals already grown. A diagonal that was displaced is grown again and the equal match is
removed later: the size decides speed on repetitive text, never the result."""

_BATCH = 512
"""Windows hashed, then probed, together."""


@numba.njit(types.int64(read_only(types.uint32), types.uint64), cache=True, nogil=True, inline="always")
def find_group(slots, h):
    """The group of a hash, or -1. Another seed with the same 32 low bits may answer: the caller compares the text."""
    mask = len(slots) // 2 - 1
    slot = np.int64(h >> np.uint64(20)) & mask
    while slots[2 * slot + 1] != EMPTY:
        if slots[2 * slot] == np.uint32(h):
            return np.int64(slots[2 * slot + 1])
        slot = (slot + 1) & mask
    return np.int64(-1)


@numba.njit(
    types.int64(
        read_only(types.uint32), read_only(types.int64), read_only(types.uint32), read_only(types.uint64), read_only(types.uint32),
        read_only(types.int64), read_only(types.uint32), types.int64, types.int64, types.int64, types.int64, types.int64,
        read_only(types.uint64), writable(types.int64),
    ),
    cache=True, nogil=True,
)  # fmt: skip
def find_substrings(
    codes, offsets, pool, bloom, slots, group_offsets, postings, block, width, length, hangul_length, reach, multipliers, found
):
    """Write to `found` (document, start, pool position, length) every maximal common substring that is long enough; may repeat some.

    With `reach` >= 0 batches of windows without any Hangul within `reach` characters are passed over. Returns the
    number of matches, which may exceed the room in `found`: the caller then calls again with more.
    """
    count = 0
    capacity = len(found) // 4
    shift = bloom_shift(len(bloom))
    blocks = width // block
    block_hashes = np.empty(_BATCH + blocks, np.uint64)
    hashes = np.empty(_BATCH, np.uint64)
    likely = np.empty(_BATCH + 1, np.int64)
    diagonal = np.full(_DIAGONALS, np.iinfo(np.int64).min, np.int64)
    grown_to = np.zeros(_DIAGONALS, np.int64)
    document = 0
    first = 0
    while document < len(offsets) - 1:
        begin = offsets[document]
        end = offsets[document + 1]
        windows = (end - begin) // block - blocks + 1
        if first >= windows:
            document += 1
            first = 0
            continue
        batch = min(_BATCH, windows - first)
        origin = begin + first * block
        first += batch
        if reach >= 0:
            hangul = max(begin, origin - reach)
            last = min(end, origin + (batch - 1) * block + width + reach)
            while hangul < last and not is_hangul(codes[hangul]):
                hangul += 1
            if hangul >= last:
                continue
        for index in range(batch + blocks - 1):
            block_hashes[index] = block_hash(codes, origin + index * block, block, multipliers)
        for index in range(batch):
            h = np.uint64(0)
            for piece in range(blocks):
                h = h * BLOCK_MULTIPLIER + block_hashes[index + piece]
            hashes[index] = finish(h)
        # Without a branch on the outcome the processor fetches the Bloom filter's words side by side.
        hits = 0
        for index in range(batch):
            bits = bloom_bits(hashes[index])
            likely[hits] = index
            hits += bloom[bloom_word(hashes[index], shift)] & bits == bits
        for hit in range(hits):
            position = origin + likely[hit] * block
            group = find_group(slots, hashes[likely[hit]])
            if group < 0:
                continue
            for posting in range(group_offsets[group], group_offsets[group + 1]):
                at = np.int64(postings[posting])
                line = at - position
                cell = line & (_DIAGONALS - 1)
                if diagonal[cell] == line and position < grown_to[cell]:
                    continue
                right = 0
                while position + right < end and codes[position + right] == pool[at + right]:
                    right += 1
                if right < width:
                    continue
                left = 0
                while position - left > begin and codes[position - left - 1] == pool[at - left - 1]:
                    left += 1
                diagonal[cell] = line
                grown_to[cell] = position + right
                size = left + right
                if size < hangul_length:
                    continue
                if size < length:
                    share = 0
                    for inner in range(position - left, position + right):
                        share += is_hangul(codes[inner])
                    if 2 * share < size:
                        continue
                if count < capacity:
                    found[4 * count] = document
                    found[4 * count + 1] = position - left - begin
                    found[4 * count + 2] = at - left
                    found[4 * count + 3] = size
                count += 1
    return count


@numba.njit(
    types.int64(
        read_only(types.uint32), read_only(types.int64), read_only(types.uint8), read_only(types.uint32), read_only(types.uint32),
        read_only(types.uint64), read_only(types.uint32), read_only(types.int64), read_only(types.uint32), types.int64,
        read_only(types.uint64), writable(types.int64),
    ),
    cache=True, nogil=True,
)  # fmt: skip
def find_short_items(codes, offsets, breaks, pool, pool_lengths, bloom, slots, group_offsets, postings, short_length, multipliers, found):
    """Write to `found` every occurrence of a whole short item between two word boundaries; returns as `find_substrings` does.

    pool_lengths: uint32[p], the item's length for each posting.
    """
    count = 0
    capacity = len(found) // 4
    shift = bloom_shift(len(bloom))
    hashes = np.empty(_BATCH + 1, np.uint64)
    likely = np.empty(_BATCH + 1, np.int64)
    for document in range(len(offsets) - 1):
        begin = offsets[document]
        end = offsets[document + 1]
        last = end - short_length + 1
        for first in range(begin, last, _BATCH):
            borders = 0
            for position in range(first, min(first + _BATCH, last)):
                likely[borders] = position
                borders += breaks[position]
            hits = 0
            for border in range(borders):
                position = likely[border]
                h = finish(block_hash(codes, position, short_length, multipliers))
                hashes[hits] = h
                likely[hits] = position
                bits = bloom_bits(h)
                hits += bloom[bloom_word(h, shift)] & bits == bits
            for hit in range(hits):
                position = likely[hit]
                group = find_group(slots, hashes[hit])
                if group < 0:
                    continue
                for posting in range(group_offsets[group], group_offsets[group + 1]):
                    at = np.int64(postings[posting])
                    size = np.int64(pool_lengths[posting])
                    after = position + size
                    if after > end or (after < end and breaks[after] == 0):
                        continue
                    same = 0
                    while same < size and codes[position + same] == pool[at + same]:
                        same += 1
                    if same < size:
                        continue
                    if count < capacity:
                        found[4 * count] = document
                        found[4 * count + 1] = position - begin
                        found[4 * count + 2] = at
                        found[4 * count + 3] = size
                    count += 1
    return count


@numba.njit(
    types.void(read_only(types.int64), read_only(types.int64), read_only(types.int64), writable(types.uint8), writable(types.boolean)),
    cache=True,
    nogil=True,
)
def choose_disjoint(groups, starts, lengths, taken, chosen):
    """Within each group, longest first as given, choose the stretches that overlap none chosen before.

    Looking at a stretch's two ends is enough: what was chosen before is no shorter, so it cannot lie strictly inside.
    taken: uint8 zeros, one per character of the longest document.
    """
    first = 0
    for row in range(len(groups) + 1):
        if row == len(groups) or groups[row] != groups[first]:
            for done in range(first, row):
                if chosen[done]:
                    taken[starts[done] : starts[done] + lengths[done]] = 0
            first = row
            if row == len(groups):
                break
        start = starts[row]
        last = start + lengths[row] - 1
        chosen[row] = taken[start] == 0 and taken[last] == 0
        if chosen[row]:
            taken[start : last + 1] = 1


@numba.njit(
    types.void(
        read_only(types.int32), read_only(types.int64), read_only(types.int64), read_only(types.int64), read_only(types.int64),
        types.int64, types.int64, writable(types.int32),
    ),
    cache=True, nogil=True,
)  # fmt: skip
def rarest_seed(frequency, frequency_offsets, entries, starts, lengths, stride, width, rarest):
    """For each match (entry, start in the entry, length), the smallest frequency among the table's windows inside it (0: none)."""
    for row in range(len(entries)):
        base = frequency_offsets[entries[row]]
        smallest = np.int32(0)
        for window in range((starts[row] + stride - 1) // stride, (starts[row] + lengths[row] - width) // stride + 1):
            value = frequency[base + window]
            if value > 0 and (smallest == 0 or value < smallest):
                smallest = value
        rarest[row] = smallest


@numba.njit(
    types.void(read_only(types.uint32), read_only(types.int64), read_only(types.int64), writable(types.int64)), cache=True, nogil=True
)
def count_hangul(pool, starts, lengths, counts):
    """For each stretch of the pool, how many of its characters are Hangul."""
    for row in range(len(starts)):
        total = 0
        for position in range(starts[row], starts[row] + lengths[row]):
            total += is_hangul(pool[position])
        counts[row] = total
