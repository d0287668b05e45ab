"""The cards: complete, readable, and safe whatever labels are called."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pipeline.classify.card import known_limits, render_card
from pipeline.classify.train import train_model
from tests.pipeline.classify.labelled_scene import rows, small, write_rows

HOSTILE = "a|b <img src=x onerror=alert(1)> [x](javascript:y) `c` \u202e **d**"


def test_hostile_labels_stay_text_in_the_readable_card(tmp_path: Path) -> None:
    names = {"sport": HOSTILE, "science": "science"}
    records = [record | {"label": names[record["label"]], "lang": "<script>"} for record in rows(60)]
    card = train_model(small([write_rows(tmp_path / "a|b.jsonl", records)], positive_label="science"), tmp_path / "m.bin")
    text = (tmp_path / "m.md").read_text(encoding="utf-8")
    assert "\u202e" not in text and "<img" not in re.sub(r"\\<", "", text) and "<script" not in re.sub(r"\\<", "", text)
    tables = [block for block in text.split("\n\n") if block.startswith("| ")]
    for block in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.split("\n")}
        assert len(widths) == 1, block
    assert len(tables) >= 8 and HOSTILE in card["documents"]


def test_the_card_has_every_measure_by_language(tmp_path: Path) -> None:
    records = rows(200)
    card = train_model(small([write_rows(tmp_path / "all.jsonl", records)], positive_label="science"), tmp_path / "m.bin")
    for facts in (card["held_out"], *card["languages"].values()):
        assert {"accuracy", "macro_f1", "auc", "average_precision", "calibration", "percentiles", "labels"} <= set(facts)
        assert sum(row["documents"] for row in facts["calibration"]["reliability"]) == facts["documents"]
        assert list(facts["percentiles"]) == ["1", "5", "10", "25", "50", "75", "90", "95", "99"]
    confusion = card["held_out"]["confusion"]
    assert sum(count for row in confusion.values() for count in row.values()) == card["held_out"]["documents"]
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8")) == card
    text = (tmp_path / "m.md").read_text(encoding="utf-8")
    for heading in ("Learned from", "Measured on held-out documents", "Scores", "Made by", "Known limits"):
        assert f"## {heading}" in text
    assert card["training_fingerprint"] in text and card["files"][0]["xxh3"] in text


def test_limits_name_languages_without_a_label(tmp_path: Path) -> None:
    records = [record for record in rows(200) if (record["lang"], record["label"]) != ("ko", "sport")]
    card = train_model(small([write_rows(tmp_path / "all.jsonl", records)]), tmp_path / "m.bin")
    limits = " ".join(known_limits(card))
    assert "In ko it saw no document of sport" in limits and "In en" not in limits
    assert "Fewer than 100 documents were held out in en, ko" in limits
    assert "average_precision" not in card["held_out"] and "macro F1" in render_card(card)
