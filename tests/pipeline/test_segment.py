"""Segments: conservation, resume, atomic outputs, and what happens when workers die or records are hostile."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine import LocalEngine
from pipeline.errors import RunFailed, UserError
from pipeline.progress import Progress
from pipeline.segment import Segment, clear_temporary
from tests.pipeline.toy import COLUMNS, DropEverySeventh, Poisoned, TouchTask, ToyReader, split


@pytest.fixture(scope="module")
def engine():
    engine = LocalEngine(2)
    yield engine
    engine.close()


def segment(run: Path, engine: LocalEngine, share: float = 0.0) -> Segment:
    return Segment(run, "toy", engine, Progress(quiet=True), share)


def read(run: Path, kind: str) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted((run / "toy" / kind).glob("*.parquet")))


def tree(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*.parquet"))}


def test_every_row_is_kept_dropped_or_quarantined_with_a_reason(tmp_path, engine):
    segment(tmp_path, engine).rows([split("a", 35), split("b", 4)], ToyReader(), (DropEverySeventh(),), COLUMNS)
    kept, dropped, quarantined = (read(tmp_path, kind) for kind in ("kept", "dropped", "quarantine"))
    assert len(kept) + len(dropped) + len(quarantined) == 39
    expected = {name: [n for n in range(rows)] for name, rows in (("a", 35), ("b", 4))}
    for name, numbers in expected.items():
        assert {i for i in quarantined["id"].to_pylist() if i.startswith(name)} == {f"{name}-{n}" for n in numbers if n % 11 == 5}
        assert {i for i in dropped["id"].to_pylist() if i.startswith(name)} == {
            f"{name}-{n}" for n in numbers if n % 7 == 0 and n % 11 != 5
        }
    assert set(dropped["drop_reason"].to_pylist()) == {"seventh"} and None not in dropped["drop_stage"].to_pylist()
    assert set(quarantined["error"].to_pylist()) == {"no text in record"}
    manifest = json.loads((tmp_path / "toy" / "manifest.json").read_text())
    assert manifest["rows_in"] == 39 and manifest["dropped"]["seventh: seventh"]["rows"] == len(dropped)
    assert manifest["quarantined"]["read: no text in record"]["rows"] == len(quarantined)
    assert manifest["stages"]["seventh"]["rows_in"] == 39 - len(quarantined)


def test_finished_splits_are_not_redone_and_changed_ones_are(tmp_path, engine):
    splits = [split("a", 20), split("b", 20)]
    segment(tmp_path, engine).rows(splits, ToyReader(), (DropEverySeventh(),), COLUMNS)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "toy").rglob("*.parquet")}
    segment(tmp_path, engine).rows(splits, ToyReader(), (DropEverySeventh(),), COLUMNS)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "toy").rglob("*.parquet")} == before
    (tmp_path / "toy" / "kept" / "a.parquet").unlink()
    segment(tmp_path, engine).rows(splits, ToyReader(), (DropEverySeventh(),), COLUMNS)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "toy").rglob("*.parquet")}
    changed = {path.name for path in before if after[path] != before[path]}
    assert changed == {"a.parquet"} and after.keys() == before.keys()


def test_a_new_configuration_leaves_nothing_of_the_old_one(tmp_path, engine):
    segment(tmp_path, engine).rows([split("a", 20), split("gone", 20)], ToyReader(), (DropEverySeventh(),), COLUMNS)
    segment(tmp_path, engine).rows([split("a", 20)], ToyReader(), (DropEverySeventh(modulus=100),), COLUMNS)
    other = tmp_path / "other"
    segment(other, engine).rows([split("a", 20)], ToyReader(), (DropEverySeventh(modulus=100),), COLUMNS)
    assert {path: content for path, content in tree(tmp_path).items() if path.startswith("toy/")} == tree(other)
    assert [path.name for path in (tmp_path / "toy" / "receipts").iterdir()] == ["a.json"]


def test_files_of_a_run_that_was_killed_before_its_receipts_are_not_left_behind(tmp_path, engine):
    segment(tmp_path, engine).rows([split("a", 20)], ToyReader(), (DropEverySeventh(),), COLUMNS)
    assert (tmp_path / "toy" / "dropped" / "a.parquet").exists()
    (tmp_path / "toy" / "receipts" / "a.json").unlink()
    segment(tmp_path, engine).rows([split("a", 20)], ToyReader(), (), COLUMNS)
    assert not (tmp_path / "toy" / "dropped" / "a.parquet").exists()
    (tmp_path / "toy" / "receipts" / "a.json").write_text("{ cut")
    segment(tmp_path, engine).rows([split("a", 20)], ToyReader(), (), COLUMNS)
    assert json.loads((tmp_path / "toy" / "receipts" / "a.json").read_text())["rows_in"] == 20


def test_a_record_that_breaks_a_stage_is_quarantined_alone(tmp_path, engine):
    segment(tmp_path, engine).rows([split("a", 20, "raise"), split("b", 5)], ToyReader(), (Poisoned(),), COLUMNS)
    quarantined = read(tmp_path, "quarantine")
    errors = dict(zip(quarantined["id"].to_pylist(), quarantined["error"].to_pylist(), strict=True))
    assert "IndexError: a hostile record" in errors.pop("a-0")
    assert set(errors.values()) == {"no text in record"}
    assert len(read(tmp_path, "kept")) == 25 - len(quarantined)


def test_a_worker_that_dies_once_changes_nothing(tmp_path, engine):
    marker = str(tmp_path / "marker")
    segment(tmp_path / "run", engine).rows([split("a", 20, "kill once"), split("b", 20)], ToyReader(), (Poisoned(marker),), COLUMNS)
    assert Path(marker).exists()
    segment(tmp_path / "calm", engine).rows([split("a", 20, "kill once"), split("b", 20)], ToyReader(), (Poisoned(marker),), COLUMNS)
    assert tree(tmp_path / "run") == tree(tmp_path / "calm")
    clear_temporary(tmp_path / "run")
    assert not [path for path in (tmp_path / "run").rglob("*") if "tmp" in path.name]


def test_a_split_that_kills_its_workers_fails_with_its_name_and_the_rest_is_done(tmp_path, engine):
    with pytest.raises(RunFailed, match=r"split a: its worker died 3 times \(signal 9\)"):
        segment(tmp_path, engine).rows([split("a", 20, "kill"), split("b", 20)], ToyReader(), (Poisoned(str(tmp_path / "m")),), COLUMNS)
    assert (tmp_path / "toy" / "receipts" / "b.json").exists() and not (tmp_path / "toy" / "manifest.json").exists()
    assert "worker died" in (tmp_path / "toy" / "failed" / "a.txt").read_text()


def test_a_user_error_in_a_worker_stays_a_user_error(tmp_path, engine):
    with pytest.raises(UserError, match="give another one"):
        segment(tmp_path, engine).rows([split("a", 20, "user")], ToyReader(), (Poisoned(),), COLUMNS)


def test_a_stage_that_loses_rows_is_caught(tmp_path, engine):
    segment(tmp_path, engine).rows([split("a", 1, "lose")], ToyReader(), (Poisoned(),), COLUMNS)
    assert "must return every row" in read(tmp_path, "quarantine")["error"][0].as_py()


def test_keeping_almost_nothing_stops_the_run_with_an_explanation(tmp_path, engine):
    with pytest.raises(RunFailed, match=r"toy kept 0 of 200 documents.*seventh: seventh \(182\).*toy\.min_kept_share=0"):
        segment(tmp_path, engine, 0.01).rows([split("a", 200)], ToyReader(), (DropEverySeventh(modulus=1),), COLUMNS)
    segment(tmp_path, engine, 0.0).rows([split("a", 200)], ToyReader(), (DropEverySeventh(modulus=1),), COLUMNS)


def test_limit_takes_the_first_rows_of_each_split(tmp_path, engine):
    segment(tmp_path, engine).rows([split("a", 50), split("b", 5)], ToyReader(), (), COLUMNS, limit=12)
    manifest = json.loads((tmp_path / "toy" / "manifest.json").read_text())
    assert manifest["rows_in"] == 17


def test_steps_publish_files_and_drop_those_of_tasks_that_are_gone(tmp_path, engine):
    toy = segment(tmp_path, engine)
    receipts = toy.step("make", [TouchTask("b", "bb"), TouchTask("a", "a")])
    assert [receipt["bytes"] for receipt in receipts] == [2, 1]
    toy.step("make", [TouchTask("b", "bbb")])
    assert {path.name: path.read_text() for path in toy.step_folder("make").glob("*.txt")} == {"b.txt": "bbb"}
    source = tmp_path / "input"
    source.write_text("1")
    first = toy.step("read", [TouchTask("c", "c", (str(source),))])
    source.write_text("2")
    assert toy.step("read", [TouchTask("c", "c", (str(source),))])[0]["fingerprint"] != first[0]["fingerprint"]
