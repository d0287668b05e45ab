"""A resolved plan on a terminal: what each stage reads, at which learning rate, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.aligned import aligned
from pipeline.report import text
from training.plan import Plan, Schedule, Stage
from training.plan_config import PlanConfig
from training.plan_facts import Hardware, StageFacts, StreamFacts
from training.schedule import learning_rate

GIB = 1 << 30

_BARS = "▁▂▃▄▅▆▇█"
_BAR_COUNT = 32


def render(plan: Plan, config: PlanConfig, facts: Sequence[StageFacts], hardware: Hardware) -> str:
    """A block for each stage, and the whole."""
    blocks = [_heading(plan)]
    blocks += [_stage_block(number, one, config, hardware) for number, one in enumerate(facts, 1)]
    blocks.append(_whole(plan, facts, hardware))
    return "\n\n".join("\n".join(block) for block in blocks)


def _heading(plan: Plan) -> list[str]:
    model = plan.model
    shape = (
        f"{model.layers} layers of {model.hidden_size:,}, {model.heads} heads of {model.head_dim} on {model.kv_heads}, "
        f"{model.vocab_size:,} tokens, {'tied' if model.tied else 'untied'}"
    )
    lines = [f"{plan.name}: {model.parameters:,} parameters ({shape})"]
    if plan.initial is not None:
        lines.append(f"goes on from the model in {plan.initial}")
    return lines


def _stage_block(number: int, one: StageFacts, config: PlanConfig, hardware: Hardware) -> list[str]:
    stage = one.stage
    lines = [f"{number}. {stage.name}"]
    rows = [
        ("tokens", f"{stage.tokens:,}{_rounded(one)}"),
        ("steps", f"{stage.steps:,} of {stage.batch_samples:,} sequences of {stage.length:,} ({_batch(stage):,} tokens)"),
        ("rate", f"{_sparkline(stage)}  {_schedule(stage.schedule, stage.tokens)}"),
    ]
    if number > 1 and not stage.keep_optimizer:
        rows.append(("optimizer", "begins anew"))
    if stage.model.rope_scaling is not None:
        scaling = stage.model.rope_scaling
        rows.append(("positions", f"rescaled by {scaling.factor:g} from {scaling.original_max_position_embeddings:,}"))
    table = aligned([("source", "languages", "weight", "tokens", "epochs", "of"), *map(_stream_row, one.streams)], words=2)
    attention = f"{one.attention_share:.0%} of the operations are attention"
    after = [("compute", f"{_cost(one.flops, one.gpu_seconds, hardware)}; {attention}"), *_memory(one, number - 1, config, hardware)]
    width = max(len(name) for name, _ in (*rows, *after))
    lines += [f"   {name.ljust(width)}  {said}" for name, said in rows]
    lines += ["", *(f"   {line}" for line in table), ""]
    lines += [f"   {name.ljust(width)}  {said}" for name, said in after]
    return lines + [f"   warning: {warning}" for warning in _warnings(one, number - 1, config, hardware)]


def _batch(stage: Stage) -> int:
    return stage.batch_samples * stage.length


def _rounded(one: StageFacts) -> str:
    if one.asked is None:
        return ", as many as the sources give, in whole batches"
    return "" if one.asked == one.stage.tokens else f" of {one.asked:,} asked for, rounded down to whole batches"


def _sparkline(stage: Stage) -> str:
    """The learning rate over the stage, each bar at the end of its part."""
    rates = [learning_rate(stage.schedule, stage.tokens, stage.tokens * part // _BAR_COUNT) for part in range(1, _BAR_COUNT + 1)]
    return "".join(_BARS[round(rate / stage.schedule.peak * (len(_BARS) - 1))] for rate in rates)


def _schedule(schedule: Schedule, tokens: int) -> str:
    parts = [f"warm-up over {schedule.warmup_tokens:,}"] if schedule.warmup_tokens else []
    parts.append(f"peak {schedule.peak:.3g}")
    end = f"{schedule.peak * schedule.final_ratio:.3g}"
    if schedule.kind == "cosine":
        parts.append(f"half a cosine to {end} over {tokens - schedule.warmup_tokens:,}")
    elif schedule.kind == "wsd" and schedule.decay_tokens:
        parts.append(f"{schedule.decay} decay to {end} over the last {schedule.decay_tokens:,}")
    return ", ".join(parts)


def _stream_row(stream: StreamFacts) -> tuple[str, ...]:
    name = stream.name if stream.kind == "fresh" else f"{stream.name} (seen)"
    available = "" if stream.available is None else f"{stream.available:.2f}"
    return (name, " ".join(stream.languages), f"{stream.weight:.2%}", f"{stream.tokens:,}", f"{stream.epochs:.2f}", available)


def _memory(one: StageFacts, place: int, config: PlanConfig, hardware: Hardware) -> list[tuple[str, str]]:
    memory, run = one.memory, config.run_of(place)
    shared = f", {run.sequence_parallel} GPUs to a sequence" if run.sequence_parallel > 1 else ""
    how = f"ZeRO {run.zero_stage}, micro-batches of {run.micro_batch}{shared}, activation checkpointing {run.activation_checkpointing}"
    names = ("weights", "gradients", "optimizer", "communication", "activations", "working")
    parts = ", ".join(f"{name} {_size(getattr(memory, name))}" for name in names)
    return [("memory", f"{_size(memory.total)} of {_size(hardware.memory)} on each GPU: {how}"), ("", parts)]


def _cost(flops: float, gpu_seconds: float, hardware: Hardware) -> str:
    gpus = f"{hardware.gpus:,} GPUs" if hardware.gpus > 1 else "one GPU"
    hours = f"{gpu_seconds / 3600:,.0f} GPU hours, " if gpu_seconds >= 36_000 else ""
    return f"{flops:.3g} operations; {hours}{text.duration(gpu_seconds / hardware.gpus)} on {gpus}"


def _size(size: int) -> str:
    return f"{size / GIB:,.1f} GiB" if size >= GIB / 10 else f"{size / (1 << 20):,.1f} MiB"


def _warnings(one: StageFacts, place: int, config: PlanConfig, hardware: Hardware) -> list[str]:
    run = config.run_of(place)
    warnings = [
        f"the sources '{first}' and '{second}' have shards in common: what both choose is read by both, beyond the epochs of either"
        for first, second in one.overlaps
    ]
    if one.memory.total > hardware.memory:
        warnings.append(
            "this doesn't fit; lower run.micro_batch, set run.activation_checkpointing to full, or raise run.zero_stage with more GPUs"
        )
    if not one.divides:
        warnings.append(
            f"{one.stage.batch_samples:,} sequences can't be shared by {hardware.gpus:,} GPUs in micro-batches of {run.micro_batch}"
            f"{f' with {run.sequence_parallel} GPUs to a sequence' if run.sequence_parallel > 1 else ''}; change one of them"
        )
    return warnings


def _whole(plan: Plan, facts: Sequence[StageFacts], hardware: Hardware) -> list[str]:
    tokens, steps = (sum(values) for values in zip(*((one.stage.tokens, one.stage.steps) for one in facts), strict=True))
    cost = _cost(sum(one.flops for one in facts), sum(one.gpu_seconds for one in facts), hardware)
    lines = [f"{tokens:,} tokens in {steps:,} steps; {cost}, at {hardware.mfu:.0%} of {hardware.peak / 1e12:,.0f} TFLOP/s"]
    if plan.validation is not None:
        lines.append(
            f"validation on {plan.validation.share:.2%} of the documents, {len(plan.validation.sources)} sources, at most "
            f"{plan.validation.tokens:,} tokens of each"
        )
    return [*lines, f"fingerprint {plan.fingerprint}"]
