"""Cutting passages: both searches merged, texts joined sensibly, and rows that are none of its business left alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.config import DedupConfig, ParagraphsConfig, SubstringsConfig
from pipeline.dedup.passage_spans import CUTS, SPAN, disjoint
from pipeline.dedup.passages import REPEATED_PASSAGES, CutPassages, find_passages
from pipeline.errors import RunFailed
from pipeline.schema import BY_NAME, with_columns
from pipeline.splits import Split
from pipeline.stage import apply, settings_of
from tests.pipeline.dedup.passage_scene import Document, ranked, segment, write_splits

BOTH = DedupConfig(paragraphs=ParagraphsConfig(min_documents=2, min_bytes=10), substrings=SubstringsConfig(min_bytes=64))
AVAILABLE = frozenset({"id", "text", "host"})
FOOTER = "온누리 신문은 독자의 목소리를 언제나 듣습니다."


def stage_for(folder: Path, cuts: Sequence[tuple[str, int, int]]) -> CutPassages:
    path = folder / "cuts.parquet"
    rows = [{"id": id_, "start": start, "end": end, "kind": "substring", "document": "first", "copies": 2} for id_, start, end in cuts]
    pq.write_table(pa.Table.from_pylist(rows, CUTS), path)
    return CutPassages(str(path), str(sorted(cuts)))


def table_of(texts: Sequence[str | None]) -> pa.Table:
    return with_columns(pa.table({"id": [str(place) for place in range(len(texts))]}), {"text": list(texts)})


def cut_at(folder: Path, marked: str) -> str | None:
    """The text that is left of one in which [ and ] mark what is cut; None if it is dropped."""
    cuts, text = [], ""
    for piece in marked.split("["):
        inside, closed, after = piece.partition("]") if "]" in piece else ("", "", piece)
        if closed:
            cuts.append(("0", len(text.encode()), len((text + inside).encode())))
        text += inside + after
    result = stage_for(folder, cuts)(table_of([text]))
    assert [(one["start"], one["end"]) for one in result["cut_passages"][0].as_py()] == [(start, end) for _, start, end in cuts]
    left = result["text"][0].as_py()
    assert result["text_bytes"][0].as_py() == len(left.encode())
    if result["drop_reason"][0].as_py():
        assert (result["drop_reason"][0].as_py(), left) == (REPEATED_PASSAGES, text)
        return None
    return left


@pytest.mark.parametrize(
    ("marked", "left"),
    [
        ("하나\n[둘]\n셋", "하나\n셋"),
        ("[하나]\n둘", "둘"),
        ("하나\n[둘]", "하나"),
        ("하나\n[둘]\n[셋]", "하나"),
        ("하나\n[둘]\n[셋]\n넷", "하나\n넷"),
        ("하나\n\n[둘]\n\n셋", "하나\n\n셋"),
        ("하나\n\n[둘]\n셋", "하나\n\n셋"),
        ("[하나]\n\n둘", "둘"),
        ("하나\n\n[둘]", "하나"),
        ("하나\n[둘\n\n셋]\n넷", "하나\n넷"),
        ("[하나]\r\n둘", "\r\n둘"),
        ("one [two] three", "one  three"),
        ("one[ two ]three", "one three"),
        ("one[ two] three", "one three"),
        ("가나[다라]마바", "가나 마바"),
        ("가나[다\n라]마바", "가나\n마바"),
        ("가나 [다\n라]마바", "가나 \n마바"),
        ("가나[\n다라\n]마바", "가나\n마바"),
        ("가나\n[다라\n마]바", "가나\n바"),
        ("가나[다\n라]\n마바", "가나\n마바"),
        ("가나[다][라]마바", "가나 마바"),
        ("가[나]다[라]마", "가 다 마"),
        ("[가나]다", "다"),
        ("다[가나]", "다"),
        ("[모두]", None),
        (" \n[모두]\n\u3000", None),
        ("그대로", "그대로"),
    ],
)
def test_what_is_left_is_joined(tmp_path, marked, left):
    assert cut_at(tmp_path, marked) == left


def joined(text: bytes, cuts: list[tuple[int, int]]) -> bytes:
    """The rule of joining, hole by hole."""
    holes: list[tuple[int, int]] = []
    for start, end in cuts:
        if holes and holes[-1][1] == start:
            holes[-1] = (holes[-1][0], end)
        else:
            holes.append((start, end))
    out, position = b"", 0
    for start, end in holes:
        out += text[position:start]
        position = end
        rest = text[end:]
        at_begin, at_end = out[-1:] in (b"", b"\n"), rest[:1] in (b"", b"\n")
        if at_begin and at_end and rest:
            position += 1
            if (not out or out.endswith(b"\n\n")) and text[position : position + 1] == b"\n":
                position += 1
        elif at_begin and at_end:
            out = out[: -min(2, len(out) - len(out.rstrip(b"\n")))] if out.endswith(b"\n") else out
        elif not at_begin and not at_end:
            blank = out[-1:] in b" \t\n\r\v\f" or rest[:1] in b" \t\n\r\v\f"
            out += b"\n" if b"\n" in text[start:end] else b"" if blank else b" "
    return out + text[position:]


@st.composite
def cut_texts(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]]]:
    text = draw(st.text("a가😀 \n", max_size=25))
    bounds = [len(text[:count].encode()) for count in range(len(text) + 1)]
    chosen = sorted(draw(st.lists(st.sampled_from(bounds), max_size=8)))
    pairs = zip(chosen[::2], chosen[1::2], strict=False)
    return text, [(start, end) for start, end in pairs if start < end]


@settings(max_examples=200, deadline=None)
@given(st.lists(cut_texts(), min_size=1, max_size=5))
def test_every_text_is_joined_by_the_rule_and_nothing_else_changes(tmp_path_factory, rows):
    cuts = [(str(place), start, end) for place, (_, spans) in enumerate(rows) for start, end in spans]
    stage = stage_for(tmp_path_factory.mktemp("cuts"), cuts)
    table = table_of([text for text, _ in rows])
    result = stage(table)
    assert result["text"].type == BY_NAME["text"].type and result["cut_passages"].type == BY_NAME["cut_passages"].type
    for (text, spans), row in zip(rows, result.to_pylist(), strict=True):
        left = joined(text.encode(), spans).decode()
        assert [(one["start"], one["end"]) for one in row["cut_passages"]] == spans
        assert row["drop_reason"] == (REPEATED_PASSAGES if spans and not left.strip() else None)
        assert row["text"] == (text if row["drop_reason"] else left)
        kept = set(range(len(text.encode()))) - {place for start, end in spans for place in range(start, end)}
        without_blanks = bytes(text.encode()[place] for place in sorted(kept)).decode().split()
        assert "".join(left.split()) == "".join(without_blanks)
    assert table.slice(1).num_rows == len(stage(table.slice(1)))  # a batch may begin anywhere


def test_decided_rows_and_null_texts_are_left_alone(tmp_path):
    stage = stage_for(tmp_path, [("0", 0, 2), ("1", 0, 2), ("3", 0, 2)])
    table = with_columns(
        table_of(["aabb", "aabb", None, "aabb"]), {"drop_reason": ["x", None, None, None], "error": [None, "y", None, None]}
    )
    result = stage(table)
    assert result["text"].to_pylist() == ["aabb", "aabb", None, "bb"]
    assert [len(cuts) for cuts in result["cut_passages"].to_pylist()] == [0, 0, 0, 1]
    assert result["drop_reason"].to_pylist() == ["x", None, None, None]
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert stage(chunked).combine_chunks().equals(result.combine_chunks())
    assert len(stage(table.slice(0, 0))) == 0


def test_the_stage_keeps_its_contract_and_its_path_out_of_fingerprints(tmp_path):
    stage = stage_for(tmp_path, [("0", 0, 2), ("1", 0, 4)])
    parted = apply(stage, table_of(["aabb", "aabb", "cc"]))
    assert parted.kept["text"].to_pylist() == ["bb", "cc"]
    assert parted.dropped["drop_reason"].to_pylist() == [REPEATED_PASSAGES]
    assert parted.dropped["text"].to_pylist() == ["aabb"]
    assert set(settings_of(stage)) == {"fingerprint"}


def test_a_text_that_changed_since_is_refused(tmp_path):
    stage = stage_for(tmp_path, [("0", 0, 50)])
    with pytest.raises(RunFailed, match="document '0' is shorter"):
        stage(table_of(["short"]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20), st.integers(1, 15), st.integers(0, 1)), max_size=8))
def test_spans_of_both_kinds_are_parted_and_cover_the_same(rows):
    spans = {
        "place": np.array([row[0] for row in rows], np.int64),
        "start": np.array([row[1] for row in rows], np.uint32),
        "end": np.array([row[1] + row[2] for row in rows], np.uint32),
        "kind": np.array([row[3] for row in rows], np.uint32),
        "original": np.arange(len(rows), dtype=np.uint32),
        "copies": np.arange(len(rows), dtype=np.int64),
    }
    assert list(spans) == SPAN.names
    apart = disjoint(spans)
    listed = list(zip(apart["place"].tolist(), apart["start"].tolist(), apart["end"].tolist(), strict=True))
    assert listed == sorted(listed)
    covered = [(place, byte) for place, start, end in listed for byte in range(start, end)]
    assert len(covered) == len(set(covered))
    assert set(covered) == {(row[0], byte) for row in rows for byte in range(row[1], row[1] + row[2])}


def corpus(seed: int) -> list[Document]:
    random_ = random.Random(seed)
    shared = ["".join(random_.choices("가나다라마바사아 ", k=50)) for _ in range(6)]
    texts = []
    for place in range(30):
        lines = [f"{place}번째 글, {random_.random()}", FOOTER, *random_.choices(shared, k=2), random_.choice(shared) + str(place)]
        random_.shuffle(lines)
        texts.append("\n".join(lines))
    texts[7] = f"{FOOTER}\n{shared[0]}"
    return ranked(texts, seed, [random_.choice(["a.example", "b.example", None]) for _ in texts])


def run(folder: Path, documents: Sequence[Document], splits: int, config: DedupConfig = BOTH) -> dict[str, dict]:
    """Every row of the splits after the stage, by id."""
    parts, ranks = write_splits(folder / "in", documents, splits)
    found = find_passages(segment(folder / "run"), parts[::-1], ranks[::-1], config, AVAILABLE)
    return {row["id"]: row for split in parts for row in rows_after(split, CutPassages(*found[split.name]))}


def rows_after(split: Split, stage: CutPassages) -> list[dict]:
    return stage(pq.read_table(split.parts[0].path)).to_pylist()


def test_both_searches_give_the_same_texts_whatever_the_splits_and_order(tmp_path):
    documents = corpus(1)
    first = run(tmp_path / "one", documents, 1)
    random.Random(3).shuffle(documents)
    assert run(tmp_path / "four", documents, 4) == first
    cuts = {id_: row["cut_passages"] for id_, row in first.items()}
    assert {cut["kind"] for listed in cuts.values() for cut in listed} == {"paragraph", "substring"}
    by_id = {one.id: one for one in documents}
    for id_, listed in cuts.items():
        raw, place = (by_id[id_].text or "").encode(), 0
        assert not listed or by_id[id_].rank is not None
        for cut in listed:
            assert place <= cut["start"] < cut["end"] <= len(raw)
            raw[cut["start"] : cut["end"]].decode()  # whole characters
            place = cut["end"]
            keeper = by_id[cut["document"]]
            assert keeper.rank is not None and keeper.rank <= (by_id[id_].rank or 0) and cut["copies"] >= 2


def test_a_repeated_line_is_left_once_in_each_host_and_a_passage_once_in_all(tmp_path):
    documents = corpus(2)
    after = run(tmp_path, documents, 2)
    standing = [one for one in documents if one.rank is not None and after[one.id]["drop_reason"] is None]
    for host in ("a.example", "b.example"):
        assert sum(after[one.id]["text"].count(FOOTER) for one in standing if one.host == host) <= 1
    assert sum(after[one.id]["text"].count(FOOTER) for one in standing) >= 1
    long = FOOTER + "".join(f" {number}번" for number in range(30))
    copies = [Document(f"c{place}", f"{place} {long} {place}", place, None) for place in range(5)]
    after = run(tmp_path / "copies", copies, 2)
    assert [long in after[one.id]["text"] for one in copies] == [True, False, False, False, False]


def test_each_search_alone_and_splits_without_cuts(tmp_path):
    documents = corpus(4)
    for config, kinds in (
        (DedupConfig(paragraphs=BOTH.paragraphs), {"paragraph"}),
        (DedupConfig(substrings=BOTH.substrings), {"substring"}),
    ):
        after = run(tmp_path / min(kinds), documents, 2, config)
        assert {cut["kind"] for row in after.values() for cut in row["cut_passages"]} == kinds
    parts, ranks = write_splits(tmp_path / "in", documents, 2)
    hostless = find_passages(segment(tmp_path / "run"), parts, ranks, DedupConfig(paragraphs=BOTH.paragraphs), frozenset({"id", "text"}))
    assert [pq.read_metadata(path).num_rows for path, _ in hostless.values()] == [0, 0]
