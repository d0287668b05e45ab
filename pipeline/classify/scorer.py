"""Scores of lines by several models at once: the lines are taken apart once, then each model adds up its rows."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.classify import score_kernel as kernel
from pipeline.classify import words_kernel
from pipeline.classify.fasttext_file import SOFTMAX, FastTextFile, read_model
from pipeline.classify.lines import LABEL_PREFIX
from pipeline.classify.predict import load_model, probabilities
from pipeline.errors import UserError

_VECTOR_BYTES = 64 << 20
"""Memory for the sums of distinct words: so many words are taken apart at once as fit in it if no two are equal."""

_MOST_WORDS = 1 << 18
"""Words at once: with more the same word is added up less often, but the table of words leaves the cache. Korean text ran at 29 MB/s with
2^16, 34 with 2^18, 36 with 2^20."""

_PIECE_BYTES = 128 << 20
"""Memory for the hashes of pieces, as if no two words were equal. _MOST_WORDS need less at the trainer's settings; texts without blanks, or
pieces of many lengths, may need more."""

_MOST_SCORES = 1 << 22
"""Scores at once: a batch of short lines has few words, and a model may have thousands of labels."""


@dataclass(frozen=True)
class Words:
    """Some lines, taken apart. data: uint8, their bytes. first: int64[lines + 1], where each line's words begin in `words`.

    words: int32, the numbers of distinct words, of which `starts`, `sizes` and `hashes` say the rest.
    """

    data: np.ndarray
    first: np.ndarray
    words: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    hashes: np.ndarray

    def pieces(self, minn: int, maxn: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the pieces of each distinct word begin (int64[words + 1]), and their hashes (uint32)."""
        offsets = np.zeros(len(self.starts) + 1, np.int64)
        if maxn <= 0:
            return offsets, np.zeros(0, np.uint32)
        words_kernel.count_pieces(self.data, self.starts, self.sizes, minn, maxn, offsets)
        hashes = np.empty(offsets[-1], np.uint32)
        words_kernel.hash_pieces(self.data, self.starts, self.sizes, minn, maxn, offsets, hashes)
        return offsets, hashes


@dataclass(frozen=True)
class Scorer:
    """One model, ready to score. labels: as fastText names them, without their prefix, in the order of the scores.

    file: the model's arrays; None for one that the fastText library must score (`read_model` says which), which then is `library`.
    """

    path: str
    labels: tuple[str, ...]
    file: FastTextFile | None
    library: Any = None

    def kernel_scores(self, words: Words, pieces: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """float64[lines, labels], and bool[lines]: whether a line has any word, piece or run that the model knows."""
        model = self.file
        if model is None:
            raise ValueError(f"the model '{self.path}' is scored by the fastText library")
        header = model.header
        rows = model.rows.reshape(-1, header.dim)
        sums = np.empty((len(words.starts), header.dim), np.float32)
        features = np.empty(len(words.starts), np.int32)
        kernel.sum_words(
            words.data,
            words.starts,
            words.sizes,
            words.hashes,
            *pieces,
            model.data,
            model.starts,
            model.sizes,
            model.hashes,
            model.slots,
            header.maxn > 0,
            header.bucket,
            rows,
            sums,
            features,
        )
        lines = len(words.first) - 1
        means, is_known = np.empty((lines, header.dim), np.float32), np.empty(lines, np.uint8)
        known, end = header.words, model.end_of_line
        kernel.sum_lines(
            words.first, words.words, words.hashes, sums, features, known, end, header.word_ngrams, header.bucket, rows, means, is_known
        )
        scores = np.empty((lines, header.labels), np.float64)
        kernel.label_scores(means, model.outputs, header.loss == SOFTMAX, kernel.sigmoid_table(), scores)
        return scores, is_known.view(np.bool_)


@functools.lru_cache(maxsize=64)
def open_scorer(path: str, fingerprint: str) -> Scorer:
    """The model in a file, opened once per process (`fingerprint` makes another file under the same name another model).

    Raises UserError for a file that can't be used.
    """
    file = read_model(path)
    if file is not None:
        return Scorer(path, tuple(label.removeprefix(LABEL_PREFIX) for label in file.labels), file)
    model = load_model(path, fingerprint)
    return Scorer(path, tuple(str(label).removeprefix(LABEL_PREFIX) for label in model.get_labels()), None, model)


def split(data: np.ndarray, offsets: np.ndarray, most_words: int) -> Words:
    """The words of lines, whose bytes are data[offsets[i]:offsets[i + 1]]; there are at most `most_words`."""
    first, words = np.empty(len(offsets), np.int64), np.empty(most_words, np.int32)
    starts, sizes, hashes = np.empty(most_words, np.int64), np.empty(most_words, np.int32), np.empty(most_words, np.uint32)
    slots = np.full(1 << (2 * most_words).bit_length(), -1, np.int32)
    distinct = words_kernel.split_words(data, offsets, slots, first, words, starts, sizes, hashes)
    return Words(data, first, words[: first[-1]], starts[:distinct], sizes[:distinct], hashes[:distinct])


def score(scorers: Sequence[Scorer], lines: pa.Array) -> Iterator[tuple[int, list[tuple[np.ndarray, np.ndarray]]]]:
    """For runs of the lines (large_string, as `normal_texts` makes them): the first line's number, and what each scorer says.

    That is float64[run, labels] and bool[run], whether the model knows anything in the line; scores of lines without are of no use.
    Runs are as long as memory allows; results don't depend on it. Raises UserError for scores that aren't numbers.
    """
    _, offset_buffer, data_buffer = lines.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[lines.offset : lines.offset + len(lines) + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.zeros(0, np.uint8)
    counts = np.empty(len(lines), np.int64)
    words_kernel.count_words(data, offsets, counts)
    for begin, end in _runs(counts, np.diff(offsets), scorers):
        words = split(data, offsets[begin : end + 1], int(counts[begin:end].sum()))
        pieces = functools.cache(words.pieces)
        found = []
        for scorer in scorers:
            if scorer.file is None:
                found.append(_library_scores(scorer, lines.slice(begin, end - begin)))
            else:
                header = scorer.file.header
                found.append(scorer.kernel_scores(words, pieces(header.minn, header.maxn)))
            _require_numbers(scorer, found[-1][0])
        yield begin, found


def _runs(counts: np.ndarray, sizes: np.ndarray, scorers: Sequence[Scorer]) -> Iterator[tuple[int, int]]:
    """Ranges of lines with so many words, pieces and scores as memory allows, and at least one line.

    counts, sizes: int64[lines], the most words and the bytes of each.
    """
    files = [scorer.file for scorer in scorers if scorer.file is not None]
    widest = max((file.header.dim for file in files), default=1)
    most_words = max(1, min(_MOST_WORDS, _VECTOR_BYTES // (4 * widest)))
    most_lines = max(1, _MOST_SCORES // max(len(scorer.labels) for scorer in scorers))
    lengths = {(file.header.minn, file.header.maxn) for file in files}
    per_character = sum(4 * max(0, maxn - max(minn, 1) + 1) for minn, maxn in lengths)
    words, pieces = np.cumsum(counts), np.cumsum((sizes + counts) * per_character)  # a word's ends count as characters of its pieces
    begin = 0
    while begin < len(counts):
        end = min(_reach(words, begin, most_words), _reach(pieces, begin, _PIECE_BYTES))
        end = min(max(end, begin + 1), begin + most_lines, len(counts))
        yield begin, end
        begin = end


def _reach(totals: np.ndarray, begin: int, most: int) -> int:
    """The end of the lines from `begin` on that have `most` together. totals: int64[lines], of each line and those before it."""
    before = int(totals[begin - 1]) if begin else 0
    return int(np.searchsorted(totals, before + most, side="right"))


def _library_scores(scorer: Scorer, lines: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """What `Scorer.kernel_scores` gives, asked of fastText line by line.

    fastText doesn't say what it knows in a line. It knows nothing where scores and vector are those of the empty line: that one's is the
    row of `</s>`, which every other row would pull elsewhere.
    """
    texts = lines.to_pylist()
    found: np.ndarray = probabilities(scorer.library, texts, scorer.labels)
    is_known = (found != probabilities(scorer.library, [""], scorer.labels)).any(axis=1)
    nothing = scorer.library.get_sentence_vector("")
    for row in np.flatnonzero(~is_known):
        is_known[row] = (scorer.library.get_sentence_vector(texts[row]) != nothing).any()
    return found, is_known


def _require_numbers(scorer: Scorer, scores: np.ndarray) -> None:
    """A model's values are numbers, but sums of huge ones may not be; the library's losses we can't look into."""
    if not np.isfinite(scores).all():
        raise UserError(f"the model '{scorer.path}' gives scores that are not numbers (NaN or infinite); train it again with a lower lr")
