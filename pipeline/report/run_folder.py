"""What lies in a run directory: run.json, one folder per segment with its receipts and shards, the corpus; and what is missing.

Everything that looks at a run (report, funnel, status, inspection) reads it through here. An unfinished run, a damaged file or the
folder of one stage alone is normal: it becomes a sentence in `gaps`, not an exception.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.rows import KINDS

MOVES = ("ingest", "refine", "dedup", "classify", "decontaminate", "balance")
"""Folder names of the segments, in the order in which a run executes them."""

ALONE = "stage"
"""Name of the segment in the folder that a stage command wrote, if its manifest doesn't say one."""

MAX_JSON_BYTES = 256 << 20
"""A larger run.json, manifest or receipt is not one of ours: it is reported, not read."""


@dataclass(frozen=True)
class SegmentFolder:
    """One segment on disk. `totals` has the form of a manifest; for an unfinished segment it is summed from the receipts so far.

    steps: whole-corpus work beside the rows, each {name, tasks, worker_seconds, cpu_seconds, peak_memory_bytes}, from its receipts.
    """

    name: str
    path: Path
    finished: bool
    totals: dict[str, Any]
    receipts: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    failures: list[str]

    def shards(self, kind: str) -> list[Path]:
        """Parquet files of `kept`, `dropped` or `quarantine`, sorted by name."""
        return sorted((self.path / kind).glob("*.parquet"))


@dataclass(frozen=True)
class RunFolder:
    """A run directory as found. `gaps`: one sentence for everything that is absent or can't be read."""

    path: Path
    facts: dict[str, Any]
    segments: tuple[SegmentFolder, ...]
    corpus: dict[str, Any]
    gaps: list[str] = field(default_factory=list)

    def segment(self, name: str) -> SegmentFolder | None:
        """The segment of that name, if it left anything."""
        return next((segment for segment in self.segments if segment.name == name), None)

    @property
    def moves(self) -> list[str]:
        """The segments that this run has or was going to have, in order."""
        planned = self.facts.get("moves")
        names = [name for name in planned if name in MOVES] if isinstance(planned, list) else []
        found = [segment.name for segment in self.segments]
        return [name for name in MOVES if name in names or name in found] + [name for name in found if name not in MOVES]

    def file(self, segment: str, name: str) -> Path | None:
        """A file that a segment publishes beside its shards, such as dedup's clusters.parquet."""
        found = self.segment(segment)
        return found.path / name if found and (found.path / name).is_file() else None

    def corpus_shards(self) -> list[tuple[str, str, Path]]:
        """(phase, lang, file) of every corpus shard, sorted."""
        found = []
        for path in sorted((self.path / "corpus").glob("phase=*/lang=*/part-*.parquet")):
            found.append((path.parent.parent.name.removeprefix("phase="), path.parent.name.removeprefix("lang="), path))
        return found


def open_run(path: Path) -> RunFolder:
    """Look at the run directory, or at the OUT folder of one stage, at `path`.

    Raises UserError when there is no such folder or nothing in it that a run leaves.
    """
    if not path.is_dir():
        raise UserError(f"there is no run at '{path}': give the folder that was named with -o")
    gaps: list[str] = []
    facts = read_json(path / "run.json", gaps)
    segments = [segment for name in MOVES if (segment := _segment(path / name, name, gaps)) is not None]
    if not segments and (alone := _segment(path, "", gaps)) is not None:
        segments = [alone]
    corpus = read_json(path / "corpus" / "manifest.json", gaps) if (path / "corpus").is_dir() else {}
    if not segments and not facts and not corpus and not (path / "run.json").exists():
        raise UserError(f"'{path}' is not a run: it has no run.json, no {MOVES[0]}/ and no kept/; give the folder that was named with -o")
    alone_only = len(segments) == 1 and segments[0].path == path
    run = RunFolder(path, facts, tuple(segments), corpus, gaps)
    if not alone_only:
        if not facts:
            gaps.append("run.json is missing: inputs, configuration and wall time are not known")
        for name in run.moves:
            if run.segment(name) is None:
                gaps.append(f"{name}/ is missing: the run has not come to it")
        if not run.corpus_shards() and "balance" in run.moves:
            gaps.append("corpus/ has no shards: the run has not written its corpus")
    for segment in segments:
        if not segment.finished:
            gaps.append(f"{segment.name} has not finished: numbers are of the {len(segment.receipts)} splits done so far")
    return run


def _segment(path: Path, name: str, gaps: list[str]) -> SegmentFolder | None:
    """The segment at `path`, or None when there is nothing of one."""
    if not any((path / part).exists() for part in ("manifest.json", "receipts", "steps", "failed", *KINDS)):
        return None
    manifest = read_json(path / "manifest.json", gaps)
    receipts = [receipt for file in sorted((path / "receipts").glob("*.json")) if (receipt := read_json(file, gaps))]
    failures = [_first_line(file) for file in sorted((path / "failed").glob("*.txt"))]
    finished = bool(manifest) and not failures
    label = name or str(manifest.get("segment") or _move_of(path))
    return SegmentFolder(label, path, finished, manifest if finished else totals_of(receipts), receipts, steps_of(path, gaps), failures)


def steps_of(path: Path, gaps: list[str]) -> list[dict[str, Any]]:
    """The steps of a segment or of the corpus, from `steps/<name>/receipts`, with what their tasks took together; sorted by name."""
    steps = []
    for folder in sorted(one for one in (path / "steps").glob("*") if one.is_dir()):
        receipts = [receipt for file in sorted((folder / "receipts").glob("*.json")) if (receipt := read_json(file, gaps))]
        steps.append({"name": folder.name, "tasks": len(receipts), **costs_of(receipts)})
    return steps


def costs_of(receipts: list[dict[str, Any]]) -> dict[str, float]:
    """Time and memory of the tasks behind these receipts."""
    return {
        "worker_seconds": sum(number(receipt, "seconds") for receipt in receipts),
        "cpu_seconds": sum(number(receipt, "cpu_seconds") for receipt in receipts),
        "peak_memory_bytes": max((number(receipt, "peak_memory_bytes") for receipt in receipts), default=0),
    }


def _move_of(path: Path) -> str:
    """Which move wrote a stand-alone folder, by the file that only it publishes."""
    published = {"clusters.parquet": "dedup", "matches.parquet": "decontaminate"}
    return next((move for file, move in published.items() if (path / file).is_file()), ALONE)


def _first_line(path: Path) -> str:
    """The sentence at the start of a failure's trace."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        return stream.readline(4000).strip()


def read_json(path: Path, gaps: list[str]) -> dict[str, Any]:
    """The JSON object in `path`; an empty one when there is no such file, or when it can't be read, which is added to `gaps`."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            gaps.append(f"{path.name} in '{path.parent.name}' is larger than {MAX_JSON_BYTES:,} bytes and was not read")
            return {}
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        gaps.append(f"{path.name} in '{path.parent.name}' can't be read ({str(error)[:200]})")
        return {}
    if not isinstance(value, dict):
        gaps.append(f"{path.name} in '{path.parent.name}' is not a JSON object")
        return {}
    return value


def number(value: Any, *keys: str) -> float:
    """The number at these nested keys, 0 when it is not there."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def reasons(totals: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """`dropped` or `quarantined` of a manifest or receipt as [{reason, rows, bytes}], most rows first."""
    listed = totals.get(kind)
    if not isinstance(listed, dict):
        return []
    entries = [
        {"reason": str(reason), "rows": int(number(one, "rows")), "bytes": int(number(one, "bytes"))} for reason, one in listed.items()
    ]
    return sorted(entries, key=lambda entry: (-entry["rows"], entry["reason"]))


def totals_of(receipts: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts of a manifest, summed from receipts: what an unfinished segment has done so far."""
    totals: dict[str, Any] = {"splits": len(receipts), "stages": {}}
    for key in ("rows_in", "bytes_in"):
        totals[key] = int(sum(number(receipt, key) for receipt in receipts))
    totals["kept"] = {key: int(sum(number(receipt, "kept", key) for receipt in receipts)) for key in ("rows", "bytes")}
    for kind in ("dropped", "quarantined"):
        summed: dict[str, dict[str, int]] = {}
        for receipt in receipts:
            for entry in reasons(receipt, kind):
                one = summed.setdefault(entry["reason"], {"rows": 0, "bytes": 0})
                one["rows"] += entry["rows"]
                one["bytes"] += entry["bytes"]
        totals[kind] = summed
    for receipt in receipts:
        stages = receipt.get("stages")
        for name, facts in (stages if isinstance(stages, dict) else {}).items():
            one_stage = totals["stages"].setdefault(name, {"seconds": 0.0, "rows_in": 0})
            one_stage["seconds"] += number(facts, "seconds")
            one_stage["rows_in"] += int(number(facts, "rows_in"))
    return totals | costs_of(receipts)
