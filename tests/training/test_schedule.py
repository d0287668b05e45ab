"""The learning rate: closed forms at their corners, continuity, monotony."""

from __future__ import annotations

import itertools
import math

import pytest

from training.plan import Schedule
from training.schedule import learning_rate

TOKENS = 1000
WSD = Schedule("wsd", 0.3, warmup_tokens=100, decay_tokens=200, final_ratio=0.1)
COSINE = Schedule("cosine", 0.3, warmup_tokens=100, final_ratio=0.1)
CONSTANT = Schedule("constant", 0.3, warmup_tokens=100)


def rate(schedule: Schedule, consumed: int, tokens: int = TOKENS) -> float:
    return learning_rate(schedule, tokens, consumed)


@pytest.mark.parametrize("schedule", [WSD, COSINE, CONSTANT])
def test_warm_up_is_a_line_from_zero_to_the_peak(schedule):
    assert rate(schedule, 0) == 0
    assert rate(schedule, 50) == pytest.approx(0.15, abs=1e-15)
    assert rate(schedule, 100) == 0.3


@pytest.mark.parametrize("shape", ["linear", "cosine", "sqrt"])
def test_wsd_is_stable_then_decays_and_stays(shape):
    schedule = Schedule("wsd", 0.3, 100, 200, shape, 0.1)
    assert {rate(schedule, consumed) for consumed in range(100, 801)} == {0.3}
    halfway = {"linear": 0.5, "cosine": 0.5, "sqrt": 1 - math.sqrt(0.5)}[shape]
    assert rate(schedule, 900) == pytest.approx(0.03 + 0.27 * halfway, abs=1e-15)
    assert rate(schedule, 1000) == rate(schedule, 1001) == rate(schedule, 10**9) == pytest.approx(0.03, abs=1e-15)


def test_cosine_reaches_its_end_with_the_stage():
    assert rate(COSINE, 550) == pytest.approx((0.3 + 0.03) / 2, abs=1e-15)
    assert rate(COSINE, 1000) == rate(COSINE, 1001) == pytest.approx(0.03, abs=1e-15)


def test_without_warm_up_or_decay():
    assert rate(Schedule("wsd", 0.3), 0) == rate(Schedule("wsd", 0.3), TOKENS) == rate(Schedule("constant", 0.3), 5) == 0.3
    assert rate(Schedule("cosine", 0.3, warmup_tokens=TOKENS), TOKENS) == 0.3  # no token is left to decay over
    assert rate(Schedule("wsd", 0.3, decay_tokens=TOKENS, final_ratio=0.0), TOKENS) == 0.0


@pytest.mark.parametrize("schedule", [WSD, COSINE, CONSTANT, Schedule("wsd", 0.3, 100, 900, "cosine"), Schedule("wsd", 0.3, 0, 1000)])
def test_rises_through_the_warm_up_and_never_again(schedule):
    rates = [rate(schedule, consumed) for consumed in range(TOKENS + 2)]
    warm = rates[: schedule.warmup_tokens + 1]
    assert all(before < after for before, after in itertools.pairwise(warm))
    rest = rates[schedule.warmup_tokens :]
    assert all(before >= after for before, after in itertools.pairwise(rest))
    assert max(rates) == schedule.peak and min(rest) >= schedule.peak * schedule.final_ratio - 1e-15


@pytest.mark.parametrize("schedule", [WSD, COSINE, Schedule("wsd", 0.3, 100, 200, "cosine")])
def test_no_leap_at_the_seams(schedule):
    """Of 10**15 tokens one changes next to nothing, on whichever side of a seam it lies."""
    scale = 10**12
    long = Schedule(
        schedule.kind, schedule.peak, schedule.warmup_tokens * scale, schedule.decay_tokens * scale, schedule.decay, schedule.final_ratio
    )
    for seam in (100, 800, 1000):
        around = [rate(long, seam * scale + step, TOKENS * scale) for step in (-1, 0, 1)]
        assert max(around) - min(around) < 1e-12
