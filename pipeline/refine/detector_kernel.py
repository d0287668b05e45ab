"""The compiled walk of py3langid's model: which language each sample's byte n-grams speak for.

The model (Lui and Baldwin 2012, langid.py) is a naive Bayes classifier over byte n-grams that a finite automaton finds. The library
walks it in Python, 0.4 ms for 400 bytes; this is the same sum, many times faster (docs/language.md).
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_INT32 = types.Array(types.int32, 1, "C", readonly=True)
_UINT32 = types.Array(types.uint32, 1, "C", readonly=True)
_WEIGHTS = types.Array(types.float32, 2, "C", readonly=True)
_PRIORS = types.Array(types.float32, 1, "C", readonly=True)


LANES = 8
"""Samples walked side by side: each step waits for memory, and independent ones wait together (measured: 2 to 3 times faster)."""

COUNTS = 4096
"""Entries of the table of log(1 + n): a feature ends at each byte at most once, so only samples over 4 KB could exceed it."""


@numba.njit(types.void(_BYTES, _OFFSETS, _UINT32, _INT32, _INT32, types.int32[::1]), cache=True, nogil=True)
def walk(
    data: np.ndarray, offsets: np.ndarray, next_state: np.ndarray, state_row: np.ndarray, state_feature: np.ndarray, features: np.ndarray
) -> None:
    """Fill `features` with the feature that ends at each byte of the samples, -1 for none.

    data, offsets: the samples' UTF-8 bytes and samples + 1 positions, from 0 on. next_state[row * 256 + byte]: the automaton; its state s
    has the row state_row[s] and the feature state_feature[s].
    """
    samples = offsets.size - 1
    states = np.zeros(LANES, np.int64)
    for first in range(0, samples, LANES):
        lanes = min(LANES, samples - first)
        longest = 0
        for lane in range(lanes):
            longest = max(longest, offsets[first + lane + 1] - offsets[first + lane])
        states[:] = 0
        for step in range(longest):
            for lane in range(lanes):
                position = offsets[first + lane] + step
                if position < offsets[first + lane + 1]:
                    state = np.int64(next_state[np.int64(state_row[states[lane]]) * 256 + data[position]])
                    states[lane] = state
                    features[position] = state_feature[state]


@numba.njit(
    types.void(_INT32, _OFFSETS, _WEIGHTS, _PRIORS, _PRIORS, types.float32[:, ::1]),
    cache=True,
    nogil=True,
)
def add_up(
    features: np.ndarray, offsets: np.ndarray, weights: np.ndarray, priors: np.ndarray, log_counts: np.ndarray, scores: np.ndarray
) -> None:
    """Fill `scores` (samples x classes, zeroed by the caller) with log-posteriors; a sample without features keeps its zeros.

    features, offsets: as `walk` has them. weights: features x classes, log-probabilities; priors: one per class. A feature that occurs n
    times counts log_counts[n] times; log_counts has COUNTS entries, and more occurrences count like the last.
    """
    occurrences = np.zeros(weights.shape[0], np.int32)
    met = np.empty(features.size, np.int64)
    total = np.empty(priors.size, np.float32)
    for sample in range(offsets.size - 1):
        found = 0
        for position in range(offsets[sample], offsets[sample + 1]):
            feature = np.int64(features[position])
            if feature >= 0:
                if occurrences[feature] == 0:
                    met[found] = feature
                    found += 1
                occurrences[feature] += 1
        if found:
            total[:] = priors
            for index in range(found):
                feature = met[index]
                times = np.int64(occurrences[feature])
                count = log_counts[times if times < COUNTS else COUNTS - 1]
                occurrences[feature] = 0
                for class_ in range(total.size):
                    total[class_] += count * weights[feature, class_]
            scores[sample] = total
