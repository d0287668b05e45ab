"""Sketch records: all that deduplication needs to know of a document, a tenth of its text, in three files per split.

`<split>.parquet`, a row per usable document: id, source, file, source_id, position; text_bytes; hash_high and hash_low (xxh3-128 of what
must be equal in exact duplicates, null for a blank text); with `url` also url_high and url_low; priority_0, ... (what decides who stays).
`<split>-sketches.npy`, of type `sketch_type`, the same rows: what estimates similarity, memory-mapped by those who need a few of them.
`<split>-keys.parquet`: key and row of every band of every document, sorted by key (several runs, if the split is large).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from decontam.normalize import NORMALIZER_VERSION, Normalized, normalize_batch
from pipeline.dedup.bands import band_keys, choose_bands
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.minhash import minhash_batch
from pipeline.dedup.order import PROVENANCE
from pipeline.dedup.shingles import Shingling, prepare
from pipeline.dedup.sketch import sketch_batch
from pipeline.dedup.urls import canonical_addresses
from pipeline.shards import slices

_RAW = b"raw\0"
"""Goes before a text that is hashed as written. As a little-endian uint32 it is no code point, so no normalised text is hashed alike."""

CACHE_BYTES = 1 << 20
"""Text that is normalised and sketched at a time: its characters, of 4 bytes each, are then still in the processor's cache."""

KEYS = pa.schema([pa.field("key", pa.uint64()), pa.field("row", pa.uint32())])


@dataclass(frozen=True)
class SketchSettings:
    """What a sketch record depends on besides the document, in plain values (they are hashed into fingerprints)."""

    near: bool
    url: bool
    sketch: str
    permutations: int
    shingling: Shingling
    bands: int
    rows: int
    priority: tuple[str, ...]
    normalizer: str = NORMALIZER_VERSION
    version: str = "3"
    """Raise it when the records of the same documents change."""


def shingling_of(config: DedupConfig) -> Shingling:
    """What a configuration compares documents by."""
    size = config.shingle_bytes if config.shingle == "bytes" else config.shingle_words
    return Shingling(config.shingle, size, config.compare == "written", config.seed)


def sketch_settings(config: DedupConfig) -> SketchSettings:
    """The settings of a configuration, with the bands that its threshold calls for."""
    bands, rows = (config.bands, config.rows) if config.bands and config.rows else choose_bands(config.threshold, config.permutations)
    priority = tuple(name for name, _ in config.priority_columns())
    if not config.near:
        bands, rows = 0, 0
    return SketchSettings(config.near, config.url, config.sketch, config.permutations, shingling_of(config), bands, rows, priority)


def sketch_type(permutations: int) -> np.dtype:
    """A sketch as it is stored. slots: the low byte of each slot; two unlike slots share it once in 256 times, so the share of equal
    bytes exceeds the similarity by at most 0.004 (b-bit minwise hashing, Li and Koenig 2010). filled: slots with a value of their own."""
    return np.dtype([("filled", "<u2"), ("slots", "u1", (permutations,))])


@dataclass(frozen=True)
class Sketched:
    """Documents without their texts. records: a row each. sketches: `sketch_type`[n]. keys: uint64[n, bands]."""

    records: pa.Table
    sketches: np.ndarray
    keys: np.ndarray


def sketch_documents(table: pa.Table, settings: SketchSettings) -> Sketched:
    """Sketch a table of documents with columns `id` and `text`. Columns of PROVENANCE or priority that it lacks are null.

    `text_bytes` is measured where the table has no such column, as a null text is empty.
    """
    parts = [_sketch_piece(piece, settings) for piece in slices(table, CACHE_BYTES)] or [_sketch_piece(table, settings)]
    return Sketched(
        pa.concat_tables([part.records for part in parts]),
        np.concatenate([part.sketches for part in parts]),
        np.concatenate([part.keys for part in parts]),
    )


def _sketch_piece(table: pa.Table, settings: SketchSettings) -> Sketched:
    text = table.column("text")
    prepared = prepare(text, settings.shingling)
    normalized = normalize_batch(text) if settings.shingling.written else prepared
    columns: dict[str, Any] = {name: _column(table, name).cast(type_) for name, type_ in PROVENANCE}
    measured = pc.fill_null(pc.binary_length(text), 0).cast(pa.int64())
    columns["text_bytes"] = measured
    columns["hash_high"], columns["hash_low"] = _text_hashes(normalized, text)
    if settings.url:
        columns["url_high"], columns["url_low"] = _address_hashes(_column(table, "url"))
    for index, name in enumerate(settings.priority):
        values = _column(table, name) if name in table.column_names or name != "text_bytes" else measured
        columns[f"priority_{index}"] = values.cast(pa.string()) if pa.types.is_null(values.type) else values
    sketches = np.zeros(len(table), sketch_type(settings.permutations if settings.near else 0))
    keys = np.zeros((len(table), settings.bands), np.uint64)
    if settings.near:
        batch = minhash_batch if settings.sketch == "minhash" else sketch_batch
        found = batch(prepared, settings.permutations, settings.shingling)
        sketches["filled"], sketches["slots"] = found.filled, found.signatures.astype(np.uint8)
        keys = band_keys(found.signatures, settings.bands, settings.rows)
    return Sketched(pa.table(columns), sketches, keys)


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
    return _halves(digests, empty)


def _address_hashes(urls: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, pa.Array]:
    """Halves of the xxh3-128 of each document's address in its canonical spelling, null where there is none."""
    addresses = canonical_addresses(urls.cast(pa.string()))
    missing = pc.is_null(addresses).to_numpy(zero_copy_only=False)
    return _halves([xxhash.xxh3_128_digest((address or "").encode()) for address in addresses.to_pylist()], missing)


def _halves(digests: list[bytes], missing: np.ndarray) -> tuple[pa.Array, pa.Array]:
    halves = np.frombuffer(b"".join(digests), ">u8").astype(np.uint64).reshape(-1, 2)
    return pa.array(np.ascontiguousarray(halves[:, 0]), mask=missing), pa.array(np.ascontiguousarray(halves[:, 1]), mask=missing)


def key_table(keys: np.ndarray, rows: np.ndarray) -> pa.Table:
    """KEYS, sorted. keys: uint64[n, bands] of the documents in these rows (uint32[n])."""
    flat, repeated = keys.ravel(), np.repeat(rows.astype(np.uint32), keys.shape[1])
    order = np.argsort(flat, kind="stable")
    return pa.table([flat[order], repeated[order]], schema=KEYS)


@dataclass(frozen=True)
class Shelf:
    """The files of one split's sketches. Their content is known by the hash of the step that wrote them."""

    records: str = field(metadata={"fingerprint": False})
    sketches: str = field(metadata={"fingerprint": False})
    keys: str = field(metadata={"fingerprint": False})


def shelf(folder: Path, split: str) -> Shelf:
    """Where the sketches of a split are, in the folder of the step that made them."""
    return Shelf(str(folder / f"{split}.parquet"), str(folder / f"{split}-sketches.npy"), str(folder / f"{split}-keys.parquet"))


def begins_of(shelves: Sequence[Shelf]) -> np.ndarray:
    """int64[shelves + 1]: the number of the first document of each shelf, and of all. Documents are numbered shelf by shelf."""
    counts = [pq.read_metadata(one.records).num_rows for one in shelves]
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)))


class SketchReader:
    """Sketches by document number, from memory-mapped files: only the pages that hold the asked ones are read."""

    def __init__(self, shelves: Sequence[Shelf], begins: np.ndarray) -> None:
        self._files: list[np.ndarray | None] = [None] * len(shelves)
        self._shelves, self._begins = shelves, begins

    def __call__(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(slots uint8[m, permutations], filled uint16[m]) of these documents, in their order."""
        order = np.argsort(numbers)
        ordered = numbers[order]
        cuts = np.searchsorted(ordered, self._begins)
        result: np.ndarray | None = None
        for index in np.flatnonzero(np.diff(cuts)).tolist():
            file = self._files[index]
            if file is None:
                file = self._files[index] = np.load(self._shelves[index].sketches, mmap_mode="r", allow_pickle=False)
            if result is None:
                result = np.empty(len(numbers), file.dtype)
            here = slice(cuts[index], cuts[index + 1])
            result[order[here]] = file[ordered[here] - self._begins[index]]
        if result is None:
            return np.zeros((0, 0), np.uint8), np.zeros(0, np.uint16)
        return np.ascontiguousarray(result["slots"]), np.ascontiguousarray(result["filled"])
