"""A small training on token shards that tests run as a user does: a plan file, shards of two languages, a byte-level tokenizer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.training.shard_scene import Document, make_shards
from tokenizer.special_tokens import special_tokens
from tokenizer.vocabulary import byte_characters

ROOT = Path(__file__).parents[2]
SPECIAL = special_tokens(16)
VOCAB = len(SPECIAL) + 256


def make_tokenizer(folder: Path) -> Path:
    """A tokenizer of the special tokens and the bytes."""
    folder.mkdir()
    added = [
        {"id": place, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for place, token in enumerate(SPECIAL)
    ]
    vocab = {token: place for place, token in enumerate([*SPECIAL, *byte_characters()])}
    content = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    }
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def make_plan(folder: Path) -> Path:
    """plan.yaml with its shards and tokenizer in `folder`: two stages, the second with longer sequences and replay."""
    tokenizer = make_tokenizer(folder / "tokenizer")
    random = np.random.default_rng(5)
    documents = [
        Document(lang, phase, "web", "all", [*(16 + random.integers(0, 64, random.integers(10, 90)) + 64 * (lang == "ko")).tolist(), 2])
        for lang in ("en", "ko")
        for phase in ("general", "long")
        for _ in range(120)
    ]
    make_shards(folder / "shards", documents, VOCAB, tokenizer=(tokenizer / "tokenizer.json").read_text())
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({**PLAN, "tokenizer": str(tokenizer), "shards": str(folder / "shards")}))
    return path


PLAN: dict[str, Any] = {
    "name": "tiny",
    "model": {
        "hidden_size": 32,
        "layers": 2,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 8,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
    },
    "validation": {"share": 0.1, "tokens": 500, "every_steps": 4},
    "stages": [
        {
            "name": "general",
            "sequence_length": 32,
            "tokens": 32 * 4 * 10,
            "batch_tokens": 128,
            "schedule": {"type": "wsd", "peak_lr": 0.003, "warmup_tokens": 256, "decay_share": 0.2},
            "sources": [
                {"name": "en", "where": {"phase": "general", "lang": "en"}, "weight": 0.5, "max_epochs": 2},
                {"name": "ko", "where": {"phase": "general", "lang": "ko"}, "weight": 0.5, "max_epochs": 2},
            ],
        },
        {
            "name": "long",
            "sequence_length": 64,
            "tokens": 64 * 4 * 6,
            "batch_tokens": 256,
            "optimizer": "fresh",
            "schedule": {"type": "cosine", "peak_lr": 0.001},
            "rope_scaling": {"factor": 2, "original_max_position_embeddings": 32},
            "replay": {"stage": "general", "fraction": 0.25},
            "sources": [{"name": "all", "where": {"phase": "long"}, "weight": 0.75, "max_epochs": 2}],
        },
    ],
    "run": {"checkpoint_every_steps": 4, "log_every_steps": 1, "micro_batch": 2, "keep_checkpoints": 2},
}


def command(plan: Path, run: Path, *more: str) -> list[str]:
    """The command that trains."""
    return [sys.executable, "-m", "training", "pretrain", str(plan), "-o", str(run), *more]


def start(command: list[str], **environment: str) -> subprocess.Popen[str]:
    """Start a command as a user does, its output kept."""
    clean = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")}
    return subprocess.Popen(
        command, cwd=ROOT, env={**clean, "OMP_NUM_THREADS": "1", **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """Wait for a command; its output and errors."""
    out, err = process.communicate(timeout=200)
    assert process.returncode == code, f"code {process.returncode}\n{out}\n{err}"
    return out, err


def lines(run: Path, kind: str = "step") -> list[dict[str, Any]]:
    """Lines of the log."""
    return [line for text in (run / "log.jsonl").read_text().splitlines() if (line := json.loads(text))["kind"] == kind]
