"""Two ranks that share sequences get the loss and gradients of one that has them whole."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from pipeline.errors import UserError
from tests.training.model_scene import TINY, gradients, loss_of, packed_batch, random_decoder
from training.batch import Segments
from training.ulysses import check_heads, check_length, shard_batch

CASES = {
    "grouped": (TINY, "none", False),
    "one key-value head for two ranks": (replace(TINY, kv_heads=1), "none", False),
    "no grouping, untied, full checkpointing": (replace(TINY, kv_heads=4, tied=False), "full", False),
    "selective checkpointing": (TINY, "selective", False),
    "compiled": (TINY, "selective", True),
}


def batch_of(config):
    """The middle of a sequence, where the ranks part, lies inside a document, and at a border."""
    return packed_batch(config, [[20, 31, 13], [32, 30, 2]])


def test_two_ranks_are_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "tests.training.ulysses_worker"]
    workers = [subprocess.Popen([*command, str(rank), "2", port, str(tmp_path)], stderr=subprocess.PIPE) for rank in range(2)]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors.decode()
    results = torch.load(tmp_path / "results.pt", weights_only=True)
    for name, (config, _, _) in CASES.items():
        model = random_decoder(config)
        loss = loss_of(model, batch_of(config))
        loss.backward()
        assert_close(results[f"{name}/loss"], loss.detach(), rtol=1e-5, atol=0)
        for parameter, grad in gradients(model).items():
            found = results[f"{name}/{parameter}"]
            assert_close(found, grad, rtol=1e-5, atol=1e-6, msg=lambda text, at=f"{name}, {parameter}": f"{at}: {text}")


def test_shards_are_the_batch():
    batch = batch_of(TINY)
    shards = [shard_batch(batch, rank, 4) for rank in range(4)]
    for part in ("ids", "targets", "labels"):
        assert torch.equal(torch.cat([getattr(shard, part) for shard in shards], dim=1), getattr(batch, part))
    assert torch.equal(torch.cat([shard.segments.positions for shard in shards], dim=1), batch.segments.positions)
    assert all(torch.equal(shard.segments.bounds, batch.segments.bounds) for shard in shards)
    assert all(torch.equal(shard.segments.piece, batch.segments.piece) for shard in shards)


def test_what_cannot_be_shared_is_refused():
    batch = replace(batch_of(TINY), segments=Segments.whole(2, 64))
    with pytest.raises(UserError, match="64 tokens can't be shared by 3 ranks"):
        shard_batch(batch, 0, 3)
    with pytest.raises(UserError, match="63 tokens can't be shared by 2 ranks"):
        check_length(63, 2)
    with pytest.raises(UserError, match="4 query and 2 key-value heads can't be shared by 8 ranks"):
        check_heads(TINY, 8)
    with pytest.raises(UserError, match="6 query and 2 key-value heads can't be shared by 3 ranks"):
        check_heads(replace(TINY, heads=6), 3)
    for size in (2, 4):
        check_heads(TINY, size)
