"""A run that is killed ten times, driver or worker, comes to the same bytes, redoes no finished split and leaves nothing behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.runs import ROOT, leftovers, onnuri, run_arguments, shards

KILLS = 10


def children(parent: int) -> list[int]:
    """The worker processes of a driver (not multiprocessing's resource tracker)."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    return [int(child) for child in listed if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def finished(run: Path) -> dict[str, int]:
    """Receipts and when they were written: a finished split is one that has a receipt."""
    return {str(path): path.stat().st_mtime_ns for path in run.rglob("receipts/*.json")}


@pytest.mark.timeout(900)
def test_ten_kills_at_random_moments_change_nothing(small_sample, finished_run, tmp_path):
    run, dice = tmp_path / "killed", random.Random(20261123)
    command = [sys.executable, "-m", "pipeline", *run_arguments(small_sample, run, "--workers", "2")]
    killed = {"driver": 0, "worker": 0}
    before: dict[str, int] = {}
    while sum(killed.values()) < KILLS:
        driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        target = "driver" if killed["driver"] <= killed["worker"] else "worker"
        deadline = time.monotonic() + dice.uniform(2.5, 9.0)
        while time.monotonic() < deadline and driver.poll() is None:
            time.sleep(0.02)
        assert driver.poll() in (None, 0)
        if driver.poll() == 0:  # it came to its end between two kills: start over, so that every kill meets a running job
            subprocess.run(["rm", "-rf", str(run)], check=True)
            before = {}
            continue
        if target == "worker":
            if not (workers := children(driver.pid)):
                driver.kill()
                driver.wait()
                continue
            os.kill(dice.choice(workers), signal.SIGKILL)
            time.sleep(0.5)
        killed[target] += 1
        driver.kill()
        driver.wait()
        now = finished(run)
        assert {path: now.get(path) for path in before} == before, "a finished split was done again"
        before = now
    done = onnuri(*run_arguments(small_sample, run, "--workers", "2"))
    assert done.returncode == 0, done.stderr
    now = finished(run)
    assert {path: now.get(path) for path in before} == before
    assert min(killed.values()) >= 4
    assert shards(run) == shards(finished_run)
    assert leftovers(run) == []
