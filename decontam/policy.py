"""Which matches make a document contaminated: thresholds over the table of matches, so that they can be changed without a new scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from decontam.errors import DecontamError


@dataclass(frozen=True)
class Policy:
    """A match is decisive if it is long enough, rare enough, and holds enough of its item.

    min_coverage: share of the item (or of its question) that a match must cover, 0 to 1. long_factor: a match of this many times the
    required length is decisive whatever its coverage. max_frequency: a match whose rarest seed stands in more items than this is a
    template or a common phrase, unless it covers the whole item. report_fields: fields whose matches are reported and never decisive.
    Raises DecontamError for values out of range.
    """

    min_coverage: float = 0.5
    long_factor: float = 4.0
    max_frequency: int = 10
    report_fields: tuple[str, ...] = ("passage",)

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_coverage <= 1.0:
            raise DecontamError(f"min_coverage is {self.min_coverage}; use a share from 0 to 1.")
        if not self.long_factor >= 1.0:
            raise DecontamError(f"long_factor is {self.long_factor}; use 1 or more.")
        if self.max_frequency < 1:
            raise DecontamError(f"max_frequency is {self.max_frequency}; use 1 or more.")


def decisive(matches: pa.Table, policy: Policy | None = None) -> pa.BooleanArray:
    """For each match (a table of MATCH_SCHEMA) whether it makes its document contaminated; whole short items never do."""
    policy = policy or Policy()
    length, required, coverage, frequency = (matches[name].to_numpy() for name in ("length", "required", "coverage", "frequency"))
    enough = (coverage >= policy.min_coverage) | (length >= policy.long_factor * required)
    specific = (frequency <= policy.max_frequency) | (coverage == 1.0)
    reported = np.array([field in policy.report_fields for field in matches["field"].to_pylist()], np.bool_)
    return pa.array((length >= required) & enough & specific & ~reported)


def contaminated(matches: pa.Table, policy: Policy | None = None) -> pa.Int64Array:
    """Rows (int64, ascending, each once) of the documents that have a decisive match."""
    rows = matches["row"].to_numpy()[decisive(matches, policy).to_numpy(zero_copy_only=False)]
    return pa.array(np.unique(rows))
