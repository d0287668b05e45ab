"""Replace personal data by fixed placeholders and count it by kind; the values themselves are never stored.

What is replaced: e-mail and public IP addresses, telephone, Korean resident, card, bank account, passport and driver's licence numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.refine.pii_kinds import KINDS, Kind
from pipeline.schema import with_columns

HINTS = tuple(dict.fromkeys(kind.hint for kind in KINDS))
ANY_HINT, RARE_HINT = "|".join(HINTS), "|".join(HINTS[1:])
"""Of any kind, and of any but plain e-mail addresses, which alone are common."""
COLUMNS = tuple(dict.fromkeys(kind.column for kind in KINDS))
"""The count columns, each once."""


def replace(text: str, kinds: Iterable[Kind] = KINDS) -> tuple[str, dict[str, int]]:
    """`text` with personal data of these kinds replaced, one kind after the other, and how many by column.

    Kinds that share their places (four look at the same chains of digits) have them found once, until a replacement moves them.
    """
    counts: dict[str, int] = {}
    places: dict[re.Pattern[str], list[tuple[int, int]]] = {}
    for kind in kinds:
        if kind.place not in places:
            places[kind.place] = kind.places(text)
        pieces: list[str] = []
        end = 0
        for match in kind.matches(text, places[kind.place]):
            pieces += text[end : match.start()], kind.placeholder
            end = match.end()
        if pieces:
            text = "".join([*pieces, text[end:]])
            counts[kind.column] = counts.get(kind.column, 0) + len(pieces) // 2
            places.clear()
    return text, counts


def mask(text: str) -> str:
    """`text` with all kinds of personal data replaced, for excerpts and reports; the stage does the same to a whole column."""
    return replace(text)[0]


@dataclass(frozen=True)
class Pii:
    """The stage that replaces personal data in `text` and counts it in the pii_* columns; it drops nothing."""

    name: ClassVar[str] = "pii"
    version: ClassVar[str] = "3"
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
        hits = {HINTS[0]: pc.match_substring_regex(candidates, HINTS[0]).to_numpy()}
        rare = pc.match_substring_regex(candidates, RARE_HINT)
        for hint in HINTS[1:]:
            hits[hint] = rare.to_numpy()
            hits[hint][hits[hint]] = pc.match_substring_regex(candidates.filter(rare), hint).to_numpy()
        for place, row in enumerate(rows.tolist()):
            values[place], replaced = replace(values[place], [kind for kind in KINDS if hits[kind.hint][place]])
            for column, count in replaced.items():
                counts[column][row] = count
        if any(count.any() for count in counts.values()):
            texts = pc.replace_with_mask(texts, pa.array(hinted.to_numpy()), pa.array(values, pa.large_string()))
        return with_columns(table, {"text": texts, "text_bytes": pc.fill_null(pc.binary_length(texts), 0), **counts})
