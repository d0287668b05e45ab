"""The registry's entries read small files of their documented layout, and bad names, copies and registries are refused."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from decontam.benchmarks import read_benchmarks
from decontam.errors import DecontamError
from decontam.readers import read_rows
from decontam.registry import available, load_registry, resolve

REGISTRY = load_registry()
ASKED = "Which of the birds in the garden behind the library sings before the sun is up in early spring?"
PASSAGE = "A passage of some length about the garden behind the library and of all the birds that come to it."
CHOICES = ["the blackbird of the hedge", "the robin of the wall", "the wren of the shed", "the tit of the tree"]

Layout = tuple[dict[str, Any], str | None]


def choice_columns(names: str) -> dict[str, str]:
    return dict(zip(names.split("|"), CHOICES, strict=False))


# A record as each set publishes it, and what answers it; the question is ASKED wherever a set has one.
LAYOUTS: dict[str, Layout] = {
    "mmlu": ({"question": ASKED, "subject": "birds", "choices": CHOICES, "answer": 1}, CHOICES[1]),
    "mmlu-pro": ({"question_id": 7, "question": ASKED, "options": CHOICES, "answer": "C", "answer_index": 2}, CHOICES[2]),
    "mmlu-redux": ({"question": ASKED, "choices": CHOICES, "answer": 3, "error_type": "ok"}, CHOICES[3]),
    "kmmlu": ({"question": ASKED, "answer": 2, **choice_columns("A|B|C|D"), "Category": "Birds"}, CHOICES[1]),
    "kmmlu-hard": ({"question": ASKED, "answer": 4, **choice_columns("A|B|C|D"), "Category": "Birds"}, CHOICES[3]),
    "kmmlu-redux": ({"question": ASKED, "options": CHOICES, "solution": "1", "category": "x"}, CHOICES[0]),
    "kmmlu-pro": ({"question": ASKED, "options": CHOICES, "solution": 1, "license_name": "x"}, CHOICES[0]),
    "gsm8k": ({"question": ASKED, "answer": "Two and two.\n#### 4"}, "4"),
    "math": ({"problem": ASKED, "level": "Level 1", "type": "Algebra", "solution": "So \\boxed{x^{2}}."}, "x^{2}"),
    "math-500": ({"problem": ASKED, "solution": "So \\boxed{12}.", "answer": "12", "unique_id": "test/1.json"}, "12"),
    "humaneval": ({"task_id": "HumanEval/0", "prompt": ASKED, "canonical_solution": "    return 12\n", "test": "x"}, "return 12"),
    "humaneval-plus": ({"task_id": "HumanEval/0", "prompt": ASKED, "canonical_solution": "    return 12\n", "test": "x"}, "return 12"),
    "mbpp": ({"task_id": 1, "text": ASKED, "code": "def f(): return 12", "test_list": ["assert f()"]}, "def f(): return 12"),
    "mbpp-plus": ({"task_id": 1, "prompt": ASKED, "code": "def f(): return 12", "test": "x"}, "def f(): return 12"),
    "ifeval": ({"key": 1000, "prompt": ASKED, "instruction_id_list": ["a:b"], "kwargs": [{}]}, None),
    "bbh": ({"input": f"{ASKED}\nOptions:\n(A) the wren\n(B) the robin", "target": "(B)"}, "the robin"),
    "arc-easy": ({"id": "M_1", "question": ASKED, "choices": {"text": CHOICES, "label": list("1234")}, "answerKey": "2"}, CHOICES[1]),
    "arc-challenge": ({"id": "M_1", "question": ASKED, "choices": {"text": CHOICES, "label": list("ABCD")}, "answerKey": "D"}, CHOICES[3]),
    "hellaswag": ({"ind": 3, "ctx_a": "x", "ctx": ASKED, "endings": CHOICES, "label": "0", "split": "val"}, CHOICES[0]),
    "winogrande": ({"sentence": ASKED, **choice_columns("option1|option2"), "answer": "1"}, CHOICES[0]),
    "piqa": ({"goal": ASKED, **choice_columns("sol1|sol2"), "label": 1}, CHOICES[1]),
    "truthfulqa": ({"type": "x", "question": ASKED, "best_answer": "The wren", "correct_answers": ["The wren"]}, "The wren"),
    "gpqa": (
        {"Record ID": "r", "Question": ASKED, **choice_columns("Correct Answer|Incorrect Answer 1|Incorrect Answer 2|Incorrect Answer 3")},
        CHOICES[0],
    ),
    "livecodebench": ({"question_id": "1873_A", "question_title": "x", "question_content": ASKED, "private_test_cases": "x"}, None),
    "kobest-boolq": ({"paragraph": PASSAGE, "question": ASKED, "label": 1}, None),
    "kobest-copa": ({"premise": ASKED, "question": "원인", **choice_columns("alternative_1|alternative_2"), "label": 0}, CHOICES[0]),
    "kobest-hellaswag": ({"context": ASKED, **choice_columns("ending_1|ending_2|ending_3|ending_4"), "label": 2}, CHOICES[2]),
    "kobest-sentineg": ({"sentence": ASKED, "label": 1}, None),
    "kobest-wic": ({"word": "x", "context_1": ASKED[:40], "context_2": ASKED[40:], "label": 0}, None),
    "klue-nli": ({"guid": "n1", "source": "x", "premise": PASSAGE, "hypothesis": ASKED, "label": 2}, None),
    "klue-sts": ({"guid": "s1", "sentence1": ASKED[:40], "sentence2": ASKED[40:], "labels": {"label": 3.7}}, None),
    "klue-ynat": ({"guid": "y1", "title": PASSAGE, "label": 3, "url": "x", "date": "x"}, None),
    "klue-ner": ({"sentence": PASSAGE, "tokens": ["A"], "ner_tags": [12]}, None),
    "klue-re": ({"guid": "r1", "sentence": PASSAGE, "subject_entity": {"word": "A"}, "label": 0}, None),
    "klue-dp": ({"sentence": PASSAGE, "word_form": ["A"], "head": [0]}, None),
    "klue-mrc": ({"guid": "m1", "context": PASSAGE, "question": ASKED, "answers": {"text": ["passage"]}}, "passage"),
    "klue-wos": ({"guid": "w1", "domains": ["x"], "dialogue": [{"role": "user", "text": ASKED, "state": ["x"]}]}, None),
    "haerae": ({"query": f"{ASKED}\n(A) the wren\n(B) the robin", "answer": "(A)"}, "the wren"),
    "click": ({"id": "K_1", "paragraph": PASSAGE, "question": ASKED, "choices": CHOICES, "answer": CHOICES[1]}, CHOICES[1]),
    "korquad1": ({"id": "6-0", "title": "x", "context": PASSAGE, "question": ASKED, "answers": {"text": ["of all"]}}, "of all"),
    "ko-longrag": ({"id": "1", "titles": ["x"], "context": PASSAGE, "question": ASKED, "answer": "of all", "prompt": "x"}, "of all"),
    "logickor": ({"id": 1, "category": "x", "questions": [ASKED, "And then?"], "references": ["The wren", None]}, "The wren"),
    "mt-bench": ({"question_id": 81, "turns": [ASKED, "And then?"], "reference": ["The wren", "None of them sings"]}, "The wren"),
    "komt-bench": ({"question_id": 81, "category": "x", "turns": [ASKED, "And then?"]}, None),
    "alpaca-eval": ({"dataset": "x", "instruction": ASKED, "output": "The wren", "generator": "x"}, None),
    "arena-hard": ({"question_id": "a1", "cluster": "x", "turns": [{"content": ASKED}]}, None),
    "longbench": ({"_id": "1", "input": ASKED, "context": PASSAGE, "answers": ["of all"], "length": 9}, "of all"),
    "longbench-v2": (
        {"_id": "1", "question": ASKED, "context": PASSAGE, **choice_columns("choice_A|choice_B|choice_C|choice_D"), "answer": "B"},
        CHOICES[1],
    ),
    "bigbench-core": ({"query": ASKED, "choices": CHOICES, "gold": 3}, CHOICES[3]),
}  # fmt: skip
PASSAGES = {name for name, (record, _) in LAYOUTS.items() if PASSAGE in record.values()}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps({"canary": "x", "examples": rows}), "utf-8")
    else:
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)


def install(name: str, data_folder: Path, rows: list[dict[str, Any]], suffix: str = ".csv") -> None:
    """A local copy of a benchmark with these rows in each of its splits."""
    source = REGISTRY[name]
    for split, globs in source.files:
        file = globs[0].replace("*.*", f"{split}{suffix}").replace("**/", "deep/er/").replace("*", f"x-{split}")
        write(data_folder / source.folder / file, rows)


def test_every_entry_has_a_layout_here() -> None:
    assert set(LAYOUTS) == set(REGISTRY)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_documented_layout_is_read(tmp_path: Path, name: str) -> None:
    record, answer = LAYOUTS[name]
    suffix = ".parquet" if any(isinstance(value, list) for value in record.values()) else ".csv"
    install(name, tmp_path, [record], suffix)
    items = read_benchmarks(resolve(name, tmp_path)).to_pylist()
    assert {row["benchmark"] for row in items} == {name}
    assert {row["split"] for row in items} == {split for split, _ in REGISTRY[name].files}
    questions = [row for row in items if row["field"] == "question"]
    if record.get("title", record.get("sentence")) != PASSAGE:
        assert all(row["text"].replace("\n", "").startswith(ASKED) or row["text"] == "And then?" for row in questions)
        assert {row["answer"] for row in questions if row["text"] != "And then?"} == {answer}
    assert (PASSAGE in {row["text"] for row in items if row["field"] == "passage"}) == (name in PASSAGES)


@pytest.mark.parametrize(
    ("name", "file", "keys"),
    [
        ("mmlu", "mmlu_test.jsonl.gz", {"question": "question", "choices": "choices", "answer": "answer"}),
        ("gsm8k", "gsm8k_test.jsonl.gz", {"question": "question", "answer": "answer"}),
        ("humaneval", "humaneval.jsonl.gz", {"task_id": "id", "prompt": "question", "canonical_solution": "answer"}),
        ("mbpp", "mbpp.jsonl.gz", {"task_id": "id", "text": "question", "code": "answer"}),
        ("kobest-copa", "kobest_copa_test.jsonl.gz", {"premise": "question", "choices": "choices", "label": "answer"}),
        ("kobest-hellaswag", "kobest_hellaswag_test.jsonl.gz", {"context": "question", "choices": "choices", "label": "answer"}),
    ],
)  # fmt: skip
def test_by_name_and_by_path_give_the_same_questions(tmp_path: Path, shared_data: Path, name: str, file: str, keys: dict[str, str]) -> None:
    path = shared_data / "benchmarks" / file
    rows = []
    for _, record in read_rows(path):
        row = {ours: record[theirs] for ours, theirs in keys.items()}
        if name == "mmlu":
            row["answer"] = "ABCD".index(row["answer"])
        if name.startswith("kobest"):
            names = {"kobest-copa": "alternative_{}", "kobest-hellaswag": "ending_{}"}[name]
            row |= {names.format(place): choice for place, choice in enumerate(row.pop("choices"), 1)}
            row["label"] = int(row["label"]) - (name == "kobest-copa")  # the development copies count one set from 1, the other from 0
        rows.append(row)
    install(name, tmp_path, rows)
    by_name = read_benchmarks([file for file in resolve(name, tmp_path) if file.split == "test"])
    by_path = read_benchmarks(path)
    assert by_name.num_rows > 0
    assert by_name.select(["field", "text", "question_chars", "answer"]).equals(
        by_path.select(["field", "text", "question_chars", "answer"])
    )


def test_names_folders_and_paths_together(tmp_path: Path) -> None:
    for name in ("arc-easy", "arc-challenge"):
        install(name, tmp_path, [LAYOUTS[name][0]])
    write(tmp_path / "own.jsonl", [{"question": "My own question?"}])
    found = resolve(["ARC", str(tmp_path / "own.jsonl"), tmp_path / "own.jsonl", "arc-easy"], tmp_path)
    assert [(file.benchmark, file.split) for file in found] == [
        ("arc-easy", "test"), ("arc-easy", "validation"), ("arc-challenge", "test"), ("arc-challenge", "validation"), ("own", ""),
    ]  # fmt: skip
    assert set(read_benchmarks(found)["benchmark"].to_pylist()) == {"arc-easy", "arc-challenge", "own"}


def test_what_cannot_be_resolved_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "my sets"
    with pytest.raises(DecontamError, match=r"'mmlu' lacks its test split .* get it with: hf download cais/mmlu .* '.*/my sets'/mmlu$"):
        resolve("mmlu", folder)
    install("mmlu", folder, [LAYOUTS["mmlu"][0]])
    (folder / "mmlu/all/x-test.parquet").unlink(missing_ok=True)
    for path in (folder / "mmlu").rglob("test-*"):
        path.unlink()
    with pytest.raises(DecontamError, match="'mmlu' lacks its test split"):
        resolve("mmlu", folder)
    with pytest.raises(DecontamError, match=r"'kmlu' is neither .* did you mean 'kmmlu'"):
        resolve("kmlu", folder)
    with pytest.raises(DecontamError, match="'mmlu' is a benchmark of the registry; say with data"):
        resolve("mmlu")
    with pytest.raises(DecontamError, match="names no benchmark file"):
        resolve("missing/file.jsonl", folder)
    with pytest.raises(DecontamError, match="no benchmark path was given"):
        resolve([], folder)


def test_a_wrong_key_in_a_copy_lists_the_fields(tmp_path: Path) -> None:
    install("gsm8k", tmp_path, [{"frage": "x", "answer": "y"}])
    with pytest.raises(DecontamError, match=r"test-x-test\.parquet, row 1, has no text in question; its fields are frage, answer"):
        read_benchmarks(resolve("gsm8k", tmp_path))


def test_what_is_available_is_counted(tmp_path: Path) -> None:
    install("mmlu", tmp_path, [LAYOUTS["mmlu"][0]] * 3)
    install("gsm8k", tmp_path, [LAYOUTS["gsm8k"][0]] * 2)
    copies = {copy.source.id: copy for copy in available(tmp_path)}
    assert set(copies) == set(REGISTRY)
    assert (copies["mmlu"].files, copies["mmlu"].items, copies["mmlu"].missing) == (2, 6, ())
    assert copies["gsm8k"].items == 2
    assert (copies["bbh"].files, copies["bbh"].items, copies["bbh"].missing) == (0, None, ("test",))


def test_every_entry_is_documented() -> None:
    documented = (Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md").read_text("utf-8")
    rows = {line.split("`")[1] for line in documented.splitlines() if line.startswith("| `")}
    assert set(REGISTRY) <= rows


def test_entries_are_complete() -> None:
    for source in REGISTRY.values():
        assert source.get.count(f"DATA/{source.folder}") >= 1, source.id
        assert source.url.startswith("https://") and source.licence and set(source.languages) <= {"en", "ko", "zh", "code"}, source.id
        assert source.fields.question or source.fields.passage, source.id
        assert source.confirmed != bool(source.why), source.id


MINE = """
[mine]
title = "Mine"
languages = "ko"
get = "cp -r /mnt/mine DATA/mine"
files = { dev = ["*.jsonl", "*.csv"] }
fields = { question = "stem", choices = "a + b" }

[mmlu]
files = { test = "only.jsonl" }
"""


def test_a_registry_of_the_users_goes_over_ours(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    registry = load_registry(tmp_path / "mine.toml")
    assert set(registry) == {*REGISTRY, "mine"}
    assert registry["mmlu"].files == (("test", ("only.jsonl",)),)
    assert registry["mmlu"].fields == REGISTRY["mmlu"].fields
    assert registry["gsm8k"] == REGISTRY["gsm8k"]
    write(tmp_path / "mine/x.jsonl", [{"stem": ASKED, "a": CHOICES[0], "b": CHOICES[1]}])
    (row,) = read_benchmarks(resolve("mine", tmp_path, registry)).to_pylist()
    assert (row["benchmark"], row["split"], row["text"]) == ("mine", "dev", f"{ASKED}\n{CHOICES[0]}\n{CHOICES[1]}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mine", "cannot be read"),
        ("x = " + "[" * 100_000, "cannot be read"),
        ('title = "x"', "the key 'title' outside of an entry"),
        ('["../up"]\ntitle = "x"', r"the entry '\.\./up'; call a benchmark by"),
        ('["\\u001b[2J"]\ntitle = "x"', r"the entry '\\x1b\[2J'"),
        ('[mmlu]\nquestion = "q"', "entry 'mmlu', has the unknown key 'question'"),
        ('[mmlu]\nfield = {}', "unknown key 'field'; did you mean 'fields'"),
        ('[new]\ntitle = "x"', "entry 'new', lacks the key 'languages'"),
        ('[mmlu]\ntitle = 5', "key 'title', is 5; give a text"),
        ('[mmlu]\ntitle = "a\\u001b[2Jb"', "key 'title', is .* without line breaks and control characters"),
        ("[mmlu]\nlanguages = []", r"key 'languages', is \[\]; give a text or a list"),
        ('[mmlu]\nfields = { questoin = "q" }', "key 'fields' has the unknown key 'questoin'; did you mean 'question'"),
        ("[mmlu]\nfields = { answer_base = 3 }", "key 'fields': field map: answer_base is 3"),
        ('[mmlu]\nfields = "q"', "key 'fields' is 'q'; give a table"),
        ('[mmlu]\nfiles = "*.csv"', "give a table of splits and globs"),
        ('[mmlu]\nfiles = { test = "../../etc/*.json" }', "stays below the benchmark's folder"),
        ('[mmlu]\nfiles = { test = "/etc/*.json" }', "stays below the benchmark's folder"),
        ('[mmlu]\nfiles = { test = "**x/*.json" }', "stays below the benchmark's folder"),
        ('[mmlu]\nfolder = "../elsewhere"', "has the folder '../elsewhere'"),
        ('[mmlu]\naction = "burn"', "action 'burn'; use one of drop, mask, tag"),
        ("[mmlu]\nconfirmed = false", "confirmed = False and why = ''"),
    ],
)  # fmt: skip
def test_bad_registries_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(DecontamError, match=message) as caught:
        load_registry(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
    with pytest.raises(DecontamError, match="cannot be read"):
        load_registry(tmp_path / "absent.toml")
