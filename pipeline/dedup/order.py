"""The order of all documents: who is whose duplicate by id, who would survive whom, and whose text or address is exactly the same.

Identifiers and priorities are compared in DuckDB, which spills to disk where it is given a folder; the rest is a few
numbers per document.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedup.candidates import NO_RANK, shared
from pipeline.errors import UserError

MEMORY_LIMIT = "1GB"
_LABEL_CHARS = 200
"""Ids come from the input and may be of any length; an error message quotes so many characters of one."""

_REPEATED_IDS = """
insert into repeated
with firsts as (select id, min(number) as first from documents where id is not null group by id having count(*) > 1)
select number, id, first from documents join firsts using (id) where number <> first
"""

_REPEATED_SOURCE_IDS = """
insert into repeated
with others as (
    select number, coalesce(source, '') as source, file, source_id from documents
    where source_id is not null and file is not null and number not in (select number from repeated)
), firsts as (
    select source, file, source_id, min(number) as first from others group by source, file, source_id having count(*) > 1
)
select number, source_id, first from others join firsts using (source, file, source_id) where number <> first
"""

_FIRST_SEEN = f"""
select r.number, concat(
    'duplicate id ''', left(r.label, {_LABEL_CHARS}), ''': first seen at ',
    case when d.file is null then concat('row ', r.first) else concat('''', d.file, '''', ' position ' || d.position) end,
    case when r.first < ? then ' of a crawl in the index' end
) as error
from repeated r join documents d on d.number = r.first order by r.number
"""

ERRORS = pa.schema([pa.field("number", pa.int64()), pa.field("error", pa.string())])

PROVENANCE = (("id", pa.string()), ("source", pa.string()), ("file", pa.string()), ("source_id", pa.string()), ("position", pa.int64()))

DISTINCT, SAME_TEXT, SAME_ADDRESS = 0, 1, 2
"""How a document is a copy of a better one (`Order.copy`)."""


@dataclass(frozen=True)
class Order:
    """All documents, numbered by (split, row) as they were given; those of an index come first and rank before all others.

    rank: uint32[n], 0 for the best by priority, NO_RANK for a quarantined row. original: uint32[n], rank of the document whose fate it
    shares: the best of those with the same address, and of its copies by text (its own rank if there is no better one). copy: uint8[n],
    why it shares that fate. errors: ERRORS, ascending: a sentence for each row whose id was seen before.
    """

    rank: np.ndarray
    original: np.ndarray
    copy: np.ndarray
    errors: pa.Table

    @property
    def takes_part(self) -> np.ndarray:
        """bool[n]: compared with others, as neither quarantined nor a copy."""
        return (self.rank == self.original) & (self.rank != NO_RANK)

    def error_column(self, begin: int, end: int) -> pa.Array:
        """`errors` of the documents begin .. end - 1 as a string column, null for most."""
        numbers = self.errors.column("number").to_numpy()
        low, high = np.searchsorted(numbers, [begin, end])
        place = np.full(end - begin, -1)
        place[numbers[low:high] - begin] = np.arange(high - low)
        found = self.errors.column("error").slice(low, high - low).combine_chunks()
        return found.take(pa.array(place, mask=place < 0))


@dataclass(frozen=True)
class _Hashes:
    """128-bit hashes of all documents, uint64 halves; known: bool, false for a blank text or address."""

    high: np.ndarray
    low: np.ndarray
    known: np.ndarray


def connect(spill: Path | None) -> duckdb.DuckDBPyConnection:
    """A quiet database of one thread; beyond MEMORY_LIMIT it spills to this folder, without one it has the machine's memory."""
    limits = {"memory_limit": MEMORY_LIMIT, "temp_directory": str(spill)} if spill else {"temp_directory": ""}
    connection = duckdb.connect(config={"threads": 1, **limits})
    connection.execute("set enable_progress_bar = false")  # it would draw over ours
    return connection


def order_documents(
    tables: Iterable[pa.Table], priority: list[tuple[str, bool]], exact: bool, indexed: int = 0, spill: Path | None = None
) -> Order:
    """The order of the documents of sketch records, given table by table.

    priority: (column, descending) for the columns priority_0, priority_1, ...; unknown values come last in either direction, ties go by
    id. exact: look for equal texts. indexed: the first so many documents, which stay, rank before all others. spill: an empty
    folder for DuckDB's temporary files beyond MEMORY_LIMIT; without one it has the machine's memory. Raises UserError for 2^32 - 1
    documents or more.
    """
    connection = connect(spill)
    try:
        count, hashes = _load(connection, tables)
        if count >= int(NO_RANK):
            raise UserError(f"the input has {count:,} documents, and dedup can number {int(NO_RANK) - 1:,}; deduplicate it in parts")
        errors = _repeated(connection, count, indexed)
        keys = [f"priority_{index} {'desc' if descending else 'asc'} nulls last" for index, (_, descending) in enumerate(priority)]
        rank = np.full(count, NO_RANK, np.uint32)
        if count:
            ranked = connection.execute(
                "select number from documents where number not in (select number from repeated) order by "
                + ", ".join([f"number >= {indexed}", *keys, "id asc nulls last", "number asc"])
            ).fetchnumpy()["number"]
            rank[ranked] = np.arange(len(ranked), dtype=np.uint32)
    finally:
        connection.close()
    original, copy = rank.copy(), np.zeros(count, np.uint8)
    if "url" in hashes:
        _share(original, copy, rank != NO_RANK, hashes["url"], SAME_ADDRESS)
    if exact:
        _share(original, copy, (rank != NO_RANK) & (copy == DISTINCT), hashes["hash"], SAME_TEXT)
        alike = copy == SAME_ADDRESS  # the best document of an address may itself be a copy of a better text
        number = numbers_of_ranks(rank)
        original[alike] = original[number[original[alike]]]
    return Order(rank, original, copy, errors)


def numbers_of_ranks(rank: np.ndarray) -> np.ndarray:
    """uint32: the number of the document of each rank."""
    ranked = np.flatnonzero(rank != NO_RANK)
    number = np.empty(len(ranked), np.uint32)
    number[rank[ranked]] = ranked
    return number


def _load(connection: duckdb.DuckDBPyConnection, tables: Iterable[pa.Table]) -> tuple[int, dict[str, _Hashes]]:
    """Number the rows and move them into the table `documents`; hashes of texts and addresses stay here, of each kind.

    NaN is no priority but an unknown one: DuckDB would sort it as the greatest of all numbers.
    """
    count = 0
    parts: dict[str, list[list[np.ndarray]]] = {"hash": [[np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], [np.zeros(0, bool)]]}
    first = True
    for table in tables:
        for kind in ("hash", "url"):
            high, low = f"{kind}_high", f"{kind}_low"
            if high not in table.column_names:
                continue
            values = [table.column(high).fill_null(0).to_numpy(), table.column(low).fill_null(0).to_numpy()]
            for part, array in zip(parts.setdefault(kind, [[], [], []]), [*values, table.column(high).is_valid().to_numpy()], strict=True):
                part.append(array)
            table = table.drop_columns([high, low])
        for index, field in enumerate(table.schema):
            if pa.types.is_floating(field.type):
                values = table.column(index)
                table = table.set_column(index, field, pc.if_else(pc.is_nan(values), pa.scalar(None, field.type), values))
        numbered = table.append_column("number", pa.array(np.arange(count, count + len(table))))
        connection.register("batch", numbered)
        connection.execute("create table documents as from batch" if first else "insert into documents by name from batch")
        connection.unregister("batch")
        first = False
        count += len(table)
    return count, {kind: _Hashes(*(np.concatenate(part) for part in columns)) for kind, columns in parts.items()}


def _repeated(connection: duckdb.DuckDBPyConnection, count: int, indexed: int) -> pa.Table:
    """Fill the table `repeated` with the rows whose id, or whose source's id within one file, an earlier row has; return their errors."""
    connection.execute("create table repeated (number bigint, label varchar, first bigint)")
    if count == 0:
        return ERRORS.empty_table()
    connection.execute(_REPEATED_IDS)
    connection.execute(_REPEATED_SOURCE_IDS)
    return connection.sql(_FIRST_SEEN, params=[indexed]).to_arrow_table().cast(ERRORS)


def _share(original: np.ndarray, copy: np.ndarray, eligible: np.ndarray, hashes: _Hashes, why: int) -> None:
    """Give documents with equal 128-bit hashes the least of their ranks as original; a null hash (not known) equals none."""
    high, low = hashes.high, hashes.low
    rows = np.flatnonzero(eligible & hashes.known)
    rows = rows[np.argsort(high[rows])]
    rows = rows[shared(high[rows])]  # few documents are copies: only those are sorted by all there is
    rows = rows[np.lexsort((original[rows], low[rows], high[rows]))]
    if len(rows) == 0:
        return
    begins = np.concatenate(([True], (high[rows][1:] != high[rows][:-1]) | (low[rows][1:] != low[rows][:-1])))
    best = original[rows[np.flatnonzero(begins)]][np.cumsum(begins) - 1]
    copies = rows[original[rows] != best]
    original[rows] = best
    copy[copies] = why
