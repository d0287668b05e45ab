"""The model on DeepSpeed: one training step over all processes, its loss, and what the optimizer needs.

The loss of a step is the mean over all its tokens that have a target, wherever they lie: each process takes its own sum, times the number
of processes (DeepSpeed averages gradients over them), over the number of targets in the whole step. So the result depends on neither
the number of processes nor the micro-batches. Gradients add up until `step` is called (managed_gradient_accumulation: false).
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from pipeline.errors import UserError
from training.batch import NO_TARGET, Batch
from training.launch import World, prepare_deepspeed, together
from training.llama_format import read_llama_tensors
from training.memory import Precision
from training.model import Decoder, initialise
from training.model_config import ModelConfig
from training.optimizer import SkippableAdamW, adamw
from training.plan import Optimizer


@dataclass(frozen=True)
class EngineSettings:
    """How the model is spread and computed, which doesn't decide the course of a training.

    zero_stage: 1 shards the optimizer's state, 2 gradients too, 3 weights too. precision: bf16 keeps weights and sums of gradients in
    float32 beside it. micro_batch: sequences that a process reads at once. bucket: values that are exchanged at once. persistent_below:
    parameters of fewer values stay whole at ZeRO 3.
    """

    zero_stage: Literal[1, 2, 3] = 1
    precision: Precision = "fp32"
    micro_batch: int = 1
    bucket: int = 500_000_000
    persistent_below: int = 100_000


@dataclass(frozen=True)
class Sums:
    """What is added up over tokens with a target, by label, in all processes. nll: in nats; bytes: of the targets' text."""

    nll: np.ndarray
    tokens: np.ndarray
    bytes: np.ndarray

    @property
    def loss(self) -> float:
        """Mean nll per token."""
        return float(self.nll.sum() / max(self.tokens.sum(), 1))

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.nll + other.nll, self.tokens + other.tokens, self.bytes + other.bytes)


@dataclass(frozen=True)
class StepResult:
    """One step. loss: nats per token; grad_norm: of the whole gradient before clipping, NaN where the step was left out because of it;
    skipped: weights and moments are as before; stop: a process was asked to stop."""

    loss: float
    learning_rate: float
    sums: Sums
    grad_norm: float
    skipped: bool
    stop: bool


def deepspeed_config(settings: EngineSettings, clip_norm: float, world: World, universal: bool) -> dict[str, Any]:
    """The configuration for deepspeed.initialize. universal: the checkpoint to be loaded is one of any number of processes."""
    zero: dict[str, Any] = {"stage": settings.zero_stage, "reduce_bucket_size": settings.bucket, "allgather_bucket_size": settings.bucket}
    zero |= {"overlap_comm": settings.zero_stage >= 2 and world.device.type == "cuda"}
    if settings.zero_stage == 3:
        zero |= {"stage3_param_persistence_threshold": settings.persistent_below}
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": settings.micro_batch,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": clip_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "communication_data_type": "fp32",
        "checkpoint": {"load_universal": universal},
    }
    if settings.precision == "bf16":
        config |= {"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}}
    return config


class Engine:
    """A model in training.

    byte_lengths: int64[V], bytes of each token's text. universal: whether what will be loaded is of another number of processes.
    """

    def __init__(
        self,
        model: Decoder,
        optimizer: Optimizer,
        settings: EngineSettings,
        world: World,
        byte_lengths: np.ndarray,
        universal: bool = False,
    ) -> None:
        import deepspeed

        self.world, self.settings, self.optimizer_settings = world, settings, optimizer
        client: SkippableAdamW = adamw(model, optimizer, fused=world.device.type == "cuda")
        self._groups = client.settings()
        self.deepspeed, *_ = deepspeed.initialize(
            model=model,
            optimizer=client,
            config=deepspeed_config(settings, optimizer.clip_norm, world, universal),
            dist_init_required=False,
        )
        self.model, self.client, self.universal = model, client, universal
        self.parameters = model.config.parameters
        self._bytes = torch.from_numpy(byte_lengths.astype(np.float64)).to(world.device)

    def train_step(
        self,
        batches: Sequence[Batch],
        learning_rate: float,
        labels: int,
        accept: Callable[[float], bool] = lambda _: True,
        stop_wanted: bool = False,
    ) -> StepResult:
        """One step of the optimizer over the micro-batches of this process; every process gives as many as the others.

        accept: told the loss, says whether the step is to be taken, in all processes the same. stop_wanted: whether this process has been
        asked to stop, which all get to know from the result.
        """
        targets = self._sum_over_world(
            torch.tensor([sum(int((batch.targets != NO_TARGET).sum()) for batch in batches)], dtype=torch.float64)
        )
        scale = self.world.size / max(float(targets[0]), 1.0)
        totals = torch.zeros(3, labels, dtype=torch.float64, device=self.world.device)
        for batch in batches:
            here = batch.to(self.world.device)
            logprobs, logsumexps = self.deepspeed(here.ids, here.segments, here.targets)
            loss = -logprobs.sum()
            if self.optimizer_settings.z_loss:
                loss = loss + self.optimizer_settings.z_loss * logsumexps.square().sum()
            self.deepspeed.backward(loss * scale)
            totals += self._by_label(here, logprobs.detach(), labels)
        sums, stop = self._gather(totals, stop_wanted)
        taken = accept(sums.loss)
        return self._update(sums, stop, learning_rate, taken)

    def _update(self, sums: Sums, stop: bool, learning_rate: float, taken: bool) -> StepResult:
        for group in self.deepspeed.optimizer.param_groups:
            group["lr"] = learning_rate
        self.client.skip = not taken
        before = self.deepspeed.skipped_steps
        self.deepspeed.step()
        self.client.skip = False
        refused = self.deepspeed.skipped_steps > before  # DeepSpeed leaves a step out whose gradient isn't finite
        norm = float("nan") if refused else float(self.deepspeed.get_global_grad_norm())
        return StepResult(sums.loss, learning_rate, sums, norm, refused or not taken, stop)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch], labels: int) -> Sums:
        """Sums over batches that are read but not learned from; every process gives as many as the others."""
        self.deepspeed.eval()
        totals = torch.zeros(3, labels, dtype=torch.float64, device=self.world.device)
        for batch in batches:
            here = batch.to(self.world.device)
            logprobs, _ = self.deepspeed(here.ids, here.segments, here.targets)
            totals += self._by_label(here, logprobs, labels)
        self.deepspeed.train()
        return self._gather(totals)[0]

    def forget_moments(self) -> None:
        """Begin the optimizer anew: for a stage that doesn't keep its state."""
        self.client.forget()

    def save(self, folder: Path, tag: str) -> None:
        """Write this process's shards of weights and optimizer to folder/tag; all processes together."""
        # the empty entry is what DeepSpeed asks for in a checkpoint that any number of processes can read
        self.deepspeed.save_checkpoint(str(folder), tag, client_state={"universal_checkpoint_info": {}}, save_latest=False)
        if self.world.first:
            for script in folder.glob("zero_to_*.py"):
                script.unlink()  # DeepSpeed's own converters, which `onnuri train export` stands for

    def load(self, folder: Path, tag: str) -> None:
        """Read what `save` wrote; all processes together. Right after the engine was made: ZeRO 3 can't later."""
        self.deepspeed.load_checkpoint(str(folder), tag)
        self.client.restore(self._groups)

    def close(self) -> None:
        """Free what the model takes, so that another engine has room."""
        self.deepspeed.destroy()
        del self.deepspeed, self.model, self.client
        gc.collect()
        if self.world.device.type == "cuda":
            torch.cuda.empty_cache()

    def _by_label(self, batch: Batch, logprobs: torch.Tensor, labels: int) -> torch.Tensor:
        """float64[3, labels]: nll, targets, bytes of the targets. Nothing here makes the CPU wait for a GPU."""
        has = (batch.targets != NO_TARGET).double()
        rows = torch.stack([-logprobs.double(), torch.ones_like(has), self._bytes[batch.targets.clamp(min=0)]]) * has
        return rows.new_zeros(3, labels).index_add_(1, batch.labels.flatten(), rows.flatten(1))

    def _gather(self, totals: torch.Tensor, stop_wanted: bool = False) -> tuple[Sums, bool]:
        flat = torch.cat([totals.flatten(), totals.new_tensor([float(stop_wanted)])])
        summed = self._sum_over_world(flat).cpu().numpy()
        nll, tokens, sizes = summed[:-1].reshape(3, -1)
        return Sums(nll, tokens.astype(np.int64), sizes.astype(np.int64)), bool(summed[-1] > 0)

    def _sum_over_world(self, values: torch.Tensor) -> torch.Tensor:
        values = values.to(self.world.device)
        if self.world.size > 1:
            dist.all_reduce(values)
        return values


def new_model(config: ModelConfig, seed: int, settings: EngineSettings, world: World, initial: Path | None = None) -> Decoder:
    """A model with first weights, or those of `initial`, a folder in Llama's format. At ZeRO 3 it is cut while it is built, so that no
    process ever holds all of it. Raises UserError where `initial` is of another shape."""
    prepare_deepspeed(world)
    whole: Callable[[nn.Parameter], AbstractContextManager[Any]] = lambda _: contextlib.nullcontext()  # noqa: E731
    if settings.zero_stage < 3:
        model = Decoder(config)
    else:
        import deepspeed

        with deepspeed.zero.Init(config_dict_or_path=deepspeed_config(settings, 1.0, world, universal=False)):
            model = Decoder(config)
        whole = lambda parameter: deepspeed.zero.GatheredParameters(parameter, modifier_rank=0)  # noqa: E731
    if initial is None:
        initialise(model, seed, whole)
        return model
    parameters = dict(model.named_parameters())
    try:
        for name, values in read_llama_tensors(initial, config):
            with whole(parameters[name]), torch.no_grad():
                parameters[name].copy_(values)
    except UserError as error:  # what can't be read, no process can
        raise together(world, error) from error
    return model
