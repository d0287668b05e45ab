"""The order of all documents: who is whose duplicate by id, who would survive whom, and whose text is exactly the same.

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

from pipeline.dedup.candidates import NO_RANK

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
select r.number, left(r.label, {_LABEL_CHARS}), d.file, d.position, r.first
from repeated r join documents d on d.number = r.first order by r.number
"""

PROVENANCE = (("id", pa.string()), ("source", pa.string()), ("file", pa.string()), ("source_id", pa.string()), ("position", pa.int64()))


@dataclass(frozen=True)
class Order:
    """All documents, numbered by (split, row) as they were given.

    rank: uint32[n], 0 for the best by priority, NO_RANK for a quarantined row. original: uint32[n], rank of the best document with
    exactly the same text hash (its own rank if there is no better one). errors: number -> sentence, for rows whose id was seen
    before.
    """

    rank: np.ndarray
    original: np.ndarray
    errors: dict[int, str]

    def error_column(self) -> pa.Array:
        """`errors` as a string column with a row per document, null for most."""
        index = np.full(len(self.rank), -1, np.int64)
        index[np.fromiter(self.errors.keys(), np.int64, len(self.errors))] = np.arange(len(self.errors))
        return pa.array(list(self.errors.values()), pa.string()).take(pa.array(index, mask=index < 0))


def order_documents(tables: Iterable[pa.Table], priority: list[tuple[str, bool]], exact: bool, spill: Path | None = None) -> Order:
    """Order the documents of some tables with the columns of PROVENANCE, `hash_high` and `hash_low` (uint64, null for a blank
    text), and those of `priority` as `priority_0`, `priority_1`, ...

    Missing priorities come last in either direction; ties go by id, then by place. spill: folder for DuckDB's temporary files beyond
    MEMORY_LIMIT; without one it has the machine's memory.
    """
    limits = {"memory_limit": MEMORY_LIMIT, "temp_directory": str(spill)} if spill else {"temp_directory": ""}
    connection = duckdb.connect(config={"threads": 1, **limits})
    try:
        count, high, low, usable = _load(connection, tables)
        errors = _repeated(connection, count)
        keys = [f"priority_{index} {'desc' if descending else 'asc'} nulls last" for index, (_, descending) in enumerate(priority)]
        rank = np.full(count, NO_RANK, np.uint32)
        if count:
            ranked = connection.execute(
                "select number from documents where number not in (select number from repeated) order by "
                + ", ".join([*keys, "id asc nulls last", "number asc"])
            ).fetchnumpy()["number"]
            rank[ranked] = np.arange(len(ranked), dtype=np.uint32)
    finally:
        connection.close()
    return Order(rank, _originals(rank, high, low, usable) if exact else rank, errors)


def _load(connection: duckdb.DuckDBPyConnection, tables: Iterable[pa.Table]) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Number the rows and move them into the table `documents`; the text hashes stay here, as arrays."""
    count = 0
    highs, lows, usables = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], [np.zeros(0, bool)]
    for table in tables:
        usables.append(table.column("hash_high").is_valid().to_numpy())
        highs.append(table.column("hash_high").fill_null(0).to_numpy())
        lows.append(table.column("hash_low").fill_null(0).to_numpy())
        numbered = table.drop_columns(["hash_high", "hash_low"])
        numbered = numbered.append_column("number", pa.array(np.arange(count, count + len(table))))
        connection.register("batch", numbered)
        connection.execute("insert into documents from batch" if len(highs) > 2 else "create table documents as from batch")
        connection.unregister("batch")
        count += len(table)
    return count, np.concatenate(highs), np.concatenate(lows), np.concatenate(usables)


def _repeated(connection: duckdb.DuckDBPyConnection, count: int) -> dict[int, str]:
    """Fill the table `repeated` with the rows whose id, or whose source's id within one file, an earlier row has; return their errors."""
    connection.execute("create table repeated (number bigint, label varchar, first bigint)")
    if count == 0:
        return {}
    connection.execute(_REPEATED_IDS)
    connection.execute(_REPEATED_SOURCE_IDS)
    rows = connection.execute(_FIRST_SEEN).fetchall()
    return {number: _sentence(label, file, position, first) for number, label, file, position, first in rows}


def _sentence(label: str, file: str | None, position: int | None, first: int) -> str:
    where = f"row {first}" if file is None else f"'{file}'" + ("" if position is None else f" position {position}")
    return f"duplicate id '{label}': first seen at {where}"


def _originals(rank: np.ndarray, high: np.ndarray, low: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """The least rank among the documents of equal hash; a blank text (not usable) is nobody's duplicate."""
    original = rank.copy()
    rows = np.flatnonzero(usable & (rank != NO_RANK))
    rows = rows[np.lexsort((rank[rows], low[rows], high[rows]))]
    if len(rows) == 0:
        return original
    begins = np.concatenate(([True], (high[rows][1:] != high[rows][:-1]) | (low[rows][1:] != low[rows][:-1])))
    original[rows] = rank[rows[np.flatnonzero(begins)]][np.cumsum(begins) - 1]
    return original
