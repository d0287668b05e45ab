"""Text as the decontaminator compares it: letters and numbers only, one spelling for each, with the way back to the bytes.

Definition: NFKC, then case folding, then NFKC again, then every character outside the Unicode categories L* and N* is left out.
Full-width, ligature, decomposed-Hangul and upper-case spellings of a text become one, and spaces, punctuation and emoji vanish, so that
line breaks, markdown and Korean spacing habits do not hide a copy. `normalize_text` is the definition; `normalize_batch` is the same
over a whole Arrow column: a numba pass over the UTF-8 bytes that looks each code point up (`decontam.unicode_table`) and leaves to
`unicodedata` only the pieces in which characters combine.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    table = unicode_table()
    codepoints = np.empty(size, np.uint32)
    starts = np.empty(size if with_spans else 0, np.uint32)
    ends = np.empty(size if with_spans else 0, np.uint32)
    breaks = np.empty(size if with_breaks else 0, np.uint8)
    out_offsets = np.empty(len(offsets), np.int64)
    capacity = 256 + size // 256
    while True:
        pieces = np.empty(capacity * _PIECE_FIELDS, np.int64)
        # fmt: off
        count = _normalize(
            data, offsets, table.codes, table.expansion, table.expansion_offsets,
            codepoints, out_offsets, starts, ends, breaks, with_spans, with_breaks, pieces,
        )
        # fmt: on
        if count <= capacity:
            break
        capacity = count
    length = int(out_offsets[-1])
    result = Normalized(codepoints[:length], out_offsets, starts[:length], ends[:length], breaks[:length])
    if count:
        result = _insert_pieces(data, offsets, pieces[: count * _PIECE_FIELDS], result, with_spans, with_breaks)
    return Normalized(
        result.codepoints,
        result.offsets,
        result.starts if with_spans else None,
        result.ends if with_spans else None,
        result.breaks if with_breaks else None,
    )


def _insert_pieces(
    data: np.ndarray, offsets: np.ndarray, pieces: np.ndarray, fast: Normalized, with_spans: bool, with_breaks: bool
) -> Normalized:
    """Normalise the pieces that the kernel left out and put them where they belong."""
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
    size = len(fast.codepoints) + int(lengths[which].sum())
    out = np.empty(size, np.uint32)
    new_offsets = np.empty(len(offsets), np.int64)
    new_starts = np.empty(size if with_spans else 0, np.uint32)
    new_ends = np.empty(size if with_spans else 0, np.uint32)
    new_breaks = np.empty(size if with_breaks else 0, np.uint8)
    # fmt: off
    _merge(
        offsets, pieces, which, inserted, text_offsets, fast.codepoints, fast.offsets, fast.starts, fast.ends, fast.breaks,
        out, new_offsets, new_starts, new_ends, new_breaks, with_spans, with_breaks,
    )
    # fmt: on
    return Normalized(out, new_offsets, new_starts, new_ends, new_breaks)


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


@numba.njit(
    types.int64(
        read_only(types.uint8), read_only(types.int64), read_only(types.uint32), read_only(types.uint32), read_only(types.int64),
        writable(types.uint32), writable(types.int64), writable(types.uint32), writable(types.uint32), writable(types.uint8),
        types.boolean, types.boolean, writable(types.int64),
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _normalize(data, offsets, table, expansion, expansion_offsets, out, out_offsets, starts, ends, breaks, with_spans, with_breaks, pieces):
    """Fill `out`, and list in `pieces` (start byte, end byte, output position, break before) what needs `unicodedata`.

    Returns the number of pieces, which may exceed the room in `pieces`: the caller then calls again with more.
    """
    capacity = len(pieces) // _PIECE_FIELDS
    count = 0
    k = 0
    out_offsets[0] = 0
    for document in range(len(offsets) - 1):
        begin = offsets[document]
        end = offsets[document + 1]
        position = begin
        gap = np.uint8(1)
        # The last character that can begin a piece: its first byte, the output before it, and what it became (0: cannot be joined).
        piece_start = begin
        piece_out = k
        joinable = np.uint32(0)
        expanded = False
        while position < end:
            byte = data[position]
            if byte < 128:
                first = position
                while True:
                    value = table[byte]
                    out[k] = value
                    kept = value != 0
                    if with_spans:
                        starts[k] = position - begin
                        ends[k] = position - begin + 1
                    if with_breaks:
                        breaks[k] = gap
                        gap = np.uint8(0) if kept else np.uint8(1)
                    position += 1
                    k += kept
                    if position >= end:
                        break
                    byte = data[position]
                    if byte >= 128:
                        break
                if position > first:
                    piece_start = position - 1
                    kept = table[data[position - 1]] != 0
                    piece_out = k - 1 if kept else k
                    joinable = np.uint32(0)
                    expanded = False
                continue
            code, width = _decode(data, position, end)
            entry = table[code] if code < TABLE_SIZE else np.uint32(0)
            kind = entry >> KIND_SHIFT
            value = entry & np.uint32(_VALUE_MASK)
            if kind == MAP:
                piece_start = position
                piece_out = k
                joinable = value
                expanded = False
                if value != 0:
                    out[k] = value
                    if with_spans:
                        starts[k] = position - begin
                        ends[k] = position - begin + width
                    if with_breaks:
                        breaks[k] = gap
                        gap = np.uint8(0)
                    k += 1
                else:
                    gap = np.uint8(1)
                position += width
                continue
            if kind == EXPAND:
                piece_start = position
                piece_out = k
                expanded = True
                for index in range(expansion_offsets[value], expansion_offsets[value + 1]):
                    out[k] = expansion[index]
                    if with_spans:
                        starts[k] = position - begin
                        ends[k] = position - begin + width
                    if with_breaks:
                        breaks[k] = gap
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
                    piece_start = position
                    piece_out = k
                    joinable = value
                    k += 1
                    if with_spans:
                        starts[k - 1] = position - begin
                    if with_breaks:
                        breaks[k - 1] = gap
                        gap = np.uint8(0)
                out[k - 1] = joinable
                position += width
                if with_spans:
                    ends[k - 1] = position - begin
                continue
            if kind == LONG:
                piece_start = position
                piece_out = k
            # Take the whole piece back and hand it over: from its first character to the last one that may attach.
            boundary = gap
            if with_breaks and k > piece_out:
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
                pieces[count * _PIECE_FIELDS] = piece_start
                pieces[count * _PIECE_FIELDS + 1] = position
                pieces[count * _PIECE_FIELDS + 2] = k
                pieces[count * _PIECE_FIELDS + 3] = boundary
            count += 1
            gap = np.uint8(0)
            piece_start = position
            piece_out = k
            joinable = np.uint32(0)
            expanded = False
        out_offsets[document + 1] = k
    return count


@numba.njit(
    types.void(
        read_only(types.int64), read_only(types.int64), read_only(types.int64), read_only(types.uint32), read_only(types.int64),
        read_only(types.uint32), read_only(types.int64), read_only(types.uint32), read_only(types.uint32), read_only(types.uint8),
        writable(types.uint32), writable(types.int64), writable(types.uint32), writable(types.uint32), writable(types.uint8),
        types.boolean, types.boolean,
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _merge(
    offsets, pieces, which, inserted, inserted_offsets, codepoints, out_offsets, starts, ends, breaks,
    out, new_offsets, new_starts, new_ends, new_breaks, with_spans, with_breaks,
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
                if with_spans:
                    new_starts[k] = starts[source]
                    new_ends[k] = ends[source]
                if with_breaks:
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
                if with_spans:
                    new_starts[k] = pieces[piece * _PIECE_FIELDS] - begin
                    new_ends[k] = pieces[piece * _PIECE_FIELDS + 1] - begin
                if with_breaks:
                    new_breaks[k] = 1 if boundary else 0
                    boundary = False
                k += 1
            piece += 1
        new_offsets[document + 1] = k
