"""How a phase sees documents: who may stand in its queues, in which order, and how often one counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.balance.config import PhaseConfig
from pipeline.balance.groups import Documents
from pipeline.balance.quality import STEPS, QualityScale
from pipeline.balance.sample import Counts, Keys, weighted_keys

Mask = npt.NDArray[np.bool_]

NEUTRAL_RANK = 0.5
"""Rank by which a document without a quality is weighed."""


@dataclass(frozen=True)
class Queue:
    """The rules of one phase. seed: of its sampling keys (`sample.phase_seed`). points: the scale of quality, where the phase asks for it.

    importance: factor on the documents' log importance weights for this phase; 0: not asked for.
    """

    phase: str
    seed: int
    languages: tuple[str, ...]
    quality_top: dict[str, float]
    quality_tilt: float
    importance: float
    rehydrate: bool
    points: dict[str, tuple[float, ...]]

    @classmethod
    def of(cls, name: str, phase: PhaseConfig, seed: int, scale: QualityScale) -> Queue:
        """The queue that a phase's configuration describes."""
        asks = bool(phase.quality_top) or phase.quality_tilt > 1
        points = {language: tuple(scale.points[language]) for language in phase.language_shares if language in scale.points}
        strength = phase.importance.strength if phase.importance else 0.0
        top = dict(sorted(phase.quality_top.items()))
        languages = tuple(phase.language_shares)
        return cls(name, seed, languages, top, phase.quality_tilt, strength, phase.rehydrate, points if asks else {})

    def eligible(self, documents: Documents) -> tuple[Mask, Mask]:
        """Two masks: the document's language is one of the phase's, and its quality is among the best that are asked for."""
        wanted = np.array([language in self.languages for language in documents.mix_languages], bool)[documents.language_code]
        good = np.ones(len(wanted), bool)
        if self.quality_top:
            least = np.array([_least_rank(self.quality_top.get(language, 1.0)) for language in documents.mix_languages])
            good = ~(QualityScale(self.points).ranks(documents) < least[documents.language_code])
        return wanted, good

    def copies(self, documents: Documents) -> Counts:
        """int64[n]: how often each document counts."""
        return documents.copies if self.rehydrate else np.ones(len(documents.tokens), np.int64)

    def order(self, documents: Documents, keys: Keys) -> Keys:
        """The documents' places in their queues, from their uniform keys of this phase."""
        if self.quality_tilt == 1.0 and not self.importance:
            return keys
        weights = np.zeros(len(keys))
        if self.quality_tilt > 1.0:
            ranks = QualityScale(self.points).ranks(documents)
            weights += math.log(self.quality_tilt) * np.where(np.isnan(ranks), NEUTRAL_RANK, ranks)
        if self.importance:
            weights += self.importance * documents.importance[self.phase]
        return weighted_keys(keys, weights)


def _least_rank(top: float) -> float:
    """The rank from which at least this share of the documents lies: rounded down to a step of the scale."""
    return math.floor(round((1.0 - top) * STEPS, 6)) / STEPS
