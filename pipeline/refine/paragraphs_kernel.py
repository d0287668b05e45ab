"""The compiled pass that sorts the paragraphs of documents by script: Korean, Korean and English mixed, Latin, or another.

Importing this module loads (the first time: compiles) the kernel, so import it where it is used.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import functools

import numba
import numpy as np
from numba import types

from pipeline.refine.characters import HANGUL_RANGES, LATIN_RANGES, OTHER_LETTER_RANGES, SUPPLEMENTARY_LETTER_RANGES

KOREAN_SHARE = 0.3
"""Share of letters that are Hangul from which a text is Korean (dps uses .25; reference curation 3.3 proposes .3)."""
MIXED_SHARE = 0.05
"""Below it Hangul is a quotation in a text of another language; from it to KOREAN_SHARE the text is mixed."""
LATIN_PER_HANGUL = 5 / 3
"""Letters of a mean English word (5) over syllables of a mean Korean one (3): where Latin letters exceed Hangul by more than this,
there are more Latin words than Korean ones."""
OWN_SHARE = 0.5
"""Hangul and Latin together must be half of the letters; a text mostly in a third script goes to the detector."""

KOREAN, MIXED, LATIN, OTHER = range(4)
GROUPS = 4
NO_LETTERS = -1
EXAMPLES = 3
"""The longest paragraphs of a group are remembered: they show best which language it is in."""

HAN_RANGES = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAD9))
"""Hanja. Older Korean prints nouns in them (悠久한 歷史와 傳統에 빛나는): where Hangul is KOREAN_SHARE and no fourth script stands beside
it, they are Korean words, and the other letters decide. Japanese has kana, Chinese no Hangul."""

_NONE, _LATIN, _HANGUL, _OTHER, _HAN = range(5)
_ABOVE = np.array(SUPPLEMENTARY_LETTER_RANGES, np.int64)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)


@functools.lru_cache(maxsize=1)
def letter_table() -> np.ndarray:
    """A read-only uint8 array of 65,536 script numbers, one for each code point up to U+FFFF; 0 for what is no letter."""
    table = np.zeros(0x10000, np.uint8)
    for ranges, script in ((LATIN_RANGES, _LATIN), (HANGUL_RANGES, _HANGUL), (OTHER_LETTER_RANGES, _OTHER), (HAN_RANGES, _HAN)):
        for first, last in ranges:
            table[first : last + 1] = script
    table.setflags(write=False)
    return table


@numba.njit(types.int64(types.int64, types.int64, types.int64), cache=True, nogil=True)
def script_group(hangul: int, latin: int, letters: int) -> int:
    """The group of a text with so many Hangul, Latin and other letters in all; NO_LETTERS without letters."""
    if letters == 0:
        return NO_LETTERS
    if hangul >= MIXED_SHARE * letters and hangul + latin >= OWN_SHARE * letters:
        korean = hangul >= KOREAN_SHARE * letters and latin <= LATIN_PER_HANGUL * hangul
        return KOREAN if korean else MIXED
    return LATIN if latin >= OWN_SHARE * letters else OTHER


@numba.njit(types.boolean(types.int64), cache=True, nogil=True)
def _is_supplementary_letter(character: int) -> bool:
    found = False
    for index in range(_ABOVE.shape[0]):
        found |= _ABOVE[index, 0] <= character <= _ABOVE[index, 1]
    return found


@numba.njit(types.void(types.int64[:, ::1], types.int64, types.int64), cache=True, nogil=True)
def _keep_if_long(kept: np.ndarray, start: int, end: int) -> None:
    """Put a paragraph among the EXAMPLES longest, which are sorted by length; of equal ones the earlier stays ahead."""
    if end - start <= kept[EXAMPLES - 1, 1] - kept[EXAMPLES - 1, 0]:
        return
    place = EXAMPLES - 1
    while place > 0 and end - start > kept[place - 1, 1] - kept[place - 1, 0]:
        kept[place, 0], kept[place, 1] = kept[place - 1, 0], kept[place - 1, 1]
        place -= 1
    kept[place, 0], kept[place, 1] = start, end


@numba.njit(
    types.void(_BYTES, _OFFSETS, _BYTES, types.int64[:, ::1], types.int64[:, ::1], types.int64[:, :, :, ::1]), cache=True, nogil=True
)
def sort_paragraphs(
    data: np.ndarray, offsets: np.ndarray, table: np.ndarray, scripts: np.ndarray, groups: np.ndarray, examples: np.ndarray
) -> None:
    """Count the letters of each document by script and by the group of the paragraph (line) they stand in.

    data, offsets: UTF-8 bytes and documents + 1 positions in them; table: `letter_table()`. Filled, zeroed by the caller:
    scripts (documents x 3): Hangul letters, Latin letters, all letters (without the hanja of Korean paragraphs, see HAN_RANGES).
    groups (documents x GROUPS): letters in paragraphs of the group. examples (documents x 2 x EXAMPLES x 2): start and end byte of the
    longest paragraphs, those of LATIN, then those of OTHER.
    """
    for document in range(offsets.size - 1):
        position, end = offsets[document], offsets[document + 1]
        start = position
        hangul = latin = other = han = 0
        while True:
            if position >= end or data[position] == 10:
                letters = hangul + latin + other + han
                if han and not other and hangul >= KOREAN_SHARE * letters:
                    letters -= han
                if letters:
                    group = script_group(hangul, latin, letters)
                    groups[document, group] += letters
                    scripts[document, 0] += hangul
                    scripts[document, 1] += latin
                    scripts[document, 2] += letters
                    if group >= LATIN:
                        _keep_if_long(examples[document, group - LATIN], start, position)
                    hangul = latin = other = han = 0
                if position >= end:
                    break
                position += 1
                start = position
                continue
            lead = np.int64(data[position])
            if lead < 0x80:
                position += 1
                latin += table[lead] == _LATIN
                continue
            if lead < 0xE0 and position + 1 < end:
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
                script = table[character]
                hangul += script == _HANGUL
                latin += script == _LATIN
                other += script == _OTHER
                han += script == _HAN
            else:
                other += _is_supplementary_letter(character)
