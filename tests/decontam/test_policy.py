"""From matches to contaminated documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from decontam import MATCH_SCHEMA, DecontamError, Policy, Scanner, build_index, contaminated, decisive, read_benchmarks

BASE = {"row": 0, "benchmark": "b", "split": "", "item": "i", "field": "question", "start": 0, "end": 9}
BASE |= {"length": 60, "coverage": 0.6, "frequency": 1, "required": 50}


def matches(*changes: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([BASE | change for change in changes], schema=MATCH_SCHEMA)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"coverage": 0.5}, True),
        ({"coverage": 0.49}, False),
        ({"coverage": 0.1, "length": 200}, True),
        ({"coverage": 0.1, "length": 199}, False),
        ({"coverage": 0.1, "length": 96, "required": 24}, True),
        ({"frequency": 10}, True),
        ({"frequency": 11}, False),
        ({"frequency": 11, "coverage": 1.0}, True),
        ({"field": "passage", "coverage": 1.0}, False),
        ({"length": 30, "coverage": 1.0}, False),
    ],
)
def test_default_policy(change: dict[str, Any], expected: bool) -> None:
    assert decisive(matches(change)).to_pylist() == [expected]


def test_rows_are_ascending_and_unique() -> None:
    table = matches({"row": 7}, {"row": 2}, {"row": 7, "item": "j"}, {"row": 1, "coverage": 0.1})
    assert contaminated(table).to_pylist() == [2, 7]
    assert contaminated(table, Policy(min_coverage=0.0)).to_pylist() == [1, 2, 7]
    assert contaminated(table, Policy(report_fields=("question",))).to_pylist() == []
    assert contaminated(MATCH_SCHEMA.empty_table()).to_pylist() == []


@pytest.mark.parametrize("values", [{"min_coverage": 1.1}, {"min_coverage": float("nan")}, {"long_factor": 0.5}, {"max_frequency": 0}])
def test_values_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(DecontamError, match="use"):
        Policy(**values)  # type: ignore[arg-type]


def test_every_real_item_is_caught_whole_and_by_its_question(shared_data: Path) -> None:
    """Intact items of real Korean and English benchmarks: recall 1.0 for every text that is long enough to be a match."""
    names = ("gsm8k_test", "humaneval", "kobest_copa_test", "klue_nli_dev", "korquad1_dev_questions", "komt_bench", "ifeval")
    items = read_benchmarks([shared_data / "benchmarks" / f"{name}.jsonl.gz" for name in names])
    index = build_index(items)
    length, required = (index.entries[name].to_numpy() for name in ("length", "required"))
    long_enough = np.flatnonzero(length >= required)
    documents = pa.array([f"머리말 {items['text'][int(row)]} closing words" for row in long_enough], pa.large_string())
    assert len(contaminated(Scanner(index).scan(documents))) == len(documents) > 5000


def test_text_without_benchmarks_is_clean(shared_data: Path) -> None:
    from decontam.readers import read_rows

    items = read_benchmarks(shared_data / "benchmarks" / "kobest_hellaswag_test.jsonl.gz")
    laws = [record["text"] for _, record in read_rows(shared_data / "text" / "ko" / "law_legalize_kr.jsonl.gz")][:40]
    assert contaminated(Scanner(build_index(items)).scan(pa.array(laws, pa.large_string()))).to_pylist() == []
