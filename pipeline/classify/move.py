"""The classify move: train the models that are to be trained, then score every document, keep the best share, and apply the rules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.classify.config import DEFAULT_MAX_CHARS, ClassifyConfig, ModelConfig, TrainConfig
from pipeline.classify.keep_top import EVERY_OTHER, LIMIT_STEP, SCORE_STEP, LimitTask, ScoreTask, StoredScores, keep_top_of
from pipeline.classify.labelled import check_labelled, labelled_files
from pipeline.classify.predict import ModelFile, read_card
from pipeline.classify.score import Score
from pipeline.classify.scorer import open_scorer
from pipeline.classify.train import train_model
from pipeline.documents import DocumentReader
from pipeline.errors import UserError
from pipeline.files import is_url
from pipeline.refine.stages import Rules
from pipeline.segment import Segment
from pipeline.shards import file_facts
from pipeline.splits import Split
from pipeline.stage import Stage, missing_columns


@dataclass(frozen=True)
class TrainTask:
    """One model to train. settings: its TrainConfig as JSON values, without the inputs, whose content counts instead of their paths."""

    name: str
    settings: dict[str, Any]
    patterns: tuple[str, ...] = field(metadata={"fingerprint": False})
    files: tuple[str, ...] = field(metadata={"fingerprint": False})
    remote_fingerprints: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Labelled files on disk; remote ones count by size, start and end."""
        return tuple(path for path in self.files if not is_url(path))

    def __call__(self, folder: Path) -> dict[str, Any]:
        """Train into `folder`; the receipt says how well the model does."""
        card = train_model(TrainConfig(inputs=list(self.patterns), **self.settings), folder / f"{self.name}.bin")
        return {"documents": card["documents"], "held_out": card["held_out"], "languages": card["languages"]}


def check(config: ClassifyConfig) -> None:
    """Look at every model file and at the start of every labelled file. Raises UserError for one that can't be used."""
    for model in config.models:
        if model.train:
            check_labelled(model.train)
        else:
            existing_model(model)


def run(segment: Segment, splits: Sequence[Split], config: ClassifyConfig, available: frozenset[str]) -> list[Split]:
    """Train, score, keep the best share of each language (`keep_top`), apply the rules; returns the kept shards.

    With keep_top, scores and limits are stored in the steps `score` and `thresholds` first; other shares don't score again. available: the
    columns that the splits have. Raises UserError before any split is read for a rule or stage that needs a column nobody wrote, and
    for an unusable model.
    """
    rules = Rules(tuple(settings.rule() for settings in config.rules))
    missing = missing_columns((Score(()), rules), available)
    if missing:
        raise UserError(f"classify needs columns that its input lacks ({', '.join(missing)}); run the moves before it first")
    _check_languages(config, available)
    existing = {model.name: existing_model(model) for model in config.models if not model.train}
    tasks = [_task(model.name, model.train) for model in config.models if model.train]
    receipts = segment.step("train", tasks) if tasks else []
    tops = {model.name: model.top_labels for model in config.models}
    trained = {task.name: _trained_model(segment, task, receipt, tops[task.name]) for task, receipt in zip(tasks, receipts, strict=True)}
    models = tuple((existing | trained)[model.name] for model in sorted(config.models, key=lambda model: model.name))
    score = Score(models, config.domain_min_score, config.unknown_label)
    last = (rules,) if config.rules else ()
    if config.keep_top is None:
        return segment.rows(splits, DocumentReader(), (score, *last), columns=available | Score.writes)
    splits = sorted(splits, key=lambda split: split.name)
    scored = segment.step(SCORE_STEP, [ScoreTask(split, score) for split in splits])
    files = {str(receipt["name"]): next(iter(receipt["outputs"].items())) for receipt in scored}
    paths = {split: str(segment.step_folder(SCORE_STEP) / name) for split, (name, _) in files.items()}
    hashes = {split: str(facts["xxh3"]) for split, (_, facts) in files.items()}
    shares = tuple(sorted(config.keep_top.items()))
    segment.step(LIMIT_STEP, [LimitTask(shares, tuple(hashes.values()), tuple(paths.values()))])
    limits = json.loads((segment.step_folder(LIMIT_STEP) / f"{LIMIT_STEP}.json").read_text(encoding="utf-8"))
    for language in sorted(language for language, fact in limits.items() if fact["documents"] == 0):
        segment.progress.say(f"classify: keep_top names {language}, and no document is in that language")
    keep = keep_top_of(limits)

    def chain(split: Split) -> tuple[Stage, ...]:
        return (StoredScores(paths[split.name], hashes[split.name]), keep, *last)

    return segment.rows(splits, DocumentReader(), chain, columns=available | Score.writes)


def _check_languages(config: ClassifyConfig, available: frozenset[str]) -> None:
    named = sorted(set(config.keep_top or ()) - {EVERY_OTHER})
    if named and "lang" not in available:
        raise UserError(
            f"keep_top names {', '.join(named)} but the documents have no column lang; run refine first, or give '{EVERY_OTHER}' a share"
        )


def _task(name: str, settings: TrainConfig) -> TrainTask:
    files = [file for file, _ in labelled_files(settings)]
    remote = tuple(file.fingerprint for file in files if is_url(file.path))
    values = settings.model_dump(mode="json", exclude={"inputs"})
    return TrainTask(name, values, tuple(settings.inputs), tuple(file.path for file in files), remote)


def _trained_model(segment: Segment, task: TrainTask, receipt: dict[str, Any], top: int) -> ModelFile:
    path = segment.step_folder("train") / f"{task.name}.bin"
    return _model_file(task.name, path, str(receipt["outputs"][path.name]["xxh3"]), None, None, top)


def existing_model(model: ModelConfig) -> ModelFile:
    """The model file that the configuration names, loaded once to see that it can be.

    Raises UserError for a file that can't be used, and for a quality model whose positive label isn't known or isn't one of its labels.
    """
    path = Path(str(model.path))
    if not path.is_file():
        raise UserError(f"there is no {model.name} model '{path}'; check the path, or train one with `onnuri classify train`")
    facts = file_facts(path)
    return _model_file(model.name, path.absolute(), str(facts["xxh3"]), model.positive_label, model.max_chars, model.top_labels)


def _model_file(name: str, path: Path, fingerprint: str, positive_label: str | None, max_chars: int | None, top: int) -> ModelFile:
    card = read_card(path, fingerprint)
    labels = sorted(open_scorer(str(path), fingerprint).labels)
    written = {name: str(label) for name, label in card.get("labels", {}).items()}
    positive = ""
    if name == "quality":
        wanted = positive_label if positive_label is not None else card.get("positive_label")
        if wanted is None:
            raise UserError(f"the quality model '{path}' doesn't say which label is good; set positive_label to one of {', '.join(labels)}")
        found = [label for label in labels if wanted in (label, written.get(label))]
        if not found:
            raise UserError(f"the quality model '{path}' has no label '{wanted}'; set positive_label to one of {', '.join(labels)}")
        positive = found[0]
    differing = tuple((theirs, label) for theirs, label in sorted(written.items()) if theirs != label and theirs in labels)
    chars = max_chars or card.get("max_chars") or DEFAULT_MAX_CHARS
    return ModelFile(name, str(path), fingerprint, chars, differing, positive, card.get("letters") or "syllables", top)
