"""Text as the decontaminator compares it: letters and numbers only, one spelling for each, with the way back to the bytes.

Definition: NFKC, then case folding, then NFKC again, then every character outside the Unicode categories L* and N* is left out.
Full-width, ligature, decomposed-Hangul and upper-case spellings of a text become one, and spaces, punctuation and emoji vanish, so that
line breaks, markdown and Korean spacing habits do not hide a copy. `normalize_text` is the definition; `normalize_batch` is the same
over a whole Arrow column: numba loops over the UTF-8 bytes (`decontam.normalize_kernels`, and `decontam.normalize_exact` for what joins its
neighbours) that leave to `unicodedata` only the pieces in which characters combine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa

from decontam.arrow import text_buffers
from decontam.errors import DecontamError
from decontam.normalize_exact import PIECE_FIELDS, insert
from decontam.normalize_kernels import normalize, split_marks
from decontam.unicode_table import fold, unicode_table

NORMALIZER_VERSION = "1"
"""Part of every index's fingerprint: raise it when the definition changes."""

_RUN_BYTES = 1 << 20  # of documents that are normalised together: what is put into their output later stays in the processor's cache

Arrays = list[np.ndarray | None]
"""Output characters, and starts and ends where they were asked for."""


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


class Workspace:
    """Output memory that is used again: what was normalised into it is overwritten by the next call with it.

    Saves asking the system for fresh pages, which can take longer than normalising does. For one thread at a time.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def array(self, name: str, size: int, kind: type[np.generic]) -> np.ndarray:
        """The array of this name, with `size` elements of arbitrary content."""
        held = self._arrays.get(name)
        if held is None or len(held) < size:
            held = self._arrays[name] = np.empty(size, kind)
        return held[:size]


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


def normalize_buffers(
    data: np.ndarray, offsets: np.ndarray, with_spans: bool = False, with_breaks: bool = False, workspace: Workspace | None = None
) -> Normalized:
    """As `normalize_batch`, for uint8 bytes and int64[n + 1] offsets into them (of a contiguous run of documents).

    With a `workspace` the result lies in it, and holds until the next call with the same one.
    """
    size = int(offsets[-1] - offsets[0])
    if with_spans and len(offsets) > 1 and int(np.diff(offsets).max()) >= 1 << 32:
        raise DecontamError("a document is 4 GiB or larger; split it before scanning.")
    memory = Workspace() if workspace is None else workspace
    room = size
    while (result := _normalize_runs(data, offsets, room, with_spans, with_breaks, memory)) is None:
        room *= 2  # rare: some characters become more characters than they have bytes
    return result


def _normalize_runs(
    data: np.ndarray, offsets: np.ndarray, room: int, with_spans: bool, with_breaks: bool, memory: Workspace
) -> Normalized | None:
    """Normalise run after run of documents into one output of `room` characters; None where they don't fit."""
    codepoints = memory.array("codepoints", room, np.uint32)
    output: Arrays = [codepoints, *(memory.array(name, room, np.uint32) if with_spans else None for name in ("starts", "ends"))]
    breaks = memory.array("breaks", room, np.uint8) if with_breaks else None
    out_offsets = np.zeros(len(offsets), np.int64)
    first = filled = 0
    while first < len(offsets) - 1:
        stop = max(first + 1, int(np.searchsorted(offsets, offsets[first] + _RUN_BYTES)) - 1)
        run = offsets[first : stop + 1]
        if filled + int(run[-1] - run[0]) > room:
            return None
        rest = [None if array is None else array[filled:] for array in output]
        run_offsets, pieces = _normalize_run(data, run, rest, with_breaks)
        if len(pieces) and not _insert_pieces(data, run, pieces, run_offsets, rest, with_breaks):
            return None
        out_offsets[first : stop + 1] = run_offsets + filled
        first, begun, filled = stop, filled, int(out_offsets[stop])
        if breaks is not None:
            split_marks(codepoints[begun:filled], breaks[begun:filled])
    codes, starts, ends = (None if array is None else array[:filled] for array in output)
    return Normalized(cast(np.ndarray, codes), out_offsets, starts, ends, None if breaks is None else breaks[:filled])


def _normalize_run(data: np.ndarray, offsets: np.ndarray, output: Arrays, with_marks: bool) -> tuple[np.ndarray, np.ndarray]:
    """(int64[n + 1] offsets of the documents in `output`, the pieces that were left out)."""
    table = unicode_table()
    out_offsets = np.empty(len(offsets), np.int64)
    capacity = 256
    while True:
        pieces = np.empty(capacity * PIECE_FIELDS, np.int64)
        lookup = (table.codes, table.expansion, table.expansion_offsets)
        arguments = (data, offsets, *lookup, output[0], out_offsets, *output[1:], with_marks, pieces)
        count = normalize(*arguments)
        if count <= capacity:
            return out_offsets, pieces[: count * PIECE_FIELDS]
        capacity = count


def _insert_pieces(
    data: np.ndarray, offsets: np.ndarray, pieces: np.ndarray, out_offsets: np.ndarray, output: Arrays, with_marks: bool
) -> bool:
    """Normalise the pieces that the kernel left out and put them where they belong in the output; False where it has too little room."""
    raw = data.data
    rows: dict[bytes, int] = {}
    texts: list[str] = []
    which = np.empty(len(pieces) // PIECE_FIELDS, np.int64)
    for index, (start, end) in enumerate(zip(pieces[0::PIECE_FIELDS].tolist(), pieces[1::PIECE_FIELDS].tolist(), strict=True)):
        key = bytes(raw[start:end])
        row = rows.get(key)
        if row is None:
            row = rows[key] = len(texts)
            texts.append(fold(key.decode("utf-8", "ignore")))
        which[index] = row
    lengths = np.array([len(text) for text in texts], np.int64)
    if int(out_offsets[-1]) + int(lengths[which].sum()) > len(cast(np.ndarray, output[0])):
        return False
    text_offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(lengths, out=text_offsets[1:])
    inserted = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    arguments = (offsets, pieces, which, inserted, text_offsets, out_offsets, *output, with_marks)
    insert(*arguments)
    return True
