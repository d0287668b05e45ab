"""What feeds a segment: raw records for ingest, documents for every later move, whether from our shards or from a user's own files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.decode import with_host
from pipeline.ingest.formats import UnreadableFile
from pipeline.ingest.readers import read_part
from pipeline.schema import TRANSIENT, with_columns
from pipeline.shards import read_batches
from pipeline.splits import DOCUMENTS, UNKNOWN, Part, Split

DECISIONS = frozenset({"drop_stage", "drop_reason", "error", "excerpt"})
"""Columns that say what became of a row."""

LIFTED = frozenset({"lang", "domain", "quality"})
"""Fields of a user's own record that later moves understand: taken out of `meta` where they have the right type."""


@dataclass(frozen=True)
class IngestReader:
    """Tables of raw records from crawl files; a file that can't be read at all becomes one row with an `error`."""

    version: ClassVar[str] = "2"
    settings: IngestConfig

    def __call__(self, split: Split) -> Iterator[pa.Table]:
        for part in split.parts:
            if part.format == UNKNOWN:
                yield _unreadable(part, "neither its name nor its content tells its format")
                continue
            try:
                yield from read_part(part, self.settings)
            except UnreadableFile as error:
                yield _unreadable(part, str(error))


@dataclass(frozen=True)
class DocumentReader:
    """Tables of documents: shards as they are, JSONL and Parquet files through the ingest readers (bad rows carry an `error`).

    columns: read only these of a shard; empty reads all.
    """

    version: ClassVar[str] = "2"
    columns: tuple[str, ...] = ()

    def __call__(self, split: Split) -> Iterator[pa.Table]:
        for part in split.parts:
            if part.format == DOCUMENTS:
                for table in read_batches(part.path, self.columns or None):
                    # rows of a dropped/ or quarantine/ folder come in as new: what was decided of them is not carried on
                    yield table.drop_columns([name for name in table.column_names if name in DECISIONS])
                continue
            for table in IngestReader(IngestConfig())(Split(split.name, (part,))):
                yield _as_documents(table, part.keep_ids)


def _unreadable(part: Part, reason: str) -> pa.Table:
    identity = xxhash.xxh3_128_hexdigest(f"{part.source}\0{part.name}\0{part.start}".encode())
    row: dict[str, object] = {"id": identity, "source": part.source, "file": part.name, "position": part.start, "error": reason}
    return with_columns(pa.table({"id": [identity]}), {name: [value] for name, value in row.items()})


def _as_documents(table: pa.Table, keep_ids: bool) -> pa.Table:
    """Rows of a user's file in the form that later moves expect: no raw columns, `host` and `text_bytes` set, own ids if wanted."""
    table = table.drop_columns([name for name in table.column_names if name in TRANSIENT])
    if keep_ids and "source_id" in table.column_names:
        table = with_columns(table, {"id": pc.coalesce(table.column("source_id"), table.column("id"))})
    if "meta" in table.column_names:
        table = with_columns(table, _lift(table.column("meta")))
    if "url" in table.column_names:
        table = with_host(table)
    if "text" in table.column_names:
        table = with_columns(table, {"text_bytes": pc.binary_length(table.column("text")).cast(pa.int64())})
    return table


def _lift(meta: pa.ChunkedArray) -> dict[str, pa.Array]:
    """The LIFTED fields of the records' other fields, null where a record has none of that name and type."""
    fields = pl.Series(meta.cast(pa.large_string())).str
    found = {name: fields.json_path_match(f"$.{name}") for name in sorted(LIFTED)}
    typed = {name: series.cast(pl.Float64, strict=False) if name == "quality" else series for name, series in found.items()}
    return {name: series.to_arrow() for name, series in typed.items()}


def usable_documents(split: Split, columns: tuple[str, ...]) -> Iterator[pa.Table]:
    """Only the rows of a split that can be worked on (neither `error` nor `drop_reason`), with at least `columns`."""
    for table in DocumentReader(columns)(split):
        for name in ("error", "drop_reason"):
            if name in table.column_names:
                table = table.filter(pc.is_null(table.column(name)))
        yield table
