"""Hangul syllables that become tokens before anything is learned: those of KS X 1001, with which nearly all Korean is written."""

from __future__ import annotations

_ROWS, _CELLS = range(0xB0, 0xC9), range(0xA1, 0xFF)
"""Where KS X 1001 has its 2,350 syllables, as bytes of EUC-KR."""


def ksx1001_syllables() -> list[str]:
    """The 2,350 syllables of KS X 1001 in its order, which is that of the alphabet."""
    return [bytes([row, cell]).decode("euc_kr") for row in _ROWS for cell in _CELLS]


def syllable_merges() -> list[tuple[bytes, bytes]]:
    """The merges that make them: first the 175 beginnings of two bytes that they share, then each syllable."""
    written = [syllable.encode() for syllable in ksx1001_syllables()]
    beginnings = dict.fromkeys(data[:2] for data in written)
    return [(data[:1], data[1:]) for data in beginnings] + [(data[:2], data[2:]) for data in written]
