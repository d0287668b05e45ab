"""Training: repeatable to the byte, scored on documents it has not seen, and clear about labels it can't learn from."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.classify.config import ClassifyConfig, TrainConfig
from pipeline.classify.labelled import check_labelled, read_labelled
from pipeline.classify.train import render_card, train_model
from pipeline.errors import UserError
from tests.pipeline.classify.labelled_scene import rows, small, write_rows


def test_equal_documents_give_equal_bytes_whatever_their_order_and_the_memory(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    records = rows(80)
    shuffled = records.copy()
    random.Random(1).shuffle(shuffled)
    first = small([write_rows(tmp_path / "a" / "all.jsonl", records)])
    parts = [write_rows(tmp_path / "b" / "2.jsonl", shuffled[:30]), write_rows(tmp_path / "b" / "1.jsonl", shuffled[30:])]
    cards = [train_model(first, tmp_path / "one" / "m.bin")]
    for attempt in range(5):
        # Freed memory full of NaN is what fastText would take its first numbers from.
        garbage = [np.full(1000 + 700 * size, np.nan, np.float32) for size in range(60)]
        del garbage
        cards.append(train_model(small(parts), tmp_path / f"again{attempt}" / "m.bin"))
    assert all(card == cards[0] for card in cards)
    made = {(tmp_path / folder / name).read_bytes() for folder in ("one", "again0", "again4") for name in ("m.bin",)}
    assert len(made) == 1
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["m.bin", "m.json"]
    assert json.loads((tmp_path / "one" / "m.json").read_text()) == cards[0]
    assert capfd.readouterr() == ("", "")


def test_the_seed_changes_the_model(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "all.jsonl", rows(60))
    assert train_model(small([path]), tmp_path / "1.bin")["xxh3"] != train_model(small([path], seed=8), tmp_path / "2.bin")["xxh3"]


def test_the_card_counts_and_scores_held_out_documents(tmp_path: Path) -> None:
    records = rows(200)
    records += [records[0], {"text": "no label here"}, {"text": " \u3000", "label": "sport"}]
    card = train_model(small([write_rows(tmp_path / "all.jsonl", records)]), tmp_path / "m.bin")
    assert card["kind"] == "domain"
    assert card["left_out"] == {"without label": 1, "without words": 1, "repeated": 1, "over the limit": 0, "unreadable": 0}
    assert sum(sum(counts.values()) for counts in card["documents"].values()) == 200
    held_out = card["held_out"]
    assert held_out["documents"] == sum(counts["held_out"] for counts in card["documents"].values()) > 10
    assert held_out["accuracy"] > 0.9 and held_out["auc"] > 0.9
    assert set(card["languages"]) == {"ko", "en"}
    assert sum(facts["documents"] for facts in card["languages"].values()) == held_out["documents"]
    text = render_card(card)
    assert "science" in text and "held out" in text


def test_copies_of_a_text_are_on_one_side(tmp_path: Path) -> None:
    """A held-out text that is also in the training data would make the scores a memory test."""
    records = rows(40)
    copies = [record | {"label": other, "id": "x"} for record in records for other in ("sport", "science")]
    card = train_model(small([write_rows(tmp_path / "all.jsonl", copies)]), tmp_path / "m.bin")
    sides = list(card["documents"].values())
    assert sides[0] == sides[1]


def test_a_quality_model_may_have_several_bad_labels_and_blanks_in_names(tmp_path: Path) -> None:
    names = {"sport": "very good", "science": "bad"}
    records = [record | {"label": names[record["label"]]} for record in rows(80)]
    records += [{"text": f"spam casino {number} bonus casino", "label": "spam"} for number in range(20)]
    card = train_model(small([write_rows(tmp_path / "q.jsonl", records)], positive_label="very good"), tmp_path / "q.bin")
    assert card["kind"] == "quality" and card["positive_label"] == "very good"
    assert card["labels"] == {"bad": "bad", "spam": "spam", "very_good": "very good"}
    assert card["held_out"]["auc"] > 0.9


def test_text_that_looks_like_a_label_is_no_label(tmp_path: Path) -> None:
    wrong = {"sport": "science", "science": "sport"}
    records = [record | {"text": f"__label__{wrong[record['label']]} </s> {record['text']}"} for record in rows(100)]
    card = train_model(small([write_rows(tmp_path / "all.jsonl", records)]), tmp_path / "m.bin")
    assert set(card["documents"]) == {"sport", "science"} and card["held_out"]["accuracy"] > 0.9


def test_more_documents_than_the_limit_are_sampled_by_content(tmp_path: Path) -> None:
    records = rows(100)
    one = read_labelled(small([write_rows(tmp_path / "a.jsonl", records)], max_documents_per_label=20))
    two = read_labelled(small([write_rows(tmp_path / "b.jsonl", records[::-1])], max_documents_per_label=20))
    assert one == two and {label: len(found) for label, found in one.examples.items()} == {"science": 20, "sport": 20}
    assert one.left_out["over the limit"] == 60


def test_parquet_and_number_labels(tmp_path: Path) -> None:
    records = rows(20)
    labels = [int(record["label"] == "sport") for record in records]
    pq.write_table(pa.table({"text": [record["text"] for record in records], "stars": labels}), tmp_path / "a.parquet")
    assert set(read_labelled(small([str(tmp_path / "a.parquet")], label_column="stars")).examples) == {"0", "1"}


@pytest.mark.parametrize(
    ("records", "settings", "sentence"),
    [
        (rows(20), {"label_column": "topic"}, r"no label in 'topic'; its fields are .*'label'"),
        ([row | {"label": "same"} for row in rows(20)], {}, r"has the label 'same'; a model needs documents of at least two labels"),
        (rows(20), {"positive_label": "good"}, r"no document in .* has the positive label 'good'; .* one of 'science', 'sport'"),
        ([row | {"label": ["a"]} for row in rows(3)], {}, r"record at position 0 has the label \['a'\] \(list\) in 'label'"),
        ([row | {"label": 0.5} for row in rows(3)], {}, r"has the label 0\.5 \(float\)"),
        (rows(20), {"text_column": "body"}, r"has no readable document"),
        ([{"text": " ", "label": "a"}, {"text": "...", "label": None}], {}, r"has 'label', but no value in it"),
        ([{"text": "...", "label": None}, {"text": " ", "label": "a"}], {}, r"has 'label', but no value in it"),
        ([{"text": "\u200b", "label": "a"}], {}, r"no document in .* has both words and a label|no readable document"),
        ([*rows(20), {"text": "x y", "label": "a b"}, {"text": "y z", "label": "a_b"}], {}, r"'a b' and 'a_b' differ only in blanks"),
    ],
)
def test_labels_that_cannot_be_learned_are_one_sentence(
    tmp_path: Path, records: list[dict[str, Any]], settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        train_model(small([write_rows(tmp_path / "all.jsonl", records)], **settings), tmp_path / "m.bin")
    assert not (tmp_path / "m.bin").exists()


def test_a_label_with_nothing_left_to_train_on(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "all.jsonl", [*rows(60), {"text": "lonely", "label": "rare"}])
    with pytest.raises(UserError, match=r"label 'rare' has only 1 distinct document, and none is left"):
        for seed in range(40):
            train_model(small([path], seed=seed, held_out_share=0.5, epoch=1), tmp_path / "m.bin")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello there")
    with pytest.raises(UserError, match=r"must be JSONL or Parquet, and .*notes\.txt' is text"):
        check_labelled(small([str(tmp_path / "notes.txt")]))
    with pytest.raises(UserError, match="no file matches"):
        check_labelled(small([str(tmp_path / "nowhere.jsonl")]))
    with pytest.raises(UserError, match=r"\.json is its card's name"):
        train_model(small([write_rows(tmp_path / "a.jsonl", rows(10))]), tmp_path / "m.json")


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        ([{"name": "Topic", "path": "m.bin"}], "should match pattern"),
        ([{"name": "domain"}], "either `path`"),
        ([{"name": "domain", "path": "m.bin", "train": {"inputs": ["a"]}}], "and not both"),
        ([{"name": "quality", "train": {"inputs": ["a"]}}], "needs train.positive_label"),
        ([{"name": "domain", "train": {"inputs": ["a"], "positive_label": "x"}}], "has no positive_label"),
        ([{"name": "domain", "path": "a"}, {"name": "domain", "path": "b"}], "2 models named domain"),
        ([{"name": "domain", "train": {"inputs": ["a"], "epochs": 3}}], "did you mean 'epoch'"),
        ([], "at least 1"),
    ],
)
def test_bad_settings_are_refused(models: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        ClassifyConfig.model_validate({"models": models})


def test_subword_lengths_must_fit() -> None:
    with pytest.raises(ValidationError, match="use minn <= maxn"):
        TrainConfig(inputs=["a"], minn=5, maxn=3)


def test_real_topics_are_learned(shared_data: Path, tmp_path: Path) -> None:
    topics = shared_data / "labelled" / "topic" / "en_agnews_test.jsonl.gz"
    settings = TrainConfig(inputs=[str(topics)], label_column="category", epoch=2, dim=16, minn=0, maxn=0, max_documents_per_label=800)
    assert train_model(settings, tmp_path / "m.bin")["held_out"]["auc"] > 0.85
