"""The curve: with which probability a pair of documents is found, by its similarity, before any text is compared.

Two probabilities per similarity. Compared: the sketches share a band (`bands.candidate_probability`). Verified: they do, and their estimate
is not so far below the threshold that the pair is ruled out (`bands.rejection_limits`); the texts of such a pair are compared exactly.
The second one is exact for sketches whose slots are independent and all filled: those of minhash, and those of oph for documents with many
more shingles than slots. Shorter documents are ruled out less often.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.dedup.bands import areas, candidate_probability, choose_bands, rejection_limits
from pipeline.dedup.config import DedupConfig
from pipeline.errors import UserError

PEERS = (("FineWeb", 14, 8), ("NeMo Curator", 20, 13))
"""Bands and rows of others, whatever the threshold: datatrove's recipe for FineWeb and NeMo Curator's fuzzy deduplication."""

_STEP = 0.01
_LISTED = (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
_WIDTH, _HEIGHT = 65, 10
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Setting:
    """Bands and rows with a name, their `areas` and the probability that a pair right at the threshold is compared."""

    name: str
    bands: int
    rows: int
    missed: float
    needless: float
    at_threshold: float


@dataclass(frozen=True)
class Curve:
    """What `curve` found. similarity, compared, verified: float64[m], ascending by similarity, the threshold among them.

    setting: the bands in use. chosen: they were chosen for the threshold, not given. limit: equal slots (by
    their low bytes) below which a compared pair is ruled out. others: what other settings would do.
    """

    threshold: float
    sketch: str
    permutations: int
    limit: int
    chosen: bool
    setting: Setting
    others: tuple[Setting, ...]
    similarity: np.ndarray
    compared: np.ndarray
    verified: np.ndarray


def curve(config: DedupConfig) -> Curve:
    """The curve of a configuration.

    Raises UserError for one that doesn't look for near duplicates.
    """
    if not config.near:
        raise UserError("dedup.near is false, so no pair is looked for and there is no curve; set it to true")
    bands, rows = (config.bands, config.rows) if config.bands and config.rows else choose_bands(config.threshold, config.permutations)
    limit = int(rejection_limits(config.threshold, config.permutations)[config.permutations])
    similarity = np.unique(np.append(np.round(np.arange(0, 1 + _STEP / 2, _STEP), 10), config.threshold))
    others = [_setting(*peer, config.threshold) for peer in PEERS]
    others.append(_setting("datasketch", *choose_bands(config.threshold, config.permutations, 0.5), config.threshold))
    return Curve(
        threshold=config.threshold,
        sketch=config.sketch,
        permutations=config.permutations,
        limit=limit,
        chosen=config.bands is None,
        setting=_setting("this configuration", bands, rows, config.threshold),
        others=tuple(others),
        similarity=similarity,
        compared=np.asarray(candidate_probability(similarity, bands, rows)),
        verified=verified_probability(similarity, bands, rows, config.permutations, limit),
    )


def _setting(name: str, bands: int, rows: int, threshold: float) -> Setting:
    return Setting(name, bands, rows, *areas(threshold, bands, rows), float(candidate_probability(threshold, bands, rows)))


def verified_probability(similarity: np.ndarray, bands: int, rows: int, permutations: int, limit: int) -> np.ndarray:
    """float64[m]: the probability that a pair shares a band and has at least `limit` slots of `permutations` whose low bytes are equal.

    Slots are independent, equal with the pair's similarity, and unlike ones share their low byte, which is what is kept of them, 1 in 256
    times. The number of equal bytes is binomial, but not independent of the bands, as they are the same slots. So: the probability of
    `limit` equal bytes, less that of as many without a band of equal slots, by convolution over the bands and what is beyond them.
    """
    found = np.empty(len(similarity))
    for index, value in enumerate(similarity.tolist()):
        equal_byte = value + (1.0 - value) / 256
        band = _binomial(rows, equal_byte)
        band[rows] -= value**rows
        apart = np.convolve(_power(band, bands), _binomial(permutations - bands * rows, equal_byte))
        found[index] = _binomial(permutations, equal_byte)[limit:].sum() - apart[limit:].sum()
    return np.clip(found, 0.0, 1.0)


def _binomial(count: int, chance: float) -> np.ndarray:
    """float64[count + 1]: the probabilities of 0 to `count` successes, by logarithms, as the coefficients overflow."""
    successes = np.arange(count + 1)
    if chance in (0.0, 1.0):
        return (successes == count * chance).astype(float)
    factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, count + 1)))))
    ways = factorial[count] - factorial - factorial[::-1]
    return np.exp(ways + successes * np.log(chance) + (count - successes) * np.log1p(-chance))


def _power(distribution: np.ndarray, count: int) -> np.ndarray:
    """The distribution of the sum of `count` independent numbers of this one, by repeated squaring."""
    result = np.ones(1)
    while count:
        if count % 2:
            result = np.convolve(result, distribution)
        count //= 2
        if count:
            distribution = np.convolve(distribution, distribution)
    return result


def render(curve: Curve, compare: bool = False) -> str:
    """The curve for a terminal, at most 80 columns wide: the choice, a chart, a table; with `compare` others' settings beside it."""
    one = curve.setting
    origin = "chosen for it by least area" if curve.chosen else "as configured"
    lines = [
        f"Threshold {curve.threshold:g}: {one.bands} bands of {one.rows} slots, {origin}.",
        f"Uses {one.bands * one.rows} of the {curve.permutations} slots of a sketch ({curve.sketch}).",
        f"Compared pairs with fewer than {curve.limit} equal slots are ruled out.",
        f"Area of missed pairs {one.missed:.4f}, of needless comparisons {one.needless:.4f}.",
        "",
        *_chart(curve),
        "",
        *_table(curve),
    ]
    if compare:
        lines += ["", f"{'':20} bands x rows   at {curve.threshold:<6g}  missed    needless"]
        for other in (one, *curve.others):
            size = f"{other.bands} x {other.rows}"
            lines.append(f"{other.name:20} {size:>12} {other.at_threshold:>10.4f} {other.missed:>9.4f} {other.needless:>9.4f}")
    return "\n".join(lines)


def _chart(curve: Curve) -> list[str]:
    """A column per 1/64 of similarity: full blocks for verified, light ones for compared and ruled out, a line at the threshold."""
    similarity = np.linspace(0.0, 1.0, _WIDTH)
    one = curve.setting
    compared = np.asarray(candidate_probability(similarity, one.bands, one.rows)) * _HEIGHT
    verified = verified_probability(similarity, one.bands, one.rows, curve.permutations, curve.limit) * _HEIGHT
    threshold = round(curve.threshold * (_WIDTH - 1))
    lines = []
    for level in reversed(range(_HEIGHT)):
        cells = []
        for column in range(_WIDTH):
            eighths = int(np.clip(round((verified[column] - level) * 8), 0, 8))
            light = compared[column] - level >= 0.5
            cells.append(_BLOCKS[eighths] if eighths else "░" if light else "│" if column == threshold else " ")
        label = f"{10 * (level + 1):>3} %" if level % 2 else ""
        lines.append(f"{label:>6} {''.join(cells)}".rstrip())
    axis = [" "] * (_WIDTH + 4)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        start = round(tick * (_WIDTH - 1))
        axis[start : start + len(f"{tick:g}")] = f"{tick:g}"
    mark = f"{'':7}{'':{threshold}}▲ threshold {curve.threshold:g}"
    if len(mark) > 80:
        text = f"threshold {curve.threshold:g} "
        mark = f"{'':7}{'':{threshold - len(text)}}{text}▲"
    return [*lines, f"{'':7}{''.join(axis)}".rstrip(), mark, "       █ verified by text   ░ compared, ruled out by the sketches"]


def _table(curve: Curve) -> list[str]:
    """Probabilities at round similarities and at the threshold."""
    lines = ["similarity   compared   verified"]
    for value in sorted({*_LISTED, curve.threshold}):
        index = int(np.argmin(np.abs(curve.similarity - value)))
        mark = "  <- threshold" if value == curve.threshold else ""
        lines.append(f"{value:>10g}   {curve.compared[index]:8.4f}   {curve.verified[index]:8.4f}{mark}")
    return lines


def as_json(curve: Curve) -> dict[str, Any]:
    """The curve as JSON values: `points` of similarity, compared and verified, and everything else by its name."""
    names = ("threshold", "sketch", "permutations", "limit", "chosen")
    points = zip(*(_rounded(values) for values in (curve.similarity, curve.compared, curve.verified)), strict=True)
    return {
        **{name: getattr(curve, name) for name in names},
        "setting": asdict(curve.setting),
        "others": [asdict(other) for other in curve.others],
        "points": [{"similarity": one, "compared": compared, "verified": verified} for one, compared, verified in points],
    }


def _rounded(values: np.ndarray) -> Iterable[float]:
    return np.round(values, 6).tolist()
