"""The stage that scores every document: it writes `domain` and `domain_score`, `quality`, and `labels`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.classify.normal import normal_texts
from pipeline.classify.predict import ModelFile
from pipeline.classify.scorer import Scorer, open_scorer, score
from pipeline.schema import LABEL, with_columns


@dataclass(frozen=True)
class _Best:
    """What one model says of a table's rows. is_known: bool[n], whether it knows anything of the row. labels: int64[n, k], the numbers of
    the likeliest, best first. scores: float64[n, k], theirs. chosen: float64[n], the score of the positive label; none without one."""

    is_known: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    chosen: np.ndarray


@dataclass(frozen=True)
class Score:
    """Writes the score columns of all models. Texts are prepared once for all that see them the same way.

    A document of which a model knows nothing (no word, piece or run of words that has a row in it; the row of `</s>`, the end of every
    line, doesn't count) has the domain `unknown_label` and neither scores nor labels of that model. Pieces and runs have rows whether
    they were seen in training or not: to a model with them, only documents without words are unknown.

    models: at most one named domain and one named quality. domain_min_score: a best label less probable than this becomes
    `unknown_label`.
    """

    models: tuple[ModelFile, ...]
    domain_min_score: float = 0.0
    unknown_label: str = "unknown"

    name: ClassVar[str] = "classify"
    version: ClassVar[str] = "3"
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    writes: ClassVar[frozenset[str]] = frozenset({"domain", "domain_score", "quality", "labels"})

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with the columns of its models. Raises UserError for a model that can't be loaded."""
        sights: dict[tuple[int, Any], list[ModelFile]] = defaultdict(list)
        for model in self.models:
            sights[model.max_chars, model.letters].append(model)
        found: dict[str, tuple[ModelFile, Scorer, _Best]] = {}
        for (max_chars, letters), models in sights.items():
            scorers = [open_scorer(model.path, model.fingerprint) for model in models]
            lines = normal_texts(table.column("text"), max_chars, letters)
            for model, scorer, best in zip(models, scorers, _best(models, scorers, lines), strict=True):
                found[model.name] = model, scorer, best
        columns: dict[str, Any] = {}
        if "quality" in found:
            best = found["quality"][2]
            columns["quality"] = pa.array(best.chosen, mask=~best.is_known)
        if "domain" in found:
            columns |= self._domain(*found["domain"])
        listed = [found[name] for name in sorted(found) if found[name][0].top]
        if listed:
            columns["labels"] = _labels(listed)
        return with_columns(table, columns)

    def _domain(self, model: ModelFile, scorer: Scorer, best: _Best) -> dict[str, Any]:
        scores = best.scores[:, 0]
        is_sure = pa.array(best.is_known & (scores >= self.domain_min_score))
        names = _written(model, scorer).take(pa.array(best.labels[:, 0]))
        domain = pc.if_else(is_sure, names, pa.scalar(self.unknown_label))
        return {"domain": domain, "domain_score": pa.array(scores, mask=~best.is_known)}


def _best(models: Sequence[ModelFile], scorers: Sequence[Scorer], lines: pa.Array) -> list[_Best]:
    """What each model says of each line; of all its scores, only those that are written are kept."""
    positives = [scorer.labels.index(model.positive) if model.positive else 0 for model, scorer in zip(models, scorers, strict=True)]
    wanted = [min(max(model.top, 1), len(scorer.labels)) for model, scorer in zip(models, scorers, strict=True)]
    found = [
        _Best(np.zeros(len(lines), np.bool_), np.zeros((len(lines), k), np.int64), np.zeros((len(lines), k)), np.zeros(len(lines)))
        for k in wanted
    ]
    for begin, results in score(scorers, lines):
        for best, positive, (scores, is_known) in zip(found, positives, results, strict=True):
            rows = slice(begin, begin + len(scores))
            labels = top(scores, best.labels.shape[1])
            best.is_known[rows], best.labels[rows] = is_known, labels
            best.scores[rows] = np.take_along_axis(scores, labels, axis=1)
            best.chosen[rows] = scores[:, positive]
    return found


def top(scores: np.ndarray, count: int) -> np.ndarray:
    """int64[n, count]: the columns of the highest scores (float64[n, m]) of each row, best first; of equal ones the first in the model."""
    if count == 1:
        return scores.argmax(axis=1)[:, None]
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def _written(model: ModelFile, scorer: Scorer) -> pa.Array:
    """The labels of a model as they are written."""
    written = dict(model.labels)
    return pa.array([written.get(label, label) for label in scorer.labels], pa.string())


def _labels(listed: Sequence[tuple[ModelFile, Scorer, _Best]]) -> pa.Array:
    """The column `labels`: of each row the entries of all models that know it."""
    sizes = sum(best.is_known.astype(np.int32) * best.labels.shape[1] for _, _, best in listed)
    mask = np.concatenate([np.repeat(best.is_known[:, None], best.labels.shape[1], axis=1) for _, _, best in listed], axis=1).ravel()
    names = [model.name for model, scorer, _ in listed for _ in scorer.labels]
    labels = [_written(model, scorer) for model, scorer, _ in listed]
    starts = np.cumsum([0, *(len(scorer.labels) for _, scorer, _ in listed)])
    numbers = np.concatenate([best.labels + start for start, (_, _, best) in zip(starts, listed, strict=False)], axis=1).ravel()[mask]
    fields = [pa.array(names, pa.string()).take(pa.array(numbers)), pa.concat_arrays(labels).take(pa.array(numbers))]
    fields.append(pa.array(np.concatenate([best.scores for _, _, best in listed], axis=1).ravel()[mask]))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(fields, fields=list(LABEL)))
