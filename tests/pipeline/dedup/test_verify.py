"""Verification: exact similarities against the twin and against given truth, and what a sketch may rule out."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.bands import rejection_limits
from pipeline.dedup.shingles import Shingling
from pipeline.dedup.verify import exact_similarities

from . import twin
from .test_shingles import TEXTS, prepared


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.sampled_from([("bytes", 4), ("bytes", 27), ("words", 1), ("words", 2)]), st.booleans(), st.data())
def test_exact_similarity_is_that_of_the_twin(texts, kind, written, data):
    index = st.integers(0, len(texts) - 1)
    pairs = data.draw(st.lists(st.tuples(index, index), min_size=1, max_size=8))
    shingling = Shingling(*kind, written, seed=3)
    found = similarities(texts, pairs, shingling)
    expected = [twin.jaccard(texts[one], texts[other], shingling.size, shingling.unit, written) for one, other in pairs]
    assert found == expected
    threshold = data.draw(st.sampled_from([0.1, 0.3, 0.5, 0.75, 1.0]))
    for ours, true in zip(similarities(texts, pairs, shingling, threshold), expected, strict=True):
        assert ours == true or (ours == 0.0 and true < threshold)


def similarities(texts: list[str], pairs: list[tuple[int, int]], shingling: Shingling, threshold: float = 0.0) -> list[float]:
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    return exact_similarities(prepared(texts, shingling), left, right, shingling, threshold).tolist()


@pytest.mark.parametrize("korean", [False, True])
@pytest.mark.parametrize("shingling", [Shingling(), Shingling("words", 5)])
def test_exact_similarity_of_texts_of_many_blocks(korean, shingling):
    """More than 255 pairs with one left document, so that what marks its shingles as met is used again."""
    texts = [text for family in twin.families(4, 3, 400, (1, 30, 200), korean) for text in family] + ["", "x"]
    pairs = [(left, right) for left in (0, 5) for right in range(len(texts))] * 2 + [(4, right) for right in [5, 6, 7, 0] * 80]
    exact = {pair: twin.jaccard(texts[pair[0]], texts[pair[1]], shingling.size, shingling.unit) for pair in set(pairs)}
    assert similarities(texts, pairs, shingling) == [exact[pair] for pair in pairs]
    for threshold in (0.5, 0.9):
        found = similarities(texts, pairs, shingling, threshold)
        assert all(ours == exact[pair] or (ours == 0.0 and exact[pair] < threshold) for ours, pair in zip(found, pairs, strict=True))


def test_no_pairs_and_no_texts():
    none = np.zeros(0, np.int64)
    assert len(exact_similarities(prepared([]), none, none, Shingling())) == 0
    assert similarities(["", " "], [(0, 1), (0, 0)], Shingling()) == [0.0, 0.0]


def test_word_shingles_as_written_give_the_similarities_of_the_law_amendments(shared_data):
    """2,305 pairs of amendments of a law, with their Jaccard similarity of word 5-grams of `text.split()`, rounded to 4 digits."""
    folder = shared_data / "labelled" / "dedup"
    documents, pairs = (
        [json.loads(line) for line in gzip.decompress((folder / f"law_versions_{name}.jsonl.gz").read_bytes()).splitlines()]
        for name in ("docs", "pairs")
    )
    number = {document["id"]: index for index, document in enumerate(documents)}
    shingling = Shingling("words", 5, written=True)
    found = similarities(
        [document["text"] for document in documents], [(number[pair["a"]], number[pair["b"]]) for pair in pairs], shingling
    )
    assert len(pairs) > 2000
    assert np.abs(np.array(found) - [pair["jaccard_w5"] for pair in pairs]).max() <= 0.5001e-4


def test_rejection_needs_independent_slots():
    rejected_below = rejection_limits(0.8, 128)
    assert rejected_below[128] == 89  # 128 x (0.8 - 3 x 0.0354)
    assert rejected_below[1] == 0  # one shingle rules nothing out: the texts are compared
    assert (np.diff(rejected_below[1:]) >= 0).all()
