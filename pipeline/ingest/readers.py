"""Reading one part of the input, whatever its format, as tables of raw documents in which every record seen is one row."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

import pyarrow as pa
import xxhash

from pipeline.files import open_file
from pipeline.ingest.arc import read_arc
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.formats import detect_format, uncompressed_head
from pipeline.ingest.http_payload import fill_payload
from pipeline.ingest.jsonl import Fields, read_jsonl
from pipeline.ingest.parquet import read_parquet
from pipeline.ingest.rows import Row, clean, excerpt, tables
from pipeline.ingest.streams import ByteStream, Limits
from pipeline.ingest.tar import Member, read_members
from pipeline.ingest.warc import read_warc
from pipeline.splits import Part

_HEAD_BYTES = 65536
_ROW_FORMATS = ("warc", "arc", "jsonl", "tar", "html", "text")
_MIME_BY_SUFFIX = {
    ".css": "text/css",
    ".csv": "text/csv",
    ".doc": "application/msword",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".md": "text/markdown",
    ".mp4": "video/mp4",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".py": "text/x-python",
    ".svg": "image/svg+xml",
    ".tsv": "text/tab-separated-values",
    ".xml": "application/xml",
    ".zip": "application/zip",
}
"""Media types of archive members that aren't documents; a table of our own because Python's differs between machines."""


def read_part(part: Part, config: IngestConfig) -> Iterator[pa.Table]:
    """Tables of `rows.SCHEMA`, each about `config.batch_bytes` at most, with one row per record of the part, in file order.

    Rows the reader decides carry `drop_reason` or `error` (with `excerpt`). Raises UnreadableFile when the content isn't what its
    format says as a whole, and UserError when a Parquet text or id column can't be used. A file that can't be opened or read (OSError,
    or what a remote filesystem raises) is no damaged content: that is passed on, so that the run stops and can be repeated.
    """
    fields = Fields(part.text_column, part.id_column, part.keep_ids)
    with open_file(part.path) as file:
        if part.format == "parquet":
            yield from read_parquet(file, part.path, part.name, part.source, fields, config, part.start, part.stop)
        elif part.format in _ROW_FORMATS:
            yield from tables(_rows(file, part, fields, config), part.source, part.name, config.batch_bytes)
        else:
            raise ValueError(f"{part.name}: '{part.format}' is not a format that ingest reads")


def _rows(file: IO[bytes], part: Part, fields: Fields, config: IngestConfig) -> Iterator[Row]:
    if part.format == "warc":
        return read_warc(file, config, part.start, part.stop)
    if part.format == "jsonl":
        return read_jsonl(file, fields, config, part.start, part.stop)
    if part.format == "arc":
        return read_arc(file, config, part.start, part.stop)
    if part.format == "tar":
        return _archive_rows(file, fields, config)
    return iter([_page(file, part.format, config)])


def _page(file: IO[bytes], format_: str, config: IngestConfig) -> Row:
    """The row of a file that is one HTML page or one plain text."""
    row = Row(position=0)
    stream = ByteStream(file, Limits(config.max_ratio, config.max_document_bytes))
    stream.fill(config.max_document_bytes + 1)
    content = stream.peek(config.max_document_bytes + 1)
    if stream.damage is not None:
        row.error, row.excerpt = stream.damage.reason, excerpt(content)
    elif len(content) > config.max_document_bytes:
        row.error = f"the file is over max_document_bytes ({config.max_document_bytes})"
        row.excerpt = excerpt(content)
    else:
        row.mime = "text/html" if format_ == "html" else "text/plain"
        fill_payload(row, content, config)
    return row


def _archive_rows(file: IO[bytes], fields: Fields, config: IngestConfig) -> Iterator[Row]:
    """Rows of the members of a tar archive. A member that is a crawl file gives its own rows, with positions inside that member.

    An archive may hold one name twice; later ones get `#index`, so that ids stay distinct.
    """
    seen: set[bytes] = set()  # digests: an archive may have millions of long names
    for member in read_members(file, config):
        name = clean(member.name) or f"member {member.index}"
        name = f"{name}#{member.index}" if xxhash.xxh3_128_digest(name.encode()) in seen else name
        seen.add(xxhash.xxh3_128_digest(name.encode()))
        row = Row(position=member.index, member=name)
        if member.error is not None:
            row.error, row.member = member.error, clean(member.name) or ""
            yield row
        elif member.kind != "file":
            row.drop_reason = f"tar_member:{member.kind}"
            yield row
        elif member.content is None:
            row.error = f"the member has {member.size} bytes, over max_archive_bytes ({config.max_archive_bytes})"
            yield row
        else:
            yield from _member_rows(member, member.content, row, fields, config)


def _member_rows(member: Member, content: bytes, row: Row, fields: Fields, config: IngestConfig) -> Iterator[Row]:
    head = content[:_HEAD_BYTES]
    format_ = detect_format(member.name, head)
    suffix = os.path.splitext(member.name.lower().removesuffix(".gz"))[1]
    inner = io.BytesIO(content)
    if format_ == "jsonl" and suffix == ".json":
        format_ = None
    if format_ in ("warc", "arc", "jsonl"):
        found = {"warc": read_warc, "arc": read_arc}[format_](inner, config) if format_ != "jsonl" else read_jsonl(inner, fields, config)
        for record in found:
            yield replace(record, member=row.member)
    elif format_ in ("html", "text"):
        page = _page(inner, format_, config)
        yield replace(page, position=row.position, member=row.member)
    elif format_ in ("tar", "parquet"):
        row.error = f"a {format_} file inside an archive is not read; unpack the archive first"
        yield row
    elif suffix in _MIME_BY_SUFFIX:
        row.drop_reason, row.mime = f"mime:{_MIME_BY_SUFFIX[suffix]}", _MIME_BY_SUFFIX[suffix]
        yield row
    else:
        kind = "application/octet-stream" if b"\0" in uncompressed_head(head) or not content else "unknown"
        row.drop_reason = f"mime:{kind}"
        yield row
