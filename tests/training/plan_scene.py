"""What the tests of plans share: a tokenizer that is only a file, shards encoded with it, and a plan of two stages as YAML."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import yaml

from tests.training.shard_scene import Document, make_shards
from training.plan import Plan
from training.plan_config import PlanConfig, load_plan_config
from training.resolve import resolve

VOCABULARY = 256
TOKENIZER = json.dumps({"model": {"type": "BPE", "vocab": {f"t{number}": number for number in range(VOCABULARY)}, "merges": []}})


def documents(count: int = 400, seed: int = 0) -> list[Document]:
    """Of two languages, two phases and two domains, some marked as long, some to be read twice, some repeated by balance."""
    generator = random.Random(seed)
    made = []
    for place in range(count):
        phase = "general" if place % 4 else "domain"
        long = place % 10 == 0
        ids = [generator.randrange(1, VOCABULARY) for _ in range(generator.randint(300, 500) if long else generator.randint(20, 90))]
        epochs = 2 if place % 5 == 0 else 1
        replayed = 1 if phase == "domain" and place % 8 == 0 else 0
        columns = {"epochs": max(epochs, replayed), "replay_epochs": replayed, "long_document": long}
        made.append(Document("ko" if place % 3 else "en", phase, "web", "law" if place % 2 else "news", ids, columns))
    return made


PLAN: dict[str, Any] = {
    "name": "small",
    "seed": 3,
    "model": {
        "hidden_size": 16,
        "layers": 2,
        "heads": 2,
        "kv_heads": 1,
        "head_dim": 8,
        "intermediate_size": 32,
        "tied": True,
        "max_position_embeddings": 256,
    },
    "validation": {"share": 0.1, "tokens": 1000, "every_steps": 5},
    "stages": [
        {
            "name": "general",
            "sequence_length": 32,
            "tokens": 6000,
            "batch_tokens": 256,
            "schedule": {"type": "wsd", "peak_lr": 0.001, "warmup_tokens": 512},
            "sources": [
                {"name": "ko", "where": {"phase": "general", "lang": "ko"}, "weight": 0.6, "max_epochs": 2},
                {"name": "en", "where": {"phase": "general", "lang": "en"}, "weight": 0.4, "max_epochs": 2},
            ],
        },
        {
            "name": "context",
            "sequence_length": 128,
            "tokens": 4000,
            "batch_tokens": 512,
            "schedule": {"type": "cosine", "peak_lr": "inherit"},
            "packing": "best_fit",
            "rope_scaling": {"original_max_position_embeddings": 32},
            "sources": [{"name": "long", "long_only": True, "weight": 0.75, "max_epochs": 1}],
            "replay": {"stage": "general", "fraction": 0.25, "policy": "seen"},
        },
    ],
}


class PlanScene:
    """A folder with a tokenizer, shards and plan.yaml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer, self.shards, self.path = folder / "tokenizer", folder / "shards", folder / "plan.yaml"
        self.tokenizer.mkdir()
        (self.tokenizer / "tokenizer.json").write_text(TOKENIZER, encoding="utf-8")
        make_shards(self.shards, documents(), VOCABULARY, tokenizer=TOKENIZER, documents_per_shard=40)

    def config(self, *overrides: str, values: dict[str, Any] | None = None) -> PlanConfig:
        """The plan, or `values`, with `--set` on top, by way of its file."""
        whole = copy.deepcopy(PLAN if values is None else values) | {"tokenizer": str(self.tokenizer), "shards": str(self.shards)}
        self.path.write_text(yaml.safe_dump(whole, allow_unicode=True), encoding="utf-8")
        return load_plan_config(self.path, list(overrides))

    def plan(self, *overrides: str, values: dict[str, Any] | None = None) -> Plan:
        return resolve(self.config(*overrides, values=values), self.folder / "cache")
