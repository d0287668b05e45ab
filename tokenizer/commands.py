"""The commands of the tokenizer: count words, train, audit, evaluate, encode, and trace a token back to its record.

Everything heavy is imported inside the commands, so that help appears at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import options as opt
from pipeline.errors import RunFailed, UserError

if TYPE_CHECKING:
    from pipeline.run import Options

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make a byte-level BPE tokenizer that is half Korean and half English, and token shards: count, train, audit, evaluate, encode.",
)

_MAKE, _LOOK = "Make", "Look at"

TokenizerFolder = Annotated[Path, typer.Argument(help="Folder that `tokenizer train` wrote, or a tokenizer.json.", show_default=False)]
Split = Annotated[
    list[str] | None,
    typer.Option(help="Share of a language's tokens, such as ko=0.5, repeatable. Default: ko=0.5 and en=0.5.", show_default=False),
]


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
    overrides: opt.Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Count the words (pre-tokens) of any Parquet or JSONL: what a tokenizer is trained on. Memory doesn't grow with the corpus."""
    from pipeline.alone import Inputs, run_alone, settings_from
    from pipeline.progress import Progress
    from tokenizer.count import SPLIT_BYTES, CountConfig, render, run
    from tokenizer.texts import plan_texts

    config = settings_from(CountConfig, {"min_count": min_count, "sample_share": sample_share}, overrides or [], "tokenizer count")
    splits = plan_texts(Inputs(inputs, text_column, id_column), SPLIT_BYTES)
    options = _options(engine, address, workers)
    manifest = run_alone("count", splits, output, config, options, Progress(quiet), lambda segment: run(segment, splits, config))
    _print(manifest, render(manifest), as_json)


@app.command(rich_help_panel=_MAKE)
def train(
    counts: Annotated[list[Path], typer.Argument(help="Folders that `tokenizer count` wrote; their counts are added.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tokenizer.json, its configuration, chat template and card.")],
    vocab_size: Annotated[int | None, typer.Option(help="Entries, special tokens among them. Default: 102400.", show_default=False)] = None,
    split: Split = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Ordinary BPE over all words, without a split by language: for comparison.")
    ] = False,
    engine: opt.Engine = opt.EngineName.local,
    address: opt.Address = None,
    workers: opt.Workers = None,
    overrides: opt.Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Train a byte-level BPE tokenizer whose entries have the languages' exact shares, and export it for transformers."""
    from pipeline.alone import run_alone, settings_from
    from pipeline.progress import Progress
    from tokenizer.audit import audit as audit_of
    from tokenizer.audit import render
    from tokenizer.train import TrainConfig, run

    given = {"vocab_size": vocab_size, "split": _split(split), "plain": plain or None}
    config = settings_from(TrainConfig, given, overrides or [], "tokenizer train")
    options = _options(engine, address, workers)
    manifest = run_alone("train", [], output, config, options, Progress(quiet), lambda segment: run(segment, counts, config))
    found = audit_of(output, None if config.plain else config.split)
    _print(manifest, f"{render(found)}\n{output / 'tokenizer.json'}", as_json)


@app.command(rich_help_panel=_LOOK)
def audit(tokenizer: TokenizerFolder, split: Split = None, as_json: opt.Json = False) -> None:
    """Count a vocabulary's entries by language, from tokenizer.json alone; fails when they don't have the shares of the split."""
    from tokenizer.audit import audit as audit_of
    from tokenizer.audit import render

    found = audit_of(tokenizer, _split(split) or {"ko": 0.5, "en": 0.5})
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
    overrides: opt.Set = None,
    as_json: opt.Json = False,
) -> None:
    """Measure tokenizers on texts: tokens per word, bytes per token, parity, partial characters, coverage, by language and genre."""
    from pipeline.alone import settings_from
    from tokenizer.evaluate import EvaluateConfig, render, run_evaluation, write_evaluation

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
    overrides: opt.Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Turn corpus Parquet or JSONL into token shards that a trainer maps, with a table that leads every token back to its document."""
    from pipeline.alone import Inputs, run_alone, settings_from
    from pipeline.progress import Progress
    from tokenizer.encode import SPLIT_BYTES, EncodeConfig, render, run
    from tokenizer.texts import plan_texts

    config = settings_from(EncodeConfig, {}, overrides or [], "tokenizer encode")
    splits = plan_texts(Inputs(inputs, text_column, id_column), SPLIT_BYTES)
    options = _options(engine, address, workers)
    work = lambda segment: run(segment, splits, tokenizer, config)  # noqa: E731
    manifest = run_alone("encode", splits, output, config, options, Progress(quiet), work)
    _print(manifest, render(manifest), as_json)


def trace(
    shard: Annotated[Path, typer.Argument(help="A token file (.bin), or a folder of token shards.", show_default=False)],
    position: Annotated[
        str, typer.Argument(help="Number of a token in the file, counted from 0; of a folder, a document id.", show_default=False)
    ],
    run: Annotated[Path | None, typer.Option(help="Run directory in which to look the document up.", show_default=False)] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer folder, to show the text around the token.", show_default=False)] = None,
    as_json: opt.Json = False,
) -> None:
    """Tell which web record a token of a shard came from, or where a document's tokens are."""
    from tokenizer.trace import render, trace_back

    found = trace_back(shard, position, run, tokenizer)
    typer.echo(json.dumps(found.as_json(), ensure_ascii=False, indent=1) if as_json else render(found))


def _split(given: list[str] | None) -> dict[str, float] | None:
    """`ko=0.5` entries as a map. Raises UserError for one of another form."""
    if not given:
        return None
    shares: dict[str, float] = {}
    for entry in given:
        name, _, share = entry.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            raise UserError(f"--split '{entry}' is not of the form ko=0.5") from None
    return shares


def _options(engine: opt.EngineName, address: str | None, workers: int | None) -> Options:
    from pipeline.run import Options

    return Options(engine=engine.value, address=address, workers=workers)


def _print(facts: dict[str, Any], text: str, as_json: bool) -> None:
    typer.echo(json.dumps(facts, ensure_ascii=False, indent=1) if as_json else text)
