"""Texts to normal lines by looking up each character, compiled. Importing this module loads (the first time: compiles) the kernels."""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable
from pipeline.classify.lines import END_OF_LINE, LABEL_PREFIX

CHARACTERS = 0x20000
"""Characters that the table knows: the basic plane, and the one of emoji and mathematical letters."""

ODD = 255
"""Size of a character that may change with its neighbours, or isn't in the table."""

_SPACE = 32
_LABEL, _END_OF_LINE = (np.frombuffer(mark.encode(), np.uint8) for mark in (LABEL_PREFIX, END_OF_LINE))
_MARKS_END = (int(_LABEL[-1]), int(_END_OF_LINE[-1]))
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


@numba.njit(types.boolean(_BYTES_OUT, types.int64, types.int64, _BYTES), cache=True, nogil=True)
def _ends_with(out: np.ndarray, begin: int, end: int, mark: np.ndarray) -> bool:
    if end - begin < len(mark):
        return False
    place = 0
    while place < len(mark) and out[end - len(mark) + place] == mark[place]:
        place += 1
    return place == len(mark)


@numba.njit(
    types.void(_BYTES, _I64, _I64, _I64_OUT, _BYTES, _BYTES, _I32, _BYTES, _BYTES_OUT, _I64_OUT),
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
    """Write the line of each text that has room >= 0, and an empty one for the others; room becomes -1 where a mark of fastText's turns up.

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
                out[np.uint64(written)] = data[np.uint64(position)]
                if width > 1:  # without a loop: most characters have one or three bytes
                    out[np.uint64(written + 1)] = data[np.uint64(position + 1)]
                    if width > 2:
                        out[np.uint64(written + 2)] = data[np.uint64(position + 2)]
                        if width > 3:
                            out[np.uint64(written + 3)] = data[np.uint64(position + 3)]
                written += width
                last = np.int64(data[np.uint64(position)])
            else:
                place, stop = np.int64(starts[character]), np.int64(starts[character]) + np.int64(sizes[character])
                while place < stop:  # not `for`: the compiler would prepare a vector loop for what is one byte nearly always
                    byte = lines[np.uint64(place)]
                    if byte != _SPACE or last != _SPACE:
                        out[np.uint64(written)] = byte
                        written += 1
                        last = byte
                    place += 1
            position += width
            if (last == _MARKS_END[0] and _ends_with(out, begin, written, _LABEL)) or (
                last == _MARKS_END[1] and _ends_with(out, begin, written, _END_OF_LINE)
            ):
                room[text] = -1
                written, last = begin, 0
                break
        if written > begin and last == _SPACE:
            written -= 1
    out_offsets[len(ends)] = written
