import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from pipeline.errors import RunFailed
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.extract import Extract
from pipeline.ingest.helper import Helper, Options, Page, helper_for
from pipeline.ingest.http_payload import fill_response
from pipeline.ingest.rows import SCHEMA, Row, tables
from pipeline.ingest.stages import stages
from pipeline.stage import missing_columns

SENTENCE = "이 문장은 본문에 속하며 사람이 읽을 만한 이야기를 담고 있습니다. "
GOOD = f"""<html><head><title>좋은 글</title><link rel="canonical" href="http://www.a.kr/good"></head>
<body><nav><a href="/">처음</a> <a href="/m">메뉴</a></nav>
<article><h1>좋은 글</h1>{f"<p>{SENTENCE * 4}</p>" * 4}</article></body></html>"""
OPTIONS = Options("trafilatura", True, "balanced", 20.0, 4 << 30)


def table_of(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def html(text: str, **more: object) -> dict[str, object]:
    return {"text": text, "raw_kind": "html", **more}


EXTRACTORS = ("trafilatura", "trafilatura-fast", "resiliparse")


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_main_text_title_url_host_and_no_transient_columns(extractor: str) -> None:
    result = Extract(extractor=extractor)(table_of(html(GOOD), {"text": "plain", "raw_kind": "text", "url": "http://B.kr:8080/x"}))
    first, second = result.to_pylist()
    assert SENTENCE.strip() in first["text"] and "메뉴" not in first["text"]
    assert (first["title"], first["url"], first["host"]) == ("좋은 글", "http://www.a.kr/good", "a.kr")
    assert first["text_bytes"] == len(first["text"].encode())
    assert (second["text"], second["host"]) == ("plain", "b.kr")
    assert not {"raw", "raw_kind", "charset_declared"} & set(result.column_names)


def test_known_title_and_url_stay() -> None:
    row = Extract()(table_of(html(GOOD, title="mine", url="http://c.kr/", date="2020"))).to_pylist()[0]
    assert (row["title"], row["url"], row["date"]) == ("mine", "http://c.kr/", "2020")


def test_no_main_text_and_size_limit() -> None:
    pages = table_of(html("<html></html>"), html("<p>" * 1_000_000), html(GOOD))
    rows = Extract(max_html_bytes=2_000_000)(pages).to_pylist()
    assert rows[0]["drop_reason"] == "no_main_text" and "max_html_bytes" in rows[1]["error"]
    assert SENTENCE.strip() in rows[2]["text"] and rows[2]["error"] is None


HEAD = """<html><head><title>표시가 있는 글</title><link rel=canonical href="/own"><meta name=robots content="NOARCHIVE">
<meta property="article:published_time" content="2024-03-05T00:00:00+09:00"></head>"""
MARKED = GOOD.replace(GOOD[: GOOD.index("<body>")], HEAD).replace(
    "</body>", '<a rel="license" href="https://creativecommons.org/licenses/by/4.0/">CC</a> <p>공공누리 제1유형</p></body>'
)


def test_marks_are_the_same_whichever_extractor_reads_the_text() -> None:
    row = html(MARKED, url="http://a.kr/dir/x", robots_directives="noai")
    marks = ("canonical_url", "robots_directives", "license", "title", "date", "host")
    found = {tuple(Extract(extractor=extractor)(table_of(row)).select(marks).to_pylist()[0].values()) for extractor in EXTRACTORS}
    assert found == {("http://a.kr/own", "noai,noarchive", "CC-BY-4.0,KOGL-1", "표시가 있는 글", "2024-03-05", "a.kr")}


def test_plain_text_has_only_the_marks_of_its_headers() -> None:
    row = {"text": "공공누리 제1유형", "raw_kind": "text", "robots_directives": "noindex"}
    found = Extract()(table_of(row, {"text": MARKED})).select(["canonical_url", "robots_directives", "license"]).to_pylist()
    assert [tuple(each.values()) for each in found] == [(None, "noindex", None), (None, None, None)]


def test_headers_of_an_archived_response_reach_the_column() -> None:
    row = Row(0)
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Robots-Tag: NoArchive\r\nTDM-Reservation: 1\r\n\r\nplain words"
    fill_response(row, block, IngestConfig())
    table = next(tables([row], "source", "file", 1 << 20))
    assert table.column("robots_directives").to_pylist() == ["noarchive,tdm-reservation"]


PREVIEW = f"<p>{'이것은 다른 글의 앞부분이며 여기서 끊긴다 ' * 12}…</p>"
PREVIEWS = "".join(f"<div class='teaser'><h2>다른 글 {index}</h2>{PREVIEW}</div>" for index in range(9))


def test_previews_of_other_articles_do_not_take_the_place_of_a_short_text() -> None:
    page = f"<html><body><div id='list'><article><p>{SENTENCE * 9}</p></article>{PREVIEWS}</div></body></html>"
    text = Extract()(table_of(html(page))).to_pylist()[0]["text"]
    assert SENTENCE.strip() in text and text.count("…") == 0


HOSTILE = {
    "nesting": "<html><body>" + "<div>" * 100_000 + "x" + "</div>" * 100_000,
    "unclosed formatting": "<html><body>" + "<b><i><p>" * 5_000,
    "many elements": "<html><body>" + "<p>a<br>" * 60_000,
    "huge attribute": f'<html><body><p title="{"x" * 2_000_000}">a</p>',
    "many attributes": f"<html><body><p {' '.join(f'a{index}=1' for index in range(20_000))}>a</p>",
    "one-line script": f"<html><head><script>{'var a = 1;' * 200_000}</script></head><body><p>{SENTENCE}</p>",
    "script that never ends": "<html><body><script>" + "a" * 2_000_000,
    "NUL bytes": "<html><body><p>" + "\0a" * 20_000 + f"</p><p>{SENTENCE * 5}</p>",
    "lone surrogates": f"<html><body><p>&#xd800;&#55357;{SENTENCE * 5}</p><title>&#xdfff;</title>",
    "character references out of range": f"<html><body><p>&#x110000;&#99999999999;&#0;{SENTENCE * 5}</p>",
    "entity bomb": '<!DOCTYPE html [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]><html><body><p>' + "&c;" * 20_000,
    "external entity": '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><html><body><p>&e;</p>',
    "tables in tables": "<html><body>" + "<table><tr><td>" * 1_000 + "x",
    "quotes never closed": '<html><body><a href="' * 20_000,
    "comment never closed": f"<html><body><p>{SENTENCE * 5}</p><!--" + "<p>a</p>" * 20_000,
    "plaintext and frames": "<html><frameset><plaintext></html>" + "<svg><math><template>" * 2_000,
}


@pytest.mark.parametrize("extractor", ["trafilatura", "resiliparse"])
def test_hostile_pages_are_bounded_and_cost_only_themselves(extractor: str) -> None:
    """Each page ends as text, dropped or quarantined, within the CPU seconds it is given; the pages between are read as ever."""
    good = Extract(extractor=extractor)(table_of(html(GOOD))).to_pylist()[0]["text"]
    rows = [row for page in HOSTILE.values() for row in (html(page), html(GOOD))]
    helper = helper_for(Extract(extractor=extractor, seconds=1.0).options())
    try:
        found = Extract(extractor=extractor, seconds=1.0)(table_of(*rows)).to_pylist()
    finally:
        helper.close()
    assert [row["text"] for row in found[1::2]] == [good] * len(HOSTILE)
    for name, row in zip(HOSTILE, found[::2], strict=True):
        assert (row["text"] is None) == (row["error"] is not None), name
        assert row["text"] != "" or row["drop_reason"] == "no_main_text", name
        assert "root:" not in (row["text"] or "")


def test_result_does_not_depend_on_the_batch() -> None:
    rows = [html(GOOD.replace("좋은", str(index))) for index in range(6)] + [html("")]
    together = Extract()(table_of(*rows)).to_pylist()
    assert together == [Extract()(table_of(row)).to_pylist()[0] for row in rows]


def test_empty_table_and_declared_columns() -> None:
    assert len(Extract()(SCHEMA.empty_table())) == 0
    assert missing_columns(stages(IngestConfig()), SCHEMA.names) == []


def test_a_page_over_its_cpu_time_costs_only_itself() -> None:
    helper = Helper(Options("trafilatura", True, "balanced", 0.3, 4 << 30))
    cells = (f"<table><tr><td><p>{SENTENCE}<b>{index}</b></p></td></tr></table>" for index in range(40_000))
    slow = f"<html><body>{''.join(cells)}</body></html>"
    try:
        answers = helper.extract([Page(GOOD), Page(slow), Page(GOOD)])
        assert "timed out after 0.3 s" in answers[1]["error"]
        assert answers[0] == answers[2] and SENTENCE.strip() in answers[0]["text"]
    finally:
        helper.close()


def test_a_process_that_died_is_replaced_and_no_page_is_lost() -> None:
    helper = Helper(OPTIONS)
    try:
        helper.extract([Page(GOOD)])
        assert helper.process is not None
        first = helper.process.pid
        os.kill(first, signal.SIGKILL)
        answers = helper.extract([Page(GOOD), Page(GOOD)])
        assert [SENTENCE.strip() in answer["text"] for answer in answers] == [True, True]
        assert helper.process.pid != first
    finally:
        helper.close()


def test_memory_limit_costs_only_the_page() -> None:
    helper = Helper(Options("resiliparse", True, "balanced", 20.0, 1 << 30))
    try:
        huge = "<html><body>" + "<p>word</p>" * 6_000_000
        answers = helper.extract([Page(GOOD), Page(huge), Page(GOOD)])
        assert "error" in answers[1]
        assert answers[0] == answers[2]
    finally:
        helper.close()


def test_an_extractor_that_cannot_start_is_said_in_one_sentence() -> None:
    with pytest.raises(RunFailed, match="could not start"):
        Helper(Options("trafilatura", True, "balanced", 20.0, 1 << 20)).extract([Page(GOOD)])


def test_the_process_ends_with_its_worker() -> None:
    code = (
        "import sys; sys.path[:] = %r\n"
        "from pipeline.ingest.helper import Options, Page, helper_for\n"
        "helper = helper_for(Options('resiliparse', True, 'balanced', 20.0, 4 << 30)); helper.extract([Page('<p>x</p>')])\n"
        "print(helper.process.pid, flush=True); sys.stdin.read()"
    ) % [os.getcwd(), *sys.path]
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    worker.kill()
    worker.communicate()
    for _ in range(100):
        if not _runs(pid):
            return
        time.sleep(0.1)
    raise AssertionError(f"extractor process {pid} outlived its worker")


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_helper_per_worker_and_options() -> None:
    assert helper_for(OPTIONS) is helper_for(OPTIONS)
    assert helper_for(OPTIONS) is not helper_for(Options("resiliparse", True, "balanced", 20.0, 4 << 30))
