"""Measure each document: one pass over its bytes gives every quality signal that the rules later decide by.

The definitions are in docs/refine.md. This module turns the kernels' integer counts into the columns of the document table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipeline.refine.characters import class_table
from pipeline.refine.phrases import shipped_table
from pipeline.schema import with_columns

COLUMNS = (
    "chars", "words", "lines", "mean_word_length", "alpha_word_ratio", "symbol_word_ratio", "bullet_line_ratio", "ellipsis_line_ratio",
    "stop_words", "line_end_punct_ratio", "short_line_ratio", "newline_ratio", "hangul_ratio", "latin_ratio", "digit_ratio",
    "replacement_char_ratio", "jamo_run_ratio", "dup_line_ratio", "dup_line_char_ratio", "top_2gram_char_ratio", "top_3gram_char_ratio",
    "top_4gram_char_ratio", "dup_5gram_char_ratio", "dup_10gram_char_ratio", "spam_words", "boilerplate_line_ratio",
)  # fmt: skip
"""What `Signals` writes."""


def text_buffers(texts: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The UTF-8 bytes (uint8) and the rows + 1 byte offsets (int64) of a large_string column, without a copy if it is one chunk.

    Null rows have equal offsets, like empty ones.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.chunk(0) if texts.num_chunks == 1 else texts.combine_chunks()
    if isinstance(texts, pa.ChunkedArray):  # combine_chunks of no chunks at all
        texts = pa.array([], pa.large_string())
    texts = texts if texts.type == pa.large_string() else texts.cast(pa.large_string())
    if texts.null_count:
        texts = texts.fill_null("")
    _, offset_buffer, data_buffer = texts.buffers()
    if offset_buffer is None or not len(texts):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    offsets = np.frombuffer(offset_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, np.uint8)
    return data, offsets


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64, 0 where whole is 0."""
    return part / np.maximum(whole, 1)


def measure(texts: pa.Array | pa.ChunkedArray) -> dict[str, np.ndarray]:
    """Every column of COLUMNS for a large_string column: int64 or float64 arrays of one value per row; null counts as empty."""
    # Imported here because importing compiles: whoever only reads the config or the help need not wait.
    from pipeline.refine import phrases_kernel
    from pipeline.refine import signals_kernel as kernel

    data, offsets = text_buffers(texts)
    count_matrix = np.zeros((len(offsets) - 1, kernel.COUNTS), np.int64)
    kernel.count_characters(data, offsets, class_table(), count_matrix)
    table = shipped_table()
    phrase_counts = np.zeros((len(offsets) - 1, phrases_kernel.COUNTS), np.int64)
    phrases_kernel.count_phrases(data, offsets, table.phrase_bytes, table.phrase_starts, table.is_spam, table.buckets, phrase_counts)

    count = count_matrix.T
    chars, words, lines = count[kernel.CHARS], count[kernel.WORDS], count[kernel.LINES]
    letters, word_chars, checked_chars = count[kernel.LETTERS], count[kernel.WORD_CHARS], count[kernel.CHECKED_WORD_CHARS]
    return {
        "chars": chars,
        "words": words,
        "lines": lines,
        "mean_word_length": _share(word_chars, words),
        "alpha_word_ratio": _share(count[kernel.ALPHA_WORDS], words),
        "symbol_word_ratio": _share(count[kernel.SYMBOLS], words),
        "bullet_line_ratio": _share(count[kernel.BULLET_LINES], lines),
        "ellipsis_line_ratio": _share(count[kernel.ELLIPSIS_LINES], lines),
        "stop_words": count[kernel.STOP_WORDS],
        "line_end_punct_ratio": _share(count[kernel.TERMINAL_LINES], lines),
        "short_line_ratio": _share(count[kernel.SHORT_LINES], lines),
        "newline_ratio": _share(count[kernel.NEWLINES], words),
        "hangul_ratio": _share(count[kernel.HANGUL_LETTERS], letters),
        "latin_ratio": _share(count[kernel.LATIN_LETTERS], letters),
        "digit_ratio": _share(count[kernel.DIGITS], word_chars),
        "replacement_char_ratio": _share(count[kernel.BROKEN_CHARS], chars),
        "jamo_run_ratio": _share(count[kernel.JAMO_RUN_CHARS], chars),
        "dup_line_ratio": _share(count[kernel.DUPLICATE_LINES], count[kernel.CHECKED_LINES]),
        "dup_line_char_ratio": _share(count[kernel.DUPLICATE_LINE_CHARS], count[kernel.CHECKED_LINE_CHARS]),
        "top_2gram_char_ratio": _share(count[kernel.TOP_2GRAM_CHARS], checked_chars),
        "top_3gram_char_ratio": _share(count[kernel.TOP_3GRAM_CHARS], checked_chars),
        "top_4gram_char_ratio": _share(count[kernel.TOP_4GRAM_CHARS], checked_chars),
        "dup_5gram_char_ratio": _share(count[kernel.DUPLICATE_5GRAM_CHARS], checked_chars),
        "dup_10gram_char_ratio": _share(count[kernel.DUPLICATE_10GRAM_CHARS], checked_chars),
        "spam_words": phrase_counts.T[phrases_kernel.SPAM_PHRASES],
        "boilerplate_line_ratio": _share(phrase_counts.T[phrases_kernel.FURNITURE_LINES], lines),
    }


@dataclass(frozen=True)
class Signals:
    """The stage that writes every quality signal; it decides nothing."""

    name: ClassVar[str] = "signals"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    writes: ClassVar[frozenset[str]] = frozenset(COLUMNS)

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with the columns of COLUMNS set from `text`."""
        return with_columns(table, dict(measure(table.column("text"))))
