"""`onnuri balance fit`: which mixture small training runs speak for, and how far they can be trusted.

Everything heavy is imported inside the command, so that help appears at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import options as opt
from pipeline.aligned import aligned
from pipeline.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.balance.proposal import Proposal
    from pipeline.balance.regression import Fitted
    from pipeline.balance.runs import Runs


def balance_fit(
    mixtures: Annotated[
        str, typer.Argument(help="CSV or Parquet: a row per small run, a column of shares per domain.", show_default=False)
    ],
    losses: Annotated[
        str | None, typer.Argument(help="Table of the runs' losses, if they are in another file.", show_default=False)
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="MIX.yaml to write, for `onnuri balance --mix`.")] = None,
    loss: Annotated[list[str] | None, typer.Option(help="Column of a loss to lower, repeatable; their mean counts. Default: all.")] = None,
    key: Annotated[str | None, typer.Option(help="Column that names the run. Default: the one that both files have.")] = None,
    phase: Annotated[str, typer.Option(help="Phase of MIX.yaml that gets the mixture: general or domain.")] = "general",
    language: Annotated[list[str] | None, typer.Option(help="ko=0.6, repeatable: languages of the phase.", show_default=False)] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Token budget of the phase.", show_default=False)] = None,
    max_epochs: Annotated[float, typer.Option(min=1, max=1000, help="Most times that a domain may be repeated.")] = 1.0,
    available: Annotated[Path | None, typer.Option(help="YAML with the tokens of each domain: no share exceeds them.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the held-out parts and of the mixtures that are tried.")] = 0,
    as_json: opt.Json = False,
) -> None:
    """Fit losses of small runs to their mixtures, say how well that predicts, and propose the mixture of the lowest loss (RegMix)."""
    from pipeline.balance.proposal import caps_of, propose
    from pipeline.balance.regression import fit
    from pipeline.balance.runs import read_runs
    from pipeline.config import read_yaml

    if output is not None and output.exists():
        raise UserError(f"'{output}' exists already; give another file with -o, or remove it")
    runs = read_runs(mixtures, losses, loss or [], key)
    caps = caps_of(runs.domains, read_yaml(available) if available else None, tokens, max_epochs)
    languages = _languages(language or [])
    fitted = [fit(runs.shares, runs.losses[:, column], seed) for column in range(len(runs.loss_names))]
    proposal = propose([one.model for one in fitted], runs.shares, caps, seed)
    mix = _mix(phase, runs, proposal, languages, tokens, max_epochs)
    if output is not None:
        _write(output, mix)
    facts = _facts(runs, fitted, proposal, caps)
    typer.echo(json.dumps(facts | {"mix": mix}, ensure_ascii=False, indent=1) if as_json else _rendered(facts, output))


def _languages(given: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for entry in given:
        name, _, share = entry.partition("=")
        try:
            found[name] = float(share)
        except ValueError:
            raise UserError(f"--language '{entry}' is not of the form ko=0.6") from None
    return found


def _mix(phase: str, runs: Runs, proposal: Proposal, languages: dict[str, float], tokens: int | None, max_epochs: float) -> dict[str, Any]:
    """The `balance` section with the proposal as the domains of its one phase. Raises UserError for settings that can't be."""
    from pipeline.alone import settings_from
    from pipeline.balance.config import PHASES, BalanceConfig

    if phase not in PHASES:
        raise UserError(f"--phase '{phase}' is unknown; use {' or '.join(PHASES)}")
    settings: dict[str, Any] = {"tokens": tokens} if tokens is not None else {}
    settings |= {"languages": languages} if languages else {}
    settings |= {"max_epochs": max_epochs} if max_epochs != 1.0 else {}
    settings["domains"] = {name: round(float(share), 4) for name, share in zip(runs.domains, proposal.mixture, strict=True)}
    mix = {"phases": {name: settings if name == phase else None for name in PHASES}}
    settings_from(BalanceConfig, mix, [], "balance fit")
    return mix


def _write(output: Path, mix: dict[str, Any]) -> None:
    import yaml

    try:
        with output.open("x", encoding="utf-8") as stream:
            yaml.safe_dump(mix, stream, sort_keys=False, allow_unicode=True)
    except OSError as error:
        raise UserError(f"can't write '{output}': {error.strerror or error}") from error


def _facts(runs: Runs, fitted: list[Fitted], proposal: Proposal, caps: np.ndarray) -> dict[str, Any]:
    named = zip(runs.loss_names, fitted, strict=True)
    rows = zip(runs.domains, runs.shares.mean(axis=0), runs.shares.max(axis=0), caps, proposal.mixture, strict=True)
    return {
        "runs": len(runs.shares),
        "losses": {
            name: {
                "held_out_rank_correlation": round(one.rank_correlation, 4),
                "held_out_mean_error": round(one.mean_error, 4),
                "of_the_law_alone": round(one.law_rank_correlation, 4),
                "trees": len(one.model.trees.features),
            }
            for name, one in named
        },
        "domains": {
            name: {"mean_of_runs": round(float(mean), 4), "most_of_runs": round(float(most), 4), "cap": round(float(cap), 4)}
            | {"proposed": round(float(share), 4)}
            for name, mean, most, cap, share in rows
        },
        "predicted_loss": {
            "proposed": round(proposal.loss, 4),
            "mean_of_runs": round(proposal.mean_mixture_loss, 4),
            "best_run": round(proposal.best_run_loss, 4),
        },
    }


def _rendered(facts: dict[str, Any], output: Path | None) -> str:
    losses: list[tuple[str, ...]] = [("loss", "rank correlation", "mean error", "law alone", "trees")]
    losses += [(name, *(f"{value:g}" for value in values.values())) for name, values in facts["losses"].items()]
    domains: list[tuple[str, ...]] = [("domain", "mean of runs", "most", "cap", "proposed")]
    domains += [(name, *(f"{value:.4f}" for value in values.values())) for name, values in facts["domains"].items()]
    means = " and ".join(f"{value:.4g} for the {name.replace('_', ' ')}" for name, value in list(facts["predicted_loss"].items())[1:])
    lines = [
        f"{facts['runs']} runs; accuracy on held-out runs of the same size:",
        *aligned(losses),
        "",
        f"proposed mixture, predicted mean loss {facts['predicted_loss']['proposed']:.4g} ({means}):",
        *aligned(domains),
    ]
    return "\n".join([*lines, "", f"written to {output}"] if output else lines)
