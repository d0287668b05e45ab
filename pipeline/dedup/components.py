"""From pairs of similar documents to one survivor per document.

Documents are numbered by rank: 0 is the best by priority. So the survivor of a group is its least number, and results don't depend on the
order of files or edges. Pairs come in parts, so that only a few bytes per document are held, however many pairs there are.
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


class Leaders:
    """Leader clustering: in order of rank, a document is dropped if it is similar to one that stays, and goes to the most similar of those.

    There are no chains: each dropped document has a pair with its survivor. Memory: 12 bytes per document.
    """

    def __init__(self, count: int) -> None:
        self._survivor, self._best = np.arange(count, dtype=np.uint32), np.zeros(count)

    def add(self, better: np.ndarray, worse: np.ndarray, similarity: np.ndarray) -> None:
        """Take the next pairs: ranks better < worse (uint32[e]) and float64[e], at or above the threshold; over all calls in order of
        `worse`."""
        _lead(better, worse, similarity, self._survivor, self._best)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """(survivor uint32[count], similarity to it float64[count]); a survivor has itself and 1.0."""
        stays = self._survivor == np.arange(len(self._survivor), dtype=np.uint32)
        return self._survivor, np.where(stays, 1.0, self._best)


@numba.njit(types.uint32(_PARENTS, types.uint32), cache=True, nogil=True)
def _root(parent: np.ndarray, node: np.uint32) -> np.uint32:
    while parent[node] != node:
        parent[node] = parent[parent[node]]  # path halving
        node = parent[node]
    return node


@numba.njit(types.void(_RANKS, _RANKS, _PARENTS, types.boolean[::1]), cache=True, nogil=True)
def _unite(left: np.ndarray, right: np.ndarray, parent: np.ndarray, joins: np.ndarray) -> None:
    for edge in range(len(left)):
        one, other = _root(parent, left[edge]), _root(parent, right[edge])
        joins[edge] = one != other
        if one < other:
            parent[other] = one
        elif other < one:
            parent[one] = other


@numba.njit(types.void(_PARENTS), cache=True, nogil=True)
def _flatten(parent: np.ndarray) -> None:
    for node in range(len(parent)):
        parent[node] = parent[parent[node]]  # a parent is never greater than its node, so it is flat already


class Components:
    """Connected components by a dense union-find. Memory: 4 bytes per document."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count, dtype=np.uint32)

    def add(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Join the ends of these edges (uint32[e], in any order); bool[e]: those that joined something, a spanning forest."""
        joins = np.zeros(len(left), bool)
        _unite(np.ascontiguousarray(left), np.ascontiguousarray(right), self._parent, joins)
        return joins

    def result(self) -> np.ndarray:
        """uint32[count]: the least rank of each document's component."""
        _flatten(self._parent)
        return self._parent


def forest(left: np.ndarray, right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """int64[f]: those edges (in order) that span the same components as all of them, the least left end first.

    So every document that has an edge to the best of its component keeps that edge. weight: float64[e]; of equal edges the greatest goes
    first. Many partitions of edges become forests of their own, which are joined to ever fewer (`ForestTask`): the rest is never read
    again.
    """
    nodes, place = np.unique(np.concatenate((left, right)), return_inverse=True)
    ends = place.astype(np.uint32)
    order = np.lexsort((-weight, right, left))
    joins = Components(len(nodes)).add(ends[: len(left)][order], ends[len(left) :][order])
    return np.sort(order[joins])
