"""The best share of each language: exact, the same in any order, scored once; and what is refused."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.classify.config import ClassifyConfig
from pipeline.classify.keep_top import KeepTop, StoredScores, document_keys, find_limits, keep_top_of, quality_ranks
from pipeline.classify.move import run
from pipeline.classify.train import train_model
from pipeline.engine import LocalEngine
from pipeline.errors import RunFailed, UserError
from pipeline.progress import Progress
from pipeline.schema import arrow_schema
from pipeline.segment import Segment
from pipeline.shards import file_facts
from pipeline.splits import DOCUMENTS, Part, Split
from tests.pipeline.classify.labelled_scene import rows, small, write_rows

QUALITIES = st.sampled_from([0.0, 0.25, 0.25 + 2**-40, 0.5, 1.0]) | st.floats(0, 1) | st.none()
DOCUMENTS_OF = st.lists(st.tuples(st.sampled_from(["ko", "en", "und"]), QUALITIES), max_size=40)
SHARES = st.dictionaries(st.sampled_from(["ko", "en", "*", "ja"]), st.floats(0, 1), min_size=1)


def scored(documents: list[tuple[str, float | None]], ids: list[str] | None = None) -> pa.Table:
    languages, qualities = [language for language, _ in documents], [quality for _, quality in documents]
    table = pa.table(
        {
            "id": ids or [f"d{number}" for number in range(len(documents))],
            "lang": languages,
            "text": [f"text {number}" for number in range(len(documents))],
            "quality": qualities,
        },
        arrow_schema(["id", "lang", "text", "quality"]),
    )
    ranks = pa.array(
        quality_ranks(table["quality"], document_keys(table)), mask=np.array([quality is None for quality in qualities], np.bool_)
    )
    return table.append_column("language", table["lang"]).append_column("rank", ranks)


def kept_ids(table: pa.Table, stage: KeepTop) -> set[str]:
    result = stage(table)
    reasons = result["drop_reason"].to_pylist() if "drop_reason" in result.column_names else [None] * len(table)
    for language, reason in zip(table["lang"].to_pylist(), reasons, strict=True):
        assert reason in (None, f"low_quality_percentile:{language}")
    return {identity for identity, reason in zip(table["id"].to_pylist(), reasons, strict=True) if reason is None}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=DOCUMENTS_OF, shares=SHARES, parts=st.integers(1, 3))
def test_the_best_share_stays_and_ties_are_cut_by_document(
    tmp_path: Path, documents: list[Any], shares: dict[str, float], parts: int
) -> None:
    table = scored(documents)
    paths = []
    for part in range(parts):
        paths.append(str(tmp_path / f"{part}.parquet"))
        pq.write_table(table.take(pa.array(range(part, len(table), parts), pa.int64())), paths[-1])
    facts = find_limits(tuple(paths), shares)
    assert facts == find_limits(tuple(reversed(paths)), shares)
    kept = kept_ids(table, keep_top_of(facts))
    for language in {language for language, _ in documents}:
        own = [row for row in table.to_pylist() if row["lang"] == language and row["quality"] is not None]
        share = shares.get(language, shares.get("*"))
        count = len(own) if share is None else int(share * len(own) + 0.5)
        best = sorted(own, key=lambda row: row["rank"], reverse=True)[:count]
        unscored = {row["id"] for row in table.to_pylist() if row["lang"] == language and row["quality"] is None}
        assert kept & {row["id"] for row in table.to_pylist() if row["lang"] == language} == {row["id"] for row in best} | unscored
        worst = min((row["quality"] for row in best), default=1.0)
        assert all(row["id"] in kept for row in own if row["quality"] > worst + 2**-32)
        if language in facts:
            assert facts[language]["kept"] == count and facts[language]["scored"] == len(own)
    assert set(shares) - {"*"} <= set(facts)


@given(DOCUMENTS_OF, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_the_smaller_one(documents: list[Any], one: float, other: float) -> None:
    table = scored(documents)
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        pq.write_table(table, file.name)
        less, more = (kept_ids(table, keep_top_of(find_limits((file.name,), {"*": share}))) for share in sorted((one, other)))
    assert less <= more


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_repeated_ids_do_not_change_how_many_stay(tmp_path: Path, share: float) -> None:
    table = scored([("ko", 0.5)] * 50, [f"d{number % 3}" for number in range(50)])
    pq.write_table(table, tmp_path / "s.parquet")
    facts = find_limits((str(tmp_path / "s.parquet"),), {"*": share})
    result = keep_top_of(facts)(table)
    assert facts["ko"]["kept"] == result["drop_reason"].null_count == 50 * share


def test_scores_of_other_documents_name_the_folder_to_remove(tmp_path: Path) -> None:
    table = scored([("ko", 0.5)] * 2)
    stored = pa.table({"document": pa.array([1, 2], pa.uint64())})
    pq.write_table(stored, tmp_path / "a.parquet")
    with pytest.raises(RunFailed, match=f"are of other documents; remove the folder '{tmp_path}' and run again"):
        StoredScores(str(tmp_path / "a.parquet"), "x")(table)


@pytest.fixture(scope="module")
def quality_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    train_model(small([write_rows(folder / "rows.jsonl", rows(200))], positive_label="science"), folder / "quality.bin")
    return folder / "quality.bin"


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    engine = LocalEngine(1)
    yield engine
    engine.close()


def split_of(path: Path, table: pa.Table) -> Split:
    pq.write_table(table, path)
    facts = file_facts(path)
    return Split(path.stem, (Part(str(path), path.name, DOCUMENTS, "", facts["xxh3"], facts["bytes"]),))


def config_of(model: Path, shares: dict[str, float] | None) -> ClassifyConfig:
    return ClassifyConfig.model_validate(
        {"models": [{"name": "quality", "path": str(model), "top": 1}], "keep_top": shares, "min_kept_share": 0}
    )


def test_other_shares_score_nothing_again(quality_model: Path, tmp_path: Path, engine: LocalEngine) -> None:
    records = rows(60, seed=4)
    texts = [record["text"] for record in records]
    texts[3], texts[4] = "", texts[5]
    table = pa.table(
        {"id": [record["id"] for record in records], "lang": [record["lang"] for record in records], "text": texts},
        schema=arrow_schema(["id", "lang", "text"]),
    )
    splits = [split_of(tmp_path / "a.parquet", table.slice(0, 25)), split_of(tmp_path / "b.parquet", table.slice(25))]
    available = frozenset({"id", "lang", "text"})

    def done(folder: str, shares: dict[str, float] | None, given: list[Split]) -> tuple[pa.Table, pa.Table, Segment]:
        segment = Segment(tmp_path / folder, "classify", engine, Progress(quiet=True), 0.0)
        kept = run(segment, given, config_of(quality_model, shares), available)
        dropped = sorted((segment.directory / "dropped").glob("*.parquet"))
        tables = [[pq.read_table(path) for path in paths] for paths in ([split.parts[0].path for split in kept], dropped)]
        return pa.concat_tables(tables[0]), pa.concat_tables([tables[0][0].slice(0, 0), *tables[1]], promote_options="default"), segment

    plain, _, _ = done("plain", None, splits)
    kept, dropped, segment = done("run", {"ko": 0.5, "*": 0.2}, splits)
    receipts = {path: path.read_bytes() for path in (segment.step_folder("score") / "receipts").glob("*.json")}
    facts = json.loads((segment.step_folder("thresholds") / "thresholds.json").read_text())
    assert len(receipts) == 2 and {language: fact["kept"] for language, fact in facts.items()} == {"ko": 15, "en": 6}
    [receipt] = (segment.step_folder("thresholds") / "receipts").glob("*.json")
    assert json.loads(receipt.read_text())["languages"]["ko"]["kept"] == facts["ko"]["kept"]
    assert set(dropped["drop_reason"].to_pylist()) == {"low_quality_percentile:ko", "low_quality_percentile:en"}
    assert set(dropped["drop_stage"].to_pylist()) == {"keep_top"} and len(kept) + len(dropped) == 60
    for language in ("ko", "en"):
        lowest = min(row["quality"] for row in kept.to_pylist() if row["lang"] == language and row["quality"] is not None)
        assert all(row["quality"] <= lowest for row in dropped.to_pylist() if row["lang"] == language)
        assert facts[language]["quality"] <= lowest < facts[language]["quality"] + 2**-31
    assert [row["id"] for row in kept.to_pylist() if row["quality"] is None] == ["d3"]
    by_id = {row["id"]: row for row in plain.to_pylist()}
    assert all(row == by_id[row["id"]] for row in kept.to_pylist())
    again, _, _ = done("run", {"ko": 1.0, "en": 0.0, "ja": 0.5}, splits)
    assert {path: path.read_bytes() for path in receipts} == receipts
    assert [row["id"] for row in again.to_pylist() if row["lang"] == "en"] == ["d3"] and again["lang"].to_pylist().count("ko") == 30
    other, _, _ = done("other order", {"ko": 0.5, "*": 0.2}, splits[::-1])
    assert other.equals(kept)


def test_a_record_that_can_not_be_scored_is_quarantined(quality_model: Path, tmp_path: Path, engine: LocalEngine) -> None:
    texts = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), 2, [None, pa.py_buffer(np.array([0, 5, 12], np.int64)), pa.py_buffer(b"atom \xff\xfe cell")]
    ).cast(pa.large_binary())
    text = pa.Array.from_buffers(pa.large_string(), 2, texts.buffers())
    split = split_of(tmp_path / "a.parquet", pa.table({"id": ["good", "bad"], "text": text}))
    segment = Segment(tmp_path / "run", "classify", engine, Progress(quiet=True), 0.0)
    kept = run(segment, [split], config_of(quality_model, {"*": 1.0}), frozenset({"id", "text"}))
    assert pq.read_table(kept[0].parts[0].path)["id"].to_pylist() == ["good"]
    [quarantined] = pq.read_table(segment.directory / "quarantine" / "a.parquet").to_pylist()
    assert quarantined["id"] == "bad" and "can't process this record" in quarantined["error"]


@pytest.mark.parametrize(
    ("settings_", "sentence"),
    [
        ({"models": [{"name": "domain", "path": "m.bin"}], "keep_top": {"ko": 0.5}}, "keep_top needs a quality model"),
        ({"models": [{"name": "quality", "path": "m.bin"}], "keep_top": {"ko": 1.5}}, "keep_top.ko is 1.5; give a share from 0"),
        ({"models": [{"name": "quality", "path": "m.bin"}], "keep_top": {"ko": -0.1}}, "keep_top.ko is -0.1"),
        (
            {"models": [{"name": "quality", "path": "m.bin"}], "keep_top": {"ko": float("nan")}},
            "keep_top.ko\n  Input should be a finite number",
        ),
        ({"models": [{"name": "quality", "path": "m.bin"}], "keep_top": {}}, "keep_top names no language"),
    ],
)
def test_bad_shares_are_refused(settings_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        ClassifyConfig.model_validate(settings_)


def test_languages_need_a_column(quality_model: Path, tmp_path: Path, engine: LocalEngine) -> None:
    segment = Segment(tmp_path / "run", "classify", engine, Progress(quiet=True), 0.0)
    with pytest.raises(UserError, match="keep_top names ko but the documents have no column lang"):
        run(segment, [], config_of(quality_model, {"ko": 0.5}), frozenset({"id", "text"}))
