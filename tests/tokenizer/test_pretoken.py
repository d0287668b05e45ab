"""Pre-tokens and their counts: the splits of `tokenizers` and of a regular expression, NFC, and the hash table beside a Counter."""

from __future__ import annotations

import gzip
import json
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, normalizers, pre_tokenizers

from tokenizer import count_kernel, pretoken
from tokenizer.pretoken import WordCounter, normalized, pretokens, word_hashes
from tokenizer.unicode_classes import CODE_POINTS, LETTER, NEWLINE, NUMBER, SPACE, class_table
from tokenizer.words import PATTERN, Words

SPLIT = pre_tokenizers.Split(Regex(PATTERN), "isolated")
TWIN = regex.compile(PATTERN)

HOSTILE = [
    *"aàZsStTrReEvVmMlLdDkK 19",
    *"'\u2019\"!?.,-~\n\r\t\x0b\x0c\x1c\x85\xa0\u1680\u2003\u2028\u2029\u3000\u180e\u200b\ufeff",
    *"가힣ㅋㅠ\u1112\u1161\u11ab漢ァ",
    *"\u0301\u0345\u0334\u093c\u094d\u0e38\u20e3\ufe0f\u200d",
    *"ſK\u0130\u0131ßŉﬆ²½ⅷ٣\u0660",
    *"\U0001f600\U0001f1f0\U00020000\U0001d400\U0001d7d8\U0010ffff\U000e0001\U0003fffd\u0378",
    "'s", "'ſ", "'LL", "'rE", "  ", "\r\n", " \n", "'",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(HOSTILE), st.sampled_from(" \n'a!1")), max_size=24).map("".join)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)

KNOWN_TO_BOTH = "".join(
    character
    for character in map(chr, range(0x3400))
    if unicodedata.category(character) != "Cn" and unicodedata.ucd_3_2_0.category(character) != "Cn"
)
"""Characters that Unicode has had since 3.2, of which Python and the normaliser of `tokenizers` (older than Python's) think alike."""


def by_tokenizers(text: str) -> list[str]:
    return [piece for piece, _ in SPLIT.pre_tokenize_str(text)]


def array(*texts: str | None) -> pa.Array:
    return pa.array(texts, pa.large_string())


def counted(words: Words) -> dict[bytes, int]:
    found = {words.data[words.offsets[i] : words.offsets[i + 1]].tobytes(): int(words.counts[i]) for i in range(len(words))}
    assert len(found) == len(words), "a word stands twice"
    return found


def plainly(texts: list[str], weights: list[int] | None = None) -> dict[bytes, int]:
    """The slow twin: a Counter over the splits of `tokenizers`."""
    found: Counter[bytes] = Counter()
    for text, weight in zip(texts, weights or [1] * len(texts), strict=True):
        for word in by_tokenizers(normalizers.NFC().normalize_str(text)):
            found[word.encode()] += weight
    return {word: count for word, count in found.items() if count}


@settings(max_examples=1500, deadline=None)
@given(st.one_of(TEXTS, ANY))
@example("'ſa 'S's'Kx")
@example("a \r\n \n\n  b\u3000\u3000c   ")
def test_splits_are_those_of_tokenizers_and_of_the_pattern(text):
    assert pretokens(text) == by_tokenizers(text)
    if all(unicodedata.category(character) != "Cn" for character in text):  # `regex` may know newer letters
        assert pretokens(text) == TWIN.findall(text)


def test_every_character_after_an_apostrophe_and_inside_a_contraction():
    for before, after in (("'", ""), ("'r", ""), ("'l", ""), ("'", "e"), ("'", "l")):
        texts = [f"{before}{chr(code)}{after}x" for code in range(0x10000) if not 0xD800 <= code < 0xE000]
        texts = [text for text in texts if text[len(before)].isalpha()]
        joined = "\n".join(texts)  # a line end never goes on with what follows
        assert pretokens(joined) == by_tokenizers(joined)


def test_classes_are_those_of_tokenizers_code_point_by_code_point():
    for expression, bit in ((r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"\s", SPACE), (r"[\r\n]", NEWLINE)):
        removed = pre_tokenizers.Split(Regex(expression), "removed")
        mine = class_table() & bit != 0
        for first in range(0, CODE_POINTS, 0x4000):
            codes = [code for code in range(first, first + 0x4000) if not 0xD800 <= code < 0xE000]
            left = {c for piece, _ in removed.pre_tokenize_str("".join(map(chr, codes))) for c in piece}
            assert [code for code in codes if (chr(code) not in left) != mine[code]] == []


def test_real_text(shared_data):
    texts = []
    for name in ("ko/petitions", "ko/blog_johngrib", "ko/docs_ms_cpp_ko", "en/peps", "en/digitalgov"):
        with gzip.open(shared_data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts += [json.loads(next(lines))["text"][:30_000] for _ in range(25)]
    assert all(pretokens(text) == by_tokenizers(text) for text in texts)
    counter = WordCounter(10_000)
    counter.add(array(*texts))
    assert counted(counter.words()) == plainly(texts)


@pytest.mark.parametrize("unit", [" ", "\n", " \n", "\u3000", "\r", "a", "가", "!", "'", "1", "\u0301", "\t ", "' "])
def test_long_runs_take_linear_time(unit):
    """A million repetitions; where the regular expression backtracks from every position this would not end."""
    text = unit * 1_000_000
    assert "".join(pretokens(text + "x")) == text + "x"
    counter = WordCounter(100)
    counter.add(array(text, "x"))
    totals = counter.totals
    assert totals["bytes"] + totals["long_bytes"] == len(text.encode()) + 1


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(TEXTS, ANY, st.none()), max_size=6))
@example(["e\u0301", None, "a"])
@example(["a\u0345\u0334", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u212b\u2126\uf900"])
def test_nfc_is_that_of_tokenizers(texts):
    nfc = normalizers.NFC()
    assert normalized(array(*texts)).to_pylist() == [text if text is None else nfc.normalize_str(text) for text in texts]


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from(KNOWN_TO_BOTH), max_size=12))
def test_nfc_is_that_of_unicode_and_the_quick_check_misses_nothing(text):
    assert normalized(array(text, "b", text)).to_pylist() == [unicodedata.normalize("NFC", text), "b", unicodedata.normalize("NFC", text)]


def test_nfc_leaves_what_needs_nothing_and_keeps_slices():
    texts = array("가나다 café", "สวัสดี नमस्ते", "plain", "e\u0301")
    assert normalized(texts.slice(0, 3)) is not texts and normalized(texts.slice(0, 3)).buffers()[2].address == texts.buffers()[2].address
    assert normalized(texts.slice(2, 2)).to_pylist() == ["plain", "é"]
    assert normalized(array()).to_pylist() == []


def test_a_long_stack_of_marks_is_normalised_in_linear_time():
    stack = "a" + "\u0345\u0334" * 200_000
    assert normalized(array(stack)).to_pylist() == ["a" + "\u0334" * 200_000 + "\u0345" * 200_000]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.one_of(TEXTS, ANY), st.integers(0, 5)), max_size=8))
def test_counts_are_those_of_a_counter(rows):
    texts, weights = [text for text, _ in rows], [weight for _, weight in rows]
    counter = WordCounter(1000)
    counter.add(array(*texts), np.array(weights, np.int64))
    assert counted(counter.words()) == plainly(texts, weights)
    counter.add(array(*texts))
    total = {word: plainly(texts, weights).get(word, 0) + count for word, count in plainly(texts).items()}
    assert counted(counter.words()) == total
    assert counter.totals["occurrences"] == sum(total.values())


def test_a_table_that_grows_many_times_loses_nothing(monkeypatch):
    monkeypatch.setattr(pretoken, "_FIRST_SLOTS", 2)
    monkeypatch.setattr(pretoken, "_FIRST_BYTES", 1)
    dice = np.random.default_rng(7)
    texts = [" ".join("가나다라마바사"[: n % 8] + "x" * (n % 23) + str(n) for n in dice.integers(0, 3000, 200).tolist()) for _ in range(40)]
    texts += ["".join(map(chr, dice.integers(0x4E00, 0x9000, 40).tolist())) for _ in range(300)]
    counter = WordCounter(1000)
    for text in texts:
        counter.add(array(text))
    assert counted(counter.words()) == plainly(texts)
    at_once = WordCounter(1000)
    at_once.add(array(*texts[::-1]))
    first, second = counter.words(), at_once.words()
    assert all((getattr(first, name) == getattr(second, name)).all() for name in ("data", "offsets", "counts"))
    assert (np.diff(word_hashes(first).astype(object)) >= 0).all()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=40), st.integers(0, 3))
def test_words_are_told_apart_by_their_bytes(words, cut):
    """Also words of zero bytes, beginnings of each other, and both kinds of places in the table."""
    words += [word[: len(word) - cut] for word in words if len(word) > cut]
    counter = WordCounter(1000)
    counter.add_words(Words.of([(word, 3) for word in words]))
    assert counted(counter.words()) == {word: 3 * n for word, n in Counter(words).items()}


def test_words_of_one_hash_are_kept_apart_and_in_order():
    """Two words whose hashes agree in all 64 bits: the last step of the hash is a bijection of `high`, so one is solved for."""
    counter = WordCounter(100)
    one, other = colliding_words()
    words = Words.of([(one, 5), (other, 7), (b"else", 1)])
    hashes = word_hashes(words).tolist()
    assert one != other and hashes[0] == hashes[1] != hashes[2]
    counter.add_words(words)
    counter.add_words(Words.of([(other, 1), (one, 2)]))
    assert counted(counter.words()) == {one: 7, other: 8, b"else": 1}
    listed = [word for word in counted(counter.words()) if word != b"else"]
    assert listed == sorted([one, other])


def colliding_words() -> tuple[bytes, bytes]:
    """Two words of 23 bytes: what the first eight bytes of the second change, its next eight change back."""
    prime, mask = int(count_kernel._HASH_PRIME), 2**64 - 1

    def step(value: int, low: int) -> int:
        value = (value ^ low) * prime & mask
        return value ^ value >> 32

    start = int(count_kernel._HASH_START)
    first, second = (int.from_bytes(word, "little") for word in (b"abcdefgh", b"01234567"))
    a, b = step(start, first), step(start, second)
    rest = int.from_bytes(b"same low", "little")
    return b"abcdefgh" + rest.to_bytes(8, "little") + b"7 bytes", b"01234567" + (rest ^ a ^ b).to_bytes(8, "little") + b"7 bytes"


def test_long_words_are_left_out_and_counted():
    counter = WordCounter(8)
    counter.add(array("abcdefg hijklmn opqrstuv", "가나다"), np.array([2, 3], np.int64))
    assert counted(counter.words()) == {b"abcdefg": 2, b" hijklmn": 2}
    assert counter.totals == {
        "text_bytes": 2 * 24 + 3 * 9,
        "occurrences": 4,
        "bytes": 30,
        "long_occurrences": 5,
        "long_bytes": 2 * 9 + 3 * 9,
        "beyond_bytes": 0,
    }


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(0, 40))
def test_a_document_limit_counts_whole_pretokens_only(text, limit):
    counter = WordCounter(1000, limit)
    counter.add(array("", text, "end"))
    expected: Counter[bytes] = Counter()
    for one in (normalizers.NFC().normalize_str(text), "end"):
        position = 0
        for word in by_tokenizers(one):
            position += len(word.encode())
            if position <= limit:
                expected[word.encode()] += 1
    assert counted(counter.words()) == expected
    totals = counter.totals
    assert totals["bytes"] + totals["beyond_bytes"] == len(normalizers.NFC().normalize_str(text).encode()) + 3


def test_weights_that_are_none_are_refused():
    with pytest.raises(ValueError, match="one per text"):
        WordCounter(10).add(array("a"), np.array([1, 2]))
    with pytest.raises(ValueError, match="none negative"):
        WordCounter(10).add(array("a"), np.array([-1]))


def test_a_cleared_counter_begins_again():
    counter = WordCounter(100)
    counter.add(array("one two three 가나다라마바사아자차"))
    counter.clear()
    assert len(counter) == 0 and len(counter.words()) == 0
    counter.add(array("one two 가나다라마바사아자차"))
    assert counted(counter.words()) == {b"one": 1, b" two": 1, " 가나다라마바사아자차".encode(): 1}
    assert counter.totals["occurrences"] == 7
