"""What is scanned again when benchmarks, policy or documents change, and that the result is that of a run from nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from pipeline.decontaminate.config import DecontaminateConfig
from pipeline.engine import Outcome, run_task
from pipeline.splits import Split
from tests.pipeline.decontaminate.benchmark_scene import CLEAN, ENGLISH, KOREAN, do, documents, made, shard, table, write_benchmark
from tests.pipeline.fake_run import InlineEngine


@pytest.fixture
def scene(tmp_path: Path) -> list[Split]:
    """Two splits, and beside them the benchmark files that `config` takes."""
    write_benchmark(tmp_path / "files")
    return [shard(tmp_path / "in", "a", table()[:5]), shard(tmp_path / "in", "b", table()[5:])]


def config(folder: Path, *names: str, **values: Any) -> DecontaminateConfig:
    return DecontaminateConfig.model_validate({"benchmarks": [str(folder / "files" / f"{name}.jsonl") for name in names], **values})


def scans(folder: Path) -> dict[str, tuple[tuple[str, ...], int]]:
    """Of each scan the benchmarks that its receipt names and when its file was written."""
    receipts = [json.loads(path.read_text()) for path in sorted((folder / "steps" / "scan" / "receipts").iterdir())]
    files = {one["name"]: folder / "steps" / "scan" / next(iter(one["outputs"])) for one in receipts}
    return {one["name"]: (tuple(sorted(one["benchmarks"])), files[one["name"]].stat().st_mtime_ns) for one in receipts}


def groups(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    return sorted((name.split(".")[0], benchmarks) for name, (benchmarks, _) in scans(folder).items())


def test_a_new_benchmark_is_looked_for_alone_and_a_removed_one_is_left_out(scene: list[Split], tmp_path: Path) -> None:
    folder = do(tmp_path / "run", scene, config(tmp_path, "geese"))
    first = scans(folder)
    assert groups(folder) == [("a", ("geese",)), ("b", ("geese",))]
    do(tmp_path / "run", scene, config(tmp_path, "geese", "fruit"))
    both = scans(folder)
    assert groups(folder) == [("a", ("fruit",)), ("a", ("geese",)), ("b", ("fruit",)), ("b", ("geese",))]
    assert {name: both[name] for name in first} == first
    fresh = do(tmp_path / "fresh", scene, config(tmp_path, "geese", "fruit"))
    assert groups(fresh) == [("a", ("fruit", "geese")), ("b", ("fruit", "geese"))]
    assert made(folder) == made(fresh)
    do(tmp_path / "run", scene, config(tmp_path, "fruit"))
    assert scans(folder) == {name: facts for name, facts in both.items() if name not in first}
    alone = do(tmp_path / "alone", scene, config(tmp_path, "fruit"))
    assert made(folder) == made(alone)
    do(tmp_path / "run", scene, config(tmp_path, "geese", "fruit"))
    assert made(folder) == made(fresh)
    do(tmp_path / "fresh", scene, config(tmp_path, "fruit"))  # of one scan for both, only the matches of one are taken
    assert groups(fresh) == [("a", ("fruit", "geese")), ("b", ("fruit", "geese"))] and made(fresh) == made(alone)


def test_a_changed_benchmark_is_looked_for_again(scene: list[Split], tmp_path: Path) -> None:
    folder = do(tmp_path / "run", scene, config(tmp_path, "geese", "fruit"))
    before = scans(folder)
    items = [{"id": "k1", "question": KOREAN}, {"id": "k2", "question": CLEAN[1]}]
    (tmp_path / "files" / "fruit.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    do(tmp_path / "run", scene, config(tmp_path, "geese", "fruit"))
    assert {name: facts for name, facts in scans(folder).items() if name in before} == before
    assert [group for group in groups(folder) if group[1] == ("fruit",)] == [("a", ("fruit",)), ("b", ("fruit",))]
    assert made(folder) == made(do(tmp_path / "fresh", scene, config(tmp_path, "geese", "fruit")))
    assert "contaminated:fruit" in json.dumps([row["drop_reason"] for row in dropped(folder) if row["id"] == "clean-ko"])


def dropped(folder: Path) -> list[dict[str, Any]]:
    return ds.dataset(folder / "dropped").to_table().to_pylist()


def test_another_policy_or_action_scans_nothing(scene: list[Split], tmp_path: Path) -> None:
    folder = do(tmp_path / "run", scene, config(tmp_path, "geese", "fruit"))
    before = scans(folder)
    changes: dict[str, Any] = {"action": "mask", "report_fields": [], "max_corpus_documents": 1, "overrides": {"fruit": {"action": "tag"}}}
    do(tmp_path / "run", scene, config(tmp_path, "geese", "fruit", **changes))
    assert scans(folder) == before
    assert made(folder) == made(do(tmp_path / "fresh", scene, config(tmp_path, "geese", "fruit", **changes)))


def test_another_length_another_mode_and_another_text_are_scanned(scene: list[Split], tmp_path: Path) -> None:
    folder = do(tmp_path / "run", scene, config(tmp_path, "geese"))
    for values in ({"length": 60}, {"mode": "paper"}, {"mode": "paper", "seed": 3}, {}):
        before = scans(folder)
        do(tmp_path / "run", scene, config(tmp_path, "geese", **values))
        assert not set(before.items()) & set(scans(folder).items()), values
    before, rows = scans(folder), table(documents() | {"more": ENGLISH})
    changed = [shard(tmp_path / "in", "a", rows), scene[1]]
    do(tmp_path / "run", changed, config(tmp_path, "geese"))
    assert [name.split(".")[0] for name, _ in set(before.items()) & set(scans(folder).items())] == ["b"]


@pytest.mark.parametrize("harm", ["file gone", "file cut", "receipt torn", "receipt of another form"])
def test_what_is_damaged_is_scanned_again(scene: list[Split], tmp_path: Path, harm: str) -> None:
    folder = do(tmp_path / "run", scene, config(tmp_path, "geese"))
    whole = made(folder)
    receipt = next((folder / "steps" / "scan" / "receipts").glob("a.*"))
    file = folder / "steps" / "scan" / f"{receipt.stem}.parquet"
    if harm == "file gone":
        file.unlink()
    elif harm == "file cut":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        receipt.write_text({"receipt torn": '{"name": "a', "receipt of another form": '{"benchmarks": [1], "outputs": 3}'}[harm])
    do(tmp_path / "run", scene, config(tmp_path, "geese", "fruit"))
    assert made(folder) == made(do(tmp_path / "fresh", scene, config(tmp_path, "geese", "fruit")))
    do(tmp_path / "run", scene, config(tmp_path, "geese"))
    assert made(folder) == whole


class Stopping(InlineEngine):
    """Is interrupted before the task of that number."""

    def __init__(self, tasks: int) -> None:
        self.left = tasks

    def map(self, tasks: Sequence[Any]) -> Iterator[Outcome]:
        for task in tasks:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            yield run_task(task)


def test_interrupted_anywhere_it_goes_on_and_redoes_nothing(scene: list[Split], tmp_path: Path) -> None:
    fresh = made(do(tmp_path / "fresh", scene, config(tmp_path, "geese", "fruit")))
    do(tmp_path / "run", scene, config(tmp_path, "geese"))
    done: dict[Path, int] = {}
    for _ in range(20):
        try:
            folder = do(tmp_path / "run", scene, config(tmp_path, "geese", "fruit"), Stopping(1))
        except KeyboardInterrupt:
            receipts = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("receipts/*.json")}
            assert {path: receipts.get(path) for path in done} == done
            done = {path: stamp for path, stamp in receipts.items() if "scan" in path.parts}
            continue
        break
    assert made(folder) == fresh
