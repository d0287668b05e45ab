"""Find the lines that a host repeats on many of its pages: menus, footers and teasers, in any language and without a word list.

Four steps over files. Each split writes which line stands in which document; ranges of hosts count their documents; ranges of lines count
theirs, and keep the frequent ones; one task joins them into a table sorted by hash. Lines and documents are known by 64-bit hashes, so
exact copies of a page count once, in whichever split they are, and the result depends neither on the splits nor on their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.documents import DocumentReader
from pipeline.ranges import Range, read_arrays, write_sorted
from pipeline.refine.lines import LineTable, host_salts, read_lines
from pipeline.refine.repair import repair
from pipeline.rows import Reader
from pipeline.schema import BY_NAME
from pipeline.segment import Segment
from pipeline.shards import write_table
from pipeline.splits import Split

HOST_SHARE = 0.2
"""Share of a host's documents that a frequent line stands in. The frame of a site stands on nearly all of its pages, that of one of
five sections on a fifth. Less is what pages have in common by their subject: with 1,408 statutes as one host, 5 % would cut 0.39 % of their
bytes (final provisions), 10 % 0.08 %, 20 % 0.03 %, while the frames of a blog and of the PEPs are found with each (docs/lines.md)."""

MAX_LINE_BYTES = 600
"""Longer lines are not counted: they are paragraphs, and the longest footers end there (as for notices, `lines.MAX_NOTICE_BYTES`)."""

TASK_RECORDS = 8_000_000
"""Records (24 bytes) per counting task: about 200 MB, and as much again while they are sorted."""

RECORD = pa.schema([pa.field(name, pa.uint64()) for name in ("line", "host", "document")])
HOST = pa.schema([pa.field(name, pa.uint64()) for name in ("host", "document")])
HOST_COUNT = pa.schema([pa.field("host", pa.uint64()), pa.field("documents", pa.int64())])
HOST_LINES = pa.schema([pa.field("hash", pa.uint64()), pa.field("documents", pa.int64())])
"""The result: hash of line and host (`lines_kernel.hash_lines`), and the documents of that host in which the line stands."""


@dataclass(frozen=True)
class CollectTask:
    """Write `<split>-lines.parquet` (RECORD) and `<split>-hosts.parquet` (HOST) of one split: distinct rows, sorted.

    repair: look at the texts as the stage Repair will leave them. limit: only the first so many rows.
    """

    split: Split
    reader: Reader
    repair: bool
    limit: int | None = None
    version: str = "1"

    @property
    def name(self) -> str:
        return self.split.name

    def __call__(self, folder: Path) -> dict[str, Any]:
        records, hosts = [_empty(RECORD)], [_empty(HOST)]
        for table in _usable(self.reader(self.split), self.limit):
            texts = table.column("text").cast(pa.large_string())
            lines = read_lines(repair(texts) if self.repair else texts)
            salts = host_salts(table.column("host"))
            records.append(_records(lines, salts))
            hosts.append(np.column_stack([salts, _document_hashes(lines, salts)]))
        found, pages = _distinct(np.concatenate(records)), _distinct(np.concatenate(hosts))
        _write(folder / f"{self.name}-lines.parquet", found, RECORD)
        _write(folder / f"{self.name}-hosts.parquet", pages, HOST)
        return {"records": len(found), "documents": len(pages)}


def _usable(tables: Iterator[pa.Table], limit: int | None) -> Iterator[pa.Table]:
    """Of the first `limit` rows those that can be worked on and have a host, with the columns text and host."""
    left = limit
    for table in tables:
        if left is not None:
            table = table.slice(0, left)
            left -= len(table)
        if {"text", "host"} <= set(table.column_names):
            for name in ("error", "drop_reason"):
                if name in table.column_names:
                    table = table.filter(pc.is_null(table.column(name)))
            hosts = pc.fill_null(table.column("host").cast(BY_NAME["host"].type), "")
            yield table.filter(pc.and_(pc.not_equal(hosts, ""), pc.is_valid(table.column("text")))).select(["text", "host"])
        if left == 0:
            return


def _records(lines: LineTable, salts: np.ndarray) -> np.ndarray:
    """(line, host, document) of every line that might be cut as frequent, uint64, one row each."""
    from pipeline.refine.lines_kernel import CODE, SOLID, hash_lines

    hashes = np.empty(len(lines.starts), np.uint64)
    hash_lines(lines.data, *lines.spans, salts, hashes)
    chosen = (lines.traits & SOLID != 0) & (lines.traits & CODE == 0) & (lines.ends - lines.starts <= MAX_LINE_BYTES)
    rows = np.repeat(np.arange(len(salts)), np.diff(lines.line_offsets))[chosen]
    return np.column_stack([hashes[chosen], salts[rows], _document_hashes(lines, salts)[rows]])


def _document_hashes(lines: LineTable, salts: np.ndarray) -> np.ndarray:
    """uint64 hash of each document: its host's salt and its text, as one long line."""
    from pipeline.refine.lines_kernel import hash_lines

    hashes = np.empty(len(salts), np.uint64)
    rows = np.arange(len(salts) + 1)
    hash_lines(lines.data, rows, lines.offsets[:-1], lines.offsets[1:], salts, hashes)
    return hashes


@dataclass(frozen=True)
class HostsTask:
    """Write `hosts-<part>.parquet` (HOST_COUNT): hosts of one range of hashes that have at least `min_documents` different documents."""

    collected: tuple[str, ...] = field(metadata={"fingerprint": False})
    part: int
    parts: int
    min_documents: int
    version: str = "1"

    @property
    def name(self) -> str:
        return f"hosts-{self.part:04d}"

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.collected

    def __call__(self, folder: Path) -> dict[str, Any]:
        pairs = [_read_range(path, HOST, self.part, self.parts) for path in self.collected]
        hosts, counts = np.unique(_distinct(np.concatenate([_empty(HOST), *pairs]))[:, 0], return_counts=True)
        chosen = counts >= self.min_documents
        write_table(folder / f"{self.name}.parquet", pa.table([hosts[chosen], counts[chosen]], schema=HOST_COUNT))
        return {"hosts": int(chosen.sum())}


@dataclass(frozen=True)
class CountTask:
    """Write `lines-<part>.parquet` (HOST_LINES): lines of one range of hashes that are frequent on their host."""

    collected: tuple[str, ...] = field(metadata={"fingerprint": False})
    hosts: tuple[str, ...] = field(metadata={"fingerprint": False})
    part: int
    parts: int
    min_documents: int
    share: float = HOST_SHARE
    version: str = "1"

    @property
    def name(self) -> str:
        return f"lines-{self.part:04d}"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*self.collected, *self.hosts)

    def __call__(self, folder: Path) -> dict[str, Any]:
        known = pa.concat_tables([pq.read_table(path, use_threads=False) for path in self.hosts])
        hosts, documents = known.column("host").to_numpy(), known.column("documents").to_numpy()
        found = [_of_hosts(_read_range(path, RECORD, self.part, self.parts), hosts) for path in self.collected]
        records = _distinct(np.concatenate([_empty(RECORD), *found]))
        lines, first, counts = np.unique(records[:, 0], return_index=True, return_counts=True)
        needed = np.zeros(0) if not len(hosts) else np.ceil(self.share * documents[np.searchsorted(hosts, records[first, 1])])
        chosen = counts >= np.maximum(needed, self.min_documents)
        write_table(folder / f"{self.name}.parquet", pa.table([lines[chosen], counts[chosen]], schema=HOST_LINES))
        return {"lines": int(chosen.sum())}


@dataclass(frozen=True)
class JoinTask:
    """Write `host_lines.parquet` (HOST_LINES), sorted by hash: the ranges one after the other."""

    ranges: tuple[str, ...] = field(metadata={"fingerprint": False})
    name: str = "host_lines"
    version: str = "1"

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.ranges

    def __call__(self, folder: Path) -> dict[str, Any]:
        table = pa.concat_tables([pq.read_table(path, use_threads=False) for path in self.ranges])
        write_table(folder / "host_lines.parquet", table)
        return {"lines": len(table)}


def find_host_lines(
    segment: Segment, splits: Sequence[Split], min_documents: int, repair: bool, reader: Reader | None = None, limit: int | None = None
) -> tuple[str, str] | None:
    """Path and content hash of the table of lines frequent on their host; None where no host can have any.

    reader: what reads the splits, by default a DocumentReader of the columns host and text.
    """
    reader = reader or DocumentReader(("host", "text", "error", "drop_reason"))
    splits = sorted(splits, key=lambda split: split.name)
    receipts = segment.step("host_lines_collect", [CollectTask(split, reader, repair, limit) for split in splits])
    if sum(receipt["documents"] for receipt in receipts) < min_documents:
        return None
    folder = segment.step_folder("host_lines_collect")
    of_lines, of_hosts = (tuple(str(folder / f"{split.name}-{kind}.parquet") for split in splits) for kind in ("lines", "hosts"))
    host_parts, line_parts = (
        max(1, math.ceil(sum(receipt[key] for receipt in receipts) / TASK_RECORDS)) for key in ("documents", "records")
    )
    host_tasks = [HostsTask(of_hosts, part, host_parts, min_documents) for part in range(host_parts)]
    segment.step("host_lines_hosts", host_tasks)
    hosts = tuple(str(segment.step_folder("host_lines_hosts") / f"{task.name}.parquet") for task in host_tasks)
    line_tasks = [CountTask(of_lines, hosts, part, line_parts, min_documents) for part in range(line_parts)]
    segment.step("host_lines_count", line_tasks)
    ranges = tuple(str(segment.step_folder("host_lines_count") / f"{task.name}.parquet") for task in line_tasks)
    receipt = segment.step("host_lines", [JoinTask(ranges)])[0]
    path = segment.step_folder("host_lines") / "host_lines.parquet"
    return str(path), str(receipt["outputs"]["host_lines.parquet"]["xxh3"])


def _empty(schema: pa.Schema) -> np.ndarray:
    return np.zeros((0, len(schema)), np.uint64)


def _distinct(rows: np.ndarray) -> np.ndarray:
    """The different rows of a 2-D array, sorted by its columns."""
    ordered = rows[np.lexsort(rows.T[::-1])]
    first = np.ones(len(ordered), np.bool_)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return ordered[first]


def _write(path: Path, rows: np.ndarray, schema: pa.Schema) -> None:
    """Rows sorted by their first column, as a file of which ranges can be read."""
    table = pa.table([np.ascontiguousarray(rows[:, place]) for place in range(rows.shape[1])], schema=schema)
    write_sorted(path, table, schema.names[0])


def _read_range(path: str, schema: pa.Schema, part: int, parts: int) -> np.ndarray:
    """The rows of a file of `_write` whose first column lies in the `part`-th of `parts` equal ranges of 64-bit hashes."""
    here = Range(part, parts, 1 << 64)
    return np.column_stack(read_arrays([path], schema.names[0], here.first, here.last, schema))


def _of_hosts(records: np.ndarray, hosts: np.ndarray) -> np.ndarray:
    """The records of these hosts (sorted)."""
    if not len(hosts):
        return records[:0]
    places = np.minimum(np.searchsorted(hosts, records[:, 1]), len(hosts) - 1)
    return records[hosts[places] == records[:, 1]]
