"""Texts to normal lines by looking up each character, compiled. Importing this module loads (the first time: compiles) the kernels."""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable

CHARACTERS = 0x20000
"""Characters that the table knows: the basic plane, and the one of emoji and mathematical letters."""

ODD = 255
"""Size of a character that may change with its neighbours, or isn't in the table."""

_SPACE = 32
_BYTES, _I32, _I64 = read_only(types.uint8), read_only(types.int32), read_only(types.int64)
_BYTES_OUT, _I64_OUT = writable(types.uint8), writable(types.int64)


@numba.njit(types.UniTuple(types.int64, 2)(_BYTES, types.int64, types.int64), cache=True, nogil=True, inline="always")
def _decoded(data: np.ndarray, position: int, end: int) -> tuple[int, int]:
    """The character at `position` and its width in bytes; CHARACTERS for one that is cut off or in no table."""
    lead = np.int64(data[np.uint64(position)])
    if lead < 0x80:
        return lead, 1
    if lead >= 0xE0 and lead < 0xF0 and position + 2 < end:
        two, three = np.int64(data[np.uint64(position + 1)]) & 0x3F, np.int64(data[np.uint64(position + 2)]) & 0x3F
        return (lead & 0x0F) << 12 | two << 6 | three, 3
    if lead >= 0xC0 and lead < 0xE0 and position + 1 < end:
        return (lead & 0x1F) << 6 | (np.int64(data[np.uint64(position + 1)]) & 0x3F), 2
    if lead == 0xF0 and position + 3 < end:
        two, three = np.int64(data[np.uint64(position + 1)]) & 0x3F, np.int64(data[np.uint64(position + 2)]) & 0x3F
        return min(two << 12 | three << 6 | (np.int64(data[np.uint64(position + 3)]) & 0x3F), CHARACTERS), 4
    return CHARACTERS, 1


@numba.njit(types.void(_BYTES, _I64, types.int64, _BYTES, _I64_OUT, _I64_OUT), cache=True, nogil=True)
def measure(data: np.ndarray, offsets: np.ndarray, max_chars: int, sizes: np.ndarray, ends: np.ndarray, room: np.ndarray) -> None:
    """Where the first `max_chars` characters of each text end, and the bytes that its line takes at most; -1 for a text with an odd one.

    sizes: uint8[CHARACTERS + 1], bytes of each character's line, ODD for an odd one.
    """
    for text in range(len(ends)):
        position, end = offsets[text], offsets[text + 1]
        total = left = 0
        left = max_chars
        while position < end and left > 0:
            character, width = _decoded(data, position, end)
            size = np.int64(sizes[character])
            if size == ODD:
                total = -1
                break
            total += size
            position += width
            left -= 1
        ends[text], room[text] = position, total


@numba.njit(
    types.void(_BYTES, _I64, _I64, _I64, _BYTES, _BYTES, _I32, _BYTES, _BYTES_OUT, _I64_OUT),
    cache=True,
    nogil=True,
)
def normalise(
    data: np.ndarray,
    offsets: np.ndarray,
    ends: np.ndarray,
    room: np.ndarray,
    sizes: np.ndarray,
    is_same: np.ndarray,
    starts: np.ndarray,
    lines: np.ndarray,
    out: np.ndarray,
    out_offsets: np.ndarray,
) -> None:
    """Write the line of each text that has room >= 0, and an empty one for the others.

    is_same: uint8 per character, whether it stays as it is. starts (int32), lines (uint8): where the line of each other one is.
    """
    written = 0
    for text in range(len(ends)):
        out_offsets[text] = written
        if room[text] < 0:
            continue
        begin = written
        last = _SPACE
        position, end = offsets[text], ends[text]
        while position < end:
            character, width = _decoded(data, position, end)
            if is_same[character]:
                for place in range(width):
                    out[np.uint64(written + place)] = data[np.uint64(position + place)]
                written += width
                last = 0
            else:
                for place in range(starts[character], starts[character] + sizes[character]):
                    byte = lines[np.uint64(place)]
                    if byte != _SPACE or last != _SPACE:
                        out[np.uint64(written)] = byte
                        written += 1
                        last = byte
            position += width
        if written > begin and last == _SPACE:
            written -= 1
    out_offsets[len(ends)] = written
