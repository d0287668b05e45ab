"""The guard: which losses are suspicious, and when it is enough."""

from __future__ import annotations

import math

import pytest

from training.guard import Guard, Verdict

STEADY = [2.0 + 0.1 * (-1) ** step for step in range(20)]


def _guard(**changes):
    return Guard(**{"sigma": 6.0, "window": 20, "on_spike": "skip", "max_skipped": 3, **changes})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_suspicious_from_the_start(bad):
    assert _guard().judge(bad) is Verdict.skip


def test_a_spike_is_one_above_mean_and_deviations_of_the_window():
    guard = _guard()
    assert [guard.judge(loss) for loss in STEADY] == [Verdict.take] * 20
    assert guard.limit == pytest.approx(2.0 + 6.0 * 0.1)
    assert guard.judge(2.59) is Verdict.take
    assert _guard(losses=STEADY).judge(2.61) is Verdict.skip


def test_before_the_window_is_full_nothing_is_a_spike():
    assert _guard(losses=STEADY[:19]).judge(1000.0) is Verdict.take


def test_a_spike_does_not_count_in_what_later_losses_are_compared_with():
    guard = _guard(losses=STEADY)
    guard.judge(50.0)
    assert guard.losses == tuple(STEADY)


def test_a_fall_is_no_spike():
    assert _guard(losses=STEADY).judge(0.1) is Verdict.take


@pytest.mark.parametrize("on_spike", ["skip", "rewind", "stop"])
def test_the_setting_decides_until_there_are_too_many(on_spike):
    guard = _guard(on_spike=on_spike)
    verdicts = [guard.judge(math.nan) for _ in range(4)]
    assert verdicts == [Verdict(on_spike)] * 3 + [Verdict.stop]


def test_steps_left_out_long_ago_are_forgotten():
    guard = _guard(losses=STEADY)
    for _ in range(3):
        assert [guard.judge(math.nan), guard.refused()] == [Verdict.skip] * 2
        assert [guard.judge(loss) for loss in STEADY] == [Verdict.take] * 20


def test_goes_on_from_earlier_losses_as_if_never_interrupted():
    whole, first = _guard(), _guard()
    for loss in STEADY[:13]:
        whole.judge(loss), first.judge(loss)
    second = _guard(losses=first.losses)
    for loss in [*STEADY[13:], 2.2, 5.0, 2.0]:
        assert whole.judge(loss) == second.judge(loss) and whole.limit == second.limit
