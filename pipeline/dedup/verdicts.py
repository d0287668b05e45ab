"""Verdicts: from the order of documents and the proven pairs to who stays, who goes, and in whose place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.dedup.candidates import NO_RANK
from pipeline.dedup.components import Components, Leaders
from pipeline.dedup.order import SAME_ADDRESS, SAME_TEXT, Order, numbers_of_ranks

KEPT, EXACT, URL, NEAR, REPEATED = 0, 1, 2, 3, 4
REASONS = ("kept", "exact_duplicate", "url_duplicate", "near_duplicate", "duplicate_id")
"""Names of the verdicts, by the numbers above."""
DROPPED = REASONS[EXACT : NEAR + 1]


@dataclass(frozen=True)
class Pairs:
    """Proven pairs: uint32 ranks better < worse, and float64 similarity of their texts, at or above the threshold; sorted by worse."""

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


def judge(order: Order, pairs: Iterable[Pairs], chains: bool, sizes: np.ndarray | None = None) -> Verdicts:
    """Decide on every document. Pairs are of documents that take part, over all of `pairs` in order of worse; copies share the fate of
    their original.

    sizes: int32, how many documents each of the first (those of an index) stands for already. Where no pair tells it, a document's
    similarity to its survivor is NaN, for the caller to estimate: in chains, and for another text of the same address.
    """
    ranked = order.rank != NO_RANK
    number = numbers_of_ranks(order.rank)
    survivor_rank, closeness = _chained(len(number), pairs) if chains else _led(len(number), pairs)
    original = order.original[ranked]
    chosen = survivor_rank[original]
    copy = order.copy[ranked]
    reason = np.select([copy == SAME_ADDRESS, chosen != original, copy == SAME_TEXT], [URL, NEAR, EXACT], KEPT)
    survivor = np.full(len(ranked), -1, np.int64)
    similarity, size = np.full(len(ranked), np.nan), np.zeros(len(ranked), np.int32)
    reasons = np.full(len(ranked), REPEATED, np.int8)
    survivor[ranked], reasons[ranked] = number[chosen], reason
    similarity[ranked] = np.where(reason == URL, np.nan, closeness[original])
    counts = np.bincount(chosen, minlength=len(number))
    if sizes is not None:
        counts[order.rank[: len(sizes)]] += sizes - 1
    size[ranked] = counts[chosen]
    return Verdicts(survivor, similarity, size, reasons)


def _led(count: int, pairs: Iterable[Pairs]) -> tuple[np.ndarray, np.ndarray]:
    leaders = Leaders(count)
    for part in pairs:
        leaders.add(part.better, part.worse, part.similarity)
    return leaders.result()


def _chained(count: int, pairs: Iterable[Pairs]) -> tuple[np.ndarray, np.ndarray]:
    """Components; similarity to the survivor where there is a pair with it, 1.0 for a survivor, NaN for the others."""
    components, held = Components(count), []
    for part in pairs:
        components.add(part.better, part.worse)
        held.append(part)
    survivor = components.result()
    similarity = np.where(survivor == np.arange(count), 1.0, np.nan)
    for part in held:
        direct = survivor[part.worse] == part.better
        similarity[part.worse[direct]] = part.similarity[direct]
    return survivor, similarity


def estimates(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """float64[pairs]: similarity of documents by their sketches, slots uint8[pairs, permutations] of either side.

    Slots are low bytes, of which 1 in 256 unlike ones agree by chance; that share is taken off (Li and Koenig 2010, section 2).
    """
    share = (left == right).mean(axis=1) if left.shape[1] else np.full(len(left), np.nan)
    return np.maximum((share - 1 / 256) / (1 - 1 / 256), 0.0)


def cluster_ids(survivor: np.ndarray, begin: int, ids: pa.Array, remote: np.ndarray, remote_ids: pa.Array) -> pa.Array:
    """Id of each document's survivor: its own, or that of one of `remote` (ascending numbers with their ids); null for a repeated id."""
    index = np.arange(len(survivor))
    others = np.flatnonzero((survivor != index + begin) & (survivor >= 0))
    wanted, place = np.unique(survivor[others], return_inverse=True)  # `remote` are those of the whole corpus
    index[others] = len(ids) + place
    names = remote_ids.take(pa.array(np.searchsorted(remote, wanted))).cast(pa.string())
    return pa.concat_arrays([ids, names]).take(pa.array(index, mask=survivor < 0))


def verdict_table(ids: pa.Array, cluster: pa.Array, verdicts: Verdicts, rows: slice, errors: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The verdicts of some consecutive documents as columns; everything but id, verdict and error is null for a repeated id."""
    reason = verdicts.reason[rows]
    repeated = reason == REPEATED
    similarity = verdicts.similarity[rows]
    return pa.table(
        {
            "id": ids,
            "cluster": cluster,
            "cluster_size": pa.array(verdicts.size[rows], mask=repeated),
            "similarity": pa.array(similarity, mask=repeated | np.isnan(similarity)),
            "verdict": pa.array(REASONS, pa.string()).take(pa.array(reason)),
            "error": errors,
        }
    )
