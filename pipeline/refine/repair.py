"""Repair the characters of a text: misread Korean, one Unicode form, no invisible characters, plain line ends, no trailing blanks.

What is never touched: letters, symbols such as ① and ㎡, indentation, single blank lines. A batch in which nothing changes keeps its
buffers, and only rows that hold characters outside `NFC_STABLE` are normalised.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.mojibake import mended
from pipeline.refine.signals import text_buffers
from pipeline.schema import with_columns
from pipeline.stage import decide

EMPTY = "empty_text"
"""`drop_reason` of a row whose text is null or empty after repair."""

LINE_ENDS = ((0x0A, 0x0D), (0x85, 0x85), (0x2028, 0x2029))
"""Become a line feed (CR LF as one)."""

BLANKS = ((0x09, 0x09), (0x20, 0x20), (0xA0, 0xA0))
"""Removed at the end of a line, kept elsewhere. U+3000 becomes a space first."""

REMOVED = (
    (0x00, 0x08), (0x0E, 0x1F), (0x7F, 0x7F),  # C0 controls and DEL
    (0xAD, 0xAD),  # soft hyphen
    (0x115F, 0x1160), (0x3164, 0x3164), (0xFFA0, 0xFFA0),  # Hangul fillers
    (0x180E, 0x180E), (0x200B, 0x200C), (0x200E, 0x200F), (0x202A, 0x202E), (0x2060, 0x2064), (0x2066, 0x206F), (0xFEFF, 0xFEFF),
)  # fmt: skip
"""Invisible characters. C1 controls stay: they are evidence of wrong decoding, which `replacement_char_ratio` counts. The zero-width
joiner U+200D stays behind an emoji, where it carries meaning, and goes elsewhere."""

FOLDED = (
    (0xFF01, 0xFF5E, 0x21),  # full-width ASCII
    (0xFFA1, 0xFFBE, 0x3131), (0xFFC2, 0xFFC7, 0x314F), (0xFFCA, 0xFFCF, 0x3155), (0xFFD2, 0xFFD7, 0x315B), (0xFFDA, 0xFFDC, 0x3161),
)  # fmt: skip
"""First and last folded character, and what the first one becomes. Half-width jamo become compatibility jamo (one step of their
compatibility decomposition); the full NFKC would make conjoining jamo, which compose wrongly: it cannot tell an initial from a final."""

NFC_STABLE = (
    (0x0000, 0x02FF), (0x0370, 0x0373), (0x0375, 0x037D), (0x0391, 0x0482), (0x048A, 0x04FF), (0x2010, 0x2027), (0x2030, 0x205E),
    (0x2070, 0x20CF), (0x2100, 0x2125), (0x2190, 0x21FF), (0x2460, 0x2ADB), (0x3001, 0x3029), (0x3030, 0x3098), (0x309B, 0x318E),
    (0x3200, 0x9FFF), (0xAC00, 0xD7A3), (0xFE0F, 0xFE0F), (0xFF00, 0xFFEF),
)  # fmt: skip
"""Characters that normalisation to NFC leaves alone whatever stands beside them, which covers nearly all Korean and English text: a subset
of Unicode's NFC_Quick_Check=Yes with combining class 0 (a test compares it with Python's tables)."""


@functools.lru_cache(maxsize=1)
def action_table() -> np.ndarray:
    """A read-only uint8 array: what `repair_kernel.rewrite` does with each code point up to U+FFFF."""
    from pipeline.refine import repair_kernel as kernel

    table = np.full(0x10000, kernel.MAY_COMPOSE, np.uint8)
    for ranges, action in (
        (NFC_STABLE, kernel.STABLE),
        (LINE_ENDS, kernel.LINE_END),
        (BLANKS, kernel.BLANK),
        (REMOVED, kernel.REMOVED),
        (((0x3000, 0x3000),), kernel.IDEOGRAPHIC_SPACE),
        (((0x200D, 0x200D),), kernel.JOINER),
        (tuple((first, last) for first, last, _ in FOLDED), kernel.FOLDED),
    ):
        for first, last in ranges:
            table[first : last + 1] = action
    table.setflags(write=False)
    return table


@functools.lru_cache(maxsize=1)
def fold_table() -> np.ndarray:
    """A read-only uint16 array: what U+FF00 + i becomes, 0 where that is not folded."""
    table = np.zeros(0x100, np.uint16)
    for first, last, target in FOLDED:
        table[first - 0xFF00 : last + 1 - 0xFF00] = np.arange(target, target + last + 1 - first)
    table.setflags(write=False)
    return table


def repair(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The repaired texts of a large_string column; null stays null. Repairing twice changes nothing more."""
    from pipeline.refine.repair_kernel import rewrite  # compiles on first import

    texts = _mended(texts)
    data, offsets = text_buffers(texts)
    rows = len(offsets) - 1
    out = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
    out_offsets = np.empty(rows + 1, np.int64)
    changed, may_compose = np.empty(rows, np.bool_), np.empty(rows, np.bool_)
    rewrite(data, offsets, action_table(), fold_table(), out, out_offsets, changed, may_compose)
    if not changed.any() and not may_compose.any():
        return texts
    size = int(out_offsets[-1])
    # A copy only where much was removed: a view would pin the whole buffer.
    kept = out[:size] if size * 2 >= out.size else out[:size].copy()
    repaired = pa.LargeStringArray.from_buffers(rows, pa.py_buffer(out_offsets), pa.py_buffer(kept))
    if may_compose.any():
        mask = pa.array(may_compose)
        repaired = pc.replace_with_mask(repaired, mask, pc.utf8_normalize(repaired.filter(mask), form="NFC"))
    if texts.null_count:
        repaired = pc.if_else(pc.is_null(texts), pa.scalar(None, pa.large_string()), repaired)
    return repaired


def _mended(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The texts with Korean mojibake undone (`pipeline.ingest.mojibake`); rows without a run that looks like it aren't touched."""
    from pipeline.ingest.utf8_kernel import MISREAD, inspect  # compiles on first import

    data, offsets = text_buffers(texts)
    flags, counts = np.empty(len(offsets) - 1, np.uint8), np.empty((len(offsets) - 1, 3), np.int64)
    inspect(data, offsets, flags, counts)
    suspected = np.flatnonzero(flags & MISREAD)
    mends = {row: mend.text for row in suspected.tolist() if (mend := mended(texts[row].as_py())) is not None}
    if not mends:
        return texts
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    mask = np.zeros(len(whole), np.bool_)
    mask[list(mends)] = True
    return pc.replace_with_mask(whole, pa.array(mask), pa.array(list(mends.values()), pa.large_string()))


@dataclass(frozen=True)
class Repair:
    """The stage that repairs `text` and drops rows that have none."""

    name: ClassVar[str] = "repair"
    version: ClassVar[str] = "2"
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    writes: ClassVar[frozenset[str]] = frozenset({"text", "text_bytes"})

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with `text` repaired, `text_bytes` set, and `drop_reason` "empty_text" where no text is left."""
        texts = repair(table.column("text").cast(pa.large_string()))
        size = pc.fill_null(pc.binary_length(texts), 0)
        table = with_columns(table, {"text": texts, "text_bytes": size})
        return decide(table, "drop_reason", pc.equal(size, 0), EMPTY)
