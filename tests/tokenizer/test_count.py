"""Counting a corpus: the same counts as a Counter, nothing lost, and the same bytes however the work is done."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.engine import LocalEngine, Task, run_task
from pipeline.errors import UserError
from pipeline.inputs import Inputs
from pipeline.progress import Progress
from pipeline.segment import Segment
from tests.pipeline.runs import ROOT
from tests.tokenizer.training_scene import trained, written
from tokenizer import count
from tokenizer.count import CountConfig, load_manifest, read_counts
from tokenizer.pretoken import pretokens
from tokenizer.texts import plan_texts

TEXTS = [
    "가나다 라마바사 abc def",
    "abc def abc\n\n1234",
    "그런데 말입니다, 그런데요? 그런데",
    "x" * 300 + " end",
    "",
    None,
    "e\u0301 é",
]


class HereEngine:
    """Runs tasks in this process: tests of results need no workers."""

    name, workers = "here", 1

    def map(self, tasks: Sequence[Task]):
        for task in tasks:
            yield run_task(task)

    def close(self) -> None:
        pass


def syllables(number: int) -> str:
    """A word of its own for a number."""
    return chr(0xAC00 + number * 7) + chr(0xAC00 + number * 13) * (number % 9)


def write_corpus(folder: Path, files: int = 5) -> Path:
    """Parquet and JSONL files with ids and epochs, each with texts of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        rows = [
            {"id": f"{number}-{row}", "text": text and f"{text} 문서{number} {syllables(number * row)}", "epochs": row % 3}
            for row, text in enumerate(TEXTS * 20)
        ]
        if number % 2:
            with gzip.open(folder / f"{number}.jsonl.gz", "wt", encoding="utf-8") as stream:
                stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            pq.write_table(pa.Table.from_pylist(rows), folder / f"{number}.parquet", row_group_size=50)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "in")


def rows_of(corpus: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in sorted(corpus.iterdir()):
        if path.suffix == ".parquet":
            rows += pq.read_table(path).to_pylist()
        else:
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                rows += [json.loads(line) for line in lines]
    return rows


def counting(out: Path, paths: Sequence[Path], engine: Any = None, split_bytes: int = 1 << 20, **settings: Any) -> dict[str, Any]:
    segment = Segment(out, "count", engine or HereEngine(), Progress(quiet=True), 0.0, alone=True)
    return count.run(segment, plan_texts(Inputs([str(path) for path in paths]), split_bytes), CountConfig(**settings))


def counts_of(folder: Path, min_count: int = 1) -> dict[str, int]:
    found: dict[str, int] = {}
    for table in read_counts(folder, min_count):
        assert len(table) and not found.keys() & set(table.column("word").to_pylist())
        found |= dict(zip(table.column("word").to_pylist(), table.column("count").to_pylist(), strict=True))
    return found


def plainly(rows: Sequence[dict[str, Any]], weight: str | None = None, longest: int = 128) -> dict[str, int]:
    """The slow twin. Its texts are in NFC but for one, which the pre-tokens of the others don't tell from its composed form."""
    total: Counter[str] = Counter()
    for row in rows:
        for word in pretokens((row["text"] or "").replace("e\u0301", "é")):
            if len(word.encode()) <= longest:
                total[word] += row[weight] if weight else 1
    return {word: number for word, number in total.items() if number}


def files_of(folder: Path) -> dict[str, bytes]:
    """What must be the same in every run."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in [folder / "manifest.json", *sorted((folder / "counts").iterdir())]}


def test_counts_are_those_of_a_counter_and_nothing_vanishes(corpus, tmp_path):
    manifest = counting(tmp_path, [corpus])
    rows = rows_of(corpus)
    counts = counts_of(tmp_path)
    assert counts == plainly(rows)
    assert manifest == load_manifest(tmp_path)
    assert manifest["documents"] == sum(row["text"] is not None for row in rows)
    assert manifest["skipped"] == {"no text": sum(row["text"] is None for row in rows)}
    assert manifest["words"] == len(counts) and manifest["occurrences"] == sum(counts.values())
    left_out = manifest["left_out"]
    assert left_out["max_word_bytes"] == {"occurrences": 100, "bytes": 100 * 300}
    assert manifest["pretokens"] == manifest["occurrences"] + 100
    assert manifest["text_bytes"] == sum(len(word.encode()) * number for word, number in plainly(rows, longest=1000).items())
    assert left_out["min_count"]["words"] == left_out["max_document_bytes"]["bytes"] == 0


def test_words_stand_by_falling_counts_then_by_themselves(corpus, tmp_path):
    counting(tmp_path, [corpus], partition_words=40)
    parts = sorted((tmp_path / "counts").iterdir())
    assert len(parts) > 3
    for path in parts:
        listed = [(-row["count"], row["word"].encode()) for row in pq.read_table(path).to_pylist()]
        assert listed == sorted(listed)


def test_rare_words_are_left_out_here_or_when_reading(corpus, tmp_path):
    counting(tmp_path / "all", [corpus])
    manifest = counting(tmp_path / "frequent", [corpus], min_count=30)
    everything = counts_of(tmp_path / "all")
    frequent = {word: number for word, number in everything.items() if number >= 30}
    assert 0 < len(frequent) < len(everything)
    assert counts_of(tmp_path / "frequent") == counts_of(tmp_path / "all", 30) == frequent
    rare = manifest["left_out"]["min_count"]
    assert rare == {"words": len(everything) - len(frequent), "occurrences": sum(everything.values()) - sum(frequent.values())}
    assert manifest["pretokens"] == manifest["occurrences"] + rare["occurrences"] + 100


def test_documents_count_as_often_as_their_weight_says(corpus, tmp_path):
    shards = sorted(corpus.glob("*.parquet"))
    manifest = counting(tmp_path, shards, weight_column="epochs")
    rows = [row for path in shards for row in pq.read_table(path).to_pylist()]
    assert counts_of(tmp_path) == plainly(rows, "epochs")
    assert manifest["skipped"]["weight 0"] == sum(row["text"] is not None and row["epochs"] == 0 for row in rows)
    assert manifest["documents"] == sum(row["text"] is not None and row["epochs"] > 0 for row in rows)


def test_samples_are_nested_and_differ_by_seed(corpus, tmp_path):
    samples = {
        name: counting(tmp_path / name, [corpus], sample_share=share, seed=seed)
        for name, share, seed in (("small", 0.2, 0), ("large", 0.6, 0), ("other", 0.2, 1))
    }
    small, large, other = (counts_of(tmp_path / name) for name in samples)
    assert all(number <= large.get(word, 0) for word, number in small.items()) and small != other
    for manifest in samples.values():
        assert manifest["documents"] + sum(manifest["skipped"].values()) == len(rows_of(corpus))
    assert 0.4 < samples["large"]["documents"] / 600 < 0.8


def test_a_document_limit_is_counted_in_the_manifest(corpus, tmp_path):
    manifest = counting(tmp_path, [corpus], max_document_bytes=10)
    assert max(len(word.encode()) for word in counts_of(tmp_path)) <= 10
    counted = sum(len(word.encode()) * number for word, number in counts_of(tmp_path).items())
    assert manifest["text_bytes"] == counted + manifest["left_out"]["max_document_bytes"]["bytes"]


def test_the_same_bytes_whatever_the_order_the_workers_and_the_memory(corpus, tmp_path):
    settings = {"partition_words": 60}
    counting(tmp_path / "one", [corpus], **settings)
    engine = LocalEngine(2)
    try:
        counting(tmp_path / "two", sorted(corpus.iterdir(), reverse=True), engine, **settings)
    finally:
        engine.close()
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    counting(tmp_path / "little", [corpus], counter_words=5, **settings)
    assert counts_of(tmp_path / "little") == counts_of(tmp_path / "one")
    counting(tmp_path / "whole", [corpus])
    counting(tmp_path / "runs", [corpus], counter_words=5)
    runs, whole = (pq.ParquetFile(next((tmp_path / name / "steps" / "words").glob("*.parquet"))) for name in ("runs", "whole"))
    assert runs.num_row_groups > whole.num_row_groups == 1
    assert counts_of(tmp_path / "runs") == counts_of(tmp_path / "whole")


def test_many_splits_share_tasks(corpus, tmp_path, monkeypatch):
    counting(tmp_path / "each", [corpus], split_bytes=1000)
    monkeypatch.setattr(count, "MOST_FILES", 2)
    counting(tmp_path / "shared", [corpus], split_bytes=1000)
    assert len(list((tmp_path / "each" / "steps" / "words").glob("*.parquet"))) > 2
    assert len(list((tmp_path / "shared" / "steps" / "words").glob("*.parquet"))) == 2
    assert counts_of(tmp_path / "each") == counts_of(tmp_path / "shared")


class KilledEngine(HereEngine):
    """Stops after some tasks, as a killed driver does."""

    def __init__(self, tasks: int) -> None:
        self.left = tasks

    def map(self, tasks: Sequence[Task]):
        for outcome in super().map(tasks):
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            yield outcome


def test_a_run_killed_at_every_moment_comes_to_the_same_bytes(corpus, tmp_path):
    settings = {"partition_words": 60, "split_bytes": 1000}
    counting(tmp_path / "whole", [corpus], **settings)
    for tasks in (0, 1, 3, 2, 2):
        with pytest.raises(KeyboardInterrupt):
            counting(tmp_path / "killed", [corpus], KilledEngine(tasks), **settings)
        with pytest.raises(UserError, match="did not finish"):
            load_manifest(tmp_path / "killed")
    counting(tmp_path / "killed", [corpus], **settings)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_what_is_finished_is_not_done_again(corpus, tmp_path):
    counting(tmp_path, [corpus])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    content = files_of(tmp_path)
    counting(tmp_path, [corpus])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before
    receipt = next((tmp_path / "steps" / "words" / "receipts").iterdir())
    receipt.unlink()
    counting(tmp_path, [corpus])
    changed = {path.name for path, when in before.items() if path.stat().st_mtime_ns != when}
    assert changed == {f"{receipt.stem}.parquet"} and files_of(tmp_path) == content
    counting(tmp_path, [corpus], min_count=2)
    assert {path.name for path, when in before.items() if path.stat().st_mtime_ns != when} == {*changed, "part-00000.parquet"}


def test_another_configuration_leaves_nothing_of_the_earlier_one(corpus, tmp_path):
    counting(tmp_path / "used", [corpus], partition_words=20)
    (tmp_path / "used" / "counts" / "part-00999.parquet").write_bytes(b"of a killed run")
    counting(tmp_path / "used", [corpus])
    counting(tmp_path / "new", [corpus])
    assert files_of(tmp_path / "used") == files_of(tmp_path / "new")


def test_there_is_nothing_to_count(tmp_path):
    pq.write_table(pa.table({"text": pa.array([None, None], pa.string())}), tmp_path / "none.parquet")
    with pytest.raises(UserError, match=r"nothing to count: no row of the input holds a text that counts: no text \(2\)"):
        counting(tmp_path / "a", [tmp_path / "none.parquet"])
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "empty.parquet")
    with pytest.raises(UserError, match="nothing to count: the input has no rows"):
        counting(tmp_path / "b", [tmp_path / "empty.parquet"])
    pq.write_table(pa.table({"text": ["", "x" * 500]}), tmp_path / "long.parquet")
    with pytest.raises(UserError, match="the 2 texts are empty or hold only words above max_word_bytes"):
        counting(tmp_path / "c", [tmp_path / "long.parquet"])
    pq.write_table(pa.table({"text": ["a b c"]}), tmp_path / "rare.parquet")
    with pytest.raises(UserError, match="none of the 3 words occurs 5 times; lower min_count"):
        counting(tmp_path / "d", [tmp_path / "rare.parquet"], min_count=5)


def test_weights_that_are_no_whole_numbers(tmp_path):
    for name, values, sentence in (
        ("missing", None, "1 documents of 'missing.parquet' have no epochs"),
        ("negative", [-2], "epochs is -2 in 'negative.parquet'"),
    ):
        columns = {"text": ["a"]} | ({"epochs": pa.array(values, pa.int32())} if values else {})
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        with pytest.raises(UserError, match=sentence):
            counting(tmp_path / name, [tmp_path / f"{name}.parquet"], weight_column="epochs")
    pq.write_table(pa.table({"text": ["a"], "share": [0.5]}), tmp_path / "share.parquet")
    with pytest.raises(UserError, match="share must be whole numbers"):
        counting(tmp_path / "share", [tmp_path / "share.parquet"], weight_column="share")


def test_folders_that_hold_no_counts(corpus, tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        load_manifest(tmp_path / "absent")
    with pytest.raises(UserError, match="holds no counts"):
        load_manifest(corpus)
    (tmp_path / "manifest.json").write_text('{"segment": "dedup"}')
    with pytest.raises(UserError, match="holds no counts"):
        next(read_counts(tmp_path))
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="can't be read"):
        load_manifest(tmp_path)
    counting(tmp_path / "counted", [corpus])
    (tmp_path / "counted" / "counts" / "part-00000.parquet").unlink()
    with pytest.raises(UserError, match=r"part-00000.parquet' is missing"):
        next(read_counts(tmp_path / "counted"))


def test_every_key_is_checked_and_described():
    assert all(field.description for field in CountConfig.model_fields.values())
    for key, value in (("min_count", 0), ("max_word_bytes", 0), ("sample_share", 0.0), ("sample_share", 1.1), ("min_counts", 2)):
        with pytest.raises(ValidationError):
            CountConfig(**{key: value})


RAY = """
import sys
from pathlib import Path
from pipeline.inputs import Inputs
from pipeline.engine import RayEngine
from pipeline.progress import Progress
from pipeline.segment import Segment
from tokenizer import count, train
from tokenizer.texts import plan_texts

engine = RayEngine(None, 2)
segment = Segment(Path(sys.argv[2]), "count", engine, Progress(quiet=True), 0.0, alone=True)
count.run(segment, plan_texts(Inputs([sys.argv[1]]), 1 << 20), count.CountConfig(partition_words=60))
segment = Segment(Path(sys.argv[3]), "train", engine, Progress(quiet=True), 0.0, alone=True)
train.run(segment, [Path(sys.argv[2])], train.TrainConfig(vocab_size=290, special_tokens=16, seed_syllables="none"))
engine.close()
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare: Ray runs inside a network namespace of its own"
)
def test_counting_and_training_on_the_ray_engine(corpus, tmp_path):
    command = [sys.executable, "-c", RAY, str(corpus), str(tmp_path / "ray"), str(tmp_path / "ray-tokenizer")]
    script = 'ip link set lo up && exec "$@"'
    done = subprocess.run(
        ["unshare", "-n", "bash", "-c", script, "bash", *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    counting(tmp_path / "here", [corpus], partition_words=60)
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "here")
    trained(tmp_path / "tokenizer", [tmp_path / "here"], vocab_size=290)
    assert written(tmp_path / "ray-tokenizer") == written(tmp_path / "tokenizer")
