"""Attention over variable lengths against the mask, on the CPU: the GPU's kernels have a stand-in here written out in full."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.attention.varlen  # registers the operators that get a kernel below
from torch.testing import assert_close

from tests.training.model_scene import TINY, gradients, loss_of, packed_batch, random_decoder
from training import attention
from training.activation import run_layers
from training.attention import attend_masked
from training.batch import Segments


def probabilities(query, key, bounds):
    """[heads, T, T] of query and key [T, heads, head_dim], all documents at once."""
    piece = torch.repeat_interleave(torch.arange(len(bounds) - 1), bounds.diff())
    mask = (piece[:, None] == piece[None]).tril()
    scores = torch.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5
    return scores.masked_fill(~mask, -torch.inf).softmax(-1)


def repeated(key, query):
    """Keys or values, one per head of the queries."""
    return key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)


@pytest.fixture
def varlen_on_cpu(monkeypatch):
    """Attention as it is chosen on a GPU, with kernels for the CPU; yields the longest lengths that they were told."""
    told = []

    def forward(query, key, value, bounds, bounds_k, longest, longest_k, causal=False, scale=None, window=None, *_):
        assert causal or list(window) == [-1, 0]
        assert torch.equal(bounds, bounds_k) and bounds.dtype == torch.int32 and longest == longest_k
        assert query.is_contiguous() and int(bounds.diff().max()) <= longest
        told.append(longest)
        out = torch.einsum("hqk,khd->qhd", probabilities(query, repeated(key, query), bounds), repeated(value, query))
        return out.contiguous(), torch.zeros(query.shape[1], query.shape[0]), torch.zeros(2, dtype=torch.uint64)

    def backward(grad_out, query, key, value, out, lse, bounds, *_):
        """By hand, since autograd doesn't work below an operator."""
        p = probabilities(query, repeated(key, query), bounds)
        by_p = torch.einsum("qhd,khd->hqk", grad_out, repeated(value, query))
        by_score = p * (by_p - (p * by_p).sum(-1, keepdim=True)) / query.shape[-1] ** 0.5
        by_query = torch.einsum("hqk,khd->qhd", by_score, repeated(key, query))
        by_key, by_value = torch.einsum("hqk,qhd->khd", by_score, query), torch.einsum("hqk,qhd->khd", p, grad_out)
        shared = [grad.unflatten(1, (key.shape[1], -1)).sum(2) for grad in (by_key, by_value)]
        return by_query.contiguous(), *(grad.contiguous() for grad in shared)

    library = torch.library.Library("torch_attn", "IMPL")
    library.impl("_varlen_attn", forward, "CPU", allow_override=True)
    library.impl("_varlen_attn_backward", backward, "CPU", allow_override=True)
    monkeypatch.setattr("training.model.attend", attention._varlen)
    yield told
    library._destroy()


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@pytest.mark.parametrize("sizes", [[30], [1] * 30, [3, 14, 13], [15, 15]])
def test_variable_lengths_and_mask_agree(varlen_on_cpu, kv_heads, sizes):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 15, heads, 8, generator=generator, requires_grad=True) for heads in (6, kv_heads, kv_heads))
    bounds = np.unique([*np.cumsum([0, *sizes]), 15])  # a sequence ends its last piece
    segments = Segments.of(bounds, 2, 15)
    results = []
    for function in (attention._varlen, attend_masked):
        mixed = function(query, key, value, segments)
        results.append([mixed, *torch.autograd.grad(mixed.square().sum(), (query, key, value))])
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_compiled_layers_take_any_number_of_pieces(varlen_on_cpu):
    """Few compilations for batches that all differ, and the results of the mask."""
    torch._dynamo.reset()
    config = replace(TINY, rope_scaling=None)
    model, reference = random_decoder(config), random_decoder(config)
    for layer in reference.layers:
        layer.self_attn.attend = attend_masked
    run_layers(model, "selective", compiled=True)
    torch._dynamo.utils.counters.clear()
    for documents in ([64], [20, 44], [20, 31, 13], [1] * 64, [32, 32], [10, 10, 10, 10, 24]):
        batch = packed_batch(config, [documents])
        for each in (model, reference):
            each.zero_grad()
            loss_of(each, batch).backward()
        for name, grad in gradients(reference).items():
            assert_close(gradients(model)[name], grad, rtol=1e-4, atol=1e-6, msg=lambda text, at=name: f"{at}: {text}")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 3
    assert not torch._dynamo.utils.counters["graph_break"]
    assert set(varlen_on_cpu) == {64, 44, 31, 1, 32, 24}
