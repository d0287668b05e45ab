"""The learning rate as a closed form of the tokens read: nothing is carried from step to step, so nothing can be lost on resume."""

from __future__ import annotations

import math

from training.plan import Schedule


def learning_rate(schedule: Schedule, stage_tokens: int, consumed_tokens: int) -> float:
    """The learning rate once `consumed_tokens` of a stage's `stage_tokens` are read; beyond its end, that of the end.

    For a step, the tokens up to its own end: so that the first one moves the weights and the last one has the final learning rate.

    - warm-up: from 0 to the peak in a line.
    - wsd (Hu et al. 2024, MiniCPM, arXiv 2404.06395, section 4): the peak until decay_tokens before the end; then down as 1 - x, as half a
      cosine, or as 1 - sqrt(x) (Hägele et al. 2024, arXiv 2405.18392, section 3), with x the share of the decay that is read.
    - cosine (Loshchilov and Hutter 2017, arXiv 1608.03983): half a cosine from the warm-up's end to the stage's.
    """
    if consumed_tokens < schedule.warmup_tokens:
        return schedule.peak * consumed_tokens / schedule.warmup_tokens
    if schedule.kind == "constant":
        return schedule.peak
    if schedule.kind == "cosine":
        length, shape = stage_tokens - schedule.warmup_tokens, "cosine"
    else:
        length, shape = schedule.decay_tokens, schedule.decay
    into = consumed_tokens - (stage_tokens - length)
    if into <= 0 or length <= 0:
        return schedule.peak
    left = _left(shape, min(into / length, 1.0))
    return schedule.peak * (schedule.final_ratio + (1 - schedule.final_ratio) * left)


def _left(shape: str, x: float) -> float:
    """What is left of the way from the final learning rate to the peak: 1 at x = 0, 0 at x = 1."""
    if shape == "cosine":
        return (1 + math.cos(math.pi * x)) / 2
    return 1 - (math.sqrt(x) if shape == "sqrt" else x)
