"""The judge: nothing is paid for twice, no budget is passed, no fault of a server ends badly, and no key is seen anywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.alone import Inputs, plan_documents
from pipeline.classify.config import TrainConfig
from pipeline.classify.labelled import read_labelled
from pipeline.cli import main
from pipeline.errors import RunFailed, UserError
from pipeline.labels.config import JudgeConfig
from pipeline.labels.judge import Judge, judge_documents
from pipeline.labels.judge_cache import Budget
from pipeline.labels.judge_client import endpoint_of
from pipeline.labels.judge_prompt import load_template
from pipeline.labels.output import render
from pipeline.labels.taxonomy import load_taxonomy
from pipeline.progress import Progress
from tests.pipeline.classify.judge_stub import Behaviour, Stub, completion, error, stub
from tests.pipeline.classify.labelled_scene import write_rows
from tests.pipeline.runs import ROOT

KEY = "sk-secret-0123456789"


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"d{number}", "text": f"document {number} " + "text " * 20, "lang": ("en", "ko")[number % 2], "gold": str(number % 6)}
        for number in range(count)
    ]


def number_of(message: str) -> int:
    return int(message.split("document ")[1].split()[0])


def right(_: int, message: str) -> Any:
    return completion(json.dumps({"reason": "r", "score": number_of(message) % 6}))


def run(server: Stub, path: str, out: Path, key: str = "", settings: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    taxonomy = load_taxonomy(None)
    template = load_template(more.pop("template", "quality"), taxonomy)
    more.setdefault("concurrency", 4)
    judge = Judge(endpoint_of(more.pop("url", server.url), key), "m", template, taxonomy, **more)
    config = JudgeConfig.model_validate({"backoff_seconds": 0.01, "timeout_seconds": 5, **(settings or {})})
    splits, _ = plan_documents(Inputs([path]))
    return judge_documents(splits, judge, config, out, Progress(quiet=True))


def labelled(out: Path) -> dict[str, str]:
    table = pq.read_table(out / "labelled.parquet", columns=["id", "label"])
    return dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))


def exit_code(arguments: list[object]) -> int:
    """The command in this process."""
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    return int(done.value.code or 0)


def test_labels_scores_and_agreement_and_the_trainer_reads_them(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "d.jsonl", rows(40))
    with stub(right) as server:
        facts = run(server, path, tmp_path / "out", gold_column="gold")
        assert len(server.requests) == 40 and {request["temperature"] for request in server.requests} == {0}
        assert {request["path"] for request in server.requests} == {"/v1/chat/completions"}
        korean = [request for request in server.requests if number_of(request["messages"][1]["content"]) % 2]
        assert all("채점" in request["messages"][0]["content"] for request in korean)
    assert labelled(tmp_path / "out") == {f"d{number}": str(number % 6) for number in range(40)}
    assert facts["agreement"]["all"] == {"documents": 40, "equal": 1.0, "kappa": 1.0, "weighted_kappa": 1.0}
    assert facts["spent"] == {"requests": 40, "prompt_tokens": 4000, "completion_tokens": 400, "cost": 0.0}
    assert "kappa 1.0" in render(facts)
    assert set(read_labelled(TrainConfig(inputs=[str(tmp_path / "out" / "labelled.parquet")])).examples) == set("012345")


def test_a_second_run_asks_nothing_and_writes_the_same_bytes(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "d.jsonl", rows(20))
    with stub(right) as server:
        run(server, path, tmp_path / "out")
        first = (tmp_path / "out" / "labelled.parquet").read_bytes()
        facts = run(server, path, tmp_path / "out", concurrency=1)
        assert len(server.requests) == 20 and facts["requests"] == 0
    assert (tmp_path / "out" / "labelled.parquet").read_bytes() == first
    with stub(right) as another:  # the endpoint is no part of the question
        run(another, path, tmp_path / "out")
        assert not another.requests


def test_equal_texts_are_asked_about_once(tmp_path: Path) -> None:
    records = rows(10) + [record | {"id": f"copy of {record['id']}"} for record in rows(10)]
    with stub(right) as server:
        facts = run(server, write_rows(tmp_path / "d.jsonl", records), tmp_path / "out")
        assert len(server.requests) == 10
    assert sum(sum(counts.values()) for counts in facts["labels"].values()) == 20


def test_killed_at_any_moment_the_same_command_pays_only_for_what_was_under_way(tmp_path: Path) -> None:
    path, out = write_rows(tmp_path / "d.jsonl", rows(60)), tmp_path / "out"

    def steady(number: int, message: str) -> Any:
        time.sleep(0.05)
        return right(number, message)

    with stub(steady) as server:
        arguments: list[object] = [
            "classify",
            "judge",
            path,
            "-o",
            out,
            "--endpoint",
            server.url,
            "--model",
            "m",
            "--concurrency",
            2,
            "--quiet",
        ]
        command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
        for goal in (12, 35):
            child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
            while len(server.requests) < goal and child.poll() is None:
                time.sleep(0.01)
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert not (out / "labelled.parquet").exists()
        assert exit_code(arguments) == 0
        twice = sum(count - 1 for count in server.asked.values())
        assert twice <= 2 * 2 and len(server.asked) == 60  # two kills, two requests under way at each
    assert len(labelled(out)) == 60
    assert sorted(item.name for item in out.iterdir()) == ["answers.sqlite", "labelled.parquet", "manifest.json", "quarantine.parquet"]


@pytest.mark.parametrize("concurrency", [1, 7])
@pytest.mark.parametrize(
    ("budget", "most"),
    [
        (Budget(requests=13), 13),
        (Budget(tokens=110 * 13), 13),
        (Budget(cost=1.0, prompt_price=700.0, completion_price=700.0), 12),  # 0.077 an answer
    ],
)
def test_budgets_are_never_passed_hold_over_runs_and_a_bigger_one_goes_on(
    tmp_path: Path, concurrency: int, budget: Budget, most: int
) -> None:
    path, out = write_rows(tmp_path / "d.jsonl", rows(30)), tmp_path / "out"
    with stub(right) as server:
        settings = {"max_answer_tokens": 10}
        facts = run(server, path, out, budget=budget, settings=settings, concurrency=concurrency)
        assert facts["budget_spent"] and most // 2 <= len(server.requests) <= most
        assert facts["left_out"]["left for another run"] == 30 - len(server.requests) > 0
        assert "left" in render(facts)
        some = labelled(out)
        for _ in range(2):
            run(server, path, out, budget=budget, settings=settings, concurrency=concurrency)
        assert len(server.requests) <= most
        run(server, path, out, settings=settings)
        assert len(server.requests) == 30
        assert some.items() <= labelled(out).items() and len(labelled(out)) == 30


def test_samples_are_nested_and_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    records = rows(60)
    with stub(right) as server:
        small = run(server, write_rows(tmp_path / "a.jsonl", records), tmp_path / "small", sample=5)
        run(server, write_rows(tmp_path / "b.jsonl", records[::-1]), tmp_path / "again", sample=5)
        run(server, str(tmp_path / "a.jsonl"), tmp_path / "big", sample=9)
    assert small["left_out"]["not in the sample"] == 50
    assert labelled(tmp_path / "small") == labelled(tmp_path / "again")
    assert len(labelled(tmp_path / "small")) == 10 and labelled(tmp_path / "small").items() < labelled(tmp_path / "big").items()


FAULTS: dict[str, Behaviour] = {
    "busy": lambda number, message: error(429) if number % 3 == 0 else right(number, message),
    "broken": lambda number, message: error(500 + number % 4) if number % 2 == 0 else right(number, message),
    "not JSON": lambda number, message: (200, {}, b"<html>busy</html>") if number % 2 == 0 else right(number, message),
    "empty": lambda number, message: (200, {}, b"") if number % 2 == 0 else right(number, message),
    "no choices": lambda number, message: (200, {}, b'{"choices": []}') if number % 2 == 0 else right(number, message),
    "content no text": lambda number, message: completion({"a": 1}) if number % 2 == 0 else right(number, message),
    "reset": lambda number, message: "reset" if number % 3 == 0 else right(number, message),
    "slow": lambda number, message: "slow" if number == 2 else right(number, message),
    "drip": lambda number, message: "drip" if number == 2 else right(number, message),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_may_pass_is_tried_again(tmp_path: Path, fault: str) -> None:
    with stub(FAULTS[fault]) as server:
        settings = {"timeout_seconds": 0.3 if fault in ("slow", "drip") else 5, "retries": 10}
        run(server, write_rows(tmp_path / "d.jsonl", rows(12)), tmp_path / "out", settings=settings, concurrency=2)
        assert len(server.requests) > 12
    assert labelled(tmp_path / "out") == {f"d{number}": str(number % 6) for number in range(12)}


def test_retry_after_is_respected_and_bounded(tmp_path: Path) -> None:
    def busy(number: int, message: str) -> Any:
        asks = {0: "0.4", 2: "100000"}
        return error(429, {"Retry-After": asks[number]}) if number in asks else right(number, message)

    with stub(busy) as server:
        run(server, write_rows(tmp_path / "d.jsonl", rows(3)), tmp_path / "out", settings={"max_wait_seconds": 0.5}, concurrency=1)
        gaps = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
    assert gaps[0] >= 0.4 and gaps[2] >= 0.5 and len(server.requests) == 5


def test_answers_that_cannot_be_read_are_quarantined_with_what_was_said(tmp_path: Path) -> None:
    said = [
        "I cannot judge this.",
        '{"score": 9}',
        '{"score": true}',
        "Score: 2, no: **Score: 4**",
        "score: 2.5",
        '```json\n{"score": 3}\n```',
        None,
    ]

    def answers(_: int, message: str) -> Any:
        return completion(said[number_of(message)])

    with stub(answers) as server:
        facts = run(server, write_rows(tmp_path / "d.jsonl", rows(7)), tmp_path / "out")
        assert labelled(tmp_path / "out") == {"d3": "4", "d5": "3"}
        kept = {row["id"]: row for row in pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()}
        assert set(kept) == {"d0", "d1", "d2", "d4", "d6"} and kept["d0"]["answer"] == said[0] and "score" in kept["d0"]["error"]
        assert facts["left_out"]["in quarantine"] == 5
        run(server, str(tmp_path / "d.jsonl"), tmp_path / "out")
        assert len(server.requests) == 7  # they were paid for, too


def test_a_refused_document_is_quarantined_and_asked_again_only_where_it_may_be_taken(tmp_path: Path) -> None:
    refused = True

    def picky(number: int, message: str) -> Any:
        if refused and number_of(message) == 3:
            return error(400, body=b"too long")
        if refused and number_of(message) == 4:
            return 200, {}, b"x" * (5 << 20)
        return right(number, message)

    path, out = write_rows(tmp_path / "d.jsonl", rows(8)), tmp_path / "out"
    with stub(right) as server:
        run(server, path, tmp_path / "order", concurrency=1)
        assert number_of(server.requests[-1]["messages"][-1]["content"]) not in (3, 4)  # a refusal is stored when an answer follows
    with stub(picky) as server:
        run(server, path, out, concurrency=1)
        kept = {row["id"]: row["error"] for row in pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()}
        assert set(kept) == {"d3", "d4"} and "400 too long" in kept["d3"] and "4 MB" in kept["d4"]
        assert len(server.requests) == 8  # no second try
        facts = run(server, path, out)
        assert len(server.requests) == 8 and facts["left_out"]["in quarantine"] == 2
        refused = False
        run(server, path, out, settings={"max_tokens_field": "max_completion_tokens"})
        assert len(server.requests) == 10 and len(labelled(out)) == 8
    (out / "answers.sqlite").unlink()
    refused = True
    with stub(picky) as server:
        run(server, path, out, concurrency=1)
    with stub(right) as another:  # another endpoint may take what this one refuses
        run(another, path, out)
        assert len(another.requests) == 2


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (error(401), "refuses the API key"),
        (error(403), "refuses the API key"),
        (error(404), "check --endpoint and --model"),
        (error(307, {"Location": "http://elsewhere.example/v1"}), "redirect to 'http://elsewhere.example/v1'"),
    ],
)
def test_an_endpoint_that_cannot_be_used_costs_one_request(tmp_path: Path, reply: Any, says: str) -> None:
    with stub(lambda number, message: reply) as server:
        with pytest.raises(UserError, match=says):
            run(server, write_rows(tmp_path / "d.jsonl", rows(20)), tmp_path / "out")
        assert len(server.requests) == 1
    assert not (tmp_path / "out" / "labelled.parquet").exists()


def test_an_endpoint_that_stops_working_ends_the_run_and_keeps_what_was_paid_for(tmp_path: Path) -> None:
    broken = True

    def dying(number: int, message: str) -> Any:
        return error(503) if broken and number >= 10 else right(number, message)

    path = write_rows(tmp_path / "d.jsonl", rows(40))
    with stub(dying) as server:
        with pytest.raises(RunFailed, match=r"failed 2 times: status 503.*goes on from here"):
            run(server, path, tmp_path / "out", settings={"retries": 1}, concurrency=2)
        broken = False
        before = len(server.requests)
        run(server, path, tmp_path / "out")
        assert len(server.requests) == before + 30
    with pytest.raises(RunFailed, match=r"127\.0\.0\.1.*Connection refused"):  # nobody listens there any more
        run(server, write_rows(tmp_path / "e.jsonl", rows(30)), tmp_path / "gone", settings={"retries": 1})


def test_a_token_budget_needs_usage(tmp_path: Path) -> None:
    with stub(lambda number, message: completion('{"score": 1}', usage={})) as server:
        path = write_rows(tmp_path / "d.jsonl", rows(5))
        with pytest.raises(RunFailed, match="use --max-requests"):
            run(server, path, tmp_path / "out", budget=Budget(tokens=10_000))
        run(server, path, tmp_path / "free")


def test_the_key_is_sent_and_seen_nowhere_even_when_the_server_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path / "d.jsonl", rows(6))
    monkeypatch.setenv("MY_KEY", KEY)

    def parrot(number: int, message: str) -> Any:
        return completion(f"you sent {KEY}") if number % 2 else completion('{"score": 2}')

    with stub(parrot) as server:
        command: list[object] = ["classify", "judge", path, "--endpoint", server.url, "--model", "m", "--key-env", "MY_KEY"]
        assert exit_code([*command, "-o", tmp_path / "out", "--json"]) == 0
        assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    with stub(lambda number, message: error(401, body=f"bad key {KEY}".encode())) as server:
        command[4] = server.url
        assert exit_code([*command, "-o", tmp_path / "no"]) == 2
    printed = "".join(capfd.readouterr())
    files = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert "***" in printed and KEY not in printed and KEY.encode() not in files
    assert exit_code([*command, "-o", tmp_path / "m", "--max-cost", 1]) == 2
    assert "--prompt-price" in capfd.readouterr().err
    monkeypatch.delenv("MY_KEY")
    assert exit_code([*command, "-o", tmp_path / "m"]) == 2
    said = capfd.readouterr().err
    assert "MY_KEY" in said and len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "key", "says"),
    [
        ("ftp://h/v1", "", "http"),
        ("h/v1", "", "http"),
        ("file:///etc/passwd", "", "http"),
        ("http://user:secret@h/v1", "", "user name"),
        ("http://h:notaport/v1", "", "not a URL"),
        ("http://h/v1\r\nX: y", "", "http"),
        ("http://h/v1", "a\nb", "API key"),
        ("http://h/v1", "키", "API key"),
    ],
)
def test_addresses_and_keys_that_cannot_be_used(url: str, key: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        endpoint_of(url, key)
    assert "secret" not in str(caught.value) and (not key or key not in str(caught.value))


def test_topics_by_the_judge_and_templates_of_ones_own(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "d.jsonl", rows(4))
    with stub(lambda number, message: completion("Label: Health")) as server:
        run(server, path, tmp_path / "topic", template="topic")
        assert "- health (Health / 건강)" in server.requests[0]["messages"][1]["content"]
        own = tmp_path / "own.yaml"
        own.write_text("{name: own, kind: label, labels: {health: h, other: o}, prompts: {en: {user: 'of {labels}: {text}?'}}}")
        run(server, path, tmp_path / "own", template=str(own))
        assert server.requests[-1]["messages"][0]["content"].startswith("of - health: h\n- other: o: document")
    assert set(labelled(tmp_path / "topic").values()) == set(labelled(tmp_path / "own").values()) == {"health"}
    with pytest.raises(UserError, match="no template 'nowhere'"):
        load_template("nowhere", load_taxonomy(None))
    own.write_text("{name: own, kind: label, prompts: {en: {user: 'no place'}}}")
    with pytest.raises(UserError, match=r"own\.yaml: .*text"):
        load_template(str(own), load_taxonomy(None))


def test_a_gold_column_that_is_not_there_and_a_cache_that_is_none(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "d.jsonl", rows(4))
    with stub(right) as server:
        with pytest.raises(UserError, match="'nothing'"):
            run(server, path, tmp_path / "a", gold_column="nothing")
        run(server, path, tmp_path / "b")
        (tmp_path / "b" / "answers.sqlite").write_bytes(os.urandom(5000))
        with pytest.raises(UserError, match="no cache of answers"):
            run(server, path, tmp_path / "b")
        assert len(server.requests) == 4
