"""Words cut where scripts meet, and the language of a token from its bytes: kernels against slow, obvious twins."""

from __future__ import annotations

import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from tokenizer.scripts import by_language, kind, kinds
from tokenizer.unicode_classes import OTHER_LETTER, language_table
from tokenizer.words import Words

KO_EN = ("ko", "en")
CHARACTERS = st.sampled_from(list(" .'“·×1²5aZéßŁ가힣ㅋ하漢かЖא\u0301\u200d\ufe0f😀𠀀ꙮ"))
WORDS = st.text(CHARACTERS, min_size=1, max_size=7)


def slow_pieces(word: str, languages: tuple[str, ...]) -> list[tuple[str, str]]:
    """(list, piece) of a word, by the definition."""
    table = language_table(languages)
    pieces: list[list] = []
    for character in word:
        letter = int(table[ord(character)])
        if not pieces:
            pieces.append([letter, character])
        elif letter in (0, pieces[-1][0]):
            pieces[-1][1] += character
        elif pieces[-1][0] == 0:
            pieces[-1] = [letter, pieces[-1][1] + character]
        else:
            pieces.append([letter, character])
    names = {place + 1: language for place, language in enumerate(languages)}
    return [(names.get(letter, "shared"), piece) for letter, piece in pieces]


def listed(words: Words) -> list[tuple[str, int]]:
    bounds = zip(words.offsets[:-1], words.offsets[1:], words.counts.tolist(), strict=True)
    return [(words.data[start:end].tobytes().decode(), count) for start, end, count in bounds]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(WORDS, st.integers(1, 1 << 40), max_size=12), st.sampled_from([("ko",), KO_EN, ("en", "ko", "zh"), ("ja", "ru")]))
def test_words_are_cut_as_the_slow_twin_cuts_them(counts: dict[str, int], languages: tuple[str, ...]) -> None:
    expected: dict[str, Counter] = {name: Counter() for name in (*languages, "shared")}
    for word, count in counts.items():
        for name, piece in slow_pieces(word, languages):
            expected[name][piece] += count
    found = by_language(Words.of((word.encode(), count) for word, count in counts.items()), languages)
    assert {name: Counter(dict(listed(words))) for name, words in found.items()} == expected
    assert all(len({word for word, _ in listed(words)}) == len(words) for words in found.values())


def test_a_leading_mark_goes_with_the_first_letters_and_the_order_of_words_changes_nothing() -> None:
    counts = [(" AI가".encode(), 3), ("가".encode(), 4), (" 漢字는".encode(), 1), (b"--", 2), (b" AI", 5)]
    found = by_language(Words.of(counts), KO_EN)
    assert dict(listed(found["en"])) == {" AI": 8}
    assert dict(listed(found["ko"])) == {"가": 7, "는": 1}
    assert dict(listed(found["shared"])) == {" 漢字": 1, "--": 2}
    backwards = by_language(Words.of(counts[::-1]), KO_EN)
    assert all(listed(found[name]) == listed(backwards[name]) for name in found)


def slow_span(cut: bytes) -> list[str]:
    """Every character that some more bytes make of these, which begin one; by trying."""
    found = []
    size = 2 if cut[0] < 0xE0 else 3 if cut[0] < 0xF0 else 4
    tails = [b""]
    for _ in range(size - len(cut)):
        tails = [tail + bytes([byte]) for tail in tails for byte in range(0x80, 0xC0)]
    for tail in tails:
        try:
            found.append((cut + tail).decode())
        except UnicodeDecodeError:
            continue
    return found


def slow_kind(token: bytes, languages: tuple[str, ...]) -> str:
    table = language_table(languages)
    letters: set[int] = set()
    cut = b""
    for start in range(len(token)):
        try:
            token[start:].decode()
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":
                cut = token[start + error.start :]
    for character in token.decode("utf-8", errors="ignore"):
        letters.add(int(table[ord(character)]))
    letters.discard(0)
    if cut:
        span = [int(table[ord(character)]) for character in slow_span(cut)]
        likely = next((letter for letter in (*range(1, len(languages) + 1), OTHER_LETTER) if 2 * span.count(letter) >= len(span)), 0)
        if not letters and likely:
            letters = {likely}
        elif likely and likely not in letters and not letters & set(span):
            return "mixed"
    if len(letters) > 1:
        return "mixed"
    return languages[letters.pop() - 1] if letters and OTHER_LETTER not in letters else "shared"


@settings(max_examples=300, deadline=None)
@given(WORDS, st.integers(0, 3), st.integers(0, 2), st.sampled_from([("ko",), KO_EN, ("en", "ko", "zh")]))
def test_kind_is_what_the_slow_twin_says(word: str, before: int, behind: int, languages: tuple[str, ...]) -> None:
    token = word.encode()[before:]
    token = token[: max(1, len(token) - behind)] or b"\x80"
    if (token[-1] & 0xC0) == 0xC0 and token[-1] >= 0xF0:
        return  # the twin would try 262,144 characters
    assert kind(token, languages) == slow_kind(token, languages)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (b"\xec", "ko"), (b"\xeb", "ko"), (b"\xed", "ko"), (b"\xea\xb0", "ko"), (b"\xe1\x84", "ko"), (b"\x80 \xec", "ko"),
        (b"\xc3", "en"), (b"\xc5", "en"), (b" th", "en"), ("é".encode(), "en"), (b"'s", "en"),
        (b"\xc2", "shared"), (b"\xe1", "shared"), (b"\xea", "shared"), (b"\x9d\xb4", "shared"), (b"\xe4", "shared"), (b"\xf0", "shared"),
        ("漢".encode(), "shared"), (b"   ", "shared"), (b"\xff", "shared"), (b"", "shared"), ("가".encode()[1:], "shared"),
        ("가".encode() + b"\xe3", "ko"), ("a가".encode(), "mixed"), (b"a\xec", "mixed"), (b"a\xe4", "mixed"), ("가漢".encode(), "mixed"),
    ],
)  # fmt: skip
def test_kinds_of_whole_and_cut_characters(token: bytes, expected: str) -> None:
    assert kind(token, KO_EN) == expected


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=9))
def test_any_bytes_have_a_kind_and_fragments_are_what_does_not_decode(token: bytes) -> None:
    found = kinds([token, b"x"], KO_EN)
    assert found.of(0) in (*KO_EN, "shared", "mixed") and found.of(1) == "en"
    try:
        token.decode()
        whole = True
    except UnicodeDecodeError:
        whole = False
    assert found.fragments.tolist() == [not whole, False]


def test_every_syllable_and_its_beginning_is_korean() -> None:
    syllables = [chr(point).encode() for point in range(0xAC00, 0xD7A4)]
    beginnings = sorted({data[:2] for data in syllables})
    found = kinds(syllables + beginnings, KO_EN)
    assert set(found.codes.tolist()) == {0}
    assert len(beginnings) == 175
    assert np.array_equal(found.fragments, [False] * len(syllables) + [True] * len(beginnings))
    assert all(kind(unicodedata.normalize("NFD", "한")[place].encode(), KO_EN) == "ko" for place in range(3))


def test_languages_that_can_not_be_told_apart_are_refused() -> None:
    with pytest.raises(UserError, match="'xx'"):
        kinds([b"a"], ("ko", "xx"))
    with pytest.raises(UserError, match="Han"):
        kinds([b"a"], ("zh", "ja"))
