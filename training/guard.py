"""What to do with a step whose loss is not what it should be.

A loss is suspicious when it isn't finite, or lies more than `sigma` standard deviations above the mean of the last `window` losses (the
rule by which OLMo-core leaves steps out, there with 6 and 128). It is known before the optimizer steps, so the step can still be left
out. A gradient that isn't finite is suspicious as well.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections import deque
from collections.abc import Sequence
from typing import Literal


class Verdict(enum.StrEnum):
    """take: learn from it. skip: leave this step out. rewind: back to the last checkpoint, and pass over what was read since. stop: end."""

    take = "take"
    skip = "skip"
    rewind = "rewind"
    stop = "stop"


class Guard:
    """Judges the losses of one stage, one after another.

    on_spike: the verdict on a suspicious loss. max_skipped: of the last `window` steps; with more, the verdict is to stop, because the
    fault lies elsewhere. losses: of steps that were taken, from an earlier run.
    """

    def __init__(
        self,
        sigma: float,
        window: int,
        on_spike: Literal["skip", "rewind", "stop"],
        max_skipped: int,
        losses: Sequence[float] = (),
    ) -> None:
        self._sigma, self._on_spike, self._max_skipped = sigma, Verdict(on_spike), max_skipped
        self._losses: deque[float] = deque(losses, maxlen=window)
        self._skipped: deque[bool] = deque(maxlen=window)

    @property
    def losses(self) -> tuple[float, ...]:
        """Those that the next one is compared with."""
        return tuple(self._losses)

    @property
    def limit(self) -> float:
        """Losses above are suspicious; infinite until `window` losses are known."""
        if len(self._losses) < (self._losses.maxlen or 0):
            return math.inf
        return statistics.fmean(self._losses) + self._sigma * statistics.pstdev(self._losses)

    def judge(self, loss: float) -> Verdict:
        """What to do with a step of this loss."""
        if not math.isfinite(loss) or loss > self.limit:
            return self.refused()
        self._losses.append(loss)
        self._skipped.append(False)
        return Verdict.take

    def refused(self) -> Verdict:
        """What to do about a step that can't be taken: of a suspicious loss, or of a gradient that isn't finite."""
        self._skipped.append(True)
        return Verdict.stop if sum(self._skipped) > self._max_skipped else self._on_spike
