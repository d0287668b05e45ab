"""The report on dedup: kinds, sizes, similarities, hosts and cut passages as counted by hand, the curve of the run's configuration."""

from __future__ import annotations

import json
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedup.config import DedupConfig
from pipeline.dedup.curve import as_json, curve
from pipeline.report import build_report, charts, write_report
from pipeline.report.page import render_page
from pipeline.schema import BY_NAME
from pipeline.segment import write_json
from pipeline.shards import write_table
from tests.pipeline.fake_run import HOSTILE_TITLE

HOSTILE_HOST = "host\u202e<script>alert(3)</script>"
SIMILARITIES = [0.81, 0.8199, 0.86, 0.86, 0.92, 1.0]
MEMBERS = [
    # cluster, survivor, cluster_size, similarity, kind, indexed
    ("a", True, 4, 1.0, None, False),
    ("a", False, 4, 1.0, "exact", False),
    ("a", False, 4, 0.81, "near", False),
    ("a", False, 4, None, "url", False),
    ("b", True, 1500, 1.0, None, True),  # stands for 1498 documents of earlier crawls, of which the index alone knows
    ("b", False, 1500, 0.8199, "near", False),
    ("c", True, 5, 1.0, None, False),
    *(("c", False, 5, similarity, "near", False) for similarity in SIMILARITIES[2:]),
]


def passage(start: int, end: int, kind: str) -> dict[str, object]:
    return {"start": start, "end": end, "kind": kind, "document": "z", "copies": 3}


@pytest.fixture
def folder(tmp_path):
    """A finished segment `dedup`, written by hand."""
    columns = ("cluster", "survivor", "cluster_size", "similarity", "kind", "indexed")
    rows = [{"id": f"{index}{HOSTILE_TITLE}", **dict(zip(columns, row, strict=True))} for index, row in enumerate(MEMBERS)]
    dedup = tmp_path / "dedup"
    for kind in ("kept", "dropped"):
        (dedup / kind).mkdir(parents=True)
    write_table(dedup / "clusters.parquet", pa.Table.from_pylist(rows))
    passages = [[passage(0, 100, "paragraph"), passage(200, 500, "substring")], [], [passage(5, 6, "paragraph")]]
    kept = {
        "id": ["a", "c", "d"],
        "host": ["news.example.kr", HOSTILE_HOST, None],
        "title": [HOSTILE_TITLE, "c", "d"],
        "text_bytes": [1000, 2000, 3000],
        "cut_passages": pa.array(passages, BY_NAME["cut_passages"].type),
    }
    write_table(dedup / "kept" / "part-00000.parquet", pa.table(kept))
    dropped = {
        "id": [str(one) for one in range(5)],
        "host": [HOSTILE_HOST] * 3 + ["news.example.kr", None],
        "text_bytes": [10, 20, 30, 40, 50],
        "drop_stage": ["remove_duplicates"] * 5,
        "drop_reason": ["near_duplicate"] * 5,
    }
    write_table(dedup / "dropped" / "part-00000.parquet", pa.table(dropped))
    write_json(dedup / "manifest.json", {"segment": "dedup", "rows_in": 8, "kept": {"rows": 3, "bytes": 6000}})
    write_json(tmp_path / "run.json", {"moves": ["dedup"], "config": {"dedup": {"threshold": 0.8}}})
    return tmp_path


def test_clusters_are_counted_by_kind_size_and_similarity(folder):
    report = build_report(folder)
    found = report["duplicates"]
    assert report["gaps"] == []
    assert (found["clusters"], found["documents"], found["earlier"]) == (3, len(MEMBERS) - 1, 1)
    assert found["kinds"] == [{"kind": "near", "documents": 6}, {"kind": "exact", "documents": 1}, {"kind": "url", "documents": 1}]
    assert [(row["size"], row["clusters"], row["documents"]) for row in found["sizes"]] == [("3–5", 2, 9), ("over 1000", 1, 1)]
    assert [row["size"] for row in found["largest"]] == [1500, 5, 4]
    bins = Counter(min(int(one * 50 + 1e-9), 49) for one in SIMILARITIES)
    assert [round(one["from"] * 50) for one in found["similarities"]] == list(range(40, 50))
    assert {round(one["from"] * 50): one["documents"] for one in found["similarities"] if one["documents"]} == bins


def test_hosts_are_listed_by_what_they_lost(folder):
    first, second = build_report(folder)["duplicates"]["hosts"]
    assert (first["host"], first["documents"], first["dropped"], first["bytes"]) == ("host\\u202e<script>alert(3)</script>", 4, 3, 60)
    assert (second["host"], second["documents"], second["dropped"], second["bytes"]) == ("news.example.kr", 2, 1, 40)


def test_cut_passages_are_summed_by_kind_and_host(folder):
    passages = build_report(folder)["duplicates"]["passages"]
    assert (passages["passages"], passages["bytes"]) == (3, 401)
    assert passages["kinds"] == [
        {"kind": "substring", "passages": 1, "documents": 1, "bytes": 300},
        {"kind": "paragraph", "passages": 2, "documents": 2, "bytes": 101},
    ]
    assert passages["hosts"] == [{"host": "news.example.kr", "passages": 2, "documents": 1, "bytes": 400}]


def test_the_curve_is_that_of_the_configuration(folder):
    assert build_report(folder)["duplicates"]["curve"] == as_json(curve(DedupConfig(threshold=0.8)))
    (folder / "run.json").unlink()
    assert build_report(folder)["duplicates"]["curve"] is None
    manifest = json.loads((folder / "dedup" / "manifest.json").read_text())
    write_json(folder / "dedup" / "manifest.json", manifest | {"config": {"threshold": 0.6, "bands": 20, "rows": 4}})
    found = build_report(folder)["duplicates"]["curve"]
    assert (found["threshold"], found["setting"]["bands"], found["chosen"]) == (0.6, 20, False)


@pytest.mark.parametrize("settings", [{"near": False}, None, "off"])
def test_without_near_duplicates_there_is_no_curve(folder, settings):
    write_json(folder / "run.json", {"moves": ["dedup"], "config": {"dedup": settings}})
    report = build_report(folder)
    assert report["duplicates"]["curve"] is None and report["gaps"] == []
    assert "Probability that a pair is found" not in render_page(report)


@pytest.mark.parametrize("settings", [{"threshold": "<script>"}, {"permutations": 10**9}, {"unknown\u202e": 1}])
def test_a_configuration_that_is_none_is_a_gap(folder, settings):
    write_json(folder / "run.json", {"moves": ["dedup"], "config": {"dedup": settings}})
    report = build_report(folder)
    assert report["duplicates"]["curve"] is None
    assert [gap for gap in report["gaps"] if gap.startswith("the configuration of dedup can't be read") and "\u202e" not in gap]
    assert "<script>" not in render_page(report)


def test_the_page_shows_all_of_it_and_obeys_nothing(folder):
    page = write_report(folder)[1].read_text(encoding="utf-8")
    for expected in ("Similarity of near duplicates", "Probability that a pair is found", "Hosts with most duplicates", "Passages cut"):
        assert expected in page
    assert "17 bands of 7 slots" in page and "98.2 % of the pairs at the threshold of 0.8" in page
    assert "1 of the clusters have their survivor in an earlier crawl" in page
    assert "<script" not in page and "\u202e" not in page and "<a " not in page


def test_clusters_of_an_older_version_have_no_column_indexed(folder):
    path = folder / "dedup" / "clusters.parquet"
    import pyarrow.parquet as pq

    write_table(path, pq.read_table(path).drop_columns(["indexed"]))
    found = build_report(folder)["duplicates"]
    assert (found["documents"], found["earlier"]) == (len(MEMBERS), 0)


@given(st.lists(st.floats(0, 1e12), max_size=60), st.floats(0, 1))
def test_charts_are_well_formed_for_any_numbers(values, mark):
    drawn = ElementTree.fromstring(str(charts.columns(values, 'a<"b')))
    bars = list(drawn.iter("rect"))
    assert len(bars) == sum(value > 0 for value in values)
    assert all(0 < float(one.get("height")) <= 120 for one in bars)
    points = [(x, x * x) for x in np.linspace(0, 1, len(values)).tolist()]
    area = ElementTree.fromstring(str(charts.areas([("before", points), ("kept", points)], mark, "label")))
    for polygon in area.iter("polygon"):
        corners = [tuple(map(float, pair.split(","))) for pair in polygon.get("points").split()]
        assert len(corners) == len(points) + 2 and all(0 <= x <= 1000 and 0 <= y <= 120 for x, y in corners)
