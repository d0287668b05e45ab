"""The plan in a training's folder: that of its checkpoints, whatever has become of plan.json."""

from __future__ import annotations

import json

import pytest

from pipeline.errors import UserError
from training import checkpoint
from training.run_folder import PLAN, settle_plan

OURS = {"fingerprint": "ours", "seed": 7}


def _difference(old, new):
    return [f"seed: {old['seed']} -> {new['seed']}"]


@pytest.fixture
def run(tmp_path):
    """With a checkpoint of OURS, and no plan.json."""
    found = tmp_path / "checkpoints" / checkpoint.name_of(1)
    found.mkdir(parents=True)
    (found / checkpoint.STATE).write_text(json.dumps({"fingerprint": "ours"}))
    (found / checkpoint.MANIFEST).write_text(json.dumps({checkpoint.STATE: checkpoint._facts(found / checkpoint.STATE)}))
    return tmp_path


@pytest.mark.parametrize("there", [None, '{"a', "{}", "[]", '{"fingerprint": "theirs", "seed": 8}'])
def test_checkpoints_of_another_plan_are_refused_without_their_plan_too(run, there):
    if there is not None:
        (run / PLAN).write_text(there)
    with pytest.raises(UserError, match=r"are of another plan \(plan.json isn't theirs\); take that plan"):
        settle_plan(run, {"fingerprint": "theirs", "seed": 8}, _difference)
    settle_plan(run, OURS, _difference)
    assert json.loads((run / PLAN).read_text()) == OURS
    with pytest.raises(UserError, match=r"are of another plan \(seed: 7 -> 8\); take that plan"):
        settle_plan(run, {"fingerprint": "theirs", "seed": 8}, _difference)
