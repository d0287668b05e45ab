"""The steps of deduplication as tasks over files: sketch each split, order all documents, and pair them up band by band."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.dedup.candidates import NO_RANK, Edges, bucket_edges, bucketed, distinct
from pipeline.dedup.order import PROVENANCE, order_documents
from pipeline.dedup.records import SketchSettings, band_column, gather_signatures, sketch_records
from pipeline.dedup.verify import chunks
from pipeline.documents import usable_documents
from pipeline.schema import BY_NAME, arrow_schema, with_columns
from pipeline.shards import write_table
from pipeline.splits import Split

RECORD_COLUMNS = tuple(name for name, _ in PROVENANCE)


@dataclass(frozen=True)
class SketchTask:
    """Write `<split>.parquet`: the sketch records of one split's usable documents."""

    split: Split
    settings: SketchSettings

    @property
    def name(self) -> str:
        return self.split.name

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()

    def __call__(self, folder: Path) -> dict[str, Any]:
        wanted = {*RECORD_COLUMNS, *self.settings.priority, "text", "error", "drop_reason"}
        empty = sketch_records(arrow_schema(frozenset(wanted)).empty_table(), self.settings)
        rows = size = 0
        with pq.ParquetWriter(folder / f"{self.name}.parquet", empty.schema, compression="zstd") as writer:
            for table in usable_documents(self.split, tuple(sorted(wanted))):
                if len(table) == 0:  # such a table may lack columns: all its rows were errors
                    continue
                records = sketch_records(_typed(table, self.settings.priority), self.settings).cast(empty.schema)
                writer.write_table(records, row_group_size=len(records))
                rows += len(records)
                size += pc.sum(records.column("text_bytes")).as_py() or 0
        return {"rows_in": rows, "bytes_in": size}


def _typed(table: pa.Table, priority: tuple[str, ...]) -> pa.Table:
    """Give every priority column its declared type, also where this table has none (then it is null), so that all files agree."""
    absent = [name for name in priority if name not in table.column_names and name != "text_bytes"]
    return with_columns(table, {name: pa.nulls(len(table), BY_NAME[name].type) for name in absent})


@dataclass(frozen=True)
class OrderTask:
    """Write `order.parquet`, a row per document in the order of splits and rows: split (its place in `sketches`), row, rank, original,
    error."""

    sketches: tuple[str, ...] = field(metadata={"fingerprint": False})
    priority: tuple[tuple[str, bool], ...]
    exact: bool
    name: str = "order"

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.sketches

    def __call__(self, folder: Path) -> dict[str, Any]:
        spill = folder / "spill"
        spill.mkdir()
        order = order_documents(self._records(), list(self.priority), self.exact, spill)
        for path in sorted(spill.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        spill.rmdir()
        counts = [pq.read_metadata(path).num_rows for path in self.sketches]
        table = pa.table(
            {
                "split": np.repeat(np.arange(len(counts), dtype=np.int32), counts),
                "row": np.concatenate([np.zeros(0, np.int64), *(np.arange(count) for count in counts)]),
                "rank": order.rank,
                "original": order.original,
                "error": order.error_column(),
            }
        )
        write_table(folder / "order.parquet", table)
        return {"documents": len(order.rank), "repeated_ids": len(order.errors)}

    def _records(self) -> Iterator[pa.Table]:
        columns = [*RECORD_COLUMNS, "hash_high", "hash_low", *(f"priority_{index}" for index in range(len(self.priority)))]
        for path in self.sketches:
            yield pq.read_table(path, columns=columns, use_threads=False)


@dataclass(frozen=True)
class BandTask:
    """Write `band-<band>-<part>.parquet`: the candidate pairs (better, worse) of one band, for one range of its keys."""

    sketches: tuple[str, ...] = field(metadata={"fingerprint": False})
    order: str = field(metadata={"fingerprint": False})
    band: int
    part: int
    parts: int
    permutations: int
    threshold: float
    bucket_limit: int
    version: str = "2"

    @property
    def name(self) -> str:
        return f"band-{self.band:03d}-{self.part:04d}"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.order, *self.sketches)

    def __call__(self, folder: Path) -> dict[str, Any]:
        order = pq.read_table(self.order, columns=["rank", "original"], use_threads=False)
        ranks, originals = order.column("rank").to_numpy(), order.column("original").to_numpy()
        keys, numbers, begins = self._keys((ranks == originals) & (ranks != NO_RANK))
        members, starts = bucketed(keys, ranks[numbers])
        signatures, filled = gather_signatures(self.sketches, begins, numbers[members], self.permutations)
        edges = bucket_edges(starts, signatures, ranks[numbers[members]], filled, self.threshold, self.bucket_limit)
        write_table(folder / f"{self.name}.parquet", edge_table(edges))
        return {"buckets": len(starts) - 1, "members": len(members), "pairs": len(edges.better)}

    def _keys(self, eligible: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(keys, numbers of their documents, number of the first document of each file) of this task's range of keys."""
        keys, numbers, begins = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], [0]
        column = band_column(self.band)
        for path in self.sketches:
            band = pq.read_table(path, columns=[column], use_threads=False).column(column)
            here = band.fill_null(0).to_numpy()
            chosen = eligible[begins[-1] : begins[-1] + len(here)] & band.is_valid().to_numpy()
            chosen &= ((here >> np.uint64(32)) * np.uint64(self.parts)) >> np.uint64(32) == self.part
            keys.append(here[chosen])
            numbers.append(np.flatnonzero(chosen) + begins[-1])
            begins.append(begins[-1] + len(here))
        return np.concatenate(keys), np.concatenate(numbers), np.array(begins, np.int64)


def edge_table(edges: Edges) -> pa.Table:
    """Edges as a table."""
    return pa.table({"better": edges.better, "worse": edges.worse})


def read_edges(path: str) -> Edges:
    """The edges of a file that `edge_table` describes."""
    table = pq.read_table(path, use_threads=False)
    return Edges(*(table.column(name).to_numpy() for name in ("better", "worse")))


@dataclass(frozen=True)
class EdgesTask:
    """Write `edges.parquet`: each candidate pair once, sorted, and as `chunk` the verification task that compares its texts."""

    bands: tuple[str, ...] = field(metadata={"fingerprint": False})
    sketches: tuple[str, ...] = field(metadata={"fingerprint": False})
    order: str = field(metadata={"fingerprint": False})
    verify_bytes: int
    name: str = "edges"
    version: str = "2"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.order, *self.bands, *self.sketches)

    def __call__(self, folder: Path) -> dict[str, Any]:
        edges = distinct([read_edges(path) for path in self.bands])
        rank = pq.read_table(self.order, columns=["rank"], use_threads=False).column("rank").to_numpy()
        sizes = [pq.read_table(path, columns=["text_bytes"], use_threads=False).column("text_bytes").to_numpy() for path in self.sketches]
        size_of_rank = np.zeros(len(rank), np.int64)
        ranked = rank != NO_RANK
        size_of_rank[rank[ranked]] = np.concatenate([np.zeros(0, np.int64), *sizes])[ranked]
        chunk = chunks(edges.better, edges.worse, size_of_rank, self.verify_bytes).astype(np.int32)
        write_table(folder / "edges.parquet", edge_table(edges).append_column("chunk", pa.array(chunk)))
        return {"pairs": len(chunk), "chunks": int(chunk.max(initial=-1)) + 1}
