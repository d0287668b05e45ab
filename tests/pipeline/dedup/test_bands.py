"""Bands: the probability curve, the choice of bands, keys that depend on order and place, and the recall that all this promises."""

from __future__ import annotations

from math import comb

import numpy as np
import pyarrow as pa
import pytest

from pipeline.dedup.bands import MISS_WEIGHT, areas, band_keys, candidate_probability, choose_bands
from pipeline.dedup.minhash import minhash_batch
from pipeline.dedup.shingles import Shingling, prepare
from pipeline.dedup.sketch import sketch_batch

from . import twin


def cost(bands: int, rows: int, threshold: float, weight: float = MISS_WEIGHT) -> float:
    """The weighted areas, by another rule of integration than the code's."""
    grid = np.linspace(0, 1, 4001)
    curve = 1 - (1 - grid**rows) ** bands
    needless, missed = np.where(grid < threshold, curve, 0), np.where(grid >= threshold, 1 - curve, 0)
    return float((1 - weight) * np.trapezoid(needless, grid) + weight * np.trapezoid(missed, grid))


@pytest.mark.parametrize(("bands", "rows", "similarity", "expected"), [(14, 8, 0.5, 0.053), (14, 8, 0.8, 0.924), (20, 13, 0.8, 0.677)])
def test_probability_of_known_settings(bands, rows, similarity, expected):
    """FineWeb's and NeMo Curator's settings, as published curves have them."""
    assert candidate_probability(similarity, bands, rows) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("threshold", "permutations"), [(0.8, 128), (0.5, 64), (0.95, 256)])
def test_the_choice_is_the_cheapest(threshold, permutations):
    bands, rows = choose_bands(threshold, permutations)
    assert bands * rows <= permutations
    others = [
        (other, width) for width in range(1, permutations + 1) for other in {permutations // width, max(1, permutations // width - 2)}
    ]
    assert cost(bands, rows, threshold) <= min(cost(*other, threshold) for other in others) + 1e-4


def test_default_finds_nearly_all_pairs_at_the_threshold():
    assert candidate_probability(0.8, *choose_bands(0.8, 128)) > 0.97
    assert candidate_probability(0.9, *choose_bands(0.8, 128)) > 0.9999


def test_keys_are_hashes_of_the_tuple_not_sums():
    """A well-known Bloom index adds a band's minima up: unrelated documents then share keys, as do permuted slots."""
    signature = np.arange(1, 13, dtype=np.uint32).reshape(1, -1)
    swapped = signature.copy()
    swapped[0, [0, 1]] = swapped[0, [1, 0]]
    one, other = band_keys(signature, 3, 4), band_keys(swapped, 3, 4)
    assert one[0, 0] != other[0, 0] and (one[0, 1:] == other[0, 1:]).all()
    small = np.random.default_rng(1).integers(0, 50, (20000, 4)).astype(np.uint32)
    keys = band_keys(small, 1, 4)[:, 0]
    assert len(np.unique(keys)) == len(np.unique(small, axis=0))


def test_equal_slots_in_different_bands_have_different_keys():
    keys = band_keys(np.full((1, 12), 7, np.uint32), 3, 4)
    assert len(set(keys[0].tolist())) == 3


def test_unrelated_documents_share_no_key_though_their_minima_crowd_near_zero():
    """100,000 documents of 1000 shingles: the minimum of 1000 random hashes lies in the lowest thousandths, so sums of 8 often meet."""
    uniform = np.random.default_rng(3).random((100_000, 24))
    signatures = ((1.0 - uniform ** (1 / 1000)) * 2.0**32).astype(np.uint32)
    keys = band_keys(signatures, 3, 8)
    assert len(np.unique(keys)) == keys.size
    sums = signatures[:, :8].sum(axis=1, dtype=np.uint64)
    assert len(np.unique(sums)) < len(sums) - 100  # what keys made by adding do on the same signatures


@pytest.mark.parametrize("bits", [1, 2])
def test_keys_collide_no_more_often_than_the_tuples_of_their_slots(bits):
    """Slots of few values, where a weak hash would send different tuples to one key: here every key stands for one tuple of one band."""
    slots = np.random.default_rng(bits).integers(0, 1 << bits, (30_000, 12)).astype(np.uint32)
    keys = band_keys(slots, 2, 6)
    for band in range(2):
        assert len(np.unique(keys[:, band])) == len(np.unique(slots[:, 6 * band : 6 * band + 6], axis=0))
    assert np.intersect1d(keys[:, 0], keys[:, 1]).size == 0


def test_keys_need_as_many_slots_as_the_bands_have():
    with pytest.raises(ValueError, match="5 bands of 4 slots need 20 slots, and there are 16"):
        band_keys(np.zeros((1, 16), np.uint32), 5, 4)


@pytest.mark.parametrize(("threshold", "bands", "rows"), [(0.8, 17, 7), (0.5, 20, 3), (0.95, 4, 30)])
def test_areas_are_the_integrals(threshold, bands, rows):
    """By the antiderivative of the probability, term by term of the binomial, instead of by a grid."""

    def integral(upper: float) -> float:
        """Of (1 - s^rows)^bands from 0."""
        return sum((-1) ** k * comb(bands, k) * upper ** (rows * k + 1) / (rows * k + 1) for k in range(bands + 1))

    missed, needless = areas(threshold, bands, rows)
    assert missed == pytest.approx(integral(1.0) - integral(threshold), abs=2e-6)
    assert needless == pytest.approx(threshold - integral(threshold), abs=2e-6)


@pytest.mark.parametrize(("threshold", "permutations"), [(0.5, 64), (0.8, 64), (0.9, 32)])
def test_with_equal_weights_the_choice_is_that_of_datasketch(threshold, permutations):
    from datasketch.lsh import _optimal_param

    assert choose_bands(threshold, permutations, miss_weight=0.5) == _optimal_param(threshold, permutations, 0.5, 0.5)


@pytest.mark.parametrize("sketch", [sketch_batch, minhash_batch])
@pytest.mark.parametrize("korean", [False, True])
def test_recall_follows_the_curve(korean, sketch):
    """Pairs of known exact similarity become candidates as often as 1 - (1 - s^r)^b says."""
    bands, rows = 12, 8
    pairs = [pair for changes in (1, 2, 4, 8) for pair in twin.families(changes, 80, 120, (changes,), korean)]
    shingling = Shingling(seed=2)
    sides = [prepare(pa.array([pair[side] for pair in pairs], pa.large_string()), shingling) for side in (0, 1)]
    left, right = (sketch(side, 96, shingling).signatures for side in sides)
    found = (band_keys(left, bands, rows) == band_keys(right, bands, rows)).any(axis=1)
    expected = np.asarray(candidate_probability(np.array([twin.jaccard(*pair) for pair in pairs]), bands, rows))
    assert 0.1 < expected.mean() < 0.9  # the pairs span the curve's slope
    assert abs(found.mean() - expected.mean()) < 4 * np.sqrt((expected * (1 - expected)).sum()) / len(pairs) + 0.01
    assert found[expected > 0.99].mean() > 0.97
