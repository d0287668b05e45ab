"""From pairs of similar documents to one survivor per document.

Documents are numbered by rank: 0 is the best by priority. So the survivor of a group is its least number, and results don't depend on the
order of files or edges.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

_RANKS = types.Array(types.uint32, 1, "C", readonly=True)
_SIMILARITIES = types.Array(types.float64, 1, "C", readonly=True)
_PARENTS = types.uint32[::1]


@numba.njit(types.void(_RANKS, _RANKS, _SIMILARITIES, _PARENTS, types.float64[::1]), cache=True, nogil=True)
def _lead(better: np.ndarray, worse: np.ndarray, similarity: np.ndarray, survivor: np.ndarray, best: np.ndarray) -> None:
    """Edges come sorted by `worse`, so that every `better` is decided before it is asked for."""
    for edge in range(len(better)):
        leader, member = better[edge], worse[edge]
        if survivor[leader] != leader:
            continue
        closer = similarity[edge] > best[member] or (similarity[edge] == best[member] and leader < survivor[member])
        if survivor[member] == member or closer:
            survivor[member], best[member] = leader, similarity[edge]


def lead(count: int, better: np.ndarray, worse: np.ndarray, similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leader clustering: in order of rank, a document is dropped if it is similar to one that stays, and goes to the most similar of those.

    better, worse: uint32[e], ranks of the two ends, better < worse. similarity: float64[e], all at or above the threshold.
    Returns (survivor uint32[count], similarity to it float64[count]); a survivor has itself and 1.0. There are no chains: each dropped
    document has an edge to its survivor.
    """
    order = np.argsort(worse, kind="stable")
    survivor, best = np.arange(count, dtype=np.uint32), np.ones(count)
    dropped_best = np.zeros(count)
    _lead(better[order], worse[order], similarity[order], survivor, dropped_best)
    dropped = survivor != np.arange(count, dtype=np.uint32)
    best[dropped] = dropped_best[dropped]
    return survivor, best


@numba.njit(types.uint32(_PARENTS, types.uint32), cache=True, nogil=True)
def _root(parent: np.ndarray, node: np.uint32) -> np.uint32:
    while parent[node] != node:
        parent[node] = parent[parent[node]]  # path halving
        node = parent[node]
    return node


@numba.njit(types.void(_RANKS, _RANKS, _PARENTS), cache=True, nogil=True)
def _unite(left: np.ndarray, right: np.ndarray, parent: np.ndarray) -> None:
    for edge in range(len(left)):
        one, other = _root(parent, left[edge]), _root(parent, right[edge])
        if one < other:
            parent[other] = one
        elif other < one:
            parent[one] = other
    for node in range(len(parent)):
        parent[node] = _root(parent, np.uint32(node))


def connect(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """uint32[count]: the least rank of each document's connected component (union-find; 4 bytes per document).

    left, right: uint32[e], the ends of the edges in any order.
    """
    parent = np.arange(count, dtype=np.uint32)
    _unite(np.ascontiguousarray(left), np.ascontiguousarray(right), parent)
    return parent
