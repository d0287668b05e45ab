"""SQL over a run: every view is there whatever the run has, results are right, and pasted SQL can't touch a file."""

from __future__ import annotations

import io
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import inspection
from pipeline.errors import UserError
from pipeline.report.views import MEANINGS, view_names
from tests.pipeline.fake_run import HOSTILE_SOURCE, MOVES, make_run, tables_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("inspect") / 'it\'s; drop table "documents" --[*]?')


@pytest.fixture(scope="module")
def connection(run):
    with inspection.connect(run) as opened:
        yield opened


def one(connection, sql):
    return connection.execute(sql).fetchone()[0]


def test_views_hold_the_rows_of_their_shards(run, connection):
    for move in MOVES:
        assert one(connection, f"select count(*) from kept_{move}") == len(tables_of(run, "kept", move))
    assert one(connection, "select count(*) from documents") == len(tables_of(run, "kept", "balance"))
    assert one(connection, "select sum(length(text)) from documents") > 0
    dropped = dict(connection.execute("select segment, count(*) from dropped group by 1").fetchall())
    assert dropped == {move: len(tables_of(run, "dropped", move)) for move in MOVES}
    assert one(connection, "select count(*) from dropped where drop_reason is null") == 0
    assert one(connection, "select count(*) from quarantined where segment = 'ingest'") == len(tables_of(run, "quarantine", "ingest"))
    assert one(connection, "select count(*) from clusters") == 14
    assert one(connection, "select count(*) from contamination") == 5
    assert one(connection, "select count(*) from gaps") == 0


def test_corpus_has_phase_and_lang_of_its_folders(run, connection):
    listed = dict(
        ((phase, lang), n) for phase, lang, n in connection.execute("select phase, lang, count(*) from corpus group by 1, 2").fetchall()
    )
    expected = {
        (path.parent.parent.name.split("=")[1], path.parent.name.split("=")[1]): pq.read_metadata(path).num_rows
        for path in (run / "corpus").rglob("part-*.parquet")
    }
    assert listed == expected and len(listed) == 4
    assert one(connection, "select count(*) from corpus where phase = 'domain' and lang = 'en'") == expected["domain", "en"]


def test_folder_names_win_over_a_lang_column_in_the_corpus_files(tmp_path):
    run = make_run(tmp_path / "run", documents=30, splits=1)
    path = run / "corpus" / "phase=general" / "lang=ko" / "part-00000.parquet"
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.append_column("lang", pa.array(["mixed"] * len(table))), path)
    assert inspection.query(run, "select distinct lang from corpus order by 1").column(0).to_pylist() == ["en", "ko"]


def test_receipts_agree_with_the_shards(run, connection):
    rows = connection.execute(
        "select segment, sum(rows_in), sum(kept_rows + dropped_rows + quarantined_rows) from receipts group by 1"
    ).fetchall()
    assert len(rows) == len(MOVES) and all(first == second for _, first, second in rows)
    by_reason = dict(connection.execute("select segment, sum(rows) from reasons where outcome = 'dropped' group by 1").fetchall())
    assert by_reason == {move: len(tables_of(run, "dropped", move)) for move in MOVES}


@pytest.mark.parametrize("name", list(inspection.CANNED))
def test_ready_made_questions_have_answers(run, name):
    table = inspection.query(run, name)
    assert len(table) > 0
    assert name in inspection.CANNED_MEANINGS
    assert inspection.render(table, 5, 120)


def test_funnel_question_adds_up(run):
    for row in inspection.query(run, "funnel").to_pylist():
        assert row["documents_in"] == row["kept"] + row["dropped"] + row["quarantined"]


def test_an_empty_run_has_every_view_empty_and_every_question_works(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with inspection.connect(tmp_path) as connection:
        assert view_names(connection) == list(MEANINGS)
        for name in MEANINGS:
            if name != "gaps":
                assert one(connection, f"select count(*) from {name}") == 0
        for sql in inspection.CANNED.values():
            assert connection.execute(sql).fetchall() == []


def test_columns_that_no_segment_has_written_yet_are_null(tmp_path):
    run = make_run(tmp_path / "run", documents=30, splits=1, until="refine")
    assert (
        inspection.query(run, "select count(*), count(lang), count(domain), count(tokens) from documents").to_pylist()[0]["count(tokens)"]
        == 0
    )
    assert len(inspection.query(run, "domains")) > 0


FORBIDDEN = [
    "select * from '{secret}'",
    "select * from read_text('{secret}')",
    "select * from read_csv('{secret}')",
    "select * from read_parquet('{shard}')",
    "select * from glob('{folder}/*')",
    "copy documents to '{folder}/out.parquet'",
    "copy (select 1) to '{shard}'",
    "explain analyze copy documents to '{folder}/out.parquet'",
    "export database '{folder}/out'",
    "attach '{folder}/out.db' as other",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "reset enable_external_access",
    "install httpfs",
    "load '{folder}/out.so'",
    "select * from secret_table",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_pasted_sql_reads_and_writes_no_file(run, tmp_path, sql):
    secret = tmp_path / "secret.csv"
    secret.write_text("password\nhunter2\n")
    secret_table = pa.table({"x": ["hunter2"]})  # a Python variable must not become a table either
    shard = next((run / "refine" / "kept").glob("*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    quoted = {"secret": secret, "folder": run, "shard": shard}
    with pytest.raises(UserError, match="the query failed"):
        inspection.query(run, sql.format(**{key: str(path).replace("'", "''") for key, path in quoted.items()}))
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert len(secret_table) == 1


def test_bad_sql_is_one_sentence_with_the_views(run):
    with pytest.raises(UserError) as caught:
        inspection.query(run, "select * from dokuments\nwhere true")
    message = str(caught.value)
    assert "dokuments" in message and "documents, kept_ingest" in message and "\n" not in message


def test_statements_without_result_give_an_empty_table(run):
    assert inspection.query(run, "create table mine as select 1 as x; create view other as select 2").num_rows == 0
    assert inspection.query(run, "create table mine as select 1 as x; from mine").to_pylist() == [{"x": 1}]


def test_a_damaged_shard_is_left_out_and_named(tmp_path):
    run = make_run(tmp_path / "run", documents=30, splits=2, until="refine")
    shard = sorted((run / "refine" / "kept").glob("*.parquet"))[0]
    shard.write_bytes(b"garbage")
    with inspection.connect(run) as connection:
        rest = sorted((run / "refine" / "kept").glob("*.parquet"))[1]
        assert one(connection, "select count(*) from documents") == pq.read_metadata(rest).num_rows
        assert shard.name in one(connection, "select string_agg(gap) from gaps")


def test_render_cuts_long_cells_and_shows_controls():
    table = pa.table({"n": [1234567, None], "t": ["한글 \x1b[31mred\u202e\n" + "x" * 10_000, None], "l": [[{"a": 1}], []]})
    shown = inspection.render(table, 10, 120)
    assert "1,234,567" in shown and "한글 \\x1b[31mred\\u202e\\n" in shown and "…" in shown and '[{"a": 1}]' in shown
    assert "\x1b" not in shown and "\u202e" not in shown and max(map(len, shown.splitlines())) <= 120
    assert "2 rows" in shown
    assert "1 row" in inspection.render(table.slice(0, 1), 10, 120)
    assert "2 rows, the first 1 shown" in inspection.render(table, 1, 120)


def test_render_prints_wide_tables_downwards_without_nulls(run):
    shown = inspection.render(inspection.query(run, "select * from documents limit 2"), 20, 80)
    assert "── 2 ──" in shown and "source" in shown
    assert "http_status" not in shown, "a column that is null in the record"
    assert max(map(len, shown.splitlines())) <= 80


def test_render_of_odd_tables():
    assert inspection.render(pa.table({}), 5, 80) == "(no columns)"
    assert "0 rows" in inspection.render(pa.table({"a": pa.array([], pa.int64())}), 5, 80)
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert "1" in inspection.render(twice, 5, 80) and "2" in inspection.render(twice, 5, 80)


def ask(run, lines, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    inspection.prompt(run)
    return capsys.readouterr().out


def test_prompt_from_a_pipe(run, monkeypatch, capsys):
    script = ".views\n.schema corpus\n"
    script += ".schema nothing\n.nonsense\n.help\n"
    script += "select count(*) as n\nfrom clusters\n;\nselect broken;\nfunnel\nselect ';\n' as x;\nselect 42 as last"
    out = ask(run, script, monkeypatch, capsys)
    for expected in (
        "benchmark matches",
        "epochs",
        ".schema needs the name of a view",
        "there is no command .nonsense",
        "14",
        "error: the query failed",
        "documents_in",
        "\\n",
        "42",
    ):
        assert expected in out
    assert "onnuri>" not in out
    assert out.index("error: the query failed") < out.index("documents_in") < out.index("42")


def test_prompt_stops_at_quit_and_bounds_what_it_prints(run, monkeypatch, capsys):
    out = ask(run, "select * from range(1000000000);\n.quit\nselect 'never';\n", monkeypatch, capsys)
    assert "there are more than these 40" in out and "never" not in out
    assert len(out.splitlines()) < 60


def test_hostile_values_are_data(run):
    table = inspection.query(run, "select distinct source from documents order by 1 desc")
    assert HOSTILE_SOURCE in table.column(0).to_pylist()
