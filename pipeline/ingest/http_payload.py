"""Taking an archived HTTP response apart: status, media type, charset, and the body with its transfer and content encodings undone."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass

import brotli
import zstandard

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.formats import GZIP_MAGIC, ZSTD_MAGIC, looks_like_html
from pipeline.ingest.page_marks import header_directives
from pipeline.ingest.rows import Row, excerpt

MAX_HEADER_BYTES = 65536
_MAX_INTERIM = 8
_MAX_ENCODINGS = 4
_STATUS = re.compile(rb"HTTP/\d[.\d]{0,4}\s{1,4}(\d{3})(?!\d)", re.IGNORECASE)
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_CHARSET = re.compile(r"charset\s{0,8}=\s{0,8}[\"']?\s{0,8}([A-Za-z0-9_.:\-]{1,40})", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[ \t]{0,8}([0-9A-Fa-f]{1,15})[ \t]{0,8}(?:;[^\r\n]{0,1024})?\r?\n")
_GZIP_WINDOW = 31
_PIECE_BYTES = 1 << 20
_FEED_BYTES = 1 << 13
"""Compressed bytes per call: zlib copies what it has not consumed, so a body of many small members would cost its square."""


class BadPayload(Exception):
    """An HTTP body that can't be undone; the message completes "the HTTP body ..."."""


@dataclass(frozen=True)
class Response:
    """An HTTP response after parsing; `body` still carries its encodings, and is None when the header block is over MAX_HEADER_BYTES."""

    status: int | None
    headers: dict[str, str]
    body: bytes | None


def parse_response(block: bytes) -> Response | None:
    """Status, headers (lower-case names; repeated ones joined by comma) and encoded body; None when it isn't HTTP.

    Interim responses (100 Continue, 103 Early Hints) before the real one are passed over.
    """
    start = 0
    for _ in range(_MAX_INTERIM):
        status = _STATUS.match(block, start)
        end = _END_OF_HEADERS.search(block, start, start + MAX_HEADER_BYTES)
        if status is None or end is None or not status[1].startswith(b"1") or not _STATUS.match(block, end.end()):
            break
        start = end.end()
    if status is None:
        return None
    if end is not None:
        return Response(int(status[1]), parse_headers(block[start : end.start()]), block[end.end() :])
    body = b"" if len(block) - start <= MAX_HEADER_BYTES else None
    return Response(int(status[1]), parse_headers(block[start : start + MAX_HEADER_BYTES]), body)


def parse_headers(head: bytes) -> dict[str, str]:
    """Header lines after the first one as lower-case name -> value, UTF-8 where valid, else Latin-1; continued lines are joined."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        text = head.decode("latin-1")
    headers: dict[str, str] = {}
    name = ""
    for line in text.replace("\r\n", "\n").split("\n")[1:]:
        if line[:1] in (" ", "\t") and name:
            headers[name] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower() if colon else ""
        if name:
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    return headers


def media_type(content_type: str | None) -> tuple[str | None, str | None]:
    """(media type in lower case without parameters, charset label as sent) of a Content-Type value; None for what is absent."""
    if not content_type:
        return None, None
    mime = re.split(r"[;,\s]", content_type.strip(), maxsplit=1)[0].lower()[:100]
    charset = _CHARSET.search(content_type[:1000])
    return mime if "/" in mime else None, charset[1] if charset else None


def decoded_body(response: Response, config: IngestConfig) -> bytes:
    """The body without chunks and compression, at most `config.max_document_bytes`.

    Crawlers often store the body decoded and leave the headers as they were, so a body that plainly isn't chunked or compressed
    is returned as it is. Raises BadPayload for a broken or oversized one.
    """
    body = response.body
    if body is None:
        raise BadPayload(f"can't be found: the header block is over {MAX_HEADER_BYTES} bytes")
    if "chunked" in response.headers.get("transfer-encoding", "").lower():
        body = _unchunk(body)
    encodings = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",") if name.strip()]
    if len(encodings) > _MAX_ENCODINGS:
        raise BadPayload(f"has {len(encodings)} content encodings, over {_MAX_ENCODINGS}")
    for name in reversed(encodings):
        body = _undo(name, body, config)
    if len(body) > config.max_document_bytes:
        raise BadPayload(f"has {len(body)} bytes, over max_document_bytes ({config.max_document_bytes})")
    return body


def fill_response(row: Row, block: bytes, config: IngestConfig) -> None:
    """Set what `row` learns from an archived HTTP response: status, robots directives, type, charset, payload, or why it isn't kept."""
    response = parse_response(block)
    if response is None:
        row.error, row.excerpt = f"the record of {len(block)} bytes is not an HTTP response", excerpt(block)
        return
    row.http_status = response.status
    row.robots_directives = header_directives(response.headers)
    mime, row.charset_declared = media_type(response.headers.get("content-type"))
    row.mime = mime
    if response.status is not None and not config.http_status_min <= response.status <= config.http_status_max:
        row.drop_reason = f"http_status:{response.status}"
        return
    if mime is not None and mime not in config.mime_types:
        row.drop_reason = f"mime:{mime}"
        return
    try:
        body = decoded_body(response, config)
    except BadPayload as error:
        row.error, row.excerpt = f"the HTTP body {error}", excerpt(block)
        return
    fill_payload(row, body, config)


def fill_payload(row: Row, body: bytes, config: IngestConfig) -> None:
    """Set the payload of `row`, whose `mime` is the declared media type or None: then it is HTML if it begins like a page."""
    if row.mime is None and looks_like_html(body):
        row.mime = "text/html"
    if row.mime is None:
        row.drop_reason = "mime:unknown"
    elif row.mime not in config.mime_types:
        row.drop_reason = f"mime:{row.mime}"
    elif not body.strip():
        row.drop_reason = "empty_text"
    else:
        row.raw = body
        row.raw_kind = "html" if "html" in row.mime or "xml" in row.mime else "text"


def _unchunk(body: bytes) -> bytes:
    pieces: list[bytes] = []
    at = 0
    while True:
        size_line = _CHUNK_SIZE.match(body, at)
        if size_line is None:
            if at == 0:
                return body
            raise BadPayload(f"has no chunk size at byte {at}")
        size = int(size_line[1], 16)
        if size == 0:
            return b"".join(pieces)
        at = size_line.end()
        if at + size > len(body):
            raise BadPayload(f"ends inside the chunk at byte {at}")
        pieces.append(body[at : at + size])
        at += size
        at += 2 if body.startswith(b"\r\n", at) else 1 if body.startswith(b"\n", at) else 0
        if at >= len(body):
            raise BadPayload("ends without its last chunk")


def _undo(name: str, body: bytes, config: IngestConfig) -> bytes:
    if not body or name in ("identity", "none", "utf-8", ""):  # an empty body is no damaged one: it is dropped as empty
        return body
    if name in ("gzip", "x-gzip"):
        return _inflate(body, _GZIP_WINDOW, config) if body.startswith(GZIP_MAGIC) else body
    if name == "deflate":
        if len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0:
            return _inflate(body, 15, config)
        return body if body[:1] in (b"<", b"\n", b"\r", b" ", b"\xef") else _inflate(body, -15, config)
    if name == "zstd":
        return _unzstd(body, config) if body.startswith(ZSTD_MAGIC) else body
    if name == "br":
        return _unbrotli(body, config)
    raise BadPayload(f"has the content encoding '{name[:20]}', which is not one of gzip, deflate, br, zstd")


def _inflate(body: bytes, window: int, config: IngestConfig) -> bytes:
    """A zlib, deflate or gzip body; gzip may have several members (RFC 1952 section 2.2), and what follows the last one is ignored."""
    decoder = zlib.decompressobj(wbits=window)
    pieces: list[bytes] = []
    size = at = 0
    try:
        while not decoder.eof:
            fed = body[at : at + _FEED_BYTES]
            piece = decoder.decompress(fed, _PIECE_BYTES)
            at += len(fed) - len(decoder.unused_data if decoder.eof else decoder.unconsumed_tail)
            size += len(piece)
            _check_size(size, config)
            pieces.append(piece)
            if decoder.eof and window == _GZIP_WINDOW and body.startswith(GZIP_MAGIC, at):
                decoder = zlib.decompressobj(wbits=window)
            elif not piece and not fed:
                break
    except zlib.error as error:
        raise BadPayload(f"can't be decompressed after {size} bytes: {error}") from error
    if not decoder.eof:
        raise BadPayload(f"ends inside its compressed data, after {size} decompressed bytes")
    return b"".join(pieces)


def _unzstd(body: bytes, config: IngestConfig) -> bytes:
    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body), read_across_frames=True) as reader:
            return _read_limited(reader, config)
    except zstandard.ZstdError as error:
        raise BadPayload(f"can't be decompressed: {error}") from error


def _unbrotli(encoded: bytes, config: IngestConfig) -> bytes:
    """Brotli has no magic bytes: a body that doesn't decompress but begins like a page was stored decoded."""
    decoder = brotli.Decompressor()
    body = encoded
    pieces: list[bytes] = []
    size = 0
    try:
        while not decoder.is_finished():
            piece = decoder.process(body, output_buffer_limit=_PIECE_BYTES)
            body = b""
            size += len(piece)
            _check_size(size, config)
            pieces.append(piece)
            if not piece and decoder.can_accept_more_data():
                raise BadPayload(f"ends inside its compressed data, after {size} decompressed bytes")
    except brotli.error as error:
        if looks_like_html(encoded):
            return encoded
        raise BadPayload(f"can't be decompressed after {size} bytes: {error}") from error
    return b"".join(pieces)


def _read_limited(reader: object, config: IngestConfig) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        piece = reader.read(_PIECE_BYTES)  # type: ignore[attr-defined]
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        _check_size(size, config)
        pieces.append(piece)


def _check_size(size: int, config: IngestConfig) -> None:
    if size > config.max_document_bytes:
        raise BadPayload(f"decompresses to more than max_document_bytes ({config.max_document_bytes})")
