"""Whole trainings as a user runs them: interrupted in every way and gone on with, in one and in two processes, on a full disk, refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from tests.training.pretrain_scene import ROOT, command, finish, lines, make_plan, start
from training.launch import free_port

TOLD = ("step", "stage", "stage_step", "tokens", "loss", "grad_norm", "learning_rate", "streams", "languages")
"""Of a line of the log, what doesn't depend on the clock."""

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return make_plan(tmp_path_factory.mktemp("pretrain"))


@pytest.fixture(scope="module")
def whole(plan, tmp_path_factory):
    """A run without interruption."""
    run = tmp_path_factory.mktemp("whole") / "run"
    out, _ = finish(start(command(plan, run, "--json")))
    assert json.loads(out)["steps"] == 16
    return run


def _told(run, kind="step"):
    return [{key: line[key] for key in TOLD if key in line} for line in lines(run, kind)]


def _wait_for(condition, process):
    for _ in range(6000):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("it never came to that")


def _near(run, whole, tolerance):
    found, wanted = lines(run), lines(whole)
    assert [line["step"] for line in found] == [line["step"] for line in wanted]
    assert max(abs(a["loss"] - b["loss"]) for a, b in zip(found, wanted, strict=True)) < tolerance


def test_a_run_tells_what_it_did(whole):
    steps = lines(whole)
    assert [line["step"] for line in steps] == list(range(1, 17)) and [line["stage"] for line in steps] == ["general"] * 10 + ["long"] * 6
    assert steps[-1]["loss"] < steps[0]["loss"] and steps[-1]["tokens"] == 10 * 128 + 6 * 256
    assert {name for line in steps[10:] for name in line["streams"]} == {"all", "general/en", "general/ko"}
    assert {name for line in steps for name in line["languages"]} == {"ko", "en"}
    assert [line["step"] for line in lines(whole, "validation")] == [4, 8, 10, 12, 16]
    assert sorted(os.listdir(whole / "checkpoints")) == ["step-00000010", "step-00000012", "step-00000016"]
    assert json.loads((whole / "plan.json").read_text())["name"] == "tiny"


def test_terminated_and_killed_it_goes_on_with_the_same_losses(plan, whole, tmp_path):
    run = tmp_path / "run"
    log, checkpoints = run / "log.jsonl", run / "checkpoints"
    process = start(command(plan, run))
    _wait_for(lambda: log.exists() and log.read_text().count("\n"), process)
    process.send_signal(signal.SIGTERM)
    _, err = finish(process, code=1)
    assert "onnuri: ended as asked after step" in err and "run the same command again" in err and "Traceback" not in err
    process = start(command(plan, run))
    _wait_for(lambda: (checkpoints / "step-00000004").exists(), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (checkpoints / ".step-00000099.tmp").mkdir()  # as if it had been killed while it saved
    _, err = finish(start(command(plan, run)))
    assert "; on from step" in err and not (checkpoints / ".step-00000099.tmp").exists()
    assert _told(run) == _told(whole) and _told(run, "validation") == _told(whole, "validation")


def test_a_finished_run_is_left_as_it_is_and_settings_of_the_run_may_change(plan, whole):
    before = (whole / "log.jsonl").read_text()
    out, _ = finish(start(command(plan, whole, "--set", "run.micro_batch=4")))
    assert "16 steps" in out and (whole / "log.jsonl").read_text() == before


def test_another_plan_is_refused_with_what_changed(plan, whole):
    _, err = finish(start(command(plan, whole, "--set", "seed=8", "--set", "optimizer.clip_norm=0.5")), code=2)
    assert "of another plan (" in err and "seed: 7 -> 8" in err and "clip_norm: 1.0 -> 0.5" in err and "Traceback" not in err


def test_two_processes_and_then_one(plan, whole, tmp_path):
    run = tmp_path / "run"
    _, err = finish(start(command(plan, run, "--workers", "2", "--set", "run.max_minutes=0.0001")), code=1)  # over after a step
    assert err.count("onnuri: ") == 1 and "ended as asked after step 1," in err
    _, err = finish(start(command(plan, run, "--set", "run.zero_stage=2")), code=2)
    assert "zero_stage 1, and run.zero_stage now comes to 2" in err
    finish(start(command(plan, run)))
    _near(run, whole, 2e-5)
    assert not list((run / "checkpoints").glob("*universal"))


def test_processes_of_torchrun_that_share_sequences_at_zero_3(plan, whole, tmp_path):
    content = yaml.safe_load(plan.read_text())
    content["stages"][1]["run"] = {"sequence_parallel": 2, "activation_checkpointing": "full"}
    shared = plan.with_name("shared.yaml")
    shared.write_text(yaml.safe_dump(content))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    run = tmp_path / "run"
    out, _ = finish(start([*torchrun, f"--master-port={free_port()}", *command(shared, run, "--set", "run.zero_stage=3")[1:]]))
    assert out.count("16 steps") == 1
    _near(run, whole, 2e-5)


def test_the_guard_goes_back_and_passes_over_what_it_did_not_like(plan, tmp_path):
    settings = ["guard.on_spike=rewind", "guard.window=4", "guard.spike_sigma=1.2", "guard.max_skipped=50"]
    run = tmp_path / "run"
    _, err = finish(start(command(plan, run, *(word for one in settings for word in ("--set", one)))))
    assert "back to step" in err and "without the samples" in err
    passed = [line for line in lines(run, "event") if "without the samples" in line["text"]]
    assert passed and len(lines(run)) == 16 - sum(line["steps"] for line in passed)
    assert abs(lines(run)[-1]["learning_rate"] - 1e-4) < 1e-12  # the stage's last one, though it has fewer steps


def test_what_one_of_two_processes_can_not_read_ends_both_with_its_sentence(plan, tmp_path):
    shutil.copytree(plan.parent, tmp_path / "data")
    damaged = tmp_path / "data" / "plan.yaml"
    damaged.write_text(plan.read_text().replace(str(plan.parent), str(damaged.parent)))
    (shard,) = (damaged.parent / "shards" / "phase=general" / "lang=ko").rglob("*.bin")
    tokens = np.fromfile(shard, "<i4")
    tokens[::300] = 70_000
    tokens.tofile(shard)
    _, err = finish(start(command(damaged, tmp_path / "run", "--workers", "2")), code=2)
    assert "has the token id 70,000" in err and "Traceback" not in err


@NEEDS_ROOT
def test_a_full_disk_ends_with_a_sentence_and_goes_on_when_there_is_space(plan, whole, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(path.stat().st_size for path in (whole / "checkpoints" / "step-00000010").rglob("*") if path.is_file())
    words = " ".join(command(plan, disk / "run"))
    few, many = int(2.3 * size) >> 10, 64 << 10
    twice = f"{words}; echo code $?; mount -o remount,size={many}k {disk}; {words}; echo code $?; cp {disk}/run/log.jsonl {tmp_path}"
    script = f"mount -t tmpfs -o size={few}k tmpfs {disk} && {{ {twice}; }}"
    done = subprocess.run(["unshare", "-m", "bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 1", "code 0"], done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("onnuri: ")]
    assert len(sentences) == 1 and "run the same command again" in sentences[0]
    assert _told(tmp_path) == _told(whole)


@NEEDS_ROOT
def test_two_workers_of_ray_train(plan, whole, tmp_path):
    """In a network namespace of its own, since Ray listens on every interface."""
    run = tmp_path / "run"
    script = 'ip link set lo up && exec "$@"'
    _, err = finish(start(["unshare", "-n", "bash", "-c", script, "bash", *command(plan, run, "--engine", "ray", "--workers", "2")]))
    assert [line["step"] for line in lines(run)] == list(range(1, 17)), err
    _near(run, whole, 2e-5)
