"""A training as workers of Ray Train: one process per GPU of the cluster, restarted from the last checkpoint when one is lost.

Checkpoints are ours, in the run directory, which all nodes must share; Ray is given none to move about. What workers have to tell goes
the same way, as files in `ray/` of the run directory.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from pipeline.errors import RunFailed, UserError
from training.run_folder import refuse_foreign

MAX_FAILURES = 3
"""Times that lost workers are started again."""

FOLDER = "ray"


def train_on_ray(config: dict[str, Any], run: Path, workers: int, address: str | None, quiet: bool) -> dict[str, Any]:
    """`pretrain` on a cluster, or without an address on a Ray that starts here. config: a PlanConfig as plain data.

    Raises UserError and RunFailed as `pretrain` does, and where Ray can't be reached or loses more workers than it may.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    import torch
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    from training.launch import PATIENCE

    refuse_foreign(run)
    folder = run.resolve() / FOLDER
    for path in folder.glob("told-*.json"):
        path.unlink()
    _start(address, workers, quiet)
    try:
        gpu = ray.cluster_resources().get("GPU", 0) > 0 if address else torch.cuda.is_available()
        TorchTrainer(
            _worker,
            train_loop_config={"config": config, "run": str(run.resolve()), "quiet": quiet},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
            torch_config=TorchConfig(backend="nccl" if gpu else "gloo", timeout_s=int(PATIENCE.total_seconds())),
            run_config=RunConfig(name="train", storage_path=str(folder), failure_config=FailureConfig(max_failures=MAX_FAILURES)),
        ).fit()
    except (ray.exceptions.RayError, TrainingFailedError) as error:
        raise RunFailed(f"Ray lost the training: {str(error).splitlines()[0]}; run the same command again to go on") from error
    finally:
        ray.shutdown()
    return _told(folder)


def _start(address: str | None, workers: int, quiet: bool) -> None:
    import ray

    local: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(address=address or "local", log_to_driver=not quiet, logging_level=logging.ERROR, **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"at '{address}'" if address else "on this machine"
        raise UserError(f"can't reach or start Ray {where}: {str(error).splitlines()[0]}; check the address and RAY_AUTH_MODE") from error


def _worker(given: dict[str, Any]) -> None:
    """One process. What a person has to be told is a result: Ray would try again after an exception, which is for lost workers."""
    from ray import train

    from training.launch import ToldElsewhere
    from training.plan_config import PlanConfig
    from training.pretrain import pretrain

    try:
        told = pretrain(PlanConfig.model_validate(given["config"]), Path(given["run"]), given["quiet"])
    except (UserError, RunFailed) as error:
        told = {"error": str(error), "code": 2 if isinstance(error, UserError) else 1}
    except ToldElsewhere:
        return
    path = Path(given["run"]) / FOLDER / f"told-{train.get_context().get_world_rank():06d}.json"
    path.write_text(json.dumps(told), encoding="utf-8")


def _told(folder: Path) -> dict[str, Any]:
    """What came of it. Where more than one process failed, the last one tells: the first only knows that it lost another."""
    all_told = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("told-*.json"))]
    if failed := [told for told in all_told if "error" in told]:
        raise (UserError if failed[-1]["code"] == 2 else RunFailed)(failed[-1]["error"])
    return next(told for told in all_told if told["first"])
