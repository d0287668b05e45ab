"""What a model reads at once: token ids of fixed length, their targets, and where one document ends and the next begins.

Letters in names of axes: B sequences of a micro-batch, S tokens of a sequence, P pieces (runs of one document) of the whole micro-batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

NO_TARGET = -100
"""Target of a token that none is predicted from: the last of a document, padding."""


@dataclass(frozen=True)
class Segments:
    """Where documents lie in a micro-batch; attention never crosses their borders, positions begin at 0 in each piece.

    positions: int64[B, S]; piece: int64[B, S], the number of each token's piece, ascending over the flattened micro-batch;
    bounds: int32[P + 1], first token of each piece in the flattened micro-batch, then B * S; longest: tokens of the longest piece.
    """

    positions: torch.Tensor
    piece: torch.Tensor
    bounds: torch.Tensor
    longest: int

    @staticmethod
    def whole(sequences: int, length: int, device: torch.device | str = "cpu") -> Segments:
        """Every sequence one document."""
        return Segments.of(np.arange(0, sequences * length + 1, length), sequences, length).to(device)

    @staticmethod
    def of(bounds: np.ndarray, sequences: int, length: int) -> Segments:
        """From the bounds of the pieces, int[P + 1], of which every multiple of `length` must be one."""
        sizes = np.diff(bounds)
        piece = np.repeat(np.arange(len(sizes)), sizes)
        positions = np.arange(sequences * length) - bounds[:-1][piece]
        shape = (sequences, length)
        return Segments(
            torch.from_numpy(positions.reshape(shape)),
            torch.from_numpy(piece.reshape(shape)),
            torch.from_numpy(bounds.astype(np.int32)),
            int(sizes.max()),
        )

    def to(self, device: Any) -> Segments:
        """The same on a device."""
        return Segments(self.positions.to(device), self.piece.to(device), self.bounds.to(device), self.longest)


@dataclass(frozen=True)
class Batch:
    """One micro-batch, as a loader gives it.

    ids, targets: int64[B, S], targets NO_TARGET where there is none; segments: of the same tokens; labels: int64[B, S], an index into the
    loader's labels (stream and language), by which losses are told apart.
    """

    ids: torch.Tensor
    targets: torch.Tensor
    segments: Segments
    labels: torch.Tensor

    def to(self, device: Any) -> Batch:
        """The same on a device."""
        return Batch(self.ids.to(device), self.targets.to(device), self.segments.to(device), self.labels.to(device))
