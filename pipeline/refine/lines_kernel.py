"""The compiled passes that look at each line of a batch: where it begins and ends, what it looks like, and its hash.

Every pass is linear in the bytes of its documents. Importing this module loads (the first time: compiles) the kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from pipeline.kernels import mix
from pipeline.refine.phrases_kernel import bucket

BLANK, SOLID, CODE, MARKED, HEADING, COLON, MARKUP, HINTED, FURNITURE, NOTICE, FREQUENT, EDGE_NOTICE, BESIDE = (
    1 << place for place in range(13)
)
"""Traits of a line. BLANK: nothing but blanks. SOLID: has a letter or digit. CODE: in a code fence or indented by a tab or four spaces.
MARKED: begins like a heading, list item, table row or quotation. HEADING: begins like a Markdown heading or is underlined. COLON: ends
in a colon or in 같다 or 같습니다 (as follows), so what follows belongs to it. MARKUP: begins like a tag. HINTED: short, and holds a phrase
that notices have. The rest are set from outside: FURNITURE, FREQUENT on the host, and by presets/lines.yaml NOTICE (anywhere, calls),
EDGE_NOTICE (frame) and BESIDE."""

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_NUMBERS = types.Array(types.int64, 1, "C", readonly=True)
_BUCKET_TABLE = types.Array(types.int32, 1, "C", readonly=True)
_SALTS = types.Array(types.uint64, 1, "C", readonly=True)
_LINES = (_NUMBERS, _NUMBERS, _NUMBERS)

_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[65:91] += 32
_IS_WORD = np.zeros(256, np.bool_)
_IS_WORD[48:58] = _IS_WORD[65:91] = _IS_WORD[97:123] = True
_BEGINS_HINT = _IS_WORD.copy()
_BEGINS_HINT[0xE0:0xF0] = True  # characters of three bytes: Hangul, ⓒ


@numba.njit(types.void(_BYTES, _NUMBERS, _NUMBERS, types.int64[::1], types.int64[::1]), cache=True, nogil=True)
def bound_lines(data: np.ndarray, offsets: np.ndarray, line_offsets: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
    """Fill `starts` and `ends` (one per line, line feed excluded) of documents whose lines `phrases_kernel.count_lines` has numbered."""
    for document in range(offsets.size - 1):
        line = line_offsets[document]
        starts[line] = offsets[document]
        for position in range(offsets[document], offsets[document + 1]):
            if data[position] == 10:
                ends[line] = position
                line += 1
                starts[line] = position + 1
        ends[line] = offsets[document + 1]


@numba.njit(types.boolean(_BYTES, types.int64, types.int64), cache=True, nogil=True, inline="always")
def _is_letter(data: np.ndarray, position: int, end: int) -> bool:
    """Whether an ASCII letter or digit, or a character of a script (told by its first bytes, coarsely), begins at `position`."""
    byte = data[position]
    if byte < 0x80:
        return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122
    if byte < 0xE2:
        return byte >= 0xC3  # U+00C0 to U+1FFF; below are continuation bytes and Latin-1's signs
    if byte == 0xE2:
        return False  # U+2000 to U+2FFF: punctuation, arrows, bullets, circled letters
    if byte == 0xE3:
        return position + 1 < end and data[position + 1] > 0x80  # U+3000 to U+303F: East Asian punctuation
    return byte <= 0xED or byte == 0xEF  # no emoji, which stand above U+FFFF


@numba.njit(types.boolean(_BYTES, types.int64, types.int64, _BYTES, _NUMBERS, _BYTES, _BUCKET_TABLE), cache=True, nogil=True)
def _has_hint(
    data: np.ndarray,
    start: int,
    end: int,
    phrase_bytes: np.ndarray,
    phrase_starts: np.ndarray,
    occupied: np.ndarray,
    buckets: np.ndarray,
) -> bool:
    """Whether data[start:end] holds an @, a © or a phrase of a `phrases.PhraseTable` (one in ASCII letters where a word begins)."""
    position = start
    while position < end:
        byte = data[position]
        if byte == 64 or (byte == 0xA9 and position > start and data[position - 1] == 0xC2):
            return True
        if not _BEGINS_HINT[byte] or position + 2 >= end:
            position += 1
            continue
        entry = bucket(np.int64(_LOWER[byte]), np.int64(_LOWER[data[position + 1]]), np.int64(_LOWER[data[position + 2]]))
        if occupied[entry >> 3] >> (entry & 7) & 1:
            for phrase in range(buckets[entry], buckets[entry + 1]):
                first = phrase_starts[phrase]
                length = phrase_starts[phrase + 1] - first
                matched = 0
                while matched < length and position + matched < end and _LOWER[data[position + matched]] == phrase_bytes[first + matched]:
                    matched += 1
                if matched == length:
                    return True
        if byte >= 0xE0:
            position += 3
            continue
        position += 1
        while position < end and _IS_WORD[data[position]]:
            position += 1
    return False


@numba.njit(types.boolean(_BYTES, types.int64, types.int64), cache=True, nogil=True, inline="always")
def _is_plain_style(data: np.ndarray, first: int, last: int) -> bool:
    """Whether a line ends in `다.` but not in `니다.`: most lines of Korean prose do, and no notice (`lines.Notices.trait`)."""
    if last - first < 6 or data[last] != 46 or data[last - 1] != 0xA4 or data[last - 2] != 0x8B or data[last - 3] != 0xEB:
        return False
    return not (data[last - 4] == 0x88 and data[last - 5] == 0x8B and data[last - 6] == 0xEB)


@numba.njit(types.boolean(_BYTES, *(types.int64,) * 5), cache=True, nogil=True, inline="always")
def _is_character(data: np.ndarray, position: int, last: int, one: int, two: int, three: int) -> bool:
    """Whether the character of these three bytes stands at `position`, not beyond `last`."""
    return position + 2 <= last and data[position] == one and data[position + 1] == two and data[position + 2] == three


@numba.njit(types.boolean(_BYTES, types.int64, types.int64), cache=True, nogil=True)
def _says_as_follows(data: np.ndarray, first: int, last: int) -> bool:
    """Whether a line ends in 같다 or 같습니다, with or without a full stop, as sentences do that lead a list."""
    stop = last - 1 if data[last] == 46 else last
    if stop - 5 < first or not _is_character(data, stop - 2, stop, 0xEB, 0x8B, 0xA4):  # 다
        return False
    if _is_character(data, stop - 5, stop, 0xEA, 0xB0, 0x99):  # 같
        return True
    if stop - 11 < first or not _is_character(data, stop - 5, stop, 0xEB, 0x8B, 0x88):  # 니
        return False
    return _is_character(data, stop - 8, stop, 0xEC, 0x8A, 0xB5) and _is_character(data, stop - 11, stop, 0xEA, 0xB0, 0x99)  # 습, 같


@numba.njit(types.int64(_BYTES, types.int64, types.int64), cache=True, nogil=True)
def _shape(data: np.ndarray, first: int, last: int) -> int:
    """SOLID, MARKED, HEADING, COLON and MARKUP of the line whose bytes that aren't blank begin at `first` and end at `last`."""
    shape = 0
    for position in range(first, last + 1):
        if _is_letter(data, position, last + 1):
            shape |= SOLID
            break
    byte = data[first]
    if byte == 35:
        shape |= MARKED | HEADING
    elif byte in (42, 43, 45, 62, 124) or _is_character(data, first, last, 0xE2, 0x80, 0xA2):  # * + - > | and U+2022
        shape |= MARKED
    elif 48 <= byte <= 57:
        position = first
        while position <= last and position < first + 3 and 48 <= data[position] <= 57:
            position += 1
        if position <= last and (data[position] == 46 or data[position] == 41):
            shape |= MARKED
    elif byte == 60 and first < last and (data[first + 1] == 47 or _IS_WORD[data[first + 1]]):
        shape |= MARKUP
    if data[last] == 58 or _is_character(data, max(first, last - 2), last, 0xEF, 0xBC, 0x9A) or _says_as_follows(data, first, last):
        shape |= COLON  # : and U+FF1A
    return shape


@numba.njit(types.void(_BYTES, *_LINES, types.int64, _BYTES, _NUMBERS, _BYTES, _BUCKET_TABLE, types.uint16[::1]), cache=True, nogil=True)
def describe_lines(
    data: np.ndarray,
    line_offsets: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    max_hint_bytes: int,
    phrase_bytes: np.ndarray,
    phrase_starts: np.ndarray,
    occupied: np.ndarray,
    buckets: np.ndarray,
    traits: np.ndarray,
) -> None:
    """Fill `traits`, one per line, with all but those set from outside. Lines over `max_hint_bytes` are not searched for hints.

    A code fence that is never closed reaches to the end of its document: when in doubt, nothing is cut.
    """
    for document in range(line_offsets.size - 1):
        fence = 0  # the byte that the open code fence is made of
        for line in range(line_offsets[document], line_offsets[document + 1]):
            start, end = starts[line], ends[line]
            first, last = start, end - 1
            while first <= last and data[first] <= 32:
                first += 1
            while last >= first and data[last] <= 32:
                last -= 1
            if first > last:
                traits[line] = BLANK
                continue
            found = _shape(data, first, last)
            byte = data[first]
            if (byte == 61 or byte == 45) and not found & SOLID and line > line_offsets[document] and last - first >= 2:
                traits[line - 1] |= HEADING if traits[line - 1] & SOLID else 0  # underlined by === or ---
            is_fence = (byte == 96 or byte == 126) and first + 2 <= last and data[first + 1] == byte and data[first + 2] == byte
            tab = False
            for position in range(start, first):
                tab |= data[position] == 9
            if is_fence or fence or tab or first - start >= 4:
                found |= CODE
            if is_fence and not fence:
                fence = byte
            elif is_fence and byte == fence:
                fence = 0
            searched = not found & CODE and last - first < max_hint_bytes and not _is_plain_style(data, first, last)
            if searched and _has_hint(data, first, last + 1, phrase_bytes, phrase_starts, occupied, buckets):
                found |= HINTED
            traits[line] = found


@numba.njit(types.void(_BYTES, *_LINES, _SALTS, types.uint64[::1]), cache=True, nogil=True)
def hash_lines(
    data: np.ndarray, line_offsets: np.ndarray, starts: np.ndarray, ends: np.ndarray, salts: np.ndarray, hashes: np.ndarray
) -> None:
    """Fill `hashes`, one per line: of its bytes without ASCII blanks at either end, and of its document's salt (that of the host)."""
    for document in range(line_offsets.size - 1):
        for line in range(line_offsets[document], line_offsets[document + 1]):
            position, end = starts[line], ends[line]
            while position < end and data[position] <= 32:
                position += 1
            while end > position and data[end - 1] <= 32:
                end -= 1
            value = mix(salts[document] + np.uint64(end - position))
            while position + 8 <= end:
                word = np.uint64(0)
                for place in range(8):
                    word |= np.uint64(data[position + place]) << np.uint64(8 * place)
                value = mix(value + word)
                position += 8
            word = np.uint64(0)
            while position < end:
                word = word << np.uint64(8) | np.uint64(data[position])
                position += 1
            hashes[line] = mix(value + word)
