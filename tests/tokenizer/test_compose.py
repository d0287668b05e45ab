"""Lists of merges become a vocabulary with exact shares, whatever the corpus, the size and the split; or a sentence says why not."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from tokenizer import bpe
from tokenizer.audit import audit_json
from tokenizer.compose import MergeList, compose, plain
from tokenizer.export import tokenizer_json
from tokenizer.pretoken import pretokens
from tokenizer.scripts import by_language, kind
from tokenizer.shares import budget_of, exact_shares, is_exact, merges_to_train, parse_split, shared_default
from tokenizer.special_tokens import special_tokens
from tokenizer.vocabulary import Vocabulary
from tokenizer.words import Words

SPECIALS = special_tokens(16)
HALVES = {"ko": Fraction(1, 2), "en": Fraction(1, 2)}
ALPHABETS = [
    "가나다라마바사아한글국어ㅋㅎ",
    "abcdefghijklmno",
    "éßñöåłß",
    "漢字日本",
    "かなカナ",
    "жизнь",
    " .,!?()“”…×",
    "😀👍🏽\u200d",
    "\r\n \t\u3000",
]


def corpus(seed: int, documents: int) -> str:
    """Text in several scripts, with words that come again and words of two scripts."""
    draw = random.Random(seed)
    known = ["".join(draw.choices(alphabet, k=draw.randint(1, 6))) for alphabet in ALPHABETS for _ in range(12)]
    pieces = []
    for _ in range(documents):
        alphabet = draw.choice(ALPHABETS)
        word = draw.choice(known) if draw.random() < 0.5 else "".join(draw.choices(alphabet, k=draw.randint(1, 9)))
        pieces.append(word + draw.choice([" ", " ", "", "\n", " " + str(draw.randint(0, 99))]))
    return "".join(pieces)


def words_of(text: str) -> Words:
    return Words.of(Counter(word.encode() for word in pretokens(text)))


def trained(words: Words, split: Mapping[str, Fraction], vocab_size: int, shared: int | None = None, seeds: tuple = ()) -> list[MergeList]:
    lists = []
    for name, part in by_language(words, list(split)).items():
        asked = merges_to_train(name, budget_of(vocab_size, len(SPECIALS)), split, shared)
        given_seeds = seeds if name == "ko" else ()
        merges = bpe.train(part, asked, max_token_bytes=64, seeds=given_seeds)
        lists.append(MergeList(name, merges.left, merges.right, merges.counts, merges.tokens(), len(given_seeds), len(merges.left) < asked))
    return lists


def require_sound(vocabulary: Vocabulary, split: Mapping[str, Fraction], vocab_size: int) -> Counter:
    """What must hold for every composed vocabulary; returns its tokens per kind."""
    assert len(vocabulary) == vocab_size
    vocabulary.check()
    counts = Counter(kind(token, list(split)) for token in vocabulary.tokens[256:])
    assert counts["mixed"] == 0
    assert is_exact([counts[language] for language in split], list(split.values()))
    return counts


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(280, 900),
    st.sampled_from(
        ["ko=0.5,en=0.5", "en=0.5,ko=0.5", "ko=0.8,en=0.2", "ko=1", "ko=0.4,en=0.4,ru=0.2", "ko=0.5,en=0.3,ja=0.2", "en=0.6,zh=0.4"]
    ),
    st.sampled_from([None, None, 0, 20, 60]),
)
def test_shares_are_exact_for_any_corpus_size_and_split(seed: int, vocab_size: int, text: str, shared: int | None) -> None:
    split = exact_shares(parse_split(text))
    lists = trained(words_of(corpus(seed, 500)), split, vocab_size, shared)
    try:
        composition = compose(lists, split, vocab_size, SPECIALS, shared)
    except UserError as error:
        assert "; use " in str(error) or "; count " in str(error)
        return
    counts = require_sound(composition.vocabulary, split, vocab_size)
    found = audit_json(json.loads(tokenizer_json(composition.vocabulary)), split)
    assert found.exact and found.one_merge_per_token and not found.duplicates
    assert {name: found.counts[name] for name in (*split, "shared", "mixed")} == {
        name: counts[name] for name in (*split, "shared", "mixed")
    }
    assert sum(facts["taken"] for facts in composition.lists.values()) == budget_of(vocab_size, len(SPECIALS))


def test_composition_succeeds_wherever_the_words_are_enough() -> None:
    """The property above may not hide behind its errors: here is a corpus that fills every size."""
    words = words_of(corpus(1, 4000))
    for vocab_size in (300, 301, 333, 500, 777, 1000):
        for split in (HALVES, exact_shares({"ko": 0.7, "en": 0.3}), exact_shares({"en": 1.0})):
            counts = require_sound(compose(trained(words, split, vocab_size), split, vocab_size, SPECIALS).vocabulary, split, vocab_size)
            if split is HALVES:
                assert counts["ko"] == counts["en"]
                assert counts["shared"] >= shared_default(budget_of(vocab_size, len(SPECIALS)))


def test_the_default_of_102400_is_50000_each() -> None:
    budget = budget_of(102_400, 256)
    assert shared_default(budget) == 1888
    assert (budget - 1888) // 2 == 50_000


def test_each_list_keeps_its_order_and_lists_take_turns_by_count() -> None:
    words = words_of(corpus(2, 3000))
    lists = trained(words, HALVES, 600)
    vocabulary = compose(lists, HALVES, 600, SPECIALS).vocabulary
    for merges in lists:
        order = {token: place for place, token in enumerate(merges.tokens)}
        own = [order[token] for token, origin in zip(vocabulary.tokens[256:], vocabulary.origin, strict=True) if origin == merges.name]
        assert own == sorted(own)
    assert np.all(np.diff(vocabulary.counts) <= 0)


def test_seeds_come_first_and_are_the_tokens_of_the_list_they_were_given_to() -> None:
    seeds = ((b"\xea", b"\xb0"), (b"\xea\xb0", b"\x80"), (b"\xeb", b"\xb7"), (b"\xeb\xb7", b"\x81"))  # 가, and 뷁, which no text has
    vocabulary = compose(trained(words_of(corpus(3, 3000)), HALVES, 500, seeds=seeds), HALVES, 500, SPECIALS).vocabulary
    assert vocabulary.tokens[256:260] == [left + right for left, right in seeds]
    require_sound(vocabulary, HALVES, 500)


def test_a_string_that_two_lists_make_is_one_token() -> None:
    """Both lists learn the quotation mark; only the first keeps it, and the other's later merges use its id."""
    counts = {"“가": 50, "“나": 50, "“ab": 40, "“cd": 40, "““": 30, "라마바사": 9, "efghijklm": 9, "!!": 9}
    words = Words.of({word.encode(): count for word, count in counts.items()})
    lists = trained(words, HALVES, 288)
    assert all("“".encode() in merges.tokens for merges in lists)
    vocabulary = compose(lists, HALVES, 288, SPECIALS).vocabulary
    require_sound(vocabulary, HALVES, 288)
    assert vocabulary.tokens.count("“".encode()) == 1
    assert {"“나".encode(), "“ab".encode()} <= set(vocabulary.tokens)


def test_tokens_of_another_kind_are_left_out_with_what_needs_them() -> None:
    """`\\x97\\xc3`, the joint of two multiplication signs, looks like the beginning of a Latin letter: it may not count for English."""
    words = Words.of([("×××".encode(), 100), ("가나다라마바사아자차카타파하".encode(), 5), (b"abcdefghijklmnop", 5), (b"!!??..,,;;::", 2)])
    lists = trained(words, HALVES, 290)
    joint = MergeList(
        "shared", np.array([ID[0x97], 256, ID[0x21]], np.int32), np.array([ID[0xC3], ID[0x97], ID[0x21]], np.int32),
        np.array([200, 100, 2], np.int64), [b"\x97\xc3", b"\x97\xc3\x97", b"!!"],
    )  # fmt: skip
    composition = compose([*lists[:2], joint], HALVES, 290, SPECIALS)
    require_sound(composition.vocabulary, HALVES, 290)
    assert composition.lists["shared"]["of_another_kind"] == 2
    assert b"\x97\xc3" not in composition.vocabulary.tokens and b"\x97\xc3\x97" not in composition.vocabulary.tokens


ID = {byte: place for place, byte in enumerate(bpe.BYTE_OF_ID.tolist())}


def test_a_vocabulary_larger_than_the_words_can_give_names_the_language_and_its_tokens() -> None:
    words = words_of("한국어 말뭉치 " * 3 + " ".join(f"word{letter}{other}" for letter in "abcdefgh" for other in "abcdefgh"))
    with pytest.raises(
        UserError, match=r"the words of 'ko' give \d+ tokens, and the vocabulary is to have \d+ of them; use a --vocab-size"
    ):
        compose(trained(words, HALVES, 700), HALVES, 700, SPECIALS)


@pytest.mark.parametrize(
    ("text", "missing"), [("only English words here, and more of them", "ko"), ("한국어만 있는 말뭉치", "en"), ("123 !!", "ko")]
)
def test_a_corpus_in_one_script_says_which_language_is_empty(text: str, missing: str) -> None:
    with pytest.raises(UserError, match=f"the counts hold no words in the script of '{missing}'"):
        compose(trained(words_of(text), HALVES, 300), HALVES, 300, SPECIALS)


def test_the_size_that_the_error_advises_can_be_had() -> None:
    words = words_of(corpus(5, 300))
    with pytest.raises(UserError) as caught:
        compose(trained(words, HALVES, 5000), HALVES, 5000, SPECIALS)
    advised = int(str(caught.value).split("at most about ")[1].split(",  ")[0].split(", count")[0].replace(",", ""))
    require_sound(compose(trained(words, HALVES, advised - 2), HALVES, advised - 2, SPECIALS).vocabulary, HALVES, advised - 2)


def test_bad_sizes_are_sentences() -> None:
    words = words_of(corpus(6, 500))
    with pytest.raises(UserError, match="no room for merges"):
        budget_of(272, 16)
    with pytest.raises(UserError, match="shared_merges is 400"):
        compose(trained(words, HALVES, 500), HALVES, 500, SPECIALS, 400)
    with pytest.raises(UserError, match="parts of characters"):
        compose(trained(words, HALVES, 500), HALVES, 500, SPECIALS, 0)


def test_a_special_token_that_is_a_text_token_is_refused() -> None:
    words = words_of(corpus(6, 500))
    token = compose(trained(words, HALVES, 400), HALVES, 400, SPECIALS).vocabulary.tokens[-1].decode()
    with pytest.raises(UserError, match="is also a token"):
        compose(trained(words, HALVES, 400), HALVES, 400, (*SPECIALS[:-1], token))


def test_plain_is_what_the_trainer_of_tokenizers_makes() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    text = corpus(7, 2000)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=list(SPECIALS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), max_token_length=65,
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(pretokens(text), trainer)
    merges = bpe.train(words_of(text), 428, max_token_bytes=64)
    given_list = MergeList("all", merges.left, merges.right, merges.counts, merges.tokens())
    vocabulary = plain(given_list, 700, SPECIALS).vocabulary
    ours, theirs = json.loads(tokenizer_json(vocabulary)), json.loads(tokenizer.to_str())
    assert ours["model"] == theirs["model"]
    assert ours["added_tokens"] == theirs["added_tokens"]
    with pytest.raises(UserError, match="at most 700"):
        plain(given_list, 701, SPECIALS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ko", "can't be read at 'ko'"),
        ("ko=x", "can't be read"),
        ("ko=0.5,ko=0.5", "twice"),
        ("=1", "can't be read"),
        ("ko=-1", "can't be"),
    ],
)
def test_splits_that_can_not_be_read(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_split(text)


@pytest.mark.parametrize(
    ("split", "said"),
    [({}, "no language"), ({"ko": 0.5, "en": 0.4}, "add up to 0.9"), ({"ko": 1.0, "en": 0.0}, "above 0"), ({"xx": 1.0}, "'xx'"),
     ({"zh": 0.5, "ja": 0.5}, "Han")],
)  # fmt: skip
def test_splits_that_make_no_sense(split: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        exact_shares(split)


def test_thirds_add_up() -> None:
    shares = exact_shares({"ko": 1 / 3, "en": 1 / 3, "ru": 1 / 3})
    assert set(shares.values()) == {Fraction(1, 3)}
    assert is_exact([10, 10, 10], list(shares.values())) and not is_exact([10, 11, 10], list(shares.values()))
    assert is_exact([8, 2], [Fraction(4, 5), Fraction(1, 5)]) and not is_exact([12, 2], [Fraction(4, 5), Fraction(1, 5)])
