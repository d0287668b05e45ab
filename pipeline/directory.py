"""The folder that a run or a stage command writes to: made, locked, cleared of what a killed run left, never one that holds the input."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.errors import UserError
from pipeline.files import is_url
from pipeline.segment import clear_temporary

MARKS = ("run.json", "manifest.json", ".lock", "receipts", "steps")
"""What tells a folder of ours from any other, also one whose first run failed early."""


@contextlib.contextmanager
def run_directory(run: Path) -> Iterator[Path]:
    """Make and lock a run directory, clear what a killed run left in it, and unlock it at the end.

    Raises UserError when it holds something else, or when another run is writing to it.
    """
    if run.exists() and not run.is_dir():
        raise UserError(f"'{run}' is a file; give a folder with -o")
    if (
        run.is_dir()
        and any(run.iterdir())
        and not any((run / name).exists() for name in ("run.json", "manifest.json", ".lock", "receipts", "steps"))
    ):
        raise UserError(f"the folder '{run}' is not empty and is not a run directory; give another one with -o")
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = open(run / ".lock", "a+", encoding="ascii")  # noqa: SIM115 - held open for as long as the run lasts
    except OSError as error:
        raise UserError(f"can't write to '{run}': {error.strerror}; give another folder with -o") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UserError(f"another run is writing to '{run}'; wait for it, or give another folder with -o") from None
    with lock:
        clear_temporary(run)
        try:
            yield run
        finally:
            clear_temporary(run)
            (run / ".lock").unlink(missing_ok=True)


def refuse_inputs_inside(out: Path, paths: Iterable[str]) -> None:
    """Raises UserError when an input lies in the output folder: stale files there are removed, and the input would be one of them."""
    root = os.path.realpath(out) + os.sep
    for path in paths:
        if not is_url(path) and os.path.realpath(path).startswith(root):
            raise UserError(f"the input '{path}' lies in the output folder '{out}'; give another folder with -o")
