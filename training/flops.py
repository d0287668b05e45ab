"""What training costs in floating-point operations, by the two common counts, and in GPU hours.

- 6ND: six operations per parameter and token (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), as the EXAONE 3.5 report's table 2 counts
  with rounded sizes of the models.
- With attention: 6 per parameter of a matrix and token, and 12 * layers * heads * head_dim * length for attention to the whole sequence
  (Chowdhery et al. 2022, PaLM, arXiv 2204.02311, appendix B). This is what MFU is counted with here.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.aligned import aligned
from pipeline.errors import UserError
from training.model_config import PRESETS, ModelConfig

PUBLISHED = {"2.4b": (2.4e9, 6.5e12), "7.8b": (7.8e9, 9e12), "32b": (32e9, 6.5e12)}
"""Rounded parameters and tokens of the published models (table 2): 9.36e22, 4.21e23 and 1.25e24 operations."""

H100_PEAK = 989e12
"""Dense bfloat16 operations per second of an H100 SXM."""


@dataclass(frozen=True)
class Cost:
    """tokens of training at `sequence_length`. six_nd: 6ND with exact parameters; published: with the report's rounded sizes, where these
    are its tokens. with_attention: by PaLM's count; attention_share: of it. gpu_hours: with_attention at `mfu` of `peak` operations/s."""

    model: str
    parameters: int
    tokens: float
    sequence_length: int
    six_nd: float
    published: float | None
    with_attention: float
    attention_share: float
    mfu: float
    peak: float
    gpu_hours: float

    def as_json(self) -> dict[str, Any]:
        """The cost as plain data."""
        return asdict(self)


def flops_per_token(config: ModelConfig, sequence_length: int) -> float:
    """Of one token forward and backward, attention to the whole sequence included (not halved for causality)."""
    return 6.0 * config.matmul_parameters + attention_flops(config, sequence_length)


def attention_flops(config: ModelConfig, sequence_length: int) -> float:
    """The part of `flops_per_token` that grows with the sequence."""
    return 12.0 * config.layers * config.heads * config.head_dim * sequence_length


def cost(preset: str, tokens: float | None, sequence_length: int, mfu: float, peak: float) -> Cost:
    """The cost of training a preset; tokens: None takes the published model's. Raises UserError for values that make no sense."""
    if preset not in PRESETS:
        raise UserError(f"there is no preset '{preset}'; use one of {', '.join(PRESETS)}")
    config, (rounded, published_tokens) = PRESETS[preset], PUBLISHED[preset]
    tokens = published_tokens if tokens is None else tokens
    if not 0 < tokens < math.inf or not 0 < mfu <= 1 or not 0 < peak < math.inf:
        raise UserError("tokens and peak must be numbers above 0, and mfu above 0 and at most 1; correct the one that isn't")
    if not 0 < sequence_length <= config.max_position_embeddings:
        raise UserError(f"the sequence length is {sequence_length:,}, and the model has {config.max_position_embeddings:,} positions")
    whole = flops_per_token(config, sequence_length) * tokens
    return Cost(
        model=preset,
        parameters=config.parameters,
        tokens=tokens,
        sequence_length=sequence_length,
        six_nd=6.0 * config.parameters * tokens,
        published=6.0 * rounded * tokens if tokens == published_tokens else None,
        with_attention=whole,
        attention_share=attention_flops(config, sequence_length) * tokens / whole,
        mfu=mfu,
        peak=peak,
        gpu_hours=whole / (mfu * peak) / 3600,
    )


def render(costs: list[Cost]) -> str:
    """A line per model."""
    heads = ("model", "parameters", "tokens", "6ND", "as published", "with attention", "attention", "GPU hours")
    rows = [heads]
    for one in costs:
        published = "" if one.published is None else f"{one.published:.3g}"
        numbers = (f"{one.parameters:,}", f"{one.tokens:.3g}", f"{one.six_nd:.3g}", published, f"{one.with_attention:.3g}")
        rows.append((one.model, *numbers, f"{one.attention_share:.0%}", f"{one.gpu_hours:,.0f}"))
    lines = aligned(rows, words=0)
    first = costs[0]
    at = f"at {first.sequence_length:,} tokens per sequence; GPU hours at {first.mfu:.0%} of {first.peak / 1e12:,.0f} TFLOP/s"
    return "\n".join([*lines, at])
