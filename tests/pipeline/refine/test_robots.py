"""robots.txt tables: the latest file of a host closes pages, hostile files stay bounded, and a crawl's responses become a table."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.refine import robots
from pipeline.refine.config import SitesConfig
from pipeline.refine.robots import Parsed, bounded, collect_robots, main, read_tables
from pipeline.refine.sites import sites_stage

CLOSED = "User-agent: *\nDisallow: /\n"


def write(path: Path, rows: list[tuple[object, object, object]]) -> str:
    """A robots table in the format that the file name says."""
    columns = dict(zip(robots.COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".csv":
        quoted = [",".join('"' + str(value).replace('"', '""') + '"' for value in row) for row in rows]
        path.write_text("host,fetched_at,body\n" + "\n".join(quoted) + "\n")
    else:
        path.write_text("\n".join(json.dumps(dict(zip(robots.COLUMNS, row, strict=True))) for row in rows))
    return str(path)


def dropped(path: str, agents: tuple[str, ...], *urls: str | None) -> list[bool]:
    stage = sites_stage(SitesConfig(robots=(path,), robots_agents=agents, drop_directives=()))
    assert stage is not None
    found = stage(pa.table({"url": pa.array(urls, pa.string())})).column("drop_reason").to_pylist()
    assert set(found) <= {None, "site:robots"}
    return [reason is not None for reason in found]


@pytest.mark.parametrize("name", ["table.parquet", "table.csv", "table.jsonl"])
def test_the_latest_row_of_a_host_counts(tmp_path: Path, name: str) -> None:
    rows: list[tuple[object, object, object]] = [
        ("www.News.kr", "2025-03-01T00:00:00+09:00", CLOSED),  # 15:00 UTC of the day before
        ("news.kr", "2025-02-28T16:00:00Z", "User-agent: *\nDisallow: /private\n"),
        ("news.kr", "2024-01-01", CLOSED),
        ("twice.kr", "2025-01-01", CLOSED),
        ("twice.kr", "2025-01-01T00:00:00Z", ""),
        ("한국.kr", "2025-01-01", CLOSED),
    ]
    table = write(tmp_path / name, rows)
    urls = [
        "http://news.kr/a",
        "https://www.news.kr/private/1",
        "http://twice.kr/",
        "http://xn--3e0b707e.kr/x",
        "http://sub.news.kr/private",
        None,
    ]
    assert dropped(table, ("*",), *urls) == [False, True, False, True, False, False]


def test_any_agent_may_close_a_page(tmp_path: Path) -> None:
    body = "User-agent: CCBot\nDisallow: /ai\n\nUser-agent: *\nDisallow: /search\nAllow: /search/about$\n"
    table = write(tmp_path / "t.parquet", [("a.kr", "2025-01-01", body)])
    urls = ["http://a.kr/ai/1", "http://a.kr/search?q=x", "http://a.kr/search/about", "http://a.kr/", "http://a.kr/%61i"]
    assert dropped(table, ("CCBot", "*"), *urls) == [True, True, False, False, True]
    assert dropped(table, ("*",), *urls) == [False, True, False, False, False]
    assert dropped(table, ("CCBot",), *urls) == [True, False, False, False, True]


def test_odd_paths_reach_the_rules_as_they_are(tmp_path: Path) -> None:
    """A path that begins with two slashes is a path, a bracket in an address ends nothing, and Korean paths match in either form."""
    body = "User-agent: *\nDisallow: //x/y\nDisallow: /비공개\nDisallow: /[z\n"
    table = write(tmp_path / "t.parquet", [("a.kr", "2025-01-01", body), ("[::::1]", "2025-01-01", CLOSED)])
    urls = ["http://a.kr//x/y", "http://a.kr/y", "http://a.kr/%EB%B9%84%EA%B3%B5%EA%B0%9C/1", "http://a.kr/비공개", "http://a.kr/[z]"]
    assert dropped(table, ("*",), *urls, "http://[::::1]/") == [True, False, True, True, True, True]


def test_a_version_behind_the_agent_and_a_byte_order_mark_hide_no_rule(tmp_path: Path) -> None:
    bodies = [
        "User-agent: CCBot/2.0\nDisallow: /",
        "\ufeffUser-agent: CCBot\r\nDisallow: /\r\n",
        "User-Agent:CCBot/1 (x; y) # z\nDisallow:/",
    ]
    table = write(tmp_path / "t.parquet", [(f"{number}.kr", "2025-01-01", body) for number, body in enumerate(bodies)])
    urls = [f"http://{number}.kr/page" for number in range(len(bodies))]
    assert dropped(table, ("CCBot",), *urls) == dropped(table, ("CCBot/2.0",), *urls) == [True] * len(bodies)
    assert dropped(table, ("GPTBot",), *urls) == [False] * len(bodies)


def test_large_bodies_and_byte_order_marks_are_read(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", [("a.kr", "2025-01-01", "User-agent: *\nDisallow: /x\n" + "# comment\n" * 300_000)])
    assert dropped(table, ("*",), "http://a.kr/x", "http://a.kr/") == [True, False]
    (tmp_path / "t.jsonl").write_text('{"host": "a.kr", "fetched_at": "2025-01-01", "body": null}', encoding="utf-8-sig")
    assert dropped(str(tmp_path / "t.jsonl"), ("*",), "http://a.kr/x") == [False]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.jsonl", '{"host":"a.kr","fetched_at":"yesterday","body":""}', "row 1 .* fetched_at 'yesterday'"),
        ("t.jsonl", '{"host":"a b","fetched_at":"2025-01-01","body":""}', "row 1 .* host 'a b'"),
        ("t.jsonl", '{"host":"a.kr","fetched_at":"2025-01-01"}', "line 1 .* no text 'body'"),
        ("t.jsonl", "\n{nonsense", "line 2 .* is not JSON"),
        ("t.csv", "host,body\na.kr,x\n", "no column fetched_at"),
        ("t.parquet", "nonsense", "can't read"),
        ("t.txt", "", "is neither Parquet"),
    ],
)
def test_bad_tables_name_the_place(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=says):
        read_tables((str(tmp_path / name),))


def test_missing_and_changed_tables(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't read"):
        read_tables((str(tmp_path / "absent.parquet"),))
    table = write(tmp_path / "t.jsonl", [("a.kr", "2025-01-01", CLOSED)])
    stage = sites_stage(SitesConfig(robots=(table,)))
    assert stage is not None
    write(tmp_path / "t.jsonl", [("a.kr", "2025-01-01", "")])
    with pytest.raises(UserError, match="changed while the run"):
        stage(pa.table({"url": ["http://a.kr/"]}))


def test_no_rows_close_nothing(tmp_path: Path) -> None:
    empty = pa.table({name: pa.array([], pa.string()) for name in robots.COLUMNS})
    pq.write_table(empty, tmp_path / "t.parquet")
    assert dropped(str(tmp_path / "t.parquet"), ("*",), "http://a.kr/") == [False]


def agent_entries(body: str) -> int:
    """Twin: rules that Protego holds, counted once for each agent of their group."""
    from protego import Protego

    return sum(len(rules._rules) for rules in Protego.parse(body)._user_agents.values())


_LINES = st.sampled_from(
    [
        "User-agent: a",
        "user agent b",
        "Useragent:c*",
        "User-agent: *",
        "Disallow: /x",
        "Allow: /y$",
        "disalow: /z",
        "Sitemap: s",
        "# c",
        "",
        "x",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_LINES, max_size=30))
def test_the_bound_never_underestimates_and_keeps_small_files_whole(lines: list[str]) -> None:
    """`$` rules and agents with a wildcard are held twice by Protego; nothing else may be held more often than counted."""
    text, entries = bounded("\n".join(lines))
    assert 4 * entries >= agent_entries("\n".join(lines)) == agent_entries(text)


def hostile_files() -> dict[str, str]:
    size = robots.MAX_BODY_CHARACTERS
    return {
        "wildcards": "User-agent: *\nDisallow: /*a*a*a*a*a*a*a*a*a*a*a*a*b\n",
        "many wildcards": "User-agent: *\n" + "".join(f"Disallow: /*{number}x*a*b\n" for number in range(size // 20)),
        "agents times rules": "".join(f"User-agent: a{n}\n" for n in range(15_000)) + "".join(f"Disallow: /{n}\n" for n in range(15_000)),
        "agents again": "".join(f"User-agent: a{n}\n" for n in range(10_000)) * 2,
        "one long line": "User-agent: *\nDisallow: /" + "*a" * size,
        "endless": "x" * (3 * size),
        "controls": "\0\x0b\x1c\u2028" * 10_000,
    }


@pytest.mark.parametrize("name", hostile_files())
def test_hostile_files_are_bounded(name: str) -> None:
    """What Protego is given is small enough to hold, and long addresses are answered (the suite's time limit is the judge of a hang)."""
    body = hostile_files()[name]
    text, _ = bounded(body)
    assert len(text) <= robots.MAX_BODY_CHARACTERS
    assert agent_entries(text) <= 4 * robots.MAX_RULE_ENTRIES
    assert sum("*" in line for line in text.splitlines()) <= robots.MAX_WILDCARDS
    parsed = Parsed(robots.RobotsTable(read_hash("a.kr"), pa.chunked_array([pa.array([body], pa.large_string())])))
    assert parsed.allows("a.kr", "/" + "a" * 8000, ("CCBot", "*"))


def read_hash(*hosts: str) -> np.ndarray:
    return np.sort(np.array([robots.hash_of(host) for host in hosts], np.uint64))


def test_only_recent_files_stay_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [f"h{number}.kr" for number in range(50)]
    order = sorted(hosts, key=robots.hash_of)
    bodies = pa.chunked_array([pa.array([f"User-agent: *\nDisallow: /{host}\n" for host in order], pa.large_string())])
    monkeypatch.setattr(robots, "MAX_PARSED", 2000)
    parsed = Parsed(robots.RobotsTable(read_hash(*hosts), bodies))
    for host in hosts * 2:
        assert not parsed.allows(host, f"/{host}", ("*",))
        assert parsed.allows(host, "/other", ("*",))
    assert len(parsed._kept) < 20


def record(url: str, http: bytes, date: str = "2025-05-05T05:05:05Z", kind: str = "response") -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: {date}\r\nWARC-Record-ID: <urn:x:{url}>\r\n"
    head += f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    return head.encode() + http + b"\r\n\r\n"


def answer(status: int, body: bytes = b"", mime: str = "text/plain") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Type: {mime}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_collecting_from_a_crawl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        record("http://ok.kr/robots.txt", answer(200, b"\xef\xbb\xbf" + CLOSED.encode())),
        record("http://www.html.kr/robots.txt", answer(200, CLOSED.encode(), "text/html")),
        record("http://gone.kr/robots.txt", answer(404, b"<html>not here</html>", "text/html")),
        record("http://down.kr/robots.txt", answer(503)),
        record("http://moved.kr/robots.txt", answer(301)),
        record("http://empty.kr/robots.txt", answer(200)),
        record("http://page.kr/index.html", answer(200, b"<html>page</html>", "text/html")),
        record("http://below.kr/a/robots.txt", answer(200, CLOSED.encode())),
    ]
    (tmp_path / "crawl.warc.gz").write_bytes(b"".join(map(gzip.compress, records)))
    out = tmp_path / "robots.parquet"
    assert main([str(tmp_path / "crawl.warc.gz"), "-o", str(out)]) == 0
    assert "5 robots.txt files (1 responses" in capsys.readouterr().out
    rows = {row["host"]: row["body"] for row in pq.read_table(out).to_pylist()}
    assert rows == {"ok.kr": CLOSED, "html.kr": CLOSED, "gone.kr": "", "down.kr": robots.DISALLOW_ALL, "empty.kr": ""}
    urls = [f"http://{host}/x" for host in ("ok.kr", "html.kr", "gone.kr", "down.kr", "moved.kr")]
    assert dropped(str(out), ("CCBot", "*"), *urls) == [True, True, False, True, False]


def test_collecting_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent.warc"), "-o", str(tmp_path / "t.parquet")]) == 2
    assert "no file matches" in capsys.readouterr().err
    (tmp_path / "crawl.warc").write_bytes(record("http://ok.kr/robots.txt", answer(200, b"x")))
    with pytest.raises(UserError, match="can't write"):
        collect_robots([str(tmp_path / "crawl.warc")], str(tmp_path / "no" / "t.parquet"))
