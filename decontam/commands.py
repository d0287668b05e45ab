"""The commands of the decontaminator: make and change an index, see what is in it, and look at what a scan found.

Everything heavy is imported inside the commands, so that help appears at once.
"""

from __future__ import annotations

import dataclasses
import enum
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from decontam.errors import DecontamError
from decontam.settings import MatchSettings

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

    from decontam.fields import FieldMap
    from decontam.index import Index
    from decontam.segment import Segment


class Commands(typer.core.TyperGroup):
    """A group of commands whose DecontamError is one sentence on standard error and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DecontamError as error:
            from decontam.review_text import visible

            typer.echo(f"{ctx.find_root().info_name}: {visible(str(error).removesuffix('.'), 2000)}", err=True)
            raise typer.Exit(2) from None


class Action(enum.StrEnum):
    """What a scan did about a match."""

    drop = "drop"
    mask = "mask"
    tag = "tag"


class Sort(enum.StrEnum):
    """Orders of `review`, as `decontam.review.SORTS`."""

    length = "length"
    coverage = "coverage"
    documents = "documents"
    sample = "sample"


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Index benchmarks, scan documents for their text, and review what was found.",
)

_INDEX, _LOOK = "Index", "Look at"

Benchmarks = Annotated[
    list[str],
    typer.Argument(
        help="Names of the registry, and files, folders or globs (JSONL, JSON, Parquet, CSV, TSV), in any mix.", show_default=False
    ),
]
IndexFolder = Annotated[Path, typer.Option("--index", "-i", help="Folder of the index.", show_default=False)]
Data = Annotated[Path | None, typer.Option(help="Folder that holds the local copies of the registry's benchmarks.", show_default=False)]
Registry = Annotated[Path | None, typer.Option(help="TOML file with entries that are added to the registry's.", show_default=False)]
Fields = Annotated[
    Path | None,
    typer.Option(help="TOML file with a table for each benchmark: which keys hold its question, answer, passage.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress output.")]


@app.command(rich_help_panel=_INDEX)
def build(
    benchmarks: Benchmarks,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the index; an index that is there is replaced.")],
    data: Data = None,
    registry: Registry = None,
    fields: Fields = None,
    length: Annotated[
        int | None, typer.Option(help=f"Shortest match, in letters and digits. Default: {MatchSettings.length}.", show_default=False)
    ] = None,
    hangul_length: Annotated[
        int | None,
        typer.Option(help=f"The same for text that is at least half Hangul. Default: {MatchSettings.hangul_length}.", show_default=False),
    ] = None,
    short_length: Annotated[
        int | None, typer.Option(help=f"Shortest item that is looked for whole. Default: {MatchSettings.short_length}.", show_default=False)
    ] = None,
    hangul_short_length: Annotated[
        int | None,
        typer.Option(
            help=f"The same for items that are at least half Hangul. Default: {MatchSettings.hangul_short_length}.", show_default=False
        ),
    ] = None,
    pool_stride: Annotated[
        int | None,
        typer.Option(
            help="Index every how many-th window: 2 or 3 save memory and cost speed, the result is the same. Default: 1.",
            show_default=False,
        ),
    ] = None,
    parity: Annotated[bool, typer.Option("--parity", help="50 for every script, as GPT-4 and EXAONE 3.5 report.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Index benchmarks, and print what of each can be found: items, texts, characters, windows, megabytes."""
    from decontam.index import make_index, save_index
    from decontam.segment import build_segment

    lengths = {"length": length, "hangul_length": hangul_length, "short_length": short_length, "hangul_short_length": hangul_short_length}
    given = {name: value for name, value in {**lengths, "pool_stride": pool_stride}.items() if value is not None}
    if parity and ("length" in given or "hangul_length" in given):
        raise DecontamError("--parity sets --length and --hangul-length; leave either it or them out.")
    settings = dataclasses.replace(MatchSettings.parity() if parity else MatchSettings(), **given)
    with _progress(quiet) as say:
        say("reading benchmarks")
        segments = []
        for table in _tables(benchmarks, data, registry, fields, settings):
            say(f"indexing {table['benchmark'][0].as_py()}")
            segments.append(build_segment(table, settings))
        index = make_index(settings, segments)
        try:
            save_index(index, output)
        except OSError as error:
            raise DecontamError(f"{output} cannot be written ({error.strerror}); give a folder that you may write to with -o.") from error
    _show(index, as_json)


@app.command(rich_help_panel=_INDEX)
def add(
    benchmarks: Benchmarks,
    index: IndexFolder,
    data: Data = None,
    registry: Registry = None,
    fields: Fields = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add benchmarks to an index, with its settings; a benchmark that is in it already is replaced, the others stay as they are."""
    import pyarrow as pa

    from decontam.index import add_benchmarks, load_index

    with _progress(quiet) as say:
        settings = load_index(index).settings
        say("reading benchmarks")
        items = pa.concat_tables(_tables(benchmarks, data, registry, fields, settings))
        say(f"indexing {len(items):,} texts")
        changed = add_benchmarks(index, items)
    _show(changed, as_json)


@app.command(rich_help_panel=_INDEX)
def remove(
    names: Annotated[list[str], typer.Argument(help="Benchmarks, as `list` names them.", show_default=False)],
    index: IndexFolder,
    as_json: Json = False,
) -> None:
    """Take benchmarks out of an index; the others are not touched."""
    from decontam.index import remove_benchmarks

    _show(remove_benchmarks(index, names), as_json)


@app.command("list", rich_help_panel=_LOOK)
def list_(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Print what an index holds: its settings, and of each benchmark fingerprint, items, characters, windows and megabytes."""
    from decontam.index import load_index

    _show(load_index(index), as_json)


@app.command("registry", rich_help_panel=_LOOK)
def registry_(
    data: Data = None,
    registry: Registry = None,
    as_json: Json = False,
) -> None:
    """Print the benchmarks that are known by name, their languages, whether a local copy is there, and how to get one."""
    from decontam.registry import available, load_registry
    from decontam.review_text import print_table, to_json, visible

    sources = load_registry(*([registry] if registry else []))
    copies = {copy.source.id: copy for copy in available(data, sources)} if data else {}
    if as_json:
        rows = []
        for source in sources.values():
            copy = copies.get(source.id)
            facts = copy and {"files": copy.files, "items": copy.items, "missing": copy.missing}
            rows.append({**dataclasses.asdict(source), "files": dict(source.files), "copy": facts})
        typer.echo(to_json(rows))
        return
    cells = []
    for source in sources.values():
        copy = copies.get(source.id)
        state = "" if copy is None else "no" if not copy.files else f"lacks {', '.join(copy.missing)}"
        state = f"{copy.items:,} items" if copy is not None and copy.items is not None else state
        cells.append([visible(text) for text in (source.id, ", ".join(source.languages), state, source.get)])
    print_table(_console(), ("name", "languages", "local copy", "how to get one (DATA: the folder of --data)"), cells, left=4)


@app.command(rich_help_panel=_LOOK)
def review(
    scan: Annotated[Path, typer.Argument(metavar="OUT", help="Output folder of a scan, or a run directory.", show_default=False)],
    index: Annotated[
        Path | None, typer.Option("--index", "-i", help="Folder of the index. Default: the one of the scan.", show_default=False)
    ] = None,
    benchmark: Annotated[str | None, typer.Option(help="Only matches of this benchmark.", show_default=False)] = None,
    item: Annotated[str | None, typer.Option(help="Only matches of the item with this id.", show_default=False)] = None,
    document: Annotated[str | None, typer.Option(help="Only matches in the document with this id.", show_default=False)] = None,
    action: Annotated[Action | None, typer.Option(help="Only matches about which this was done.", show_default=False)] = None,
    min_length: Annotated[int, typer.Option(min=0, help="Only matches of at least so many letters and digits.")] = 0,
    sort: Annotated[
        Sort, typer.Option(help="The longest, the best covered, or those in most documents first, or a fixed random sample.")
    ] = Sort.length,
    limit: Annotated[int, typer.Option(min=1, help="Findings (a document and an item) to show.")] = 20,
    context: Annotated[int, typer.Option(min=0, max=10_000, help="Characters of text on either side of a match.")] = 200,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Go from finding to finding by key and record verdicts in OUT/review.jsonl.")
    ] = False,
    verdicts: Annotated[bool, typer.Option("--verdicts", help="Print the precision by benchmark that the verdicts so far give.")] = False,
    as_json: Json = False,
) -> None:
    """Show the matches of a scan, the document's text and the benchmark's side by side."""
    from decontam import review as reviewing
    from decontam import review_text as text
    from decontam import review_verdicts as judging

    folder = reviewing.review_folder(scan)
    console = _console()
    if interactive and (as_json or verdicts):
        raise DecontamError("--interactive goes with neither --json nor --verdicts; leave it or them out.")
    if interactive and not (sys.stdin.isatty() and console.is_terminal):
        raise DecontamError("--interactive needs a terminal; leave it out, or use --json where the output goes to a program.")
    if verdicts:
        found = judging.read_verdicts(folder)
        rows = judging.precision((key, verdict) for key, verdict in found.items() if benchmark in (None, key[1]))
        if as_json:
            typer.echo(text.to_json(rows))
        elif rows:
            text.print_precision(console, rows)
        else:
            typer.echo("no verdicts yet; give some with --interactive")
        return
    selection = reviewing.Selection(benchmark, item, document, action and action.value, min_length, sort.value, limit)
    findings = reviewing.review(folder, selection, index, context)
    if as_json:
        typer.echo(text.to_json([row for finding in findings.shown for row in text.finding_json(finding)]))
    elif not findings.shown:
        typer.echo("no matches" if selection == reviewing.Selection(sort=sort.value, limit=limit) else "no matches like that")
    elif interactive:
        given = judging.session(console, folder, findings.shown, typer.getchar)
        typer.echo(f"{given} verdict{'' if given == 1 else 's'} written to {text.visible(folder / judging.FILE)}")
    else:
        for number, finding in enumerate(findings.shown, 1):
            text.print_finding(console, finding, number, findings.total)
        typer.echo(f"{findings.matches:,} matches in {findings.total:,} findings, {len(findings.shown):,} shown")


def _tables(
    benchmarks: list[str], data: Path | None, registry: Path | None, fields: Path | None, settings: MatchSettings
) -> Iterator[pa.Table]:
    """The items of what was asked for, a table of ITEM_SCHEMA for each benchmark."""
    from decontam.benchmarks import check_findable, iter_benchmarks
    from decontam.registry import load_registry, resolve

    files = resolve(benchmarks, data, load_registry(*([registry] if registry else [])))
    for table in iter_benchmarks(files, _field_maps(fields), settings):
        yield check_findable(table, settings)


def _field_maps(path: Path | None) -> dict[str, FieldMap]:
    """The tables of a TOML file as field maps by benchmark. Raises DecontamError for a file that is no TOML, and for a wrong key."""
    from decontam.fields import field_map

    if path is None:
        return {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DecontamError(f"{path} cannot be read ({error}); give a TOML file with a table for each benchmark.") from error
    return {name: field_map(table, where=f"{path}, [{name}],") for name, table in tables.items()}


def _show(index: Index, as_json: bool) -> None:
    """Print what an index holds."""
    from decontam.review_text import print_table, to_json, visible

    rows = [_described(segment) for segment in index.segments]
    settings = dataclasses.asdict(index.settings)
    if as_json:
        typer.echo(to_json({"fingerprint": index.fingerprint, "settings": settings, "benchmarks": rows, "bytes": index.memory}))
        return
    typer.echo(", ".join(f"{name} {value}" for name, value in settings.items()))
    counts = ("items", "texts", "characters", "too_short", "windows")
    total = {name: sum(row[name] for row in rows) for name in counts}
    rows.append({"benchmark": "all, as scanned", "fingerprint": index.fingerprint, **total, "bytes": index.memory})
    cells = [
        [visible(row["benchmark"], 60), row["fingerprint"][:12], *(f"{row[name]:,}" for name in counts), f"{row['bytes'] / 1e6:,.2f}"]
        for row in rows
    ]
    print_table(_console(), ("benchmark", "fingerprint", *(name.replace("_", " ") for name in counts), "MB"), cells, left=2)


def _described(segment: Segment) -> dict[str, Any]:
    """What a segment holds. characters: normalised. too_short: texts in which nothing can be found. windows: places where a match of the
    required length may begin. bytes: of its text and seeds."""
    return {
        "benchmark": segment.benchmark,
        "fingerprint": segment.fingerprint,
        "items": segment.items,
        "texts": len(segment.lengths),
        "characters": int(segment.lengths.sum()),
        "too_short": int(((segment.lengths < segment.required) & (segment.whole == 0)).sum()),
        "windows": segment.windows,
        "bytes": segment.bytes,
    }


def _console() -> Console:
    """Standard output; 120 columns where it is no terminal and COLUMNS does not say otherwise."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else shutil.get_terminal_size((120, 24)).columns
    return Console(width=width, highlight=False, markup=False, emoji=False)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """What is being done, on standard error: in one changing line on a terminal, else a line each."""
    from rich.console import Console
    from rich.text import Text

    from decontam.review_text import visible

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    if quiet or not console.is_terminal:
        yield lambda line: None if quiet else console.print(visible(line), soft_wrap=True)
        return
    with console.status("") as status:
        yield lambda line: status.update(Text(visible(line)))
