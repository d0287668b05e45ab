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
from pipeline.ingest.helper import Helper, Options, helper_for
from pipeline.ingest.rows import SCHEMA
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


@pytest.mark.parametrize("extractor", ["trafilatura", "resiliparse"])
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


def test_no_main_text_size_limit_and_nesting_bomb() -> None:
    bomb = "<html><body>" + "<div>" * 100_000 + "x" + "</div>" * 100_000
    pages = table_of(html("<html></html>"), html("<p>" * 1_000_000), html(bomb), html(GOOD))
    rows = Extract(max_html_bytes=2_000_000)(pages).to_pylist()
    assert rows[0]["drop_reason"] == "no_main_text" and "max_html_bytes" in rows[1]["error"]
    assert rows[2]["drop_reason"] or rows[2]["error"]
    assert SENTENCE.strip() in rows[3]["text"] and rows[3]["error"] is None


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
        answers = helper.extract([GOOD, slow, GOOD])
        assert "timed out after 0.3 s" in answers[1]["error"]
        assert answers[0] == answers[2] and SENTENCE.strip() in answers[0]["text"]
    finally:
        helper.close()


def test_a_process_that_died_is_replaced_and_no_page_is_lost() -> None:
    helper = Helper(OPTIONS)
    try:
        helper.extract([GOOD])
        assert helper.process is not None
        first = helper.process.pid
        os.kill(first, signal.SIGKILL)
        answers = helper.extract([GOOD, GOOD])
        assert [SENTENCE.strip() in answer["text"] for answer in answers] == [True, True]
        assert helper.process.pid != first
    finally:
        helper.close()


def test_memory_limit_costs_only_the_page() -> None:
    helper = Helper(Options("resiliparse", True, "balanced", 20.0, 1 << 30))
    try:
        huge = "<html><body>" + "<p>word</p>" * 8_000_000
        answers = helper.extract([GOOD, huge, GOOD])
        assert "error" in answers[1]
        assert answers[0] == answers[2]
    finally:
        helper.close()


def test_an_extractor_that_cannot_start_is_said_in_one_sentence() -> None:
    with pytest.raises(RunFailed, match="could not start"):
        Helper(Options("trafilatura", True, "balanced", 20.0, 1 << 20)).extract([GOOD])


def test_the_process_ends_with_its_worker() -> None:
    code = (
        "import sys; sys.path[:] = %r\n"
        "from pipeline.ingest.helper import helper_for, Options\n"
        "helper = helper_for(Options('resiliparse', True, 'balanced', 20.0, 4 << 30)); helper.extract(['<p>x</p>'])\n"
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
