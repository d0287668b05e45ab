"""The commands of the tokenizer: count words, train, audit, evaluate, encode, and trace a token back to its record.

Everything heavy is imported inside the commands, so that help appears at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import options as opt
from pipeline.errors import RunFailed, UserError
from pipeline.stage_commands import engine_options

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make a byte-level BPE tokenizer that is half Korean and half English, and token shards: count, train, audit, evaluate, encode.",
)

_MAKE, _LOOK = "Make", "Look at"

TokenizerFolder = Annotated[Path, typer.Argument(help="Folder that `tokenizer train` wrote, or a tokenizer.json.", show_default=False)]
Split = Annotated[str, typer.Option(help="Languages with the shares of their tokens, which add up to 1.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting of docs/tokenizer_keys.md: --set key=value. Repeatable.", show_default=False),
]
DEFAULT_SPLIT = "ko=0.5,en=0.5"


@app.command(rich_help_panel=_MAKE)
def count(
    inputs: opt.InputPaths,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for counts/*.parquet (word, count) and manifest.json.")],
    min_count: Annotated[int | None, typer.Option(min=1, help="Leave out words that occur less often.", show_default=False)] = None,
    sample_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Count only this share of the documents, chosen by their ids.", show_default=False)
    ] = None,
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    engine: opt.Engine = opt.EngineName.local,
    address: opt.Address = None,
    workers: opt.Workers = None,
    overrides: Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Count the words (pre-tokens) of any Parquet or JSONL: what a tokenizer is trained on. Memory doesn't grow with the corpus."""
    from pipeline.alone import Inputs, run_alone, settings_from
    from pipeline.progress import Progress
    from tokenizer.count import SPLIT_BYTES, CountConfig, run
    from tokenizer.summary import render_count
    from tokenizer.texts import plan_texts

    config = settings_from(CountConfig, {"min_count": min_count, "sample_share": sample_share}, overrides or [], "tokenizer count")
    splits = plan_texts(Inputs(inputs, text_column, id_column), SPLIT_BYTES)
    options = engine_options(engine, address, workers)
    manifest = run_alone("count", splits, output, config, options, Progress(quiet), lambda segment: run(segment, splits, config))
    _print(manifest, render_count(manifest), as_json)


@app.command(rich_help_panel=_MAKE)
def train(
    counts: Annotated[list[Path], typer.Argument(help="Folders that `tokenizer count` wrote; their counts are added.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tokenizer.json, its configuration, chat template and card.")],
    vocab_size: Annotated[int | None, typer.Option(help="Entries, special tokens among them. Default: 102400.", show_default=False)] = None,
    split: Split = DEFAULT_SPLIT,
    plain: Annotated[
        bool, typer.Option("--plain", help="Ordinary BPE over all words, without a split by language: for comparison.")
    ] = False,
    engine: opt.Engine = opt.EngineName.local,
    address: opt.Address = None,
    workers: opt.Workers = None,
    overrides: Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Train a byte-level BPE tokenizer whose entries have the languages' exact shares, and export it for transformers."""
    from pipeline.alone import run_alone, settings_from
    from pipeline.progress import Progress
    from tokenizer.audit import read_audit, render
    from tokenizer.shares import parse_split
    from tokenizer.train import TrainConfig, run

    given = {"vocab_size": vocab_size, "split": parse_split(split), "plain": plain or None}
    config = settings_from(TrainConfig, given, overrides or [], "tokenizer train")
    options = engine_options(engine, address, workers)
    manifest = run_alone("train", [], output, config, options, Progress(quiet), lambda segment: run(segment, counts, config))
    _print(manifest, f"{render(read_audit(output))}\n{output / 'tokenizer.json'}", as_json)


@app.command(rich_help_panel=_LOOK)
def audit(tokenizer: TokenizerFolder, split: Split = DEFAULT_SPLIT, as_json: opt.Json = False) -> None:
    """Count a vocabulary's entries by language, from tokenizer.json alone; fails when they don't have the shares of the split."""
    from tokenizer.audit import audit as audit_of
    from tokenizer.audit import render
    from tokenizer.shares import exact_shares, parse_split

    found = audit_of(tokenizer, exact_shares(parse_split(split)))
    typer.echo(json.dumps(found.as_json(), ensure_ascii=False, indent=1) if as_json else render(found))
    if found.problems:
        raise RunFailed(f"'{tokenizer}' does not pass the audit: {found.problems[0]}")


@app.command(rich_help_panel=_LOOK)
def evaluate(
    tokenizers: Annotated[
        list[Path], typer.Argument(help="Tokenizer folders or tokenizer.json files; the first is yours.", show_default=False)
    ],
    texts: Annotated[
        list[str] | None,
        typer.Option(
            help="Files, folders or globs to measure on; lang=PATH where they have no column lang. Repeatable.", show_default=False
        ),
    ] = None,
    parallel: Annotated[
        list[str] | None, typer.Option(help="JSONL or Parquet with the same sentences in both languages. Repeatable.", show_default=False)
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE.tiktoken(.gz), NAME one of cl100k, o200k, llama3, llama4. Repeatable.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for evaluation.html, evaluation.svg and evaluation.json.", show_default=False),
    ] = None,
    limit_bytes: Annotated[
        int | None, typer.Option(min=1, help="Bytes of text to read per language and genre.", show_default=False)
    ] = None,
    overrides: Set = None,
    as_json: opt.Json = False,
) -> None:
    """Measure tokenizers on texts: tokens per word, bytes per token, parity, partial characters, coverage, by language and genre."""
    from pipeline.alone import settings_from
    from tokenizer.evaluate import EvaluateConfig, run_evaluation
    from tokenizer.evaluation_page import write_evaluation
    from tokenizer.evaluation_table import render

    given = {
        "tokenizers": [str(path) for path in tokenizers],
        "texts": texts,
        "parallel": parallel,
        "baselines": baseline,
        "limit_bytes": limit_bytes,
    }
    evaluation = run_evaluation(settings_from(EvaluateConfig, given, overrides or [], "tokenizer evaluate"))
    if output is not None:
        write_evaluation(evaluation, output)
    _print(evaluation.as_json(), render(evaluation), as_json)


@app.command(rich_help_panel=_MAKE)
def encode(
    inputs: opt.InputPaths,
    tokenizer: Annotated[Path, typer.Option(help="Folder that `tokenizer train` wrote.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for token shards (.bin, .idx), their documents and manifest.json.")
    ],
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    engine: opt.Engine = opt.EngineName.local,
    address: opt.Address = None,
    workers: opt.Workers = None,
    overrides: Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Turn corpus Parquet or JSONL into token shards that a trainer maps, with a table that leads every token back to its document."""
    from pipeline.alone import Inputs, run_alone, settings_from
    from pipeline.progress import Progress
    from tokenizer.encode import SPLIT_BYTES, EncodeConfig, run
    from tokenizer.summary import render_encode
    from tokenizer.texts import plan_texts

    config = settings_from(EncodeConfig, {}, overrides or [], "tokenizer encode")
    splits = plan_texts(Inputs(inputs, text_column, id_column), SPLIT_BYTES)
    options = engine_options(engine, address, workers)
    work = lambda segment: run(segment, splits, tokenizer, config)  # noqa: E731
    manifest = run_alone("encode", splits, output, config, options, Progress(quiet), work)
    _print(manifest, render_encode(manifest), as_json)


def trace(
    shard: Annotated[
        Path,
        typer.Argument(help="A token file (.bin) with a position, or a folder of token shards with a document id.", show_default=False),
    ],
    what: Annotated[
        str, typer.Argument(help="Number of a token in the file, counted from 0; of a folder, a document id.", show_default=False)
    ],
    run: Annotated[Path | None, typer.Option(help="Run directory in which to look the document up.", show_default=False)] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer folder, to show the text around the token.", show_default=False)] = None,
    as_json: opt.Json = False,
) -> None:
    """Tell which web record a token of a shard came from, or where the tokens of a document are."""
    from tokenizer.trace import places, render_places
    from tokenizer.trace import trace as trace_of

    if shard.is_dir():
        found = places(shard, what)
        if not found:
            raise UserError(f"no token shard in '{shard}' holds the document '{what}'; check the id, or whether the corpus has it")
        typer.echo(json.dumps([vars(place) for place in found], ensure_ascii=False, indent=1) if as_json else render_places(found))
        return
    if not (what.isascii() and what.isdecimal() and len(what) < 20):
        raise UserError(f"'{what}' is not a token's number; give one from 0 up, or a folder of token shards to look for a document id")
    one = trace_of(shard, int(what), run, tokenizer)
    typer.echo(one.to_json() if as_json else one.render())


def _print(facts: dict[str, Any], text: str, as_json: bool) -> None:
    typer.echo(json.dumps(facts, ensure_ascii=False, indent=1) if as_json else text)
