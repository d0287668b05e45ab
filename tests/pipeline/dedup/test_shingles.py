"""Prepared texts and the shingles made of them: the kernels against their twins, white space of all kinds, texts of many blocks."""

from __future__ import annotations

import random
import sys
import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decontam import DecontamError
from decontam.normalize import Normalized, normalize_batch
from pipeline.dedup.shingles import BLOCK, MAX_SIZE, Shingling, hash_block, hash_word_shingles, prepare, word_breaks, workspace
from pipeline.errors import UserError

from . import twin

TEXTS = st.lists(st.text(alphabet="ab가나é𠮷 \n!ㅋ1", max_size=80), min_size=1, max_size=6)
SPECIAL = [*" \t\n\x1c\x85\xa0\u2003\u3000", *"aß각각①ﬁ(.)👍", *"\u0301\u0345\u200d\u037a"]
HOSTILE = st.lists(st.one_of(st.sampled_from(SPECIAL), st.characters(exclude_categories=["Cs"])), max_size=40).map("".join)
SHINGLINGS = [Shingling(unit, size, written) for unit, size in (("bytes", 27), ("words", 2)) for written in (False, True)]


def prepared(texts: list[str], shingling: Shingling = SHINGLINGS[0]) -> Normalized:
    return prepare(pa.array(texts, pa.large_string()), shingling)


def words_in(texts: Normalized) -> list[list[str]]:
    """The words of each document, put together from characters and breaks."""
    assert texts.breaks is not None
    found = []
    for start, stop in pairwise(texts.offsets.tolist()):
        words: list[str] = []
        for code, begins in zip(texts.codepoints[start:stop].tolist(), texts.breaks[start:stop].tolist(), strict=True):
            words[len(words) - (not begins) :] = [("" if begins else words[-1]) + chr(code)]
        found.append(words)
    return found


def hashes(text: str, shingling: Shingling = SHINGLINGS[0]) -> list[int]:
    """Hashes of all shingles of one text, repeated ones repeatedly."""
    texts = prepared([text], shingling)
    length, seed = len(texts.codepoints), np.uint64(shingling.seed)
    out, count = np.empty(length + BLOCK, np.uint64), 0
    words, breaks = word_breaks(texts, shingling)
    if words:
        count = hash_word_shingles(texts.codepoints, breaks, 0, length, shingling.size, seed, out)
    else:
        work = workspace(shingling.size)
        for first in range(0, length, BLOCK):
            count += hash_block(texts.codepoints, 0, first, length, shingling.size, seed, work, out, count)
    return out[:count].tolist()


@settings(max_examples=200, deadline=None)
@given(st.lists(HOSTILE, max_size=4), st.booleans())
def test_prepared_words_are_those_of_the_twin(texts, written):
    words = prepared(texts, Shingling("words", 5, written))
    assert words_in(words) == [twin.words_of(text, written) for text in texts]
    characters = prepared(texts, Shingling("bytes", 27, written))
    assert characters.breaks is None
    assert characters.codepoints.tolist() == words.codepoints.tolist() and characters.offsets.tolist() == words.offsets.tolist()


def test_white_space_is_what_python_splits_at():
    every = [chr(code) for code in range(0x11000) if not 0xD800 <= code <= 0xDFFF]
    assert not any(chr(code).isspace() for code in range(0x11000, sys.maxunicode + 1))
    texts = [f"a{character}b" for character in every]
    assert words_in(prepared(texts, Shingling("words", 5, written=True))) == [text.split() for text in texts]
    spaced = words_in(prepared(texts, Shingling("words", 5)))
    assert [len(words) == 2 for words in spaced] == [character.isspace() for character in every]


def test_a_word_ends_at_white_space_and_not_at_punctuation():
    text = "제1조(목적) 이 법은 - A.B. 를 …"
    assert words_in(prepared([text], Shingling("words", 5))) == [["제1조목적", "이", "법은", "ab", "를"]]
    assert words_in(prepared([text], Shingling("words", 5, written=True))) == [["제1조(목적)", "이", "법은", "-", "A.B.", "를", "…"]]


def test_letters_are_those_of_the_decontaminator():
    texts = ["Ａ b! 각", ""]
    ours, theirs = prepared(texts), normalize_batch(pa.array(texts))
    assert ours.codepoints.tolist() == theirs.codepoints.tolist() and ours.offsets.tolist() == theirs.offsets.tolist()


@pytest.mark.parametrize("shingling", SHINGLINGS)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_any_arrow_form_of_text(shingling, kind):
    array = pa.array(["x y", "가 나", None, "b c", ""], pa.string()).cast(kind).slice(1)
    for form in (array, pa.chunked_array([array.slice(0, 1), array.slice(1)])):
        texts = prepare(form, shingling)
        assert texts.offsets.tolist() == [0, 2, 2, 4, 4]
        assert "".join(map(chr, texts.codepoints)) == "가나bc"
    assert prepare(array.slice(0, 0), shingling).offsets.tolist() == [0]


@settings(max_examples=150, deadline=None)
@given(
    TEXTS,
    st.sampled_from([("bytes", 1), ("bytes", 4), ("bytes", 9), ("bytes", 27), ("words", 1), ("words", 2), ("words", 5)]),
    st.booleans(),
)
def test_shingles_are_those_of_the_twin_and_hash_alike_exactly_when_equal(texts, kind, written):
    shingling = Shingling(*kind, written)
    by_shingle, by_hash = {}, {}
    for text in texts:
        expected, found = twin.shingles(text, shingling.size, shingling.unit, written), hashes(text, shingling)
        assert len(expected) == len(found)
        for shingle, value in zip(expected, found, strict=True):
            assert by_shingle.setdefault(shingle, value) == value
            assert by_hash.setdefault(value, shingle) == shingle


@pytest.mark.parametrize("alphabet", ["a", "가", "é", "𠮷", "a가", "ab가나é𠮷"])
@pytest.mark.parametrize("size", [1, 27, 200])
def test_texts_of_several_blocks_hash_as_their_pieces_do(alphabet, size):
    """A block has one path for letters of one byte, one for syllables and one for all else; where it ends must not show."""
    generator = random.Random(size)
    shingling = Shingling("bytes", size, written=True)
    for length in (BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + size, 2 * BLOCK + size + 3):
        text = "".join(generator.choices(alphabet, k=length))
        shingles = twin.shingles(text, size, written=True)
        found = hashes(text, shingling)
        assert len(found) == len(shingles)
        for place in {0, 1, BLOCK - 1, BLOCK, len(shingles) // 2, len(shingles) - 1} & set(range(len(shingles))):
            assert found[place] == hashes(shingles[place], shingling)[0]
        assert len(set(found)) == len(set(shingles))


def test_a_change_of_script_in_the_middle_of_a_block():
    text = "a" * 300 + "가" * 300 + "b" * 700
    expected = twin.shingles(text, 27)
    found = hashes(text)
    assert [hashes(shingle)[0] for shingle in expected[250:350]] == found[250:350]
    assert len(found) == len(expected) and len(set(found)) == len(set(expected))


def test_a_shingle_is_27_latin_letters_or_9_syllables():
    assert len(hashes("a" * 27)) == 1 and len(hashes("a" * 28)) == 2
    assert len(hashes("가" * 9)) == 1 and len(hashes("가" * 10)) == 2
    assert len(hashes("가" * 3)) == 1  # shorter than a shingle: the whole text


def test_boundaries_are_part_of_word_shingles():
    pairs = Shingling("words", 2)
    assert hashes("ab c", pairs) != hashes("a bc", pairs)
    assert hashes("ab", pairs) != hashes("a b", pairs)
    assert hashes("a b c", pairs) == [*hashes("a b", pairs), *hashes("b c", pairs)]
    assert hashes("a b", pairs) == hashes("A, (b)", pairs) != hashes("b a", pairs)


def test_hangul_composed_or_decomposed_is_the_same_text():
    text = "정규화된 한글 문서 하나"
    decomposed = unicodedata.normalize("NFD", text)
    assert decomposed != text and hashes(decomposed) == hashes(text)
    assert hashes(decomposed, Shingling("words", 5)) == hashes(text, Shingling("words", 5))
    assert hashes(decomposed, Shingling(written=True)) != hashes(text, Shingling(written=True))


@pytest.mark.parametrize("unit", ["bytes", "words"])
def test_seed_changes_every_hash(unit):
    one, other = (hashes("the quick brown fox jumps over it", Shingling(unit, 5, seed=seed)) for seed in (1, 2))
    assert len(one) == len(other) > 1 and set(one).isdisjoint(other)


@pytest.mark.parametrize("arguments", [("letters", 5), ("bytes", 0), ("words", -1), ("bytes", MAX_SIZE + 1)])
def test_shinglings_that_make_no_sense_are_refused(arguments):
    with pytest.raises(UserError, match=r"unknown; use|give a size from 1 to"):
        Shingling(*arguments)


@pytest.mark.parametrize("shingling", SHINGLINGS)
def test_what_is_no_text_is_refused(shingling):
    with pytest.raises(DecontamError, match="column of strings"):
        prepare(pa.array([1, 2]), shingling)


def test_words_need_texts_prepared_for_them():
    with pytest.raises(ValueError, match="prepared for them"):
        word_breaks(prepared(["a b"]), Shingling("words", 5))


def test_the_largest_shingle_fits_the_workspace():
    text = "𠮷" * (BLOCK + MAX_SIZE) + "a"
    assert len(hashes(text, Shingling("bytes", MAX_SIZE))) == len(twin.shingles(text, MAX_SIZE))
