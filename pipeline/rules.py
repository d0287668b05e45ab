"""Rules as data: a column, an operator and a threshold turn signals into a `drop_reason`, in Arrow and in SQL alike.

A rule states what a good document satisfies: `Rule("line_end_punct_ratio", ">=", 0.062)` keeps the rows for which that holds and
drops the others with the reason `line_end_punct_ratio<0.062`. Signals are stored, so new thresholds need no second look at the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.stage import decide

_COMPARE = {">=": pc.greater_equal, "<=": pc.less_equal, ">": pc.greater, "<": pc.less, "==": pc.equal, "!=": pc.not_equal}
_OPPOSITE = {">=": "<", "<=": ">", ">": "<=", "<": ">=", "==": "!=", "!=": "=="}


@dataclass(frozen=True)
class Rule:
    """`column op threshold` must hold; a null signal holds. `languages`: apply only to rows with such a `lang` (empty: to all)."""

    column: str
    op: str
    threshold: float
    languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.op not in _COMPARE:
            raise ValueError(f"rule on {self.column}: operator '{self.op}' is not one of {' '.join(_COMPARE)}")

    @property
    def reason(self) -> str:
        """The `drop_reason` of a row that breaks this rule, such as `words<50`."""
        return f"{self.column}{_OPPOSITE[self.op]}{self.threshold:g}"

    def broken(self, table: pa.Table) -> pa.ChunkedArray:
        """A boolean per row: true where the rule applies and does not hold."""
        holds = _COMPARE[self.op](table.column(self.column).cast(pa.float64()), pa.scalar(self.threshold, pa.float64()))
        broken = pc.fill_null(pc.invert(holds), False)
        if self.languages:
            broken = pc.and_(broken, pc.fill_null(pc.is_in(table.column("lang"), pa.array(self.languages, pa.string())), False))
        return broken

    def sql(self) -> str:
        """The same rule as a DuckDB expression that is true for a row it drops."""
        broken = f"coalesce(not ({self.column} {self.op.replace('==', '=')} {self.threshold!r}), false)"
        if not self.languages:
            return broken
        listed = ", ".join("'" + language.replace("'", "''") + "'" for language in self.languages)
        return f"({broken} and coalesce(lang in ({listed}), false))"


def apply_rules(table: pa.Table, rules: Sequence[Rule]) -> pa.Table:
    """`table` with `drop_reason` set to the reason of the first rule that each row breaks, null where none is broken."""
    for rule in rules:
        table = decide(table, "drop_reason", rule.broken(table), rule.reason)
    return table
