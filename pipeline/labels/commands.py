"""`onnuri classify label`, `bootstrap` and `judge`: three ways to labelled documents, all of which `onnuri classify train` reads.

Everything heavy is imported inside the commands, so that help appears at once.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import options as opt
from pipeline.errors import UserError

_DEFAULT_KEY = "OPENAI_API_KEY"

LabelledOut = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for labelled.parquet (for `classify train`) and manifest.json.", show_default=False)
]
SetHere = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key of docs/label_keys.md: --set key=value. Repeatable.", show_default=False),
]
TaxonomyFile = Annotated[
    Path | None, typer.Option(help="YAML file with topics, names, definitions and seeds; without it, 24 topics.", show_default=False)
]


def label(
    inputs: opt.InputPaths,
    output: LabelledOut,
    rules: Annotated[Path, typer.Option(help="YAML file with the rules; docs/labels.md shows one.", show_default=False)],
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    overrides: SetHere = None,
    as_json: opt.Json = False,
) -> None:
    """Label documents by rules: sources, hosts, addresses, fields, signals, languages, seed words."""
    from pipeline.alone import Inputs, plan_documents, settings_from
    from pipeline.config import read_yaml
    from pipeline.labels.config import LabelConfig
    from pipeline.labels.rules import label_by_rule

    config = settings_from(LabelConfig, read_yaml(rules), overrides or [], f"classify label: {rules}")
    splits, _ = plan_documents(Inputs(inputs, text_column, id_column))
    _print(label_by_rule(splits, config, output), as_json)


def bootstrap(
    inputs: opt.InputPaths,
    output: LabelledOut,
    taxonomy: TaxonomyFile = None,
    places: Annotated[
        Path | None,
        typer.Option(help="YAML file that lists `hosts` and `sources` by topic: their documents are about it.", show_default=False),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=0, max=20, help="Rounds of self-training after the seeds; default: none.", show_default=False),
    ] = None,
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    overrides: SetHere = None,
    as_json: opt.Json = False,
) -> None:
    """Label documents by topic from seed words and known hosts and sources, then by models trained on those."""
    from pipeline.alone import Inputs, plan_documents, settings_from
    from pipeline.labels.bootstrap import bootstrap as run
    from pipeline.labels.config import BootstrapConfig
    from pipeline.labels.taxonomy import load_taxonomy, with_places

    config = settings_from(BootstrapConfig, {"rounds": rounds}, overrides or [], "classify bootstrap")
    topics = load_taxonomy(taxonomy)
    if places is not None:
        topics = with_places(topics, places)
    splits, _ = plan_documents(Inputs(inputs, text_column, id_column))
    _print(run(splits, topics, config, output), as_json)


def judge(
    inputs: opt.InputPaths,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for labelled.parquet, quarantine.parquet, answers.sqlite and manifest.json.", show_default=False
        ),
    ],
    endpoint: Annotated[str, typer.Option(help="OpenAI-compatible address, such as http://localhost:8000/v1.", show_default=False)],
    model: Annotated[str, typer.Option(help="The model's name, as the endpoint knows it.", show_default=False)],
    template: Annotated[str, typer.Option(help="The question: quality (a score of 0 to 5), topic, or a YAML file.")] = "quality",
    taxonomy: TaxonomyFile = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Ask about this many documents per language, chosen by hash.", show_default=False)
    ] = None,
    max_requests: Annotated[
        int | None, typer.Option(min=1, help="Stop before more requests than this, of all runs into OUT together.", show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Stop before more tokens than this, prompts and answers together.", show_default=False)
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0.0, help="Stop before a higher cost than this; needs both prices.", show_default=False)
    ] = None,
    prompt_price: Annotated[float | None, typer.Option(min=0.0, help="Price of a million prompt tokens.", show_default=False)] = None,
    answer_price: Annotated[float | None, typer.Option(min=0.0, help="Price of a million tokens of answers.", show_default=False)] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Requests under way at once.")] = 8,
    key_env: Annotated[
        str, typer.Option(help="Environment variable that holds the API key; the key itself is never an option, printed or written.")
    ] = _DEFAULT_KEY,
    gold_column: Annotated[
        str | None, typer.Option(help="Column or field with known labels: print how far the judge agrees (kappa).", show_default=False)
    ] = None,
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    overrides: SetHere = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Label documents by an LLM behind an OpenAI-compatible endpoint; stops within a budget and goes on where it was.

    Mind the licence: the terms of some providers forbid training models on what theirs answer. The texts leave this machine.
    """
    from pipeline.alone import Inputs, plan_documents, settings_from
    from pipeline.labels.config import JudgeConfig
    from pipeline.labels.judge import Judge, judge_documents
    from pipeline.labels.judge_cache import Budget
    from pipeline.labels.judge_client import endpoint_of
    from pipeline.labels.judge_prompt import load_template
    from pipeline.labels.taxonomy import load_taxonomy
    from pipeline.progress import Progress

    config = settings_from(JudgeConfig, {}, overrides or [], "classify judge")
    if max_cost is not None and (prompt_price is None or answer_price is None):
        raise UserError("--max-cost needs --prompt-price and --answer-price, the prices of a million tokens")
    topics = load_taxonomy(taxonomy)
    asked = Judge(
        endpoint_of(endpoint, _key(key_env)),
        model,
        load_template(template, topics),
        topics,
        Budget(max_requests, max_tokens, max_cost, prompt_price or 0.0, answer_price or 0.0),
        sample,
        concurrency,
        gold_column,
    )
    splits, _ = plan_documents(Inputs(inputs, text_column, id_column))
    _print(judge_documents(splits, asked, config, output, Progress(quiet)), as_json)


def _key(name: str) -> str:
    """The API key in an environment variable; a local server may need none, so only a variable that was named must be set."""
    key = os.environ.get(name, "").strip()
    if not key and name != _DEFAULT_KEY:
        raise UserError(f"the environment variable '{name}', named by --key-env, is not set; set it to the API key")
    return key


def _print(facts: dict[str, Any], as_json: bool) -> None:
    from pipeline.labels.output import render

    typer.echo(json.dumps(facts, ensure_ascii=False, indent=1) if as_json else render(facts))
