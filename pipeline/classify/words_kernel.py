"""Words as fastText knows them, compiled: its dictionary's entries, and lines parted into words and pieces, each distinct one hashed once.

The hashes are those of fastText 0.9.3 (`Dictionary::hash`, `computeSubwords`). Importing this module loads (the first time: compiles) the
kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable

CUT_SHORT, BAD_ENTRY = -1, -2
"""What `read_entries` returns for a dictionary that ends too soon, and for one of mixed words and labels or impossible counts."""

_ENTRY_TAIL = 10
"""Bytes behind the letters of a dictionary entry: NUL, count (int64), type (int8)."""

_COUNTS_BELOW = 10**15
"""The count of free nodes in fastText's label tree (loss hs, `HierarchicalSoftmaxLoss::buildTree`): labels that have as much, alone or
together, make it write beyond its memory."""

_FNV_START, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)
_SIGN = np.uint32(0xFFFFFF00)

END_HASH = 3617362777
"""fastText's hash of `</s>`, which ends every line and is part of its runs of words."""

_MOST_PROBES = 32
"""A word that finds no place in so many steps counts as one more distinct word: text made to collide costs a repetition, not a search."""

_SPACE, _BEGIN, _END = 32, 60, 62

_BYTES, _I32, _I64 = read_only(types.uint8), read_only(types.int32), read_only(types.int64)
_I32_OUT, _I64_OUT, _U32_OUT = writable(types.int32), writable(types.int64), writable(types.uint32)


@numba.njit(types.int64(_BYTES, types.int64, types.int64, _I64_OUT, _I32_OUT), cache=True, nogil=True)
def read_entries(data: np.ndarray, position: int, words: int, starts: np.ndarray, sizes: np.ndarray) -> int:
    """Find the letters of a dictionary's entries, words first; returns the position behind them, or CUT_SHORT or BAD_ENTRY."""
    end = len(data)
    of_labels = 0
    for entry in range(len(starts)):
        start = position
        while position < end and data[position] != 0:
            position += 1
        if position + _ENTRY_TAIL > end or position - start > 0x7FFFFFFF:
            return CUT_SHORT
        if data[position + 9] != (0 if entry < words else 1):
            return BAD_ENTRY
        count = np.int64(0)
        for place in range(8):
            count |= np.int64(data[position + 1 + place]) << np.int64(8 * place)
        of_labels += count if entry >= words else 0
        if not 0 <= count < _COUNTS_BELOW or of_labels >= _COUNTS_BELOW:
            return BAD_ENTRY
        starts[entry], sizes[entry] = start, position - start
        position += _ENTRY_TAIL
    return position


@numba.njit(types.uint32(types.uint32, types.uint8), cache=True, nogil=True, inline="always")
def _hashed(value: np.uint32, byte: np.uint8) -> np.uint32:
    """One step of fastText's FNV-1a, in which a byte from 0x80 up is a negative number."""
    wide = np.uint32(byte)
    if wide >= np.uint32(0x80):
        wide |= _SIGN
    return np.uint32((value ^ wide) * _FNV_PRIME)


@numba.njit(types.boolean(_BYTES, types.int64, _BYTES, types.int64, types.int64), cache=True, nogil=True)
def same(left: np.ndarray, left_start: int, right: np.ndarray, right_start: int, size: int) -> bool:
    place = 0
    while place < size and left[np.uint64(left_start + place)] == right[np.uint64(right_start + place)]:
        place += 1
    return place == size


@numba.njit(types.int64(_BYTES, _I64, _I32, _U32_OUT, _I32_OUT), cache=True, nogil=True)
def word_table(data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, hashes: np.ndarray, slots: np.ndarray) -> int:
    """Fill `hashes` and `slots` of a model's words; returns the number of the word `</s>`, or -1. Of equal words the last counts."""
    mask = len(slots) - 1
    end_of_line = -1
    for word in range(len(starts)):
        value = _FNV_START
        for place in range(starts[word], starts[word] + sizes[word]):
            value = _hashed(value, data[place])
        hashes[word] = value
        slot = np.int64(value) & mask
        while slots[slot] >= 0:
            other = slots[slot]
            if hashes[other] == value and sizes[other] == sizes[word] and same(data, starts[other], data, starts[word], sizes[word]):
                break
            slot = (slot + 1) & mask
        slots[slot] = word
        if value == np.uint32(END_HASH) and sizes[word] == 4 and data[starts[word]] == _BEGIN and data[starts[word] + 3] == _END:
            end_of_line = word
    return end_of_line


@numba.njit(types.void(_BYTES, _I64, _I64_OUT), cache=True, nogil=True)
def count_words(data: np.ndarray, offsets: np.ndarray, counts: np.ndarray) -> None:
    """The most words that each line can have: its spaces and one more; 0 for an empty one."""
    for line in range(len(counts)):
        spaces = 0
        for place in range(np.uint64(offsets[line]), np.uint64(offsets[line + 1])):
            spaces += data[place] == _SPACE
        counts[line] = spaces + (offsets[line + 1] > offsets[line])


@numba.njit(types.int64(_BYTES, _I64, _I32_OUT, _I64_OUT, _I32_OUT, _I64_OUT, _I32_OUT, _U32_OUT), cache=True, nogil=True)
def split_words(
    data: np.ndarray,
    offsets: np.ndarray,
    slots: np.ndarray,
    first: np.ndarray,
    words: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    hashes: np.ndarray,
) -> int:
    """Part lines at spaces, number their distinct words, and hash each; returns how many distinct words there are.

    slots: scratch, all -1, a power of two above twice the words. first: int64[lines + 1], where each line's words begin in `words` (int32,
    their numbers). starts, sizes, hashes: of the distinct words.
    """
    mask = len(slots) - 1
    distinct = count = 0
    for line in range(len(first) - 1):
        first[line] = count
        position, end = offsets[line], offsets[line + 1]
        while position < end:
            start = position
            value = _FNV_START
            while position < end and data[np.uint64(position)] != _SPACE:
                value = _hashed(value, data[np.uint64(position)])
                position += 1
            size = position - start
            position += 1
            if size == 0:
                continue
            slot = np.int64(value) & mask
            found = -1
            for _ in range(_MOST_PROBES):
                other = slots[slot]
                if other < 0:
                    slots[slot] = distinct
                    break
                if hashes[other] == value and sizes[other] == size and same(data, starts[other], data, start, size):
                    found = other
                    break
                slot = (slot + 1) & mask
            if found < 0:
                found = distinct
                starts[found], sizes[found], hashes[found] = start, size, value
                distinct += 1
            words[count] = found
            count += 1
    first[len(first) - 1] = count
    return distinct


@numba.njit(types.void(_BYTES, _I64, _I32, types.int64, types.int64, _I64_OUT), cache=True, nogil=True)
def count_pieces(data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, minn: int, maxn: int, offsets: np.ndarray) -> None:
    """offsets: int64[words + 1], where the pieces of each word begin: runs of minn to maxn characters of `<word>`, not its ends alone."""
    total = 0
    for word in range(len(starts)):
        offsets[word] = total
        characters = 2
        for place in range(starts[word], starts[word] + sizes[word]):
            characters += (data[place] & 0xC0) != 0x80
        for size in range(max(minn, 1), maxn + 1):
            if size <= characters:
                total += characters - size + 1 - (2 if size == 1 else 0)
    offsets[len(starts)] = total


@numba.njit(types.void(_BYTES, _I64, _I32, types.int64, types.int64, _I64, _U32_OUT), cache=True, nogil=True)
def hash_pieces(
    data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, minn: int, maxn: int, offsets: np.ndarray, pieces: np.ndarray
) -> None:
    """The hashes of the pieces that `count_pieces` counted, in fastText's order."""
    longest = 0
    for word in range(len(starts)):
        longest = max(longest, sizes[word])
    letters = np.empty(longest + 2, np.uint8)
    letters[0] = _BEGIN
    for word in range(len(starts)):
        out = offsets[word]
        length = sizes[word] + 2
        for place in range(sizes[word]):
            letters[place + 1] = data[starts[word] + place]
        letters[length - 1] = _END
        for start in range(length):
            if (letters[start] & 0xC0) == 0x80:
                continue
            value = _FNV_START
            place = start
            for characters in range(1, maxn + 1):
                if place >= length:
                    break
                value = _hashed(value, letters[place])
                place += 1
                while place < length and (letters[place] & 0xC0) == 0x80:
                    value = _hashed(value, letters[place])
                    place += 1
                if characters >= minn and not (characters == 1 and (start == 0 or place == length)):
                    pieces[out] = value
                    out += 1
