"""Keyed permutations: bijections, different for every key, without a pattern."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.permutation import derive_key, numbered_keys, permute

KEYS = st.integers(0, 2**64 - 1)


def test_bijective_for_every_small_size():
    for size in range(1, 2001):
        assert np.array_equal(np.sort(permute(np.arange(size), size, derive_key("small", size))), np.arange(size)), size


@settings(max_examples=20, deadline=None)
@given(st.integers(2_001, 200_000), KEYS)
def test_bijective_for_larger_sizes(size, key):
    assert np.array_equal(np.sort(permute(np.arange(size), size, key)), np.arange(size))


@settings(max_examples=50, deadline=None)
@given(st.integers(2**32, 2**62), KEYS)
def test_stays_inside_and_never_meets_for_huge_sizes(size, key):
    values = np.unique(np.linspace(0, size - 1, 1000).astype(np.int64).clip(0, size - 1))
    out = permute(values, size, key)
    assert out.min() >= 0 and out.max() < size and len(np.unique(out)) == len(values)


def test_a_size_and_a_key_for_each_value_are_the_same_as_one_for_all():
    sizes, keys = np.array([5, 1000, 1, 77, 5]), numbered_keys(3, np.arange(5))
    each = permute(np.array([4, 999, 0, 3, 2]), sizes, keys)
    alone = [permute(np.array([value]), int(size), key)[0] for value, size, key in zip([4, 999, 0, 3, 2], sizes, keys, strict=True)]
    assert each.tolist() == alone


def test_keys_give_unrelated_orders():
    size = 5000
    orders = [permute(np.arange(size), size, key) for key in (0, 1, 2**63, *numbered_keys(9, np.arange(3)))]
    for place, one in enumerate(orders):
        for other in (np.arange(size), *orders[:place]):
            assert (one == other).sum() < 10  # 1 is expected of unrelated orders
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.06  # four standard deviations


def test_keys_of_words_and_numbers_are_all_different():
    keys = [
        derive_key("a", 1),
        derive_key("a1"),
        derive_key("a", "1"),
        derive_key(1, "a"),
        *numbered_keys(derive_key("a", 1), np.arange(5)),
    ]
    assert len({int(key) for key in keys}) == len(keys)


def test_where_a_value_goes_is_uniform():
    """Chi squared over keys, for sizes on both sides of a power of four."""
    for size in (3, 5, 16, 17, 60):
        keys = numbered_keys(1, np.arange(size * 400))
        for value in (0, size - 1):
            counts = np.bincount(permute(np.full(len(keys), value), size, keys), minlength=size)
            chi_squared = ((counts - 400) ** 2 / 400).sum()
            assert chi_squared < size - 1 + 5 * (2 * (size - 1)) ** 0.5, (size, value)


def test_neighbours_are_torn_apart():
    size = 4096
    out = permute(np.arange(size), size, 12345)
    steps = np.abs(np.diff(out))
    assert abs(steps.mean() - size / 3) < size * 0.02  # the mean distance of two random numbers
