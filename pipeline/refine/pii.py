"""Replace personal data by fixed placeholders and count it by kind; the values themselves are never stored.

What is replaced: e-mail and public IP addresses, telephone, Korean resident, card, bank account, passport and driver's licence numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.refine.pii_kinds import KINDS, Kind
from pipeline.schema import with_columns

HINTS = tuple(dict.fromkeys(kind.hint for kind in KINDS))
ANY_HINT = "|".join(HINTS)
COLUMNS = tuple(dict.fromkeys(kind.column for kind in KINDS))
"""The count columns, each once."""


def replace(text: str, kind: Kind) -> tuple[str, int]:
    """`text` with personal data of one kind replaced, and how many were."""
    pieces: list[str] = []
    end = 0
    for match in kind.matches(text):
        pieces += text[end : match.start()], kind.placeholder
        end = match.end()
    return "".join([*pieces, text[end:]]), len(pieces) // 2


def mask(text: str) -> str:
    """`text` with all kinds of personal data replaced, for excerpts and reports; the stage does the same to a whole column."""
    for kind in KINDS:
        text, _ = replace(text, kind)
    return text


@dataclass(frozen=True)
class Pii:
    """The stage that replaces personal data in `text` and counts it in the pii_* columns; it drops nothing."""

    name: ClassVar[str] = "pii"
    version: ClassVar[str] = "2"
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    writes: ClassVar[frozenset[str]] = frozenset({"text", "text_bytes", *COLUMNS})

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with `text`, `text_bytes` and the pii_* counts set. Rows that the hints clear are not touched."""
        texts = table.column("text").cast(pa.large_string())
        hinted = pc.fill_null(pc.match_substring_regex(texts, ANY_HINT), False)
        counts = {column: np.zeros(len(texts), np.int64) for column in COLUMNS}
        rows = np.flatnonzero(hinted.to_numpy())
        candidates = texts.filter(hinted)
        values = candidates.to_pylist()
        hits = {hint: np.flatnonzero(pc.match_substring_regex(candidates, hint).to_numpy()).tolist() for hint in HINTS}
        for kind in KINDS:
            for place in hits[kind.hint]:
                values[place], replaced = replace(values[place], kind)
                counts[kind.column][rows[place]] += replaced
        if any(count.any() for count in counts.values()):
            texts = pc.replace_with_mask(texts, pa.array(hinted.to_numpy()), pa.array(values, pa.large_string()))
        return with_columns(table, {"text": texts, "text_bytes": pc.fill_null(pc.binary_length(texts), 0), **counts})
