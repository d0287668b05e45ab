"""Benchmark files become items, and bad files are refused with their name and row."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from decontam import ITEM_SCHEMA, DecontamError, FieldMap, read_benchmarks

ROW = {"id": "q1", "benchmark": "Quiz", "split": "test", "question": "What is 2 + 2?", "choices": [3, "four"], "answer": "four"}


def write(path: Path, rows: list[Any]) -> Path:
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if path.suffix == ".gz":
        content = gzip.compress(content)
    if path.suffix == ".zst":
        content = zstandard.compress(content)
    path.write_bytes(content)
    return path


def read(path: Path, **options: Any) -> list[dict[str, Any]]:
    return read_benchmarks(path, **options).to_pylist()


def test_every_format_gives_the_same_items(tmp_path: Path) -> None:
    plain = {"id": "q1", "question": "질문입니다, 무엇일까요?", "answer": "B"}
    for name in ("a.jsonl", "b.jsonl.gz", "c.ndjson.zst"):
        write(tmp_path / name, [plain])
    (tmp_path / "d.json").write_text(json.dumps([plain]), "utf-8")
    (tmp_path / "e.json").write_text(json.dumps({"version": 1, "data": [plain]}), "utf-8")
    (tmp_path / "f.csv").write_text('id,question,answer\nq1,"질문입니다, 무엇일까요?",B\n', "utf-8")
    (tmp_path / "g.tsv.gz").write_bytes(gzip.compress("\ufeffid\tquestion\tanswer\nq1\t질문입니다, 무엇일까요?\tB\n".encode()))
    pq.write_table(pa.Table.from_pylist([plain]), tmp_path / "h.parquet")
    (tmp_path / "notes.txt").write_text("not a benchmark")
    items = read_benchmarks(tmp_path)
    assert items.schema == ITEM_SCHEMA
    assert items["benchmark"].to_pylist() == list("abcdefgh")
    expected = {"split": "", "item": "q1", "field": "question", "text": plain["question"], "question_chars": None}
    assert all({**row, "benchmark": None} == {**expected, "benchmark": None} for row in items.to_pylist())
    assert read_benchmarks(str(tmp_path / "*.jsonl*")).num_rows == 2
    assert read_benchmarks([tmp_path / "a.jsonl", tmp_path]).num_rows == 8


def test_question_with_choices_and_whole_text(tmp_path: Path) -> None:
    (row,) = read(write(tmp_path / "a.jsonl", [ROW]))
    assert row == {
        "benchmark": "Quiz", "split": "test", "item": "q1", "field": "question", "text": "What is 2 + 2?\n3\nfour", "question_chars": 14,
    }  # fmt: skip
    (row,) = read(write(tmp_path / "b.jsonl", [{**ROW, "text": "What is 2 + 2? A B"}]))
    assert (row["text"], row["question_chars"]) == ("What is 2 + 2? A B", 14)
    for choices in ({"text": ["3", "four"], "label": ["A", "B"]}, {"A": "3", "B": "four"}):
        (row,) = read(write(tmp_path / "c.jsonl", [{**ROW, "choices": choices}]))
        assert row["text"] == "What is 2 + 2?\n3\nfour"


def test_answers_count_only_as_long_texts_and_passages_are_their_own_field(tmp_path: Path) -> None:
    solution = "def solve(values):\n    return sorted(value for value in values if value is not None)[0]\n"
    rows = [{"task_id": 7, "prompt": "Smallest value?", "canonical_solution": solution, "context": ["One passage.", "Another."]}]
    got = [(row["item"], row["field"], row["text"]) for row in read(write(tmp_path / "a.jsonl", rows))]
    assert got == [
        ("7", "question", "Smallest value?"),
        ("7", "answer", solution),
        ("7", "passage", "One passage."),
        ("7", "passage", "Another."),
    ]
    for answer in ("B", True, 4, "1989년 2월", None):
        assert len(read(write(tmp_path / "a.jsonl", [{**ROW, "answer": answer}]))) == 1
    assert len(read(write(tmp_path / "a.jsonl", [{"text": f"Q {solution}", "solution": solution}]))) == 1


def test_turns_are_entries_of_their_own(tmp_path: Path) -> None:
    rows = [{"question_id": 1, "prompt": ["First turn", "Second turn"]}, {"turn": 0, "instruction": "x y"}]
    got = [(row["item"], row["text"]) for row in read(write(tmp_path / "a.jsonl", rows))]
    assert got == [("1", "First turn"), ("1", "Second turn"), ("2", "x y")]
    joined = read(write(tmp_path / "a.jsonl", [{"question": ["First turn", "Second turn"], "text": "First turn\nSecond turn"}]))
    assert [row["text"] for row in joined] == ["First turn", "Second turn"]


def test_field_map_by_record_name_and_by_file_name(tmp_path: Path) -> None:
    keys = FieldMap(question=("stem",), item=("nr",))
    write(tmp_path / "odd.jsonl", [{"stem": "Who wrote it?", "nr": 3, "text": "unrelated"}])
    assert read(tmp_path, field_maps={"odd": keys})[0]["text"] == "unrelated"
    keys = FieldMap(text=(), question=("stem",), item=("nr",))
    assert [(row["item"], row["text"]) for row in read(tmp_path, field_maps={"odd": keys})] == [("3", "Who wrote it?")]
    write(tmp_path / "odd.jsonl", [{"stem": "Who wrote it?", "nr": 3, "benchmark": "Named"}])
    assert read(tmp_path, field_maps={"Named": keys})[0]["benchmark"] == "Named"
    with pytest.raises(DecontamError, match="tuple of key names"):
        FieldMap(question="stem")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"question": "x y z"}\n\n{"question": \n', "row 3, is not valid JSON"),
        ("a.jsonl", b'["question"]\n', "row 1, is not a JSON object"),
        ("a.jsonl", b'{"frage": "x", "nr": 1}\n', "row 1, has no text .* its fields are frage, nr"),
        ("a.jsonl", b'{"question": "x"}\n{"question": " "}\n', "row 2, has no text"),
        ("a.jsonl", b'{"question": "\xff"}\n', "not UTF-8"),
        ("a.jsonl", b"\n", "holds no items"),
        ("a.jsonl.gz", b"no gzip", "cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"question": "x"}\n' * 1000)[:40], "cannot be read"),
        ("a.jsonl.zst", b"no zstd at all", "cannot be read"),
        ("a.jsonl", b'{"question": "x"}\n{"question": "x \\ud800 y"}\n', r"row 2, has the lone surrogate \\ud800"),
        ("a.jsonl", b'{"question": "x", "\\udfff": 1}\n', r"row 1, has the lone surrogate \\udfff"),
        ("a.jsonl", b'{"question": "x", "nr": ' + b"7" * 5000 + b"}\n", "row 1, has a number of over 4300 digits"),
        ("a.json", b'[{"question": "x"}, {"question": ["\\udc00"]}]', "row 2, has the lone surrogate"),
        ("a.json", b'[{"question": "x"}, {"nr": [-' + b"7" * 5000 + b"]}]", "row 2, has a number of over 4300 digits"),
        ("a.json", b'{"a": 1}', "holds no list of items"),
        ("a.json", b"[1]", "row 1, is not a JSON object"),
        ("a.json", b"[" * 100_000, "not valid JSON"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.csv", b'question\n"open\n', "row 1, is not valid"),
        ("a.csv", b"question\na,b\n", "row 1, has more cells"),
        ("a.txt", b"x", "no benchmark file"),
    ],
)
def test_bad_files_are_named_with_their_row(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DecontamError, match=message) as caught:
        read_benchmarks(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    for paths in (tmp_path / "missing.jsonl", tmp_path, str(tmp_path / "*.jsonl")):
        with pytest.raises(DecontamError, match="names no benchmark file"):
            read_benchmarks(paths)
    with pytest.raises(DecontamError, match="no benchmark path"):
        read_benchmarks([])


def test_files_of_one_name_are_benchmarks_of_their_own(tmp_path: Path) -> None:
    for folder in ("gsm8k", "mmlu", "old/mmlu"):
        (tmp_path / folder).mkdir(parents=True)
        write(tmp_path / folder / "test.jsonl", [{"stem": f"Question of {folder}?"}])
    write(tmp_path / "lone.jsonl", [ROW | {"benchmark": None}])
    keys = FieldMap(text=("stem",))
    names = {row["text"]: row["benchmark"] for row in read(tmp_path, field_maps={"test": keys})}
    nearest = tmp_path.name
    assert names == {
        "Question of gsm8k?": "gsm8k/test", "Question of mmlu?": f"{nearest}/mmlu/test", "Question of old/mmlu?": "old/mmlu/test",
        "What is 2 + 2?\n3\nfour": "lone",
    }  # fmt: skip
    two = [tmp_path / "gsm8k" / "test.jsonl", tmp_path / "mmlu" / "test.jsonl"]
    with pytest.raises(DecontamError, match=r"mmlu/test\.jsonl, row 1, has no text"):
        read_benchmarks(two, {"gsm8k/test": keys})
    assert set(read_benchmarks(two, {"gsm8k/test": keys, "mmlu/test": keys})["benchmark"].to_pylist()) == {"gsm8k/test", "mmlu/test"}


def test_files_that_no_folder_tells_apart_are_refused(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.jsonl.gz"):
        write(tmp_path / name, [ROW])
    with pytest.raises(DecontamError, match=r"a\.jsonl and .*a\.jsonl\.gz would be one benchmark, 'a'"):
        read_benchmarks(tmp_path)


def test_one_file_by_two_paths_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.jsonl", [ROW])
    monkeypatch.chdir(tmp_path)
    assert read_benchmarks(["a.jsonl", tmp_path / "a.jsonl"]).num_rows == 1


def test_long_csv_cells_are_read(tmp_path: Path) -> None:
    long = "passage " * 20_000
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["question", "context"], ["Where?", long]])
    (tmp_path / "b.tsv").write_text(f"question\tcontext\nWhere?\t{long}\n")
    limit = csv.field_size_limit(131_072)  # an earlier test may have raised it
    try:
        assert [row["text"] for row in read(tmp_path)] == ["Where?", long] * 2
    finally:
        csv.field_size_limit(limit)
