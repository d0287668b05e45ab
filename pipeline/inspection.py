"""SQL over a run directory: DuckDB views of every table a run leaves, six ready-made questions, and a prompt.

connection = connect(Path("runs/sample"))
connection.sql("select lang, count(*) from documents group by lang")
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.errors import UserError
from pipeline.report.text import visible
from pipeline.report.views import MEANINGS, connect, view_names

__all__ = ["CANNED", "CANNED_MEANINGS", "connect", "prompt", "query", "render"]

CELL_CHARACTERS = 60
"""Longest cell of a printed table; a record printed downwards gets four times as much."""

PROMPT_ROWS = 40
"""Rows that the prompt fetches and prints: about a screen, and `select * from documents` stays harmless on a large run."""

_MIN_COLUMN_WIDTH = 8
"""Below this many characters per column a table is printed downwards, one line per value."""

CANNED: dict[str, str] = {
    "funnel": """
        select segment, sum(rows_in)::bigint as documents_in, sum(kept_rows)::bigint as kept, sum(dropped_rows)::bigint as dropped,
               sum(quarantined_rows)::bigint as quarantined, round(100 * sum(kept_rows) / nullif(sum(rows_in), 0), 1) as kept_percent,
               round(sum(bytes_in) / 1e6, 1) as mb_in, round(sum(kept_bytes) / 1e6, 1) as mb_kept,
               round(sum(bytes_in) / 1e6 / nullif(sum(seconds), 0), 1) as mb_per_worker_second
        from receipts group by step, segment order by step""",
    "drops": """
        select r.segment, r.outcome, r.reason, sum(r.rows)::bigint as documents,
               round(100 * sum(r.rows) / nullif(any_value(t.rows_in), 0), 2) as percent_of_segment_input, round(sum(r.bytes) / 1e6, 2) as mb
        from reasons r join (select segment, sum(rows_in) as rows_in from receipts group by segment) t using (segment)
        group by r.step, r.segment, r.outcome, r.reason order by r.step, documents desc, r.reason""",
    "languages": """
        select coalesce(lang, '(none)') as lang, count(*) as documents,
               round(100 * count(*) / sum(count(*)) over (), 2) as percent_of_documents, round(sum(text_bytes) / 1e6, 2) as mb,
               median(text_bytes)::bigint as median_bytes, round(avg(lang_score), 3) as mean_lang_score, sum(tokens)::bigint as tokens
        from documents group by lang order by documents desc, lang""",
    "domains": """
        select coalesce(lang, '(none)') as lang, coalesce(domain, '(none)') as domain, count(*) as documents,
               round(100 * count(*) / sum(count(*)) over (partition by lang), 2) as percent_of_lang,
               round(avg(domain_score), 3) as mean_domain_score, round(avg(quality), 3) as mean_quality, sum(tokens)::bigint as tokens
        from documents group by lang, domain order by lang, documents desc, domain""",
    "duplicates": """
        select c.cluster, max(c.cluster_size) as cluster_size, round(min(c.similarity), 3) as lowest_similarity,
               string_agg(distinct c.kind, ', ' order by c.kind) as kinds, any_value(d.source) as source,
               any_value(d.title) as title, any_value(d.url) as url
        from clusters c left join (select id, source, title, url from kept_dedup) d on d.id = c.cluster
        group by c.cluster order by cluster_size desc, c.cluster""",
    "contamination": """
        select benchmark, action, count(*) as matches, count(distinct id) as documents, count(distinct (split, item)) as items,
               count(distinct id) filter (where answered) as answered_documents, max(length) as longest_characters,
               round(max(item_coverage), 3) as highest_coverage, any_value(url order by length desc) as url_of_longest
        from contamination group by benchmark, action order by documents desc, benchmark, action""",
}
CANNED = {name: re.sub(r"\s+", " ", sql).strip() for name, sql in CANNED.items()}

CANNED_MEANINGS: dict[str, str] = {
    "funnel": "documents in, kept, dropped and quarantined by each segment, in MB and MB/s too",
    "drops": "why documents were dropped or quarantined, with the share of what the segment read",
    "languages": "documents, bytes and tokens per language in the last finished segment",
    "domains": "the same per language and domain, with mean scores",
    "duplicates": "duplicate clusters, largest first, with the surviving document's source, title and address",
    "contamination": "benchmark matches per benchmark and action, with the longest one",
}


def query(run: Path, sql: str) -> pa.Table:
    """The result of `sql`, or of the ready-made question of that name in CANNED, over the views; empty for a statement without result.

    Raises UserError for a path that is no run, and for SQL that fails, with DuckDB's first line and the views there are.
    """
    with contextlib.closing(connect(run)) as connection:
        return _execute(connection, CANNED.get(sql.strip(), sql))


def _execute(connection: duckdb.DuckDBPyConnection, sql: str, most_rows: int | None = None) -> pa.Table:
    """The result, or no more than its first `most_rows`, read without computing the others where the query allows it."""
    try:
        relation = connection.sql(sql)
        if relation is None:
            return pa.table({})
        if most_rows is None:
            return relation.to_arrow_table()
        reader = relation.to_arrow_reader(most_rows)
        batches, rows = [], 0
        while rows < most_rows and (batch := next(reader, None)) is not None:
            batches.append(batch)
            rows += len(batch)
        return pa.Table.from_batches(batches, reader.schema).slice(0, most_rows)
    except (duckdb.Error, RuntimeError, pa.ArrowException) as error:
        first = visible(str(error).split("\n", 1)[0], 400)
        raise UserError(f"the query failed: {first}; the views are {', '.join(view_names(connection))}") from error


def render(table: pa.Table, limit: int = 20, width: int | None = None) -> str:
    """The first `limit` rows as text of `width` columns (default: the terminal's), long cells cut, control characters shown as escapes.

    A table with more columns than fit side by side is printed downwards, one record after the other.
    """
    width = width or shutil.get_terminal_size((120, 24)).columns
    shown = table.slice(0, max(0, limit))
    rows = [[row[name] for name in range(table.num_columns)] for row in _positional(shown)]
    names = [visible(name, CELL_CHARACTERS) for name in table.column_names]
    numeric = [pa.types.is_integer(one.type) or pa.types.is_floating(one.type) or pa.types.is_decimal(one.type) for one in table.schema]
    if table.num_columns == 0:
        return "(no columns)"
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=False, color_system=None, highlight=False, emoji=False, markup=False)
    if table.num_columns * (_MIN_COLUMN_WIDTH + 2) <= width or not rows:
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for name, right in zip(names, numeric, strict=True):
            grid.add_column(Text(name), justify="right" if right else "left", overflow="fold")
        for row in rows:
            grid.add_row(*(Text(_cell(value, CELL_CHARACTERS)) for value in row))
        console.print(grid)
    else:
        for index, row in enumerate(rows):
            _downwards(console, index, names, row)
    more = "" if len(shown) == len(table) else f", the first {len(shown):,} shown"
    console.print(f"{len(table):,} row{'' if len(table) == 1 else 's'}{more}")
    return "\n".join(line.rstrip() for line in output.getvalue().strip("\n").split("\n"))


def _downwards(console: Console, index: int, names: Sequence[str], row: Sequence[Any]) -> None:
    """One record as `name  value` lines, without the columns that are null in it."""
    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in zip(names, row, strict=True):
        if value is not None:
            grid.add_row(Text(name), Text(_cell(value, 4 * CELL_CHARACTERS)))
    console.print(Text(f"── {index + 1} ──"))
    console.print(grid)


def _positional(table: pa.Table) -> list[dict[int, Any]]:
    """Rows by column position: a query may give two columns one name."""
    columns = [column.to_pylist() for column in table.columns]
    return [{position: values[row] for position, values in enumerate(columns)} for row in range(len(table))]


def _cell(value: Any, limit: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.1f}"
    if isinstance(value, (list, dict)):
        return visible(json.dumps(value, ensure_ascii=False, default=str), limit)
    return visible(value, limit)


_HELP = """SQL ending in ; runs over these views:
{views}
A name alone runs a ready-made question:
{canned}
.views   .schema NAME   .quit
"""


def to_json(table: pa.Table) -> str:
    """The rows as a JSON list of objects. What JSON has no number for is null. Raises UserError when two columns have one name."""
    if len(set(table.column_names)) < len(table.column_names):
        raise UserError("two columns of the result have the same name; give one another name with AS")
    return json.dumps([_plain(row) for row in table.to_pylist()], ensure_ascii=False, indent=1, allow_nan=False, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def prompt(run: Path) -> None:
    """Read SQL from standard input until .quit or its end, printing each result; an error is printed and the next statement read.

    Raises UserError only when `run` is no run.
    """
    with contextlib.closing(connect(run)) as connection:
        interactive = sys.stdin.isatty()
        if interactive:
            with contextlib.suppress(ImportError):  # without it, lines can't be edited, that is all
                import readline  # noqa: F401
            print(f"{visible(run)}: SQL ending in ; over views; .help lists what there is, .quit leaves")
            for (gap,) in connection.execute("select gap from gaps").fetchall():
                print(f"note: {visible(gap, 300)}")
        pending: list[str] = []
        while True:
            try:
                line = input(("onnuri> " if not pending else "   ...> ") if interactive else "")
            except KeyboardInterrupt:
                print()
                pending = []
                continue
            except EOFError:
                if interactive:
                    print()
                _answer(connection, "\n".join(pending))
                return
            command = line.strip()
            if not pending and command.startswith("."):
                if command.split()[0] in (".quit", ".exit"):
                    return
                _command(connection, command)
            elif not pending and command.rstrip("; ") in CANNED:
                _answer(connection, CANNED[command.rstrip("; ")])
            else:
                pending = [*pending, line] if pending or command else []
                if _complete("\n".join(pending)):
                    _answer(connection, "\n".join(pending))
                    pending = []


def _complete(sql: str) -> bool:
    """True when the text ends in a semicolon that is not inside quotes."""
    return sql.rstrip().endswith(";") and sql.count("'") % 2 == 0 and sql.count('"') % 2 == 0


def _answer(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    if not sql.strip():
        return
    try:
        table = _execute(connection, sql, PROMPT_ROWS + 1)
        print(render(table.slice(0, PROMPT_ROWS), PROMPT_ROWS))
        if len(table) > PROMPT_ROWS:
            print(f"there are more than these {PROMPT_ROWS}: add a limit, an order or a condition")
    except UserError as error:
        print(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted")


def _command(connection: duckdb.DuckDBPyConnection, command: str) -> None:
    word, _, argument = command.partition(" ")
    names = view_names(connection)
    if word == ".help":
        views = "\n".join(f"  {name:<18} {MEANINGS.get(name, '')}" for name in names)
        canned = "\n".join(f"  {name:<18} {CANNED_MEANINGS[name]}" for name in CANNED)
        print(_HELP.format(views=views, canned=canned), end="")
    elif word == ".views":
        for name in names:
            print(f"{name:<18} {MEANINGS.get(name, '')}".rstrip())
    elif word == ".schema" and argument.strip() in names:
        quoted = argument.strip().replace('"', '""')
        described = connection.execute(f'describe "{quoted}"').fetchall()
        print("\n".join(f"{visible(row[0]):<26} {visible(row[1], 100)}" for row in described))
    elif word == ".schema":
        print(f"error: .schema needs the name of a view: {', '.join(names)}")
    else:
        print(f"error: there is no command {visible(word, 40)}; there are .help, .views, .schema NAME and .quit")
