"""Range-partitioned files: Parquet sorted by a number, from which a task reads only its range of that number.

Whole-corpus moves exchange data so: every writer sorts what it has by a hash or a document number, every reader takes one range of it
from all files. Row groups carry the least and greatest number, so a range costs what it holds and not what the file holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUPS = 128
"""Row groups of one sorted run: the ranges that can be told apart without reading more than was asked for."""

MIN_ROW_GROUP = 4096
"""Rows below which a row group costs more in the footer than it saves."""


class SortedWriter:
    """Writes one or several sorted runs to a file.

    Integers are stored as differences (hashes have nothing else to compress), texts as light zstd; only the sorted column has statistics.
    """

    def __init__(self, path: Path, schema: pa.Schema, column: str) -> None:
        """`column`: the sorted one, which readers select by."""
        integers = [field.name for field in schema if pa.types.is_integer(field.type) and field.type.bit_width >= 32]
        self._file = pq.ParquetWriter(
            path,
            schema,
            compression={name: "none" if name in integers else "zstd" for name in schema.names},
            use_dictionary=False,
            write_statistics=[column],
            column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
        )

    def __enter__(self) -> SortedWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, table: pa.Table) -> None:
        """Append a run."""
        if len(table):
            self._file.write_table(table, row_group_size=max(MIN_ROW_GROUP, -(-len(table) // ROW_GROUPS)))


def write_sorted(path: Path, table: pa.Table, column: str) -> None:
    """Write a table that is sorted by `column` as a file of one run."""
    with SortedWriter(path, table.schema, column) as writer:
        writer.write(table)


def read_range(path: str, column: str, first: int, last: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows whose `column` is in first..last (both included), a table per row group that has any."""
    wanted = None if columns is None else list(dict.fromkeys((column, *columns)))
    with pq.ParquetFile(path) as file:
        place = file.schema_arrow.get_field_index(column)
        for group in range(file.num_row_groups):
            facts = file.metadata.row_group(group).column(place).statistics
            if facts is not None and facts.has_min_max and (facts.max < first or facts.min > last):
                continue
            table = file.read_row_group(group, columns=wanted, use_threads=False)
            values = table.column(column).to_numpy()
            chosen = (values >= first) & (values <= last)
            if chosen.all():
                yield table
            elif chosen.any():
                yield table.filter(pa.array(chosen))


def read_arrays(paths: Sequence[str], column: str, first: int, last: int, schema: pa.Schema) -> list[np.ndarray]:
    """The rows of all files in this range, one array per column of `schema`, file by file."""
    parts: list[list[Any]] = [[np.zeros(0, field.type.to_pandas_dtype())] for field in schema]
    for path in paths:
        for table in read_range(path, column, first, last, schema.names):
            for index, name in enumerate(schema.names):
                parts[index].append(table.column(name).to_numpy())
    return [np.concatenate(part) for part in parts]


@dataclass(frozen=True)
class Range:
    """One of `parts` equal ranges of the numbers 0 .. limit - 1."""

    part: int
    parts: int
    limit: int

    @property
    def first(self) -> int:
        return self.part * self.limit // self.parts

    @property
    def last(self) -> int:
        """The greatest number of the range; one less than `first` for an empty range."""
        return (self.part + 1) * self.limit // self.parts - 1
