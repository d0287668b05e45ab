"""`onnuri submit`: the same run as a job on a Ray cluster of two nodes with token authentication, a worker killed on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.pipeline.runs import CONFIG, ROOT, leftovers, onnuri, shards


@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare: the cluster runs in a namespace")
def test_two_nodes_and_a_killed_worker_change_nothing(small_sample, finished_run, tmp_path):
    values = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    values["vars"]["sample"] = str(small_sample)
    del values["sample"]
    config, run = tmp_path / "cluster.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    command = ["unshare", "-n", sys.executable, "-m", "tests.pipeline.cluster_scene", str(config), str(run), "kill"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "killed" in done.stdout
    assert shards(run) == shards(finished_run)
    assert leftovers(run) == []


def test_a_job_server_that_is_not_there_is_one_sentence(small_sample, tmp_path):
    done = onnuri("submit", CONFIG, "--address", "http://127.0.0.1:9", "-o", tmp_path / "run", "--set", f"vars.sample={small_sample}")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("onnuri: can't reach a Ray job server at 'http://127.0.0.1:9'")
    assert "Traceback" not in done.stderr
