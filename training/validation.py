"""The loss on documents that no stage reads, per language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.batch import NO_TARGET, Batch
from training.engine import Engine, Sums
from training.loader import StageData, open_validation
from training.metrics import by_stream_and_language
from training.plan import Plan
from training.sequence_groups import SequenceGroups


class Validator:
    """Reads the same first sequences of each held-out source each time."""

    def __init__(self, plan: Plan, stage: int, cache: Path) -> None:
        self._data = open_validation(plan, stage, cache)
        self._tokens = plan.validation.tokens if plan.validation else 0

    def measure(self, engine: Engine, micro_batch: int, groups: SequenceGroups, longest: int) -> dict[str, Any]:
        """Loss per token of all held-out sequences up to `longest` tokens, and losses by language. All processes together.

        Longer ones are those of later stages, which the model can't be asked for yet.
        """
        labels: list[tuple[str, str]] = []
        parts: list[Sums] = []
        for data in self._data:
            if data.length <= longest:
                read = _batches(data, self._tokens, micro_batch, groups.rank, groups.size)
                parts.append(engine.evaluate((groups.share(batch) for batch in read), len(data.labels)))
                labels += data.labels
        if not parts:
            return {}
        sums = Sums(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("nll", "tokens", "bytes")))
        return {"loss": sums.loss, "targets": int(sums.tokens.sum()), "languages": by_stream_and_language(sums, labels)["languages"]}


def _batches(data: StageData, tokens: int, micro_batch: int, rank: int, world: int) -> Iterator[Batch]:
    """This rank's part of the first sequences with about `tokens` tokens; every rank gets as many batches, some without targets."""
    count = max(1, min(data.samples, tokens // data.length))
    for first in range(0, count, world * micro_batch):
        numbers = first + rank * micro_batch + np.arange(micro_batch)
        batch = data.batch(np.minimum(numbers, count - 1))
        beyond = torch.from_numpy(numbers >= count)
        yield replace(batch, targets=batch.targets.masked_fill(beyond[:, None], NO_TARGET))


def languages_of(measured: dict[str, Any]) -> Sequence[str]:
    """One phrase per language, for a line that people read."""
    return [
        f"{name} {facts['loss']:.3f} ({facts['bits_per_byte']:.3f} bits per byte)"
        if facts["bits_per_byte"]
        else f"{name} {facts['loss']:.3f}"
        for name, facts in measured["languages"].items()
    ]
