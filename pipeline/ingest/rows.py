"""The rows that readers make: one per record seen, gathered into Arrow tables that are bounded in bytes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

import pyarrow as pa
import xxhash

from pipeline.refine.pii import mask
from pipeline.schema import arrow_schema

_EXCERPT_CHARACTERS = 200
_ROW_BYTES = 200
"""What a row costs beside its text: ids, address, offsets. Keeps a batch of empty records bounded too."""
_MAX_ROWS = 50_000

_DIGIT = re.compile(r"\d")
_ADDRESS = re.compile(r"[^\s@<>\"'(),;:]{1,64}@")


@dataclasses.dataclass(slots=True)
class Row:
    """One record of an input file, as a reader saw it.

    position: see the `position` column. inner: byte offset inside a compressed member that holds several records, else 0.
    member: name inside the archive, or empty. id: set only where the input's own ids are kept.
    """

    position: int
    inner: int = 0
    member: str = ""
    id: str | None = None
    source_id: str | None = None
    url: str | None = None
    date: str | None = None
    title: str | None = None
    robots_directives: str | None = None
    http_status: int | None = None
    mime: str | None = None
    raw: bytes | None = None
    raw_kind: str | None = None
    charset_declared: str | None = None
    text: str | None = None
    meta: str | None = None
    drop_reason: str | None = None
    error: str | None = None
    excerpt: str | None = None


_COPIED = [
    *("source_id", "url", "date", "title", "robots_directives", "http_status", "mime", "raw", "raw_kind", "charset_declared", "text"),
    *("meta", "drop_reason", "error", "excerpt"),
]
SCHEMA = arrow_schema(["id", "source", "file", "position", *_COPIED])
"""What every reader yields: these columns, in document-table order."""


def document_id(source: str, file: str, position: int, inner: int = 0) -> str:
    """xxh3-128 (hex) of source, file (`archive!member` inside archives) and position, separated by NUL.

    `inner` is appended as `+inner` when it isn't 0: several records of one gzip member share their position in the file.
    """
    place = f"{position}+{inner}" if inner else str(position)
    return xxhash.xxh3_128_hexdigest(f"{source}\0{file}\0{place}".encode(errors="surrogatepass"))


def excerpt(content: bytes | str) -> str:
    """The first 200 characters, personal data replaced, every other digit as `#` and the local part of other addresses as `***`."""
    start = content[: 8 * _EXCERPT_CHARACTERS]
    text = start.decode("utf-8", "replace") if isinstance(start, bytes) else start.encode("utf-8", "replace").decode()
    return _DIGIT.sub("#", _ADDRESS.sub("***@", mask(text[: 2 * _EXCERPT_CHARACTERS])))[:_EXCERPT_CHARACTERS]


def clean(text: str | None) -> str | None:
    """`text` without lone surrogates, which Arrow strings can't hold (names in hostile archives have them)."""
    return None if text is None else text.encode("utf-8", "replace").decode()


def tables(rows: Iterable[Row], source: str, name: str, batch_bytes: int) -> Iterator[pa.Table]:
    """Tables of `SCHEMA` with the rows in order, each of at most about `batch_bytes` of raw bytes and text."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        cost = _ROW_BYTES + len(row.raw or b"") + len(row.meta or "")
        if row.text is not None:
            cost += len(row.text) if row.text.isascii() else 3 * len(row.text)
        if batch and (size + cost > batch_bytes or len(batch) >= _MAX_ROWS):
            yield _table(batch, source, name)
            batch, size = [], 0
        batch.append(row)
        size += cost
    if batch:
        yield _table(batch, source, name)


def _table(batch: list[Row], source: str, name: str) -> pa.Table:
    files = [f"{name}!{row.member}" if row.member else name for row in batch]
    columns: dict[str, list[object]] = {column: [getattr(row, column) for row in batch] for column in _COPIED}
    columns["file"] = list(files)
    columns["position"] = [row.position for row in batch]
    columns["source"] = [source] * len(batch)
    columns["id"] = [
        row.id if row.id is not None else document_id(source, file, row.position, row.inner) for row, file in zip(batch, files, strict=True)
    ]
    return pa.table([pa.array(columns[field.name], type=field.type) for field in SCHEMA], schema=SCHEMA)
