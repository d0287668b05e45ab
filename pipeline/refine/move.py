"""Refinement of a whole corpus: first which lines each host repeats, then every document by itself."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.documents import DocumentReader
from pipeline.errors import UserError
from pipeline.refine.config import RefineConfig
from pipeline.refine.host_lines import find_host_lines
from pipeline.refine.stages import stages
from pipeline.segment import Segment
from pipeline.splits import Split
from pipeline.stage import missing_columns


def check(config: RefineConfig, available: frozenset[str]) -> None:
    """Raises UserError for what would stop the move later: unknown presets, unreadable lists, columns that nobody wrote."""
    missing = missing_columns(stages(config), available)
    if missing:
        raise UserError(f"refine needs columns that its input lacks ({', '.join(missing)}); run ingest first, or set the text column")


def run(
    segment: Segment, splits: Sequence[Split], config: RefineConfig, available: frozenset[str], limit: int | None = None
) -> tuple[list[Split], frozenset[str]]:
    """Refine the documents of `splits`, which have the columns `available`; returns the kept shards as splits, and their columns.

    limit: only the first so many documents of each split. Raises RunFailed when (almost) nothing is kept.
    """
    host_lines = None
    if config.lines.cut and config.lines.host_documents and "host" in available:
        host_lines = find_host_lines(segment, splits, config.lines.host_documents, config.repair, limit=limit)
    chain = stages(config, host_lines=host_lines)
    columns = available.union(*(stage.writes for stage in chain))
    return segment.rows(splits, DocumentReader(), chain, columns, limit=limit), columns
