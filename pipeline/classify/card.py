"""The model card: what a model learned from and how well it does, for programs (.json), for readers (.md) and for the terminal."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pipeline.classify.calibration import PERCENTILES
from pipeline.classify.divide import Document, Sides
from pipeline.classify.metrics import evaluate

_FEW = 100
"""Held-out documents of a language under which its measures are called uncertain: the standard error of an accuracy of 0.8 is 0.04 then."""

_FEW_TO_TUNE = 500
"""Validation documents under which trials of autotune differ by less than chance: on 50 the winner did no better than the settings as given
(docs/classify_quality.md)."""

_MARKS = frozenset("\\`*_[]<>|&~#$")
"""What Markdown and GitHub's dialect of it could take for emphasis, links, HTML, entities, cells or formulas inside a line."""


def document_counts(sides: Sides) -> dict[str, Any]:
    """Documents per label and side, and training documents per language and label."""
    named = {"training": sides.training, "held_out": sides.held_out}
    counted = {side: Counter(document.label for document in documents) for side, documents in named.items()}
    by_language: dict[str, Counter[str]] = defaultdict(Counter)
    for document in sides.training:
        by_language[document.example.language][document.label] += 1
    return {
        "documents": {label: {side: counted[side][label] for side in named} for label in sorted(counted["training"])},
        "training_languages": {language: dict(sorted(by_language[language].items())) for language in sorted(by_language)},
    }


def held_out_scores(labels: list[str], held_out: Sequence[Document], scores: np.ndarray, positive_label: str | None) -> dict[str, Any]:
    """Measures over all held-out documents, and the same (but for the confusion) of each language alone.

    scores: float64[held_out, labels].
    """
    truth = np.array([labels.index(document.label) for document in held_out], np.int64)
    languages = np.array([document.example.language for document in held_out])
    positive = None if positive_label is None else labels.index(positive_label)
    per_language = {}
    for language in sorted(set(languages.tolist())):
        rows = languages == language
        facts = evaluate(labels, truth[rows], scores[rows], positive)
        per_language[language] = {key: value for key, value in facts.items() if key != "confusion"}
    overall = evaluate(labels, truth, scores, positive)
    counts = zip(labels, overall["confusion"], strict=True)
    overall["confusion"] = {true: {label: count for label, count in zip(labels, row, strict=True) if count} for true, row in counts}
    return {"held_out": overall, "languages": per_language}


def render_card(card: dict[str, Any]) -> str:
    """The card for the terminal: what was learned from how much, and how well."""
    held_out = card["held_out"]
    size = sum(counts["training"] for counts in card["documents"].values())
    lines = [
        f"{card['model']}: a {card['kind']} model of {len(card['documents'])} labels, trained on {size:,} documents",
        f"held out: {held_out['documents']:,} documents ({_split(card)}), {_measures(held_out)}",
    ]
    lines += [f"  {language}: {facts['documents']:,} documents, {_measures(facts)}" for language, facts in card["languages"].items()]
    if card["autotune"]:
        lines.append(_search(card["autotune"]))
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


def readable_card(card: dict[str, Any]) -> str:
    """The card as Markdown. Labels and file names come from data, so they are escaped."""
    held_out = {"all": card["held_out"], **card["languages"]}
    score = "the best label" if card["positive_label"] is None else f"{_text(card['positive_label'])}"
    parts = [
        f"# {_text(card['model'])}",
        f"A {card['kind']} model of {len(card['documents'])} labels for fastText, made by Onnuri {_text(card['version'])}. "
        f"It reads the first {card['max_chars']:,} characters of a document; pieces of words are of {card['letters']}.",
        "## Learned from",
        _table(("file", "side", "bytes", "xxh3"), ((file["name"], file["side"], file["bytes"], file["xxh3"]) for file in card["files"])),
        _table(("label", "training", "held out"), ((label, *counts.values()) for label, counts in card["documents"].items())),
        "Left out: " + (", ".join(f"{count:,} {reason}" for reason, count in card["left_out"].items() if count) or "nothing") + ".",
        "## Measured on held-out documents",
        f"Split: {_text(_split(card))}.",
        _table(
            ("language", "documents", "accuracy", "macro F1", "AUC", "average precision", "calibration error", "Brier"),
            ((language, facts["documents"], *_summary(facts)) for language, facts in held_out.items()),
        ),
        "F1 of each label:",
        _table(
            ("label", *held_out),
            ((label, *(_of_label(facts, label) for facts in held_out.values())) for label in card["documents"]),
        ),
        "Predicted (columns) for each true label (rows):",
        _table(
            ("label", *card["documents"]),
            ((true, *(card["held_out"]["confusion"][true].get(label, 0) for label in card["documents"])) for true in card["documents"]),
        ),
        "## Scores",
        f"The score is the probability of {score}. Percentiles of the held-out documents; choose thresholds per language:",
        _table(
            ("language", *(f"p{percentile}" for percentile in PERCENTILES)),
            (
                (language, *(facts["percentiles"].get(str(percentile)) for percentile in PERCENTILES))
                for language, facts in held_out.items()
            ),
        ),
        "Reliability: ten bins of equally many documents, how probable they were said to be, and how many were so.",
        _table(
            ("language", "documents", "scores from", "to", "mean score", "true share"),
            ((language, *row.values()) for language, facts in held_out.items() for row in facts["calibration"]["reliability"]),
        ),
        *_search_section(card),
        "## Made by",
        _table(("setting", "value"), ((key, "" if value is None else value) for key, value in card["settings"].items())),
        f"Training fingerprint {card['training_fingerprint']} (lines {card['training_xxh3']}, settings, fastText "
        f"{_text(card['fasttext']['version'])} build {card['fasttext']['xxh3']}); model xxh3 {card['xxh3']}.",
        "## Known limits",
        "\n".join(f"- {limit}" for limit in known_limits(card)),
    ]
    return "\n\n".join(parts) + "\n"


def known_limits(card: dict[str, Any]) -> list[str]:
    """What the measures don't say, as Markdown sentences, from the card alone."""
    limits = []
    if card["split"]["by"] == "text" and not card["split"]["held_out_inputs"]:
        limits.append("Documents of one host or source may be on both sides: on hosts it has not seen the model may do worse.")
    few = [_text(language) for language, facts in card["languages"].items() if facts["documents"] < _FEW]
    if few:
        limits.append(f"Fewer than {_FEW} documents were held out in {', '.join(few)}: these measures are uncertain.")
    for language, counts in card["training_languages"].items():
        missing = [_text(label) for label in card["documents"] if label not in counts]
        if missing:
            limits.append(
                f"In {_text(language)} it saw no document of {', '.join(missing)}: it may take the language for a sign of the other labels."
            )
    if card["autotune"] and card["autotune"]["stopped_by"] == "seconds":
        limits.append("The time limit ended autotune: a faster or slower machine may choose other settings.")
    if card["autotune"] and card["autotune"]["validation_documents"] < _FEW_TO_TUNE:
        few_documents = card["autotune"]["validation_documents"]
        limits.append(f"Autotune compared settings on {few_documents} documents: which one won may be chance.")
    limits.append("Percentiles and calibration are those of these documents; a corpus with other shares of the labels has others.")
    limits.append(f"What follows after {card['max_chars']:,} characters of a document has no influence.")
    return limits


def _split(card: dict[str, Any]) -> str:
    if card["split"]["held_out_inputs"]:
        return "files of their own"
    split = card["split"]
    total = split["held_out_groups"] + split["training_groups"]
    return f"{split['held_out_groups']:,} of {total:,} groups, split by {split['by']}: {split['why']}"


def _search(search: dict[str, Any]) -> str:
    best, first = search["trials"][search["winner"]], search["trials"][0]
    changed = ", ".join(f"{key} {value}" for key, value in best["changed"].items()) or "the settings as given"
    scored = f"with {search['objective']} {_number(best['score'])} (trial 0: {_number(first['score'])})"
    return (
        f"autotune: {len(search['trials'])} of {search['trials_asked']} trials, ended by {search['stopped_by']}; "
        f"trial {search['winner']} won {scored}: {changed}"
    )


def _search_section(card: dict[str, Any]) -> list[str]:
    search = card["autotune"]
    if not search:
        return []
    keys = sorted({key for trial in search["trials"] for key in trial["changed"]})
    rows = (
        (number, *(trial["changed"].get(key, "as given") for key in keys), trial["score"], trial["seconds"])
        for number, trial in enumerate(search["trials"])
    )
    return ["## Autotune", _text(_search(search)) + ".", _table(("trial", *keys, search["objective"], "seconds"), rows)]


def _summary(facts: dict[str, Any]) -> tuple[Any, ...]:
    keys = ("accuracy", "macro_f1", "auc", "average_precision")
    return (*(facts.get(key) for key in keys), facts["calibration"]["expected_error"], facts["calibration"]["brier"])


def _of_label(facts: dict[str, Any], label: str) -> float | None:
    of_label = facts["labels"][label]
    return of_label["f1"] if of_label["documents"] else None


def _table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell if cell == "---" else _cell(cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _text(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _text(value: str) -> str:
    """Text of a user's data inside Markdown: _MARKS escaped (CommonMark 2.4), controls and invisible format marks as U+FFFD."""
    shown = ("\ufffd" if unicodedata.category(char)[0] == "C" else f"\\{char}" if char in _MARKS else char for char in value)
    return " ".join("".join(shown).split())


def _measures(facts: dict[str, Any]) -> str:
    return f"accuracy {_number(facts['accuracy'])}, macro F1 {_number(facts['macro_f1'])}, AUC {_number(facts['auc'])}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
