"""A tiny training that several tests run on DeepSpeed and in plain torch: the model, its batches, and a worker for several processes.

Run as `python -m tests.training.engine_scene CASES OUT` by a launcher: CASES is JSON, a list of arguments of `train` (or of `what`);
the first process writes what they return to OUT.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training import checkpoint
from training.batch import NO_TARGET, Batch, Segments
from training.engine import Engine, EngineSettings, new_model
from training.launch import connect, free_port, leave
from training.model import Decoder, initialise
from training.model_config import ModelConfig
from training.plan import Optimizer

ROOT = Path(__file__).parents[2]
MODEL = ModelConfig(
    hidden_size=32, layers=2, heads=4, kv_heads=2, head_dim=8, intermediate_size=48, vocab_size=61, max_position_embeddings=64
)
OPTIMIZER = Optimizer(eps=1e-6, clip_norm=0.5, z_loss=1e-3)
"""With AdamW's usual eps of 1e-8, rounding alone moves weights whose gradient is next to nothing."""

SEQUENCES, LENGTH, STEPS, LABELS = 8, 24, 6, 3
BYTE_LENGTHS = np.arange(MODEL.vocab_size) % 5


def model_config(tied: bool) -> ModelConfig:
    return replace(MODEL, tied=tied)


def learning_rate(step: int) -> float:
    """Another one at each step."""
    return 0.01 * (1.0 - 0.1 * step)


def batch(step: int, rows: list[int]) -> Batch:
    """These sequences of the step's global batch: documents of random lengths, and very unequal numbers of targets."""
    ids, targets, labels, bounds = [], [], [], [0]
    for row in rows:
        random = np.random.default_rng(1000 * step + row)
        ids.append(random.integers(0, MODEL.vocab_size, LENGTH))
        masked = random.random(LENGTH) < random.choice([0.0, 0.3, 0.9])
        targets.append(np.where(masked, NO_TARGET, random.integers(0, MODEL.vocab_size, LENGTH)))
        labels.append(random.integers(0, LABELS, LENGTH))
        cuts = sorted(random.choice(np.arange(1, LENGTH), 2, replace=False).tolist())
        bounds += [bounds[-1] + cut for cut in cuts] + [bounds[-1] + LENGTH]
    tensors = [torch.from_numpy(np.stack(arrays)) for arrays in (ids, targets, labels)]
    return Batch(tensors[0], tensors[1], Segments.of(np.array(bounds), len(rows), LENGTH), tensors[2])


def batches(step: int, rank: int, world: int, micro_batch: int) -> list[Batch]:
    """This process's micro-batches of a step."""
    rounds = SEQUENCES // (world * micro_batch)
    firsts = [(turn * world + rank) * micro_batch for turn in range(rounds)]
    return [batch(step, list(range(first, first + micro_batch))) for first in firsts]


def plain(tied: bool = False, left_out: int = -1) -> list[tuple[float, float]]:
    """Losses and gradient norms of an ordinary loop: one process, the whole batch at once, torch's own AdamW and clipping. left_out: the
    step after which the weights stay as they are."""
    model = Decoder(model_config(tied))
    initialise(model, 1)
    norms_and_embeddings = [p for name, p in model.named_parameters() if "norm" in name or "embed" in name]
    others = [p for name, p in model.named_parameters() if not ("norm" in name or "embed" in name)]
    groups = [{"params": others, "weight_decay": OPTIMIZER.weight_decay}, {"params": norms_and_embeddings, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=OPTIMIZER.betas, eps=OPTIMIZER.eps)
    results = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        whole = batch(step, list(range(SEQUENCES)))
        logits = model(whole.ids, whole.segments)
        has = whole.targets != NO_TARGET
        loss = torch.nn.functional.cross_entropy(logits[has], whole.targets[has])
        z_loss = logits[has].logsumexp(-1).square().mean()
        optimizer.zero_grad()
        (loss + OPTIMIZER.z_loss * z_loss).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.clip_norm)
        if step != left_out:
            optimizer.step()
        results.append((loss.item(), norm.item()))
    return results


def train(
    zero_stage: int, tied: bool = False, micro_batch: int = 2, precision: str = "fp32", refuse: int = -1, broken: int = -1
) -> list[tuple[float, float, bool]]:
    """(loss, gradient norm, skipped) of each step on DeepSpeed. refuse: the step that `accept` refuses; broken: the one whose gradient is
    infinite."""
    world = connect()
    settings = EngineSettings(zero_stage=zero_stage, precision=precision, micro_batch=micro_batch, persistent_below=0)  # type: ignore[arg-type]
    engine = Engine(new_model(model_config(tied), 1, settings, world), OPTIMIZER, settings, world, BYTE_LENGTHS)
    results = []
    for step in range(STEPS):
        with _broken(engine, step == broken and world.rank == world.size - 1):
            result = engine.train_step(
                batches(step, world.rank, world.size, micro_batch),
                learning_rate(step),
                LABELS,
                lambda _, step=step: step != refuse,  # type: ignore[misc]
            )
        results.append((result.loss, result.grad_norm, result.skipped))
    return results


def interrupted(zero_stage: int, precision: str, folder: str, first: int, last: int) -> list[float]:
    """Losses of the steps first..last - 1, from the checkpoint in `folder` that a call left after `first` steps; another is left."""
    world = connect()
    settings = EngineSettings(zero_stage=zero_stage, precision=precision, micro_batch=2, persistent_below=0)  # type: ignore[arg-type]
    found = checkpoint.all_of(Path(folder))[-1] if first else None
    universal = found is not None and checkpoint.read_state(found)["processes"] != world.size
    engine = Engine(
        new_model(model_config(True), 1 if first == 0 else 2, settings, world), OPTIMIZER, settings, world, BYTE_LENGTHS, universal
    )
    if found is not None:
        checkpoint.verify(found, world)
        checkpoint.load(engine, found)
    losses = [engine.train_step(batches(step, world.rank, world.size, 2), learning_rate(step), LABELS).loss for step in range(first, last)]
    if world.first:
        Path(folder).mkdir(exist_ok=True)
    checkpoint.save(engine, Path(folder), {"step": last, "stage_end": False, "processes": world.size}, keep=2)
    return losses


@contextlib.contextmanager
def _broken(engine: Engine, broken: bool) -> Iterator[None]:
    """Gradients of this process are infinite, if `broken`."""
    backward = engine.deepspeed.backward
    if broken:
        engine.deepspeed.backward = lambda loss: backward(loss * math.inf)
    try:
        yield
    finally:
        engine.deepspeed.backward = backward


def run_cases(world: int, cases: list[dict[str, Any]], out: Path) -> list[Any]:
    """What `train` returns for each case, from `world` processes that run all of them."""
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(world),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.training.engine_scene", json.dumps(cases), str(out)]
    started = [
        subprocess.Popen(command, cwd=ROOT, env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(world)
    ]
    codes = [process.wait(timeout=300) for process in started]
    assert codes == [0] * world
    return json.loads(out.read_text())  # type: ignore[no-any-return]


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = [globals()[case.pop("what", "train")](**case) for case in json.loads(sys.argv[1])]
    if connect().first:
        Path(sys.argv[2]).write_text(json.dumps(found))
    leave()
