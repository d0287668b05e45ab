"""The folder of a training: `plan.json`, `index/` of the sources, `log.jsonl`, `tensorboard/` and `checkpoints/`.

One training writes to it at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from training import checkpoint

PLAN, INDEX, LOG, CHECKPOINTS = "plan.json", "index", "log.jsonl", "checkpoints"

MARKS = (PLAN, INDEX, "ray", ".lock")
"""What tells a training's folder from any other, also one whose first run failed early."""


@contextlib.contextmanager
def training_folder(run: Path) -> Iterator[Path]:
    """Make and lock the folder; clear what a killed training left half written.

    Raises UserError when it holds something else, or another training is writing to it.
    """
    refuse_foreign(run)
    try:
        (run / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        lock = open(run / ".lock", "a+", encoding="ascii")  # noqa: SIM115 - held open for as long as the training lasts
    except OSError as error:
        raise UserError(f"can't write to '{run}': {error.strerror}; give another folder with -o") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another training is writing to '{run}'; wait for it, or give another folder with -o") from None
        checkpoint.clear(run / CHECKPOINTS)
        yield run


def refuse_foreign(run: Path) -> None:
    """Raises UserError for a folder that holds something, but no training."""
    if run.is_dir() and any(run.iterdir()) and not any((run / name).exists() for name in MARKS):
        raise UserError(f"the folder '{run}' is not empty and is not a training's; give another one with -o")


def settle_plan(run: Path, plan: dict[str, Any], difference: Callable[[dict[str, Any], dict[str, Any]], list[str]]) -> None:
    """Write plan.json, so that it is that of the checkpoints. Raises UserError with what has changed when they are of another plan.

    A checkpoint tells itself of which plan it is: plan.json may have got lost.
    """
    before = _read(run / PLAN)
    if found := checkpoint.all_of(run / CHECKPOINTS):
        trained = checkpoint.read_state(found[-1])["fingerprint"]
        if trained != plan["fingerprint"]:
            known = before.get("fingerprint") == trained
            changes = [one for one in difference(before, plan) if not one.startswith("fingerprint")] if known else [f"{PLAN} isn't theirs"]
            said = "; ".join(changes[:MOST_CHANGES]) + (f"; and {len(changes) - MOST_CHANGES} more" if len(changes) > MOST_CHANGES else "")
            raise UserError(f"the checkpoints in '{run}' are of another plan ({said}); take that plan, or give another folder with -o")
        if before.get("fingerprint") == trained:
            return
    temporary = run / f".{PLAN}.tmp"
    temporary.write_text(json.dumps(plan, ensure_ascii=False, indent=1), encoding="utf-8")
    os.replace(temporary, run / PLAN)


def _read(path: Path) -> dict[str, Any]:
    """A plan.json, empty where there is none that can be read."""
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return plan if isinstance(plan, dict) else {}


MOST_CHANGES = 8
"""Changes of a plan that one sentence names."""
