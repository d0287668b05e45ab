"""Scoring documents: the columns it writes, foreign and broken models, and the whole move in a segment."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.classify.config import ClassifyConfig, ModelConfig
from pipeline.classify.move import check, existing_model, run
from pipeline.classify.predict import ModelFile, read_card
from pipeline.classify.score import Score
from pipeline.classify.train import train_model
from pipeline.engine import LocalEngine
from pipeline.errors import UserError
from pipeline.progress import Progress
from pipeline.schema import BY_NAME, arrow_schema
from pipeline.segment import Segment
from pipeline.shards import file_facts
from pipeline.splits import DOCUMENTS, Part, Split
from tests.pipeline.classify.labelled_scene import rows, small, write_rows

SPORT, SCIENCE = "the coach and the striker won the league match", "an experiment on cell and atom energy in the laboratory"
TEXTS = [SPORT, SCIENCE, "", None, "축구 경기 선수"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    names = {"sport": "team sport", "science": "science"}
    labelled = write_rows(folder / "topics.jsonl", [row | {"label": names[row["label"]]} for row in rows(200)])
    train_model(small([labelled]), folder / "domain.bin")
    train_model(small([labelled], positive_label="science"), folder / "quality.bin")
    return folder


def table(texts: list[str | None]) -> pa.Table:
    return pa.table({"id": [str(number) for number in range(len(texts))], "text": texts}, schema=arrow_schema(["id", "text"]))


def both(folder: Path) -> tuple[ModelFile, ...]:
    return tuple(existing_model(ModelConfig(name=name, path=str(folder / f"{name}.bin"))) for name in ("domain", "quality"))  # type: ignore[arg-type]


def test_writes_labels_as_they_were_given_and_probabilities(models: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = Score(both(models))(table(TEXTS))
    assert result.column("domain").to_pylist() == ["team sport", "science", "unknown", "unknown", "team sport"]
    for name in ("domain_score", "quality"):
        values = result.column(name).to_pylist()
        assert [value is None for value in values] == [False, False, True, True, False]
        assert all(0.0 <= value <= 1.0 for value in values if value is not None)
        assert result.schema.field(name).type == BY_NAME[name].type
    quality = result.column("quality").to_pylist()
    assert quality[1] > 0.5 > quality[0]
    assert capfd.readouterr() == ("", "")


def test_batches_do_not_matter(models: Path) -> None:
    stage, whole = Score(both(models)), table(TEXTS * 3)
    alone = pa.concat_tables([stage(whole.slice(row, 1)) for row in range(len(whole))])
    assert alone.to_pylist() == stage(whole).to_pylist()
    assert stage(whole.slice(0, 0)).schema.equals(stage(whole).schema)


def test_a_weak_best_label_is_unknown(models: Path) -> None:
    result = Score(both(models)[:1], domain_min_score=1.0, unknown_label="other")(table(["zzz qqq"]))
    assert result.column("domain").to_pylist() == ["other"] and result.column("domain_score").to_pylist()[0] < 1.0


def test_several_models_in_one_pass_write_what_each_writes_alone(models: Path) -> None:
    wanted = [("topic", "domain.bin", None), ("domain", "domain.bin", 1), ("quality", "quality.bin", 2), ("short", "domain.bin", 5)]
    chars = {"short": 10}
    given = [ModelConfig(name=name, path=str(models / file), top=top, max_chars=chars.get(name)) for name, file, top in wanted]
    files = [existing_model(model) for model in given]
    together = Score(tuple(files))(table(TEXTS))
    alone = {file.name: Score((file,))(table(TEXTS)) for file in files}
    assert together.column("domain").equals(alone["domain"].column("domain"))
    assert together.column("quality").equals(alone["quality"].column("quality"))
    assert together.schema.field("labels").type == BY_NAME["labels"].type
    for row, listed in enumerate(together.column("labels").to_pylist()):
        parts = [alone[name].column("labels").to_pylist()[row] for name in ("domain", "quality", "short", "topic")]
        assert listed == [entry for part in parts for entry in part]
    first = together.column("labels").to_pylist()[0]
    assert [(entry["model"], entry["label"]) for entry in first if entry["model"] in ("domain", "topic")] == [
        ("domain", "team sport"),
        ("topic", "team sport"),
        ("topic", "science"),
    ]
    for entry_scores in ([entry["score"] for entry in first if entry["model"] == name] for name in ("topic", "quality", "short")):
        assert len(entry_scores) == 2 and entry_scores == sorted(entry_scores, reverse=True)
    assert together.column("labels").to_pylist()[2:4] == [[], []]
    assert "labels" not in Score(both(models))(table(TEXTS)).column_names


def test_letters_come_from_the_card(models: Path, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes((models / "domain.bin").read_bytes())
    (tmp_path / "m.json").write_text(json.dumps({"labels": {}, "letters": "jamo"}))
    found = existing_model(ModelConfig(name="domain", path=str(tmp_path / "m.bin")))
    assert found.letters == "jamo"
    scores = [Score((model,))(table(["축구 경기 선수"])).column("domain_score").to_pylist() for model in (found, both(models)[0])]
    assert scores[0] != scores[1]
    (tmp_path / "m.json").write_text(json.dumps({"labels": {}, "letters": "runes"}))
    with pytest.raises(UserError, match='is "runes", and this program knows syllables or jamo'):
        read_card(tmp_path / "m.bin", "")


def test_the_card_of_another_model_file_is_refused(models: Path, tmp_path: Path) -> None:
    """Copied over an older model, or quantised beside it, a file isn't what the card there tells of."""
    for name in ("m.bin", "m.ftz"):
        (tmp_path / name).write_bytes((models / "domain.bin").read_bytes())
    card = json.loads((models / "domain.json").read_text())
    (tmp_path / "m.json").write_text(json.dumps(card | {"xxh3": "0123456789abcdef"}))
    for name in ("m.bin", "m.ftz"):
        hashes = rf"\(0123456789abcdef, and '{name}' is {card['xxh3']}\)"
        with pytest.raises(UserError, match=rf"m\.json' belongs to another model file {hashes}; copy the model's own card, or remove it"):
            existing_model(ModelConfig(name="domain", path=str(tmp_path / name)))
    (tmp_path / "m.json").write_bytes((models / "domain.json").read_bytes())
    assert existing_model(ModelConfig(name="domain", path=str(tmp_path / "m.bin"))).labels == (("team_sport", "team sport"),)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ({"name": "topic", "path": "m.bin", "top": 0}, "with top 0 it would write nothing"),
        ({"name": "topic", "path": "m.bin", "positive_label": "x"}, "a topic model has no positive_label"),
        ({"name": "../topic", "path": "m.bin"}, "should match pattern"),
        ({"name": "t" * 33, "path": "m.bin"}, "should match pattern"),
        ({"name": "topic", "path": "m.bin", "top": -1}, "greater than or equal to 0"),
    ],
)
def test_bad_models_are_refused(model: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        ClassifyConfig.model_validate({"models": [model]})


def test_max_chars_cuts_the_text(models: Path) -> None:
    text = "the coach and the striker won " + "atom cell theory experiment " * 50
    model = existing_model(ModelConfig(name="domain", path=str(models / "domain.bin"), max_chars=30))
    assert Score((model,))(table([text])).column("domain").to_pylist() == ["team sport"]
    assert Score(both(models)[:1])(table([text])).column("domain").to_pylist() == ["science"]


def test_a_model_without_card_needs_its_positive_label(models: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.bin"
    bare.write_bytes((models / "quality.bin").read_bytes())
    with pytest.raises(UserError, match=r"doesn't say which label is good; set positive_label to one of science, team_sport"):
        existing_model(ModelConfig(name="quality", path=str(bare)))
    with pytest.raises(UserError, match=r"has no label 'good'; set positive_label to one of"):
        existing_model(ModelConfig(name="quality", path=str(bare), positive_label="good"))
    found = existing_model(ModelConfig(name="quality", path=str(bare), positive_label="science"))
    assert Score((found,))(table(TEXTS)).column("quality").to_pylist()[1] > 0.5
    (tmp_path / "bare.json").write_text("[1]")
    with pytest.raises(UserError, match="is no model card"):
        existing_model(ModelConfig(name="domain", path=str(bare)))


@pytest.mark.parametrize("max_chars", ["abc", -5, 0, True, 2.5, 100_001])
def test_a_card_with_bad_max_chars_is_refused(tmp_path: Path, max_chars: Any) -> None:
    (tmp_path / "m.json").write_text(json.dumps({"labels": {}, "max_chars": max_chars}))
    with pytest.raises(UserError, match=r"m\.json' is .*; make it a whole number from 1 to 100000") as caught:
        read_card(tmp_path / "m.bin", "")
    assert json.dumps(max_chars) in str(caught.value)


def test_a_card_may_lack_max_chars(tmp_path: Path) -> None:
    for card in ({"labels": {}}, {"labels": {}, "max_chars": None}, {"labels": {}, "max_chars": 100_000}):
        (tmp_path / "m.json").write_text(json.dumps(card))
        assert read_card(tmp_path / "m.bin", "") == card


def _changed(content: bytes, offset: int, value: int) -> bytes:
    return content[:offset] + struct.pack("<i", value) + content[offset + 4 :]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: b"hello", "is not a fastText model"),
        (lambda content: b"", "is not a fastText model"),
        (lambda content: _changed(content, 4, 99), "has fastText format 99, and this program reads 11 and 12"),
        (lambda content: content[:40], "is cut short"),
        (lambda content: content[: len(content) // 2], "is cut short|can't load the model"),
        (lambda content: _changed(content, 8 + 7 * 4, 2), "holds word vectors"),
    ],
)
def test_broken_models_are_refused_before_the_run(models: Path, tmp_path: Path, change: Any, sentence: str) -> None:
    (tmp_path / "m.bin").write_bytes(change((models / "domain.bin").read_bytes()))
    with pytest.raises(UserError, match=sentence):
        check(ClassifyConfig.model_validate({"models": [{"name": "domain", "path": str(tmp_path / "m.bin")}]}))


def test_check_finds_a_missing_model_and_bad_labels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no domain model"):
        check(ClassifyConfig.model_validate({"models": [{"name": "domain", "path": str(tmp_path / "m.bin")}]}))
    labelled = write_rows(tmp_path / "a.jsonl", rows(4))
    with pytest.raises(UserError, match="no label in 'kind'"):
        check(ClassifyConfig.model_validate({"models": [{"name": "domain", "train": {"inputs": [labelled], "label_column": "kind"}}]}))


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    """One worker for all tests here: starting one takes longer than what it does."""
    engine = LocalEngine(1)
    yield engine
    engine.close()


def test_run_trains_scores_and_applies_rules(models: Path, tmp_path: Path, engine: LocalEngine) -> None:
    labelled = write_rows(tmp_path / "labelled" / "topics.jsonl", rows(200))
    small_model = small([labelled]).model_dump(exclude_defaults=True) | {"inputs": [labelled]}
    config = ClassifyConfig.model_validate(
        {
            "models": [
                {"name": "quality", "train": small_model | {"positive_label": "science"}},
                {"name": "domain", "path": str(models / "domain.bin")},
            ],
            "rules": [{"column": "quality", "op": ">=", "threshold": 0.5}],
        }
    )
    source = tmp_path / "in.parquet"
    pq.write_table(table(TEXTS), source)
    facts = file_facts(source)
    split = Split("in", (Part(str(source), source.name, DOCUMENTS, "", facts["xxh3"], facts["bytes"]),))
    segment = Segment(tmp_path / "run", "classify", engine, Progress(quiet=True), config.min_kept_share)
    kept = run(segment, [split], config, frozenset({"id", "text"}))
    documents = pq.read_table(kept[0].parts[0].path)
    dropped = pq.read_table(tmp_path / "run" / "classify" / "dropped" / "in.parquet")
    assert documents.column("id").to_pylist() == ["1", "2", "3"]
    assert dropped.column("drop_reason").to_pylist() == ["quality<0.5"] * 2
    assert dropped.column("domain").to_pylist() == ["team sport"] * 2
    assert (tmp_path / "run" / "classify" / "steps" / "train" / "quality.bin").is_file()
    [receipt] = (tmp_path / "run" / "classify" / "steps" / "train" / "receipts").glob("*.json")
    assert json.loads(receipt.read_text())["held_out"]["auc"] > 0.9


def test_a_rule_on_a_column_that_is_not_there(models: Path, tmp_path: Path, engine: LocalEngine) -> None:
    given = {"models": [{"name": "domain", "path": str(models / "domain.bin")}], "rules": [{"column": "words", "op": ">", "threshold": 5}]}
    segment = Segment(tmp_path / "run", "classify", engine, Progress(quiet=True), 0.0)
    with pytest.raises(UserError, match=r"lacks \(rules: words\)"):
        run(segment, [], ClassifyConfig.model_validate(given), frozenset({"id", "text"}))
