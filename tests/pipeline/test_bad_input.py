"""Wrong inputs on purpose: each gives one clear sentence (exit 2 or 1), or a quarantined row."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml

from tests.pipeline.runs import CONFIG, ROOT, leftovers, onnuri

WORDS = [
    "the",
    "committee",
    "met",
    "on",
    "a",
    "Tuesday",
    "to",
    "discuss",
    "what",
    "plan",
    "and",
    "whether",
    "work",
    "in",
    "the",
    "spring",
    "would",
    "begin",
    "with",
    "more",
    "of",
    "these",
    "old",
    "roofs",
]


def prose(number: int) -> str:
    """English-looking text, another one for every number."""
    dice = random.Random(number)
    return " ".join(" ".join(dice.choices(WORDS, k=12)).capitalize() + "." for _ in range(12))


def record(number: int, **fields: object) -> str:
    return json.dumps({"id": f"doc-{number}", "text": prose(number), **fields}, ensure_ascii=False)


@pytest.fixture
def config(tmp_path: Path):
    """Writes a configuration with these inputs that only ingests and refines."""

    def write(*inputs: str, **sections: object) -> Path:
        path = tmp_path / "run.yaml"
        moves = {"dedup": None, "classify": None, "decontaminate": None, "balance": None}
        path.write_text(yaml.safe_dump({"inputs": [{"path": item} for item in inputs], **moves, **sections}), encoding="utf-8")
        return path

    return write


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The error of a command: a single line that starts with the program's name, no traceback."""
    assert "Traceback" not in done.stderr + done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("onnuri: ")]
    assert len(lines) == 1 and done.stderr.strip().endswith(lines[0]), done.stderr
    return lines[0].removeprefix("onnuri: ")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("nowhere/*.jsonl", "/nowhere/*.jsonl'; check the path"),
        ("empty", "has no files in it"),
        ("mystery.bin", "can't tell the format"),
        ("numbers.parquet", "text"),
    ],
)
def test_wrong_paths_fail_at_once_and_before_any_engine(config, tmp_path, monkeypatch, path, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "mystery.bin").write_bytes(bytes(range(256)))
    pq.write_table(pa.table({"id": ["a"], "text": [1]}), tmp_path / "numbers.parquet")
    target = path if path.startswith("nowhere") else str(tmp_path / path)
    done = onnuri("run", config(target), "-o", tmp_path / "run", "--engine", "local" if path.startswith("numbers") else "ray")
    assert done.returncode == 2
    assert sentence in one_sentence(done)
    if not path.startswith("numbers"):
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "nowhere.yaml"], "no configuration file 'nowhere.yaml'"),
        (["run", str(CONFIG), "--set", "dedup.treshold=0.9"], "did you mean 'threshold'"),
        (["run", str(CONFIG), "-o", "README.md", "--set", "sample=", "--set", "vars.sample=configs"], ""),
        (["ingest", "README.md", "-o", "x"], "can't tell the format"),
        (["status", "nowhere"], "no run directory"),
        (["report", "configs"], "not a run directory"),
        (["inspect", "configs", "select 1"], "not a run directory"),
        (["dedup", "nowhere.jsonl", "-o", "x"], "no file matches"),
        (["dedup", "Makefile", "-o", "x"], "can't tell the format"),
        (["decontaminate", "nowhere.jsonl", "--benchmarks", "nowhere", "-o", "x"], "nowhere"),
        (["classify", "nowhere.jsonl", "--model", "nowhere", "-o", "x"], "not of the form"),
        (["classify", "train", "nowhere.jsonl", "-o", "x"], "no file matches"),
        (["balance", "plan", "nowhere.jsonl", "--mix", "nowhere.yaml"], "no configuration file"),
        (
            [
                "run",
                str(CONFIG),
                "--set",
                "classify.models.0.train.inputs=[nowhere.jsonl]",
                "--set",
                "sample=",
                "--set",
                "vars.sample=configs",
            ],
            "",
        ),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments, sentence):
    done = onnuri(*arguments)
    assert done.returncode == 2
    assert sentence in one_sentence(done)


def test_broken_records_are_quarantined_and_the_rest_goes_on(config, tmp_path):
    crawl = tmp_path / "crawl"
    crawl.mkdir()
    (crawl / "lines.jsonl").write_bytes(
        "\n".join(
            [record(0), "this is not JSON", '{"id": "no text"}', '{"text": 7}', "[1, 2]", record(1), record(1), json.dumps({"text": " "})]
        ).encode()
        + b'\n{"text": "\xff\xfe broken utf-8"}\n'
        + record(2).encode()
    )
    whole = gzip.compress("\n".join(record(number) for number in range(10, 200)).encode(), mtime=0)
    (crawl / "cut.jsonl.gz").write_bytes(whole[: len(whole) * 2 // 3])
    pq.write_table(pa.table({"id": ["p"], "text": [prose(1000)]}), crawl / "good.parquet")
    (crawl / "corrupt.parquet").write_bytes((crawl / "good.parquet").read_bytes()[:-20] + b"\x00" * 16 + b"PAR1")
    with open(crawl / "huge.jsonl", "wb") as stream:
        stream.write(b'{"text": "')
        for _ in range(200):
            stream.write(b"word " * 200_000)
        stream.write(b'"}\n' + record(3).encode() + b"\n")
    done = onnuri(
        "run", config(str(crawl), dedup={}, refine={"min_kept_share": 0, "preset": []}), "-o", tmp_path / "run", "--json", "--quiet"
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "run" / "ingest" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["peak_memory_bytes"] < 2 << 30
    quarantined = ds.dataset(tmp_path / "run" / "ingest" / "quarantine").to_table().to_pylist()
    by_file: dict[str, list[str]] = {}
    for row in quarantined:
        by_file.setdefault(row["file"], []).append(row["error"])
        assert row["error"] and "\n" not in row["error"] and len(row["error"]) < 600
    assert len(by_file["lines.jsonl"]) == 5
    assert len(by_file["cut.jsonl.gz"]) == 1 and len(by_file["corrupt.parquet"]) == 1 and len(by_file["huge.jsonl"]) == 1
    kept = ds.dataset(tmp_path / "run" / "ingest" / "kept").to_table(columns=["file", "source_id"]).to_pylist()
    files = [row["file"] for row in kept]
    assert files.count("lines.jsonl") == 4 and files.count("huge.jsonl") == 1 and files.count("good.parquet") == 1
    assert 50 < files.count("cut.jsonl.gz") < 190
    twice = ds.dataset(tmp_path / "run" / "dedup" / "quarantine").to_table().to_pylist()
    assert [row["source_id"] for row in twice] == ["doc-1"] and "duplicate id 'doc-1'" in twice[0]["error"]
    assert leftovers(tmp_path / "run") == []


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare, to mount a small disk")
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_space(config, tmp_path):
    crawl, disk = tmp_path / "crawl", tmp_path / "disk"
    crawl.mkdir()
    disk.mkdir()
    for number in range(4):
        lines = [json.dumps({"id": f"{number}-{line}", "text": os.urandom(40_000).hex()}) for line in range(20)]
        (crawl / f"part-{number}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    path = config(str(crawl), split_bytes=1_000_000, refine={"min_kept_share": 0})
    command = f"{sys.executable} -m pipeline run {path} -o {disk}/run --quiet"
    twice = f"{command}; echo code $?; mount -o remount,size=200m {disk} && {command}; echo code $?"
    script = f"mount -t tmpfs -o size=2m tmpfs {disk} && {{ {twice}; }}"
    done = subprocess.run(["unshare", "-m", "bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert "Traceback" not in done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 1", "code 0"], done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("onnuri: ")]
    assert len(sentences) == 1 and "No space left" in sentences[0] and "run again" in sentences[0]


def test_a_stray_file_is_quarantined_and_a_move_left_out_leaves_no_old_result(config, tmp_path):
    crawl = tmp_path / "crawl"
    crawl.mkdir()
    (crawl / "good.jsonl").write_text("\n".join(record(number) for number in range(20)), encoding="utf-8")
    (crawl / "stray.zip").write_bytes(b"PK\x03\x04 not for us")
    done = onnuri("run", config(str(crawl), dedup={}, refine={"preset": []}), "-o", tmp_path / "run", "--quiet")
    assert done.returncode == 0, done.stderr
    (stray,) = ds.dataset(tmp_path / "run" / "ingest" / "quarantine").to_table().to_pylist()
    assert stray["file"] == "stray.zip" and "format" in stray["error"]
    assert (tmp_path / "run" / "dedup").is_dir()
    done = onnuri("run", config(str(crawl), refine={"preset": []}), "-o", tmp_path / "run", "--quiet")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "run" / "dedup").exists()
    done = onnuri("inspect", tmp_path / "run", "select count(*) n, 'nan'::double x from documents", "--json")
    assert json.loads(done.stdout) == [{"n": 20, "x": None}]


def test_a_ray_cluster_that_is_not_there_is_one_sentence(config, tmp_path):
    (tmp_path / "x.jsonl").write_text(record(0), encoding="utf-8")
    done = onnuri("run", config(str(tmp_path / "x.jsonl")), "-o", tmp_path / "run", "--engine", "ray", "--address", "127.0.0.1:9")
    assert done.returncode == 2 and "no Ray cluster answers at '127.0.0.1:9'" in one_sentence(done)


def test_a_folder_that_is_not_a_run_is_not_touched(config, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "x.jsonl").write_text(record(0), encoding="utf-8")
    done = onnuri("run", config(str(tmp_path / "x.jsonl")), "-o", tmp_path / "mine")
    assert done.returncode == 2 and "is not a run directory" in one_sentence(done)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
