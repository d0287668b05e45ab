"""What each process of a training does, however it was started: join the others, settle the plan, train, and end with one sentence."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch.distributed as dist

from pipeline.errors import RunFailed
from training import checkpoint
from training.launch import World, connect, leave, on_first
from training.place import Place
from training.plan import Plan
from training.plan_config import PlanConfig
from training.plan_json import as_json, difference
from training.resolve import resolve
from training.run_folder import CHECKPOINTS, INDEX, settle_plan, training_folder
from training.trainer import Trainer
from training.watch import Watch


def pretrain(config: PlanConfig, run: Path, quiet: bool) -> dict[str, Any]:
    """Train as the plan says, in the folder `run`, from where an earlier run ended; what came of it, as plain data (`first`: whether this
    is the process that is to tell it).

    Raises UserError and RunFailed in the first process where all fail, or in the one that does; ToldElsewhere in others.
    """
    world = connect()
    try:
        with contextlib.ExitStack() as stack:
            on_first(world, lambda: stack.enter_context(training_folder(run)))
            plan = on_first(world, lambda: _settled(config, run))
            place = on_first(world, lambda: _finished(run, plan))
            if place is None:
                place = Trainer(config, plan, run, world, Watch(quiet or not world.first)).train()
            newest = run / CHECKPOINTS / checkpoint.name_of(place.step)
            return {"first": world.first, "steps": place.step, "tokens": place.tokens, "checkpoint": str(newest)}
    except RuntimeError as error:
        if _lost(error, world):
            raise RunFailed(
                "lost another process of the training, which may have told why; "
                "run the same command again to go on from the last checkpoint"
            ) from error
        raise
    finally:
        leave()


def _settled(config: PlanConfig, run: Path) -> Plan:
    plan = resolve(config, run / INDEX)
    settle_plan(run, as_json(plan), difference)
    return plan


def _finished(run: Path, plan: Plan) -> Place | None:
    """Where a training that is through has come to, None for one that isn't."""
    found = checkpoint.all_of(run / CHECKPOINTS)
    place = Place.from_json(checkpoint.read_state(found[-1])["place"]) if found else Place()
    return place if place.stage == len(plan.stages) else None


def _lost(error: RuntimeError, world: World) -> bool:
    return world.size > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in str(error))
