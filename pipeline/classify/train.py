"""Train a fastText model from labelled documents, score it on held-out ones, and write the model with its card."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from pipeline import __version__
from pipeline.classify.config import TrainConfig
from pipeline.classify.fit import fit
from pipeline.classify.labelled import Example, read_labelled
from pipeline.classify.lines import LABEL_PREFIX
from pipeline.classify.metrics import evaluate
from pipeline.classify.predict import card_path, probabilities
from pipeline.errors import UserError
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

_EXAMPLES, _FEWEST_EPOCHS, _MOST_EPOCHS = 50_000, 5, 50
"""Where no epochs are given, about so many documents are shown: each is one update, and with few updates fastText learns only the most
frequent label. Measured in docs/classify.md."""


@dataclass(frozen=True)
class _Document:
    label: str
    example: Example


def train_model(settings: TrainConfig, out: Path) -> dict[str, Any]:
    """Train on the labelled documents, write the model to `out` and its card beside it (ending in .json), and return the card.

    Equal documents and settings give byte-identical files on one build of fastText, whatever the order of files and rows.
    Raises UserError for labels that can't be learned from or a path that can't be written, RunFailed when fastText gives up.
    """
    if card_path(out) == out:
        raise UserError(f"the model can't be written to '{out}': .json is its card's name; give one that ends in .bin")
    labelled = read_labelled(settings)
    names = _fasttext_names(labelled.examples)
    training, held_out = _divide(labelled.examples, settings)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".training-") as folder:
            lines_path = Path(folder) / "lines.txt"
            balanced = _balanced(training, settings)
            _write_lines(lines_path, balanced, names)
            epochs = settings.epoch or min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, -(-_EXAMPLES // len(balanced))))
            model = fit(lines_path, {theirs: getattr(settings, ours) for ours, theirs in HYPERPARAMETERS.items()} | {"epoch": epochs})
            lines_xxh3 = str(file_facts(lines_path)["xxh3"])
            temporary = Path(folder) / out.name
            model.save_model(str(temporary))
            os.replace(temporary, out)
    except OSError as error:
        raise UserError(f"can't write the model '{out}': {error.strerror or error}; give another path or free space") from error
    scores = probabilities(model, [document.example.line for document in held_out], [names[label] for label in labelled.examples])
    card = {
        "kind": "domain" if settings.positive_label is None else "quality",
        "version": __version__,
        "model": out.name,
        "xxh3": file_facts(out)["xxh3"],
        "training_xxh3": lines_xxh3,
        "labels": {name: label for label, name in names.items()},
        "positive_label": settings.positive_label,
        "max_chars": settings.max_chars,
        "documents": _counts(training, held_out),
        "left_out": labelled.left_out,
        **_held_out_scores(list(labelled.examples), held_out, scores, settings.positive_label),
        "settings": settings.model_dump(mode="json", exclude={"inputs"}) | {"epoch": epochs},
    }
    write_json(card_path(out), card)
    return card


def _fasttext_names(labels: Sequence[str] | dict[str, Any]) -> dict[str, str]:
    """fastText's name of each label: it reads a label up to the next blank, so blanks become `_`."""
    names: dict[str, str] = {}
    for label in labels:
        name = re.sub(r"[\s\x00]+", "_", label)
        twin = next((other for other, taken in names.items() if taken == name), None)
        if twin is not None:
            raise UserError(f"the labels '{twin}' and '{label}' differ only in blanks and '_'; rename one of them")
        names[label] = name
    return names


def _divide(examples: dict[str, list[Example]], settings: TrainConfig) -> tuple[list[_Document], list[_Document]]:
    """Training and held-out documents. A text goes by its own hash, so that copies under any label or source are on one side."""
    training: list[_Document] = []
    held_out: list[_Document] = []
    bound = int(settings.held_out_share * 2**64)
    for label, of_label in examples.items():
        before = len(training)
        for example in of_label:
            side = held_out if xxhash.xxh3_64_intdigest(b"held-out\0" + example.line.encode(), settings.seed) < bound else training
            side.append(_Document(label, example))
        if len(training) == before:
            count = f"only {len(of_label)} distinct document{'s' if len(of_label) > 1 else ''}"
            raise UserError(f"the label '{label}' has {count}, and none is left to train on; give more of them, or leave the label out")
    return training, held_out


def _balanced(documents: Sequence[_Document], settings: TrainConfig) -> list[_Document]:
    """Documents repeated or cut so that labels weigh more alike, in an order that only their content and the seed decide."""
    counts = Counter(document.label for document in documents)
    goals = dict(counts)
    if settings.balance == "limit":
        goals = dict.fromkeys(counts, min(counts.values()))
    elif settings.balance == "oversample":
        goals = {label: min(max(counts.values()), count * settings.max_repeats) for label, count in counts.items()}
    ordered: list[tuple[int, int, _Document]] = []
    for label in sorted(counts):
        of_label = [document for document in documents if document.label == label]
        for place in range(goals[label]):
            copy, index = divmod(place, len(of_label))
            content = f"{copy}\0{label}\0{of_label[index].example.line}".encode()
            ordered.append((xxhash.xxh3_64_intdigest(content, settings.seed), len(ordered), of_label[index]))
    return [document for _, _, document in sorted(ordered, key=lambda entry: entry[:2])]


def _write_lines(path: Path, documents: Sequence[_Document], names: dict[str, str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for document in documents:
            stream.write(f"{LABEL_PREFIX}{names[document.label]} {document.example.line}\n")


def _counts(training: Sequence[_Document], held_out: Sequence[_Document]) -> dict[str, dict[str, int]]:
    sides = {"training": training, "held_out": held_out}
    counted = {side: Counter(document.label for document in documents) for side, documents in sides.items()}
    return {label: {side: counted[side][label] for side in sides} for label in sorted(counted["training"])}


def _held_out_scores(labels: list[str], held_out: Sequence[_Document], scores: np.ndarray, positive_label: str | None) -> dict[str, Any]:
    """Scores over all held-out documents, and the same for each language alone."""
    truth = np.array([labels.index(document.label) for document in held_out], np.int64)
    languages = np.array([document.example.language for document in held_out])
    positive = None if positive_label is None else labels.index(positive_label)
    per_language = {}
    for language in sorted(set(languages.tolist())):
        rows = languages == language
        facts = evaluate(labels, truth[rows], scores[rows], positive)
        per_language[language] = {key: value for key, value in facts.items() if key != "labels"}
    return {"held_out": evaluate(labels, truth, scores, positive), "languages": per_language}


def render_card(card: dict[str, Any]) -> str:
    """The card for a person: what was learned from how much, and how well."""
    held_out = card["held_out"]
    size = sum(counts["training"] for counts in card["documents"].values())
    lines = [
        f"{card['model']}: a {card['kind']} model of {len(card['documents'])} labels, trained on {size:,} documents",
        f"held out: {held_out['documents']:,} documents, {_measures(held_out)}",
    ]
    lines += [f"  {language}: {facts['documents']:,} documents, {_measures(facts)}" for language, facts in card["languages"].items()]
    width = max(len(label) for label in card["documents"])
    lines.append(f"{'label':<{width}}  training  held out  precision  recall      F1")
    for label, counts in card["documents"].items():
        facts = held_out["labels"][label]
        shown = [f"{_number(facts[key]):>{space}}" for key, space in (("precision", 9), ("recall", 6), ("f1", 6))]
        lines.append(f"{label:<{width}}  {counts['training']:>8,}  {counts['held_out']:>8,}  {'  '.join(shown)}")
    left_out = [f"{count:,} {reason}" for reason, count in card["left_out"].items() if count]
    if left_out:
        lines.append(f"left out: {', '.join(left_out)}")
    return "\n".join(lines)


def _measures(facts: dict[str, Any]) -> str:
    return f"accuracy {_number(facts['accuracy'])}, macro F1 {_number(facts['macro_f1'])}, AUC {_number(facts['auc'])}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
