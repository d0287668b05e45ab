"""Small labelled corpora, for tests of classify."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from pipeline.classify.config import TrainConfig

WORDS = {
    "sport": ["goal", "match", "league", "striker", "referee", "stadium", "coach", "trophy", "축구", "경기", "선수", "감독", "우승"],
    "science": ["atom", "cell", "theory", "experiment", "laboratory", "planet", "energy", "protein", "실험", "이론", "세포", "원자"],
}
COMMON = ["the", "a", "of", "and", "in", "on", "with", "for", "그리고", "그런데", "오늘", "어제"]


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Documents of two labels in two languages, told apart by their words."""
    chooser = random.Random(seed)
    made = []
    for number in range(count):
        label = ("sport", "science")[number % 2]
        words = [chooser.choice(WORDS[label] if chooser.random() < 0.5 else COMMON) for _ in range(30)]
        made.append({"id": f"d{number}", "text": f"{number} " + " ".join(words), "label": label, "lang": ("ko", "en")[number // 2 % 2]})
    return made


def write_rows(path: Path, records: list[dict[str, Any]]) -> str:
    """Write JSONL; returns the path as a configuration names it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return str(path)


def small(inputs: list[str], **settings: Any) -> TrainConfig:
    """Settings that train in a moment."""
    return TrainConfig.model_validate({"inputs": inputs, "dim": 8, "bucket": 2000, "epoch": 10, "held_out_share": 0.2, **settings})
