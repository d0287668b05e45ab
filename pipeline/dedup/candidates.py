"""Candidate pairs: within each LSH bucket (the documents that share a band's key), who is to be compared with whom.

A bucket's members come in order of rank. Each is compared with the members before it, the best `bucket_limit` of them and its predecessor,
until it has found EDGES_PER_MEMBER that its sketch doesn't rule out. So a bad first member hides no true pair, pairs grow with the members
of a bucket and not with their square, and a million pages that share a menu cost a million times `bucket_limit` comparisons of sketches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numba import types

from pipeline.dedup.bands import rejection_limits

EDGES_PER_MEMBER = 8
"""Pairs after which a member is compared no further in this bucket. One is enough if it holds against a document that stays; other bands
look for more."""

EDGES_PER_LATE_MEMBER = 4
"""The same for members beyond the first `bucket_limit`, of which there may be millions."""

NO_RANK = np.uint32(0xFFFFFFFF)
"""Rank of a document that takes no part: a quarantined row."""

SLICE_MEMBERS = 1 << 20
"""Members whose sketches are held at a time (128 MB with 128 slots), if no bucket has more."""

_SLOTS = types.Array(types.uint8, 2, "C", readonly=True)
_RANKS = types.Array(types.uint32, 1, "C", readonly=True)
_FILLED = types.Array(types.uint16, 1, "C", readonly=True)
_LIMITS = types.Array(types.int64, 1, "C", readonly=True)
_NODES = types.Array(types.int64, 1, "C", readonly=True)
_SIZES = _NODES
_EDGES = types.uint64[::1]


@dataclass(frozen=True)
class Edges:
    """Candidate pairs that their sketches don't rule out, sorted by (worse, better), each once. better, worse: uint32[e] ranks,
    better < worse."""

    better: np.ndarray
    worse: np.ndarray


@numba.njit(types.int64(_SLOTS, types.int64, types.int64), cache=True, nogil=True, inline="always")
def _matches(slots: np.ndarray, left: int, right: int) -> int:
    count = 0
    for slot in range(slots.shape[1]):
        count += slots[left, slot] == slots[right, slot]
    return count


@numba.njit(_EDGES(_EDGES), cache=True, nogil=True)
def _grown(edges: np.ndarray) -> np.ndarray:
    larger = np.empty(2 * len(edges), np.uint64)
    larger[: len(edges)] = edges
    return larger


@numba.njit(
    types.Tuple((_EDGES, types.int64))(_LIMITS, _SLOTS, _RANKS, _FILLED, _LIMITS, types.int64, types.int64, types.int64, types.int64),
    cache=True,
    nogil=True,
)
def _bucket_edges(
    starts: np.ndarray,
    slots: np.ndarray,
    ranks: np.ndarray,
    filled: np.ndarray,
    rejected_below: np.ndarray,
    bucket_limit: int,
    first_new: int,
    most: int,
    most_late: int,
) -> tuple[np.ndarray, int]:
    """`starts`: where each bucket begins, and the end; the other arrays are per member, buckets one after the other."""
    edges = np.empty(1024, np.uint64)
    count = 0
    for bucket in range(len(starts) - 1):
        first = starts[bucket]
        for member in range(first + 1, starts[bucket + 1]):
            if ranks[member] < first_new:
                continue
            leaders = min(member - first, bucket_limit)
            late = member - first > bucket_limit
            found = 0
            # One more turn than there are leaders for a late member: its predecessor.
            for turn in range(leaders + late):
                other = first + turn if turn < leaders else member - 1
                if _matches(slots, other, member) < rejected_below[min(filled[other], filled[member])]:
                    continue
                if count == len(edges):
                    edges = _grown(edges)
                edges[count] = np.uint64(ranks[member]) << np.uint64(32) | np.uint64(ranks[other])
                count += 1
                found += 1
                if found == (most_late if late else most):
                    break
    return edges, count


def bucketed(keys: np.ndarray, ranks: np.ndarray, first_new: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The buckets of at least two members, one of them new.

    keys: uint64[n], ranks: uint32[n], distinct within a key; NO_RANK takes no part. first_new: the least rank of a new document, after
    those of an index. Returns (members int64[m]: positions in `keys`, by key and then by rank; starts int64[b + 1]).
    """
    order = np.argsort(keys)
    members = order[shared(keys[order])]  # most documents are alone with their key: the rest is work on the few that aren't
    members = members[ranks[members] != NO_RANK]
    members = members[np.lexsort((ranks[members], keys[members]))]
    starts = _starts(keys[members])
    if len(members):
        last_ranks = ranks[members[starts[1:] - 1]]
        useful = (np.diff(starts) > 1) & (last_ranks >= first_new)
        members = members[np.repeat(useful, np.diff(starts))]
        starts = _starts(keys[members])
    return members, starts


def shared(ordered: np.ndarray) -> np.ndarray:
    """bool[n]: which of these sorted values occur more than once."""
    same = ordered[1:] == ordered[:-1]
    several = np.zeros(len(ordered), bool)
    several[1:] |= same
    several[:-1] |= same
    return several


def _starts(ordered: np.ndarray) -> np.ndarray:
    """int64[groups + 1]: where each run of equal values begins, and the end."""
    changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return np.concatenate((np.zeros(1, np.int64), changes, np.full(1 if len(ordered) else 0, len(ordered), np.int64)))


def bucket_slices(starts: np.ndarray) -> list[tuple[int, int]]:
    """Cut buckets into consecutive slices (first, last + 1) of at most SLICE_MEMBERS members, or of one bucket."""
    cuts, begin = [], 0
    while begin < len(starts) - 1:
        end = int(np.searchsorted(starts, starts[begin] + SLICE_MEMBERS, side="right")) - 1
        end = max(end, begin + 1)
        cuts.append((begin, end))
        begin = end
    return cuts


def bucket_edges(
    starts: np.ndarray,
    slots: np.ndarray,
    ranks: np.ndarray,
    filled: np.ndarray,
    threshold: float,
    bucket_limit: int,
    first_new: int = 0,
) -> np.ndarray:
    """The candidate pairs of all buckets: uint64[e], the worse rank in the high half, the better one in the low half; not sorted.

    starts: int64[b + 1]. slots: uint8[m, permutations], ranks: uint32[m], filled: uint16[m], one row per member as `bucketed` lists them.
    """
    rejected_below = rejection_limits(threshold, slots.shape[1])
    edges, count = _bucket_edges(
        starts, slots, ranks, filled, rejected_below, bucket_limit, first_new, EDGES_PER_MEMBER, EDGES_PER_LATE_MEMBER
    )
    return edges[:count]


def distinct(packed: list[np.ndarray]) -> Edges:
    """The edges of several buckets (as `bucket_edges` packs them), each pair once, in order."""
    edges = np.unique(np.concatenate([np.zeros(0, np.uint64), *packed]))
    return Edges(edges.astype(np.uint32), (edges >> np.uint64(32)).astype(np.uint32))


@numba.njit(types.void(_NODES, _NODES, _SIZES, types.int64, types.int32[::1]), cache=True, nogil=True)
def _chunks(better: np.ndarray, worse: np.ndarray, sizes: np.ndarray, limit: int, chunk: np.ndarray) -> None:
    holds = np.full(len(sizes), -1, np.int32)  # the last chunk that has this document's text
    current, held = np.int32(0), np.int64(0)
    for edge in range(len(chunk)):
        more = np.int64(0)
        for node in (better[edge], worse[edge]):
            more += sizes[node] if holds[node] != current else 0
        if held + more > limit and held > 0:
            current += np.int32(1)
            held, more = np.int64(0), sizes[better[edge]] + sizes[worse[edge]]
        holds[better[edge]] = holds[worse[edge]] = current
        held += more
        chunk[edge] = current


def chunks(better: np.ndarray, worse: np.ndarray, sizes: np.ndarray, limit: int) -> np.ndarray:
    """int32[e]: cut pairs (nodes better[i], worse[i], sorted by worse) into consecutive chunks 0, 1, ... whose texts have at most `limit`
    bytes together, or are those of one pair. sizes: int64, text bytes of each node."""
    chunk = np.empty(len(better), np.int32)
    _chunks(better.astype(np.int64), worse.astype(np.int64), np.ascontiguousarray(sizes, np.int64), limit, chunk)
    return chunk
