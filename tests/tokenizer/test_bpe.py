"""BPE training against a slow twin that recounts for every merge, and against tokenizers' own trainer."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from pipeline.errors import UserError
from tokenizer import bpe
from tokenizer import bpe_kernel as kernel
from tokenizer.bpe import BYTE_OF_ID, Merges, train
from tokenizer.words import Words

QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
KOREAN = "한국어 말뭉치를 다듬는 일은 한국어를 아는 일이다. 말은 말로, 글은 글로! 가나다라 가가가가 ㅋㅋㅋㅋㅋ ㅠㅠ 안녕하세요 안녕히"
ENGLISH = "the theme of these theses is that the others bother with banana bananas in the mississippi; aaa aaaa aaaaa abababab hahahaha"


def slow(words: dict[bytes, int], merges: int, max_token_bytes: int | None, min_frequency: int, seeds: Sequence[tuple[bytes, bytes]] = ()):
    """The rule as it is told: count all windows, merge the best pair everywhere, begin again. Returns (left, right, count) of merges."""
    ids = {byte: token for token, byte in enumerate(BYTE_OF_ID.tolist())}
    strings = [bytes([byte]) for byte in BYTE_OF_ID.tolist()]
    texts = [([ids[byte] for byte in word], count) for word, count in words.items()]
    done: list[tuple[int, int, int]] = []
    while len(done) < merges:
        counts: Counter[tuple[int, int]] = Counter()
        for text, count in texts:
            for pair in pairwise(text):
                counts[pair] += count
        if len(done) < len(seeds):
            left, right = (strings.index(part) for part in seeds[len(done)])
        else:
            fit = [pair for pair in counts if not max_token_bytes or sum(len(strings[part]) for part in pair) <= max_token_bytes]
            if not fit or counts[best := min(fit, key=lambda pair: (-counts[pair], pair))] < min_frequency:
                break
            left, right = best
        done.append((left, right, counts[left, right]))
        strings.append(strings[left] + strings[right])
        for text, _ in texts:
            place = 0
            while place < len(text):
                if text[place : place + 2] == [left, right]:
                    text[place : place + 2] = [len(strings) - 1]
                place += 1
    return done


def rows(merges: Merges) -> list[tuple[int, int, int]]:
    return list(zip(merges.left.tolist(), merges.right.tolist(), merges.counts.tolist(), strict=True))


def byte_level(string: bytes) -> str:
    """A string as tokenizers writes it."""
    return "".join(ALPHABET[ID_OF_BYTE[byte]] for byte in string)


ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
ID_OF_BYTE = {byte: token for token, byte in enumerate(BYTE_OF_ID.tolist())}


def peer(texts: Sequence[str], pre_tokenizer: pre_tokenizers.PreTokenizer, merges: int, **options: int) -> tuple[dict[str, int], list]:
    """The vocabulary and merges of tokenizers' trainer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizer, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(vocab_size=256 + merges, initial_alphabet=ALPHABET, special_tokens=[], show_progress=False, **options)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.get_vocab(), json.loads(tokenizer.to_str())["model"]["merges"]


def assert_same(found: Merges, vocabulary: dict[str, int], merges: list) -> None:
    strings = [bytes([byte]) for byte in BYTE_OF_ID.tolist()] + found.tokens()
    assert len(set(strings)) == len(strings)
    assert vocabulary == {byte_level(string): token for token, string in enumerate(strings)}
    pairs = zip(found.left.tolist(), found.right.tolist(), strict=True)
    assert [list(pair) for pair in merges] == [[byte_level(strings[left]), byte_level(strings[right])] for left, right in pairs]


def corpora(count: int, seed: int) -> list[list[str]]:
    """Small random corpora: few letters, runs of one letter, cuts of real text."""
    generator = random.Random(seed)
    found = []
    for _ in range(count):
        kind = generator.randrange(5)
        words: list[str] = []
        for _ in range(generator.randint(1, 30)):
            if kind < 3:
                word = "".join(generator.choices("abcdefgh"[: (2, 3, 8)[kind]], k=generator.randint(1, 12)))
            elif kind == 3:
                word = "".join(generator.choice("ab가") * generator.randint(1, 9) for _ in range(generator.randint(1, 3)))
            else:
                text = generator.choice((KOREAN, ENGLISH))
                start = generator.randrange(len(text))
                word = text[start : start + generator.randint(1, 10)].replace(" ", "_")
            words += [word] * generator.choice((1, 1, 1, 2, 3, 10))
        found.append(words)
    return found


@pytest.mark.parametrize("fall", [2, 64])
def test_fuzzed_corpora_give_what_tokenizers_gives(fall: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "FALL", fall)
    split = pre_tokenizers.WhitespaceSplit()
    for number, words in enumerate(corpora(1500, fall)):
        merges, frequency, longest = (3, 40, 200)[number % 3], (0, 2, 5)[number // 3 % 3], (None, 2, 3, 7)[number // 9 % 4]
        options = {"min_frequency": frequency} | ({"max_token_length": longest + 1} if longest else {})
        expected = peer([" ".join(words)], split, merges, **options)
        counted = Words.of(Counter(word.encode() for word in words))
        assert_same(train(counted, merges, max_token_bytes=longest, min_frequency=frequency), *expected)


WORDS = st.dictionaries(
    st.one_of(st.text("ab", max_size=14), st.text("abc가각", max_size=9)).map(str.encode), st.integers(1, 40), max_size=25
)


@given(WORDS, st.integers(0, 60), st.sampled_from([None, 2, 3, 6]), st.integers(0, 4), st.sampled_from([2, 3, 64]))
@settings(max_examples=300, deadline=None)
def test_equals_the_slow_twin(words: dict[bytes, int], merges: int, longest: int | None, frequency: int, fall: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpe, "FALL", fall)
        found = train(Words.of(words), merges, max_token_bytes=longest, min_frequency=frequency)
    assert rows(found) == slow(words, merges, longest, frequency)


@given(WORDS, st.integers(0, 40), st.permutations([(b"a", b"b"), (b"\xea", b"\xb0"), (b"b", b"a"), (b"c", b"c"), (b"a", b"a")]))
@settings(max_examples=150, deadline=None)
def test_seeds_come_first_in_their_order(words: dict[bytes, int], merges: int, pairs: list[tuple[bytes, bytes]]) -> None:
    seeds = [*pairs, (b"\xea\xb0", b"\x80"), (b"cc", b"cc")]
    found = train(Words.of(words), len(seeds) + merges, seeds=seeds)
    assert rows(found) == slow(words, len(seeds) + merges, None, 0, seeds)


def test_tables_without_room_are_built_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two letters have four pairs at first, and their tokens many more than tables made for four can take."""
    monkeypatch.setattr(bpe, "LEAST_SLOTS", 4)
    monkeypatch.setattr(bpe, "LEAST_POOL", 1)
    monkeypatch.setattr(bpe, "FALL", 1 << 40)
    ends: list[int] = []
    merge_pairs = kernel.merge_pairs
    monkeypatch.setattr(kernel, "merge_pairs", lambda *given: ends.append(merge_pairs(*given)) or ends[-1])
    generator = random.Random(5)
    for _ in range(40):
        counted = Counter("".join(generator.choices("ab", k=generator.randint(2, 40))).encode() for _ in range(20))
        assert rows(train(Words.of(counted), 80)) == slow(counted, 80, None, 0)
    assert ends.count(kernel.FULL) > 100


def texts_of(data: Path, names: Sequence[str], size: int) -> list[str]:
    """Texts of about `size` bytes from each file."""
    found = []
    for name in names:
        taken = 0
        with gzip.open(data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
            for line in stream:
                if taken >= size:
                    break
                found.append(json.loads(line)["text"])
                taken += len(found[-1].encode())
    return found


def test_real_text_gives_what_tokenizers_gives_at_8000(shared_data: Path) -> None:
    texts = texts_of(shared_data, ("ko/news_dps_sample", "ko/petitions", "en/digitalgov"), 600_000)
    split = pre_tokenizers.Split(Regex(QWEN), "isolated")
    counts = Counter(word.encode() for text in texts for word, _ in split.pre_tokenize_str(text))
    found = train(Words.of(counts), 8000 - 256)
    assert_same(found, *peer(texts, split, 8000 - 256))
    larger = train(Words.of({word: count * 1_000_000 for word, count in counts.items()}), 8000 - 256)
    assert found.counts.max() * 1_000_000 > 2**32
    assert np.array_equal(larger.left, found.left) and np.array_equal(larger.right, found.right)
    assert np.array_equal(larger.counts, found.counts * 1_000_000)


def test_order_of_words_does_not_matter() -> None:
    counts = Counter(word.encode() for words in corpora(200, 11) for word in words)
    pairs = list(counts.items())
    expected = rows(train(Words.of(pairs), 1500))
    random.Random(1).shuffle(pairs)
    assert rows(train(Words.of(pairs), 1500)) == expected
    assert rows(train(Words.of(pairs), 700)) == expected[:700]


def test_a_count_beyond_31_bits_is_merged_first() -> None:
    """Where tokenizers wraps: it learns only `x y` of this."""
    found = train(Words.of({b"aa": 2_149_892_500, b"xy": 1_000}), 2)
    assert found.tokens() == [b"aa", b"xy"]
    assert found.counts.tolist() == [2_149_892_500, 1_000]


def test_counts_near_the_limit_are_exact_and_above_it_refused() -> None:
    most = (1 << 63) - 1
    assert rows(train(Words.of({b"ab": most // 2}), 5)) == [(ID_OF_BYTE[97], ID_OF_BYTE[98], most // 2)]
    with pytest.raises(UserError, match="9,223,372,036,854,775,808 bytes in all"):
        train(Words.of({b"ab": 1 << 62}), 1)
    with pytest.raises(UserError, match="divide the counts"):
        train(Words.of({b"ab": 1 << 61, b"ac": 1 << 61, b"ad": 1 << 61}), 1)


@pytest.mark.parametrize("words", [{}, {b"": 3}, {b"a": 5, b"b": 1}])
def test_nothing_to_merge_gives_no_merges(words: dict[bytes, int]) -> None:
    assert len(train(Words.of(words), 100)) == 0
    assert train(Words.of(words), 100).tokens() == []


def test_ends_when_no_pair_is_left() -> None:
    found = train(Words.of({b"abcd": 3, b"ab": 1}), 10**9)
    assert found.tokens() == [b"ab", b"cd", b"abcd"]


def test_long_words_of_one_letter() -> None:
    """Merges of a word halve it; a scan of all its letters for each merge would not end soon."""
    found = train(Words.of({b"a" * 100_000: 7, b"ab" * 50_000: 1}), 5000)
    assert found.tokens()[:3] == [b"aa", b"aaaa", b"a" * 8]
    assert found.counts[0] == 7 * 99_999
    assert max(map(len, found.tokens())) == 100_000


def test_ids_are_those_of_tokenizers_alphabet() -> None:
    vocabulary, _ = peer([""], pre_tokenizers.WhitespaceSplit(), 0)
    assert sorted(vocabulary, key=lambda character: vocabulary[character]) == ALPHABET
    assert sorted(BYTE_OF_ID.tolist()) == list(range(256))
    for byte in range(128):
        ((written, _),) = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(chr(byte))
        assert byte_level(bytes([byte])) == written


def test_progress_is_reported() -> None:
    counts = Counter(word.encode() for words in corpora(300, 3) for word in words)
    seen: list[int] = []
    found = train(Words.of(counts), 2500, on_progress=seen.append)
    assert seen[0] == 1000 and seen[-1] == len(found) and seen == sorted(seen)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([(b"ab", b"c")], "seed 0 joins b'ab'"),
        ([(b"a", b"b"), (b"b", b"c"), (b"a", b"bc"), (b"ab", b"c")], "seed 3 makes b'abc', as an earlier one"),
        ([(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")], "seed 2 never makes b'abc'"),
        ([(b"a", b"b")] * 9, "9 seeds are more than the 8 merges"),
    ],
)
def test_impossible_seeds_are_refused(seeds: list[tuple[bytes, bytes]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(Words.of({b"abc": 1}), 8, seeds=seeds)


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="word 1 of the counts occurs 0 times"):
        train(Words.of({b"ab": 1, b"ba": 0}), 1)
    for options in ({"merges": -1}, {"merges": 1, "min_frequency": -1}, {"merges": 1, "max_token_bytes": 1}):
        with pytest.raises(UserError, match="BPE training needs"):
            train(Words.of({b"ab": 1}), **options)
