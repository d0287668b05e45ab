"""Repeated paragraphs of a host: counted over documents, one copy stays, and spelling variants count as equal."""

from __future__ import annotations

import random
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decontam.normalize import normalize_text
from pipeline import ranges
from pipeline.dedup import passage_files
from pipeline.dedup.config import ParagraphsConfig
from pipeline.dedup.paragraphs import find_paragraphs, paragraphs_of
from pipeline.dedup.passage_spans import merge_found
from tests.pipeline.dedup.passage_scene import Document, ranked, segment, write_splits

FOOTER = "온누리 신문은 독자 여러분의 목소리를 언제나 귀담아듣고 있습니다."
ENGLISH = "The Onnuri Times is published every Tuesday and Friday."

Cuts = dict[str, list[tuple[int, int, str, int]]]


def find(folder: Path, documents: Sequence[Document], splits: int = 2, **config: int) -> Cuts:
    """The published cuts: id of each document to (start, end, id of the document that has it, documents)."""
    parts, ranks = write_splits(folder / "in", documents, splits)
    step = segment(folder / "run")
    files = merge_found(step, parts, ranks, find_paragraphs(step, parts, ranks, ParagraphsConfig(**config)), (), None)
    cuts = defaultdict(list)
    for split in parts:
        for row in pq.read_table(files[split.name][0]).to_pylist():
            assert row["kind"] == "paragraph"
            cuts[row["id"]].append((row["start"], row["end"], row["document"], row["copies"]))
    return cuts


def lines_of(text: str) -> list[tuple[int, int, str]]:
    """(first byte, end, normalised letters) of each line."""
    found, start = [], 0
    for line in text.split("\n"):
        end = start + len(line.encode())
        found.append((start, end, normalize_text(line)))
        start = end + 1
    return found


def twin(documents: Sequence[Document], min_documents: int, min_bytes: int) -> Cuts:
    """The definition, paragraph by paragraph."""
    best_first = sorted((one for one in documents if one.rank is not None and one.host and one.text), key=lambda one: one.rank or 0)
    holders = defaultdict(list)
    for one in best_first:
        for start, end, letters in lines_of(one.text or ""):
            if len(letters.encode()) >= min_bytes:
                holders[one.host, letters].append((one.id, start, end))
    cuts = defaultdict(list)
    for places in holders.values():
        count = len({id_ for id_, _, _ in places})
        if count >= min_documents:
            for id_, start, end in places[1:]:
                cuts[id_].append((start, end, places[0][0], count))
    return {id_: sorted(spans) for id_, spans in cuts.items()}


def corpus(seed: int) -> list[Document]:
    random_ = random.Random(seed)
    shared = [FOOTER, ENGLISH, ENGLISH.upper(), unicodedata.normalize("NFD", FOOTER), FOOTER.replace(" ", ""), "짧은 줄", "", "   "]
    hosts = [random_.choice(["a.example", "b.example", "", None]) for _ in range(40)]
    texts: list[str | None] = []
    for place in range(40):
        own = [f"{place}번째 글의 {line}번째 문단이며 다른 글에는 없습니다." for line in range(random_.randint(0, 3))]
        lines = own + random_.choices(shared, k=random_.randint(0, 4))
        random_.shuffle(lines)
        texts.append("\n".join(lines))
    texts[5] = None
    return ranked(texts, seed, hosts)


@pytest.mark.parametrize(("seed", "min_documents", "min_bytes"), [(1, 2, 60), (2, 5, 30), (3, 4, 3)])
def test_the_steps_equal_the_twin_whatever_the_splits_and_ranges(tmp_path, monkeypatch, seed, min_documents, min_bytes):
    documents = corpus(seed)
    wanted = twin(documents, min_documents, min_bytes)
    assert len(wanted) > 3
    config = {"min_documents": min_documents, "min_bytes": min_bytes}
    assert find(tmp_path / "one", documents, 1, **config) == wanted
    random.Random(seed).shuffle(documents)
    monkeypatch.setattr(passage_files, "TASK_RECORDS", 7)
    monkeypatch.setattr(ranges, "MIN_ROW_GROUP", 3)
    assert find(tmp_path / "ranges", documents, 4, **config) == wanted


def test_one_copy_stays_in_the_best_document_of_the_host(tmp_path):
    text = f"머리글\n{FOOTER}\n꼬리글"
    documents = [Document("worst", text, 9, "a"), Document("best", f"{FOOTER}\n{text}", 1, "a"), Document("middle", text, 5, "a")]
    documents += [Document("other", text, 0, "b"), Document("dropped", text, None, "b"), Document("nowhere", text, 2, None)]
    first, size = len("머리글\n".encode()), len(FOOTER.encode())
    cuts = find(tmp_path, documents)
    assert cuts["worst"] == cuts["middle"] == [(first, first + size, "best", 3)]
    again = size + 1 + first  # the later occurrence in the best document goes, too
    assert cuts["best"] == [(again, again + size, "best", 3)]
    assert set(cuts) == {"worst", "middle", "best"}


def test_repeats_within_too_few_documents_stay(tmp_path):
    documents = [Document("a", f"{FOOTER}\n" * 5, 0, "h"), Document("b", FOOTER, 1, "h")]
    assert find(tmp_path / "three", documents) == {}
    assert len(find(tmp_path / "two", documents, min_documents=2)["a"]) == 4


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text("a가각é\n\r .", max_size=12)), min_size=1, max_size=5), st.integers(1, 12))
def test_every_paragraph_with_enough_letters_is_hashed(texts, min_bytes):
    table = pa.chunked_array([pa.array(["skipped"], pa.large_string()), pa.array(texts, pa.large_string())]).slice(1)
    found = paragraphs_of(table, pa.array(["h"] * len(texts)), min_bytes)
    got = list(zip(found["document"].tolist(), found["start"].tolist(), found["end"].tolist(), strict=True))
    lines = [(row, *line) for row, text in enumerate(texts) for line in lines_of(text or "") if len(line[2].encode()) >= min_bytes]
    assert got == [line[:3] for line in lines]
    by_letters = {letters: value for (_, _, _, letters), value in zip(lines, found["hash"].tolist(), strict=True)}
    assert [by_letters[letters] for _, _, _, letters in lines] == found["hash"].tolist()
    assert len(set(by_letters.values())) == len(by_letters)


def test_hosts_are_told_apart_by_the_hash():
    lines = pa.chunked_array([pa.array([ENGLISH] * 3, pa.large_string())])
    hashes = paragraphs_of(lines, pa.array(["a.example", "b.example", "a.example"]), 1)["hash"]
    assert hashes[0] == hashes[2] != hashes[1]
    assert hashes.dtype == np.uint64
