"""Checkpoints: written whole or not at all, read back at any number of processes.

A checkpoint is a folder `step-00001200`: DeepSpeed's shards in `deepspeed/`, `state.json` with what the training needs to go on, and
`manifest.json` with size and hash of every file. All processes write into a folder of a temporary name, which becomes the checkpoint by
a rename once everything is on disk. Another number of processes than before reads a universal copy, which DeepSpeed makes once, beside it.
DeepSpeed's shards are pickles: only checkpoints whose manifest holds are loaded, and only from one's own run directory.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import re
import shutil
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash

from pipeline.errors import RunFailed, UserError
from pipeline.files import to_disk
from training.engine import Engine
from training.launch import World, gather, on_first, together

STATE, MANIFEST, SHARDS = "state.json", "manifest.json", "deepspeed"
_NAME = re.compile(r"step-\d{8}")
_OWNER = re.compile(r"pp_rank_(\d+)_")
"""In a shard's name: the process that writes it. Other files are the first process's."""

ROOM = 1.05
"""Free space asked for, as a multiple of what is about to be written."""


def name_of(step: int) -> str:
    """Folder of the checkpoint after `step` steps."""
    return f"step-{step:08d}"


def all_of(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name)) if folder.is_dir() else []


def clear(folder: Path) -> None:
    """Remove what a killed training left half written."""
    for path in folder.glob(".*.tmp"):
        shutil.rmtree(path)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The state of a checkpoint. Raises RunFailed where it isn't what was written."""
    try:
        if _manifest(checkpoint)[STATE] != _facts(checkpoint / STATE):
            raise ValueError(f"{STATE} has changed")
        return json.loads((checkpoint / STATE).read_text())  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise RunFailed(_damaged(checkpoint, " ".join(str(error).split()))) from error


def _manifest(checkpoint: Path) -> dict[str, Any]:
    """Size and hash of every file. Raises OSError and ValueError where it can't be read."""
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    if not isinstance(manifest, dict) or STATE not in manifest:
        raise ValueError(f"{MANIFEST} has changed")
    return manifest


def bytes_of(engine: Engine) -> int:
    """What a checkpoint of this model takes at most: weights in the engine's precision, and weights and two moments in float32."""
    return engine.parameters * (12 + (2 if engine.settings.precision == "bf16" else 4))


def refuse_without_room(folder: Path, size: int) -> None:
    """Raises UserError where a checkpoint of `size` bytes has no room: said before the first step."""
    if (free := shutil.disk_usage(folder).free) < size * ROOM:
        raise UserError(
            f"a checkpoint takes {_gigabytes(size)}, and {folder} has {_gigabytes(free)} of free space; "
            "make room, or give another folder with -o"
        )


def save(engine: Engine, folder: Path, state: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint of state["step"] steps, then remove all but the newest `keep` and those of stage ends (state["stage_end"]).

    Raises RunFailed where it can't be written, with the older checkpoints as they were.
    """
    final = folder / name_of(state["step"])
    temporary = folder / f".{final.name}.tmp"
    on_first(engine.world, lambda: _make_room(temporary, bytes_of(engine)))
    try:
        engine.save(temporary, SHARDS)
        facts = _seal(temporary, engine.world)
        on_first(engine.world, lambda: _finish(temporary, final, state, facts))
    except (OSError, RuntimeError) as error:
        full = _full(error, folder, bytes_of(engine))
        shutil.rmtree(temporary, ignore_errors=True)
        why = "no space left on the disk" if full else " ".join(str(error).split())
        raise RunFailed(f"can't write the checkpoint {final}: {why}; {_GO_ON}") from error
    if engine.world.first:
        _retire(folder, keep)
    return final


def _full(error: Exception, folder: Path, size: int) -> bool:
    """Whether an error in writing `size` bytes is for want of space: libraries don't always say so."""
    return shutil.disk_usage(folder).free < size // 2 or (isinstance(error, OSError) and error.errno == errno.ENOSPC)


_GO_ON = "make room and run the same command again: it goes on from the checkpoint before"


def _make_room(temporary: Path, size: int) -> None:
    free = shutil.disk_usage(temporary.parent).free
    if free < size * ROOM:
        raise RunFailed(
            f"no room for a checkpoint: it takes {_gigabytes(size)}, and {temporary.parent} has {_gigabytes(free)} of free space; {_GO_ON}"
        )
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()


def _seal(temporary: Path, world: World) -> dict[str, Any]:
    """Every process puts what it wrote on disk and hashes it; all get the facts of all files."""
    mine: dict[str, Any] = {}
    for path in _files(temporary):
        owner = _OWNER.search(path.name)
        if (int(owner.group(1)) if owner else 0) == world.rank:
            to_disk(path)
            mine[str(path.relative_to(temporary))] = _facts(path)
    return {name: facts for part in gather(world, mine) for name, facts in part.items()}


def _finish(temporary: Path, final: Path, state: dict[str, Any], facts: dict[str, Any]) -> None:
    _write_json(temporary / STATE, state)
    _write_json(temporary / MANIFEST, {**facts, STATE: _facts(temporary / STATE)})
    to_disk(temporary)
    old = temporary.with_name(f".{final.name}.old.tmp")
    if final.exists():  # of a training that went back to it, and had no step left
        final.rename(old)
    temporary.rename(final)
    to_disk(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def _retire(folder: Path, keep: int) -> None:
    for copy in folder.glob("step-*-universal"):
        shutil.rmtree(copy)
    for checkpoint in all_of(folder)[:-keep]:
        if not read_state(checkpoint)["stage_end"]:
            going = checkpoint.rename(folder / f".{checkpoint.name}.tmp")
            shutil.rmtree(going)


def verify(checkpoint: Path, world: World) -> None:
    """Compare every file with the manifest, the files spread over the processes. Raises RunFailed naming what is damaged."""
    wrong = ""
    try:
        for number, (name, facts) in enumerate(sorted(_manifest(checkpoint).items())):
            if number % world.size == world.rank and not wrong and _facts(checkpoint / name) != facts:
                wrong = f"{name} has changed"
    except (OSError, ValueError) as error:
        wrong = " ".join(str(error).split())
    if said := [one for one in gather(world, wrong) if one]:
        raise together(world, RunFailed(_damaged(checkpoint, said[0])))


def _damaged(checkpoint: Path, why: str) -> str:
    before = [path.name for path in all_of(checkpoint.parent) if path.name < checkpoint.name]
    then = f"go on from {before[-1]}" if before else "begin anew"
    return f"the checkpoint {checkpoint} is damaged: {why}; move the folder away and run the same command again to {then}"


def load(engine: Engine, checkpoint: Path) -> None:
    """Weights and optimizer of a checkpoint into an engine that has just been made, `universal` where the number of processes differs."""
    source = checkpoint
    if engine.universal:
        source = checkpoint.parent / f"{checkpoint.name}-universal"
        on_first(engine.world, lambda: _universal(checkpoint, source, bytes_of(engine)))
    engine.load(source, SHARDS)


def _universal(checkpoint: Path, copy: Path, size: int) -> None:
    """Make the copy, if it isn't there. Raises RunFailed where it can't be written."""
    if copy.exists():
        return
    from deepspeed.checkpoint import ds_to_universal

    temporary = copy.parent / f".{copy.name}.tmp"
    _make_room(temporary, size)
    paths = {"input_folder": str(checkpoint / SHARDS), "output_folder": str(temporary / SHARDS)}
    workers = {"num_extract_workers": 1, "num_merge_workers": 1}
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            ds_to_universal.main(Namespace(**paths, **workers, keep_temp_folder=False, strict=True, inject_missing_state=False))
        temporary.rename(copy)
    except (OSError, RuntimeError) as error:
        why = "no space left on the disk" if _full(error, temporary.parent, size) else " ".join(str(error).split())
        shutil.rmtree(temporary, ignore_errors=True)
        raise RunFailed(
            f"can't write the copy of {checkpoint} that another number of processes reads: {why}; "
            "make room, or take as many processes as before"
        ) from error


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _facts(path: Path) -> dict[str, Any]:
    digest = xxhash.xxh3_128()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return {"bytes": path.stat().st_size, "xxh3_128": digest.hexdigest()}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1))
    to_disk(path)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
