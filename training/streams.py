"""Streams: what the samples of one stage are drawn from, in exact proportions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.permutation import numbered_keys, permute

WEIGHTS = 10**9
"""Sum of the integer weights of a stage's streams."""


@dataclass(frozen=True)
class Stream:
    """A weighted part of a stage: a range of the order in which a source's chunks are read.

    source: index into the plan's sources. weight: out of WEIGHTS. start, count: the range of the source's order that is there for it.
    kind: `fresh` reads the range on from its start, each chunk once; `seen` reads chunks of the range again, in another order,
    pass after pass. rows: chunks of the source that make one sample (replay of shorter sequences in a longer stage). replays: name of the
    earlier stage whose mix this is a part of; empty for the stage's own.
    """

    name: str
    source: int
    weight: int
    kind: Literal["fresh", "seen"]
    start: int
    count: int
    rows: int = 1
    max_passes: int = 1
    replays: str = ""

    @property
    def samples(self) -> int:
        """Samples that the stream can give."""
        return self.count * (1 if self.kind == "fresh" else self.max_passes) // self.rows

    def places(self, samples: np.ndarray, key: int) -> np.ndarray:
        """int64[n, rows]: the places of the source's order that make up these samples of the stream (int64[n], in [0, samples)).

        key: of the stage and stream; decides how `seen` chunks are shuffled.
        """
        read = samples[:, None] * self.rows + np.arange(self.rows)
        if self.kind == "fresh":
            return self.start + read
        passes, within = np.divmod(read.ravel(), self.count)
        return self.start + permute(within, self.count, numbered_keys(key, passes)).reshape(read.shape)
