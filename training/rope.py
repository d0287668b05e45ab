"""Rotary positions (Su et al. 2021, arXiv 2104.09864), in the half-rotation layout of Llama, with Llama 3's rescaling of frequencies."""

from __future__ import annotations

import math

import torch

from training.model_config import ModelConfig, RopeScaling


def frequencies(config: ModelConfig) -> torch.Tensor:
    """float32[head_dim / 2]: radians per position of each pair of dimensions."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
    plain = 1.0 / (config.rope_theta**exponents)
    return plain if config.rope_scaling is None else rescaled(plain, config.rope_scaling)


def rescaled(plain: torch.Tensor, scaling: RopeScaling) -> torch.Tensor:
    """Llama 3.1's rule: wavelengths beyond original / low_freq_factor are divided by `factor`, those below original / high_freq_factor
    stay, those between are blended by where original / wavelength lies between the two factors."""
    turns = scaling.original_max_position_embeddings * plain / (2 * math.pi)  # full turns within the original length
    blend = ((turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)).clamp(0.0, 1.0)
    return (1 - blend) * plain / scaling.factor + blend * plain


def angles(positions: torch.Tensor, per_position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines, float32[B, S, 1, head_dim / 2], of positions int64[B, S]. Never in bfloat16, which can't tell 32,767 from
    32,768."""
    radians = positions[..., None].float() * per_position.to(positions.device)
    return radians.cos()[:, :, None, :], radians.sin()[:, :, None, :]


def rotate(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """Turn each pair (i, i + head_dim / 2) of x [B, S, heads, head_dim]; in float32, returned in x's type."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1).to(x.dtype)
