"""Reading JSON lines: one document per line, plain (also by byte range), gzip or zstd; a bad line is one quarantine row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import orjson

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.rows import Row, excerpt
from pipeline.ingest.streams import ByteStream, Limits

_BLANK = b" \t\r"
_BOM = b"\xef\xbb\xbf"
_HEAD_BYTES = 2048
_KNOWN = ("url", "title", "date")
_FIRST_INEXACT = 2.0**63
"""orjson gives integers beyond 64 bits as floats, in which different ids become the same."""


@dataclass(frozen=True)
class Fields:
    """Names of the input's text and id fields; `keep_ids`: the input's id becomes the document's id."""

    text: str = "text"
    id: str = "id"
    keep_ids: bool = False


def read_jsonl(file: IO[bytes], fields: Fields, config: IngestConfig, start: int = 0, stop: int | None = None) -> Iterator[Row]:
    """One row per non-blank line that begins in bytes [start, stop) of a plain file, or per line of a compressed one (range ignored).

    `position` is the byte offset of the line in the uncompressed stream. A line longer than `config.max_document_bytes` is never
    held in memory. Where compressed data is damaged, reading ends with one quarantine row: positions after it are unknown.
    """
    for position, line, size in _lines(file, config, start, stop):
        if isinstance(line, str):
            yield Row(position=position, error=line)
        elif size > config.max_document_bytes:
            reason = f"the line at byte {position} has {size} bytes, over max_document_bytes ({config.max_document_bytes})"
            yield Row(position=position, error=reason, excerpt=excerpt(line))
        else:
            row = Row(position=position)
            error = fill_record(row, line, fields)
            if error is not None:
                yield Row(position=position, source_id=row.source_id, error=f"the line at byte {position} {error}", excerpt=excerpt(line))
            else:
                yield row


def fill_record(row: Row, line: bytes, fields: Fields) -> str | None:
    """Set the columns of `row` from one JSON object; returns what is wrong with it, as the end of a sentence, or None."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return f"is not valid JSON: {error}"
    if not isinstance(record, dict):
        return f"is {_kind(record)}, not a JSON object"
    identifier = record.pop(fields.id, None)
    if isinstance(identifier, float) and abs(identifier) >= _FIRST_INEXACT:
        try:
            identifier = _exact(line, fields.id)
        except RecursionError:
            return f"is nested too deeply to read the large number in field '{fields.id}' exactly"
    row.source_id = _identifier(identifier)
    if fields.keep_ids:
        if row.source_id is None:
            return f"has no id in field '{fields.id}'"
        row.id = row.source_id
    if fields.text not in record:
        names = ", ".join(str(name)[:40] for name in list(record)[:8])
        return f"has no field '{fields.text}' (it has: {names or 'nothing else'})"
    text = record.pop(fields.text)
    if not isinstance(text, str):
        return f"has {_kind(text)} in field '{fields.text}' instead of text"
    for name in _KNOWN:
        if isinstance(record.get(name), str):
            setattr(row, name, record.pop(name))
    row.text = text
    try:
        row.meta = orjson.dumps(record, option=orjson.OPT_SORT_KEYS).decode() if record else None
    except orjson.JSONEncodeError as error:  # orjson reads deeper nesting than it writes
        return f"has other fields that can't be kept: {error}"
    if not text or text.isspace():
        row.drop_reason = "empty_text"
    return None


def _lines(file: IO[bytes], config: IngestConfig, start: int, stop: int | None) -> Iterator[tuple[int, bytes | str, int]]:
    """(offset, line or what is wrong, bytes of the line); of a line over the limit only a head is given."""
    limit = config.max_document_bytes
    plain = start == 0 or not _is_compressed(file, config)
    if not plain and start > 0:
        return
    stream = ByteStream(file, Limits(config.max_ratio, limit), max(0, start - 1))
    if stream.codec != "plain":
        stop = None
    offset = max(0, start - 1)
    skipping = start > 0
    pending = b""
    pending_size = 0
    while chunk := stream.chunk():
        lines = chunk.split(b"\n")
        for line in lines[:-1]:
            size = pending_size + len(line)
            if pending_size:
                line, pending, pending_size = pending + line if size <= limit else pending, b"", 0
            if stop is not None and not skipping and offset >= stop:
                return
            if not skipping and (found := _content(line, offset, size)):
                yield found
            skipping = False
            offset += size + 1
        last = lines[-1]
        pending_size += len(last)
        if pending_size > limit:
            pending = pending[:_HEAD_BYTES] or last[:_HEAD_BYTES]
        else:
            pending += last
        if stop is not None and not skipping and offset >= stop:
            return
    if stream.damage is not None:
        yield offset, f"{stream.damage.reason}; the rest of the file from byte {offset} of its content is lost", 0
    elif pending_size and not skipping and (stop is None or offset < stop) and (found := _content(pending, offset, pending_size)):
        yield found


def _content(line: bytes, offset: int, size: int) -> tuple[int, bytes, int] | None:
    if offset == 0 and line.startswith(_BOM):
        line = line[len(_BOM) :]
    if not line or not line.strip(_BLANK):
        return None
    return offset, line, size


def _is_compressed(file: IO[bytes], config: IngestConfig) -> bool:
    return ByteStream(file, Limits(config.max_ratio, config.max_document_bytes)).codec != "plain"


def _identifier(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _exact(line: bytes, name: str) -> str:
    """The number in field `name` as it stands in the line, which orjson has found to be valid."""
    return str(json.loads(line.decode(), parse_int=str, parse_float=str)[name])


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names[type(value)]
