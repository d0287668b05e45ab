"""Text parted into pre-tokens, compiled: a state machine over UTF-8 bytes.

It makes the splits of the regular expression `words.PATTERN` in one pass, without its backtracking: time is linear in the text whatever
it holds. Importing this module loads (the first time: compiles) the kernels.

Functions that are called for each character or word take pointers: numba counts references to arrays, atomically, in every function that
they are passed to.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable
from tokenizer import unicode_classes

LETTER, NUMBER = np.uint8(unicode_classes.LETTER), np.uint8(unicode_classes.NUMBER)
SPACE, NEWLINE = np.uint8(unicode_classes.SPACE), np.uint8(unicode_classes.NEWLINE)
SYMBOL = np.uint8(0)

MAY_CHANGE = 255
"""In the table of `may_change`: a code point that NFC may turn into another; other values are canonical combining classes."""

_HIGH_BITS = np.uint64(0x8080808080808080)

# Of each of eight bytes below 0x80: the bit that makes it small, and what takes it to 0x80 or above from "a" on and behind "z".
_SMALL, _FROM_A, _BEYOND_Z = np.uint64(0x2020202020202020), np.uint64(0x1F1F1F1F1F1F1F1F), np.uint64(0x0505050505050505)
_PLACES = np.uint64(0x0001020304050607)  # times 1 << 8 * i, its highest byte is i

_U8, _I64 = read_only(types.uint8), read_only(types.int64)
_BOOLEAN_OUT, _U8_OUT, _I64_OUT, _U64_OUT = writable(types.boolean), writable(types.uint8), writable(types.int64), writable(types.uint64)
_BYTES_AT, _I64_AT, _U64_AT = types.CPointer(types.uint8), types.CPointer(types.int64), types.CPointer(types.uint64)


@numba.njit(_BYTES_AT(_BYTES_AT), cache=True, nogil=True)
def bytes_at(start):  # type: ignore[no-untyped-def]
    """`bytes_at(array.ctypes)`: the pointer to an array, as a variable."""
    return start


@numba.njit(types.uint64(_BYTES_AT, types.int64), cache=True, nogil=True)
def eight(data: np.ndarray, start: int) -> np.uint64:
    """Eight bytes as one number, the first lowest; the compiler makes one load of it."""
    low = np.uint64(data[start]) | np.uint64(data[start + 1]) << np.uint64(8)
    low |= np.uint64(data[start + 2]) << np.uint64(16) | np.uint64(data[start + 3]) << np.uint64(24)
    low |= np.uint64(data[start + 4]) << np.uint64(32) | np.uint64(data[start + 5]) << np.uint64(40)
    return low | np.uint64(data[start + 6]) << np.uint64(48) | np.uint64(data[start + 7]) << np.uint64(56)


@numba.njit(types.UniTuple(types.int64, 2)(_BYTES_AT, types.int64), cache=True, nogil=True)
def _decode(data: np.ndarray, position: int) -> tuple[int, int]:
    """The code point at a position of valid UTF-8, and the position behind it."""
    lead = np.int64(data[position])
    if lead < 0x80:
        return lead, position + 1
    second = np.int64(data[position + 1]) & 0x3F
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | second, position + 2
    third = np.int64(data[position + 2]) & 0x3F
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | second << 6 | third, position + 3
    return (lead & 0x07) << 18 | second << 12 | third << 6 | (np.int64(data[position + 3]) & 0x3F), position + 4


@numba.njit(types.int64(_BYTES_AT, types.int64, types.int64), cache=True, nogil=True)
def _contraction(data: np.ndarray, start: int, end: int) -> int:
    """Bytes of `s|t|re|ve|m|ll|d` at `start`, in any case and with the long s, or 0."""
    if start >= end:
        return 0
    first = np.int64(data[start])
    second = np.int64(data[start + 1]) if start + 1 < end else 0
    if first == 0xC5 and second == 0xBF:  # U+017F, whose case folding is s
        return 2
    first, second = first | 0x20, second | 0x20
    if first == 0x73 or first == 0x74 or first == 0x6D or first == 0x64:  # s t m d
        return 1
    if (first == 0x72 or first == 0x76) and second == 0x65:  # re ve
        return 2
    return 2 if first == 0x6C and second == 0x6C else 0  # ll


@numba.njit(types.int64(types.uint64), cache=True, nogil=True)
def _ascii_letters(eight: np.uint64) -> int:
    """How many of eight bytes, from the lowest, are ASCII letters: a comparison of all at once, without a branch per byte."""
    small = (eight | _SMALL) & ~_HIGH_BITS
    others = (~((small + _FROM_A) & ~(small + _BEYOND_Z)) | eight) & _HIGH_BITS
    if others == 0:
        return 8
    return np.int64(((others & (~others + np.uint64(1))) >> np.uint64(7)) * _PLACES >> np.uint64(56))


@numba.njit(types.int64(_BYTES_AT, types.int64, types.int64, _BYTES_AT), cache=True, nogil=True)
def _letters_end(data: np.ndarray, after: int, end: int, classes: np.ndarray) -> int:
    """The position behind the run of letters that goes on, or not, at `after`."""
    while after < end:
        if np.int64(data[after]) < 0x80 and after + 8 <= end:
            letters = _ascii_letters(eight(data, after))
            after += letters
            if letters == 8:
                continue
            if np.int64(data[after]) < 0x80:
                break
        code, following = _decode(data, after)
        if not classes[code] & LETTER:
            break
        after = following
    return after


@numba.njit(types.int64(_BYTES_AT, types.int64, types.int64, _BYTES_AT), cache=True, nogil=True)
def _symbols_end(data: np.ndarray, after: int, end: int, classes: np.ndarray) -> int:
    """The position behind the run of symbols at `after`, and behind the line ends that follow it."""
    while after < end:
        code, following = _decode(data, after)
        if classes[code] != SYMBOL:
            break
        after = following
    while after < end and (np.int64(data[after]) == 10 or np.int64(data[after]) == 13):
        after += 1
    return after


@numba.njit(types.int64(_BYTES_AT, types.int64, types.int64, _BYTES_AT), cache=True, nogil=True)
def _space_end(data: np.ndarray, start: int, end: int, classes: np.ndarray) -> int:
    """The end of a pre-token of white space at `start`: behind the last line end of the run, or else before the run's last character,
    which goes with what follows, if anything does and the run has more than one."""
    after = last = start
    newline = 0
    while after < end:
        code, following = _decode(data, after)
        kind = classes[code]
        if not kind & SPACE:
            break
        last, after = after, following
        if kind & NEWLINE:
            newline = after
    if newline:
        return newline
    return after if after == end or last == start else last


@numba.njit(types.int64(_BYTES_AT, types.int64, types.int64, _BYTES_AT), cache=True, nogil=True)
def pretoken_end(data: np.ndarray, start: int, end: int, classes: np.ndarray) -> int:
    """The position behind the pre-token that begins at `start` < `end`."""
    code, after = _decode(data, start)
    kind = classes[code]
    if kind & LETTER:
        return _letters_end(data, after, end, classes)
    if kind & NUMBER:
        return after
    if code == 0x27:  # an apostrophe
        size = _contraction(data, after, end)
        if size:
            return after + size
    if after < end and not kind & NEWLINE:
        code_after, following = _decode(data, after)
        kind_after = classes[code_after]
        if kind_after & LETTER:
            return _letters_end(data, following, end, classes)
        if code == 0x20 and kind_after == SYMBOL:
            return _symbols_end(data, following, end, classes)
    if kind == SYMBOL:
        return _symbols_end(data, after, end, classes)
    return _space_end(data, start, end, classes)


@numba.njit(types.int64(_U8, _U8, _I64_OUT), cache=True, nogil=True)
def split(data: np.ndarray, classes: np.ndarray, ends: np.ndarray) -> int:
    """Fill `ends` (as long as the text) with the ends of the pre-tokens of one text; returns how many there are."""
    text, kinds = bytes_at(data.ctypes), bytes_at(classes.ctypes)
    start = found = 0
    while start < len(data):
        start = pretoken_end(text, start, len(data), kinds)
        ends[found] = start
        found += 1
    return found


@numba.njit(types.void(_U8, _I64, _U8, _BOOLEAN_OUT), cache=True, nogil=True)
def may_change(data: np.ndarray, offsets: np.ndarray, table: np.ndarray, flags: np.ndarray) -> None:
    """Flag the texts that aren't certainly in NFC: the quick check of Unicode Standard Annex #15, section 9.

    table: uint8 of each code point, its canonical combining class or MAY_CHANGE.
    """
    text = bytes_at(data.ctypes)
    for row in range(len(flags)):
        position, end = offsets[row], offsets[row + 1]
        before = 0
        flag = False
        while position < end:
            if position + 8 <= end and eight(text, position) & _HIGH_BITS == 0:
                position += 8
                before = 0
                continue
            code, position = _decode(text, position)
            value = np.int64(table[code])
            if value == MAY_CHANGE or (value != 0 and value < before):
                flag = True
                break
            before = value
        flags[row] = flag
