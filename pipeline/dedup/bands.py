"""Bands: which parts of two sketches must be equal for the documents to be compared at all.

A sketch is cut into `bands` groups of `rows` slots. Two documents of similarity s share at least one whole group with probability
1 - (1 - s^rows)^bands (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4).
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from numba import types

from pipeline.kernels import mix

MISS_WEIGHT = 0.98
"""Weight of missed pairs against needless candidates. A needless one costs a comparison of two sketches, as every edge is verified; a
missed one stays in the corpus. 0.98 gives 17 x 7 for 128 slots at 0.8, which finds 98.2 % of the pairs right at the threshold (0.5, the
usual choice, gives 9 x 13 and 40 %)."""

_GRID = 1000


def candidate_probability(similarity: float | np.ndarray, bands: int, rows: int) -> float | np.ndarray:
    """The probability that documents of this Jaccard similarity share a band: 1 - (1 - s^rows)^bands."""
    return 1.0 - (1.0 - similarity**rows) ** bands


@lru_cache(maxsize=64)
def choose_bands(threshold: float, permutations: int, miss_weight: float = MISS_WEIGHT) -> tuple[int, int]:
    """The (bands, rows) with bands * rows <= permutations that minimise the weighted areas of needless and of missed candidates.

    Needless: the integral of the candidate probability below the threshold. Missed: that of its complement above. Midpoint rule.
    """
    similarity = (np.arange(_GRID) + 0.5) / _GRID
    below = similarity < threshold
    best = (float("inf"), 1, 1)
    for rows in range(1, permutations + 1):
        for bands in range(1, permutations // rows + 1):
            curve = np.asarray(candidate_probability(similarity, bands, rows))
            cost = (1.0 - miss_weight) * float(curve[below].sum()) + miss_weight * float((1.0 - curve[~below]).sum())
            if cost < best[0]:
                best = (cost, bands, rows)
    return best[1], best[2]


@numba.njit(types.void(types.Array(types.uint32, 2, "C", readonly=True), types.int64, types.uint64[:, ::1]), cache=True, nogil=True)
def _band_keys(signatures: np.ndarray, rows: int, keys: np.ndarray) -> None:
    for document in range(len(signatures)):
        for band in range(keys.shape[1]):
            key = mix(np.uint64(band + 1))
            for slot in range(band * rows, (band + 1) * rows):
                key = mix(key ^ np.uint64(signatures[document, slot]))
            keys[document, band] = key


def band_keys(signatures: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """uint64[n, bands]: one key per band, chained over its slots and begun with its number, so that order and place of the values count.

    (Adding the slots up instead, as one well-known implementation does, gives unrelated documents equal keys: minima crowd near 0.)
    """
    keys = np.empty((len(signatures), bands), np.uint64)
    _band_keys(signatures, rows, keys)
    return keys
