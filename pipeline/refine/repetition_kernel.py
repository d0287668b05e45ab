"""The compiled counts of repeated lines, paragraphs and word n-grams in one document, from the hashes of its lines and words.

An (n+1)-gram can repeat only where both n-grams in it repeat. So all 2-grams are looked at once, and each longer n only at the places
that are still candidates: few in most text, and the result is the same. Importing this module loads (the first time: compiles) the kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from pipeline.kernels import mix

POSITION_BITS = 17
CHECKED_LIMIT = 1 << POSITION_BITS
"""Words, lines and paragraphs per document that are looked at: above Gopher's ceiling of 100,000 words, and small enough that the tables
stay near the cache."""

LONGEST_TOP_GRAM, SHORTEST_DUPLICATE_GRAM, LONGEST_GRAM = 4, 5, 10
"""Gopher, table A1: the most frequent 2- to 4-grams, and all repeated 5- to 10-grams."""
GRAM_COUNTS = LONGEST_GRAM - 1
"""Numbers that `repeated_grams` fills: entry n - 2 is for n-grams."""

_GRAM_PRIME = np.uint64(0xD6E8FEB86659FD93)  # odd, hence invertible modulo 2**64: distinct words stay distinct in each place
_POSITION = np.uint64(CHECKED_LIMIT - 1)
_TAG = ~_POSITION
_ZERO, _ONE = np.uint64(0), np.uint64(1)

_HASHES, _NUMBERS, _PLACES = types.uint64[::1], types.int64[::1], types.int32[::1]


@numba.njit(types.int64(types.int64), cache=True, nogil=True)
def table_mask(entries: int) -> int:
    """One less than the size of a hash table for so many entries: a power of two, at least half of it free."""
    size = 16
    while size < 2 * entries:
        size *= 2
    return size - 1


@numba.njit(types.UniTuple(types.int64, 2)(_HASHES, _NUMBERS, types.int64, _HASHES), cache=True, nogil=True)
def duplicates(hashes: np.ndarray, lengths: np.ndarray, count: int, table: np.ndarray) -> tuple[int, int]:
    """How many of the first `count` hashes equal an earlier one, and the sum of their lengths. `table` is scratch."""
    mask = table_mask(count)
    table[: mask + 1] = _ZERO
    repeated = repeated_length = 0
    for item in range(count):
        key = mix(hashes[item])
        slot = np.int64(key) & mask
        while table[slot] != _ZERO and (table[slot] ^ key) & _TAG != _ZERO:
            slot = (slot + 1) & mask
        if table[slot] != _ZERO:
            repeated += 1
            repeated_length += lengths[item]
        else:
            table[slot] = key & _TAG | _ONE
    return repeated, repeated_length


@numba.njit(
    types.void(_HASHES, _NUMBERS, types.int64, _HASHES, _HASHES, _PLACES, _PLACES, _PLACES, types.uint8[::1], _NUMBERS),
    cache=True,
    nogil=True,
)
def repeated_grams(
    words: np.ndarray,
    ends: np.ndarray,
    count: int,
    grams: np.ndarray,
    table: np.ndarray,
    leaders: np.ndarray,
    frequencies: np.ndarray,
    places: np.ndarray,
    seen: np.ndarray,
    chars: np.ndarray,
) -> None:
    """Fill `chars` (GRAM_COUNTS numbers) from the hashes of a document's words.

    words: a well-mixed hash per word; ends: count + 1 numbers, the characters of the words before each; count: at most CHECKED_LIMIT.
    For n up to LONGEST_TOP_GRAM: characters (with single spaces) in all occurrences of the most frequent n-gram that occurs twice or
    more, the longest among equals. For greater n: characters (without spaces) of n-grams seen before, left to right, jumping over each
    one found so that no word counts twice. The other arrays are scratch of `count` entries, `table` of table_mask(count) + 1.

    A table entry is the first place of an n-gram (plus one: 0 is free) under the upper bits of its hash; the lower ones chose the slot.
    """
    chars[:] = 0
    seen[:count] = 0
    candidates = count - 1
    for first in range(candidates):
        places[first] = first
        grams[first] = words[first]
    for n in range(2, LONGEST_GRAM + 1):
        if candidates < 2:
            return
        # Unsigned positions: numba takes signed ones for numbers that may count from the end, and checks each.
        last = np.uint64(n - 1)
        mask = np.uint64(table_mask(candidates))
        table[: np.int64(mask) + 1] = _ZERO
        best_frequency, best_length = 1, 0
        for candidate in range(candidates):
            first = np.uint64(places[np.uint64(candidate)])
            key = mix(grams[first] * _GRAM_PRIME + words[first + last])
            grams[first] = key
            slot = key & mask
            entry = table[slot]
            while entry != _ZERO and (entry ^ key) & _TAG != _ZERO:
                slot = (slot + _ONE) & mask
                entry = table[slot]
            if entry == _ZERO:
                table[slot] = key & _TAG | (first + _ONE)
                leaders[first] = np.int32(first)
                frequencies[first] = 1
                continue
            leader = (entry & _POSITION) - _ONE
            leaders[first] = np.int32(leader)
            frequencies[leader] += 1
            if n <= LONGEST_TOP_GRAM and frequencies[leader] >= best_frequency:
                length = ends[first + last + _ONE] - ends[first] + n - 1
                if frequencies[leader] > best_frequency or length > best_length:
                    best_frequency, best_length = np.int64(frequencies[leader]), length
        if n <= LONGEST_TOP_GRAM:
            chars[n - 2] = best_frequency * best_length

        repeated = behind = 0  # behind: the first word after the last n-gram found
        for candidate in range(candidates):
            first = np.int64(places[np.uint64(candidate)])
            leader = np.uint64(leaders[np.uint64(first)])
            if frequencies[leader] < 2:
                continue
            places[np.uint64(repeated)] = first
            repeated += 1
            if n >= SHORTEST_DUPLICATE_GRAM and first >= behind:
                if seen[leader] == n:
                    chars[n - 2] += ends[first + n] - ends[first]
                    behind = first + n
                else:
                    seen[leader] = n
        candidates = 0
        for place in range(repeated - 1):
            if places[place + 1] == places[place] + 1:
                places[candidates] = places[place]
                candidates += 1
