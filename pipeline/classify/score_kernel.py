"""fastText's arithmetic over whole batches, compiled: words and pieces hashed once for all models, rows of each model added up.

What is computed is that of fastText 0.9.3 (`Dictionary::getLine`, `computeSubwords`, `addWordNgrams`, `Model::predict`). What is
different is the order: a word's rows (its own and those of its pieces) are added once per distinct word of a batch, and lines add up
words. Sums are in float32 in a fixed order, which no batch, thread or machine changes. Importing this module loads (the first time:
compiles) the kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable

CUT_SHORT, BAD_ENTRY = -1, -2
"""What `read_entries` returns for a dictionary that ends too soon, and for one whose words and labels are mixed."""

_ENTRY_TAIL = 10
"""Bytes behind the letters of a dictionary entry: NUL, count (int64), type (int8)."""

_FNV_START, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)
_SIGN = np.uint32(0xFFFFFF00)
_NGRAM_FACTOR = np.uint64(116049371)

END_HASH = 3617362777
"""fastText's hash of `</s>`, which ends every line and is part of its runs of words."""

_MOST_PROBES = 32
"""A word that finds no place in so many steps counts as one more distinct word: text made to collide costs a repetition, not a search."""

_SPACE, _BEGIN, _END = 32, 60, 62

_PROBABILITY_OFFSET = 1e-5
"""fastText answers with exp(log(p + 1e-5)) (`std_log`); scores are its own to the last digits, so that both can be used side by side."""

_SIGMOID_STEPS, _SIGMOID_LIMIT = 512, np.float32(8)

_BYTES, _I32, _I64, _U32 = (read_only(item) for item in (types.uint8, types.int32, types.int64, types.uint32))
_BYTES_OUT, _I32_OUT, _I64_OUT, _U32_OUT, _F32_OUT, _F64_OUT = (
    writable(item) for item in (types.uint8, types.int32, types.int64, types.uint32, types.float32, types.float64)
)
_ROWS = types.Array(types.float32, 2, "C", readonly=True, aligned=False)
"""Rows of a mapped matrix: where it begins in its file is anywhere."""

_F32_ROWS, _F64_ROWS = types.Array(types.float32, 2, "C"), types.Array(types.float64, 2, "C")


@numba.njit(types.int64(_BYTES, types.int64, types.int64, _I64_OUT, _I32_OUT), cache=True, nogil=True)
def read_entries(data: np.ndarray, position: int, words: int, starts: np.ndarray, sizes: np.ndarray) -> int:
    """Find the letters of a dictionary's entries, words first; returns the position behind them, or CUT_SHORT or BAD_ENTRY."""
    end = len(data)
    for entry in range(len(starts)):
        start = position
        while position < end and data[position] != 0:
            position += 1
        if position + _ENTRY_TAIL > end or position - start > 0x7FFFFFFF:
            return CUT_SHORT
        if data[position + 9] != (0 if entry < words else 1):
            return BAD_ENTRY
        starts[entry], sizes[entry] = start, position - start
        position += _ENTRY_TAIL
    return position


@numba.njit(types.uint32(types.uint32, types.uint8), cache=True, nogil=True, inline="always")
def _hashed(value: np.uint32, byte: np.uint8) -> np.uint32:
    """One step of fastText's FNV-1a, in which a byte from 0x80 up is a negative number."""
    wide = np.uint32(byte)
    if wide >= np.uint32(0x80):
        wide |= _SIGN
    return np.uint32((value ^ wide) * _FNV_PRIME)


@numba.njit(types.boolean(_BYTES, types.int64, _BYTES, types.int64, types.int64), cache=True, nogil=True)
def _same(left: np.ndarray, left_start: int, right: np.ndarray, right_start: int, size: int) -> bool:
    place = 0
    while place < size and left[np.uint64(left_start + place)] == right[np.uint64(right_start + place)]:
        place += 1
    return place == size


@numba.njit(types.int64(_BYTES, _I64, _I32, _U32_OUT, _I32_OUT), cache=True, nogil=True)
def word_table(data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, hashes: np.ndarray, slots: np.ndarray) -> int:
    """Fill `hashes` and `slots` of a model's words; returns the number of the word `</s>`, or -1. Of equal words the last counts."""
    mask = len(slots) - 1
    end_of_line = -1
    for word in range(len(starts)):
        value = _FNV_START
        for place in range(starts[word], starts[word] + sizes[word]):
            value = _hashed(value, data[place])
        hashes[word] = value
        slot = np.int64(value) & mask
        while slots[slot] >= 0:
            other = slots[slot]
            if hashes[other] == value and sizes[other] == sizes[word] and _same(data, starts[other], data, starts[word], sizes[word]):
                break
            slot = (slot + 1) & mask
        slots[slot] = word
        if value == np.uint32(END_HASH) and sizes[word] == 4 and data[starts[word]] == _BEGIN and data[starts[word] + 3] == _END:
            end_of_line = word
    return end_of_line


@numba.njit(types.void(_BYTES, _I64, _I64_OUT), cache=True, nogil=True)
def count_words(data: np.ndarray, offsets: np.ndarray, counts: np.ndarray) -> None:
    """The most words that each line can have: its spaces and one more; 0 for an empty one."""
    for line in range(len(counts)):
        spaces = 0
        for place in range(np.uint64(offsets[line]), np.uint64(offsets[line + 1])):
            spaces += data[place] == _SPACE
        counts[line] = spaces + (offsets[line + 1] > offsets[line])


@numba.njit(types.int64(_BYTES, _I64, _I32_OUT, _I64_OUT, _I32_OUT, _I64_OUT, _I32_OUT, _U32_OUT), cache=True, nogil=True)
def split_words(
    data: np.ndarray,
    offsets: np.ndarray,
    slots: np.ndarray,
    first: np.ndarray,
    words: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    hashes: np.ndarray,
) -> int:
    """Part lines at spaces, number their distinct words, and hash each; returns how many distinct words there are.

    slots: scratch, all -1, a power of two above twice the words. first: int64[lines + 1], where each line's words begin in `words` (int32,
    their numbers). starts, sizes, hashes: of the distinct words.
    """
    mask = len(slots) - 1
    distinct = count = 0
    for line in range(len(first) - 1):
        first[line] = count
        position, end = offsets[line], offsets[line + 1]
        while position < end:
            start = position
            value = _FNV_START
            while position < end and data[np.uint64(position)] != _SPACE:
                value = _hashed(value, data[np.uint64(position)])
                position += 1
            size = position - start
            position += 1
            if size == 0:
                continue
            slot = np.int64(value) & mask
            found = -1
            for _ in range(_MOST_PROBES):
                other = slots[slot]
                if other < 0:
                    slots[slot] = distinct
                    break
                if hashes[other] == value and sizes[other] == size and _same(data, starts[other], data, start, size):
                    found = other
                    break
                slot = (slot + 1) & mask
            if found < 0:
                found = distinct
                starts[found], sizes[found], hashes[found] = start, size, value
                distinct += 1
            words[count] = found
            count += 1
    first[len(first) - 1] = count
    return distinct


@numba.njit(types.void(_BYTES, _I64, _I32, types.int64, types.int64, _I64_OUT), cache=True, nogil=True)
def count_pieces(data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, minn: int, maxn: int, offsets: np.ndarray) -> None:
    """offsets: int64[words + 1], where the pieces of each word begin: runs of minn to maxn characters of `<word>`, not its ends alone."""
    total = 0
    for word in range(len(starts)):
        offsets[word] = total
        characters = 2
        for place in range(starts[word], starts[word] + sizes[word]):
            characters += (data[place] & 0xC0) != 0x80
        for size in range(max(minn, 1), maxn + 1):
            if size <= characters:
                total += characters - size + 1 - (2 if size == 1 else 0)
    offsets[len(starts)] = total


@numba.njit(types.void(_BYTES, _I64, _I32, types.int64, types.int64, _I64, _U32_OUT), cache=True, nogil=True)
def hash_pieces(
    data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, minn: int, maxn: int, offsets: np.ndarray, pieces: np.ndarray
) -> None:
    """The hashes of the pieces that `count_pieces` counted, in fastText's order."""
    longest = 0
    for word in range(len(starts)):
        longest = max(longest, sizes[word])
    letters = np.empty(longest + 2, np.uint8)
    letters[0] = _BEGIN
    for word in range(len(starts)):
        out = offsets[word]
        length = sizes[word] + 2
        for place in range(sizes[word]):
            letters[place + 1] = data[starts[word] + place]
        letters[length - 1] = _END
        for start in range(length):
            if (letters[start] & 0xC0) == 0x80:
                continue
            value = _FNV_START
            place = start
            for characters in range(1, maxn + 1):
                if place >= length:
                    break
                value = _hashed(value, letters[place])
                place += 1
                while place < length and (letters[place] & 0xC0) == 0x80:
                    value = _hashed(value, letters[place])
                    place += 1
                if characters >= minn and not (characters == 1 and (start == 0 or place == length)):
                    pieces[out] = value
                    out += 1


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
                and _same(model_data, model_starts[known], data, starts[word], sizes[word])
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
    """The mean of all rows of each line: of its words, of `</s>`, and of its runs of 2 to `ngrams` words. is_known: 0 where there is none,
    and for a line without words.

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
        is_known[line] = total > 0 and end > begin
        if total > 0:
            share = np.float32(1.0 / total)
            for column in range(means.shape[1]):
                means[line, column] *= share


@numba.njit(types.float64(types.float32, _F64_OUT), cache=True, nogil=True)
def _sigmoid(value: np.float32, sigmoids: np.ndarray) -> float:
    """fastText's sigmoid: one of 512 steps between -8 and 8 (`Loss::sigmoid`)."""
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
            line_scores[label] = min(1.0, line_scores[label] + _PROBABILITY_OFFSET)


def sigmoid_table() -> np.ndarray:
    """float64[513]: the steps of fastText's sigmoid."""
    at = np.arange(_SIGMOID_STEPS + 1) * (2 * float(_SIGMOID_LIMIT) / _SIGMOID_STEPS) - float(_SIGMOID_LIMIT)
    return (1.0 / (1.0 + np.exp(-at))).astype(np.float32).astype(np.float64)
