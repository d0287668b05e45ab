"""The measures against their definitions, and the lines that fastText sees."""

from __future__ import annotations

import unicodedata
from fractions import Fraction

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.classify.calibration import BINS, PERCENTILES, calibration, equal_mass_bins, percentiles
from pipeline.classify.lines import normal_lines
from pipeline.classify.metrics import area_under_curve, average_precision, evaluate

SCORED = st.lists(st.tuples(st.integers(0, 8).map(lambda number: number / 8), st.booleans()), max_size=60)


def arrays(scored: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in scored], np.float64), np.array([positive for _, positive in scored], np.bool_)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_area_under_curve_is_the_share_of_ordered_pairs(scored: list[tuple[int, bool]]) -> None:
    good = [score for score, positive in scored if positive]
    bad = [score for score, positive in scored if not positive]
    pairs = [1.0 if g > b else 0.5 if g == b else 0.0 for g in good for b in bad]
    found = area_under_curve(np.array([score for score, _ in scored], np.float64), np.array([positive for _, positive in scored], np.bool_))
    assert found is None if not pairs else found is not None and abs(found - sum(pairs) / len(pairs)) < 1e-12


@given(SCORED)
def test_average_precision_goes_threshold_by_threshold(scored: list[tuple[float, bool]]) -> None:
    positives = sum(positive for _, positive in scored)
    expected, recall = 0.0, 0.0
    for threshold in sorted({score for score, _ in scored}, reverse=True):
        chosen = [positive for score, positive in scored if score >= threshold]
        now = sum(chosen) / max(positives, 1)
        expected, recall = expected + (now - recall) * sum(chosen) / len(chosen), now
    found = average_precision(*arrays(scored))
    assert found is None if not positives else found is not None and abs(found - expected) < 1e-12


@given(st.integers(1, 200))
def test_bins_of_distinct_scores_have_equal_mass(count: int) -> None:
    bins = equal_mass_bins(np.random.default_rng(count).permutation(count).astype(np.float64))
    sizes = np.bincount(bins, minlength=BINS)
    assert sizes.sum() == count and len(sizes) == BINS and sizes.max() - sizes.min() <= 1


@given(SCORED)
def test_calibration_by_its_definition(scored: list[tuple[float, bool]]) -> None:
    """The bin of a score is the tenth in which the middle of its places lies."""
    found = calibration(*arrays(scored))
    if not scored:
        assert found == {"expected_error": None, "brier": None, "reliability": []}
        return
    bins: dict[int, list[tuple[float, bool]]] = {}
    for score, positive in scored:
        below, equal = sum(other < score for other, _ in scored), sum(other == score for other, _ in scored)
        bins.setdefault(int(Fraction(BINS) * (below + Fraction(equal, 2)) / len(scored)), []).append((score, positive))
    gaps = [abs(sum(score for score, _ in of_bin) - sum(positive for _, positive in of_bin)) for of_bin in bins.values()]
    assert abs(found["expected_error"] - sum(gaps) / len(scored)) < 1e-4
    assert abs(found["brier"] - sum((score - positive) ** 2 for score, positive in scored) / len(scored)) < 1e-4
    assert [row["documents"] for row in found["reliability"]] == [len(bins[index]) for index in sorted(bins)]
    assert found == calibration(*arrays(scored[::-1]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_percentiles_are_scores_that_documents_have(scores: list[float]) -> None:
    found = percentiles(np.array(scores))
    for percentile in PERCENTILES:
        smallest = next(score for score in sorted(scores) if sum(other <= score for other in scores) * 100 >= percentile * len(scores))
        assert abs(found[str(percentile)] - smallest) < 1e-6
    assert percentiles(np.zeros(0)) == {}


def test_evaluate_by_hand() -> None:
    truth = np.array([0, 0, 1, 1])
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    found = evaluate(["a", "b"], truth, scores, positive=1)
    assert found["accuracy"] == 0.75 and found["auc"] == 1.0
    assert found["labels"]["a"] == {"documents": 2, "precision": 1.0, "recall": 0.5, "f1": 0.6667}
    assert found["confusion"] == [[1, 1], [0, 2]] and found["average_precision"] == 1.0
    assert found["calibration"]["brier"] == round((0.01 + 0.36 + 0.04 + 0.09) / 4, 4)
    several = evaluate(["a", "b"], truth, scores, None)
    assert several["calibration"]["brier"] == round(2 * (0.01 + 0.36 + 0.04 + 0.09) / 4, 4) and "average_precision" not in several
    assert several["percentiles"]["50"] == 0.7
    nothing = evaluate(["a", "b"], np.zeros(0, np.int64), np.zeros((0, 2)), None)
    assert nothing["accuracy"] is None and nothing["calibration"]["brier"] is None and nothing["confusion"] == [[0, 0], [0, 0]]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=5), st.integers(1, 30))
def test_lines_are_lines_of_words_one_space_apart(texts: list[str | None], max_chars: int) -> None:
    lines = normal_lines(pa.chunked_array([pa.array(texts, pa.large_string())]), max_chars)
    assert len(lines) == len(texts)
    for line in lines:
        assert " ".join(line.split(" ")).strip(" ") == line and "  " not in line
        assert not set(line) & set("\n\r\t\v\f\0") and "__label__" not in line and "</s>" not in line
    again = normal_lines(pa.chunked_array([pa.array(lines, pa.large_string())]), 10_000)
    assert [line.split() for line in again] == [line.split() for line in lines] or any("İ" in (text or "") for text in texts)


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=5))
def test_jamo_lines_are_the_syllable_lines_decomposed(texts: list[str]) -> None:
    column = pa.array(texts, pa.large_string())
    assert normal_lines(column, 30, "jamo") == [unicodedata.normalize("NFD", line) for line in normal_lines(column, 30)]


def test_a_syllable_is_two_or_three_jamo() -> None:
    assert normal_lines(pa.array(["갔다 café"], pa.large_string()), 100, "jamo") == ["\u1100\u1161\u11bb\u1103\u1161 cafe\u0301"]


def test_the_cut_comes_before_normalisation() -> None:
    assert normal_lines(pa.array(["ＡＢ cd ef"], pa.large_string()), 4) == ["ab c"]
    assert normal_lines(pa.array(["한" * 9], pa.large_string()), 4) == ["한" * 4]
