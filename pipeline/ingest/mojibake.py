"""Undo Korean text that was decoded with the wrong encoding and stored so: CP949 or UTF-8 bytes once read as Latin-1 or Windows-1252.

Every such character still stands for one byte. The bytes of each stretch of Latin-1 characters are put together again and read as UTF-8
and as CP949; the text is changed only where Korean comes out, stretch by stretch, so that one broken paragraph can be mended too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.ingest import evidence

_MIN_COMMON = 6
"""Common Hangul syllables that a repair must bring out of a text: accented capitals or symbols in a row give one or two by accident."""
_MIN_DISTINCT = 4
"""Different ones among them: rows of ornaments (¦º¹¦º¹) are the same few syllables again and again."""
MISREAD_RUN, MISREAD_LETTERS, MISREAD_CHARACTERS = 4, 2, 8
"""What makes a text suspicious: runs of four characters that stand for bytes above 0x7F, two of them between U+00A1 and U+00FF, and eight
characters in such runs."""
_MAX_LAYERS = 2
_CP1252_BYTE = {ord(bytes([byte]).decode("cp1252")): byte for byte in range(0x80, 0xA0) if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}
_SPECIAL = "".join(map(re.escape, map(chr, _CP1252_BYTE)))
_RUN = re.compile(f"[\u0080-\u00ff{_SPECIAL}]{{{MISREAD_RUN},1024}}")
_LETTER = re.compile("[\u00a1-\u00ff]")
_STRETCH = re.compile(f"[\t -\u00ff{_SPECIAL}]{{1,65536}}")
"""A piece of one line whose characters all stand for a byte."""


@dataclass(frozen=True)
class Mended:
    """Repaired text, and the encoding that most of the repaired stretches were in: utf-8 or cp949."""

    text: str
    charset: str


def mended(text: str) -> Mended | None:
    """The text with its Korean brought back, or None where there is none to bring back.

    Two Hangul syllables misread are four Latin-1 characters in a row, which no language writes: without MISREAD_CHARACTERS in such runs
    nothing is tried.
    """
    if text.isascii():
        return None
    lines = text.split("\n")
    broken = [number for number, line in enumerate(lines) if not line.isascii()]
    runs = itertools.chain.from_iterable(_RUN.findall(lines[number]) for number in broken)
    if sum(len(run) for run in runs if len(_LETTER.findall(run)) >= MISREAD_LETTERS) < MISREAD_CHARACTERS:
        return None
    found: dict[str, list[str]] = {"utf-8": [], "cp949": []}
    for number in broken:
        lines[number] = _STRETCH.sub(lambda match: _korean_reading(match[0], found), lines[number])
    common = {charset: evidence.korean("".join(texts)).common for charset, texts in found.items()}
    distinct = set("".join(found["utf-8"] + found["cp949"])).intersection(evidence.COMMON_SYLLABLES)
    if sum(common.values()) < _MIN_COMMON or len(distinct) < _MIN_DISTINCT:
        return None
    charset = max(common, key=common.__getitem__)
    # The text is known to be broken: what is left of it may also be a rare syllable, hanja or a sign.
    for number in broken:
        lines[number] = _STRETCH.sub(lambda match: _any_reading(match[0], charset), lines[number])
    return Mended("\n".join(lines), charset)


def _korean_reading(stretch: str, found: dict[str, list[str]]) -> str:
    """The stretch read anew where that is Korean (then also put into `found`), else as it is."""
    best, best_share = None, 0.0
    for charset, text, _ in _readings(stretch):
        counts = evidence.korean(text)
        if counts.is_believable(expected=True) and counts.common / counts.hangul > best_share:
            best, best_share = (charset, text), counts.common / counts.hangul
    if best is None:
        return stretch
    found[best[0]].append(best[1])
    return best[1]


def _any_reading(stretch: str, charset: str) -> str:
    """The stretch in this encoding where its bytes allow no doubt: whole UTF-8 sequences, or nothing but pairs of bytes."""
    for found, text, raw in _readings(stretch):
        if found == charset and (charset == "utf-8" or evidence.is_double_byte(raw)):
            stretch = text
    return stretch


def _readings(stretch: str) -> Iterator[tuple[str, str, bytes]]:
    """Encoding, text and bytes for each encoding that the stretch can be read in, then for what was misread twice."""
    for _ in range(_MAX_LAYERS):
        if stretch.isascii():
            return
        raw = stretch.translate(_CP1252_BYTE).encode("latin-1")
        as_utf8 = _decoded(raw, "utf-8")
        for charset, text in (("utf-8", as_utf8), ("cp949", _decoded(raw, "cp949"))):
            if text is not None:
                yield charset, text, raw
        if as_utf8 is None or _STRETCH.fullmatch(as_utf8) is None:
            return
        stretch = as_utf8


def _decoded(raw: bytes, charset: str) -> str | None:
    try:
        return raw.decode(charset)
    except UnicodeDecodeError:
        return None
