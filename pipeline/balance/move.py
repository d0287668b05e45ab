"""The balance move: count, plan, choose. Every decision follows from the counts, so workers and their order change nothing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.balance.choose import Choose
from pipeline.balance.config import UNKNOWN_LANGUAGE, BalanceConfig
from pipeline.balance.sample import phase_seed
from pipeline.balance.steps import PlanTask, count_tasks, label_names, mix_languages, phase_choice, queues_of
from pipeline.balance.table import render_plan
from pipeline.balance.weights import NgramTask, RatioFile, ratio_task
from pipeline.documents import DocumentReader
from pipeline.engine import Engine, LocalEngine
from pipeline.errors import UserError
from pipeline.files import find_files
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
    plan, ratios = _plan(segment, splits, config, available)
    stage = choose_stage(plan, config, ratios)
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
            return _plan(segment, sorted(splits, key=lambda split: split.name), config, available)[0]
    finally:
        if engine is None:
            used.close()


def _plan(
    segment: Segment, splits: list[Split], config: BalanceConfig, available: frozenset[str]
) -> tuple[dict[str, Any], tuple[RatioFile, ...]]:
    check(config, available)
    ratios = _ratios(segment, splits, config)
    counted = segment.step("count", count_tasks(splits, config, ratios))
    digests, paths = _outputs(segment, "count", counted)
    phases = {name: phase.model_dump(mode="json") for name, phase in config.chosen_phases.items()}
    seeds = {name: phase_seed(config.seed, name) for name in phases}
    bands = tuple(config.quality_bands)
    segment.step("plan", [PlanTask(phases, seeds, config.on_infeasible, bands, config.long_document_tokens, digests, paths)])
    plan: dict[str, Any] = json.loads((segment.step_folder("plan") / "plan.json").read_text(encoding="utf-8"))
    return plan, ratios


def _ratios(segment: Segment, splits: list[Split], config: BalanceConfig) -> tuple[RatioFile, ...]:
    """The importance ratios of the phases that have target texts."""
    wanted = {name: phase.importance for name, phase in config.chosen_phases.items() if phase.importance}
    if not wanted:
        return ()
    languages = mix_languages(config)
    counted = segment.step("ngrams", [NgramTask(split, config.language_of, languages) for split in splits])
    digests, paths = _outputs(segment, "ngrams", counted)
    tasks = [ratio_task(name, targets, config.language_of, languages, digests, paths) for name, targets in wanted.items()]
    receipts = segment.step("ratio", tasks)
    folder = segment.step_folder("ratio")
    return tuple(
        RatioFile(task.phase, languages, str(folder / f"{task.phase}.npy"), str(receipt["outputs"][f"{task.phase}.npy"]["xxh3"]))
        for task, receipt in zip(tasks, receipts, strict=True)
    )


def _outputs(segment: Segment, step: str, receipts: Sequence[dict[str, Any]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The hashes and paths of a step's files, by name."""
    files = sorted((name, str(facts["xxh3"])) for receipt in receipts for name, facts in receipt["outputs"].items())
    return tuple(digest for _, digest in files), tuple(str(segment.step_folder(step) / name) for name, _ in files)


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
        asks = "quality_top" if phase.quality_top else "quality_tilt" if phase.quality_tilt > 1 else None
        if asks and "quality" not in available:
            raise UserError(
                f"phase {name} sets {asks} but the documents have no column quality; "
                f"run classify with a quality model first, or remove balance.phases.{name}.{asks}"
            )
        if phase.rehydrate and "rehydration_weight" not in available:
            raise UserError(
                f"phase {name} sets rehydrate but the documents have no column rehydration_weight; "
                f"run dedup first, or remove balance.phases.{name}.rehydrate"
            )
        if phase.importance:
            if "text" not in available:
                raise UserError(
                    f"phase {name} sets importance but the documents have no column text; remove balance.phases.{name}.importance"
                )
            find_files(phase.importance.inputs)


def choose_stage(plan: dict[str, Any], config: BalanceConfig, ratios: tuple[RatioFile, ...] = ()) -> Choose:
    """The stage that carries out a plan made with this config."""
    queues = queues_of(plan, config)
    phases = tuple(phase_choice(name, plan, queues) for name in queues)
    return Choose(config.language_of, config.bytes_per_token, config.long_document_tokens, phases, ratios)
