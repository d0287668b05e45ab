"""The sampled method for comparison: its windows, its answers and its recall are those of the formula."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from decontam import DecontamError, MatchSettings, Scanner, build_index, normalize_text
from decontam.paper import PaperScanner, sample_windows, sampled_recall

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def words(rng: random.Random, size: int) -> str:
    return "".join(rng.choice(LETTERS) for _ in range(size))


def items(texts: list[str]) -> pa.Table:
    size = len(texts)
    names = [f"i{number}" for number in range(size)]
    return pa.table({"benchmark": ["b"] * size, "split": [""] * size, "item": names, "field": ["question"] * size, "text": texts})


def test_windows_depend_on_id_and_seed_alone() -> None:
    assert sample_windows("a", 1000, 10, 0) == sample_windows("a", 1000, 10, 0)
    assert sample_windows("a", 1000, 10, 0) != sample_windows("b", 1000, 10, 0) != sample_windows("b", 1000, 10, 1)
    drawn = np.concatenate([sample_windows(str(number), 16, 10, 0) for number in range(2000)])
    assert np.bincount(drawn, minlength=16).min() > 0.9 * len(drawn) / 16


def test_answers_equal_a_set_of_all_windows() -> None:
    rng = random.Random(0)
    texts = [words(rng, rng.randint(60, 200)) for _ in range(20)] + ["가나다라마바사 " * 20]
    documents = [f"{words(rng, 100)} {rng.choice(texts)[rng.randint(0, 40) :]}, {words(rng, 60)}" for _ in range(60)] + ["short"]
    table = pa.table({"id": [f"d{row}" for row in range(len(documents))], "text": documents})
    pool = {text[at : at + 50] for text in map(normalize_text, texts) for at in range(len(text) - 49)}
    expected = set()
    for row, document in enumerate(documents):
        text = normalize_text(document)
        drawn = sample_windows(f"d{row}", len(text) - 49, 10, 3) if len(text) >= 50 else []
        expected |= {(row, text[at : at + 50]) for at in drawn if text[at : at + 50] in pool}
    found = PaperScanner(build_index(items(texts), MatchSettings.parity()), seed=3).scan(table).to_pylist()
    pieces = [(match["row"], documents[match["row"]].encode()[match["start"] : match["end"]].decode()) for match in found]
    places = {(row, normalize_text(piece)) for row, piece in pieces}
    assert places == expected and len(places) > 20


def test_recall_is_that_of_the_formula() -> None:
    rng = random.Random(1)
    leak = words(rng, 150)
    documents = [words(rng, 900) + leak + words(rng, 950) for _ in range(1500)]
    table = pa.table({"id": [str(row) for row in range(len(documents))], "text": documents})
    index = build_index(items([leak]), MatchSettings.parity())
    share = len(set(PaperScanner(index).scan(table)["row"].to_pylist())) / len(documents)
    expected = sampled_recall(101, 2000 - 49)
    assert abs(share - expected) < 4 * (expected * (1 - expected) / len(documents)) ** 0.5
    assert 0.40 < expected < 0.42  # reference: 41 % for 150 characters in 2,000
    assert len(set(Scanner(index).scan(table)["row"].to_pylist())) == len(documents)


def test_bad_input() -> None:
    index = build_index(items(["x" * 60]))
    with pytest.raises(DecontamError, match="windows is 0"):
        PaperScanner(index, windows=0)
    with pytest.raises(DecontamError, match="no column 'id'"):
        PaperScanner(index).scan(pa.table({"text": ["x" * 60]}))
    assert len(PaperScanner(index).scan(pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}))) == 0
