"""Finding inputs and cutting them into splits: names and ranges depend on the files, not on how they were listed."""

from __future__ import annotations

import errno
import itertools
import os
import random

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.files import find_files, open_file
from pipeline.splits import Part, plan_splits


def part(name: str, size: int, format_: str = "jsonl", source: str = "s") -> Part:
    return Part(path=f"/x/{name}", name=name, format=format_, source=source, fingerprint="f", size=size)


def test_globs_folders_and_single_files_name_files_relative_to_what_was_asked(tmp_path):
    for name in ("a/x.jsonl", "a/b/y.jsonl", "z.txt", ".hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [file.name for file in find_files([str(tmp_path)])] == ["a/b/y.jsonl", "a/x.jsonl", "z.txt"]
    assert [file.name for file in find_files([str(tmp_path / "**/*.jsonl")])] == ["a/b/y.jsonl", "a/x.jsonl"]
    assert [file.name for file in find_files([str(tmp_path / "z.txt"), str(tmp_path / "z.txt")])] == ["z.txt"]


def test_files_of_one_name_get_as_many_parents_as_tell_them_apart(tmp_path):
    for name in ("one/part.jsonl", "two/part.jsonl", "other.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    patterns = [str(tmp_path / "one/part.jsonl"), str(tmp_path / "two/part.jsonl"), str(tmp_path / "other.jsonl")]
    names = [file.name for file in find_files(patterns)]
    assert names == ["one/part.jsonl", "other.jsonl", "two/part.jsonl"]
    assert [file.name for file in find_files(patterns[::-1])] == names


def test_folders_are_walked_through_links_but_not_in_circles_and_never_into_pipes_or_hidden_places(tmp_path):
    for name in ("real/x.jsonl", "other/y.jsonl", "real/.git/z.jsonl", "real/_temporary/w.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "real" / "linked").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "back").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "real" / "pipe.jsonl")
    assert [file.name for file in find_files([str(tmp_path / "real")])] == ["linked/y.jsonl", "x.jsonl"]
    (tmp_path / "real" / "broken.jsonl").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"can't read .*broken\.jsonl"):
        find_files([str(tmp_path / "real")])


def test_a_file_name_that_is_not_utf_8_is_spelled_out(tmp_path):
    raw = os.fsencode(tmp_path) + b"/" + "뉴스".encode("cp949") + b".jsonl"
    with open(raw, "wb") as stream:
        stream.write(b"{}")
    (file,) = find_files([str(tmp_path)])
    assert file.name == "\\xb4\\xba\\xbd\\xba.jsonl"
    with open_file(file.path) as stream:
        assert stream.read() == b"{}"
    assert plan_splits([Part(file.path, file.name, "jsonl", "s", "f", 2)], 1000)[0].name.isascii()


def test_a_server_that_fails_is_tried_again_and_then_an_os_error(monkeypatch):
    monkeypatch.setattr("pipeline.files.RETRY_SECONDS", (0.0, 0.0))
    with fsspec.open("memory://flaky/x", "wb") as stream:
        stream.write(b"0123456789")
    remote = open_file("memory://flaky/x")
    reads, real = [], remote._stream.read

    def failing(times: int):
        def read(size: int) -> bytes:
            reads.append(size)
            if len(reads) <= times:
                remote._stream.seek(7)
                raise RuntimeError("503, come back later")
            return real(size)

        return read

    monkeypatch.setattr(remote._stream, "read", failing(2))
    assert remote.read(4) == b"0123" and len(reads) == 3
    reads.clear()
    monkeypatch.setattr(remote._stream, "read", failing(99))
    with pytest.raises(OSError, match=r"the server failed 3 times .*come back later") as caught:
        remote.read(4)
    assert caught.value.errno == errno.EIO


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [("missing/*.jsonl", "no file matches"), ("", "empty"), ("empty", "has no files"), ("memory://nothing/*.x", "no file matches")],
)
def test_what_is_not_there_is_one_sentence(tmp_path, monkeypatch, pattern, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=sentence) as caught:
        find_files([pattern])
    assert "\n" not in str(caught.value)


def test_urls_are_listed_and_fingerprinted_by_content():
    with fsspec.open("memory://crawl/a/x.jsonl", "wb") as stream:
        stream.write(b"one")
    first = find_files(["memory://crawl/a/*.jsonl"])
    with fsspec.open("memory://crawl/a/x.jsonl", "wb") as stream:
        stream.write(b"two")
    second = find_files(["memory://crawl/a/*.jsonl"])
    assert [file.name for file in first] == ["x.jsonl"] and first[0].fingerprint != second[0].fingerprint


sizes = st.lists(st.integers(1, 5000), min_size=1, max_size=30)


@given(sizes=sizes, seed=st.integers(0, 99), split_bytes=st.sampled_from([100, 1000, 10_000]))
def test_splits_do_not_depend_on_the_order_of_inputs_and_cover_every_byte_once(sizes, seed, split_bytes):
    parts = [part(f"f{index}.jsonl", size) for index, size in enumerate(sizes)]
    shuffled = random.Random(seed).sample(parts, len(parts))
    splits = plan_splits(parts, split_bytes)
    assert splits == plan_splits(shuffled, split_bytes)
    assert len({split.name for split in splits}) == len(splits)
    covered: dict[str, list[tuple[int, int]]] = {}
    for split in splits:
        for piece in split.parts:
            covered.setdefault(piece.name, []).append((piece.start, piece.stop if piece.stop is not None else piece.size))
    for one in parts:
        edges = sorted(covered[one.name])
        assert edges[0][0] == 0 and edges[-1][1] == one.size
        assert all(left[1] == right[0] for left, right in itertools.pairwise(edges))


def test_only_what_can_be_read_from_the_middle_is_cut():
    cut = {
        name: len(plan_splits([part(name, 1000, format_)], 300))
        for name, format_ in (("a.jsonl", "jsonl"), ("a.jsonl.gz", "jsonl"), ("a.warc.gz", "warc"), ("a.tar.gz", "tar"), ("a.html", "html"))
    }
    assert cut == {"a.jsonl": 4, "a.jsonl.gz": 1, "a.warc.gz": 4, "a.tar.gz": 1, "a.html": 1}


def test_parquet_is_cut_at_row_groups_and_an_unreadable_one_is_left_whole(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": [str(number) * 50 for number in range(1000)]}), path, row_group_size=100)
    whole = Part(path=str(path), name="x.parquet", format="parquet", source="s", fingerprint="f", size=path.stat().st_size)
    pieces = [split.parts[0] for split in plan_splits([whole], 1500)]
    assert len(pieces) > 1 and pieces[0].start == 0 and pieces[-1].stop == 10
    assert all(left.stop == right.start for left, right in itertools.pairwise(pieces))
    path.write_bytes(b"PAR1 this is no parquet file, but long enough to be cut " * 100)
    broken = Part(path=str(path), name="x.parquet", format="parquet", source="s", fingerprint="f", size=path.stat().st_size)
    assert [split.parts for split in plan_splits([broken], 1500)] == [(broken,)]


def test_split_names_are_safe_file_names():
    names = [split.name for split in plan_splits([part("../../etc/pass wd;$(x).jsonl", 10), part("뉴스/기사.jsonl", 10**9)], 10**9)]
    assert all(name == name.replace("/", "").replace(".", "").replace(" ", "") and name.isascii() for name in names)
