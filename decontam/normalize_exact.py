"""Normalisation a character at a time: what joins its neighbours or becomes several characters, and text that isn't valid UTF-8.

Conjoining jamo are composed here; other pieces in which characters combine are left out and listed, and `insert` puts their text, which
`unicodedata` knows, into the output afterwards.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable
from decontam.unicode_table import EXPAND, KIND_SHIFT, LONG, MAP, SLOW, TABLE_SIZE, TAIL

PIECE_FIELDS = 4
"""A piece that needs `unicodedata`: start byte, end byte, output position, whether something was left out before it."""

MARK = 1 << 31
"""Set in an output character before which the document begins or something was left out, where that is asked for."""

_VALUE_MASK = (1 << KIND_SHIFT) - 1

SPANS = [types.none, writable(types.uint32)]
"""Types of starts and ends: kernels are compiled for both, so that what isn't asked for costs nothing per character."""


@numba.njit(types.UniTuple(types.int64, 2)(read_only(types.uint8), types.int64, types.int64), cache=True, nogil=True, inline="always")
def decode(data, position, end):
    """`(code point, bytes)` of the character at `position`; a broken one is a single byte that stands for nothing (0)."""
    lead = np.int64(data[position])
    if lead >= 0xF0 and position + 3 < end:
        bits = (np.int64(data[position + 1]) & 63) << 12 | (np.int64(data[position + 2]) & 63) << 6 | (np.int64(data[position + 3]) & 63)
        return (lead & 7) << 18 | bits, 4
    if 0xE0 <= lead < 0xF0 and position + 2 < end:
        return (lead & 15) << 12 | (np.int64(data[position + 1]) & 63) << 6 | (np.int64(data[position + 2]) & 63), 3
    if 0xC0 <= lead < 0xE0 and position + 1 < end:
        return (lead & 31) << 6 | (np.int64(data[position + 1]) & 63), 2
    if lead < 0x80:
        return lead, 1
    return 0, 1


@numba.njit(types.int64(read_only(types.uint8), types.int64, types.int64), cache=True, nogil=True)
def character_before(data, begin, position):
    """Where the character that ends before `position` starts; not before `begin`."""
    position -= 1
    while position > begin and data[position] & 0xC0 == 0x80:
        position -= 1
    return position


@numba.njit(types.boolean(read_only(types.uint8), types.int64), cache=True, nogil=True)
def splits(data, position):
    """Whether a character that starts before `position` wants bytes from there on."""
    if position > 0 and data[position - 1] >= 0xC0:
        return True
    return (position > 1 and data[position - 2] >= 0xE0) or (position > 2 and data[position - 3] >= 0xF0)


@numba.njit([types.void(types.int64, types.int64, types.int64, spans, spans) for spans in SPANS], cache=True, nogil=True)
def _note(k, start, end, starts, ends):
    """Record where output character `k` came from."""
    if starts is not None:
        starts[k] = start
        ends[k] = end


@numba.njit(
    [
        types.Tuple((types.int64, types.int64, types.boolean, types.int64))(
            read_only(types.uint8), types.int64, types.int64, types.int64, types.int64, read_only(types.uint32), read_only(types.uint32),
            read_only(types.int64), writable(types.uint32), types.int64, spans, spans, types.boolean, types.uint32,
            writable(types.int64), types.int64,
        )
        for spans in SPANS
    ],
    cache=True, nogil=True,
)  # fmt: skip
def read_exactly(
    data, begin, position, until, end, table, expansion, expansion_offsets, out, k, starts, ends, gap, mark, pieces, count
):  # fmt: skip
    """Read from `position` to the first character from `until` on that nothing before it can change, or to the document's `end`.

    Returns that position, the output's length, whether something was left out just before, and the number of pieces.
    """
    capacity = len(pieces) // PIECE_FIELDS
    # The last character that can begin a piece: its first byte, the output before it, and what it became (0: cannot be joined).
    piece_start, piece_out, joinable, expanded = position, k, np.uint32(0), False
    if position > begin:
        piece_start = character_before(data, begin, position)
        code, width = decode(data, piece_start, end)
        joinable = table[code] if code < TABLE_SIZE else np.uint32(0)
        piece_out = k - (joinable != 0)
    while position < end:
        code, width = decode(data, position, end)
        entry = table[code] if code < TABLE_SIZE else np.uint32(0)
        kind = entry >> KIND_SHIFT
        value = entry & np.uint32(_VALUE_MASK)
        if kind == MAP:
            # E1: conjoining jamo, after which others follow that the caller would only hand back
            if position >= until and (width == 1 or data[position] > 0xE1):
                break
            piece_start, piece_out, joinable, expanded = position, k, value, False
            if value != 0:
                out[k] = value | (mark if gap else np.uint32(0))
                _note(k, position - begin, position - begin + width, starts, ends)
                k += 1
            gap = value == 0
            position += width
            continue
        if kind == EXPAND:
            piece_start, piece_out, expanded = position, k, True
            for index in range(expansion_offsets[value], expansion_offsets[value + 1]):
                out[k] = expansion[index] | (mark if gap else np.uint32(0))
                _note(k, position - begin, position - begin + width, starts, ends)
                gap = False
                k += 1
            position += width
            continue
        if kind == TAIL and not expanded:
            if 0x1100 <= joinable <= 0x1112 and value <= 0x1175:
                joinable = np.uint32(0xAC00 + ((joinable - 0x1100) * 21 + (value - 0x1161)) * 28)
                out[k - 1] = joinable | (out[k - 1] & np.uint32(MARK))
            elif 0xAC00 <= joinable <= 0xD7A3 and (joinable - 0xAC00) % 28 == 0 and value >= 0x11A8:
                joinable = np.uint32(joinable + (value - 0x11A7))
                out[k - 1] = joinable | (out[k - 1] & np.uint32(MARK))
            else:
                piece_start, piece_out, joinable = position, k, value
                out[k] = value | (mark if gap else np.uint32(0))
                _note(k, position - begin, position - begin, starts, ends)
                gap = False
                k += 1
            position += width
            if starts is not None:
                ends[k - 1] = position - begin
            continue
        if kind == LONG:
            piece_start, piece_out = position, k
        # Take the whole piece back and hand it over: from its first character to the last one that may attach.
        boundary = out[piece_out] >= np.uint32(MARK) if k > piece_out else gap
        k = piece_out
        position += width
        while position < end and data[position] >= 128:
            code, width = decode(data, position, end)
            entry = table[code] if code < TABLE_SIZE else np.uint32(0)
            kind = entry >> KIND_SHIFT
            if kind != SLOW and kind != TAIL:
                break
            position += width
        if count < capacity:
            row = count * PIECE_FIELDS
            pieces[row], pieces[row + 1], pieces[row + 2], pieces[row + 3] = piece_start, position, k, boundary
        count += 1
        gap = False
        piece_start, piece_out, joinable, expanded = position, k, np.uint32(0), False
    return position, k, gap, count


@numba.njit(
    [
        types.void(
            read_only(types.int64), read_only(types.int64), read_only(types.int64), read_only(types.uint32), read_only(types.int64),
            writable(types.int64), writable(types.uint32), spans, spans, types.boolean,
        )
        for spans in SPANS
    ],
    cache=True, nogil=True,
)  # fmt: skip
def insert(offsets, pieces, which, texts, text_offsets, out_offsets, out, starts, ends, with_marks):
    """Make room in the output for the pieces' texts (piece i is text `which[i]`), write them, and correct `out_offsets`."""
    mark = np.uint32(MARK) if with_marks else np.uint32(0)
    boundary = np.empty(len(which), np.uint32)  # the mark of each piece's first character
    document, grown, vanished = 0, 0, False
    for piece in range(len(which)):
        start, k = pieces[piece * PIECE_FIELDS], pieces[piece * PIECE_FIELDS + 2]
        while offsets[document + 1] <= start:
            document += 1
            out_offsets[document] += grown
            vanished = False
        after_vanished = piece > 0 and vanished and pieces[(piece - 1) * PIECE_FIELDS + 2] == k
        boundary[piece] = mark if after_vanished or pieces[piece * PIECE_FIELDS + 3] != 0 else np.uint32(0)
        size = text_offsets[which[piece] + 1] - text_offsets[which[piece]]
        vanished = size == 0
        following = (piece + 1) * PIECE_FIELDS
        adjoined = following < len(pieces) and pieces[following + 2] == k and pieces[following] < offsets[document + 1]
        if vanished and k < out_offsets[document + 1] and not adjoined:
            out[k] |= mark
        grown += size
    source = out_offsets[-1]
    while document < len(offsets) - 1:
        document += 1
        out_offsets[document] += grown
    target = out_offsets[-1]
    document = len(offsets) - 2
    for piece in range(len(which) - 1, -1, -1):
        start, end, k = pieces[piece * PIECE_FIELDS], pieces[piece * PIECE_FIELDS + 1], pieces[piece * PIECE_FIELDS + 2]
        while offsets[document] > start:
            document -= 1
        shift = target - source
        for index in range(source - 1, k - 1, -1):
            out[index + shift] = out[index]
            if starts is not None:
                starts[index + shift] = starts[index]
                ends[index + shift] = ends[index]
        source, target = k, k + shift
        text, stop = text_offsets[which[piece]], text_offsets[which[piece] + 1]
        for index in range(stop - 1, text - 1, -1):
            target -= 1
            out[target] = texts[index] | (boundary[piece] if index == text else np.uint32(0))
            if starts is not None:
                starts[target] = start - offsets[document]
                ends[target] = end - offsets[document]
