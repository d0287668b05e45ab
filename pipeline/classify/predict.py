"""Scores of every document by fastText models: the stage that writes `domain`, `domain_score` and `quality`."""

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.classify.lines import LABEL_PREFIX, normal_lines
from pipeline.errors import UserError
from pipeline.schema import with_columns

_MAGIC, _VERSIONS = 793712314, (11, 12)
"""First number of a fastText file, and the versions of its format that fastText 0.9 reads (`FastText::checkModel`)."""

_MOST_CHARS = 100_000
"""Most `max_chars` that the configuration takes (`ModelConfig.max_chars`); a card can't ask for more."""

_SUPERVISED = 3
_HEADER = struct.Struct("<2i12id3i2q")
"""Magic, version; dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate, t; entries, words, labels,
tokens, pruned (fastText `Args::save`, `Dictionary::save`)."""


@dataclass(frozen=True)
class ModelFile:
    """A model and how to use it.

    column: domain or quality. fingerprint: xxh3 of the file. labels: fastText's name of each label that is written differently.
    positive: fastText's name of the label whose probability is `quality`.
    """

    column: str
    path: str = field(metadata={"fingerprint": False})
    fingerprint: str
    max_chars: int
    labels: tuple[tuple[str, str], ...] = ()
    positive: str = ""


@functools.lru_cache(maxsize=8)
def load_model(path: str, fingerprint: str) -> Any:
    """The fastText model in a file, loaded once per process (`fingerprint` makes another file under the same name another model).

    Raises UserError for a file that is missing, isn't a supervised fastText model of a version that can be read, or is cut short.
    """
    _check_header(path)
    import fasttext

    try:
        model = fasttext.load_model(path)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise UserError(f"fastText can't load the model '{path}' ({error}); train it again, or get a complete copy") from error
    _check_size(path, model)
    return model


def _check_header(path: str) -> None:
    try:
        with open(path, "rb") as stream:
            head = stream.read(_HEADER.size)
    except OSError as error:
        raise UserError(f"can't read the model '{path}': {error.strerror}; check the path") from error
    if len(head) < 8 or struct.unpack_from("<i", head)[0] != _MAGIC:
        raise UserError(f"'{path}' is not a fastText model; give a .bin or .ftz file that fastText or `onnuri classify train` wrote")
    version = struct.unpack_from("<i", head, 4)[0]
    if version not in _VERSIONS:
        raise UserError(f"the model '{path}' has fastText format {version}, and this program reads 11 and 12; train it again")
    if len(head) < _HEADER.size:
        raise UserError(f"the model '{path}' is cut short; train it again, or get a complete copy")
    values = _HEADER.unpack(head)
    if values[9] != _SUPERVISED:
        raise UserError(f"the model '{path}' holds word vectors, not a classifier; give a supervised fastText model")
    if values[17] < 2:
        raise UserError(f"the model '{path}' knows {values[17]} label; give a model of at least two")


def _check_size(path: str, model: Any) -> None:
    """fastText reads past the end of a file without a word; a file smaller than its matrices must have lost its end."""
    if model.f.isQuant():
        return
    matrices = sum(np.asarray(matrix).nbytes for matrix in (model.f.getInputMatrix(), model.f.getOutputMatrix()))
    if Path(path).stat().st_size < _HEADER.size + matrices:
        raise UserError(f"the model '{path}' is cut short; train it again, or get a complete copy")


def label_names(model: Any) -> list[str]:
    """fastText's names of a model's labels, sorted, without their prefix."""
    return sorted(str(label).removeprefix(LABEL_PREFIX) for label in model.get_labels())


def read_card(model_path: Path) -> dict[str, Any]:
    """The model card beside a model file; empty when there is none. Raises UserError for one that isn't a card or has a bad `max_chars`."""
    path = card_path(model_path)
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"can't read the model card '{path}': {error}; remove it, or train the model again") from error
    if not isinstance(card, dict) or not isinstance(card.get("labels"), dict):
        raise UserError(f"'{path}' is no model card (it has no 'labels'); rename it, or train the model again")
    chars = card.get("max_chars")
    if chars is not None and (type(chars) is not int or not 1 <= chars <= _MOST_CHARS):  # isinstance would take true for 1
        raise UserError(f"max_chars in the model card '{path}' is {json.dumps(chars)}; make it a whole number from 1 to {_MOST_CHARS}")
    return card


def card_path(model_path: Path) -> Path:
    """Where the card of a model is: beside it, ending in .json."""
    return model_path.with_suffix(".json")


def probabilities(model: Any, lines: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """float64[len(lines), len(labels)] in 0 to 1, for lines as `normal_lines` makes them.

    One call per line: `multilinePredict` of the 0.10 builds was measured slower (it makes an array per line).
    """
    columns = {LABEL_PREFIX + label: index for index, label in enumerate(labels)}
    result = np.zeros((len(lines), len(labels)), np.float64)
    for row, line in enumerate(lines):
        for probability, label in model.f.predict(line + "\n", -1, 0.0, "strict"):
            result[row, columns[label]] = probability
    return np.clip(result, 0.0, 1.0)


@dataclass(frozen=True)
class Score:
    """Writes the score columns. A document without words has the domain `unknown_label` and no scores.

    models: at most one per column. domain_min_score: a best label less probable than this becomes `unknown_label`.
    """

    models: tuple[ModelFile, ...]
    domain_min_score: float = 0.0
    unknown_label: str = "unknown"

    name: ClassVar[str] = "classify"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    writes: ClassVar[frozenset[str]] = frozenset({"domain", "domain_score", "quality"})

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with `domain` and `domain_score`, or `quality`, or all three. Raises UserError for a model that can't be loaded."""
        for model_file in self.models:
            model = load_model(model_file.path, model_file.fingerprint)
            lines = normal_lines(table.column("text"), model_file.max_chars)
            has_words = pa.array([line != "" for line in lines])
            if model_file.column == "quality":
                score = self._quality(model, model_file, lines)
                table = with_columns(table, {"quality": pc.if_else(has_words, pa.array(score), None)})
            else:
                domain, score = self._domain(model, model_file, lines)
                domain_column = pc.if_else(has_words, pa.array(domain, pa.string()), self.unknown_label)
                table = with_columns(table, {"domain": domain_column, "domain_score": pc.if_else(has_words, pa.array(score), None)})
        return table

    def _quality(self, model: Any, model_file: ModelFile, lines: list[str]) -> np.ndarray:
        labels = label_names(model)
        return np.ascontiguousarray(probabilities(model, lines, labels)[:, labels.index(model_file.positive)])

    def _domain(self, model: Any, model_file: ModelFile, lines: list[str]) -> tuple[list[str], np.ndarray]:
        written = dict(model_file.labels)
        best = [model.f.predict(line + "\n", 1, 0.0, "strict") for line in lines]
        scores = np.array([min(found[0][0], 1.0) if found else 0.0 for found in best], np.float64)
        names = [found[0][1].removeprefix(LABEL_PREFIX) if found else "" for found in best]
        sure = scores >= self.domain_min_score
        return [written.get(name, name) if name and keep else self.unknown_label for name, keep in zip(names, sure, strict=True)], scores
