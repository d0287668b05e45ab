"""The audit tells from tokenizer.json alone what a vocabulary is made of, and names whatever a composed one would not have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.__main__ import app
from pipeline.errors import UserError
from tests.tokenizer.encoding_scene import write_tokenizer
from tests.tokenizer.training_scene import counted, texts, trained
from tokenizer.audit import Audit, audit, audit_json, render
from tokenizer.shares import exact_shares, parse_split
from tokenizer.vocabulary import byte_characters, to_characters

HALVES = exact_shares({"ko": 0.5, "en": 0.5})


def made(*tokens: str, specials: tuple[str, ...] = ("<|eos|>",)) -> dict[str, Any]:
    """A tokenizer.json by hand: specials, the bytes, and each token of text as the merge of its first bytes and its last one."""
    vocab = [*specials, *sorted(byte_characters())]
    merges = []
    for token in tokens:
        text = to_characters(token.encode())
        for end in range(2, len(text) + 1):
            if text[:end] not in vocab:
                vocab.append(text[:end])
                merges.append([text[: end - 1], text[end - 1]])
    added = [{"id": place, "content": special, "special": True} for place, special in enumerate(specials)]
    return {"added_tokens": added, "model": {"type": "BPE", "vocab": {token: at for at, token in enumerate(vocab)}, "merges": merges}}


def found(content: dict[str, Any], split: str = "ko=0.5,en=0.5") -> Audit:
    return audit_json(content, exact_shares(parse_split(split)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = tmp_path_factory.mktemp("audit")
    trained(scene / "tokenizer", [counted(scene / "counts", texts(1, 200))])
    return scene / "tokenizer"


def test_ours_passes_and_its_file_says_the_same(folder: Path) -> None:
    seen = audit(folder, HALVES)
    assert seen.problems == [] and seen == audit(folder / "tokenizer.json", HALVES)
    assert seen.as_json() == json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    assert sum(seen.counts.values()) == seen.size == 700
    done = CliRunner().invoke(app, ["tokenizer", "audit", str(folder)])
    assert done.exit_code == 0 and "exact" in done.stdout


def test_a_vocabulary_by_hand() -> None:
    seen = found(made("가", "ab", "cd", "!!"))
    assert seen.counts == {"special": 1, "byte": 256, "ko": 2, "en": 2, "shared": 1, "mixed": 0}  # EA B0 only becomes Hangul
    assert seen.fragments == {"ko": 1, "en": 0, "shared": 0, "mixed": 0}
    assert seen.problems == []
    assert found(made("가", "ab", "!!")).problems == ["its languages don't have the shares ko 0.5, en 0.5"]


def _turned(content: dict[str, Any]) -> None:
    content["model"]["merges"].reverse()


def _extra(content: dict[str, Any]) -> None:
    content["model"]["merges"].append(["b", "a"])


def _missing(content: dict[str, Any]) -> None:
    content["model"]["merges"].pop()


@pytest.mark.parametrize("change", [_turned, _extra, _missing])
def test_merges_that_are_not_one_per_token_in_order(change: Callable[[dict[str, Any]], None]) -> None:
    content = made("가", "ab", "!!")
    change(content)
    assert "its merges aren't one per token in the order of ids" in found(content).problems


def test_tokens_that_are_another_one() -> None:
    content = made("가", "ab", "cd", "!!")
    content["added_tokens"].append({"id": 1000, "content": "ab", "special": True})
    assert "1 tokens are the same as another" in found(content).problems
    content = made("가", "ab", "cd", "!!")
    content["model"]["vocab"]["cd"] = content["model"]["vocab"]["ab"]
    assert "1 tokens are the same as another" in found(content).problems


def test_tokens_that_mix_scripts() -> None:
    seen = found(made("가", "ab", "AI가"))
    assert seen.counts["mixed"] >= 1 and any("mix scripts" in problem for problem in seen.problems)
    assert "AI가" in seen.examples["mixed"] and "AI가" in render(seen)


def test_other_splits() -> None:
    content = made("가나", "ab", "жи", "!!")
    assert found(content, "ru=1").counts["ru"] == 3  # the joint of the letters among them
    assert found(content, "ko=0.5,en=0.25,ru=0.25").counts["en"] == 1
    assert "ru" not in found(content).counts


def test_a_plain_tokenizer_fails_by_its_shares(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "plain")
    assert audit(folder, HALVES).problems
    done = CliRunner().invoke(app, ["tokenizer", "audit", str(folder)])
    assert done.exit_code == 1 and "NOT exact" in done.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "can't be read as JSON"),
        ("[]", "isn't a tokenizer.json"),
        ("{}", "isn't a tokenizer.json"),
        ('{"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}', "of the type Unigram"),
        ('{"model": {"type": "BPE", "vocab": {"▁a": 0}, "merges": []}}', "isn't byte-level"),
        ('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}', "is damaged"),
        ('{"model": {"type": "BPE", "vocab": {"a": "x"}, "merges": []}}', "isn't a tokenizer.json"),
    ],
)
def test_files_that_are_no_byte_level_tokenizer(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        audit(tmp_path, HALVES)


def test_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no"):
        audit(tmp_path, HALVES)
