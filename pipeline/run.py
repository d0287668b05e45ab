"""The main job: plan the splits, run the moves in order, write the corpus and the report."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.balance import export
from pipeline.balance import move as balance
from pipeline.classify import move as classify
from pipeline.config import MOVES, InputConfig, RunConfig
from pipeline.decontaminate import move as decontaminate
from pipeline.dedup import move as dedup
from pipeline.directory import refuse_inputs_inside, run_directory
from pipeline.documents import IngestReader
from pipeline.engine import Engine, Options, start_engine
from pipeline.errors import UserError
from pipeline.files import File, find_files, printable
from pipeline.ingest import stages as ingest_stages
from pipeline.ingest.formats import detected_format
from pipeline.inputs import known_format
from pipeline.progress import Progress
from pipeline.refine import move as refine
from pipeline.report import write_report
from pipeline.schema import COLUMNS, TRANSIENT
from pipeline.segment import Segment, write_json
from pipeline.splits import UNKNOWN, Part, Split, parts_of, plan_splits

INGEST_COLUMNS = frozenset(column.name for column in COLUMNS if column.writer == "ingest") - TRANSIENT


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
        formats = input_formats(files, entry, f"inputs.{index}.format")
        parts += parts_of(files, entry.source, formats, entry.text_column, entry.id_column, keep_ids=False)
    _refuse_twice(parts)
    for part in sorted(parts, key=lambda part: (part.source, part.name)):
        facts = {key: getattr(part, key) for key in ("name", "source", "format", "size", "fingerprint")}
        inputs.append({"path": printable(part.path), **facts})
    check_moves(config)
    return Plan(plan_splits(parts, config.split_bytes), planned_moves(config), inputs)


def planned_moves(config: RunConfig) -> list[str]:
    """The moves of this run in order: those whose section is not null."""
    return [name for name in MOVES if getattr(config, name) is not None]


def input_formats(files: list[File], entry: InputConfig, key: str) -> dict[str, str]:
    """Format by path. A stray file in a folder or glob is UNKNOWN and will be quarantined; one that was named must be known."""
    if entry.format:
        return {file.path: entry.format for file in files}
    found = {file.path: detected_format(file) for file in files}
    named = {os.path.abspath(path) for path in ([entry.path] if isinstance(entry.path, str) else entry.path)}
    if any(found.values()) and all(found[path] for path in named & found.keys()):
        return {path: format_ or UNKNOWN for path, format_ in found.items()}
    return {file.path: known_format(file, f"set {key}, ") for file in files}


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
    refine.check(config.refine, INGEST_COLUMNS)
    if config.classify:
        classify.check(config.classify)
    if config.decontaminate:
        decontaminate.check(config.decontaminate)
    available = INGEST_COLUMNS.union(*(written_by(move) for move in planned_moves(config)))
    if config.balance:
        balance.check(config.balance, available)


def run_job(config: RunConfig, run: Path, options: Options, progress: Progress) -> dict[str, Any]:
    """Run the whole job into `run` and return run.json's content.

    Raises UserError (input, configuration) or RunFailed; what is finished stays, and the next call goes on from there.
    """
    started = time.time()
    plan = plan_run(config)
    refuse_inputs_inside(run, (part.path for split in plan.splits for part in split.parts))
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
        _remove_left_out(run, plan.moves)
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
            write_json(run / "run.json", facts)
        write_report(run)
    return facts


def _remove_left_out(run: Path, moves: list[str]) -> None:
    """Remove what an earlier configuration made and this one does not: folders of moves that are left out, the corpus, the report."""
    left_out = [move for move in MOVES if move not in moves]
    for name in [*left_out, *(["corpus"] if "balance" in left_out else [])]:
        shutil.rmtree(run / name, ignore_errors=True)
    for name in ("report.json", "report.html"):
        (run / name).unlink(missing_ok=True)


def _moves(config: RunConfig, plan: Plan, run: Path, engine: Engine, options: Options, progress: Progress) -> None:
    def segment(name: str, min_kept_share: float) -> Segment:
        return Segment(run, name, engine, progress, min_kept_share)

    stages = ingest_stages.stages(config.ingest)
    splits = segment("ingest", config.ingest.min_kept_share).rows(
        plan.splits, IngestReader(config.ingest), stages, INGEST_COLUMNS, limit=options.limit
    )
    available = INGEST_COLUMNS
    splits, available = refine.run(segment("refine", config.refine.min_kept_share), splits, config.refine, available)
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
