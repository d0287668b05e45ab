"""The commands of training: `plan` and `flops` before it, `pretrain`, then `export` to Llama format and `generate`.

Everything heavy is imported inside the commands, so that help appears at once.
"""

from __future__ import annotations

import enum
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline import options as opt
from training.flops import H100_PEAK, PUBLISHED

PlanFile = Annotated[Path, typer.Argument(help="The plan, a YAML file with the keys of docs/training_keys.md.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key of docs/training_keys.md: --set key=value. Repeatable.", show_default=False),
]
Mfu = Annotated[float, typer.Option(help="Share of the GPU's peak that is reached.")]
Peak = Annotated[float, typer.Option(help="Operations per second of the GPU: an H100's in dense bfloat16.")]


class Precision(enum.StrEnum):
    """Types of exported weights."""

    bf16 = "bf16"
    fp32 = "fp32"


app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train models on token shards: plan and flops tell what it comes to, pretrain trains, export writes for transformers, "
    "generate tries it out.",
)


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


@app.command()
def pretrain(
    file: PlanFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the training: plan.json, log.jsonl, checkpoints/.")],
    engine: Annotated[opt.EngineName, typer.Option(help="local: processes on this machine. ray: Ray Train, here or on a cluster.")] = (
        opt.EngineName.local
    ),
    address: opt.Address = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes to start: one per GPU.")] = 1,
    overrides: Set = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Train a model as a plan says. Stopped or killed, it goes on where it was when the same command is given again.

    On several machines, start it with torchrun or deepspeed, or with --engine ray on a Ray cluster.
    """
    from training.plan_config import load_plan_config

    config = load_plan_config(file, overrides or [])
    if engine is opt.EngineName.ray:
        from training.ray_launch import train_on_ray

        told = train_on_ray(config.model_dump(mode="json"), output, workers, address, quiet)
    else:
        from training.launch import ToldElsewhere, launched, spawn
        from training.pretrain import pretrain as train_here

        if workers > 1 and not launched():
            raise typer.Exit(spawn(workers, _same_command("pretrain", file, output, overrides or [], as_json, quiet)))
        try:
            told = train_here(config, output, quiet)
        except ToldElsewhere as error:
            raise typer.Exit(error.code) from None
    if told["first"]:
        typer.echo(json.dumps(told) if as_json else f"{told['steps']:,} steps, {told['tokens']:,} tokens: {told['checkpoint']}")


def _same_command(name: str, plan: Path, output: Path, overrides: list[str], as_json: bool, quiet: bool) -> list[str]:
    """The command as each of several processes gets it."""
    flags = [*(["--json"] if as_json else []), *(["--quiet"] if quiet else [])]
    settings = [word for one in overrides for word in ("--set", one)]
    return [sys.executable, "-m", "training", name, str(plan), "--output", str(output), *settings, *flags]


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, or a training's folder for its newest one.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the model: config.json, safetensors, tokenizer.")],
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder of the tokenizer, if it isn't where the plan says.", show_default=False)
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Type of the weights that are written.")] = Precision.bf16,
    as_json: opt.Json = False,
) -> None:
    """Write a checkpoint's model in plain Llama format, which transformers and vLLM load without code of ours."""
    import torch

    from training.export import export as export_to

    told = export_to(checkpoint, output, tokenizer, torch.float32 if precision is Precision.fp32 else torch.bfloat16)
    line = f"{told.parameters:,} parameters in {told.dtype}, after {told.steps:,} steps, stage {told.stage}: {told.folder}"
    typer.echo(json.dumps(told.as_json(), indent=1) if as_json else line)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="Folder of a training, running or ended.", show_default=False)]) -> None:
    """Write report.html of a training: curves of loss, learning rate and speed, and what each stage read. Training writes it at its end."""
    from training.training_page import write_page

    typer.echo(str(write_page(run)))


@app.command()
def generate(
    model: Annotated[Path, typer.Argument(help="Folder of a model in Llama format, such as `train export` writes.", show_default=False)],
    prompt: Annotated[str, typer.Option(help="Text to go on from.", show_default=False)],
    max_tokens: Annotated[int, typer.Option(min=1, help="Stop after this many tokens, if the text hasn't ended.")] = 128,
    as_json: opt.Json = False,
) -> None:
    """Let a model continue a text by greedy decoding: always the likeliest next token."""
    from training.generate import complete

    found = complete(model, prompt, max_tokens)
    typer.echo(json.dumps(found.as_json(), ensure_ascii=False, indent=1) if as_json else found.prompt + found.text)
