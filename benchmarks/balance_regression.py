"""Losses of mixtures predicted from small runs, beside other regressors: `OMP_NUM_THREADS=1 python benchmarks/balance_regression.py DATA`.

DATA is the folder of development data; its `mixing` holds RegMix's runs: 512 to learn from at 1M parameters; to test, 256 at 1M and the
same mixtures at 60M, and 64 at 1B. Needs scikit-learn, LightGBM and scipy. "held out" is five-fold cross-validation on the 512 runs; no
regressor sees a test run, and none is stopped by one. Numbers are means over the 13 losses.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from scipy.optimize import least_squares
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.balance.regression import FOLDS, fit, fit_law, spearman

Predict = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[np.ndarray, np.ndarray], Predict]

SIZES = ("1m", "60m", "1B")
SMALLEST = 5e-4  # shares are written with three digits


def table(path: Path) -> tuple[list[str], np.ndarray]:
    """Names and values of a CSV file without its first column."""
    with path.open(encoding="utf-8") as stream:
        names, *rows = csv.reader(stream)
    return names[1:], np.array([row[1:] for row in rows], np.float64)


def shares_of(path: Path) -> np.ndarray:
    values = table(path)[1]
    return values / values.sum(axis=1, keepdims=True)


def with_pairs(shares: np.ndarray) -> np.ndarray:
    """Logs of the shares and their products."""
    logs = np.log(shares + SMALLEST)
    one, two = np.triu_indices(logs.shape[1])
    return np.concatenate([logs, logs[:, one] * logs[:, two]], axis=1)


def ridge(features: Callable[[np.ndarray], np.ndarray]) -> Fit:
    """scikit-learn's ridge regression, its strength by leave-one-out."""

    def fitted(shares: np.ndarray, loss: np.ndarray) -> Predict:
        model: Any = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 5, 17))).fit(features(shares), loss)
        return lambda other: model.predict(features(other))

    return fitted


def exponential_law(shares: np.ndarray, loss: np.ndarray) -> Predict:
    """c + k exp(t . shares) (Ye et al. 2024, arXiv:2403.16952) by least squares, the best of two starts."""
    domains = shares.shape[1]

    def predicted(at: np.ndarray, values: np.ndarray) -> np.ndarray:
        return at[-2] + np.exp(np.minimum(at[-1] + values @ at[:domains], 50.0))

    found = []
    for seed in range(2):
        start = np.concatenate([np.random.default_rng(seed).normal(-1, 1, domains), [loss.min() - 0.5, 0.0]])
        found.append(
            least_squares(lambda at: np.concatenate([predicted(at, shares) - loss, 1e-3 * at[:domains]]), start, max_nfev=100)  # type: ignore[call-overload]
        )
    best = min(found, key=lambda result: result.cost).x
    return lambda other: predicted(best, other)


def boosted(shares: np.ndarray, loss: np.ndarray) -> Predict:
    """scikit-learn's histogram boosting: 300 trees of 8 leaves, rate .05."""
    model: Any = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=10, random_state=0)
    return model.fit(shares, loss).predict  # type: ignore[no-any-return]


def light(shares: np.ndarray, loss: np.ndarray) -> Predict:
    """LightGBM with the settings of RegMix's notebook (1,000 trees, rate .01), but not stopped by the test runs."""
    model: Any = lightgbm.LGBMRegressor(n_estimators=1000, learning_rate=0.01, random_state=42, n_jobs=1, verbose=-1)
    return model.fit(shares, loss).predict  # type: ignore[no-any-return]


def law_alone(shares: np.ndarray, loss: np.ndarray) -> Predict:
    return fit_law(shares, loss).predict


def ours(shares: np.ndarray, loss: np.ndarray) -> Predict:
    return fit(shares, loss, 0).model.predict


REGRESSORS: dict[str, Fit] = {
    "ridge on shares": ridge(lambda shares: shares),
    "ridge on logs and their products": ridge(with_pairs),
    "exponential mixing law": exponential_law,
    "our logarithmic law alone": law_alone,
    "scikit-learn histogram boosting": boosted,
    "LightGBM (RegMix)": light,
    "ours: law and trees": ours,
}


def held_out(regressor: Fit, shares: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Predictions of each run by a fit to the other four fifths."""
    order, found = np.random.default_rng(1).permutation(len(shares)), np.empty_like(losses)
    for fold in range(FOLDS):
        outside = order[fold::FOLDS]
        inside = np.setdiff1d(order, outside)
        for column in range(losses.shape[1]):
            found[outside, column] = regressor(shares[inside], losses[inside, column])(shares[outside])
    return found


def correlations(predicted: np.ndarray, losses: np.ndarray) -> list[float]:
    return [spearman(predicted[:, column], losses[:, column]) for column in range(losses.shape[1])]


def main() -> None:
    """Fit every regressor, print the means, then ours and LightGBM by loss, then ours with fewer runs and what choosing by it is worth."""
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    mixing = parser.parse_args().data / "mixing"
    shares, (names, losses) = shares_of(mixing / "train_mixture_1m.csv"), table(mixing / "train_pile_loss_1m.csv")
    tests = {size: (shares_of(mixing / f"test_mixture_{size}.csv"), table(mixing / f"test_pile_loss_{size}.csv")[1]) for size in SIZES}
    predictions: dict[str, dict[str, np.ndarray]] = {}
    print("| regressor | rank correlation held out | 1M | 60M | 1B | mean error held out | 1M | CPU s to fit 13 losses |")
    print("| --- |" + " --- |" * 7)
    for name, regressor in REGRESSORS.items():
        out = held_out(regressor, shares, losses)
        started = time.process_time()
        fitted = [regressor(shares, losses[:, column]) for column in range(len(names))]
        seconds = time.process_time() - started
        predictions[name] = {size: np.stack([predict(values) for predict in fitted], axis=1) for size, (values, _) in tests.items()}
        ranks = [correlations(out, losses), *(correlations(predictions[name][size], tests[size][1]) for size in SIZES)]
        errors = [np.abs(out - losses).mean(), np.abs(predictions[name]["1m"] - tests["1m"][1]).mean()]
        cells = [f"{100 * np.mean(rank):.2f}" for rank in ranks] + [f"{error:.4f}" for error in errors] + [f"{seconds:.1f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    ours_name, peer = "ours: law and trees", "LightGBM (RegMix)"
    print("\n| loss | ours 1M | 60M | 1B | LightGBM 1M | 60M | 1B | ours, mean error 1M | LightGBM |\n| --- |" + " --- |" * 8)
    for column, name in enumerate(names):
        pairs = [(predictions[which][size][:, column], tests[size][1][:, column]) for which in (ours_name, peer) for size in SIZES]
        cells = [f"{100 * spearman(one, two):.2f}" for one, two in pairs]
        cells += [f"{np.abs(pairs[place][0] - pairs[place][1]).mean():.4f}" for place in (0, len(SIZES))]
        print(f"| {name.removeprefix('metric/the_pile_').removesuffix('_val_loss')} | {' | '.join(cells)} |")
    print(
        "\n| runs | held out, as the command says | law alone | 1M | 60M | 1B | LightGBM 1M | place of the run preferred at 1M | 60M | 1B |"
    )
    print("| --- |" + " --- |" * 9)
    for count in (32, 64, 128, 256, 512):
        models = [fit(shares[:count], losses[:count, column], 0) for column in range(len(names))]
        said = [np.mean([model.rank_correlation for model in models]), np.mean([model.law_rank_correlation for model in models])]
        places = []
        for values, truth in tests.values():
            predicted = np.stack([model.model.predict(values) for model in models], axis=1)
            said.append(np.mean(correlations(predicted, truth)))
            means = truth.mean(axis=1)
            places.append(f"{int((means < means[np.argmin(predicted.mean(axis=1))]).sum()) + 1} of {len(means)}")
        peers = [light(shares[:count], losses[:count, column])(tests["1m"][0]) for column in range(len(names))]
        said.append(np.mean(correlations(np.stack(peers, axis=1), tests["1m"][1])))
        print(f"| {count} | {' | '.join(f'{100 * value:.2f}' for value in said)} | {' | '.join(places)} |")


if __name__ == "__main__":
    main()
