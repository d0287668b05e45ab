"""The decontaminate stage on documents with planted benchmark items."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from decontam import build_index, normalize_text, read_benchmarks, save_index
from pipeline.decontaminate.move import IndexTask
from pipeline.decontaminate.stages import NOTHING_LEFT, Decontaminate
from pipeline.errors import RunFailed
from pipeline.schema import BY_NAME
from pipeline.stage import apply
from tests.pipeline.decontaminate.benchmark_scene import CLEAN, ENGLISH, KOREAN, documents, table, write_benchmark


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("benchmarks")
    save_index(build_index(read_benchmarks(write_benchmark(folder / "files"))), folder / "index")
    return str(folder / "index")


def reasons(result: pa.Table) -> dict[str, str | None]:
    given = result.column("drop_reason").to_pylist() if "drop_reason" in result.column_names else [None] * len(result)
    return dict(zip(result.column("id").to_pylist(), given, strict=True))


def test_drops_leaks_of_both_languages_and_keeps_the_rest(index: str) -> None:
    dropped = {document: reason for document, reason in reasons(Decontaminate(index, "a")(table())).items() if reason}
    assert dropped == {"leak-en": "contaminated:geese", "leak-ko": "contaminated:fruit", "leak-both": "contaminated:geese"}


def test_evidence_spans_are_the_benchmark_text(index: str) -> None:
    result = Decontaminate(index, "a")(table())
    found = dict(zip(result.column("id").to_pylist(), result.column("contamination").to_pylist(), strict=True))
    assert [match["item"] for match in found["leak-both"]] == ["g1", "k1"]
    assert found["clean-en"] == found["clean-ko"] == found["empty"] == found["null"] == []
    for document, item in (("leak-en", ENGLISH), ("leak-ko", KOREAN)):
        [match] = found[document]
        text = (documents()[document] or "").encode()[match["start"] : match["end"]].decode()
        assert normalize_text(text) == normalize_text(item)
        assert match["coverage"] == 1.0 and match["length"] == len(normalize_text(item))


def test_passages_and_short_items_are_reported_and_kept(index: str) -> None:
    result = Decontaminate(index, "a")(table())
    found = dict(zip(result.column("id").to_pylist(), result.column("contamination").to_pylist(), strict=True))
    assert [match["field"] for match in found["passage"]] == ["passage"]
    assert [match["item"] for match in found["short"]] == ["g2"]
    assert reasons(result)["passage"] is None and reasons(result)["short"] is None
    strict = Decontaminate(index, "a", report_fields=())
    assert reasons(strict(table()))["passage"] == "contaminated:geese"


def test_column_types_are_those_of_the_document_table(index: str) -> None:
    for action in ("drop", "mask", "tag"):
        result = Decontaminate(index, "a", action)(table())
        assert {name: result.schema.field(name).type for name in ("contamination", "text")} == {
            name: BY_NAME[name].type for name in ("contamination", "text")
        }


def test_tag_drops_nothing_and_leaves_the_text(index: str) -> None:
    result = Decontaminate(index, "a", "tag")(table())
    assert set(reasons(result).values()) == {None}
    assert result.column("text").equals(table().column("text"))


def test_mask_takes_out_the_item_and_nothing_else(index: str) -> None:
    result = Decontaminate(index, "a", "mask")(table())
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


def test_masked_evidence_points_at_the_space(index: str) -> None:
    result = Decontaminate(index, "a", "mask")(table())
    for document, text, matches in zip(*(result.column(name).to_pylist() for name in ("id", "text", "contamination")), strict=True):
        for match in matches:
            span = text.encode()[match["start"] : match["end"]].decode()
            if document.startswith("leak"):
                assert span == " "
            else:
                assert len(normalize_text(span)) == match["length"]


def test_a_masked_text_has_nothing_left_to_mask(index: str) -> None:
    stage = Decontaminate(index, "a", "mask")
    once = stage(table()).select(["id", "text"])
    assert stage(once).column("text").equals(once.column("text"))


def test_a_document_of_which_masking_leaves_nothing_is_dropped_as_it_was(index: str) -> None:
    rows: dict[str, str | None] = {
        "whole": f"«{ENGLISH}»",
        "twice": f"{KOREAN}\n{KOREAN}",
        "rest": f"{ENGLISH} 7",
        "dots": "...",
        "empty": "",
    }
    result = Decontaminate(index, "a", "mask")(table(rows))
    assert reasons(result) == {"whole": NOTHING_LEFT, "twice": NOTHING_LEFT, "rest": None, "dots": None, "empty": None}
    texts, sizes = result.column("text").to_pylist(), result.column("text_bytes").to_pylist()
    assert texts[:2] == [rows["whole"], rows["twice"]] and texts[2] == " ? 7" and sizes == [len(text.encode()) for text in texts]
    [match] = result.column("contamination").to_pylist()[0]
    span = (rows["whole"] or "").encode()[match["start"] : match["end"]].decode()
    assert normalize_text(span) == normalize_text(ENGLISH)


@pytest.mark.parametrize("action", ["drop", "mask"])
def test_batches_do_not_matter(index: str, action: str) -> None:
    stage, whole = Decontaminate(index, "a", action), table(documents() | {"only": KOREAN})
    together = stage(whole)
    alone = pa.concat_tables([stage(whole.slice(row, 1)) for row in range(len(whole))], promote_options="default")
    assert alone.column("contamination").to_pylist() == together.column("contamination").to_pylist()
    assert reasons(alone) == reasons(together)


def test_the_longest_match_names_the_reason_whatever_its_place(index: str) -> None:
    longer = max((ENGLISH, "geese"), (KOREAN, "fruit"), key=lambda pair: len(normalize_text(pair[0])))[1]
    rows: dict[str, str | None] = {"a": f"{KOREAN}\n{ENGLISH}", "b": f"{ENGLISH}\n{KOREAN}"}
    assert set(reasons(Decontaminate(index, "a")(table(rows))).values()) == {f"contaminated:{longer}"}


def test_an_earlier_decision_stays(index: str) -> None:
    rows = table().append_column("drop_reason", pa.array(["earlier"] * len(table())))
    assert set(reasons(Decontaminate(index, "a")(rows)).values()) == {"earlier"}


def test_empty_table_and_stage_contract(index: str) -> None:
    empty = Decontaminate(index, "a")(table().slice(0, 0))
    assert len(empty) == 0 and empty.schema.field("contamination").type == BY_NAME["contamination"].type
    parted = apply(Decontaminate(index, "a"), table())
    assert len(parted.kept) + len(parted.dropped) == len(table()) and len(parted.dropped) == 3


def test_a_damaged_index_stops_the_run(index: str, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"benchmark index can't be used.*manifest"):
        Decontaminate(str(tmp_path), "gone")(table())


def test_index_task_writes_below_its_name(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "files")
    paths = sorted(str(path) for path in (tmp_path / "files").iterdir())
    (tmp_path / "out").mkdir()
    facts = IndexTask({}, tuple(paths), ("fruit.jsonl", "geese.jsonl"))(tmp_path / "out")
    assert facts == {"items": {"fruit": 1, "geese": 2}}
    made = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert made and all(name.startswith("index/") for name in made)


def test_real_items_are_found_in_full(shared_data: Path, tmp_path: Path) -> None:
    """Every GSM8K and KoBEST item that is long enough, planted whole into clean text, is found; the clean text isn't dropped."""
    files = [str(shared_data / "benchmarks" / name) for name in ("gsm8k_test.jsonl.gz", "kobest_copa_test.jsonl.gz", "mt_bench.jsonl.gz")]
    items = read_benchmarks(files)
    save_index(build_index(items), tmp_path / "index")
    texts = items.column("text").to_pylist()[::11]
    fields = items.column("field").to_pylist()[::11]
    required = [24 if sum("가" <= c <= "힣" for c in text) * 2 >= len(normalize_text(text)) else 50 for text in texts]
    planted = {f"p{row}": f"{CLEAN[row % 2]}\n{text}\n{CLEAN[1 - row % 2]}" for row, text in enumerate(texts)}
    result = reasons(Decontaminate(str(tmp_path / "index"), "real")(table(planted | {"clean": CLEAN[0]})))
    long = [row for row, text in enumerate(texts) if len(normalize_text(text)) >= required[row] and fields[row] == "question"]
    assert len(long) > 100
    assert [row for row in long if result[f"p{row}"] is None] == []
    assert result["clean"] is None
