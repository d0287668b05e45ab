"""A training as workers of Ray Train: one process per GPU of the cluster, restarted from the last checkpoint when one is lost.

Checkpoints are ours, in the run directory, which all nodes must share; Ray is given none to move about.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import RunFailed, UserError

MAX_FAILURES = 3
"""Times that lost workers are started again."""


def train_on_ray(config: dict[str, Any], run: Path, workers: int, address: str | None, quiet: bool) -> dict[str, Any]:
    """`pretrain` on a cluster, or without an address on a Ray that starts here. config: a PlanConfig as plain data."""
    import ray
    import torch
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    ray.init(address=address or "local", log_to_driver=not quiet)
    try:
        gpu = ray.cluster_resources().get("GPU", 0) > 0 if address else torch.cuda.is_available()
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"config": config, "run": str(run.resolve()), "quiet": quiet},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
            torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
            run_config=RunConfig(name="ray", storage_path=str(run.resolve()), failure_config=FailureConfig(max_failures=MAX_FAILURES)),
        )
        told = trainer.fit().metrics or {}
    except ray.exceptions.RayError as error:
        raise RunFailed(f"Ray lost the training: {str(error).splitlines()[0]}; run the same command again to go on") from error
    finally:
        ray.shutdown()
    if "error" in told:
        raise {2: UserError, 1: RunFailed}[told["code"]](told["error"])
    return told


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
        told = {}
    train.report(told)
