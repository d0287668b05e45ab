"""Tiny models with random weights, packed documents, and the same model as transformers' Llama."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from training.batch import NO_TARGET, Batch, Segments
from training.model import Decoder
from training.model_config import ModelConfig, RopeScaling

SHORT = RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
"""So short that 96 positions go far beyond the original length, and all three bands of frequencies occur."""

TINY = ModelConfig(32, 2, 4, 2, 8, 48, vocab_size=97, tied=True, max_position_embeddings=256, rope_theta=1e4, rope_scaling=SHORT)


def random_decoder(config: ModelConfig, seed: int = 0, std: float = 0.1) -> Decoder:
    """Every parameter random, norms too, so that none can stand in for another."""
    torch.manual_seed(seed)
    model = Decoder(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, std)
    return model


def llama(config: ModelConfig) -> Any:
    """transformers' model of the same shape, built from its own configuration class and not from what we export."""
    from transformers import LlamaConfig, LlamaForCausalLM

    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.rope_scaling is not None:
        rope |= {"rope_type": "llama3", **asdict(config.rope_scaling)}
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            head_dim=config.head_dim,
            max_position_embeddings=config.max_position_embeddings,
            rms_norm_eps=config.norm_eps,
            tie_word_embeddings=config.tied,
            rope_parameters=rope,
            pad_token_id=None,
            bos_token_id=None,
            eos_token_id=None,
            attn_implementation="eager",
        )
    )


def llama_with(model: Decoder) -> Any:
    """transformers' model with our weights."""
    theirs = llama(model.config)
    named = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            named.pop(name if name == "lm_head.weight" else f"model.{name}").copy_(parameter)
    assert not named
    return theirs


def packed_batch(config: ModelConfig, documents: list[list[int]], seed: int = 0) -> Batch:
    """A sequence per list of documents' lengths; each token's target is the next of its document, the last has none."""
    length = sum(documents[0])
    sizes = np.concatenate(documents)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, config.vocab_size, (len(documents), length), generator=generator)
    targets = ids.flatten().roll(-1)
    targets[torch.from_numpy(bounds[1:] - 1)] = NO_TARGET
    return Batch(ids, targets.view_as(ids), Segments.of(bounds, len(documents), length), torch.zeros_like(ids))


def loss_of(model: Decoder, batch: Batch) -> torch.Tensor:
    """Mean over tokens with a target."""
    logprobs, _ = model(batch.ids, batch.segments, batch.targets)
    return -logprobs.sum() / (batch.targets != NO_TARGET).sum()


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Of every parameter."""
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
