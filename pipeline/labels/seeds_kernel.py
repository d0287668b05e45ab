"""The compiled search for seed words: which of them each document holds, each once. Importing this module compiles the kernel."""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from pipeline.refine.phrases_kernel import CHUNK_BYTES, TABLE, candidate_places, longest_at, may_begin, syllable_at

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_NUMBERS = types.Array(types.int32, 1, "C", readonly=True)


@numba.njit(
    types.int64(_BYTES, _PLACES, _PLACES, *TABLE, _NUMBERS, types.int64[::1], types.int32[::1], types.int32[::1]), cache=True, nogil=True
)
def find_seeds(
    data: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    phrase_bytes: np.ndarray,
    phrase_starts: np.ndarray,
    kinds: np.ndarray,
    occupied: np.ndarray,
    short: np.ndarray,
    pairs: np.ndarray,
    buckets: np.ndarray,
    particles: np.ndarray,
    seed_of_phrase: np.ndarray,
    last_document: np.ndarray,
    documents: np.ndarray,
    seeds: np.ndarray,
) -> int:
    """Write a pair (document, seed) for every seed that stands in data[begins[d]:ends[d]], each once per document; return how many.

    The eight arguments after `ends` are the fields of `phrases.PhraseTable`. seed_of_phrase: the seed of each phrase of the table.
    last_document: one number per seed, -1 at the start. documents, seeds: need room for the smaller of the seeds and bytes / 3, rounded
    up, summed over the documents. The longest phrase at a place wins and the search goes on behind it. A phrase that begins or ends
    with an ASCII letter or digit must not touch another one there; one that begins with Hangul must not have Hangul before it.
    """
    candidates = np.empty(CHUNK_BYTES + 1, np.int64)
    found = 0
    for document in range(begins.size):
        begin, end = begins[document], ends[document]
        behind = begin  # where the last phrase ended
        for chunk in range(begin, end - 2, CHUNK_BYTES):
            count = candidate_places(data, chunk, min(chunk + CHUNK_BYTES, end - 2), occupied, candidates)
            for place in range(count):
                position = candidates[place]
                # the cheapest question first: most places are inside a run of Hangul or of letters
                if position < behind or (
                    data[np.uint64(position)] >= 0xEA
                    and position >= begin + 3
                    and data[np.uint64(position - 1)] >= 0x80
                    and syllable_at(data, position, end)
                    and syllable_at(data, position - 3, end)
                ):
                    continue
                if not may_begin(data, begin, position, end, short, pairs):
                    continue
                phrase = longest_at(
                    data, begin, position, end, phrase_bytes, phrase_starts, kinds, occupied, short, pairs, buckets, particles
                )
                if phrase < 0:
                    continue
                behind = position + phrase_starts[phrase + 1] - phrase_starts[phrase]
                seed = seed_of_phrase[phrase]
                if last_document[seed] != document:
                    last_document[seed] = document
                    documents[found] = document
                    seeds[found] = seed
                    found += 1
    return found
