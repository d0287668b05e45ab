"""What the tokenizer's commands read: texts with their ids and origin from corpus shards, other Parquet, or JSONL."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.files import open_file
from pipeline.inputs import Inputs, input_parts
from pipeline.shards import slices
from pipeline.splits import Part, Split, plan_splits

BATCH_BYTES = 16 << 20
"""Bytes of text in one batch."""

TYPES = {"epochs": pa.int32(), "replay_epochs": pa.int32(), "long_document": pa.bool_(), "position": pa.int64()}
"""Types of the columns that can be asked for; all others are text."""


@dataclass
class Skipped:
    """Rows that hold no usable text, by reason."""

    rows: Counter[str] = field(default_factory=Counter)


def plan_texts(inputs: Inputs, split_bytes: int) -> list[Split]:
    """Splits over Parquet and JSONL files. Raises UserError for another format and for a Parquet file without the text column.

    Of a folder that a run or a stage command wrote, the documents are read: the corpus's parts, or what was kept.
    """
    parts = input_parts(replace(inputs, paths=[_documents_of(path) for path in inputs.paths]))
    for part in parts:
        if part.format not in ("jsonl", "parquet"):
            raise UserError(f"'{part.path}' is {part.format}, and the tokenizer reads Parquet or JSONL; run `onnuri ingest` on it first")
        if part.format == "parquet":
            _check_text_column(part)
    return plan_splits(parts, split_bytes)


def _documents_of(path: str) -> str:
    """A folder that holds a manifest beside its documents: the glob of the documents alone. Any other path as it is."""
    from pipeline.balance.export import PART_GLOB  # imports a whole move, which a worker never needs

    folder = Path(path)
    if not (folder / "manifest.json").is_file():
        return path
    for pattern in (PART_GLOB, "kept/*.parquet"):
        if next(folder.glob(pattern), None) is not None:
            return str(Path(glob.escape(path)) / pattern)
    return path


def _check_text_column(part: Part) -> None:
    try:
        with open_file(part.path) as stream:
            schema = pq.read_schema(stream)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"'{part.path}' can't be read as Parquet ({str(error).splitlines()[0]}); leave it out or write it again") from error
    if part.text_column not in schema.names:
        raise UserError(f"'{part.path}' has no column '{part.text_column}'; it has {', '.join(schema.names)}: name one with --text-column")
    kind = schema.field(part.text_column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise UserError(f"the column '{part.text_column}' of '{part.path}' is {kind}, not text; name another with --text-column")


def read_texts(split: Split, columns: Sequence[str], skipped: Skipped) -> Iterator[pa.Table]:
    """Tables of `text` (large_string, valid UTF-8, one chunk), `id` (string) and `columns`, in file order, of about BATCH_BYTES.

    A column that the file lacks comes from a folder named `column=value` on its path, else it is null; `file` is the file's name in the
    input and `position` the row in it where the file doesn't say better. Rows without text or with invalid UTF-8 are left out and
    counted in `skipped`.
    """
    for part in split.parts:
        for table in _parquet(part, columns) if part.format == "parquet" else _documents(part, columns):
            usable = _usable(table, skipped)
            if len(usable):
                yield usable


def _parquet(part: Part, columns: Sequence[str]) -> Iterator[pa.Table]:
    with open_file(part.path) as stream:
        file = pq.ParquetFile(stream)
        names = [name for name in file.schema_arrow.names if name in {part.text_column, part.id_column, *columns}]
        row = sum(file.metadata.row_group(index).num_rows for index in range(part.start))
        for group in range(part.start, file.num_row_groups if part.stop is None else part.stop):
            for table in slices(file.read_row_group(group, columns=names, use_threads=False), BATCH_BYTES):
                yield _conformed(table, part, columns, row)
                row += len(table)


def _documents(part: Part, columns: Sequence[str]) -> Iterator[pa.Table]:
    from pipeline.documents import DocumentReader  # imports what reads crawls: for JSONL only

    for table in DocumentReader()(Split("texts", (part,))):
        if "error" in table.column_names:
            failed = pc.is_valid(table.column("error"))
            texts = table.column("text") if "text" in table.column_names else pa.nulls(len(table), pa.large_string())
            table = table.drop_columns(["text"] if "text" in table.column_names else [])
            table = table.append_column("text", pc.if_else(failed, pa.scalar(None, pa.large_string()), texts))
        yield _conformed(table.rename_columns([part.text_column if n == "text" else n for n in table.column_names]), part, columns, 0)


def _conformed(table: pa.Table, part: Part, columns: Sequence[str], first_row: int) -> pa.Table:
    """The asked columns in their types; see `read_texts` for where those come from that the file lacks."""
    rows = np.arange(first_row, first_row + len(table), dtype=np.int64)
    folders = dict(name.split("=", 1) for name in PurePath(part.path).parts if name.count("=") == 1)
    given: dict[str, Any] = {"text": table.column(part.text_column).cast(pa.large_string())}
    if part.id_column in table.column_names:
        given["id"] = table.column(part.id_column).cast(pa.string())
    else:
        given["id"] = pa.array([f"{part.name}:{row}" for row in rows.tolist()], pa.string())
    for name in columns:
        kind = TYPES.get(name, pa.string())
        if name in given:
            continue
        if name in table.column_names:
            given[name] = table.column(name).cast(kind)
        elif name in folders:
            given[name] = pa.repeat(pa.scalar(folders[name]).cast(kind), len(table))
        elif name == "position":
            given[name] = pa.array(rows)
        elif name in ("file", "source"):
            given[name] = pa.repeat(pa.scalar(part.name if name == "file" else part.source), len(table))
        else:
            given[name] = pa.nulls(len(table), kind)
    return pa.table(given)


def _usable(table: pa.Table, skipped: Skipped) -> pa.Table:
    """Rows with a text that is valid UTF-8."""
    missing = table.column("text").null_count
    if missing:
        skipped.rows["no text"] += missing
        table = table.filter(pc.is_valid(table.column("text")))
    text = table.column("text").combine_chunks()
    if isinstance(text, pa.ChunkedArray):
        text = pa.concat_arrays(text.chunks) if text.num_chunks else pa.array([], pa.large_string())
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        valid = pa.array([_is_utf8(value) for value in text.cast(pa.large_binary()).to_pylist()])
        skipped.rows["invalid UTF-8"] += len(valid) - sum(valid.to_pylist())
        return _usable(table.filter(valid), skipped)
    return table.set_column(table.column_names.index("text"), "text", text)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
