"""What a training tells about itself: a line of `log.jsonl` per logged step, and the same to TensorBoard and W&B where they are asked for.

Model FLOPs utilisation (MFU) is the operations that the model needs, by PaLM's count (training/flops.py: 6 per parameter of a matrix and
token, 12 * layers * heads * head_dim * length for attention to the whole sequence), over what the processors could do at their peak.
What activation checkpointing computes again doesn't count.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash

from pipeline.errors import UserError
from training.engine import Sums
from training.launch import World
from training.token_bytes import bits_per_byte

PEAKS = {"H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "H200": 989e12, "H800": 989e12, "A100": 312e12}
"""Dense bfloat16 operations per second of GPUs whose name has this in it, the first that fits (the vendor's data sheets)."""

PLOTTED = ("step", "validation")
"""Kinds of lines whose numbers go to TensorBoard and W&B."""

MFU_FORMULA = "(6 * matmul_parameters + 12 * layers * heads * head_dim * length) * tokens_per_second / (devices * peak)"


def peak_of(world: World) -> float | None:
    """Operations per second of all devices of the training, None where it isn't known: then there is no MFU."""
    if world.device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(world.device)
    return next((peak * world.size for known, peak in PEAKS.items() if known in name), None)


def peak_memory(world: World) -> int:
    """Most bytes that this process has held: on its GPU, or without one in main memory."""
    if world.device.type == "cuda":
        return torch.cuda.max_memory_allocated(world.device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def by_stream_and_language(sums: Sums, labels: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Loss per token of each stream, and loss and bits per byte of each language. labels: (stream, language) of each place of the sums."""
    found: dict[str, Any] = {"streams": {}, "languages": {}}
    for kind, position in (("streams", 0), ("languages", 1)):
        for name in dict.fromkeys(label[position] for label in labels):
            mine = np.array([label[position] == name for label in labels])
            nll, tokens, size = (float(values[mine].sum()) for values in (sums.nll, sums.tokens, sums.bytes))
            if not tokens:
                continue
            found[kind][name] = {"loss": nll / tokens, "tokens": int(tokens)}
            if kind == "languages":
                found[kind][name]["bits_per_byte"] = bits_per_byte(nll, int(size))
    return found


def refuse_missing(tensorboard: bool, wandb_project: str | None) -> None:
    """Raises UserError where a log is asked for whose package is not installed."""
    for wanted, package, key in ((tensorboard, "tensorboard", "tensorboard"), (wandb_project, "wandb", "wandb_project")):
        if wanted and importlib.util.find_spec(package) is None:
            raise UserError(f"run.{key} asks for the package '{package}', which is not installed; pip install {package}, or leave it out")


class Log:
    """`log.jsonl`, TensorBoard and W&B, written by the first process alone.

    Lines have a `kind`: start, step, validation, event. Opened at a step, what later steps of an earlier run wrote is cut off.
    """

    def __init__(self, path: Path, step: int, tensorboard: Path | None = None, wandb_project: str | None = None, name: str = "") -> None:
        self._path = path
        _cut(path, step)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close
        self._board = _tensorboard(tensorboard, step) if tensorboard else None
        self._wandb = _wandb(wandb_project, name, path) if wandb_project else None

    def write(self, kind: str, step: int, **facts: Any) -> dict[str, Any]:
        """Append one line, and its numbers to TensorBoard and W&B as `kind/name` or `kind/name/part`."""
        line = {"kind": kind, "step": step, **{name: _finite(value) for name, value in facts.items()}}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
        numbers = {f"{kind}/{name}": value for name, value in _numbers(facts) if math.isfinite(value)}
        if self._board and kind in PLOTTED:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)
        if self._wandb and kind in PLOTTED:
            self._wandb.log(numbers, step=step)
        return line

    def cut(self, step: int) -> None:
        """Take back what was written of later steps."""
        self._file.close()
        _cut(self._path, step)
        self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close

    def close(self) -> None:
        """Finish all of them."""
        self._file.close()
        if self._board:
            self._board.close()
        if self._wandb:
            self._wandb.finish()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value  # JSON has no NaN


def _cut(path: Path, step: int) -> None:
    """Keep the lines up to `step`; what a killed run wrote of a line goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    os.replace(temporary, path)


def _numbers(facts: dict[str, Any], before: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in facts.items():
        if isinstance(value, dict):
            found += _numbers(value, f"{before}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((before + name, float(value)))
    return found


def _tensorboard(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)  # type: ignore[no-untyped-call]


def _wandb(project: str, name: str, log: Path) -> Any:
    """A run of W&B whose id is the folder's, so that a training that goes on is one run there."""
    import wandb

    return wandb.init(project=project, name=name, id=xxhash.xxh3_64_hexdigest(str(log.resolve()).encode()), resume="allow")
