"""The page of a training: of any log that a training writes, with any names, and sentences for what isn't one."""

from __future__ import annotations

import json

import pytest

from pipeline.errors import UserError
from tests.training.plan_scene import PlanScene
from training.plan_json import as_json
from training.training_page import render_page, write_page


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return as_json(PlanScene(tmp_path_factory.mktemp("plan")).plan())


def test_a_training_without_steps_and_hostile_names_and_losses_that_are_not_finite(plan):
    hostile = "<script>\u202e&\x00"
    named = json.loads(json.dumps(plan).replace('"general"', json.dumps(hostile)).replace('"small"', json.dumps(hostile)))
    facts = {"loss": None, "grad_norm": None, "learning_rate": 0.1, "tokens_per_second": 1.0, "streams": {}, "languages": {}}
    step = {"kind": "step", "step": 1, "tokens": 10, "stage": hostile, **facts}
    for log in ([], [step], [step, {"kind": "event", "step": 1, "text": hostile}]):
        page = render_page(named, log)
        assert "<script" not in page and "\u202e" not in page and "\x00" not in page


@pytest.mark.parametrize(
    ("log", "message"), [("[1]", "no training wrote"), ('{"kind": "step"}', "no training wrote"), ("{", "can't be read")]
)
def test_other_lines_are_a_sentence(plan, tmp_path, log, message):
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "log.jsonl").write_text(log)
    with pytest.raises(UserError, match=message):
        write_page(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(UserError, match="can't be read"):
        write_page(tmp_path)
