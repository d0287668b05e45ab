"""Verdicts: from the order of documents and the proven pairs to who stays, who goes, and in whose place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.dedup.candidates import NO_RANK
from pipeline.dedup.components import connect, lead
from pipeline.dedup.order import Order

KEPT, EXACT, NEAR, REPEATED = 0, 1, 2, 3
REASONS = ("kept", "exact_duplicate", "near_duplicate", "duplicate_id")
"""Names of the verdicts, by the numbers above."""


@dataclass(frozen=True)
class Pairs:
    """Proven pairs: uint32 ranks better < worse, and float64 similarity of their texts, at or above the threshold."""

    better: np.ndarray
    worse: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class Verdicts:
    """One entry per document, in the order of numbers. survivor: int64, number of the document that stays (its own for one that does), -1
    for a repeated id. similarity: float64 to the survivor, NaN where not known yet. size: int32, documents of the cluster. reason: int8.
    """

    survivor: np.ndarray
    similarity: np.ndarray
    size: np.ndarray
    reason: np.ndarray


def no_pairs() -> Pairs:
    """What a run without near duplicates has proven."""
    return Pairs(np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros(0))


def judge(order: Order, pairs: Pairs, chains: bool) -> Verdicts:
    """Decide on every document. Pairs are of originals only; exact copies share the fate of their original.

    With chains, a document may go without a proven pair with its survivor: its similarity is then NaN, for the caller to estimate.
    """
    ranked = order.rank != NO_RANK
    count = int(ranked.sum())
    number = np.empty(count, np.int64)
    number[order.rank[ranked]] = np.flatnonzero(ranked)
    if chains:
        survivor_rank = connect(count, pairs.better, pairs.worse)
        closeness = _direct(survivor_rank, pairs)
    else:
        survivor_rank, closeness = lead(count, pairs.better, pairs.worse, pairs.similarity)
    original = order.original[ranked]
    chosen = survivor_rank[original]
    reason = np.where(chosen != original, NEAR, np.where(order.rank[ranked] != original, EXACT, KEPT))
    survivor = np.full(len(ranked), -1, np.int64)
    similarity, size = np.full(len(ranked), np.nan), np.zeros(len(ranked), np.int32)
    reasons = np.full(len(ranked), REPEATED, np.int8)
    survivor[ranked], similarity[ranked], reasons[ranked] = number[chosen], closeness[original], reason
    size[ranked] = np.bincount(chosen, minlength=count)[chosen]
    return Verdicts(survivor, similarity, size, reasons)


def _direct(survivor: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Similarity to the survivor where there is a pair with it, 1.0 for a survivor, NaN for the others."""
    similarity = np.where(survivor == np.arange(len(survivor)), 1.0, np.nan)
    direct = survivor[pairs.worse] == pairs.better
    similarity[pairs.worse[direct]] = pairs.similarity[direct]
    return similarity


def estimates(signatures: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """float64[pairs]: the share of equal slots of signatures left[i] and right[i]; in slices, so that memory stays small."""
    parts = [np.zeros(0)]
    for begin in range(0, len(left), 1 << 16):
        piece = slice(begin, begin + (1 << 16))
        parts.append((signatures[left[piece]] == signatures[right[piece]]).mean(axis=1))
    return np.concatenate(parts)


def cluster_ids(survivor: np.ndarray, begin: int, ids: pa.Array, remote: np.ndarray, remote_ids: pa.Array) -> pa.Array:
    """Id of each document's survivor: its own, or that of one of `remote` (ascending numbers with their ids); null for a repeated id."""
    own = survivor == np.arange(begin, begin + len(survivor))
    index = np.where(own, np.arange(len(survivor)), len(ids) + np.searchsorted(remote, survivor))
    return pa.concat_arrays([ids, remote_ids]).take(pa.array(index, mask=survivor < 0))


def verdict_table(ids: pa.Array, cluster: pa.Array, verdicts: Verdicts, rows: slice, errors: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The verdicts of some consecutive documents as columns; everything but id, verdict and error is null for a repeated id."""
    reason = verdicts.reason[rows]
    repeated = reason == REPEATED
    return pa.table(
        {
            "id": ids,
            "cluster": cluster,
            "cluster_size": pa.array(verdicts.size[rows], mask=repeated),
            "similarity": pa.array(verdicts.similarity[rows], mask=repeated),
            "verdict": pa.array(REASONS, pa.string()).take(pa.array(reason)),
            "error": errors,
        }
    )
