"""The compiled search for spam and page-furniture phrases in UTF-8 bytes.

A phrase is looked for at the first byte of each character: three bytes select a bucket of a 65,536-entry table, nearly always
empty, and only the phrases of that bucket are compared. Importing this module loads (the first time: compiles) the kernel.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

BUCKETS = 1 << 16
_BUCKET_PRIME = 0x9E3779B1  # 2**32 / golden ratio (Knuth), spreads three bytes over the upper 16 bits of 32

SPAM_PHRASES, FURNITURE_LINES = range(2)
COUNTS = 2
"""Number of columns of the count matrix; the names above are its column numbers."""

FURNITURE_PERCENT = 40
"""A line is page furniture when phrases of that kind cover at least this share of its bytes: "Copyright (c) 2020 Foo Inc. All
rights reserved." is covered to 59 %, a sentence that mentions a login to less than 10 %."""

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_NUMBERS = types.Array(types.int64, 1, "C", readonly=True)
_BUCKET_TABLE = types.Array(types.int32, 1, "C", readonly=True)


@numba.njit(types.int64(types.int64), cache=True, nogil=True, inline="always")
def _lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@numba.njit(types.boolean(types.int64), cache=True, nogil=True, inline="always")
def _is_word_byte(byte: int) -> bool:
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122


@numba.njit(types.int64(types.int64, types.int64, types.int64), cache=True, nogil=True)
def bucket(first: int, second: int, third: int) -> int:
    """The table entry (0 to BUCKETS - 1) of three ASCII-lower-cased bytes."""
    return ((first | second << 8 | third << 16) * _BUCKET_PRIME & 0xFFFFFFFF) >> 16


@numba.njit(
    types.void(_BYTES, _NUMBERS, _BYTES, _NUMBERS, _BYTES, _BUCKET_TABLE, types.int64[:, ::1]),
    cache=True,
    nogil=True,
)
def count_phrases(
    data: np.ndarray,
    offsets: np.ndarray,
    phrase_bytes: np.ndarray,
    phrase_starts: np.ndarray,
    is_spam: np.ndarray,
    buckets: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Fill `counts` (documents x COUNTS, zeroed by the caller).

    Phrases are given as their bytes end to end (`phrase_starts`: phrases + 1 positions), sorted by bucket and, inside a bucket,
    longest first; bucket b holds phrases buckets[b] to buckets[b + 1] - 1. The longest phrase at a place wins and the search goes on
    behind it. A phrase that begins or ends with an ASCII letter or digit must not touch another one there, so `ads` is not found in
    `heads`; Hangul on either side is fine, so a particle may follow.
    """
    for document in range(offsets.size - 1):
        position, end = offsets[document], offsets[document + 1]
        spam = furniture_lines = covered = 0
        line_first, line_last = -1, -1  # byte positions of the line's first and last byte that is not ASCII space
        touches_word = False  # the byte before `position` is an ASCII letter or digit
        while position < end:
            byte = np.int64(data[position])
            if byte == 10:
                if line_first >= 0 and covered * 100 >= (line_last - line_first + 1) * FURNITURE_PERCENT:
                    furniture_lines += 1
                covered = 0
                line_first, line_last = -1, -1
                touches_word = False
                position += 1
                continue
            step = 1
            if position + 2 < end and (byte & 0xC0) != 0x80:
                entry = bucket(_lower(byte), _lower(np.int64(data[position + 1])), _lower(np.int64(data[position + 2])))
                for phrase in range(buckets[entry], buckets[entry + 1]):
                    start = phrase_starts[phrase]
                    length = phrase_starts[phrase + 1] - start
                    if position + length > end:
                        continue
                    matched = 0
                    while matched < length and _lower(np.int64(data[position + matched])) == np.int64(phrase_bytes[start + matched]):
                        matched += 1
                    if matched < length:
                        continue
                    if touches_word and _is_word_byte(byte):
                        continue
                    behind = position + length
                    if behind < end and _is_word_byte(np.int64(data[behind])) and _is_word_byte(np.int64(data[behind - 1])):
                        continue
                    if is_spam[phrase]:
                        spam += 1
                    else:
                        covered += length
                    step = length
                    break
            if step > 1 or (byte != 32 and byte != 9):
                if line_first < 0:
                    line_first = position
                line_last = position + step - 1
            touches_word = _is_word_byte(np.int64(data[position + step - 1]))
            position += step
        if line_first >= 0 and covered * 100 >= (line_last - line_first + 1) * FURNITURE_PERCENT:
            furniture_lines += 1
        counts[document, SPAM_PHRASES] = spam
        counts[document, FURNITURE_LINES] = furniture_lines
