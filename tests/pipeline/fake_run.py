"""A small run directory made by the real Segment over invented documents, with hostile strings in them: what report and inspection read.

`python tests/pipeline/fake_run.py FOLDER [DOCUMENTS]` makes one to look at.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine import Outcome, run_task
from pipeline.progress import Progress
from pipeline.rows import KINDS
from pipeline.schema import COLUMNS, MATCH, TRANSIENT, with_columns
from pipeline.segment import Segment, write_json
from pipeline.shards import read_batches, write_table
from pipeline.splits import DOCUMENTS, Part, Split
from pipeline.stage import decide

HOSTILE_TITLE = "</td><script>alert('title')</script><img src=x onerror=alert(1)>"
HOSTILE_SOURCE = "web\"><svg onload=alert(2)>'; drop table documents; --"
HOSTILE_FILE = "crawl/\u202egnp.exe\x1b[31m\x07" + "한" * 10_000
HOSTILE_LABEL = "<b>성인\u2066</b>" + "x" * 500
MOVES = ("ingest", "refine", "dedup", "classify", "decontaminate", "balance")
WRITER_ORDER = {name: {column.name for column in COLUMNS if column.writer == name} - TRANSIENT for name in MOVES}


class InlineEngine:
    """Runs every task in this process, in order: what an engine is, without its workers."""

    name, workers = "local", 2

    def map(self, tasks: Sequence[Any]) -> Iterator[Outcome]:
        return iter([run_task(task) for task in tasks])

    def close(self) -> None: ...


@dataclass(frozen=True)
class FakeCrawl:
    """Invented records: Korean and English of all lengths, some that ingest drops, some that it quarantines."""

    version: ClassVar[str] = "1"
    documents: int

    def __call__(self, split: Split) -> Iterator[pa.Table]:
        n = self.documents
        seed = int(split.name.rsplit("-", 1)[1])
        random = np.random.default_rng(seed)
        korean = random.random(n) < 0.55
        length = np.clip(np.exp(random.normal(5.2, 1.1, n)), 5, 4000).astype(int)
        words = np.where(korean, "온누리에 퍼진 좋은 글은 읽을 만하다. ", "Good text is a pleasure to read again. ")
        text = [str(word) * int(size // 20 + 1) for word, size in zip(words, length, strict=True)]
        title = [f"{'문서' if ko else 'Document'} {seed}-{row}" for row, ko in enumerate(korean)]
        file = [f"part-{seed:05d}.warc.gz"] * n
        title[0], file[1], file[2] = HOSTILE_TITLE, HOSTILE_FILE, HOSTILE_FILE
        draw = random.random(n)
        draw[1] = draw[2] = 0.05
        error = [
            f"the gzip member at byte {row} ends early\nsecond line"
            if p < 0.003
            else "could not be decoded as 'euc-kr'"
            if p < 0.006
            else None
            for row, p in enumerate(draw)
        ]
        error[1] = "<script>alert('error')</script>\x1b[2J\u202e" + "y" * 5000
        reason = [
            "warc_record:request"
            if 0.01 < p < 0.04
            else "http_status:404"
            if 0.06 < p < 0.13
            else "no_main_text"
            if 0.2 < p < 0.22
            else None
            for p in draw
        ]
        reason[2] = None
        yield with_columns(
            pa.table({"id": pa.array([f"{seed:04d}{row:028d}" for row in range(n)])}),
            {
                "source": [HOSTILE_SOURCE if row % 50 == 0 else "commoncrawl" for row in range(n)],
                "file": file,
                "position": list(range(0, n * 1000, 1000)),
                "url": [f"https://host{row % 40}.example.kr/{row}?q=가" for row in range(n)],
                "host": [f"host{row % 40}.example.kr" for row in range(n)],
                "title": title,
                "text": text,
                "text_bytes": [len(one.encode()) for one in text],
                "error": error,
                "excerpt": ["WARC/1.0 ### <b>누군가@###" if one else None for one in error],
                "drop_reason": reason,
            },
        )


@dataclass(frozen=True)
class Shards:
    """The rows of finished shards."""

    version: ClassVar[str] = "1"

    def __call__(self, split: Split) -> Iterator[pa.Table]:
        for part in split.parts:
            yield from read_batches(part.path)


@dataclass(frozen=True)
class Pretend:
    """Sets a move's columns to plausible values and drops some rows for plausible reasons."""

    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset()
    writes: ClassVar[frozenset[str]] = frozenset()
    name: str = field()

    def __call__(self, table: pa.Table) -> pa.Table:
        n = len(table)
        row = np.array([int(one[4:]) for one in table.column("id").to_pylist()])
        korean = np.array([one.startswith("온") for one in table.column("text").to_pylist()])
        if self.name == "rules":
            table = with_columns(
                table, {"lang": np.where(row % 97 == 5, "ja", np.where(korean, "ko", "en")), "lang_score": np.full(n, 0.97)}
            )
            masks = {
                "lang:ja": row % 97 == 5,
                "words<50": row % 7 == 3,
                "line_end_punct_ratio<0.062": row % 11 == 4,
                "spam_words>2": row % 53 == 7,
            }
        elif self.name == "remove_duplicates":
            group = row % 10 == 6
            sizes, similarity = np.where(group, 3, 1).astype(np.int32), np.full(n, 0.91)
            table = with_columns(table, {"cluster": table.column("id"), "cluster_size": sizes, "similarity": similarity})
            masks = {"near_duplicate": row % 10 == 6, "exact_duplicate": row % 30 == 8}
        elif self.name == "score":
            labels = np.array(["news", "law", "encyclopedia", "community", HOSTILE_LABEL], dtype=object)
            table = with_columns(table, {"domain": list(labels[row % 13 % 5]), "domain_score": np.full(n, 0.8), "quality": row % 100 / 100})
            masks = {"quality<0.02": row % 100 < 2}
        elif self.name == "decontaminate":
            table = with_columns(table, {"contamination": pa.array([[]] * n, pa.list_(MATCH))})
            masks = {"contaminated:kmmlu": row % 211 == 9}
        else:
            tokens = [size // 4 + 1 for size in table.column("text_bytes").to_pylist()]
            epochs = np.where(korean, 2, 1).astype(np.int32)
            table = with_columns(table, {"tokens": tokens, "epochs_general": epochs, "epochs_domain": (row % 3 == 0).astype(np.int32)})
            masks = {"over_budget": ~korean & (row % 4 == 1)}
        for reason, mask in masks.items():
            table = decide(table, "drop_reason", pa.array(mask), reason)
        return table


STAGES = {"refine": "rules", "dedup": "remove_duplicates", "classify": "score", "decontaminate": "decontaminate", "balance": "choose"}


@dataclass(frozen=True)
class Publish:
    """A step that writes one table under its own name."""

    name: str
    table: pa.Table = field(metadata={"fingerprint": False})
    inputs: tuple[str, ...] = ()

    def __call__(self, folder: Path) -> dict[str, Any]:
        target = folder / f"{self.name}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_table(target, self.table)
        return {"rows": len(self.table)}


def make_run(run: Path, documents: int = 120, splits: int = 2, until: str = "balance", status: str = "finished") -> Path:
    """Make a run of `splits` splits with `documents` records each, as far as the move `until`; returns `run`."""
    moves = MOVES[: MOVES.index(until) + 1]
    names = [f"part-{index:05d}" for index in range(splits)]
    inputs = [
        {
            "path": f"s3://key:secret@bucket/{name}",
            "name": name,
            "source": HOSTILE_SOURCE,
            "format": "warc",
            "size": 400_000,
            "fingerprint": "0",
        }
        for name in names
    ]
    phases = {
        "general": {"tokens": 2_000_000, "languages": {"ko": 0.7, "en": 0.3}, "domains": {"news": 0.4}},
        "domain": {"languages": {"ko": 0.5, "en": 0.5}},
    }
    config = {
        "balance": {"phases": phases},
        "storage": {"secret_key": "hunter2"},
        "inputs": [{"path": "https://user:hunter2@host/x", "note": "</pre><script>"}],
    }
    facts = {
        "version": "0.1.0",
        "created": "2020-02-02T09:00:00Z",
        "status": status,
        "engine": "local",
        "workers": 2,
        "limit": None,
        "seed": 7,
    }
    facts |= {"moves": list(MOVES), "splits": splits, "input_bytes": 400_000 * splits, "inputs": inputs, "config": config, "seconds": 83.4}
    write_json(run / "run.json", facts)
    available = WRITER_ORDER["ingest"]
    progress, engine = Progress(quiet=True), InlineEngine()
    parts = [Split(name, (Part(name, f"{name}.warc.gz", "warc", "web", "0", 400_000),)) for name in names]
    parts = Segment(run, "ingest", engine, progress, 0.0).rows(parts, FakeCrawl(documents), (), frozenset(available))
    for move in moves[1:]:
        available = available | WRITER_ORDER[move]
        segment = Segment(run, move, engine, progress, 0.0)
        if move == "dedup":
            segment.step("link", [Publish("clusters", _clusters(run))], into=segment.directory)
        if move == "decontaminate":
            segment.step("matches", [Publish("matches", _matches())], into=segment.directory)
            looked_for = {"kmmlu": {"items": 30, "found": []}, "haerae": {"items": 12}}
            by_length = {"100": 0, "24": 5, "<b>": 7, "50": 4, "30": "x"}
            write_json(segment.directory / "report.json", {"benchmarks": looked_for, "by_length": by_length})
        parts = segment.rows(parts, Shards(), (Pretend(STAGES[move]),), frozenset(available))
    if until == "balance":
        _corpus(run, parts)
    return run


def _clusters(run: Path) -> pa.Table:
    kept = pa.concat_tables([pq.read_table(path, columns=["id"]) for path in sorted((run / "refine" / "kept").glob("*.parquet"))])
    ids = kept.column("id").to_pylist()
    rows = []
    for start, size in ((0, 7), (10, 2), (20, 3), (30, 2)):
        for offset, member in enumerate(ids[start : start + size]):
            rows.append(
                {"id": member, "cluster": ids[start], "survivor": offset == 0, "cluster_size": size, "similarity": 1.0 - offset / 100}
            )
            rows[-1]["kind"] = None if offset == 0 else "exact" if start == 10 else "near"
    return pa.Table.from_pylist(rows)


def _matches() -> pa.Table:
    one = {
        "split": "test",
        "field": "question",
        "start": 10,
        "end": 200,
        "frequency": 1,
        "source": HOSTILE_SOURCE,
        "url": "https://host1.example.kr/9?q=가",
    }
    rows = [
        {"id": f"d{index}", "benchmark": "kmmlu", "item": f"law-{index}", "length": 50 + index, "coverage": 0.9, "action": "drop", **one}
        for index in range(4)
    ]
    rows.append(
        {"id": "d9", "benchmark": HOSTILE_TITLE, "item": "\u202e" + "q" * 9000, "length": 70, "coverage": 0.2, "action": "tag", **one}
    )
    return pa.Table.from_pylist(rows)


def _corpus(run: Path, parts: Sequence[Split]) -> None:
    columns = ["id", "text", "source", "url", "title", "domain", "quality", "tokens", "file", "position"]
    table = pa.concat_tables([pq.read_table(part.path) for split in parts for part in split.parts])
    for phase in ("general", "domain"):
        epochs = table.column(f"epochs_{phase}")
        for lang in ("ko", "en"):
            mask = pa.compute.and_(pa.compute.equal(table.column("lang"), lang), pa.compute.greater(epochs, 0))
            folder = run / "corpus" / f"phase={phase}" / f"lang={lang}"
            folder.mkdir(parents=True, exist_ok=True)
            read = table.select(columns).append_column("epochs", epochs)
            read = read.append_column("replay_epochs", pa.array(np.zeros(len(table), np.int32)))
            write_table(folder / "part-00000.parquet", read.filter(mask))
    write_json(run / "corpus" / "manifest.json", {"phases": {}})
    group = {"language": "ko", "domain": HOSTILE_LABEL, "available_tokens": 900, "tokens_target": 500, "tokens_got": 490}
    group |= {"epochs": 0.5, "share_asked": 0.7, "share_got": 1.0, "documents": 9}
    band = {"language": "ko", "domain": HOSTILE_LABEL, "band": "90-100 %", "available_tokens": 90, "tokens_got": 80, "documents": 2}
    phase = {"tokens_asked": 500, "tokens_largest": 900, "tokens_got": 490, "method": "unimax", "notes": ["a <b>note</b>"]}
    write_json(
        run / "balance" / "steps" / "plan" / "plan.json",
        {"phases": {"general": {**phase, "groups": [group], "bands": [band], "replay": None, "long": {"available_documents": 3}}}},
    )
    write_json(
        run / "corpus" / "steps" / "pack" / "receipts" / "pack-00000.json",
        {"seconds": 2.5, "cpu_seconds": 2.4, "peak_memory_bytes": 10**8, "outputs": {}},
    )


def tables_of(run: Path, kind: str, segment: str) -> pa.Table:
    """All rows of one kind of a segment, read without the code under test."""
    return pa.concat_tables([pq.read_table(path) for path in sorted((run / segment / kind).glob("*.parquet"))])


if __name__ == "__main__":
    made = make_run(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4000, splits=3)
    print(made, {kind: len(list(made.rglob(f"{kind}/*.parquet"))) for kind in KINDS}, DOCUMENTS)
