"""The compiled search for phrases in UTF-8 bytes: counts by kind for each document, and which lines are page furniture.

Three bytes select a bucket of phrases. A first loop, without branches, notes the places whose bucket is not empty by a bitmap of 8 KB;
a second bitmap then asks for the next three bytes, and what is left is compared. Importing this module loads (the first
time: compiles) the kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

BUCKETS = 1 << 16
_BUCKET_PRIME = 0x9E3779B1  # 2**32 / golden ratio (Knuth), spreads three bytes over the upper 16 bits of 32

SPAM, AD, OBSCENE, C4_LINE, LOREM_IPSUM, FURNITURE = range(6)
"""Kinds of phrases; also the column numbers of the count matrix."""
KINDS = 6

FURNITURE_PERCENT = 40
"""A line is page furniture when phrases of that kind cover at least this share of its bytes: "Copyright (c) 2020 Foo Inc. All
rights reserved." is covered to 59 %, a sentence that mentions a login to less than 10 %."""

BLANK_LINE, TEXT_LINE, FURNITURE_LINE = -1, 0, 1
"""What `furniture_lines` says of a line."""

MAX_PARTICLE_SYLLABLES = 3

CHUNK_BYTES = 4096  # text searched at once: the list of places stays in the first-level cache

_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[65:91] += 32
_IS_WORD = np.zeros(256, np.bool_)
_IS_WORD[48:58] = _IS_WORD[65:91] = _IS_WORD[97:123] = True

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_NUMBERS = types.Array(types.int64, 1, "C", readonly=True)
_BUCKET_TABLE = types.Array(types.int32, 1, "C", readonly=True)
TABLE = (_BYTES, _NUMBERS, _BYTES, _BYTES, _BYTES, _BYTES, _BUCKET_TABLE, _NUMBERS)


@numba.njit(types.int64(types.int64, types.int64, types.int64), cache=True, nogil=True, inline="always")
def bucket(first: int, second: int, third: int) -> int:
    """The table entry (0 to BUCKETS - 1) of three bytes, the same for upper-case and lower-case ASCII letters."""
    return (((first | second << 8 | third << 16) | 0x202020) * _BUCKET_PRIME & 0xFFFFFFFF) >> 16


@numba.njit(types.int64(_BYTES, types.int64, types.int64), cache=True, nogil=True)
def syllable_at(data: np.ndarray, position: int, end: int) -> int:
    """The Hangul syllable whose UTF-8 form begins at `position`, or 0."""
    if position + 3 > end or data[position] < 0xEA or data[position] > 0xED:
        return 0
    character = (np.int64(data[position]) & 0x0F) << 12 | (np.int64(data[position + 1]) & 0x3F) << 6 | (np.int64(data[position + 2]) & 0x3F)
    return character if 0xAC00 <= character <= 0xD7A3 else 0


@numba.njit(types.boolean(_BYTES, types.int64, types.int64, types.int64, types.int64, _NUMBERS), cache=True, nogil=True)
def _stands_alone(data: np.ndarray, begin: int, position: int, behind: int, end: int, particles: np.ndarray) -> bool:
    """Whether no Hangul precedes data[position:behind], and nothing or just one of `particles` follows it before the run of Hangul ends."""
    if position >= begin + 3 and syllable_at(data, position - 3, end):
        return False
    packed, syllables = 0, 0
    following = syllable_at(data, behind, end)
    while following:
        if syllables == MAX_PARTICLE_SYLLABLES:
            return False
        packed = packed << 16 | following
        syllables += 1
        behind += 3
        following = syllable_at(data, behind, end)
    if not syllables:
        return True
    place = np.searchsorted(particles, packed)
    return place < particles.size and particles[place] == packed


@numba.njit(types.int64(types.int64, types.int64), cache=True, nogil=True, inline="always")
def pair(entry: int, following: int) -> int:
    """The bit (0 to BUCKETS - 1) of six bytes, given as the buckets of the first and the last three."""
    return (entry * 5 + following) & (BUCKETS - 1)


@numba.njit(types.boolean(_BYTES, types.int64), cache=True, nogil=True, inline="always")
def _has_bit(bitmap: np.ndarray, bit: int) -> bool:
    return bitmap[np.uint64(bit >> 3)] >> np.uint8(bit & 7) & np.uint8(1) != 0


@numba.njit(types.int64(_BYTES, types.int64), cache=True, nogil=True, inline="always")
def _bucket_at(data: np.ndarray, position: int) -> int:
    # Unsigned positions: numba takes signed ones for numbers that may count from the end, and checks.
    return bucket(np.int64(data[np.uint64(position)]), np.int64(data[np.uint64(position + 1)]), np.int64(data[np.uint64(position + 2)]))


@numba.njit(types.int64(_BYTES, types.int64, types.int64, _BYTES, types.int64[::1]), cache=True, nogil=True)
def candidate_places(data: np.ndarray, first: int, last: int, occupied: np.ndarray, candidates: np.ndarray) -> int:
    """Write the positions from `first` to `last` - 1 where a character and an occupied bucket begin; return how many."""
    found = 0
    for position in range(first, last):
        candidates[np.uint64(found)] = position
        found += _has_bit(occupied, _bucket_at(data, position)) & (data[np.uint64(position)] & 0xC0 != 0x80)
    return found


@numba.njit(types.boolean(_BYTES, types.int64, types.int64, types.int64, _BYTES, _BYTES), cache=True, nogil=True, inline="always")
def may_begin(data: np.ndarray, begin: int, position: int, end: int, short: np.ndarray, pairs: np.ndarray) -> bool:
    """Whether a phrase may begin at a candidate position of the document data[begin:end]. Saves nearly all calls of `longest_at`."""
    if position > begin and _IS_WORD[data[np.uint64(position)]] and _IS_WORD[data[np.uint64(position - 1)]]:
        return False
    entry = _bucket_at(data, position)
    if _has_bit(short, entry):
        return True
    return position + 5 < end and _has_bit(pairs, pair(entry, _bucket_at(data, position + 3)))


@numba.njit(types.int64(_BYTES, types.int64, types.int64, types.int64, *TABLE), cache=True, nogil=True)
def longest_at(
    data: np.ndarray,
    begin: int,
    position: int,
    end: int,
    phrase_bytes: np.ndarray,
    phrase_starts: np.ndarray,
    kinds: np.ndarray,
    occupied: np.ndarray,
    short: np.ndarray,
    pairs: np.ndarray,
    buckets: np.ndarray,
    particles: np.ndarray,
) -> int:
    """The number of the longest phrase at `position` of the document data[begin:end], of which three bytes are left, or -1."""
    entry = _bucket_at(data, position)
    for phrase in range(buckets[entry], buckets[entry + 1]):
        start = phrase_starts[phrase]
        length = phrase_starts[phrase + 1] - start
        if position + length > end:
            continue
        matched = 0
        while matched < length and _LOWER[data[position + matched]] == phrase_bytes[start + matched]:
            matched += 1
        if matched < length:
            continue
        behind = position + length
        if behind < end and _IS_WORD[data[behind]] and _IS_WORD[data[behind - 1]]:
            continue
        if kinds[phrase] == OBSCENE and not _stands_alone(data, begin, position, behind, end, particles):
            continue
        return phrase
    return -1


@numba.njit(types.int64(_BYTES, _NUMBERS, *TABLE, types.int64[:, ::1], types.int64[::1]), cache=True, nogil=True)
def count_phrases(
    data: np.ndarray,
    offsets: np.ndarray,
    phrase_bytes: np.ndarray,
    phrase_starts: np.ndarray,
    kinds: np.ndarray,
    occupied: np.ndarray,
    short: np.ndarray,
    pairs: np.ndarray,
    buckets: np.ndarray,
    particles: np.ndarray,
    counts: np.ndarray,
    places: np.ndarray,
) -> int:
    """Fill `counts` (documents x KINDS, zeroed by the caller); write the bytes where C4_LINE phrases begin to `places`, return how many.

    The eight arguments after `offsets` are the fields of `phrases.PhraseTable` in order; `places` needs room for one number in every
    8 bytes of data. The longest phrase at a place wins and the search goes on behind it. A phrase that begins or ends with an ASCII
    letter or digit must not touch another one there, so `ads` is not found in `heads`; Hangul on either side is fine, so a particle
    may follow. OBSCENE phrases must not have Hangul before them, and after them only a particle.
    """
    candidates = np.empty(CHUNK_BYTES + 1, np.int64)
    found = 0
    for document in range(offsets.size - 1):
        begin, end = offsets[document], offsets[document + 1]
        behind = begin  # where the last phrase ended
        for chunk in range(begin, end - 2, CHUNK_BYTES):
            count = candidate_places(data, chunk, min(chunk + CHUNK_BYTES, end - 2), occupied, candidates)
            for place in range(count):
                position = candidates[place]
                if position < behind or not may_begin(data, begin, position, end, short, pairs):
                    continue
                phrase = longest_at(
                    data, begin, position, end, phrase_bytes, phrase_starts, kinds, occupied, short, pairs, buckets, particles
                )
                if phrase < 0:
                    continue
                kind = kinds[phrase]
                counts[document, kind] += 1
                if kind == C4_LINE:
                    places[found] = position
                    found += 1
                behind = position + phrase_starts[phrase + 1] - phrase_starts[phrase]
    return found


@numba.njit(types.void(_BYTES, _NUMBERS, types.int64[::1]), cache=True, nogil=True)
def count_lines(data: np.ndarray, offsets: np.ndarray, line_offsets: np.ndarray) -> None:
    """Fill `line_offsets` (documents + 1): document d has lines line_offsets[d] to line_offsets[d + 1] - 1, one more than it has LF."""
    line_offsets[0] = 0
    for document in range(offsets.size - 1):
        lines = 1
        for position in range(offsets[document], offsets[document + 1]):
            lines += data[position] == 10
        line_offsets[document + 1] = line_offsets[document] + lines


@numba.njit(types.void(_BYTES, _NUMBERS, *TABLE, types.int64[::1], types.int8[::1]), cache=True, nogil=True)
def furniture_lines(
    data: np.ndarray,
    offsets: np.ndarray,
    phrase_bytes: np.ndarray,
    phrase_starts: np.ndarray,
    kinds: np.ndarray,
    occupied: np.ndarray,
    short: np.ndarray,
    pairs: np.ndarray,
    buckets: np.ndarray,
    particles: np.ndarray,
    line_offsets: np.ndarray,
    marks: np.ndarray,
) -> None:
    """Fill `marks`, one per line: FURNITURE_LINE, TEXT_LINE, or BLANK_LINE for a line of nothing but ASCII white space and controls.

    Lines are what `text.split("\\n")` gives, empty ones too. How to use it, for a large_string column::

        data, offsets = signals.text_buffers(column)
        table = phrases.furniture_table()
        line_offsets = np.zeros(len(offsets), np.int64)
        phrases_kernel.count_lines(data, offsets, line_offsets)
        marks = np.zeros(line_offsets[-1], np.int8)
        phrases_kernel.furniture_lines(data, offsets, *table.arrays, line_offsets, marks)

    Then marks[line_offsets[d] : line_offsets[d + 1]] are the lines of document d, and its boilerplate_line_ratio is the number of
    FURNITURE_LINE over the number of lines that are not BLANK_LINE.
    """
    candidates = np.empty(CHUNK_BYTES + 1, np.int64)
    for document in range(offsets.size - 1):
        line_end, end = offsets[document] - 1, offsets[document + 1]
        for line in range(line_offsets[document], line_offsets[document + 1]):
            begin = line_end + 1
            line_end = begin
            while line_end < end and data[np.uint64(line_end)] != 10:
                line_end += 1
            first, last = begin, line_end
            while first < last and data[first] <= 32:
                first += 1
            while first < last and data[last - 1] <= 32:
                last -= 1
            if first == last:
                marks[line] = BLANK_LINE
                continue
            covered, behind = 0, begin
            for chunk in range(first, last - 2, CHUNK_BYTES):
                count = candidate_places(data, chunk, min(chunk + CHUNK_BYTES, last - 2), occupied, candidates)
                for place in range(count):
                    position = candidates[place]
                    if position < behind or not may_begin(data, begin, position, line_end, short, pairs):
                        continue
                    phrase = longest_at(
                        data, begin, position, line_end, phrase_bytes, phrase_starts, kinds, occupied, short, pairs, buckets, particles
                    )
                    if phrase >= 0:
                        length = phrase_starts[phrase + 1] - phrase_starts[phrase]
                        covered += length
                        behind = position + length
            marks[line] = FURNITURE_LINE if covered * 100 >= (last - first) * FURNITURE_PERCENT else TEXT_LINE
