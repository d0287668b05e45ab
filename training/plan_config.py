"""The YAML file of a training plan: which model, which stages, which data. resolve.py checks it against the shards."""

from __future__ import annotations

import math
import os
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from pipeline.config import first_error, read_yaml, with_overrides
from pipeline.errors import UserError
from pipeline.settings import Settings
from training.model_config import PRESETS

KEYS = "docs/training_keys.md"
"""The page that describes every key."""

Checkpointing = Literal["none", "selective", "full"]


MOST_DIGITS = 18
"""Of a number of tokens: more are a slip of the pen, and an int64 doesn't hold them."""


def _whole(value: Any) -> Any:
    """8e9 and 8_000 as whole numbers: YAML 1.1 reads the first as text."""
    if isinstance(value, (str, float)):
        try:
            number = Decimal(str(value).replace("_", ""))
        except InvalidOperation:
            return value
        if number.is_finite() and number.adjusted() < MOST_DIGITS and number == number.to_integral_value():
            return int(number)
    return value


def _listed(value: Any) -> Any:
    """A single value as a list of one."""
    return value if isinstance(value, list) else [value]


Tokens = Annotated[int, BeforeValidator(_whole)]
Values = Annotated[list[str], BeforeValidator(_listed)]


class RopeScalingConfig(Settings):
    """Llama 3's rescaling of rotary frequencies, by which a model reads longer sequences than it was first trained on."""

    factor: float = Field(8.0, gt=1, description="What the frequencies of long wavelengths are divided by.")
    low_freq_factor: float = Field(1.0, gt=0, description="Wavelengths beyond the original length divided by this are divided in full.")
    high_freq_factor: float = Field(4.0, gt=0, description="Wavelengths below the original length divided by this stay as they are.")
    original_max_position_embeddings: Tokens = Field(8192, gt=0, description="The original length, in tokens.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(f"low_freq_factor ({self.low_freq_factor:g}) must be below high_freq_factor ({self.high_freq_factor:g})")
        return self


SHAPE_KEYS = ("hidden_size", "layers", "heads", "kv_heads", "head_dim", "intermediate_size")
"""What a shape that is no preset is given by."""


class ModelShape(Settings):
    """The model: a published shape by name, or one of your own."""

    preset: Literal["2.4b", "7.8b", "32b"] | None = Field(
        None, description="A published EXAONE 3.5 shape; null: the shape is given by the next six keys."
    )
    hidden_size: int | None = Field(None, gt=0, description="Width of the residual stream.")
    layers: int | None = Field(None, gt=0, description="Number of layers.")
    heads: int | None = Field(None, gt=0, description="Query heads.")
    kv_heads: int | None = Field(None, gt=0, description="Heads of keys and values, which query heads share; divides heads.")
    head_dim: int | None = Field(None, gt=0, description="Width of a head; even.")
    intermediate_size: int | None = Field(None, gt=0, description="Width of the MLP.")
    vocab_size: int | None = Field(None, gt=0, description="Rows of the embedding; null: as many as the tokenizer has ids.")
    tied: bool | None = Field(None, description="Whether the output head is the embedding; null: as the preset has it, without one false.")
    rope_theta: float = Field(1e6, gt=0, description="Base of the rotary frequencies; the published models have 1e6.")
    rope_scaling: RopeScalingConfig | None = Field(
        None, description="Rescaling of the rotary frequencies from the first stage on; null: none. Stages can set another one."
    )
    max_position_embeddings: Tokens = Field(32_768, gt=0, description="Longest sequence of any stage, in tokens.")

    norm_eps: float = Field(1e-5, gt=0, description="Added to the mean square in norms.")

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        given = [name for name in SHAPE_KEYS if getattr(self, name) is not None]
        if self.preset is not None and given:
            raise ValueError(f"preset {self.preset} and {given[0]} both say what the shape is; give one of them")
        if self.preset is None and len(given) < len(SHAPE_KEYS):
            missing = next(name for name in SHAPE_KEYS if name not in given)
            raise ValueError(f"{missing} is missing; give a preset ({', '.join(PRESETS)}) or all of {', '.join(SHAPE_KEYS)}")
        if self.heads is not None and self.kv_heads is not None and self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} query heads can't share {self.kv_heads} heads of keys; make heads a multiple of kv_heads")
        if self.head_dim is not None and self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}, and rotary positions turn pairs of dimensions; make it even")
        return self


class OptimizerConfig(Settings):
    """AdamW and the loss."""

    betas: tuple[float, float] = Field((0.9, 0.95), description="Decay of the mean and of the mean square of gradients.")
    eps: float = Field(1e-8, gt=0, description="Added to the root of the mean square.")
    weight_decay: float = Field(0.1, ge=0, description="Of matrices; norms and embeddings have none.")
    clip_norm: float = Field(1.0, gt=0, description="Longest norm of the whole gradient.")
    z_loss: float = Field(0.0, ge=0, description="Weight of the mean squared log-sum-exp of the logits in the loss.")

    @model_validator(mode="after")
    def _betas_below_one(self) -> Self:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {list(self.betas)}, and each must be at least 0 and below 1")
        return self


class ValidationConfig(Settings):
    """Documents that no stage trains on, by which the loss is measured: a share of every source, by a hash of the documents' ids."""

    share: float = Field(0.001, gt=0, lt=0.5, description="Share of the documents.")
    tokens: Tokens = Field(500_000, gt=0, description="Tokens that are read of each source's held-out documents at most, each time.")
    every_steps: int = Field(1000, gt=0, description="Steps between two measurements; each stage ends with one as well.")


class GuardConfig(Settings):
    """What happens to a step whose loss or gradient is not finite, or whose loss lies far above those before it."""

    spike_sigma: float = Field(6.0, gt=0, description="Standard deviations above the mean from which a loss counts as a spike.")
    window: int = Field(128, ge=2, description="Losses that mean and deviation are of; before there are as many, none is a spike.")
    on_spike: Literal["skip", "rewind", "stop"] = Field(
        "skip", description="skip: the step changes nothing. rewind: back to the last checkpoint, past the samples since. stop: end."
    )
    max_skipped: int = Field(10, ge=0, description="Steps of one window that may be left out; with more, the training ends.")


class ScheduleConfig(Settings):
    """The learning rate of a stage, by its tokens."""

    type: Literal["wsd", "cosine", "constant"] = Field(
        "wsd", description="wsd: warm-up, constant, decay. cosine: warm-up, then a half cosine to the stage's end. constant: no decay."
    )
    peak_lr: float | Literal["inherit"] = Field(
        description="Learning rate after the warm-up; inherit: that with which the stage before ends."
    )
    warmup_tokens: Tokens = Field(0, ge=0, description="Tokens over which the learning rate grows from 0, in a line.")
    decay_tokens: Tokens | None = Field(None, ge=0, description="wsd: tokens of the decay, the stage's last ones.")
    decay_share: float | None = Field(None, ge=0, le=1, description="wsd: the same as a share of the stage's tokens.")
    decay: Literal["linear", "cosine", "sqrt"] = Field("linear", description="wsd: shape of the decay; sqrt falls as 1 - sqrt(x).")
    final_lr_ratio: float = Field(0.1, ge=0, le=1, description="wsd and cosine: learning rate at the end, as a share of the peak.")

    @model_validator(mode="after")
    def _one_decay(self) -> Self:
        if self.decay_tokens is not None and self.decay_share is not None:
            raise ValueError("decay_tokens and decay_share both say how long the decay is; give one of them")
        if self.type != "wsd" and (self.decay_tokens or self.decay_share):
            raise ValueError(f"a {self.type} schedule has no decay of its own length; take decay_tokens and decay_share out, or set wsd")
        if self.peak_lr != "inherit" and not 0 < self.peak_lr < math.inf:
            raise ValueError(f"peak_lr is {self.peak_lr}, and must be a number above 0 or 'inherit'")
        return self


class SourceConfig(Settings):
    """A part of a stage's data: documents of the shards, chosen by what the shards are grouped by."""

    name: str = Field(pattern=r"^[^/\s]+$", description="Name in tables, logs and errors; without spaces and slashes.")
    shards: str | None = Field(None, description="Folder of `onnuri tokenizer encode`; null: the plan's.")
    where: dict[str, Values] = Field(
        {}, description="A value or a list of values for each key: phase, lang, source, domain; a key that isn't there takes all."
    )
    weight: float = Field(gt=0, le=1, description="Share of the stage's tokens; all weights and the replay's fraction add up to 1.")
    max_epochs: int | None = Field(
        None,
        ge=1,
        description="Most times that each document is read, in all stages that have this source (the same documents, filters, length and "
        "packing) together; null: as often as balance decided.",
    )
    min_tokens: Tokens = Field(0, ge=0, description="Documents with fewer tokens are left out.")
    long_only: bool = Field(False, description="Only documents that balance marks as long.")


class ReplayConfig(Settings):
    """What is read again of an earlier stage, so that it isn't forgotten: its whole mix, in its own proportions."""

    stage: str = Field(description="Name of the earlier stage.")
    fraction: float = Field(gt=0, lt=1, description="Share of this stage's tokens.")
    policy: Literal["seen", "unseen", "unseen_first"] = Field(
        "unseen_first",
        description="seen: what that stage read, in another order. unseen: what it left. unseen_first: what it left, and then seen.",
    )


class StageRunConfig(Settings):
    """Keys of `run` that a stage has values of its own for; null: as in `run`."""

    micro_batch: int | None = Field(None, ge=1, description="Sequences that a GPU reads at once.")
    sequence_parallel: int | None = Field(None, ge=1, description="GPUs that share each sequence.")
    activation_checkpointing: Checkpointing | None = Field(None, description="Which results are computed again in the backward pass.")


class StageConfig(Settings):
    """A stage of the training. Its data is `sources` or `mix`."""

    name: str = Field(pattern=r"^[^/\s]+$", description="Name in tables, logs and errors; without spaces and slashes.")
    sequence_length: Tokens = Field(4096, ge=2, description="Tokens of a sequence.")
    tokens: Tokens | None = Field(
        None, gt=0, description="Tokens to train on, rounded down to whole batches; null: as many as the sources give at their epochs."
    )
    batch_tokens: Tokens = Field(gt=0, description="Tokens of one step on all GPUs together; a multiple of sequence_length.")
    schedule: ScheduleConfig = Field(description="The learning rate.")
    sources: list[SourceConfig] = Field([], description="What the stage reads.")
    mix: str | None = Field(
        None, description="A mix-<phase>.yaml of balance instead of sources: that phase's documents, each language as it comes."
    )
    replay: Literal["balance"] | ReplayConfig | None = Field(
        None,
        description="What is read again of an earlier stage; balance: the documents of an earlier phase that balance put into this one.",
    )
    packing: Literal["concat", "best_fit"] = Field(
        "concat",
        description="concat: documents one after another, cut into sequences. best_fit: documents stay whole where they fit, the rest is "
        "padding.",
    )
    rope_scaling: RopeScalingConfig | Literal["keep"] | None = Field(
        "keep", description="Rescaling of the rotary frequencies from this stage on; keep: as before; null: none."
    )
    optimizer: Literal["keep", "fresh"] = Field("keep", description="Whether the moments of AdamW go on from the stage before.")
    run: StageRunConfig = Field(StageRunConfig(), description="Values for this stage alone.")

    @model_validator(mode="after")
    def _one_kind_of_data(self) -> Self:
        if bool(self.sources) == bool(self.mix):
            raise ValueError(f"stage '{self.name}' needs its data from either sources or mix; give one of the two")
        capped = next((source.name for source in self.sources if source.max_epochs is not None), None)
        if self.replay == "balance" and capped is not None:
            raise ValueError(
                f"stage '{self.name}' replays what balance repeats, and its source '{capped}' counts epochs itself; "
                "set its max_epochs to null, or take the replay out"
            )
        return self


class RunConfig(Settings):
    """How the training is run. Nothing here decides its course, so it may change when a run goes on; only zero_stage and precision may not,
    because checkpoints are written in them."""

    zero_stage: Literal[1, 2, 3] = Field(1, description="1 shards the optimizer's state, 2 gradients too, 3 weights too.")
    micro_batch: int = Field(1, ge=1, description="Sequences that a GPU reads at once; smaller ones take less memory.")
    sequence_parallel: int = Field(1, ge=1, description="GPUs that share each sequence; for long ones.")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: bf16 on a GPU, fp32 on a CPU.")
    activation_checkpointing: Checkpointing = Field(
        "none",
        description="Computed again in the backward pass: none; selective, all but matrix products and attention (with zero_stage 1 or 2); "
        "full, all.",
    )
    compile: bool = Field(False, description="Whether layers are compiled (torch.compile); with zero_stage 1 or 2.")
    checkpoint_every_steps: int = Field(1000, ge=1, description="Steps between two checkpoints; each stage ends with one as well.")
    keep_checkpoints: int = Field(3, ge=1, description="Newest checkpoints that are kept, besides those of stages' ends.")
    log_every_steps: int = Field(10, ge=1, description="Steps between two lines of log.jsonl.")
    max_minutes: float | None = Field(None, gt=0, description="Save and end after this time; the same command goes on. null: no limit.")
    tensorboard: bool = Field(False, description="Whether TensorBoard's files are written.")
    wandb_project: str | None = Field(None, description="Project of Weights & Biases to report to; null: none.")

    @model_validator(mode="after")
    def _compile_without_gathering(self) -> Self:
        if self.compile and self.zero_stage == 3:
            raise ValueError("compile works with zero_stage 1 or 2, and it is 3; set one of the two otherwise")
        return self


class PlanConfig(Settings):
    """A training plan."""

    name: str = Field("training", pattern=r"^[^/\s]+$", description="Name of the training; without spaces and slashes.")
    seed: int = Field(7, ge=0, lt=1 << 63, description="Decides the first weights and the order of the data.")
    tokenizer: str = Field(description="Folder of the tokenizer that the shards were encoded with.")
    shards: str | None = Field(None, description="Folder of `onnuri tokenizer encode` for all sources that don't name their own.")
    model: ModelShape = Field(description="The model.")
    initial: str | None = Field(None, description="Folder of a model in Llama's format to go on from; null: from first weights.")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="AdamW and the loss.")
    validation: ValidationConfig | None = Field(
        ValidationConfig(), description="Documents held out, by which the loss is measured; null: none."
    )
    guard: GuardConfig = Field(GuardConfig(), description="What happens when the loss leaps.")
    stages: list[StageConfig] = Field(min_length=1, description="The stages, in order.")
    run: RunConfig = Field(RunConfig(), description="How the training is run.")

    @model_validator(mode="after")
    def _stages_told_apart(self) -> Self:
        names = [stage.name for stage in self.stages]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two stages are called '{twice}'; give each its own name")
        return self

    @model_validator(mode="after")
    def _selective_without_gathering(self) -> Self:
        for index, stage in enumerate(self.stages):
            run = self.run_of(index)
            if run.zero_stage == 3 and run.activation_checkpointing == "selective":  # DeepSpeed gathers weights within what is run again
                raise ValueError(
                    f"stage '{stage.name}' has selective activation_checkpointing, which works with zero_stage 1 or 2, and it is 3; "
                    "take full or none, or another zero_stage"
                )
        return self

    def run_of(self, stage: int) -> RunConfig:
        """`run` with the values of one stage's own."""
        own = self.stages[stage].run.model_dump(exclude_none=True)
        return self.run.model_copy(update=own)


def load_plan_config(path: Path, overrides: list[str]) -> PlanConfig:
    """Read a plan's YAML, with each `--set a.b=c` on top. Paths in it become absolute. Raises UserError naming the file and the key."""
    if not path.is_file():
        raise UserError(f"there is no plan '{path}'; check the path (configs/pretrain-2.4b.yaml is one to start from)")
    try:
        return _absolute(PlanConfig.model_validate(with_overrides(read_yaml(path), overrides)))
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error, KEYS)}") from error


def _absolute(config: PlanConfig) -> PlanConfig:
    """Workers, here or on a cluster, have folders of their own."""

    def full(path: str | None) -> str | None:
        return None if path is None else os.path.abspath(path)

    stages = [
        stage.model_copy(
            update={
                "mix": full(stage.mix),
                "sources": [source.model_copy(update={"shards": full(source.shards)}) for source in stage.sources],
            }
        )
        for stage in config.stages
    ]
    update = {"tokenizer": full(config.tokenizer), "shards": full(config.shards), "initial": full(config.initial), "stages": stages}
    return config.model_copy(update=update)
