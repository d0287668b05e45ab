"""Every way of running layers gives the same loss and gradients; they differ in what they keep."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.model_scene import TINY, gradients, loss_of, packed_batch, random_decoder
from training.activation import run_layers

CONFIG = replace(TINY, layers=3)
BATCH = packed_batch(CONFIG, [[20, 31, 13], [64]])


def run(checkpointing, compiled=False):
    """Loss, gradients, and bytes kept between the passes, parameters not counted."""
    model = random_decoder(CONFIG)
    run_layers(model, checkpointing, compiled)
    parameters = {parameter.data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = loss_of(model, BATCH)
    loss.backward()
    return loss.detach(), gradients(model), sum(kept.values())


@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_checkpointing_changes_no_bit(checkpointing):
    loss, grads, _ = run("none")
    same_loss, same_grads, _ = run(checkpointing)
    assert torch.equal(loss, same_loss)
    for name, grad in grads.items():
        assert torch.equal(grad, same_grads[name]), name


class Counted(TorchDispatchMode):
    """Counts the operators that really run, in both passes."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.counts[operator.name().removeprefix("aten::")] += 1
        return operator(*args, **(kwargs or {}))


def test_full_runs_each_layer_twice_and_selective_no_product_twice():
    def counts(checkpointing):
        model = random_decoder(CONFIG)
        run_layers(model, checkpointing)
        with Counted() as counted:
            loss_of(model, BATCH).backward()
        attention = [name for name in counted.counts if name.startswith("_scaled_dot") and "backward" not in name]
        assert len(attention) == 1
        return counted.counts["mm"], counted.counts[attention[0]], counted.counts["silu"]

    products, attention, silu = counts("none")
    assert attention == silu == CONFIG.layers
    assert counts("selective") == (products, attention, 2 * silu)
    # The backward pass needs no result of the last of a layer's seven products, so it isn't made again.
    assert counts("full") == (products + 6 * CONFIG.layers, 2 * attention, 2 * silu)


@pytest.mark.parametrize("checkpointing", ["none", "full"])  # selective compiled: test_attention, test_ulysses
def test_compiled_layers_agree(checkpointing, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    loss, grads, kept = run("none")
    same_loss, same_grads, kept_compiled = run(checkpointing, compiled=True)
    assert_close(loss, same_loss, rtol=1e-6, atol=0)
    for name, grad in grads.items():
        assert_close(grad, same_grads[name], rtol=1e-5, atol=1e-7, msg=lambda text, at=name: f"{at}: {text}")
    assert kept_compiled < {"none": 1.0, "full": 0.2}[checkpointing] * kept
