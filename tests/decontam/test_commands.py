"""The decontaminator's commands, run as a user runs them: an index is made, changed and listed, and a scan is reviewed."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer.main
from typer.testing import CliRunner

from decontam import MatchSettings, build_index, read_benchmarks, save_index
from decontam.commands import Sort, app
from decontam.review import SORTS

ENGLISH = [
    "A baker sells nine loaves before noon and twice as many after it; how many loaves does she sell on that day in all?",
    "Which of the following rivers does not flow through the old capital described in the passage on the left-hand page?",
    "Name a prime.",
    "Why?",
]
KOREAN = [
    "다음 글에서 설명하는 조선 후기 상업 도시의 특징으로 알맞지 않은 것을 고르시오.",
    "세 사람이 한 줄로 서는 방법의 수를 구하고 그 풀이를 쓰시오.",
]


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="onnuri decontam")


def printed(*arguments: object) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*arguments: object) -> str:
    """The one sentence of a command that exits with 2."""
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1 and done.stdout == ""
    return done.stderr


def write_items(path: Path, texts: list[str], key: str = "question") -> Path:
    path.write_text("".join(json.dumps({"id": f"i{n}", key: text}, ensure_ascii=False) + "\n" for n, text in enumerate(texts)), "utf-8")
    return path


@pytest.fixture
def files(tmp_path) -> Path:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    write_items(folder / "loaves.jsonl", ENGLISH)
    write_items(folder / "상업.jsonl", KOREAN)
    return folder


@pytest.fixture
def index(files, tmp_path) -> Path:
    printed("build", files, "-o", tmp_path / "index", "--quiet")
    return tmp_path / "index"


def listed(index: Path) -> dict[str, dict[str, object]]:
    return {row["benchmark"]: row for row in json.loads(printed("list", index, "--json"))["benchmarks"]}


def test_build_prints_a_row_for_each_benchmark_and_a_sum(files, tmp_path):
    text = printed("build", files, "-o", tmp_path / "index")
    rows = [line for line in text.splitlines() if re.search(r"loaves|상업|\ball\b", line)]
    assert len(rows) == 3
    assert "length 50" in text and "hangul_length 24" in text


def test_the_numbers_are_those_of_the_items(files, index):
    rows = listed(index)
    assert set(rows) == {"loaves", "상업"}
    letters = [sum(letter.isalnum() for letter in text) for text in ENGLISH]
    loaves = rows["loaves"]
    assert loaves["items"] == 4 and loaves["too_short"] >= sum(count < MatchSettings.short_length for count in letters) > 0
    assert loaves["characters"] >= sum(letters) and loaves["texts"] >= 4
    assert loaves["windows"] >= sum(max(0, count - 50 + 1) for count in letters) > 0
    facts = json.loads(printed("list", index, "--json"))
    assert 0 < sum(row["bytes"] for row in facts["benchmarks"]) <= facts["bytes"]


@pytest.mark.parametrize("given, expected", [
    ((), MatchSettings()),
    (("--parity",), MatchSettings.parity()),
    (("--length", 40, "--hangul-length", 20, "--short-length", 10), MatchSettings(40, 20, 10)),
])  # fmt: skip
def test_lengths_reach_the_index(files, tmp_path, given, expected):
    facts = json.loads(printed("build", files, "-o", tmp_path / "index", "--quiet", "--json", *given))
    assert MatchSettings(**facts["settings"]) == expected


def test_the_commands_make_the_index_that_the_functions_make(files, index, tmp_path):
    save_index(build_index(read_benchmarks(files)), tmp_path / "other")
    assert listed(tmp_path / "other") == listed(index)


def test_add_and_remove_touch_nothing_else(files, index, tmp_path):
    before = listed(index)
    added = write_items(tmp_path / "primes.jsonl", ["Explain in your own words why there are more primes than any list of them can hold."])
    printed("add", added, "--index", index, "--quiet")
    after = listed(index)
    assert set(after) == {"loaves", "상업", "primes"} and {name: after[name] for name in before} == before
    printed("remove", "primes", "--index", index)
    assert listed(index) == before


def test_build_replaces_an_index_and_keeps_it_when_it_fails(files, index, tmp_path):
    before = listed(index)
    (files / "broken.jsonl").write_text('{"question": \n')
    assert "broken.jsonl" in refused("build", files, "-o", index, "--quiet")
    assert listed(index) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["benchmarks", "index"]
    (files / "broken.jsonl").unlink()
    printed("build", files / "loaves.jsonl", "-o", index, "--quiet")
    assert set(listed(index)) == {"loaves"}


def test_build_leaves_a_folder_that_is_no_index_alone(files, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    assert "no index" in refused("build", files, "-o", tmp_path / "home", "--quiet")
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"
    (tmp_path / "empty").mkdir()
    printed("build", files, "-o", tmp_path / "empty", "--quiet")
    assert set(listed(tmp_path / "empty")) == {"loaves", "상업"}


def test_field_maps_come_from_a_file(tmp_path):
    write_items(tmp_path / "odd.jsonl", ENGLISH, key="what_is_asked")
    assert "odd.jsonl" in refused("build", tmp_path / "odd.jsonl", "-o", tmp_path / "index", "--quiet")
    (tmp_path / "fields.toml").write_text('[odd]\nquestion = "what_is_asked"\n')
    printed("build", tmp_path / "odd.jsonl", "-o", tmp_path / "index", "--quiet", "--fields", tmp_path / "fields.toml")
    assert listed(tmp_path / "index")["odd"]["items"] == 4


@pytest.mark.parametrize("content", ["[odd]\nquestoin = 'q'\n", "odd = 3\n", "not toml", "[odd]\nquestion = [1]\n"])
def test_broken_field_files_are_named(files, tmp_path, content):
    (tmp_path / "fields.toml").write_text(content)
    assert "fields.toml" in refused("build", files, "-o", tmp_path / "index", "--fields", tmp_path / "fields.toml", "--quiet")


def test_user_errors_are_one_sentence_and_exit_2(files, index, tmp_path):
    assert "--parity" in refused("build", files, "-o", tmp_path / "x", "--parity", "--length", 60)
    assert "hangul_length is 60" in refused("build", files, "-o", tmp_path / "x", "--hangul-length", 60)
    assert str(tmp_path / "absent") in refused("build", tmp_path / "absent", "-o", tmp_path / "x", "--quiet")
    assert str(tmp_path / "absent") in refused("list", tmp_path / "absent")
    assert "hellaswag" in refused("remove", "hellaswag", "--index", index)
    assert "matches.parquet" in refused("review", tmp_path / "absent")
    assert not (tmp_path / "x").exists()


def test_a_hostile_benchmark_name_is_shown_and_not_obeyed(tmp_path):
    (tmp_path / "b.jsonl").write_text(json.dumps({"benchmark": "x\x1b[2J/../../y", "question": ENGLISH[0]}) + "\n")
    done = run("build", tmp_path / "b.jsonl", "-o", tmp_path / "index")
    assert "\x1b" not in done.output
    if done.exit_code == 0:
        outside = {path.name for path in tmp_path.iterdir()} - {"b.jsonl", "index"}
        assert not outside and "\x1b" not in printed("list", tmp_path / "index")


@pytest.fixture
def scan(files, index, tmp_path) -> Path:
    """A scan's output folder with one leaked question of each benchmark, and the index recorded in its report."""
    out = tmp_path / "out"
    texts = {"d1": f"In a forum: {ENGLISH[0]} Who knows?", "d2": f"기출 문제: {KOREAN[0]} 정답은?"}
    rows = []
    for (document, text), benchmark, leaked in zip(texts.items(), ("loaves", "상업"), (ENGLISH[0], KOREAN[0]), strict=True):
        start = len(text.split(leaked)[0].encode())
        size = len(leaked.encode())
        rows.append(
            {"id": document, "url": None, "source": "forum", "benchmark": benchmark, "split": "", "item": "i0", "field": "question"}
            | {"entry": 0, "start": start, "end": start + size, "item_start": 0, "item_end": size, "length": 90 if document == "d1" else 34}
            | {"coverage": 1.0, "frequency": 1, "required": 50, "corpus_documents": 1, "answered": False, "action": "drop"}
        )
    for kind in ("kept", "dropped"):
        (out / kind).mkdir(parents=True)
    pq.write_table(pa.table({"id": list(texts), "text": list(texts.values())}), out / "dropped" / "0.parquet")
    pq.write_table(pa.Table.from_pylist(rows), out / "matches.parquet")
    (out / "report.json").write_text(json.dumps({"index": os.path.relpath(index, out)}))
    return out


def test_review_shows_both_texts(scan):
    text = printed("review", scan)
    assert "2 matches in 2 findings, 2 shown" in text and "\x1b" not in text
    assert "In a forum: ⟦A baker sells" in text and "기출 문제: ⟦다음" in text


def test_review_as_json(scan):
    rows = json.loads(printed("review", scan, "--json", "--context", 5))
    assert [row["id"] for row in rows] == ["d1", "d2"]
    assert rows[0]["document_excerpt"] == f"rum: {ENGLISH[0]} Who " and rows[0]["document_highlight"] == [5, 5 + len(ENGLISH[0])]
    assert rows[1]["item_excerpt"] == KOREAN[0]


def test_review_options(scan, index, tmp_path):
    assert [row["id"] for row in json.loads(printed("review", scan, "--json", "--benchmark", "상업"))] == ["d2"]
    assert [row["id"] for row in json.loads(printed("review", scan, "--json", "--limit", 1, "--index", index))] == ["d1"]
    assert json.loads(printed("review", scan, "--json", "--action", "tag")) == []
    assert "no matches like that" in printed("review", scan, "--min-length", 1000)
    assert "hellaswag" in refused("review", scan, "--benchmark", "hellaswag")
    assert "no item 'i99'" in refused("review", scan, "--item", "i99")
    assert "--index" in refused("review", write_nothing(scan))
    assert tuple(Sort) == SORTS


def write_nothing(scan: Path) -> Path:
    (scan / "report.json").unlink()
    return scan


def test_interactive_needs_a_terminal_and_verdicts_are_summed_up(scan):
    assert "terminal" in refused("review", scan, "--interactive")
    assert "--json" in refused("review", scan, "--interactive", "--json")
    assert "no verdicts yet" in printed("review", scan, "--verdicts")
    assert json.loads(printed("review", scan, "--verdicts", "--json")) == []
    line = {"id": "d1", "benchmark": "loaves", "split": "", "item": "i0", "verdict": "leak", "time": "2025-01-01T00:00:00+00:00"}
    (scan / "review.jsonl").write_text(json.dumps(line) + "\n")
    assert "1.000" in printed("review", scan, "--verdicts")
    assert json.loads(printed("review", scan, "--verdicts", "--json", "--benchmark", "상업")) == []


def press(terminal: int, key: bytes) -> None:
    """Type a key once the other side waits for one: what is typed before it turns line mode off is thrown away."""
    termios = pytest.importorskip("termios")
    deadline = time.monotonic() + 30
    while termios.tcgetattr(terminal)[3] & termios.ICANON:
        assert time.monotonic() < deadline, "the session never asked for a key"
        time.sleep(0.01)
    os.write(terminal, key)


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What the other side writes, up to and with `wanted`."""
    seen = b""
    while wanted not in seen:
        assert select.select([terminal], [], [], 30)[0], seen
        seen += os.read(terminal, 65536)
    return seen


def test_a_session_in_a_real_terminal(scan):
    pty = pytest.importorskip("pty")
    code = "from decontam.commands import app; app(prog_name='onnuri decontam')"
    command = [sys.executable, "-c", code, "review", str(scan), "--interactive"]
    here, there = pty.openpty()
    process = subprocess.Popen(command, stdin=there, stdout=there, stderr=there, env={**os.environ, "COLUMNS": "100", "TERM": "xterm"})
    os.close(there)
    try:
        first = read_until(here, b"q quit")
        press(here, b"t")
        second = read_until(here, b"q quit")
        press(here, b"q")
        read_until(here, b"1 verdict written")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(here)
    assert b"\x1b[1;7m" in first and b"[1/2]" in first and b"[2/2]" in second
    [line] = (scan / "review.jsonl").read_text().splitlines()
    assert json.loads(line)["verdict"] == "leak" and json.loads(line)["id"] == "d1"


def test_the_registry_says_what_is_known_and_which_copies_are_there(files, tmp_path):
    rows = {row["id"]: row for row in json.loads(printed("registry", "--json"))}
    assert {"mmlu", "kmmlu", "gsm8k"} <= set(rows) and rows["mmlu"]["get"] and rows["mmlu"]["copy"] is None
    mine = '[my-exam]\ntitle = "Mine"\nlanguages = ["ko"]\nget = "cp -r exam DATA/my-exam"\nfiles = { test = "*.jsonl" }\n'
    (tmp_path / "mine.toml").write_text(mine + 'fields = { item = "id", question = "question" }\n')
    (tmp_path / "data").mkdir()
    known = ("--registry", tmp_path / "mine.toml", "--data", tmp_path / "data")
    assert "cp -r exam" in refused("build", "my-exam", "-o", tmp_path / "index", "--quiet", *known)
    [line] = [line for line in printed("registry", *known).splitlines() if "my-exam" in line and "Mine" not in line][:1]
    assert " no " in line
    (tmp_path / "data" / "my-exam").mkdir()
    write_items(tmp_path / "data" / "my-exam" / "2025.jsonl", ENGLISH)
    rows = {row["id"]: row for row in json.loads(printed("registry", "--json", *known))}
    assert rows["my-exam"]["copy"] == {"files": 1, "items": 4, "missing": []} and rows["mmlu"]["copy"]["items"] is None
    assert "4 items" in printed("registry", *known)
    printed("build", "my-exam", "-o", tmp_path / "index", "--quiet", *known)
    assert listed(tmp_path / "index")["my-exam"]["items"] == 4
    assert "mmmlu" in refused("build", "mmmlu", "-o", tmp_path / "other", "--quiet")


def test_every_command_and_option_has_help():
    commands = typer.main.get_command(app).commands
    assert {"build", "add", "remove", "list", "review", "registry"} <= set(commands)
    for name, command in commands.items():
        assert command.help and len(command.help) > 20, name
        for parameter in command.params:
            assert getattr(parameter, "help", None), (name, parameter.name)


def test_the_library_alone_loads_no_terminal_code():
    code = "import sys, decontam; print([name for name in ('rich', 'typer', 'pipeline') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
