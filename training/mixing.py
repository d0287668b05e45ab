"""Mixing: which stream each sample of a stage comes from, exactly in the streams' weights, and computed for any sample at once.

Samples lie in blocks of BLOCK. At every edge of a block each stream has given weight * samples, rounded down or up; within a block a keyed
permutation places them. Each stream's samples are read in their order, so that whoever stops has read a beginning of each.

What each block gets is decided by earliest deadline first: a stream must have its n-th sample before n / weight samples are read, and
may not have it before (n - 1) / weight. With weights that add up to one this always comes out (Liu and Layland, Scheduling Algorithms
for Multiprogramming in a Hard-Real-Time Environment, 1973; Baruah et al., Proportionate Progress, 1996).
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable
from pipeline.errors import UserError
from training.permutation import numbered_key, permuted
from training.streams import WEIGHTS

BLOCK = 1024
"""Samples of a block: a fraction of a step of a large run, and enough that a stream of a thousandth is in each."""

_I64, _I64_OUT = read_only(types.int64), writable(types.int64)
_ROWS_OUT = types.Array(types.uint8, 2, "C")
_ROWS = types.Array(types.uint8, 2, "C", readonly=True)
_I32_ROWS_OUT, _I64_ROWS_OUT = types.Array(types.int32, 2, "C"), types.Array(types.int64, 2, "C")


class Mixture:
    """The streams of `samples` samples. At edges of blocks a stream is off its weight by less than one sample; between them by no more
    than what it has in the block, in practice by about the square root of that."""

    def __init__(self, weights: Sequence[int], samples: int, key: int) -> None:
        """weights: of each stream, together WEIGHTS. Raises UserError when they are not; takes a byte per stream and block."""
        if sum(weights) != WEIGHTS or min(weights) < 0:
            raise UserError(f"the weights of a stage add up to {sum(weights) / WEIGHTS:.9f} and not to 1; correct them in the plan")
        self.samples = samples
        self._key = np.uint64(key)
        self._weights = np.array(weights, np.int64)
        self._above = np.zeros((-(-samples // BLOCK) + 1, len(weights)), np.uint8)
        _earliest_deadline_first(self._weights, samples, self._above)

    def edge(self, block: int) -> np.ndarray:
        """int64[streams]: how many samples of each stream lie before a block."""
        out = np.empty(len(self._weights), np.int64)
        _edge(self._weights, self.samples, block, self._above, out)
        return out

    def counts(self, samples: int) -> np.ndarray:
        """int64[streams]: how many of the first `samples` samples are of each stream."""
        block, places = divmod(samples, BLOCK)
        counts = self.edge(block)
        if places:
            counts += np.bincount(self._blocks(np.array([block]))[0][0, :places], minlength=len(counts))
        return counts

    def locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The stream (int64[n]) of each sample and its number in that stream (int64[n]). samples: int64[n], in [0, samples)."""
        if len(samples) and not (samples.min() >= 0 and samples.max() < self.samples):
            raise IndexError(f"samples go from 0 to {self.samples - 1:,}, and {samples.min():,} to {samples.max():,} were asked for")
        blocks, row = np.unique(samples // BLOCK, return_inverse=True)
        streams, numbers = self._blocks(blocks)
        place = samples % BLOCK
        return streams[row, place].astype(np.int64), numbers[row, place]

    def _blocks(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        streams, numbers = np.zeros((len(blocks), BLOCK), np.int32), np.zeros((len(blocks), BLOCK), np.int64)
        _place(self._weights, self.samples, self._key, blocks, self._above, streams, numbers)
        return streams, numbers


@numba.njit(types.UniTuple(types.int64, 2)(types.int64, types.int64), cache=True, nogil=True)
def _share(weight: int, samples: int) -> tuple[int, int]:
    """weight * samples / WEIGHTS as a whole number and the rest over WEIGHTS, without the product, which has more than 64 bits."""
    whole, rest = samples // WEIGHTS, samples % WEIGHTS
    return weight * whole + weight * rest // WEIGHTS, weight * rest % WEIGHTS


@numba.njit(types.void(_I64, types.int64, _ROWS_OUT), cache=True, nogil=True)
def _earliest_deadline_first(weights: np.ndarray, samples: int, above: np.ndarray) -> None:
    """Fill above[edge, stream]: whether the stream has one sample more than its share rounded down."""
    streams = len(weights)
    counts, order, waiting = np.zeros(streams, np.int64), np.empty(streams, np.int64), np.empty(streams, np.int64)
    for edge in range(1, len(above)):
        read = min(edge * BLOCK, samples)
        places, candidates = read, 0
        for stream in range(streams):
            whole, rest = _share(weights[stream], read)
            counts[stream] = max(counts[stream], whole)
            above[edge, stream] = counts[stream] - whole
            places -= counts[stream]
            if counts[stream] == whole and rest > 0:
                deadline = (WEIGHTS - rest + weights[stream] - 1) // weights[stream]  # in samples from here
                order[candidates] = deadline * streams + stream  # ties: the first stream
                candidates += 1
        waiting[:candidates] = np.sort(order[:candidates])
        for place in range(places):
            stream = waiting[place] % streams
            counts[stream] += 1
            above[edge, stream] = 1


@numba.njit(types.void(_I64, types.int64, types.int64, _ROWS, _I64_OUT), cache=True, nogil=True)
def _edge(weights: np.ndarray, samples: int, edge: int, above: np.ndarray, out: np.ndarray) -> None:
    for stream in range(len(weights)):
        out[stream] = _share(weights[stream], min(edge * BLOCK, samples))[0] + above[edge, stream]


@numba.njit(
    types.void(_I64, types.int64, types.uint64, _I64, _ROWS, _I32_ROWS_OUT, _I64_ROWS_OUT),
    cache=True,
    nogil=True,
)
def _place(
    weights: np.ndarray,
    samples: int,
    key: np.uint64,
    blocks: np.ndarray,
    above: np.ndarray,
    streams: np.ndarray,
    numbers: np.ndarray,
) -> None:
    """Fill streams[row, place] and numbers[row, place] for these blocks."""
    owner, begin, end = np.empty(BLOCK, np.int32), np.empty(len(weights), np.int64), np.empty(len(weights), np.int64)
    for row in range(len(blocks)):
        block = blocks[row]
        _edge(weights, samples, block, above, begin)
        _edge(weights, samples, block + 1, above, end)
        size = 0
        for stream in range(len(weights)):
            for _ in range(end[stream] - begin[stream]):
                owner[size] = stream
                size += 1
        block_key = numbered_key(key, np.uint64(block))
        for place in range(size):
            stream = owner[permuted(place, size, block_key)]
            streams[row, place] = stream
            numbers[row, place] = begin[stream]
            begin[stream] += 1
