"""From a training's checkpoint to a model in Llama's format: the float32 weights put together from the shards, whatever ZeRO stage wrote them."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import UserError
from training import checkpoint, plan_json
from training.launch import World
from training.llama_format import parameter_shapes, write_llama
from training.model_config import ModelConfig
from training.plan import Plan
from training.run_folder import CHECKPOINTS, PLAN

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Exported:
    """What was exported. stage: whose shape (rotary scaling) the model has."""

    folder: str
    checkpoint: str
    step: int
    stage: str
    parameters: int
    dtype: str

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return self.__dict__.copy()


def export(source: Path, folder: Path, dtype: str, tokenizer: Path | None = None) -> Exported:
    """Write the model of a checkpoint, or of a training's newest one, to `folder`, which appears whole or not at all.

    source: a training's folder, or one of its checkpoints. tokenizer: instead of the folder that the plan names, when it has moved.
    Raises UserError for a source that is neither, and for a tokenizer that isn't the plan's; RunFailed for a damaged checkpoint.
    """
    found = _checkpoint(source)
    plan = _plan(found.parent.parent)
    checkpoint.verify(found, World(0, 1, 0, torch.device("cpu")))
    state = checkpoint.read_state(found)
    stage = plan.stages[state["place"]["stage"] - (1 if state["stage_end"] else 0)]
    chosen = tokenizer or Path(plan.tokenizer)
    _refuse_another_tokenizer(chosen, plan)
    write_llama(folder, stage.model, _weights(found, stage.model), chosen, DTYPES[dtype])
    return Exported(str(folder), str(found), state["step"], stage.name, stage.model.parameters, dtype)


def _checkpoint(source: Path) -> Path:
    if (source / checkpoint.MANIFEST).is_file() and (source / checkpoint.STATE).is_file():
        return source.resolve()
    found = checkpoint.all_of(source / CHECKPOINTS)
    if not found:
        raise UserError(f"'{source}' is neither a checkpoint nor the folder of a training that has one; give RUN or RUN/checkpoints/step-N")
    return found[-1].resolve()


def _plan(run: Path) -> Plan:
    try:
        return plan_json.from_json(json.loads((run / PLAN).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"'{run / PLAN}', which says what the checkpoint's model is, can't be read ({error}); copy it beside again"
        ) from error


def _refuse_another_tokenizer(folder: Path, plan: Plan) -> None:
    from tokenizer.encoder import load_tokenizer

    if load_tokenizer(folder).sha256 != plan.tokenizer_sha256:
        raise UserError(f"the tokenizer in '{folder}' is not the one that the model was trained with; give that one with --tokenizer")


def _weights(found: Path, config: ModelConfig) -> Iterator[tuple[str, torch.Tensor]]:
    """Each parameter in float32, put together one at a time."""
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    with contextlib.redirect_stdout(io.StringIO()):
        shards = get_fp32_state_dict_from_zero_checkpoint(str(found), checkpoint.SHARDS, lazy_mode=True)
    for name in parameter_shapes(config):
        value = shards[name]
        yield name, value if isinstance(value, torch.Tensor) else value.contiguous()
