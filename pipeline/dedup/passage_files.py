"""Files between the steps that look for repeated passages: records in runs sorted by a key, read again by ranges of it (`pipeline.ranges`).

Every step is the same shuffle. A task per split writes records sorted by a key; a task per range of keys reads that range of all splits
and writes its findings sorted by split; a task per split reads its own findings of all ranges. Nothing is held but a range or a split.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.dedup.candidates import NO_RANK
from pipeline.documents import usable_documents
from pipeline.errors import RunFailed, UserError
from pipeline.ranges import Range, SortedWriter, read_range
from pipeline.schema import BY_NAME
from pipeline.splits import Split

TASK_RECORDS = 8_000_000
"""Records (at most 36 bytes) per range: about 300 MB, and twice as much again while they are sorted."""

RUN_RECORDS = 4_000_000
"""Records that a task of one split holds before it writes them as one sorted run."""

MAX_DOCUMENT_BYTES = (1 << 32) - 1
"""Places in a document are 32-bit numbers."""

Columns = dict[str, np.ndarray]
"""Records as one array per field, all of one length."""

FOUND = pa.schema([(name, pa.uint32()) for name in ("split", "rank", "start", "end", "original")] + [("copies", pa.int64())])
"""A repeated passage: number of its split, rank of its document, bytes [start, end) of the text, rank of the document in which it stays,
and how many places (substring) or documents (paragraph) hold it."""


def take(columns: Columns, rows: np.ndarray | slice) -> Columns:
    """These rows (numbers, a mask or a slice)."""
    return {name: values[rows] for name, values in columns.items()}


def concatenated(schema: pa.Schema, parts: Sequence[Columns]) -> Columns:
    """Parts one after the other, with the fields and types of `schema`."""
    return {
        field.name: np.concatenate([np.zeros(0, field.type.to_pandas_dtype()), *(part[field.name] for part in parts)]).astype(
            field.type.to_pandas_dtype(), copy=False
        )
        for field in schema
    }


class RunWriter:
    """Writes records as Parquet in runs of RUN_RECORDS, each sorted by the first field; `with` closes it. `records` counts them."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.records = 0
        self._schema = schema
        self._pending: list[Columns] = []
        self._pending_records = 0
        self._writer = SortedWriter(path, schema, schema.names[0])

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.__exit__(kind, error, trace)

    def add(self, columns: Columns) -> None:
        """Append records in any order."""
        count = len(columns[self._schema.names[0]])
        self.records += count
        self._pending.append(columns)
        self._pending_records += count
        if self._pending_records >= RUN_RECORDS:
            self._flush()

    def _flush(self) -> None:
        run = concatenated(self._schema, self._pending)
        run = take(run, np.argsort(run[self._schema.names[0]], kind="stable"))
        self._writer.write(pa.table(run, schema=self._schema))
        self._pending, self._pending_records = [], 0


def read_between(path: str, low: int, high: int) -> pa.Table:
    """The records of a RunWriter's file whose key (the first field) lies in [low, high]."""
    schema = pq.read_schema(path)
    return pa.concat_tables([schema.empty_table(), *read_range(path, schema.names[0], low, high)])


def read_columns(path: str, low: int, high: int) -> Columns:
    """`read_between` as Columns."""
    table = read_between(path, low, high)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def parts_for(records: int) -> int:
    """Ranges into which so many records are cut."""
    return max(1, math.ceil(records / TASK_RECORDS))


def gather(collected: Sequence[str], schema: pa.Schema, part: int, parts: int, at_least: int = 1) -> Columns:
    """The records of one range of hashes over all splits, with the field `split`: those whose hash occurs `at_least` times, unordered."""
    here, found = Range(part, parts, 1 << 64), []
    for number, path in enumerate(collected):
        columns = read_columns(path, here.first, here.last)
        found.append(columns | {"split": np.full(len(columns[schema.names[0]]), number, np.uint32)})
    records = concatenated(schema.append(pa.field("split", pa.uint32())), found)
    if at_least == 1 or not len(records[schema.names[0]]):
        return records
    order = np.argsort(records[schema.names[0]])
    keys = records[schema.names[0]][order]
    begins = begins_of(keys)
    counts = np.diff(np.append(begins, len(keys)))
    return take(records, order[np.repeat(counts >= at_least, counts)])


def begins_of(*sorted_keys: np.ndarray) -> np.ndarray:
    """Where a new combination of these sorted arrays begins: the first row of each group."""
    changed = np.ones(len(sorted_keys[0]), np.bool_)
    if len(changed):
        changed[1:] = False
        for keys in sorted_keys:
            changed[1:] |= keys[1:] != keys[:-1]
    return np.flatnonzero(changed)


def write_found(path: Path, found: Columns) -> None:
    """Write findings sorted by split and place."""
    ordered = take(found, np.lexsort((found["start"], found["rank"], found["split"])))
    with RunWriter(path, FOUND) as writer:
        writer.add(ordered)


def staying(split: Split, ranks: np.ndarray, columns: tuple[str, ...]) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """The documents of a split that take part, as tables of `columns` (missing ones null), and their places among the usable ones.

    ranks: uint32, one per usable document. Raises RunFailed when the split has another number of them, UserError for a text over
    MAX_DOCUMENT_BYTES.
    """
    place = 0
    for table in usable_documents(split, (*columns, "error", "drop_reason")):
        chosen = np.asarray(ranks[place : place + len(table)]) != NO_RANK
        places = place + np.flatnonzero(chosen)
        place += len(table)
        if len(table) != len(chosen) or not chosen.any():
            continue
        table = table.filter(pa.array(chosen))
        arrays = [table.column(name) if name in table.column_names else pa.nulls(len(table), BY_NAME[name].type) for name in columns]
        table = pa.table(arrays, names=list(columns))
        if "text" in columns and (pc.max(pc.binary_length(table.column("text"))).as_py() or 0) > MAX_DOCUMENT_BYTES:
            raise UserError(f"a document of split '{split.name}' has 4 GiB of text or more, too much to look for passages in; cut it up")
        yield table, places
    if place != len(ranks):
        raise RunFailed(
            f"split '{split.name}' has {place:,} usable documents and ranks for {len(ranks):,}; it was changed after deduplication began, "
            "remove the folder of this segment and run again"
        )


def load_ranks(path: str) -> np.ndarray:
    """The ranks of a split's usable documents, uint32."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def places_by_rank(ranks: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """int64: the place of each wanted rank among the usable documents of a split."""
    order = np.argsort(ranks, kind="stable")
    return order[np.searchsorted(ranks, wanted, sorter=order)]
