"""The stage that turns the raw bytes of archived pages and text files into text, or says that it can't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

import pyarrow as pa

from pipeline.ingest.charsets import Decoded, decode_bytes
from pipeline.ingest.rows import excerpt
from pipeline.schema import BY_NAME, with_columns


@dataclass(frozen=True)
class Decode:
    """`raw` becomes `text` (of HTML: the markup, decoded), with charset, how it was chosen, and the share of replaced characters.

    Rows without `raw` (JSONL, Parquet) keep their text. Bytes that no encoding explains are quarantined with an `error`.
    """

    name: ClassVar[str] = "decode"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"raw", "raw_kind", "charset_declared", "url", "text"})
    writes: ClassVar[frozenset[str]] = frozenset({"text", "charset", "charset_source", "replacement_ratio"})

    def __call__(self, table: pa.Table) -> pa.Table:
        """The same rows; each is decoded by itself (a Python codec per row: the library works on one page)."""
        raw = table.column("raw")
        if raw.null_count == len(raw):
            nulls = {name: pa.array([None] * len(raw), BY_NAME[name].type) for name in ("charset", "charset_source", "replacement_ratio")}
            return with_columns(table, nulls)
        kinds = table.column("raw_kind").to_pylist()
        declared = table.column("charset_declared").to_pylist()
        urls = table.column("url").to_pylist()
        texts = [value.as_py() if not value_raw.is_valid else None for value, value_raw in zip(table.column("text"), raw, strict=True)]
        results: list[Decoded | None] = [None] * len(raw)
        errors: list[str | None] = [None] * len(raw)
        excerpts: list[str | None] = [None] * len(raw)
        for index, scalar in enumerate(raw):
            if not scalar.is_valid:
                continue
            content = scalar.as_py()
            results[index] = found = decode_bytes(content, declared[index], kinds[index] == "html", host_of(urls[index]).endswith(".kr"))
            if found is None:
                label = f"declared as {declared[index]}" if declared[index] else "nothing declared by the server"
                errors[index] = f"the page of {len(content)} bytes could not be decoded ({label}): no encoding gives clean text"
                excerpts[index] = excerpt(content)
            else:
                texts[index] = found.text
        columns = {
            "text": texts,
            "charset": [found.charset if found else None for found in results],
            "charset_source": [found.source if found else None for found in results],
            "replacement_ratio": [found.replacement_ratio if found else None for found in results],
        }
        return with_columns(table, columns | decided(table, errors, excerpts))


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
