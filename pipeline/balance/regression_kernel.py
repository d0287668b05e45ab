"""Boosted regression trees of depth 3 in one compiled loop: small enough to fit some hundred of them in milliseconds.

A tree is complete: nodes 0 to 6 in level order and 8 leaves; a node without a split sends all rows to the left.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only

DEPTH = 3
NODES, LEAVES = 2**DEPTH - 1, 2**DEPTH
BINS = 64
"""Cut points per feature; a byte holds their number, and 512 runs have no more than a few hundred distinct shares."""

_CODES = types.Array(types.uint8, 2, "C", readonly=True)
_TABLE = types.Array(types.float64, 2, "C", readonly=True)


@numba.njit(
    types.void(
        _CODES,
        read_only(types.float64),
        types.float64,
        types.int64,
        types.Array(types.int64, 2, "C"),
        types.Array(types.int64, 2, "C"),
        types.Array(types.float64, 2, "C"),
    ),
    cache=True,
    nogil=True,
)
def boost(
    codes: np.ndarray, target: np.ndarray, rate: float, min_leaf: int, features: np.ndarray, cuts: np.ndarray, leaves: np.ndarray
) -> None:
    """Fit one tree after another to what those before leave of `target` (float64[n]), each scaled by `rate`.

    codes: uint8[n, d], below BINS. Written: features int64[trees, NODES] (-1: no split), cuts int64[trees, NODES] (a row goes left when
    its code is at most this), leaves float64[trees, LEAVES]. A split leaves at least `min_leaf` rows on either side and is the one that
    lowers the squared error most; of equal ones, the first feature and cut.
    """
    rows, dimensions = codes.shape
    left = target.copy()
    node = np.empty(rows, np.int64)
    sums, counts = np.empty((dimensions, BINS)), np.empty((dimensions, BINS), np.int64)
    for tree in range(len(features)):
        node[:] = 0
        for place in range(NODES):
            sums[:] = 0.0
            counts[:] = 0
            total, number = 0.0, 0
            for row in range(rows):
                if node[row] == place:
                    total += left[row]
                    number += 1
                    for feature in range(dimensions):
                        sums[feature, codes[row, feature]] += left[row]
                        counts[feature, codes[row, feature]] += 1
            best, best_feature, best_cut = 1e-12, -1, 0
            for feature in range(dimensions):
                below, below_number = 0.0, 0
                for cut in range(BINS - 1):
                    below += sums[feature, cut]
                    below_number += counts[feature, cut]
                    if counts[feature, cut] == 0 or below_number < min_leaf:
                        continue
                    if number - below_number < min_leaf:
                        break
                    above = total - below
                    gain = below * below / below_number + above * above / (number - below_number) - total * total / number
                    if gain > best:
                        best, best_feature, best_cut = gain, feature, cut
            features[tree, place], cuts[tree, place] = best_feature, best_cut
            for row in range(rows):
                if node[row] == place:
                    right = best_feature >= 0 and codes[row, best_feature] > best_cut
                    node[row] = 2 * place + 1 + right
        for leaf in range(LEAVES):
            total, number = 0.0, 0
            for row in range(rows):
                if node[row] == NODES + leaf:
                    total += left[row]
                    number += 1
            leaves[tree, leaf] = rate * total / max(number, 1)
        for row in range(rows):
            left[row] -= leaves[tree, node[row] - NODES]


@numba.njit(
    types.void(
        _CODES,
        types.Array(types.int64, 2, "C", readonly=True),
        types.Array(types.int64, 2, "C", readonly=True),
        _TABLE,
        types.Array(types.float64, 2, "C"),
    ),
    cache=True,
    nogil=True,
)
def add_trees(codes: np.ndarray, features: np.ndarray, cuts: np.ndarray, leaves: np.ndarray, out: np.ndarray) -> None:
    """Write the running sums of the trees' predictions, float64[trees + 1, n], the first 0; a single row gets only the whole sum."""
    stages = len(out) > 1
    for row in range(len(codes)):
        total = 0.0
        out[0, row] = 0.0
        for tree in range(len(features)):
            place = 0
            while place < NODES:
                feature = features[tree, place]
                place = 2 * place + 1 + (feature >= 0 and codes[row, feature] > cuts[tree, place])
            total += leaves[tree, place - NODES]
            if stages:
                out[tree + 1, row] = total
        if not stages:
            out[0, row] = total
