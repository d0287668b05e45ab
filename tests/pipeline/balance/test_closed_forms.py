"""The plan beside the formulas its methods are named after: UniMax's algorithm, p_i ~ n_i**alpha, and proportional shares."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.balance.config import PhaseConfig
from pipeline.balance.plan import Supply, plan_phase, water_fill


def unimax(sizes: list[int], budget: float, epochs: float) -> list[float]:
    """Algorithm 1 of Chung et al. 2023 (arXiv:2304.09151), before it divides by the sum: tokens of each language."""
    found = [0.0] * len(sizes)
    left = budget
    for done, index in enumerate(sorted(range(len(sizes)), key=lambda index: sizes[index])):
        even = left / (len(sizes) - done)
        found[index] = min(even, math.floor(sizes[index] * epochs))
        left -= found[index]
    return found


def temperature(sizes: list[int], budget: float, alpha: float, epochs: float) -> list[float]:
    """Tokens in proportion to size**alpha; a label that this would use more than `epochs` times gets just that, and the rest is shared
    out again in the same proportions among the others, until none is above."""
    full: set[int] = set()
    while True:
        left = budget - sum(math.floor(sizes[index] * epochs) for index in full)
        open_ = [index for index in range(len(sizes)) if index not in full]
        total = sum(sizes[index] ** alpha for index in open_)
        wanted = {index: left * sizes[index] ** alpha / total for index in open_}
        over = {index for index in open_ if wanted[index] > math.floor(sizes[index] * epochs)}
        if not over:
            return [wanted.get(index, math.floor(sizes[index] * epochs)) for index in range(len(sizes))]
        full |= over


SIZES = st.lists(st.one_of(st.integers(1, 10**12), st.integers(1, 1000)), min_size=1, max_size=12)
EPOCHS = st.sampled_from([1.0, 1.5, 2.0, 4.0, 10.0])


def planned(sizes: list[int], budget: int, **settings: object) -> list[int]:
    supplies = [Supply("ko", f"label{index:02}", 1, size * 4, size) for index, size in enumerate(sizes)]
    phase = PhaseConfig.model_validate({"tokens": budget, "languages": {"ko": 1.0}} | settings)
    return [target.tokens for target in plan_phase("general", phase, supplies, "error").targets]


def budget_of(sizes: list[int], epochs: float, place: float) -> int:
    return max(1, math.floor(sum(math.floor(size * epochs) for size in sizes) * place * (1 - 1e-9)))


def assert_whole(tokens: list[int], expected: list[float], budget: int) -> None:
    """Equal but for rounding to whole tokens."""
    assert sum(tokens) == budget
    assert tokens == pytest.approx(expected, rel=1e-9, abs=1.01)


@settings(deadline=None, max_examples=60)
@given(SIZES, EPOCHS, st.floats(0, 1))
def test_unimax_is_the_papers_algorithm(sizes, epochs, place):
    budget = budget_of(sizes, epochs, place)
    assert_whole(planned(sizes, budget, method="unimax", max_epochs=epochs), unimax(sizes, budget, epochs), budget)


@settings(deadline=None, max_examples=60)
@given(SIZES, EPOCHS, st.floats(0, 1), st.floats(0, 1))
def test_temperature_is_size_to_the_power_alpha_under_the_caps(sizes, epochs, place, alpha):
    budget = budget_of(sizes, epochs, place)
    tokens = planned(sizes, budget, method="temperature", alpha=alpha, max_epochs=epochs)
    assert_whole(tokens, temperature(sizes, budget, alpha, epochs), budget)


@settings(deadline=None, max_examples=40)
@given(SIZES, st.floats(0, 1))
def test_temperature_is_unimax_at_zero_and_proportional_at_one(sizes, place):
    budget = budget_of(sizes, 2.0, place)

    def method(name: str, alpha: float = 0.5) -> list[int]:
        return planned(sizes, budget, method=name, alpha=alpha, max_epochs=2.0)

    assert method("temperature", 0.0) == method("unimax")
    assert method("temperature", 1.0) == method("proportional")
    total = sum(sizes)
    assert_whole(method("proportional"), [budget * size / total for size in sizes], budget)


@settings(deadline=None, max_examples=40)
@given(SIZES, EPOCHS, st.floats(0, 1), st.floats(0, 1))
def test_water_filling_itself_has_these_closed_forms(sizes, epochs, place, alpha):
    caps = np.array([math.floor(size * epochs) for size in sizes], np.float64)
    budget = float(caps.sum()) * place
    nothing, ones = np.zeros(len(sizes)), np.ones(len(sizes))
    assert water_fill(budget, ones, nothing, caps) == pytest.approx(unimax(sizes, budget, epochs), rel=1e-9, abs=1e-6)
    weights = np.array(sizes, np.float64) ** alpha
    expected = temperature(sizes, budget * (1 - 1e-12), alpha, epochs)
    assert water_fill(budget, weights, nothing, caps) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(SIZES, EPOCHS, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_budget_takes_nothing_from_any_label(sizes, epochs, one, two):
    smaller, larger = sorted(budget_of(sizes, epochs, place) for place in (one, two))
    for method in ("unimax", "temperature", "proportional"):
        before, after = (planned(sizes, budget, method=method, max_epochs=epochs) for budget in (smaller, larger))
        assert all(old <= new + 1 for old, new in zip(before, after, strict=True))
