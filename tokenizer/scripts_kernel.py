"""The compiled passes over scripts: where a word goes from one language's letters to another's, and which letters a token has.

Importing this module loads (the first time: compiles) the kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from tokenizer.unicode_classes import OTHER_LETTER

INVALID, CUT = -1, -2
"""What `decoded` says in place of a code point: a byte that begins no character here, and a character that the end cuts off."""

NO_LETTER, MIXED = 255, 254
"""Codes of `token_classes` besides the places of the languages and, behind these, that of other letters."""

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_COUNTS = types.Array(types.int32, 2, "C", readonly=True)
_DECODED = types.UniTuple(types.int64, 4)


@numba.njit(_DECODED(_BYTES, types.int64, types.int64), cache=True, nogil=True, inline="always")
def decoded(data: np.ndarray, position: int, end: int) -> tuple[int, int, int, int]:
    """(code point, INVALID or CUT; bytes taken; first and last code point that it can be) of what begins at `position`.

    As strict as UTF-8 is: no overlong forms, no surrogates, nothing above U+10FFFF.
    """
    lead = np.int64(data[position])
    if lead < 0x80:
        return lead, 1, lead, lead
    if lead < 0xC2 or lead > 0xF4:
        return INVALID, 1, 0, 0
    size = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    value = lead & (0x7F >> size)
    taken = 1
    while taken < size and position + taken < end:
        byte = np.int64(data[position + taken])
        if byte & 0xC0 != 0x80:
            return INVALID, 1, 0, 0
        value = value << 6 | (byte & 0x3F)
        taken += 1
    open_bits = 6 * (size - taken)
    first = value << open_bits
    last = first | ((np.int64(1) << open_bits) - 1)
    if size == 3:
        first = max(first, 0x800)
        if 0xD800 <= first <= 0xDFFF:
            return INVALID, 1, 0, 0
        if first < 0xD800 <= last:
            last = 0xD7FF
    elif size == 4:
        first, last = max(first, 0x10000), min(last, 0x10FFFF)
    if first > last:
        return INVALID, 1, 0, 0
    return (first if taken == size else np.int64(CUT)), taken, first, last


@numba.njit(types.int64(_BYTES, _OFFSETS, _BYTES, types.int64[::1], types.int64[::1], types.uint8[::1]), cache=True, nogil=True)
def cut_words(
    data: np.ndarray, offsets: np.ndarray, table: np.ndarray, starts: np.ndarray, sources: np.ndarray, letters: np.ndarray
) -> int:
    """Cut every word where its letters go from one class of `table` to another; returns how many pieces there are.

    Writes of each piece where it starts, the word it is of, and the class of its letters (0: it has none), as far as the three arrays
    have room: called with empty ones, it only counts. Characters that are no letters stay with the letters before them, and those at
    the start of a word with the first letters.
    """
    pieces = 0
    room = starts.size
    for word in range(offsets.size - 1):
        position, end = offsets[word], offsets[word + 1]
        current = np.uint8(0)
        start = position
        while position < end:
            character, taken, _, _ = decoded(data, position, end)
            letter = table[character] if character >= 0 else np.uint8(0)
            if letter != 0 and letter != current:
                if current != 0:
                    if pieces < room:
                        starts[pieces], sources[pieces], letters[pieces] = start, word, current
                    pieces += 1
                    start = position
                current = letter
            position += taken
        if start < end:
            if pieces < room:
                starts[pieces], sources[pieces], letters[pieces] = start, word, current
            pieces += 1
    return pieces


@numba.njit(types.void(_BYTES, _OFFSETS, _BYTES, _COUNTS, types.uint8[::1], types.boolean[::1]), cache=True, nogil=True)
def token_classes(
    data: np.ndarray, offsets: np.ndarray, table: np.ndarray, below: np.ndarray, classes: np.ndarray, fragments: np.ndarray
) -> None:
    """Which class's letters each token has, and whether it begins or ends inside a character.

    below: int32[classes, code points + 1], how many letters of a class lie below a code point; its last row is of OTHER_LETTER.
    classes: out, the row of `below`, NO_LETTER or MIXED. See `scripts.kind` for the rule about cut characters.
    """
    rows = below.shape[0]
    for token in range(offsets.size - 1):
        position, end = offsets[token], offsets[token + 1]
        whole = np.int64(-1)  # the row of the letters that are complete
        mixed = fragment = False
        cut = np.int64(-1)
        first = last = np.int64(0)
        while position < end:
            character, taken, low, high = decoded(data, position, end)
            position += taken
            if character >= 0:
                letter = np.int64(table[character])
                if letter != 0:
                    row = rows - 1 if letter == OTHER_LETTER else letter - 1
                    mixed |= whole >= 0 and whole != row
                    whole = row
            else:
                fragment = True
                if character == CUT:
                    first, last = low, high
                    for row in range(rows):
                        if cut < 0 and 2 * (below[row, high + 1] - below[row, low]) >= high + 1 - low:
                            cut = np.int64(row)
        if cut >= 0 and whole >= 0 and cut != whole:
            mixed |= below[whole, last + 1] == below[whole, first]
        if whole < 0:
            whole = cut
        fragments[token] = fragment
        classes[token] = np.uint8(MIXED) if mixed else (np.uint8(NO_LETTER) if whole < 0 else np.uint8(whole))
