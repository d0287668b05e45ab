"""Sketch records: one row per document with all that deduplication needs to know of it, a hundredth of its text.

Columns: id, source, file, source_id, position; text_bytes; hash_high and hash_low (xxh3-128 of what must be equal in exact
duplicates, null for a blank text); priority_0, ... (what decides who stays); and for near duplicates filled, signature and band_000, ...
(the band keys).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from decontam.normalize import NORMALIZER_VERSION, Normalized, normalize_batch
from pipeline.dedup.bands import band_keys, choose_bands
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.order import PROVENANCE
from pipeline.dedup.sketch import sketch_batch

_RAW = b"raw\0"
"""Goes before a text that is hashed as written. As a little-endian uint32 it is no code point, so no normalised text is hashed alike."""


@dataclass(frozen=True)
class SketchSettings:
    """What a sketch record depends on besides the document, in plain values (they are hashed into fingerprints)."""

    near: bool
    permutations: int
    shingle_bytes: int
    seed: int
    bands: int
    rows: int
    priority: tuple[str, ...]
    normalizer: str = NORMALIZER_VERSION
    version: str = "2"
    """Raise it when the records of the same documents change."""


def sketch_settings(config: DedupConfig) -> SketchSettings:
    """The settings of a configuration, with the bands that its threshold calls for."""
    bands, rows = choose_bands(config.threshold, config.permutations) if config.near else (0, 0)
    priority = tuple(name for name, _ in config.priority_columns())
    return SketchSettings(config.near, config.permutations, config.shingle_bytes, config.seed, bands, rows, priority)


def band_column(band: int) -> str:
    """Name of the column with the keys of a band."""
    return f"band_{band:03d}"


def sketch_records(table: pa.Table, settings: SketchSettings, text_column: str = "text") -> pa.Table:
    """The sketch records of a table of documents, in its order. Columns of PROVENANCE or priority that it lacks are null.

    `text_bytes` is measured where the table has no such column, as a null text is empty.
    """
    text = table.column(text_column)
    normalized = normalize_batch(text)
    columns: dict[str, Any] = {name: _column(table, name).cast(type_) for name, type_ in PROVENANCE}
    measured = pc.fill_null(pc.binary_length(text), 0).cast(pa.int64())
    columns["text_bytes"] = measured
    columns["hash_high"], columns["hash_low"] = _text_hashes(normalized, text)
    for index, name in enumerate(settings.priority):
        values = _column(table, name) if name in table.column_names or name != "text_bytes" else measured
        columns[f"priority_{index}"] = values.cast(pa.string()) if pa.types.is_null(values.type) else values
    if settings.near:
        sketches = sketch_batch(normalized, settings.permutations, settings.shingle_bytes, settings.seed)
        columns["filled"] = pa.array(sketches.filled)
        columns["signature"] = _as_binary(sketches.signatures)
        keys = np.ascontiguousarray(band_keys(sketches.signatures, settings.bands, settings.rows).T)
        empty = sketches.filled == 0
        columns |= {band_column(band): pa.array(keys[band], mask=empty) for band in range(settings.bands)}
    return pa.table(columns)


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    return table.column(name) if name in table.column_names else pa.nulls(len(table))


def _text_hashes(texts: Normalized, raw: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """Halves of the xxh3-128 of each document's normalised code points (as little-endian uint32), null for a blank text.

    A text without letters and digits, such as a row of emoji, normalises to nothing; it is hashed as written, without outer white space.
    """
    codes: Any = texts.codepoints.astype("<u4", copy=False).view(np.uint8)
    view = memoryview(codes)
    bounds = (texts.offsets * 4).tolist()
    digests = [xxhash.xxh3_128_digest(view[start:stop]) for start, stop in pairwise(bounds)]
    empty = np.diff(texts.offsets) == 0
    rows = np.flatnonzero(empty)
    for row, written in zip(rows.tolist(), raw.take(pa.array(rows)).to_pylist(), strict=True):
        if written and (stripped := written.strip()):
            digests[row] = xxhash.xxh3_128_digest(_RAW + stripped.encode())
            empty[row] = False
    halves = np.frombuffer(b"".join(digests), ">u8").astype(np.uint64).reshape(-1, 2)
    return pa.array(np.ascontiguousarray(halves[:, 0]), mask=empty), pa.array(np.ascontiguousarray(halves[:, 1]), mask=empty)


def _as_binary(signatures: np.ndarray) -> pa.Array:
    width = 4 * signatures.shape[1]
    data = pa.py_buffer(np.ascontiguousarray(signatures, "<u4"))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(signatures), [None, data])


def signatures_of(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """uint32[n, permutations]: a signature column as numbers."""
    chunks: list[Any] = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    width = column.type.byte_width
    parts = [np.frombuffer(chunk.buffers()[1], "<u4", len(chunk) * width // 4, chunk.offset * width) for chunk in chunks if len(chunk)]
    flat = np.concatenate(parts) if parts else np.zeros(0, np.uint32)
    return np.ascontiguousarray(flat.reshape(-1, width // 4), np.uint32)


def gather_signatures(paths: Sequence[str], begins: np.ndarray, numbers: np.ndarray, permutations: int) -> tuple[np.ndarray, np.ndarray]:
    """(signatures uint32[m, permutations], filled uint16[m]) of the documents with these numbers, in their order; each file is read once.

    begins: int64[files + 1], the number of the first document of each file, and of all.
    """
    signatures, filled = np.empty((len(numbers), permutations), np.uint32), np.empty(len(numbers), np.uint16)
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    for path, begin, end in zip(paths, begins[:-1], begins[1:], strict=True):
        low, high = np.searchsorted(ordered, [begin, end])
        if low == high:
            continue
        with pq.ParquetFile(path) as file:
            for group in range(file.metadata.num_row_groups):
                stop = begin + file.metadata.row_group(group).num_rows
                middle = np.searchsorted(ordered, stop)
                if middle > low:
                    table = file.read_row_group(group, columns=["signature", "filled"], use_threads=False)
                    local = ordered[low:middle] - begin
                    signatures[order[low:middle]] = signatures_of(table.column("signature"))[local]
                    filled[order[low:middle]] = table.column("filled").to_numpy()[local]
                low, begin = middle, stop
    return signatures, filled
