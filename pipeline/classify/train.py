"""Train a fastText model from labelled documents, score it on held-out ones, and write the model with its cards."""

from __future__ import annotations

import importlib.metadata
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import xxhash

from pipeline import __version__
from pipeline.classify.card import document_counts, held_out_scores, readable_card
from pipeline.classify.config import TrainConfig
from pipeline.classify.divide import Document, balanced, divide, divide_labelled, resolve_split
from pipeline.classify.fit import fit
from pipeline.classify.labelled import Examples, read_labelled
from pipeline.classify.lines import LABEL_PREFIX
from pipeline.classify.predict import card_path, probabilities
from pipeline.classify.tune import tune
from pipeline.errors import RunFailed, UserError
from pipeline.segment import write_json
from pipeline.shards import file_facts

HYPERPARAMETERS = {
    "dim": "dim",
    "lr": "lr",
    "word_ngrams": "wordNgrams",
    "min_count": "minCount",
    "minn": "minn",
    "maxn": "maxn",
    "bucket": "bucket",
    "seed": "seed",
}
"""Settings that go to fastText as they are, and its names for them."""

_EXAMPLES, _EXAMPLES_PER_LABEL, _FEWEST_EPOCHS, _MOST_EPOCHS = 50_000, 12_500, 5, 50
"""Where no epochs are given, about so many documents are shown, whichever is more: each is one update, and with few updates fastText learns
only the most frequent labels. Measured in docs/classify.md and docs/classify_quality.md (petitions)."""

_LINES = "lines.txt"


def train_model(settings: TrainConfig, out: Path) -> dict[str, Any]:
    """Train on the labelled documents, write the model to `out` and its cards beside it (.json and .md), and return the first.

    Equal documents and settings give byte-identical models on one build of fastText, whatever the order of files and rows; with
    `autotune_seconds`, if the clock stops at the same trial. `settings` of the card, with the same inputs, give the model without a search.
    Raises UserError for labels that can't be learned from or a path that can't be written, RunFailed when fastText gives up.
    """
    if out.suffix in (".json", ".md"):
        raise UserError(f"the model can't be written to '{out}': {out.suffix} is its card's name; give one that ends in .bin")
    labelled = read_labelled(settings)
    names = fasttext_names(labelled.examples)
    split_by, why = resolve_split(labelled.examples, settings)
    settings = settings.model_copy(update={"split_by": split_by})
    sides = divide_labelled(labelled, settings)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".training-") as name:
            folder = Path(name)
            settings, search = autotuned(settings, sides.training, names, folder)
            trained = train_documents(settings, balanced(sides.training, settings), names, folder)
            model = folder / out.name
            trained.model.save_model(str(model))
            build = fasttext_build()
            split = {"by": split_by, "why": why, "held_out_inputs": bool(settings.held_out_inputs)}
            given = settings.model_dump(mode="json", exclude={"inputs", "held_out_inputs"})
            scores = score_documents(trained.model, sides.held_out, names)
            card = {
                "kind": "domain" if settings.positive_label is None else "quality",
                "version": __version__,
                "model": out.name,
                "xxh3": file_facts(model)["xxh3"],
                "training_xxh3": trained.lines_xxh3,
                "training_fingerprint": training_fingerprint(trained.lines_xxh3, trained.parameters, build),
                "fasttext": build,
                "labels": {name: label for label, name in names.items()},
                "positive_label": settings.positive_label,
                "max_chars": settings.max_chars,
                "letters": settings.letters,
                "files": labelled.files,
                "split": split | {"training_groups": sides.training_groups, "held_out_groups": sides.held_out_groups},
                **document_counts(sides),
                "left_out": labelled.left_out,
                **held_out_scores(list(names), sides.held_out, scores, settings.positive_label),
                "autotune": search,
                "settings": given | {"epoch": trained.parameters["epoch"]},
            }
            readable = out.with_suffix(".md")
            write_json(folder / card_path(out).name, card)
            (folder / readable.name).write_text(readable_card(card), encoding="utf-8")
            for path in (out, card_path(out), readable):  # nothing of an older model is touched before all is made
                os.replace(folder / path.name, path)
    except OSError as error:
        raise UserError(f"can't write the model '{out}': {error.strerror or error}; give another path or free space") from error
    return card


def fasttext_names(labels: Iterable[str]) -> dict[str, str]:
    """fastText's name of each label: it reads a label up to the next blank, so blanks become `_`."""
    names: dict[str, str] = {}
    for label in labels:
        name = re.sub(r"[\s\x00]+", "_", label)
        twin = next((other for other, taken in names.items() if taken == name), None)
        if twin is not None:
            raise UserError(f"the labels '{twin}' and '{label}' differ only in blanks and '_'; rename one of them")
        names[label] = name
    return names


def fasttext_build() -> dict[str, str]:
    """The fastText that trains: its version, and the xxh3 of its compiled part, which decides every rounding."""
    import fasttext_pybind

    return {"version": importlib.metadata.version("fasttext-numpy2"), "xxh3": str(file_facts(Path(fasttext_pybind.__file__))["xxh3"])}


def training_fingerprint(lines_xxh3: str, parameters: dict[str, Any], build: dict[str, str]) -> str:
    """What makes the model what it is, as one number: its training lines, fastText's parameters, and the build of fastText."""
    return xxhash.xxh3_64_hexdigest(orjson.dumps([lines_xxh3, parameters, build["xxh3"]], option=orjson.OPT_SORT_KEYS))


def autotuned(
    settings: TrainConfig, training: Sequence[Document], names: dict[str, str], folder: Path
) -> tuple[TrainConfig, dict[str, Any] | None]:
    """The settings to train with, and what autotune did to find them, if it was asked for."""
    if settings.autotune_seconds is None:
        return settings, None
    examples: Examples = {label: [] for label in names}
    for document in training:
        examples[document.label].append(document.example)
    inner = divide(examples, settings.held_out_share, settings.seed, "validation", settings.split_by)

    def predict(trial: TrainConfig, documents: Sequence[Document], validation: Sequence[Document]) -> np.ndarray:
        return score_documents(train_documents(trial, documents, names, folder).model, validation, names)

    tuned = tune(settings, list(names), inner.training, inner.held_out, partial(usual_epochs, labels=len(names)), predict)
    return tuned.settings, tuned.report


def usual_epochs(documents: int, labels: int) -> int:
    """Passes over so many documents of so many labels, where the settings don't say."""
    examples = max(_EXAMPLES, labels * _EXAMPLES_PER_LABEL)
    return min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, -(-examples // documents)))


@dataclass(frozen=True)
class Trained:
    """A fastText model, the xxh3 of the file of lines it was trained on, and fastText's parameters."""

    model: Any
    lines_xxh3: str
    parameters: dict[str, Any]


def train_documents(settings: TrainConfig, documents: Sequence[Document], names: dict[str, str], folder: Path) -> Trained:
    """A model of these documents, in this order. Writes its lines to `folder`."""
    path = folder / _LINES
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for document in documents:
            stream.write(f"{LABEL_PREFIX}{names[document.label]} {document.example.line}\n")
    parameters = {theirs: getattr(settings, ours) for ours, theirs in HYPERPARAMETERS.items()}
    parameters["epoch"] = settings.epoch or usual_epochs(len(documents), len(names))
    return Trained(fit(path, parameters), str(file_facts(path)["xxh3"]), parameters)


def score_documents(model: Any, documents: Sequence[Document], names: dict[str, str]) -> np.ndarray:
    """float64[documents, labels]: the model's probabilities. Raises RunFailed for a model whose numbers ran away."""
    found = probabilities(model, [document.example.line for document in documents], list(names.values()))
    if not np.isfinite(found).all():
        raise RunFailed("the trained model gives scores that are no numbers (NaN); lower the learning rate lr and train again")
    return found
