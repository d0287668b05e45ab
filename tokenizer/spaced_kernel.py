"""Words as they stand between whitespace, compiled: how many a text has, and those without punctuation and numbers, to be counted.

Positions are byte positions in an Arrow data buffer that is valid UTF-8; `classes` is `unicode_classes.class_table`. Importing this module
loads (the first time: compiles) the kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable
from pipeline.refine.words_kernel import decode
from tokenizer.unicode_classes import LETTER, NUMBER, SPACE

_BYTES, _I64 = read_only(types.uint8), read_only(types.int64)
_BYTES_OUT, _I64_OUT = writable(types.uint8), writable(types.int64)


@numba.njit(types.UniTuple(types.int64, 2)(_BYTES, _I64, _BYTES), cache=True, nogil=True)
def words_and_characters(data: np.ndarray, offsets: np.ndarray, classes: np.ndarray) -> tuple[int, int]:
    """How many runs without whitespace the texts have, and how many characters; a run ends with its text."""
    words, characters = 0, 0
    for text in range(len(offsets) - 1):
        position, end, inside = offsets[text], offsets[text + 1], False
        while position < end:
            character, width = decode(data, position, end)
            is_space = classes[np.uint64(character)] & SPACE != 0
            words += not is_space and not inside
            inside = not is_space
            characters += 1
            position += width
    return words, characters


@numba.njit(types.int64(_BYTES, _I64, _BYTES, _BYTES_OUT, _I64_OUT), cache=True, nogil=True)
def plain_words(data: np.ndarray, offsets: np.ndarray, classes: np.ndarray, copied: np.ndarray, copied_offsets: np.ndarray) -> int:
    """Copy the runs without whitespace, cut at both ends to letters, and without those that hold a number; returns how many.

    copied, copied_offsets: room for all bytes of the texts, and for one more offset than they have words.
    """
    found, size = 0, 0
    copied_offsets[0] = 0
    for text in range(len(offsets) - 1):
        position, end = offsets[text], offsets[text + 1]
        first, last, has_number = -1, -1, False
        while position <= end:
            width, kind = 1, np.uint8(SPACE)
            if position < end:
                character, width = decode(data, position, end)
                kind = classes[np.uint64(character)]
            if kind & SPACE:
                if first >= 0 and not has_number:
                    copied[size : size + last - first] = data[first:last]
                    size += last - first
                    found += 1
                    copied_offsets[found] = size
                first, last, has_number = -1, -1, False
            elif kind & LETTER:
                first = position if first < 0 else first
                last = position + width
            elif kind & NUMBER:
                has_number = True
            position += width
    return found
