"""Same input and configuration, same bytes: whatever the workers, the engine, and the order in which inputs are listed."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys

import pyarrow.dataset as ds
import pytest

from tests.pipeline.runs import CONFIG, ROOT, leftovers, onnuri, run_arguments, shards

needs_namespace = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare: Ray runs inside a network namespace of its own"
)


def test_two_workers_and_another_order_of_inputs(small_sample, finished_run, tmp_path):
    import yaml

    values = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    shuffled = tmp_path / "shuffled.yaml"
    values["inputs"] = values["inputs"][::-1]
    jsonl = next(entry for entry in values["inputs"] if entry["source"] == "jsonl")
    jsonl["path"] = [f"${{sample}}/jsonl/{name}" for name in ("records-2.jsonl.zst", "records-0.jsonl.gz", "records-1.jsonl")]
    shuffled.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    run = tmp_path / "two"
    arguments = run_arguments(small_sample, run, "--workers", "2")
    arguments[1] = str(shuffled)
    done = onnuri(*arguments)
    assert done.returncode == 0, done.stderr
    assert shards(run) == shards(finished_run)
    assert leftovers(run) == []


@needs_namespace
def test_the_ray_engine(small_sample, finished_run, tmp_path):
    run = tmp_path / "ray"
    command = [sys.executable, "-m", "pipeline", *run_arguments(small_sample, run, "--engine", "ray", "--workers", "2")]
    script = 'ip link set lo up && exec "$@"'
    done = subprocess.run(
        ["unshare", "-n", "bash", "-c", script, "bash", *command], cwd=ROOT, capture_output=True, text=True, timeout=580, check=False
    )
    assert done.returncode == 0, done.stderr
    assert shards(run) == shards(finished_run)
    assert leftovers(run) == []


def test_the_whole_run_conserves_rows_from_move_to_move(finished_run):
    moves = ("ingest", "refine", "dedup", "classify", "decontaminate", "balance")
    manifests = [json.loads((finished_run / move / "manifest.json").read_text(encoding="utf-8")) for move in moves]
    for before, after in itertools.pairwise(manifests):
        assert after["rows_in"] == before["kept"]["rows"]
    for move, manifest in zip(moves, manifests, strict=True):
        counted = {
            kind: ds.dataset(folder).count_rows() if (folder := finished_run / move / kind).is_dir() and any(folder.iterdir()) else 0
            for kind in ("kept", "dropped", "quarantine")
        }
        assert sum(counted.values()) == manifest["rows_in"] > 0
        assert counted["kept"] == manifest["kept"]["rows"]
        for kind, column in (("dropped", "drop_reason"), ("quarantine", "error")):
            if counted[kind]:
                reasons = ds.dataset(finished_run / move / kind).to_table(columns=[column, "drop_stage", "id"])
                assert all(reasons.column(name).null_count == 0 for name in reasons.column_names)


def test_running_again_redoes_nothing(small_sample, finished_run):
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*.parquet")}
    done = onnuri(*run_arguments(small_sample, finished_run, "--workers", "1"))
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in finished_run.rglob("*.parquet")} == before
