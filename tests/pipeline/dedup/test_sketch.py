"""Sketches: the kernel against its twin, unbiased estimates with the error that theory gives, texts that are short or empty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.shingles import Shingling
from pipeline.dedup.sketch import sketch_batch

from . import twin
from .test_shingles import SHINGLINGS, TEXTS, hashes, prepared

BYTES = Shingling("bytes", 27, seed=9)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.sampled_from(SHINGLINGS), st.sampled_from([16, 100]))
def test_sketches_are_those_of_the_twin(texts, shingling, slots):
    sketches = sketch_batch(prepared(texts, shingling), slots, shingling)
    assert sketches.signatures.dtype == np.uint32 and sketches.filled.dtype == np.uint16
    for index, text in enumerate(texts):
        expected = twin.sketch(hashes(text, shingling), slots, shingling.seed)
        assert (sketches.signatures[index].tolist(), sketches.filled[index]) == expected


def test_a_long_text_fills_all_slots_and_is_sketched_as_by_the_twin():
    text = " ".join(twin.families(1, 1, 900, (), korean=True)[0] + twin.families(1, 1, 900, (), korean=False)[0])
    sketches = sketch_batch(prepared([text], BYTES), 128, BYTES)
    assert (sketches.signatures[0].tolist(), sketches.filled[0]) == twin.sketch(hashes(text, BYTES), 128, 9)
    assert sketches.filled[0] == 128


def test_empty_text_has_no_sketch_and_short_texts_have_one_of_their_own():
    texts = ["", " \n!?", "가", "나", "a b c", "abc"]
    sketches = sketch_batch(prepared(texts), 128, Shingling())
    assert sketches.filled.tolist() == [0, 0, 1, 1, 1, 1]
    assert (sketches.signatures[2] != sketches.signatures[3]).all()
    assert (sketches.signatures[4] == sketches.signatures[5]).all()
    assert len(sketch_batch(prepared([]), 128, Shingling()).signatures) == 0


def test_short_texts_share_no_key_of_an_empty_window():
    """Peers give every text of fewer words than a shingle the same key, so that all of them but one are dropped."""
    words = Shingling("words", 5, written=True)
    texts = [f"{word} text" for word in ("one", "other", "third")]
    signatures = sketch_batch(prepared(texts, words), 64, words).signatures
    assert all((signatures[one] != signatures[other]).all() for one, other in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("shingling", SHINGLINGS)
def test_a_sketch_does_not_depend_on_the_batch_or_on_writable_buffers(shingling):
    texts = [family[0] for family in twin.families(3, 5, 60, (), korean=True)] + ["", "짧다"]
    whole = prepared(texts, shingling)
    together = sketch_batch(whole, 64, shingling)
    for array in (whole.codepoints, whole.offsets, whole.breaks):
        if array is not None:
            array.flags.writeable = False
    assert (sketch_batch(whole, 64, shingling).signatures == together.signatures).all()
    for index, text in enumerate(texts):
        alone = sketch_batch(prepared([text], shingling), 64, shingling)
        assert (alone.signatures[0] == together.signatures[index]).all() and alone.filled[0] == together.filled[index]


def test_the_seed_decides():
    texts = prepared([twin.families(3, 1, 300, (), korean=False)[0][0]])
    first, again, other = (sketch_batch(texts, 64, Shingling(seed=seed)).signatures for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


@pytest.mark.parametrize(("length", "changes"), [(300, 12), (12, 1), (300, 60)])
@pytest.mark.parametrize(("korean", "kind"), [(False, ("bytes", 27)), (True, ("bytes", 27)), (False, ("words", 3)), (True, ("words", 3))])
def test_equal_slots_estimate_jaccard_without_bias(length, changes, korean, kind):
    """Also for texts with fewer shingles than slots, where most of the sketch is densified."""
    shingling = Shingling(*kind, seed=4)
    pairs = twin.families(5, 150, length, (changes,), korean)
    one, other = (sketch_batch(prepared([pair[side] for pair in pairs], shingling), 128, shingling) for side in (0, 1))
    exact = np.array([twin.jaccard(*pair, shingling.size, shingling.unit) for pair in pairs])
    error = (one.signatures == other.signatures).mean(axis=1) - exact
    filled = np.minimum(one.filled, other.filled)
    sigma = np.sqrt(np.maximum(exact * (1 - exact), 1e-3) / filled)
    assert abs(error.mean()) < 4 * np.sqrt((sigma**2).sum()) / len(pairs)
    assert (np.abs(error) < 3 * sigma).mean() > 0.97  # the error model that verification relies on


@pytest.mark.parametrize("korean", [False, True])
def test_the_error_of_long_texts_is_that_of_independent_slots(korean):
    """A binomial of 128 draws has variance J (1 - J) / 128; one-permutation sketches of many shingles have a little less."""
    pairs = twin.families(8, 400, 400, (20,), korean)
    one, other = (sketch_batch(prepared([pair[side] for pair in pairs]), 128, Shingling()) for side in (0, 1))
    exact = np.array([twin.jaccard(*pair) for pair in pairs])
    scaled = ((one.signatures == other.signatures).mean(axis=1) - exact) / np.sqrt(exact * (1 - exact) / 128)
    assert abs(scaled.mean()) < 4 / np.sqrt(len(pairs))
    assert 0.8 < scaled.std() < 1.15


@pytest.mark.parametrize("length", [20, 300, 3000])
def test_the_low_byte_of_a_slot_is_uniform(length):
    """It is what is stored of it. Minima crowd near zero, so their high bits would not do."""
    texts = [family[0] for family in twin.families(2, 400 if length < 3000 else 60, length, (), korean=True)]
    sketches = sketch_batch(prepared(texts), 128, Shingling())
    # Copies that densification made are not independent of their origin.
    own = np.concatenate([np.unique(row) for row in sketches.signatures]) & 0xFF
    counts = np.bincount(own, minlength=256)
    expected = len(own) / 256
    assert ((counts - expected) ** 2 / expected).sum() < 255 + 5 * np.sqrt(2 * 255)  # chi-square, 5 standard deviations


def test_different_texts_agree_in_a_low_byte_as_often_as_chance_has_it():
    texts = [family[0] for family in twin.families(6, 200, 300, (), korean=False)]
    low = sketch_batch(prepared(texts), 128, Shingling()).signatures & 0xFF
    agreeing = np.mean([(low[first] == low[first + 1 :]).mean() for first in range(len(low) - 1)])
    assert abs(agreeing - 1 / 256) < 5e-4
