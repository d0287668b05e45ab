"""Benchmark files become items, and bad files are refused with their name and row."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decontam import readers
from decontam.benchmarks import ITEM_SCHEMA, BenchmarkFile, check_findable, iter_benchmarks, read_benchmarks
from decontam.errors import DecontamError
from decontam.fields import FieldMap, field_map
from decontam.normalize import normalize_text
from decontam.settings import MatchSettings

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
    expected = {"split": "", "item": "q1", "field": "question", "text": plain["question"], "question_chars": None, "answer": None}
    assert all({**row, "benchmark": None} == {**expected, "benchmark": None} for row in items.to_pylist())
    assert read_benchmarks(str(tmp_path / "*.jsonl*")).num_rows == 2
    assert read_benchmarks([tmp_path / "a.jsonl", tmp_path]).num_rows == 8


def test_question_with_choices_and_whole_text(tmp_path: Path) -> None:
    asked = {**ROW, "question": "How many apples are left of the seven on the table when two children eat two each?"}
    (row,) = read(write(tmp_path / "a.jsonl", [asked]))
    assert row == {
        "benchmark": "Quiz", "split": "test", "item": "q1", "field": "question", "text": f"{asked['question']}\n3\nfour",
        "question_chars": len(asked["question"]), "answer": "four",
    }  # fmt: skip
    (row,) = read(write(tmp_path / "b.jsonl", [{**asked, "text": f"{asked['question']} A B"}]))
    assert (row["text"], row["question_chars"]) == (f"{asked['question']} A B", len(asked["question"]))
    for choices in ({"text": ["3", "four"], "label": ["A", "B"]}, {"A": "3", "B": "four"}):
        (row,) = read(write(tmp_path / "c.jsonl", [{**asked, "choices": choices, "answer": "B"}]))
        assert (row["text"], row["answer"]) == (f"{asked['question']}\n3\nfour", "four")


def test_short_questions_are_also_written_with_labelled_choices_and_alone(tmp_path: Path) -> None:
    rows = read(write(tmp_path / "a.jsonl", [ROW]))
    assert [(row["text"], row["question_chars"]) for row in rows] == [
        ("What is 2 + 2?\n3\nfour", 14),
        ("What is 2 + 2?\nA. 3\nB. four", 14),
        ("What is 2 + 2?\n1. 3\n2. four", 14),
        ("What is 2 + 2?", None),
    ]
    assert {(row["item"], row["field"], row["answer"]) for row in rows} == {("q1", "question", "four")}


def test_a_question_that_several_items_ask_does_not_count_alone(tmp_path: Path) -> None:
    question = "Which of the following statements about the reading passage above is supported by the author?"
    rows = [{"question": question, "choices": [f"It is {word}.", f"It was {word}."]} for word in ("old", "new")]
    got = read(write(tmp_path / "a.jsonl", rows))
    assert {row["question_chars"] for row in got} == {None}
    assert f"{question}\nA. It is new.\nB. It was new." in {row["text"] for row in got}
    assert question not in {row["text"] for row in got}
    (row,) = read(write(tmp_path / "a.jsonl", rows[:1]))
    assert row["question_chars"] == len(question)


WORD = st.text(st.sampled_from("abcdefgh 가나다라마바사 ,"), min_size=4, max_size=12).filter(lambda text: any(map(str.isalpha, text)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=WORD, choices=st.lists(st.lists(WORD, min_size=6, max_size=9).map(" ".join), min_size=2, max_size=5))
@pytest.mark.parametrize("labels", ["", "A. ", "(a) ", "1) ", "① "])
def test_a_page_that_spells_the_choices_out_holds_a_whole_text(tmp_path: Path, question: str, choices: list[str], labels: str) -> None:
    places = {"A. ": "ABCDE", "(a) ": "abcde", "1) ": "12345", "① ": "①②③④⑤"}.get(labels, "     ")
    label = labels.strip() or " "
    page = f"Quiz!\n{question}\n" + "\n".join(
        f"{label.replace(label.strip('().') or ' ', places[place])} {text}" for place, text in enumerate(choices)
    )
    rows = read(write(tmp_path / "a.jsonl", [{"question": question, "choices": choices}]))
    whole = [fold for row in rows if len(fold := normalize_text(row["text"])) >= 50 and fold in normalize_text(page)]
    assert whole, (page, rows)


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
        assert {row["field"] for row in read(write(tmp_path / "a.jsonl", [{**ROW, "answer": answer}]))} == {"question"}
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
    assert [row["text"] for row in read(tmp_path, field_maps={"odd": keys})] == ["Who wrote it?", "unrelated"]
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
        ("a.json", b'{"question": "x"}\n{"question": "y"}\n', r"more than one JSON value; call it \.jsonl"),
        ("a.csv", b"question,question\nx,y\n", "two columns called 'question'"),
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
        ("a.json", b"[" * 1_000_000, "not valid JSON"),
        ("a.jsonl", b'{"question": ' + b'["x", ' * 20 + b"1" + b"]" * 20 + b"}", "row 1, has a text that is more than 16"),
        ("a.jsonl", b'{"question": "x", "id": [1]}', "row 1, has an item id of type list"),
        ("a.jsonl", b'{"question": "x", "split": true}', "row 1, has a split of type bool"),
        ("a.jsonl", b'{"question": "x", "benchmark": "\\u001b[2J"}', r"row 1, has the benchmark '\\x1b\[2J'"),
        ("a.jsonl", b'{"question": "x", "id": "' + b"i" * 201 + b'"}', "row 1, has the item id .* at most 200"),
        ("a.jsonl", b'{"question": 5, "context": ""}', "row 1, has no text"),
        ("a.jsonl", b'{"context": "A passage without a question key."}', "row 1, has no text"),
        ("a.json", b'{"data": [{"paragraphs": [{"context": "x"}]}]}', "entry 1, has a paragraph without a list of questions"),
        ("a.csv", b"", "holds no items"),
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
    write(tmp_path / "lone.jsonl", [{"question": "Alone?"}])
    keys = FieldMap(text=("stem",))
    names = {row["text"]: row["benchmark"] for row in read(tmp_path, field_maps={"test": keys})}
    nearest = tmp_path.name
    assert names == {
        "Question of gsm8k?": "gsm8k/test", "Question of mmlu?": f"{nearest}/mmlu/test", "Question of old/mmlu?": "old/mmlu/test",
        "Alone?": "lone",
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
    write(tmp_path / "a.jsonl", [{"question": "Once?"}])
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


LETTERED = "Question: Where is the revolving door used for security?\nChoices:\nA. a bank\n(B) a mall\nAnswer:"


@pytest.mark.parametrize(
    ("record", "answer"),
    [
        ({"choices": ["red", "blue"], "answer": "B"}, "blue"),
        ({"choices": ["red", "blue"], "answer": "(a)"}, "red"),
        ({"choices": ["red", "blue"], "answer": "②"}, "blue"),
        ({"choices": ["red", "blue"], "answer": "blue"}, "blue"),
        ({"choices": ["red", "blue"], "answer": 0}, "red"),
        ({"choices": ["red", "blue"], "answer": "2"}, "blue"),
        ({"choices": ["red", "blue"], "answer": "2번"}, "blue"),
        ({"choices": ["red", "blue"], "answer": 1}, None),  # first from 1 or second from 0
        ({"choices": ["red", "blue"], "answer": 7}, None),
        ({"choices": ["red", "blue"], "answer": "E"}, None),
        ({"choices": ["", "blue"], "answer": "B"}, "blue"),
        ({"choices": ["1", "2"], "answer": "2"}, "2"),
        ({"choices": ["red", "C", "blue"], "answer": "C"}, "blue"),
        ({"choices": ["red", "C"], "answer": "C"}, "C"),
        ({"choices": ["Yes", "no"], "answer": "A"}, None),
        ({"choices": {"A": "red", "B": "blue"}, "answer": "A"}, "red"),
        ({"choices": {"text": ["red", "blue"], "label": ["1", "2"]}, "answerKey": "1"}, "red"),
        ({"question": LETTERED, "choices": ["A", "B"], "answer": "B"}, "a mall"),
        ({"question": LETTERED, "answer": "A"}, "a bank"),
        ({"answer": "A"}, None),
        ({"answer": "So 9 * 2 = 18.\n#### 18"}, "18"),
        ({"answer": "#### 5"}, "5"),
        ({"solution": "Hence $x = \\boxed{\\frac{1}{2}}$, not \\boxed."}, "\\frac{1}{2}"),
        ({"solution": "\\boxed{open"}, None),
        ({"answer": 1989}, "1989"),
        ({"answer": 1}, None),
        ({"answer": True}, None),
        ({"answer": "Entailment"}, None),
        ({"answer": "거짓"}, None),
        ({"answer": {"text": ["교향곡", "곡"], "answer_start": [54, 56]}}, "교향곡"),
        ({"answers": ["", "second"]}, "second"),
        ({"answer": []}, None),
    ],
)
def test_what_answers_an_item(tmp_path: Path, record: dict[str, Any], answer: str | None) -> None:
    rows = read(write(tmp_path / "a.jsonl", [{"question": "Which colour has the door of the house?", **record}]))
    assert {row["answer"] for row in rows if row["field"] == "question"} == {answer}


@given(counts=st.lists(st.integers(2, 6), min_size=1, max_size=8), base=st.sampled_from([0, 1]), data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbered_choices_are_told_from_the_whole_benchmark(tmp_path: Path, counts: list[int], base: int, data: st.DataObject) -> None:
    golds = [data.draw(st.integers(0, count - 1)) for count in counts]
    rows = [
        {
            "id": place,
            "question": f"Question number {place}?",
            "choices": [f"text {place} {choice}" for choice in range(count)],
            "label": gold + base,
        }
        for place, (count, gold) in enumerate(zip(counts, golds, strict=True))
    ]
    expected = {str(place): f"text {place} {gold}" for place, gold in enumerate(golds)}
    path = write(tmp_path / "a.jsonl", rows)
    given_base = read(path, field_maps={"a": FieldMap(answer=("label",), answer_base=base)})
    assert {row["item"]: row["answer"] for row in given_base} == expected
    told = {row["item"]: row["answer"] for row in read(path, field_maps={"a": FieldMap(answer=("label",))})}
    tells = any(row["label"] == (0 if base == 0 else count) for row, count in zip(rows, counts, strict=True))
    assert told == (expected if tells else dict.fromkeys(expected))


def test_answers_of_turns_are_theirs(tmp_path: Path) -> None:
    counted = read(write(tmp_path / "a.jsonl", [{"turns": 2, "question": "How many?"}]))
    assert [got["text"] for got in counted] == ["How many?"]
    row = {"turns": ["Which is the longest river?", "And the highest mountain?"], "answer": ["The Nile", None]}
    assert [(got["text"], got["answer"]) for got in read(write(tmp_path / "a.jsonl", [row]))] == [
        ("Which is the longest river?", "The Nile"),
        ("And the highest mountain?", None),
    ]


def test_keys_inside_objects_and_keys_put_together(tmp_path: Path) -> None:
    keys = field_map(
        {"item": "meta.nr", "text": [], "question": "doc.stem", "choices": "o.one + o.two", "answer": "gold", "passage": "docs.body"}
    )
    row = {
        "meta": {"nr": 9}, "doc": {"stem": "Where do the bees that are kept behind the old school house go in the winter months?"}, 
        "gold": "2", "o": {"one": 3, "two": "home"}, "docs": [{"body": "First passage."}, {"body": "Second."}, "stray"],
    }  # fmt: skip
    got = read(write(tmp_path / "a.jsonl", [row]), field_maps={"a": keys})
    assert [(part["item"], part["field"], part["text"], part["answer"]) for part in got] == [
        ("9", "question", f"{row['doc']['stem']}\n3\nhome", "home"),
        ("9", "passage", "First passage.", None),
        ("9", "passage", "Second.", None),
    ]
    keys = FieldMap(question=("one + two",), text=())
    (joined,) = read(write(tmp_path / "a.jsonl", [{"one": "Premise.", "two": "Hypothesis."}]), field_maps={"a": keys})
    assert joined["text"] == "Premise.\nHypothesis."
    with pytest.raises(DecontamError, match="has no text in one \\+ two"):
        read(write(tmp_path / "a.jsonl", [{"one": "Premise."}]), field_maps={"a": keys})
    (literal,) = read(write(tmp_path / "a.jsonl", [{"one + two": "Spelled so."}]), field_maps={"a": keys})
    assert literal["text"] == "Spelled so."


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"questions": "q"}, "mine has the unknown key 'questions'; did you mean 'question'"),
        ({"question": 5}, "mine has question = 5; give the name of a key"),
        ({"question": ["a", 1]}, "a list of names"),
        ({"question": " "}, "a list of names"),
        ({"answer_base": 2}, "answer_base is 2; give 0 or 1"),
        ({"answer_base": True}, "answer_base is True"),
        (["question"], "mine is .*; give a table"),
    ],
)
def test_bad_field_maps_are_refused(table: object, message: str) -> None:
    with pytest.raises(DecontamError, match=message):
        field_map(table, where="mine")


def test_one_table_for_each_benchmark_in_the_order_of_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"benchmark": name, "question": f"Question {place} of {name}?"} for place, name in enumerate("bcabca")]
    write(tmp_path / "x.jsonl", rows)
    write(tmp_path / "y.jsonl", [{"benchmark": "a", "question": "More of a?"}, {"question": "Of the file itself?"}])
    tables = list(iter_benchmarks(tmp_path))
    names = [set(table["benchmark"].to_pylist()) for table in tables]
    assert names == [{"a"}, {"b"}, {"c"}, {"y"}]
    whole = read_benchmarks(tmp_path)
    assert whole.equals(pa.concat_tables(tables))
    assert whole["item"].to_pylist() == ["x:3", "x:6", "y:1", "1", "4", "2", "5", "2"]
    monkeypatch.setattr("decontam.benchmarks.KEEP_CHARS", 0)  # every file is read again when its turn comes
    assert read_benchmarks(tmp_path).equals(whole)


def test_rows_of_one_id_are_items_of_their_own(tmp_path: Path) -> None:
    row = {"benchmark": "Q", "id": "same", "split": "test"}
    write(
        tmp_path / "x.jsonl", [{**row, "question": "First?"}, {**row, "question": "Second?"}, {**row, "split": "dev", "question": "Third?"}]
    )
    write(tmp_path / "y.jsonl", [{**row, "question": "Fourth?", "context": "Its passage."}])
    got = {row["text"]: row["item"] for row in read(tmp_path)}
    assert got == {"First?": "same", "Second?": "same@x:2", "Third?": "same", "Fourth?": "same@y:1", "Its passage.": "same@y:1"}


def test_known_files_bring_their_benchmark_split_and_keys(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"benchmark": "theirs", "split": "theirs", "stem": "Which one?"}])
    keys = FieldMap(text=(), question=("stem",), benchmark=(), split=())
    (row,) = read_benchmarks([BenchmarkFile(path, "ours", keys, "dev"), path]).to_pylist()
    assert (row["benchmark"], row["split"], row["text"]) == ("ours", "dev", "Which one?")


def test_of_parquet_only_the_wanted_columns_are_read(tmp_path: Path) -> None:
    table = pa.table({"question": ["Which one?"], "tests": pa.array([b"\xff\xfe"]).cast(pa.binary())})
    pq.write_table(table, tmp_path / "a.parquet")
    assert next(readers.read_rows(tmp_path / "a.parquet", ("question", "absent"))) == (1, {"question": "Which one?"})
    assert readers.count_rows(tmp_path / "a.parquet") == 1
    pq.write_table(table.rename_columns(["stem", "tests"]), tmp_path / "a.parquet")
    with pytest.raises(DecontamError, match=r"row 1, has no text .* its fields are stem, tests"):
        read(tmp_path)


def test_questions_of_a_squad_file_get_their_paragraph(tmp_path: Path) -> None:
    question = {"id": "7-0", "question": "Where was it found?", "answers": [{"text": "in the barn", "answer_start": 3}]}
    article = {"title": "Barn", "paragraphs": [{"context": "It lay in the barn.", "qas": [question]}]}
    (tmp_path / "a.json").write_text(json.dumps({"version": "1", "data": [article]}))
    got = [(row["item"], row["field"], row["text"], row["answer"]) for row in read(tmp_path)]
    assert got == [("7-0", "question", "Where was it found?", "in the barn"), ("7-0", "passage", "It lay in the barn.", None)]


def test_rows_and_files_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MAX_ROW_CHARS", 100)
    monkeypatch.setattr(readers, "MAX_JSON_CHARS", 100)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"question": "x"}\n' + b" " * 1_000_000))
    with pytest.raises(DecontamError, match="row 2, has over 100 characters"):
        read(tmp_path / "a.jsonl.gz")
    (tmp_path / "a.json").write_text(" " * 1000)
    with pytest.raises(DecontamError, match="has over 100 characters; make it JSONL"):
        read(tmp_path / "a.json")


def test_the_development_sets_give_their_texts(shared_data: Path) -> None:
    for path in sorted((shared_data / "benchmarks").glob("*.jsonl.gz")):
        texts = set(read_benchmarks(path)["text"].to_pylist())
        for number, record in readers.read_rows(path):
            turns = record.get("turns") or [record["text"]]
            assert texts.issuperset(turns), (path.name, number)


@pytest.mark.parametrize(
    ("record", "texts", "answer"),
    [
        ({"text": "A passage about the moon.", "question": "Who?"}, ["Who?", "A passage about the moon."], None),
        ({"text": "Q: WHO\n WAS it?", "question": "Who was it?"}, ["Q: WHO\n WAS it?"], None),
        ({"instruction": "Shorten this.", "input": "A long text.", "output": "x"}, ["Shorten this.\nA long text."], None),
        ({"instruction": "Name one.", "input": ""}, ["Name one."], None),
        ({"instruction": "Shorten.", "instances": [{"input": "A text.", "output": "x"}]}, ["Shorten.\nA text."], None),
        (
            {"question": {"stem": "Which?", "choices": [{"text": "red", "label": "A"}, {"text": "blue", "label": "B"}]}, "answerKey": "B"},
            ["Which?\nred\nblue"],
            "blue",
        ),
        ({"question": "Which?", "A": "red", "B": "blue", "C": "pink", "D": "grey", "answer": 4}, ["Which?\nred\nblue\npink\ngrey"], "grey"),
        ({"question": "Which?", "choices": "['red', 'blue']", "answer": "B"}, ["Which?\nred\nblue"], "blue"),
        ({"question": "Which?", "options": '["red", "blue"]', "answer": "A"}, ["Which?\nred\nblue"], "red"),
        ({"question": "Which?", "options": "red\nblue", "answer": "B"}, ["Which?\nred\nblue"], "blue"),
        ({"question": "Which?", "options": "[1, 2)"}, ["Which?\n[1, 2)"], None),
    ],
)
def test_layouts_of_usual_exports(tmp_path: Path, record: dict[str, object], texts: list[str], answer: str | None) -> None:
    rows = [row for row in read(write(tmp_path / "a.jsonl", [record])) if row["field"] == "question"]
    # Short questions have rows for other ways to write them.
    assert [row["text"] for row in rows if not re.search(r"(?m)^[A1]\. |^Which\?$\Z", row["text"])] == texts
    assert {row["answer"] for row in rows} == {answer}


def test_a_field_map_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "exam.jsonl", [{"frage": "Who?", "question": "label"}])
    with pytest.raises(DecontamError, match="field map for 'exma', which is no benchmark that was read; did you mean 'exam'"):
        read(tmp_path, field_maps={"exma": FieldMap(question=("frage",))})


def test_a_benchmark_of_which_nothing_can_be_found_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "copa.jsonl", [{"premise": "The man lost the match after all.", "question": "cause"}] * 3)
    with pytest.raises(DecontamError, match=r"nothing of 'copa' can be found: .*such as 'cause'"):
        check_findable(read_benchmarks(path), MatchSettings())
    items = read_benchmarks(path, {"copa": FieldMap(question=("premise",))})
    assert check_findable(items, MatchSettings()) is items


def test_a_cut_off_file_is_no_shorter_file(tmp_path: Path) -> None:
    frame = zstandard.compress(b'{"question": "x"}\n')
    (tmp_path / "a.jsonl.zst").write_bytes(frame + frame[:-5])
    with pytest.raises(DecontamError, match="cannot be read"):
        read(tmp_path)
