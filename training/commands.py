"""The commands of training: `flops`, what a training would cost, and `plan`, what a plan comes to.

Everything heavy is imported inside the commands, so that help appears at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline import options as opt
from training.flops import H100_PEAK, PUBLISHED

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train models on token shards: plan and flops tell what a training does and costs before anything runs.",
)

PlanFile = Annotated[Path, typer.Argument(help="The plan, a YAML file with the keys of docs/training_keys.md.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key of docs/training_keys.md: --set key=value. Repeatable.", show_default=False),
]
Mfu = Annotated[float, typer.Option(help="Share of the GPU's peak that is reached.")]
Peak = Annotated[float, typer.Option(help="Operations per second of the GPU: an H100's in dense bfloat16.")]


@app.callback()
def root() -> None:
    """Train models on token shards."""


@app.command()
def flops(
    preset: Annotated[list[str] | None, typer.Option(help="2.4b, 7.8b or 32b, repeatable. Default: all.", show_default=False)] = None,
    tokens: Annotated[
        float | None, typer.Option(help="Tokens to train on, such as 9e12. Default: those of the published model.", show_default=False)
    ] = None,
    sequence_length: Annotated[int, typer.Option(min=1, help="Tokens of one sequence.")] = 4096,
    mfu: Mfu = 0.4,
    peak: Peak = H100_PEAK,
    as_json: opt.Json = False,
) -> None:
    """Tell what training costs: 6ND as the EXAONE 3.5 report counts, the count with attention, and GPU hours."""
    from training.flops import cost, render

    costs = [cost(name, tokens, sequence_length, mfu, peak) for name in preset or PUBLISHED]
    typer.echo(json.dumps([one.as_json() for one in costs], indent=1) if as_json else render(costs))


@app.command()
def plan(
    file: PlanFile,
    overrides: Set = None,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs that the training runs on.")] = 1,
    gpu_memory: Annotated[float, typer.Option(help="GiB of one GPU.")] = 80.0,
    mfu: Mfu = 0.4,
    peak: Peak = H100_PEAK,
    index: Annotated[
        Path | None, typer.Option(help="Keep the indices of the sources here: RUN/index of a training to come.", show_default=False)
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Check a plan against its shards and tell what it comes to: tokens, epochs, steps, operations, hours and memory of each stage."""
    from training.plan_command import show

    typer.echo(show(file, overrides or [], index, gpus, gpu_memory, mfu, peak, as_json))
