"""Supervised fastText model files (.bin), read by ourselves: checked against the file's size first, and mapped rather than copied.

A mapped matrix is pages of the file: all processes of a machine that use a model share one copy. Layout: `FastText::saveModel` of
fastText 0.9.3.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass

import numpy as np

from pipeline.classify.lines import LABEL_PREFIX
from pipeline.classify.words_kernel import BAD_ENTRY, read_entries, word_table
from pipeline.errors import UserError

MAGIC, VERSIONS = 793712314, (11, 12)
"""First number of a fastText file, and the versions of its format that fastText 0.9 reads (`FastText::checkModel`)."""

HEADER = struct.Struct("<2i12id3i2q")
"""Magic, version; dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate, t; entries, words, labels,
tokens, pruned (fastText `Args::save`, `Dictionary::save`)."""

SUPERVISED, SOFTMAX, ONE_VS_ALL = 3, 3, 4
"""Numbers of fastText's `model_name` and `loss_name`."""

_SHAPE, _QUANTISED, _QUANTISER = struct.Struct("<2q"), struct.Struct("<?2qi"), struct.Struct("<4i")
"""Rows and columns of a matrix; with norms or not, rows, columns and bytes of codes; vector, parts, size of a part and of the last one."""

_CENTROIDS = 256
"""Vectors that a code of one byte chooses from (`ProductQuantizer::ksub_`)."""

_SMALLEST_ENTRY = 10
"""Bytes of a dictionary entry without letters: an end mark, a count, a type."""

_MOST_DIMENSIONS, _MOST_NGRAMS, _MOST_LETTERS = 1 << 16, 32, 64
"""Far above any model's: a damaged number is told from a large one, and no word costs more than so many pieces per letter."""

_CHECKED_VALUES = 1 << 22


@dataclass(frozen=True)
class Header:
    """The numbers at the start of a model file. version 11 had no pieces of words, whatever maxn says."""

    version: int
    dim: int
    word_ngrams: int
    loss: int
    bucket: int
    minn: int
    maxn: int
    entries: int
    words: int
    labels: int
    pruned: int


@dataclass(frozen=True)
class FastTextFile:
    """A model without quantisation, as arrays.

    labels: as in the file. data: uint8, the whole file. starts, sizes (int64, int32 per word): where each word's bytes are in it.
    hashes: uint32 per word. slots: int32, numbers of words by hash (open addressing, -1: free; a power of two).
    rows: float32, words then buckets, `dim` values each; mapped. outputs: float32[dim, labels].
    end_of_line: number of the word `</s>`, -1 where the model has none.
    """

    header: Header
    labels: tuple[str, ...]
    data: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    hashes: np.ndarray
    slots: np.ndarray
    rows: np.ndarray
    outputs: np.ndarray
    end_of_line: int


def read_header(path: str) -> Header:
    """The header of a model file.

    Raises UserError for a file that can't be read, isn't a supervised fastText model of a known version, or has impossible numbers.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEADER.size)
    except OSError as error:
        raise UserError(f"can't read the model '{path}': {error.strerror}; check the path") from error
    if len(head) < 8 or struct.unpack_from("<i", head)[0] != MAGIC:
        raise UserError(f"'{path}' is not a fastText model; give a .bin or .ftz file that fastText or `onnuri classify train` wrote")
    version = struct.unpack_from("<i", head, 4)[0]
    if version not in VERSIONS:
        raise UserError(
            f"the model '{path}' has fastText format {version}, and this program reads {VERSIONS[0]} and {VERSIONS[1]}; train it again"
        )
    if len(head) < HEADER.size:
        raise _cut_short(path)
    _, _, dim, _, _, _, _, word_ngrams, loss, kind, bucket, minn, maxn, _, _, entries, words, labels, _, pruned = HEADER.unpack(head)
    if kind != SUPERVISED:
        raise UserError(f"the model '{path}' holds word vectors, not a classifier; give a supervised fastText model")
    if labels < 2:
        raise UserError(f"the model '{path}' knows {labels} label; give a model of at least two")
    header = Header(version, dim, word_ngrams, loss, bucket, minn, maxn if version > 11 else 0, entries, words, labels, pruned)
    possible = 0 < dim <= _MOST_DIMENSIONS and word_ngrams <= _MOST_NGRAMS and header.maxn <= _MOST_LETTERS
    if not possible or words < 0 or words + labels != entries or bucket < 0 or (bucket == 0 and (header.maxn > 0 or word_ngrams > 1)):
        raise _damaged(path)
    return header


def read_model(path: str) -> FastTextFile | None:
    """The model in a file; None for one that only fastText itself can use: quantised (.ftz), of the losses hs and ns, or of labels that
    don't begin with `__label__`.

    Raises UserError for a file that isn't a supervised model of at least two labels, that is cut short or damaged, or that holds
    values that aren't numbers. Nothing is allocated before the file's size allows it, and nothing in the file is executed.
    """
    header = read_header(path)
    size = os.path.getsize(path)
    if HEADER.size + header.entries * _SMALLEST_ENTRY > size:
        raise _cut_short(path)
    with open(path, "rb") as stream:
        data = np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    starts, sizes = np.empty(header.entries, np.int64), np.empty(header.entries, np.int32)
    position = read_entries(data, HEADER.size, header.words, starts, sizes)
    if position < 0:
        raise _damaged(path) if position == BAD_ENTRY else _cut_short(path)
    if header.pruned > 0:
        position += header.pruned * 8
    if position >= size:
        raise _cut_short(path)
    names = [data[start : start + length].tobytes() for start, length in zip(starts[header.words :], sizes[header.words :], strict=True)]
    labels = _labels(path, names)
    if data[position] != 0:
        _check_quantised(path, data, position + 1, header)
        return None
    if header.pruned >= 0:
        raise _damaged(path)  # fastText refuses it, too: only quantised models are pruned
    rows, position = _matrix(path, data, position + 1, header.words + header.bucket, header.dim)
    if position >= size:
        raise _cut_short(path)
    outputs, _ = _matrix(path, data, position + 1, header.labels, header.dim)
    if header.loss not in (SOFTMAX, ONE_VS_ALL) or any(not label.startswith(LABEL_PREFIX) for label in labels):
        return None
    own_starts, own_sizes = starts[: header.words].copy(), sizes[: header.words].copy()
    slots = np.full(1 << (2 * header.words).bit_length(), -1, np.int32)
    hashes = np.empty(header.words, np.uint32)
    end_of_line = word_table(data, own_starts, own_sizes, hashes, slots)
    across = np.ascontiguousarray(outputs.reshape(header.labels, header.dim).T)
    return FastTextFile(header, labels, data, own_starts, own_sizes, hashes, slots, rows, across, int(end_of_line))


def _labels(path: str, names: list[bytes]) -> tuple[str, ...]:
    try:
        labels = tuple(name.decode("utf-8") for name in names)
    except UnicodeDecodeError as error:
        raise UserError(f"the model '{path}' has a label that isn't UTF-8 ({error.object!r}); train it again") from error
    if len(set(labels)) < len(labels):
        raise _damaged(path)
    return labels


def _matrix(path: str, data: np.ndarray, position: int, rows: int, columns: int) -> tuple[np.ndarray, int]:
    """float32[rows * columns] of the matrix at `position`, mapped if its place in the file allows it, and the position behind it."""
    if position + _SHAPE.size > len(data):
        raise _cut_short(path)
    if _SHAPE.unpack_from(data.data, position) != (rows, columns):
        raise _damaged(path)
    position += _SHAPE.size
    end = position + rows * columns * 4
    if end > len(data):
        raise _cut_short(path)
    values = data[position:end].view(np.float32)
    for start in range(0, len(values), _CHECKED_VALUES):
        if not np.isfinite(values[start : start + _CHECKED_VALUES]).all():
            raise _not_numbers(path)
    return values, end


def _check_quantised(path: str, data: np.ndarray, position: int, header: Header) -> None:
    """Whether the parts of a quantised model fit together and into the file: fastText, which will read it, doesn't ask.

    Raises UserError if not. The layout is that of `QuantMatrix::save` and `ProductQuantizer::save`.
    """
    kept = header.pruned if header.pruned >= 0 else header.bucket
    if header.pruned > 0:
        pairs = data[position - 1 - 8 * header.pruned : position - 1].copy().view(np.int32)
        if pairs.min() < 0 or pairs[1::2].max() >= kept:
            raise _damaged(path)
    position = _quantised(path, data, position, header.words + kept, header.dim)
    if position >= len(data):
        raise _cut_short(path)
    if data[position] != 0:
        _quantised(path, data, position + 1, header.labels, header.dim)
    else:
        _matrix(path, data, position + 1, header.labels, header.dim)


def _quantised(path: str, data: np.ndarray, position: int, rows: int, columns: int) -> int:
    """The position behind a quantised matrix of this shape; checks that all of it is there."""
    if position + _QUANTISED.size > len(data):
        raise _cut_short(path)
    has_norms, *shape, codes = _QUANTISED.unpack_from(data.data, position)
    if shape != [rows, columns] or codes < 0:
        raise _damaged(path)
    position, parts = _quantiser(path, data, position + _QUANTISED.size + codes, columns)
    if codes != rows * parts:
        raise _damaged(path)
    if has_norms:
        position, _ = _quantiser(path, data, position + rows, 1)
    return position


def _quantiser(path: str, data: np.ndarray, position: int, columns: int) -> tuple[int, int]:
    """The position behind a quantiser of vectors of `columns` values, and into how many parts it cuts them."""
    if position + _QUANTISER.size > len(data):
        raise _cut_short(path)
    dim, parts, width, last = _QUANTISER.unpack_from(data.data, position)
    if dim != columns or not 0 < width <= dim or parts != -(-dim // width) or last != dim - (parts - 1) * width:
        raise _damaged(path)
    begin = position + _QUANTISER.size
    end = begin + dim * _CENTROIDS * 4
    if end > len(data):
        raise _cut_short(path)
    if not np.isfinite(data[begin:end].view(np.float32)).all():
        raise _not_numbers(path)
    return end, parts


def _not_numbers(path: str) -> UserError:
    return UserError(f"the model '{path}' holds values that are not numbers (NaN or infinite); train it again with a lower lr")


def _cut_short(path: str) -> UserError:
    return UserError(f"the model '{path}' is cut short; train it again, or get a complete copy")


def _damaged(path: str) -> UserError:
    return UserError(f"the model '{path}' is damaged: its parts don't fit together; train it again, or get a complete copy")
