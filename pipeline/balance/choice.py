"""A plan carried out: how often each document of a batch appears in a phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.balance.groups import Codes, Documents
from pipeline.balance.queue import Queue
from pipeline.balance.sample import Keys

Epochs = npt.NDArray[np.int32]

NOT_IN_LANGUAGE, LOW_QUALITY, NOT_IN_DOMAIN, OVER_BUDGET = range(4)
"""How far a document got in a phase before it was left out; the furthest over all phases is the reason that is told."""


@dataclass(frozen=True)
class GroupChoice:
    """A group of one phase: all its documents `whole_epochs` times, those whose place in the queue is below `limit` once more."""

    language: str
    domain: str
    whole_epochs: int
    limit: int


@dataclass(frozen=True)
class PhaseChoice:
    """One phase of the plan. replay: groups of another phase, by its queue, that are repeated in this one."""

    queue: Queue
    groups: tuple[GroupChoice, ...]
    replay_queue: Queue | None = None
    replay: tuple[GroupChoice, ...] = ()

    @property
    def name(self) -> str:
        return self.queue.phase

    def epochs(self, documents: Documents, keys: Mapping[str, Keys]) -> tuple[Epochs, Epochs, Codes]:
        """Epochs of each document, those of them that are replay, and how far the document got.

        keys: uniform sampling keys by phase.
        """
        taken, reached = _taken(self.queue, self.groups, documents, keys)
        repeated = np.zeros(len(taken), np.int32)
        if self.replay_queue is not None:
            repeated, _ = _taken(self.replay_queue, self.replay, documents, keys)
        return taken + repeated, repeated, reached


def group_choices(groups: list[dict[str, Any]]) -> tuple[GroupChoice, ...]:
    """The groups of a phase in plan.json."""
    return tuple(GroupChoice(group["language"], group["domain"], group["whole_epochs"], int(group["limit"], 16)) for group in groups)


def _taken(queue: Queue, choices: tuple[GroupChoice, ...], documents: Documents, keys: Mapping[str, Keys]) -> tuple[Epochs, Codes]:
    wanted, good = queue.eligible(documents)
    shape = len(documents.languages), len(documents.domains)
    whole, limit, placed = np.zeros(shape, np.int32), np.zeros(shape, np.uint64), np.zeros(shape, bool)
    groups = {(group.language, group.domain): group for group in choices}
    for row, language in enumerate(documents.mix_languages):
        for column, domain in enumerate(documents.domains):
            if group := groups.get((language, domain)):
                whole[row, column], limit[row, column], placed[row, column] = group.whole_epochs, group.limit, True
    cell = documents.language_code, documents.domain_code
    below = queue.order(documents, keys[queue.phase]) < limit[cell]
    epochs = (whole[cell] + below.astype(np.int32)) * queue.copies(documents).astype(np.int32)
    reached = np.select([~wanted, ~good, ~placed[cell]], [NOT_IN_LANGUAGE, LOW_QUALITY, NOT_IN_DOMAIN], OVER_BUDGET)
    return np.where(reached == OVER_BUDGET, epochs, np.int32(0)), reached
