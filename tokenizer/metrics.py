"""What a tokenizer is worth, one function for each measure. A word is what stands between whitespace: the eojeol in Korean.

`tokens` is the bytes of each id, none for special tokens (`Encoder.token_bytes`); `frequencies` is how often each id occurs in a text.
A measure of nothing (no words, no tokens) is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tokenizer.baselines import Encoder
from tokenizer.pretoken import buffers_of
from tokenizer.seeds import ksx1001_syllables
from tokenizer.spaced_kernel import plain_words, words_and_characters
from tokenizer.unicode_classes import class_table

RENYI_ALPHA = 2.5
"""The order at which efficiency went along best with translation quality (Zouhar et al. 2023, "Tokenization and the Noiseless Channel")."""

MOST_WORDS = 1 << 20
"""Distinct words that `WordTable` keeps of a language: whatever the text's size, its memory stays below some hundred MB."""

_SYLLABLES = [chr(code) for code in range(0xAC00, 0xD7A4)]
"""The 11,172 modern Hangul syllables of Unicode."""


def tokens_per_word(tokens: int, words: int) -> float | None:
    """Fertility: tokens / words (Rust et al. 2021, "How Good is Your Tokenizer?"). Lower is better; at least about 1."""
    return tokens / words if words else None


def bytes_per_token(size: int, tokens: int) -> float | None:
    """Bytes of UTF-8 of the text / tokens. Higher is better, in one language: a Hangul syllable has three bytes, a Latin letter one."""
    return size / tokens if tokens else None


def characters_per_token(characters: int, tokens: int) -> float | None:
    """Code points of the text / tokens. Higher is better, in one language."""
    return characters / tokens if tokens else None


def parity(tokens: int, reference_tokens: int) -> float | None:
    """Tokens of a text / tokens of its translation (Petrov et al. 2023, "Language Model Tokenizers Introduce Unfairness"); 1 is even."""
    return tokens / reference_tokens if reference_tokens else None


def partial_tokens(tokens: Sequence[bytes]) -> np.ndarray:
    """bool per id: its bytes alone are no valid UTF-8, so that it holds a part of a character."""
    return np.array([not _is_utf8(token) for token in tokens], bool)


def partial_rate(frequencies: np.ndarray, partial: np.ndarray) -> float | None:
    """Share of the text's tokens that hold a part of a character (`partial_tokens`). 0 is best."""
    total = int(frequencies.sum())
    return float(frequencies[partial].sum() / total) if total else None


def syllable_coverage(tokens: Sequence[bytes]) -> tuple[int, int]:
    """How many of the 2,350 syllables of KS X 1001, and of all 11,172, are a token of their own (without a space)."""
    owned = set(tokens)
    covered = {syllable for syllable in _SYLLABLES if syllable.encode("utf-8") in owned}
    return len(covered & set(ksx1001_syllables())), len(covered)


def space_duplicates(tokens: Sequence[bytes]) -> float | None:
    """Share of the vocabulary without special tokens that is there again with a leading space: what telling " word" from "word" costs."""
    owned = set(tokens) - {b""}
    return sum(b" " + token in owned for token in owned) / len(owned) if owned else None


def single_token_rate(encoder: Encoder, words: Sequence[str], leading_space: bool) -> float | None:
    """STRR: share of the words that are one token each (Nayeem et al. 2025, arXiv 2510.09947). Each word counts once.

    leading_space: encode " word", as it stands within running text; else the bare word.
    """
    given = pa.array([f" {word}" for word in words] if leading_space else words, pa.large_string())
    _, offsets = encoder.encode(given)
    return float(np.mean(np.diff(offsets) == 1)) if len(words) else None


def renyi_efficiency(frequencies: np.ndarray, vocabulary: int, alpha: float = RENYI_ALPHA) -> float | None:
    """Rényi entropy of order `alpha` of the tokens' frequencies p, over its maximum: log(sum p^alpha) / (1 - alpha) / log(vocabulary).

    Zouhar et al. 2023. 1: all tokens are equally frequent. alpha 1 is Shannon's entropy. Their scorer takes the tokens that occur as the
    vocabulary; here it is the number of tokens that could occur, else an unused half of the vocabulary would go unseen.
    """
    total = frequencies.sum()
    if total == 0 or vocabulary < 2:
        return None
    shares = frequencies[frequencies > 0] / total
    entropy = -np.sum(shares * np.log(shares)) if alpha == 1 else np.log(np.sum(shares**alpha)) / (1 - alpha)
    return max(0.0, float(entropy / math.log(vocabulary)))


def unused_share(frequencies: np.ndarray, tokens: Sequence[bytes]) -> float | None:
    """Share of the vocabulary, special tokens left out, that never occurs in the text. It falls with the size of the text."""
    usable = byte_lengths(tokens) > 0
    return float(np.mean(frequencies[usable] == 0)) if usable.any() else None


def byte_lengths(tokens: Sequence[bytes]) -> np.ndarray:
    """int32 per id: its bytes, 0 for special tokens. A model's loss in nats over the sum of these, / log 2, is its bits per byte,
    which can be compared across vocabularies (nanochat's `token_bytes`)."""
    return np.array([len(token) for token in tokens], np.int32)


def text_size(texts: pa.Array) -> tuple[int, int, int]:
    """Bytes, characters and words of a large_string array."""
    data, offsets = buffers_of(texts)
    words, characters = words_and_characters(data, offsets, class_table())
    return int(offsets[-1] - offsets[0]), int(characters), int(words)


class WordTable:
    """The most frequent words of a text read in batches: between whitespace, cut at both ends to letters, and without numbers in them.

    When there are more than MOST_WORDS distinct ones, the rarer half is forgotten: the counts of frequent words stay right unless such a
    word is spread so thin that it was forgotten before.
    """

    def __init__(self, most_words: int = MOST_WORDS) -> None:
        self._most_words = most_words
        self._counts = pa.table({"word": pa.array([], pa.large_string()), "count": pa.array([], pa.int64())})

    def add(self, texts: pa.Array) -> None:
        """Count the words of a large_string array."""
        data, offsets = buffers_of(texts)
        words, _ = words_and_characters(data, offsets, class_table())
        copied, copied_offsets = np.empty(int(offsets[-1] - offsets[0]), np.uint8), np.empty(words + 1, np.int64)
        found = plain_words(data, offsets, class_table(), copied, copied_offsets)
        parts = [None, pa.py_buffer(copied_offsets), pa.py_buffer(copied)]
        counted = pc.value_counts(pa.Array.from_buffers(pa.large_string(), found, parts))
        added = pa.table({"word": counted.field("values"), "count": counted.field("counts")})
        table = pa.concat_tables([self._counts, added]).group_by("word", use_threads=False).aggregate([("count", "sum")])
        self._counts = table.rename_columns({"count_sum": "count"}).select(["word", "count"])
        if len(self._counts) > self._most_words:
            self._counts = self._sorted().slice(0, self._most_words // 2)

    def top(self, most: int) -> list[str]:
        """At most so many words, the most frequent first, of equal ones in the order of their bytes."""
        words: list[str] = self._sorted().slice(0, most).column("word").to_pylist()
        return words

    def _sorted(self) -> pa.Table:
        return self._counts.sort_by([("count", "descending"), ("word", "ascending")])


def _is_utf8(token: bytes) -> bool:
    try:
        token.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
