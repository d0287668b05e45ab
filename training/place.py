"""Where a training is: all that its state is, besides weights and moments. No number of processes or micro-batches appears in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from training.ledger import Ledger
from training.loader import samples_read


@dataclass(frozen=True)
class Place:
    """After `step` steps of all stages, those left out included.

    stage: index of the one that runs, or is next; stage_step: its steps so far, by which the place in its data is known. skips: ranges of
    the stage's samples that nobody reads. tokens: places for tokens read in all stages. ledger: of the stages before. losses: the guard's.
    """

    step: int = 0
    stage: int = 0
    stage_step: int = 0
    skips: tuple[tuple[int, int], ...] = ()
    tokens: int = 0
    ledger: Ledger = field(default_factory=Ledger.empty)
    losses: tuple[float, ...] = ()

    def next_step(self, tokens: int, losses: tuple[float, ...]) -> Place:
        """One step of so many tokens later."""
        return replace(self, step=self.step + 1, stage_step=self.stage_step + 1, tokens=self.tokens + tokens, losses=losses)

    def samples_read(self, batch_samples: int) -> int:
        """How many of the stage's first samples are read or passed over."""
        return samples_read(self.stage_step, batch_samples, self.skips)

    def next_stage(self, ledger: Ledger) -> Place:
        """At the beginning of the next stage. ledger: with what this one read."""
        return replace(self, stage=self.stage + 1, stage_step=0, skips=(), ledger=ledger, losses=())

    def as_json(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {**asdict(self), "ledger": self.ledger.as_json()}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Place:
        """The place that a checkpoint tells."""
        skips = tuple((first, end) for first, end in data["skips"])
        return Place(**{**data, "skips": skips, "losses": tuple(data["losses"]), "ledger": Ledger.from_json(data["ledger"])})
