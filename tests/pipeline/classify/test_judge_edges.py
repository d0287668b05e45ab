"""The judge at its edges: refusals, hostile servers, keys in disguise, and answers that almost name a label."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pipeline.errors import RunFailed, UserError
from pipeline.labels.config import JudgeConfig
from pipeline.labels.judge_cache import AnswerCache, Budget, BudgetSpent
from pipeline.labels.judge_client import Answer, Down, Refused, Unusable, ask, endpoint_of
from pipeline.labels.judge_prompt import Prompt, Template, parse
from tests.pipeline.classify.judge_stub import completion, error, stub
from tests.pipeline.classify.labelled_scene import write_rows
from tests.pipeline.classify.test_judge import labelled, number_of, right, rows, run


def ask_once(url: str, key: str = "", **settings: Any) -> Answer:
    config = JudgeConfig.model_validate({"retries": 0, **settings})
    return ask(endpoint_of(url, key), {}, config, lambda: None, threading.Event())


@pytest.mark.parametrize("concurrency", [1, 4])
def test_many_refused_documents_end_no_run_and_are_paid_for_once(tmp_path: Path, concurrency: int) -> None:
    path, out = write_rows(tmp_path / "d.jsonl", rows(240)), tmp_path / "out"

    def picky(number: int, message: str) -> Any:
        return error(400) if number_of(message) % 10 < 7 else right(number, message)

    with stub(picky) as server:
        done = 0
        for most in (40, 80, 400):
            facts = run(server, path, out, budget=Budget(requests=most), concurrency=concurrency)
            assert len(server.requests) > done
            done = len(server.requests)
        assert done <= 240 + 2 * 20  # a row of refusals at the end of a run, which no answer followed, is asked again
        assert facts["left_out"]["in quarantine"] == 168 and facts["left_out"]["left for another run"] == 0
    assert len(labelled(out)) == 72


def test_an_account_that_refuses_everything_ends_the_run_and_quarantines_nothing_for_good(tmp_path: Path) -> None:
    path, out, broke = write_rows(tmp_path / "d.jsonl", rows(150)), tmp_path / "out", True
    with stub(lambda number, message: error(400, body=b"no credit") if broke and number > 4 else right(number, message)) as server:
        with pytest.raises(RunFailed, match=r"no credit \(50 documents in a row\)"):
            run(server, path, out, concurrency=1)
        assert len(server.requests) == 55
        broke = False
        run(server, path, out)
    assert len(labelled(out)) == 150


def test_a_busy_page_of_5_mb_may_pass(tmp_path: Path) -> None:
    with stub(lambda number, message: (503, {}, b"x" * (5 << 20)) if number == 0 else right(number, message)) as server:
        run(server, write_rows(tmp_path / "d.jsonl", rows(3)), tmp_path / "out")
    assert len(labelled(tmp_path / "out")) == 3


KEY = "sk/Ab+c-" + "D1e2F3g4" * 6


@pytest.mark.parametrize(
    "written",
    [
        KEY,
        KEY.replace("/", "\\/"),
        "".join(f"\\u{ord(char):04X}" for char in KEY),
        KEY.replace("+", "\\u002b"),
        quote(KEY, safe=""),
        "".join(f"%{ord(char):02x}" for char in KEY),
    ],
)
@pytest.mark.parametrize("blanks", [0, 170, 745, 795, 100_000])
def test_no_piece_of_the_key_is_left_however_it_is_written_and_wherever_a_cut_falls(written: str, blanks: int) -> None:
    body = (" " * blanks + "." * min(blanks, 170) + "bad key " + written).encode()
    for reply in (error(401, body=body), error(503, body=body), error(400, body=body), (200, {}, body)):
        with stub_of_any_body(reply) as url, pytest.raises((Refused, Unusable)) as caught:
            ask_once(url, KEY)
        message = str(caught.value)
        assert "***" in message and not any(written[at : at + 6] in message for at in range(0, len(written) - 6))


def stub_of_any_body(reply: Any) -> Any:
    """`stub` reads the user message of a request; these have none."""

    class Opened:
        def __enter__(self) -> str:
            self.server = socket.create_server(("127.0.0.1", 0))
            threading.Thread(target=self.serve, daemon=True).start()
            return f"http://127.0.0.1:{self.server.getsockname()[1]}/v1"

        def serve(self) -> None:
            with suppress(OSError):
                client, _ = self.server.accept()
                client.recv(65_536)
                client.sendall(f"HTTP/1.1 {reply[0]} x\r\nContent-Length: {len(reply[2])}\r\n\r\n".encode() + reply[2])
                client.recv(65_536)
                client.close()

        def __exit__(self, *_: object) -> None:
            self.server.close()

    return Opened()


def drip_for_ever(server: socket.socket, first: bytes, rest: bytes) -> None:
    with suppress(OSError):
        client, _ = server.accept()
        client.recv(65_536)
        client.sendall(first)
        while True:
            client.sendall(rest)
            time.sleep(0.05)


@pytest.mark.parametrize("scene", ["slow name server", "handshake"])
def test_a_request_is_bounded_before_the_server_is_known_too(scene: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def slow(*arguments: Any, **more: Any) -> Any:
        time.sleep(0.5)
        return resolve(*arguments, **more)

    if scene == "handshake":
        first, rest, scheme = b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xf0", b"\x03", "https"
    else:
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        first, rest, scheme = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x", "http"
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip_for_ever, args=(server, first, rest), daemon=True).start()
        begun = time.monotonic()
        with pytest.raises(Down, match=r"no complete answer within 0\.3 s"):
            ask_once(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/v1", timeout_seconds=0.3)
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".com", "[fe80::1%25eth0]", "h:0"])
def test_hosts_that_cannot_be_resolved_are_refused_in_a_sentence(host: str) -> None:
    with pytest.raises(UserError, match="endpoint"):
        endpoint_of(f"http://{host}/v1", "")


def test_addresses_of_ipv6_keep_their_brackets_and_are_not_cut_at_a_colon() -> None:
    assert str(endpoint_of("http://[::1]/v1", "")) == "http://[::1]/v1/chat/completions"
    assert str(endpoint_of("http://[::1]:81/v1", "")) == "http://[::1]:81/v1/chat/completions"
    with pytest.raises((Down, Unusable), match=r"\[::1\]/v1"):
        ask_once("http://[::1]/v1", timeout_seconds=1)


@pytest.mark.parametrize("count", [2**53 + 1, 2**63, 2**70, -1, 0, 1.5, True, "9"])
def test_usage_that_cannot_be_is_as_good_as_none(tmp_path: Path, count: Any) -> None:
    path = write_rows(tmp_path / "d.jsonl", rows(3))
    with stub(lambda number, message: completion('{"score": 1}', {"prompt_tokens": count, "completion_tokens": 2})) as server:
        assert run(server, path, tmp_path / "out")["spent"]["prompt_tokens"] == 0
        with pytest.raises(RunFailed, match="use --max-requests"):
            run(server, path, tmp_path / "budget", budget=Budget(tokens=10_000))


def test_the_most_tokens_that_are_believed_fit_the_cache(tmp_path: Path) -> None:
    with AnswerCache(tmp_path / "a.sqlite", Budget(tokens=100)) as cache:
        cache.put(cache.start(1, 1), "a", 1, Answer("x", 2**53, 1))
        assert cache.get("a") == "x" and cache.spent().prompt_tokens == 2**53
        with pytest.raises(BudgetSpent):
            cache.start(1, 1)


def test_an_answer_that_cannot_be_stored_leaves_no_transaction_open(tmp_path: Path) -> None:
    with AnswerCache(tmp_path / "a.sqlite", Budget()) as cache:
        with pytest.raises(OverflowError):
            cache.put(cache.start(1, 1), "a", 1, Answer("x", 5, 2**64))
        cache.put(cache.start(1, 1), "b", 10, Answer("y", 5, 1))
        assert (cache.get("a"), cache.get("b"), cache.spent().prompt_tokens) == (None, "y", 5)
    with sqlite3.connect(tmp_path / "a.sqlite") as database:
        assert database.execute("SELECT amount FROM spent WHERE what = 'tokens_per_kilobyte'").fetchall() == [(500,)]


@pytest.mark.parametrize("content", [b"{trunc", b"[]", b"\xff"])
def test_a_manifest_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_bytes(content)
    with stub(right) as server, pytest.raises(UserError, match=r"manifest\.json"):
        run(server, write_rows(tmp_path / "d.jsonl", rows(2)), tmp_path / "out")


@pytest.mark.parametrize(
    ("labels", "answer", "label"),
    [
        (["food", "food and drink"], "Reasoning ...\nlabel: food and drink", "food and drink"),
        (["food", "food and drink"], "label: food", "food"),
        (["food", "food and drink"], '**Label**: "Food  and Drink".', "food and drink"),
        (["food", "health"], "label: food and drink", None),
        (["food", "health"], "label: food or health", None),
        (["food", "health"], "label: food, because it is", "food"),
        (["food", "health"], "label: food (not health)", "food"),
        (["food", "health"], "label: food\nIt is no label.", "food"),
        (["food", "health"], "topic: food, label: health", "health"),
        (["food", "health"], "label:\n**health**\n", "health"),
        (["food", "health"], "**Health**.", "health"),
        (["node", "node.js"], "label: node.js", "node.js"),
        (["node", "other"], "label: node.js", None),
        (["c", "c*"], "label: c*", "c*"),
        (["1", "2"], '{"label": 1}', "1"),
        (["1", "2"], '{"label": true}', None),
        (["1", "2"], "label: 12", None),
        (["1", "2"], json.dumps({"label": 3}), None),
    ],
)
def test_labels_are_taken_whole(labels: list[str], answer: str, label: str | None) -> None:
    template = Template(name="t", kind="label", labels={name: name for name in labels}, prompts={"en": Prompt(user="{text}")})
    assert parse(template, answer) == label
