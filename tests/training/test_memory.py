"""The memory estimate: what autograd really keeps of a layer, and sums that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from training.activation import run_layers
from training.batch import Segments
from training.engine import EngineSettings
from training.head import CHUNK
from training.memory import BUCKET, HEAD_CHUNK, activation_bytes, estimate
from training.model import Decoder, initialise
from training.model_config import PRESETS, ModelConfig

SMALL = ModelConfig(256, 3, 8, 2, 32, 768, vocab_size=64, tied=True)
GIB = 1 << 30


def kept_bytes(config: ModelConfig, checkpointing: str, sequences: int, length: int) -> int:
    """Bytes of all storages that autograd keeps of the layers' forward pass, weights and attention masks apart."""
    model = Decoder(config)
    initialise(model, 0)
    run_layers(model, checkpointing)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.is_floating_point() and tensor.shape[-1] != length:
            kept[storage.data_ptr()] = storage
        return tensor

    ids = torch.randint(config.vocab_size, (sequences, length))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model(ids, Segments.whole(sequences, length), None)
    assert hidden.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


def test_activations_are_what_autograd_keeps():
    """Per layer: the difference between three layers and one, so that embedding and head fall out."""
    sequences, length = 4, 24
    per_layer = (kept_bytes(SMALL, "none", sequences, length) - kept_bytes(replace(SMALL, layers=1), "none", sequences, length)) / 2
    counted = activation_bytes(SMALL, "none", 4) - activation_bytes(replace(SMALL, layers=2), "none", 4)
    assert counted * sequences * length == pytest.approx(per_layer, rel=0.1)


def test_full_checkpointing_keeps_the_input_of_each_layer():
    sequences, length = 4, 24
    per_layer = (kept_bytes(SMALL, "full", sequences, length) - kept_bytes(replace(SMALL, layers=1), "full", sequences, length)) / 2
    counted = activation_bytes(SMALL, "full", 4) - activation_bytes(replace(SMALL, layers=2), "full", 4)
    assert counted * sequences * length == pytest.approx(per_layer, rel=0.02)


def test_less_is_kept_the_more_is_computed_again():
    for model in PRESETS.values():
        none, selective, full = (activation_bytes(model, mode) for mode in ("none", "selective", "full"))
        assert full < selective < none
        assert full > model.layers * 2 * model.hidden_size


def test_states_by_zero_stage():
    """2 bytes of weights, 4 of gradients, 12 of optimizer for each parameter, and what of it is shared out."""
    model = PRESETS["2.4b"]
    n, gpus = model.parameters, 8
    states = {
        stage: (memory := estimate(model, 4096, "none", stage, gpus)) and (memory.weights, memory.gradients, memory.optimizer)
        for stage in (1, 2, 3)
    }
    assert states[1] == (2 * n, 4 * n, 12 * n // gpus)
    assert states[2] == (2 * n, 4 * n // gpus, 12 * n // gpus)
    assert states[3] == (2 * n // gpus + 2 * 10**9, 4 * n // gpus, 12 * n // gpus)
    alone = estimate(model, 4096)
    assert (alone.weights + alone.gradients + alone.optimizer) / GIB == pytest.approx(40.3, abs=0.1)
    in_float32 = estimate(model, 4096, precision="fp32", gpus=gpus)
    assert (in_float32.weights, in_float32.gradients, in_float32.optimizer) == (4 * n, 4 * n, 12 * n // gpus)
    assert estimate(model, 4096, zero_stage=3, precision="fp32", gpus=gpus).optimizer == 8 * n // gpus


def test_the_total_is_the_worst_moment():
    memory = estimate(PRESETS["2.4b"], 4096)
    always = memory.weights + memory.gradients + memory.optimizer + memory.communication
    assert memory.total == always + memory.activations + memory.working
    few = estimate(PRESETS["2.4b"], 64, "full")
    assert few.step > few.activations + few.working and few.total == always + few.step
    assert memory.as_json()["total"] == memory.total


def test_sizes_that_are_written_twice_are_the_same():
    assert HEAD_CHUNK == CHUNK and EngineSettings().bucket == BUCKET
