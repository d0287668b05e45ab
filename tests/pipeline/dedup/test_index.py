"""The index across crawls: two crawls one after the other give what both at once give when the older documents go first."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.dedup.config import DedupConfig
from pipeline.dedup.index import open_index
from pipeline.errors import UserError

from .test_deduplicate import corpus
from .test_move import AVAILABLE, InlineEngine, content, documents, move, result, rows_in, split_of, splits_of


def crawls() -> tuple[pa.Table, pa.Table]:
    """Two crawls that share families of near duplicates, exact copies, and nothing else."""
    first, second = corpus(5, 25), corpus(5, 25)[::2] + corpus(6, 15) + [text + " 덧붙인 말" for text in corpus(5, 25)[1::3]]
    tables = []
    for day, texts in (("2024-01-01", first), ("2025-01-01", second)):
        table = documents(texts, date=[day] * len(texts))
        ids = [f"{day[:4]}-{number:05d}" for number in range(len(texts))]
        tables.append(table.set_column(0, "id", pa.array(ids)))
    return tables[0], tables[1]


def config(tmp_path: Path | None, **settings) -> DedupConfig:
    given = {"priority": ["date asc", "text_bytes desc"], "index": str(tmp_path / "index") if tmp_path else None}
    return DedupConfig(**{**given, **settings})


@pytest.mark.parametrize("settings", [{}, {"sketch": "minhash", "threshold": 0.7}, {"near": False}])
def test_a_crawl_after_another_gives_what_both_give_at_once(tmp_path, settings):
    first, second = crawls()
    whole = result(move(tmp_path / "whole", splits_of(tmp_path / "in", pa.concat_tables([first, second]), [60]), config(None, **settings)))
    apart = result(move(tmp_path / "one", splits_of(tmp_path / "in1", first, [30]), config(tmp_path, **settings)))
    segment = move(tmp_path / "two", splits_of(tmp_path / "in2", second, [20, 50]), config(tmp_path, **settings))
    found = result(segment)
    both = apart | found
    assert {name: row[3] for name, row in both.items()} == {name: row[3] for name, row in whole.items()}  # the same survivors
    # A copy of an older document that was dropped shares its fate at once, and finds a survivor as close or closer by itself.
    assert all(both[name][2] >= row[2] for name, row in whole.items())
    assert sum(both[name][0] != row[0] for name, row in whole.items()) < 0.1 * len(whole)
    sizes = Counter(row[0] for row in both.values())
    assert {row[0]: row[1] for row in found.values()} == {row[0]: sizes[row[0]] for row in found.values()}  # of both crawls
    across = [name for name, row in found.items() if row[0].startswith("2024")]
    assert len(across) > 20
    clusters = {row["id"]: row for row in pq.read_table(segment.directory / "clusters.parquet").to_pylist()}
    assert {row["id"] for row in clusters.values() if row["indexed"]} == {found[name][0] for name in across}
    assert all(row["survivor"] and row["cluster_size"] == sizes[row["id"]] for row in clusters.values() if row["indexed"])


def test_a_third_crawl_sees_what_both_left(tmp_path):
    first, second = crawls()
    move(tmp_path / "one", splits_of(tmp_path / "in1", first, []), config(tmp_path))
    move(tmp_path / "two", splits_of(tmp_path / "in2", second, []), config(tmp_path))
    renamed = second.set_column(0, "id", pa.array([f"new-{number}" for number in range(len(second))]))
    third = result(move(tmp_path / "three", splits_of(tmp_path / "in3", renamed, [9]), config(tmp_path)))
    kept = [name for name, row in third.items() if row[3] is None]
    texts = dict(zip(renamed.column("id").to_pylist(), renamed.column("text").to_pylist(), strict=True))
    assert all(not texts[name] for name in kept)  # blank texts are nobody's duplicates
    sizes = {row[0]: row[1] for row in third.values()}
    assert max(sizes.values()) > 3


def test_a_repeated_crawl_gives_the_same_bytes_and_is_not_added_twice(tmp_path):
    first, second = crawls()
    one, two = splits_of(tmp_path / "in1", first, [30]), splits_of(tmp_path / "in2", second, [20])
    move(tmp_path / "one", one, config(tmp_path))
    expected = content(move(tmp_path / "two", two, config(tmp_path)))
    runs = sorted(path.name for path in (tmp_path / "index" / "runs").iterdir())
    engine = InlineEngine()
    move(tmp_path / "one", one, config(tmp_path), engine)
    move(tmp_path / "two", two, config(tmp_path), engine)
    assert engine.done == []
    elsewhere = content(move(tmp_path / "again", two, config(tmp_path)))
    assert {name: facts for name, facts in expected.items() if "steps/index" not in name} == elsewhere
    assert sorted(path.name for path in (tmp_path / "index" / "runs").iterdir()) == runs == ["000001", "000002"]


def test_a_crawl_that_died_before_it_was_added_is_added_the_next_time(tmp_path, monkeypatch):
    first, _ = crawls()
    splits = splits_of(tmp_path / "in1", first, [30])

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.dedup.index.os.rename", die)
    with pytest.raises(KeyboardInterrupt):
        move(tmp_path / "one", splits, config(tmp_path))
    assert list((tmp_path / "index" / "runs").iterdir()) == []
    monkeypatch.undo()
    engine = InlineEngine()
    move(tmp_path / "one", splits, config(tmp_path), engine)
    assert engine.done == [] and [path.name for path in (tmp_path / "index" / "runs").iterdir()] == ["000001"]


def test_the_index_can_be_moved_and_the_old_run_removed(tmp_path):
    first, second = crawls()
    move(tmp_path / "one", splits_of(tmp_path / "in1", first, []), config(tmp_path))
    shutil.rmtree(tmp_path / "one")
    shutil.rmtree(tmp_path / "in1")
    (tmp_path / "moved").mkdir()
    shutil.move(tmp_path / "index", tmp_path / "moved" / "index")
    found = result(move(tmp_path / "two", splits_of(tmp_path / "in2", second, []), config(tmp_path / "moved")))
    assert sum(row[0].startswith("2024") for row in found.values()) > 20


def test_an_id_of_the_index_is_a_repeated_id(tmp_path):
    first, _ = crawls()
    move(tmp_path / "one", splits_of(tmp_path / "in1", first.slice(0, 5), []), config(tmp_path))
    kept = {path: pq.read_table(path).column("id").to_pylist() for path in (tmp_path / "one" / "dedup" / "kept").glob("*.parquet")}
    taken = next(iter(kept.values()))[0]
    table = documents(["아주 다른 글이 왔다", "또 다른 글이다"], id=[taken, "fresh"])
    segment = move(tmp_path / "two", [split_of(tmp_path / "in2", "s", table)], config(tmp_path))
    assert [(row["id"], row["error"][: len(f"duplicate id '{taken}'")]) for row in rows_in(segment, "quarantine")] == [
        (taken, f"duplicate id '{taken}'")
    ]


def test_other_settings_than_the_index_has_are_refused(tmp_path):
    first, second = crawls()
    splits = splits_of(tmp_path / "in1", first, [])
    move(tmp_path / "one", splits, config(tmp_path))
    with pytest.raises(UserError, match="made with seed 1, and dedup now has 2"):
        move(tmp_path / "two", splits_of(tmp_path / "in2", second, []), config(tmp_path, seed=2))
    with pytest.raises(UserError, match="made with bands 17"):
        move(tmp_path / "two", splits_of(tmp_path / "in2", second, []), config(tmp_path, threshold=0.5))
    with pytest.raises(UserError, match=r"this crawl is in the index as .*000001', with bucket_limit 64 and not 5"):
        move(tmp_path / "three", splits, config(tmp_path, bucket_limit=5))


def test_folders_that_are_no_index_are_refused(tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "holiday.jpg").write_text("")
    with pytest.raises(UserError, match=r"holds 'holiday\.jpg' and is no index"), open_index(tmp_path / "index", config(tmp_path)):
        pass
    (tmp_path / "index" / "holiday.jpg").unlink()
    (tmp_path / "index" / "index.json").write_text("{")
    with pytest.raises(UserError, match=r"index\.json' can't be read"), open_index(tmp_path / "index", config(tmp_path)):
        pass
    (tmp_path / "index" / "index.json").write_text(json.dumps({"format": 99, "settings": {}}))
    with pytest.raises(UserError, match="has format 99"), open_index(tmp_path / "index", config(tmp_path)):
        pass
    with pytest.raises(UserError, match="is a URL"):
        move(tmp_path / "run", [], DedupConfig(index="s3://bucket/index"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_text("")
    with pytest.raises(UserError, match="is no index"), open_index(tmp_path / "photos", config(tmp_path)):
        pass
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["holiday.jpg"]  # nothing was made in it


def test_what_a_killed_run_left_is_no_foreign_file(tmp_path):
    (tmp_path / "index" / "runs").mkdir(parents=True)
    (tmp_path / "index" / ".index.json.123.tmp").write_text("{")
    (tmp_path / "index" / ".tmp").mkdir()
    first, _ = crawls()
    move(tmp_path / "one", splits_of(tmp_path / "in1", first, []), config(tmp_path))
    assert [path.name for path in (tmp_path / "index" / "runs").iterdir()] == ["000001"]


def unrelated(tmp_path: Path, number: int, **settings) -> dict[str, tuple]:
    """What a crawl of three texts comes to, which no other has."""
    table = documents([f"{number} 번째 글 {place} {number * 7919}" for place in range(3)], id=[f"{number}-{place}" for place in range(3)])
    return result(move(tmp_path / f"run-{number}", splits_of(tmp_path / f"in-{number}", table, []), config(tmp_path, **settings)))


def test_an_index_that_lost_something_is_refused(tmp_path):
    for number in range(3):
        unrelated(tmp_path, number)
    runs = tmp_path / "index" / "runs"
    whole = (runs / "000001" / "s0-texts.parquet").read_bytes()
    (runs / "000001" / "s0-texts.parquet").write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"000001/s0-texts\.parquet' is not there in the size that it was written"):
        unrelated(tmp_path, 3)
    shutil.rmtree(runs / "000001")
    with pytest.raises(UserError, match="has '000002' and lacks run '000001'"):
        unrelated(tmp_path, 3)


def test_empty_crawls_and_those_without_a_usable_row(tmp_path):
    first, second = crawls()
    without = result(move(tmp_path / "alone", splits_of(tmp_path / "in1", first, [30]), config(None)))
    move(tmp_path / "empty", [], config(tmp_path))
    move(tmp_path / "rowless", splits_of(tmp_path / "in0", first.slice(0, 0), []), config(tmp_path))
    assert result(move(tmp_path / "one", splits_of(tmp_path / "in1", first, [30]), config(tmp_path))) == without
    again = documents(["새 글 하나", "새 글 둘"], id=[name for name, row in sorted(without.items()) if row[3] is None][:2])
    segment = move(tmp_path / "ids", splits_of(tmp_path / "in2", again, [1]), config(tmp_path))
    assert rows_in(segment, "kept") == []
    assert all(row["error"].endswith("of a crawl in the index") for row in rows_in(segment, "quarantine"))
    # a crawl with splits of the same names, later ones, and then this crawl again
    expected = content(move(tmp_path / "two", splits_of(tmp_path / "in3", second, [20]), config(tmp_path)))
    unrelated(tmp_path, 1)
    found = content(move(tmp_path / "again", splits_of(tmp_path / "in3", second, [20]), config(tmp_path)))
    assert found == {name: hash_ for name, hash_ in expected.items() if "steps/index" not in name}
    assert len(list((tmp_path / "index" / "runs").iterdir())) == 6


def test_addresses_of_the_index_are_known(tmp_path):
    first = documents(["하나 가나다", "둘 라마바"], url=["http://a.kr/1", "https://www.a.kr/2/"], id=["a", "b"])
    second = documents(["전혀 다른 것", "셋 사아자", "둘 라마바"], url=["https://a.kr/1#x", None, "http://b.kr"], id=["x", "y", "z"])
    for name, table in (("one", first), ("two", second)):
        splits = splits_of(tmp_path / f"in-{name}", table, [1])
        segment = move(tmp_path / name, splits, config(tmp_path, url=True), available=AVAILABLE | {"url"})
    found = result(segment)
    assert [(found[name][0], found[name][3]) for name in "xyz"] == [("a", "url_duplicate"), ("y", None), ("b", "exact_duplicate")]


def test_a_run_folder_used_again_for_another_index(tmp_path):
    """What the folder's steps left is taken over only where it is the same: neither other bands' keys, nor other crawls' cluster sizes."""
    first, _ = crawls()
    splits = splits_of(tmp_path / "in1", first, [])
    for name, folder, threshold in (("i1", "run", 0.8), ("i2", "run", 0.7), ("i3", "fresh", 0.7)):
        move(tmp_path / folder, splits, config(tmp_path, index=str(tmp_path / name), threshold=threshold))
    keys = [pq.read_table(tmp_path / name / "runs" / "000001" / "s0-keys.parquet") for name in ("i2", "i3")]
    assert keys[0].equals(keys[1])
    text = "같은 글이 여러 번 들어온다 " * 5
    for copies in (1, 2):
        here = config(tmp_path, index=str(tmp_path / f"copies-{copies}"))
        counts = {f"one-{copies}": 1, f"two-{copies}": copies, "three": 1}
        for number, (folder, count) in enumerate(counts.items()):
            table = documents([text] * count, id=[f"{number}-{place}" for place in range(count)])
            segment = move(tmp_path / folder, splits_of(tmp_path / f"in-{folder}", table, []), here)
        assert [row[1] for row in result(segment).values()] == [2 + copies]


def test_the_output_folder_is_no_index(tmp_path):
    for folder in (tmp_path, tmp_path / "run", tmp_path / "run" / "dedup"):
        with pytest.raises(UserError, match="is the output folder or holds it"):
            move(tmp_path / "run", [], DedupConfig(index=str(folder)))


def test_an_index_is_used_by_one_crawl_at_a_time(tmp_path):
    with (
        open_index(tmp_path / "index", config(tmp_path)),
        pytest.raises(UserError, match="another crawl is being added"),
        open_index(tmp_path / "index", config(tmp_path)),
    ):
        pass
