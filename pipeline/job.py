"""What `onnuri run` does around the job: configuration, plan, sample, funnel, score."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig, absolute, load_config
from pipeline.errors import UserError
from pipeline.progress import Progress
from pipeline.report.funnel import render_funnel
from pipeline.run import Options, Plan, plan_run, run_job
from pipeline.sample import render_score, score, write_sample

__all__ = ["JobResult", "Options", "run_config"]


@dataclass(frozen=True)
class JobResult:
    """What to print, as data and as text, and the sentence of a failure that came after the run itself (the sample's score)."""

    facts: dict[str, Any]
    text: str
    failed: str = ""


def run_config(path: Path, output: Path | None, overrides: list[str], options: Options, dry_run: bool, quiet: bool) -> JobResult:
    """Load the configuration, then plan (`dry_run`) or run it. Raises UserError or RunFailed."""
    config = absolute(load_config(path, overrides))
    run = output.absolute() if output else Path(config.output) if config.output else None
    if run is None:
        raise UserError(f"{path} names no output; give a run directory with -o")
    progress = Progress(quiet)
    if config.sample and not (Path(config.sample) / "truth.jsonl").exists():
        if dry_run:
            raise UserError(f"the sample '{config.sample}' isn't written yet; run `onnuri sample {config.sample}` first")
        progress.say(f"writing the synthetic sample to {config.sample}")
        _write_sample(Path(config.sample))
    if dry_run:
        plan = plan_run(config)
        return JobResult(_plan_facts(plan, run), _render_plan(plan, config, run))
    facts = run_job(config, run, options, progress)
    text = f"{render_funnel(run)}\nreport: {run / 'report.html'}"
    if not config.sample or options.limit:
        return JobResult(facts, text)
    result = score(run, Path(config.sample))
    failed = (
        "" if result["passed"] else f"the run does not match the sample's planted truth; look at the score above and at {run}/report.html"
    )
    return JobResult(facts | {"score": result}, f"{text}\n\n{render_score(result)}", failed)


def _write_sample(folder: Path) -> None:
    """Write the sample so that it is complete or absent, whenever the writing is killed."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    write_sample(unfinished)
    try:
        unfinished.rename(folder)
    except OSError as error:
        raise UserError(f"can't write the sample to '{folder}': {error.strerror}; remove that folder, or name another one") from error


def _plan_facts(plan: Plan, run: Path) -> dict[str, Any]:
    return {
        "run": str(run),
        "moves": plan.moves,
        "files": len(plan.inputs),
        "bytes": plan.size,
        "splits": [{"name": split.name, "bytes": split.size, "files": len(split.parts)} for split in plan.splits],
    }


def _render_plan(plan: Plan, config: RunConfig, run: Path) -> str:
    from pipeline.ingest import stages as ingest_stages
    from pipeline.refine import stages as refine_stages

    chains = {
        "ingest": ["read", *(stage.name for stage in ingest_stages.stages(config.ingest))],
        "refine": [stage.name for stage in refine_stages.stages(config.refine)],
    }
    lines = [
        f"plan for {run}: {len(plan.inputs)} files, {plan.size / 1e6:,.1f} MB on disk, {len(plan.splits)} splits; nothing is written",
        "",
    ]
    lines += [f"  {move:<14} {' > '.join(chains.get(move, ['whole-corpus steps']))}" for move in plan.moves]
    lines += ["", f"  {'split':<58} {'files':>6} {'MB':>9}"]
    lines += [f"  {split.name:<58} {len(split.parts):>6} {split.size / 1e6:>9.2f}" for split in plan.splits]
    return "\n".join(lines)
