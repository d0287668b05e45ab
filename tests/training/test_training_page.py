"""The page of a training: complete from a log, nothing of it trusted, honest about what isn't there."""

from __future__ import annotations

import json
import re

import pytest

from pipeline.errors import UserError
from training.model_config import ModelConfig
from training.plan import Optimizer, Plan, Schedule, Stage
from training.plan_json import as_json
from training.streams import WEIGHTS, Stream
from training.training_page import POINTS, render_page, write_page

MODEL = ModelConfig(8, 1, 2, 1, 4, 16, vocab_size=300)
STREAMS = (Stream("ko", 0, 3 * WEIGHTS // 4, "fresh", 0, 300), Stream("en", 1, WEIGHTS // 4, "fresh", 0, 100))
STAGES = tuple(Stage(name, MODEL, 8, 400, 4, Schedule("constant", 1e-3), STREAMS) for name in ("general", "domain"))
PLAN = as_json(
    Plan(
        "<script>alert(1)</script>", 7, "tokenizer", "0" * 64, MODEL, None, Optimizer(), (), STAGES, None, fingerprint="f" * 32, contents=()
    )
)


def step(number: int, stage: str = "general", loss: float = 2.0) -> dict:
    facts = {"loss": loss, "tokens": 100, "bits_per_byte": 1.0}
    return {
        "kind": "step",
        "step": number,
        "stage": stage,
        "tokens": number * 32,
        "loss": loss,
        "learning_rate": 1e-3,
        "grad_norm": 1.0,
        "tokens_per_second": 1000.0,
        "streams": {"ko": {**facts, "tokens": 300}, "en": facts},
        "languages": {"ko": facts, "en": facts},
    }


def validation(number: int, stage: str) -> dict:
    facts = {"loss": 1.25, "tokens": 640, "bits_per_byte": 0.5, "unigram_loss": 6.5}
    return {"kind": "validation", "step": number, "stage": stage, "tokens": number * 32, "loss": 1.25, "languages": {"ko": facts}}


def test_it_shows_stages_streams_losses_and_events():
    event = {"kind": "event", "step": 3, "text": "left out\u202e <b>"}
    page = render_page(PLAN, [step(1), event, step(100), validation(100, "general"), step(101, "domain", 1.5)])
    assert "<script" not in page and "alert(1)" in page and "\u202e" not in page and "<b>" not in page
    assert re.search(r"75\.0 %</td><td class=\"n\">75\.0 %", page)
    assert "1.250" in page and "6.500" in page
    assert page.count("<polyline") == 3 + 1 + 3


def test_a_long_log_has_curves_of_few_points():
    page = render_page(PLAN, [step(number, loss=float("nan") if number == 7 else 2.0) for number in range(1, 3 * POINTS)])
    for points in re.findall(r'<polyline class="c\d" points="([^"]*)"', page):
        assert len(points.split()) <= POINTS and "nan" not in points


def test_a_training_without_steps_says_so():
    assert "No step has been logged yet" in render_page(PLAN, [])


def test_a_folder_that_is_no_training_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no plan\.json"):
        write_page(tmp_path)
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    with pytest.raises(UserError, match=r"no log\.jsonl"):
        write_page(tmp_path)
    (tmp_path / "log.jsonl").write_text(json.dumps(step(1)) + "\n")
    assert "general" in write_page(tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("log", "message"), [("[1]", "no training wrote"), ('{"kind": "step"}', "no training wrote"), ("{", "can't be read")]
)
def test_other_lines_are_a_sentence(tmp_path, log, message):
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    (tmp_path / "log.jsonl").write_text(log)
    with pytest.raises(UserError, match=message):
        write_page(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(UserError, match="can't be read"):
        write_page(tmp_path)
