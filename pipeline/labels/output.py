"""What a labelling command leaves: OUT/labelled.parquet, which `classify train` reads as it is, and OUT/manifest.json with the counts."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.run import refuse_inputs_inside, run_directory
from pipeline.segment import write_json
from pipeline.splits import Split

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("text", pa.large_string()),
        pa.field("lang", pa.string()),
        pa.field("label", pa.string()),
        pa.field("source", pa.string()),
        pa.field("host", pa.string()),
        pa.field("url", pa.string()),
        pa.field("why", pa.string()),
        pa.field("score", pa.float64()),
    ]
)
"""Columns of labelled.parquet. `why`: the evidence in words; `score`: how strong it is, null for rules, which hold or don't."""

_PARTITIONS = 16
"""Rows wait in this many files, by key, and each is sorted alone: memory is bounded by a sixteenth of the output."""

_CODED = ["lang", "label", "source"]
_EVIDENCE_ROWS, _EVIDENCE_CHARS = 3, 80


@contextlib.contextmanager
def output_folder(out: Path, command: str, splits: Sequence[Split]) -> Iterator[Path]:
    """Make and lock OUT, as every stage command does. Raises UserError where it holds an input or another command's result."""
    out = out.absolute()
    refuse_inputs_inside(out, (part.path for split in splits for part in split.parts))
    if (out / "run.json").exists():
        raise UserError(f"'{out}' is the folder of a whole run; give another folder with -o")
    if (out / "manifest.json").exists():
        try:
            facts = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"'{out}/manifest.json' can't be read ({error}); move it away, or give another folder with -o") from error
        if not isinstance(facts, dict):
            raise UserError(f"'{out}/manifest.json' is no manifest; move it away, or give another folder with -o")
        other = facts.get("segment")
        if other != command:
            raise UserError(f"'{out}' holds the result of {other}; give another folder with -o")
    with run_directory(out):
        if not (out / "manifest.json").exists():  # it marks the folder as this command's, also when the command fails
            write_json(out / "manifest.json", {"segment": command, "finished": False})
        (out / ".tmp").mkdir(exist_ok=True)
        yield out


class SortedFile:
    """Rows in any order become one Parquet file, sorted by key, then id, label and text: the same bytes in whatever order they came."""

    def __init__(self, path: Path, temporary: Path, schema: pa.Schema = SCHEMA) -> None:
        """path: the file, which appears complete, on `close`. temporary: a folder beside it for what waits."""
        self.rows = 0
        self._path, self._schema = path, schema
        self._keyed = schema.append(pa.field("_key", pa.uint64()))
        self._waiting = [temporary / f"{path.stem}-{index:02d}.parquet" for index in range(_PARTITIONS)]
        self._writers = [pq.ParquetWriter(waiting, self._keyed, compression="zstd") for waiting in self._waiting]
        self._finished = temporary / path.name

    def write(self, table: pa.Table, keys: np.ndarray) -> None:
        """Add rows with the columns of the schema; keys: uint64 per row."""
        columns = {field.name: table.column(field.name).cast(field.type) for field in self._schema}
        keyed = pa.table(columns | {"_key": keys}, schema=self._keyed)
        self.rows += len(keyed)
        partition = (keys >> np.uint64(60)).astype(np.int64)
        for index in np.unique(partition):
            self._writers[index].write_table(keyed.filter(pa.array(partition == index)))

    def close(self) -> None:
        """Sort, and put the file in its place."""
        for writer in self._writers:
            writer.close()
        with pq.ParquetWriter(self._finished, self._schema, compression="zstd", use_dictionary=_CODED) as writer:
            order = [(name, "ascending") for name in ("_key", "id", "label", "text") if name in self._keyed.names]
            for waiting in self._waiting:
                table = pq.read_table(waiting)
                table = table.take(pc.sort_indices(table, order)).select(self._schema.names)
                if len(table):
                    writer.write_table(table)
                waiting.unlink()
        os.replace(self._finished, self._path)


def summary(path: Path) -> dict[str, dict[str, int]]:
    """Documents per label and language of a labelled file."""
    table = pq.read_table(path, columns=["label", "lang"])
    counted = table.group_by(["label", "lang"]).aggregate([([], "count_all")]).to_pylist()
    found: dict[str, dict[str, int]] = {}
    for row in sorted(counted, key=lambda row: (row["label"], row["lang"])):
        found.setdefault(row["label"], {})[row["lang"]] = row["count_all"]
    return found


def evidence(path: Path) -> dict[str, list[str]]:
    """Of each label the evidence of its first few documents, short."""
    table = pq.read_table(path, columns=["label", "why"])
    found: dict[str, list[str]] = {}
    for label in sorted(pc.unique(table.column("label")).to_pylist()):
        whys = pc.unique(table.filter(pc.equal(table.column("label"), label)).column("why").slice(0, 50)).to_pylist()
        found[label] = [why[:_EVIDENCE_CHARS] for why in whys[:_EVIDENCE_ROWS] if why]
    return found


def render(facts: dict[str, Any]) -> str:
    """The manifest of a labelling command for a person: label by language, the evidence, and what was left out."""
    labels: dict[str, dict[str, int]] = facts["labels"]
    languages = sorted({language for counts in labels.values() for language in counts})
    width = max([len("label"), *(len(label) for label in labels)])
    head = "  ".join(f"{language:>8}" for language in languages)
    lines = [f"{'label':<{width}}  {head}  evidence of the first documents"]
    for label, counts in labels.items():
        cells = "  ".join(f"{counts.get(language, 0):>8,}" for language in languages)
        lines.append(f"{label:<{width}}  {cells}  {' | '.join(facts['evidence'].get(label, []))}".rstrip())
    lines.append(f"labelled {sum(sum(counts.values()) for counts in labels.values()):,} of {facts['documents']:,} documents")
    left_out = [f"{count:,} {reason}" for reason, count in facts["left_out"].items() if count]
    if left_out:
        lines.append(f"left out: {', '.join(left_out)}")
    return "\n".join(lines + [f"{note}" for note in facts.get("notes", [])])
