"""Which matches make a document contaminated: thresholds over the table of matches, so that they can be changed without a new scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

from decontam.errors import DecontamError

ShortTexts = Literal["report", "answered", "always"]
FIELDS = ("question", "answer", "passage")


@dataclass(frozen=True)
class Policy:
    """A match is decisive if it is long enough, rare enough, and its document holds enough of the item.

    min_coverage: share of the text (or of its question) that a document's matches must cover together, 0 to 1. answered_coverage: the same
    where the answer stands in the document too. long_factor: a match of this many times the required length is decisive whatever the
    coverage. max_frequency: a match whose rarest window stands in more items than this is a template or a common phrase, unless it covers
    the whole text. max_corpus_documents: a match whose rarest part stands in more documents of the corpus than this is common text,
    unless the document holds the whole text (None: not asked; needs the column `corpus_documents`). short_texts: whole texts that are
    shorter than a match are only reported, or decisive where answered, or always. report_fields: fields whose matches are reported and
    never decisive. Raises DecontamError for values out of range.
    """

    min_coverage: float = 0.5
    answered_coverage: float = 0.5
    long_factor: float = 4.0
    max_frequency: int = 10
    max_corpus_documents: int | None = None
    short_texts: ShortTexts = "answered"
    report_fields: tuple[str, ...] = ("passage",)

    def __post_init__(self) -> None:
        for name in ("min_coverage", "answered_coverage"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise DecontamError(f"{name} is {getattr(self, name)}; use a share from 0 to 1.")
        if not self.long_factor >= 1.0:
            raise DecontamError(f"long_factor is {self.long_factor}; use 1 or more.")
        for name in ("max_frequency", "max_corpus_documents"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise DecontamError(f"{name} is {value}; use 1 or more.")
        if self.short_texts not in get_args(ShortTexts):
            raise DecontamError(f"short_texts is '{self.short_texts}'; use {', '.join(get_args(ShortTexts))}.")
        unknown = sorted(set(self.report_fields) - set(FIELDS))
        if unknown:
            raise DecontamError(f"report_fields has '{unknown[0]}'; use {', '.join(FIELDS)}.")


def decisive(matches: pa.Table, policy: Policy | None = None) -> pa.BooleanArray:
    """For each match (a table of MATCH_SCHEMA) whether it makes its document contaminated.

    Raises DecontamError where the policy asks for `corpus_documents` and the table has no such column.
    """
    policy = policy or Policy()
    length, required, coverage, together, frequency = (
        matches[name].to_numpy() for name in ("length", "required", "coverage", "item_coverage", "frequency")
    )
    answered = matches["answered"].to_numpy(zero_copy_only=False).astype(np.bool_)
    specific = (frequency <= policy.max_frequency) | (coverage == 1.0)
    if policy.max_corpus_documents is not None:
        if "corpus_documents" not in matches.column_names:
            raise DecontamError("max_corpus_documents needs the column corpus_documents; count it with decontam.common.count_documents.")
        specific &= (matches["corpus_documents"].to_numpy() <= policy.max_corpus_documents) | (together == 1.0)
    enough = (together >= np.where(answered, min(policy.answered_coverage, policy.min_coverage), policy.min_coverage)) | (
        length >= policy.long_factor * required
    )
    short = {"report": False, "answered": answered, "always": True}[policy.short_texts]
    counts = np.where(length >= required, enough, short)
    reported = np.array([field in policy.report_fields for field in matches["field"].to_pylist()], np.bool_)
    return pa.array(counts & specific & ~reported)


def contaminated(matches: pa.Table, policy: Policy | None = None) -> pa.Int64Array:
    """Rows (int64, ascending, each once) of the documents that have a decisive match."""
    rows = matches["row"].to_numpy()[decisive(matches, policy).to_numpy(zero_copy_only=False)]
    return pa.array(np.unique(rows))
