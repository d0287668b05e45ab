"""The report tells what a run did: numbers equal those counted from the shards, hostile text stays text, and missing parts are named."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import ClassVar
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.progress import Progress
from pipeline.refine.stages import Rules
from pipeline.report import build_report, charts, render_funnel, render_status, status, text, write_report
from pipeline.report.distributions import LABELS
from pipeline.report.page import render_page
from pipeline.rules import Rule
from pipeline.schema import BY_NAME, TRANSIENT, with_columns
from pipeline.segment import Segment, write_json
from pipeline.splits import Split
from tests.pipeline.fake_run import HOSTILE_LABEL, HOSTILE_SOURCE, HOSTILE_TITLE, MOVES, InlineEngine, make_run, tables_of


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("report") / 'it\'s a "run" [1] 온누리')


@pytest.fixture(scope="module")
def report(finished):
    return build_report(finished)


class Page(HTMLParser):
    """Collects the elements, attributes and text of a page, as a browser would see them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = set(), [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        if tag not in ("meta", "col", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()

    def handle_data(self, data):
        self.words.append(data)


def test_every_segment_conserves_its_documents(report):
    assert [one["segment"] for one in report["funnel"]] == list(MOVES)
    for one, following in zip(report["funnel"], [*report["funnel"][1:], None], strict=True):
        assert one["rows_in"] == one["kept"]["rows"] + one["dropped"]["rows"] + one["quarantined"]["rows"]
        assert one["dropped"]["rows"] == sum(entry["rows"] for entry in one["dropped"]["reasons"])
        assert following is None or following["rows_in"] == one["kept"]["rows"]
    assert report["funnel"][0]["quarantined"]["rows"] >= 2
    assert report["gaps"] == []


def test_languages_and_domains_equal_a_count_of_the_shards(finished, report):
    for column, segment in (("languages", "refine"), ("domains", "classify")):
        name = column.rstrip("s").replace("language", "lang")
        both = pa.concat_tables([tables_of(finished, kind, segment).select([name, "text_bytes"]) for kind in ("kept", "dropped")])
        counted = {row["values"]: row["counts"] for row in pc.value_counts(both.column(name)).to_pylist()}
        listed = report[column]["before"]["rows"]
        assert sorted(row["documents"] for row in listed) == sorted(counted.values())
        assert sum(row["bytes"] for row in listed) == pc.sum(both.column("text_bytes")).as_py()
    after = {row["label"]: row for row in report["languages"]["after"]["rows"]}
    balance = tables_of(finished, "kept", "balance")
    korean = balance.filter(pc.equal(balance.column("lang"), "ko"))
    epochs = pc.add(korean.column("epochs_general"), korean.column("epochs_domain"))
    assert after["ko"]["documents"] == len(korean)
    assert after["ko"]["tokens"] == pc.sum(pc.multiply(korean.column("tokens"), epochs)).as_py()
    assert report["headline"]["tokens"] == sum(row["tokens"] for row in after.values())


def test_mixture_shares_add_up_and_stand_beside_what_was_asked(report):
    general, domain = report["mixture"]["phases"]
    assert (general["phase"], domain["phase"]) == ("general", "domain")
    assert {row["label"]: row["asked"] for row in general["languages"]} == {"ko": 0.7, "en": 0.3}
    assert general["tokens_asked"] == 2_000_000 and domain["tokens_asked"] is None
    for phase in (general, domain):
        for key in ("languages", "domains"):
            assert sum(row["share"] for row in phase[key]) == pytest.approx(1)


def test_the_plan_is_told_with_its_bands_and_nothing_hostile_gets_out(finished, report):
    [plan] = report["mixture"]["plan"]
    [group], [band] = plan["groups"], plan["bands"]
    assert (plan["phase"], plan["tokens_got"], group["available"], group["asked"], group["available_share"]) == (
        "general",
        490,
        900,
        0.7,
        1.0,
    )
    assert (band["band"], band["available"], band["got"]) == ("90-100 %", 90, 80) and plan["long"]["available_documents"] == 3
    page = render_page(report)
    assert "What was there and what was taken" in page and "a &lt;b&gt;note&lt;/b&gt;" in page


def test_length_bins_hold_every_document_of_their_length(finished, report):
    both = pa.concat_tables([tables_of(finished, kind, "refine").select(["lang", "text_bytes"]) for kind in ("kept", "dropped")])
    kept = tables_of(finished, "kept", "balance").select(["lang", "text_bytes"])
    for language in report["lengths"]["languages"]:
        for side, table in (("before", both), ("after", kept)):
            sizes = table.filter(pc.equal(table.column("lang"), language["lang"])).column("text_bytes").to_pylist()
            for one in language["bins"]:
                assert one[side] == sum(2 ** one["log2"] <= size < 2 ** (one["log2"] + 1) for size in sizes)


def test_speed_is_bytes_over_the_time_in_the_receipts(finished, report):
    for one in report["speed"][:-1]:
        manifest = json.loads((finished / one["segment"] / "manifest.json").read_text())
        steps = [json.loads(path.read_text()) for path in (finished / one["segment"] / "steps").glob("*/receipts/*.json")]
        seconds = manifest["worker_seconds"] + sum(receipt["seconds"] for receipt in steps)
        assert one["worker_seconds"] == pytest.approx(seconds, abs=0.001)
        assert one["mb_per_worker_second"] == pytest.approx(manifest["bytes_in"] / 1e6 / one["worker_seconds"], rel=0.02)
    assert report["speed"][-1]["segment"] == "corpus"
    total = sum(one["worker_seconds"] for one in report["speed"])
    read = json.loads((finished / report["speed"][0]["segment"] / "manifest.json").read_text())["bytes_in"]
    assert report["headline"]["bytes_in"] == read > 0
    assert report["headline"]["mb_per_second_per_core"] == pytest.approx(read / 1e6 / total, rel=0.02)


def test_duplicates_and_contamination_are_summed_up(report):
    duplicates = report["duplicates"]
    assert (duplicates["clusters"], duplicates["documents"]) == (4, 14)
    assert sum(kind["documents"] for kind in duplicates["kinds"]) == 14 - 4
    assert sum(row["clusters"] for row in duplicates["sizes"]) == 4
    assert [row["size"] for row in duplicates["largest"]] == [7, 3, 2, 2]
    kmmlu = report["contamination"]["benchmarks"][0]
    assert (kmmlu["benchmark"], kmmlu["documents"], kmmlu["dropped"], kmmlu["items"], kmmlu["longest"]) == ("kmmlu", 4, 4, 4, 53)
    assert (kmmlu["masked"], kmmlu["tagged"], kmmlu["answered"]) == (0, 0, 0)
    assert report["contamination"]["documents"] == 5
    lengths = [(one["length"], one["documents"]) for one in report["contamination"]["by_length"]]
    assert lengths == [(24, 5), (30, 0), (50, 4), (100, 0)]
    assert "5 of at least 24, 0 of at least 30, 4 of at least 50" in render_page(report)
    clean = report["contamination"]["benchmarks"][-1]
    assert (kmmlu["items_total"], clean["benchmark"], clean["documents"], clean["items_total"]) == (30, "haerae", 0, 12)


def test_of_many_leaked_benchmarks_none_is_shown_as_clean(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    matches = pq.read_table(tmp_path / "run" / "decontaminate" / "matches.parquet")
    names = [f"b{number:03}" for number in range(LABELS + 2)]
    many = matches.take(pa.array([0] * len(names)))
    many = many.set_column(many.schema.get_field_index("benchmark"), "benchmark", pa.array(names))
    pq.write_table(many, tmp_path / "run" / "decontaminate" / "matches.parquet")
    path = tmp_path / "run" / "decontaminate" / "report.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "benchmarks": {name: {"items": 1} for name in names}}))
    shown = build_report(tmp_path / "run")["contamination"]["benchmarks"]
    assert {row["benchmark"]: row["documents"] for row in shown} == dict.fromkeys(names, 1)


def test_quarantine_examples_show_different_errors_first(finished, report):
    errors = tables_of(finished, "quarantine", "ingest").column("error").to_pylist()
    kinds = {re.sub("[0-9]+", "N", error[:300]) for error in errors}
    shown = [re.sub("[0-9]+", "N", one["error"][:60]) for one in report["quarantine"]["examples"]]
    assert report["quarantine"]["rows"] == len(errors)
    assert len(set(shown[: len(kinds)])) == len(kinds)


def test_page_has_no_scripts_and_reaches_for_nothing_outside(finished):
    json_path, html_path = write_report(finished)
    html = html_path.read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert page.tags.isdisjoint({"script", "img", "iframe", "object", "embed", "link", "base", "form", "a"})
    policy = [value for tag, name, value in page.attributes if tag == "meta" and value and "default-src" in value]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert not [one for one in page.attributes if one[1].startswith("on") or one[1] in ("src", "href", "srcset", "action", "style")]
    assert not re.search(r"@import|url\(", html)
    assert "http" not in re.sub(r"https?://(?:host\d+\.example|\*\*\*@)", "", html.replace("http_status", "").replace("http-equiv", ""))
    assert json.loads(json_path.read_text(encoding="utf-8"))["format"] == 1


def test_hostile_strings_are_shown_not_obeyed(finished, report):
    page = Page(render_page(report))
    words = "".join(page.words)
    assert HOSTILE_TITLE in words
    assert HOSTILE_SOURCE in words
    assert "\\u202egnp.exe\\x1b[31m" in words
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", words)
    assert max(len(word) for word in words.split()) < 400
    for document in (words, json.dumps(report, ensure_ascii=False)):
        assert "hunter2" not in document and "key:secret" not in document


def test_page_is_the_same_for_the_same_run(finished):
    assert render_page(build_report(finished)) == render_page(build_report(finished))


@pytest.mark.parametrize("until", MOVES)
def test_unfinished_runs_have_a_report_that_names_what_is_missing(tmp_path, until):
    run = make_run(tmp_path / "run", documents=30, splits=1, until=until, status="running")
    report = build_report(run)
    Page(render_page(report))
    missing = [move for move in MOVES if any(gap.startswith(f"{move}/ is missing") for gap in report["gaps"])]
    assert missing == list(MOVES[MOVES.index(until) + 1 :])
    assert render_funnel(run).count("%") >= 1
    assert [one["state"] for one in status(run)["segments"]].count("finished") == MOVES.index(until) + 1


def test_damaged_files_become_gaps(tmp_path):
    run = make_run(tmp_path / "run", documents=30)
    (run / "dedup" / "manifest.json").write_text('{"rows_in": ')
    (run / "run.json").write_text("[1, 2]")
    shard = next((run / "refine" / "dropped").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:100])
    (run / "classify" / "manifest.json").write_text(
        json.dumps({"segment": "classify", "steps": [None], "dropped": {"x": 3}, "stages": [], "kept": 7})
    )
    (run / "dedup" / "clusters.parquet").write_bytes(b"PAR1")
    (run / "ingest" / "receipts" / "part-00000.json").write_text('{"kept": null, "stages": {"a": 1}, "dropped": [1]}')
    report = build_report(run)
    Page(render_page(report))
    named = "\n".join(report["gaps"])
    for what in (
        "manifest.json in 'dedup'",
        "run.json in 'run' is not a JSON object",
        f"refine/dropped/{shard.name}",
        "dedup/clusters.parquet",
        "dedup has not finished",
    ):
        assert what in named
    assert report["funnel"][2]["rows_in"] > 0, "an unfinished segment is summed from its receipts"
    render_funnel(run)
    render_status(status(run))


def test_the_folder_of_one_stage_alone_has_a_report(tmp_path):
    run = make_run(tmp_path / "run", documents=30, until="dedup")
    alone = run / "dedup"
    manifest = json.loads((alone / "manifest.json").read_text())
    (alone / "manifest.json").write_text(json.dumps(manifest | {"segment": ""}))
    report = build_report(alone)
    assert [one["segment"] for one in report["funnel"]] == ["dedup"]
    assert report["duplicates"]["clusters"] == 4
    assert report["gaps"] == []
    Page(render_page(report))
    (alone / "clusters.parquet").unlink()
    assert build_report(alone)["funnel"][0]["segment"] == "stage"


def test_what_is_no_run_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"there is no run at '.*nowhere'"):
        build_report(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"is not a run: it has no run\.json"):
        status(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="there is no run at"):
        render_funnel(tmp_path / "notes.txt")


def test_status_of_a_run_in_progress_and_of_a_failed_one(tmp_path):
    run = make_run(tmp_path / "run", documents=30, splits=3, until="dedup", status="running")
    (run / "dedup" / "manifest.json").unlink()
    (run / "dedup" / "receipts" / "part-00002.json").unlink()
    facts = status(run)
    dedup = facts["segments"][2]
    assert (facts["status"], dedup["state"], dedup["splits_done"], dedup["splits"]) == ("running", "running", 2, 3)
    assert dedup["steps"] == ["link"]
    assert "2/3 splits" in render_status(facts) and "steps begun: link" in render_status(facts)
    (run / "dedup" / "failed").mkdir()
    (run / "dedup" / "failed" / "part-00002.txt").write_text("split part-00002: the disk is full\x1b[2J; free space\n\nTraceback ...")
    facts = status(run)
    assert facts["segments"][2]["state"] == "failed"
    assert facts["segments"][2]["failures"] == ["split part-00002: the disk is full\\x1b[2J; free space"]
    assert facts["segments"][3]["state"] == "waiting"
    assert "Traceback" not in render_status(facts)


def test_a_second_run_into_the_folder_counts_only_what_it_has_come_past(tmp_path):
    run = make_run(tmp_path / "run", documents=30, splits=1, status="running")
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))}))
    os.utime(run / "ingest" / "manifest.json", (time.time() + 7200,) * 2)
    assert [one["state"] for one in status(run)["segments"]] == ["finished", "running", *["waiting"] * 4]


def test_the_asked_mixture_comes_from_the_corpus_manifest_when_there_is_no_configuration(tmp_path):
    run = make_run(tmp_path / "run", documents=30, splits=1)
    (run / "run.json").unlink()
    asked = {
        "phases": {"general": {"tokens_asked": 9, "languages": {"ko": {"share_asked": 0.6, "domains": {"law": {"share_asked": None}}}}}}
    }
    (run / "corpus" / "manifest.json").write_text(json.dumps(asked))
    general = build_report(run)["mixture"]["phases"][0]
    assert general["tokens_asked"] == 9
    assert {row["label"]: row["asked"] for row in general["languages"]} == {"ko": 0.6, "en": None}
    assert {row["asked"] for row in general["domains"]} == {None}


def test_funnel_lists_every_segment_with_its_top_reasons(finished, report):
    lines = render_funnel(finished).splitlines()
    for one in report["funnel"]:
        line = next(line for line in lines if line.startswith(one["segment"] + " "))
        assert [f"{number:,}" in line.split() for number in (one["rows_in"], one["kept"]["rows"], one["dropped"]["rows"])] == [True] * 3
    assert "rules: words<50" in "\n".join(lines)
    assert not any("\x1b" in line or "\u202e" in line for line in lines)


@given(st.lists(st.floats(0, 1e15), max_size=6), st.floats(0, 1e15))
def test_charts_are_well_formed_for_any_numbers(values, whole):
    parts = [charts.Share(value, "kept", f"<&\"' {value}") for value in values]
    drawn = [charts.stacked_bar(parts, whole), charts.histogram([(value, whole) for value in values], "a<b"), charts.link(whole, 0.5)]
    drawn.append(charts.compared_bars(min(whole, 1.0), None, 0.3))
    for svg in drawn:
        root = ElementTree.fromstring(str(svg))
        for rectangle in root.iter("rect"):
            assert float(rectangle.get("width")) >= 0 and float(rectangle.get("height")) >= 0


def test_bars_are_in_proportion():
    root = ElementTree.fromstring(str(charts.stacked_bar([charts.Share(30, "kept", "a"), charts.Share(10, "dropped", "b")], 100)))
    assert [float(one.get("width")) for one in root.iter("rect")] == [300, 100]
    assert [float(one.get("x")) for one in root.iter("rect")] == [0, 300]


@given(st.text(max_size=300), st.integers(2, 50))
def test_visible_text_is_short_and_has_no_controls(value, limit):
    shown = text.visible(value, limit)
    assert len(shown) <= limit
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    shown.encode()
    if len(value) <= limit and value.isalnum():
        assert shown == value


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ((text.size, 999), "999 B"),
        ((text.size, 999_999), "1.00 MB"),
        ((text.size, 12_345_678), "12.3 MB"),
        ((text.short_count, 9_999), "9,999"),
        ((text.short_count, 1_234_567_890), "1.23 B"),
        ((text.share, 1, 3), "33.3 %"),
        ((text.share, 0, 3), "0 %"),
        ((text.share, 1, 0), "–"),
        ((text.share, 1, 10**7), "<0.1 %"),
        ((text.duration, 3725), "1 h 02 min"),
        ((text.duration, 59.7), "1 min 00 s"),
        ((text.duration, 0.0), "0.00 s"),
        ((text.rate, None), "–"),
    ],
)
def test_numbers_read_well(call, expected):
    function, *values = call
    assert function(*values) == expected


@dataclass(frozen=True)
class Refined:
    """Rows with the columns that refine and ingest write, to be decided by real rules."""

    version: ClassVar[str] = "1"

    def __call__(self, split):
        n = 60
        row = np.arange(n)
        cut = [[{"line": 3, "reason": "notice", "text": HOSTILE_TITLE}] if one % 4 == 0 else [] for one in row]
        columns = {
            "source": ["web"] * n,
            "text": ["본문"] * n,
            "text_bytes": [6] * n,
            "lang": np.where(row % 2 == 0, "ko", "en"),
            "charset": np.where(row < 40, "cp949", "utf-8"),
            "charset_source": ["meta"] * n,
            "replacement_ratio": np.where(row == 7, 0.001, 0.0),
            "license": [HOSTILE_LABEL if one == 5 else None for one in row],
            "words": row,
            "spam_words": np.where(row >= 50, 9, 0),
            "pii_email": np.where(row == 55, 3, 0),
            "cut_lines": pa.array(cut, BY_NAME["cut_lines"].type),
        }
        yield with_columns(pa.table({"id": [str(one) for one in row]}), columns)


def test_what_refine_found_equals_a_count_by_hand(tmp_path):
    rules = (Rule("words", ">=", 20, ("ko",)), Rule("words", ">=", 10, ("en",)), Rule("spam_words", "<=", 3))
    available = frozenset(BY_NAME) - TRANSIENT - {"drop_stage", "drop_reason", "error", "excerpt"}
    write_json(tmp_path / "run.json", {"status": "finished"})
    splits = [Split("part-00000", ())]
    for name, stages in (("ingest", ()), ("refine", (Rules(rules),))):
        Segment(tmp_path, name, InlineEngine(), Progress(quiet=True), 0.0).rows(splits, Refined(), stages, available)
    report = build_report(tmp_path)
    assert report["gaps"] == [] or all("rule" not in gap for gap in report["gaps"])
    assert [(one["rule"], one["languages"], one["broken"], one["decided"], one["alone"]) for one in report["rules"]] == [
        ("words<20", ["ko"], 10, 10, 10),
        ("words<10", ["en"], 5, 5, 5),
        ("spam_words>3", [], 10, 10, 10),
    ]
    assert [(one["charset"], one["documents"], one["damaged"]) for one in report["pages"]["charsets"]] == [
        ("cp949", 40, 1),
        ("utf-8", 20, 0),
    ]
    assert [one["documents"] for one in report["pages"]["licenses"]] == [1] and report["pages"]["directives"] == []
    assert report["personal"] == []  # the only document with an address was dropped
    kept = [one for one in range(60) if one < 50 and one >= (20 if one % 2 == 0 else 10)]
    assert report["cut_lines"]["lines"] == sum(one % 4 == 0 for one in kept)
    words = " ".join(Page(render_page(report)).words)
    assert "What each rule did" in words and "spam_words>3" in words and "cp949" in words
    assert "<script>" not in render_page(report) and HOSTILE_TITLE[:20] in words
