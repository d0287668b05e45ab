"""The curve: probabilities against simulated sketches, monotone and bounded, and drawn within a terminal's width."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import indent

import numpy as np
import pytest

from pipeline.dedup.bands import choose_bands, rejection_limits
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.curve import as_json, curve, render, verified_probability
from pipeline.errors import UserError


@pytest.mark.parametrize(
    ("permutations", "bands", "rows", "threshold"), [(128, 17, 7, 0.8), (64, 5, 9, 0.6), (32, 32, 1, 0.5), (48, 1, 16, 0.9)]
)
def test_verified_is_what_simulated_sketches_do(permutations, bands, rows, threshold):
    """Slots equal at random with the pair's similarity: the twin counts bands and slots."""
    random = np.random.default_rng(7)
    limit = int(rejection_limits(threshold, permutations)[permutations])
    for similarity in (0.3, threshold - 0.05, threshold, 0.97):
        equal = random.random((20_000, permutations)) < similarity
        equal_byte = equal | (random.random(equal.shape) < 1 / 256)
        shared = equal[:, : bands * rows].reshape(-1, bands, rows).all(axis=2).any(axis=1)
        measured = (shared & (equal_byte.sum(axis=1) >= limit)).mean()
        expected = verified_probability(np.array([similarity]), bands, rows, permutations, limit)[0]
        assert abs(measured - expected) < 4 * np.sqrt(expected * (1 - expected) / 20_000) + 1e-9


@pytest.mark.parametrize(
    "settings",
    [{}, {"threshold": 0.97, "permutations": 1024}, {"threshold": 0.5, "bands": 16, "rows": 1, "permutations": 16}, {"threshold": 1.0}],
)
def test_probabilities_rise_with_similarity_and_ruling_out_only_takes_away(settings):
    found = curve(DedupConfig(**settings))
    for values in (found.compared, found.verified):
        assert (np.diff(values) >= -1e-9).all() and values[0] == pytest.approx(0.0, abs=1e-12) and values[-1] == pytest.approx(1.0)
    assert (found.verified <= found.compared + 1e-9).all()
    assert found.threshold in found.similarity


def test_the_default_loses_little_at_its_threshold():
    found = curve(DedupConfig())
    at = found.similarity == 0.8
    assert found.compared[at] == pytest.approx(found.setting.at_threshold)
    assert found.verified[at] > 0.975 and found.verified[found.similarity < 0.55].max() < 0.001


def test_bands_are_those_of_the_configuration_or_chosen():
    chosen, given = curve(DedupConfig(threshold=0.7)), curve(DedupConfig(bands=14, rows=8))
    assert (chosen.setting.bands, chosen.setting.rows) == choose_bands(0.7, 128) and chosen.chosen
    assert (given.setting.bands, given.setting.rows) == (14, 8) and not given.chosen
    fineweb = given.others[0]
    assert (given.setting.missed, given.setting.needless) == (fineweb.missed, fineweb.needless)


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.8, 0.999, 1.0])
@pytest.mark.parametrize("permutations", [16, 128])
def test_rendered_within_80_columns_with_the_threshold_marked(threshold, permutations):
    found = curve(DedupConfig(threshold=threshold, permutations=permutations))
    lines = render(found, compare=True).split("\n")
    assert max(map(len, lines)) <= 80
    mark = next(line for line in lines if "▲" in line)
    assert mark.index("▲") == 7 + round(threshold * 64) and f"threshold {threshold:g}" in mark
    assert sum("<- threshold" in line for line in lines) == 1
    assert len(render(found).split("\n")) == len(lines) - 6


def test_the_chart_shows_the_probabilities():
    found = curve(DedupConfig())
    lines = render(found).split("\n")
    rows = [line[7:].ljust(65) for line in lines[lines.index("") + 1 :][:10]]
    heights = [sum(row[column] in "▁▂▃▄▅▆▇█" for row in rows) for column in range(65)]
    assert heights == sorted(heights) and heights[0] == 0 and heights[-1] == 10
    column = round(0.7 * 64)
    assert abs(heights[column] / 10 - found.verified[found.similarity == 0.7][0]) < 0.15


def test_json_holds_the_numbers():
    found = curve(DedupConfig(threshold=0.75))
    told = json.loads(json.dumps(as_json(found)))
    assert told["threshold"] == 0.75 and told["setting"]["bands"] == found.setting.bands
    assert [other["name"] for other in told["others"]] == ["FineWeb", "NeMo Curator", "datasketch"]
    assert [point["similarity"] for point in told["points"]] == pytest.approx(found.similarity.tolist())
    assert [point["verified"] for point in told["points"]] == pytest.approx(found.verified.tolist(), abs=1e-6)


def test_without_near_duplicates_there_is_no_curve():
    with pytest.raises(UserError, match=r"dedup\.near is false.*set it to true"):
        curve(DedupConfig(near=False))


def test_the_documentation_shows_what_is_printed():
    page = (Path(__file__).resolve().parents[3] / "docs" / "dedup_curve.md").read_text(encoding="utf-8")
    printed = render(curve(DedupConfig())).split("\n\nsimilarity")[0]
    assert indent(printed, "    ") in page
