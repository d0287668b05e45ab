"""`onnuri train plan`: resolve a plan and say what it comes to."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

from pipeline.errors import UserError
from training.plan_config import load_plan_config
from training.plan_facts import Hardware, facts_json, facts_of
from training.plan_json import as_json
from training.plan_text import GIB, render
from training.resolve import resolve
from training.sources import open_sources


def show(
    file: Path, overrides: list[str], index: Path | None, gpus: int, gpu_memory: float, mfu: float, peak: float, plain_data: bool
) -> str:
    """The plan as text, or as JSON. index: folder of the sources' indices; None: they are thrown away. gpu_memory: GiB of one GPU.

    Raises UserError as resolve does, and for values that make no sense.
    """
    if not 0 < gpu_memory < math.inf or not 0 < mfu <= 1 or not 0 < peak < math.inf:
        raise UserError("--gpu-memory and --peak must be numbers above 0, and --mfu above 0 and at most 1; correct the one that isn't")
    hardware = Hardware(gpus, int(gpu_memory * GIB), peak, mfu)
    config = load_plan_config(file, overrides)
    with tempfile.TemporaryDirectory(prefix="onnuri-plan-") as temporary:
        cache = Path(temporary) if index is None else index
        plan = resolve(config, cache)
        sources = open_sources(dict(enumerate(plan.sources)), plan.tokenizer_sha256, cache, plan.seed)
        facts = facts_of(plan, config, sources, hardware)
    return (
        json.dumps({"plan": as_json(plan), "stages": facts_json(facts)}, indent=1) if plain_data else render(plan, config, facts, hardware)
    )
