"""The stage that turns the raw bytes of archived pages and text files into text, or says that it can't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from pipeline.ingest.charsets import MAX_CONTROLS, MAX_REPLACED, Decoded, decode_bytes
from pipeline.ingest.rows import excerpt
from pipeline.schema import BY_NAME, with_columns

_FOUND = ("charset", "charset_source", "replacement_ratio")


@dataclass(frozen=True)
class Decode:
    """`raw` becomes `text` (of HTML: the markup, decoded), with charset, how it was chosen, and the share of replaced characters.

    Rows without `raw` (JSONL, Parquet) keep their text. Bytes that no encoding explains are quarantined with an `error`.
    """

    name: ClassVar[str] = "decode"
    version: ClassVar[str] = "2"
    reads: ClassVar[frozenset[str]] = frozenset({"raw", "raw_kind", "charset_declared", "url", "text"})
    writes: ClassVar[frozenset[str]] = frozenset({"text", "charset", "charset_source", "replacement_ratio"})

    def __call__(self, table: pa.Table) -> pa.Table:
        """The same rows. Valid UTF-8 goes through as it is, without a copy where all rows are; only the others are decoded one by one."""
        chunks = table.column("raw").chunks
        raw = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks) if chunks else pa.array([], pa.large_binary())
        if raw.null_count == len(raw):
            return with_columns(table, {name: pa.nulls(len(raw), BY_NAME[name].type) for name in _FOUND})
        has_raw = np.asarray(raw.is_valid())
        plain, shares = _plain_rows(raw)
        odd = np.flatnonzero(~plain & has_raw)
        declared, kinds, urls = (_values(table, name, odd) for name in ("charset_declared", "raw_kind", "url"))
        found: list[Decoded | None] = []
        errors: list[str | None] = [None] * len(raw)
        excerpts: list[str | None] = [None] * len(raw)
        for row, label, kind, url in zip(odd.tolist(), declared, kinds, urls, strict=True):
            content = raw[row].as_py()
            found.append(decode_bytes(content, label, kind == "html", host_of(url).endswith(".kr")))
            if found[-1] is None:
                said = f"declared as {label[:100]}" if label else "nothing declared by the server"
                errors[row] = f"the page of {len(content)} bytes could not be decoded ({said}): no encoding gives clean text"
                excerpts[row] = excerpt(content)
        others = np.flatnonzero(~has_raw)
        texts = dict(zip(odd.tolist(), (result.text if result else None for result in found), strict=True))
        texts |= dict(zip(others.tolist(), _values(table, "text", others), strict=True))
        charsets, sources = np.full(len(raw), None, object), np.full(len(raw), None, object)
        charsets[plain] = sources[plain] = "utf-8"
        charsets[odd] = [result.charset if result else None for result in found]
        sources[odd] = [result.source if result else None for result in found]
        shares[odd] = [result.replacement_ratio if result else np.nan for result in found]
        columns = {
            "text": _texts(raw, texts),
            "charset": pa.array(charsets, pa.string()),
            "charset_source": pa.array(sources, pa.string()),
            "replacement_ratio": pa.array(shares, mask=np.isnan(shares)),
        }
        return with_columns(table, columns | decided(table, errors, excerpts))


def _plain_rows(raw: pa.LargeBinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """Per row: whether `decode_bytes` would return it as it is, as valid UTF-8, and its share of U+FFFD then (NaN otherwise)."""
    from pipeline.ingest.utf8_kernel import inspect  # compiles on first import

    flags, counts = np.zeros(len(raw), np.uint8), np.zeros((len(raw), 3), np.int64)
    data, offsets = _buffers(raw)
    inspect(np.frombuffer(data, np.uint8), offsets, flags, counts)
    characters, replaced, controls = counts.T
    clean = (replaced <= np.maximum(1, MAX_REPLACED * characters)) & (controls <= np.maximum(MAX_CONTROLS, MAX_REPLACED * characters))
    plain = (flags == 0) & clean & np.asarray(raw.is_valid())
    return plain, np.where(plain, replaced / np.maximum(characters, 1), np.nan)


def _values(table: pa.Table, name: str, rows: np.ndarray) -> list[str | None]:
    return list(table.column(name).take(pa.array(rows)).to_pylist()) if len(rows) else []


def _buffers(raw: pa.LargeBinaryArray) -> tuple[memoryview, np.ndarray]:
    """The bytes of all rows, and where each begins, and the last ends, in them (int64)."""
    _, offsets, data = raw.buffers()
    return memoryview(data or b""), np.frombuffer(offsets, np.int64)[raw.offset : raw.offset + len(raw) + 1]


def _texts(raw: pa.LargeBinaryArray, others: dict[int, str | None]) -> pa.LargeStringArray:
    """`raw` as text, with these texts in the rows that aren't plain: one copy, or none where all rows are."""
    if not others:
        return pa.Array.from_buffers(pa.large_string(), len(raw), raw.buffers(), offset=raw.offset)
    data, offsets = _buffers(raw)
    sizes, valid = np.diff(offsets), np.ones(len(raw), np.bool_)
    pieces: list[bytes | memoryview] = []
    start = int(offsets[0])
    for row in sorted(others):
        text = others[row]
        encoded = (text or "").encode()
        pieces += [data[start : int(offsets[row])], encoded]
        start = int(offsets[row + 1])
        sizes[row], valid[row] = len(encoded), text is not None
    pieces.append(data[start : int(offsets[-1])])
    new_offsets = np.concatenate([[0], np.cumsum(sizes)])
    buffers = [pa.array(valid).buffers()[1], pa.py_buffer(new_offsets), pa.py_buffer(b"".join(pieces))]
    return pa.Array.from_buffers(pa.large_string(), len(raw), buffers)


def decided(table: pa.Table, errors: list[str | None], excerpts: list[str | None]) -> dict[str, list[str | None]]:
    """`error` and `excerpt` columns with these values where the table has none yet: an earlier verdict stays."""
    if not any(errors):
        return {}
    columns: dict[str, list[str | None]] = {"error": errors, "excerpt": excerpts}
    for name, values in columns.items():
        if name in table.column_names:
            columns[name] = [old if old is not None else new for old, new in zip(table.column(name).to_pylist(), values, strict=True)]
    return columns


def host_of(url: str | None) -> str:
    """Host name of a URL in lower case, without port, user and leading www.; empty when there is none."""
    if not url:
        return ""
    try:
        host = urlsplit(url.strip()).hostname or ""
    except ValueError:
        return ""
    return host.rstrip(".").removeprefix("www.")


def with_host(table: pa.Table) -> pa.Table:
    """`table` with the column `host` set from its column `url`, null where that has none."""
    return with_columns(table, {"host": [host_of(url) or None for url in table.column("url").to_pylist()]})
