"""A segment: one folder of the run, its tasks, their receipts, and the manifest that sums them up.

A finished split is one whose receipt carries the task's fingerprint and whose files are there: such a split is not done again. Files
are made in `RUN/.tmp` and renamed: a reader of the run never sees half a file, and what a killed run leaves the next one clears.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import xxhash

from pipeline import __version__
from pipeline.engine import Engine
from pipeline.errors import RunFailed
from pipeline.progress import Progress
from pipeline.rows import KINDS, Reader, RowTask
from pipeline.shards import file_facts
from pipeline.splits import DOCUMENTS, Part, Split
from pipeline.stage import Stage, identity, settings_of

VISIBLE_SECONDS = 20.0
"""How long the driver waits for a worker's files to appear: network disks remember absences for a while."""

LAYOUT = 1
"""Version of what segments write to disk; raise it when shards, receipts or manifests change shape, and everything is redone."""

SMALL_INPUT_ROWS = 100
"""Inputs below this may lose every row without the run stopping: a test with ten bad records is not a broken pipeline."""


class StepTask(Protocol):
    """A task of a whole-corpus move: a frozen dataclass called with an empty folder, to which it writes its files.

    name: unique in the step, safe as a file name, and the start of the name of every file it writes.
    It may have `inputs`: paths of files that it reads, and whose content no field of it says.
    """

    @property
    def name(self) -> str: ...

    def __call__(self, folder: Path) -> dict[str, Any]: ...


@dataclass(frozen=True)
class _Job:
    """A task as the engine sees it: run in a temporary folder, publish the files, return the receipt."""

    task: Any
    fingerprint: str
    temporary: str
    target: str

    @property
    def name(self) -> str:
        return str(self.task.name)

    def __call__(self) -> dict[str, Any]:
        folder = Path(self.temporary) / f"{self.name}.{os.getpid()}.{time.monotonic_ns()}"
        folder.mkdir(parents=True)
        try:
            facts = self.task(folder)
            outputs = self._publish(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return {"name": self.name, "fingerprint": self.fingerprint, **facts, "outputs": outputs}

    def _publish(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Rename every file to its place, all of them only once all are complete."""
        target = Path(self.target)
        made = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        outputs = {str(path): file_facts(folder / path) for path in made}
        for path in made:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder / path, target / path)
        return outputs


class Segment:
    """One folder of a run. `rows` runs a chain of stages over splits; `step` runs tasks of a whole-corpus move."""

    def __init__(
        self,
        run: Path,
        name: str,
        engine: Engine,
        progress: Progress,
        min_kept_share: float,
        alone: bool = False,
        config: dict[str, Any] | None = None,
    ) -> None:
        """`alone`: a stage command, whose output folder is the segment's folder itself. config: what its manifest records, as no run.json
        does it."""
        self.name, self.engine, self.progress = name, engine, progress
        self.directory = run if alone else run / name
        self._temporary = run / ".tmp"
        self._min_kept_share, self._config = min_kept_share, config
        self._key = "--set min_kept_share=0" if alone else f"--set {name}.min_kept_share=0"
        self._steps: list[dict[str, Any]] = []
        self._written: dict[str, Any] | None = None
        self._started = time.perf_counter()

    def rows(
        self,
        splits: Sequence[Split],
        reader: Reader,
        stages: tuple[Stage, ...] | Callable[[Split], tuple[Stage, ...]],
        columns: frozenset[str],
        limit: int | None = None,
    ) -> list[Split]:
        """Run the stages over the splits and write the manifest; returns the kept shards as splits of the same names.

        columns: what `kept/` holds. Raises RunFailed when a split fails, when rows don't add up, and when (almost) nothing is kept.
        """
        chain = stages if callable(stages) else lambda _: stages
        tasks = [RowTask(split, reader, chain(split), columns, limit) for split in splits]
        receipts = self._run(tasks, self.directory, self.directory / "receipts", label=self.name)
        self._clear_stale(receipts)
        manifest = self._manifest(receipts) | {"chain": _chain(tasks)}
        self._check_kept(manifest)
        self._written = manifest
        write_json(self.directory / "manifest.json", manifest)
        return [kept_split(self.directory, receipt) for receipt in receipts]

    def step(self, name: str, tasks: Sequence[StepTask], into: Path | None = None) -> list[dict[str, Any]]:
        """Run tasks, publish their files to `into` (default `steps/<name>/`), and return their receipts in the order of `tasks`."""
        receipts_folder = self.directory / "steps" / name / "receipts"
        started = time.perf_counter()
        label = f"{self.name}/{name}"
        receipts = self._run(tasks, into or self.directory / "steps" / name, receipts_folder, label=label)
        names = {f"{task.name}.json" for task in tasks}
        for stale in [path for path in receipts_folder.glob("*.json") if path.name not in names]:
            _remove_outputs(stale, into or self.directory / "steps" / name)
        self._steps.append({"name": name, "tasks": len(tasks), "seconds": round(time.perf_counter() - started, 3), **_totals(receipts)})
        if self._written:  # a step after the rows, such as collecting evidence: the manifest, which holds the list of steps, follows
            self._written["wall_seconds"] = round(time.perf_counter() - self._started, 3)
            write_json(self.directory / "manifest.json", self._written)
        return receipts

    def step_folder(self, name: str) -> Path:
        """Where the files of a step are."""
        return self.directory / "steps" / name

    def _run(self, tasks: Sequence[Any], target: Path, receipts_folder: Path, label: str) -> list[dict[str, Any]]:
        receipts_folder.mkdir(parents=True, exist_ok=True)
        jobs = [_Job(task, task_fingerprint(task), str(self._temporary), str(target)) for task in tasks]
        done = {job.name: receipt for job in jobs if (receipt := _valid_receipt(job, receipts_folder, target))}
        todo = sorted((job for job in jobs if job.name not in done), key=lambda job: -_size(job.task))
        for job in todo:  # no receipt may speak for files that are about to be replaced, should this run be killed
            _remove_outputs(receipts_folder / f"{job.name}.json", target)
        failures = []
        with self.progress.segment(label, len(jobs), len(done)) as bar:
            for outcome in self.engine.map(todo):
                trace = self.directory / "failed" / f"{outcome.name}.txt"
                if outcome.result is None:
                    trace.parent.mkdir(parents=True, exist_ok=True)
                    trace.write_text(f"{outcome.error}\n\n{outcome.trace}", encoding="utf-8")
                    failures.append(outcome)
                    continue
                trace.unlink(missing_ok=True)
                done[outcome.name] = outcome.result
                _require_visible(target, outcome.result)
                write_json(receipts_folder / f"{outcome.name}.json", outcome.result)
                bar.advance(outcome.result)
        with contextlib.suppress(OSError):  # not there, or it holds traces of what still fails
            (self.directory / "failed").rmdir()
        if failures:
            first = min(failures, key=lambda failure: failure.name)
            if len(failures) > 1 and not first.user_error:
                raise RunFailed(f"{label}: {len(failures)} of {len(jobs)} splits failed; the first: {first.error}")
            first.value()
        return [done[job.name] for job in jobs]

    def _clear_stale(self, receipts: Sequence[dict[str, Any]]) -> None:
        """Remove every shard and receipt that this plan's receipts don't name: those of an earlier or of a killed configuration."""
        named = {name for receipt in receipts for name in receipt["outputs"]} | {f"receipts/{receipt['name']}.json" for receipt in receipts}
        for folder in (*KINDS, "receipts"):
            for path in (self.directory / folder).glob("*"):
                if f"{folder}/{path.name}" not in named:
                    path.unlink()
        failed = self.directory / "failed"
        if failed.is_dir():
            shutil.rmtree(failed)

    def _manifest(self, receipts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        totals = _totals(receipts)
        kept = {key: sum(receipt["kept"][key] for receipt in receipts) for key in ("rows", "bytes")}
        manifest = {
            "segment": self.name,
            "version": __version__,
            "fingerprint": xxhash.xxh3_128_hexdigest("".join(receipt["fingerprint"] for receipt in receipts).encode()),
            "engine": self.engine.name,
            "workers": self.engine.workers,
            "splits": len(receipts),
            "rows_in": sum(receipt["rows_in"] for receipt in receipts),
            "bytes_in": sum(receipt["bytes_in"] for receipt in receipts),
            "kept": kept,
            "dropped": _summed(receipt["dropped"] for receipt in receipts),
            "quarantined": _summed(receipt["quarantined"] for receipt in receipts),
            "stages": _stage_seconds(receipts),
            "steps": self._steps,
            "wall_seconds": round(time.perf_counter() - self._started, 3),
            **totals,
            **({"config": self._config} if self._config is not None else {}),
        }
        lost = manifest["rows_in"] - kept["rows"] - rows_of(manifest["dropped"]) - rows_of(manifest["quarantined"])
        if lost:
            raise RunFailed(f"{self.name}: {lost} of {manifest['rows_in']} rows are neither kept, dropped nor quarantined; this is a bug")
        return manifest

    def _check_kept(self, manifest: dict[str, Any]) -> None:
        """A move that keeps (almost) nothing of a real input is a mistake until the user says that it isn't."""
        rows_in, kept = manifest["rows_in"], manifest["kept"]["rows"]
        if rows_in < SMALL_INPUT_ROWS or kept >= self._min_kept_share * rows_in:
            return
        reasons = sorted({**manifest["dropped"], **manifest["quarantined"]}.items(), key=lambda item: -item[1]["rows"])
        listed = ", ".join(f"{reason} ({count['rows']:,})" for reason, count in reasons[:3])
        folder = "dropped" if rows_of(manifest["dropped"]) >= rows_of(manifest["quarantined"]) else "quarantine"
        raise RunFailed(
            f"{self.name} kept {kept:,} of {rows_in:,} documents, fewer than its min_kept_share of {self._min_kept_share:g} allows; "
            f"most were lost to {listed}; look at {self.directory}/{folder}, or add {self._key} to go on"
        )


def _chain(tasks: Sequence[RowTask]) -> list[dict[str, Any]]:
    """Name, version and settings of the stages; settings that differ between splits (paths of their own files) are left out."""
    chains = [[identity(stage) for stage in task.stages] for task in tasks]
    return [
        same[0] if all(one == same[0] for one in same) else {key: same[0][key] for key in ("name", "version")}
        for same in zip(*chains, strict=True)
    ]


def task_fingerprint(task: Any) -> str:
    """What a task's result depends on, as one hash: code and layout version, settings, and the content of its inputs."""
    if isinstance(task, RowTask):
        parts = task.fingerprint_parts()
    else:
        parts = {"task": type(task).__name__, "settings": settings_of(task), "inputs": [_content(path) for path in _inputs(task)]}
    return xxhash.xxh3_128_hexdigest(json.dumps([__version__, LAYOUT, task.name, parts], sort_keys=True, ensure_ascii=False).encode())


def _inputs(task: Any) -> tuple[str, ...]:
    return tuple(getattr(task, "inputs", ()))


def _content(path: str) -> str:
    facts = os.stat(path)
    return _content_of(path, facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _content_of(path: str, size: int, changed_ns: int) -> str:
    """Hash of a file that several tasks of a step read; size and time of change tell one version from the next."""
    return str(file_facts(Path(path))["xxh3"])


def _valid_receipt(job: _Job, folder: Path, target: Path) -> dict[str, Any] | None:
    """The job's receipt if it is for the same fingerprint and its files are all there in the recorded size."""
    try:
        receipt: dict[str, Any] = json.loads((folder / f"{job.name}.json").read_text(encoding="utf-8"))
        if receipt["fingerprint"] != job.fingerprint:
            return None
        intact = all((target / name).stat().st_size == facts["bytes"] for name, facts in receipt["outputs"].items())
    except (OSError, ValueError, KeyError):
        return None
    return receipt if intact else None


def _remove_outputs(receipt_path: Path, target: Path) -> None:
    """Remove a receipt of an earlier configuration with the files that it names."""
    try:
        receipt = json.loads(receipt_path.read_text(encoding="utf-8"))
        outputs = list(receipt["outputs"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        outputs = []  # a damaged receipt names nothing; what it stood for is made again
    for name in outputs:
        (target / name).unlink(missing_ok=True)
    receipt_path.unlink()


def _require_visible(target: Path, receipt: Mapping[str, Any]) -> None:
    """Raises RunFailed when a worker's files aren't where the driver looks for them. A network disk is given some seconds to show them."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while missing := [name for name in receipt["outputs"] if not (target / name).exists()]:
        if time.monotonic() > deadline:
            raise RunFailed(
                f"a worker wrote '{missing[0]}', but it is not in '{target}' here; the run directory must be on a disk that all nodes share"
            )
        time.sleep(0.2)


def _size(task: Any) -> int:
    """Bytes that a task reads: the largest start first, so that no worker is left with a long one at the end."""
    if isinstance(getattr(task, "split", None), Split):
        return int(task.split.size)
    return sum(os.path.getsize(path) for path in _inputs(task) if os.path.exists(path))


def kept_split(directory: Path, receipt: Mapping[str, Any]) -> Split:
    """The kept shard of a finished split, as the split that the next segment reads."""
    name = str(receipt["name"])
    relative = f"kept/{name}.parquet"
    facts = receipt["outputs"][relative]
    path = str(directory / relative)
    return Split(name, (Part(path, relative, DOCUMENTS, "", facts["xxh3"], facts["bytes"]),))


def _totals(receipts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "cpu_seconds": round(sum(receipt.get("cpu_seconds", 0.0) for receipt in receipts), 3),
        "worker_seconds": round(sum(receipt.get("seconds", 0.0) for receipt in receipts), 3),
        "peak_memory_bytes": max((receipt.get("peak_memory_bytes", 0) for receipt in receipts), default=0),
    }


def _summed(reasons: Any) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = {}
    for listed in reasons:
        for reason, count in listed.items():
            entry = total.setdefault(reason, {"rows": 0, "bytes": 0})
            entry["rows"] += count["rows"]
            entry["bytes"] += count["bytes"]
    return dict(sorted(total.items()))


def _stage_seconds(receipts: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    total: dict[str, dict[str, float]] = {}
    for receipt in receipts:
        for name, facts in receipt["stages"].items():
            entry = total.setdefault(name, {"seconds": 0.0, "rows_in": 0})
            entry["seconds"] = round(entry["seconds"] + facts["seconds"], 6)
            entry["rows_in"] += facts["rows_in"] or 0
    return total


def rows_of(reasons: Mapping[str, Mapping[str, int]]) -> int:
    """Rows over all reasons of a manifest's `dropped` or `quarantined`."""
    return sum(count["rows"] for count in reasons.values())


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file is either the old one or the complete new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise RunFailed(f"can't write '{path}': {error.strerror}; mend that and run again: finished splits are kept") from error


def clear_temporary(run: Path) -> None:
    """Remove what a killed run left behind: `.tmp` and half-written JSON."""
    shutil.rmtree(run / ".tmp", ignore_errors=True)
    for path in list(run.rglob(".*.tmp")):
        path.unlink(missing_ok=True)
