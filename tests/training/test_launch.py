"""Starting the processes of one machine, and failing together."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pipeline.errors import RunFailed, UserError
from tests.training.pretrain_scene import ROOT
from training import launch
from training.launch import ToldElsewhere, World, first_alone, gather, on_first, spawn, together

ALONE = World(0, 1, 0, torch.device("cpu"))
SECOND = World(1, 2, 1, torch.device("cpu"))


def _python(code):
    return [sys.executable, "-c", f"import os, sys, time; rank = int(os.environ['RANK']); {code}"]


def test_every_process_knows_its_place(tmp_path):
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR"]
    code = f"open(r'{tmp_path}/' + str(rank), 'w').write(' '.join(os.environ[name] for name in {names}))"
    assert spawn(3, _python(code)) == 0
    assert [(tmp_path / str(rank)).read_text() for rank in range(3)] == [f"{rank} {rank} 3 3 127.0.0.1" for rank in range(3)]


@pytest.mark.parametrize("code", [1, 2])
def test_the_code_is_that_of_the_one_that_told_why(code):
    assert spawn(2, _python(f"sys.exit({code} if rank == 1 else 1)")) == code


def test_those_that_wait_for_one_that_is_gone_are_ended(monkeypatch):
    monkeypatch.setattr(launch, "LAST_WORDS_SECONDS", 0.5)
    assert spawn(2, _python("sys.exit(2) if rank == 1 else time.sleep(60)")) == 2


def test_a_process_that_was_killed_is_a_sentence():
    with pytest.raises(RunFailed, match="ended with code -9; run the same command again"):
        spawn(2, _python("os.kill(os.getpid(), 9) if rank == 0 else None"))


def test_signals_reach_all(tmp_path):
    code = (
        "import signal; p = r'PATH/' + str(rank); signal.signal(signal.SIGUSR1, lambda *_: (open(p, 'w').close(), sys.exit(1))); "
        "os.kill(os.getppid(), signal.SIGUSR1) if rank == 1 else None; time.sleep(20)"
    ).replace("PATH", str(tmp_path))
    assert spawn(2, _python("time.sleep(0.5 * rank); " + code)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_alone_everything_is_as_without_others():
    assert on_first(ALONE, lambda: 3) == 3 and first_alone(ALONE, lambda: 4) == 4 and gather(ALONE, 5) == [5]
    with pytest.raises(ZeroDivisionError):
        on_first(ALONE, lambda: 1 / 0)


def test_what_all_fail_with_is_told_once():
    error = UserError("no")
    assert together(ALONE, error) is error
    told = together(SECOND, error)
    assert isinstance(told, ToldElsewhere) and told.code == 2


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells processes of their parent's end")
def test_processes_end_with_the_one_that_started_them(tmp_path):
    sleeping = f"open(r'{tmp_path}/' + str(rank), 'w').write(str(os.getpid())); time.sleep(100)"
    code = f"from training.launch import spawn; spawn(2, {_python(sleeping)!r})"
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in "01"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started = [int((tmp_path / name).read_text()) for name in "01"]
    starter.kill()
    starter.wait()
    while any(_runs(process) for process in started):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
