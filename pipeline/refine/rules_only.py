"""Deciding again from stored signals: new rules and languages over the shards that refine wrote, without reading their text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.documents import DECISIONS
from pipeline.errors import UserError
from pipeline.files import open_file
from pipeline.refine.config import RefineConfig
from pipeline.refine.language import keep_languages
from pipeline.refine.stages import rules_stage
from pipeline.schema import BY_NAME, with_columns
from pipeline.segment import Segment
from pipeline.shards import read_batches
from pipeline.splits import DOCUMENTS, Split
from pipeline.stage import Stage, missing_columns

LEFT_OUT = frozenset({"text", "meta", "cut_lines"})
"""Columns that hold text: neither read nor written."""

DECIDED_BY_SIGNALS = ("language", "rules")
"""Stages whose decisions follow from stored columns. What another stage decided (an empty text, a blocked site) stays decided."""


@dataclass(frozen=True)
class SignalReader:
    """Tables of kept/ and dropped/ shards without LEFT_OUT, in which the rows that DECIDED_BY_SIGNALS dropped are open again."""

    columns: tuple[str, ...]
    """What to read, without the columns that say what became of a row: those are always read."""

    version: ClassVar[str] = "1"

    def __call__(self, split: Split) -> Iterator[pa.Table]:
        for part in split.parts:
            for table in read_batches(part.path, [*self.columns, *DECISIONS]):
                yield _reopened(table)


def _reopened(table: pa.Table) -> pa.Table:
    if "drop_stage" not in table.column_names:
        return table
    open_again = pc.fill_null(pc.is_in(table.column("drop_stage"), pa.array(DECIDED_BY_SIGNALS, pa.string())), False)
    nothing = pa.scalar(None, pa.string())
    names = [name for name in ("drop_stage", "drop_reason") if name in table.column_names]
    return with_columns(table, {name: pc.if_else(open_again, nothing, table.column(name)) for name in names})


@dataclass(frozen=True)
class Languages:
    """The decision of the stage `language`, from the stored `lang` and `lang_score`."""

    keep: tuple[str, ...]
    min_score: float

    name: ClassVar[str] = "language"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"lang", "lang_score"})
    writes: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with `drop_reason` set for languages that are not kept and for uncertain ones."""
        return keep_languages(table, self.keep, self.min_score)


def stages(config: RefineConfig) -> tuple[Stage, ...]:
    """The deciding stages of `config`; repair, signals, sites, lines and personal data play no part."""
    return (Languages(config.languages, config.min_language_score), rules_stage(config))


def check(splits: Sequence[Split], config: RefineConfig) -> frozenset[str]:
    """The columns to carry on: those that every shard has, without LEFT_OUT.

    Raises UserError when an input is no shard of refine (a user's own file has no signals) or lacks a column that a rule looks at.
    """
    found: frozenset[str] | None = None
    for part in (part for split in splits for part in split.parts):
        if part.format != DOCUMENTS:
            raise UserError(
                f"--rules-only reads the shards of refine, and '{part.path}' is none; give the folders kept and dropped that refine wrote"
            )
        with open_file(part.path) as stream:
            names = frozenset(pq.read_schema(stream).names)
        found = names if found is None else found & names
    columns = (found or frozenset()) & BY_NAME.keys() - LEFT_OUT - DECISIONS
    missing = missing_columns(stages(config), columns)
    if missing:
        raise UserError(f"the shards lack signals that the rules look at ({', '.join(missing)}); run refine without --rules-only first")
    return columns


def run(segment: Segment, splits: Sequence[Split], config: RefineConfig, columns: frozenset[str], limit: int | None = None) -> list[Split]:
    """Write `kept/` and `dropped/` without LEFT_OUT; the ids say which documents those are."""
    return segment.rows(splits, SignalReader(tuple(sorted(columns))), stages(config), columns, limit=limit)
