"""The stage that finds the main text of HTML pages, in a process of its own that a hostile page can't take the worker down with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.decode import decided, with_host
from pipeline.ingest.helper import Options, Page, helper_for
from pipeline.ingest.page_marks import joined
from pipeline.ingest.rows import excerpt
from pipeline.schema import TRANSIENT, with_columns

_WRITTEN = ("text", "title", "date", "url", "canonical_url", "robots_directives", "license")


@dataclass(frozen=True)
class Extract:
    """HTML in `text` becomes its main text, beside the marks of the page; title, date and url are filled in where the record had none.
    Plain text passes; of its marks only what HTTP headers said (`robots_directives`) is known.

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
    version: ClassVar[str] = "2"
    reads: ClassVar[frozenset[str]] = frozenset({"text", "raw_kind", "url", "title", "date", "robots_directives"})
    writes: ClassVar[frozenset[str]] = frozenset(
        {"text", "title", "date", "url", "host", "text_bytes", "canonical_url", "robots_directives", "license"}
    )

    def __call__(self, table: pa.Table) -> pa.Table:
        """The same rows. Raises RunFailed when the extractor process can't start (a missing library)."""
        is_html: Any = pc.fill_null(pc.equal(table.column("raw_kind"), pa.scalar("html")), pa.scalar(False))
        rows: list[Any] = pc.indices_nonzero(pc.and_(is_html, pc.is_valid(table.column("text")))).to_pylist()
        table = with_columns(table, {name: pa.nulls(len(table), pa.string()) for name in ("canonical_url", "license")})
        if rows:
            table = self._extracted(table, rows)
        table = with_host(table)
        table = with_columns(table, {"text_bytes": pc.binary_length(table.column("text"))})
        return table.drop_columns([name for name in table.column_names if name in TRANSIENT])

    def _extracted(self, table: pa.Table, rows: Sequence[int]) -> pa.Table:
        columns: dict[str, list[Any]] = {name: table.column(name).to_pylist() for name in _WRITTEN}
        errors: list[str | None] = [None] * len(table)
        excerpts: list[str | None] = [None] * len(table)
        reasons: list[Any] = table.column("drop_reason").to_pylist() if "drop_reason" in table.column_names else [None] * len(table)
        pages = [Page(columns["text"][row], columns["url"][row] or "") for row in rows]
        for row, page, answer in zip(rows, pages, self._answers(pages), strict=True):
            if "error" in answer:
                errors[row], excerpts[row], columns["text"][row] = f"the extractor {answer['error']}", excerpt(page.html), None
                continue
            text = (answer.get("text") or "").strip()
            columns["text"][row] = text
            if not text and reasons[row] is None:
                reasons[row] = "no_main_text"
            for name in ("title", "date", "canonical_url", "license"):
                columns[name][row] = columns[name][row] or answer.get(name)
            columns["url"][row] = columns["url"][row] or answer.get("canonical_url")
            columns["robots_directives"][row] = joined([columns["robots_directives"][row], answer.get("robots_directives")])
        return with_columns(table, {**columns, "drop_reason": reasons, **decided(table, errors, excerpts)})

    def options(self) -> Options:
        """What this stage's extractor process is started with."""
        return Options(self.extractor, self.include_tables, self.favor, self.seconds, self.memory_bytes)

    def _answers(self, pages: Sequence[Page]) -> list[dict[str, Any]]:
        small = [index for index, page in enumerate(pages) if len(page.html.encode("utf-8", "replace")) <= self.max_html_bytes]
        found = helper_for(self.options()).extract([pages[index] for index in small]) if small else []
        answers: list[dict[str, Any]] = [{"error": f"was not given a page over max_html_bytes ({self.max_html_bytes})"} for _ in pages]
        for index, answer in zip(small, found, strict=True):
            answers[index] = answer if "error" not in answer else {"error": _sentence(answer["error"])}
        return answers


def _sentence(error: str) -> str:
    verbs = ("timed out", "crashed", "ended with", "ran out", "gave ")
    return error if error.startswith(verbs) else f"failed: {error}"
