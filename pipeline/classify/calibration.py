"""How far a model's probabilities can be believed, and where they lie: reliability, calibration error, Brier score, percentiles."""

from __future__ import annotations

from typing import Any

import numpy as np

BINS = 10
"""Bins of the reliability table, of equally many documents: with bins of equal width most would be empty, as fastText is very sure."""

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)


def equal_mass_bins(scores: np.ndarray, bins: int = BINS) -> np.ndarray:
    """int64[n]: the bin, 0 to `bins` - 1, of each score: its mean place in ascending order, so equal scores share a bin.

    scores: float64[n]. Without ties bins differ by at most one document. A bin may be empty.
    """
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    before = np.cumsum(counts) - counts
    middle = 2 * before + counts  # twice the middle of the places that the equal scores take up: whole numbers have no rounding
    found: np.ndarray = (bins * middle // (2 * len(scores)))[places] if len(scores) else np.zeros(0, np.int64)
    return found


def calibration(scores: np.ndarray, outcomes: np.ndarray, brier: float | None = None) -> dict[str, Any]:
    """Expected calibration error, Brier score and the reliability table of probabilities.

    scores: float64[n], 0 to 1. outcomes: bool[n], whether what they are probabilities of came true. brier: the score over all labels,
    where there are several; None: the mean of (score - outcome) squared. The error is the mean over documents of
    |mean score - share that came true| of their bin (Naeini et al. 2015; Nixon et al. 2019 for bins of equal mass).
    """
    if not len(scores):
        return {"expected_error": None, "brier": None, "reliability": []}
    of_bin = equal_mass_bins(scores)
    counts = np.bincount(of_bin, minlength=BINS)
    mean = np.bincount(of_bin, weights=scores, minlength=BINS)
    share = np.bincount(of_bin, weights=outcomes, minlength=BINS)
    error = float(np.abs(mean - share).sum() / len(scores))
    table = [
        {
            "documents": int(counts[index]),
            "lowest": round(float(scores[of_bin == index].min()), 4),
            "highest": round(float(scores[of_bin == index].max()), 4),
            "mean_score": round(float(mean[index] / counts[index]), 4),
            "true_share": round(float(share[index] / counts[index]), 4),
        }
        for index in np.flatnonzero(counts)
    ]
    own = float(((scores - outcomes) ** 2).mean())
    return {"expected_error": round(error, 4), "brier": round(own if brier is None else brier, 4), "reliability": table}


def percentiles(scores: np.ndarray) -> dict[str, float]:
    """The score at each of PERCENTILES: the smallest one such that so many per cent of the documents score at or below it.

    scores: float64[n]. Kept to 6 places: a threshold may be as low as the 0.018 of DCLM's classifier. Empty without documents.
    """
    if not len(scores):
        return {}
    values = np.quantile(scores, np.array(PERCENTILES) / 100, method="inverted_cdf")
    return {str(percentile): round(float(value), 6) for percentile, value in zip(PERCENTILES, values, strict=True)}
