"""`onnuri submit`: the same run as a job on a Ray cluster, through its job server."""

from __future__ import annotations

import asyncio
import os
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import absolute, load_config
from pipeline.errors import UserError

_CONFIG = "onnuri-run.yaml"


def submit_run(
    path: Path, address: str, output: Path | None, overrides: list[str], limit: int | None, wait: bool, echo: Callable[[str], None]
) -> dict[str, Any]:
    """Check the configuration here, send it resolved and with absolute paths, and follow the job. Returns job id, status and message.

    Raises UserError when the configuration is wrong or the job server can't be reached.
    """
    config = absolute(load_config(path, overrides))
    run = os.path.abspath(output) if output else config.output
    if not run:
        raise UserError(f"{path} names no output; give a run directory with -o that every node of the cluster can write to")
    entrypoint = ["python", "-m", "pipeline", "run", _CONFIG, "-o", run, "--engine", "ray", "--address", "auto"]
    if limit:
        entrypoint += ["--limit", str(limit)]
    client = _client(address)
    with tempfile.TemporaryDirectory(prefix="onnuri-job-") as folder:
        text = yaml.safe_dump(config.model_dump(mode="json"), allow_unicode=True, sort_keys=False)
        (Path(folder) / _CONFIG).write_text(text, encoding="utf-8")
        job = client.submit_job(entrypoint=shlex.join(entrypoint), runtime_env={"working_dir": folder})
    echo(f"submitted job {job} to {address}; the run directory is {run}")
    if not wait:
        return {"job": job, "run": run, "status": "SUBMITTED", "message": ""}
    asyncio.run(_follow(client, job, echo))
    message = (client.get_job_info(job).message or "").split("\n")[0]
    return {"job": job, "run": run, "status": client.get_job_status(job).value, "message": message}


def _client(address: str) -> Any:
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise UserError(f"submitting needs Ray's job client ({error}); install ray[default]") from error
    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"can't reach a Ray job server at '{address}': {reason}; check the address, and RAY_AUTH_MODE and the token"
        ) from error


async def _follow(client: Any, job: str, echo: Callable[[str], None]) -> None:
    async for lines in client.tail_job_logs(job):
        for line in lines.splitlines():
            echo(line)
