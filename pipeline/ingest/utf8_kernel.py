"""The compiled pass that says of each row of bytes whether it is plain UTF-8 text, so that only the others are looked at one by one.

Importing this module loads (the first time: compiles) the kernel.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from pipeline.ingest.mojibake import MISREAD_CHARACTERS, MISREAD_LETTERS, MISREAD_RUN

INVALID, ESCAPES, MISREAD = 1, 2, 4
"""Flags: not valid UTF-8; holds NUL, ESC or SO (signs of another encoding) or begins with a byte order mark; may be mojibake, by the
numbers of `pipeline.ingest.mojibake`."""
_BLOCK = 32

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)


@numba.njit(types.boolean(types.int64), cache=True, nogil=True, inline="always")
def is_windows_only(point: int) -> bool:
    """Whether Windows-1252 has this character at 0x80 to 0x9F (or a neighbour of one: this only says where to look)."""
    if point >= 0x2013:
        return point <= 0x203A or point == 0x20AC or point == 0x2122
    return 0x152 <= point <= 0x192 or 0x2C6 <= point <= 0x2DC


@numba.njit(types.void(_BYTES, _OFFSETS, types.uint8[::1], types.int64[:, ::1]), cache=True, nogil=True)
def inspect(data: np.ndarray, offsets: np.ndarray, flags: np.ndarray, counts: np.ndarray) -> None:
    """Set the flags of each row, and (where it is valid) counts: characters, U+FFFD, control characters but tab, line ends, ESC.

    counts: rows x 3. Of an invalid row only INVALID counts: the rest of it isn't looked at.
    """
    for row in range(offsets.size - 1):
        position, end = offsets[row], offsets[row + 1]
        flag = 0
        characters = replaced = controls = run = letters = counted = misread = ascii_run = 0
        if end - position >= 3 and data[position] == 0xEF and data[position + 1] == 0xBB and data[position + 2] == 0xBF:
            flag = ESCAPES  # the other marks hold bytes that are invalid here
        while position < end:
            byte = np.int64(data[position])
            if byte < 0x80:
                position += 1
                characters += 1
                run = letters = counted = 0
                ascii_run += 1
                if byte < 0x20:
                    controls += byte < 9 or (byte > 13 and byte != 0x1B)
                    if byte == 0 or byte == 0x0E or byte == 0x1B:
                        flag |= ESCAPES
                elif byte == 0x7F:
                    controls += 1
                if ascii_run < _BLOCK:
                    continue
                # Blocks pay off only where more ASCII is to be expected.
                while position + _BLOCK <= end:
                    odd = np.uint8(0)
                    for at in range(position, position + _BLOCK):
                        value = data[at]
                        odd |= value & np.uint8(0x80) | np.uint8(value < 9) | np.uint8(value == 0x7F)
                        odd |= np.uint8(value > 13) & np.uint8(value < 0x20)
                    if odd:
                        break
                    position += _BLOCK
                    characters += _BLOCK
                ascii_run = 0
                continue
            ascii_run = 0
            if 0xE3 <= byte <= 0xED and position + 2 < end:
                # Hangul, hanja, kana: the common case, none of them a sign of misreading.
                second, third = data[position + 1], data[position + 2]
                if second & 0xC0 != 0x80 or third & 0xC0 != 0x80 or (byte == 0xED and second > 0x9F):
                    flag = INVALID
                    break
                position += 3
                characters += 1
                run = letters = counted = 0
                continue
            if 0xC2 <= byte <= 0xDF:
                size, point = 2, byte & 0x1F
            elif 0xE0 <= byte <= 0xEF:
                size, point = 3, byte & 0x0F
            elif 0xF0 <= byte <= 0xF4:
                size, point = 4, byte & 0x07
            else:
                flag = INVALID
                break
            if position + size > end:
                flag = INVALID
                break
            broken = False
            for at in range(position + 1, position + size):
                broken |= data[at] & 0xC0 != 0x80
                point = point << 6 | np.int64(data[at]) & 0x3F
            if broken or (size == 3 and point < 0x800) or (size == 4 and (point < 0x10000 or point > 0x10FFFF)):
                flag = INVALID
                break
            position += size
            characters += 1
            if point == 0xFFFD:
                replaced += 1
            if point < 0x100 or is_windows_only(point):
                run += 1
                letters += 0xA1 <= point < 0x100
                if run >= MISREAD_RUN and letters >= MISREAD_LETTERS:
                    misread += run - counted
                    counted = run
                    if misread >= MISREAD_CHARACTERS:
                        flag |= MISREAD
                if point < 0xA0:
                    controls += 1
            else:
                run = letters = counted = 0
        flags[row] = flag
        counts[row, 0], counts[row, 1], counts[row, 2] = characters, replaced, controls
