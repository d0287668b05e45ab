"""One lookup table over Unicode that says what normalisation makes of each code point when it stands alone.

A text falls into pieces, each a character that nothing before it can change, followed by characters that may attach to it (combining
marks, conjoining jamo). Pieces of one character are answered by the table; longer ones go to `unicodedata`. This is the
normalisation boundary of Unicode Standard Annex #15, section 9 ("Detecting Normalization Forms"), kept through case folding.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from dataclasses import dataclass

import numpy as np

TABLE_SIZE = 0x40000
"""Planes 0 to 3. Above them Unicode has only private use, tags and variation selectors: all dropped, none of them combining."""

KIND_SHIFT = 24
MAP, TAIL, EXPAND, SLOW, LONG = 0, 1, 2, 3, 4
"""MAP: one code point (0 = dropped). TAIL: a conjoining vowel or final consonant, which may join the syllable before it.
EXPAND: a row of `expansion`. SLOW: may attach to what stands before it. LONG: expands to more code points than it has bytes."""

_LONG_STACK = 64


@dataclass(frozen=True)
class UnicodeTable:
    """`codes`: uint32[TABLE_SIZE], kind << 24 | value. `expansion[expansion_offsets[v]:expansion_offsets[v + 1]]` for EXPAND."""

    codes: np.ndarray
    expansion: np.ndarray
    expansion_offsets: np.ndarray


def nfkc(text: str) -> str:
    """NFKC in linear time: CPython sorts combining marks by insertion, which a hostile stack of them makes quadratic."""
    if len(text) <= _LONG_STACK:
        return unicodedata.normalize("NFKC", text)
    pieces: list[str] = []
    for is_mark, run in itertools.groupby("".join(map(_nfkd, text)), key=lambda c: unicodedata.combining(c) != 0):
        characters = list(run)
        pieces.extend(sorted(characters, key=unicodedata.combining) if is_mark else characters)
    return unicodedata.normalize("NFKC", "".join(pieces))


def _nfkd(character: str) -> str:
    return unicodedata.normalize("NFKD", character)


def fold(text: str) -> str:
    """NFKC, case folding, NFKC again, and then only letters (L*) and numbers (N*)."""
    return "".join(c for c in nfkc(nfkc(text).casefold()) if unicodedata.category(c)[0] in "LN")


def _attaching() -> set[int]:
    """Code points that may join or be reordered with what stands before them: marks, and second halves of a composition."""
    found = {code for code in range(TABLE_SIZE) if unicodedata.combining(chr(code))}
    for code in range(TABLE_SIZE):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            found.add(int(parts[1], 16))
    found.update(range(0x1161, 0x1176), range(0x11A8, 0x11C3))
    return found


@functools.cache
def unicode_table() -> UnicodeTable:
    """Build the table (about half a second, once per process)."""
    attaching = _attaching()
    codes = np.zeros(TABLE_SIZE, np.uint32)
    letters = [code for code in range(TABLE_SIZE) if unicodedata.category(chr(code))[0] in "LN"]
    codes[letters] = letters
    expansion: list[int] = []
    offsets = [0]
    changed = [
        code
        for code in range(TABLE_SIZE)
        if not 0xD800 <= code <= 0xDFFF and (code in attaching or unicodedata.decomposition(chr(code)) or chr(code).casefold() != chr(code))
    ]
    for code in changed:
        character = chr(code)
        composed = unicodedata.normalize("NFKC", character)
        result = fold(character)
        if ord(_nfkd(character)[0]) in attaching or ord(composed.casefold()[0]) in attaching:
            joins = len(composed) == 1 and (0x1161 <= ord(composed) <= 0x1175 or 0x11A8 <= ord(composed) <= 0x11C2)
            codes[code] = TAIL << KIND_SHIFT | ord(composed) if joins else SLOW << KIND_SHIFT
        elif len(result) <= 1 and not (result and _is_open_syllable(ord(result)) and result != composed):
            codes[code] = ord(result) if result else 0
        elif len(result) <= len(character.encode()):
            codes[code] = EXPAND << KIND_SHIFT | (len(offsets) - 1)
            expansion += map(ord, result)
            offsets.append(len(expansion))
        else:
            codes[code] = LONG << KIND_SHIFT
    table = UnicodeTable(codes, np.array(expansion, np.uint32), np.array(offsets, np.int64))
    for array in (table.codes, table.expansion, table.expansion_offsets):
        array.setflags(write=False)
    return table


def _is_open_syllable(code: int) -> bool:
    """Whether a conjoining vowel or final may join this code point when it follows directly."""
    return 0x1100 <= code <= 0x1112 or (0xAC00 <= code <= 0xD7A3 and (code - 0xAC00) % 28 == 0)
