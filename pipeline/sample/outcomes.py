"""What became of every record: reads the kept, dropped and quarantined shards of a run and its corpus back into one row per id."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError

FATES = ("kept", "dropped", "quarantine")
_COLUMNS = ("id", "source_id", "url", "file", "position", "lang", "domain", "drop_reason", "error")


@dataclass
class Record:
    """One record of the run, by `id`: its provenance, and its end. `text` is None for a record that is not in the corpus.

    `ended`: "kept" (in the corpus), "dropped", "quarantined", or "lost" (in no corpus shard although no segment dropped it);
    `segment`: folder in which it was dropped or quarantined; `reason`: its drop_reason or error.
    """

    id: str
    source_id: str | None = None
    url: str | None = None
    file: str | None = None
    position: int | None = None
    lang: str | None = None
    domain: str | None = None
    ended: str = "lost"
    segment: str | None = None
    reason: str | None = None
    text: str | None = None


@dataclass
class Outcomes:
    """All records of a run by id, and the ids that one segment wrote more than once."""

    records: dict[str, Record] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)


def read_outcomes(run_folder: Path) -> Outcomes:
    """The outcome of every record in a run folder.

    Raises UserError when there is no corpus, no segment folder, or a shard that cannot be read or has no ids.
    """
    run_folder = Path(run_folder)
    corpus_shards = sorted(run_folder.glob("corpus/phase=*/**/*.parquet"))
    if not corpus_shards:
        raise UserError(f"{run_folder} has no Parquet shard below corpus/phase=*/, so there is nothing to score; finish the run first")
    segments = [path for path in sorted(run_folder.iterdir()) if any((path / fate).is_dir() for fate in FATES)]
    if not segments:
        raise UserError(f"{run_folder} has no segment folder with kept/, dropped/ or quarantine/; give the folder of a run")
    outcomes = Outcomes()
    for segment in segments:
        seen: set[str] = set()
        for fate in FATES:
            for row in _rows(sorted((segment / fate).glob("*.parquet")), _COLUMNS):
                if row["id"] in seen:
                    outcomes.doubled.append(row["id"])
                seen.add(row["id"])
                _note(outcomes.records.setdefault(row["id"], Record(row["id"])), row, fate, segment.name)
    for row in _rows(corpus_shards, ("id", "text", *_COLUMNS[1:7])):
        record = outcomes.records.setdefault(row["id"], Record(row["id"]))
        _note(record, row, "kept", "corpus")
        record.ended, record.text = "kept", row["text"] or ""
    return outcomes


def _note(record: Record, row: dict[str, Any], fate: str, segment: str) -> None:
    for name in ("source_id", "url", "file", "position", "lang", "domain"):
        if row[name] is not None:
            setattr(record, name, row[name])
    if fate != "kept":
        record.ended = "dropped" if fate == "dropped" else "quarantined"
        record.segment = segment
        record.reason = row["drop_reason"] if fate == "dropped" else row["error"]


def _rows(shards: list[Path], columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The rows of the shards with exactly these columns, None where a shard has no such column."""
    for shard in shards:
        try:
            file = pq.ParquetFile(shard)
            present = [name for name in columns if name in file.schema_arrow.names]
            table = file.read(columns=present)
        except (OSError, pa.ArrowException) as problem:
            raise UserError(f"{shard} cannot be read as Parquet ({problem}); remove it and run again") from problem
        if "id" not in present:
            raise UserError(f"{shard} has no column 'id', so its rows cannot be traced; was it written by this platform?")
        for row in table.to_pylist():
            yield {**dict.fromkeys(columns), **row}


def in_segment(record: Record, stages: list[str]) -> bool:
    """Whether the record ended in one of these segments; a folder of fused segments, such as `ingest+refine`, is each of them."""
    return record.segment is not None and bool(set(re.split(r"[^a-z]+", record.segment.lower())) & set(stages))


def file_key(file: str | None) -> str:
    """What stays the same in a `file` however the input was configured: the base name, and in archives that of the member too."""
    return "!".join(part.replace("\\", "/").rsplit("/", 1)[-1] for part in (file or "").split("!"))
