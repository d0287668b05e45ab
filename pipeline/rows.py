"""The worker's side of a segment: stream one split through a chain of stages into kept, dropped and quarantine shards.

Everything here runs inside a worker and touches only this split's files. What comes back is a receipt: counts that must add up, time per
stage, peak memory, and size and hash of each shard.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import RunFailed, UserError
from pipeline.schema import TRANSIENT, arrow_schema, with_columns
from pipeline.shards import ShardWriter, row_bytes
from pipeline.splits import Split
from pipeline.stage import Parted, Stage, apply, identity, part, settings_of

KINDS = ("kept", "dropped", "quarantine")

QUARANTINE_COLUMNS = frozenset({"id", "source", "source_id", "file", "position", "url", "drop_stage", "error", "excerpt"})
"""A quarantined row keeps its provenance, error and a masked excerpt: the record itself can be read again from its file."""


class Reader(Protocol):
    """A frozen dataclass that turns a split into tables; it is part of the segment's fingerprint, so it has a `version`."""

    @property
    def version(self) -> str: ...

    def __call__(self, split: Split) -> Iterator[pa.Table]: ...


@dataclass(frozen=True)
class RowTask:
    """Everything a worker needs to do one split of a row-local segment. Call it with the folder for its unfinished files."""

    split: Split
    reader: Reader
    stages: tuple[Stage, ...]
    columns: frozenset[str]
    limit: int | None = None

    @property
    def name(self) -> str:
        return self.split.name

    def fingerprint_parts(self) -> dict[str, Any]:
        """What this task's result depends on, besides the code version."""
        stages = [identity(stage) for stage in self.stages]
        split = settings_of(self.split)
        return {"split": split, "reader": identity(self.reader), "stages": stages, "columns": sorted(self.columns), "limit": self.limit}

    def __call__(self, folder: Path) -> dict[str, Any]:
        """Do the split, writing `<kind>/<split>.parquet` under `folder`; returns the receipt's facts.

        Raises RunFailed when rows are lost between reading and writing: the conservation check.
        """
        outputs = _Outputs(folder, self.name, self.columns)
        counts = _Counts()
        clock: dict[str, float] = dict.fromkeys(["read", *(stage.name for stage in self.stages), "write"], 0.0)
        rows_in_stage: Counter[str] = Counter()
        for table in _timed(_limited(self.reader(self.split), self.limit), clock, "read"):
            counts.rows_in += len(table)
            counts.bytes_in += pc.sum(row_bytes(table)).as_py() or 0
            parted = part(table, "read")
            rows = parted.kept
            _write(outputs, counts, clock, parted)
            for stage in self.stages:
                if len(rows) == 0:
                    break
                rows_in_stage[stage.name] += len(rows)
                started = time.perf_counter()
                parted = guarded(stage, rows)
                clock[stage.name] += time.perf_counter() - started
                rows = parted.kept
                _write(outputs, counts, clock, parted)
            counts.kept_bytes += pc.sum(row_bytes(rows)).as_py() or 0
            started = time.perf_counter()
            outputs.write("kept", rows)
            clock["write"] += time.perf_counter() - started
        started = time.perf_counter()
        written = outputs.close()
        clock["write"] += time.perf_counter() - started
        if sum(written.values()) != counts.rows_in:
            raise RunFailed(
                f"split {self.name}: {counts.rows_in} rows were read but {written} were written; this is a bug, please report it"
            )
        return counts.facts(written) | {
            "stages": {name: {"seconds": round(seconds, 6), "rows_in": rows_in_stage.get(name)} for name, seconds in clock.items()}
        }


class _Counts:
    """Running totals of one split."""

    def __init__(self) -> None:
        self.rows_in = self.bytes_in = self.kept_bytes = 0
        self.dropped: dict[str, list[int]] = {}
        self.quarantined: dict[str, list[int]] = {}

    def add(self, parted: Parted) -> None:
        for table, reasons, column in ((parted.dropped, self.dropped, "drop_reason"), (parted.quarantined, self.quarantined, "error")):
            if len(table) == 0:
                continue
            stages, texts = table.column("drop_stage").to_pylist(), table.column(column).to_pylist()
            for stage, text, size in zip(stages, texts, row_bytes(table).to_pylist(), strict=True):
                label = f"{stage}: {text if column == 'drop_reason' else error_class(text)}"
                entry = reasons.setdefault(label, [0, 0])
                entry[0] += 1
                entry[1] += size

    def facts(self, written: dict[str, int]) -> dict[str, Any]:
        def listed(reasons: dict[str, list[int]]) -> dict[str, dict[str, int]]:
            return {reason: {"rows": rows, "bytes": size} for reason, (rows, size) in sorted(reasons.items())}

        return {
            "rows_in": self.rows_in,
            "bytes_in": self.bytes_in,
            "kept": {"rows": written["kept"], "bytes": self.kept_bytes},
            "dropped": listed(self.dropped),
            "quarantined": listed(self.quarantined),
        }


def error_class(error: str) -> str:
    """An error without its numbers and quoted names, short: the key under which receipts count it."""
    return re.sub(r"'[^']*'", "'…'", re.sub(r"\d+", "N", error))[:100]


class _Outputs:
    """The three shard writers of one split; `kept` is always written, the others only when they have rows."""

    def __init__(self, folder: Path, name: str, columns: frozenset[str]) -> None:
        kept = columns - TRANSIENT
        self._schemas = {
            "kept": arrow_schema(kept),
            "dropped": arrow_schema(kept | {"drop_stage", "drop_reason"}),
            "quarantine": arrow_schema(QUARANTINE_COLUMNS),
        }
        self._paths = {kind: folder / kind / f"{name}.parquet" for kind in KINDS}
        self._writers: dict[str, ShardWriter] = {}
        self._open("kept")

    def _open(self, kind: str) -> ShardWriter:
        self._paths[kind].parent.mkdir(parents=True, exist_ok=True)
        self._writers[kind] = ShardWriter(self._paths[kind], self._schemas[kind])
        return self._writers[kind]

    def write(self, kind: str, table: pa.Table) -> None:
        if len(table):
            (self._writers.get(kind) or self._open(kind)).write(table)

    def close(self) -> dict[str, int]:
        return {kind: self._writers[kind].close() if kind in self._writers else 0 for kind in KINDS}


def _write(outputs: _Outputs, counts: _Counts, clock: dict[str, float], parted: Parted) -> None:
    started = time.perf_counter()
    counts.add(parted)
    outputs.write("dropped", parted.dropped)
    outputs.write("quarantine", parted.quarantined)
    clock["write"] += time.perf_counter() - started


def guarded(stage: Stage, table: pa.Table) -> Parted:
    """Apply a stage; where it raises on a batch, halve the batch until the row that breaks it is alone, and quarantine that row.

    Only what a hostile row can cause is caught: bad configuration, lost files, a full disk or a failed allocation go up to the engine.
    """
    try:
        return apply(stage, table)
    except (UserError, RunFailed, OSError, MemoryError):
        raise
    except Exception as error:
        if len(table) == 1:
            message = f"stage {stage.name} can't process this record: {type(error).__name__}: {error}"
            return part(with_columns(table, {"error": [message[:500]]}), stage.name)
        middle = len(table) // 2
        halves = [guarded(stage, table.slice(0, middle)), guarded(stage, table.slice(middle))]
        return Parted(
            *(
                pa.concat_tables([getattr(half, kind) for half in halves], promote_options="default")
                for kind in ("kept", "dropped", "quarantined")
            )
        )


def _limited(tables: Iterator[pa.Table], limit: int | None) -> Iterator[pa.Table]:
    """The first `limit` rows."""
    left = limit
    for table in tables:
        if left is None:
            yield table
            continue
        yield table.slice(0, left)
        left -= len(table)
        if left <= 0:
            return


def _timed(tables: Iterator[pa.Table], clock: dict[str, float], name: str) -> Iterator[pa.Table]:
    while True:
        started = time.perf_counter()
        table = next(tables, None)
        clock[name] += time.perf_counter() - started
        if table is None:
            return
        yield table
