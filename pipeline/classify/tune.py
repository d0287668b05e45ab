"""Autotune: try a fixed list of settings on a part of the training documents, and take the best.

fastText's own autotune draws new settings as long as its clock runs, so two runs give two models. Here trial n has the same settings in
every run, and the clock only says how many trials there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash

from pipeline.classify.config import TrainConfig
from pipeline.classify.divide import Document, balanced
from pipeline.classify.metrics import evaluate
from pipeline.errors import RunFailed

CHOICES: dict[str, tuple[Any, ...]] = {
    "lr": (0.1, 0.25, 0.5, 1.0),
    "dim": (16, 32, 64, 100),
    "word_ngrams": (1, 2, 3),
    "bucket": (100_000, 200_000, 500_000),
}
"""What trials draw from: fastText's defaults (lr 0.1, dim 100, one word), ours, and what lies between. Half a million buckets of 100
numbers are a model of 200 MB, as much as a worker should hold."""

PASSES = (0.5, 1.0, 2.0)
"""Epochs of a trial, as multiples of those that the number of documents suggests."""

PIECES = {
    "syllables": ((0, 0), (1, 3), (2, 4), (2, 5), (3, 6)),
    "jamo": ((0, 0), (2, 6), (3, 6), (3, 9), (4, 8)),
}
"""minn and maxn of a trial, by what they count: a syllable is two or three jamo."""

Predict = Callable[[TrainConfig, Sequence[Document], Sequence[Document]], np.ndarray]
"""Train on the first documents, which are balanced, and return float64[n, labels] for the second."""


@dataclass(frozen=True)
class Tuned:
    """The winning settings, and what the card says of the search."""

    settings: TrainConfig
    report: dict[str, Any]


def candidate(trial: int, settings: TrainConfig, usual_epochs: int) -> dict[str, Any]:
    """The keys that trial number `trial` changes: none for number 0, the settings as given; the rest by hash of number and seed."""
    if trial == 0:
        return {}

    def draw(key: str, values: Sequence[Any]) -> Any:
        return values[xxhash.xxh3_64_intdigest(f"{key}\0{trial}".encode(), settings.seed) % len(values)]

    minn, maxn = draw("pieces", PIECES[settings.letters])
    epoch = max(1, round(usual_epochs * draw("epoch", PASSES)))
    return {key: draw(key, values) for key, values in CHOICES.items()} | {"minn": minn, "maxn": maxn, "epoch": epoch}


def tune(
    settings: TrainConfig,
    labels: Sequence[str],
    training: Sequence[Document],
    validation: Sequence[Document],
    usual_epochs: Callable[[int], int],
    predict: Predict,
    clock: Callable[[], float] = time.monotonic,
) -> Tuned:
    """Try settings until `autotune_trials` are done or `autotune_seconds` are over; the trial that is running then is finished.

    A trial trains on `training` and is scored on `validation`: AUC of the positive label, or macro F1 without one. The best score wins,
    the earlier trial among equals. usual_epochs: the epochs for a number of (balanced) documents. Raises RunFailed when each trial fails.
    """
    objective = "macro_f1" if settings.positive_label is None else "auc"
    positive = None if settings.positive_label is None else labels.index(settings.positive_label)
    truth = np.array([labels.index(document.label) for document in validation], np.int64)
    documents = balanced(training, settings)
    started = clock()
    trials: list[dict[str, Any]] = []
    best, failure = -1, None
    for number in range(settings.autotune_trials):
        began = clock()
        if number and began - started >= (settings.autotune_seconds or 0.0):
            break
        changed = candidate(number, settings, usual_epochs(len(documents)))
        score = None
        try:
            probabilities = predict(settings.model_copy(update=changed), documents, validation)
            score = evaluate(labels, truth, probabilities, positive)[objective]
        except RunFailed as error:  # numbers that ran away: these settings lose, the others may win
            failure = error
        trials.append({"changed": changed, "score": score, "seconds": round(clock() - began, 2)})
        if score is not None and (best < 0 or score > trials[best]["score"]):
            best = number
    if best < 0:
        raise RunFailed(f"autotune: none of {len(trials)} trials could be trained; the last one: {failure}") from failure
    report = {
        "objective": objective,
        "validation_documents": len(validation),
        "trials_asked": settings.autotune_trials,
        "seconds_asked": settings.autotune_seconds,
        "stopped_by": "trials" if len(trials) == settings.autotune_trials else "seconds",
        "winner": best,
        "trials": trials,
    }
    return Tuned(settings.model_copy(update=trials[best]["changed"] | {"autotune_seconds": None}), report)
