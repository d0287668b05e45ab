"""`deduplicate` on one table: what is dropped is a duplicate, what stays is not, and nothing depends on the order of rows."""

from __future__ import annotations

import gzip
import json
import random
import unicodedata
from dataclasses import replace

import numpy as np
import polars
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.dedup.api import ADDED, deduplicate
from pipeline.dedup.bands import candidate_probability, choose_bands
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.sketch import sketch_batch
from pipeline.errors import UserError

from . import twin


def table_of(texts: list[str | None], **columns) -> pa.Table:
    ids = [f"d{number:05d}" for number in range(len(texts))]
    return pa.table({"id": ids, "text": pa.array(texts, pa.large_string()), **columns})


def outcome(table: pa.Table) -> dict[str, tuple]:
    return {row["id"]: tuple(row[name] for name in ADDED) for row in table.to_pylist()}


def corpus(seed: int = 1, count: int = 40) -> list[str]:
    """Families with copies from identical to quite different, in both languages, and lone texts."""
    texts = [text for korean in (False, True) for family in twin.families(seed, count, 120, (0, 1, 2, 4, 8, 20), korean) for text in family]
    return [*texts, "", "", "!!!", "짧은 글", "짧은 글."]


def reasons(table: pa.Table) -> list[str | None]:
    return table.column("drop_reason").to_pylist()


def test_every_dropped_document_is_as_similar_to_its_survivor_as_promised():
    texts = corpus(count=20)
    table = deduplicate(table_of(texts))
    text_of = dict(zip(table.column("id").to_pylist(), texts, strict=True))
    rows = table.to_pylist()
    stays = {row["id"] for row in rows if row["drop_reason"] is None}
    dropped = [row for row in rows if row["drop_reason"]]
    assert len(dropped) > 80
    for row in dropped:
        exact = twin.jaccard(text_of[row["id"]], text_of[row["cluster"]])
        assert row["cluster"] in stays  # no chains
        assert exact >= 0.8 if row["drop_reason"] == "near_duplicate" else exact == 1.0
        assert row["similarity"] == exact
    for row in rows:
        if row["drop_reason"] is None:
            assert (row["cluster"], row["similarity"]) == (row["id"], 1.0)
        assert row["cluster_size"] == sum(other["cluster"] == row["cluster"] for other in rows)


@pytest.mark.parametrize("korean", [False, True])
def test_pairs_are_found_as_often_as_the_bands_promise(korean):
    pairs = [pair for changes in (1, 2, 3) for pair in twin.families(changes, 80, 100, (changes,), korean)]
    similarity = np.array([twin.jaccard(*pair) for pair in pairs])
    table = deduplicate(table_of([text for pair in pairs for text in pair]))
    found = np.array([set(reasons(table)[2 * pair : 2 * pair + 2]) == {None, "near_duplicate"} for pair in range(len(pairs))])
    promised = np.asarray(candidate_probability(similarity, *choose_bands(0.8, 128)))
    assert not found[similarity < 0.8].any()
    similar = similarity >= 0.8
    assert similar.sum() > 50
    assert found[similar].mean() > promised[similar].mean() - 0.03


def test_the_result_does_not_depend_on_the_order_of_rows():
    table = table_of(corpus(2, 15))
    expected = outcome(deduplicate(table))
    for seed in (1, 2):
        shuffled = np.random.default_rng(seed).permutation(len(table))
        assert outcome(deduplicate(table.take(pa.array(shuffled)))) == expected


def test_duplicates_of_duplicates_share_the_fate_of_their_original():
    """B is near A, and C is exactly B: both go to A, with the same similarity."""
    first, near = twin.families(4, 1, 200, (2,), korean=True)[0]
    longer = first + " 더 긴 글이 남는다"
    table = deduplicate(table_of([near, longer, near + "!", near]))
    assert reasons(table) == ["near_duplicate", None, "near_duplicate", "near_duplicate"]
    assert table.column("cluster").to_pylist() == ["d00001"] * 4 and table.column("cluster_size").to_pylist() == [4] * 4
    assert len(set(table.column("similarity").to_pylist())) == 2


def test_empty_texts_are_never_merged():
    """Peers give every document shorter than a shingle one shared empty key, and keep one of them."""
    table = deduplicate(table_of(["", None, " \n", "?!", "cat", "dog", "cat", "가", "나"]))
    assert reasons(table) == [None] * 6 + ["exact_duplicate", None, None]
    assert table.column("cluster_size").to_pylist() == [1, 1, 1, 1, 2, 1, 2, 1, 1]


def test_texts_without_letters_and_digits_are_compared_as_written():
    table = deduplicate(table_of(["!!! ...", "!!! ...", " !!! ...\n", "!!!...", "😀😀", "😀😀", "😀", "", "", "\u3000", None, "r"]))
    assert [name for name, reason in zip(table["id"].to_pylist(), reasons(table), strict=True) if reason] == ["d00000", "d00001", "d00005"]
    assert set(reasons(table)) == {None, "exact_duplicate"}
    assert table.column("cluster_size").to_pylist() == [3, 3, 3, 1, 2, 2, 1, 1, 1, 1, 1, 1]
    assert table.column("cluster").to_pylist()[:3] == ["d00002"] * 3 and table.column("similarity").to_pylist()[0] == 1.0


def test_no_sketch_accepts_a_pair_by_itself(monkeypatch):
    """Two texts of which the sketches claim far more than is true: every slot equal, where half of the shingles are."""
    generator = random.Random(12)
    shared = twin.words(generator, 60, korean=False)
    texts = [" ".join(shared + twin.words(generator, 60, korean=False)) for _ in range(2)]

    def flattering(*arguments):
        sketches = sketch_batch(*arguments)
        return replace(sketches, signatures=np.zeros_like(sketches.signatures))

    monkeypatch.setattr("pipeline.dedup.records.sketch_batch", flattering)
    assert reasons(deduplicate(table_of(texts))) == [None, None]
    assert reasons(deduplicate(table_of([texts[0], texts[0] + " x"]))).count("near_duplicate") == 1


def test_hangul_is_not_deleted_by_normalisation():
    """The regular expression [^A-Za-z_0-9] of a whole lineage of scripts makes all Korean documents equal."""
    texts = [family[0] for family in twin.families(6, 30, 50, (), korean=True)]
    assert reasons(deduplicate(table_of(texts))) == [None] * 30


def test_spellings_of_one_text_are_exact_duplicates():
    text = "온누리는 누구나 쓰는 Data 플랫폼이다. " * 3
    spellings = [
        text,
        unicodedata.normalize("NFD", text),
        text.upper(),
        text.replace(" ", "\n"),
        text.replace("a", "\uff41"),
    ]  # full-width a
    assert reasons(deduplicate(table_of(spellings))).count("exact_duplicate") == len(spellings) - 1


def test_the_last_document_of_any_number_is_deduplicated():
    """A peer's group terminator is a valid id (256, 65,536): that document never joins a group."""
    for count in (255, 256, 257, 258):
        texts = [f"문서 번호 {number}: {number * 7919}" for number in range(count - 1)]
        table = deduplicate(table_of([*texts, texts[-1]]), DedupConfig(near=False))
        assert reasons(table).count("exact_duplicate") == 1


def test_pairs_in_one_bucket_that_are_not_similar_stay_apart():
    """A~B and C~D may meet in one LSH bucket; re-grouping by bucket after verification would lose C and D."""
    generator = random.Random(9)
    shared = twin.words(generator, 60, korean=False)
    one, other = (" ".join(shared + twin.words(generator, 60, korean=False)) for _ in range(2))
    table = deduplicate(table_of([one, one + " x", other, other + " y"]))
    assert sorted(table.column("cluster").to_pylist()) == ["d00001"] * 2 + ["d00003"] * 2


def chain() -> list[str]:
    """Texts of which each is similar to the next (0.87) but not to the one after it (0.76)."""
    words = twin.words(random.Random(3), 500, korean=True)
    return [" ".join(words[start : start + 400]) for start in range(0, 101, 28)]


def test_chains_are_merged_only_on_request():
    texts = chain()
    assert twin.jaccard(texts[0], texts[1]) > 0.8 > twin.jaccard(texts[0], texts[2])
    rank = DedupConfig(priority=["id asc"])
    assert reasons(deduplicate(table_of(texts), rank)) == [None, "near_duplicate", None, "near_duplicate"]
    merged = deduplicate(table_of(texts), rank.model_copy(update={"chains": True}))
    assert reasons(merged) == [None, *["near_duplicate"] * 3]
    for text, similarity in zip(texts, merged.column("similarity").to_pylist(), strict=True):
        assert abs(similarity - twin.jaccard(texts[0], text)) < 0.15


@pytest.mark.parametrize(
    ("priority", "survivor"),
    [(["text_bytes desc"], "d00001"), (["date asc"], "d00002"), (["date desc"], "d00000"), (["quality desc"], "d00003"), ([], "d00000")],
)
def test_priority_chooses_the_survivor(priority, survivor):
    """Unknown values come last in either direction; ties go by id."""
    text = "같은 글 하나 " * 10
    table = table_of([text, text + " !!", text, text], date=["2024", None, "2020", "2022"], quality=[0.1, None, float(0), 0.9])
    result = deduplicate(table, DedupConfig(priority=priority))
    assert set(result.column("cluster").to_pylist()) == {survivor}


def test_a_priority_that_is_no_number_is_unknown():
    """Sorted as the greatest number, a NaN of some scorer would stay before every good document."""
    table = table_of(["같은 글 하나 " * 10] * 3, quality=[0.1, float("nan"), 0.9])
    for direction, survivor in (("desc", "d00002"), ("asc", "d00000")):
        result = deduplicate(table, DedupConfig(priority=[f"quality {direction}"]))
        assert set(result.column("cluster").to_pylist()) == {survivor}


@pytest.mark.parametrize("values", [[[1], [2]], ["top", "bottom"], [True, False]])
@pytest.mark.parametrize("name", ["position", "file", "source", "source_id"])
def test_columns_that_only_share_a_name_with_ours(name, values):
    result = deduplicate(pa.table({"id": ["a", "b"], "text": ["같은 글", "같은 글"], name: values}))
    assert reasons(result) == [None, "exact_duplicate"] and result.column(name).to_pylist() == values


def test_a_repeated_id_is_an_error_and_takes_no_part():
    table = pa.table({"id": ["a", "b", "a"], "text": ["하나", "둘", "둘"]})
    result = deduplicate(table)
    assert result.column("error").to_pylist() == [None, None, "duplicate id 'a': first seen at row 0"]
    assert reasons(result) == [None, None, None] and result.column("cluster").to_pylist() == ["a", "b", None]


def test_switches():
    first, near = twin.families(4, 1, 200, (1,), korean=False)[0]
    table = table_of([first, first, near])
    assert sorted(map(str, reasons(deduplicate(table, DedupConfig(near=False))))) == ["None", "None", "exact_duplicate"]
    assert sorted(map(str, reasons(deduplicate(table, DedupConfig(exact=False))))) == ["None", "near_duplicate", "near_duplicate"]
    assert set(reasons(deduplicate(table, DedupConfig(threshold=1.0)))) == {None, "exact_duplicate"}


def test_other_columns_names_and_types_stay_as_they_were():
    table = pa.table({"key": [1, 2], "body": ["같은 글", "같은 글"], "extra": [[1], None]})
    result = deduplicate(table, text_column="body", id_column="key")
    assert result.column_names == ["key", "body", "extra", *ADDED] and result.select(["key", "body", "extra"]).equals(table)
    assert result.column("cluster").to_pylist() == ["1", "1"]
    assert deduplicate(result, text_column="body", id_column="key").equals(result)
    empty = deduplicate(table.slice(0, 0), text_column="body", id_column="key")
    assert len(empty) == 0 and empty.schema.equals(result.schema)


def test_polars_frames_work():
    frame = polars.DataFrame({"id": ["a", "b"], "text": ["같은 글", "같은 글!"]})
    result = polars.from_arrow(deduplicate(frame.to_arrow(compat_level=polars.CompatLevel.newest())))
    assert result["cluster"].to_list() == ["b", "b"] and result.filter(result["drop_reason"].is_null())["id"].to_list() == ["b"]


def test_buckets_in_slices_and_texts_in_chunks_give_the_same(monkeypatch):
    table = table_of(corpus(3, 5))
    expected = outcome(deduplicate(table))
    monkeypatch.setattr("pipeline.dedup.candidates.SLICE_MEMBERS", 7)
    monkeypatch.setattr("pipeline.dedup.api.VERIFY_BYTES", 2000)
    assert outcome(deduplicate(table)) == expected


def test_chunked_and_sliced_tables_give_the_same():
    texts = corpus(3, 5)
    table = table_of(["x", *texts]).slice(1)
    pieces = pa.concat_tables([table.slice(0, 7), table.slice(7, 0), table.slice(7)])
    assert outcome(deduplicate(pieces)) == outcome(deduplicate(table))


def test_bad_tables_are_refused_in_one_sentence():
    with pytest.raises(UserError, match="no column 'text'"):
        deduplicate(pa.table({"id": ["a"]}))
    with pytest.raises(UserError, match="1 null ids"):
        deduplicate(pa.table({"id": ["a", None], "text": ["", ""]}))
    with pytest.raises(UserError, match="is int64"):
        deduplicate(pa.table({"id": ["a"], "text": [1]}))
    with pytest.raises(UserError, match="'quality', which the table lacks"):
        deduplicate(table_of(["a"]), DedupConfig(priority=["quality desc"]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"exact": False, "near": False}, "nothing to do"),
        ({"priority": ["date"]}, "asc or desc"),
        ({"priority": ["date asc", "date desc"]}, "named twice"),
        ({"threshold": 0.0}, "greater than 0"),
        ({"treshold": 0.8}, "did you mean 'threshold'"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        DedupConfig(**settings)


def test_versions_of_korean_laws(shared_data):
    """Real near-duplicates: which amendments go is what the exact similarity of their texts says."""
    with gzip.open(shared_data / "labelled/dedup/law_versions_docs.jsonl.gz", "rt", encoding="utf-8") as stream:
        documents = [document for document in map(json.loads, stream) if len(document["text"]) < 5000][:110]
    assert len(documents) > 50
    table = pa.table({"id": [document["id"] for document in documents], "text": [document["text"] for document in documents]})
    rows = deduplicate(table).to_pylist()
    text_of = {row["id"]: row["text"] for row in rows}
    sets = {name: set(twin.shingles(text, 27)) for name, text in text_of.items()}
    dropped = [row for row in rows if row["drop_reason"]]
    assert len(dropped) > 5
    for row in dropped:
        one, other = sets[row["id"]], sets[row["cluster"]]
        assert len(one & other) / len(one | other) >= 0.8
    stays = [row["id"] for row in rows if not row["drop_reason"]]
    missed = [
        (one, other)
        for index, one in enumerate(stays)
        for other in stays[:index]
        if len(sets[one] & sets[other]) >= 0.8 * len(sets[one] | sets[other])
    ]
    assert len(missed) <= len(dropped) * 0.05
