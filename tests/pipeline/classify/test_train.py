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
from typer.testing import CliRunner

from pipeline.classify import train
from pipeline.classify.card import known_limits, render_card
from pipeline.classify.config import ClassifyConfig, TrainConfig
from pipeline.classify.divide import divide_labelled, resolve_split
from pipeline.classify.labelled import check_labelled, read_labelled
from pipeline.classify.train import train_model, training_fingerprint
from pipeline.cli import app
from pipeline.errors import RunFailed, UserError
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
    assert all({**card, "files": 0} == {**cards[0], "files": 0} for card in cards)
    assert [file["name"] for file in cards[1]["files"]] == ["1.jsonl", "2.jsonl"] and cards[0]["files"][0]["side"] == "training"
    made = {(tmp_path / folder / name).read_bytes() for folder in ("one", "again0", "again4") for name in ("m.bin",)}
    assert len(made) == 1
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["m.bin", "m.json", "m.md"]
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
    nothing_else = {"over the limit": 0, "unreadable": 0, "held out too": 0}
    assert card["left_out"] == {"without label": 1, "without words": 1, "repeated": 1, **nothing_else}
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
    assert (one.examples, one.left_out) == (two.examples, two.left_out)
    assert {label: len(found) for label, found in one.examples.items()} == {"science": 20, "sport": 20}
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


def test_a_label_of_one_document_and_of_two(tmp_path: Path) -> None:
    """Two are one to train on and one to hold out, whatever their hashes; one can't be both."""
    one = write_rows(tmp_path / "one.jsonl", [*rows(60), {"text": "lonely", "label": "rare"}])
    with pytest.raises(UserError, match=r"'rare' has only 1 distinct document, so none can be both trained on and held out; give more"):
        train_model(small([one]), tmp_path / "m.bin")
    two = write_rows(tmp_path / "two.jsonl", [*rows(60), {"text": "lonely", "label": "rare"}, {"text": "alone", "label": "rare"}])
    for seed in range(5):
        card = train_model(small([two], seed=seed, held_out_share=0.5, epoch=1), tmp_path / "m.bin")
        assert card["documents"]["rare"] == {"training": 1, "held_out": 1}


def with_hosts(records: list[dict[str, Any]], hosts: int) -> list[dict[str, Any]]:
    return [record | {"url": f"https://www.h{number // 2 % hosts}.example/{number}"} for number, record in enumerate(records)]


def test_hosts_are_held_out_as_a_whole(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "all.jsonl", with_hosts(rows(200), 25))
    settings = small([path])
    labelled = read_labelled(settings)
    split_by, _ = resolve_split(labelled.examples, settings)
    sides = divide_labelled(labelled, settings.model_copy(update={"split_by": split_by}))
    of_side = [{document.example.group for document in side} for side in (sides.training, sides.held_out)]
    assert split_by == "host" and of_side[0] | of_side[1] == {f"h{number}.example" for number in range(25)} and not of_side[0] & of_side[1]
    card = train_model(settings, tmp_path / "m.bin")
    assert card["split"] == {
        "by": "host",
        "why": "every label has documents of two hosts or more",
        "held_out_inputs": False,
        "training_groups": len(of_side[0]),
        "held_out_groups": len(of_side[1]),
    }
    assert "split by host" in render_card(card)


def test_a_label_of_one_host_is_split_by_text_or_refused(tmp_path: Path) -> None:
    records = [record | {"url": f"https://{record['label']}.example/"} for record in rows(60)]
    path = write_rows(tmp_path / "all.jsonl", records)
    card = train_model(small([path]), tmp_path / "m.bin")
    assert card["split"]["by"] == "text" and "of the label 'science' are of the host 'science.example'" in card["split"]["why"]
    assert any("one host or source may be on both sides" in limit for limit in known_limits(card))
    sentence = r"'science' has documents of the host 'science\.example' only, so none can be .* and held out; .* split_by to text"
    with pytest.raises(UserError, match=sentence):
        train_model(small([path], split_by="host"), tmp_path / "m.bin")


def test_any_field_may_be_the_group_and_must_be_there(tmp_path: Path) -> None:
    records = [record | {"book": number // 2 % 9} for number, record in enumerate(rows(90))]
    path = write_rows(tmp_path / "all.jsonl", records)
    assert train_model(small([path], split_by="book"), tmp_path / "m.bin")["split"]["training_groups"] < 9
    with pytest.raises(UserError, match=r"no labelled document has a 'author' to split by; set split_by to text"):
        train_model(small([path], split_by="author"), tmp_path / "m.bin")
    with pytest.raises(UserError, match="no labelled document has a url or host to split by"):
        train_model(small([path], split_by="host"), tmp_path / "m.bin")


def test_a_text_in_several_groups_belongs_to_the_first_by_name(tmp_path: Path) -> None:
    records = [{"text": "same text", "label": label, "book": book} for label, book in (("a", "z"), ("a", "b"), ("c", "a"), ("c", None))]
    labelled = read_labelled(small([write_rows(tmp_path / "a.jsonl", records)], split_by="book"))
    assert {example.group for of_label in labelled.examples.values() for example in of_label} == {"a"}


def test_held_out_files_score_the_model_and_train_nothing(tmp_path: Path) -> None:
    records = rows(120)
    inputs = write_rows(tmp_path / "in.jsonl", records[:100])
    other = write_rows(tmp_path / "out.jsonl", records[90:])
    card = train_model(small([inputs], held_out_inputs=[other]), tmp_path / "m.bin")
    assert card["left_out"]["held out too"] == 10 and card["held_out"]["documents"] == 30
    assert sum(counts["training"] for counts in card["documents"].values()) == 90
    assert [(file["name"], file["side"]) for file in card["files"]] == [("in.jsonl", "training"), ("out.jsonl", "held_out")]
    bare = train_model(small([write_rows(tmp_path / "bare.jsonl", records[:90])], held_out_inputs=[other]), tmp_path / "bare.bin")
    assert bare["xxh3"] == card["xxh3"]


@pytest.mark.parametrize(
    ("held_out", "sentence"),
    [
        ([{"text": "a b c", "label": "sport"}], r"label 'science' has no document in held_out_inputs"),
        (
            [*rows(40, seed=3), {"text": "a b c", "label": "new"}],
            r"'new' has no document to train on: it stands only in held_out_inputs",
        ),
        (rows(20), r"label 'science' has no document to train on: each of its texts is in held_out_inputs too"),
        ([{"text": ".", "label": None}], r"has 'label', but no value in it"),
        ([{"text": "\u200b", "label": "sport"}], r"no readable document|has both words and a label in 'label', so nothing scores"),
    ],
)
def test_held_out_files_that_do_not_fit(tmp_path: Path, held_out: list[dict[str, Any]], sentence: str) -> None:
    paths = [write_rows(tmp_path / "in.jsonl", rows(20)), write_rows(tmp_path / "out.jsonl", held_out)]
    with pytest.raises(UserError, match=sentence):
        train_model(small(paths[:1], held_out_inputs=paths[1:]), tmp_path / "m.bin")


def test_letters_stand_in_the_cards(tmp_path: Path) -> None:
    card = train_model(small([write_rows(tmp_path / "all.jsonl", rows(60))], letters="jamo", minn=3, maxn=6), tmp_path / "m.bin")
    assert card["letters"] == "jamo" and card["settings"]["letters"] == "jamo"
    assert "pieces of words are of jamo" in (tmp_path / "m.md").read_text()


def test_autotune_is_repeatable_and_its_settings_alone_make_the_model(tmp_path: Path) -> None:
    inputs = [write_rows(tmp_path / "all.jsonl", with_hosts(rows(120), 30))]
    tuned = small(inputs, positive_label="science", autotune_seconds=1000, autotune_trials=3, letters="jamo")
    cards = [train_model(tuned, tmp_path / name / "m.bin") for name in ("one", "two")]
    assert cards[0]["xxh3"] == cards[1]["xxh3"]
    search = cards[0]["autotune"]
    assert search["objective"] == "auc" and search["stopped_by"] == "trials" and len(search["trials"]) == 3
    assert search["winner"] == max(range(3), key=lambda trial: (search["trials"][trial]["score"], -trial))
    assert all(trial["seconds"] > 0 for trial in search["trials"])
    settings = TrainConfig(inputs=inputs, **cards[0]["settings"])
    assert settings.autotune_seconds is None
    again = train_model(settings, tmp_path / "three" / "m.bin")
    assert (tmp_path / "one" / "m.bin").read_bytes() == (tmp_path / "three" / "m.bin").read_bytes()
    assert again["training_fingerprint"] == cards[0]["training_fingerprint"] and again["autotune"] is None
    assert "autotune: 3 of 3 trials, ended by trials" in render_card(cards[0])
    assert any(limit.startswith("Autotune compared settings on ") for limit in known_limits(cards[0]))


def test_autotune_needs_documents_to_validate_on(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "all.jsonl", [*rows(60), {"text": "lonely", "label": "rare"}, {"text": "alone", "label": "rare"}])
    with pytest.raises(UserError, match=r"kept for autotune's validation; give more of them, leave autotune_seconds out"):
        train_model(small([path], autotune_seconds=5), tmp_path / "m.bin")


def test_the_fingerprint_of_training_knows_lines_settings_and_build(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "all.jsonl", rows(60))
    card = train_model(small([path]), tmp_path / "1.bin")
    more = train_model(small([path], epoch=11), tmp_path / "2.bin")
    assert card["training_xxh3"] == more["training_xxh3"] and card["training_fingerprint"] != more["training_fingerprint"]
    assert card["training_fingerprint"] != training_fingerprint(card["training_xxh3"], {}, {"version": "", "xxh3": "other"})


def test_numbers_that_are_no_numbers(tmp_path: Path) -> None:
    """A NaN label is none; a column of nothing else is no label column."""
    records = rows(20)
    labels = [float(record["label"] == "sport") for record in records]
    texts = [record["text"] for record in records]
    pq.write_table(pa.table({"text": [*texts, "other words"], "label": [*labels, float("nan")]}), tmp_path / "some.parquet")
    labelled = read_labelled(small([str(tmp_path / "some.parquet")]))
    assert set(labelled.examples) == {"0", "1"} and labelled.left_out["without label"] == 1
    pq.write_table(pa.table({"text": texts, "label": [float("nan")] * 20}), tmp_path / "all.parquet")
    with pytest.raises(UserError, match="has 'label', but no value in it"):
        read_labelled(small([str(tmp_path / "all.parquet")]))
    pq.write_table(pa.table({"text": texts, "label": [float("inf")] * 20}), tmp_path / "inf.parquet")
    with pytest.raises(UserError, match=r"has 'label', but no value in it|has the label inf"):
        read_labelled(small([str(tmp_path / "inf.parquet")]))


@pytest.mark.parametrize("rate", [-1.0, 0.0, float("nan"), float("inf"), "fast"])
def test_learning_rates_that_make_no_sense(rate: Any) -> None:
    with pytest.raises(ValidationError, match="lr"):
        TrainConfig.model_validate({"inputs": ["a"], "lr": rate})


def test_a_model_whose_scores_are_no_numbers_is_not_written_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ran_away(model: Any, lines: list[str], labels: list[str]) -> np.ndarray:
        return np.full((len(lines), len(labels)), np.nan)

    monkeypatch.setattr("pipeline.classify.train.probabilities", ran_away)
    with pytest.raises(RunFailed, match=r"scores that are no numbers \(NaN\); lower the learning rate"):
        train_model(small([write_rows(tmp_path / "a.jsonl", rows(30))]), tmp_path / "m.bin")
    assert not (tmp_path / "m.json").exists()


def test_a_field_of_too_many_values_is_no_label(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"text": f"word {number // 2} {number}", "label": number // 2} for number in range(2500)])
    with pytest.raises(UserError, match=r"'label' has 1,250 different labels, and a model takes 1,000"):
        read_labelled(small([path]))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello there")
    with pytest.raises(UserError, match=r"must be JSONL or Parquet, and .*notes\.txt' is text"):
        check_labelled(small([str(tmp_path / "notes.txt")]))
    with pytest.raises(UserError, match="no file matches"):
        check_labelled(small([str(tmp_path / "nowhere.jsonl")]))
    for suffix in ("json", "md"):
        with pytest.raises(UserError, match=rf"\.{suffix} is its card's name"):
            train_model(small([write_rows(tmp_path / "a.jsonl", rows(10))]), tmp_path / f"m.{suffix}")


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


def test_the_command_passes_its_options_on(tmp_path: Path) -> None:
    records = with_hosts(rows(120), 20)
    inputs, other = write_rows(tmp_path / "in.jsonl", records[:90]), write_rows(tmp_path / "out.jsonl", records[90:])
    small_model = [f"--set={key}={value}" for key, value in {"dim": 8, "bucket": 2000, "epoch": 10, "autotune_trials": 2}.items()]
    options = ["--positive-label", "science", "--split-by", "host", "--held-out", other, "--autotune", "1000", *small_model, "--json"]
    done = CliRunner().invoke(app, ["classify", "train", inputs, "-o", str(tmp_path / "m.bin"), *options])
    assert done.exit_code == 0, done.output
    card = json.loads(done.stdout)
    assert card["split"]["by"] == "host" and card["split"]["held_out_inputs"] and len(card["autotune"]["trials"]) == 2
    assert card["held_out"]["documents"] == 30 and (tmp_path / "m.md").is_file()


def test_a_host_is_one_group_however_it_is_written(tmp_path: Path) -> None:
    ways = [{"url": "https://www.Site.com/1"}, {"host": "WWW.site.com."}, {"host": "site.com:8080"}, {"host": "http://site.com/"}]
    records = [record | ways[number % 4] for number, record in enumerate(rows(16))]
    records[-1] |= {"url": None, "host": " own name "}
    examples = read_labelled(small([write_rows(tmp_path / "all.jsonl", records)])).examples
    assert {example.group for of_label in examples.values() for example in of_label} == {"site.com", "own name"}


def test_a_model_that_can_not_be_scored_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "all.jsonl", rows(60))
    folder = tmp_path / "out"
    train_model(small([path]), folder / "m.bin")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    monkeypatch.setattr(train, "probabilities", lambda model, lines, labels: np.full((len(lines), len(labels)), np.nan))
    with pytest.raises(RunFailed, match="scores that are no numbers"):
        train_model(small([path], seed=8), folder / "m.bin")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
