"""Lines that a host repeats: the counts are exact and don't depend on splits, workers, order or copies."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine import LocalEngine
from pipeline.progress import Progress
from pipeline.refine import host_lines as module
from pipeline.refine.config import LinesConfig, RefineConfig, SitesConfig
from pipeline.refine.host_lines import HOST_SHARE, MAX_LINE_BYTES, find_host_lines
from pipeline.refine.lines import Lines, frequent_hashes, host_salts, read_lines
from pipeline.refine.lines_kernel import hash_lines
from pipeline.refine.move import run
from pipeline.schema import with_columns
from pipeline.segment import Segment
from pipeline.splits import DOCUMENTS, Part, Split
from tests.pipeline.refine.twin_lines import BLANKS, code_lines

MENU, FOOTER = "온누리 신문 전체 보기", "온누리 신문은 독자의 목소리를 듣습니다"


@pytest.fixture(scope="module")
def engine():
    engine = LocalEngine(2)
    yield engine
    engine.close()


def corpus(seed: int = 1) -> list[tuple[str | None, str | None]]:
    """(host, text): three hosts with frames of their own, a small host, rows without host or text, and copies."""
    random_ = random.Random(seed)
    rows: list[tuple[str | None, str | None]] = []
    for host, pages in (("a.example", 60), ("b.example", 40), ("small.example", 5), (None, 30), ("", 20)):
        for page in range(pages):
            body = [f"{host} 글 {page}의 {line}번째 줄이다." for line in range(random_.randint(1, 6))]
            frame = [f"  {MENU} "] if random_.random() < 0.5 else []
            section = ["분야별 목차 보기"] if page % 7 == 0 else []
            rows.append((host, "\n".join([*frame, *section, *body, "```", "return result", "```", *([FOOTER] if frame else [])])))
    rows += [("b.example", "홀로 서 있는 줄\n" + "똑같은 글이다." * 3)] * 30  # one document, thirty times
    rows += [("a.example", None), ("a.example", "")]
    random_.shuffle(rows)
    return rows


def splits_of(folder: Path, rows: Sequence[tuple[str | None, str | None]], count: int) -> list[Split]:
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(count):
        mine = rows[number::count]
        table = pa.table({"id": [f"{number}-{place}" for place in range(len(mine))]})
        table = with_columns(table, {"host": [host for host, _ in mine], "text": [text for _, text in mine]})
        path = folder / f"part-{number}.parquet"
        pq.write_table(table, path)
        found.append(Split(f"part-{number}", (Part(str(path), path.name, DOCUMENTS, "test", str(number), path.stat().st_size),)))
    return found


def find(folder: Path, engine: LocalEngine, splits: list[Split], documents: int = 10) -> tuple[str, str] | None:
    return find_host_lines(Segment(folder, "refine", engine, Progress(quiet=True), 0.0), splits, documents, repair=True)


def twin(rows: list[tuple[str | None, str | None]], documents: int = 10) -> dict[tuple[str, str], int]:
    """(host, line) to number of different documents, of the frequent ones."""
    pages = {(host, text.strip(BLANKS)) for host, text in rows if host and text}
    holders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for host, text in pages:
        lines = text.split("\n")
        for line, is_code in zip(lines, code_lines(lines), strict=True):
            if line.strip(BLANKS) and not is_code and len(line.encode()) <= MAX_LINE_BYTES:
                holders[host, line.strip(BLANKS)].add(text)
    of_host = {host: sum(other == host for other, _ in pages) for host, _ in pages}
    return {key: len(texts) for key, texts in holders.items() if len(texts) >= max(documents, HOST_SHARE * of_host[key[0]])}


def hash_of(host: str, line: str) -> int:
    lines = read_lines(pa.array([line], pa.large_string()))
    hashes = np.empty(1, np.uint64)
    hash_lines(lines.data, *lines.spans, host_salts(pa.array([host])), hashes)
    return int(hashes[0])


def test_counts_equal_the_twin_and_copies_count_once(tmp_path, engine):
    rows = corpus()
    found = find(tmp_path / "run", engine, splits_of(tmp_path / "in", rows, 3))
    assert found is not None
    table = pq.read_table(found[0])
    expected = {hash_of(host, line): count for (host, line), count in twin(rows).items()}
    assert dict(zip(table["hash"].to_pylist(), table["documents"].to_pylist(), strict=True)) == expected
    assert table["hash"].to_pylist() == sorted(expected)
    assert hash_of("a.example", MENU) in expected and hash_of("b.example", FOOTER) in expected
    assert hash_of("b.example", "홀로 서 있는 줄") not in expected and hash_of("small.example", MENU) not in expected
    assert hash_of("a.example", "return result") not in expected  # code is not counted


def test_same_bytes_whatever_the_splits_ranges_and_order(tmp_path, engine, monkeypatch):
    rows = corpus(2)
    first = find(tmp_path / "one", engine, splits_of(tmp_path / "in1", rows, 1))
    again = find(tmp_path / "five", engine, list(reversed(splits_of(tmp_path / "in5", rows[::-1], 5))))
    monkeypatch.setattr(module, "TASK_RECORDS", 60)  # many ranges of hosts and of lines
    ranges = find(tmp_path / "ranges", engine, splits_of(tmp_path / "in2", rows, 2))
    assert first and again and ranges
    assert first[1] == again[1] == ranges[1]
    assert Path(first[0]).read_bytes() == Path(again[0]).read_bytes() == Path(ranges[0]).read_bytes()
    assert len(list((tmp_path / "ranges" / "refine" / "steps" / "host_lines_count").glob("*.parquet"))) > 3


def test_what_is_finished_is_not_done_again_and_a_changed_input_is(tmp_path, engine):
    splits = splits_of(tmp_path / "in", corpus(3), 2)
    find(tmp_path / "run", engine, splits)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.parquet")}
    find(tmp_path / "run", engine, splits)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.parquet")} == times
    before = find(tmp_path / "run", engine, splits)
    after = find(tmp_path / "run", engine, splits, documents=25)
    assert before and after and before[1] != after[1]


def test_without_hosts_or_with_too_few_pages_there_is_no_table(tmp_path, engine):
    assert find(tmp_path / "a", engine, splits_of(tmp_path / "in1", [(None, "글"), ("", "글")], 1)) is None
    assert find(tmp_path / "b", engine, splits_of(tmp_path / "in2", [("a.example", f"글 {page}") for page in range(9)], 2)) is None
    path = tmp_path / "no-host.parquet"
    pq.write_table(pa.table({"id": ["1"], "text": pa.array(["글"], pa.large_string())}), path)
    split = Split("x", (Part(str(path), "x", DOCUMENTS, "t", "1", 1),))
    assert find(tmp_path / "c", engine, [split]) is None


def test_many_hosts_without_a_frequent_line_give_an_empty_table(tmp_path, engine):
    rows = [(f"host{page}.example", f"글 {page}\n같은 줄") for page in range(30)]
    found = find(tmp_path / "run", engine, splits_of(tmp_path / "in", rows, 2))
    assert found is not None and len(frequent_hashes(*found)) == 0
    table = with_columns(pa.table({"id": ["1"]}), {"host": ["host1.example"], "text": ["글\n같은 줄\n끝"]})
    assert Lines(True, *found)(table)["text"].to_pylist() == ["글\n같은 줄\n끝"]


def test_the_stage_cuts_the_frames_that_were_found_also_where_repair_changes_the_line(tmp_path, engine):
    odd = "온누리\u200b 신문　구독 안내"  # as crawled; Repair removes the zero-width space and makes the wide one plain
    rows = [("a.example", f"{odd}\n글 {page}번이다.\n다음 줄이다.\n{FOOTER}") for page in range(12)]
    found = find(tmp_path / "run", engine, splits_of(tmp_path / "in", rows, 2))
    assert found is not None
    plain = "온누리 신문 구독 안내"
    text = f"{plain}\n글 99번이다.\n{plain}\n다음 줄이다.\n끝 줄이다.\n셋째 줄이다.\n{FOOTER}"
    table = with_columns(pa.table({"id": ["1", "2"]}), {"host": ["a.example", "b.example"], "text": [text, text]})
    result = Lines(True, *found)(table)
    assert result["text"].to_pylist() == [f"글 99번이다.\n{plain}\n다음 줄이다.\n끝 줄이다.\n셋째 줄이다.", text]
    assert [line["reason"] for line in result["cut_lines"].to_pylist()[0]] == ["host", "host"]


def test_a_limit_counts_only_the_first_rows(tmp_path, engine):
    rows = [("a.example", f"{MENU}\n글 {page}번이다.\n끝이다.") for page in range(40)]
    splits = splits_of(tmp_path / "in", rows, 1)
    segment = Segment(tmp_path / "run", "refine", engine, Progress(quiet=True), 0.0)
    assert find_host_lines(segment, splits, 10, repair=True, limit=9) is None
    found = find_host_lines(segment, splits, 10, repair=True, limit=12)
    assert found and pq.read_table(found[0])["documents"].to_pylist() == [12, 12]


@pytest.mark.parametrize(("documents", "columns", "expected"), [(10, {"host"}, 1), (0, {"host"}, 0), (10, set(), 0)])
def test_the_move_counts_first_and_then_cuts(tmp_path, engine, documents, columns, expected):
    rows = [("a.example", f"글 {page}번이다.\n글 {page}번의 다음 줄은 조금 더 길다.\n{FOOTER}") for page in range(12)]
    splits = splits_of(tmp_path / "in", rows, 2)
    rest = {"preset": (), "languages": (), "min_language_score": 0, "sites": SitesConfig(drop_directives=())}
    config = RefineConfig(lines=LinesConfig(host_documents=documents), **rest)
    segment = Segment(tmp_path / "run", "refine", engine, Progress(quiet=True), 0.0)
    kept, written = run(segment, splits, config, frozenset({"id", "text", "host"} if columns else {"id", "text"}))
    assert {"id", "text", "words", "lang", "cut_lines"} <= written
    table = pa.concat_tables([pq.read_table(split.parts[0].path) for split in kept])
    assert [len(lines) for lines in table["cut_lines"].to_pylist()] == [expected] * 12
    assert {FOOTER in text for text in table["text"].to_pylist()} == {not expected}
