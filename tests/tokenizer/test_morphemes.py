"""Korean words are cut before particles and endings when a tokenizer is trained, and nothing else about them changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tokenizer.training_scene import counted, texts, trained
from tokenizer.words import Words

pytest.importorskip("kiwipiepy")

from tokenizer.morphemes import cut_morphemes, kiwi_version


def as_dictionary(words: Words) -> dict[str, int]:
    table = words.to_table()
    return dict(zip(table.column("word").to_pylist(), table.column("count").to_pylist(), strict=True))


def test_words_are_cut_before_particles_and_their_letters_stay() -> None:
    given = {" 학교에서는": 5, "학교": 2, " 먹었다": 3, " 했다": 4, "서울은": 1, "!!": 2, "ㅋㅋ": 2}
    cut = as_dictionary(cut_morphemes(Words.of({word.encode(): count for word, count in given.items()}), min_count=2))
    assert cut[" 학교"] == 5 and cut["학교"] == 2 and " 학교에서는" not in cut
    assert cut["서울은"] == 1, "rarer than min_count"
    assert sum(len(word) * count for word, count in cut.items()) == sum(len(word) * count for word, count in given.items())
    assert all(word.strip() for word in cut)


def test_training_with_morphemes(tmp_path: Path) -> None:
    documents = [text + " 학교에서는 서울에서는 도서관에서는 회사에서는" for text in texts(1, 100)]
    counts = counted(tmp_path / "counts", documents)
    manifest = trained(tmp_path / "cut", [counts], morphemes="particles")
    whole = trained(tmp_path / "whole", [counts])
    assert manifest["kiwi"] == kiwi_version() and whole["kiwi"] is None
    assert manifest["audit"]["exact"] and manifest["words"]["ko"]["bytes"] < whole["words"]["ko"]["bytes"]
    assert kiwi_version() in (tmp_path / "cut" / "README.md").read_text(encoding="utf-8")
