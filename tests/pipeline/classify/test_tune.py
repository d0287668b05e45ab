"""Autotune: the same trials in every run, the clock ends it between trials, the best wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pipeline.classify.config import TrainConfig
from pipeline.classify.divide import Document
from pipeline.classify.labelled import Example
from pipeline.classify.tune import CHOICES, PIECES, Tuned, candidate, tune
from pipeline.errors import RunFailed

DOCUMENTS = [Document(("bad", "good")[number % 2], Example(f"line {number}", "en")) for number in range(40)]


def settings(**changed: object) -> TrainConfig:
    return TrainConfig.model_validate({"inputs": ["a"], "positive_label": "good", "autotune_seconds": 10, **changed})


def search(asked: TrainConfig, quality: Callable[[int], float], clock: Callable[[], float] = lambda: 0.0) -> Tuned:
    """Tune with made-up models: trial n ranks this share of the good documents above the bad ones."""
    calls = 0

    def predict(trial: TrainConfig, training: Sequence[Document], validation: Sequence[Document]) -> np.ndarray:
        nonlocal calls
        right = quality(calls)
        calls += 1
        if np.isnan(right):
            raise RunFailed("numbers ran away")
        good = np.array([document.label == "good" for document in validation])
        known = np.arange(len(validation)) < right * len(validation)
        score = np.where(good & known, 0.9, 0.5)
        return np.column_stack([1 - score, score])

    return tune(asked, ["bad", "good"], DOCUMENTS, DOCUMENTS, lambda count: 10, predict, clock)


def test_candidates_are_fixed_start_with_the_settings_as_given_and_are_valid() -> None:
    for letters in ("syllables", "jamo"):
        asked = settings(letters=letters)
        assert candidate(0, asked, 10) == {}
        drawn = [candidate(trial, asked, 10) for trial in range(1, 200)]
        assert drawn == [candidate(trial, asked, 10) for trial in range(1, 200)]
        for changed in drawn:
            TrainConfig.model_validate(asked.model_dump() | changed)
        assert {(changed["minn"], changed["maxn"]) for changed in drawn} == set(PIECES[letters])
        assert all({changed[key] for changed in drawn} == set(values) for key, values in CHOICES.items())
        assert {changed["epoch"] for changed in drawn} == {5, 10, 20}
    other = settings(seed=8)
    assert [candidate(trial, other, 10) for trial in range(9)] != [candidate(trial, settings(), 10) for trial in range(9)]


def test_the_best_wins_and_the_earlier_of_equals() -> None:
    found = search(settings(autotune_trials=5), lambda trial: [0.2, 0.5, 0.9, 0.9, 0.1][trial])
    assert found.report["winner"] == 2 and found.report["stopped_by"] == "trials" and len(found.report["trials"]) == 5
    changed = candidate(2, settings(), 10)
    assert found.settings.model_dump() == settings(autotune_trials=5).model_dump() | changed | {"autotune_seconds": None}


def test_time_ends_the_search_between_trials() -> None:
    moments = iter(np.arange(0.0, 100.0, 2.0))
    found = search(settings(autotune_trials=9), lambda trial: 0.5, lambda: float(next(moments)))
    assert found.report["stopped_by"] == "seconds" and len(found.report["trials"]) == 2 and found.report["winner"] == 0
    assert [trial["seconds"] for trial in found.report["trials"]] == [2.0, 2.0]


def test_a_trial_that_fails_loses_and_all_failing_is_said() -> None:
    found = search(settings(autotune_trials=3), lambda trial: [float("nan"), 0.3, float("nan")][trial])
    assert found.report["winner"] == 1 and [trial["score"] is None for trial in found.report["trials"]] == [True, False, True]
    with pytest.raises(RunFailed, match="none of 2 trials could be trained; the last one: numbers ran away"):
        search(settings(autotune_trials=2), lambda trial: float("nan"))
