"""The compiled pass that copies texts without their cut passages. Importing this module loads (the first time: compiles) the kernel."""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_NUMBERS = types.Array(types.int64, 1, "C", readonly=True)


@numba.njit(types.boolean(types.uint8), cache=True, nogil=True, inline="always")
def _is_blank(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13


@numba.njit(types.void(_BYTES, _NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS, types.uint8[::1], types.int64[::1]), cache=True, nogil=True)
def copy_uncut(
    data: np.ndarray,
    offsets: np.ndarray,
    cut_offsets: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    out: np.ndarray,
    out_offsets: np.ndarray,
) -> None:
    """Copy each text without its cuts: bytes [starts[i], ends[i]) of it for i from cut_offsets[row] to cut_offsets[row + 1], in order
    and apart. Needs no more room than the texts. What is left on both sides is joined as `passages.CutPassages` says."""
    written = 0
    out_offsets[0] = 0
    for row in range(len(offsets) - 1):
        begin, stop = offsets[row], offsets[row + 1]
        out_begin, position, cut = written, begin, cut_offsets[row]
        while cut < cut_offsets[row + 1]:
            start, end = begin + starts[cut], begin + ends[cut]
            cut += 1
            while cut < cut_offsets[row + 1] and begin + starts[cut] == end:  # they touch: one hole
                end = begin + ends[cut]
                cut += 1
            while position < start:
                out[written] = data[position]
                written += 1
                position += 1
            has_feed = False
            for place in range(start, end):
                has_feed |= data[place] == 10
            position = end
            begins_line = written == out_begin or out[written - 1] == 10
            ends_line = end == stop or data[end] == 10
            if begins_line and ends_line:
                if end < stop:
                    position += 1
                    after_blank = written == out_begin or (written - 2 >= out_begin and out[written - 2] == 10)
                    if after_blank and position < stop and data[position] == 10:
                        position += 1
                else:  # the line break before it goes, and one blank line
                    for _ in range(2):
                        if written > out_begin and out[written - 1] == 10:
                            written -= 1
            elif not begins_line and not ends_line:
                if has_feed:
                    out[written] = 10
                    written += 1
                elif not _is_blank(out[written - 1]) and not _is_blank(data[end]):
                    out[written] = 32
                    written += 1
        while position < stop:
            out[written] = data[position]
            written += 1
            position += 1
        out_offsets[row + 1] = written
