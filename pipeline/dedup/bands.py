"""What sketches decide before any text is read: which pairs are compared, by bands, and which of these are ruled out, by their estimate.

A sketch is cut into `bands` groups of `rows` slots. Two documents of similarity s share at least one whole group with probability
1 - (1 - s^rows)^bands (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

MISS_WEIGHT = 0.98
"""Weight of missed pairs against needless candidates. A needless one costs a comparison of two sketches, as every edge is verified; a
missed one stays in the corpus. 0.98 gives 17 x 7 for 128 slots at 0.8, which finds 98.2 % of the pairs right at the threshold (0.5, the
usual choice, gives 9 x 13 and 40 %)."""

SIGMAS = 3.0
"""Standard errors by which an estimate must be below the threshold to rule a pair out: about 1 in 740 of those right at it is lost so."""

_GRID = 1000


def candidate_probability(similarity: float | np.ndarray, bands: int, rows: int) -> float | np.ndarray:
    """The probability that documents of this Jaccard similarity share a band: 1 - (1 - s^rows)^bands."""
    return 1.0 - (1.0 - similarity**rows) ** bands


def areas(threshold: float, bands: int, rows: int) -> tuple[float, float]:
    """(missed, needless): how much of the probability lies on the wrong side of the threshold.

    Missed is the integral of 1 - `candidate_probability` from the threshold to 1, needless that of `candidate_probability` from 0 to the
    threshold. Midpoint rule on 1000 intervals.
    """
    similarity = (np.arange(_GRID) + 0.5) / _GRID
    probability = np.asarray(candidate_probability(similarity, bands, rows))
    below = similarity < threshold
    return float((1.0 - probability[~below]).sum()) / _GRID, float(probability[below].sum()) / _GRID


@lru_cache(maxsize=64)
def choose_bands(threshold: float, permutations: int, miss_weight: float = MISS_WEIGHT) -> tuple[int, int]:
    """The (bands, rows) with bands * rows <= permutations whose `areas` cost least, missed ones by `miss_weight`, needless by the rest."""
    best = (float("inf"), 1, 1)
    for rows in range(1, permutations + 1):
        for bands in range(1, permutations // rows + 1):
            missed, needless = areas(threshold, bands, rows)
            cost = miss_weight * missed + (1.0 - miss_weight) * needless
            if cost < best[0]:
                best = (cost, bands, rows)
    return best[1], best[2]


def rejection_limits(threshold: float, permutations: int) -> np.ndarray:
    """int64[permutations + 1], in equal slots of two sketches: fewer rule the pair out.

    Index: the smaller number of slots that the two filled on their own; only those are independent samples, so the standard error of the
    estimate at similarity t is sqrt(t (1 - t) / filled) (binomial). Sketches only ever reject: a pair that they don't rule out, however
    alike they are, is similar if its texts say so.
    """
    filled = np.maximum(np.arange(permutations + 1), 1)
    error = SIGMAS * np.sqrt(threshold * (1.0 - threshold) / filled)
    rejected_below = np.ceil((threshold - error) * permutations - 1e-9).astype(np.int64)
    return np.maximum(rejected_below, 0)


def band_keys(signatures: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """uint64[n, bands]: one key per band, chained over its slots and begun with its number, so that order and place of the values count.

    signatures: uint32[n, slots] with at least bands * rows slots; ValueError for fewer. (Adding the slots up instead, as one well-known
    implementation does, gives unrelated documents equal keys: minima crowd near 0.)
    """
    from pipeline.dedup.bands_kernel import write_band_keys

    if bands * rows > signatures.shape[1]:
        raise ValueError(f"{bands} bands of {rows} slots need {bands * rows} slots, and there are {signatures.shape[1]}")
    keys = np.empty((len(signatures), bands), np.uint64)
    write_band_keys(np.ascontiguousarray(signatures, np.uint32), rows, keys)
    return keys
