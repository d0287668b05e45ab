"""How layers are run: which of their intermediate results are kept for the backward pass, and whether they are compiled.

- none: all are kept. Fastest, and the memory grows with everything a layer computes.
- selective: results of matrix products and of attention are kept; norms, rotations, activations and additions are computed again, which
  costs little (Korthikanti et al. 2022, arXiv 2205.05198, has the idea; here the choice is by operator).
- full: only the input of each layer is kept and the layer is run again, a third more computation. For long sequences.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from training.model import Decoder, run_plainly
from training.plan_config import Checkpointing


def run_layers(model: Decoder, checkpointing: Checkpointing = "none", compiled: bool = False) -> None:
    """Set how the model runs its layers. compiled: each layer by torch.compile, checkpointing included, all with one compilation, since
    they are alike; a batch with another number of pieces costs a second one, which then holds for any number.

    Loss and gradients are the same in every mode, up to what a compiler rounds differently.
    """
    run = {"none": run_plainly, "selective": _selective, "full": _full}[checkpointing]
    model.run_layer = torch.compile(run) if compiled else run


def _full(layer: nn.Module, *arguments: Any) -> torch.Tensor:
    # Layers draw no random numbers, so there is no state of a generator to keep.
    return checkpoint(layer, *arguments, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]


def _selective(layer: nn.Module, *arguments: Any) -> torch.Tensor:
    contexts = partial(create_selective_checkpoint_contexts, _keep)
    return checkpoint(  # type: ignore[no-any-return]
        layer, *arguments, use_reentrant=False, preserve_rng_state=False, context_fn=contexts
    )


def _keep(_: Any, operator: Any, *__: Any, **___: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operator in _kept_operators() else CheckpointPolicy.PREFER_RECOMPUTE


@lru_cache
def _kept_operators() -> frozenset[Any]:
    """Matrix products, attention in each of its implementations, and the exchanges of sequence parallelism."""
    import torch.distributed._functional_collectives  # these two register operators
    import torch.nn.attention.varlen

    aten = torch.ops.aten
    return frozenset(
        {
            aten.mm.default,
            aten.bmm.default,
            aten._scaled_dot_product_flash_attention.default,
            aten._scaled_dot_product_flash_attention_for_cpu.default,
            aten._scaled_dot_product_efficient_attention.default,
            aten._scaled_dot_product_cudnn_attention.default,
            torch.ops.torch_attn._varlen_attn.default,
            torch.ops._c10d_functional.all_to_all_single.default,
        }
    )
