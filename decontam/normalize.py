"""Text as the decontaminator compares it: letters and numbers only, one spelling for each, with the way back to the bytes.

Definition: NFKC, then case folding, then NFKC again, then every character outside the Unicode categories L* and N* is left out.
Full-width, ligature, decomposed-Hangul and upper-case spellings of a text become one, and spaces, punctuation and emoji vanish, so that
line breaks, markdown and Korean spacing habits do not hide a copy. `normalize_text` is the definition; `normalize_batch` is the same
over a whole Arrow column: a numba pass over the UTF-8 bytes that looks each code point up (`decontam.unicode_table`) and leaves to
`unicodedata` only the pieces in which characters combine. Nearly all text is read by `_read_simple`, the rest character by character.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numba
import numpy as np
import pyarrow as pa
from numba import types

from decontam.arrow import text_buffers
from decontam.errors import DecontamError
from decontam.numba_types import read_only, writable
from decontam.unicode_table import EXPAND, KIND_SHIFT, LONG, MAP, SLOW, TABLE_SIZE, TAIL, fold, unicode_table

NORMALIZER_VERSION = "1"
"""Part of every index's fingerprint: raise it when the definition changes."""

_VALUE_MASK = (1 << KIND_SHIFT) - 1
_PIECE_FIELDS = 4
_EXTRA_KINDS = (np.uint32, np.uint32, np.uint8)
_RUN_BYTES = 1 << 20  # of documents that are normalised together: what is put into their output later stays in the processor's cache
_CHUNK = 8  # bytes that are tested for being ASCII together; 16 and 32 were not faster


Arrays = list[np.ndarray | None]
"""Output characters, starts, ends and breaks, the latter three where they were asked for."""


@dataclass(frozen=True)
class Normalized:
    """Normalised documents. Document i is `codepoints[offsets[i]:offsets[i + 1]]`.

    codepoints: uint32[m]. offsets: int64[n + 1]. starts, ends: uint32[m] or None, the UTF-8 bytes of the source that an output character
    came from, counted from the start of its own document; characters of one combined piece share its span.
    breaks: uint8[m] or None, 1 where the document begins or something was left out before the character: a word boundary.
    """

    codepoints: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None
    breaks: np.ndarray | None = None


def normalize_text(text: str) -> str:
    """The definition of this module, for one string."""
    return fold(text)


def normalize_batch(array: pa.Array | pa.ChunkedArray, with_spans: bool = False, with_breaks: bool = False) -> Normalized:
    """Normalise a string column; a null counts as an empty text.

    Needs up to four bytes of memory per byte of text (plus 8 with spans, 1 with breaks) while it runs.
    Raises DecontamError for a column that is not text, or a document of 4 GiB or more when spans are asked for.
    """
    data, offsets = text_buffers(array)
    return normalize_buffers(data, offsets, with_spans, with_breaks)


def normalize_buffers(data: np.ndarray, offsets: np.ndarray, with_spans: bool = False, with_breaks: bool = False) -> Normalized:
    """As `normalize_batch`, for uint8 bytes and int64[n + 1] offsets into them (of a contiguous run of documents)."""
    size = int(offsets[-1] - offsets[0])
    if with_spans and len(offsets) > 1 and int(np.diff(offsets).max()) >= 1 << 32:
        raise DecontamError("a document is 4 GiB or larger; split it before scanning.")
    room = size
    while (result := _normalize_runs(data, offsets, room, with_spans, with_breaks)) is None:
        room *= 2  # rare: some characters become more characters than they have bytes
    return result


def _normalize_runs(data: np.ndarray, offsets: np.ndarray, room: int, with_spans: bool, with_breaks: bool) -> Normalized | None:
    """Normalise run after run of documents into one output of `room` characters; None where they don't fit."""
    output: Arrays = [np.empty(room, np.uint32)]
    output += [
        np.empty(room, kind) if wanted else None for kind, wanted in zip(_EXTRA_KINDS, (with_spans, with_spans, with_breaks), strict=True)
    ]
    out_offsets = np.zeros(len(offsets), np.int64)
    first = filled = 0
    while first < len(offsets) - 1:
        stop = max(first + 1, int(np.searchsorted(offsets, offsets[first] + _RUN_BYTES)) - 1)
        run = offsets[first : stop + 1]
        if filled + int(run[-1] - run[0]) > room:
            return None
        rest = [None if array is None else array[filled:] for array in output]
        run_offsets, pieces = _normalize_run(data, run, rest)
        if len(pieces):
            run_offsets, merged = _insert_pieces(data, run, pieces, run_offsets, rest)
            length = int(run_offsets[-1])
            if filled + length > room:
                return None
            for target, source in zip(rest, merged, strict=True):
                if target is not None and source is not None:
                    target[:length] = source
        out_offsets[first : stop + 1] = run_offsets + filled
        first, filled = stop, int(out_offsets[stop])
    codepoints, *extras = (None if array is None else array[:filled] for array in output)
    return Normalized(cast(np.ndarray, codepoints), out_offsets, *extras)


def _normalize_run(data: np.ndarray, offsets: np.ndarray, output: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """(int64[n + 1] offsets of the documents in `output`, the pieces that were left out)."""
    table = unicode_table()
    out_offsets = np.empty(len(offsets), np.int64)
    capacity = 256
    while True:
        pieces = np.empty(capacity * _PIECE_FIELDS, np.int64)
        arguments = (data, offsets, table.codes, table.expansion, table.expansion_offsets, output[0], out_offsets, *output[1:], pieces)
        count = _normalize(*arguments)
        if count <= capacity:
            return out_offsets, pieces[: count * _PIECE_FIELDS]
        capacity = count


def _insert_pieces(
    data: np.ndarray, offsets: np.ndarray, pieces: np.ndarray, out_offsets: np.ndarray, output: Arrays
) -> tuple[np.ndarray, Arrays]:
    """Normalise the pieces that the kernel left out: new offsets and output, with their text where it belongs."""
    raw = data.data
    rows: dict[bytes, int] = {}
    texts: list[str] = []
    which = np.empty(len(pieces) // _PIECE_FIELDS, np.int64)
    for index, (start, end) in enumerate(zip(pieces[0::_PIECE_FIELDS].tolist(), pieces[1::_PIECE_FIELDS].tolist(), strict=True)):
        key = bytes(raw[start:end])
        row = rows.get(key)
        if row is None:
            row = rows[key] = len(texts)
            texts.append(fold(key.decode("utf-8", "ignore")))
        which[index] = row
    lengths = np.array([len(text) for text in texts], np.int64)
    text_offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(lengths, out=text_offsets[1:])
    inserted = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    size = int(out_offsets[-1]) + int(lengths[which].sum())
    merged = [None if array is None else np.empty(size, array.dtype) for array in output]
    new_offsets = np.empty(len(offsets), np.int64)
    arguments = (offsets, pieces, which, inserted, text_offsets, out_offsets, *output, new_offsets, *merged)
    _merge(*arguments)
    return new_offsets, merged


@numba.njit(types.UniTuple(types.int64, 2)(read_only(types.uint8), types.int64, types.int64), cache=True, nogil=True, inline="always")
def _decode(data, position, end):
    """`(code point, bytes)` of the multi-byte character at `position`; a broken one is a single byte that stands for nothing (0)."""
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


_EXTRAS = [(spans, spans, breaks) for spans in (types.none, writable(types.uint32)) for breaks in (types.none, writable(types.uint8))]
"""Types of starts, ends and breaks: a kernel is compiled for each choice, so that what isn't asked for costs nothing per character."""


@numba.njit([types.void(types.uint64, types.uint64, types.uint64, types.uint8, *extras) for extras in _EXTRAS], cache=True, nogil=True)
def _note(k, start, end, gap, starts, ends, breaks):
    """Record where output character `k` came from, and whether something was left out before it."""
    if starts is not None:
        starts[k] = start
        ends[k] = end
    if breaks is not None:
        breaks[k] = gap


@numba.njit(
    [
        types.Tuple((types.uint64, types.uint64, types.uint64, types.uint8))(
            read_only(types.uint8), types.uint64, types.uint64, types.uint64, read_only(types.uint32),
            writable(types.uint32), types.uint64, *extras, types.uint8,
        )
        for extras in _EXTRAS
    ],
    cache=True, nogil=True,
)  # fmt: skip
def _read_simple(data, begin, position, end, table, out, k, starts, ends, breaks, gap):
    """Read on from `position` while characters are of one or three bytes, stand for themselves or nothing, and join nothing.

    Returns the position of the first character that isn't (or of the last two bytes), the output's length, the position of the last
    character read (`position` if none was), and whether something was left out at the end.
    """
    one, two, chunk = np.uint64(1), np.uint64(2), np.uint64(_CHUNK)
    last = position
    while position + two < end:
        if position + chunk <= end:
            high = np.uint8(0)
            for index in range(_CHUNK):
                high |= data[position + np.uint64(index)]
            if high < 128:
                for _ in range(_CHUNK):
                    value = table[data[position]]
                    out[k] = value
                    _note(k, position - begin, position - begin + one, gap, starts, ends, breaks)
                    gap = np.uint8(value == 0)
                    k += np.uint64(value != 0)
                    position += one
                last = position - one
                continue
        stop = min(position + chunk, end - two)
        while position < stop:
            # Without a branch on the width: in Korean text, where words are short, it would often be mispredicted.
            lead = np.uint64(data[position])
            ascii = lead < np.uint64(0x80)
            if not ascii and lead >> np.uint64(4) != np.uint64(0xE):
                return position, k, last, gap
            tail = (np.uint64(data[position + one]) & np.uint64(63)) << np.uint64(6) | (np.uint64(data[position + two]) & np.uint64(63))
            code = (lead & np.uint64(15)) << np.uint64(12) | tail
            hangul = not ascii and code - np.uint64(0xAC00) < np.uint64(0x2BA4)  # the 11,172 syllables stand for themselves
            entry = table[lead if ascii else (np.uint64(0) if hangul else code)]
            if entry >> np.uint32(KIND_SHIFT) != np.uint32(MAP):
                return position, k, last, gap
            value = np.uint32(code) if hangul else entry
            width = one if ascii else np.uint64(3)
            out[k] = value
            _note(k, position - begin, position - begin + width, gap, starts, ends, breaks)
            gap = np.uint8(value == 0)
            k += np.uint64(value != 0)
            last = position
            position += width
    return position, k, last, gap


@numba.njit(
    [
        types.int64(
            read_only(types.uint8), read_only(types.int64), read_only(types.uint32), read_only(types.uint32), read_only(types.int64),
            writable(types.uint32), writable(types.int64), *extras, writable(types.int64),
        )
        for extras in _EXTRAS
    ],
    cache=True, nogil=True,
)  # fmt: skip
def _normalize(data, offsets, table, expansion, expansion_offsets, out, out_offsets, starts, ends, breaks, pieces):
    """Fill `out`, and list in `pieces` (start byte, end byte, output position, break before) what needs `unicodedata`.

    Returns the number of pieces, which may exceed the room in `pieces`: the caller then calls again with more.
    """
    capacity = len(pieces) // _PIECE_FIELDS
    count, k = 0, np.int64(0)
    out_offsets[0] = 0
    for document in range(len(offsets) - 1):
        begin = offsets[document]
        end = offsets[document + 1]
        position, gap = begin, np.uint8(1)
        # The last character that can begin a piece: its first byte, the output before it, and what it became (0: cannot be joined).
        piece_start, piece_out, joinable, expanded = begin, k, np.uint32(0), False
        while position < end:
            byte = data[position]
            if byte < 0x80 or 0xE2 <= byte < 0xF0:  # E1: conjoining jamo and others that mostly aren't simple
                # fmt: off
                reached, filled, last, gap = _read_simple(
                    data, np.uint64(begin), np.uint64(position), np.uint64(end), table, out, np.uint64(k), starts, ends, breaks, gap
                )
                # fmt: on
                k = np.int64(filled)
                if np.int64(reached) > position:
                    position = np.int64(reached)
                    piece_start = np.int64(last)
                    code, width = _decode(data, piece_start, end)
                    joinable = table[code]
                    piece_out = k - (joinable != 0)
                    expanded = False
                    if position >= end:
                        break
            code, width = _decode(data, position, end)
            entry = table[code] if code < TABLE_SIZE else np.uint32(0)
            kind = entry >> KIND_SHIFT
            value = entry & np.uint32(_VALUE_MASK)
            if kind == MAP:
                piece_start, piece_out, joinable, expanded = position, k, value, False
                if value != 0:
                    out[k] = value
                    _note(k, position - begin, position - begin + width, gap, starts, ends, breaks)
                    gap = np.uint8(0)
                    k += 1
                else:
                    gap = np.uint8(1)
                position += width
                continue
            if kind == EXPAND:
                piece_start, piece_out, expanded = position, k, True
                for index in range(expansion_offsets[value], expansion_offsets[value + 1]):
                    out[k] = expansion[index]
                    _note(k, position - begin, position - begin + width, gap, starts, ends, breaks)
                    gap = np.uint8(0)
                    k += 1
                position += width
                continue
            if kind == TAIL and not expanded:
                if 0x1100 <= joinable <= 0x1112 and value <= 0x1175:
                    joinable = np.uint32(0xAC00 + ((joinable - 0x1100) * 21 + (value - 0x1161)) * 28)
                elif 0xAC00 <= joinable <= 0xD7A3 and (joinable - 0xAC00) % 28 == 0 and value >= 0x11A8:
                    joinable = np.uint32(joinable + (value - 0x11A7))
                else:
                    piece_start, piece_out, joinable = position, k, value
                    _note(k, position - begin, position - begin, gap, starts, ends, breaks)
                    gap = np.uint8(0)
                    k += 1
                out[k - 1] = joinable
                position += width
                if starts is not None:
                    ends[k - 1] = position - begin
                continue
            if kind == LONG:
                piece_start, piece_out = position, k
            # Take the whole piece back and hand it over: from its first character to the last one that may attach.
            boundary = gap
            if breaks is not None and k > piece_out:
                boundary = breaks[piece_out]
            k = piece_out
            position += width
            while position < end and data[position] >= 128:
                code, width = _decode(data, position, end)
                entry = table[code] if code < TABLE_SIZE else np.uint32(0)
                kind = entry >> KIND_SHIFT
                if kind != SLOW and kind != TAIL:
                    break
                position += width
            if count < capacity:
                row = count * _PIECE_FIELDS
                pieces[row], pieces[row + 1], pieces[row + 2], pieces[row + 3] = piece_start, position, k, boundary
            count += 1
            gap = np.uint8(0)
            piece_start, piece_out, joinable, expanded = position, k, np.uint32(0), False
        out_offsets[document + 1] = k
    return count


@numba.njit(
    [
        types.void(
            read_only(types.int64), read_only(types.int64), read_only(types.int64), read_only(types.uint32), read_only(types.int64),
            read_only(types.int64), read_only(types.uint32), *extras, writable(types.int64), writable(types.uint32), *extras,
        )
        for extras in _EXTRAS
    ],
    cache=True, nogil=True,
)  # fmt: skip
def _merge(
    offsets, pieces, which, inserted, inserted_offsets, out_offsets, codepoints, starts, ends, breaks,
    new_offsets, out, new_starts, new_ends, new_breaks,
):  # fmt: skip
    """Copy the kernel's output and put each piece's text at its position."""
    piece = 0
    k = 0
    new_offsets[0] = 0
    for document in range(len(offsets) - 1):
        begin = offsets[document]
        end = offsets[document + 1]
        source = out_offsets[document]
        last = out_offsets[document + 1]
        vanished = False
        while True:
            here = piece < len(which) and pieces[piece * _PIECE_FIELDS] >= begin and pieces[piece * _PIECE_FIELDS] < end
            stop = pieces[piece * _PIECE_FIELDS + 2] if here else last
            while source < stop:
                out[k] = codepoints[source]
                if starts is not None:
                    new_starts[k] = starts[source]
                    new_ends[k] = ends[source]
                if breaks is not None:
                    new_breaks[k] = 1 if vanished else breaks[source]
                    vanished = False
                source += 1
                k += 1
            if not here:
                break
            row = which[piece]
            boundary = pieces[piece * _PIECE_FIELDS + 3] != 0 or vanished
            vanished = inserted_offsets[row] == inserted_offsets[row + 1]
            for index in range(inserted_offsets[row], inserted_offsets[row + 1]):
                out[k] = inserted[index]
                if starts is not None:
                    new_starts[k] = pieces[piece * _PIECE_FIELDS] - begin
                    new_ends[k] = pieces[piece * _PIECE_FIELDS + 1] - begin
                if breaks is not None:
                    new_breaks[k] = 1 if boundary else 0
                    boundary = False
                k += 1
            piece += 1
        new_offsets[document + 1] = k
