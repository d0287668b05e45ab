"""The decontaminate stage on documents with planted benchmark items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pytest

from decontam import Policy, build_index, normalize_text, read_benchmarks, save_index
from pipeline.decontaminate.actions import Action, Actions, Override
from pipeline.decontaminate.scan import ScanTask
from pipeline.decontaminate.stages import NOTHING_LEFT
from pipeline.errors import RunFailed
from pipeline.schema import BY_NAME
from pipeline.stage import apply
from tests.pipeline.decontaminate.benchmark_scene import CLEAN, ENGLISH, KOREAN, documents, shard, stage_for, table, write_benchmark

Look = Callable[..., pa.Table]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("benchmarks")
    save_index(build_index(read_benchmarks(write_benchmark(folder / "files"))), folder / "index")
    return str(folder / "index")


@pytest.fixture
def look(index: str, tmp_path: Path) -> Look:
    """The stage applied to a table (the scene's without one): `look(rows, action, policy...)`."""

    def result(rows: pa.Table | None = None, actions: Actions | None = None) -> pa.Table:
        rows = table() if rows is None else rows
        return stage_for(tmp_path / "scan", index, rows, actions)(rows)

    return result


MASK, TAG = Actions("mask"), Actions("tag")


def reasons(result: pa.Table) -> dict[str, str | None]:
    given = result.column("drop_reason").to_pylist() if "drop_reason" in result.column_names else [None] * len(result)
    return dict(zip(result.column("id").to_pylist(), given, strict=True))


def test_drops_leaks_of_both_languages_and_keeps_the_rest(look: Look) -> None:
    dropped = {document: reason for document, reason in reasons(look()).items() if reason}
    assert dropped == {"leak-en": "contaminated:geese", "leak-ko": "contaminated:fruit", "leak-both": "contaminated:geese"}


def test_evidence_spans_are_the_benchmark_text(look: Look) -> None:
    result = look()
    found = dict(zip(result.column("id").to_pylist(), result.column("contamination").to_pylist(), strict=True))
    assert [match["item"] for match in found["leak-both"]] == ["g1", "k1"]
    assert found["clean-en"] == found["clean-ko"] == found["empty"] == found["null"] == []
    for document, item in (("leak-en", ENGLISH), ("leak-ko", KOREAN)):
        [match] = found[document]
        text = (documents()[document] or "").encode()[match["start"] : match["end"]].decode()
        assert normalize_text(text) == normalize_text(item)
        assert match["coverage"] == 1.0 and match["length"] == len(normalize_text(item))


def test_passages_and_short_items_are_reported_and_kept(look: Look) -> None:
    result = look()
    found = dict(zip(result.column("id").to_pylist(), result.column("contamination").to_pylist(), strict=True))
    assert [match["field"] for match in found["passage"]] == ["passage"]
    assert [match["item"] for match in found["short"]] == ["g2"]
    assert reasons(result)["passage"] is None and reasons(result)["short"] is None
    assert reasons(look(actions=Actions(policy=Policy(report_fields=()))))["passage"] == "contaminated:geese"
    assert reasons(look(actions=Actions(policy=Policy(short_texts="always"))))["short"] == "contaminated:geese"


def test_column_types_are_those_of_the_document_table(look: Look) -> None:
    for action in get_args(Action):
        result = look(actions=Actions(action))
        assert {name: result.schema.field(name).type for name in ("contamination", "text")} == {
            name: BY_NAME[name].type for name in ("contamination", "text")
        }


def test_tag_drops_nothing_and_leaves_the_text(look: Look) -> None:
    result = look(actions=TAG)
    assert set(reasons(result).values()) == {None}
    assert result.column("text").equals(table().column("text"))


def test_mask_takes_out_the_item_and_nothing_else(look: Look) -> None:
    result = look(actions=MASK)
    assert set(reasons(result).values()) == {None}
    texts = dict(zip(result.column("id").to_pylist(), result.column("text").to_pylist(), strict=True))
    assert texts["leak-both"] is not None
    assert ENGLISH not in texts["leak-both"] and KOREAN[:-1] not in texts["leak-both"]
    left = normalize_text(CLEAN[0] + CLEAN[1] + CLEAN[0])
    assert normalize_text(texts["leak-both"]) == left
    untouched = ("clean-en", "clean-ko", "passage", "short", "empty", "null")
    assert {name: texts[name] for name in untouched} == {name: documents()[name] for name in untouched}
    sizes = dict(zip(result.column("id").to_pylist(), result.column("text_bytes").to_pylist(), strict=True))
    assert sizes == {name: None if text is None else len(text.encode()) for name, text in texts.items()}


def test_masked_evidence_points_at_the_space(look: Look) -> None:
    result = look(actions=MASK)
    for document, text, matches in zip(*(result.column(name).to_pylist() for name in ("id", "text", "contamination")), strict=True):
        for match in matches:
            span = text.encode()[match["start"] : match["end"]].decode()
            if document.startswith("leak"):
                assert span == " "
            else:
                assert len(normalize_text(span)) == match["length"]


def test_a_masked_text_has_nothing_left_to_mask(look: Look) -> None:
    once = look(actions=MASK).select(["id", "text"])
    assert look(once, MASK).column("text").equals(once.column("text"))


def test_a_document_of_which_masking_leaves_nothing_is_dropped_as_it_was(look: Look) -> None:
    rows: dict[str, str | None] = {
        "whole": f"«{ENGLISH}»",
        "twice": f"{KOREAN}\n{KOREAN}",
        "rest": f"{ENGLISH} 7",
        "dots": "...",
        "empty": "",
    }
    result = look(table(rows), MASK)
    assert reasons(result) == {"whole": NOTHING_LEFT, "twice": NOTHING_LEFT, "rest": None, "dots": None, "empty": None}
    texts, sizes = result.column("text").to_pylist(), result.column("text_bytes").to_pylist()
    assert texts[:2] == [rows["whole"], rows["twice"]] and texts[2] == " ? 7" and sizes == [len(text.encode()) for text in texts]
    [match] = result.column("contamination").to_pylist()[0]
    span = (rows["whole"] or "").encode()[match["start"] : match["end"]].decode()
    assert normalize_text(span) == normalize_text(ENGLISH)


@pytest.mark.parametrize("action", ["drop", "mask"])
def test_batches_do_not_matter(index: str, tmp_path: Path, action: Action) -> None:
    whole = table(documents() | {"only": KOREAN})
    stage = stage_for(tmp_path, index, whole, Actions(action))
    together = stage(whole)
    alone = pa.concat_tables([stage(whole.slice(row, 1)) for row in range(len(whole))], promote_options="default")
    assert alone.column("contamination").to_pylist() == together.column("contamination").to_pylist()
    assert reasons(alone) == reasons(together)


def test_the_longest_match_names_the_reason_whatever_its_place(look: Look) -> None:
    longer = max((ENGLISH, "geese"), (KOREAN, "fruit"), key=lambda pair: len(normalize_text(pair[0])))[1]
    rows: dict[str, str | None] = {"a": f"{KOREAN}\n{ENGLISH}", "b": f"{ENGLISH}\n{KOREAN}"}
    assert set(reasons(look(table(rows))).values()) == {f"contaminated:{longer}"}


def test_an_earlier_decision_stays(look: Look) -> None:
    rows = table().append_column("drop_reason", pa.array(["earlier"] * len(table())))
    assert set(reasons(look(rows)).values()) == {"earlier"}


def test_empty_table_and_stage_contract(look: Look, index: str, tmp_path: Path) -> None:
    empty = look(table().slice(0, 0))
    assert len(empty) == 0 and empty.schema.field("contamination").type == BY_NAME["contamination"].type
    parted = apply(stage_for(tmp_path, index, table()), table())
    assert len(parted.kept) + len(parted.dropped) == len(table()) and len(parted.dropped) == 3


def test_an_index_that_is_gone_or_has_changed_stops_the_scan(index: str, tmp_path: Path) -> None:
    task = ScanTask(shard(tmp_path / "in", "a", table()), (("geese", "0"),), str(tmp_path))
    with pytest.raises(RunFailed, match=r"benchmark index can't be used.*index\.json"):
        task(tmp_path)
    with pytest.raises(RunFailed, match="was changed while the run read it"):
        replace(task, index=index)(tmp_path)


def test_documents_of_one_id_are_told_apart_by_their_text(index: str, tmp_path: Path) -> None:
    texts = [CLEAN[0], ENGLISH, CLEAN[1], ENGLISH, KOREAN]
    rows = pa.table({"id": ["same"] * len(texts), "text": texts}, schema=table().schema)
    result = stage_for(tmp_path, index, rows, TAG)(rows)
    assert [[match["benchmark"] for match in found] for found in result.column("contamination").to_pylist()] == [
        [],
        ["geese"],
        [],
        ["geese"],
        ["fruit"],
    ]
    assert [match["corpus_documents"] for found in result.column("contamination").to_pylist() for match in found] == [2, 2, 1]


def test_each_benchmark_has_its_own_action_and_policy(look: Look) -> None:
    rows: dict[str, str | None] = {
        "both": f"{CLEAN[0]} {ENGLISH} {CLEAN[1]} {KOREAN}",
        "fruit": f"{CLEAN[1]} {KOREAN}",
        "geese": f"{ENGLISH} {CLEAN[0]}",
    }
    mask_fruit = look(table(rows), Actions("drop", overrides=(Override("fruit", "mask", Policy()),)))
    assert reasons(mask_fruit) == {"both": "contaminated:geese", "fruit": None, "geese": "contaminated:geese"}
    texts = dict(zip(rows, mask_fruit.column("text").to_pylist(), strict=True))
    assert texts["both"] == rows["both"] and normalize_text(texts["fruit"]) == normalize_text(CLEAN[1])
    [fruit, geese] = [Override("fr*", "drop", Policy()), Override("*", "tag", Policy())]
    assert set(reasons(look(table(rows), Actions("mask", overrides=(fruit, geese)))).values()) == {"contaminated:fruit", None}
    assert set(reasons(look(table(rows), Actions("mask", overrides=(geese, fruit)))).values()) == {None}
    longer = Override("geese", "drop", Policy(min_coverage=1.0, max_corpus_documents=1))
    assert reasons(look(table(rows), Actions("tag", overrides=(longer,))))["geese"] == "contaminated:geese"  # the whole item


def test_real_items_are_found_in_full(shared_data: Path, tmp_path: Path) -> None:
    """Every GSM8K and KoBEST item that is long enough, planted whole into clean text, is found; the clean text isn't dropped."""
    files = [str(shared_data / "benchmarks" / name) for name in ("gsm8k_test.jsonl.gz", "kobest_copa_test.jsonl.gz", "mt_bench.jsonl.gz")]
    items = read_benchmarks(files)
    save_index(build_index(items), tmp_path / "index")
    texts = items.column("text").to_pylist()[::11]
    fields = items.column("field").to_pylist()[::11]
    required = [24 if sum("가" <= c <= "힣" for c in text) * 2 >= len(normalize_text(text)) else 50 for text in texts]
    planted = {f"p{row}": f"{CLEAN[row % 2]}\n{text}\n{CLEAN[1 - row % 2]}" for row, text in enumerate(texts)}
    rows = table({**planted, "clean": CLEAN[0]})
    result = reasons(stage_for(tmp_path, str(tmp_path / "index"), rows)(rows))
    long = [row for row, text in enumerate(texts) if len(normalize_text(text)) >= required[row] and fields[row] == "question"]
    assert len(long) > 100
    assert [row for row in long if result[f"p{row}"] is None] == []
    assert result["clean"] is None
