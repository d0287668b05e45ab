"""Reading documents from Parquet files, whole or by row group, without turning text into Python objects."""

from __future__ import annotations

import base64
import errno
import itertools
from collections.abc import Callable, Container, Iterator, Mapping
from typing import IO, Any, TypeVar

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.formats import UnreadableFile
from pipeline.ingest.jsonl import Fields
from pipeline.ingest.rows import SCHEMA, Row, document_id, excerpt, tables

_T = TypeVar("_T")
_KNOWN = ("url", "title", "date")
_MAX_BATCH_ROWS = 16384
_TYPE_CHARACTERS = 100
"""What an unreadable value tells of its type: nested types can be pages long."""
_UNREADABLE = (pa.ArrowException, ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError)
"""What Arrow raises for values that Python lacks: dates out of range, unknown time zones, invalid UTF-8, half-supported types."""


def read_parquet(
    file: IO[bytes], path: str, name: str, source: str, fields: Fields, config: IngestConfig, start: int = 0, stop: int | None = None
) -> Iterator[pa.Table]:
    """Tables of `rows.SCHEMA` from row groups [start, stop); `position` is the row number in the file.

    Raises UnreadableFile for a broken footer, UserError when the text or id column can't be used, and what `file` itself raises.
    A row group that can't be read is one quarantine row; other columns go to `meta`.
    """
    watched = _WatchedFile(file)
    try:
        parquet = pq.ParquetFile(pa.PythonFile(watched, mode="r"))
    except (pa.ArrowException, OSError, ValueError) as error:
        watched.raise_failure()
        raise UnreadableFile(path, f"the Parquet footer can't be read: {_first_line(error)}") from error
    _check_columns(parquet.schema_arrow, path, fields)
    metadata = parquet.metadata
    # Text stays a dictionary until a batch is small enough: a file of 150 kB can name one long value a hundred thousand times.
    packed = [field.name for field in parquet.schema_arrow if _is_bytes(field.type)]
    parquet = pq.ParquetFile(pa.PythonFile(watched, mode="r"), metadata=metadata, read_dictionary=packed)
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
            watched.raise_failure()
            reason = f"rows {done} to {first + sizes[group] - 1} (row group {group}) can't be read: {_first_line(error)}"
            yield from tables([Row(position=done, error=reason)], source, name, config.batch_bytes)


class _WatchedFile:
    """A file that remembers what its reading raised: Arrow passes damaged content and a failed disk or network on as the same error."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._failure: Exception | None = None
        self.closed = False

    def raise_failure(self) -> None:
        """Raise the file's own error, if there was one; a position that makes no sense (EINVAL) comes from damaged content."""
        if self._failure is not None and getattr(self._failure, "errno", None) != errno.EINVAL:
            raise self._failure

    def read(self, size: int = -1) -> bytes:
        return self._watch(lambda: self._file.read(size))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._watch(lambda: self._file.seek(offset, whence))

    def tell(self) -> int:
        return self._watch(self._file.tell)

    def close(self) -> None:
        """Arrow closes what it was given; the file belongs to the caller."""
        self.closed = True

    def _watch(self, action: Callable[[], _T]) -> _T:
        try:
            return action()
        except Exception as error:
            self._failure = error
            raise


def _check_columns(schema: pa.Schema, path: str, fields: Fields) -> None:
    names = ", ".join(schema.names[:20])
    for kind, column in (("text", fields.text), ("id", fields.id)):
        if schema.names.count(column) > 1:
            raise UserError(
                f"{path} has {schema.names.count(column)} columns named '{column}'; rename them, so that one is the {kind} column"
            )
    if fields.text not in schema.names:
        raise UserError(f"{path} has no column '{fields.text}' (it has: {names}); name the text column with text_column")
    type_ = schema.field(fields.text).type
    if not (_is_text(type_) or pa.types.is_null(_value_type(type_))):
        raise UserError(f"column '{fields.text}' of {path} has type {type_}, not text; name the text column with text_column")
    if fields.keep_ids and fields.id not in schema.names:
        raise UserError(f"{path} has no column '{fields.id}' (it has: {names}); name the id column with id_column")
    if fields.id in schema.names and not _is_identifier(schema.field(fields.id).type):
        type_ = schema.field(fields.id).type
        raise UserError(f"column '{fields.id}' of {path} has type {type_}, but ids must be text or numbers; name another with id_column")


def _bounded(table: pa.Table, limit: int) -> Iterator[pa.Table]:
    """`table` in halves until each is at most `limit` bytes with its dictionaries written out, or one row."""
    if len(table) <= 1 or sum(map(_decoded_bytes, table.columns)) <= limit:
        if len(table):
            yield table
        return
    half = len(table) // 2
    yield from _bounded(table.slice(0, half), limit)
    yield from _bounded(table.slice(half), limit)


def _decoded_bytes(column: pa.ChunkedArray) -> int:
    if not (pa.types.is_dictionary(column.type) and _is_bytes(column.type.value_type)):
        return int(column.nbytes)
    return sum(pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0 for chunk in column.chunks)


def _documents(table: pa.Table, first: int, path: str, name: str, source: str, fields: Fields, config: IngestConfig) -> pa.Table:
    count = len(table)
    table = _undecorated(table, {fields.text, fields.id, *_KNOWN})
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
    known = [name for name in _KNOWN if table.column_names.count(name) == 1 and _is_text(table.schema.field(name).type)]
    derived = [document_id(source, name, first + index) for index in range(count)]
    columns: dict[str, Any] = {
        "id": pc.coalesce(source_id, pa.array(derived)) if fields.keep_ids else derived,
        "source": [source] * count,
        "file": [name] * count,
        "position": range(first, first + count),
        "source_id": source_id,
        "text": pc.if_else(failed, None, text),
        "meta": _meta(table, {fields.text, fields.id, *known}),
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


def _undecorated(table: pa.Table, names: set[str]) -> pa.Table:
    """`table` with those of its columns `names` that are dictionaries (pandas categoricals) as plain columns."""
    for index, field in enumerate(table.schema):
        if field.name in names and pa.types.is_dictionary(field.type):
            chunks = [chunk.dictionary_decode() for chunk in table.column(index).chunks]
            table = table.set_column(index, field.name, pa.chunked_array(chunks, field.type.value_type))
    return table


def _value_type(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _is_text(type_: pa.DataType) -> bool:
    value = _value_type(type_)
    return pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)


def _is_bytes(type_: pa.DataType) -> bool:
    return any(is_type(type_) for is_type in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary))


def _is_identifier(type_: pa.DataType) -> bool:
    value = _value_type(type_)
    return _is_text(value) or pa.types.is_integer(value) or pa.types.is_floating(value) or pa.types.is_null(value)


def _identifiers(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(len(table), pa.string())
    column = table.column(name)
    if _is_text(column.type):
        return _valid_text(column)
    if pa.types.is_float16(column.type):  # Arrow has no text for half floats
        column = column.cast(pa.float32())
    return column.cast(pa.string()).combine_chunks()


def _meta(table: pa.Table, taken: set[str]) -> pa.Array:
    """The columns not `taken` as one JSON object per row with sorted keys; null where there are none. Python per row: values may be nested.

    A value that Python or JSON can't hold becomes `unreadable <type>: <error>`: a side column must not cost the document.
    """
    columns: dict[str, tuple[pa.DataType, list[Any]]] = {}
    for index, field in enumerate(table.schema):
        if field.name not in taken:
            columns[_distinct(field.name, columns)] = field.type, _values(table.column(index))
    if not columns:
        return pa.nulls(len(table), pa.large_string())
    rows = [_json({name: values[index] for name, (_, values) in columns.items()}, columns) for index in range(len(table))]
    return pa.array(rows, pa.large_string())


def _distinct(name: str, used: Container[str]) -> str:
    """`name`, or `name#2` and so on for the later ones of several columns with one name."""
    names = itertools.chain([name], (f"{name}#{number}" for number in itertools.count(2)))
    return next(found for found in names if found not in used)


def _values(column: pa.ChunkedArray) -> list[Any]:
    if _is_text(column.type):
        column = _valid_text(_undecorated(pa.table({"text": column}), {"text"}).column(0))
    try:
        values: list[Any] = column.to_pylist()
    except _UNREADABLE:
        values = [_value(scalar) for scalar in column]
    return values


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except _UNREADABLE as error:
        return _unreadable(scalar.type, error)


def _json(row: dict[str, Any], columns: Mapping[str, tuple[pa.DataType, list[Any]]]) -> str:
    try:
        return _dumps(row)
    except orjson.JSONEncodeError:
        return _dumps({name: _encodable(value, columns[name][0]) for name, value in row.items()})


def _encodable(value: Any, type_: pa.DataType) -> Any:
    try:
        _dumps(value)
    except orjson.JSONEncodeError as error:
        return _unreadable(type_, error)
    return value


def _dumps(value: Any) -> str:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()


def _unreadable(type_: pa.DataType, error: Exception) -> str:
    return f"unreadable {str(type_)[:_TYPE_CHARACTERS]}: {type(error).__name__}"


def _plain(value: Any) -> str:
    """JSON text for values that JSON lacks: bytes as base64, everything else (decimals, durations) as Python prints it."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
