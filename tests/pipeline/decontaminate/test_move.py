"""The whole move in a real segment: what it writes, the index it is given, and its configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from decontam import MATCH_SCHEMA, MatchSettings, Policy, Scanner, build_index, load_index, load_registry, read_benchmarks, save_index
from pipeline.cli import app, guarded
from pipeline.config import absolute
from pipeline.decontaminate.actions import Actions
from pipeline.decontaminate.config import DecontaminateConfig
from pipeline.decontaminate.evidence import MATCHES_SCHEMA
from pipeline.decontaminate.move import check
from pipeline.decontaminate.report import LENGTHS, MOST_FOUND, Benchmark, report
from pipeline.engine import LocalEngine
from pipeline.errors import UserError
from tests.pipeline.decontaminate.benchmark_scene import CLEAN, ENGLISH, KOREAN, SHORT, do, documents, made, shard, table, write_benchmark
from tests.pipeline.fake_run import InlineEngine


def config_for(folder: Path, **values: Any) -> DecontaminateConfig:
    return DecontaminateConfig.model_validate({"benchmarks": write_benchmark(folder / "benchmarks"), **values})


def written_index(folder: Path) -> str:
    save_index(build_index(read_benchmarks(write_benchmark(folder / "files"))), folder / "index")
    return str(folder / "index")


def matches_in(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "matches.parquet").to_pylist()


def test_run_drops_reports_and_resumes(tmp_path: Path) -> None:
    engine = LocalEngine(1)
    config = config_for(tmp_path)
    rows = table()
    splits = [shard(tmp_path / "in", name, piece) for name, piece in {"a": rows[:4], "b": rows[4:], "c": rows[:0]}.items()]
    folder = do(tmp_path / "run", splits, config, engine)
    assert sorted(path.name for path in (folder / "kept").iterdir()) == ["a.parquet", "b.parquet", "c.parquet"]

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
    assert {row["id"]: row["corpus_documents"] for row in matches.to_pylist()} == {
        "leak-both": 2,
        "leak-en": 2,
        "leak-ko": 2,
        "passage": 1,
        "short": 1,
    }
    summed = json.loads((folder / "report.json").read_text())
    assert (summed["matches"], summed["documents"], summed["index"]) == (6, 5, "steps/index/index")
    geese = summed["benchmarks"]["geese"]
    assert (geese["items"], geese["items_found"], geese["documents"], geese["dropped"], geese["tagged"]) == (2, 2, 4, 2, 2)
    assert [(item["item"], item["documents"], item["coverage"]) for item in geese["found"]] == [("g1", 2, 1.0), ("g2", 2, 1.0)]

    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    do(tmp_path / "run", splits, config, engine)
    engine.close()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == stamps


def test_mask_is_reported_as_mask(tmp_path: Path) -> None:
    config = config_for(tmp_path, action="mask")
    folder = do(tmp_path / "run", [shard(tmp_path / "in", "a", table(documents() | {"only": KOREAN}))], config)
    matches = matches_in(folder)
    assert [(row["id"], row["start"] < row["end"] - 1) for row in matches if row["action"] == "drop"] == [("only", True)]
    fruit = json.loads((folder / "report.json").read_text())["benchmarks"]["fruit"]
    assert (fruit["documents"], fruit["dropped"], fruit["masked"], fruit["action"]) == (3, 1, 2, "mask")
    [dropped] = pq.read_table(folder / "dropped" / "a.parquet").to_pylist()
    assert (dropped["id"], dropped["text"], dropped["drop_reason"]) == ("only", KOREAN, "nothing_left_after_mask")
    assert {row["id"] for row in matches if row["action"] == "mask"} == {"leak-en", "leak-ko", "leak-both"}
    assert {row["id"] for row in matches if row["action"] == "tag"} == {"passage", "short"}
    assert pq.read_metadata(folder / "kept" / "a.parquet").num_rows == len(documents())


def test_overrides_act_on_their_benchmarks_alone(tmp_path: Path) -> None:
    overrides = {"fr*": {"action": "mask"}, "fruit": {"action": "drop"}, "geese": {"report_fields": [], "short_texts": "always"}}
    folder = do(tmp_path / "run", [shard(tmp_path / "in", "a", table())], config_for(tmp_path, action="tag", overrides=overrides))
    assert not (folder / "dropped").exists()
    assert {(row["benchmark"], row["action"]) for row in matches_in(folder)} == {("geese", "tag"), ("fruit", "mask")}
    found = json.loads((folder / "report.json").read_text())["benchmarks"]
    assert found["geese"]["policy"]["report_fields"] == [] and found["fruit"]["policy"]["report_fields"] == ["passage"]
    assert (found["geese"]["action"], found["fruit"]["action"]) == ("tag", "mask")
    wrong = DecontaminateConfig.model_validate({"benchmarks": [str(tmp_path / "benchmarks")], "overrides": {"mmlu*": {"action": "tag"}}})
    with pytest.raises(UserError, match=r"overrides names 'mmlu\*', which fits no benchmark; there are fruit, geese"):
        check(wrong)


def test_a_given_index_gives_the_same_matches_as_its_files(tmp_path: Path) -> None:
    index = written_index(tmp_path)
    splits = [shard(tmp_path / "in", "a", table())]
    built = do(tmp_path / "built", splits, DecontaminateConfig(benchmarks=[str(tmp_path / "files")]))
    given = do(tmp_path / "given", splits, DecontaminateConfig(index=index, length=MatchSettings.length))
    assert {name: content for name, content in made(built).items() if name != "report.json"} == {
        name: content for name, content in made(given).items() if name != "report.json"
    }
    [one, other] = [json.loads((folder / "report.json").read_text()) for folder in (built, given)]
    assert other.pop("index") == index and one.pop("index") != index and one == other
    only = do(tmp_path / "only", splits, DecontaminateConfig(index=index, only=["fru*"]))
    assert list(json.loads((only / "report.json").read_text())["benchmarks"]) == ["fruit"]
    assert [row for row in matches_in(given) if row["benchmark"] == "fruit" and row["id"] == "leak-ko"] == [
        row for row in matches_in(only) if row["id"] == "leak-ko"
    ]


def test_an_index_that_does_not_fit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = written_index(tmp_path)
    with pytest.raises(UserError, match=r"length is 60, and the index .* was built with 50"):
        check(DecontaminateConfig(index=index, length=60))
    with pytest.raises(UserError, match=r"only names 'mmlu', which fits no benchmark; there are fruit, geese"):
        check(DecontaminateConfig(index=index, only=["mmlu"]))
    with pytest.raises(UserError, match=r"decontaminate\.index: .*nowhere"):
        check(DecontaminateConfig(index=str(tmp_path / "nowhere")))
    pool = next(Path(index).rglob("pool.npy"))
    pool.write_bytes(pool.read_bytes()[:-1] + b"\x07")
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "words"}\n')
    arguments = ["decontam", "scan", str(tmp_path / "a.jsonl"), "--index", index, "-o", str(tmp_path / "out")]
    assert guarded(lambda: app(arguments, prog_name="onnuri")) == 2
    told = capsys.readouterr().err
    assert "pool.npy" in told and "damaged" in told and told.count("\n") == 1 and not (tmp_path / "out").exists()


def test_stage_command_and_library_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.alone.start_engine", lambda *_: InlineEngine())
    index = written_index(tmp_path)
    lines = [json.dumps({"id": id_, "text": text}, ensure_ascii=False) for id_, text in documents().items()]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    common = [str(tmp_path / "a.jsonl"), "--index", index, "--quiet", "--action", "tag", "-o"]
    assert guarded(lambda: app(["decontam", "scan", *common, str(tmp_path / "scan")], prog_name="onnuri")) == 0
    assert guarded(lambda: app(["decontaminate", *common, str(tmp_path / "stage")], prog_name="onnuri")) == 0
    names = [name for name in MATCH_SCHEMA.names if name != "row"]
    order = [(name, "ascending") for name in ("id", "start", "benchmark", "entry")]
    scan, stage = (pq.read_table(tmp_path / out / "matches.parquet", columns=["id", *names]).sort_by(order) for out in ("scan", "stage"))
    rows = table()
    found = Scanner(load_index(index)).scan(rows)
    library = found.append_column("id", rows["id"].take(found["row"])).select(["id", *names]).sort_by(order)
    assert scan.to_pylist() == stage.to_pylist() == library.to_pylist() and len(library) == 6


def test_paper_mode_finds_some_windows_of_what_is_there(tmp_path: Path) -> None:
    config = config_for(tmp_path, mode="paper", windows=30, seed=5, hangul_length=50, min_coverage=0.0)
    rows = table(documents() | {f"more-{number}": f"{CLEAN[0]} {ENGLISH}" for number in range(20)})
    folder = do(tmp_path / "run", [shard(tmp_path / "in", "a", rows)], config)
    matches = matches_in(folder)
    assert matches and {row["length"] for row in matches} == {50} and {row["benchmark"] for row in matches} <= {"geese", "fruit"}
    facts = json.loads((folder / "report.json").read_text())
    assert (facts["mode"], facts["windows"], facts["seed"]) == ("paper", 30, 5)
    other = do(tmp_path / "other", [shard(tmp_path / "in", "a", rows)], config.model_copy(update={"seed": 6}))
    assert [(row["id"], row["start"]) for row in matches_in(other)] != [(row["id"], row["start"]) for row in matches]


def test_what_stands_in_many_documents_is_common(tmp_path: Path) -> None:
    """Half of an item that four documents quote is no leak where two are allowed; the document with the whole item is one."""
    half = ENGLISH[: len(ENGLISH) * 3 // 4]
    rows = table({**{f"quote-{number}": f"{number}: {half} {CLEAN[0]}" for number in range(4)}, "whole": f"{CLEAN[1]} {ENGLISH}"})
    splits = [shard(tmp_path / "in", "a", rows[:2]), shard(tmp_path / "in", "b", rows[2:])]
    config = config_for(tmp_path)
    strict = do(tmp_path / "strict", splits, config)
    assert pq.read_table(strict / "matches.parquet").column("corpus_documents").to_pylist()[:4] == [5, 5, 5, 5]
    assert {row["id"] for row in matches_in(strict) if row["action"] == "drop"} == set(rows["id"].to_pylist())
    lenient = do(tmp_path / "lenient", splits, config.model_copy(update={"max_corpus_documents": 4}))
    assert {row["id"] for row in matches_in(lenient) if row["action"] == "drop"} == {"whole"}
    enough = do(tmp_path / "enough", splits, config.model_copy(update={"max_corpus_documents": 5}))
    assert {row["id"] for row in matches_in(enough) if row["action"] == "drop"} == set(rows["id"].to_pylist())


def test_answered_short_items_may_count(tmp_path: Path) -> None:
    benchmark = tmp_path / "quiz.jsonl"
    benchmark.write_text(json.dumps({"id": "q", "question": SHORT, "answer": "carbon dioxide"}))
    rows = table({"answered": f"Quiz night. {SHORT} Carbon dioxide.", "asked": f"Quiz night. {SHORT} Nobody knew."})
    config = DecontaminateConfig(benchmarks=[str(benchmark)], short_texts="answered")
    folder = do(tmp_path / "run", [shard(tmp_path / "in", "a", rows)], config)
    assert {row["id"]: (row["answered"], row["action"]) for row in matches_in(folder)} == {
        "answered": (True, "drop"),
        "asked": (False, "tag"),
    }
    quiz = json.loads((folder / "report.json").read_text())["benchmarks"]["quiz"]
    assert (quiz["documents"], quiz["answered"], quiz["found"][0]["answered"]) == (2, 1, 1)


def test_benchmarks_of_one_file_name_are_told_apart(tmp_path: Path) -> None:
    for name, other in (("geese", "maths"), ("fruit", "korean")):
        write_benchmark(tmp_path / other)
        for file in (tmp_path / other).iterdir():
            file.rename(file.with_name("test.jsonl")) if file.stem == name else file.unlink()
    splits = [shard(tmp_path / "in", "a", table())]
    folder = do(tmp_path / "run", splits, DecontaminateConfig(benchmarks=[str(tmp_path / "maths"), str(tmp_path / "korean")]))
    found = json.loads((folder / "report.json").read_text())["benchmarks"]
    assert {name: entry["items"] for name, entry in found.items()} == {"maths/test": 2, "korean/test": 1}
    (tmp_path / "korean").rename(tmp_path / "fruits")  # the files' content and names are the same, the benchmark's name is not
    do(tmp_path / "run", splits, DecontaminateConfig(benchmarks=[str(tmp_path / "maths"), str(tmp_path / "fruits")]))
    assert set(pq.read_table(folder / "matches.parquet").column("benchmark").to_pylist()) == {"maths/test", "fruits/test"}


def test_names_of_the_registry_are_taken_from_the_data_folder(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "files")
    source = load_registry()["mt-bench"]
    copy = tmp_path / "copies" / source.folder / source.files[0][1][0]
    copy.parent.mkdir(parents=True)
    copy.write_text(json.dumps({"question_id": 81, "category": "writing", "turns": [ENGLISH, KOREAN]}))
    given = {"benchmarks": ["mt-bench", str(tmp_path / "files" / "fruit.jsonl")], "data": str(tmp_path / "copies")}
    config = absolute(DecontaminateConfig.model_validate(given))
    assert config.benchmarks[0] == "mt-bench"
    folder = do(tmp_path / "run", [shard(tmp_path / "in", "a", table())], config)
    assert set(json.loads((folder / "report.json").read_text())["benchmarks"]) == {"mt-bench", "fruit"}
    with pytest.raises(UserError, match=r"decontaminate\.benchmarks: 'mt-bench' is a benchmark of the registry"):
        check(config.model_copy(update={"data": None}))


def test_report_counts_documents_by_fate_and_length_and_stays_short() -> None:
    settings, actions = MatchSettings(), Actions()
    empty = report(MATCHES_SCHEMA.empty_table(), settings, actions, (Benchmark("b", "f", 3),))
    assert empty["documents"] == 0 and (empty["benchmarks"]["b"]["items"], empty["benchmarks"]["b"]["longest"]) == (3, 0)
    common = {"benchmark": "b", "split": "", "field": "question", "entry": 0, "start": 0, "end": 9, "item_start": 0, "item_end": 9}
    common |= {"coverage": 0.5, "item_coverage": 0.5, "frequency": 1, "required": 50, "corpus_documents": 1}
    rows = [common | {"id": str(n), "item": str(n), "length": 20 + n, "answered": False, "action": "tag"} for n in range(MOST_FOUND + 5)]
    rows.append(common | {"id": "0", "item": "other", "length": 60, "answered": True, "action": "mask"})
    rows.append(common | {"id": "0", "item": "0", "length": 55, "answered": False, "action": "tag"})
    found = report(pa.Table.from_pylist(rows, MATCHES_SCHEMA), settings, actions, (Benchmark("b", "f", 9999),))["benchmarks"]["b"]
    longest = {"0": 60, **{str(n): 20 + n for n in range(1, MOST_FOUND + 5)}}
    assert found["by_length"] == {str(least): sum(value >= least for value in longest.values()) for least in LENGTHS}
    assert (found["documents"], found["masked"], found["tagged"], found["dropped"]) == (MOST_FOUND + 5, 1, MOST_FOUND + 4, 0)
    assert (found["items_found"], len(found["found"]), found["not_listed"]) == (MOST_FOUND + 6, MOST_FOUND, 6)
    assert found["found"][0]["longest"] == found["longest"] == 20 + MOST_FOUND + 4 and found["answered"] == 1


def test_check_names_the_file_and_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"decontaminate\.benchmarks: .*nowhere names no benchmark file"):
        check(DecontaminateConfig(benchmarks=[str(tmp_path / "nowhere")]))
    (tmp_path / "odd.jsonl").write_text('{"id": 1, "frage": "Wie viele Beine haben drei Spinnen?"}\n')
    with pytest.raises(UserError, match=r"odd\.jsonl, row 1, has no text in .*; its fields are id, frage"):
        check(DecontaminateConfig(benchmarks=[str(tmp_path / "odd.jsonl")]))
    fields = {"odd": {"question": ["frage"]}}
    check(DecontaminateConfig.model_validate({"benchmarks": [str(tmp_path / "odd.jsonl")], "fields": fields}))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "benchmarks.*neither is given"),
        ({"benchmarks": []}, "neither is given"),
        ({"benchmarks": ["b"], "index": "i"}, "both are given"),
        ({"index": "i", "data": "d"}, "data says how benchmarks are read"),
        ({"benchmarks": ["b"], "action": "delete"}, "drop"),
        ({"benchmarks": ["b"], "mode": "random"}, "paper"),
        ({"benchmarks": ["b"], "windows": 0}, "greater than or equal to 1"),
        ({"benchmarks": ["b"], "lenght": 40}, "did you mean 'length'"),
        ({"benchmarks": ["b"], "length": 20}, "hangul_length"),
        ({"benchmarks": ["b"], "min_coverage": 2}, "min_coverage is 2"),
        ({"benchmarks": ["b"], "report_fields": ["passages"]}, "use question, answer, passage"),
        ({"benchmarks": ["b"], "overrides": {"mmlu*": {"long_factor": 0}}}, r"overrides\.mmlu\*: long_factor is 0"),
        ({"benchmarks": ["b"], "overrides": {"x": {"actoin": "tag"}}}, "did you mean 'action'"),
    ],
)
def test_bad_settings_are_refused(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        DecontaminateConfig.model_validate(given)


def test_defaults_are_those_of_the_library() -> None:
    config = DecontaminateConfig(benchmarks=["b"])
    assert config.actions() == Actions("drop", Policy()) and MatchSettings(**config.lengths()) == MatchSettings()


def test_documents_without_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lacks \\(text\\)"):
        do(tmp_path / "run", [], config_for(tmp_path), columns=frozenset({"id"}))
