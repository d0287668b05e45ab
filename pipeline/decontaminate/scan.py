"""Scanning as tasks over files: the matches of each split, and what later runs learn from them about what has been looked for already.

A task looks in one split for a group of benchmarks. Its receipt names them with their fingerprints, so that a run with a benchmark more
leaves the files of earlier groups as they are, and looks for the new one only.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from decontam import MATCH_SCHEMA, Scanner
from decontam.paper import PaperScanner
from pipeline.decontaminate.index import BenchmarkSet, open_benchmarks
from pipeline.documents import usable_documents
from pipeline.segment import Segment, task_fingerprint
from pipeline.shards import row_bytes
from pipeline.splits import Split

STEP = "scan"

SCAN_SCHEMA = pa.schema(
    [
        pa.field("document", pa.int64()),
        pa.field("id", pa.string()),
        pa.field("text_hash", pa.uint64()),
        *(one for one in MATCH_SCHEMA if one.name != "row"),
    ]
)
"""One match in a split. document: the number of its document among the usable ones of the split. id and text_hash (xxh3-64 of its UTF-8
bytes) find that document again, whatever batches it comes in, and tell apart those of one id."""


@dataclass(frozen=True)
class ScanTask:
    """Write `<split>.<group>.parquet` (SCAN_SCHEMA): the matches of one split with some benchmarks; reads nothing but id and text.

    benchmarks: those looked for. index: folder that has them. windows: random windows per document (`mode: paper`), 0 for all windows;
    seed: of these.
    """

    split: Split
    benchmarks: BenchmarkSet
    index: str = field(metadata={"fingerprint": False})
    windows: int = 0
    seed: int = 0
    version: str = "1"

    @property
    def name(self) -> str:
        names = json.dumps(self.benchmarks, ensure_ascii=False)
        return f"{self.split.name}.{xxhash.xxh3_64_hexdigest(names.encode())}"

    def __call__(self, folder: Path) -> dict[str, Any]:
        index = open_benchmarks(self.index, self.benchmarks)
        scanner = PaperScanner(index, self.windows, self.seed) if self.windows else Scanner(index)
        documents = size = matches = 0
        with pq.ParquetWriter(folder / f"{self.name}.parquet", SCAN_SCHEMA, compression="zstd") as writer:
            for table in usable_documents(self.split, ("id", "text", "error", "drop_reason")):
                if len(table) == 0:  # such a table may lack columns: all its rows were errors
                    continue
                found = _located(scanner.scan(table), table, documents)
                if len(found):
                    writer.write_table(found)
                documents, matches = documents + len(table), matches + len(found)
                size += pc.sum(row_bytes(table)).as_py() or 0
        return {"rows_in": documents, "bytes_in": size, "matches": matches, "benchmarks": dict(self.benchmarks)}


def _located(matches: pa.Table, table: pa.Table, before: int) -> pa.Table:
    """Matches of a table's rows as SCAN_SCHEMA; `before`: documents of the split in front of the table."""
    rows = matches["row"].to_numpy()
    distinct, which = np.unique(rows, return_inverse=True)
    hashes = text_hashes(table["text"].take(pa.array(distinct)))[which]
    located = {"document": pa.array(rows + before), "id": table["id"].take(matches["row"]), "text_hash": pa.array(hashes)}
    columns = [located[one.name] if one.name in located else matches[one.name] for one in SCAN_SCHEMA]
    return pa.table([column.cast(one.type) for column, one in zip(columns, SCAN_SCHEMA, strict=True)], schema=SCAN_SCHEMA)


def text_hashes(texts: pa.ChunkedArray) -> np.ndarray:
    """uint64[n]: xxh3-64 of each text's UTF-8 bytes; of a null as of the empty text."""
    return np.array([xxhash.xxh3_64_intdigest((text or "").encode()) for text in texts.to_pylist()], np.uint64)


@dataclass(frozen=True)
class Scanned:
    """A file of matches and which of its benchmarks are taken from it: the others were removed, changed, or are in another file.

    content: the file's hash.
    """

    split: str
    path: str = field(metadata={"fingerprint": False})
    content: str
    benchmarks: tuple[str, ...]

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """The matches that are taken, with these columns (None: all); `benchmark` must be among them."""
        table = pq.read_table(self.path, columns=columns, use_threads=False)
        return table.filter(pc.is_in(table["benchmark"], pa.array(self.benchmarks, pa.string())))


def scan(segment: Segment, tasks: Sequence[ScanTask]) -> list[Scanned]:
    """Look in each split (a task each, with all benchmarks) for those that an earlier run in this segment has not looked for.

    Returns the files of matches, by split.
    """
    folder = segment.step_folder(STEP)
    earlier = _earlier(folder)
    plan = [part for task in sorted(tasks, key=lambda task: task.split.name) for part in _parts(task, earlier[task.split.name], folder)]
    receipts = segment.step(STEP, [task for task, _ in plan])
    return [
        Scanned(task.split.name, str(folder / name), str(facts["xxh3"]), taken)
        for (task, taken), receipt in zip(plan, receipts, strict=True)
        for name, facts in receipt["outputs"].items()
    ]


def _parts(task: ScanTask, earlier: Sequence[Mapping[str, Any]], folder: Path) -> list[tuple[ScanTask, tuple[str, ...]]]:
    """The tasks that together look for all benchmarks of `task` in its split, and what is taken of each: finished ones first."""
    finished = [replace(task, benchmarks=benchmarks) for receipt in earlier if (benchmarks := _finished(task, receipt, folder))]
    left = dict(task.benchmarks)
    parts = []
    for one in sorted(finished, key=lambda one: (-len(set(one.benchmarks) & set(task.benchmarks)), one.name)):
        if taken := [name for name, fingerprint in one.benchmarks if left.get(name) == fingerprint]:
            parts.append((one, tuple(taken)))
            left = {name: fingerprint for name, fingerprint in left.items() if name not in taken}
    return [*parts, (replace(task, benchmarks=tuple(sorted(left.items()))), tuple(sorted(left)))] if left else parts


def _finished(task: ScanTask, receipt: Mapping[str, Any], folder: Path) -> BenchmarkSet | None:
    """The benchmarks that a receipt says were looked for, if it is of the same split and settings and its file is whole."""
    listed = receipt.get("benchmarks")
    if not isinstance(listed, dict):
        return None
    benchmarks = tuple(sorted((str(name), str(fingerprint)) for name, fingerprint in listed.items()))
    if receipt.get("fingerprint") != task_fingerprint(replace(task, benchmarks=benchmarks)):
        return None
    try:
        whole = all(os.path.getsize(folder / name) == facts["bytes"] for name, facts in receipt["outputs"].items())
    except (OSError, KeyError, TypeError, AttributeError):
        return None
    return benchmarks if whole else None


def _earlier(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The receipts in the step's folder, by split; one that can't be read is as none."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted((folder / "receipts").glob("*.json")):
        try:
            receipt = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(receipt, dict):
            found[path.stem.rpartition(".")[0]].append(receipt)
    return found
