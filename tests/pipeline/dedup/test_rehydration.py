"""Rehydration: the step function against a slow twin, and tables fitted to planted removal rates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedup.config import DedupConfig
from pipeline.dedup.rehydration import MIN_DOCUMENTS, fit_table, weights
from pipeline.errors import UserError

TABLES = st.dictionaries(st.integers(2, 200), st.integers(0, 9), max_size=6).map(lambda more: {1: 1} | more)


def planted(rates: dict[int, float], documents: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """So many documents of each size, of which exactly that share is removed."""
    sizes = np.repeat(list(rates), documents)
    kept = np.concatenate([np.arange(documents) >= rate * documents for rate in rates.values()])
    return sizes, kept


@given(st.lists(st.integers(1, 300), max_size=40), TABLES)
def test_weight_is_that_of_the_largest_size_not_above(sizes, table):
    expected = [table[max(size for size in table if size <= one)] for one in sizes]
    found = weights(np.array(sizes, np.int32), dict(reversed(table.items())))
    assert found.tolist() == expected and found.dtype == np.int32


def test_the_default_table_is_that_of_fineweb_2_for_korean():
    sizes = np.array([1, 2, 4, 5, 19, 20, 62, 63, 10**9])
    assert weights(sizes, DedupConfig().rehydration).tolist() == [1, 2, 2, 3, 3, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("sizes", "table", "message"),
    [([1, 3], {2: 2}, "no entry for clusters of 1"), ([0], {1: 1}, "no entry for clusters of 0"), ([1], {}, "no entry for clusters of 1"),
     ([1], {1: 2**31}, "outside 0 to 2147483647"), ([1], {1: -1}, "outside 0 to 2147483647")],
)  # fmt: skip
def test_bad_tables_are_refused(sizes, table, message):
    with pytest.raises(UserError, match=message):
        weights(np.array(sizes), table)


def test_a_fitted_table_repeats_what_is_removed_less_than_the_average():
    """The shape that FineWeb-2 measured on Korean: worst for unique documents and for huge clusters, best in the middle."""
    rates = {1: 0.774, 2: 0.68, 5: 0.489, 20: 0.6, 63: 0.7, 177: 0.746}
    table = fit_table(*planted(rates), max_weight=3)
    assert table[1] == 1 and max(table.values()) == 3
    given_weights = dict(zip(rates, weights(np.array(list(rates)), table).tolist(), strict=True))
    assert given_weights[5] == 3 and given_weights[177] == given_weights[63] == 1 and given_weights[20] == 2


@given(
    st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=60).map(lambda some: some * 9),
    st.integers(1, 6),
)
def test_fitted_weights_follow_the_rule(documents, most):
    sizes, kept = np.array([size for size, _ in documents], np.int64), np.array([verdict for _, verdict in documents], bool)
    table = fit_table(sizes, kept, most)
    assert table[1] == 1 and all(1 <= weight <= most for weight in table.values())
    steps = list(table.values())
    assert list(table) == sorted(table) and all(one != other for one, other in pairwise(steps))
    average = 1 - kept.mean() if len(kept) else 0.0
    starts = [*table, 10**6]
    for start, end in pairwise(starts):
        inside = (sizes >= start) & (sizes < end) & (sizes > 1)
        if table[start] > 1:
            assert inside.sum() >= MIN_DOCUMENTS and 1 - kept[inside].mean() < average


@given(st.permutations(range(300)))
def test_the_order_of_documents_does_not_matter(order):
    sizes, kept = planted({1: 0.8, 2: 0.5, 3: 0.3}, 100)
    assert fit_table(sizes[order], kept[order], 5) == fit_table(sizes, kept, 5)


def test_too_few_copies_tell_nothing():
    sizes, kept = planted({1: 0.8}, 500)
    few = np.full(MIN_DOCUMENTS - 1, 2)
    assert fit_table(np.append(sizes, few), np.append(kept, np.ones(len(few), bool)), 5) == {1: 1}
    assert fit_table(np.zeros(0, np.int64), np.zeros(0, bool), 5) == {1: 1}


def test_sizes_with_few_documents_are_put_together():
    rates = {1: 0.9, **dict.fromkeys(range(2, 40), 0.5)}
    assert fit_table(*planted(rates, MIN_DOCUMENTS // 2), max_weight=4) == {1: 1, 2: 4}


@pytest.mark.parametrize(
    ("sizes", "kept", "most", "message"),
    [([1, 2], [True], 3, "2 cluster sizes and 1 verdicts"), ([0], [True], 3, "a cluster of 0"), ([1], [True], 0, "at least 1")],
)
def test_bad_measurements_are_refused(sizes, kept, most, message):
    with pytest.raises(UserError, match=message):
        fit_table(np.array(sizes), np.array(kept), most)
