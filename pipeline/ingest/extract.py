"""The stage that finds the main text of HTML pages, in a process of its own that a hostile page can't take the worker down with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.decode import decided, host_of
from pipeline.ingest.helper import Options, helper_for
from pipeline.ingest.rows import excerpt
from pipeline.schema import TRANSIENT, with_columns


@dataclass(frozen=True)
class Extract:
    """HTML in `text` becomes its main text; title, date and url are filled in where the record had none. Plain text passes.

    A page on which the extractor fails, crashes, or exceeds its CPU seconds, memory or size is quarantined; there is no second
    extractor that steps in silently. A page without main text is dropped as `no_main_text`. Drops the transient columns.
    """

    extractor: str = "trafilatura"
    include_tables: bool = True
    favor: str = "balanced"
    seconds: float = 20.0
    memory_bytes: int = 4 << 30
    max_html_bytes: int = 10_000_000

    name: ClassVar[str] = "extract"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"text", "raw_kind", "url", "title", "date"})
    writes: ClassVar[frozenset[str]] = frozenset({"text", "title", "date", "url", "host", "text_bytes"})

    def __call__(self, table: pa.Table) -> pa.Table:
        """The same rows. Raises RunFailed when the extractor process can't start (a missing library)."""
        is_html: Any = pc.fill_null(pc.equal(table.column("raw_kind"), pa.scalar("html")), pa.scalar(False))
        rows: list[Any] = pc.indices_nonzero(pc.and_(is_html, pc.is_valid(table.column("text")))).to_pylist()
        if rows:
            table = self._extracted(table, rows)
        table = with_columns(table, {"host": [host_of(url) or None for url in table.column("url").to_pylist()]})
        table = with_columns(table, {"text_bytes": pc.binary_length(table.column("text"))})
        return table.drop_columns([name for name in table.column_names if name in TRANSIENT])

    def _extracted(self, table: pa.Table, rows: Sequence[int]) -> pa.Table:
        columns: dict[str, list[Any]] = {name: table.column(name).to_pylist() for name in ("text", "title", "date", "url")}
        errors: list[str | None] = [None] * len(table)
        excerpts: list[str | None] = [None] * len(table)
        reasons: list[Any] = table.column("drop_reason").to_pylist() if "drop_reason" in table.column_names else [None] * len(table)
        pages = [columns["text"][row] for row in rows]
        for row, page, answer in zip(rows, pages, self._answers(pages), strict=True):
            if "error" in answer:
                errors[row], excerpts[row], columns["text"][row] = f"the extractor {answer['error']}", excerpt(page), None
                continue
            text = (answer.get("text") or "").strip()
            columns["text"][row] = text
            if not text and reasons[row] is None:
                reasons[row] = "no_main_text"
            for name in ("title", "date", "url"):
                columns[name][row] = columns[name][row] or answer.get(name)
        return with_columns(table, {**columns, "drop_reason": reasons, **decided(table, errors, excerpts)})

    def _answers(self, pages: Sequence[str]) -> list[dict[str, Any]]:
        small = [index for index, page in enumerate(pages) if len(page.encode("utf-8", "replace")) <= self.max_html_bytes]
        options = Options(self.extractor, self.include_tables, self.favor, self.seconds, self.memory_bytes)
        found = helper_for(options).extract([pages[index] for index in small]) if small else []
        answers: list[dict[str, Any]] = [{"error": f"was not given a page over max_html_bytes ({self.max_html_bytes})"} for _ in pages]
        for index, answer in zip(small, found, strict=True):
            answers[index] = answer if "error" not in answer else {"error": _sentence(answer["error"])}
        return answers


def _sentence(error: str) -> str:
    verbs = ("timed out", "crashed", "ended with", "ran out", "gave ")
    return error if error.startswith(verbs) else f"failed: {error}"
