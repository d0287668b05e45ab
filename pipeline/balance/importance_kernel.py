"""The compiled pass that turns a document into hash buckets: words, pairs of words, and pairs of syllables within a word.

Positions are byte positions in an Arrow data buffer. Importing this module loads (the first time: compiles) the kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable
from pipeline.kernels import mix
from pipeline.refine import characters as c
from pipeline.refine.words_kernel import decode, supplementary_kind

BASE = np.uint64(0x9E3779B97F4A7C15)
"""Of the polynomial over a token's characters, and of the pair of two tokens (2**64 divided by the golden ratio; odd)."""

PIECE_SALT = np.uint64(0xD6E8FEB86659FD93)
"""Tells two syllables as a piece of a word from a word of these two syllables."""

WIDE = 0x800
"""First character of three UTF-8 bytes. Pieces are made of these: Hangul, kana, Han, whose words carry endings or aren't spaced."""

PER_BYTE = 2
"""Most n-grams per byte of text: a token of one character gives itself and its pair, one of n gives n - 1 pieces more."""

_WORD_KINDS = (
    c.ASCII_LOWER, c.ASCII_UPPER, c.LATIN, c.OTHER_LETTER, c.DIGIT, c.SYLLABLE, c.STEM, c.JAMO, c.CONJOINING_JAMO, c.COMPATIBILITY_JAMO,
)  # fmt: skip
_BLANK_KINDS = (c.SPACE, c.LINE_FEED, c.BROKEN_SPACE)

_HALF = np.uint64(32)
_PIECE_BITS = np.uint64(21)
_ONE = np.uint64(1)
_BYTES, _OFFSETS, _CODES = read_only(types.uint8), read_only(types.int64), read_only(types.int32)


@functools.lru_cache(maxsize=1)
def code_table() -> np.ndarray:
    """A read-only int32 array, one entry for each code point up to U+FFFF: 0 for white space, the code of its lower case for a letter,
    digit or underscore, minus its own code for any other character. (Unicode never changes the lower case of a letter that has one.)"""
    kinds = c.kind_table()
    table = -np.arange(len(kinds), dtype=np.int32)
    for code in np.flatnonzero(np.isin(kinds, _WORD_KINDS)).tolist():
        lower = chr(code).lower()
        table[code] = ord(lower) if len(lower) == 1 else code
    table[ord("_")] = ord("_")
    table[np.isin(kinds, _BLANK_KINDS)] = 0
    table.setflags(write=False)
    return table


@numba.njit(types.uint32(types.uint64, types.uint64), cache=True, nogil=True, inline="always")
def _bucket(hashed: Any, buckets: Any) -> Any:
    """The bucket of a hash, by its upper half: a multiplication where a remainder would be a division."""
    return np.uint32(((hashed >> _HALF) * buckets) >> _HALF)


@numba.njit(types.int64(_BYTES, types.int64, types.int64, _CODES, types.uint64, writable(types.uint32)), cache=True, nogil=True)
def hash_document(data: np.ndarray, begin: int, end: int, codes: np.ndarray, buckets: np.uint64, out: np.ndarray) -> int:
    """Write the buckets of the n-grams of the text data[begin:end] to `out` (room for PER_BYTE a byte), in text order; returns how many.

    A token is a run of letters, digits and underscores in lower case, or a run of other characters that are no white space. Each token is
    an n-gram, each two neighbours are one, and so is each two neighbouring characters from WIDE on within a token of letters.
    """
    found = np.uint64(0)
    token, before, last = np.uint64(0), np.uint64(0), np.uint64(0)
    kind, has_before = 0, False  # of the token that is open: 1 letters, -1 marks, 0 none
    position = begin
    while position <= end:
        code, width = np.int64(0), 1
        if position < end:
            character, width = decode(data, position, end)
            if character < 0x10000:
                code = np.int64(codes[np.uint64(character)])
            else:
                code = character if supplementary_kind(character) == c.OTHER_LETTER else -character
        new_kind = 1 if code > 0 else (-1 if code < 0 else 0)
        if new_kind != kind:
            if kind != 0:
                hashed = mix(token)
                out[found] = _bucket(hashed, buckets)
                found += _ONE
                if has_before:
                    out[found] = _bucket(mix(before * BASE + hashed), buckets)
                    found += _ONE
                before, has_before = hashed, True
            token, last, kind = np.uint64(0), np.uint64(0), new_kind
        if kind != 0:
            unsigned = np.uint64(abs(code))
            token = (token + unsigned) * BASE
            if kind == 1:
                if last >= WIDE and unsigned >= WIDE:
                    out[found] = _bucket(mix(((last << _PIECE_BITS) | unsigned) ^ PIECE_SALT), buckets)
                    found += _ONE
                last = unsigned
        position += width
    return np.int64(found)


@numba.njit(types.int64(_BYTES, types.int64, types.int64, types.int64), cache=True, nogil=True)
def cut(data: np.ndarray, begin: int, end: int, max_bytes: int) -> int:
    """Where a text ends when at most `max_bytes` of it are read: never within a character."""
    if end - begin <= max_bytes:
        return end
    end = begin + max_bytes
    while end > begin and data[end] & 0xC0 == 0x80:
        end -= 1
    return end


@numba.njit(types.int64(_OFFSETS, types.int64), cache=True, nogil=True)
def _room(offsets: np.ndarray, max_bytes: int) -> int:
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, min(offsets[row + 1] - offsets[row], max_bytes))
    return PER_BYTE * longest


@numba.njit(types.void(_BYTES, _OFFSETS, types.int64, _CODES, writable(types.int64)), cache=True, nogil=True)
def count_buckets(data: np.ndarray, offsets: np.ndarray, max_bytes: int, codes: np.ndarray, counts: np.ndarray) -> None:
    """Add the n-grams of all texts to `counts`, one entry per bucket."""
    hashes = np.empty(_room(offsets, max_bytes), np.uint32)
    for row in range(len(offsets) - 1):
        end = cut(data, offsets[row], offsets[row + 1], max_bytes)
        found = hash_document(data, offsets[row], end, codes, np.uint64(len(counts)), hashes)
        for index in range(np.uint64(found)):
            counts[hashes[index]] += 1


@numba.njit(
    types.void(_BYTES, _OFFSETS, types.int64, _CODES, read_only(types.float64), writable(types.float64), writable(types.int64)),
    cache=True,
    nogil=True,
)
def sum_ratios(
    data: np.ndarray, offsets: np.ndarray, max_bytes: int, codes: np.ndarray, ratio: np.ndarray, sums: np.ndarray, grams: np.ndarray
) -> None:
    """Per text: the sum of its n-grams' ratios, added in text order, and how many n-grams there are."""
    hashes = np.empty(_room(offsets, max_bytes), np.uint32)
    for row in range(len(offsets) - 1):
        end = cut(data, offsets[row], offsets[row + 1], max_bytes)
        found = hash_document(data, offsets[row], end, codes, np.uint64(len(ratio)), hashes)
        total = 0.0
        for index in range(np.uint64(found)):
            total += ratio[hashes[index]]
        sums[row], grams[row] = total, found
