"""From the shares of a mixture to the loss of a model trained on it, learnt from many small runs.

The idea is RegMix (Liu et al. 2024, arXiv:2407.01492), which fits LightGBM. Here a law of few parameters goes first and boosted trees
learn what it leaves; how many trees, if any, is told by cross-validation on the runs themselves. docs/mixtures.md compares it with
LightGBM, ridge regression and the exponential mixing law.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]

FOLDS = 5
MAX_TREES, RATE, MIN_LEAF = 400, 0.05, 10
"""Most boosted trees, the share of each tree that is added, and the fewest runs in a leaf. On RegMix's 512 runs, by cross-validation,
800 trees change the mean error (.068) by less than .0001, a rate of .1 by .0001, and 5 or 20 runs in a leaf by .001."""

_PRIOR_LOG, _PRIOR_WEIGHT = -3.0, 0.03
"""A weak pull of the logs of a law's weights towards -3, in units of the loss's standard deviation. Without one the weight of a
domain that doesn't help runs off to nothing. A third of it or three times as much changes the held-out rank correlation by .0002."""

_STEPS, _DAMPING, _TOLERANCE = 200, 1e-2, 1e-9


@dataclass(frozen=True)
class Law:
    """loss = level - slope * log(base + sum of weight_j * share_j): the loss falls with the logarithm of the data that help.

    weights: float64[d], positive, as base and slope are.
    """

    weights: Reals
    base: float
    level: float
    slope: float

    def predict(self, shares: Reals) -> Reals:
        """float64[n] losses for float64[n, d] shares."""
        return self.level - self.slope * np.log(self.base + shares @ self.weights)


@dataclass(frozen=True)
class Trees:
    """Boosted trees as `regression_kernel.boost` writes them. edges: float64[d, BINS - 1], the upper ends of each feature's bins."""

    edges: Reals
    features: npt.NDArray[np.int64]
    cuts: npt.NDArray[np.int64]
    leaves: Reals

    def predict(self, shares: Reals) -> Reals:
        """float64[n]: the sum of all trees."""
        return self._sums(shares, 1)[0]

    def stages(self, shares: Reals) -> Reals:
        """float64[trees + 1, n]: the sums of none, the first, the first two, ... of the trees."""
        return self._sums(shares, len(self.features) + 1)

    def first(self, count: int) -> Trees:
        """The first `count` trees."""
        return Trees(self.edges, self.features[:count], self.cuts[:count], self.leaves[:count])

    def _sums(self, shares: Reals, rows: int) -> Reals:
        from pipeline.balance.regression_kernel import add_trees

        out = np.empty((rows, len(shares)), np.float64)
        add_trees(_binned(shares, self.edges), self.features, self.cuts, self.leaves, out)
        return out


@dataclass(frozen=True)
class Model:
    """What predicts one loss: a law, and trees for what it leaves."""

    law: Law
    trees: Trees

    def predict(self, shares: Reals) -> Reals:
        """float64[n] losses for float64[n, d] shares that sum to 1."""
        return self.law.predict(shares) + self.trees.predict(shares)


@dataclass(frozen=True)
class Fitted:
    """A model of one loss, and how well it predicts runs that it was not fitted to: by rank (Spearman) and in the loss's own units."""

    model: Model
    rank_correlation: float
    mean_error: float
    law_rank_correlation: float


def fit(shares: Reals, loss: Reals, seed: int) -> Fitted:
    """Fit one loss. shares: float64[n, d], rows sum to 1. loss: float64[n], finite, not constant; n above d and at least FOLDS.

    The number of trees is that with the least squared error over FOLDS held-out parts of the runs (0 is the law alone); the accuracy is
    that of the held-out predictions with this number.
    """
    order = np.random.default_rng(seed).permutation(len(loss))
    law_alone, held_out = np.empty(len(loss)), np.empty((MAX_TREES + 1, len(loss)))
    for fold in range(FOLDS):
        inside = np.ones(len(loss), bool)
        inside[order[fold::FOLDS]] = False
        law = fit_law(shares[inside], loss[inside])
        trees = fit_trees(shares[inside], loss[inside] - law.predict(shares[inside]))
        law_alone[~inside] = law.predict(shares[~inside])
        held_out[:, ~inside] = law_alone[~inside] + trees.stages(shares[~inside])
    count = int(np.argmin(((held_out - loss) ** 2).mean(axis=1)))
    law = fit_law(shares, loss)
    model = Model(law, fit_trees(shares, loss - law.predict(shares)).first(count))
    error = float(np.abs(held_out[count] - loss).mean())
    return Fitted(model, spearman(held_out[count], loss), error, spearman(law_alone, loss))


def fit_law(shares: Reals, loss: Reals) -> Law:
    """The law of least squared error, by Levenberg and Marquardt's method from one fixed start."""
    shift, scale = float(loss.mean()), float(loss.std()) or 1.0
    wanted = (loss - shift) / scale
    dimensions = shares.shape[1]
    at = np.concatenate([np.full(dimensions + 1, _PRIOR_LOG), [float(wanted.min()) - 1.0, 0.0]])  # logs of weights, base; level, log slope
    damping = _DAMPING
    residual, slopes = _residual(at, shares, wanted)
    for _ in range(_STEPS):
        curvature = slopes.T @ slopes
        step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature) + 1e-9), -slopes.T @ residual)
        step = np.clip(step, -2.0, 2.0)  # exponents: a factor of 7 at a time is enough
        tried, tried_slopes = _residual(at + step, shares, wanted)
        gained = residual @ residual - tried @ tried
        if gained < 0:
            damping *= 4.0
            if damping > 1e12:
                break
            continue
        at, damping = at + step, max(damping / 3.0, 1e-12)
        done = gained <= _TOLERANCE * (residual @ residual)
        residual, slopes = tried, tried_slopes
        if done:
            break
    slope = float(np.exp(at[-1])) * scale
    return Law(np.exp(at[:dimensions]), float(np.exp(at[dimensions])), float(at[-2]) * scale + shift, slope)


def _residual(at: Reals, shares: Reals, wanted: Reals) -> tuple[Reals, Reals]:
    """Residuals float64[n + d] of the law (and of its prior), and their derivatives by the d + 3 parameters."""
    dimensions = shares.shape[1]
    weighted = shares * np.exp(at[:dimensions])
    base, slope = np.exp(at[dimensions]), np.exp(at[-1])
    helpful = base + weighted.sum(axis=1)
    prior = _PRIOR_WEIGHT * (at[:dimensions] - _PRIOR_LOG)
    residual = np.concatenate([at[-2] - slope * np.log(helpful) - wanted, prior])
    slopes = np.zeros((len(residual), len(at)))
    rows = len(wanted)
    slopes[:rows, :dimensions] = -slope * weighted / helpful[:, None]
    slopes[:rows, dimensions] = -slope * base / helpful
    slopes[:rows, -2] = 1.0
    slopes[:rows, -1] = -slope * np.log(helpful)
    slopes[rows:, :dimensions] = _PRIOR_WEIGHT * np.eye(dimensions)
    return residual, slopes


def fit_trees(shares: Reals, target: Reals) -> Trees:
    """MAX_TREES boosted trees for float64[n] targets."""
    from pipeline.balance.regression_kernel import BINS, LEAVES, NODES, boost

    places = np.arange(1, BINS) / BINS
    edges = np.ascontiguousarray(np.quantile(shares, places, axis=0, method="inverted_cdf").T)
    features, cuts = np.empty((MAX_TREES, NODES), np.int64), np.empty((MAX_TREES, NODES), np.int64)
    leaves = np.empty((MAX_TREES, LEAVES), np.float64)
    boost(_binned(shares, edges), np.ascontiguousarray(target), RATE, MIN_LEAF, features, cuts, leaves)
    return Trees(edges, features, cuts, leaves)


def _binned(shares: Reals, edges: Reals) -> npt.NDArray[np.uint8]:
    """uint8[n, d]: how many of its feature's edges each share exceeds."""
    columns = [np.searchsorted(edge, column, side="left") for edge, column in zip(edges, shares.T, strict=True)]
    return np.ascontiguousarray(np.stack(columns, axis=1).astype(np.uint8))


def spearman(one: Sequence[float] | Reals, two: Sequence[float] | Reals) -> float:
    """Rank correlation (Spearman 1904): Pearson's of the ranks, equal values sharing their mean rank; 0 where one side is constant."""
    ranks = []
    for values in (one, two):
        _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[places])
    first, second = (rank - rank.mean() for rank in ranks)
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / norm if norm else 0.0
