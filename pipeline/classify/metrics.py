"""Scores of a classifier on held-out documents: accuracy, F1 and area under the ROC curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def area_under_curve(scores: np.ndarray, is_positive: np.ndarray) -> float | None:
    """Probability that a positive document scores above a negative one, ties counting half; None without both kinds.

    scores: float64[n]. is_positive: bool[n]. Mann-Whitney U over the number of pairs (Hanley and McNeil 1982).
    """
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if not positives or not negatives:
        return None
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(mean_ranks[places][is_positive].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def evaluate(labels: Sequence[str], truth: np.ndarray, probabilities: np.ndarray, positive: int | None) -> dict[str, Any]:
    """Accuracy, macro F1, AUC, and per label precision, recall and count, rounded to 4 places.

    truth: int64[n], indexes into `labels`. probabilities: float64[n, len(labels)]. positive: the label whose AUC is wanted; None:
    the mean of every label's AUC against the rest. Measures that these documents can't tell (no positives, say) are None.
    """
    predicted = probabilities.argmax(axis=1) if len(truth) else np.zeros(0, np.int64)
    per_label = {label: _one_label(truth == index, predicted == index) for index, label in enumerate(labels)}
    present = [facts["f1"] for facts in per_label.values() if facts["documents"]]
    wanted = range(len(labels)) if positive is None else [positive]
    curves = [area_under_curve(probabilities[:, index], truth == index) for index in wanted]
    known = [curve for curve in curves if curve is not None]
    return {
        "documents": len(truth),
        "accuracy": round(float((predicted == truth).mean()), 4) if len(truth) else None,
        "macro_f1": round(sum(present) / len(present), 4) if present else None,
        "auc": round(sum(known) / len(known), 4) if known else None,
        "labels": per_label,
    }


def _one_label(is_true: np.ndarray, is_predicted: np.ndarray) -> dict[str, Any]:
    both, true, predicted = int((is_true & is_predicted).sum()), int(is_true.sum()), int(is_predicted.sum())
    return {
        "documents": true,
        "precision": round(both / predicted, 4) if predicted else None,
        "recall": round(both / true, 4) if true else None,
        "f1": round(2 * both / (true + predicted), 4) if true + predicted else 0.0,
    }
