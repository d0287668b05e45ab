"""What a training tells: losses by stream and language, bits per byte, the log that resuming cuts back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pipeline.errors import UserError
from tokenizer.vocabulary import to_characters
from training.engine import Sums
from training.metrics import Log, by_stream_and_language, refuse_missing
from training.token_bytes import bits_per_byte, byte_lengths
from training.watch import facts_of

LABELS = (("web", "ko"), ("web", "en"), ("books", "ko"), ("none", "en"))
SUMS = Sums(np.array([2.0, 3.0, 5.0, 0.0]), np.array([1, 2, 4, 0]), np.array([3, 7, 9, 0]))


def _tokenizer(folder, tokens, special=("<|eos|>",)):
    vocab = {to_characters(token): place for place, token in enumerate(tokens, len(special))}
    added = [{"id": place, "content": token} for place, token in enumerate(special)]
    content = {"added_tokens": added, "model": {"type": "BPE", "vocab": {token["content"]: token["id"] for token in added} | vocab}}
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_byte_lengths_are_those_of_the_utf8_text(tmp_path):
    tokens = [b"a", "한".encode(), "한국".encode(), b" the", b"\xed"]
    assert byte_lengths(_tokenizer(tmp_path, tokens), 8).tolist() == [0, 1, 3, 6, 4, 1, 0, 0]


def test_a_vocabulary_too_small_and_files_that_are_no_tokenizer_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"token id 5, and the model's vocabulary has 4"):
        byte_lengths(_tokenizer(tmp_path, [b"a", b"b", b"c", b"d", b"e"]), 4)
    with pytest.raises(UserError, match="can't read"):
        byte_lengths(tmp_path / "none", 4)
    (tmp_path / "tokenizer.json").write_text("[]")
    with pytest.raises(UserError, match="not the file of a byte-level BPE tokenizer"):
        byte_lengths(tmp_path, 4)


def test_losses_are_told_by_stream_and_by_language():
    found = by_stream_and_language(SUMS, LABELS)
    assert found["streams"] == {"web": {"loss": 5 / 3, "tokens": 3}, "books": {"loss": 5 / 4, "tokens": 4}}
    assert found["languages"]["ko"] == {"loss": 7 / 5, "tokens": 5, "bits_per_byte": 7 / math.log(2) / 12}
    assert SUMS.loss == 10 / 7 and (SUMS + SUMS).loss == 10 / 7 and bits_per_byte(1.0, 0) is None


def test_the_log_is_cut_back_to_the_step_that_is_resumed(tmp_path):
    path = tmp_path / "log.jsonl"
    log = Log(path, 0, tensorboard=tmp_path / "board")
    for step in range(1, 6):
        log.write("step", step, loss=1.0 / step, languages={"ko": {"loss": 2.0}}, mfu=None)
    log.close()
    with path.open("a") as stream:
        stream.write('{"kind": "step", "step": 6, "lo')  # killed while it wrote
    log = Log(path, 3)
    log.write("step", 4, loss=0.5)
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4] and lines[-1]["loss"] == 0.5
    assert list((tmp_path / "board").iterdir())


def test_a_log_that_is_asked_for_and_not_installed_is_a_sentence(monkeypatch):
    refuse_missing(tensorboard=False, wandb_project=None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"run.wandb_project asks for the package 'wandb', which is not installed; pip install wandb"):
        refuse_missing(tensorboard=False, wandb_project="mine")


def test_the_line_that_people_watch():
    line = {"loss": 3.21, "languages": {"ko": {"loss": 3.5}, "en": {"loss": 2.9}}, "learning_rate": 3e-4}
    assert facts_of({**line, "tokens_per_second": 24_512, "mfu": 0.448}) == [
        "loss 3.210",
        "ko 3.500",
        "en 2.900",
        "lr 3.00e-04",
        "24.5 k tok/s",
        "MFU 44.8%",
    ]
