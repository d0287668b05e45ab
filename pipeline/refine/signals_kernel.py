"""The compiled pass that counts, for each document, what the quality signals are ratios of.

Everything here is integers in, integers out: `count_characters` fills one row of counts per document from its UTF-8 bytes, and
`signals.py` divides. Importing this module loads (the first time: compiles) the kernels, so import it where they are used.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from pipeline.kernels import mix
from pipeline.refine.characters import BROKEN, DIGIT, HANGUL, JAMO, LATIN, OTHER_LETTER, SPACE, TERMINAL

# fmt: off
(CHARS, WORDS, LINES, WORD_CHARS, ALPHA_WORDS, SYMBOLS, BULLET_LINES, ELLIPSIS_LINES, STOP_WORDS, TERMINAL_LINES,
 SHORT_LINES, NEWLINES, LETTERS, HANGUL_LETTERS, LATIN_LETTERS, DIGITS, BROKEN_CHARS, JAMO_RUN_CHARS,
 CHECKED_LINES, CHECKED_LINE_CHARS, DUPLICATE_LINES, DUPLICATE_LINE_CHARS, CHECKED_WORD_CHARS,
 TOP_2GRAM_CHARS, TOP_3GRAM_CHARS, TOP_4GRAM_CHARS, DUPLICATE_5GRAM_CHARS, DUPLICATE_10GRAM_CHARS) = range(28)
# fmt: on
COUNTS = 28
"""Number of columns of the count matrix; the names above are its column numbers."""

CHECKED_LIMIT = 1 << 17
"""Words and lines per document that the repetition counts look at: above Gopher's ceiling of 100,000 words, and small enough
that the tables stay near the cache (131,072 words need 8 MB). The counts CHECKED_* say how much text was covered."""

SHORT_LINE_CHARS = 30
"""FineWeb: a line with fewer characters is short."""

_HASH_SEED = np.uint64(0x9E3779B97F4A7C15)
_WORD_PRIME = np.uint64(0x100000001B3)  # the FNV-1a prime for 64 bits
_GRAM_PRIME = np.uint64(0xD6E8FEB86659FD93)  # odd, hence invertible modulo 2**64: distinct words stay distinct in each place
_ZERO, _ONE = np.uint64(0), np.uint64(1)

# Gopher's eight stop words packed big-endian into integers, so that a word of letters compares in one step.
_STOP_WORDS = np.array([int.from_bytes(word, "big") for word in (b"the", b"be", b"to", b"of", b"and", b"that", b"have", b"with")], np.int64)

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_SCRATCH_HASHES, _SCRATCH_COUNTS, _MATRIX = types.uint64[::1], types.int64[::1], types.int64[:, ::1]


@numba.njit(types.int64(_SCRATCH_HASHES, types.uint64, types.int64), cache=True, nogil=True, inline="always")
def _slot(keys: np.ndarray, key: np.uint64, mask: int) -> int:
    """Where `key` is, or the free place where it belongs, in an open-addressing table of mask + 1 places (0 = free)."""
    place = np.int64(key & np.uint64(mask))
    while keys[place] != _ZERO and keys[place] != key:
        place = (place + 1) & mask
    return place


@numba.njit(types.int64(types.int64), cache=True, nogil=True)
def _table_mask(entries: int) -> int:
    size = 16
    while size < 2 * entries:
        size *= 2
    return size - 1


@numba.njit(types.void(_SCRATCH_HASHES, _SCRATCH_COUNTS, types.int64, _SCRATCH_HASHES, types.int64[::1]), cache=True, nogil=True)
def _count_duplicate_lines(hashes: np.ndarray, lengths: np.ndarray, lines: int, keys: np.ndarray, row: np.ndarray) -> None:
    mask = _table_mask(lines)
    keys[: mask + 1] = _ZERO
    for line in range(lines):
        key = mix(hashes[line]) | _ONE
        place = _slot(keys, key, mask)
        if keys[place] == key:
            row[DUPLICATE_LINES] += 1
            row[DUPLICATE_LINE_CHARS] += lengths[line]
        else:
            keys[place] = key


@numba.njit(
    types.int64(_SCRATCH_HASHES, _SCRATCH_COUNTS, types.int64, types.int64, _SCRATCH_HASHES, _SCRATCH_COUNTS), cache=True, nogil=True
)
def _top_gram_chars(prefix: np.ndarray, ends: np.ndarray, words: int, n: int, keys: np.ndarray, seen: np.ndarray) -> int:
    """Characters in all occurrences of the most frequent word n-gram that occurs at least twice; among equals the longest."""
    grams = words - n + 1
    if grams < 2:
        return 0
    power = _ONE
    for _ in range(n):
        power *= _GRAM_PRIME
    mask = _table_mask(grams)
    keys[: mask + 1] = _ZERO
    best_count, best_length = 1, 0
    for first in range(grams):
        key = mix(prefix[first + n] - prefix[first] * power) | _ONE
        place = _slot(keys, key, mask)
        if keys[place] == key:
            seen[place] += 1
            count = seen[place]
            if count >= best_count:
                length = ends[first + n] - ends[first] + n - 1
                if count > best_count or length > best_length:
                    best_count, best_length = count, length
        else:
            keys[place] = key
            seen[place] = 1
    return best_count * best_length


@numba.njit(types.int64(_SCRATCH_HASHES, _SCRATCH_COUNTS, types.int64, types.int64, _SCRATCH_HASHES), cache=True, nogil=True)
def _duplicate_gram_chars(prefix: np.ndarray, ends: np.ndarray, words: int, n: int, keys: np.ndarray) -> int:
    """Characters of word n-grams seen before, left to right, jumping over each one found so that no word counts twice."""
    if words <= n:
        return 0
    power = _ONE
    for _ in range(n):
        power *= _GRAM_PRIME
    mask = _table_mask(words - n + 1)
    keys[: mask + 1] = _ZERO
    chars = 0
    first = 0
    while first + n <= words:
        key = mix(prefix[first + n] - prefix[first] * power) | _ONE
        place = _slot(keys, key, mask)
        if keys[place] == key:
            chars += ends[first + n] - ends[first]
            first += n
        else:
            keys[place] = key
            first += 1
    return chars


@numba.njit(types.void(_BYTES, _OFFSETS, _BYTES, _MATRIX), cache=True, nogil=True)
def count_characters(data: np.ndarray, offsets: np.ndarray, classes: np.ndarray, counts: np.ndarray) -> None:
    """Fill `counts` (documents x COUNTS, zeroed by the caller) from the UTF-8 bytes of each document.

    data: the Arrow data buffer; offsets: documents + 1 byte positions in it; classes: `characters.class_table()`. Memory: 12 MB of
    scratch at most, whatever the documents hold; time is linear in the bytes. Arrow strings are UTF-8; for other bytes the counts mean
    nothing, but no byte outside the document is read.
    """
    longest = 0
    for document in range(offsets.size - 1):
        longest = max(longest, offsets[document + 1] - offsets[document])
    room = min(longest // 2 + 1, CHECKED_LIMIT)
    word_prefix = np.empty(room + 1, np.uint64)
    word_ends = np.empty(room + 1, np.int64)
    line_hashes = np.empty(room, np.uint64)
    line_lengths = np.empty(room, np.int64)
    keys = np.empty(_table_mask(room) + 1, np.uint64)
    seen = np.empty(_table_mask(room) + 1, np.int64)
    word_prefix[0] = _ZERO
    word_ends[0] = 0

    for document in range(offsets.size - 1):
        row = counts[document]
        position, end = offsets[document], offsets[document + 1]
        chars = words = letters = hangul = latin = digits = broken = newlines = word_chars = alpha_words = symbols = 0
        lines = jamo_run = jamo_chars = dots = stop_mask = 0
        word_hash, line_hash = _HASH_SEED, _HASH_SEED
        word_start_chars = -1  # number of characters before the current word; -1 between words
        word_has_letter = False
        packed, packed_state = 0, 0  # letters of the word; 0 before them, 1 inside, 2 after them, 3 not a plain word
        line_start_chars = 0
        first_in_line, last_in_line = -1, -1  # first and last character that is not space
        line_dots = 0  # full stops in a row that end at last_in_line
        last_was_dot = False
        ended = False
        while not ended:
            if position >= end:
                # A line feed that is not there closes the last word and line; it is taken back below.
                ended = True
                character = 10
                class_ = np.uint8(SPACE)
            else:
                lead = np.int64(data[position])
                if lead < 0x80:
                    character = lead
                    position += 1
                elif lead < 0xE0 and position + 1 < end:
                    character = (lead & 0x1F) << 6 | (np.int64(data[position + 1]) & 0x3F)
                    position += 2
                elif lead < 0xF0 and position + 2 < end:
                    character = (lead & 0x0F) << 12 | (np.int64(data[position + 1]) & 0x3F) << 6 | (np.int64(data[position + 2]) & 0x3F)
                    position += 3
                elif position + 3 < end:
                    character = (
                        (lead & 0x07) << 18
                        | (np.int64(data[position + 1]) & 0x3F) << 12
                        | (np.int64(data[position + 2]) & 0x3F) << 6
                        | (np.int64(data[position + 3]) & 0x3F)
                    )
                    position += 4
                else:
                    character = 0xFFFD
                    position += 1
                if character < 0x10000:
                    class_ = classes[character]
                elif (
                    character < 0x1D000
                    or 0x1D400 <= character <= 0x1D7CB
                    or 0x1E000 <= character <= 0x1EFFF
                    or 0x20000 <= character <= 0x3FFFF
                ):
                    class_ = np.uint8(OTHER_LETTER)
                else:
                    class_ = np.uint8(0)
                chars += 1

            if class_ & JAMO:
                jamo_run += 1
            elif jamo_run:
                if jamo_run >= 3:
                    jamo_chars += jamo_run
                jamo_run = 0

            if class_ & SPACE:
                last_was_dot = False
                before = chars if ended else chars - 1
                if word_start_chars >= 0:
                    length = before - word_start_chars
                    word_chars += length
                    if words < room:
                        word_prefix[words + 1] = word_prefix[words] * _GRAM_PRIME + mix(word_hash)
                        word_ends[words + 1] = word_ends[words] + length
                        row[CHECKED_WORD_CHARS] = before
                    words += 1
                    alpha_words += word_has_letter
                    if packed_state == 1 or packed_state == 2:
                        for stop in range(_STOP_WORDS.size):
                            if packed == _STOP_WORDS[stop]:
                                stop_mask |= 1 << stop
                    word_start_chars = -1
                if character == 10:
                    newlines += 1
                    if last_in_line >= 0:
                        length = before - line_start_chars
                        if lines < room:
                            line_hashes[lines] = line_hash
                            line_lengths[lines] = length
                            row[CHECKED_LINE_CHARS] = before
                        lines += 1
                        row[SHORT_LINES] += length < SHORT_LINE_CHARS
                        row[BULLET_LINES] += first_in_line == 0x2D or first_in_line == 0x2022
                        row[ELLIPSIS_LINES] += line_dots >= 3 or last_in_line == 0x2026
                        if last_in_line < 0x10000:
                            row[TERMINAL_LINES] += (classes[last_in_line] & TERMINAL) != 0
                    line_hash = _HASH_SEED
                    line_start_chars = chars
                    first_in_line, last_in_line = -1, -1
                    line_dots = 0
                else:
                    line_hash = (line_hash ^ np.uint64(character)) * _WORD_PRIME
                broken += (class_ & BROKEN) != 0
                continue

            if word_start_chars < 0:
                word_start_chars = chars - 1
                word_hash = _HASH_SEED
                word_has_letter = False
                packed, packed_state = 0, 0
            word_hash = (word_hash ^ np.uint64(character)) * _WORD_PRIME
            line_hash = (line_hash ^ np.uint64(character)) * _WORD_PRIME
            if first_in_line < 0:
                first_in_line = character
            last_in_line = character

            if class_ & (LATIN | HANGUL | OTHER_LETTER):
                letters += 1
                word_has_letter = True
                hangul += (class_ & HANGUL) != 0
                latin += (class_ & LATIN) != 0
            digits += (class_ & DIGIT) != 0
            broken += (class_ & BROKEN) != 0

            if character < 0x80:
                if class_ & LATIN:
                    if packed_state == 2:
                        packed_state = 3
                    elif packed_state == 0:
                        packed_state = 1
                    # Five letters are enough to differ from every stop word; more would overflow.
                    if packed < 1 << 32:
                        packed = packed << 8 | character | 0x20
                elif class_ & DIGIT or class_ & BROKEN:
                    packed_state = 3
                elif packed_state == 1:
                    packed_state = 2
            else:
                packed_state = 3

            if character == 0x2E:
                dots = dots + 1 if last_was_dot else 1
                line_dots = dots
                last_was_dot = True
                if dots % 3 == 0:
                    symbols += 1
            else:
                last_was_dot = False
                line_dots = 0
                symbols += character == 0x23 or character == 0x2026

        row[CHARS], row[WORDS], row[LINES], row[WORD_CHARS] = chars, words, lines, word_chars
        row[ALPHA_WORDS], row[SYMBOLS], row[NEWLINES] = alpha_words, symbols, newlines - 1
        row[LETTERS], row[HANGUL_LETTERS], row[LATIN_LETTERS] = letters, hangul, latin
        row[DIGITS], row[BROKEN_CHARS], row[JAMO_RUN_CHARS] = digits, broken, jamo_chars
        for stop in range(_STOP_WORDS.size):
            row[STOP_WORDS] += stop_mask >> stop & 1
        row[CHECKED_LINES] = min(lines, room)
        _count_duplicate_lines(line_hashes, line_lengths, row[CHECKED_LINES], keys, row)
        checked = min(words, room)
        if words <= room:
            row[CHECKED_WORD_CHARS] = chars
        if lines <= room:
            row[CHECKED_LINE_CHARS] = chars
        row[TOP_2GRAM_CHARS] = _top_gram_chars(word_prefix, word_ends, checked, 2, keys, seen)
        row[TOP_3GRAM_CHARS] = _top_gram_chars(word_prefix, word_ends, checked, 3, keys, seen)
        row[TOP_4GRAM_CHARS] = _top_gram_chars(word_prefix, word_ends, checked, 4, keys, seen)
        row[DUPLICATE_5GRAM_CHARS] = _duplicate_gram_chars(word_prefix, word_ends, checked, 5, keys)
        row[DUPLICATE_10GRAM_CHARS] = _duplicate_gram_chars(word_prefix, word_ends, checked, 10, keys)
