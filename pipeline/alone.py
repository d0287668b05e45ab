"""Stages on their own: any move over any Parquet or JSONL, with the output folder every stage command shares."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from pipeline.config import AnySettings, absolute, first_error, with_overrides
from pipeline.directory import refuse_inputs_inside, run_directory
from pipeline.documents import DECISIONS, LIFTED, DocumentReader
from pipeline.engine import Options, start_engine
from pipeline.errors import UserError
from pipeline.files import open_file
from pipeline.inputs import Inputs, input_parts
from pipeline.progress import Progress
from pipeline.schema import BY_NAME, TRANSIENT
from pipeline.segment import Segment
from pipeline.splits import DOCUMENTS, Part, Split, plan_splits

USER_COLUMNS = frozenset({"id", "source", "source_id", "file", "position", "url", "host", "date", "title", "text", "text_bytes", "meta"})
"""Document columns that a user's own JSONL or Parquet file yields."""

_SPLIT_BYTES = 32 << 20

_PROVENANCE = frozenset({"id", "source", "file", "position"})
"""What every shard of ours has and a user's own table hardly does: only shards are read without the checks that ingest makes."""


def settings_from(model: type[AnySettings], given: dict[str, Any], overrides: list[str], command: str) -> AnySettings:
    """A move's configuration from command-line options (None: not given) and `--set`. Raises UserError naming the key."""
    values = with_overrides({key: value for key, value in given.items() if value is not None}, overrides)
    try:
        return absolute(model.model_validate(values))
    except ValidationError as error:
        raise UserError(f"onnuri {command}: {first_error(error)}") from error


def plan_documents(inputs: Inputs, needs_text: bool = True) -> tuple[list[Split], frozenset[str]]:
    """Splits over documents and the columns they have.

    Our own shards keep every column; other files yield USER_COLUMNS, and those of LIFTED that the first file's first rows have.
    needs_text: raises UserError for shards of ours without text, which quarantine/ and `refine --rules-only` hold.
    """
    parts, available = [], frozenset({"id", "text"})
    lifted: frozenset[str] | None = None
    for part in input_parts(inputs):
        columns = _shard_columns(part) if (inputs.text_column, inputs.id_column) == ("text", "id") else None
        if columns is not None and needs_text and "text" not in columns:
            raise UserError(f"the shard '{part.path}' has no texts; give kept/ or dropped/ of a stage that wrote them")
        if columns is not None:
            part, available = replace(part, format=DOCUMENTS), available | columns
        elif part.format in ("jsonl", "parquet"):
            available |= USER_COLUMNS | (_lifted(part) if lifted is None else lifted)
            lifted = available & LIFTED
        else:
            raise UserError(f"'{part.path}' is {part.format}, and this stage reads JSONL or Parquet; run `onnuri ingest` on it first")
        parts.append(part)
    return plan_splits(parts, _SPLIT_BYTES), available


def _lifted(part: Part) -> frozenset[str]:
    """Which of LIFTED the first rows of a user's file have."""
    first = next(DocumentReader()(Split("peek", (part,))), None)
    if first is None:
        return frozenset()
    return frozenset(name for name in LIFTED & set(first.column_names) if first.column(name).null_count < len(first))


def plan_raw(inputs: Inputs) -> list[Split]:
    """Splits over crawl files of any format, for ingest alone."""
    return plan_splits([replace(part, keep_ids=False) for part in input_parts(inputs)], _SPLIT_BYTES)


def _shard_columns(part: Part) -> frozenset[str] | None:
    """The columns of a Parquet file that is a shard of the document table; None for any other file."""
    if part.format != "parquet":
        return None
    try:
        with open_file(part.path) as stream:
            schema = pq.read_schema(stream)
    except (pa.ArrowException, OSError):
        return None
    ours = all(field.name in BY_NAME and BY_NAME[field.name].type == field.type for field in schema)
    return frozenset(schema.names) - TRANSIENT - DECISIONS if ours and set(schema.names) >= _PROVENANCE else None


def run_alone(
    move: str,
    splits: Sequence[Split],
    out: Path,
    config: Any,
    options: Options,
    progress: Progress,
    work: Callable[[Segment], Any],
) -> dict[str, Any]:
    """Do `work` on a segment whose folder is `out`, on the engine that was asked for; returns the manifest.

    config: the move's settings, which the manifest records.
    Raises UserError when `out` holds the input, a run, or the result of another move: writing there would destroy it.
    """
    out = out.absolute()  # workers, here or on a cluster, have folders of their own
    _refuse_to_overwrite(move, splits, out)
    with run_directory(out):
        engine = start_engine(options.engine, options.workers, options.address)
        try:
            settings = config.model_dump(mode="json")
            share = getattr(config, "min_kept_share", 0.0)  # a move that only counts or encodes drops no documents
            work(Segment(out, move, engine, progress, share, alone=True, config=settings))
        finally:
            engine.close()
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def _refuse_to_overwrite(move: str, splits: Sequence[Split], out: Path) -> None:
    refuse_inputs_inside(out, (part.path for split in splits for part in split.parts))
    if (out / "run.json").exists():
        raise UserError(f"'{out}' is the folder of a whole run; give another folder with -o")
    if (out / "manifest.json").exists():
        other = json.loads((out / "manifest.json").read_text(encoding="utf-8")).get("segment")
        if other != move:
            raise UserError(f"'{out}' holds the result of {other}; give another folder with -o")
