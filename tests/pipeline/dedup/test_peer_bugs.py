"""Bugs of other deduplicators, each as a scenario that ours must survive: in memory, and over files where files are what goes wrong.

Which peer had which bug stands in the tests. What `test_deduplicate` shows for the default settings is shown here for the other ones.
"""

from __future__ import annotations

import json
import random
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import ranges
from pipeline.alone import Inputs, plan_documents
from pipeline.dedup.api import deduplicate
from pipeline.dedup.bands import band_keys
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.minhash import minhash_batch
from pipeline.dedup.shingles import Shingling, prepare
from pipeline.dedup.sketch import sketch_batch

from . import twin
from .test_deduplicate import corpus, outcome, reasons, table_of
from .test_move import InlineEngine, documents, move, result, rows_in, split_of, splits_of

WAYS = {
    "default": {},
    "written": {"compare": "written"},
    "words": {"shingle": "words"},
    "words-written": {"shingle": "words", "compare": "written"},
    "minhash": {"sketch": "minhash"},
    "minhash-words": {"sketch": "minhash", "shingle": "words"},
}
"""The ways to compare documents."""

every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
both_modes = pytest.mark.parametrize("chains", [False, True], ids=["leaders", "chains"])
both_sketches = pytest.mark.parametrize("batch", [sketch_batch, minhash_batch])


def texts(count: int, length: int, seed: int = 1, korean: bool = True) -> list[str]:
    """Unrelated texts of `length` words."""
    generator = random.Random(seed)
    return [" ".join(twin.words(generator, length, korean)) for _ in range(count)]


def through_files(tmp_path: Path, given: list[str], cuts: list[int], config: DedupConfig) -> dict[str, tuple]:
    """id -> (cluster, cluster_size, similarity, drop_reason) of texts that lie in splits which begin at `cuts`."""
    return result(move(tmp_path / "run", splits_of(tmp_path / "in", documents(given), cuts), config))


@every_way
def test_short_documents_share_no_empty_key(way):
    """DataFlow PR 526 kept one of ["cat", "dog", "cat"]; Data-Juicer gives all texts below a window one key."""
    short = ["cat", "dog", "cat", "고양이", "개", "한 마디", "두 마디", "a b c d", "b c d a", "", " \n\t", None]
    found = deduplicate(table_of(short), DedupConfig(**way))
    assert reasons(found) == [None, None, "exact_duplicate"] + [None] * 9
    near = deduplicate(table_of(short), DedupConfig(**way, exact=False))
    assert [reason is not None for reason in reasons(near)] == [False, False, True] + [False] * 9


def test_short_documents_share_no_empty_key_in_files(tmp_path):
    found = through_files(tmp_path, ["cat", "", "dog", "개", " ", "cat", "cow"], [2, 5], DedupConfig(threshold=0.1))
    assert [name for name, row in sorted(found.items()) if row[3]] == ["d00005"]


@pytest.mark.parametrize("compare", ["letters", "written"])
def test_a_document_below_one_word_shingle_still_has_near_duplicates(compare):
    """datatrove gives texts of fewer words than a shingle no signature, so that they are never deduplicated."""
    config = DedupConfig(shingle="words", shingle_words=5, compare=compare, exact=False)
    found = deduplicate(table_of(["오늘은 날씨가 맑다", "오늘은  날씨가\n맑다", "오늘은 날씨가 흐리다"]), config)
    assert reasons(found) == ["near_duplicate", None, None]


@pytest.mark.parametrize("compare", ["letters", "written"])
def test_all_white_space_separates_words(compare):
    """Data-Juicer splits at " " only: a text of tabs and line breaks is one word, and below every window."""
    text = texts(1, 30)[0]
    spellings = [text.replace(" ", space) for space in (" ", "\t", "\n", "\r\n", "\u3000", "  ")]
    found = deduplicate(table_of(spellings), DedupConfig(shingle="words", compare=compare, exact=False))
    assert sorted(map(str, reasons(found))) == ["None", *["near_duplicate"] * 5]
    assert set(found.column("similarity").to_pylist()) == {1.0}


def test_unrelated_documents_share_no_band_key():
    """datasketch's LSHBloom adds a band's minima up: 2.4 % of a million unrelated texts then have another's key, in every band."""
    generator, shingles, bands, rows = np.random.default_rng(1), 1000, 14, 8
    minima = 1 - generator.random((30_000, bands * rows)) ** (1 / shingles)  # of so many uniform numbers
    signatures = (minima * 2**32).astype(np.uint32)
    keys = band_keys(signatures, bands, rows)
    assert len(np.unique(keys)) == keys.size
    sums = signatures.reshape(-1, bands, rows).sum(axis=2, dtype=np.uint64)
    assert any(len(np.unique(column)) < len(column) for column in sums.T)  # so these texts would have shown the bug


@both_sketches
def test_band_keys_have_64_bits(batch):
    """text-dedup's 64-bit setting yields "almost entirely 32-bit data"; a hundred thousand keys of 32 bits meet by accident."""
    shingling = Shingling("bytes", 27, False, 1)
    found = batch(prepare(pa.array(texts(300, 40)), shingling), 128, shingling)
    keys = band_keys(found.signatures, 16, 8).ravel()
    for shift in (0, 32):
        half = (keys >> np.uint64(shift)).astype(np.uint32)
        bits = (half[:, None] >> np.arange(32, dtype=np.uint32)) & 1
        assert (np.abs(bits.mean(axis=0) - 0.5) < 6 * 0.5 / len(keys) ** 0.5).all()  # 6 standard errors


@both_sketches
@pytest.mark.parametrize("unit", ["bytes", "words"])
@pytest.mark.parametrize("korean", [False, True])
def test_a_token_in_front_does_not_move_the_sketch(batch, unit, korean):
    """rensa's fastest path samples fifteen tokens by position: one more in front, and all of them are others."""
    given = texts(20, 400, korean=korean)
    shingling = Shingling(unit, 27 if unit == "bytes" else 5, False, 1)
    before, after = (
        batch(prepare(pa.array(side), shingling), 128, shingling).signatures for side in (given, ["x " + one for one in given])
    )
    assert (before == after).mean(axis=1).min() > 0.9


@every_way
def test_hangul_is_compared_in_every_way(way):
    """[^A-Za-z_0-9] and its like delete Hangul: all Korean texts are then equal; only what is between them would be compared."""
    given = [f"{text} 2024 Seoul" for text in texts(12, 40)]
    near = [f"{text} 덧붙인" for text in given]
    found = deduplicate(table_of([*given, *near]), DedupConfig(**way))
    assert reasons(found)[len(given) :] == [None] * len(near)  # the longer ones
    assert found.column("cluster").to_pylist() == found.column("id").to_pylist()[len(given) :] * 2


@pytest.mark.parametrize("form", ["NFD", "NFKD"])
@pytest.mark.parametrize("way", [WAYS["default"], WAYS["words"], WAYS["minhash"]], ids=["default", "words", "minhash"])
def test_jamo_are_the_syllables_that_they_spell(way, form):
    """datatrove compares decomposed jamo, so a text that came decomposed is similar to its twin only by accident of its own."""
    first, other = texts(2, 200)
    near = " ".join([*first.split()[:-1], "끝"])
    found = deduplicate(table_of([first, unicodedata.normalize(form, near), other]), DedupConfig(**way, priority=["id asc"]))
    assert reasons(found) == [None, "near_duplicate", None]
    unit, size = ("words", 5) if "shingle" in way else ("bytes", 27)
    assert found.column("similarity").to_pylist()[1] == twin.jaccard(first, near, size, unit)


@both_modes
def test_a_bucket_is_no_cluster(tmp_path, monkeypatch, chains):
    """text-dedup verifies pairs, and then groups by the old bucket again: of A~B and C, or A~B and C~D, only one document stays.

    The sketches are made to lie, so that all five share all buckets and only their texts can tell them apart.
    """

    def flattering(*arguments):
        sketches = sketch_batch(*arguments)
        return replace(sketches, signatures=np.zeros_like(sketches.signatures))

    monkeypatch.setattr("pipeline.dedup.records.sketch_batch", flattering)
    generator = random.Random(9)
    shared = twin.words(generator, 60, korean=True)
    one, other, third = (" ".join(shared + twin.words(generator, 60, korean=True)) for _ in range(3))
    given = [one, one + " x", other, other + " y", third]
    config = DedupConfig(chains=chains, priority=["id asc"])
    expected = {"d00000": "d00000", "d00001": "d00000", "d00002": "d00002", "d00003": "d00002", "d00004": "d00004"}
    found = deduplicate(table_of(given), config)
    assert dict(zip(found.column("id").to_pylist(), found.column("cluster").to_pylist(), strict=True)) == expected
    segment = move(tmp_path / "run", splits_of(tmp_path / "in", documents(given), [1, 4]), config)
    assert {name: row[0] for name, row in result(segment).items()} == expected
    receipt = json.loads((segment.step_folder("buckets") / "receipts" / "buckets-0000.json").read_text())
    assert receipt["pairs"] == 10  # all of them met


@both_modes
def test_equals_stay_by_id_wherever_they_lie(tmp_path, chains):
    """datatrove's Rust and duplodocus keep whom a thread saw first; marin counted 1,120 documents between two builds."""
    given = corpus(21, 8)
    table = documents(given, text_bytes=[1] * len(given))
    config = DedupConfig(chains=chains, priority=["text_bytes desc", "date asc"])  # equal for all
    expected = result(move(tmp_path / "run-0", splits_of(tmp_path / "in-0", table, []), config))
    dropped = [name for name, row in expected.items() if row[3]]
    assert len(dropped) > 20
    assert all(expected[name][0] < name for name in dropped if expected[name][3] == "exact_duplicate")
    for seed, cuts in ((1, [7, 31]), (2, [50])):
        shuffled = table.take(pa.array(np.random.default_rng(seed).permutation(len(table))))
        shuffled = shuffled.sort_by([("position", "descending")]) if seed == 2 else shuffled
        assert result(move(tmp_path / f"run-{seed}", splits_of(tmp_path / f"in-{seed}", shuffled, cuts), config)) == expected


@pytest.mark.parametrize("count", [255, 256, 257])
@pytest.mark.parametrize("near", [False, True])
def test_the_last_document_of_the_last_split_has_duplicates(tmp_path, count, near):
    """duplodocus ends groups with a number that a document has, datatrove marked the end of one with 4294967295."""
    given = [f"문서 번호 {number}: {number * 7919}" for number in range(count - 1)]
    given.append(f"{given[0]}!" if not near else f"{given[0]} 가나다")
    found = through_files(tmp_path, given, [100, count - 1], DedupConfig(near=near, exact=not near, shingle_bytes=4, threshold=0.5))
    last = f"d{count - 1:05d}"
    assert {name: row[3] for name, row in found.items() if row[3] and row[0] == last} == {
        "d00000": "near_duplicate" if near else "exact_duplicate"
    }


def test_a_duplicate_of_a_duplicate_in_another_split(tmp_path):
    """B is near A, and C equals B: both go to A. As soon as C is only looked up in B's group, it stays or is lost."""
    first, near = twin.families(4, 1, 200, (2,), korean=True)[0]
    longer = first + " 더 긴 글이 남는다"
    found = through_files(tmp_path, [near, longer, near + "!", near], [1, 2], DedupConfig())
    assert {row[:2] for row in found.values()} == {("d00001", 4)}
    assert [row[3] for _, row in sorted(found.items())] == ["near_duplicate", None, "near_duplicate", "near_duplicate"]


def test_unsorted_key_files_lose_no_pair(tmp_path, monkeypatch):
    """datatrove merges files that must be sorted: one that is not loses pairs ("the #1 issue around MinHash"). Ours are read by range,
    whatever the order of their runs."""
    table = documents(corpus(13, 12))
    expected = result(move(tmp_path / "one", splits_of(tmp_path / "in", table, [60]), DedupConfig()))
    monkeypatch.setattr("pipeline.dedup.tasks.KEY_RUN", 1)
    monkeypatch.setattr("pipeline.dedup.move.PART_KEYS", 200)
    monkeypatch.setattr(ranges, "MIN_ROW_GROUP", 8)
    splits = [split_of(tmp_path / "cut", f"s{place}", table.slice(place * 60, 60), row_group_size=9) for place in range(3)]
    segment = move(tmp_path / "many", splits, DedupConfig())
    keys = pq.read_table(segment.step_folder("sketch") / "s0-keys.parquet").column("key").to_numpy()
    assert (np.diff(keys.astype(float)) < 0).sum() >= 5  # several runs
    assert result(segment) == expected


@pytest.mark.parametrize("name", ["s0-sketches.npy", "s0-keys.parquet", "s1.parquet"])
def test_a_file_that_was_cut_off_is_made_again(tmp_path, name):
    """datatrove found half a record at the end of a signature file only in the next step ("buffer multiple of 68 bytes")."""
    splits = splits_of(tmp_path / "in", documents(corpus(14, 5)), [20])
    segment = move(tmp_path / "run", splits, DedupConfig())
    expected = result(segment)
    path = segment.step_folder("sketch") / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    engine = InlineEngine()
    assert result(move(tmp_path / "run", splits, DedupConfig(), engine)) == expected
    assert engine.done == [name.split("-")[0].split(".")[0]]  # this split's sketch, and nothing after it
    assert path.read_bytes() == whole


def test_files_of_one_name_in_two_folders_are_two(tmp_path):
    """decon and duplodocus know files by their base names: what is decided on one is done to the other."""
    rows = {"a": ["하나뿐인 글 가", "둘 다 가진 글"], "b": ["둘 다 가진 글", "하나뿐인 글 나"]}
    for folder, given in rows.items():
        (tmp_path / folder).mkdir()
        lines = [json.dumps({"id": f"{folder}{place}", "text": text}, ensure_ascii=False) for place, text in enumerate(given)]
        (tmp_path / folder / "part.jsonl").write_text("\n".join(lines), encoding="utf-8")
    splits, available = plan_documents(Inputs([str(tmp_path / folder / "part.jsonl") for folder in rows]))
    assert len({split.name for split in splits}) == len(splits)
    segment = move(tmp_path / "run", splits, DedupConfig(), available=available)
    assert sorted(row["id"] for row in rows_in(segment, "kept")) == ["a0", "a1", "b1"]
    assert [row["id"] for row in rows_in(segment, "dropped")] == ["b0"]


def test_hot_buckets_lose_no_exact_copy_and_no_lone_text(tmp_path):
    """Self-joins of a boilerplate bucket take hours, and a cap that throws the bucket away keeps all its copies."""
    shared = texts(1, 60)[0]
    given = [f"{shared} {number}" for number in range(300)] + texts(20, 60, seed=5)
    found = through_files(tmp_path, given, [150], DedupConfig(bucket_limit=4))
    assert sum(row[3] is None for row in found.values()) == 21


def test_odd_ids_are_ids(tmp_path):
    """Ids come from the input: an empty, an enormous one, and one with a zero byte or quotes name a document like any other."""
    ids = ["", "a\0b", "a", "'; drop table documents; --", "x" * 100_000, "가\n나", "none", "-1"]
    table = documents([f"서로 같은 글 {number // 2}" for number in range(8)], id=ids)
    config = DedupConfig(priority=["id desc"])
    found = result(
        move(tmp_path / "run", [split_of(tmp_path, "one", table.slice(0, 3)), split_of(tmp_path, "two", table.slice(3))], config)
    )
    assert set(found) == set(ids)
    for left, right in zip(ids[::2], ids[1::2], strict=True):
        better = max(left, right, key=str.encode)
        assert found[left][0] == found[right][0] == better
    assert outcome(deduplicate(table, config)).keys() == set(ids)
    assert {row["id"]: row["cluster"] for row in deduplicate(table, config).to_pylist()} == {name: row[0] for name, row in found.items()}
