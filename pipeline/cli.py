"""The `onnuri` command: the main job and what looks at its result; one command per stage comes from `stage_commands`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from decontam.commands import app as decontam_app
from pipeline import __version__, stage_commands
from pipeline import options as opt
from pipeline.errors import RunFailed, UserError
from pipeline.labels import commands as label_commands

app = typer.Typer(
    name="onnuri",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Onnuri turns web crawls into deduplicated, decontaminated, balanced Korean/English training corpora.",
)

ConfigFile = Annotated[Path, typer.Argument(help="A run's YAML file, such as configs/sample.yaml.", show_default=False)]
RunOutput = Annotated[
    Path | None, typer.Option("--output", "-o", help="Run directory; default: `output` in the configuration.", show_default=False)
]

_JOB, _LOOK, _STAGES = "The main job", "Look at a run", "One stage alone"


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Root options."""
    if version:
        typer.echo(f"onnuri {__version__}")
        raise typer.Exit


@app.command(rich_help_panel=_JOB)
def run(
    config: ConfigFile,
    output: RunOutput = None,
    engine: opt.Engine = opt.EngineName.local,
    address: opt.Address = None,
    workers: opt.Workers = None,
    limit: opt.Limit = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan (splits, stages, sizes) and write nothing.")] = False,
    overrides: opt.Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Run the main job: crawl files in, a training-ready corpus and its report out.

    Interrupted or killed, it goes on where it was when the same command is given again.
    """
    from pipeline import job

    options = job.Options(engine=engine.value, address=address, workers=workers, limit=limit)
    result = job.run_config(config, output, overrides or [], options, dry_run, quiet)
    typer.echo(json.dumps(result.facts, ensure_ascii=False, indent=1) if as_json else result.text)
    if result.failed:
        raise RunFailed(result.failed)


@app.command(rich_help_panel=_JOB)
def submit(
    config: ConfigFile,
    address: Annotated[str, typer.Option(help="Job server of the cluster, such as http://head:8265.", show_default=False)],
    output: RunOutput = None,
    limit: opt.Limit = None,
    overrides: opt.Set = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the job's log until it ends.")] = True,
    as_json: opt.Json = False,
) -> None:
    """Send the same run to a Ray cluster as a job. Inputs and the run directory must be visible from its nodes."""
    from pipeline.submit import submit_run

    result = submit_run(config, address, output, overrides or [], limit, wait, echo=lambda line: typer.echo(line, err=as_json))
    if as_json:
        typer.echo(json.dumps(result))
    if wait and result["status"] != "SUCCEEDED":
        raise RunFailed(f"job {result['job']} ended as {result['status']}: {result['message']}")


@app.command(rich_help_panel=_JOB)
def sample(
    folder: Annotated[Path, typer.Argument(help="Where to write it.", show_default=False)],
    documents: Annotated[int, typer.Option(min=200, help="Planted documents.")] = 1500,
    seed: Annotated[int, typer.Option(help="Another seed, another crawl.")] = 7,
) -> None:
    """Write the synthetic Korean/English crawl that configs/sample.yaml runs on."""
    from pipeline.sample import write_sample

    write_sample(folder, seed=seed, documents=documents)
    typer.echo(f"wrote a synthetic crawl of {documents} planted documents to {folder}")


@app.command(rich_help_panel=_LOOK)
def status(run: opt.RunFolder, as_json: opt.Json = False) -> None:
    """How far a run is: splits done per move, rows, failures."""
    from pipeline.report.funnel import render_status
    from pipeline.report.funnel import status as status_of

    facts = status_of(_existing(run))
    typer.echo(json.dumps(facts, ensure_ascii=False, indent=1) if as_json else render_status(facts))


@app.command(rich_help_panel=_LOOK)
def report(run: opt.RunFolder, as_json: opt.Json = False) -> None:
    """Write report.json and report.html again, and print the funnel."""
    from pipeline.report import write_report
    from pipeline.report.funnel import render_funnel

    json_path, html_path = write_report(_existing(run))
    if as_json:
        typer.echo(json_path.read_text(encoding="utf-8"))
    else:
        typer.echo(f"{render_funnel(run)}\nreport: {html_path}")


@app.command(rich_help_panel=_LOOK)
def inspect(
    run: opt.RunFolder,
    sql: Annotated[str | None, typer.Argument(help="A SQL query over the views; without one a prompt opens.", show_default=False)] = None,
    query: Annotated[
        str | None, typer.Option(help="A ready query: funnel, drops, languages, domains, duplicates, contamination.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to print.")] = 100,
    as_json: opt.Json = False,
) -> None:
    """Ask a run anything in SQL (DuckDB): views documents, dropped, quarantined, clusters, contamination, receipts, corpus."""
    from pipeline import inspection

    _existing(run)
    if query is not None and sql is not None:
        raise UserError("give either a SQL query or --query NAME, not both")
    if query is not None and query not in inspection.CANNED:
        raise UserError(f"there is no ready query '{query}'; use one of {', '.join(inspection.CANNED)}")
    text = inspection.CANNED[query] if query else sql
    if text is None:
        if as_json:
            raise UserError("--json needs a SQL query or --query NAME")
        inspection.prompt(run)
        return
    table = inspection.query(run, text)
    if as_json:
        typer.echo(inspection.to_json(table.slice(0, limit)))
    else:
        typer.echo(inspection.render(table, limit))


@app.command(rich_help_panel=_LOOK)
def doctor(as_json: opt.Json = False) -> None:
    """Tell what is installed, what works here, and what is missing for what."""
    from pipeline.doctor import examine, render

    findings = examine()
    typer.echo(json.dumps([vars(finding) for finding in findings], indent=1) if as_json else render(findings))
    if any(finding.state == "broken" for finding in findings):
        raise RunFailed("something that the platform needs is broken; see the lines above")


for _command in (stage_commands.ingest, stage_commands.refine):
    app.command(rich_help_panel=_STAGES)(_command)
app.add_typer(stage_commands.dedup_app, name="dedup", rich_help_panel=_STAGES)
stage_commands.classify_app.command("label")(label_commands.label)
stage_commands.classify_app.command("bootstrap")(label_commands.bootstrap)
stage_commands.classify_app.command("judge")(label_commands.judge)
app.add_typer(stage_commands.classify_app, name="classify", rich_help_panel=_STAGES)
app.command(rich_help_panel=_STAGES)(stage_commands.decontaminate)
decontam_app.command("scan", rich_help_panel="Scan")(stage_commands.decontam_scan)
app.add_typer(decontam_app, name="decontam", rich_help_panel=_STAGES)
app.add_typer(stage_commands.balance_app, name="balance", rich_help_panel=_STAGES)


def _existing(run: Path) -> Path:
    if not run.is_dir():
        raise UserError(f"there is no run directory '{run}'; check the path")
    if not any((run / name).exists() for name in ("run.json", "manifest.json", "receipts")):
        raise UserError(f"'{run}' is not a run directory: it has neither run.json nor manifest.json")
    return run


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 failed run, 2 bad input or configuration, 130 interrupted."""
    sys.exit(guarded(lambda: app(arguments, prog_name="onnuri", standalone_mode=True)))


def main_of(command: str) -> None:
    """`python -m pipeline.<command>` is `onnuri <command>`."""
    main([command, *sys.argv[1:]])


def guarded(work: Callable[[], Any]) -> int:
    """Run `work`; the two expected failures become one sentence on standard error, and the exit code says which."""
    try:
        work()
    except UserError as error:
        print(f"onnuri: {error}", file=sys.stderr)
        return 2
    except RunFailed as error:
        print(f"onnuri: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("onnuri: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: no second error at exit
        return 0
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        print(f"onnuri: {error.strerror or error}{where}; mend that and run again: what is finished is kept", file=sys.stderr)
        return 1
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0
    return 0
