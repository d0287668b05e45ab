"""Shingles and sketches: the kernel against its twin, unbiased estimates, texts that are short or empty."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decontam.normalize import Normalized, normalize_batch
from pipeline.dedup.shingles import hash_shingles, powers
from pipeline.dedup.sketch import sketch_batch

from . import twin

TEXTS = st.lists(st.text(alphabet="ab가나é𠮷 \n!ㅋ1", max_size=80), min_size=1, max_size=6)


def normalized(texts: list[str]) -> Normalized:
    return normalize_batch(pa.array(texts, pa.large_string()))


def hashes(text: str, shingle_bytes: int, seed: int = 1) -> list[int]:
    codepoints = normalized([text]).codepoints
    out = np.empty(max(len(codepoints), 1), np.uint64)
    count = hash_shingles(codepoints, 0, len(codepoints), shingle_bytes, np.uint64(seed), powers(shingle_bytes), out)
    return out[:count].tolist()


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.sampled_from([4, 9, 27]))
def test_shingles_are_those_of_the_twin_and_hash_alike_exactly_when_equal(texts, shingle_bytes):
    by_shingle, by_hash = {}, {}
    for text in texts:
        expected, found = twin.shingles(text, shingle_bytes), hashes(text, shingle_bytes)
        assert len(expected) == len(found)
        for shingle, value in zip(expected, found, strict=True):
            assert by_shingle.setdefault(shingle, value) == value
            assert by_hash.setdefault(value, shingle) == shingle


def test_a_shingle_is_27_latin_letters_or_9_syllables():
    assert len(hashes("a" * 27, 27)) == 1 and len(hashes("a" * 28, 27)) == 2
    assert len(hashes("가" * 9, 27)) == 1 and len(hashes("가" * 10, 27)) == 2
    assert len(hashes("가" * 3, 27)) == 1  # shorter than a shingle: the whole text


def test_hangul_composed_or_decomposed_is_the_same_text():
    text = "정규화된 한글 문서 하나"
    decomposed = unicodedata.normalize("NFD", text)
    assert decomposed != text and hashes(decomposed, 27) == hashes(text, 27)


def test_seed_changes_every_hash():
    one, other = hashes("the quick brown fox jumps over it", 27, 1), hashes("the quick brown fox jumps over it", 27, 2)
    assert len(one) == len(other) == 1 and set(one).isdisjoint(other)  # 27 letters remain without the spaces


def test_empty_text_has_no_sketch_and_short_texts_have_one_of_their_own():
    texts = ["", " \n!?", "가", "나", "a b c", "abc"]
    sketches = sketch_batch(normalized(texts), 128, 27, 1)
    assert sketches.filled.tolist() == [0, 0, 1, 1, 1, 1]
    assert (sketches.signatures[2] != sketches.signatures[3]).all()
    assert (sketches.signatures[4] == sketches.signatures[5]).all()


def test_a_sketch_does_not_depend_on_the_batch_or_on_writable_buffers():
    texts = [family[0] for family in twin.families(3, 5, 60, (), korean=True)] + ["", "짧다"]
    together = sketch_batch(normalized(texts), 64, 27, 9)
    whole = normalized(texts)
    whole.codepoints.flags.writeable = False
    whole.offsets.flags.writeable = False
    assert (sketch_batch(whole, 64, 27, 9).signatures == together.signatures).all()
    for index, text in enumerate(texts):
        alone = sketch_batch(normalized([text]), 64, 27, 9)
        assert (alone.signatures[0] == together.signatures[index]).all() and alone.filled[0] == together.filled[index]


@pytest.mark.parametrize(("length", "changes"), [(300, 12), (12, 1), (300, 60)])
@pytest.mark.parametrize("korean", [False, True])
def test_equal_slots_estimate_jaccard_without_bias(length, changes, korean):
    """Also for texts with fewer shingles than slots, where most of the sketch is densified."""
    pairs = twin.families(5, 150, length, (changes,), korean)
    left, right = (normalized([pair[side] for pair in pairs]) for side in (0, 1))
    exact = np.array([twin.jaccard(*pair) for pair in pairs])
    one, other = sketch_batch(left, 128, 27, 4), sketch_batch(right, 128, 27, 4)
    error = (one.signatures == other.signatures).mean(axis=1) - exact
    filled = np.minimum(one.filled, other.filled)
    sigma = np.sqrt(np.maximum(exact * (1 - exact), 1e-3) / filled)
    assert abs(error.mean()) < 4 * np.sqrt((sigma**2).sum()) / len(pairs)
    assert (np.abs(error) < 3 * sigma).mean() > 0.97  # the error model that verification relies on
