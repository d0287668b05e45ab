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
from pipeline.refine import characters as c
from pipeline.refine.repetition_kernel import CHECKED_LIMIT, GRAM_COUNTS, duplicates, repeated_grams, table_mask
from pipeline.refine.words_kernel import STOP_NUMBER, decode, ending_at, is_c4_end, is_url_mark, last_letter, stop_word, supplementary_kind

# fmt: off
(CHARS, WORDS, LINES, SENTENCES, WORD_CHARS, MAX_WORD_LENGTH, ALPHA_WORDS, SYMBOLS, BULLET_LINES, ELLIPSIS_LINES, STOP_WORDS,
 TERMINAL_LINES, SHORT_LINES, NEWLINES, LIST_LINES, URL_WORDS, UPPER, ASCII_LETTERS, C4_LINES, C4_SENTENCES, CURLY_BRACKETS,
 LETTERS, HANGUL_LETTERS, LATIN_LETTERS, DIGITS, BROKEN_CHARS, CONJOINING, HANGUL_WORDS, JOSA_WORDS, LONG_EOJEOL, SINGLE_SYLLABLES,
 KOREAN_STOP_WORDS, KOREAN_END_LINES, JAMO_RUN_CHARS, CHECKED_LINES, CHECKED_LINE_CHARS, DUPLICATE_LINES, DUPLICATE_LINE_CHARS,
 CHECKED_PARAGRAPHS, CHECKED_PARAGRAPH_CHARS, DUPLICATE_PARAGRAPHS, DUPLICATE_PARAGRAPH_CHARS, CHECKED_WORD_CHARS,
 FIRST_GRAM_CHARS) = range(44)
# fmt: on
COUNTS = FIRST_GRAM_CHARS + GRAM_COUNTS
"""Number of columns of the count matrix; the names above are its column numbers, the last ones are for 2-grams to 10-grams."""

SHORT_LINE_CHARS = 30  # FineWeb, section 3.6: a line with fewer characters is short
LIST_LINE_WORDS = 3
LONG_EOJEOL_SYLLABLES = 12
C4_LINE_WORDS = 3  # Raffel et al. 2020, section 2.2
C4_WORD_CHARS = 1000  # c4_utils.py of tensorflow-datasets

_HASH_SEED = np.uint64(0x9E3779B97F4A7C15)
_WORD_PRIME = np.uint64(0x100000001B3)  # the FNV-1a prime for 64 bits

# The counts of a word's characters share one integer, 8 bits each; it is emptied before any of them reaches 256.
_F_CHARS, _F_SYLLABLES, _F_JAMO, _F_ASCII, _F_UPPER, _F_LATIN, _F_OTHER, _F_DIGITS = range(0, 64, 8)
_FULL = np.uint64(0x80)
_BYTE, _EIGHT = np.uint64(0xFF), np.uint64(8)
# The sums over words have 16 bits for each count, so they are emptied every 256 words: fields 0, 2, 4, 6 in one, 1, 3, 5, 7 in the other.
_LANES = np.uint64(0x00FF00FF00FF00FF)
_LANE_WORDS = 256
_LETTER_FIELDS = np.uint64(sum(0xFF << field for field in (_F_SYLLABLES, _F_JAMO, _F_ASCII, _F_LATIN, _F_OTHER)))
_WORD_FIELDS = _LETTER_FIELDS | np.uint64(0xFF << _F_DIGITS)


def _tallies() -> np.ndarray:
    table = np.full(c.KINDS, 1 << _F_CHARS, np.uint64)
    for field, kinds in (
        (_F_SYLLABLES, (c.SYLLABLE, c.STEM)),
        (_F_JAMO, (c.JAMO, c.CONJOINING_JAMO, c.COMPATIBILITY_JAMO)),
        (_F_ASCII, (c.ASCII_LOWER, c.ASCII_UPPER)),
        (_F_UPPER, (c.ASCII_UPPER,)),
        (_F_LATIN, (c.LATIN,)),
        (_F_OTHER, (c.OTHER_LETTER,)),
        (_F_DIGITS, (c.DIGIT,)),
    ):
        for kind in kinds:
            table[kind] += np.uint64(1 << field)
    return table


_TALLIES = _tallies()
_STEMS = np.array([ord(syllable) for syllable in c.STEM_SYLLABLES], np.int64)
_ALL_STOP_WORDS = 255
_MAY_BEGIN_STOP_WORD = np.array([not chr(byte).isalpha() or chr(byte).lower() in "tboahw" for byte in range(128)] + [True] * 128)

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)


@numba.njit(types.void(types.uint64, types.uint64, types.int64[::1]), cache=True, nogil=True)
def _add_lanes(even: np.uint64, odd: np.uint64, totals: np.ndarray) -> None:
    """Add the 16-bit counts of both sums to the eight totals."""
    for lane in range(4):
        shift = np.uint64(16 * lane)
        totals[2 * lane] += np.int64(even >> shift & np.uint64(0xFFFF))
        totals[2 * lane + 1] += np.int64(odd >> shift & np.uint64(0xFFFF))


@numba.njit(types.int64(types.int64), cache=True, nogil=True)
def _bits(mask: int) -> int:
    count = 0
    while mask:
        count += mask & 1
        mask >>= 1
    return count


@numba.njit(types.void(_BYTES, _OFFSETS, _BYTES, _BYTES, types.int64[::1], types.int64[:, ::1]), cache=True, nogil=True)
def count_characters(
    data: np.ndarray, offsets: np.ndarray, kinds: np.ndarray, endings: np.ndarray, c4_places: np.ndarray, counts: np.ndarray
) -> None:
    """Fill `counts` (documents x COUNTS, zeroed by the caller) from the UTF-8 bytes of each document.

    data: the Arrow data buffer; offsets: documents + 1 byte positions in it; kinds, endings: `characters.kind_table()` and
    `ending_table()`; c4_places: ascending byte positions of the phrases for which C4 discards a line, then one number beyond all
    data. Memory: 12 MB of scratch at most, whatever the documents hold; time is linear in the bytes. Arrow strings are UTF-8; for
    other bytes the counts mean nothing, but no byte outside the document is read.
    """
    longest = 0
    for document in range(offsets.size - 1):
        longest = max(longest, offsets[document + 1] - offsets[document])
    room = min(longest // 2 + 1, CHECKED_LIMIT)
    word_hashes = np.empty(room, np.uint64)
    word_ends = np.empty(room + 1, np.int64)
    line_hashes = np.empty(room, np.uint64)
    line_lengths = np.empty(room, np.int64)
    paragraph_hashes = np.empty(room, np.uint64)
    paragraph_lengths = np.empty(room, np.int64)
    grams = np.empty(room, np.uint64)
    table = np.empty(table_mask(room) + 1, np.uint64)
    leaders, frequencies, gram_places = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    seen = np.empty(room, np.uint8)
    totals = np.empty(8, np.int64)
    word_ends[0] = 0
    c4_place = 0

    for document in range(offsets.size - 1):
        row = counts[document]
        position, end = offsets[document], offsets[document + 1]
        chars = words = word_chars = lines = sentences = paragraphs = newlines = broken = 0
        symbols = jamo_run = jamo_chars = dots = stop_mask = korean_stop_mask = 0
        alpha_words = longest_word = 0
        totals[:] = 0
        even, odd = np.uint64(0), np.uint64(0)
        last_dot, jamo_end = -1, -1  # where the last full stop stood; where the last run of compatibility jamo ended
        line_hash, line_start_chars, line_first, line_last = _HASH_SEED, 0, -1, -1  # line_last: the byte behind its last word
        line_words = line_longest = line_sentences = 0
        line_ends_korean = False
        sentence_open = False  # a letter or digit stands behind the last sentence end
        last_kind = np.int64(c.OTHER)
        paragraph_hash, paragraph_start_chars, paragraph_end_chars = _HASH_SEED, -1, 0
        while position <= end:
            # One white-space character; behind the last byte, a line feed that is not there closes the last line.
            character, width = decode(data, position, end) if position < end else (10, 1)
            kind = np.int64(kinds[np.uint64(character)]) if character < 0x10000 else supplementary_kind(character)
            if kind == c.LINE_FEED:
                if line_words:
                    length = chars - line_start_chars
                    if lines < room:
                        line_hashes[lines] = line_hash
                        line_lengths[lines] = length
                        row[CHECKED_LINE_CHARS] = chars
                    lines += 1
                    if paragraph_start_chars < 0:
                        paragraph_start_chars = line_start_chars
                        paragraph_hash = _HASH_SEED
                    paragraph_hash = (paragraph_hash ^ mix(line_hash)) * _WORD_PRIME
                    paragraph_end_chars = chars
                    longest_word = max(longest_word, line_longest)
                    line_sentences += sentence_open
                    sentence_open = False
                    sentences += line_sentences
                    terminal = c.QUOTE <= last_kind <= c.SENTENCE_MARK
                    row[TERMINAL_LINES] += terminal
                    row[SHORT_LINES] += length < SHORT_LINE_CHARS
                    row[ELLIPSIS_LINES] += last_kind == c.ELLIPSIS or (last_kind == c.FULL_STOP and dots >= 3)
                    row[KOREAN_END_LINES] += line_ends_korean
                    row[LIST_LINES] += line_words <= LIST_LINE_WORDS and not terminal and not line_ends_korean
                    row[BULLET_LINES] += data[line_first] == 0x2D or (
                        line_last >= line_first + 3
                        and data[line_first] == 0xE2
                        and data[line_first + 1] == 0x80
                        and data[line_first + 2] == 0xA2
                    )
                    discarded = c4_places[c4_place] < position
                    while c4_places[c4_place] < position:
                        c4_place += 1
                    if (
                        line_words >= C4_LINE_WORDS
                        and line_longest <= C4_WORD_CHARS
                        and not discarded
                        and (terminal or data[line_last - 1] == 0x5D)
                        and is_c4_end(data, line_first, line_last, kinds)
                    ):
                        row[C4_LINES] += 1
                        row[C4_SENTENCES] += line_sentences
                if (not line_words or position == end) and paragraph_start_chars >= 0:
                    if paragraphs < room:
                        paragraph_hashes[paragraphs] = paragraph_hash
                        paragraph_lengths[paragraphs] = paragraph_end_chars - paragraph_start_chars
                        row[CHECKED_PARAGRAPH_CHARS] = paragraph_end_chars
                    paragraphs += 1
                    paragraph_start_chars = -1
                if position == end:
                    break
                newlines += 1
                chars += 1
                position += 1
                line_hash, line_start_chars, line_first = _HASH_SEED, chars, -1
                line_words = line_longest = line_sentences = 0
                line_ends_korean = False
                continue
            if kind <= c.BROKEN_SPACE:
                broken += kind == c.BROKEN_SPACE
                line_hash = (line_hash ^ np.uint64(character)) * _WORD_PRIME
                chars += 1
                position += width
                continue

            first = position
            word_hash = _HASH_SEED
            tally, tally_at_sentence_end = np.uint64(0), np.uint64(0)
            earlier_chars = earlier_syllables = earlier_ascii = 0
            earlier_fields = np.uint64(0)
            has_url = False
            while True:
                word_hash = (word_hash ^ np.uint64(character)) * _WORD_PRIME
                tally += _TALLIES[np.uint64(kind)]
                last_kind = kind
                if kind >= c.FULL_STOP:
                    if kind <= c.SENTENCE_MARK:
                        if kind == c.FULL_STOP:
                            dots = dots + 1 if last_dot == position - 1 else 1
                            last_dot = position
                            symbols += dots % 3 == 0
                            has_url |= is_url_mark(data, first, position, character)
                        else:
                            symbols += kind == c.ELLIPSIS
                        behind = data[position + width] if position + width < end else np.uint8(10)
                        if not (48 <= behind <= 57 or 97 <= behind | 0x20 <= 122) and (
                            sentence_open or (tally ^ tally_at_sentence_end) & _WORD_FIELDS
                        ):
                            line_sentences += 1
                            sentence_open = False
                            tally_at_sentence_end = tally
                    elif kind == c.SLASH:
                        has_url |= is_url_mark(data, first, position, character)
                    elif kind == c.STEM:
                        for stem in range(_STEMS.size):
                            if character == _STEMS[stem]:
                                korean_stop_mask |= 1 << stem
                    elif kind == c.COMPATIBILITY_JAMO:
                        jamo_run = jamo_run + 1 if jamo_end == position else 1
                        jamo_end = position + width
                        jamo_chars += 3 if jamo_run == 3 else jamo_run > 3
                    elif kind == c.HASH:
                        symbols += 1
                    elif kind == c.CURLY_BRACKET:
                        row[CURLY_BRACKETS] += 1
                    elif kind == c.CONJOINING_JAMO:
                        row[CONJOINING] += 1
                    else:
                        broken += 1
                if tally & _FULL:
                    sentence_open |= (tally ^ tally_at_sentence_end) & _WORD_FIELDS != 0
                    earlier_chars += np.int64(tally & _BYTE)
                    earlier_syllables += np.int64(tally >> np.uint64(_F_SYLLABLES) & _BYTE)
                    earlier_ascii += np.int64(tally >> np.uint64(_F_ASCII) & _BYTE)
                    earlier_fields |= tally
                    _add_lanes(tally & _LANES, tally >> _EIGHT & _LANES, totals)
                    tally, tally_at_sentence_end = np.uint64(0), np.uint64(0)
                position += width
                if position >= end:
                    break
                character, width = decode(data, position, end)
                kind = np.int64(kinds[np.uint64(character)]) if character < 0x10000 else supplementary_kind(character)
                if kind <= c.BROKEN_SPACE:
                    break

            length = earlier_chars + np.int64(tally & _BYTE)
            word_syllables = earlier_syllables + np.int64(tally >> np.uint64(_F_SYLLABLES) & _BYTE)
            fields = earlier_fields | tally
            even += tally & _LANES
            odd += tally >> _EIGHT & _LANES
            sentence_open |= (tally ^ tally_at_sentence_end) & _WORD_FIELDS != 0
            chars += length
            word_chars += length
            if words < room:
                word_hashes[words] = mix(word_hash)
                word_ends[words + 1] = word_chars
            words += 1
            if words == room:
                row[CHECKED_WORD_CHARS] = chars
            if words % _LANE_WORDS == 0:
                _add_lanes(even, odd, totals)
                even, odd = np.uint64(0), np.uint64(0)
            alpha_words += fields & _LETTER_FIELDS != 0
            if has_url:
                row[URL_WORDS] += 1
            if line_first < 0:
                line_first = first
            line_last = position
            line_words += 1
            line_longest = max(line_longest, length)
            line_hash = (line_hash ^ word_hash) * _WORD_PRIME
            if word_syllables:
                row[HANGUL_WORDS] += 1
                row[LONG_EOJEOL] += word_syllables > LONG_EOJEOL_SYLLABLES
                only_syllables = fields & (_WORD_FIELDS ^ np.uint64(0xFF << _F_SYLLABLES)) == 0
                row[SINGLE_SYLLABLES] += word_syllables == 1 and only_syllables
                is_syllable_last = last_kind == c.SYLLABLE or last_kind == c.STEM
                letter = position - 3 if is_syllable_last else last_letter(data, first, position, kinds)
                character, _ = decode(data, letter, position)
                line_ends_korean = False
                if 0xAC00 <= character <= 0xD7A3:
                    ending = ending_at(data, first, letter, word_syllables + (not only_syllables), endings)
                    line_ends_korean = ending & c.ENDS_SENTENCE != 0
                    row[JOSA_WORDS] += ending & c.ENDS_WORD != 0
                    if ending & STOP_NUMBER:
                        korean_stop_mask |= 1 << _STEMS.size + (ending & STOP_NUMBER)
            else:
                if fields & _WORD_FIELDS:
                    line_ends_korean = False
                if stop_mask != _ALL_STOP_WORDS and _MAY_BEGIN_STOP_WORD[data[first]]:
                    word_ascii = earlier_ascii + np.int64(tally >> np.uint64(_F_ASCII) & _BYTE)
                    if 2 <= word_ascii <= 4 and fields & _WORD_FIELDS == fields & np.uint64(0xFF << _F_ASCII):
                        stop_mask |= stop_word(data, first, position, word_ascii)

        _add_lanes(even, odd, totals)
        syllables, jamo, ascii_letters, upper = totals[1], totals[2], totals[3], totals[4]
        latin, other, digits = totals[5], totals[6], totals[7]
        row[CHARS], row[WORDS], row[LINES], row[SENTENCES], row[WORD_CHARS] = chars, words, lines, sentences, word_chars
        row[MAX_WORD_LENGTH], row[ALPHA_WORDS] = longest_word, alpha_words
        row[SYMBOLS], row[NEWLINES], row[UPPER], row[ASCII_LETTERS] = symbols, newlines, upper, ascii_letters
        row[HANGUL_LETTERS], row[LATIN_LETTERS] = syllables + jamo, ascii_letters + latin
        row[LETTERS], row[DIGITS] = syllables + jamo + ascii_letters + latin + other, digits
        row[BROKEN_CHARS], row[JAMO_RUN_CHARS] = broken, jamo_chars
        row[STOP_WORDS], row[KOREAN_STOP_WORDS] = _bits(stop_mask), _bits(korean_stop_mask)

        row[CHECKED_LINES], row[CHECKED_PARAGRAPHS] = min(lines, room), min(paragraphs, room)
        if lines <= room:
            row[CHECKED_LINE_CHARS] = chars
        if paragraphs <= room:
            row[CHECKED_PARAGRAPH_CHARS] = chars
        if words <= room:
            row[CHECKED_WORD_CHARS] = chars
        row[DUPLICATE_LINES], row[DUPLICATE_LINE_CHARS] = duplicates(line_hashes, line_lengths, row[CHECKED_LINES], table)
        row[DUPLICATE_PARAGRAPHS], row[DUPLICATE_PARAGRAPH_CHARS] = duplicates(
            paragraph_hashes, paragraph_lengths, row[CHECKED_PARAGRAPHS], table
        )
        repeated_grams(
            word_hashes, word_ends, min(words, room), grams, table, leaders, frequencies, gram_places, seen, row[FIRST_GRAM_CHARS:]
        )
