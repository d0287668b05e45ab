"""Tables over Unicode for the kernels: what a code point is to the pre-tokenizer, and which language of the split a letter belongs to."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from pipeline.errors import UserError
from tokenizer import unicode_ranges

CODE_POINTS = 0x110000

LETTER, NUMBER, SPACE, NEWLINE = 1, 2, 4, 8
"""Bits of `class_table`: \\p{L}, \\p{N}, \\s, and CR or LF (which are also SPACE). 0 is everything else, marks too."""

SPACES = "9-D 20 85 A0 1680 2000-200A 2028-2029 202F 205F 3000"
"""The property White_Space, which is what `\\s` means to the regular expressions of `tokenizers`."""

SCRIPTS = {
    "ar": ("ARABIC",),
    "el": ("GREEK",),
    "en": ("LATIN",),
    "he": ("HEBREW",),
    "hi": ("DEVANAGARI",),
    "ja": ("KANA", "HAN"),
    "ko": ("HANGUL",),
    "ru": ("CYRILLIC",),
    "th": ("THAI",),
    "zh": ("HAN",),
}
"""Languages that a split may name, with the scripts that tell them: two languages of one script can't be parted by their letters."""


@functools.cache
def class_table() -> np.ndarray:
    """uint8[CODE_POINTS] of LETTER, NUMBER, SPACE and NEWLINE bits; read-only."""
    table = np.zeros(CODE_POINTS, np.uint8)
    for ranges, bit in ((unicode_ranges.LETTERS, LETTER), (unicode_ranges.NUMBERS, NUMBER), (SPACES, SPACE), ("A D", NEWLINE)):
        for first, last in ranges_of(ranges):
            table[first : last + 1] |= bit
    table.flags.writeable = False
    return table


@functools.cache
def language_table(languages: tuple[str, ...]) -> np.ndarray:
    """uint8[CODE_POINTS]: 1 + the place of the language whose script a letter has, OTHER_LETTER for other letters, 0 for the rest.

    Raises UserError for a language that isn't in SCRIPTS and for two languages of the same script.
    """
    table = np.where(class_table() & LETTER, np.uint8(OTHER_LETTER), np.uint8(0))
    check_languages(languages)
    for place, language in enumerate(languages):
        for script in SCRIPTS[language]:
            for first, last in ranges_of(getattr(unicode_ranges, script)):
                table[first : last + 1] = place + 1
    table.flags.writeable = False
    return table


OTHER_LETTER = 255
"""In `language_table`: a letter of no language of the split."""


def check_languages(languages: Sequence[str]) -> None:
    """Raises UserError for a language that isn't in SCRIPTS and for two languages of the same script."""
    owner: dict[str, str] = {}
    for language in languages:
        if language not in SCRIPTS:
            raise UserError(f"the split names the language '{language}', whose script is not known here; use {', '.join(sorted(SCRIPTS))}")
        for script in SCRIPTS[language]:
            if script in owner:
                raise UserError(
                    f"'{owner[script]}' and '{language}' are both written in {script.title()}, so their tokens can't be told apart; "
                    "name only one of them in the split"
                )
            owner[script] = language


def ranges_of(text: str) -> list[tuple[int, int]]:
    """`"41-5A AA"` as pairs of first and last code point."""
    edges = (entry.partition("-") for entry in text.split())
    return [(int(first, 16), int(last or first, 16)) for first, _, last in edges]
