"""The classify move: train the models that are to be trained, then score every document and apply the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.classify.config import DEFAULT_MAX_CHARS, ClassifyConfig, ModelConfig, TrainConfig
from pipeline.classify.labelled import check_labelled, labelled_files
from pipeline.classify.predict import ModelFile, Score, label_names, load_model, read_card
from pipeline.classify.train import train_model
from pipeline.documents import DocumentReader
from pipeline.errors import UserError
from pipeline.files import is_url
from pipeline.refine.stages import Rules
from pipeline.segment import Segment
from pipeline.shards import file_facts
from pipeline.splits import Split
from pipeline.stage import missing_columns


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
    """Train, score, apply the rules; returns the kept shards. `available`: the columns that the splits have.

    Raises UserError before any split is read for a rule or stage that needs a column nobody wrote, and for an unusable model.
    """
    rules = Rules(tuple(settings.rule() for settings in config.rules))
    missing = missing_columns((Score(()), rules), available)
    if missing:
        raise UserError(f"classify needs columns that its input lacks ({', '.join(missing)}); run the moves before it first")
    existing = {model.name: existing_model(model) for model in config.models if not model.train}
    tasks = [_task(model.name, model.train) for model in config.models if model.train]
    receipts = segment.step("train", tasks) if tasks else []
    trained = {task.name: _trained_model(segment, task, receipt) for task, receipt in zip(tasks, receipts, strict=True)}
    models = tuple((existing | trained)[model.name] for model in sorted(config.models, key=lambda model: model.name))
    score = Score(models, config.domain_min_score, config.unknown_label)
    chain = (score, rules) if config.rules else (score,)
    return segment.rows(splits, DocumentReader(), chain, columns=available | Score.writes)


def _task(name: str, settings: TrainConfig) -> TrainTask:
    files = [file for file, _ in labelled_files(settings)]
    remote = tuple(file.fingerprint for file in files if is_url(file.path))
    values = settings.model_dump(mode="json", exclude={"inputs"})
    return TrainTask(name, values, tuple(settings.inputs), tuple(file.path for file in files), remote)


def _trained_model(segment: Segment, task: TrainTask, receipt: dict[str, Any]) -> ModelFile:
    path = segment.step_folder("train") / f"{task.name}.bin"
    return _model_file(task.name, path, str(receipt["outputs"][path.name]["xxh3"]), None, None)


def existing_model(model: ModelConfig) -> ModelFile:
    """The model file that the configuration names, loaded once to see that it can be.

    Raises UserError for a file that can't be used, and for a quality model whose positive label isn't known or isn't one of its labels.
    """
    path = Path(str(model.path))
    if not path.is_file():
        raise UserError(f"there is no {model.name} model '{path}'; check the path, or train one with `onnuri classify train`")
    return _model_file(model.name, path.absolute(), str(file_facts(path)["xxh3"]), model.positive_label, model.max_chars)


def _model_file(column: str, path: Path, fingerprint: str, positive_label: str | None, max_chars: int | None) -> ModelFile:
    card = read_card(path)
    labels = label_names(load_model(str(path), fingerprint))
    written = {name: str(label) for name, label in card.get("labels", {}).items()}
    positive = ""
    if column == "quality":
        wanted = positive_label if positive_label is not None else card.get("positive_label")
        if wanted is None:
            raise UserError(f"the quality model '{path}' doesn't say which label is good; set positive_label to one of {', '.join(labels)}")
        found = [name for name in labels if wanted in (name, written.get(name))]
        if not found:
            raise UserError(f"the quality model '{path}' has no label '{wanted}'; set positive_label to one of {', '.join(labels)}")
        positive = found[0]
    differing = tuple((name, label) for name, label in sorted(written.items()) if name != label and name in labels)
    chars = max_chars or card.get("max_chars") or DEFAULT_MAX_CHARS
    return ModelFile(column, str(path), fingerprint, chars, differing, positive)
