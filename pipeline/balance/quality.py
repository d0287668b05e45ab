"""Ranks of quality within a language: what balance decides by, since a score means something else for every model and language."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.balance.groups import Documents
from pipeline.balance.sample import Keys

Reals = npt.NDArray[np.float64]

STEPS = 1000
"""A rank is a whole number of thousandths."""

SAMPLE = 1 << 20
"""Documents of a language that its scale is made of: of more, those of smallest sampling key. A share is then met within 0.1 %."""


@dataclass(frozen=True)
class QualityScale:
    """points: of each language of the mix, the qualities at 1, 2 ... STEPS - 1 thousandths of its documents, ascending."""

    points: Mapping[str, tuple[float, ...]]

    def ranks(self, documents: Documents) -> Reals:
        """float64[n]: thousandths of the document's language that its quality leaves behind, 0 to 0.999, as a share; NaN without one.

        At least a share s of a language's documents has a rank of 1 - s or more; more than that only where documents tie.
        """
        ranks = np.full(len(documents.quality), np.nan)
        known = ~np.isnan(documents.quality)
        for code, language in enumerate(documents.mix_languages):
            points = self.points.get(language)
            if points:
                rows = known & (documents.language_code == code)
                ranks[rows] = np.searchsorted(np.array(points), documents.quality[rows], side="right") / STEPS
        return ranks


@dataclass
class ScaleSample:
    """Collects the documents of smallest key that have a quality, per language, in any order of batches."""

    size: int = SAMPLE
    held: dict[str, tuple[Keys, Reals]] = field(default_factory=dict)

    def add(self, documents: Documents, keys: Keys) -> None:
        """Add a batch; languages are those of the mix."""
        known = ~np.isnan(documents.quality)
        for code, language in enumerate(documents.mix_languages):
            rows = known & (documents.language_code == code)
            if rows.any():
                before = self.held.get(language, (keys[:0], documents.quality[:0]))
                both = np.concatenate([before[0], keys[rows]]), np.concatenate([before[1], documents.quality[rows]])
                self.held[language] = self._pruned(*both) if len(both[0]) > 2 * self.size else both

    def _pruned(self, keys: Keys, quality: Reals) -> tuple[Keys, Reals]:
        """The entries of smallest key; of equal keys, which only equal ids have, those of lowest quality."""
        order = np.lexsort((quality, keys))[: self.size]
        return keys[order], quality[order]

    def scale(self) -> QualityScale:
        """The scale of what was added: point i is the quality of the document that i thousandths leave behind."""
        points = {}
        for language, both in sorted(self.held.items()):
            values = np.sort(self._pruned(*both)[1])
            points[language] = tuple(values[np.arange(1, STEPS) * len(values) // STEPS].tolist())
        return QualityScale(points)


def band_names(edges: tuple[float, ...]) -> list[str]:
    """Names of the bands that ranks are parted into, the last for documents without a quality: `0-50 %`, `50-90 %`, `90-100 %`, `none`."""
    ends = [0.0, *edges, 1.0]
    return [*(f"{100 * low:g}-{100 * high:g} %" for low, high in itertools.pairwise(ends)), "none"]


def bands_of(ranks: Reals, edges: tuple[float, ...]) -> npt.NDArray[np.int64]:
    """int64[n]: the band of each rank, an index into `band_names`."""
    return np.where(np.isnan(ranks), len(edges) + 1, np.searchsorted(np.array(edges), np.nan_to_num(ranks), side="right"))
