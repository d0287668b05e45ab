"""A small benchmark and documents that leak it, for tests of decontaminate."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from decontam import load_index
from pipeline.decontaminate.actions import Actions
from pipeline.decontaminate.common import CommonTask, counted_name
from pipeline.decontaminate.config import DecontaminateConfig
from pipeline.decontaminate.move import run
from pipeline.decontaminate.scan import Scanned, ScanTask
from pipeline.decontaminate.stages import Decontaminate
from pipeline.engine import Engine
from pipeline.progress import Progress
from pipeline.schema import arrow_schema
from pipeline.segment import Segment
from pipeline.shards import file_facts
from pipeline.splits import DOCUMENTS, Part, Split
from tests.pipeline.fake_run import InlineEngine

ENGLISH = "A farmer keeps seventeen geese and twice as many ducks; if he sells nine birds on Monday, how many birds does he still have?"
KOREAN = "민수는 시장에서 사과 열두 개와 배 다섯 개를 샀고 동생에게 사과 세 개를 주었습니다. 민수에게 남은 과일은 모두 몇 개입니까?"
PASSAGE = "The old lighthouse on the northern cape was built by three brothers who had lost their father in a winter storm."
SHORT = "Which gas do green plants absorb from the air?"

CLEAN = (
    "The harbour office publishes tide tables for the coming year, and fishermen read them before they leave the pier in the morning.",
    "봄이 오면 마을 사람들은 개울가에 모여 겨우내 쌓인 나뭇가지를 치우고 새로 심을 모종을 함께 골랐다고 한다.",
)


def write_benchmark(folder: Path) -> list[str]:
    """Two benchmark files; returns the folder as the configuration names it."""
    folder.mkdir(parents=True)
    geese = [{"id": "g1", "question": ENGLISH, "split": "test"}, {"id": "g2", "question": SHORT, "context": PASSAGE}]
    fruit = [{"id": "k1", "question": KOREAN}]
    for name, rows in (("geese", geese), ("fruit", fruit)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return [str(folder)]


def documents() -> dict[str, str | None]:
    """Documents by id: clean ones, whole leaks in other punctuation and spacing, a passage, a short item, both languages at once."""
    return {
        "clean-en": CLEAN[0],
        "clean-ko": CLEAN[1],
        "leak-en": f"Homework, part 3 — «{ENGLISH.upper().replace(' ', '  ')}» Answer: 42.",
        "leak-ko": f"문제집 2권\n\n{KOREAN.replace(' ', '')} 정답은 열네 개.",
        "leak-both": f"{CLEAN[0]} {ENGLISH} {CLEAN[1]} {KOREAN} {CLEAN[0]}",
        "passage": f"{PASSAGE} {CLEAN[0]}",
        "short": f"Quiz night. {SHORT} Carbon dioxide.",
        "empty": "",
        "null": None,
    }


def table(rows: dict[str, str | None] | None = None) -> pa.Table:
    """The documents as a table of `id` and `text`."""
    rows = documents() if rows is None else rows
    return pa.table({"id": list(rows), "text": list(rows.values())}, schema=arrow_schema(["id", "text"]))


def shard(path: Path, name: str, rows: pa.Table) -> Split:
    """Write a shard of the document table and return its split."""
    path.mkdir(parents=True, exist_ok=True)
    target = path / f"{name}.parquet"
    pq.write_table(rows, target)
    facts = file_facts(target)
    return Split(name, (Part(str(target), target.name, DOCUMENTS, "", facts["xxh3"], facts["bytes"]),))


def stage_for(folder: Path, index: str, rows: pa.Table, actions: Actions | None = None) -> Decontaminate:
    """The stage for a table: its matches are looked for and counted in `folder` first."""
    folder.mkdir(parents=True, exist_ok=True)
    benchmarks = tuple((segment.benchmark, segment.fingerprint) for segment in load_index(index).segments)
    task = ScanTask(shard(folder / "in", "a", rows), benchmarks, index)
    task(folder)
    scanned = Scanned("a", str(folder / f"{task.name}.parquet"), "", tuple(name for name, _ in benchmarks))
    CommonTask((scanned,))(folder)
    path = folder / counted_name("a")
    return Decontaminate(str(path), str(file_facts(path)["xxh3"]), actions or Actions())


def do(
    folder: Path,
    splits: list[Split],
    config: DecontaminateConfig,
    engine: Engine | None = None,
    columns: frozenset[str] = frozenset({"id", "text"}),
) -> Path:
    """Run the move in a run directory, in this process unless there is an engine; returns the move's folder."""
    segment = Segment(folder, "decontaminate", engine or InlineEngine(), Progress(quiet=True), config.min_kept_share)
    run(segment, splits, config, columns)
    return folder / "decontaminate"


def made(folder: Path) -> dict[str, bytes]:
    """What a move gives: shards and evidence, without its steps, receipts and times."""
    names = [*folder.glob("kept/*"), *folder.glob("dropped/*"), folder / "matches.parquet", folder / "report.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(names)}
