"""Reading ARC files (versions 1 and 2), the format of crawls before WARC, whole or by byte range.

Record line, version 1: URL, IP address, archive date, media type, length. Version 2 adds result code, checksum, location, offset and file
name before the length. Source: https://archive.org/web/researcher/ArcFileFormat.php
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.http_payload import fill_payload, fill_response, media_type
from pipeline.ingest.records import HEAD_BYTES, at, end_of, plain_edges, read_records
from pipeline.ingest.rows import Row, excerpt
from pipeline.ingest.streams import ByteStream, Limits

_OPENS = (b"http://", b"https://", b"filedesc://", b"dns:", b"ftp://")
_MAX_LINE_BYTES = 16384
_LONGEST_OPEN = max(map(len, _OPENS))


@dataclass(frozen=True)
class _Line:
    """The record line: `size` counts its bytes with the line end, `length` those of the block after it."""

    url: str
    date: str
    mime: str
    length: int
    size: int


def read_arc(file: IO[bytes], config: IngestConfig, start: int = 0, stop: int | None = None) -> Iterator[Row]:
    """One row per record of bytes [start, stop) of a plain, gzip (one or many members) or zstd ARC file; see `records.read_records`.

    What can't be read becomes one quarantine row each.
    """
    limits = Limits(config.max_ratio, config.max_document_bytes)
    return read_records(file, _OPENS, lambda stream, row: _read_record(stream, row, config), limits, start, stop)


def arc_edges(file: IO[bytes], wanted: list[int]) -> list[int] | None:
    """Where a plain ARC file may be cut, as `records.plain_edges` says."""
    return plain_edges(file, _pass_record, wanted)


def _read_record(stream: ByteStream, row: Row, config: IngestConfig) -> None:
    stream.fill(HEAD_BYTES)
    head = stream.peek(HEAD_BYTES)
    line = _line(stream)
    problem = _problem(stream, line, config.max_document_bytes)
    if line is not None:
        row.url, row.date = line.url, _iso_date(line.date)
    if line is None or problem:
        row.error = f"the ARC record at byte {at(row)} {problem}" if line else f"no ARC record line at byte {at(row)}"
        _skip_to_record(stream)
    elif line.length > config.max_document_bytes:
        whole = stream.skip(line.size + line.length) == line.size + line.length
        reason = f"has {line.length} bytes, over max_document_bytes ({config.max_document_bytes})"
        row.error = f"the ARC record at byte {at(row)} {reason if whole else f'is cut short: {end_of(stream)}'}"
    else:
        stream.fill(line.size + line.length)
        block = stream.peek(line.length, line.size)
        stream.skip(line.size + line.length)
        _fill(row, line, block, config)
    if row.error is not None and row.excerpt is None:
        row.excerpt = excerpt(head)


def _pass_record(stream: ByteStream) -> None:
    """Consume what `_read_record` would consume of a plain file."""
    line = _line(stream)
    if line is None or _problem(stream, line, 0):
        _skip_to_record(stream)
    else:
        stream.skip(line.size + line.length)


def _problem(stream: ByteStream, line: _Line | None, limit: int) -> str:
    """What is wrong with the record's length; of a record over `limit` bytes this is only known in a plain file."""
    if line is None or (line.length > limit and stream.codec != "plain"):
        return ""
    after = stream.ahead(line.size + line.length, _LONGEST_OPEN)
    if after is None:
        return f"is cut short: {end_of(stream)}"
    if after and not after.startswith((b"\n", b"\r\n", b"\0", *_OPENS)):
        return f"does not end where its length of {line.length} says"
    return ""


def _fill(row: Row, line: _Line, block: bytes, config: IngestConfig) -> None:
    if line.url.startswith(("filedesc:", "dns:", "metadata:", "warcinfo:")):
        row.drop_reason = f"arc_record:{line.url.split(':', 1)[0]}"
    elif not block:
        row.drop_reason = "empty_text"
    elif block[:5].upper() == b"HTTP/":
        fill_response(row, block, config)
    else:
        row.mime = media_type(line.mime)[0]
        fill_payload(row, block, config)


def _skip_to_record(stream: ByteStream) -> None:
    """Consume up to the next line that begins like a record of a web page: ARC has no other mark to go on from."""
    stream.skip(1)
    while stream.skip_to(b"\nhttp"):
        stream.skip(1)
        if _line(stream):
            break


def _line(stream: ByteStream) -> _Line | None:
    """The record line at the stream's position; None when there is none."""
    end = stream.find(b"\n", _MAX_LINE_BYTES)
    return _parse_line(stream.peek(end + 1)) if end >= 0 else None


def _parse_line(content: bytes) -> _Line | None:
    """The fields of a record line, counted from its end because addresses may hold spaces; None when it isn't one."""
    fields = content.decode("utf-8", "replace").strip().split(" ")
    for first, count in ((8, 10), (3, 5)):
        if len(fields) >= count and _is_number(fields[-1], 1, 18) and _is_number(fields[-first], 8, 14):
            return _Line(" ".join(fields[: -first - 1]), fields[-first], fields[1 - first], int(fields[-1]), len(content))
    return None


def _is_number(text: str, least: int, most: int) -> bool:
    return least <= len(text) <= most and text.isascii() and text.isdigit()


def _iso_date(stamp: str) -> str:
    """`YYYYMMDDhhmmss` (or only the day) as ISO 8601 in UTC."""
    day = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}"
    return f"{day}T{stamp[8:10]}:{stamp[10:12]}:{stamp[12:14]}Z" if len(stamp) == 14 else day
