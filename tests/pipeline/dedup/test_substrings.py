"""Repeated substrings: exactly those of the definition, with their originals, whatever the text, the splits and the ranges."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import ranges
from pipeline.dedup import passage_files
from pipeline.dedup.passage_files import FOUND, Columns, concatenated, take
from pipeline.dedup.passage_spans import merge_found, trimmed, united
from pipeline.dedup.substrings import (
    ASKED,
    BLOCK,
    WINDOW,
    blocks_of,
    compare_blocks,
    compare_windows,
    find_substrings,
    gram_bytes,
    windows_of,
)
from pipeline.errors import RunFailed, UserError
from pipeline.refine.signals import text_buffers
from tests.pipeline.dedup.passage_scene import Document, ranked, segment, write_splits

Span = tuple[int, int, int, int, int]
"""Rank, first byte, end, rank of the original, copies."""

SPLIT = pa.field("split", pa.uint32())


def twin(texts: Sequence[bytes], size: int) -> list[Span]:
    """The definition, window by window; texts in the order of their ranks."""
    places = defaultdict(list)
    for rank, text in enumerate(texts):
        for start in range(len(text) - size + 1):
            places[text[start : start + size]].append((rank, start))
    spans: list[Span] = []
    for rank, text in enumerate(texts):
        for start in range(len(text) - size + 1):
            copies = places[text[start : start + size]]
            if copies[0] == (rank, start):
                continue
            if spans and spans[-1][0] == rank and start <= spans[-1][2]:
                spans[-1] = (rank, spans[-1][1], start + size, *spans[-1][3:])
            else:
                spans.append((rank, start, start + size, copies[0][0], len(copies)))
    return spans


def search(texts: Sequence[bytes], size: int, gram: int | None = None, capacity: int = 1 << 20) -> tuple[list[Span], int]:
    """(spans, windows hashed) by the functions of the steps, without files; texts in the order of their ranks."""
    data = np.frombuffer(b"".join(texts), np.uint8)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(text) for text in texts], dtype=np.int64)])
    blocks = [in_split(part, part["document"]) for part in blocks_of(data, offsets, size, gram or gram_bytes(size), capacity)]
    found, asked = compare_blocks(concatenated(BLOCK.append(SPLIT), blocks), size)
    asked = take(asked, np.lexsort((asked["start"], asked["rank"])))
    parts = windows_of(data, offsets, asked | {"document": asked["rank"].astype(np.int64)}, size)
    windows = concatenated(WINDOW.append(SPLIT), [in_split(part, part["rank"]) for part in parts])
    both = concatenated(FOUND, [found, compare_windows(windows, size)])
    both["place"] = both["rank"].astype(np.int64)
    spans = united(take(both, np.lexsort((both["start"], both["rank"]))))
    columns = (spans[name].tolist() for name in ("rank", "start", "end", "original", "copies"))
    return list(zip(*columns, strict=True)), len(windows["rank"])


def in_split(part: Columns, ranks: np.ndarray) -> Columns:
    return part | {"rank": ranks.astype(np.uint32), "split": np.zeros(len(ranks), np.uint32)}


alphabets = st.sampled_from(["a", "ab", "abc", "가각나", "a\n 😀가", "abcdefghij"])


@st.composite
def corpora(draw: st.DrawFn) -> list[bytes]:
    """Texts of few letters with passages in common, whole copies among them."""
    letters = st.text(draw(alphabets), max_size=50)
    passages = draw(st.lists(letters, min_size=1, max_size=3))
    pieces = st.lists(st.one_of(letters, st.sampled_from(passages)), max_size=4).map("".join)
    return [text.encode() for text in draw(st.lists(pieces, max_size=6))]


@settings(max_examples=300, deadline=None)
@given(corpora(), st.integers(1, 16), st.data())
def test_equals_the_definition(texts, size, data):
    gram = data.draw(st.integers(1, size))
    capacity = data.draw(st.sampled_from([1, 2, 1000]))  # the kernel stops in the middle of documents
    assert search(texts, size, gram, capacity)[0] == twin(texts, size)


@pytest.mark.parametrize("seed", range(4))
def test_dense_random_texts_equal_the_definition(seed):
    random_ = random.Random(seed)
    for _ in range(300):  # many equal blocks that differ a little: weak hashes show here first
        letters = random_.choice(["a", "ab", "abc", "가각나", "a가😀"])
        texts = ["".join(random_.choices(letters, k=random_.randint(0, 60))).encode() for _ in range(random_.randint(1, 6))]
        size = random_.randint(2, 16)
        assert search(texts, size, random_.randint(1, size))[0] == twin(texts, size)


def thue_morse(length: int, letters: bytes) -> bytes:
    return bytes(letters[place.bit_count() & 1] for place in range(length))


@pytest.mark.parametrize(
    ("texts", "size"),
    [
        ([b"a" * 700], 64),
        ([b"a" * 300, b"a" * 299, b"b" + b"a" * 400 + b"b"], 100),
        ([b"ab" * 300, b"ba" * 200], 65),
        ([("다람쥐 헌 쳇바퀴에 타고파. " * 20).encode(), ("🙂🙃" * 90).encode(), ("쥐 헌 쳇바퀴에 타고파. 다람" * 20).encode()], 64),
        ([thue_morse(700, b"ab"), thue_morse(700, b"ba"), thue_morse(1500, b"ab")[333:]], 100),
        # modulo 2^64 every polynomial hash takes these two for one
        ([thue_morse(2048, b"ab"), thue_morse(2048, b"ba")], 1500),
        ([thue_morse(2048, b"ab") + b"x", b"y" + thue_morse(2048, b"ab")], 1500),
    ],
)
def test_repetitive_texts(texts, size):
    assert search(texts, size)[0] == twin(texts, size)


def test_what_does_not_overlap_a_variant_is_not_hashed_window_by_window():
    random_ = random.Random(5)
    frame = bytes(random_.randrange(97, 123) for _ in range(4000))
    variant = frame[:2000] + b"#" + frame[2000:]
    spans, windows = search([frame] * 50, 100)
    assert windows == 0 and spans == [(rank, 0, 4000, 0, 50) for rank in range(1, 50)]
    spans, windows = search([frame] * 30 + [variant] * 30, 100)
    assert spans == twin([frame] * 30 + [variant] * 30, 100)
    assert windows < 1500  # those around the place of change, of one copy of each variant, and one for each equal block


def corpus(seed: int) -> list[str | None]:
    random_ = random.Random(seed)
    passages = ["".join(random_.choices("가나다라마바사 ", k=random_.randint(5, 60))) for _ in range(12)]
    passages += ["aaaa" * 20, "😀😃" * 12]
    texts: list[str | None] = [
        "".join(random_.choice(passages) + "".join(random_.choices("가나다라마\n x", k=random_.randint(0, 30))) for _ in range(5))
        for _ in range(30)
    ]
    return [*texts, texts[3], texts[4], None, ""]


def find(folder: Path, documents: Sequence[Document], splits: int, size: int) -> dict[str, list[tuple]]:
    """The published cuts: id of each document to (start, end, id of the original, copies)."""
    parts, ranks = write_splits(folder / "in", documents, splits)
    step = segment(folder / "run")
    files = merge_found(step, parts, ranks, (), find_substrings(step, parts, ranks, size), size)
    cuts = defaultdict(list)
    for split in parts:
        for row in pq.read_table(files[split.name][0]).to_pylist():
            assert row["kind"] == "substring"
            cuts[row["id"]].append((row["start"], row["end"], row["document"], row["copies"]))
    return cuts


def expected(documents: Sequence[Document], size: int) -> dict[str, list[tuple]]:
    """The twin's spans, trimmed to characters."""
    best_first = sorted((one for one in documents if one.rank is not None), key=lambda one: one.rank or 0)
    cuts = defaultdict(list)
    raw = [(one.text or "").encode() for one in best_first]
    for rank, start, end, original, copies in twin(raw, size):
        while start < end and raw[rank][start] & 0xC0 == 0x80:
            start += 1
        while end > start and end < len(raw[rank]) and raw[rank][end] & 0xC0 == 0x80:
            end -= 1
        if end - start >= size:
            cuts[best_first[rank].id].append((start, end, best_first[original].id, copies))
    return cuts


@pytest.mark.parametrize("size", [24, 61])
def test_the_steps_find_the_same_whatever_the_splits_ranges_and_order(tmp_path, monkeypatch, size):
    documents = ranked(corpus(size), seed=size)
    wanted = expected(documents, size)
    assert len(wanted) > 10
    assert find(tmp_path / "one", documents, 1, size) == wanted
    random.Random(1).shuffle(documents)
    assert find(tmp_path / "four", documents, 4, size) == wanted
    monkeypatch.setattr(passage_files, "TASK_RECORDS", 100)
    monkeypatch.setattr(passage_files, "RUN_RECORDS", 30)
    monkeypatch.setattr(ranges, "MIN_ROW_GROUP", 7)
    assert find(tmp_path / "ranges", documents, 3, size) == wanted
    steps = tmp_path / "ranges" / "run" / "dedup" / "steps"
    assert len(list((steps / "substring_anchors").glob("*-found.parquet"))) > 3
    assert len(list((steps / "substring_repeats").glob("*.parquet"))) > 3


def test_finished_steps_are_not_done_again_and_changed_ranks_are(tmp_path):
    documents = ranked(corpus(3), seed=3)
    first = find(tmp_path, documents, 2, 40)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.parquet")}
    assert find(tmp_path, documents, 2, 40) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.parquet")} == times
    turned = [Document(one.id, one.text, None if one.rank is None else 1000 - one.rank) for one in documents]
    assert find(tmp_path, turned, 2, 40) == expected(turned, 40) != first


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("가각a😀é ", max_size=20), min_size=1, max_size=4), st.integers(1, 12), st.data())
def test_trimming_leaves_whole_characters_and_loses_none(texts, size, data):
    raw = [text.encode() for text in texts]
    spans = []
    for place, text in enumerate(raw):
        if len(text) >= size:
            start = data.draw(st.integers(0, len(text) - size))
            spans.append((place, start, data.draw(st.integers(start + size, len(text)))))
    found = {name: np.array([span[column] for span in spans], np.int64) for column, name in enumerate(("place", "start", "end"))}
    kept = trimmed(*text_buffers(pa.array(texts, pa.large_string())), np.arange(len(texts)), found, size)
    left = dict(zip(kept["place"].tolist(), zip(kept["start"].tolist(), kept["end"].tolist(), strict=True), strict=True))
    for place, start, end in spans:
        bounds = [len(text.encode()) for text in (texts[place][:count] for count in range(len(texts[place]) + 1))]
        whole = [(low, high) for low in bounds for high in bounds if start <= low and high <= end and high - low >= size]
        assert (place in left) == bool(whole)
        if whole:
            assert left[place] == (min(low for low, _ in whole), max(high for _, high in whole))


def test_another_number_of_documents_is_refused(tmp_path):
    splits, ranks = write_splits(tmp_path, ranked(["가" * 50, "나" * 50, "다"]), 1)
    np.save(ranks[0], np.zeros(2, np.uint32))
    with pytest.raises(RunFailed, match=r"3 usable documents and ranks for 2.*remove the folder"):
        find_substrings(segment(tmp_path / "run"), splits, ranks, 64)


def test_a_text_too_long_for_its_places_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(passage_files, "MAX_DOCUMENT_BYTES", 100)
    splits, ranks = write_splits(tmp_path, [Document("long", "a" * 101, 0)], 1)
    with pytest.raises(UserError, match="split 'part-0' has 4 GiB"):
        find_substrings(segment(tmp_path / "run"), splits, ranks, 64)


def test_no_documents_at_all(tmp_path):
    assert find(tmp_path, [Document("gone", "a" * 500, None)], 1, 64) == {}
    assert concatenated(ASKED, [])["rank"].dtype == np.uint32


def test_planted_passages_in_real_text(tmp_path, shared_data):
    import gzip
    import json

    with gzip.open(shared_data / "text" / "ko" / "wiki_korquad_contexts.jsonl.gz") as lines:
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(150), strict=False)]
    passage = texts[0][:200]
    hosts = random.Random(2).sample(range(1, len(texts)), 30)
    for place in hosts:
        texts[place] = f"{texts[place][:100]} {passage} {texts[place][100:]}"
    documents = [Document(str(place), text, place) for place, text in enumerate(texts)]
    cuts = find(tmp_path, documents, 2, 300)
    for place in hosts:
        raw = texts[place].encode()
        begin = raw.index(passage.encode())
        assert any(start <= begin and begin + len(passage.encode()) <= end for start, end, _, _ in cuts[str(place)])
    assert cuts == expected(documents, 300)
