"""What reviewers decide: a session that asks them, their verdicts in review.jsonl beside the matches, and the precision that follows."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from decontam.errors import DecontamError
from decontam.review import KEY, Finding, key_of
from decontam.review_text import print_finding

FILE = "review.jsonl"
LEAK, FALSE_POSITIVE = "leak", "false_positive"

KEYS = "n next, p previous, t true leak, f false positive, q quit"

_Z = 1.959964
"""Two-sided 95 % quantile of the normal distribution, for Wilson's interval (Wilson 1927, JASA 22:209)."""


def session(console: Console, folder: Path, findings: Sequence[Finding], read_key: Callable[[], str]) -> int:
    """Show one finding after the other and do what `read_key` says, until `q` or the last one; returns how many verdicts were given."""
    verdicts, position, given = read_verdicts(folder), 0, 0
    while position < len(findings):
        key = findings[position].key
        console.clear()
        print_finding(console, findings[position], position + 1, len(findings), verdicts.get(key))
        console.print(Text(KEYS, "dim"))
        try:
            pressed = read_key()
        except (EOFError, KeyboardInterrupt):
            break
        if pressed == "q":
            break
        if verdict := {"t": LEAK, "f": FALSE_POSITIVE}.get(pressed):
            append_verdict(folder, key, verdict)
            verdicts[key] = verdict
            given += 1
        if verdict or pressed == "n":
            position += 1
        elif pressed == "p":
            position = max(0, position - 1)
    return given


def append_verdict(folder: Path, key: tuple[str, str, str, str], verdict: str) -> None:
    """Add one line to review.jsonl: the finding's key, `leak` or `false_positive`, and the time (UTC).

    Raises DecontamError when the file cannot be written.
    """
    if verdict not in (LEAK, FALSE_POSITIVE):
        raise DecontamError(f"there is no verdict '{verdict}'; use {LEAK} or {FALSE_POSITIVE}.")
    row = dict(zip(KEY, key, strict=True)) | {"verdict": verdict, "time": datetime.now(UTC).isoformat(timespec="seconds")}
    path = folder / FILE
    try:
        with path.open("ab") as stream:
            stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise DecontamError(f"{path} cannot be written ({error.strerror}); verdicts need a folder that you may write to.") from error


def read_verdicts(folder: Path) -> dict[tuple[str, str, str, str], str]:
    """The last verdict on each finding by its key (document id, benchmark, split, item); empty when nothing was judged yet.

    Raises DecontamError, naming the line, for what is no verdict.
    """
    path = folder / FILE
    verdicts = {}
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
    except OSError as error:
        raise DecontamError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            verdict = row["verdict"]
            if verdict not in (LEAK, FALSE_POSITIVE):
                raise ValueError(f"unknown verdict {verdict!r}")
            verdicts[key_of(row)] = verdict
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DecontamError(f"{path}, line {number}, is no verdict ({error}); remove that line.") from error
    return verdicts


def precision(verdicts: Iterable[tuple[tuple[str, str, str, str], str]]) -> list[dict[str, Any]]:
    """Per benchmark, by name: findings judged, leaks, false positives, precision (share of leaks) and its 95 % interval [low, high]."""
    counts: dict[str, list[int]] = {}
    for (_, benchmark, _, _), verdict in verdicts:
        counts.setdefault(benchmark, [0, 0])[verdict == FALSE_POSITIVE] += 1
    rows = []
    for benchmark, (leaks, false) in sorted(counts.items()):
        facts = {"judged": leaks + false, "leaks": leaks, "false_positives": false, "precision": leaks / (leaks + false)}
        rows.append({"benchmark": benchmark, **facts, "interval": wilson(leaks, leaks + false)})
    return rows


def wilson(successes: int, trials: int) -> list[float]:
    """Wilson's 95 % interval [low, high] of a share; trials >= 1."""
    share, z2 = successes / trials, _Z * _Z / trials
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z * math.sqrt(share * (1 - share) / trials + z2 / trials / 4) / (1 + z2)
    return [min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))]  # rounding must not part them from the share
