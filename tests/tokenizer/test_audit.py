"""The audit sees what is wrong with a vocabulary, from its tokenizer.json alone."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from pipeline.errors import UserError
from tests.tokenizer.training_scene import counted, texts, trained
from tokenizer.audit import audit, audit_json, read_audit, render

HALVES = {"ko": Fraction(1, 2), "en": Fraction(1, 2)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("audit")
    trained(root / "tokenizer", [counted(root / "counts", texts(2))])
    return root / "tokenizer"


def test_a_composed_vocabulary_passes(folder):
    found = audit(folder, HALVES)
    assert not found.problems and found == audit(folder / "tokenizer.json", HALVES) == read_audit(folder)
    assert found.size == 700 and found.counts["ko"] == found.counts["en"] > 100 and found.counts["mixed"] == 0
    assert sum(found.counts.values()) == found.size
    assert "shares ko 0.5, en 0.5: exact" in render(found)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda model: rename(model, last(model), "가a"), "mix scripts"),
        (lambda model: rename(model, last(model), "zzzzzz"), "aren't one per token"),
        (lambda model: model["merges"].pop(), "aren't one per token"),
        (lambda model: model["merges"].reverse(), "aren't one per token"),
        (lambda model: drop(model, "en"), "don't have the shares"),
    ],
)
def test_each_problem_is_named(folder, change, problem):
    content = json.loads((folder / "tokenizer.json").read_text())
    change(content["model"])
    assert any(problem in one for one in audit_json(content, HALVES).problems)


def last(model):
    return max(model["vocab"], key=model["vocab"].get)


def rename(model, token, text):
    from tokenizer.vocabulary import to_characters

    model["vocab"][to_characters(text.encode())] = model["vocab"].pop(token)


def drop(model, language):
    token = next(token for token in reversed(model["vocab"]) if token.isascii() and token.isalpha() and len(token) > 1)
    del model["vocab"][token]


def test_another_split_is_another_audit(folder):
    found = audit(folder, {"ko": Fraction(2, 3), "en": Fraction(1, 3)})
    assert not found.exact and "NOT exact" in render(found)


def test_any_byte_level_tokenizer_can_be_audited(tmp_path):
    peer = tokenizers.Tokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<s>"])
    peer.train_from_iterator(texts(3), trainer)
    peer.save(str(tmp_path / "peer.json"))
    found = audit(tmp_path / "peer.json", HALVES)
    assert found.size == peer.get_vocab_size() and found.counts["special"] == 1 and found.counts["byte"] == 256


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "can't be read as JSON"),
        ("[]", "isn't a tokenizer.json"),
        ('{"model": {"type": "Unigram"}}', "of the type Unigram"),
        ('{"model": {"type": "BPE", "vocab": {"▁한": 0}, "merges": []}}', "isn't byte-level"),
        ('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}', "has a merge that isn't a pair"),
    ],
)
def test_other_files_are_refused_with_a_sentence(tmp_path, content, sentence):
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        audit(tmp_path, HALVES)
    with pytest.raises(UserError, match="there is no"):
        audit(tmp_path / "nowhere", HALVES)
