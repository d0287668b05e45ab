"""The decoder: pre-RMSNorm, SwiGLU, grouped-query attention with rotary positions, optionally tied embeddings.

Parameters carry the names of Llama's checkpoints without the prefix `model.`, so that export and import are renamings. Letters of axes: B
sequences, S tokens of a sequence, D hidden size, V vocabulary.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import xxhash
from torch import nn
from torch.nn.functional import silu

from training.attention import attend
from training.batch import Segments
from training.head import token_logprobs
from training.model_config import ModelConfig
from training.rope import angles, frequencies, rotate

INITIAL_STD = 0.02
"""Standard deviation of initial matrices: `initializer_range` of the released configurations."""

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Segments], torch.Tensor]


class Attention(nn.Module):
    """Grouped-query self-attention."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, config.heads * config.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, config.kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, config.kv_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(config.heads * config.head_dim, config.hidden_size, bias=False)
        self.attend: Attend = attend

    def forward(self, x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, segments: Segments) -> torch.Tensor:
        """[B, S, D] from [B, S, D]."""
        query, key, value = (projection(x).unflatten(-1, (-1, self.head_dim)) for projection in (self.q_proj, self.k_proj, self.v_proj))
        mixed = self.attend(rotate(query, cosines, sines), rotate(key, cosines, sines), value, segments)
        return self.o_proj(mixed.flatten(-2))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, S, D] from [B, S, D]."""
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """One block: attention and MLP, each after a norm and added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = Mlp(config)

    def forward(self, x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, segments: Segments) -> torch.Tensor:
        """[B, S, D] from [B, S, D]."""
        x = x + self.self_attn(self.input_layernorm(x), cosines, sines, segments)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class Head(nn.Module):
    """The output head: logits, or log-probabilities of targets without ever holding all logits."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))

    def forward(self, hidden: torch.Tensor, targets: torch.Tensor | None) -> Any:
        """Logits float32[B, S, V]; with targets [B, S]: log-probabilities and log-sum-exps, float32[B, S] each."""
        if targets is None:
            return (hidden @ self.weight.t()).float()
        logprobs, logsumexps = token_logprobs(hidden.flatten(0, 1), self.weight, targets.flatten())
        return logprobs.view_as(targets), logsumexps.view_as(targets)


class Decoder(nn.Module):
    """The whole model.

    run_layer: how each layer is run, `layer(x, cosines, sines, segments)` unless activation checkpointing or compilation sets another way.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.layers)])
        self.norm = nn.RMSNorm(config.hidden_size, config.norm_eps)
        self.lm_head = Head(config)
        if config.tied:
            self.lm_head.weight = self.embed_tokens.weight  # type: ignore[assignment]  # both are nn.Parameter
        self.frequencies = frequencies(config)  # no buffer: a model turned to bfloat16 must keep its rotations in float32
        self.run_layer: Callable[..., torch.Tensor] = run_plainly

    def forward(self, ids: torch.Tensor, segments: Segments, targets: torch.Tensor | None = None) -> Any:
        """Logits float32[B, S, V] of ids int64[B, S]; with targets: their log-probabilities and log-sum-exps, float32[B, S] each."""
        return self.lm_head(self.hidden_states(ids, segments), targets)

    def hidden_states(self, ids: torch.Tensor, segments: Segments) -> torch.Tensor:
        """[B, S, D], after the last norm: what the head reads."""
        cosines, sines = angles(segments.positions, self.frequencies)
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = self.run_layer(layer, x, cosines, sines, segments)
        return self.norm(x)  # type: ignore[no-any-return]


def run_plainly(layer: nn.Module, *arguments: Any) -> torch.Tensor:
    """Run a layer and keep all that its backward pass needs."""
    return layer(*arguments)  # type: ignore[no-any-return]


def _as_it_is(_: nn.Parameter) -> AbstractContextManager[Any]:
    return contextlib.nullcontext()


def initialise(model: Decoder, seed: int, whole: Callable[[nn.Parameter], AbstractContextManager[Any]] = _as_it_is) -> None:
    """Set all parameters: norms 1, matrices normal with INITIAL_STD, those that write to the residual stream divided by sqrt(2 * layers)
    (Radford et al. 2019, GPT-2, section 2.3). Each depends on the seed and its own name alone, so not on how the model is sharded.

    whole: makes a sharded parameter whole while it is set.
    """
    for name, parameter in model.named_parameters():
        with whole(parameter), torch.no_grad():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
                continue
            residual = name.endswith(("o_proj.weight", "down_proj.weight"))
            std = INITIAL_STD / math.sqrt(2 * model.config.layers) if residual else INITIAL_STD
            generator = torch.Generator().manual_seed(xxhash.xxh64_intdigest(name.encode(), seed) >> 1)
            values = torch.empty(parameter.shape, dtype=torch.float32).normal_(0.0, std, generator=generator)
            parameter.copy_(values.to(parameter.dtype))
