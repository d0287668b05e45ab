"""Every move as a command of its own, on the platform's shards and on a user's own JSONL and Parquet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import yaml

from tests.pipeline.runs import ROOT, onnuri


def rows(out: Path, kind: str, *columns: str) -> list[dict[str, object]]:
    folder = out / kind
    if not folder.is_dir() or not any(folder.iterdir()):
        return []
    return ds.dataset(folder).to_table(columns=list(columns) or None).to_pylist()


def accounted(out: Path, expected: int) -> None:
    """kept + dropped + quarantined is what came in, and the output has the form that all stage commands share."""
    assert sum(len(rows(out, kind)) for kind in ("kept", "dropped", "quarantine")) == expected
    assert (out / "manifest.json").exists() and any((out / "receipts").iterdir())


def test_ingest_then_refine_by_hand_is_what_the_run_does(small_sample, finished_run, tmp_path):
    source = small_sample / "parquet"
    done = onnuri("ingest", source, "-o", tmp_path / "i", "--workers", 1, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    accounted(tmp_path / "i", manifest["rows_in"])
    done = onnuri("refine", tmp_path / "i" / "kept", "-o", tmp_path / "r", "--workers", 1, "--quiet")
    assert done.returncode == 0 and "refine" in done.stdout, done.stderr
    accounted(tmp_path / "r", len(rows(tmp_path / "i", "kept")))
    ours = {row["source_id"]: row["text"] for row in rows(tmp_path / "r", "kept", "source_id", "text")}
    run = {
        row["source_id"]: row["text"]
        for row in rows(finished_run / "refine", "kept", "source_id", "text", "source")
        if row["source"] == "parquet"
    }
    assert ours == run and len(ours) > 20


def test_rules_only_decides_again_without_text(finished_run, tmp_path):
    refined = finished_run / "refine"
    before = {row["id"]: row["drop_reason"] for row in rows(refined, "dropped", "id", "drop_reason")}
    everything = len(before) + len(rows(refined, "kept", "id"))
    again = ("refine", refined / "kept", refined / "dropped", "--rules-only", "--workers", 1, "--quiet")
    done = onnuri(*again, "-o", tmp_path / "same")
    assert done.returncode == 0, done.stderr
    assert {row["id"]: row["drop_reason"] for row in rows(tmp_path / "same", "dropped", "id", "drop_reason")} == before
    assert not {"text", "meta", "cut_lines"} & set(pq.read_schema(next((tmp_path / "same" / "kept").iterdir())).names)
    done = onnuri(*again, "-o", tmp_path / "none", "--set", "preset=[]", "--set", "languages=[]", "--set", "min_language_score=0")
    assert done.returncode == 0, done.stderr
    left = {row["id"]: row["drop_stage"] for row in rows(tmp_path / "none", "dropped", "id", "drop_stage")}
    expected = {row["id"]: row["drop_stage"] for row in rows(refined, "dropped", "id", "drop_stage")}
    assert left == {key: stage for key, stage in expected.items() if stage not in ("language", "rules")}
    accounted(tmp_path / "none", everything)
    textless = tmp_path / "same" / "kept"
    done = onnuri("refine", textless, "--rules-only", "-o", tmp_path / "twice", "--quiet", "--workers", 1)
    assert done.returncode == 0 and not rows(tmp_path / "twice", "dropped"), done.stderr
    done = onnuri("refine", textless, "-o", tmp_path / "text")
    assert done.returncode == 2 and "has no texts" in done.stderr
    done = onnuri(*again, "-o", tmp_path / "kiwi", "--preset", "fineweb2-ko")
    assert done.returncode == 2 and "lack signals" in done.stderr and "morphemes" in done.stderr
    own = tmp_path / "own.jsonl"
    own.write_text('{"id": "1", "text": "words"}\n', encoding="utf-8")
    done = onnuri("refine", own, "--rules-only", "-o", tmp_path / "own")
    assert done.returncode == 2 and "own.jsonl" in done.stderr


def test_dedup_keeps_the_users_ids_and_quarantines_repeated_ones(tmp_path):
    text = "one line of text that is long enough to be compared with others, number {} of them, and then some more"
    records = [{"key": f"k{number}", "body": text.format(number) * 3} for number in range(5)]
    records += [{"key": "k5", "body": records[0]["body"]}, {"key": "k1", "body": "the same key again, but another text altogether"}]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    done = onnuri("dedup", path, "-o", tmp_path / "out", "--text-column", "body", "--id-column", "key", "--threshold", 0.95, "--quiet")
    assert done.returncode == 0, done.stderr
    accounted(tmp_path / "out", 7)
    assert {row["id"] for row in rows(tmp_path / "out", "kept")} | {"k0", "k5"} == {"k0", "k1", "k2", "k3", "k4", "k5"}
    assert [row["drop_reason"] for row in rows(tmp_path / "out", "dropped")] == ["exact_duplicate"]
    assert [row["id"] for row in rows(tmp_path / "out", "quarantine")] == ["k1"]
    clusters = pq.read_table(tmp_path / "out" / "clusters.parquet").to_pylist()
    assert sorted(row["id"] for row in clusters) == ["k0", "k5"]


def test_train_classify_decontaminate_and_balance_one_after_the_other(small_sample, finished_run, tmp_path):
    model = tmp_path / "domain.bin"
    done = onnuri("classify", "train", small_sample / "labelled" / "domain.jsonl", "-o", model, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["held_out"] and model.with_suffix(".json").exists()
    shards = finished_run / "dedup" / "kept"
    done = onnuri("classify", shards, "--model", f"domain={model}", "-o", tmp_path / "c", "--quiet")
    assert done.returncode == 0, done.stderr
    accounted(tmp_path / "c", len(rows(finished_run / "dedup", "kept", "id")))
    done = onnuri("decontaminate", tmp_path / "c" / "kept", "--benchmarks", small_sample / "benchmarks", "-o", tmp_path / "d", "--quiet")
    assert done.returncode == 0, done.stderr
    dropped = {row["id"] for row in rows(tmp_path / "d", "dropped", "id")}
    assert dropped and dropped == {row["id"] for row in rows(finished_run / "decontaminate", "dropped", "id")}
    assert {row["id"] for row in pq.read_table(tmp_path / "d" / "matches.parquet").to_pylist()} >= dropped
    mix = tmp_path / "mix.yaml"
    mix.write_text(yaml.safe_dump({"phases": {"general": {"languages": {"ko": 0.5, "en": 0.5}, "tokens": 20_000}}}), encoding="utf-8")
    done = onnuri("balance", "plan", tmp_path / "d" / "kept", "--mix", mix)
    assert done.returncode == 0 and "general" in done.stdout, done.stderr
    done = onnuri("balance", tmp_path / "d" / "kept", "--mix", mix, "-o", tmp_path / "b", "--quiet")
    assert done.returncode == 0, done.stderr
    accounted(tmp_path / "b", len(rows(tmp_path / "d", "kept", "id")))
    corpus = ds.dataset(tmp_path / "b" / "corpus", partitioning="hive", exclude_invalid_files=True).to_table(columns=["lang", "tokens"])
    tokens: dict[str, int] = {}
    for row in corpus.to_pylist():
        tokens[row["lang"]] = tokens.get(row["lang"], 0) + row["tokens"]
    assert sum(tokens.values()) <= 20_000 and abs(tokens["ko"] - tokens["en"]) < 2_000


def test_a_users_own_languages_and_domains_are_understood(tmp_path):
    path, mix = tmp_path / "mine.jsonl", tmp_path / "mix.yaml"
    records = [{"id": f"r{n}", "text": f"text {n}", "lang": ("ko", "en")[n % 2], "domain": "law", "quality": n / 100} for n in range(60)]
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    mix.write_text(yaml.safe_dump({"phases": {"general": {"domains": {"law": 1.0, "other": 0.0}}}}), encoding="utf-8")
    done = onnuri("balance", path, "--mix", mix, "-o", tmp_path / "b", "--quiet")
    assert done.returncode == 0, done.stderr
    accounted(tmp_path / "b", 60)
    assert {row["domain"] for row in rows(tmp_path / "b", "kept", "domain", "lang")} == {"law"}
    assert len(rows(tmp_path / "b", "kept")) >= 58


def test_dropped_documents_can_be_looked_at_again_and_no_command_destroys_its_input(finished_run, tmp_path):
    dropped = finished_run / "dedup" / "dropped"
    done = onnuri("refine", dropped, "-o", tmp_path / "again", "--quiet")
    assert done.returncode == 0, done.stderr
    accounted(tmp_path / "again", len(rows(finished_run / "dedup", "dropped", "id")))
    assert len(rows(tmp_path / "again", "kept", "id")) > 0
    before = sorted((tmp_path / "again" / "kept").iterdir())
    for out, reason in (("again", "lies in the output folder"), ("other", "holds the result of refine")):
        if out == "other":
            (tmp_path / "again").rename(tmp_path / "other")
            before = sorted((tmp_path / "other" / "kept").iterdir())
        done = onnuri("dedup", tmp_path / "again" / "kept" if out == "again" else dropped, "-o", tmp_path / out)
        assert done.returncode == 2 and reason in done.stderr
    assert before and sorted((tmp_path / "other" / "kept").iterdir()) == before
    done = onnuri("dedup", dropped, "-o", finished_run)
    assert done.returncode == 2 and "lies in the output folder" in done.stderr


def test_python_dash_m_pipeline_stage_is_the_same_command(tmp_path):
    pq.write_table(pa.table({"id": ["a"], "text": ["x y z"]}), tmp_path / "t.parquet")
    for move in ("ingest", "refine", "dedup", "classify", "decontaminate", "balance"):
        shown = subprocess.run([sys.executable, "-m", f"pipeline.{move}", "-h"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert f"onnuri {move}" in shown.stdout
    command = [sys.executable, "-m", "pipeline.dedup", str(tmp_path / "t.parquet"), "-o", str(tmp_path / "out"), "--quiet"]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    accounted(tmp_path / "out", 1)
