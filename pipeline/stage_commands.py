"""The commands that run one move alone on any Parquet or JSONL: ingest, refine, dedup, classify, decontaminate, balance.

Everything heavy is imported inside the commands, so that help appears at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from pipeline import options as opt
from pipeline.balance.commands import balance_fit
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.alone import Inputs
    from pipeline.engine import Options


class DefaultGroup(typer.core.TyperGroup):
    """A command group whose first argument may also be an input: `classify INPUT...` beside `classify train ...`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = ["apply", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Options before the first input (`classify --model M x.jsonl`) belong to `apply` too."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["apply", *args]
        return super().parse_args(ctx, args)


def ingest(
    inputs: opt.InputPaths,
    output: opt.Out,
    extractor: Annotated[
        str | None, typer.Option(help="trafilatura (most accurate), trafilatura-fast, or resiliparse (several times faster).")
    ] = None,
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    engine: opt.Engine = opt.EngineName.local,
    address: opt.Address = None,
    workers: opt.Workers = None,
    limit: opt.Limit = None,
    overrides: opt.Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Read crawl files (WARC, ARC, WET, HTML, tar, JSONL, Parquet) into documents with clean text and provenance."""
    from pipeline.alone import Inputs, plan_raw, run_alone, settings_from
    from pipeline.documents import IngestReader
    from pipeline.ingest.config import IngestConfig
    from pipeline.ingest.stages import stages
    from pipeline.progress import Progress
    from pipeline.run import INGEST_COLUMNS

    config = settings_from(IngestConfig, {"extractor": extractor}, overrides or [], "ingest")
    splits = plan_raw(Inputs(inputs, text_column, id_column))
    manifest = run_alone(
        "ingest",
        splits,
        output,
        config,
        engine_options(engine, address, workers, limit),
        Progress(quiet),
        lambda segment: segment.rows(splits, IngestReader(config), stages(config), INGEST_COLUMNS, limit=limit),
    )
    _finish(output, manifest, as_json)


def refine(
    inputs: opt.InputPaths,
    output: opt.Out,
    preset: Annotated[
        list[str] | None, typer.Option(help="Rule preset, repeatable: onnuri-ko, onnuri-en, gopher, c4, fineweb, fineweb2-ko (-eojeol).")
    ] = None,
    rules_only: Annotated[
        bool, typer.Option("--rules-only", help="Decide again by the signals stored in refine's kept/ and dropped/; reads no text.")
    ] = False,
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    engine: opt.Engine = opt.EngineName.local,
    address: opt.Address = None,
    workers: opt.Workers = None,
    limit: opt.Limit = None,
    overrides: opt.Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Clean documents one by one: site rules, Unicode repair, boilerplate lines, signals, language, rules, personal data."""
    from pipeline.alone import Inputs, plan_documents, run_alone, settings_from
    from pipeline.progress import Progress
    from pipeline.refine import move
    from pipeline.refine import rules_only as again
    from pipeline.refine.config import RefineConfig

    config = settings_from(RefineConfig, {"preset": preset}, overrides or [], "refine")
    splits, available = plan_documents(Inputs(inputs, text_column, id_column), needs_text=not rules_only)
    if rules_only:
        available = again.check(splits, config)
    else:
        move.check(config, available)
    run = again.run if rules_only else move.run
    manifest = run_alone(
        "refine",
        splits,
        output,
        config,
        engine_options(engine, address, workers, limit),
        Progress(quiet),
        lambda segment: run(segment, splits, config, available, limit),
    )
    _finish(output, manifest, as_json)


dedup_app = typer.Typer(
    cls=DefaultGroup,
    no_args_is_help=True,
    help="Remove duplicates: `dedup INPUT... -o OUT`; `dedup curve` shows which pairs a threshold finds.",
)


@dedup_app.command("apply")
def dedup_apply(
    inputs: opt.InputPaths,
    output: opt.Out,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Jaccard similarity from which two texts are the same.")] = None,
    index: Annotated[
        str | None, typer.Option(help="Folder of an index of earlier crawls: duplicates of them go, and what stays is added to it.")
    ] = None,
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    engine: opt.Engine = opt.EngineName.local,
    address: opt.Address = None,
    workers: opt.Workers = None,
    overrides: opt.Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Keep one document of every group of exact and near duplicates; OUT/clusters.parquet says which went with which."""
    from pipeline.alone import Inputs, settings_from
    from pipeline.dedup import move
    from pipeline.dedup.config import DedupConfig

    config = settings_from(DedupConfig, {"threshold": threshold, "index": index}, overrides or [], "dedup")
    _run_move(
        "dedup", move.run, config, Inputs(inputs, text_column, id_column), output, engine_options(engine, address, workers), quiet, as_json
    )


@dedup_app.command("curve")
def dedup_curve(
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Jaccard similarity from which two texts are the same.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Add what other tools' settings would find.")] = False,
    overrides: opt.Set = None,
    as_json: opt.Json = False,
) -> None:
    """Print how likely two documents of each similarity are compared, for these settings of dedup; nothing is read."""
    from pipeline.alone import settings_from
    from pipeline.dedup.config import DedupConfig
    from pipeline.dedup.curve import as_json as json_of
    from pipeline.dedup.curve import curve, render

    found = curve(settings_from(DedupConfig, {"threshold": threshold}, overrides or [], "dedup curve"))
    typer.echo(json.dumps(json_of(found), indent=1) if as_json else render(found, compare))


ActionOption = Annotated[str | None, typer.Option("--action", help="drop the document, mask the matched span, or only tag it.")]


def decontaminate(
    inputs: opt.InputPaths,
    output: opt.Out,
    benchmarks: Annotated[
        list[str] | None,
        typer.Option(help="Benchmark file, folder, or name of the registry, repeatable (JSONL, Parquet, CSV).", show_default=False),
    ] = None,
    index: Annotated[
        str | None, typer.Option(help="Folder of an index by `onnuri decontam build`, instead of --benchmarks.", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder that holds the local copies of the registry's benchmarks.", show_default=False)
    ] = None,
    action: ActionOption = None,
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    engine: opt.Engine = opt.EngineName.local,
    address: opt.Address = None,
    workers: opt.Workers = None,
    overrides: opt.Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Find benchmark text in documents and keep it out; OUT/matches.parquet is the evidence."""
    from pipeline.alone import Inputs

    given = {"benchmarks": benchmarks, "index": index, "data": data, "action": action}
    options = engine_options(engine, address, workers)
    _decontaminate("decontaminate", given, overrides, Inputs(inputs, text_column, id_column), output, options, quiet, as_json)


def decontam_scan(
    inputs: opt.InputPaths,
    index: Annotated[str, typer.Option("--index", "-i", help="Folder of an index by `onnuri decontam build`.", show_default=False)],
    output: opt.Out,
    benchmark: Annotated[
        list[str] | None, typer.Option(help="Look only for this benchmark of the index (name or glob), repeatable.", show_default=False)
    ] = None,
    action: ActionOption = None,
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    engine: opt.Engine = opt.EngineName.local,
    address: opt.Address = None,
    workers: opt.Workers = None,
    overrides: opt.Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Scan documents for the benchmarks of an index: `onnuri decontaminate` with an index. `review` shows what was found."""
    from pipeline.alone import Inputs

    given = {"index": index, "only": benchmark, "action": action}
    options = engine_options(engine, address, workers)
    _decontaminate("decontam scan", given, overrides, Inputs(inputs, text_column, id_column), output, options, quiet, as_json)


def _decontaminate(
    command: str,
    given: dict[str, Any],
    overrides: list[str] | None,
    inputs: Inputs,
    output: Path,
    options: Options,
    quiet: bool,
    as_json: bool,
) -> None:
    from pipeline.alone import settings_from
    from pipeline.decontaminate import move
    from pipeline.decontaminate.config import DecontaminateConfig

    config = settings_from(DecontaminateConfig, given, overrides or [], command)
    move.check(config)
    _run_move("decontaminate", move.run, config, inputs, output, options, quiet, as_json)


classify_app = typer.Typer(
    cls=DefaultGroup,
    no_args_is_help=True,
    help="Label documents with fastText models: `classify INPUT... --model NAME=FILE -o OUT`; `classify train` makes the models.",
)


@classify_app.command("apply")
def classify_apply(
    inputs: opt.InputPaths,
    output: opt.Out,
    model: Annotated[list[str], typer.Option(help="NAME=FILE, repeatable: domain, quality, or another name.", show_default=False)],
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    engine: opt.Engine = opt.EngineName.local,
    address: opt.Address = None,
    workers: opt.Workers = None,
    overrides: opt.Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Write domain, domain_score, quality and labels for every document (the word `apply` may be left out)."""
    from pipeline.alone import Inputs, settings_from
    from pipeline.classify import move
    from pipeline.classify.config import ClassifyConfig

    models = []
    for entry in model:
        name, separator, path = entry.partition("=")
        if not separator or not path:
            raise UserError(f"--model '{entry}' is not of the form NAME=FILE, such as quality=FILE")
        models.append({"name": name, "path": path})
    config = settings_from(ClassifyConfig, {"models": models}, overrides or [], "classify")
    move.check(config)
    options = engine_options(engine, address, workers)
    _run_move("classify", move.run, config, Inputs(inputs, text_column, id_column), output, options, quiet, as_json)


@classify_app.command("train")
def classify_train(
    labelled: opt.InputPaths,
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write; its cards (.json, .md) are written beside it.")],
    text_column: opt.TextColumn = "text",
    label_column: Annotated[str, typer.Option(help="Column or field that holds the label.")] = "label",
    positive_label: Annotated[str | None, typer.Option(help="For a quality model: the label of good documents.")] = None,
    split_by: Annotated[
        str | None, typer.Option(help="Held out as a whole: host, text, or a field such as source. Default: host where it can be.")
    ] = None,
    held_out: Annotated[
        list[str] | None, typer.Option(help="Files that score the model, instead of a part of the others. Repeatable.", show_default=False)
    ] = None,
    autotune: Annotated[
        float | None, typer.Option(help="Look so many seconds for better settings, on part of the training documents.", show_default=False)
    ] = None,
    overrides: opt.Set = None,
    as_json: opt.Json = False,
) -> None:
    """Train a fastText model on labelled Parquet or JSONL; prints its scores on held-out documents."""
    from pipeline.alone import settings_from
    from pipeline.classify.card import render_card
    from pipeline.classify.config import TrainConfig
    from pipeline.classify.train import train_model

    given = {
        "inputs": labelled,
        "text_column": text_column,
        "label_column": label_column,
        "positive_label": positive_label,
        "split_by": split_by,
        "held_out_inputs": held_out or None,
        "autotune_seconds": autotune,
    }
    card = train_model(settings_from(TrainConfig, given, overrides or [], "classify train"), output)
    typer.echo(json.dumps(card, ensure_ascii=False, indent=1) if as_json else render_card(card))


balance_app = typer.Typer(
    cls=DefaultGroup,
    no_args_is_help=True,
    help="Choose documents for the training phases: `balance INPUT... --mix MIX.yaml -o OUT`; `balance plan` only prints the numbers.",
)

Mix = Annotated[Path, typer.Option(help="YAML file with the keys of the run configuration's `balance` section.", show_default=False)]


@balance_app.command("apply")
def balance_apply(
    inputs: opt.InputPaths,
    output: opt.Out,
    mix: Mix,
    engine: opt.Engine = opt.EngineName.local,
    address: opt.Address = None,
    workers: opt.Workers = None,
    overrides: opt.Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Write the chosen documents, and OUT/corpus with one folder per phase and language (the word `apply` may be left out)."""
    from pipeline.alone import Inputs
    from pipeline.balance import export, move
    from pipeline.segment import Segment

    def choose_and_export(segment: Any, splits: Any, config: Any, available: frozenset[str]) -> None:
        kept = move.run(segment, splits, config, available)
        export.export(Segment(output.absolute(), "corpus", segment.engine, segment.progress, 0.0), kept, config)

    config = _mix(mix, overrides or [])
    _run_move("balance", choose_and_export, config, Inputs(inputs), output, engine_options(engine, address, workers), quiet, as_json)


@balance_app.command("plan")
def balance_plan(inputs: opt.InputPaths, mix: Mix, overrides: opt.Set = None, as_json: opt.Json = False) -> None:
    """Print what is available, asked for and got in each phase, language and domain; writes nothing."""
    from pipeline.alone import Inputs, plan_documents
    from pipeline.balance import move

    config = _mix(mix, overrides or [])
    splits, available = plan_documents(Inputs(inputs))
    plan = move.plan_only(splits, config, available)
    typer.echo(json.dumps(plan, ensure_ascii=False, indent=1) if as_json else move.render_plan(plan))


balance_app.command("fit")(balance_fit)


def _mix(path: Path, overrides: list[str]) -> Any:
    from pipeline.alone import settings_from
    from pipeline.balance.config import BalanceConfig
    from pipeline.config import read_yaml

    return settings_from(BalanceConfig, read_yaml(path), overrides, f"balance: {path}")


def _run_move(
    name: str, run: Callable[..., Any], config: Any, inputs: Inputs, output: Path, options: Options, quiet: bool, as_json: bool
) -> None:
    """Plan the documents, run one whole-corpus move over them into `output`, and print what came of it."""
    from pipeline.alone import plan_documents, run_alone
    from pipeline.progress import Progress

    splits, available = plan_documents(inputs)
    progress = Progress(quiet)
    work = partial(run, splits=splits, config=config, available=available)
    manifest = run_alone(name, splits, output, config, options, progress, work)
    _finish(output, manifest, as_json)


def engine_options(engine: opt.EngineName, address: str | None, workers: int | None, limit: int | None = None) -> Options:
    """The options of a command as what a run takes."""
    from pipeline.engine import Options

    return Options(engine=engine.value, address=address, workers=workers, limit=limit)


def _finish(output: Path, manifest: dict[str, Any], as_json: bool) -> None:
    from pipeline.report.funnel import render_funnel

    typer.echo(json.dumps(manifest, ensure_ascii=False, indent=1) if as_json else render_funnel(output))
