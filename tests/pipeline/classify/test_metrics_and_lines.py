"""The measures against their definitions, and the lines that fastText sees."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.classify.lines import normal_lines
from pipeline.classify.metrics import area_under_curve, evaluate


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_area_under_curve_is_the_share_of_ordered_pairs(scored: list[tuple[int, bool]]) -> None:
    good = [score for score, positive in scored if positive]
    bad = [score for score, positive in scored if not positive]
    pairs = [1.0 if g > b else 0.5 if g == b else 0.0 for g in good for b in bad]
    found = area_under_curve(np.array([score for score, _ in scored], np.float64), np.array([positive for _, positive in scored], np.bool_))
    assert found is None if not pairs else found is not None and abs(found - sum(pairs) / len(pairs)) < 1e-12


def test_evaluate_by_hand() -> None:
    truth = np.array([0, 0, 1, 1])
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    found = evaluate(["a", "b"], truth, scores, positive=1)
    assert found["accuracy"] == 0.75 and found["auc"] == 1.0
    assert found["labels"]["a"] == {"documents": 2, "precision": 1.0, "recall": 0.5, "f1": 0.6667}
    assert evaluate(["a", "b"], np.zeros(0, np.int64), np.zeros((0, 2)), None)["accuracy"] is None


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


def test_the_cut_comes_before_normalisation() -> None:
    assert normal_lines(pa.array(["ＡＢ cd ef"], pa.large_string()), 4) == ["ab c"]
    assert normal_lines(pa.array(["한" * 9], pa.large_string()), 4) == ["한" * 4]
