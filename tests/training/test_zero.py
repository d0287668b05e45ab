"""ZeRO 1, 2 and 3 in two processes against an ordinary torch loop in one: losses and gradient norms, whatever the micro-batches."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.engine_scene import plain, run_cases

SHARDED = [{"zero_stage": stage, "tied": tied} for stage in (1, 2, 3) for tied in (False, True)]
MICRO = [{"zero_stage": stage, "micro_batch": micro} for stage in (1, 2) for micro in (1, 4)]
LEFT_OUT = [{"zero_stage": stage, reason: 2} for stage in (1, 2, 3) for reason in ("refuse", "broken")]
HALF = [{"zero_stage": stage, "precision": "bf16"} for stage in (1, 2, 3)]
HALF_LEFT_OUT = [{**case, reason: 2} for case in HALF for reason in ("refuse", "broken")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    cases = [*SHARDED, *MICRO, *LEFT_OUT, *HALF, *HALF_LEFT_OUT]
    found = run_cases(2, cases, tmp_path_factory.mktemp("zero") / "found.json")
    return {str(case): np.array(result) for case, result in zip(cases, found, strict=True)}


@pytest.mark.parametrize("case", [*SHARDED, *MICRO], ids=str)
def test_two_processes_train_as_one(runs, case):
    reference, found = np.array(plain(case.get("tied", False))), runs[str(case)]
    assert (reference[:, 1] > 0.5).all(), "clipping must be active"
    difference = found[:, :2] - reference
    assert np.abs(difference[:, 0]).max() < 1e-6 and np.abs(difference[:, 0].mean()) < 5e-7
    assert np.abs(difference[:, 1]).max() < 3e-6 and not found[:, 2].any()


@pytest.mark.parametrize("case", LEFT_OUT, ids=str)
def test_a_step_that_is_refused_or_not_finite_leaves_weights_and_moments_alone(runs, case):
    reference, found = np.array(plain(left_out=2)), runs[str(case)]
    assert found[:, 2].tolist() == [0, 0, 1, 0, 0, 0]
    assert np.abs(found[:, 0] - reference[:, 0]).max() < 1e-6
    assert np.isnan(found[2, 1]) == ("broken" in case)


@pytest.mark.parametrize("case", HALF, ids=str)
def test_bfloat16_with_float32_masters_stays_near(runs, case):
    assert np.abs(runs[str(case)][:, 0] - np.array(plain())[:, 0]).max() < 5e-3


@pytest.mark.parametrize("case", HALF_LEFT_OUT, ids=str)
def test_steps_are_left_out_in_bfloat16_too(runs, case):
    found = runs[str(case)]
    assert found[:, 2].tolist() == [0, 0, 1, 0, 0, 0]
    assert np.abs(found[:, 0] - np.array(plain(left_out=2))[:, 0]).max() < 5e-3
