"""Importance weights: the kernel is its plain twin, counts add up, and documents like the target come first."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.balance.importance import importance, log_ratio, ngram_counts, per_root, read_target
from pipeline.balance.importance_kernel import BASE, PIECE_SALT
from pipeline.errors import UserError
from pipeline.refine import characters as c

KINDS = c.kind_table()
MARKS = {c.OTHER, c.QUOTE, c.FULL_STOP, c.ELLIPSIS, c.SENTENCE_MARK, c.HASH, c.CURLY_BRACKET, c.SLASH, c.BROKEN}
WORDS = 2**64


def mixed(value: int) -> int:
    value %= WORDS
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value ^= value >> 33
        value = value * factor % WORDS
    return value ^ value >> 33


def kind_of(character: str) -> str:
    code = ord(character)
    if code >= 0x10000:
        return "letter" if any(first <= code <= last for first, last in c.SUPPLEMENTARY_LETTER_RANGES) else "mark"
    if character == "\0" or KINDS[code] in (c.SPACE, c.LINE_FEED, c.BROKEN_SPACE):
        return "blank"
    return "mark" if KINDS[code] in MARKS and character != "_" else "letter"


def lowered(character: str) -> str:
    lower = character.lower()
    return lower if len(lower) == 1 and len(character.encode()) < 4 else character


def tokens_of(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    before = "blank"
    for character in text:
        kind = kind_of(character)
        if kind == before and kind != "blank":
            tokens[-1] = kind, tokens[-1][1] + character
        elif kind != "blank":
            tokens.append((kind, character))
        before = kind
    return [(kind, "".join(lowered(character) for character in token) if kind == "letter" else token) for kind, token in tokens]


def grams_of(text: str, buckets: int, max_bytes: int) -> list[int]:
    """The slow twin: the bucket of every n-gram."""
    text = text.encode()[:max_bytes].decode(errors="ignore")
    hashes, words = [], []
    for kind, token in tokens_of(text):
        polynomial = 0
        for character in token:
            polynomial = (polynomial + ord(character)) * int(BASE) % WORDS
        words.append(mixed(polynomial))
        if kind == "letter":
            pairs = [(ord(one), ord(two)) for one, two in itertools.pairwise(token)]
            hashes += [mixed((one << 21 | two) ^ int(PIECE_SALT)) for one, two in pairs if one >= 0x800 and two >= 0x800]
    hashes += words + [mixed(one * int(BASE) + two) for one, two in itertools.pairwise(words)]
    return [(hashed >> 32) * buckets >> 32 for hashed in hashes]


characters = st.one_of(
    st.sampled_from("aAzZ09_ .,!?-\n\t\0'\"가나다하했학교 ㅋㅎ漢字かなÀéИЖİẞＡ１　\u200b🙂𐍈𝐀\u0301"),
    st.characters(exclude_categories=["Cs"]),
)
texts = st.text(characters, max_size=60)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(st.none(), texts), max_size=5), st.sampled_from([1, 7, 65_536]), st.sampled_from([0, 1, 10, 1000]))
def test_counts_and_importance_equal_the_plain_twin(rows, buckets, max_bytes):
    column = pa.array(rows, pa.large_string())
    grams = [grams_of(row or "", buckets, max_bytes) for row in rows]
    expected = np.bincount([bucket for row in grams for bucket in row], minlength=buckets).astype(np.int64)
    assert np.array_equal(ngram_counts(column, buckets, max_bytes), expected)
    ratio = (np.arange(buckets) % 97 - 48).astype(np.float64)  # whole numbers: any order of addition is exact
    sums, numbers = importance(column, ratio, max_bytes)
    assert numbers.tolist() == [len(row) for row in grams]
    assert sums.tolist() == [sum(ratio[bucket] for bucket in row) for row in grams]


@settings(deadline=None, max_examples=50)
@given(st.lists(texts, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_neither_chunks_nor_neighbours_nor_order_change_a_text(rows, random):
    ratio = np.random.default_rng(1).normal(size=101)
    whole = importance(pa.array(rows, pa.string()), ratio)
    order = list(range(len(rows)))
    random.shuffle(order)
    chunked = pa.chunked_array([pa.array([rows[place]], pa.large_string()) for place in order])
    again = importance(chunked, ratio)
    assert again[0].tolist() == whole[0][order].tolist() and again[1].tolist() == whole[1][order].tolist()
    assert np.array_equal(ngram_counts(chunked, 101), sum(ngram_counts(pa.array([row]), 101) for row in rows))


def test_what_an_n_gram_is():
    def numbers(text: str) -> int:
        return int(importance(pa.array([text]), np.zeros(5))[1][0])

    assert numbers("The cat") == 3  # two words, one pair
    assert numbers("the cat.") == 5  # the full stop is a token
    assert numbers("학교에 간다") == 6  # two words, one pair; 학교, 교에, 간다
    assert numbers(" \n\t") == 0
    upper, lower = (ngram_counts(pa.array([text])) for text in ("THE Cat", "the  cat"))
    assert np.array_equal(upper, lower)
    assert not np.array_equal(ngram_counts(pa.array(["학교"])), 2 * ngram_counts(pa.array(["학 교"])))


def test_empty_texts_weigh_nothing():
    sums, grams = importance(pa.chunked_array([], pa.large_string()), np.ones(3))
    assert len(sums) == len(grams) == 0
    sums, grams = importance(pa.array(["", None, "  "], pa.large_string()), np.ones(3))
    assert sums.tolist() == [0, 0, 0] and grams.tolist() == [0, 0, 0] and per_root(sums, grams).tolist() == [0, 0, 0]


def test_log_ratio_is_the_log_of_two_smoothed_distributions():
    target, raw = np.array([8, 0, 0, 0]), np.array([3, 3, 1, 1])
    p_raw = [4 / 12, 4 / 12, 2 / 12, 2 / 12]
    p_target = [(8 + 4 * p_raw[0]) / 12, *(4 * p / 12 for p in p_raw[1:])]
    assert log_ratio(target, raw) == pytest.approx([math.log(one / two) for one, two in zip(p_target, p_raw, strict=True)])
    assert np.exp(log_ratio(target, raw)) @ np.array(p_raw) == pytest.approx(1.0)
    assert log_ratio(np.zeros(4, np.int64), raw) == pytest.approx(np.zeros(4))
    with pytest.raises(ValueError, match="4 buckets and the corpus 3"):
        log_ratio(target, raw[:3])


def test_documents_of_the_targets_kind_come_first():
    law = [f"제{n}조 이 법은 국민의 권리와 의무에 관한 사항을 규정함을 목적으로 한다" for n in range(20)]
    review = [f"{n}번 봤는데 진짜 재밌다 배우 연기도 최고" for n in range(20)]
    ratio = log_ratio(ngram_counts(pa.array(law[:10])), ngram_counts(pa.array(law + review)))
    sums, grams = importance(pa.array(law[10:] + review), ratio)
    for score in (sums, sums / grams, per_root(sums, grams)):
        assert score[:10].min() > score[10:].max()


def test_a_target_is_read_from_any_files(tmp_path):
    rows = ["첫 문서입니다.", "The second text."]
    pq.write_table(pa.table({"body": rows[:1]}), tmp_path / "one.parquet")
    (tmp_path / "two.jsonl").write_text(json.dumps({"body": rows[1]}) + "\n", encoding="utf-8")
    assert np.array_equal(read_target([str(tmp_path)], "body"), ngram_counts(pa.array(rows)))


def test_a_target_without_text_is_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text('{"body": "words"}\n{"text": " "}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"no document of the target .*empty\.jsonl has a text in 'text'"):
        read_target([str(tmp_path / "empty.jsonl")])
    with pytest.raises(UserError, match="absent"):
        read_target([str(tmp_path / "absent.jsonl")])
    (tmp_path / "page.html").write_text("<html><body><p>words</p></body></html>", encoding="utf-8")
    with pytest.raises(UserError, match="is no JSONL or Parquet, which a target must be"):
        read_target([str(tmp_path / "page.html")])
    pq.write_table(pa.table({"body": ["words"]}), tmp_path / "body.parquet")
    with pytest.raises(UserError, match="no column 'text'"):
        read_target([str(tmp_path / "body.parquet")])
