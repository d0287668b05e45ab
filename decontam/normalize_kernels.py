"""The loops of normalisation: UTF-8 bytes in, letters and numbers out, most of it several bytes per instruction.

A chunk of text is read several times while it lies in the processor's first cache. `_read` gives every byte a value: an ASCII letter or
digit its own, the last byte of a Hangul syllable the syllable, every other byte 0. It has no branches and no byte depends on an earlier
result, so the compiler turns it into vector instructions. `_look_up` fills in, from the table, what other characters stand for, and lists
those that a table can't answer because neighbours join or one becomes many; `_compact` then moves the values that aren't 0 together. What
was listed, and chunks that aren't valid UTF-8, go through `read_exactly`, a character at a time.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.normalize_exact import MARK, SPANS, decode, read_exactly, splits
from decontam.numba_types import read_only, writable
from decontam.unicode_table import TABLE_SIZE

_CHUNK = 2048  # bytes, a power of 2; an index takes up to 13 bits, and what is noted on a chunk should fit the first cache (32 KiB)
_DENSE = 16  # a chunk with more than one listed character in so many bytes (as NFD has) is read exactly, together with
_DENSE_CHUNKS = 8  # those after it, which are most likely like it
_LOOKBACK = 3  # bytes of the longest character before its last
_WORD = 8
_WIDTH_SHIFT, _INDEX_SHIFT = 16, 18  # of what `_note_places` adds to a value, which is below 1 << 16
_INDEXES = np.arange(_CHUNK, dtype=np.uint32) << np.uint32(_INDEX_SHIFT)
_ALL_BROKEN = np.uint64(0x0202020202020202)

_CONTINUATION, _TWO_BYTES, _THREE_BYTES, _FOUR_BYTES = np.uint8(0x80), np.uint8(0xC0), np.uint8(0xE0), np.uint8(0xF0)
_NO_VALUE, _ONE, _NO_FLAG = np.uint16(0), np.uint16(1), np.uint8(0)
# Every operation below is cast back to its operands' type: numba widens to 64 bits, and vectors would then hold an eighth as many.


@numba.njit(types.void(read_only(types.uint8), writable(types.uint16), writable(types.uint8)), cache=True, nogil=True)
def _read(data, values, flags):
    """`values` and `flags` of the bytes `data[3:]`, for as many as `flags` holds; `values` has three zeros in front of them.

    A value stands at the last byte of its character. Flags: 1 at the last byte of a character of several bytes that isn't a Hangul
    syllable, 2 where a continuation byte is missing or stands alone.
    """
    size = len(flags)
    third, second, first = data[:size], data[1 : size + 1], data[2 : size + 2]  # bytes before this one
    this, value = data[3 : size + 3], values[3 : size + 3]
    for i in range(size):
        a, b, c = second[i], first[i], this[i]
        lower = np.uint8(c | np.uint8(0x20))
        ascii = lower if np.uint8(lower - np.uint8(97)) < np.uint8(26) else _NO_FLAG
        ascii = c if np.uint8(c - np.uint8(48)) < np.uint8(10) else ascii
        code = np.uint16(
            np.uint16(np.uint16(a) << np.uint16(12))
            | np.uint16(np.uint16(np.uint16(b) & np.uint16(63)) << np.uint16(6))
            | np.uint16(np.uint16(c) & np.uint16(63))
        )
        hangul = code if np.uint16(code - np.uint16(0xAC00)) < np.uint16(0x2BA4) else _NO_VALUE  # 11,172 syllables stand for themselves
        hangul = hangul if np.uint8(a & np.uint8(0xF0)) == _THREE_BYTES else _NO_VALUE
        value[i] = np.uint16(hangul | np.uint16(ascii))
    for i in range(size):
        a, b, c = second[i], first[i], this[i]
        ends_two = np.uint8(1) if np.uint8(b & np.uint8(0xE0)) == _TWO_BYTES else _NO_FLAG
        ends_three = np.uint8(1) if np.uint8(a & np.uint8(0xF0)) == _THREE_BYTES else _NO_FLAG
        ends_four = np.uint8(1) if third[i] >= _FOUR_BYTES else _NO_FLAG
        other = np.uint8(np.uint8(ends_two | ends_three) | ends_four)
        other = other if value[i] == _NO_VALUE else _NO_FLAG
        wanted = np.uint8(1) if b >= _TWO_BYTES else _NO_FLAG
        wanted = np.uint8(1) if a >= _THREE_BYTES else wanted
        wanted = np.uint8(wanted | ends_four)
        found = np.uint8(1) if np.uint8(c & _TWO_BYTES) == _CONTINUATION else _NO_FLAG
        flags[i] = np.uint8(other | np.uint8(np.uint8(wanted ^ found) << np.uint8(1)))


@numba.njit(types.void(read_only(types.uint8), read_only(types.uint16), writable(types.uint32)), cache=True, nogil=True)
def _mark(data, values, marked):
    """`values[3:]` with MARK where it isn't 0 and the character before was left out; the arrays are those of `_read`."""
    size = len(marked)
    first, this = data[2 : size + 2], data[3 : size + 3]
    after_three, after_two, after_one, value = values[:size], values[1 : size + 1], values[2 : size + 2], values[3 : size + 3]
    for i in range(size):
        three, two, one, own = after_three[i], after_two[i], after_one[i], value[i]
        before = three if np.uint8(first[i] & _TWO_BYTES) == _CONTINUATION else two
        before = before if np.uint8(this[i] & _TWO_BYTES) == _CONTINUATION else one
        gap = _ONE if before == _NO_VALUE else _NO_VALUE
        gap = gap if own != _NO_VALUE else _NO_VALUE
        marked[i] = np.uint32(np.uint32(own) | np.uint32(np.uint32(gap) << np.uint32(31)))


@numba.njit(types.void(read_only(types.uint8), writable(types.uint32)), cache=True, nogil=True)
def _note_places(data, marked):
    """Add to what `_mark` wrote and isn't 0: at bit 16 the bytes of the character less one, from bit 18 on its index."""
    size = len(marked)
    first, this = data[2 : size + 2], data[3 : size + 3]
    for i in range(size):
        own, index = marked[i], _INDEXES[i]
        more = np.uint32(2 << _WIDTH_SHIFT) if np.uint8(first[i] & _TWO_BYTES) == _CONTINUATION else np.uint32(1 << _WIDTH_SHIFT)
        more = more if np.uint8(this[i] & _TWO_BYTES) == _CONTINUATION else np.uint32(0)
        more = np.uint32(more | index)
        marked[i] = np.uint32(own | more) if own != np.uint32(0) else np.uint32(0)


@numba.njit(
    types.int64(
        read_only(types.uint8), types.int64, types.int64, read_only(types.uint32), writable(types.uint16), writable(types.uint8),
        read_only(types.uint64), writable(types.int64),
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _look_up(data, start, size, table, values, flags, words, found):
    """Fill in the values of flagged characters of the `size` bytes from `start`; positions of those that have none go to `found`.

    Returns how many those are, or -1 where the bytes aren't valid UTF-8. `words` is `flags`, eight at a time.
    """
    flagged, seen = 0, np.uint64(0)
    for word in range((size + _WORD - 1) // _WORD):
        if words[word] != 0:
            seen |= words[word]
            for i in range(word * _WORD, word * _WORD + _WORD):  # without a branch for each
                found[flagged] = i
                flagged += flags[i] != 0
    if seen & _ALL_BROKEN != 0:
        return -1
    listed = 0
    for k in range(flagged):
        last = start + found[k]
        this, first, second = np.uint32(data[last]), np.uint32(data[last - 1]), np.uint32(data[last - 2])
        width = 2 if first >= 0xC0 else 3
        code = np.int64((np.uint32(0) if first >= 0xC0 else (second & 0xF) << 12) | (first & 0x3F) << 6 | this & 0x3F)
        if first < 0xC0 and second < 0xE0:
            code, width = decode(data, last - 3, last + 1)
        entry = table[code] if code < TABLE_SIZE else np.uint32(0)
        fits = entry == 0 or (entry <= 0xFFFF and width < 4)  # so it is of kind MAP, and `_mark` knows characters of up to three bytes
        values[found[k] + _LOOKBACK] = entry if fits else 0
        found[listed] = last + 1 - width
        listed += not fits
    return listed


@numba.njit(
    [
        types.int64(read_only(value), types.uint64, types.uint64, writable(types.uint32), types.uint64)
        for value in (types.uint16, types.uint32)
    ],
    cache=True, nogil=True,
)  # fmt: skip
def _compact(values, low, high, out, k):
    """Write those of `values[low:high]` that aren't 0 to `out` from position `k` on, and return the position after them."""
    while low < high:
        value = values[low]
        out[k] = value
        k += np.uint64(value != 0)
        low += np.uint64(1)
    return np.int64(k)


@numba.njit(
    types.void(types.uint64, types.uint64, types.uint32, types.uint32, *[writable(types.uint32)] * 3), cache=True, nogil=True,
)  # fmt: skip
def _unpack_spans(first, stop, chunk, mark, out, starts, ends):
    """Take what `_note_places` added out of `out[first:stop]`; `chunk` is where the chunk begins in the document, modulo 2**32."""
    kept = np.uint32(mark | np.uint32(0xFFFF))
    while first < stop:
        value = out[first]
        last = np.uint32(chunk + np.uint32(np.uint32(value >> np.uint32(_INDEX_SHIFT)) & np.uint32(_CHUNK - 1)))
        starts[first] = np.uint32(last - np.uint32(np.uint32(value >> np.uint32(_WIDTH_SHIFT)) & np.uint32(3)))
        ends[first] = np.uint32(last + np.uint32(1))
        out[first] = np.uint32(value & kept)
        first += np.uint64(1)


@numba.njit(
    [
        types.int64(
            read_only(types.uint8), read_only(types.int64), read_only(types.uint32), read_only(types.uint32), read_only(types.int64),
            writable(types.uint32), writable(types.int64), spans, spans, types.boolean, writable(types.int64),
        )
        for spans in SPANS
    ],
    cache=True, nogil=True,
)  # fmt: skip
def normalize(data, offsets, table, expansion, expansion_offsets, out, out_offsets, starts, ends, with_marks, pieces):
    """Fill `out` (with MARK where asked), and list in `pieces` what needs `unicodedata`.

    Returns the number of pieces, which may exceed the room in `pieces`: the caller then calls again with more.
    """
    values = np.zeros(_CHUNK + _LOOKBACK, np.uint16)
    marked = np.empty(_CHUNK, np.uint32)
    words = np.empty(_CHUNK // _WORD, np.uint64)
    flags = words.view(np.uint8)
    found = np.empty(_CHUNK + 1, np.int64)
    mark = np.uint32(MARK) if with_marks else np.uint32(0)
    count, k = 0, 0
    chunk, chunk_end, listed, next_listed = 0, 0, 0, 0
    out_offsets[0] = 0
    for document in range(len(offsets) - 1):
        begin = offsets[document]
        end = offsets[document + 1]
        position, gap = begin, True
        whole = not splits(data, begin)  # or else its first bytes belong, in the chunk, to a character of the document before
        while position < end:
            if position >= chunk_end:
                chunk, next_listed = position, 0
                if chunk < _LOOKBACK:
                    chunk_end, listed = _LOOKBACK, -1
                else:
                    chunk_end = min(chunk + _CHUNK, offsets[-1])
                    size = chunk_end - chunk
                    words[(size - 1) // _WORD] = 0
                    nearby = data[chunk - _LOOKBACK : chunk_end]
                    _read(nearby, values, flags[:size])
                    listed = _look_up(data, chunk, size, table, values, flags, words, found)
                    while chunk_end < offsets[-1] and chunk_end > chunk + _CHUNK - _LOOKBACK and data[chunk_end] & 0xC0 == 0x80:
                        chunk_end -= 1
                    if splits(data, chunk) or splits(data, chunk_end):
                        listed = -1
                    if listed > size // _DENSE:
                        listed, chunk_end = -1, min(chunk + _CHUNK * _DENSE_CHUNKS, offsets[-1])
                    if listed >= 0 and (with_marks or starts is not None):
                        _mark(nearby, values, marked[:size])
                    if listed >= 0 and starts is not None:
                        _note_places(nearby, marked[:size])
            stop = min(end, chunk_end)
            exactly = stop
            if whole and listed >= 0:
                while next_listed < listed and found[next_listed] < position:
                    next_listed += 1
                exactly = position
                if next_listed < listed and found[next_listed] < stop:
                    stop = found[next_listed]
                    exactly = stop + 1
                if stop > position:
                    low, high = position - chunk, stop - chunk
                    if with_marks:
                        lead = data[position]
                        last = low + np.int64(lead >= 0xC0) + np.int64(lead >= 0xE0) + np.int64(lead >= 0xF0)
                        own = marked[last] & np.uint32(MARK - 1)
                        marked[last] = own | (mark if gap and own != 0 else np.uint32(0))
                    first = k
                    if with_marks or starts is not None:
                        k = _compact(marked, low, high, out, k)
                    else:
                        k = _compact(values, low + _LOOKBACK, high + _LOOKBACK, out, k)
                    if starts is not None:
                        _unpack_spans(first, k, chunk - begin, mark, out, starts, ends)
                    gap = values[high + _LOOKBACK - 1] == 0
                    position = stop
            if position < exactly:
                position, k, gap, count = read_exactly(
                    data, begin, position, exactly, end, table, expansion, expansion_offsets, out, k, starts, ends, gap, mark, pieces, count
                )
        out_offsets[document + 1] = k
    return count


@numba.njit(types.void(writable(types.uint32), writable(types.uint8)), cache=True, nogil=True)
def split_marks(codepoints, breaks):
    """Move each MARK from the characters to `breaks`, as 1."""
    for k in range(len(codepoints)):
        breaks[k] = np.uint8(codepoints[k] >> np.uint32(31))
        codepoints[k] &= np.uint32(MARK - 1)
