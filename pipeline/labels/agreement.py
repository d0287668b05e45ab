"""How far two sets of labels agree beyond chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def kappa(first: Sequence[str], second: Sequence[str], weighted: bool = False) -> float | None:
    """Cohen's kappa of two labellings of the same documents (Cohen 1960): 1 for equal, 0 for chance, negative for worse.

    weighted: labels are whole numbers, and a disagreement weighs as the square of its size (Cohen 1968). None where chance alone would
    agree always (both give one and the same label to everything), or there are no documents.
    """
    if not first:
        return None
    labels = sorted({*first, *second}, key=int if weighted else str)
    place = {label: index for index, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)))
    np.add.at(table, ([place[label] for label in first], [place[label] for label in second]), 1)
    values = np.array([int(label) for label in labels] if weighted else range(len(labels)), np.float64)
    distance = (values[:, None] - values[None, :]) ** 2 if weighted else (values[:, None] != values[None, :]).astype(np.float64)
    by_chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    expected = float((distance * by_chance).sum())
    return None if expected == 0 else round(1 - float((distance * table).sum()) / expected, 4)
