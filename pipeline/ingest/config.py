"""The settings of reading, decoding and extracting documents."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings import Settings


class IngestConfig(Settings):
    """How crawl files become documents. Every limit protects a worker from one hostile or broken record."""

    extractor: Literal["trafilatura", "trafilatura-fast", "resiliparse"] = Field(
        "trafilatura",
        description="main-text extractor for HTML: trafilatura (the most accurate), trafilatura-fast (without its fallbacks, half again as "
        "fast) or resiliparse (several times faster, keeps more menus and ads)",
    )
    include_tables: bool = Field(True, description="keep the text of HTML tables (trafilatura only)")
    favor: Literal["balanced", "precision", "recall"] = Field(
        "balanced", description="what trafilatura prefers when unsure: less noise (precision), more text (recall), or neither"
    )
    extract_seconds: float = Field(20.0, gt=0, description="CPU seconds the extractor may spend on one page before it is quarantined")
    extract_memory_bytes: int = Field(
        4 << 30, ge=1 << 30, description="address space of the extractor process in bytes; a page that needs more is quarantined"
    )
    max_html_bytes: int = Field(10_000_000, ge=1, description="largest decoded HTML page, in UTF-8 bytes, that is given to the extractor")
    max_document_bytes: int = Field(
        20_000_000, ge=1, description="largest record (JSON line, page, archive member) in bytes; larger ones are quarantined"
    )
    max_ratio: int = Field(
        200, ge=2, description="largest growth of compressed input once it gave max_document_bytes; more is taken for a bomb"
    )
    max_archive_bytes: int = Field(
        256_000_000, ge=1, description="largest crawl file (WARC, ARC, JSONL, tar) inside a tar archive, in bytes: it is held in memory"
    )
    batch_bytes: int = Field(16 << 20, ge=1, description="bytes of documents a worker handles at a time; bounds its memory")
    http_status_min: int = Field(200, ge=0, le=999, description="lowest HTTP status of a response that is kept")
    http_status_max: int = Field(299, ge=0, le=999, description="highest HTTP status of a response that is kept")
    mime_types: tuple[str, ...] = Field(
        ("text/html", "application/xhtml+xml", "text/plain"),
        description="media types of archive records that are kept; those with html or xml in their name are extracted, others are text",
    )
    min_kept_share: float = Field(
        0.01, ge=0, le=1, description="stop the run when a smaller share of the records is kept: most likely a wrong format or column"
    )
