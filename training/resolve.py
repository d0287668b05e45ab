"""From a plan's YAML to a plan that can run: its data opened, every number worked out, and whatever can't work refused before step 1."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path

import xxhash

from pipeline.errors import UserError
from tokenizer.encoder import TokenizerFile, load_tokenizer
from tokenizer.shards import SUFFIXES
from tokenizer.vocabulary import TOKENIZER
from training.ledger import Ledger, apportion, place_streams
from training.mix import mix_sources
from training.model_config import PRESETS, ModelConfig, RopeScaling
from training.plan import Optimizer, Plan, Replay, Schedule, Stage, Validation
from training.plan_config import SHAPE_KEYS, ModelShape, PlanConfig, ReplayConfig, RopeScalingConfig, ScheduleConfig, StageConfig
from training.plan_json import fingerprint
from training.schedule import learning_rate
from training.sources import INDEX_VERSION, Source, SourceSpec, open_sources
from training.streams import WEIGHTS, Stream

_TOLERANCE = Decimal("1e-9")
"""By how much the weights of a stage may miss 1: what is lost when thirds are written with nine digits."""


class _Sources:
    """The plan's sources, each opened once, however many stages read it."""

    def __init__(self, tokenizer_sha256: str, cache: Path, seed: int) -> None:
        self.opened: list[Source] = []
        self._places: dict[str, int] = {}
        self._arguments = (tokenizer_sha256, cache, seed)

    def places(self, specs: Sequence[SourceSpec]) -> list[int]:
        """Their indices. Two specs that differ in nothing but the name are one source: the second goes on where the first was left."""
        new: dict[int, SourceSpec] = {}
        found = []
        for spec in specs:
            where = {key: tuple(sorted(set(values))) for key, values in sorted(spec.where.items())}
            key = repr(replace(spec, name="", shards=os.path.realpath(spec.shards), where=where))
            place = self._places.setdefault(key, len(self._places))
            found.append(place)
            if place >= len(self.opened):
                new.setdefault(place, spec)
        opened = open_sources(new, *self._arguments)
        self.opened += [opened[place] for place in new]
        return found


def resolve(config: PlanConfig, cache: Path) -> Plan:
    """The plan that a configuration describes. cache: folder of the sources' indices, built there when they aren't.

    Raises UserError for a tokenizer or shards that can't be read or don't belong together, for data that isn't there, and for every value
    with which a stage couldn't run to its end.
    """
    tokenizer = load_tokenizer(Path(config.tokenizer))
    model = model_config(config.model, tokenizer.vocab_size)
    sources = _Sources(tokenizer.sha256, cache, config.seed)
    ledger = Ledger.empty()
    stages: list[Stage] = []
    for place, stage_config in enumerate(config.stages):
        model = _rescaled(model, stage_config)
        stage = _stage(config, place, model, stages[-1] if stages else None, sources, ledger)
        ledger = ledger.after(stage.name, stage.streams)
        stages.append(stage)
    validation = _validation(config, stages, sources)
    plan = Plan(
        name=config.name,
        seed=config.seed,
        tokenizer=config.tokenizer,
        tokenizer_sha256=tokenizer.sha256,
        model=stages[0].model,
        initial=_initial(config.initial, stages[0].model, tokenizer),
        optimizer=Optimizer(**config.optimizer.model_dump()),
        sources=tuple(source.spec for source in sources.opened),
        stages=tuple(stages),
        validation=validation,
        fingerprint="",
        contents=tuple(_contents(source) for source in sources.opened),
    )
    return replace(plan, fingerprint=fingerprint(plan))


def _contents(source: Source) -> str:
    """Of the sha256 of all files of its shards, and of the rules by which they are cut."""
    text = json.dumps([INDEX_VERSION, *([file.facts[suffix]["sha256"] for suffix in SUFFIXES] for file in source.files)])
    return xxhash.xxh3_128_hexdigest(text.encode())


def model_config(shape: ModelShape, tokenizer_vocab: int) -> ModelConfig:
    """The shape with all values filled in. Raises UserError when its vocabulary is smaller than the tokenizer's."""
    vocab_size = shape.vocab_size or tokenizer_vocab
    if vocab_size < tokenizer_vocab:
        raise UserError(
            f"model.vocab_size is {vocab_size:,}, and the tokenizer has ids up to {tokenizer_vocab - 1:,}; "
            f"leave the key out, or give at least {tokenizer_vocab:,}"
        )
    model = PRESETS[shape.preset] if shape.preset is not None else ModelConfig(**{name: getattr(shape, name) for name in SHAPE_KEYS})
    return replace(
        model,
        vocab_size=vocab_size,
        tied=model.tied if shape.tied is None else shape.tied,
        max_position_embeddings=shape.max_position_embeddings,
        rope_theta=shape.rope_theta,
        norm_eps=shape.norm_eps,
        rope_scaling=_scaling(shape.rope_scaling),
    )


def _scaling(config: RopeScalingConfig | None) -> RopeScaling | None:
    return None if config is None else RopeScaling(**config.model_dump())


def _rescaled(model: ModelConfig, config: StageConfig) -> ModelConfig:
    if config.rope_scaling == "keep":
        return model
    return replace(model, rope_scaling=_scaling(config.rope_scaling))


def _initial(folder: str | None, model: ModelConfig, tokenizer: TokenizerFile) -> str | None:
    """Checks that the weights fit, and were trained with the same tokens, if the folder tells. How far and how finely positions reach is up
    to the plan."""
    if folder is None:
        return None
    from training.llama_format import read_llama_config  # imports torch, which a plan from first weights needs nothing of

    given = replace(read_llama_config(Path(folder)), max_position_embeddings=model.max_position_embeddings, rope_scaling=model.rope_scaling)
    for field in fields(ModelConfig):
        theirs, ours = getattr(given, field.name), getattr(model, field.name)
        if theirs != ours:
            raise UserError(
                f"the model in '{folder}' has {field.name} {theirs}, and the plan's has {ours}; give the plan that model's shape"
            )
    if (Path(folder) / TOKENIZER).exists() and not _same_tokens(load_tokenizer(Path(folder)), tokenizer):
        raise UserError(
            f"the model in '{folder}' has another tokenizer than the plan, so its embeddings mean other tokens; encode the shards with "
            "that one, or give another model"
        )
    return folder


def _same_tokens(one: TokenizerFile, other: TokenizerFile) -> bool:
    """Whether ids stand for the same text; special tokens may be called otherwise."""
    if one.sha256 == other.sha256:
        return True
    ours, theirs = (json.loads(file.plain)["model"] for file in (one, other))
    return bool(ours["vocab"] == theirs["vocab"])


def _stage(config: PlanConfig, place: int, model: ModelConfig, before: Stage | None, sources: _Sources, ledger: Ledger) -> Stage:
    """A stage with its streams placed behind what the ledger says the stages before it read."""
    own = config.stages[place]
    _check_lengths(own, model)
    replay = own.replay if isinstance(own.replay, ReplayConfig) else None
    specs = _specs(config, own)
    names = [spec.name for spec in specs]
    indices = sources.places(specs)
    _refuse_same_source(own, names, indices)
    weights, replay_weight = _weights(own, [sources.opened[index] for index in indices], replay)
    streams = tuple(Stream(name, index, weight, "fresh", 0, 0) for name, index, weight in zip(names, indices, weights, strict=True))
    samples = _samples(own, streams, sources.opened, ledger)
    stage = Stage(
        name=own.name,
        model=model,
        length=own.sequence_length,
        samples=samples,
        batch_samples=own.batch_tokens // own.sequence_length,
        schedule=_schedule(own, samples * own.sequence_length, before),
        streams=streams,
        keep_optimizer=own.optimizer == "keep",
        replay=None if replay is None else Replay(replay.stage, replay_weight, replay.policy),
    )
    return replace(stage, streams=place_streams(stage, ledger, sources.opened))


def _check_lengths(stage: StageConfig, model: ModelConfig) -> None:
    length = stage.sequence_length
    if length > model.max_position_embeddings:
        raise UserError(
            f"stage '{stage.name}' has a sequence_length of {length:,}, and the model has {model.max_position_embeddings:,} positions; "
            "shorten it, or raise model.max_position_embeddings"
        )
    if stage.batch_tokens % length:
        fits = max(round(stage.batch_tokens / length), 1) * length
        raise UserError(
            f"stage '{stage.name}' has batch_tokens of {stage.batch_tokens:,}, which is not a multiple of its sequence_length of "
            f"{length:,}; the nearest one is {fits:,}"
        )


def _specs(config: PlanConfig, stage: StageConfig) -> list[SourceSpec]:
    """What the stage's own sources are."""
    plain = SourceSpec(
        name="",
        shards="",
        where={},
        length=stage.sequence_length,
        packing=stage.packing,
        balance_replay=stage.replay == "balance",
        holdout=config.validation.share if config.validation else 0.0,
    )
    if stage.mix is not None:
        folder = _folder(config.shards, f"stage '{stage.name}'")
        return [replace(plain, name=name, shards=folder, where=where) for name, where in mix_sources(stage.name, Path(stage.mix), folder)]
    return [
        replace(
            plain,
            name=source.name,
            shards=_folder(source.shards or config.shards, f"source '{source.name}' of stage '{stage.name}'"),
            where={key: tuple(values) for key, values in source.where.items()},
            min_tokens=source.min_tokens,
            long_only=source.long_only,
            epochs=source.max_epochs,
        )
        for source in stage.sources
    ]


def _folder(shards: str | None, whose: str) -> str:
    if shards is None:
        raise UserError(f"{whose} has no folder of token shards; give `shards` at the top of the plan, or with the source")
    return shards


def _refuse_same_source(stage: StageConfig, names: Sequence[str], indices: Sequence[int]) -> None:
    for place, index in enumerate(indices):
        first = indices.index(index)
        if first != place:
            raise UserError(
                f"the sources '{names[first]}' and '{names[place]}' of stage '{stage.name}' are the same documents; make one of them"
            )


def _weights(stage: StageConfig, opened: Sequence[Source], replay: ReplayConfig | None) -> tuple[list[int], int]:
    """Weights of the stage's own streams and of its replay, out of WEIGHTS."""
    fraction = Decimal(str(replay.fraction)) if replay else Decimal(0)
    if stage.mix is not None:
        replay_weight = int(fraction * WEIGHTS)
        weights = apportion(WEIGHTS - replay_weight, [source.tokens for source in opened])
    else:
        shares = [*(Decimal(str(source.weight)) for source in stage.sources), fraction]
        total = sum(shares, Decimal(0))
        if abs(total - 1) > _TOLERANCE:
            parts = "its sources" if replay is None else f"its sources and the replay's fraction of {fraction}"
            raise UserError(f"the weights of stage '{stage.name}' add up to {total.normalize():f}, {parts} together; make it 1")
        *weights, replay_weight = apportion(WEIGHTS, [int(share * 10**18) for share in shares])
    for source, weight in zip(opened, weights, strict=True):
        if not weight:
            raise UserError(f"source '{source.spec.name}' of stage '{stage.name}' has a weight below {1 / WEIGHTS:g}; leave it out")
    return weights, replay_weight


def _samples(stage: StageConfig, streams: Sequence[Stream], opened: Sequence[Source], ledger: Ledger) -> int:
    """Samples of a stage, in whole batches: of the tokens asked for, or as many as its own sources still give."""
    batch = stage.batch_tokens // stage.sequence_length
    if stage.tokens is not None:
        samples = stage.tokens // stage.sequence_length
        limit = f"its tokens are {stage.tokens:,}"
    else:
        left = [opened[stream.source].total - ledger.left.get(stream.source, 0) for stream in streams]
        samples, scarce = min((chunks * WEIGHTS // stream.weight, stream.name) for chunks, stream in zip(left, streams, strict=True))
        limit = f"source '{scarce}' gives data for {samples * stage.sequence_length:,} tokens"
    if samples < batch:
        raise UserError(f"stage '{stage.name}' has a batch of {stage.batch_tokens:,} tokens, and {limit}; make the batch smaller")
    return samples // batch * batch


def _schedule(stage: StageConfig, tokens: int, before: Stage | None) -> Schedule:
    config = stage.schedule
    decay = config.decay_tokens or 0
    if config.decay_share is not None:
        decay = int(Decimal(str(config.decay_share)) * tokens)
    if config.warmup_tokens + decay > tokens:
        raise UserError(
            f"stage '{stage.name}' has {tokens:,} tokens, and its schedule {config.warmup_tokens:,} of warm-up and {decay:,} of decay; "
            "shorten them"
        )
    return Schedule(
        kind=config.type,
        peak=_peak(stage.name, config, before),
        warmup_tokens=config.warmup_tokens,
        decay_tokens=decay,
        decay=config.decay,
        final_ratio=config.final_lr_ratio,
    )


def _peak(name: str, config: ScheduleConfig, before: Stage | None) -> float:
    if config.peak_lr != "inherit":
        return config.peak_lr
    if before is None:
        raise UserError(f"stage '{name}' inherits its learning rate, and there is no stage before it; give it a peak_lr")
    inherited = learning_rate(before.schedule, before.tokens, before.tokens)
    if inherited == 0:
        raise UserError(f"stage '{name}' inherits its learning rate, and stage '{before.name}' ends with 0; give it a peak_lr")
    return inherited


def _validation(config: PlanConfig, stages: Sequence[Stage], sources: _Sources) -> Validation | None:
    """The held-out documents of every source of every stage, each once."""
    if config.validation is None:
        return None
    twins = [
        replace(
            sources.opened[stream.source].spec,
            name=f"{stage.name}/{stream.name}",
            packing="concat",
            epochs=1,
            balance_replay=False,
            held_out=True,
        )
        for stage in stages
        for stream in stage.streams
        if not stream.replays
    ]
    return Validation(config.validation.share, config.validation.tokens, tuple(dict.fromkeys(sources.places(twins))))
