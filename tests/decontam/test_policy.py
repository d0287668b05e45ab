"""From matches to contaminated documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from decontam import MATCH_SCHEMA, DecontamError, Policy, Scanner, build_index, contaminated, decisive, read_benchmarks

BASE = {"row": 0, "benchmark": "b", "split": "", "item": "i", "field": "question", "entry": 0, "start": 0, "end": 9}
BASE |= {
    "item_start": 0,
    "item_end": 9,
    "length": 60,
    "coverage": 0.6,
    "item_coverage": 0.6,
    "frequency": 1,
    "required": 50,
    "answered": False,
}


def matches(*changes: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([BASE | change for change in changes], schema=MATCH_SCHEMA)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"item_coverage": 0.5}, True),
        ({"item_coverage": 0.49}, False),
        ({"coverage": 0.1}, True),
        ({"item_coverage": 0.1, "length": 200}, True),
        ({"item_coverage": 0.1, "length": 199}, False),
        ({"item_coverage": 0.1, "length": 96, "required": 24}, True),
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
    table = matches({"row": 7}, {"row": 2}, {"row": 7, "item": "j"}, {"row": 1, "item_coverage": 0.1})
    assert contaminated(table).to_pylist() == [2, 7]
    assert contaminated(table, Policy(min_coverage=0.0)).to_pylist() == [1, 2, 7]
    assert contaminated(table, Policy(report_fields=("question",))).to_pylist() == []
    assert contaminated(MATCH_SCHEMA.empty_table()).to_pylist() == []


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), [False, True]),
        (Policy(short_texts="report"), [False, False]),
        (Policy(short_texts="always"), [True, True]),
    ],
)
def test_short_texts(policy: Policy, expected: list[bool]) -> None:
    short = {"length": 30, "coverage": 1.0, "item_coverage": 1.0}
    assert decisive(matches(short, {**short, "answered": True}), policy).to_pylist() == expected


def test_answered_items_need_less() -> None:
    table = matches({"item_coverage": 0.3}, {"item_coverage": 0.3, "answered": True}, {"item_coverage": 0.2, "answered": True})
    assert decisive(table, Policy(answered_coverage=0.3)).to_pylist() == [False, True, False]


@pytest.mark.parametrize(
    "values",
    [
        {"min_coverage": 1.1},
        {"min_coverage": float("nan")},
        {"long_factor": 0.5},
        {"max_frequency": 0},
        {"max_corpus_documents": 0},
        {"short_texts": "x"},
        {"report_fields": ("x",)},
    ],
)
def test_values_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(DecontamError, match="use"):
        Policy(**values)


def test_every_real_item_is_caught_whole_and_by_its_question(shared_data: Path) -> None:
    """Intact items of real Korean and English benchmarks: recall 1.0 for every text that is long enough to be a match."""
    names = ("gsm8k_test", "humaneval", "kobest_copa_test", "klue_nli_dev", "korquad1_dev_questions", "komt_bench", "ifeval")
    items = read_benchmarks([shared_data / "benchmarks" / f"{name}.jsonl.gz" for name in names])
    index = build_index(items)
    texts = [
        text
        for segment in index.segments
        for text, chosen in zip(segment.entries["text"].to_pylist(), segment.lengths >= segment.required, strict=True)
        if chosen
    ]
    documents = pa.array([f"머리말 {text} closing words" for text in texts], pa.large_string())
    assert len(contaminated(Scanner(index).scan(documents))) == len(documents) > 5000


def test_text_without_benchmarks_is_clean(shared_data: Path) -> None:
    from decontam.readers import read_rows

    items = read_benchmarks(shared_data / "benchmarks" / "kobest_hellaswag_test.jsonl.gz")
    laws = [record["text"] for _, record in read_rows(shared_data / "text" / "ko" / "law_legalize_kr.jsonl.gz")][:40]
    assert contaminated(Scanner(build_index(items)).scan(pa.array(laws, pa.large_string()))).to_pylist() == []
