"""The loss on documents that no stage reads, per source and language, beside what a model without context would reach."""

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
        length = plan.stages[stage].length
        self._data = [data for data in open_validation(plan, stage, cache) if data.length <= length]
        self._tokens = plan.validation.tokens if plan.validation else 0
        self._shortest = min((stage.length for stage in plan.stages), default=0)
        self._unigram = self._entropies(plan.model.vocab_size)

    def measure(self, engine: Engine, micro_batch: int, groups: SequenceGroups) -> dict[str, Any]:
        """Losses by source, and by language those of the sources with the shortest sequences, so that they can be compared through all
        stages. All processes together. Sources with sequences longer than this stage's wait for a later one.

        unigram_loss: entropy of the same targets by how often each token occurs among them, which no model without context can beat.
        """
        labels: list[tuple[str, str]] = []
        parts: list[Sums] = []
        lengths: list[int] = []
        for data in self._data:
            read = _batches(data, self._tokens, micro_batch, groups.rank, groups.size)
            parts.append(engine.evaluate((groups.share(batch) for batch in read), len(data.labels)))
            labels += data.labels
            lengths += [data.length] * len(data.labels)
        if not parts:
            return {}
        sums = Sums(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("nll", "tokens", "bytes")))
        short = np.array(lengths) == self._shortest
        comparable = Sums(sums.nll * short, sums.tokens * short, sums.bytes * short)
        languages = by_stream_and_language(comparable, labels)["languages"]
        for name, facts in languages.items():
            facts["unigram_loss"] = self._unigram[name]
        return {"loss": comparable.loss, "languages": languages, "sources": by_stream_and_language(sums, labels)["streams"]}

    def _entropies(self, vocab_size: int) -> dict[str, float]:
        """By language, of the targets of the sources with the shortest sequences, in nats."""
        counts: dict[str, np.ndarray] = {}
        for data in self._data:
            if data.length != self._shortest:
                continue
            for batch in _batches(data, self._tokens, 1, 0, 1):
                for label, (_, language) in enumerate(data.labels):
                    mine = batch.targets[(batch.labels == label) & (batch.targets != NO_TARGET)].numpy()
                    counts[language] = counts.get(language, 0) + np.bincount(mine, minlength=vocab_size)
        return {language: _entropy(values) for language, values in counts.items()}


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(shares * np.log(shares)).sum())


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
    found = []
    for name, facts in measured["languages"].items():
        beside = [f"unigram {facts['unigram_loss']:.2f}"]
        if facts["bits_per_byte"]:
            beside.insert(0, f"{facts['bits_per_byte']:.3f} bits per byte")
        found.append(f"{name} {facts['loss']:.3f} ({', '.join(beside)})")
    return found
