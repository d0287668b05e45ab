"""The benchmark of training speed in its form for the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "benchmarks" / "train_throughput.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)


@pytest.mark.timeout(250)
def test_rows_tell_speed_memory_and_where_time_goes():
    done = run("--cpu", "--json", "--no-compile", "--steps", "2", "--warmup", "1", "--accumulate", "1", "--peak", "1e12")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["micro"] for row in rows] == [1, 2]
    for row in rows:
        assert row["tokens_per_second"] > 0 and row["peak_bytes"] > 10**8 and row["device"] == "cpu"
        assert sum(row["shares"].values()) == pytest.approx(1.0)
        assert all(row["shares"][part] > 0 for part in ("attention", "matmul", "head", "optimizer", "other"))
        matrices = 2 * (2 * 128 * 32 * 6 + 3 * 128 * 344) + 1024 * 128
        assert row["mfu"] == pytest.approx((6 * matrices + 12 * 2 * 4 * 32 * 256) * row["tokens_per_second"] / 1e12)


def test_without_a_gpu_it_says_so():
    done = run()
    assert done.returncode == 2 and done.stdout == ""
    assert "no GPU was found" in done.stderr and "Traceback" not in done.stderr


def test_bad_values_are_sentences():
    for arguments, sentence in ((["--cpu", "--checkpointing", "some"], "'some'"), (["--cpu", "--steps", "0"], "above 0")):
        done = run(*arguments)
        assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr
