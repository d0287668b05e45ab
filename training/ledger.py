"""The ledger: what each stage has read of each source, and from it the ranges that the streams of the next stage get.

A plan is made with the ledger of what stages are going to read, a run goes on with that of what they did read; when all goes as planned
the two are the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.errors import UserError
from training.mixing import Mixture
from training.plan import Stage
from training.sources import Source
from training.streams import WEIGHTS, Stream


@dataclass(frozen=True)
class Use:
    """The range of its source's order that a stream of a stage read: start, count. weight: of the stream in the stage."""

    name: str
    source: int
    weight: int
    start: int
    count: int


@dataclass(frozen=True)
class Ledger:
    """left: by source, the place of its order where reading stopped; sources that nobody has read aren't there. stages: by name, what each
    read."""

    left: Mapping[int, int]
    stages: Mapping[str, tuple[Use, ...]]

    @staticmethod
    def empty() -> Ledger:
        return Ledger({}, {})

    def after(self, stage: str, streams: Sequence[Stream], used: Sequence[int] | None = None) -> Ledger:
        """The ledger once a stage has read `used` chunks of each stream; None: all of their ranges, as planned.

        A stream that reads seen chunks again counts with its whole range. What an own range was not read to its end leaves a gap only when
        another stream of the same source lies behind it.
        """
        left, uses = dict(self.left), []
        planned = [stream.count if stream.samples else 0 for stream in streams]
        for stream, count in zip(streams, planned if used is None else used, strict=True):
            if stream.kind == "fresh":
                left[stream.source] = max(left.get(stream.source, 0), stream.start + count if count else 0)
            elif count:
                count = stream.count
            uses.append(Use(stream.name, stream.source, stream.weight, stream.start, count))
        return Ledger(left, {**self.stages, stage: tuple(uses)})

    def as_json(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        left = {str(source): place for source, place in sorted(self.left.items())}
        return {"left": left, "stages": {stage: [asdict(use) for use in uses] for stage, uses in self.stages.items()}}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Ledger:
        left = {int(source): place for source, place in data["left"].items()}
        return Ledger(left, {stage: tuple(Use(**use) for use in uses) for stage, uses in data["stages"].items()})


def sources_of(stage: Stage, ledger: Ledger) -> set[int]:
    """The sources that the stage reads, as indices into the plan's."""
    return {stream.source for stream in _own(stage)} | {use.source for use in _uses(stage, ledger)}


def place_streams(stage: Stage, ledger: Ledger, sources: Mapping[int, Source] | Sequence[Source]) -> tuple[Stream, ...]:
    """The stage's streams with the ranges that they read: exactly what they need, each from where the ledger and the streams before it
    leave its source.

    The stage's own streams are those of stage.streams that replay nothing (name, source and weight count); the others are made anew
    from stage.replay. sources: at least sources_of(stage, ledger), opened. Raises UserError when a source has too little left, when
    the lengths of sequences don't fit, and when two streams have one name.
    """
    own = [replace(stream, rows=_rows(stage, sources[stream.source])) for stream in _own(stage)]
    left = {index: ledger.left.get(index, 0) for index in sources_of(stage, ledger)}
    for stream in own:
        left[stream.source] += _most(stream.weight, stage.samples) * stream.rows
    streams = [*own, *replay_streams(stage, ledger, left, sources)]
    _refuse_same_names(stage, streams)
    counts = Mixture([stream.weight for stream in streams], stage.samples, 0).counts(stage.samples)
    left = {index: ledger.left.get(index, 0) for index in left}
    placed = []
    for stream, samples in zip(streams, counts.tolist(), strict=True):
        chunks = samples * stream.rows
        if stream.kind == "seen":
            placed.append(replace(stream, max_passes=-(-chunks // stream.count)))
            continue
        placed.append(replace(stream, start=left[stream.source], count=chunks))
        left[stream.source] += chunks
    _refuse_too_little(stage, [stream for stream in placed if stream.kind == "fresh"], sources)
    return tuple(placed)


def replay_streams(stage: Stage, ledger: Ledger, left: Mapping[int, int], sources: Mapping[int, Source] | Sequence[Source]) -> list[Stream]:
    """The streams of stage.replay: the earlier stage's mix in its own proportions, `fresh` ones still without a range.

    left: by source, the place from which on it is unseen and free for replay.
    """
    replay = stage.replay
    if replay is None:
        return []
    uses = [use for use in _uses(stage, ledger) if use.count]
    if not uses:
        raise UserError(f"stage '{stage.name}' replays stage '{replay.stage}', which has read nothing; take the replay out of the plan")
    streams, free = [], dict(left)
    for use, weight in zip(uses, apportion(replay.weight, [use.weight for use in uses]), strict=True):
        source, rows = sources[use.source], _rows(stage, sources[use.source])
        unseen = weight if replay.policy == "unseen" else 0
        if replay.policy == "unseen_first":
            samples = max(0, source.total - free[use.source]) // rows
            unseen = min(weight, samples * WEIGHTS // stage.samples)  # so that its samples, rounded up, are there
        free[use.source] += _most(unseen, stage.samples) * rows
        name = f"{replay.stage}/{use.name}"
        if unseen:
            streams.append(Stream(name, use.source, unseen, "fresh", 0, 0, rows, replays=replay.stage))
        if weight - unseen:
            seen = f"{replay.stage} again/{use.name}" if unseen else name
            streams.append(Stream(seen, use.source, weight - unseen, "seen", use.start, use.count, rows, replays=replay.stage))
    return streams


def _own(stage: Stage) -> list[Stream]:
    return [stream for stream in stage.streams if not stream.replays]


def _uses(stage: Stage, ledger: Ledger) -> tuple[Use, ...]:
    if stage.replay is None:
        return ()
    if stage.replay.stage not in ledger.stages:
        there = ", ".join(f"'{name}'" for name in ledger.stages) or "none"
        raise UserError(f"stage '{stage.name}' replays '{stage.replay.stage}', and the stages before it are {there}; name one of these")
    return ledger.stages[stage.replay.stage]


def _most(weight: int, samples: int) -> int:
    """Samples of a stream of this weight, rounded up: it gets no more."""
    return -(-weight * samples // WEIGHTS)


def apportion(whole: int, weights: Sequence[int]) -> list[int]:
    """`whole` in proportion to the weights, by largest remainder; ties go to the first."""
    total = sum(weights)
    parts = [whole * weight // total for weight in weights]
    rests = sorted(range(len(weights)), key=lambda place: (-(whole * weights[place] % total), place))
    for place in rests[: whole - sum(parts)]:
        parts[place] += 1
    return parts


def _rows(stage: Stage, source: Source) -> int:
    rows, rest = divmod(stage.length, source.spec.length)
    if rest:
        raise UserError(
            f"stage '{stage.name}' has sequences of {stage.length:,} tokens, and the chunks of its source '{source.spec.name}' have "
            f"{source.spec.length:,}; make its sequence_length a multiple of that"
        )
    return rows


def _refuse_same_names(stage: Stage, streams: Sequence[Stream]) -> None:
    names = [stream.name for stream in streams]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"stage '{stage.name}' has more than one source called '{name}'; give each its own name")


def _refuse_too_little(stage: Stage, fresh: Sequence[Stream], sources: Mapping[int, Source] | Sequence[Source]) -> None:
    """Names the first stream whose source ends before it, and tokens with which all of them find enough."""
    there = [max(0, sources[stream.source].total - stream.start) for stream in fresh]
    for stream, chunks in zip(fresh, there, strict=True):
        if stream.count <= chunks:
            continue
        source, length = sources[stream.source], sources[stream.source].spec.length
        most = _most_steps(stage, fresh, sources) * stage.batch_samples * stage.length
        ways = [f"lower the stage's tokens to {most:,}"] if most else []
        ways += ["replay less of it", "unseen_first"] if stream.replays else ["give it less weight", "raise max_epochs"]
        raise UserError(
            f"stage '{stage.name}' needs {stream.count * length:,} tokens of '{stream.name}', and its source '{source.spec.name}' has "
            f"{chunks * length:,} left of {len(source.passes)} epochs; {', '.join(ways[:-1])}, or {ways[-1]}"
        )


def _most_steps(stage: Stage, fresh: Sequence[Stream], sources: Mapping[int, Source] | Sequence[Source]) -> int:
    """Steps with which each source has enough for all of its streams together, the ones behind moving up as the first get shorter."""
    left: dict[int, int] = {}
    for stream in fresh:
        left[stream.source] = max(left.get(stream.source, 0), sources[stream.source].total - stream.start)

    def too_many(steps: int) -> bool:
        needed = dict.fromkeys(left, 0)
        for stream in fresh:
            needed[stream.source] += _most(stream.weight, steps * stage.batch_samples) * stream.rows
        return any(needed[source] > left[source] for source in left)

    return bisect_left(range(1, stage.steps + 1), True, key=too_many)
