"""The score of a run over the sample: an ideal run passes, and every kind of mistake is noticed and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.sample import render_score, score

SEGMENTS = ("ingest", "refine", "dedup", "classify", "decontaminate", "balance")
COLUMNS = ("id", "source_id", "file", "position", "url", "text", "lang", "domain", "drop_stage", "drop_reason", "error")
TYPES = {"position": pa.int64(), "text": pa.large_string()}


def truth(name: str, kind: str, **changes: object) -> dict:
    expected = changes.get("expected", "kept")
    base = {
        "name": name,
        "file": f"jsonl/{'a' if len(name) % 2 else 'b'}.jsonl",
        "position": None,
        "source_id": name,
        "url": f"https://ko.sample.example/{name}",
        "kind": kind,
        "expected": expected,
        "accept": [expected],
        "stages": [],
        "language": "ko",
        "domain": "Health",
        "group": None,
        "duplicate_of": None,
        "benchmark_item": None,
        "charset": "utf-8",
        "markers": [f"{name}의 첫 문장은 이렇게 끝난다."],
        "secrets": [],
        "cut": [],
    }
    return {**base, **changes}


def plan() -> list[dict]:
    """A few records of every kind; positions make the places unique."""
    dropped = {"expected": "dropped"}
    rows = [truth(f"clean-{number}", "clean") for number in range(40)]
    rows += [truth(f"miss-{number}", "near_miss") for number in range(2)]
    for number in range(3):
        group = f"first-{number}"
        rows.append(truth(group, "duplicated", group=group))
        rows.append(truth(f"copy-{number}", "exact_duplicate", group=group, duplicate_of=group, stages=["dedup"], **dropped))
        near = f"model-{number}"
        rows.append(truth(near, "near_duplicated", group=near))
        rows.append(truth(f"edited-{number}", "near_duplicate", group=near, duplicate_of=near, stages=["dedup"], **dropped))
    rows += [truth(f"leak-{number}", "leak_exact", benchmark_item="item", stages=["decontaminate"], **dropped) for number in range(3)]
    rows += [truth(f"spam-{number}", "spam", stages=["ingest", "refine"], **dropped) for number in range(3)]
    rows += [truth("notice-0", "notice", cut=["공유하기"])]
    rows += [truth("opted_out-0", "opted_out", expected="dropped", stages=["refine"])]
    rows += [truth("pii-0", "pii", secrets=["900101-1234567", "someone@example.com"])]
    rows += [truth(f"euc-{number}", "charset_header", charset="euc_kr", file="crawl/sample-00.warc.gz") for number in range(2)]
    rows += [truth("deep", "hostile_depth", accept=["kept", "dropped", "quarantined"], markers=[])]
    rows += [truth("broken", "broken_not_json", expected="quarantined", stages=["ingest"], source_id=None, url=None, charset=None)]
    rows += [truth("info", "archive_record", stages=["ingest"], source_id=None, url=None, charset=None, **dropped)]
    return [{**row, "position": 100 * number} for number, row in enumerate(rows)]


def ideal(truths: list[dict]) -> dict[str, dict]:
    """The record of each truth in a run without mistakes: its columns, its last `segment` ("corpus" if kept) and `fate`."""
    records = {}
    for row in truths:
        segment, fate = "corpus", "kept"
        if row["expected"] != "kept":
            segment = row["stages"][-1]
            fate = "dropped" if row["expected"] == "dropped" else "quarantine"
        records[row["name"]] = {
            "id": f"id-{row['name']}",
            "file": row["file"].split("/")[1],  # relative to its input, not to the sample folder
            "text": "앞말. " + "\n".join(row["markers"]),
            "lang": row["language"],
            "segment": segment,
            "fate": fate,
            **{name: row[name] for name in ("source_id", "position", "url", "domain")},
        }
    return records


def write_run(folder: Path, records: dict[str, dict], extra: list[tuple[str, dict]] = ()) -> Path:
    """A run folder in which each record passes the segments up to its own; `extra`: (folder, record) written besides."""
    shards: dict[str, list[dict]] = {"corpus/phase=general/lang=ko": []}
    for record in records.values():
        for segment in SEGMENTS:
            here = segment == record["segment"]
            fate = record["fate"] if here else "kept"
            reasons = {"drop_stage": "s", "drop_reason": "r"} if fate == "dropped" else {"error": "e"} if fate == "quarantine" else {}
            shards.setdefault(f"{segment}/{fate}", []).append({**record, **reasons})
            if here:
                break
        if record["segment"] == "corpus":
            shards["corpus/phase=general/lang=ko"].append(record)
    for place, record in extra:
        shards.setdefault(place, []).append(record)
    for place, rows in shards.items():
        path = folder / place / "part-0.parquet"
        path.parent.mkdir(parents=True)
        columns = {name: pa.array([row.get(name) for row in rows], TYPES.get(name, pa.string())) for name in COLUMNS}
        pq.write_table(pa.table(columns), path)
    return folder


@pytest.fixture
def sample(tmp_path) -> Path:
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "truth.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in plan()))
    return folder


def failed(result: dict) -> set[str]:
    return {check["name"] for check in result["checks"] if check["passed"] is False}


def test_an_ideal_run_passes_and_is_rendered(sample, tmp_path):
    result = score(write_run(tmp_path / "run", ideal(plan())), sample)
    assert result["passed"] and result["wrong"] == [] and not failed(result)
    assert {row["kind"]: row["right"] for row in result["kinds"]} == {row["kind"]: row["planted"] for row in result["kinds"]}
    assert orjson.loads(orjson.dumps(result)) == result
    text = render_score(result)
    assert text.endswith("PASSED") and "benchmark leaks dropped" in text and all(len(line) < 160 for line in text.split("\n"))


Change = Callable[[dict[str, dict]], None]


def _set(name: str, **changes: object) -> Change:
    return lambda records: records[name].update(changes)


def _set_all(*names: str, **changes: object) -> Change:
    return lambda records: [records[name].update(changes) for name in names]


def _remove(name: str) -> Change:
    return lambda records: records.pop(name)


@pytest.mark.parametrize(
    ("change", "check", "named"),
    [
        (_remove("clean-3"), "records lost", "clean-3"),
        (_set("clean-3", segment="none"), "records lost", "clean-3"),
        (_set("leak-1", segment="corpus", fate="kept"), "benchmark leaks dropped", "leak-1"),
        (_set("leak-1", segment="refine"), "benchmark leaks dropped", "leak-1"),
        (_set("first-1", segment="dedup", fate="dropped"), None, "first-1"),
        (_set("clean-5", segment="dedup", fate="dropped"), "removed by dedup that were copies", "clean-5"),
        (_set("copy-1", segment="corpus", fate="kept"), "exact copies removed", "copy-1"),
        (_set("edited-1", segment="corpus", fate="kept"), "near copies removed", "edited-1"),
        (_set("miss-1", segment="dedup", fate="dropped"), "near misses kept", "miss-1"),
        (_set("spam-1", segment="corpus", fate="kept"), "spam dropped", "spam-1"),
        (_set("spam-1", segment="dedup"), "spam dropped", "spam-1"),
        (_set("pii-0", text="pii-0의 첫 문장은 이렇게 끝난다. someone@example.com"), "personal data left in the corpus", None),
        (_set("notice-0", text="notice-0의 첫 문장은 이렇게 끝난다.\n공유하기"), "boilerplate lines left in the corpus", None),
        (_set("clean-2", text="900101-1234567 clean-2의 첫 문장은 이렇게 끝난다."), "personal data left in the corpus", None),
        (_set("euc-1", text="¾È³çÇÏ¼¼¿ä"), "legacy encodings read right", None),
        (_set("euc-1", segment="ingest", fate="quarantine"), "legacy encodings read right", "euc-1"),
        (_set_all("clean-2", "clean-3", text="다른 글이 되었다."), "kept texts whole", None),
        (_set_all("clean-2", "clean-3", lang="en"), "language right", None),
        (_set_all(*(f"clean-{number}" for number in range(8)), domain="Crime & Law"), "domain right", None),
        (_set("broken", segment="corpus", fate="kept"), "broken records quarantined", "broken"),
        (_set("info", segment="corpus", fate="kept"), "archive noise dropped", "info"),
        (_set("clean-7", segment="decontaminate", fate="dropped"), "dropped by decontaminate that were leaks", "clean-7"),
    ],
)
def test_each_mistake_is_noticed(sample, tmp_path, change, check, named):
    records = ideal(plan())
    change(records)
    result = score(write_run(tmp_path / "run", records), sample)
    if check:
        assert check in failed(result) and not result["passed"]
        assert "FAILED" in render_score(result)
    if named:
        assert named in {wrong["name"] for wrong in result["wrong"]} or check is None
    if check is None:  # both members of a pair gone: nothing of the text is left
        assert {"first-1", "copy-1"} <= {wrong["name"] for wrong in result["wrong"]}


def test_losing_many_clean_documents_fails(sample, tmp_path):
    records = ideal(plan())
    for number in range(4):
        records[f"clean-{number}"].update(segment="refine", fate="dropped")
    assert "clean documents kept" in failed(score(write_run(tmp_path / "run", records), sample))


def test_any_one_member_of_a_group_may_survive_and_balance_may_leave_documents_out(sample, tmp_path):
    records = ideal(plan())
    for original, copy in (("first-0", "copy-0"), ("model-0", "edited-0")):
        records[original].update(segment="dedup", fate="dropped")
        records[copy].update(segment="corpus", fate="kept")
    for name in ("clean-0", "first-1", "euc-0", "pii-0"):
        records[name].update(segment="balance", fate="dropped")
    records["deep"].update(segment="ingest", fate="quarantine")
    result = score(write_run(tmp_path / "run", records), sample)
    assert result["passed"] and result["wrong"] == []


def test_balance_does_not_excuse_what_should_have_been_dropped_before(sample, tmp_path):
    records = ideal(plan())
    records["leak-0"].update(segment="balance", fate="dropped")
    assert "benchmark leaks dropped" in failed(score(write_run(tmp_path / "run", records), sample))


def test_records_are_found_by_place_then_source_id_then_address(sample, tmp_path):
    records = ideal(plan())
    records["clean-0"].update(source_id=None, url=None)
    records["clean-1"].update(file="elsewhere.jsonl", position=7)
    records["clean-2"].update(file="elsewhere.jsonl", position=8, source_id=None)
    records["broken"].update(position=None)
    result = score(write_run(tmp_path / "run", records), sample)
    assert result["passed"] and not result["wrong"]
    records["clean-2"].update(url=None)
    assert "records lost" in failed(score(write_run(tmp_path / "run2", records), sample))


def test_strays_and_doubled_rows_are_noticed(sample, tmp_path):
    records = ideal(plan())
    stray = {"id": "id-stray", "text": "심지 않은 문서", "file": "x.jsonl", "position": 1}
    result = score(write_run(tmp_path / "run", records, [("corpus/phase=general/lang=ko", stray)]), sample)
    assert failed(result) == {"corpus documents that were never planted"}
    twice = records["clean-0"]
    result = score(write_run(tmp_path / "run2", records, [("refine/dropped", twice)]), sample)
    assert "records written twice by a segment" in failed(result)


def test_a_folder_of_fused_segments_counts_as_each(sample, tmp_path):
    run = write_run(tmp_path / "run", ideal(plan()))
    (run / "refine").rename(run / "normalize+refine")
    assert score(run, sample)["passed"]


def test_bad_folders_are_explained_in_one_sentence(sample, tmp_path):
    run = write_run(tmp_path / "run", ideal(plan()))
    with pytest.raises(UserError, match=r"truth\.jsonl does not exist"):
        score(run, tmp_path)
    with pytest.raises(UserError, match="no Parquet shard below corpus/phase="):
        score(sample, sample)
    bare = tmp_path / "bare"
    shards = bare / "corpus" / "phase=general"
    shards.mkdir(parents=True)
    pq.write_table(pa.table({"text": ["x"]}), shards / "part.parquet")
    with pytest.raises(UserError, match="no segment folder"):
        score(bare, sample)
    (bare / "ingest" / "kept").mkdir(parents=True)
    with pytest.raises(UserError, match="no column 'id'"):
        score(bare, sample)
    (run / "refine/kept/part-0.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        score(run, sample)
    (sample / "truth.jsonl").write_bytes(b'{"name": "x"\n')
    with pytest.raises(UserError, match="line 1 is not JSON"):
        score(run, sample)
