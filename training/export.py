"""From a checkpoint of a training to a model that others can load: DeepSpeed's shards put together, and written in Llama's format.

DeepSpeed's shards are pickles, so export checkpoints of your own trainings only.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import UserError
from tokenizer.encoder import load_tokenizer
from training import checkpoint as checkpoints
from training.launch import connect, leave, prepare_deepspeed
from training.llama_format import write_llama
from training.model_config import ModelConfig
from training.place import Place
from training.plan import Plan
from training.plan_json import from_json
from training.run_folder import CHECKPOINTS, PLAN

_HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Exported:
    """What was written. stage: whose model it is; steps: of the whole training so far."""

    checkpoint: str
    folder: str
    stage: str
    steps: int
    parameters: int
    dtype: str

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def export(path: Path, folder: Path, tokenizer: Path | None = None, dtype: torch.dtype = torch.bfloat16) -> Exported:
    """Write the model of a checkpoint, or of a training's newest one, to `folder`. tokenizer: its folder, if not where the plan says.

    Raises UserError where there is no checkpoint, the tokenizer is another than the training's, or `folder` isn't empty; RunFailed for a
    damaged checkpoint.
    """
    checkpoint = _checkpoint(path)
    plan = _plan(checkpoint)
    used = tokenizer or Path(plan.tokenizer)
    if load_tokenizer(used).sha256 != plan.tokenizer_sha256:
        raise UserError(f"'{used}' isn't the tokenizer that the model was trained with; give that one's folder with --tokenizer")
    state = checkpoints.read_state(checkpoint)
    place = Place.from_json(state["place"])
    # at a stage's end the place is already the next one's beginning
    stage = plan.stages[place.stage - 1 if place.stage_step == 0 else place.stage]
    world = connect()
    prepare_deepspeed(world)
    try:
        checkpoints.verify(checkpoint, world)
        write_llama(folder, stage.model, _weights(checkpoint, stage.model), used, dtype)
    finally:
        leave()
    name = str(dtype).removeprefix("torch.")
    return Exported(str(checkpoint), str(folder), stage.name, place.step, stage.model.parameters, name)


def _checkpoint(path: Path) -> Path:
    if (path / checkpoints.MANIFEST).exists() and (path / checkpoints.STATE).exists():
        return path
    found = checkpoints.all_of(path / CHECKPOINTS)
    if not found:
        raise UserError(f"'{path}' is neither a checkpoint nor a training's folder with one; give such as RUN/{CHECKPOINTS}/step-00001000")
    return found[-1]


def _plan(checkpoint: Path) -> Plan:
    path = checkpoint.resolve().parent.parent / PLAN
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"there is no {PLAN} two folders above '{checkpoint}'; leave the checkpoint in its training's folder") from None
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' can't be read as a plan ({error}); run the training's command again, which writes it anew") from error


def _weights(checkpoint: Path, config: ModelConfig) -> Iterator[tuple[str, torch.Tensor]]:
    """The float32 weights by name, put together one by one from the shards, which are mapped and not read whole."""
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        state = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint), checkpoints.SHARDS, lazy_mode=True)
    for name, values in state.items():
        if not (config.tied and name == _HEAD):
            yield name, values.contiguous()
