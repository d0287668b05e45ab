"""AdamW as training uses it: no weight decay on norms and embeddings, and a step that can be left out.

DeepSpeed calls `step` on its own flat parts of the parameters, once per group, after gradients are summed and clipped. To leave a step out
is safe there and nowhere else: the gradients go, weights and moments stay.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from training.plan import Optimizer


class SkippableAdamW(torch.optim.AdamW):
    """AdamW that does nothing while `skip` is set."""

    skip: bool = False

    def step(self, closure: Any = None) -> Any:
        """One step of the groups that DeepSpeed has put here, or none."""
        return None if self.skip else super().step(closure)

    def settings(self) -> list[dict[str, Any]]:
        """What each group is set to: betas, weight decay and so on."""
        return [{key: value for key, value in group.items() if key != "params"} for group in self.param_groups]

    def restore(self, settings: list[dict[str, Any]]) -> None:
        """Set right what DeepSpeed 0.19.8 gets wrong when ZeRO 3 loads a universal checkpoint: every group has got the first one's settings
        (its weight decay too), and all parts count their steps in one tensor, which then goes up by several per step."""
        for group, values in zip(self.param_groups, settings, strict=True):
            group.update(values)
        for parameter, state in self.state.items():
            if "step" in state:
                state["step"] = state["step"].to(parameter.device).clone()

    def forget(self) -> None:
        """Back to the first step: moments 0, no steps counted. Learning rates and weights stay."""
        for state in self.state.values():
            for value in state.values():
                value.zero_()


def adamw(model: nn.Module, settings: Optimizer, fused: bool) -> SkippableAdamW:
    """Two groups: matrices with weight decay; norms and embeddings (an untied output head is a matrix) without. fused: on CUDA."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (decayed if _decays(name, parameter) else plain).append(parameter)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return SkippableAdamW(groups, lr=0.0, betas=settings.betas, eps=settings.eps, fused=fused or None)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    shape = getattr(parameter, "ds_shape", parameter.shape)  # a parameter that ZeRO 3 has cut has no shape of its own
    return len(shape) > 1 and not name.startswith("embed_tokens")
