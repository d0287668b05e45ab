"""Reading WARC and WET files, whole or by byte range, so that a broken record costs only itself.

The framing is our own, on purpose: fastwarc 2.0.1 ends a truncated file without an error, can't go on after a damaged member, and
gives all records of one gzip member the same position. Here every record has its place, and damage is a row.
Format: WARC 1.0 and 1.1 (ISO 28500:2009 and 2017); .warc.zst as proposed by the IIPC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.http_payload import MAX_HEADER_BYTES, fill_payload, fill_response, media_type, parse_headers
from pipeline.ingest.records import HEAD_BYTES, at, end_of, plain_edges, read_records
from pipeline.ingest.rows import Row, excerpt
from pipeline.ingest.streams import ByteStream, Limits

_OPENS = (b"WARC/",)
_NEXT = b"\nWARC/"
_VERSION = re.compile(rb"WARC/\d\.\d{1,2}[ \t]{0,8}\r?\n")
_HEADER = re.compile(rb"WARC/\d\.\d{1,2}\r?\nWARC-")
_VERSION_BYTES = 32
_USUAL_HEADER_BYTES = 4096
_AFTER_BYTES = 24
_DATE = re.compile(r"[0-9]{4}(?:-|\Z)")
_KEPT_TYPES = frozenset({"response", "resource", "conversion"})
_OTHER_TYPES = frozenset({"warcinfo", "request", "metadata", "revisit", "continuation"})


def read_warc(file: IO[bytes], config: IngestConfig, start: int = 0, stop: int | None = None) -> Iterator[Row]:
    """One row per record of bytes [start, stop) of `file`: `records.read_records` says what a range gives, and where a plain file is cut.

    A record that can't be read, and bytes that are no record, become one quarantine row each; reading goes on at the next record.
    """
    limits = Limits(config.max_ratio, config.max_document_bytes)
    return read_records(file, _OPENS, lambda stream, row: _read_record(stream, row, config), limits, start, stop)


def warc_edges(file: IO[bytes], wanted: list[int]) -> list[int] | None:
    """Where a plain WARC file may be cut, as `records.plain_edges` says."""
    return plain_edges(file, _pass_record, wanted)


@dataclass(frozen=True)
class _Frame:
    """A record's outline: bytes of its header block and of the block after it, and its fields; or what is wrong with it.

    An outline with both a size and an error is that of a record of which only the length is wrong.
    """

    size: int = 0
    length: int = 0
    headers: dict[str, str] | None = None
    error: str = ""


def _read_record(stream: ByteStream, row: Row, config: IngestConfig) -> None:
    """Fill `row` from the record at the stream's position and consume it; a bad one is consumed up to the next record."""
    stream.fill(HEAD_BYTES)
    head = stream.peek(HEAD_BYTES)
    frame = _frame(stream, config.max_document_bytes)
    if frame.headers is not None:
        _describe(row, frame.headers)
    kind = (frame.headers or {}).get("warc-type", "").strip().lower()
    whole = frame.size + frame.length
    measured = _measured_again(stream, frame, config.max_document_bytes) if frame.error and frame.size else None
    if measured is not None:
        row.meta = f'{{"wrong_content_length": {frame.length}}}'
        _skip_to_record(stream)
        _fill(row, kind, frame.headers or {}, measured, config)
    elif frame.error:
        row.error = _sentence(row, frame.error)
        _skip_to_record(stream)
    elif frame.length <= config.max_document_bytes:
        stream.fill(whole)
        block = stream.peek(frame.length, frame.size)
        stream.skip(whole)
        _fill(row, kind, frame.headers or {}, block, config)
    elif stream.skip(whole) < whole:
        row.error = _sentence(row, f"is cut short: {end_of(stream)}")
    elif not _ends(stream.ahead(0, _AFTER_BYTES)):
        row.error = _sentence(row, f"does not end where its Content-Length of {frame.length} says")
        _skip_to_record(stream, 0)
    elif kind not in _KEPT_TYPES:
        _fill(row, kind, frame.headers or {}, b"", config)
    else:
        row.error = _sentence(row, f"has {frame.length} bytes, over max_document_bytes ({config.max_document_bytes})")
    if row.error is not None and row.excerpt is None:
        row.excerpt = excerpt(head)


def _pass_record(stream: ByteStream) -> None:
    """Consume what `_read_record` would consume of a plain file."""
    frame = _frame(stream, 0)
    if frame.error:
        _skip_to_record(stream)
    else:
        stream.skip(frame.size + frame.length)


def _frame(stream: ByteStream, limit: int) -> _Frame:
    """The outline of the record at the stream's position, nothing consumed; in a packed file that of over `limit` bytes isn't checked."""
    stream.fill(_VERSION_BYTES)
    if not _VERSION.match(stream.peek(_VERSION_BYTES)):
        return _Frame(error="no WARC record header")
    size = _header_size(stream)
    if not size:
        return _Frame(error=f"has no end of its header block within {MAX_HEADER_BYTES} bytes or before the next record")
    headers = parse_headers(stream.peek(size))
    lengths = {value.strip() for value in headers.get("content-length", "").split(",")}
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit() and len(length) < 19):
        return _Frame(headers=headers, error="has no valid Content-Length")
    frame = _Frame(size, int(length), headers)
    if frame.length > limit and stream.codec != "plain":
        return frame
    after = stream.ahead(frame.size + frame.length, _AFTER_BYTES)
    if after is None:
        return _Frame(size, int(length), headers, f"is cut short: {end_of(stream)}")
    if not _ends(after):
        return _Frame(size, int(length), headers, f"does not end where its Content-Length of {length} says")
    return frame


def _measured_again(stream: ByteStream, frame: _Frame, limit: int) -> bytes | None:
    """The block of a record whose Content-Length is wrong: up to the next record, or the end of an intact member or file.

    None when that is over `limit` bytes away, when the input is damaged, and when the record was cut off, so that how much is missing can't
    be known: a plain file ends before the length does, no empty line ends the block, or another record begins in the middle of a line.
    """
    start, end = frame.size, -1
    while (found := stream.find(_NEXT, frame.size + limit, start)) >= 0:
        stream.fill(found + 1 + _VERSION_BYTES)
        if _VERSION.match(stream.peek(_VERSION_BYTES, found + 1)):
            end = found
            break
        start = found + 1
    if end < 0:
        cut_off = stream.codec == "plain" and frame.error.startswith("is cut short")
        if stream.fill(frame.size + limit + 1) or stream.damage is not None or cut_off:
            return None
        end = frame.size + limit
    block = stream.peek(end + 1 - frame.size, frame.size)
    closed = block.rstrip(b"\0").endswith((b"\n\r\n", b"\n\n"))
    return block.rstrip(b"\r\n\0") if closed and not _HEADER.search(block) else None


def _header_size(stream: ByteStream) -> int:
    """Bytes of the header block with the empty line after it; 0 when it doesn't end within MAX_HEADER_BYTES or before another record."""
    for within in (_USUAL_HEADER_BYTES, MAX_HEADER_BYTES):
        mixed = stream.find(b"\n\r\n", within)
        bare = stream.find(b"\n\n", mixed if mixed >= 0 else within)
        size = bare + 2 if bare >= 0 else mixed + 3 if mixed >= 0 else 0
        if stream.find(_NEXT, size or within) >= 0:
            return 0
        if size:
            return size
    return 0


def _ends(after: bytes | None) -> bool:
    """Whether a record ends before these bytes: nothing or a record follows, or the two line ends that close a record (then rubbish)."""
    rest = (after or b"").lstrip(b"\r\n\0")
    return not rest or rest.startswith(_OPENS[0][: len(rest)]) or (after or b"").startswith(b"\r\n\r\n")


def _skip_to_record(stream: ByteStream, passed: int = len(_OPENS[0])) -> None:
    """Consume up to the next line that is a WARC version, of any version: old files are WARC/0.17 or WARC/0.18."""
    stream.skip(passed)
    while stream.skip_to(_NEXT):
        stream.skip(1)
        stream.fill(_VERSION_BYTES)
        if _VERSION.match(stream.peek(_VERSION_BYTES)):
            break


def _describe(row: Row, headers: dict[str, str]) -> None:
    row.url = headers.get("warc-target-uri", "").strip("<> ") or None
    date = headers.get("warc-date", "")
    row.date = date if _DATE.match(date) else None
    row.source_id = headers.get("warc-record-id", "").strip("<> ") or None


def _fill(row: Row, kind: str, headers: dict[str, str], block: bytes, config: IngestConfig) -> None:
    content_type = headers.get("content-type", "")
    mime, charset = media_type(content_type)
    if kind not in _KEPT_TYPES:
        row.drop_reason = f"warc_record:{kind if kind in _OTHER_TYPES else 'other'}"
    elif "warc-segment-number" in headers:
        row.drop_reason = "warc_record:segment"  # the rest of the document lies in other records, most likely in other files
    elif kind == "response" and (row.url or "").lower().startswith("dns:"):
        row.drop_reason = "warc_record:dns"
    elif not block:
        row.drop_reason = "empty_text"
    elif mime == "application/http" and not block.startswith(b"HTTP/") and "msgtype=request" in content_type.lower():
        row.drop_reason = "warc_record:request"
    elif mime == "application/http" or (kind == "response" and block.startswith(b"HTTP/")):
        fill_response(row, block, config)
    else:
        row.mime, row.charset_declared = mime, charset
        fill_payload(row, block, config)


def _sentence(row: Row, problem: str) -> str:
    if problem.startswith("no "):
        return f"{problem} at byte {at(row)}"
    return f"the WARC record at byte {at(row)} {problem}"
