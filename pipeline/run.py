"""The main job: plan the splits, run the moves in order, write the corpus and the report."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.balance import export
from pipeline.balance import move as balance
from pipeline.classify import move as classify
from pipeline.config import MOVES, RunConfig
from pipeline.decontaminate import move as decontaminate
from pipeline.dedup import move as dedup
from pipeline.documents import DocumentReader, IngestReader
from pipeline.engine import Engine, start_engine
from pipeline.errors import RunFailed, UserError
from pipeline.files import File, find_files, open_file
from pipeline.ingest import stages as ingest_stages
from pipeline.ingest.formats import detect_format
from pipeline.progress import Progress
from pipeline.refine import stages as refine_stages
from pipeline.report import write_report
from pipeline.schema import COLUMNS, TRANSIENT
from pipeline.segment import Segment, clear_temporary, write_json
from pipeline.splits import Part, Split, parts_of, plan_splits
from pipeline.stage import Stage, missing_columns

_HEAD_BYTES = 4096
"""Bytes of a file that are looked at when its name doesn't tell its format."""

INGEST_COLUMNS = frozenset(column.name for column in COLUMNS if column.writer == "ingest") - TRANSIENT


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what: nothing here changes a byte of the result, except `limit`."""

    engine: str = "local"
    address: str | None = None
    workers: int | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a run would do, known without reading more than file names, sizes and footers."""

    splits: list[Split]
    moves: list[str]
    inputs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(split.size for split in self.splits)


def plan_run(config: RunConfig) -> Plan:
    """Find every input, tell its format, cut the splits, and check what the moves need.

    Raises UserError before anything is started: for an input that matches nothing, a format that can't be told, missing benchmarks, labels
    or models.
    """
    parts, inputs = [], []
    for index, entry in enumerate(config.inputs):
        files = find_files([entry.path] if isinstance(entry.path, str) else entry.path)
        formats = {file.path: format_of(file, entry.format, f"inputs.{index}.format") for file in files}
        parts += parts_of(files, entry.source, formats, entry.text_column, entry.id_column, keep_ids=False)
    _refuse_twice(parts)
    for part in sorted(parts, key=lambda part: (part.source, part.name)):
        inputs.append({key: getattr(part, key) for key in ("path", "name", "source", "format", "size", "fingerprint")})
    check_moves(config)
    return Plan(plan_splits(parts, config.split_bytes), planned_moves(config), inputs)


def planned_moves(config: RunConfig) -> list[str]:
    """The moves of this run in order: those whose section is not null."""
    return [name for name in MOVES if getattr(config, name) is not None]


def format_of(file: File, given: str, key: str) -> str:
    """The format of a file: as given, by its name, or by its first bytes. Raises UserError when none of them tells."""
    if given:
        return given
    with open_file(file.path) as stream:
        found = detect_format(file.name, stream.read(_HEAD_BYTES))
    if found is None:
        raise UserError(f"can't tell the format of '{file.path}' from its name or content; set {key}, or leave the file out")
    return found


def _refuse_twice(parts: list[Part]) -> None:
    """Two inputs of one source name must not hold files of one name: ids are made of both."""
    seen: dict[tuple[str, str], str] = {}
    paths: set[str] = set()
    for part in parts:
        other = seen.setdefault((part.source, part.name), part.path)
        if other != part.path:
            raise UserError(
                f"'{part.path}' and '{other}' are both '{part.name}' of source '{part.source}'; give their inputs different sources"
            )
        if part.path in paths:
            raise UserError(f"'{part.path}' is named by two inputs; name it once, so that its documents are not read twice")
        paths.add(part.path)


def check_moves(config: RunConfig) -> None:
    """Look for everything that a move will need later, so that a wrong path fails now and not after an hour."""
    refine_stages.stages(config.refine)
    if config.classify:
        classify.check(config.classify)
    if config.decontaminate:
        decontaminate.check(config.decontaminate)
    available = INGEST_COLUMNS.union(*(written_by(move) for move in planned_moves(config)))
    if config.balance:
        balance.check(config.balance, available)


@contextlib.contextmanager
def run_directory(run: Path) -> Iterator[Path]:
    """Make and lock a run directory, clear what a killed run left in it, and unlock it at the end.

    Raises UserError when it holds something else, or when another run is writing to it.
    """
    if run.exists() and not run.is_dir():
        raise UserError(f"'{run}' is a file; give a folder with -o")
    if run.is_dir() and any(run.iterdir()) and not any((run / name).exists() for name in ("run.json", "manifest.json", ".lock")):
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


def run_job(config: RunConfig, run: Path, options: Options, progress: Progress) -> dict[str, Any]:
    """Run the whole job into `run` and return run.json's content.

    Raises UserError (input, configuration) or RunFailed; what is finished stays, and the next call goes on from there.
    """
    started = time.time()
    plan = plan_run(config)
    facts: dict[str, Any] = {
        "version": __version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "status": "running",
        "engine": options.engine,
        "workers": options.workers,
        "limit": options.limit,
        "seed": config.seed,
        "moves": plan.moves,
        "splits": len(plan.splits),
        "input_bytes": plan.size,
        "inputs": plan.inputs,
        "config": config.model_dump(mode="json"),
    }
    with run_directory(run):
        engine = start_engine(options.engine, options.workers, options.address)
        facts["workers"] = engine.workers
        write_json(run / "run.json", facts)
        try:
            _moves(config, plan, run, engine, options, progress)
            facts["status"] = "finished"
        except BaseException as error:
            facts["status"] = "failed"
            facts["error"] = str(error) or type(error).__name__
            raise
        finally:
            engine.close()
            facts["seconds"] = round(time.time() - started, 3)
            _record(run, facts)
        write_report(run)
    return facts


def _record(run: Path, facts: dict[str, Any]) -> None:
    try:
        write_json(run / "run.json", facts)
    except OSError as error:
        raise RunFailed(f"can't write '{run}/run.json': {error.strerror}; free space and run again: finished splits are kept") from error


def _moves(config: RunConfig, plan: Plan, run: Path, engine: Engine, options: Options, progress: Progress) -> None:
    def segment(name: str, min_kept_share: float) -> Segment:
        return Segment(run, name, engine, progress, min_kept_share)

    stages = ingest_stages.stages(config.ingest)
    splits = segment("ingest", config.ingest.min_kept_share).rows(
        plan.splits, IngestReader(config.ingest), stages, INGEST_COLUMNS, limit=options.limit
    )
    available = INGEST_COLUMNS
    stages = refine_stages.stages(config.refine)
    require_columns("refine", stages, available)
    available |= frozenset().union(*(stage.writes for stage in stages))
    splits = segment("refine", config.refine.min_kept_share).rows(splits, DocumentReader(), stages, available)
    if config.dedup:
        splits = dedup.run(segment("dedup", config.dedup.min_kept_share), splits, config.dedup, available)
        available |= written_by("dedup")
    if config.classify:
        splits = classify.run(segment("classify", config.classify.min_kept_share), splits, config.classify, available)
        available |= written_by("classify")
    if config.decontaminate:
        segment_ = segment("decontaminate", config.decontaminate.min_kept_share)
        splits = decontaminate.run(segment_, splits, config.decontaminate, available)
        available |= written_by("decontaminate")
    if config.balance:
        splits = balance.run(segment("balance", config.balance.min_kept_share), splits, config.balance, available)
        export.export(segment("corpus", 0.0), splits, config.balance)


def written_by(move: str) -> frozenset[str]:
    """The document columns that a move writes."""
    return frozenset(column.name for column in COLUMNS if column.writer == move)


def require_columns(move: str, stages: tuple[Stage, ...], available: frozenset[str]) -> None:
    """Raises UserError when a stage reads a column that nobody wrote."""
    missing = missing_columns(stages, available)
    if missing:
        raise UserError(f"{move} needs columns that its input lacks ({', '.join(missing)}); run the moves before it first")


_PATH_KEYS = frozenset({"path", "inputs", "benchmarks", "language_model", "output", "sample"})
"""Configuration keys whose values are paths, wherever they stand."""


def absolute(config: RunConfig) -> RunConfig:
    """The same configuration with every local path made absolute: what is sent to a cluster must not depend on where it is read."""

    def fixed(value: Any, is_path: bool) -> Any:
        if isinstance(value, dict):
            return {key: fixed(item, key in _PATH_KEYS) for key, item in value.items()}
        if isinstance(value, list):
            return [fixed(item, is_path) for item in value]
        return os.path.abspath(value) if is_path and isinstance(value, str) and value and "://" not in value else value

    return RunConfig.model_validate(fixed(config.model_dump(mode="json"), False))
