"""The whole-corpus move over files: the same verdicts as in memory, whatever the splits, batches and engine."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.dedup.api import deduplicate
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.move import run
from pipeline.dedup.remove import RemoveDuplicates
from pipeline.dedup.sketch import sketch_batch
from pipeline.engine import LocalEngine, run_task
from pipeline.errors import RunFailed, UserError
from pipeline.progress import Progress
from pipeline.schema import with_columns
from pipeline.segment import Segment
from pipeline.shards import file_facts
from pipeline.splits import DOCUMENTS, Part, Split

from .test_deduplicate import corpus

AVAILABLE = frozenset({"id", "source", "file", "source_id", "position", "date", "text", "text_bytes"})


class InlineEngine:
    """Runs tasks in this process, last one first: the order must not matter."""

    name, workers = "inline", 1

    def __init__(self) -> None:
        self.done: list[str] = []

    def map(self, tasks):
        for task in reversed(list(tasks)):
            self.done.append(task.name)
            yield run_task(task)

    def close(self) -> None:
        pass


def documents(texts: list[str], **columns) -> pa.Table:
    table = pa.table({"id": [f"d{number:05d}" for number in range(len(texts))]})
    known = {"source": ["web"] * len(texts), "file": ["f"] * len(texts), "position": list(range(len(texts))), "date": [None] * len(texts)}
    sizes = [len(text.encode()) for text in texts]
    return with_columns(table, {"source_id": [None] * len(texts), **known, "text": texts, "text_bytes": sizes, **columns})


def split_of(folder: Path, name: str, table: pa.Table, row_group_size: int = 50) -> Split:
    path = folder / f"{name}.parquet"
    folder.mkdir(exist_ok=True, parents=True)
    pq.write_table(table, path, row_group_size=row_group_size)
    facts = file_facts(path)
    return Split(name, (Part(str(path), name, DOCUMENTS, "", facts["xxh3"], facts["bytes"]),))


def splits_of(folder: Path, table: pa.Table, cuts: list[int]) -> list[Split]:
    edges = [0, *cuts, len(table)]
    return [split_of(folder, f"s{index}", table.slice(start, stop - start)) for index, (start, stop) in enumerate(pairwise(edges))]


def move(run_folder: Path, splits: list[Split], config: DedupConfig, engine=None, available: frozenset[str] = AVAILABLE) -> Segment:
    segment = Segment(run_folder, "dedup", engine or InlineEngine(), Progress(quiet=True), 0.0)
    run(segment, splits, config, available)
    return segment


def rows_in(segment: Segment, kind: str) -> list[dict]:
    return [row for path in sorted((segment.directory / kind).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def result(segment: Segment) -> dict[str, tuple]:
    rows = rows_in(segment, "kept") + rows_in(segment, "dropped")
    return {row["id"]: (row["cluster"], row["cluster_size"], row["similarity"], row.get("drop_reason")) for row in rows}


def content(segment: Segment) -> dict[str, str]:
    folder = segment.directory
    return {str(path.relative_to(folder)): file_facts(path)["xxh3"] for path in folder.rglob("*.parquet")}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return documents(corpus(11, 12))


@pytest.mark.parametrize("chains", [False, True])
def test_files_give_what_memory_gives(tmp_path, table, chains):
    config = DedupConfig(chains=chains, priority=["text_bytes desc", "date asc"])
    segment = move(tmp_path / "run", splits_of(tmp_path / "in", table, [20, 20, 77]), config)
    rows = deduplicate(table, config).to_pylist()
    assert result(segment) == {row["id"]: (row["cluster"], row["cluster_size"], row["similarity"], row["drop_reason"]) for row in rows}
    assert sum(row["drop_reason"] is not None for row in rows) > 40


def test_clusters_file_lists_all_members(tmp_path, table):
    segment = move(tmp_path / "run", splits_of(tmp_path / "in", table, [50]), DedupConfig())
    clusters = pq.read_table(segment.directory / "clusters.parquet").to_pylist()
    found = {row["id"]: (row["cluster"], row["cluster_size"], row["similarity"], row["kind"]) for row in clusters}
    kinds = {"exact_duplicate": "exact", "near_duplicate": "near", None: None}
    assert found == {name: (*values[:3], kinds[values[3]]) for name, values in result(segment).items() if values[1] > 1}
    assert {row["id"] for row in clusters if row["survivor"]} == {row["cluster"] for row in clusters}


def test_cuts_and_order_of_splits_change_nothing_but_the_files(tmp_path, table):
    whole = result(move(tmp_path / "one", splits_of(tmp_path / "in1", table, []), DedupConfig()))
    cut = splits_of(tmp_path / "in2", table, [13, 100])
    assert result(move(tmp_path / "two", cut, DedupConfig())) == whole
    again = move(tmp_path / "three", cut[::-1], DedupConfig())
    assert content(again) == content(move(tmp_path / "four", cut, DedupConfig()))


def test_key_ranges_change_nothing(tmp_path, table, monkeypatch):
    splits = splits_of(tmp_path / "in", table, [60])
    expected = result(move(tmp_path / "one", splits, DedupConfig()))
    monkeypatch.setattr("pipeline.dedup.move.PART_KEYS", 300)
    monkeypatch.setattr("pipeline.dedup.move.PART_EDGES", 200)
    assert result(move(tmp_path / "many", splits, DedupConfig())) == expected


def test_small_verification_chunks_change_nothing(tmp_path, table, monkeypatch):
    splits = splits_of(tmp_path / "in", table, [60])
    expected = result(move(tmp_path / "one", splits, DedupConfig()))
    monkeypatch.setattr("pipeline.dedup.move.VERIFY_BYTES", 2000)
    segment = move(tmp_path / "many", splits, DedupConfig())
    assert len(list((segment.step_folder("verify")).glob("*.parquet"))) > 3
    assert result(segment) == expected


def test_a_second_run_does_nothing_and_a_changed_one_only_what_it_must(tmp_path, table):
    splits = splits_of(tmp_path / "in", table, [60])
    move(tmp_path / "run", splits, DedupConfig())
    engine = InlineEngine()
    move(tmp_path / "run", splits, DedupConfig(), engine)
    assert engine.done == []
    move(tmp_path / "run", splits, DedupConfig(chains=True), engine)
    decided = {"verify-00000", "verdict", "clusters"}
    assert decided <= set(engine.done) <= {*decided, *(split.name for split in splits)}
    assert engine.done.count(splits[0].name) <= 1  # its rows, neither its sketch nor its texts


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"priority": ["text_bytes desc"]}, {"priority": ["text_bytes asc"]}),
        ({"exact": True}, {"exact": False}),
        ({"near": False, "url": True}, {"near": False, "url": True, "exact": False}),
        ({"threshold": 0.8, "bands": 17, "rows": 7}, {"threshold": 0.7, "bands": 17, "rows": 7}),
    ],
)
def test_a_changed_setting_gives_what_a_fresh_run_gives(tmp_path, table, before, after):
    """No step may take over what an earlier step of other settings led to."""
    splits = splits_of(tmp_path / "in", with_columns(table, {"url": [f"http://a.kr/{row // 2}" for row in range(len(table))]}), [60])
    available = AVAILABLE | {"url"}
    move(tmp_path / "run", splits, DedupConfig(**before), available=available)
    expected = result(move(tmp_path / "fresh", splits, DedupConfig(**after), available=available))
    assert result(move(tmp_path / "run", splits, DedupConfig(**after), available=available)) == expected


def test_other_pairs_of_the_same_texts_are_compared_anew(tmp_path, monkeypatch):
    """With sketches that rule nothing out, `bucket_limit` decides which pairs of these four texts are compared; that needs all of them."""

    def flattering(*arguments):
        sketches = sketch_batch(*arguments)
        return replace(sketches, signatures=np.zeros_like(sketches.signatures))

    monkeypatch.setattr("pipeline.dedup.records.sketch_batch", flattering)
    first, second, third = corpus(31, 3)[:18:6]
    splits = splits_of(tmp_path / "in", documents([first, second, third, f"{second} 끝"]), [2])
    for limit, dropped in ((1, []), (64, ["d00003"])):
        found = result(move(tmp_path / "run", splits, DedupConfig(bucket_limit=limit, priority=["id asc"])))
        assert [name for name, row in found.items() if row[3]] == dropped


def test_worker_processes_give_the_same_bytes(tmp_path, table):
    splits = splits_of(tmp_path / "in", table.slice(0, 30), [12])
    engine = LocalEngine(1)
    try:
        apart = content(move(tmp_path / "apart", splits, DedupConfig(), engine))
    finally:
        engine.close()
    assert apart == content(move(tmp_path / "here", splits, DedupConfig()))


def test_repeated_ids_are_quarantined_with_the_place_of_the_first(tmp_path):
    texts = [f"서로 다른 글 {number} {number * 31}" for number in range(6)]
    table = documents(texts, id=["a", "b", "a", "c", "d", "a"], source_id=[None, "s", None, "s", "s", None], file=["f"] * 4 + ["g"] * 2)
    segment = move(
        tmp_path / "run", [split_of(tmp_path, "one", table.slice(0, 3)), split_of(tmp_path, "two", table.slice(3))], DedupConfig()
    )
    errors = [(row["id"], row["position"], row["error"]) for row in rows_in(segment, "quarantine")]
    assert errors == [
        ("a", 2, "duplicate id 'a': first seen at 'f' position 0"),
        ("c", 3, "duplicate id 's': first seen at 'f' position 1"),
        ("a", 5, "duplicate id 'a': first seen at 'f' position 0"),
    ]
    assert sorted(row["id"] for row in rows_in(segment, "kept")) == ["a", "b", "d"]


def test_a_repeated_id_does_not_drop_the_copy_that_stays(tmp_path):
    """The later row with the id is quarantined; were it also a survivor, its duplicates would go with nobody in their place."""
    text = "한 번만 남아야 하는 글 " * 5
    table = documents([text, text + "!!", text + "!!!!"], id=["a", "b", "a"])
    segment = move(tmp_path / "run", [split_of(tmp_path, "one", table)], DedupConfig())
    assert [row["id"] for row in rows_in(segment, "kept")] == ["b"]
    assert result(segment)["a"][0] == "b"


def test_the_verification_of_files_decides_not_their_sketches(tmp_path, monkeypatch):
    """An engine of this process, so that the sketches can be made to lie: all slots equal."""

    def flattering(*arguments):
        sketches = sketch_batch(*arguments)
        return replace(sketches, signatures=np.zeros_like(sketches.signatures))

    monkeypatch.setattr("pipeline.dedup.records.sketch_batch", flattering)
    texts = [
        "온누리는 누구나 쓰는 자료를 모으고 다듬는 곳이다. " * 3,
        "강아지가 마당에서 뛰어놀다가 잠이 들었다는 이야기. " * 3,
        "!!!",
        "!!!",
    ]
    found = result(move(tmp_path / "run", splits_of(tmp_path / "in", documents(texts), [1, 3]), DedupConfig()))
    assert [row[3] for _, row in sorted(found.items())] == [None, None, None, "exact_duplicate"]


@pytest.mark.parametrize("texts", [[], ["", "", ""], ["하나뿐인 글"]])
def test_splits_with_nothing_to_compare(tmp_path, texts):
    splits = [split_of(tmp_path, "one", documents(texts)), split_of(tmp_path, "two", documents([]))]
    segment = move(tmp_path / "run", splits, DedupConfig())
    assert len(rows_in(segment, "kept")) == len(texts)
    assert len(pq.read_table(segment.directory / "clusters.parquet")) == 0


def test_no_splits(tmp_path):
    assert rows_in(move(tmp_path / "run", [], DedupConfig()), "kept") == []


def test_columns_that_the_input_lacks(tmp_path):
    table = documents(["같은 글 하나", "같은 글 하나!"]).select(["id", "text"])
    splits = [split_of(tmp_path, "one", table)]
    segment = move(tmp_path / "run", splits, DedupConfig(), available=frozenset({"id", "text"}))
    assert [row["id"] for row in rows_in(segment, "kept")] == ["d00001"]
    with pytest.raises(UserError, match="'quality', which the documents don't have"):
        move(tmp_path / "other", splits, DedupConfig(priority=["quality desc"]))


def stage_for(tmp_path: Path, ids: list[str], errors: list[str | None]) -> RemoveDuplicates:
    count = len(ids)
    verdict = ["kept" if error is None else "duplicate_id" for error in errors]
    table = pa.table(
        {
            "row": np.arange(count),
            "id": ids,
            "cluster": pa.array([None if error else name for name, error in zip(ids, errors, strict=True)], pa.string()),
            "cluster_size": pa.array([1] * count, pa.int32()),
            "similarity": [1.0] * count,
            "verdict": verdict,
            "error": pa.array(errors, pa.string()),
        }
    )
    path = tmp_path / "verdict.parquet"
    pq.write_table(table, path)
    return RemoveDuplicates(str(path), file_facts(path)["xxh3"], ((1, 1),))


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_stage_finds_rows_in_batches_of_any_size(tmp_path, size):
    ids = ["a", "a", "b", "a", "c", "b", "a"]
    errors = [None, "e1", None, "e3", None, "e5", "e6"]
    stage = stage_for(tmp_path, ids, errors)
    rows = pa.table({"id": ids})
    found = pa.concat_tables([stage(rows.slice(start, size)) for start in range(0, len(ids), size)])
    assert found.column("error").to_pylist() == errors


def test_the_stage_joins_by_id_when_batches_come_in_another_order(tmp_path):
    ids = [f"d{number}" for number in range(9)]
    errors = [f"e{number}" if number % 2 else None for number in range(9)]
    stage = stage_for(tmp_path, ids, errors)
    order = [5, 1, 8, 0, 3]
    assert stage(pa.table({"id": [ids[number] for number in order]})).column("error").to_pylist() == [errors[number] for number in order]
    assert len(stage(pa.table({"id": pa.array([], pa.string())}))) == 0
    with pytest.raises(RunFailed, match="document 'x' has no verdict"):
        stage(pa.table({"id": ["d1", "x"]}))
