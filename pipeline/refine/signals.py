"""Measure each document: one pass over its bytes gives every quality signal that the rules later decide by.

The definitions are in docs/signals.md. This module turns the kernels' integer counts into the columns of the document table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipeline.refine.characters import ending_table, kind_table
from pipeline.refine.phrases import signal_table
from pipeline.schema import with_columns

COLUMNS = (
    "chars", "words", "lines", "sentences", "mean_word_length", "max_word_length", "alpha_word_ratio", "estimated_alpha_ratio",
    "symbol_word_ratio", "bullet_line_ratio", "ellipsis_line_ratio", "stop_words", "line_end_punct_ratio", "short_line_ratio",
    "newline_ratio", "list_line_ratio", "url_word_ratio", "upper_ratio", "c4_line_ratio", "c4_sentences", "curly_brackets", "lorem_ipsum",
    "bad_words", "hangul_ratio", "latin_ratio", "digit_ratio", "replacement_char_ratio", "conjoining_jamo_ratio", "josa_word_ratio",
    "long_eojeol_ratio", "single_syllable_ratio", "korean_stop_words", "korean_end_line_ratio", "jamo_run_ratio", "dup_line_ratio",
    "dup_line_char_ratio", "dup_paragraph_ratio", "dup_paragraph_char_ratio", "top_2gram_char_ratio", "top_3gram_char_ratio",
    "top_4gram_char_ratio", "dup_5gram_char_ratio", "dup_6gram_char_ratio", "dup_7gram_char_ratio", "dup_8gram_char_ratio",
    "dup_9gram_char_ratio", "dup_10gram_char_ratio", "spam_words", "ad_phrases",
)  # fmt: skip
"""What `Signals` writes."""

DIGITS_PER_NUMBER, LATIN_PER_MORPHEME, HANGUL_PER_MORPHEME = 4.7, 3.6, 1.2
"""Characters per morpheme as Kiwi counts them, for `estimated_alpha_ratio`; a mark is one morpheme.

Least squares against Kiwi's `alpha_morpheme_ratio` on one half of the documents of benchmarks/korean_rules.py, those near FineWeb2's border
(.791) counted most. They aim at that border: Hangul looks denser than it is because marks in a row are one morpheme.
"""


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
    from pipeline.refine.repetition_kernel import LONGEST_GRAM, LONGEST_TOP_GRAM

    data, offsets = text_buffers(texts)
    phrase_matrix = np.zeros((len(offsets) - 1, phrases_kernel.KINDS), np.int64)
    c4_places = np.empty((offsets[-1] - offsets[0]) // 8 + 2, np.int64)
    found = phrases_kernel.count_phrases(data, offsets, *signal_table().arrays, phrase_matrix, c4_places)
    c4_places[found] = np.iinfo(np.int64).max
    matrix = np.zeros((len(offsets) - 1, kernel.COUNTS), np.int64)
    kernel.count_characters(data, offsets, kind_table(), ending_table(), c4_places, matrix)

    count, phrases = matrix.T, phrase_matrix.T
    chars, words, lines, word_chars = count[kernel.CHARS], count[kernel.WORDS], count[kernel.LINES], count[kernel.WORD_CHARS]
    letters, hangul_words, checked_chars = count[kernel.LETTERS], count[kernel.HANGUL_WORDS], count[kernel.CHECKED_WORD_CHARS]
    digits, hangul = count[kernel.DIGITS], count[kernel.HANGUL_LETTERS]
    with_letter = hangul / HANGUL_PER_MORPHEME + (letters - hangul) / LATIN_PER_MORPHEME
    without_letter = (word_chars - letters - digits) + digits / DIGITS_PER_NUMBER
    grams = {}
    for place, n in enumerate(range(2, LONGEST_GRAM + 1)):
        name = f"top_{n}gram_char_ratio" if n <= LONGEST_TOP_GRAM else f"dup_{n}gram_char_ratio"
        grams[name] = _share(count[kernel.FIRST_GRAM_CHARS + place], checked_chars)
    return {
        "chars": chars,
        "words": words,
        "lines": lines,
        "sentences": count[kernel.SENTENCES],
        "mean_word_length": _share(word_chars, words),
        "max_word_length": count[kernel.MAX_WORD_LENGTH],
        "alpha_word_ratio": _share(count[kernel.ALPHA_WORDS], words),
        "estimated_alpha_ratio": with_letter / np.where(word_chars, with_letter + without_letter, 1),
        "symbol_word_ratio": _share(count[kernel.SYMBOLS], words),
        "bullet_line_ratio": _share(count[kernel.BULLET_LINES], lines),
        "ellipsis_line_ratio": _share(count[kernel.ELLIPSIS_LINES], lines),
        "stop_words": count[kernel.STOP_WORDS],
        "line_end_punct_ratio": _share(count[kernel.TERMINAL_LINES], lines),
        "short_line_ratio": _share(count[kernel.SHORT_LINES], lines),
        "newline_ratio": _share(count[kernel.NEWLINES], words),
        "list_line_ratio": _share(count[kernel.LIST_LINES], lines),
        "url_word_ratio": _share(count[kernel.URL_WORDS], words),
        "upper_ratio": _share(count[kernel.UPPER], count[kernel.ASCII_LETTERS]),
        "c4_line_ratio": _share(count[kernel.C4_LINES], lines),
        "c4_sentences": count[kernel.C4_SENTENCES],
        "curly_brackets": count[kernel.CURLY_BRACKETS],
        "lorem_ipsum": phrases[phrases_kernel.LOREM_IPSUM],
        "bad_words": phrases[phrases_kernel.OBSCENE],
        "hangul_ratio": _share(hangul, letters),
        "latin_ratio": _share(count[kernel.LATIN_LETTERS], letters),
        "digit_ratio": _share(digits, word_chars),
        "replacement_char_ratio": _share(count[kernel.BROKEN_CHARS], chars),
        "conjoining_jamo_ratio": _share(count[kernel.CONJOINING], chars),
        "josa_word_ratio": _share(count[kernel.JOSA_WORDS], hangul_words),
        "long_eojeol_ratio": _share(count[kernel.LONG_EOJEOL], hangul_words),
        "single_syllable_ratio": _share(count[kernel.SINGLE_SYLLABLES], hangul_words),
        "korean_stop_words": count[kernel.KOREAN_STOP_WORDS],
        "korean_end_line_ratio": _share(count[kernel.KOREAN_END_LINES], lines),
        "jamo_run_ratio": _share(count[kernel.JAMO_RUN_CHARS], chars),
        "dup_line_ratio": _share(count[kernel.DUPLICATE_LINES], count[kernel.CHECKED_LINES]),
        "dup_line_char_ratio": _share(count[kernel.DUPLICATE_LINE_CHARS], count[kernel.CHECKED_LINE_CHARS]),
        "dup_paragraph_ratio": _share(count[kernel.DUPLICATE_PARAGRAPHS], count[kernel.CHECKED_PARAGRAPHS]),
        "dup_paragraph_char_ratio": _share(count[kernel.DUPLICATE_PARAGRAPH_CHARS], count[kernel.CHECKED_PARAGRAPH_CHARS]),
        **grams,
        "spam_words": phrases[phrases_kernel.SPAM],
        "ad_phrases": phrases[phrases_kernel.AD],
    }


@dataclass(frozen=True)
class Signals:
    """The stage that writes every quality signal; it decides nothing."""

    name: ClassVar[str] = "signals"
    version: ClassVar[str] = "3"
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    writes: ClassVar[frozenset[str]] = frozenset(COLUMNS)

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with the columns of COLUMNS set from `text`."""
        return with_columns(table, dict(measure(table.column("text"))))
