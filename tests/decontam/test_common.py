"""Counting the documents of a corpus that hold the rarest part of a match."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from decontam import Policy, decisive
from decontam.common import count_documents


def brute_force(rows: list[tuple[str, int, int, int, int]]) -> list[int]:
    """Look at every place of every match."""

    def holders(benchmark: str, entry: int, place: int) -> int:
        return len({row[4] for row in rows if row[:2] == (benchmark, entry) and row[2] <= place < row[3]})

    return [min(holders(benchmark, entry, place) for place in range(start, end)) for benchmark, entry, start, end, _ in rows]


ROWS = st.lists(
    st.tuples(st.sampled_from("xy"), st.integers(0, 2), st.integers(0, 20), st.integers(1, 15), st.integers(0, 4)), min_size=1, max_size=30
)


@given(ROWS)
@settings(deadline=None)
def test_counts(drawn: list[tuple[str, int, int, int, int]]) -> None:
    rows = [(benchmark, entry, start, start + size, document) for benchmark, entry, start, size, document in drawn]
    names = ("benchmark", "entry", "item_start", "item_end")
    table = pa.table({name: [row[index] for row in rows] for index, name in enumerate(names)})
    assert count_documents(table, np.array([row[4] for row in rows])).tolist() == brute_force(rows)


def test_no_matches() -> None:
    types = {"benchmark": pa.string(), "entry": pa.int32(), "item_start": pa.int64(), "item_end": pa.int64()}
    empty = pa.schema(types).empty_table()
    assert count_documents(empty, np.array([], np.int64)).tolist() == []


def test_common_text_is_no_leak_unless_the_item_is_whole() -> None:
    facts = {"length": [80] * 3, "required": [50] * 3, "coverage": [0.6] * 3, "item_coverage": [0.6, 0.6, 1.0], "frequency": [1] * 3}
    table = pa.table({**facts, "answered": [False] * 3, "field": ["question"] * 3, "corpus_documents": [5, 6, 900]})
    assert decisive(table, Policy(max_corpus_documents=5)).to_pylist() == [True, False, True]
    assert decisive(table).to_pylist() == [True, True, True]
