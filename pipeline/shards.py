"""Reading and writing shards: zstd Parquet files of the document table, written to a temporary name and renamed when complete."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from pipeline.files import open_file
from pipeline.schema import conform

BATCH_BYTES = 16 << 20
"""Text bytes per batch and per row group: large enough for vectorised work, small enough that a dozen fit in a worker."""

_PLAIN = {"text", "meta", "id", "url", "title", "contamination"}
"""Columns of mostly distinct values: a dictionary would be built and thrown away, and min/max statistics would only copy text."""


class ShardWriter:
    """Collects tables and writes row groups of about BATCH_BYTES; `close` returns what was written, or nothing for no rows.

    The file at `path` is only a temporary one: the caller renames it once all files of its split are complete.
    """

    def __init__(self, path: Path, schema: pa.Schema, compression_level: int = 1) -> None:
        self.path, self.schema, self.rows = path, schema, 0
        self._level = compression_level
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append rows; columns are put in the order and types of the schema."""
        if len(table) == 0:
            return
        table = conform(table, self.schema)
        self.rows += len(table)
        self._pending.append(table)
        self._pending_bytes += table.nbytes
        if self._pending_bytes >= BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._writer is None:
            coded = [name for name in self.schema.names if name not in _PLAIN and pa.types.is_string(self.schema.field(name).type)]
            plain_statistics = [name for name in self.schema.names if name not in _PLAIN]
            self._writer = pq.ParquetWriter(
                self.path,
                self.schema,
                compression="zstd",
                compression_level=self._level,
                use_dictionary=coded,
                write_statistics=plain_statistics,
                store_schema=True,
            )
        table = pa.concat_tables(self._pending) if self._pending else self.schema.empty_table()
        self._writer.write_table(table.combine_chunks(), row_group_size=max(1, len(table)))
        self._pending, self._pending_bytes = [], 0

    def close(self) -> int:
        """Finish the file, written even when it has no rows; returns the number of rows that its footer counts."""
        if self._pending or self._writer is None:
            self._flush()
        if self._writer is not None:
            self._writer.close()
        return int(pq.read_metadata(self.path).num_rows)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a small table as one zstd Parquet file (complete or absent: through a temporary name)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    pq.write_table(table, temporary, compression="zstd")
    os.replace(temporary, path)


def read_batches(path: str, columns: Sequence[str] | None = None, batch_bytes: int = BATCH_BYTES) -> Iterator[pa.Table]:
    """The rows of a shard in order, as tables of at most about `batch_bytes`; `columns` that the file lacks are left out."""
    with open_file(path) as stream:
        file = pq.ParquetFile(stream)
        names = [name for name in file.schema_arrow.names if columns is None or name in columns]
        for index in range(file.metadata.num_row_groups):
            yield from slices(file.read_row_group(index, columns=names, use_threads=False), batch_bytes)


def slices(table: pa.Table, batch_bytes: int) -> Iterator[pa.Table]:
    """`table` in pieces of at most about `batch_bytes` (never less than a row), assuming rows of similar size."""
    pieces = max(1, -(-table.nbytes // batch_bytes))
    step = max(1, -(-len(table) // pieces))
    for start in range(0, len(table), step):
        yield table.slice(start, step)


def row_bytes(table: pa.Table) -> pa.ChunkedArray:
    """Bytes of each row's content: of `text`, or of `raw` where there is no text yet; of a table without texts what `text_bytes` says."""
    total = pa.chunked_array([pa.repeat(pa.scalar(0, pa.int64()), len(table))])
    if "text" not in table.column_names and "text_bytes" in table.column_names:
        total = pc.coalesce(table.column("text_bytes"), total)
    for name in ("raw", "text"):
        if name in table.column_names:
            total = pc.coalesce(pc.binary_length(table.column(name)).cast(pa.int64()), total)
    return total


def file_facts(path: Path) -> dict[str, Any]:
    """Size and xxh3-64 of a file: what a receipt says of an output."""
    digest = xxhash.xxh3_64()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return {"bytes": path.stat().st_size, "xxh3": digest.hexdigest()}
