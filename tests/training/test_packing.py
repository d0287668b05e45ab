"""Best fit decreasing against the obvious algorithm."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.packing import best_fit


def slow_best_fit(sizes, room):
    """Room left of each bin, by trying all of them."""
    left = []
    for size in sorted(sizes, reverse=True):
        fits = [place for place, rest in enumerate(left) if rest >= size]
        if fits:
            left[min(fits, key=left.__getitem__)] -= size
        else:
            left.append(room - size)
    return left


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 70).flatmap(lambda room: st.tuples(st.just(room), st.lists(st.integers(1, room), max_size=80))))
def test_bins_are_those_of_the_slow_twin(case):
    room, sizes = case
    bins, count = best_fit(np.array(sizes, np.int64), room)
    filled = np.bincount(bins, sizes, count).astype(int) if sizes else np.zeros(0, int)
    expected = slow_best_fit(sizes, room)
    assert count == len(expected)
    assert sorted(room - filled) == sorted(expected)


def test_documents_of_natural_lengths_leave_hardly_any_padding():
    sizes = np.random.default_rng(0).lognormal(6, 1.2, 20_000).astype(np.int64).clip(1, 4096)
    _, count = best_fit(sizes, 4096)
    assert count <= 1.002 * sizes.sum() / 4096 + 1
