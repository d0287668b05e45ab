"""How much memory a GPU needs for a training: an estimate from the shapes, before anything runs.

The states of a parameter are counted as DeepSpeed keeps them in mixed precision (Rajbhandari et al. 2020, ZeRO, arXiv 1910.02054, section
3.1, here with gradients added up in float32). Activations are counted as Korthikanti et al. 2022 do (arXiv 2205.05198, section 4.1): what
autograd keeps of each layer, operator by operator, here of this model's layers (SwiGLU, grouped-query and flash attention, no dropout).
Of CUDA's own context, workspaces of kernels and fragmentation, usually a few GiB, nothing is counted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from training.model_config import ModelConfig
from training.plan_config import Checkpointing

HEAD_CHUNK = 2048
"""Tokens whose logits exist at once: head.CHUNK, which can't be imported without torch."""

BUCKET = 500_000_000
"""Gradients that are reduced at once: EngineSettings.bucket, which can't be imported without torch."""

GATHERED = 1_000_000_000
"""Weights that ZeRO 3 holds whole at most while layers run: DeepSpeed's default of stage3_max_live_parameters."""

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU.

    weights (at ZeRO 3 with those that are gathered), gradients (their sums), optimizer (weights in float32 and the two moments): what is
    always there. communication: the bucket that is being reduced. activations: what the backward pass needs of the forward pass, and a
    layer that is computed again. working: the greater of the head's logits with its gradient and of the gradients inside a layer. step:
    the gradients' copy for the optimizer's step, when there are no activations.
    """

    weights: int
    gradients: int
    optimizer: int
    communication: int
    activations: int
    working: int
    step: int

    @property
    def total(self) -> int:
        """The most at any time."""
        return self.weights + self.gradients + self.optimizer + self.communication + max(self.activations + self.working, self.step)

    def as_json(self) -> dict[str, Any]:
        """Plain data, with the total."""
        return {**asdict(self), "total": self.total}


def estimate(
    model: ModelConfig,
    tokens: int,
    checkpointing: Checkpointing = "none",
    zero_stage: Literal[1, 2, 3] = 1,
    gpus: int = 1,
    precision: Precision = "bf16",
) -> Memory:
    """The memory of one GPU of `gpus`, which reads `tokens` at once: those of its micro-batch, or its part of them when GPUs share
    sequences."""
    size = 2 if precision == "bf16" else 4
    parameters = model.parameters
    weights, gradients = size * parameters, 4 * parameters
    optimizer = 12 * parameters // gpus
    if precision == "fp32" and zero_stage == 3:
        optimizer = 8 * parameters // gpus  # ZeRO 3 alone makes no copy of weights that are float32 already
    return Memory(
        weights=weights // gpus + size * min(GATHERED, parameters) if zero_stage == 3 and gpus > 1 else weights,
        gradients=gradients // gpus if zero_stage >= 2 else gradients,
        optimizer=optimizer,
        communication=min(BUCKET, parameters) * (size + 4),
        activations=tokens * activation_bytes(model, checkpointing, size),
        working=max(_head_bytes(model, min(tokens, HEAD_CHUNK), size), tokens * size * (3 * model.intermediate_size + model.hidden_size)),
        step=4 * parameters // gpus,
    )


def activation_bytes(model: ModelConfig, checkpointing: Checkpointing, size: int = 2) -> int:
    """What autograd keeps of one token until the backward pass, with elements of `size` bytes.

    With D hidden size, A width of all query heads, K of all key heads, F of the MLP, a layer that keeps all has:

    - residual stream before each of the two norms, and what comes out of the norms: 4 D
    - rotated queries and keys, values, the attention's result: 2 A + 2 K, and its log-sum-exps, 4 bytes for each head
    - gate, silu(gate), up, and their product: 4 F

    `selective` keeps its input, the results of the seven products and that of attention: 3 D + 2 A + 2 K + 2 F. `full` keeps its input, D.
    Both have one layer whole while it is computed again. Besides the layers, the last norm keeps 2 D.
    """
    d, f = model.hidden_size, model.intermediate_size
    a, k = model.heads * model.head_dim, model.kv_heads * model.head_dim
    sums = 4 * model.heads
    whole = size * (4 * d + 2 * a + 2 * k + 4 * f) + sums
    kept = {"none": whole, "selective": size * (3 * d + 2 * a + 2 * k + 2 * f) + sums, "full": size * d}[checkpointing]
    again = 0 if checkpointing == "none" else whole - kept
    return model.layers * kept + again + size * 2 * d


def _head_bytes(model: ModelConfig, chunk: int, size: int) -> int:
    """Logits of a chunk, in float32 as well, their gradient, and the gradient of the head in float32 and once more in its own type."""
    return chunk * model.vocab_size * (size + 4 + 4) + model.embedding_parameters * (4 + size)
