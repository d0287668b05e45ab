"""Candidate pairs: within each LSH bucket (the documents that share a band's key), who is to be compared with whom.

A bucket's members come in order of rank. The first `bucket_limit` of them are compared with each other, and every later one with them
and with its predecessor, until EDGES_PER_MEMBER pairs were found. So a bad first member hides no true pair, and a bucket of a million
pages that share a menu costs a million times `bucket_limit` comparisons of sketches, never its square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numba import types

from pipeline.dedup.verify import rejection_limits

EDGES_PER_MEMBER = 8
"""Pairs after which a member beyond the first `bucket_limit` is compared no further in this bucket. It needs only one of them to hold
against a document that stays; unbounded, a million copies of a template would give 64 million edges."""

NO_RANK = np.uint32(0xFFFFFFFF)
"""Rank of a document that takes no part: a quarantined row."""

_SIGNATURES = types.Array(types.uint32, 2, "C", readonly=True)
_RANKS = types.Array(types.uint32, 1, "C", readonly=True)
_FILLED = types.Array(types.uint16, 1, "C", readonly=True)
_LIMITS = types.Array(types.int64, 1, "C", readonly=True)
_EDGES = types.uint32[:, ::1]


@dataclass(frozen=True)
class Edges:
    """Candidate pairs that their sketches don't rule out. better, worse: uint32[e] ranks, better < worse."""

    better: np.ndarray
    worse: np.ndarray


@numba.njit(types.int64(_SIGNATURES, types.int64, types.int64), cache=True, nogil=True, inline="always")
def _matches(signatures: np.ndarray, left: int, right: int) -> int:
    count = 0
    for slot in range(signatures.shape[1]):
        count += signatures[left, slot] == signatures[right, slot]
    return count


@numba.njit(_EDGES(_EDGES), cache=True, nogil=True)
def _grown(edges: np.ndarray) -> np.ndarray:
    larger = np.empty((2 * len(edges), 2), np.uint32)
    larger[: len(edges)] = edges
    return larger


@numba.njit(
    types.Tuple((_EDGES, types.int64))(_LIMITS, _SIGNATURES, _RANKS, _FILLED, _LIMITS, types.int64, types.int64),
    cache=True,
    nogil=True,
)
def _bucket_edges(
    starts: np.ndarray,
    signatures: np.ndarray,
    ranks: np.ndarray,
    filled: np.ndarray,
    rejected_below: np.ndarray,
    bucket_limit: int,
    edges_per_member: int,
) -> tuple[np.ndarray, int]:
    """`starts`: where each bucket begins, and the end; the other arrays are per member, buckets one after the other."""
    edges = np.empty((1024, 2), np.uint32)
    count = 0
    for bucket in range(len(starts) - 1):
        first = starts[bucket]
        for member in range(first + 1, starts[bucket + 1]):
            leaders = min(member - first, bucket_limit)
            found = 0
            # One more turn than there are leaders for a late member: its predecessor.
            for turn in range(leaders + (member - first > bucket_limit)):
                other = first + turn if turn < leaders else member - 1
                matches = _matches(signatures, other, member)
                basis = min(filled[other], filled[member])
                if matches < rejected_below[basis]:
                    continue
                if count == len(edges):
                    edges = _grown(edges)
                edges[count, 0], edges[count, 1] = ranks[other], ranks[member]
                count += 1
                found += 1
                if member - first >= bucket_limit and found == edges_per_member:
                    break
    return edges, count


def bucketed(keys: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The buckets of at least two members of one band.

    keys: uint64[n], ranks: uint32[n] (distinct). Returns (members int64[m]: positions in `keys`, by key and then by rank;
    starts int64[b + 1]).
    """
    order = np.lexsort((ranks, keys))
    ordered = keys[order]
    if len(ordered) == 0:
        return order, np.zeros(1, np.int64)
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sizes = np.diff(np.append(first, len(ordered)))
    several = np.repeat(sizes > 1, sizes)
    return order[several], np.concatenate(([0], np.cumsum(sizes[sizes > 1]))).astype(np.int64)


def bucket_edges(
    starts: np.ndarray, signatures: np.ndarray, ranks: np.ndarray, filled: np.ndarray, threshold: float, bucket_limit: int
) -> Edges:
    """The candidate pairs of all buckets of one band, in order of bucket and rank.

    starts: int64[b + 1]. signatures: uint32[m, permutations], ranks: uint32[m], filled: uint16[m], one row per member as `bucketed`
    lists them.
    """
    rejected_below = rejection_limits(threshold, signatures.shape[1])
    edges, count = _bucket_edges(starts, signatures, ranks, filled, rejected_below, bucket_limit, EDGES_PER_MEMBER)
    return Edges(np.ascontiguousarray(edges[:count, 0]), np.ascontiguousarray(edges[:count, 1]))


def distinct(parts: list[Edges]) -> Edges:
    """The edges of several bands, each pair once, sorted by (better, worse)."""
    better = np.concatenate([part.better for part in parts] or [np.zeros(0, np.uint32)])
    worse = np.concatenate([part.worse for part in parts] or [np.zeros(0, np.uint32)])
    _, index = np.unique((better.astype(np.uint64) << np.uint64(32)) | worse, return_index=True)
    return Edges(better[index], worse[index])
