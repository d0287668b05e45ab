"""The shapes of the model family: decoder-only, pre-RMSNorm, SwiGLU, grouped-query attention, rotary positions, no biases.

The presets are the published EXAONE 3.5 shapes (arXiv 2412.04862, table 1; rotary scaling from the released configurations). Parameter
counts follow from the shapes and come out exactly as the released models'.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3's rescaling of rotary frequencies: long wavelengths are divided by `factor`, short ones stay, those between are blended."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True)
class ModelConfig:
    """One model. `heads` query heads share `kv_heads` keys and values, all `head_dim` wide; `tied`: the output head is the embedding."""

    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int = 102_400
    tied: bool = False
    max_position_embeddings: int = 32_768
    rope_theta: float = 1e6
    rope_scaling: RopeScaling | None = None
    norm_eps: float = 1e-5

    @property
    def embedding_parameters(self) -> int:
        """Of one embedding matrix."""
        return self.vocab_size * self.hidden_size

    @property
    def layer_matrix_parameters(self) -> int:
        """Of the matrices of one layer: query, key, value, output; gate, up, down."""
        attention = 2 * self.hidden_size * self.head_dim * (self.heads + self.kv_heads)
        return attention + 3 * self.hidden_size * self.intermediate_size

    @property
    def non_embedding_parameters(self) -> int:
        """All layers with their two norms, and the last norm."""
        return self.layers * (self.layer_matrix_parameters + 2 * self.hidden_size) + self.hidden_size

    @property
    def parameters(self) -> int:
        """All that are trained."""
        return self.non_embedding_parameters + self.embedding_parameters * (1 if self.tied else 2)

    @property
    def matmul_parameters(self) -> int:
        """Those that every token is multiplied with: the layers' matrices and the output head, but not the look-up of embeddings."""
        return self.layers * self.layer_matrix_parameters + self.embedding_parameters


_LONG = RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)

PRESETS = {
    "2.4b": ModelConfig(2560, 30, 32, 8, 80, 7168, tied=True, rope_scaling=_LONG),
    "7.8b": ModelConfig(4096, 32, 32, 8, 128, 14_336, rope_scaling=_LONG),
    "32b": ModelConfig(5120, 64, 40, 8, 128, 27_392, rope_scaling=_LONG),
}
