"""`lines.normal_lines` as Arrow buffers, for whole batches: the same lines, several times as fast.

NFKC and lower case are looked up character by character wherever no character can change with its neighbours, which is nearly everywhere;
texts with combining marks or conjoining jamo go through `normal_lines` itself. The table is made by `normal_lines`' own functions.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.classify.lines import Letters, normal_lines
from pipeline.classify.normal_kernel import CHARACTERS, ODD, measure, normalise


@dataclass(frozen=True)
class _Table:
    """What each character becomes. sizes: uint8[CHARACTERS + 1], bytes of it, or ODD. is_same: uint8, whether it stays as it is. starts,
    lines: where the bytes of the others are."""

    sizes: np.ndarray
    is_same: np.ndarray
    starts: np.ndarray
    lines: np.ndarray


def normal_texts(texts: pa.Array | pa.ChunkedArray, max_chars: int, letters: Letters) -> pa.Array:
    """What `normal_lines` gives, as one large_string array without nulls."""
    filled = pc.fill_null(texts.cast(pa.large_string()), pa.scalar("", pa.large_string()))
    whole: pa.Array = filled.combine_chunks() if isinstance(filled, pa.ChunkedArray) else filled
    table = _table(letters)
    _, offset_buffer, data_buffer = whole.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[whole.offset : whole.offset + len(whole) + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.zeros(0, np.uint8)
    ends, room, out_offsets = np.empty(len(whole), np.int64), np.empty(len(whole), np.int64), np.zeros(len(whole) + 1, np.int64)
    measure(data, offsets, max_chars, table.sizes, ends, room)
    out = np.empty(int(np.maximum(room, 0).sum()), np.uint8)
    normalise(data, offsets, ends, room, table.sizes, table.is_same, table.starts, table.lines, out, out_offsets)
    lines = pa.LargeStringArray.from_buffers(len(whole), pa.py_buffer(out_offsets), pa.py_buffer(out))
    is_odd = pa.array(room < 0)
    if not (room < 0).any():
        return lines
    return pc.replace_with_mask(lines, is_odd, pa.array(normal_lines(whole.filter(is_odd), max_chars, letters), pa.large_string()))


@functools.cache
def _table(letters: Letters) -> _Table:
    """Each character's line between two letters that it can't change."""
    steady = [code for code in range(CHARACTERS) if _is_steady(code)]
    found = normal_lines(pa.array([f"x{chr(code)}x" for code in steady], pa.large_string()), 3, letters)
    sizes, is_same = np.full(CHARACTERS + 1, ODD, np.uint8), np.zeros(CHARACTERS + 1, np.uint8)
    starts, lines = np.zeros(CHARACTERS + 1, np.int32), bytearray()
    for code, line in zip(steady, found, strict=True):
        inner = line[1:-1].encode()
        if len(inner) >= ODD:
            continue
        sizes[code], starts[code] = len(inner), len(lines)
        is_same[code] = inner == chr(code).encode() and inner != b" "
        lines += b"" if is_same[code] else inner
    return _Table(sizes, is_same, starts, np.frombuffer(bytes(lines), np.uint8))


def _is_steady(code: int) -> bool:
    """Whether a character begins anew in NFKC: nothing before it can change it or be changed by it (UAX #15, stable code points).

    Characters that Python's Unicode doesn't know may be known to Arrow's.
    """
    character = chr(code)
    if unicodedata.category(character) in ("Cn", "Cs"):
        return False
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.combining(first) == 0 and first not in _second_parts()


@functools.cache
def _second_parts() -> frozenset[str]:
    """Characters that compose with one before them."""
    pairs = [unicodedata.decomposition(chr(code)).split() for code in range(CHARACTERS)]
    seconds = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and not pair[0].startswith("<")}
    vowels_and_ends = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}  # Hangul composes by arithmetic
    return frozenset(seconds | vowels_and_ends)
