"""Choosing documents without sorting or shuffling the corpus: each has a random key of its own, and those below a limit are taken.

A document's key in a phase is u = xxh3_64(id, seed = xxh3_64("<seed>/<phase>")): the same in every run, on every machine, in any order. The
documents of a group, ordered by u, form one fixed queue; a budget takes a prefix of it, so a larger budget holds all of a smaller one, and
two documents with the same key (only equal ids, in practice) go together.

Documents that should rather be chosen than others have weights w. Their queue is ordered by E / w, where E = -log(1 - u) is exponentially
distributed: a prefix of it is a weighted sample without replacement (Efraimidis and Spirakis 2006), the same as the top k of log w plus
Gumbel noise, by which WebOrganizer tilts to quality and DSIR (arXiv 2302.03169) to a target. It is as nested and as free of order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

Keys = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]


def phase_seed(seed: int, phase: str) -> int:
    """The 64-bit seed of a phase's keys: phases choose independently of each other."""
    return xxhash.xxh3_64_intdigest(f"{seed}/{phase}".encode())


def sampling_keys(ids: pa.Array | pa.ChunkedArray, seed: int) -> Keys:
    """xxh3_64 of each id under `seed`; a null id hashes as the empty string."""
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter((digest((value or "").encode(), seed) for value in ids.to_pylist()), np.uint64, len(ids))


_KEY_RANGE, _KEY_STEPS = 1 << 17, 1 << 30
"""log(E / w) is stored as a whole number of 2^-30ths between -131,072 and 131,072: coarser than the last bits in which processors may
differ, wide enough for the largest strength times the largest weights."""


def weighted_keys(keys: Keys, log_weights: npt.NDArray[np.float64]) -> Keys:
    """Keys in the order of E / w, for uniform keys and the natural logarithms of the weights (finite)."""
    uniform = ((keys >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    place = np.clip(np.log(-np.log1p(-uniform)) - log_weights, -_KEY_RANGE, _KEY_RANGE - 2.0 / _KEY_STEPS) + _KEY_RANGE
    return np.rint(place * _KEY_STEPS).astype(np.uint64) << np.uint64(16)


def estimated_tokens(text_bytes: Counts, bytes_per_token: npt.NDArray[np.float64]) -> Counts:
    """ceil(text_bytes / bytes_per_token) per document; -1 where bytes_per_token is NaN, that is unknown."""
    known = ~np.isnan(bytes_per_token)
    return np.where(known, np.ceil(text_bytes / np.where(known, bytes_per_token, 1.0)), -1.0).astype(np.int64)


def whole_and_rest(target: int, available: int) -> tuple[int, int]:
    """A target as full passes over a group of `available` tokens, and the tokens left for one more, partial pass."""
    return divmod(target, available) if available > 0 else (0, 0)


def limit_for(keys: Keys, tokens: Counts, budget: int) -> tuple[int, int, int]:
    """The key limit that takes the longest prefix of the queue within `budget`, and the documents and tokens it takes.

    A document is in when its key is below the limit. All of them together must exceed the budget: the limit is the first key left out.
    Raises ValueError when they don't, which is a mistake of the caller.
    """
    distinct, place = np.unique(keys, return_inverse=True)
    sums = np.zeros(len(distinct), np.int64)
    np.add.at(sums, place, tokens)
    filled = np.cumsum(sums)
    first_out = int(np.searchsorted(filled, budget, side="right"))
    if first_out == len(distinct):
        raise ValueError(f"a budget of {budget} tokens takes all {len(keys)} documents; there is no limit to find")
    return int(distinct[first_out]), int((place < first_out).sum()), int(filled[first_out - 1]) if first_out else 0
