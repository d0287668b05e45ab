"""Reading documents from Parquet files, whole or by row group, without turning text into Python objects."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.formats import UnreadableFile
from pipeline.ingest.jsonl import Fields
from pipeline.ingest.rows import SCHEMA, Row, document_id, excerpt, tables

_KNOWN = ("url", "title", "date")
_MAX_BATCH_ROWS = 16384


def read_parquet(
    file: IO[bytes], path: str, name: str, source: str, fields: Fields, config: IngestConfig, start: int = 0, stop: int | None = None
) -> Iterator[pa.Table]:
    """Tables of `rows.SCHEMA` from row groups [start, stop); `position` is the row number in the file.

    Raises UnreadableFile for a broken footer and UserError when the text column is missing or isn't text. A row group that
    can't be read is one quarantine row; other columns go to `meta`.
    """
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnreadableFile(path, f"the Parquet footer can't be read: {_first_line(error)}") from error
    _check_text_column(parquet.schema_arrow, path, fields)
    metadata = parquet.metadata
    sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    for group in range(start, len(sizes) if stop is None else min(stop, len(sizes))):
        first = done = sum(sizes[:group])
        average = max(1, metadata.row_group(group).total_byte_size // max(1, sizes[group]))
        rows = max(1, min(_MAX_BATCH_ROWS, config.batch_bytes // (2 * average)))
        try:
            for batch in parquet.iter_batches(batch_size=rows, row_groups=[group], use_threads=False):
                for piece in _bounded(pa.Table.from_batches([batch]), config.batch_bytes):
                    yield _documents(piece, done, path, name, source, fields, config)
                    done += len(piece)
        except (pa.ArrowException, OSError) as error:
            reason = f"rows {done} to {first + sizes[group] - 1} (row group {group}) can't be read: {_first_line(error)}"
            yield from tables([Row(position=done, error=reason)], source, name, config.batch_bytes)


def _check_text_column(schema: pa.Schema, path: str, fields: Fields) -> None:
    names = ", ".join(schema.names[:20])
    if fields.text not in schema.names:
        raise UserError(f"{path} has no column '{fields.text}' (it has: {names}); name the text column with text_column")
    type_ = schema.field(fields.text).type
    value = type_.value_type if pa.types.is_dictionary(type_) else type_
    if not (pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value) or pa.types.is_null(value)):
        raise UserError(f"column '{fields.text}' of {path} has type {type_}, not text; name the text column with text_column")
    if fields.keep_ids and fields.id not in schema.names:
        raise UserError(f"{path} has no column '{fields.id}' (it has: {names}); name the id column with id_column")


def _bounded(table: pa.Table, limit: int) -> Iterator[pa.Table]:
    """`table` in halves until each is at most `limit` bytes or one row."""
    if len(table) <= 1 or table.nbytes <= limit:
        if len(table):
            yield table
        return
    half = len(table) // 2
    yield from _bounded(table.slice(0, half), limit)
    yield from _bounded(table.slice(half), limit)


def _documents(table: pa.Table, first: int, path: str, name: str, source: str, fields: Fields, config: IngestConfig) -> pa.Table:
    count = len(table)
    text, errors = _text(table.column(fields.text), first, fields.text)
    size = pc.binary_length(text)
    errors = _first_error(errors, pc.is_null(text), first, f"has null in column '{fields.text}'")
    over = pc.fill_null(pc.greater(size, pa.scalar(config.max_document_bytes)), pa.scalar(False))
    errors = _first_error(errors, over, first, f"is over max_document_bytes ({config.max_document_bytes})")
    source_id = _identifiers(table, fields.id)
    if fields.keep_ids:
        errors = _first_error(errors, pc.is_null(source_id), first, f"has no id in column '{fields.id}'")
    failed = pc.is_valid(errors)
    starts = pc.if_else(failed, pc.utf8_slice_codeunits(text, 0, 400), None).to_pylist()
    known = [name for name in _KNOWN if name in table.column_names and _is_text(table.schema.field(name).type)]
    derived = [document_id(source, name, first + index) for index in range(count)]
    columns: dict[str, Any] = {
        "id": pc.coalesce(source_id, pa.array(derived)) if fields.keep_ids else derived,
        "source": [source] * count,
        "file": [name] * count,
        "position": range(first, first + count),
        "source_id": source_id,
        "text": pc.if_else(failed, None, text),
        "meta": _meta(table.drop_columns([column for column in {fields.text, fields.id, *known} if column in table.column_names])),
        "error": errors,
        "excerpt": [None if start is None else excerpt(start) for start in starts],
        "drop_reason": pc.if_else(pc.and_(pc.invert(failed), _is_blank(text)), "empty_text", None),
    }
    columns |= {column: _valid_text(table.column(column)) for column in known}
    arrays = []
    for field in SCHEMA:
        values = columns.get(field.name, pa.nulls(count, field.type))
        array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, type=field.type)
        arrays.append(array.cast(field.type))
    return pa.table(arrays, schema=SCHEMA)


def _text(column: Any, first: int, name: str) -> tuple[Any, Any]:
    """The column as large_string, and an error for each row that isn't valid UTF-8 (such rows become empty)."""
    combined = column.cast(pa.large_string()).combine_chunks()
    try:
        combined.validate(full=True)
    except pa.ArrowInvalid:
        values: list[str | None] = []
        errors: list[str | None] = []
        for index, value in enumerate(combined.cast(pa.large_binary()).to_pylist()):
            try:
                values.append(None if value is None else value.decode())
                errors.append(None)
            except UnicodeDecodeError as error:
                values.append(value.decode("utf-8", "replace"))
                errors.append(f"row {first + index} has invalid UTF-8 at byte {error.start} of column '{name}'")
        return pa.array(values, pa.large_string()), pa.array(errors, pa.string())
    return combined, pa.nulls(len(combined), pa.string())


def _valid_text(column: Any) -> Any:
    return _text(column, 0, "")[0].cast(pa.string())


def _first_error(errors: Any, mask: Any, first: int, message: str) -> Any:
    """`errors` with `row N message` where `mask` is true and there is none yet; `first` is the number of the first row."""
    if not pc.any(mask).as_py():
        return errors
    found = [f"row {first + index} {message}" if wrong else None for index, wrong in enumerate(mask.to_pylist())]
    return pc.coalesce(errors, pa.array(found, pa.string()))


def _is_blank(text: Any) -> Any:
    return pc.fill_null(pc.equal(pc.binary_length(pc.utf8_trim_whitespace(text)), pa.scalar(0)), pa.scalar(False))


def _is_text(type_: pa.DataType) -> bool:
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)


def _identifiers(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(len(table), pa.string())
    column = table.column(name)
    if _is_text(column.type):
        return _valid_text(column)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return column.cast(pa.string()).combine_chunks()
    return pa.nulls(len(table), pa.string())


def _meta(table: pa.Table) -> pa.Array:
    """The other columns as one JSON object per row with sorted keys; null where there are none. Python per row: values may be nested."""
    if not table.column_names:
        return pa.nulls(len(table), pa.large_string())
    option = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return pa.array([orjson.dumps(row, default=_plain, option=option).decode() for row in _rows(table)], pa.large_string())


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        names = [field.name for field in table.schema if _is_text(field.type)]
        for name in names:
            table = table.set_column(table.schema.get_field_index(name), name, _valid_text(table.column(name)))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _plain(value: Any) -> str:
    """JSON text for values that JSON lacks: bytes as base64, everything else (decimals, durations) as Python prints it."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
