"""The comparing kernels: look a probed window up in a segment, and grow it to the longest common substring around it."""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.hashing import POOL_TYPES, fingerprint, is_hangul, window_hash
from decontam.numba_types import read_only, writable

_DIAGONALS = 4096
"""Size of the direct-mapped memory of diagonals already grown. A diagonal that was displaced is grown again and the equal match is
removed later: the size decides speed on repetitive text, never the result."""

_MOST_WINDOWS = 32
"""Windows of a stretch whose frequency is asked; of more, as many, evenly spread."""

_BLOCK = 16
"""Characters that are compared together: periodic text is grown again at every period."""

_TABLE = (types.int64, read_only(types.uint32), read_only(types.uint8), read_only(types.uint32))
_TEXT = (read_only(types.uint32), read_only(types.int64), read_only(types.int64), read_only(types.int64))
_HITS = (read_only(types.int64), read_only(types.int64))


@numba.njit(types.int64(types.uint64, types.int64), cache=True, nogil=True, inline="always")
def bucket_of(h, shift):
    """The bucket of a hash in a directory (shift 64: there is one)."""
    return np.int64(h >> np.uint64(shift)) if shift < 64 else np.int64(0)


@numba.njit(
    types.int64(
        read_only(types.uint64), types.int64, read_only(types.uint32), read_only(types.uint8), writable(types.int64), writable(types.int64)
    ),
    cache=True, nogil=True,
)  # fmt: skip
def look_up(hashes, shift, directory, fingerprints, candidates, seeds):
    """List the pairs of a candidate window and a seed of a table whose hashes agree as far as the table knows them.

    Returns the number of pairs, which may exceed the room for them: the caller then calls again with more. Nearly all candidates are in
    another segment or none, so what counts is how many look-ups the processor can have in flight: each loop does one kind of them.
    """
    first = np.empty(len(hashes), np.uint32)
    last = np.empty(len(hashes), np.uint32)
    for row in range(len(hashes)):
        bucket = bucket_of(hashes[row], shift)
        first[row] = directory[bucket]
        last[row] = directory[bucket + 1]
    count = 0
    capacity = len(candidates) - 1
    for row in range(len(hashes)):
        mark = fingerprint(hashes[row])
        for posting in range(first[row], last[row]):
            slot = min(count, capacity)
            candidates[slot] = row
            seeds[slot] = posting
            count += fingerprints[posting] == mark
    return count


@numba.njit(inline="always")
def _same_block(codes, position, pool, at):
    """Whether the next _BLOCK characters are equal, compared without a branch for each."""
    left, right = np.uint64(position), np.uint64(at)
    different = np.uint32(0)
    for step in range(np.uint64(_BLOCK)):
        different |= codes[left + step] ^ np.uint32(pool[right + step])
    return different == 0


@numba.njit(
    [
        types.int64(*_TEXT, *_HITS, read_only(types.uint32), pool, types.int64, types.int64, types.int64, writable(types.int64))
        for pool in POOL_TYPES
    ],
    cache=True, nogil=True,
)  # fmt: skip
def find_substrings(codes, offsets, documents, positions, candidates, seeds, postings, pool, width, length, hangul_length, found):
    """Write to `found` (document, start, pool position, length) every maximal common substring that is long enough; may repeat some.

    documents, positions: of each candidate window, by document. candidates, seeds: of `look_up`. Returns the number of matches, which
    may exceed the room in `found`: the caller then calls again with more.
    """
    count = 0
    capacity = len(found) // 4
    diagonal = np.full(_DIAGONALS, np.iinfo(np.int64).min, np.int64)
    grown_to = np.zeros(_DIAGONALS, np.int64)
    for hit in range(len(candidates)):
        position = positions[candidates[hit]]
        document = documents[candidates[hit]]
        begin = offsets[document]
        end = offsets[document + 1]
        at = np.int64(postings[seeds[hit]])
        line = at - position
        cell = line & (_DIAGONALS - 1)
        if diagonal[cell] == line and position < grown_to[cell]:
            continue
        right = 0
        most = min(end - position, len(pool) - at)
        while right + _BLOCK <= most and _same_block(codes, position + right, pool, at + right):
            right += _BLOCK
        while position + right < end and codes[position + right] == pool[at + right]:
            right += 1
        if right < width:
            continue
        left = 0
        most = min(position - begin, at)
        while left + _BLOCK <= most and _same_block(codes, position - left - _BLOCK, pool, at - left - _BLOCK):
            left += _BLOCK
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
    [
        types.int64(
            *_TEXT, *_HITS, read_only(types.uint32), read_only(types.int64), pool, read_only(types.int64), read_only(types.int64),
            writable(types.int64),
        )
        for pool in POOL_TYPES
    ],
    cache=True, nogil=True,
)  # fmt: skip
def find_whole(codes, offsets, documents, positions, candidates, seeds, postings, owners, pool, starts, lengths, found):
    """Write to `found` every occurrence of a whole short text, `pool[starts[i] : starts[i] + lengths[i]]`; returns as `find_substrings`.

    owners: the entry of each seed.
    """
    count = 0
    capacity = len(found) // 4
    for hit in range(len(candidates)):
        entry = owners[seeds[hit]]
        document = documents[candidates[hit]]
        first = positions[candidates[hit]] - (np.int64(postings[seeds[hit]]) - starts[entry])
        begin = offsets[document]
        if first < begin or first + lengths[entry] > offsets[document + 1]:
            continue
        same = 0
        while same < lengths[entry] and codes[first + same] == pool[starts[entry] + same]:
            same += 1
        if same < lengths[entry]:
            continue
        if count < capacity:
            found[4 * count] = document
            found[4 * count + 1] = first - begin
            found[4 * count + 2] = starts[entry]
            found[4 * count + 3] = same
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
    [
        types.void(
            pool, *_TABLE, types.int64, types.int64, types.boolean, read_only(types.uint32), read_only(types.int64),
            read_only(types.int64), read_only(types.int64), read_only(types.int64), types.int64, types.int64, types.int32,
            writable(types.int32),
        )
        for pool in POOL_TYPES
    ],
    cache=True, nogil=True,
)  # fmt: skip
def window_frequency(
    pool, shift, directory, fingerprints, postings, width, stride, hangul, multipliers, entry_starts, entry_items, starts, lengths,
    low, high, most, frequency,
):  # fmt: skip
    """For each stretch of the pool, the number of items that a quarter of its windows do not exceed: one more than `most` where these
    are common. Counted are items between the pool positions `low` and `high`: those of the stretch's own benchmark.

    Looked at are the windows that the table has in any case: at multiples of `stride` in their entry, and with or without Hangul. Where
    there is none `frequency` stays what it is. A quarter, and not the rarest: a template that runs three letters into what follows it
    in one item is a template all the same.
    """
    for row in range(len(starts)):
        begin = entry_starts[np.searchsorted(entry_starts, starts[row], side="right") - 1]
        first = begin + (starts[row] - begin + stride - 1) // stride * stride
        counts = np.empty(_MOST_WINDOWS, np.int32)
        seen = 0
        windows = (starts[row] + lengths[row] - width - first) // stride + 1
        for number in range(min(windows, _MOST_WINDOWS)):
            window = first + (number * windows // min(windows, _MOST_WINDOWS)) * stride
            has_hangul = False
            for position in range(window, window + width):
                if is_hangul(pool[position]):
                    has_hangul = True
                    break
            if has_hangul != hangul:
                continue
            h = window_hash(pool, window, width, multipliers)
            mark = fingerprint(h)
            bucket = bucket_of(h, shift)
            items = 0
            before = np.int64(-1)
            for posting in range(directory[bucket], directory[bucket + 1]):
                if fingerprints[posting] != mark:
                    continue
                at = np.int64(postings[posting])
                if at < low or at >= high:
                    continue
                same = 0
                while same < width and pool[at + same] == pool[window + same]:
                    same += 1
                if same == width:
                    item = entry_items[np.searchsorted(entry_starts, at, side="right") - 1]
                    items += item != before
                    before = item
            counts[seen] = items if items > 0 else most + 1
            seen += 1
        if seen > 0:
            frequency[row] = np.sort(counts[:seen])[(seen - 1) // 4]


@numba.njit(
    [types.void(pool, read_only(types.int64), read_only(types.int64), writable(types.int64)) for pool in POOL_TYPES],
    cache=True, nogil=True,
)  # fmt: skip
def count_hangul(pool, starts, lengths, counts):
    """For each stretch of the pool, how many of its characters are Hangul."""
    for row in range(len(starts)):
        total = 0
        for position in range(starts[row], starts[row] + lengths[row]):
            total += is_hangul(pool[position])
        counts[row] = total
