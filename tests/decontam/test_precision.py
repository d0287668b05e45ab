"""The written cases of benchmarks/decontam_cases: that their labels hold, and what the default policy makes of them."""

from __future__ import annotations

import gzip
import importlib
import json
import random
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decontam import ITEM_SCHEMA, MatchSettings, Scanner, build_index, normalize_text
from decontam.readers import read_rows

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"
INTACT = ("verbatim", "question_only", "line_breaks", "korean_spacing", "full_width", "upper_case", "nfd", "end_of_page", "several_items")
"""Kinds of leak in which the whole question stands in the document, but for what normalisation removes."""
HARD = ("quotation", "licence", "imports", "repetition")
"""Kinds of clean document whose text covers most of an item: they cannot be told from a leak by that item alone."""


def load_script(name: str) -> ModuleType:
    """A script of benchmarks/, which import each other by name as they do when they are run."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(SCRIPTS))


precision, planted, rules = (load_script(name) for name in ("decontam_precision", "decontam_planted", "decontam_rules"))


@pytest.fixture(scope="module")
def cases() -> list:
    return precision.load_cases()


@pytest.fixture(scope="module")
def items() -> pa.Table:
    return precision.case_items()


@pytest.fixture(scope="module")
def matches(cases: list, items: pa.Table) -> pa.Table:
    return precision.scan_cases(items, cases, MatchSettings())


def questions() -> dict[tuple[str, str], str]:
    """Normalised question of each item, without the instruction line that the Korean multiple-choice items share."""
    found = {}
    for path in precision.CASES.glob("items_*.jsonl"):
        for _, record in read_rows(path):
            text = record.get("question") or record["prompt"]
            if record["benchmark"] == "ko_multiple_choice":
                text = text.split("\n", 1)[1]
            found[record["benchmark"], record["id"]] = normalize_text(text)
    return found


def test_cases_are_labelled(cases: list) -> None:
    named = questions()
    assert len({case.id for case in cases}) == len(cases)
    assert Counter(case.label for case in cases).keys() == {"leak", "undecided", "clean"}
    for case in cases:
        assert case.items <= named.keys()
        assert bool(case.items) == (case.label != "clean")
    assert all(record["why"] for _, record in read_rows(precision.CASES / "negatives.jsonl"))
    assert all(record["how"] for _, record in read_rows(precision.CASES / "leaks.jsonl"))


def test_intact_leaks_hold_their_questions_and_clean_documents_hold_none(cases: list) -> None:
    named = questions()
    for case in cases:
        text = normalize_text(case.text)
        if case.kind in INTACT:
            assert all(named[item] in text for item in case.items), case.id
        elif case.kind in ("paraphrase", "translated") or (case.label == "clean" and case.kind != "statement"):
            assert not any(question in text for question in named.values()), case.id


def test_page_length() -> None:
    text = precision.page(["one", "two"], 20, first=1)
    assert text.startswith("two\n\none\n\n") and 20 <= len(text) < 25


def test_intact_leaks_are_all_caught(cases: list, matches: pa.Table) -> None:
    flags = precision.flagged(matches, len(cases))
    assert [case.id for case, flag in zip(cases, flags, strict=True) if case.kind in INTACT and not flag] == []


def test_only_hard_kinds_are_flagged_though_clean(cases: list, matches: pa.Table) -> None:
    flags = precision.flagged(matches, len(cases))
    assert [case.id for case, flag in zip(cases, flags, strict=True) if case.label == "clean" and case.kind not in HARD and flag] == []


def test_short_questions_count_where_the_answer_stands_behind_them(cases: list, matches: pa.Table) -> None:
    caught = {case.id: flag for case, flag in zip(cases, precision.flagged(matches, len(cases)), strict=True)}
    assert all(caught[f"short_with_answer-{number:02}"] for number in (1, 2, 3, 4, 10))
    assert not any(caught[case.id] for case in cases if case.kind == "short_in_sentence")


def test_quality_of_the_default(cases: list, matches: pa.Table) -> None:
    """Floors a little below what docs/decontam_quality.md reports: a change that costs more than a case or two should be a decision."""
    result = precision.score(precision.flagged(matches, len(cases)), cases)
    assert result.recall >= 0.82 and result.precision >= 0.83


def test_other_words_and_other_languages_are_not_found(cases: list, matches: pa.Table) -> None:
    flags = precision.flagged_any(matches, len(cases))
    assert not any(flag for case, flag in zip(cases, flags, strict=True) if case.kind in ("paraphrase", "translated"))


def test_default_beats_the_rules_of_other_reports(cases: list, items: pa.Table, matches: pa.Table) -> None:
    ours = precision.score(precision.flagged(matches, len(cases)), cases)
    for name, rule in rules.PEERS.items():
        theirs = precision.score(rule(items, [case.text for case in cases]), cases)
        assert ours.recall > theirs.recall and ours.precision > theirs.precision, name


@pytest.mark.parametrize(("knob", "values"), [("min_coverage", (0.0, 0.3, 0.6, 0.9, 1.0)), ("long_factor", (1.0, 2.0, 8.0))])
def test_stricter_knobs_flag_less(matches: pa.Table, cases: list, knob: str, values: tuple[float, ...]) -> None:
    flags = [precision.flagged(matches, len(cases), precision.policy_with(knob, value)) for value in values]
    assert all((stricter <= looser).all() for looser, stricter in pairwise(flags))
    assert flags[-1].sum() < flags[0].sum()


def item_table(*texts: str, field: str = "question") -> pa.Table:
    rows = [{"benchmark": "b", "split": "", "item": str(number), "field": field, "text": text} for number, text in enumerate(texts)]
    return pa.Table.from_pylist(rows, schema=ITEM_SCHEMA)


def test_thirteen_words() -> None:
    words = [f"w{number}" for number in range(13)]
    texts = [" ".join(["x", *words, "y"]), " ".join([*words[1:], "x"]), ", ".join(words).upper()]
    assert rules.thirteen_grams(item_table(" ".join(words)), texts).tolist() == [1, 0, 1]
    assert rules.thirteen_grams(item_table(" ".join(words), field="passage"), texts).tolist() == [0, 0, 0]


def test_half_of_the_tokens_in_eight_grams() -> None:
    words = [f"w{number}" for number in range(20)]
    texts = [" ".join(words[:10]), " ".join(words[:9]), " ".join([*words[:8], "x", *words[8:16]]), " ".join([*words[:7], "x"] * 3)]
    assert rules.eight_gram_share(item_table(" ".join(words)), texts).tolist() == [1, 0, 1, 0]


@given(st.integers(50, 120), st.integers(0, 200), st.integers(0, 200))
def test_sampled_windows_are_the_formula_of_the_planted_length(leaked: int, before: int, after: int) -> None:
    """paper.md, section 5: 1 - (1 - (Lc - 49) / (Ld - 49)) ** 10 for Lc leaked of Ld characters."""
    item = "".join(chr(0x4E00 + number) for number in range(leaked))
    length = leaked + before + after
    found = rules.sampled_windows(item_table(item), ["a" * before + item + "b" * after])
    assert found == pytest.approx([1 - (1 - (leaked - 49) / (length - 49)) ** 10])


def test_sampled_windows_of_short_texts() -> None:
    assert rules.sampled_windows(item_table("a short one"), ["A short one!", "another", ""]).tolist() == [1, 0, 0]


def test_mode_paper_is_its_formula_on_average() -> None:
    """Item of 150 characters in documents of 150 to 2,000: the share of seeds lies within four deviations of the probability."""
    item = "".join(chr(0x4E00 + number) for number in range(150))
    texts = [item + "".join(chr(0x6000 + number) for number in range(rest)) for rest in (0, 100, 300, 600, 1850)] + ["b" * 300, "short"]
    items = item_table(item)
    found, expected = rules.paper_mode(items, texts), rules.sampled_windows(items, texts)
    assert (np.abs(found - expected) <= 4 * np.sqrt(expected * (1 - expected) / rules.PAPER_SEEDS) + 1e-9).all()
    assert found[0] == 1 and found[5:].tolist() == [0, 0]
    other = item_table("an unrelated question that is long enough to be a match of its own")
    passages = pa.concat_tables([other, item_table(item, field="passage")])
    assert not rules.paper_mode(passages, texts).any()


@given(st.text(max_size=40), st.integers(0, 5), st.integers(0, 9))
def test_changed_characters(text: str, changes: int, seed: int) -> None:
    result = planted.changed(text, changes, random.Random(seed))
    different = [(old, new) for old, new in zip(text, result, strict=True) if old != new]
    assert len(different) == min(changes, sum(letter.isalnum() for letter in text))
    assert all(old.isalnum() and normalize_text(old) != normalize_text(new) for old, new in different)
    assert all(("가" <= old <= "힣") == ("가" <= new <= "힣") for old, new in different)


def test_planted_groups_and_their_matches() -> None:
    long = [f"Which of the {number} towns by the grey estuary was the first to build a lighthouse of brick?" for number in range(9)]
    short = "Which metal melts in a warm hand?"
    rows = [("question", text, None) for text in long] + [("question", short, "gallium"), ("question", "Too short?", "yes it is")]
    records = [
        {"benchmark": "b", "split": "", "item": str(number), "field": field, "text": text, "answer": answer}
        for number, (field, text, answer) in enumerate(rows)
    ]
    records += [records[0] | {"text": long[0] + "\nA. Aster"}, records[1] | {"field": "answer", "text": "The town of Aster built it. " * 4}]
    items = pa.Table.from_pylist(records, schema=ITEM_SCHEMA)
    groups = planted.planted_groups(items, MatchSettings(), limit=4)
    assert {name: group["item"].to_pylist() for name, group in groups.items()} == {
        "questions": ["0", "2", "4", "6"],
        "answers": ["1"],
        "short questions, answer below": ["9"],
    }
    scanner = Scanner(build_index(items, MatchSettings()))
    for group in groups.values():
        matches = planted.own_matches(scanner, group, "whole", ["Rain fell on the market all day."])
        assert precision.flagged(matches, len(group)).all()
        own = group["item"].take(matches["row"])
        assert matches["item"].to_pylist() == own.to_pylist()


def test_score() -> None:
    cases = [
        precision.Case(str(number), "k", label, frozenset(), "") for number, label in enumerate(("leak", "leak", "clean", "undecided"))
    ]
    half = precision.score(np.array([1.0, 0.0, 1.0, 1.0]), cases)
    assert (half.recall, half.precision, half.f1, half.undecided) == (0.5, 0.5, 0.5, 1)
    assert precision.score(np.zeros(4), cases).precision == 1.0


def test_excerpts_are_harmless() -> None:
    text = "한글 | \x1b[31mred\x1b[0m\n" + "x" * 100
    shown = precision.excerpt(text, 0, len(text.encode()))
    assert shown.isprintable() and "|" not in shown and shown.startswith("한글 / ?[31mred") and len(shown) == precision.EXCERPT_CHARS


def write(path: Path, *records: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode()))


def test_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole script on a small folder laid out as DATA: what is planted is listed, what is not is counted as nothing."""
    sum_of_two = {
        "id": "gsm8k-test-0",
        "benchmark": "GSM8K",
        "question": "Ada picks nineteen figs and Ben picks twice as many. How many figs?",
    }
    doubling = {
        "id": "HumanEval/0",
        "benchmark": "HumanEval",
        "prompt": "def doubled_tide(values):\n    # the list of tides, each of them doubled\n",
    }
    write(tmp_path / "benchmarks" / "gsm8k_test.jsonl.gz", sum_of_two)
    write(tmp_path / "benchmarks" / "humaneval.jsonl.gz", doubling)
    write(tmp_path / "text" / "en" / "books_classic.jsonl.gz", {"id": "book", "text": f"Once: {sum_of_two['question']} The end."})
    for name in ("en/peps", "en/digitalgov", "ko/law"):
        write(tmp_path / "text" / f"{name}.jsonl.gz", {"id": name, "text": "Nothing of the kind."})
    rephrased = [{"benchmark": "GSM8K", "test_index": 0, "text": "Ben has two figs for each of the nineteen that Ada has. Count them all."}]
    rephrased += [{"benchmark": "HumanEval", "code_lang": "python", "test_index": 0, "text": doubling["prompt"]}]
    write(tmp_path / "labelled" / "decontam" / "rephrased.jsonl.gz", *rephrased)
    precision.main([str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    listed = [line for line in lines if line.startswith("| book |")]
    assert len(listed) == 1 and "gsm8k-test-0" in listed[0] and "Ada picks nineteen figs" in listed[0]
    cells = {line.split(" | ")[0]: line.strip("| ").split(" | ")[1:] for line in lines}
    assert cells["| law"][:1] == ["1"] and set(cells["| law"][2:]) == {"0"}
    assert cells["| questions"] == ["2", "1.0000", *cells["| questions"][2:]] and cells["| answers"][0] == "0"
    assert cells["| own item, 50 characters, decisive"] == cells["| any item, its formula"] == ["0.000", "1.000"]
