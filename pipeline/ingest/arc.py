"""Reading ARC files (versions 1 and 2), the format of crawls before WARC.

Record line, version 1: URL, IP address, archive date, media type, length. Version 2 adds result code, checksum, location, offset and file
name before the length. Source: https://archive.org/web/researcher/ArcFileFormat.php
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.http_payload import fill_payload, fill_response, media_type
from pipeline.ingest.rows import Row, excerpt
from pipeline.ingest.streams import ByteStream, Limits, hidden_member, next_member

_OPENS = (b"http://", b"https://", b"filedesc://", b"dns:", b"ftp://")
_MAX_LINE_BYTES = 16384
_HEAD_BYTES = 2048


@dataclass(frozen=True)
class _Line:
    url: str
    date: str
    mime: str
    length: int


def read_arc(file: IO[bytes], config: IngestConfig) -> Iterator[Row]:
    """One row per record of a plain, gzip (one or many members) or zstd ARC file; what can't be read becomes one quarantine row each."""
    limits = Limits(config.max_ratio, config.max_document_bytes)
    offset: int | None = 0
    while offset is not None:
        stream = ByteStream(file, limits, offset)
        compressed = hidden_member(stream, file, _OPENS, limits)
        if compressed is not None:
            reason = f"the bytes from {offset} to {compressed} are no gzip or zstd member"
            yield Row(position=offset, error=reason, excerpt=excerpt(stream.peek(_HEAD_BYTES)))
            offset = compressed
            continue
        reported = False
        while True:
            stream.skip_while(b"\r\n")
            if not stream.fill(1):
                break
            position, inner = stream.place()
            row = _read_record(stream, Row(position=position, inner=inner), config)
            yield row
            reported = stream.damage is not None and row.error is not None
        if stream.damage is None:
            return
        if not reported:
            yield stream.damage_row()
        offset = next_member(file, stream.damage.offset + 1, _OPENS, limits)


def _read_record(stream: ByteStream, row: Row, config: IngestConfig) -> Row:
    stream.fill(_HEAD_BYTES)
    row.excerpt = excerpt(stream.peek(_HEAD_BYTES))
    end = stream.find(b"\n", _MAX_LINE_BYTES)
    line = _parse_line(stream.peek(end)) if end >= 0 else None
    if line is None:
        return _bad(stream, row, f"no ARC record line at byte {_at(row)}")
    url, length = line.url, line.length
    row.url, row.date = url, _iso_date(line.date)
    size = end + 1
    if length > config.max_document_bytes:
        whole = stream.skip(size + length) == size + length
        reason = f"has {length} bytes, over max_document_bytes ({config.max_document_bytes})" if whole else "is cut short: the file ends"
        row.error = f"the ARC record at byte {_at(row)} {reason}"
        return row
    if not stream.fill(size + length):
        reason = stream.damage.reason if stream.damage else "the file ends"
        return _bad(stream, row, f"the ARC record at byte {_at(row)} is cut short: {reason}")
    block = stream.peek(length, size)
    stream.skip(size + length)
    row.excerpt = None
    if url.startswith(("filedesc:", "dns:", "metadata:", "warcinfo:")):
        row.drop_reason = f"arc_record:{url.split(':', 1)[0]}"
    elif block[:5].upper() == b"HTTP/":
        fill_response(row, block, config)
    else:
        row.mime = media_type(line.mime)[0]
        fill_payload(row, block, config)
    return row


def _bad(stream: ByteStream, row: Row, error: str) -> Row:
    """Consume up to the next line that begins like a record of a web page: ARC has no other mark to go on from."""
    row.error = error
    stream.skip(1)
    while stream.skip_to(b"\nhttp"):
        stream.skip(1)
        end = stream.find(b"\n", _MAX_LINE_BYTES)
        if end >= 0 and _parse_line(stream.peek(end)):
            break
    return row


def _parse_line(content: bytes) -> _Line | None:
    """The fields of a record line, counted from its end because addresses may hold spaces; None when it isn't one."""
    fields = content.decode("utf-8", "replace").strip().split(" ")
    for first, count in ((8, 10), (3, 5)):
        if len(fields) >= count and _is_number(fields[-1], 1, 18) and _is_number(fields[-first], 8, 14):
            return _Line(" ".join(fields[: -first - 1]), fields[-first], fields[1 - first], int(fields[-1]))
    return None


def _is_number(text: str, least: int, most: int) -> bool:
    return least <= len(text) <= most and text.isascii() and text.isdigit()


def _iso_date(stamp: str) -> str:
    """`YYYYMMDDhhmmss` (or only the day) as ISO 8601 in UTC."""
    day = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}"
    return f"{day}T{stamp[8:10]}:{stamp[10:12]}:{stamp[12:14]}Z" if len(stamp) == 14 else day


def _at(row: Row) -> str:
    return f"{row.position}+{row.inner}" if row.inner else str(row.position)
