"""Regression from mixtures to losses: the trees are their plain twin, known laws are found again, and the real runs are predicted."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.balance.regression import FOLDS, MAX_TREES, Law, fit, fit_law, fit_trees, spearman
from pipeline.balance.regression_kernel import BINS, DEPTH, LEAVES, NODES, boost


def random_shares(count: int, domains: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(domains, 0.5), count)


def split_of(rows, codes, left, min_leaf):
    """The feature and cut that lower the squared error of `rows` most, by trying each and measuring the error itself; None if none does."""

    def error(part):
        return ((left[part] - left[part].mean()) ** 2).sum() if len(part) else 0.0

    best, found = error(rows) - 1e-9, None
    for feature in range(codes.shape[1]):
        for cut in range(BINS):
            low, high = rows[codes[rows, feature] <= cut], rows[codes[rows, feature] > cut]
            if len(low) >= min_leaf and len(high) >= min_leaf and error(low) + error(high) < best - 1e-9:
                best, found = error(low) + error(high), (feature, cut)
    return found


def plain_tree(codes, left, min_leaf):
    """The slow twin of one tree: the value of each row's leaf."""
    out = np.zeros(len(left))

    def grow(rows, depth):
        split = split_of(rows, codes, left, min_leaf) if depth < DEPTH and len(rows) else None
        if split is None:
            out[rows] = left[rows].mean() if len(rows) else 0.0
            return
        goes_left = codes[rows, split[0]] <= split[1]
        grow(rows[goes_left], depth + 1)
        grow(rows[~goes_left], depth + 1)

    grow(np.arange(len(left)), 0)
    return out


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(5, 40), st.integers(1, 4), st.integers(1, 5))
def test_the_first_tree_lowers_the_error_as_much_as_its_plain_twin(seed, rows, domains, min_leaf):
    random = np.random.default_rng(seed)
    codes = random.integers(0, 6, (rows, domains)).astype(np.uint8)
    target = random.normal(size=rows)
    features, cuts, leaves = np.empty((1, NODES), np.int64), np.empty((1, NODES), np.int64), np.empty((1, LEAVES))
    boost(codes, target, 1.0, min_leaf, features, cuts, leaves)
    predicted = np.empty(rows)
    for row in range(rows):
        place = 0
        while place < NODES:
            feature = features[0, place]
            place = 2 * place + 1 + int(feature >= 0 and codes[row, feature] > cuts[0, place])
        predicted[row] = leaves[0, place - NODES]
    assert predicted == pytest.approx(plain_tree(codes, target, min_leaf), abs=1e-9)


def test_trees_learn_a_step_and_their_stages_add_up():
    shares = random_shares(300, 4, 1)
    target = np.where(shares[:, 2] > 0.1, 1.0, 0.0)
    trees = fit_trees(shares, target)
    stages = trees.stages(shares)
    assert stages.shape == (MAX_TREES + 1, 300) and not stages[0].any()
    assert stages[-1].tolist() == trees.predict(shares).tolist()
    assert stages[7].tolist() == trees.first(7).predict(shares).tolist()
    assert not trees.first(0).predict(shares).any()
    errors = ((stages - target) ** 2).mean(axis=1)
    assert np.all(np.diff(errors) < 1e-12) and errors[-1] < 0.01 * errors[0]


def test_a_law_is_found_again():
    truth = Law(np.array([2.0, 0.5, 0.01, 1.0]), 0.02, 3.0, 0.7)
    shares, unseen = random_shares(200, 4, 2), random_shares(50, 4, 3)
    found = fit_law(shares, truth.predict(shares))
    assert found.predict(unseen) == pytest.approx(truth.predict(unseen), abs=0.01)


def test_fitting_is_told_by_runs_it_has_not_seen():
    truth = Law(np.array([2.0, 0.5, 0.01, 1.0]), 0.02, 3.0, 0.7)
    shares, unseen = random_shares(200, 4, 4), random_shares(100, 4, 5)
    noise = np.random.default_rng(6).normal(scale=0.05, size=300)
    one = fit(shares, truth.predict(shares) + noise[:200], 0)
    assert one.rank_correlation > 0.97 and 0.03 < one.mean_error < 0.06  # the mean of |noise| is .04
    assert spearman(one.model.predict(unseen), truth.predict(unseen)) > 0.99
    again = fit(shares, truth.predict(shares) + noise[:200], 0)
    assert again.model.predict(unseen).tolist() == one.model.predict(unseen).tolist() and again.mean_error == one.mean_error
    blind = fit(shares, noise[:200], 0)
    assert abs(blind.rank_correlation) < 0.3 and len(blind.model.trees.features) < 20


def test_a_loss_scaled_or_shifted_changes_nothing_but_its_units():
    shares, unseen = random_shares(60, 3, 7), random_shares(20, 3, 8)
    loss = 3 - np.log(0.05 + shares @ np.array([1.0, 0.2, 0.7])) + 0.01 * np.sin(40 * shares[:, 0])
    plain, other = fit(shares, loss, 0), fit(shares, 10 * loss + 100, 0)
    assert other.model.law.predict(unseen) == pytest.approx(10 * plain.model.law.predict(unseen) + 100, rel=1e-6)
    assert other.rank_correlation == pytest.approx(plain.rank_correlation, abs=1e-3)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=30))
def test_spearman_is_pearson_of_mean_ranks(pairs):
    def ranks(values):
        return np.array([(sum(other < value for other in values) + sum(other <= value for other in values) + 1) / 2 for value in values])

    one, two = zip(*pairs, strict=True)
    expected = 0.0
    if len(set(one)) > 1 and len(set(two)) > 1:
        expected = float(np.corrcoef(ranks(one), ranks(two))[0, 1])
    assert spearman(one, two) == pytest.approx(expected, abs=1e-12)


def test_regmix_runs_are_predicted_from_their_training_half(shared_data):
    def table(name):
        with open(shared_data / "mixing" / f"{name}.csv", encoding="utf-8") as stream:
            names, *rows = csv.reader(stream)
        return names[1:], np.array([row[1:] for row in rows], np.float64)

    names, losses = table("train_pile_loss_1m")
    pile_cc = names.index("metric/the_pile_pile_cc_val_loss")
    shares, test_shares = (
        values / values.sum(axis=1, keepdims=True) for _, values in (table("train_mixture_1m"), table("test_mixture_1m"))
    )
    fitted = fit(shares, losses[:, pile_cc], 0)
    assert len(shares) // FOLDS > 100 and fitted.rank_correlation > fitted.law_rank_correlation
    for size in ("1m", "60m"):
        test_losses = table(f"test_pile_loss_{size}")[1][:, pile_cc]
        assert spearman(fitted.model.predict(test_shares), test_losses) > 0.98
