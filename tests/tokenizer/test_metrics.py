"""Measures of a tokenizer: beside slow obvious twins, on a vocabulary whose answers are known by hand, and on nothing."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenizer import metrics
from tokenizer.baselines import Encoder
from tokenizer.seeds import ksx1001_syllables
from tokenizer.unicode_classes import LETTER, NUMBER, SPACE, class_table

ALPHABET = "ab가나 \t\r\n\u00a0\u3000\u2028\u200b0½.,'\"ㅋé\u0301日😀\x1f\x85"
TEXTS = st.lists(st.text(st.sampled_from(ALPHABET), max_size=30) | st.text(max_size=20), max_size=6)
FREQUENCIES = st.lists(st.integers(0, 1000), min_size=1, max_size=30)


def arrow(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def is_space(character: str) -> bool:
    return bool(class_table()[ord(character)] & SPACE)


def slow_words(text: str) -> list[str]:
    """Runs without whitespace, one character after another."""
    return "".join(" " if is_space(character) else character for character in text).split(" ")


def slow_plain(text: str) -> list[str]:
    """Runs without whitespace, cut to letters at both ends, none with a number."""
    found = []
    for word in slow_words(text):
        letters = [place for place, character in enumerate(word) if class_table()[ord(character)] & LETTER]
        if letters and not any(class_table()[ord(character)] & NUMBER for character in word):
            found.append(word[letters[0] : letters[-1] + 1])
    return found


@settings(deadline=None)  # kernels may have to be compiled
@given(TEXTS)
def test_text_size(texts: list[str]) -> None:
    expected = (sum(len(text.encode()) for text in texts), sum(map(len, texts)), sum(len([w for w in slow_words(t) if w]) for t in texts))
    assert metrics.text_size(arrow(texts)) == expected
    assert metrics.text_size(arrow(["x y", *texts, "z"]).slice(1, len(texts))) == expected


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4), st.integers(1, 20))
def test_word_table(batches: list[list[str]], most: int) -> None:
    table, expected = metrics.WordTable(), Counter[str]()
    for texts in batches:
        table.add(arrow(texts))
        expected.update(word for text in texts for word in slow_plain(text))
    ranked = sorted(expected.items(), key=lambda pair: (-pair[1], pair[0].encode()))
    assert table.top(most) == [word for word, _ in ranked[:most]]


def test_word_table_forgets_the_rarer_half() -> None:
    table = metrics.WordTable(most_words=8)
    table.add(arrow(["often often often sometimes sometimes " + " ".join(f"once{chr(97 + place)}" for place in range(7))]))
    assert table.top(9) == ["often", "sometimes", "oncea", "onceb"]


def test_words_of_korean_are_eojeol() -> None:
    assert metrics.text_size(arrow(["나는 학교에\u3000갔다.\n"]))[2] == 3
    table = metrics.WordTable()
    table.add(arrow(['"학교에" (갔다). 2026년 don\'t ...']))
    assert table.top(9) == ["don't", "갔다", "학교에"]


@given(FREQUENCIES, st.floats(0.1, 5), st.integers(0, 20))
def test_renyi_efficiency(listed: list[int], alpha: float, unseen: int) -> None:
    frequencies = np.array(listed + [0] * unseen, np.int64)
    measured = metrics.renyi_efficiency(frequencies, len(frequencies), alpha)
    total = sum(listed)
    if total == 0 or len(frequencies) < 2:
        assert measured is None
        return
    shares = [one / total for one in listed if one]
    if abs(alpha - 1) < 1e-3:
        return  # the formula is unstable next to 1, and 1 itself is another one
    assert measured == pytest.approx(math.log(sum(share**alpha for share in shares)) / (1 - alpha) / math.log(len(frequencies)), abs=1e-9)


@pytest.mark.parametrize(
    ("text", "renyi", "shannon"),
    [
        ("pick @@ed pick @@l @@ed pick @@les", 0.8265064834225245, 0.9211854965885544),
        ("pick @@e @@d pick @@l @@e @@d pick @@l @@e @@s", 0.9204840242168808, 0.9609557933859342),
    ],
)
def test_renyi_efficiency_of_the_authors_examples(text: str, renyi: float, shannon: float) -> None:
    """The numbers in the tests of zouharvi/tokenization-scorer, where the tokens that occur are the vocabulary."""
    frequencies = np.array(list(Counter(text.split()).values()))
    assert metrics.renyi_efficiency(frequencies, len(frequencies)) == pytest.approx(renyi, abs=1e-12)
    assert metrics.renyi_efficiency(frequencies, len(frequencies), 1.0) == pytest.approx(shannon, abs=1e-12)


def test_renyi_efficiency_is_one_for_equal_frequencies_and_shannons_at_one() -> None:
    assert metrics.renyi_efficiency(np.full(8, 5), 8) == pytest.approx(1)
    assert metrics.renyi_efficiency(np.array([3, 1]), 2, 1.0) == pytest.approx(-0.75 * math.log2(0.75) - 0.25 * math.log2(0.25))


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=20), st.data())
def test_partial_and_unused(tokens: list[bytes], data: st.DataObject) -> None:
    listed = data.draw(st.lists(st.integers(0, 9), min_size=len(tokens), max_size=len(tokens)))
    frequencies = np.array(listed)
    partial = [token.decode("utf-8", "replace").encode() != token for token in tokens]
    assert metrics.partial_tokens(tokens).tolist() == partial
    total, broken = sum(listed), sum(often for often, is_partial in zip(listed, partial, strict=True) if is_partial)
    assert metrics.partial_rate(frequencies, np.array(partial)) == (pytest.approx(broken / total) if total else None)
    usable = [often for often, token in zip(listed, tokens, strict=True) if token]
    assert metrics.unused_share(frequencies, tokens) == (pytest.approx(usable.count(0) / len(usable)) if usable else None)
    assert metrics.byte_lengths(tokens).tolist() == [len(token) for token in tokens]


def test_vocabulary_made_by_hand() -> None:
    """Of 6 tokens and one special: two syllables of which one is common, one with a space, one cut, one word twice."""
    tokens = [b"", "가".encode(), "뷁".encode(), " 나".encode(), "가".encode()[:2], b"the", b" the"]
    assert metrics.syllable_coverage(tokens) == (1, 2)
    assert metrics.space_duplicates(tokens) == pytest.approx(1 / 6)
    assert metrics.partial_tokens(tokens).tolist() == [False, False, False, False, True, False, False]
    frequencies = np.array([0, 5, 0, 3, 2, 0, 0])
    assert metrics.partial_rate(frequencies, metrics.partial_tokens(tokens)) == pytest.approx(0.2)
    assert metrics.unused_share(frequencies, tokens) == pytest.approx(0.5)


def test_syllables_of_ksx1001() -> None:
    common = set(ksx1001_syllables())
    assert len(common) == 2350
    assert {"가", "힝"} <= common
    assert not {"뷁", "똠", "펲"} & common
    assert all(unicodedata.name(syllable).startswith("HANGUL SYLLABLE") for syllable in common)
    every = [chr(code).encode() for code in range(0xAC00, 0xD7A4)]
    assert metrics.syllable_coverage(every) == (2350, 11172)


def test_single_token_rate_with_and_without_a_space() -> None:
    """An encoder of words: the ones in its list are one token as they are, others a token for each character."""

    def encode(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        sizes = [1 if text in {" the", "the", " cat"} else len(text) for text in texts.to_pylist()]
        return np.zeros(sum(sizes), np.uint32), np.concatenate([[0], np.cumsum(sizes)])

    encoder = Encoder("words", 1, "hand", [b"x"], encode)
    assert metrics.single_token_rate(encoder, ["the", "cat", "sat", "on"], leading_space=True) == pytest.approx(0.5)
    assert metrics.single_token_rate(encoder, ["the", "cat", "sat", "on"], leading_space=False) == pytest.approx(0.25)


def test_ratios() -> None:
    assert (
        metrics.tokens_per_word(9, 6) == metrics.characters_per_token(9, 6) == metrics.bytes_per_token(9, 6) == metrics.parity(9, 6) == 1.5
    )


def test_measures_of_nothing_are_none() -> None:
    nothing = np.zeros(3, np.int64)
    assert metrics.tokens_per_word(0, 0) is None
    assert metrics.bytes_per_token(0, 0) is None
    assert metrics.characters_per_token(0, 0) is None
    assert metrics.parity(4, 0) is None
    assert metrics.partial_rate(nothing, np.zeros(3, bool)) is None
    assert metrics.renyi_efficiency(nothing, 3) is None
    assert metrics.unused_share(np.zeros(1), [b""]) is None
    assert metrics.space_duplicates([b""]) is None
    assert metrics.text_size(arrow([])) == metrics.text_size(arrow(["", ""])) == (0, 0, 0)
