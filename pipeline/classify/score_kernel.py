"""fastText's arithmetic over whole batches, compiled: the rows of each model added up, and turned into probabilities.

What is computed is that of fastText 0.9.3 (`Dictionary::getLine`, `addWordNgrams`, `Model::predict`). What is different is the order: a
word's rows (its own and those of its pieces) are added once per distinct word of a batch, and lines add up words. Sums are in float32 in a
fixed order, which no batch, thread or machine changes. Importing this module loads (the first time: compiles) the kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable
from pipeline.classify.words_kernel import END_HASH, same

_NGRAM_FACTOR = np.uint64(116049371)

_PROBABILITY_OFFSET = 1e-5
"""fastText answers with exp(log(p + 1e-5)) (`std_log`); scores are its own to the last digits, so that both can be used side by side."""

_SIGMOID_STEPS, _SIGMOID_LIMIT = 512, np.float32(8)

_BYTES, _I32, _I64, _U32 = (read_only(item) for item in (types.uint8, types.int32, types.int64, types.uint32))
_BYTES_OUT, _I32_OUT, _I64_OUT, _F64_OUT = (writable(item) for item in (types.uint8, types.int32, types.int64, types.float64))
_ROWS = types.Array(types.float32, 2, "C", readonly=True, aligned=False)
"""Rows of a mapped matrix: where it begins in its file is anywhere."""

_F32_ROWS, _F64_ROWS = types.Array(types.float32, 2, "C"), types.Array(types.float64, 2, "C")


@numba.njit(types.void(_F32_ROWS, types.int64, _ROWS, _I64_OUT, types.int64), cache=True, nogil=True)
def _add_rows(sums: np.ndarray, target: int, rows: np.ndarray, chosen: np.ndarray, count: int) -> None:
    """Add the first `count` chosen rows to a row of `sums`, four at a time: fewer passes over the sum, and smaller rounding errors."""
    goal = sums[target]
    place = 0
    while place + 4 <= count:
        one, two = rows[np.uint64(chosen[place])], rows[np.uint64(chosen[place + 1])]
        three, four = rows[np.uint64(chosen[place + 2])], rows[np.uint64(chosen[place + 3])]
        for column in range(len(goal)):
            goal[column] += (one[column] + two[column]) + (three[column] + four[column])
        place += 4
    while place < count:
        one = rows[np.uint64(chosen[place])]
        for column in range(len(goal)):
            goal[column] += one[column]
        place += 1


@numba.njit(
    types.void(
        _BYTES, _I64, _I32, _U32, _I64, _U32, _BYTES, _I64, _I32, _U32, _I32, types.boolean, types.int64, _ROWS, _F32_ROWS, _I32_OUT
    ),
    cache=True,
    nogil=True,
)
def sum_words(
    data: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    hashes: np.ndarray,
    piece_offsets: np.ndarray,
    pieces: np.ndarray,
    model_data: np.ndarray,
    model_starts: np.ndarray,
    model_sizes: np.ndarray,
    model_hashes: np.ndarray,
    slots: np.ndarray,
    has_pieces: bool,
    bucket: int,
    rows: np.ndarray,
    sums: np.ndarray,
    features: np.ndarray,
) -> None:
    """For each distinct word, the sum of its rows in one model, and their number: its own if the model knows it, and its pieces'."""
    mask = len(slots) - 1
    most = 1
    if has_pieces:
        for word in range(len(starts)):
            most = max(most, piece_offsets[word + 1] - piece_offsets[word] + 1)
    chosen = np.empty(most, np.int64)
    width = np.uint32(bucket)
    for word in range(len(starts)):
        count = 0
        slot = np.int64(hashes[word]) & mask
        while slots[slot] >= 0:
            known = slots[slot]
            if (
                model_hashes[known] == hashes[word]
                and model_sizes[known] == sizes[word]
                and same(model_data, model_starts[known], data, starts[word], sizes[word])
            ):
                chosen[0] = known
                count = 1
                break
            slot = (slot + 1) & mask
        if has_pieces:
            for place in range(piece_offsets[word], piece_offsets[word + 1]):
                chosen[count] = len(model_starts) + np.int64(pieces[place] % width)
                count += 1
        features[word] = count
        for column in range(sums.shape[1]):
            sums[word, column] = 0
        _add_rows(sums, word, rows, chosen, count)


@numba.njit(
    types.void(_I64, _I32, _U32, _F32_ROWS, _I32, types.int64, types.int64, types.int64, types.int64, _ROWS, _F32_ROWS, _BYTES_OUT),
    cache=True,
    nogil=True,
)
def sum_lines(
    first: np.ndarray,
    words: np.ndarray,
    hashes: np.ndarray,
    word_sums: np.ndarray,
    features: np.ndarray,
    known_words: int,
    end_of_line: int,
    ngrams: int,
    bucket: int,
    rows: np.ndarray,
    means: np.ndarray,
    is_known: np.ndarray,
) -> None:
    """The mean of all rows of each line: of its words, of `</s>`, and of its runs of 2 to `ngrams` words. is_known: 0 where there is none
    but that of `</s>`, which says nothing of the line, and for a line without words.

    The hash of a run is one multiplication per word, so every model makes its own: to store them would cost more.
    """
    most = 1
    for line in range(len(first) - 1):
        most = max(most, (first[line + 1] - first[line] + 1) * max(ngrams, 1))
    chosen = np.empty(most, np.int64)
    width = np.uint64(max(bucket, 1))
    end_hash = np.uint64(np.int64(np.int32(np.uint32(END_HASH))))
    for line in range(len(first) - 1):
        begin, end = first[line], first[line + 1]
        for column in range(means.shape[1]):
            means[line, column] = 0
        total = 0
        for place in range(begin, end):
            chosen[place - begin] = words[place]
            total += features[words[place]]
        _add_rows(means, line, word_sums, chosen, end - begin)
        count = 0
        if end_of_line >= 0:
            chosen[0] = end_of_line
            count = 1
        if ngrams > 1:
            for place in range(begin, end):
                value = np.uint64(np.int64(np.int32(hashes[words[place]])))
                for following in range(place + 1, min(end + 1, place + ngrams)):
                    other = np.uint64(np.int64(np.int32(hashes[words[following]]))) if following < end else end_hash
                    value = value * _NGRAM_FACTOR + other
                    chosen[count] = known_words + np.int64(value % width)
                    count += 1
        _add_rows(means, line, rows, chosen, count)
        total += count
        is_known[line] = end > begin and total > (1 if end_of_line >= 0 else 0)
        if total > 0:
            share = np.float32(1.0 / total)
            for column in range(means.shape[1]):
                means[line, column] *= share


@numba.njit(types.float64(types.float32, _F64_OUT), cache=True, nogil=True)
def _sigmoid(value: np.float32, sigmoids: np.ndarray) -> float:
    """fastText's sigmoid: one of 512 steps between -8 and 8 (`Loss::sigmoid`); NaN of NaN, which has no step."""
    if np.isnan(value):
        return np.nan
    if value < -_SIGMOID_LIMIT:
        return 0.0
    if value > _SIGMOID_LIMIT:
        return 1.0
    return sigmoids[np.int64((value + _SIGMOID_LIMIT) * np.float32(_SIGMOID_STEPS) / _SIGMOID_LIMIT / np.float32(2))]


@numba.njit(types.void(_F32_ROWS, _ROWS, types.boolean, _F64_OUT, _F64_ROWS), cache=True, nogil=True)
def label_scores(means: np.ndarray, outputs: np.ndarray, is_softmax: bool, sigmoids: np.ndarray, scores: np.ndarray) -> None:
    """scores: float64[lines, labels], fastText's probability of each label. outputs: float32[dim, labels]."""
    labels = outputs.shape[1]
    for line in range(len(means)):
        line_scores = scores[line]
        for label in range(labels):
            line_scores[label] = 0
        for column in range(means.shape[1]):
            value = np.float64(means[line, column])
            for label in range(labels):
                line_scores[label] += value * outputs[column, label]
        if is_softmax:
            highest = line_scores[0]
            for label in range(labels):
                highest = max(highest, line_scores[label])
            total = 0.0
            for label in range(labels):
                line_scores[label] = np.exp(line_scores[label] - highest)
                total += line_scores[label]
            for label in range(labels):
                line_scores[label] /= total
        else:
            for label in range(labels):
                line_scores[label] = _sigmoid(np.float32(line_scores[label]), sigmoids)
        for label in range(labels):
            value = line_scores[label] + _PROBABILITY_OFFSET
            line_scores[label] = 1.0 if value > 1.0 else value  # `min` would take NaN for 1


def sigmoid_table() -> np.ndarray:
    """float64[513]: the steps of fastText's sigmoid."""
    at = np.arange(_SIGMOID_STEPS + 1) * (2 * float(_SIGMOID_LIMIT) / _SIGMOID_STEPS) - float(_SIGMOID_LIMIT)
    return (1.0 / (1.0 + np.exp(-at))).astype(np.float32).astype(np.float64)
