"""Rehydration: how often a kept document may be repeated for the copies it stands for, as a step function of their number.

FineWeb-2 (Penedo et al. 2025) found that documents with some copies pass quality filters more often than unique
ones and than those with very many, and repeats them by tables such as {1: 1, 2: 2, 5: 3, 20: 2, 63: 1} (Korean, at most 3 times).
"""

from __future__ import annotations

import numpy as np

from pipeline.errors import UserError

MIN_DOCUMENTS = 100
"""Documents from which a removal rate is told: its standard error is then at most 5 percentage points, sqrt(0.25 / 100)."""

_MOST = (1 << 31) - 1


def weights(cluster_sizes: np.ndarray, table: dict[int, int]) -> np.ndarray:
    """int32[n]: for each cluster size (integers[n]) the weight of the largest size in `table` that is not above it.

    Raises UserError for a table without an entry at or below a size that occurs, or with a weight outside 0 to 2^31 - 1.
    """
    sizes = np.array(sorted(table), np.int64)
    steps = [table[size] for size in sizes.tolist()]
    if any(not 0 <= weight <= _MOST for weight in steps):
        raise UserError(f"the rehydration table has a weight outside 0 to {_MOST}; give the times that a document may be repeated")
    entries = np.searchsorted(sizes, np.asarray(cluster_sizes, np.int64), side="right") - 1
    if len(entries) and entries.min() < 0:
        raise UserError(f"the rehydration table has no entry for clusters of {int(np.min(cluster_sizes))}; begin it with size 1")
    return np.array(steps, np.int32)[entries]


def fit_table(sizes: np.ndarray, kept: np.ndarray, max_weight: int) -> dict[int, int]:
    """A table for `weights` from what filters did to deduplicated documents, with weights from 1 to `max_weight`.

    sizes: integers[n], the cluster size of each document that survived deduplication. kept: bool[n], whether the filters kept it, too.

    The idea is FineWeb-2's: sizes whose documents are removed less often than the corpus's average are repeated, the least removed most.
    The formula is our own wording of it. With r the removal rate of a size, R that of all documents and L the least of any size:
    weight = 1 + (max_weight - 1) (R - r) / (R - L), rounded half up, where r < R, else 1. Clusters of size 1 have weight 1. Neighbouring
    sizes are put together until there are MIN_DOCUMENTS of them; what is left over at the end joins those before. With fewer documents of
    size 2 and above the table is {1: 1}.

    Raises UserError for arrays of different lengths, sizes below 1, and a max_weight below 1.
    """
    if max_weight < 1:
        raise UserError(f"a greatest rehydration weight of {max_weight} repeats nothing; give at least 1")
    if len(sizes) != len(kept):
        raise UserError(f"there are {len(sizes)} cluster sizes and {len(kept)} verdicts; give one of each per document")
    if len(sizes) and int(np.min(sizes)) < 1:
        raise UserError(f"a cluster of {int(np.min(sizes))} documents can't be; count the survivor, too")
    distinct, place = np.unique(np.asarray(sizes, np.int64), return_inverse=True)
    documents = np.bincount(place, minlength=len(distinct))
    removed = np.bincount(place, weights=~np.asarray(kept, bool), minlength=len(distinct))
    groups = _groups(distinct, documents, removed)
    if not groups:
        return {1: 1}
    average = removed.sum() / documents.sum()
    rates = {first: gone / count for first, count, gone in groups}
    least = min(rates.values())
    table = {1: 1}
    for first, rate in rates.items():
        weight = 1 + int((max_weight - 1) * (average - rate) / (average - least) + 0.5) if first > 1 and rate < average else 1
        if weight != table[max(table)]:
            table[first] = weight
    return table


def _groups(sizes: np.ndarray, documents: np.ndarray, removed: np.ndarray) -> list[tuple[int, int, float]]:
    """(first size, documents, removed) of runs of sizes, in order; size 1 stands alone. Empty when no run above 1 is large enough."""
    groups: list[tuple[int, int, float]] = []
    first, count, gone = 0, 0, 0.0
    for size, here, removed_here in zip(sizes.tolist(), documents.tolist(), removed.tolist(), strict=True):
        if size == 1:
            if here >= MIN_DOCUMENTS:
                groups.append((1, here, removed_here))
            continue
        first, count, gone = first or size, count + here, gone + removed_here
        if count >= MIN_DOCUMENTS:
            groups.append((first, count, gone))
            first, count, gone = 0, 0, 0.0
    if not groups or groups[-1][0] == 1:
        return []
    last = groups.pop()
    return [*groups, (last[0], last[1] + count, last[2] + gone)]
