"""What the tests of the data order share: documents whose every token is known by its id, and small plans over them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.training.shard_scene import Document, make_shards
from training.ledger import Ledger
from training.loader import StageData, open_stage
from training.model_config import ModelConfig
from training.plan import Optimizer, Plan, Replay, Schedule, Stage
from training.sources import Source, SourceSpec, open_source
from training.streams import WEIGHTS, Stream

SEED = 7

VOCAB_SIZE = 1 << 20


def numbered_documents(lengths: Sequence[int], **columns: Any) -> list[Document]:
    """Documents of these lengths whose ids count on from 1 through all of them, so that an id says which token of which document it is.

    columns: of the side-car, lists of one value for each document; lang, phase, source and domain too.
    """
    first, documents = 1, []
    for place, length in enumerate(lengths):
        own = {key: values[place] for key, values in columns.items()}
        group = [own.pop(key, default) for key, default in (("lang", "ko"), ("phase", "general"), ("source", "web"), ("domain", "law"))]
        documents.append(Document(*group, range(first, first + length), own))
        first += length
    return documents


def some_lengths(count: int, seed: int = 0, longest: int = 60) -> list[int]:
    """Mostly short documents, some many chunks long."""
    generator = random.Random(seed)
    return [generator.randint(1, longest if generator.random() < 0.1 else 12) for _ in range(count)]


class Scene:
    """A folder of shards and what is opened of it."""

    def __init__(self, folder: Path, documents: Sequence[Document], documents_per_shard: int = 17) -> None:
        self.shards, self.cache = folder / "shards", folder / "cache"
        self.documents = list(documents)
        self.sha256 = make_shards(self.shards, documents, VOCAB_SIZE, documents_per_shard=documents_per_shard)

    def spec(self, name: str = "web", length: int = 16, **fields: Any) -> SourceSpec:
        return SourceSpec(name, str(self.shards), **{"where": {}, "epochs": 1, **fields}, length=length)

    def source(self, **fields: Any) -> Source:
        return open_source(self.spec(**fields), self.sha256, self.cache, SEED)

    def plan(self, sources: Sequence[SourceSpec], stages: Sequence[Stage]) -> Plan:
        return Plan("scene", SEED, "", self.sha256, MODEL, None, Optimizer(), tuple(sources), tuple(stages), None, "")

    def data(self, sources: Sequence[SourceSpec], stage: Stage, ledger: Ledger | None = None) -> StageData:
        return open_stage(self.plan(sources, [stage]), 0, ledger or Ledger.empty(), self.cache)


MODEL = ModelConfig(vocab_size=VOCAB_SIZE, hidden_size=8, layers=1, heads=1, kv_heads=1, head_dim=8, intermediate_size=8)


def stage(
    samples: int, weights: Sequence[float], name: str = "general", length: int = 16, batch: int = 8, replay: Replay | None = None
) -> Stage:
    """A stage whose own streams are the first sources, in these weights."""
    streams = tuple(Stream(f"s{index}", index, round(weight * WEIGHTS), "fresh", 0, 0) for index, weight in enumerate(weights))
    return Stage(name, MODEL, length, samples, batch, Schedule("constant", 1e-3), streams, replay=replay)


def documents_of(documents: Sequence[Document]) -> np.ndarray:
    """int64: the document of each id of numbered_documents; -1 for 0, which is padding."""
    return np.repeat(np.arange(-1, len(documents)), [1, *(len(document.ids) for document in documents)])
