"""Checkpoints: exact continuation at the same and at another number of processes, nothing half written, damage is named."""

from __future__ import annotations

import itertools
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.errors import RunFailed, UserError
from tests.training.engine_scene import STEPS, run_cases
from training import checkpoint
from training.engine import EngineSettings
from training.launch import World

KINDS = [(1, "fp32"), (2, "fp32"), (3, "fp32"), (1, "bf16")]
CHANGES = [(2, 2), (2, 1), (1, 2)]
"""Numbers of processes before and after."""
HALF = STEPS // 2


def _parts(root, first, last, name):
    return [
        {"what": "interrupted", "zero_stage": z, "precision": p, "folder": str(root / f"{name}-{z}-{p}"), "first": first, "last": last}
        for z, p in KINDS
    ]


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    """By change: per kind, the losses of all steps; "whole": uninterrupted, in two processes."""
    root = tmp_path_factory.mktemp("checkpoints")

    def run(world, jobs):
        """Run jobs of {key: parts} in one go; results by key."""
        results = iter(run_cases(world, list(itertools.chain(*jobs.values())), root / "found.json"))
        return {key: list(itertools.islice(results, len(parts))) for key, parts in jobs.items()}

    def halves(first, last, changes):
        return {change: _parts(root, first, last, f"{change[0]}-{change[1]}") for change in changes}

    before = run(2, {"whole": _parts(root, 0, STEPS, "whole"), **halves(0, HALF, CHANGES[:2])}) | run(1, halves(0, HALF, CHANGES[2:]))
    after = run(2, halves(HALF, STEPS, [(2, 2), (1, 2)])) | run(1, halves(HALF, STEPS, [(2, 1)]))
    found = {change: [a + b for a, b in zip(before[change], after[change], strict=True)] for change in CHANGES}
    return {"whole": before["whole"], **found}


@pytest.mark.parametrize(("change", "kind"), list(itertools.product(CHANGES, range(len(KINDS)))), ids=str)
def test_goes_on_as_if_never_interrupted(losses, change, kind):
    whole, found = np.array(losses["whole"][kind]), np.array(losses[change][kind])
    if change == (2, 2):
        assert found.tolist() == whole.tolist()
    else:
        assert np.abs(found - whole).max() < (1e-6 if KINDS[kind][1] == "fp32" else 2e-3)


ALONE = World(0, 1, 0, torch.device("cpu"))


class FakeEngine(SimpleNamespace):
    """What `save` needs of an engine; `content` is written, or raised if it is an error."""

    def __init__(self, content=b"weights"):
        super().__init__(content=content, world=ALONE, settings=EngineSettings(), parameters=10)

    def save(self, folder, tag):
        (folder / tag).mkdir()
        (folder / tag / "zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"some")
        if isinstance(self.content, Exception):
            raise self.content
        (folder / tag / "mp_rank_00_model_states.pt").write_bytes(self.content)


def _state(step, stage_end=False):
    return {"step": step, "stage_end": stage_end}


def test_the_newest_and_those_of_stage_ends_stay(tmp_path):
    for step in range(1, 7):
        checkpoint.save(FakeEngine(), tmp_path, _state(step, stage_end=step == 2), keep=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-00000002", "step-00000005", "step-00000006"]
    checkpoint.verify(checkpoint.all_of(tmp_path)[-1], ALONE)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed writing file")])
def test_what_could_not_be_written_leaves_the_older_ones(tmp_path, error):
    checkpoint.save(FakeEngine(), tmp_path, _state(1), keep=2)
    with pytest.raises(RunFailed, match=r"can't write the checkpoint .*step-00000002: .*; make room and run the same command again"):
        checkpoint.save(FakeEngine(error), tmp_path, _state(2), keep=2)
    assert os.listdir(tmp_path) == ["step-00000001"]
    checkpoint.verify(tmp_path / "step-00000001", ALONE)


def test_no_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(RunFailed, match="no room for a checkpoint"):
        checkpoint.save(FakeEngine(), tmp_path, _state(1), keep=2)
    with pytest.raises(UserError, match="make room, or give another folder"):
        checkpoint.refuse_without_room(tmp_path, 160)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("damage", ["shorter", "other", "missing", "no manifest"])
def test_damage_is_named_with_what_to_do(tmp_path, damage):
    for step in (1, 2):
        checkpoint.save(FakeEngine(), tmp_path, _state(step), keep=2)
    newest = checkpoint.all_of(tmp_path)[-1]
    weights = newest / checkpoint.SHARDS / "mp_rank_00_model_states.pt"
    if damage == "no manifest":
        (newest / checkpoint.MANIFEST).unlink()
    elif damage == "missing":
        weights.unlink()
    else:
        weights.write_bytes(b"weight" if damage == "shorter" else b"Weights")
    with pytest.raises(RunFailed, match=r"step-00000002 is damaged: .*move the folder away .* to go on from step-00000001"):
        checkpoint.verify(newest, ALONE)


def test_half_written_ones_are_no_checkpoints_and_are_cleared(tmp_path):
    checkpoint.save(FakeEngine(), tmp_path, _state(1), keep=2)
    (tmp_path / ".step-00000002.tmp").mkdir()
    assert [path.name for path in checkpoint.all_of(tmp_path)] == ["step-00000001"]
    checkpoint.clear(tmp_path)
    assert os.listdir(tmp_path) == ["step-00000001"]


@pytest.mark.parametrize("content", ["{}", "[]", "{"])
@pytest.mark.parametrize("name", [checkpoint.STATE, checkpoint.MANIFEST])
def test_a_state_that_was_not_written_so_is_not_read(tmp_path, name, content):
    checkpoint.save(FakeEngine(), tmp_path, _state(1), keep=2)
    (found,) = checkpoint.all_of(tmp_path)
    (found / name).write_text(content)
    with pytest.raises(RunFailed, match=r"step-00000001 is damaged: .*move the folder away"):
        checkpoint.read_state(found)
    with pytest.raises(RunFailed, match=r"step-00000001 is damaged: "):
        checkpoint.verify(found, ALONE)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed writing file")])
def test_a_universal_copy_that_could_not_be_written(tmp_path, monkeypatch, error):
    from deepspeed.checkpoint import ds_to_universal

    def fails(_):
        raise error

    checkpoint.save(FakeEngine(), tmp_path, _state(1), keep=2)
    monkeypatch.setattr(ds_to_universal, "main", fails)
    with pytest.raises(RunFailed, match=r"can't write the copy of .*step-00000001 .*; make room, or take as many processes as before"):
        checkpoint._universal(tmp_path / "step-00000001", tmp_path / "step-00000001-universal", 100)
    assert os.listdir(tmp_path) == ["step-00000001"]
