"""Scores of a classifier on held-out documents: accuracy, F1, confusion, area under the ROC curve, average precision.

Formulas are written out here and compared with slow twins in the tests. How far probabilities can be believed is in `calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.classify.calibration import calibration, percentiles


def mean_ranks(scores: np.ndarray) -> np.ndarray:
    """float64[n]: the place of each score from 1 to n in ascending order; equal scores share the mean of their places."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def area_under_curve(scores: np.ndarray, is_positive: np.ndarray) -> float | None:
    """Probability that a positive document scores above a negative one, ties counting half; None without both kinds.

    scores: float64[n]. is_positive: bool[n]. Mann-Whitney U over the number of pairs (Hanley and McNeil 1982).
    """
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if not positives or not negatives:
        return None
    rank_sum = float(mean_ranks(scores)[is_positive].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(scores: np.ndarray, is_positive: np.ndarray) -> float | None:
    """Sum over thresholds t, from high to low, of (recall at t - recall at the one before) x precision at t; None without positives.

    scores: float64[n]. is_positive: bool[n]. One threshold per distinct score, so the order of equal scores doesn't count
    (Manning, Raghavan and Schütze 2008, section 8.4, without interpolation).
    """
    positives = int(is_positive.sum())
    if not positives:
        return None
    _, places, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    found = np.cumsum(np.bincount(places, weights=is_positive, minlength=len(counts)))
    precision = found / np.cumsum(counts)
    return float((np.diff(found, prepend=0.0) * precision).sum() / positives)


def evaluate(labels: Sequence[str], truth: np.ndarray, probabilities: np.ndarray, positive: int | None) -> dict[str, Any]:
    """Every measure of these documents, rounded to 4 places; those that they can't tell (no positives, say) are None.

    truth: int64[n], indexes into `labels`. probabilities: float64[n, len(labels)]. positive: the label whose AUC, average precision,
    calibration and percentiles are wanted. None: the mean of every label's AUC against the rest, and calibration and percentiles of
    the best label's probability. `confusion`: row by true label, column by predicted one, in the order of `labels`.
    """
    predicted = probabilities.argmax(axis=1) if len(truth) else np.zeros(0, np.int64)
    confusion = np.bincount(truth * len(labels) + predicted, minlength=len(labels) ** 2).reshape(len(labels), len(labels))
    per_label = {label: _one_label(confusion, index) for index, label in enumerate(labels)}
    present = [facts["f1"] for facts in per_label.values() if facts["documents"]]
    wanted = range(len(labels)) if positive is None else [positive]
    curves = [area_under_curve(probabilities[:, index], truth == index) for index in wanted]
    known = [curve for curve in curves if curve is not None]
    if positive is None:
        scores, outcomes = probabilities.max(axis=1, initial=0.0), truth == predicted
    else:
        scores, outcomes = probabilities[:, positive], truth == positive
    result: dict[str, Any] = {
        "documents": len(truth),
        "accuracy": _rounded(float((predicted == truth).mean())) if len(truth) else None,
        "macro_f1": _rounded(sum(present) / len(present)) if present else None,
        "auc": _rounded(sum(known) / len(known)) if known else None,
    }
    if positive is not None:
        result["average_precision"] = _rounded(average_precision(scores, outcomes))
    full = _brier_of_labels(truth, probabilities) if positive is None else None
    for facts in per_label.values():
        facts["f1"] = _rounded(facts["f1"])
    return result | {
        "calibration": calibration(scores, outcomes, full),
        "percentiles": percentiles(scores),
        "labels": per_label,
        "confusion": confusion.tolist(),
    }


def _brier_of_labels(truth: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Mean over documents of the sum over labels of (probability - 1 if true else 0) squared, 0 to 2 (Brier 1950)."""
    if not len(truth):
        return None
    wanted = np.zeros_like(probabilities)
    wanted[np.arange(len(truth)), truth] = 1.0
    return float(((probabilities - wanted) ** 2).sum(axis=1).mean())


def _one_label(confusion: np.ndarray, index: int) -> dict[str, Any]:
    both, true, predicted = int(confusion[index, index]), int(confusion[index].sum()), int(confusion[:, index].sum())
    return {
        "documents": true,
        "precision": round(both / predicted, 4) if predicted else None,
        "recall": round(both / true, 4) if true else None,
        "f1": 2 * both / (true + predicted) if true + predicted else 0.0,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
