"""What each Unicode character is to the quality signals: one of some twenty kinds, such as space, Latin letter or sentence end.

The ranges are coarse on purpose: they are fixed numbers here rather than a look-up in Python's Unicode tables, so that a
signal does not change with the Python version. Code points above U+FFFF are judged by `supplementary_kind` in the kernel.
"""

from __future__ import annotations

import functools

import numpy as np

# White space comes first, characters that need a closer look come last, and the ends of lines of prose lie between QUOTE and
# SENTENCE_MARK: the kernel compares with these bounds.
SPACE, LINE_FEED, BROKEN_SPACE = range(3)
OTHER, ASCII_LOWER, ASCII_UPPER, LATIN, OTHER_LETTER, DIGIT, SYLLABLE, JAMO, QUOTE = range(3, 12)
FULL_STOP, ELLIPSIS, SENTENCE_MARK, HASH, CURLY_BRACKET, SLASH, STEM, CONJOINING_JAMO, COMPATIBILITY_JAMO, BROKEN = range(12, 22)
KINDS = 22

SPACE_RANGES = (
    (0x09, 0x0D), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A),
    (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000),
)  # fmt: skip
"""The characters that `str.split()` splits on."""

LATIN_RANGES = (
    (0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x2AF),
    (0x1D00, 0x1D25), (0x1E00, 0x1EFF), (0x2C60, 0x2C7F), (0xA722, 0xA788), (0xA78B, 0xA7FF), (0xAB30, 0xAB5A),
    (0xFB00, 0xFB06), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A),
)  # fmt: skip

HANGUL_RANGES = (
    (0x1100, 0x115E), (0x1161, 0x11FF), (0x3131, 0x3163), (0x3165, 0x318E), (0xA960, 0xA97C),
    (0xAC00, 0xD7A3), (0xD7B0, 0xD7FB), (0xFFA1, 0xFFDC),
)  # fmt: skip
"""Syllables and every jamo block, without the fillers U+115F, U+1160, U+3164 and U+FFA0."""

COMPATIBILITY_JAMO_RANGES = ((0x3131, 0x3163), (0x3165, 0x318E))

CONJOINING_JAMO_RANGES = ((0x1100, 0x115E), (0x1161, 0x11FF), (0xA960, 0xA97C), (0xD7B0, 0xD7FB))

SYLLABLE_RANGES = ((0xAC00, 0xD7A3),)

OTHER_LETTER_RANGES = (
    (0x370, 0x373), (0x376, 0x377), (0x37B, 0x37D), (0x37F, 0x37F), (0x386, 0x386), (0x388, 0x3FF),  # Greek, Coptic
    (0x400, 0x481), (0x48A, 0x52F), (0x1C80, 0x1C88), (0x2DE0, 0x2DFF), (0xA640, 0xA66E),  # Cyrillic
    (0x531, 0x556), (0x561, 0x588),  # Armenian
    (0x5D0, 0x5F2), (0xFB1D, 0xFB4F),  # Hebrew
    (0x620, 0x64A), (0x66E, 0x6D3), (0x6FA, 0x7BF), (0x860, 0x8C9), (0xFB50, 0xFDFB), (0xFE70, 0xFEFC),  # Arabic, Syriac, Thaana
    (0x7C1, 0x85F), (0x900, 0x963), (0x971, 0x9E5), (0x9F0, 0xA65), (0xA70, 0xAE5), (0xAF0, 0xB65), (0xB70, 0xBE5),  # Indic
    (0xC00, 0xC65), (0xC80, 0xCE5), (0xD00, 0xD65), (0xD7A, 0xDE5),
    (0xE01, 0xE3A), (0xE40, 0xE4E), (0xE80, 0xECF), (0xEDC, 0xEDF), (0xF00, 0xF1F), (0xF40, 0xFBC),  # Thai, Lao, Tibetan
    (0x1000, 0x103F), (0x1050, 0x108F), (0x10A0, 0x10FF), (0x1200, 0x135A), (0x1380, 0x167F), (0x1681, 0x17D3),  # Myanmar to Khmer
    (0x1820, 0x1CFF), (0x1F00, 0x1FFC), (0x2C00, 0x2C5F), (0x2C80, 0x2CE4), (0x2D00, 0x2DDE),  # Mongolian to Ethiopic extensions
    (0x3005, 0x3007), (0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x3105, 0x312F), (0x31A0, 0x31BF),  # kana
    (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xA48C), (0xA4D0, 0xA63F), (0xA800, 0xA95F), (0xA980, 0xAB2F),  # Han, Yi
    (0xAB70, 0xABEA), (0xF900, 0xFAD9), (0xFF66, 0xFF9D),
)  # fmt: skip

SUPPLEMENTARY_LETTER_RANGES = ((0x10000, 0x1CFFF), (0x1D400, 0x1D7CB), (0x1E000, 0x1EFFF), (0x20000, 0x3FFFF))
"""Letters above U+FFFF: historic scripts, mathematical alphabets, and the Han extensions; emoji (U+1F000..) are none."""

DIGIT_RANGES = ((0x30, 0x39), (0xFF10, 0xFF19))

BROKEN_RANGES = ((0x00, 0x08), (0x0B, 0x0C), (0x0E, 0x1F), (0x7F, 0x9F), (0xFFFD, 0xFFFD))
"""C0 controls but tab, line feed and carriage return, DEL, C1 controls, and the replacement character."""

TERMINAL_CHARACTERS = ".!?'\"…。！？”’」』"
"""Ends of a sentence: FineWeb's five ASCII marks, then the ellipsis and the East Asian and typographic forms of the same marks."""

SENTENCE_MARKS = ".…!?。！？"
"""Those of them that end a sentence by themselves."""

STEM_SYLLABLES = "하했있되"
"""Verb stems among FineWeb2's Korean stop words (configs/kor_Hang.yml): looked for anywhere in a word."""

ENDING_STOP_WORDS = ("의", "다", "이", "는", "에", "을", "한", "년", "은", "를", "고", "에서", "가", "으로", "인", "월", "로")
"""The others: particles and endings, looked for where a word ends, the longest alone (a word in 으로 does not hold 로)."""

JOSA_SYLLABLES = "을는다의이에고로를은가서한게도과지라며해와여나면어니할요터아던된야되록운난까"
"""Last syllables of Korean particles and verb endings: those that end at least one word in a thousand and are the end of a particle or
ending, not of a noun, in at least three of four, by Kiwi on 125,874 words of encyclopedia, news, petitions, law, scripture and a blog."""

SENTENCE_END_SYLLABLES = "다요죠까음함"
"""Last syllables of Korean sentences (curation notes of the field: news, polite, question, and the noun forms of reports)."""

ENDS_WORD, ENDS_SENTENCE = 32, 64
"""Bits of `ending_table`, above the number of the stop word (1 to 17, 0 for none) in the lower five."""


def _fill(table: np.ndarray, ranges: tuple[tuple[int, int], ...], kind: int) -> None:
    for first, last in ranges:
        table[first : last + 1] = kind


@functools.lru_cache(maxsize=1)
def kind_table() -> np.ndarray:
    """A read-only uint8 array of 65,536 kinds (SPACE ... BROKEN), one for each code point up to U+FFFF."""
    table = np.full(0x10000, OTHER, np.uint8)
    _fill(table, OTHER_LETTER_RANGES, OTHER_LETTER)
    _fill(table, LATIN_RANGES, LATIN)
    _fill(table, ((0x61, 0x7A),), ASCII_LOWER)
    _fill(table, ((0x41, 0x5A),), ASCII_UPPER)
    _fill(table, HANGUL_RANGES, JAMO)
    _fill(table, SYLLABLE_RANGES, SYLLABLE)
    _fill(table, CONJOINING_JAMO_RANGES, CONJOINING_JAMO)
    _fill(table, COMPATIBILITY_JAMO_RANGES, COMPATIBILITY_JAMO)
    _fill(table, DIGIT_RANGES, DIGIT)
    _fill(table, BROKEN_RANGES, BROKEN)
    spaces = np.zeros(0x10000, np.bool_)
    for first, last in SPACE_RANGES:
        spaces[first : last + 1] = True
    table[spaces] = np.where(table[spaces] == BROKEN, BROKEN_SPACE, SPACE)
    for characters, kind in (
        ("\n", LINE_FEED),
        (TERMINAL_CHARACTERS, QUOTE),
        (SENTENCE_MARKS, SENTENCE_MARK),
        (".", FULL_STOP),
        ("…", ELLIPSIS),
        ("#", HASH),
        ("{", CURLY_BRACKET),
        ("/", SLASH),
        (STEM_SYLLABLES, STEM),
    ):
        for character in characters:
            table[ord(character)] = kind
    table.setflags(write=False)
    return table


@functools.lru_cache(maxsize=1)
def ending_table() -> np.ndarray:
    """A read-only uint8 array of 11,172 entries, one for each Hangul syllable from U+AC00: what it means at the end of a word."""
    table = np.zeros(0xD7A4 - 0xAC00, np.uint8)
    for number, ending in enumerate(ENDING_STOP_WORDS, 1):
        if len(ending) == 1:
            table[ord(ending) - 0xAC00] = number
    for syllable in JOSA_SYLLABLES:
        table[ord(syllable) - 0xAC00] |= np.uint8(ENDS_WORD)
    for syllable in SENTENCE_END_SYLLABLES:
        table[ord(syllable) - 0xAC00] |= np.uint8(ENDS_SENTENCE)
    table.setflags(write=False)
    return table
