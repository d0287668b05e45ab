"""Reading WARC and WET files, whole or by byte range, so that a broken record costs only itself.

The framing is our own, on purpose: fastwarc 2.0.1 ends a truncated file without an error, can't go on after a damaged member, and
gives all records of one gzip member the same position. Here every record has its place, and damage is a row.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import IO

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.http_payload import MAX_HEADER_BYTES, fill_payload, fill_response, media_type, parse_headers
from pipeline.ingest.rows import Row, excerpt
from pipeline.ingest.streams import ByteStream, Limits, hidden_member, next_member

_OPENS = (b"WARC/",)
_NEXT = b"\nWARC/"
_VERSION = re.compile(rb"WARC/\d\.\d{1,2}[ \t]{0,8}\r?\n")
_VERSION_BYTES = 32
_DATE = re.compile(r"[0-9]{4}(?:-|\Z)")
_KEPT_TYPES = frozenset({"response", "resource", "conversion"})
_HEAD_BYTES = 2048


def read_warc(file: IO[bytes], config: IngestConfig, start: int = 0, stop: int | None = None) -> Iterator[Row]:
    """One row per record whose gzip member begins in bytes [start, stop) of `file`; ranges that tile a file give each record once.

    A record that can't be read, and bytes that are no record, become one quarantine row each; reading goes on at the next record.
    """
    limits = Limits(config.max_ratio, config.max_document_bytes)
    offset: int | None = start if start == 0 else next_member(file, start, _OPENS, limits, stop)
    while offset is not None and (stop is None or offset < stop):
        stream = ByteStream(file, limits, offset)
        compressed = hidden_member(stream, file, _OPENS, limits)
        if compressed is not None:
            reason = f"the bytes from {offset} to {compressed} are no gzip or zstd member"
            yield Row(position=offset, error=reason, excerpt=excerpt(stream.peek(_HEAD_BYTES)))
            offset = compressed
            continue
        reported = yield from _records(stream, config, stop)
        if stream.damage is None:
            return
        if not reported:
            yield stream.damage_row()
        offset = next_member(file, stream.damage.offset + 1, _OPENS, limits, stop)


def _records(stream: ByteStream, config: IngestConfig, stop: int | None) -> Generator[Row, None, bool]:
    """Yields rows; returns whether the stream's damage, if any, already stands in a row (or lies beyond `stop`)."""
    while True:
        stream.skip_while(b"\r\n")
        if not stream.fill(1):
            return False
        position, inner = stream.place()
        if stop is not None and stream.codec != "plain" and inner == 0 and position >= stop:
            stream.damage = None
            return True
        row = Row(position=position, inner=inner)
        yield _read_record(stream, row, config)
        if stream.damage is not None and row.error is not None and not stream.fill(1):
            return True


def _read_record(stream: ByteStream, row: Row, config: IngestConfig) -> Row:
    """Fill `row` from the record at the stream's position and consume it; a bad one is consumed up to the next record."""
    stream.fill(_HEAD_BYTES)
    row.excerpt = excerpt(stream.peek(_HEAD_BYTES))
    size, headers = _header(stream)
    if headers is None:
        return _bad(stream, row, f"no WARC record header at byte {_at(row)}")
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 19):
        return _bad(stream, row, f"the WARC record at byte {_at(row)} has no valid Content-Length")
    _describe(row, headers)
    kind = headers.get("warc-type", "unknown").lower()[:40]
    if int(length) > config.max_document_bytes:
        return _oversized(stream, row, size, int(length), kind, config)
    if not stream.fill(size + int(length)):
        reason = stream.damage.reason if stream.damage else "the file ends"
        return _bad(stream, row, f"the WARC record at byte {_at(row)} is cut short: {reason}")
    block = stream.peek(int(length), size)
    if not _followed_by_record(stream, size + int(length)):
        return _bad(stream, row, f"the WARC record at byte {_at(row)} does not end where its Content-Length of {length} says")
    stream.skip(size + int(length))
    row.excerpt = None
    _fill(row, kind, headers, block, config)
    return row


def _header(stream: ByteStream) -> tuple[int, dict[str, str] | None]:
    """(size of the header block in bytes, its fields) without consuming it; None where there is no header."""
    if not _VERSION.match(stream.peek(_VERSION_BYTES)):
        return 0, None
    ends = [(at, len(mark)) for mark in (b"\r\n\r\n", b"\n\n") if (at := stream.find(mark, MAX_HEADER_BYTES)) >= 0]
    if not ends:
        return 0, None
    end, mark = min(ends)
    return end + mark, parse_headers(stream.peek(end))


def _followed_by_record(stream: ByteStream, size: int) -> bool:
    """Whether a record that ends `size` bytes ahead is followed by the end of the file or, after line ends, by another record."""
    stream.fill(size + 16)
    rest = stream.peek(16, size).lstrip(b"\r\n")
    return not rest or rest.startswith(b"WARC/"[: len(rest)])


def _bad(stream: ByteStream, row: Row, error: str) -> Row:
    """Consume up to the next line that is a WARC version, of any version: old files are WARC/0.17 or WARC/0.18."""
    row.error = error
    stream.skip(5)
    while stream.skip_to(_NEXT):
        stream.skip(1)
        stream.fill(_VERSION_BYTES)
        if _VERSION.match(stream.peek(_VERSION_BYTES)):
            break
    return row


def _oversized(stream: ByteStream, row: Row, size: int, length: int, kind: str, config: IngestConfig) -> Row:
    if stream.skip(size + length) < size + length:
        row.error = f"the WARC record at byte {_at(row)} is cut short: {stream.damage.reason if stream.damage else 'the file ends'}"
    elif kind not in _KEPT_TYPES:
        row.drop_reason, row.excerpt = f"warc_record:{kind}", None
    else:
        row.error = f"the WARC record at byte {_at(row)} has {length} bytes, over max_document_bytes ({config.max_document_bytes})"
    return row


def _describe(row: Row, headers: dict[str, str]) -> None:
    row.url = headers.get("warc-target-uri", "").strip("<> ") or None
    date = headers.get("warc-date", "")
    row.date = date if _DATE.match(date) else None
    row.source_id = headers.get("warc-record-id", "").strip("<> ") or None


def _fill(row: Row, kind: str, headers: dict[str, str], block: bytes, config: IngestConfig) -> None:
    if kind not in _KEPT_TYPES:
        row.drop_reason = f"warc_record:{kind}"
        return
    mime, charset = media_type(headers.get("content-type"))
    if kind == "response" and (row.url or "").lower().startswith("dns:"):
        row.drop_reason = "warc_record:dns"
    elif mime == "application/http" or (kind == "response" and block.startswith(b"HTTP/")):
        fill_response(row, block, config)
    else:
        row.mime, row.charset_declared = mime, charset
        fill_payload(row, block, config)


def _at(row: Row) -> str:
    return f"{row.position}+{row.inner}" if row.inner else str(row.position)
