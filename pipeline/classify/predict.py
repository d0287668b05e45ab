"""Models as files with a card beside them: what the card says of how to use one, and the fastText library's view of it."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from pipeline.classify.fasttext_file import read_model
from pipeline.classify.lines import LABEL_PREFIX, Letters
from pipeline.errors import UserError

_MOST_CHARS = 100_000
"""Most `max_chars` that the configuration takes (`ModelConfig.max_chars`); a card can't ask for more."""


@dataclass(frozen=True)
class ModelFile:
    """A model and how to use it.

    name: domain, quality or another. fingerprint: xxh3 of the file. labels: fastText's name of each label that is written differently.
    positive: fastText's name of the label whose probability is `quality`. top: how many labels of a document go to `labels`.
    """

    name: str
    path: str = field(metadata={"fingerprint": False})
    fingerprint: str
    max_chars: int
    labels: tuple[tuple[str, str], ...] = ()
    positive: str = ""
    letters: Letters = "syllables"
    top: int = 0


@functools.lru_cache(maxsize=8)
def load_model(path: str, fingerprint: str) -> Any:
    """The model in a file as the fastText library has it, loaded once per process (`fingerprint` makes another file under the same name
    another model).

    Raises UserError for a file that can't be used (see `read_model`): the library itself reads past the end of one without a word.
    """
    read_model(path)
    import fasttext

    try:
        return fasttext.load_model(path)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise UserError(f"fastText can't load the model '{path}' ({error}); train it again, or get a complete copy") from error


def label_names(model: Any) -> list[str]:
    """fastText's names of a model's labels, sorted, without their prefix."""
    return sorted(str(label).removeprefix(LABEL_PREFIX) for label in model.get_labels())


def read_card(model_path: Path, fingerprint: str) -> dict[str, Any]:
    """The model card beside a model file; empty when there is none. fingerprint: xxh3 of the model file.

    Raises UserError for one that isn't a card, is that of another model file (a card without `xxh3` is taken for any), or has a bad
    `max_chars` or unknown `letters`.
    """
    path = card_path(model_path)
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"can't read the model card '{path}': {error}; remove it, or train the model again") from error
    if not isinstance(card, dict) or not isinstance(card.get("labels"), dict):
        raise UserError(f"'{path}' is no model card (it has no 'labels'); rename it, or train the model again")
    if card.get("xxh3") not in (None, fingerprint):
        raise UserError(
            f"the card '{path}' belongs to another model file ({card['xxh3']}, and '{model_path.name}' is {fingerprint}); "
            "copy the model's own card, or remove it"
        )
    chars = card.get("max_chars")
    if chars is not None and (type(chars) is not int or not 1 <= chars <= _MOST_CHARS):  # isinstance would take true for 1
        raise UserError(f"max_chars in the model card '{path}' is {json.dumps(chars)}; make it a whole number from 1 to {_MOST_CHARS}")
    letters = card.get("letters")
    if letters is not None and letters not in get_args(Letters):
        known = " or ".join(get_args(Letters))
        raise UserError(f"letters in the model card '{path}' is {json.dumps(letters)}, and this program knows {known}; train it again")
    return card


def card_path(model_path: Path) -> Path:
    """Where the card of a model is: beside it, ending in .json."""
    return model_path.with_suffix(".json")


def probabilities(model: Any, lines: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """float64[len(lines), len(labels)] in 0 to 1, for lines as `normal_lines` makes them.

    One call per line: `multilinePredict` of the 0.10 builds was measured slower (it makes an array per line).
    """
    columns = {label: index for index, label in enumerate(labels)}
    result = np.zeros((len(lines), len(labels)), np.float64)
    for row, line in enumerate(lines):
        for probability, label in model.f.predict(line + "\n", -1, 0.0, "strict"):
            result[row, columns[label.removeprefix(LABEL_PREFIX)]] = probability
    return np.clip(result, 0.0, 1.0)
