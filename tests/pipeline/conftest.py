"""A small synthetic crawl and one finished run over it, shared by the tests that look at whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.sample import write_sample
from tests.pipeline.runs import onnuri, run_arguments


@pytest.fixture(scope="session")
def small_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic crawl of 300 planted documents."""
    return write_sample(tmp_path_factory.mktemp("sample") / "crawl", documents=300)


@pytest.fixture(scope="session")
def finished_run(small_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the whole job over it: local engine, one worker."""
    run = tmp_path_factory.mktemp("run") / "one"
    done = onnuri(*run_arguments(small_sample, run, "--workers", "1"))
    assert done.returncode == 0, done.stderr
    return run
