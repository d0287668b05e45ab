"""What the signal pass asks about one character, one word or the end of a line, compiled.

Positions are byte positions in an Arrow data buffer. Importing this module loads (the first time: compiles) the kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from pipeline.refine import characters as c

_SYLLABLE_SEO, _SYLLABLE_RO, _SYLLABLE_E, _SYLLABLE_EU = ord("서"), ord("로"), ord("에"), ord("으")
_ESEO, _EURO = c.ENDING_STOP_WORDS.index("에서") + 1, c.ENDING_STOP_WORDS.index("으로") + 1
STOP_NUMBER = 31  # the bits of ending_table that hold a stop word's number

# Gopher's eight stop words packed big-endian into integers, so that a word of letters compares in one step.
_STOP_WORDS = np.array([int.from_bytes(word, "big") for word in (b"the", b"be", b"to", b"of", b"and", b"that", b"have", b"with")], np.int64)

_EDIT, _CITATION_NEEDED = np.frombuffer(b"[edit]", np.uint8), np.frombuffer(b"[citation needed]", np.uint8)

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)


@numba.njit(types.int64(types.int64), cache=True, nogil=True)
def supplementary_kind(character: int) -> int:
    if character < 0x1D000 or 0x1D400 <= character <= 0x1D7CB or 0x1E000 <= character <= 0x1EFFF or 0x20000 <= character <= 0x3FFFF:
        return c.OTHER_LETTER
    return c.OTHER


@numba.njit(types.UniTuple(types.int64, 2)(_BYTES, types.int64, types.int64), cache=True, nogil=True, inline="always")
def decode(data: np.ndarray, position: int, end: int) -> tuple[int, int]:
    """The character at `position` and its width in bytes; for bytes that are not UTF-8 something, but nothing from behind `end`."""
    lead = np.int64(data[np.uint64(position)])
    if lead < 0x80:
        return lead, 1
    if lead >= 0xE0 and lead < 0xF0 and position + 2 < end:
        return (lead & 0x0F) << 12 | (np.int64(data[np.uint64(position + 1)]) & 0x3F) << 6 | (
            np.int64(data[np.uint64(position + 2)]) & 0x3F
        ), 3
    if lead < 0xE0 and position + 1 < end:
        return (lead & 0x1F) << 6 | (np.int64(data[np.uint64(position + 1)]) & 0x3F), 2
    if lead >= 0xF0 and position + 3 < end:
        return (
            (lead & 0x07) << 18
            | (np.int64(data[np.uint64(position + 1)]) & 0x3F) << 12
            | (np.int64(data[np.uint64(position + 2)]) & 0x3F) << 6
            | (np.int64(data[np.uint64(position + 3)]) & 0x3F)
        ), 4
    return 0xFFFD, 1


@numba.njit(types.int64(_BYTES, types.int64, types.int64, _BYTES), cache=True, nogil=True)
def last_letter(data: np.ndarray, first: int, position: int, kinds: np.ndarray) -> int:
    """Where the last letter or digit before `position` begins, compatibility jamo (laughter) passed over; -1 if there is none."""
    end = position
    while position > first:
        position -= 1
        while position > first and data[position] & 0xC0 == 0x80:
            position -= 1
        character, _ = decode(data, position, end)
        kind = np.int64(kinds[np.uint64(character)]) if character < 0x10000 else supplementary_kind(character)
        if c.ASCII_LOWER <= kind <= c.JAMO or kind == c.STEM or kind == c.CONJOINING_JAMO:
            return position
    return -1


@numba.njit(types.int64(_BYTES, types.int64, types.int64, types.int64), cache=True, nogil=True)
def stop_word(data: np.ndarray, first: int, end: int, letters: int) -> int:
    """The bit of the Gopher stop word that the word data[first:end] with so many ASCII letters and no others is, or 0."""
    while not 97 <= data[first] | 0x20 <= 122:
        first += 1
    if first + letters > end:
        return 0
    packed = 0
    for position in range(first, first + letters):
        byte = np.int64(data[position]) | 0x20
        if not 97 <= byte <= 122:
            return 0
        packed = packed << 8 | byte
    for stop in range(_STOP_WORDS.size):
        if packed == _STOP_WORDS[stop]:
            return 1 << stop
    return 0


@numba.njit(types.boolean(_BYTES, types.int64, types.int64, types.int64), cache=True, nogil=True)
def is_url_mark(data: np.ndarray, first: int, position: int, byte: int) -> bool:
    """Whether the full stop or slash at `position` of a word that begins at `first` completes `www.`, `http://` or `https://`."""
    if byte == 0x2E:
        if position < first + 3:
            return False
        return data[position - 1] | 0x20 == 0x77 and data[position - 2] | 0x20 == 0x77 and data[position - 3] | 0x20 == 0x77
    if position < first + 6 or data[position - 1] != 0x2F or data[position - 2] != 0x3A:
        return False
    position -= 3
    if data[position] | 0x20 == 0x73 and position >= first + 4:
        position -= 1
    return (
        data[position] | 0x20 == 0x70
        and data[position - 1] | 0x20 == 0x74
        and data[position - 2] | 0x20 == 0x74
        and data[position - 3] | 0x20 == 0x68
    )


@numba.njit(types.boolean(_BYTES, types.int64, types.int64, _BYTES), cache=True, nogil=True)
def _ends_with(data: np.ndarray, first: int, end: int, suffix: np.ndarray) -> bool:
    if end - suffix.size < first:
        return False
    place = 0
    while place < suffix.size and data[end - suffix.size + place] == suffix[place]:
        place += 1
    return place == suffix.size


@numba.njit(types.int64(_BYTES, types.int64, types.int64), cache=True, nogil=True)
def _before_citations(data: np.ndarray, first: int, end: int) -> int:
    """The end of data[first:end] without the citation marks at its end: [7], [], [edit], [citation needed] (c4_utils.py)."""
    while end > first and data[end - 1] == 0x5D:
        begin = end - 2
        while begin > first and 0x30 <= data[begin] <= 0x39:
            begin -= 1
        if begin >= first and data[begin] == 0x5B:
            end = begin
        elif _ends_with(data, first, end, _EDIT):
            end -= _EDIT.size
        elif _ends_with(data, first, end, _CITATION_NEEDED):
            end -= _CITATION_NEEDED.size
        else:
            return end
    return end


@numba.njit(types.boolean(_BYTES, types.int64, types.int64, _BYTES), cache=True, nogil=True)
def is_c4_end(data: np.ndarray, first: int, end: int, kinds: np.ndarray) -> bool:
    """Whether the line data[first:end] ends in terminal punctuation but not in an ellipsis, citation marks passed over."""
    end = _before_citations(data, first, end)
    begin = end - 1
    while begin > first and data[begin] & 0xC0 == 0x80:
        begin -= 1
    if begin < first:
        return False
    character, _ = decode(data, begin, end)
    if character >= 0x10000:
        return False
    kind = kinds[character]
    if kind == c.FULL_STOP:
        return not (begin >= first + 2 and data[begin - 1] == 0x2E and data[begin - 2] == 0x2E)
    return kind == c.QUOTE or kind == c.SENTENCE_MARK


@numba.njit(types.int64(_BYTES, types.int64, types.int64, types.int64, _BYTES), cache=True, nogil=True)
def ending_at(data: np.ndarray, first: int, position: int, letters: int, endings: np.ndarray) -> int:
    """What `endings` says of the syllable at `position` in a word that begins at `first`, the stop words of two syllables told apart."""
    character = (
        (np.int64(data[position]) & 0x0F) << 12
        | (np.int64(data[np.uint64(position + 1)]) & 0x3F) << 6
        | (np.int64(data[np.uint64(position + 2)]) & 0x3F)
    )
    ending = np.int64(endings[character - 0xAC00])
    if letters < 2:  # nothing that a particle could follow
        return ending & c.ENDS_SENTENCE
    if character in (_SYLLABLE_SEO, _SYLLABLE_RO) and position >= first + 3:
        before, _ = decode(data, position - 3, position)
        if character == _SYLLABLE_SEO and before == _SYLLABLE_E:
            ending = ending & ~STOP_NUMBER | _ESEO
        elif character == _SYLLABLE_RO and before == _SYLLABLE_EU:
            ending = ending & ~STOP_NUMBER | _EURO
    return ending
