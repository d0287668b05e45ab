"""The whole move in a real segment, and its configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.decontaminate.config import DecontaminateConfig
from pipeline.decontaminate.evidence import MATCHES_SCHEMA, report
from pipeline.decontaminate.move import check, run
from pipeline.engine import LocalEngine
from pipeline.errors import UserError
from pipeline.progress import Progress
from pipeline.segment import Segment
from pipeline.splits import Split
from tests.pipeline.decontaminate.benchmark_scene import KOREAN, documents, shard, table, write_benchmark

COLUMNS = frozenset({"id", "text"})


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    """One worker for all tests here: starting one takes longer than what it does."""
    engine = LocalEngine(1)
    yield engine
    engine.close()


def do(engine: LocalEngine, run_folder: Path, splits: list[Split], config: DecontaminateConfig) -> list[Split]:
    segment = Segment(run_folder, "decontaminate", engine, Progress(quiet=True), config.min_kept_share)
    return run(segment, splits, config, COLUMNS)


def test_run_drops_reports_and_resumes(tmp_path: Path, engine: LocalEngine) -> None:
    config = DecontaminateConfig(benchmarks=write_benchmark(tmp_path / "benchmarks"))
    rows = table()
    pieces = {"a": rows.slice(0, 4), "b": rows.slice(4), "c": rows.slice(0, 0)}
    splits = [shard(tmp_path / "in", name, piece) for name, piece in pieces.items()]
    kept = do(engine, tmp_path / "run", splits, config)
    assert [split.name for split in kept] == ["a", "b", "c"]
    folder = tmp_path / "run" / "decontaminate"

    matches = pq.read_table(folder / "matches.parquet")
    assert matches.schema.equals(MATCHES_SCHEMA)
    facts = [(row["id"], row["benchmark"], row["action"]) for row in matches.to_pylist()]
    assert facts == [
        ("leak-both", "geese", "drop"),
        ("leak-both", "fruit", "drop"),
        ("leak-en", "geese", "drop"),
        ("leak-ko", "fruit", "drop"),
        ("passage", "geese", "tag"),
        ("short", "geese", "tag"),
    ]
    summed = json.loads((folder / "report.json").read_text())
    assert (summed["matches"], summed["documents"]) == (6, 5)
    geese = summed["benchmarks"]["geese"]
    assert (geese["items"], geese["items_found"], geese["documents"], geese["dropped"], geese["tagged"]) == (2, 2, 4, 2, 2)
    assert [(item["item"], item["documents"], item["coverage"]) for item in geese["found"]] == [("g2", 2, 1.0), ("g1", 2, 1.0)]

    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    do(engine, tmp_path / "run", splits, config)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == stamps
    benchmark = tmp_path / "benchmarks" / "fruit.jsonl"
    other = {"question": "이 문항은 말뭉치의 어느 글에도 나오지 않는 새로운 질문으로 바뀌었습니다"}
    benchmark.write_text(json.dumps(other), encoding="utf-8")
    do(engine, tmp_path / "run", splits, config)
    assert "leak-ko" in pq.read_table(folder / "kept" / "a.parquet").column("id").to_pylist()
    assert "fruit" not in pq.read_table(folder / "matches.parquet").column("benchmark").to_pylist()


def test_mask_is_reported_as_mask(tmp_path: Path, engine: LocalEngine) -> None:
    config = DecontaminateConfig(benchmarks=write_benchmark(tmp_path / "benchmarks"), action="mask")
    do(engine, tmp_path / "run", [shard(tmp_path / "in", "a", table(documents() | {"only": KOREAN}))], config)
    folder = tmp_path / "run" / "decontaminate"
    matches = pq.read_table(folder / "matches.parquet").to_pylist()
    assert [(row["id"], row["start"] < row["end"] - 1) for row in matches if row["action"] == "drop"] == [("only", True)]
    fruit = json.loads((folder / "report.json").read_text())["benchmarks"]["fruit"]
    assert (fruit["documents"], fruit["dropped"], fruit["masked"]) == (3, 1, 2)
    [dropped] = pq.read_table(folder / "dropped" / "a.parquet").to_pylist()
    assert (dropped["id"], dropped["text"], dropped["drop_reason"]) == ("only", KOREAN, "nothing_left_after_mask")
    assert {row["id"] for row in matches if row["action"] == "mask"} == {"leak-en", "leak-ko", "leak-both"}
    assert {row["id"] for row in matches if row["action"] == "tag"} == {"passage", "short"}
    assert pq.read_metadata(folder / "kept" / "a.parquet").num_rows == len(documents())


def test_benchmarks_of_one_file_name_are_told_apart(tmp_path: Path, engine: LocalEngine) -> None:
    for name, other in (("geese", "maths"), ("fruit", "korean")):
        write_benchmark(tmp_path / other)
        for file in (tmp_path / other).iterdir():
            file.rename(file.with_name("test.jsonl")) if file.stem == name else file.unlink()
    config = DecontaminateConfig(benchmarks=[str(tmp_path / "maths"), str(tmp_path / "korean")])
    splits = [shard(tmp_path / "in", "a", table())]
    do(engine, tmp_path / "run", splits, config)
    folder = tmp_path / "run" / "decontaminate"
    found = json.loads((folder / "report.json").read_text())["benchmarks"]
    assert {name: entry["items"] for name, entry in found.items()} == {"maths/test": 2, "korean/test": 1}
    (tmp_path / "korean").rename(tmp_path / "fruits")  # the files' content and names are the same, the benchmark's name is not
    do(engine, tmp_path / "run", splits, DecontaminateConfig(benchmarks=[str(tmp_path / "maths"), str(tmp_path / "fruits")]))
    assert set(pq.read_table(folder / "matches.parquet").column("benchmark").to_pylist()) == {"maths/test", "fruits/test"}


def test_report_lists_benchmarks_without_matches() -> None:
    empty = report(MATCHES_SCHEMA.empty_table(), {"b": 3})
    assert empty["benchmarks"]["b"] | {"items": 3} == empty["benchmarks"]["b"] and empty["benchmarks"]["b"]["documents"] == 0


def test_check_names_the_file_and_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"decontaminate\.benchmarks: .*nowhere names no benchmark file"):
        check(DecontaminateConfig(benchmarks=[str(tmp_path / "nowhere")]))
    (tmp_path / "odd.jsonl").write_text('{"id": 1, "frage": "Wie viele?"}\n')
    with pytest.raises(UserError, match=r"odd\.jsonl, row 1, has no text in .*; its fields are id, frage"):
        check(DecontaminateConfig(benchmarks=[str(tmp_path / "odd.jsonl")]))
    fields = {"odd": {"question": ["frage"]}}
    check(DecontaminateConfig.model_validate({"benchmarks": [str(tmp_path / "odd.jsonl")], "fields": fields}))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "benchmarks"),
        ({"benchmarks": []}, "at least 1"),
        ({"benchmarks": ["b"], "action": "delete"}, "drop"),
        ({"benchmarks": ["b"], "lenght": 40}, "did you mean 'length'"),
        ({"benchmarks": ["b"], "length": 20}, "hangul_length"),
        ({"benchmarks": ["b"], "min_coverage": 2}, "min_coverage is 2"),
        ({"benchmarks": ["b"], "report_fields": ["passages"]}, "use question, answer or passage"),
    ],
)
def test_bad_settings_are_refused(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        DecontaminateConfig.model_validate(given)


def test_documents_without_text_are_refused(tmp_path: Path, engine: LocalEngine) -> None:
    config = DecontaminateConfig(benchmarks=write_benchmark(tmp_path / "benchmarks"))
    segment = Segment(tmp_path / "run", "decontaminate", engine, Progress(quiet=True), 0.0)
    with pytest.raises(UserError, match="lacks \\(text\\)"):
        run(segment, [], config, frozenset({"id"}))
