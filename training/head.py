"""The output head: from hidden states to log-probabilities of the targets, in chunks, so that the logits of all tokens never exist at once.

One function serves every loss of the platform (pretraining, fine-tuning, preferences): losses are sums of what it returns, so a loss may be
scaled or combined in any way afterwards. At 32,768 tokens and 102,400 entries the logits alone would be 12.5 GiB in float32.
"""

from __future__ import annotations

from typing import Any

import torch

from training.batch import NO_TARGET

CHUNK = 2048
"""Tokens whose logits exist at once: 0.8 GiB in float32 at 102,400 entries."""


class _TokenLogprobs(torch.autograd.Function):
    """Logits are made again in the backward pass: one more product with the head, instead of keeping them. Each chunk's are let go before
    the next one's are made."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, chunk: int) -> Any:
        logprobs = hidden.new_empty(len(hidden), dtype=torch.float32)
        logsumexps = torch.empty_like(logprobs)
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            logits = (hidden[part] @ weight.t()).float()
            logsumexps[part] = torch.logsumexp(logits, dim=-1)
            picked = logits.gather(1, targets[part].clamp(min=0)[:, None])[:, 0]
            logprobs[part] = picked - logsumexps[part]
            del logits
        ctx.save_for_backward(hidden, weight, targets, logsumexps)
        ctx.chunk = chunk
        none = targets == NO_TARGET
        return logprobs.masked_fill_(none, 0.0), logsumexps.masked_fill(none, 0.0)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        hidden, weight, targets, logsumexps = ctx.saved_tensors
        none = targets == NO_TARGET
        by_logprob, by_logsumexp = (grad.float().masked_fill(none, 0.0) for grad in grads)
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if wants_hidden else None
        grad_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if wants_weight else None
        for start in range(0, len(hidden), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            logits = (hidden[part] @ weight.t()).float()
            softmax = logits.sub_(logsumexps[part, None]).exp_()
            grad_logits = softmax.mul_((by_logsumexp[part] - by_logprob[part])[:, None])
            grad_logits.scatter_add_(1, targets[part].clamp(min=0)[:, None], by_logprob[part][:, None])
            lower = grad_logits.to(hidden.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = lower @ weight
            if grad_weight is not None:
                grad_weight += lower.t() @ hidden[part]
            del logits, softmax, grad_logits, lower
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None, None


def token_logprobs(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, chunk: int = CHUNK
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each target and log-sum-exp of its logits, both float32[N], and 0 where the target is NO_TARGET.

    hidden: [N, D]; weight: [V, D]; targets: int64[N]. Gradients flow to hidden and weight from both.
    """
    return _TokenLogprobs.apply(hidden, weight, targets, chunk)  # type: ignore[no-any-return]
