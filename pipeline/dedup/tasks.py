"""The first steps of deduplication as tasks over files: sketch each split, order all documents, and pair up those that share a band.

Tasks name their inputs by path and know their content by `given`, the hash of the step that wrote them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.dedup.candidates import NO_RANK, Edges, bucket_edges, bucket_slices, bucketed, chunks, distinct
from pipeline.dedup.order import PROVENANCE, numbers_of_ranks, order_documents
from pipeline.dedup.records import KEYS, Shelf, SketchReader, SketchSettings, begins_of, key_table, sketch_documents
from pipeline.documents import usable_documents
from pipeline.ranges import Range, SortedWriter, read_arrays, write_sorted
from pipeline.schema import BY_NAME, arrow_schema, with_columns
from pipeline.shards import write_table
from pipeline.splits import Split

KEY_RUN = 4_000_000
"""Band keys sorted at a time while a split is sketched: 80 MB with what sorting takes."""

EDGES = pa.schema([pa.field("worse", pa.uint32()), pa.field("better", pa.uint32())])
CHUNKED = pa.schema([pa.field("chunk", pa.int32()), *EDGES])
NEEDS = pa.schema([pa.field("number", pa.uint32()), pa.field("chunk", pa.int32())])


@dataclass(frozen=True)
class SketchTask:
    """Write the three files of `records` for one split's usable documents."""

    split: Split
    settings: SketchSettings

    @property
    def name(self) -> str:
        return self.split.name

    def __call__(self, folder: Path) -> dict[str, Any]:
        settings = self.settings
        wanted = {*(name for name, _ in PROVENANCE), *settings.priority, "text", "error", "drop_reason", *(["url"] if settings.url else [])}
        empty = sketch_documents(arrow_schema(frozenset(wanted)).empty_table(), settings)
        sketches, pending, waiting = [empty.sketches], [], 0
        rows = size = 0
        with (
            pq.ParquetWriter(folder / f"{self.name}.parquet", empty.records.schema, compression="zstd") as writer,
            SortedWriter(folder / f"{self.name}-keys.parquet", KEYS, "key") as keys,
        ):
            for table in usable_documents(self.split, tuple(sorted(wanted))):
                if len(table) == 0:  # such a table may lack columns: all its rows were errors
                    continue
                found = sketch_documents(_typed(table, settings.priority), settings)
                writer.write_table(found.records.cast(empty.records.schema), row_group_size=len(table))
                sketches.append(found.sketches)
                has_keys = np.flatnonzero(found.sketches["filled"])
                pending.append((found.keys[has_keys], (has_keys + rows).astype(np.uint32)))
                waiting += len(has_keys) * settings.bands
                if waiting >= KEY_RUN:
                    keys.write(_joined(pending))
                    pending, waiting = [], 0
                rows += len(table)
                size += pc.sum(found.records.column("text_bytes")).as_py() or 0
            if pending:
                keys.write(_joined(pending))
        np.save(folder / f"{self.name}-sketches.npy", np.concatenate(sketches))
        return {"rows_in": rows, "bytes_in": size}


def _joined(pending: list[tuple[np.ndarray, np.ndarray]]) -> pa.Table:
    return key_table(np.concatenate([keys for keys, _ in pending]), np.concatenate([rows for _, rows in pending]))


def _typed(table: pa.Table, priority: tuple[str, ...]) -> pa.Table:
    """Give every priority column its declared type, also where this table has none (then it is null), so that all files agree."""
    absent = [name for name in priority if name not in table.column_names and name != "text_bytes"]
    return with_columns(table, {name: pa.nulls(len(table), BY_NAME[name].type) for name in absent})


@dataclass(frozen=True)
class Corpus:
    """The documents of all splits. shelves: where their sketches are, those of an index first. indexed: how many of the shelves these are.
    given: hash of all that the shelves hold. order: folder of the step `order`; ordered: hash of what it wrote, empty before."""

    shelves: tuple[Shelf, ...]
    indexed: int
    given: str
    order: str = field(metadata={"fingerprint": False})
    ordered: str = ""

    def array(self, name: str) -> np.ndarray:
        """A memory-mapped array of the order: rank, original, copy, number (of the document of each rank) or begins (number of the first
        document of each shelf, and of all)."""
        return np.load(Path(self.order) / f"order-{name}.npy", mmap_mode="r", allow_pickle=False)

    @property
    def first_new(self) -> int:
        """Number, and so rank, of the first document that no index holds."""
        return int(self.array("begins")[self.indexed])


@dataclass(frozen=True)
class OrderTask:
    """Write the arrays of `Order` with an entry per document (order-rank.npy, order-original.npy, order-copy.npy), the inverse of the
    ranks (order-number.npy), order-begins.npy, and order-errors.parquet: number and error of repeated ids."""

    corpus: Corpus
    priority: tuple[tuple[str, bool], ...]
    exact: bool
    name: str = "order"
    version: str = "3"

    def __call__(self, folder: Path) -> dict[str, Any]:
        spill = folder / "spill"
        spill.mkdir()
        begins = begins_of(self.corpus.shelves)
        indexed = int(begins[self.corpus.indexed])
        order = order_documents(self._records(), list(self.priority), self.exact, indexed, spill)
        shutil.rmtree(spill)
        arrays = {
            "rank": order.rank,
            "original": order.original,
            "copy": order.copy,
            "number": numbers_of_ranks(order.rank),
            "begins": begins,
        }
        for name, array in arrays.items():
            np.save(folder / f"order-{name}.npy", array)
        write_table(folder / "order-errors.parquet", order.errors)
        return {"documents": len(order.rank), "repeated_ids": len(order.errors)}

    def _records(self) -> Iterator[pa.Table]:
        for shelf in self.corpus.shelves:
            names = [name for name in pq.read_schema(shelf.records).names if name not in ("text_bytes", "cluster_size")]
            yield pq.read_table(shelf.records, columns=names, use_threads=False)


@dataclass(frozen=True)
class BucketTask:
    """Write `buckets-<part>.parquet`: the candidate pairs (EDGES, sorted) of one range of band keys."""

    corpus: Corpus
    range: Range
    threshold: float
    bucket_limit: int
    version: str = "1"

    @property
    def name(self) -> str:
        return f"buckets-{self.range.part:04d}"

    def __call__(self, folder: Path) -> dict[str, Any]:
        keys, numbers = self._keys()
        ranks = np.where(self._takes_part(numbers), self.corpus.array("rank")[numbers], NO_RANK)
        first_new = self.corpus.first_new
        members, starts = bucketed(keys, ranks, first_new)
        ranks, numbers = ranks[members], numbers[members]
        del keys, members
        sketches, found = SketchReader(self.corpus.shelves, self.corpus.array("begins")), []
        for first, last in bucket_slices(starts):
            here = slice(starts[first], starts[last])
            slots, filled = sketches(numbers[here])
            local = starts[first : last + 1] - starts[first]
            found.append(bucket_edges(local, slots, ranks[here], filled, self.threshold, self.bucket_limit, first_new))
        edges = distinct(found)
        write_sorted(folder / f"{self.name}.parquet", edge_table(edges), "worse")
        return {"buckets": len(starts) - 1, "members": len(numbers), "pairs": len(edges.better)}

    def _takes_part(self, numbers: np.ndarray) -> np.ndarray:
        return np.equal(self.corpus.array("rank")[numbers], self.corpus.array("original")[numbers])

    def _keys(self) -> tuple[np.ndarray, np.ndarray]:
        """(keys uint64[n], numbers uint32[n] of their documents) of this task's range."""
        keys, numbers = [], []
        for shelf, begin in zip(self.corpus.shelves, self.corpus.array("begins")[:-1].tolist(), strict=True):
            here = read_arrays([shelf.keys], "key", self.range.first, self.range.last, KEYS)
            keys.append(here[0])
            numbers.append(here[1] + np.uint32(begin))
        return np.concatenate([np.zeros(0, np.uint64), *keys]), np.concatenate([np.zeros(0, np.uint32), *numbers])


def edge_table(edges: Edges) -> pa.Table:
    """Edges as a table of EDGES."""
    return pa.table([edges.worse, edges.better], schema=EDGES)


@dataclass(frozen=True)
class EdgesTask:
    """For one range of worse ranks, write `edges-<part>.parquet` (CHUNKED, sorted): each candidate pair once, with the chunk in which its
    texts are compared, and `edges-<part>-needs.parquet` (NEEDS, sorted): which document's text is needed in which chunk.

    buckets: the files of BucketTask; paired: hash of that step.
    """

    corpus: Corpus
    buckets: tuple[str, ...] = field(metadata={"fingerprint": False})
    paired: str
    range: Range
    verify_bytes: int
    version: str = "3"

    @property
    def name(self) -> str:
        return f"edges-{self.range.part:04d}"

    def __call__(self, folder: Path) -> dict[str, Any]:
        worse, better = read_arrays(self.buckets, "worse", self.range.first, self.range.last, EDGES)
        edges = distinct([worse.astype(np.uint64) << np.uint64(32) | better])
        nodes, place = np.unique(np.concatenate((edges.better, edges.worse)), return_inverse=True)
        numbers = self.corpus.array("number")[nodes]
        left, right = place[: len(edges.better)], place[len(edges.better) :]
        chunk = chunks(left, right, self._sizes(numbers), self.verify_bytes)
        write_sorted(folder / f"{self.name}.parquet", pa.table([chunk, edges.worse, edges.better], schema=CHUNKED), "chunk")
        needs = np.unique(
            np.concatenate([numbers[side].astype(np.uint64) << np.uint64(32) | chunk.astype(np.uint64) for side in (left, right)])
        )
        table = pa.table([(needs >> np.uint64(32)).astype(np.uint32), needs.astype(np.uint32).astype(np.int32)], schema=NEEDS)
        write_sorted(folder / f"{self.name}-needs.parquet", table, "number")
        return {"pairs": len(chunk), "chunks": int(chunk.max(initial=-1)) + 1}

    def _sizes(self, numbers: np.ndarray) -> np.ndarray:
        """int64: text bytes of these documents; of each shelf only that column is read."""
        begins = self.corpus.array("begins")
        order = np.argsort(numbers)
        ordered, sizes = numbers[order], np.empty(len(numbers), np.int64)
        for index, shelf in enumerate(self.corpus.shelves):
            low, high = np.searchsorted(ordered, begins[index : index + 2])
            if high > low:
                column = pq.read_table(shelf.records, columns=["text_bytes"], use_threads=False).column("text_bytes").to_numpy()
                sizes[order[low:high]] = column[ordered[low:high] - begins[index]]
        return sizes
