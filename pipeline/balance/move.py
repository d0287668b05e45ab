"""The balance move: count, plan, choose. Every decision follows from the counts, so workers and their order change nothing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.balance.choose import Choose, GroupChoice, PhaseChoice
from pipeline.balance.config import UNKNOWN_LANGUAGE, BalanceConfig
from pipeline.balance.sample import phase_seed
from pipeline.balance.steps import PlanTask, count_tasks, label_names
from pipeline.balance.table import render_plan
from pipeline.documents import DocumentReader
from pipeline.engine import Engine, LocalEngine
from pipeline.errors import UserError
from pipeline.progress import Progress
from pipeline.segment import Segment
from pipeline.splits import Split

__all__ = ["check", "choose_stage", "plan_only", "render_plan", "run"]


def run(segment: Segment, splits: Sequence[Split], config: BalanceConfig, available: frozenset[str]) -> list[Split]:
    """Choose the documents of each phase; the kept ones carry tokens, epochs_general and epochs_domain.

    available: columns of the documents in `splits`. Also leaves plan.json and plan.txt in the step folder `plan`.
    Raises UserError when the mix needs a column that is not there, or more documents than there are.
    """
    splits = sorted(splits, key=lambda split: split.name)
    plan = _plan(segment, splits, config, available)
    stage = choose_stage(plan, config)
    return segment.rows(splits, DocumentReader(), (stage,), columns=available | stage.writes)


def plan_only(
    splits: Sequence[Split],
    config: BalanceConfig,
    available: frozenset[str],
    engine: Engine | None = None,
    progress: Progress | None = None,
    scratch: Path | None = None,
) -> dict[str, Any]:
    """The content of plan.json without choosing anything: what `onnuri balance plan` prints (as text: render_plan).

    Counts go to a temporary folder under `scratch` (default: the system's; on a cluster, one that all workers see), removed at the end.
    """
    used: Engine = engine or LocalEngine()
    try:
        with tempfile.TemporaryDirectory(prefix="onnuri-balance-", dir=scratch) as folder:
            segment = Segment(Path(folder), "balance", used, progress or Progress(quiet=True), config.min_kept_share)
            return _plan(segment, sorted(splits, key=lambda split: split.name), config, available)
    finally:
        if engine is None:
            used.close()


def _plan(segment: Segment, splits: list[Split], config: BalanceConfig, available: frozenset[str]) -> dict[str, Any]:
    check(config, available)
    counted = segment.step("count", count_tasks(splits, config))
    files = sorted((name, facts["xxh3"]) for receipt in counted for name, facts in receipt["outputs"].items())
    paths = tuple(str(segment.step_folder("count") / name) for name, _ in files)
    phases = {name: phase.model_dump(mode="json") for name, phase in config.chosen_phases.items()}
    segment.step("plan", [PlanTask(phases, config.on_infeasible, tuple(digest for _, digest in files), paths)])
    plan: dict[str, Any] = json.loads((segment.step_folder("plan") / "plan.json").read_text(encoding="utf-8"))
    return plan


def check(config: BalanceConfig, available: frozenset[str]) -> None:
    """Raises UserError when the mix speaks of languages, domains or quality and the documents have no such column."""
    languages = sorted({language for phase in config.chosen_phases.values() for language in phase.language_shares})
    if "lang" not in available and languages != [UNKNOWN_LANGUAGE]:
        raise UserError(
            f"the mix gives shares to {', '.join(languages)} but the documents have no column lang; "
            f"run refine first, or give the language {UNKNOWN_LANGUAGE} a share of 1 and a bytes_per_token"
        )
    labels = label_names(config)
    if "domain" not in available and labels:
        raise UserError(
            f"the mix names the domain '{labels[0]}' but the documents have no column domain; run classify first, or name no domains"
        )
    for name, phase in config.chosen_phases.items():
        if phase.min_quality is not None and "quality" not in available:
            raise UserError(
                f"phase {name} sets min_quality but the documents have no column quality; "
                f"run classify with a quality model first, or remove balance.phases.{name}.min_quality"
            )


def choose_stage(plan: dict[str, Any], config: BalanceConfig) -> Choose:
    """The stage that carries out a plan made with this config."""
    phases = []
    for name, phase in config.chosen_phases.items():
        groups = tuple(
            GroupChoice(group["language"], group["domain"], group["whole_epochs"], int(group["limit"], 16))
            for group in plan["phases"][name]["groups"]
        )
        phases.append(PhaseChoice(name, phase_seed(config.seed, name), tuple(phase.language_shares), phase.min_quality, groups))
    return Choose(config.language_of, config.bytes_per_token, tuple(phases))
