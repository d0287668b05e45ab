"""A training plan, resolved: everything that decides the course of a training, checked against the token shards, with its fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.model_config import ModelConfig
from training.sources import SourceSpec
from training.streams import Stream


@dataclass(frozen=True)
class Schedule:
    """Learning rate by tokens of the stage: linear warm-up to `peak`, then `wsd` (constant, at the end a decay over decay_tokens of the
    given shape) or `cosine` (decay over all that follows the warm-up), down to final_ratio * peak."""

    kind: Literal["wsd", "cosine", "constant"]
    peak: float
    warmup_tokens: int = 0
    decay_tokens: int = 0
    decay: Literal["linear", "cosine", "sqrt"] = "linear"
    final_ratio: float = 0.1


@dataclass(frozen=True)
class Replay:
    """What of an earlier stage is read again. stage: its name. weight: of all of it, out of streams.WEIGHTS. policy: `unseen` goes on where
    the order of each of its sources was left, `seen` reads what that stage read in another order, `unseen_first` takes as much as
    is unseen and for the rest what was seen."""

    stage: str
    weight: int
    policy: Literal["seen", "unseen", "unseen_first"]


@dataclass(frozen=True)
class Stage:
    """One stage. samples of `length` tokens, batch_samples of them per step. streams: as planned; a stage that runs gets them from the
    ledger of what was really read (ledger.place_streams). keep_optimizer: whether the optimizer's state goes on from the stage before."""

    name: str
    model: ModelConfig
    length: int
    samples: int
    batch_samples: int
    schedule: Schedule
    streams: tuple[Stream, ...]
    keep_optimizer: bool = True
    replay: Replay | None = None

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return self.samples // self.batch_samples

    @property
    def tokens(self) -> int:
        """Places for tokens in all samples."""
        return self.samples * self.length


@dataclass(frozen=True)
class Optimizer:
    """AdamW. weight_decay: on matrices, not on norms and embeddings. clip_norm: of the whole gradient. z_loss: weight of the mean squared
    log-sum-exp in the loss."""

    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    z_loss: float = 0.0


@dataclass(frozen=True)
class Validation:
    """share: of the documents, by a hash of their ids, that no stage reads. sources: those documents of each source of each stage, as
    indices into the plan's. tokens: read of each of these at most, each time."""

    share: float
    tokens: int
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """All that decides the course of a training. tokenizer: folder of tokenizer.json. initial: folder of a model in Llama's format to go
    on from. contents: xxh3-128 of what the shards of each source hold. fingerprint: of everything here but names of folders and what only
    measures (plan_json.fingerprint)."""

    name: str
    seed: int
    tokenizer: str
    tokenizer_sha256: str
    model: ModelConfig
    initial: str | None
    optimizer: Optimizer
    sources: tuple[SourceSpec, ...]
    stages: tuple[Stage, ...]
    validation: Validation | None
    fingerprint: str
    contents: tuple[str, ...] = ()
