"""What a plan comes to: tokens, epochs, operations, hours and memory of each stage, for a given number of GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from training.flops import attention_flops, flops_per_token
from training.memory import Memory, estimate
from training.mixing import Mixture
from training.plan import Plan, Stage
from training.plan_config import PlanConfig
from training.sources import Source
from training.streams import WEIGHTS, Stream


@dataclass(frozen=True)
class Hardware:
    """gpus: how many. memory: bytes of one. peak: its operations per second. mfu: share of the peak that is reached."""

    gpus: int
    memory: int
    peak: float
    mfu: float


@dataclass(frozen=True)
class StreamFacts:
    """A stream. weight: its share. tokens: places for tokens in its samples. epochs: passes over its source's documents that are read once
    the stage is done (of a `seen` stream: over what it reads again). available: passes that there are, at most. languages: of the
    source."""

    name: str
    weight: float
    tokens: int
    epochs: float
    available: float | None
    languages: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class StageFacts:
    """A stage. asked: tokens that the configuration asks for; None: as many as there are. flops: with attention; attention_share: of them.
    gpu_seconds: of all GPUs added up. divides: whether a batch is as many micro-batches on every GPU. overlaps: pairs of the stage's own
    sources that read some of the same shards."""

    stage: Stage
    asked: int | None
    streams: tuple[StreamFacts, ...]
    flops: float
    attention_share: float
    gpu_seconds: float
    memory: Memory
    divides: bool
    overlaps: tuple[tuple[str, str], ...]


def facts_of(plan: Plan, config: PlanConfig, sources: Mapping[int, Source], hardware: Hardware) -> list[StageFacts]:
    """Of each stage. sources: the plan's, opened, by index. Memory is counted for bf16 unless the configuration asks for fp32."""
    return [_stage_facts(stage, place, config, sources, hardware) for place, stage in enumerate(plan.stages)]


def _stage_facts(stage: Stage, place: int, config: PlanConfig, sources: Mapping[int, Source], hardware: Hardware) -> StageFacts:
    run = config.run_of(place)
    per_token = flops_per_token(stage.model, stage.length)
    gpu_seconds = per_token * stage.tokens / (hardware.peak * hardware.mfu)
    counts = Mixture([stream.weight for stream in stage.streams], stage.samples, 0).counts(stage.samples).tolist()
    memory = estimate(
        stage.model,
        run.micro_batch * stage.length // run.sequence_parallel,
        run.activation_checkpointing,
        run.zero_stage,
        hardware.gpus,
        "fp32" if run.precision == "fp32" else "bf16",
    )
    return StageFacts(
        stage=stage,
        asked=config.stages[place].tokens,
        streams=tuple(
            _stream_facts(stream, samples, stage.length, sources[stream.source])
            for stream, samples in zip(stage.streams, counts, strict=True)
        ),
        flops=per_token * stage.tokens,
        attention_share=attention_flops(stage.model, stage.length) / per_token,
        gpu_seconds=gpu_seconds,
        memory=memory,
        divides=hardware.gpus % run.sequence_parallel == 0
        and stage.batch_samples % (hardware.gpus // run.sequence_parallel * run.micro_batch) == 0,
        overlaps=_overlaps(stage, sources),
    )


def _overlaps(stage: Stage, sources: Mapping[int, Source]) -> tuple[tuple[str, str], ...]:
    shards = {stream.name: {file.path for file in sources[stream.source].files} for stream in stage.streams if not stream.replays}
    return tuple(pair for pair in combinations(shards, 2) if shards[pair[0]] & shards[pair[1]])


def _stream_facts(stream: Stream, samples: int, length: int, source: Source) -> StreamFacts:
    first_pass = int(source.pass_ends[0])
    if stream.kind == "fresh":
        epochs, available = (stream.start + stream.count) / first_pass, source.total / first_pass
    else:
        epochs, available = samples * stream.rows / stream.count, None
    languages = tuple(sorted(set(source.languages)))
    return StreamFacts(stream.name, stream.weight / WEIGHTS, samples * length, epochs, available, languages, stream.kind)


def facts_json(facts: Sequence[StageFacts]) -> list[dict[str, Any]]:
    """Plain data; the stages themselves are in the plan."""
    return [
        {
            "name": one.stage.name,
            "tokens": one.stage.tokens,
            "steps": one.stage.steps,
            "streams": [asdict(stream) for stream in one.streams],
            "flops": one.flops,
            "attention_share": one.attention_share,
            "gpu_hours": one.gpu_seconds / 3600,
            "memory": one.memory.as_json(),
        }
        for one in facts
    ]
