"""One rank of test_ulysses: `python -m tests.training.ulysses_worker RANK SIZE PORT FOLDER` writes its losses and gradients."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from tests.training.model_scene import random_decoder
from tests.training.test_ulysses import CASES, batch_of
from training.activation import run_layers
from training.batch import NO_TARGET
from training.ulysses import shard_batch, use_sequence_parallel


def main() -> None:
    rank, size, port, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    results = {}
    for name, (config, checkpointing, compiled) in CASES.items():
        model = random_decoder(config)
        run_layers(model, checkpointing, compiled)
        use_sequence_parallel(model, dist.group.WORLD)
        whole = batch_of(config)
        part = shard_batch(whole, rank, size)
        logprobs, _ = model(part.ids, part.segments, part.targets)
        loss = -logprobs.sum() / (whole.targets != NO_TARGET).sum()
        loss.backward()
        results[f"{name}/loss"] = loss.detach()
        results |= {f"{name}/{parameter}": value.grad for parameter, value in model.named_parameters()}
    for tensor in results.values():
        dist.all_reduce(tensor)
    if rank == 0:
        torch.save(results, folder / "results.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
