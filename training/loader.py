"""The loader: from numbers of samples to batches. What a sample holds depends on nothing but its number, the plan and the ledger.

Nothing here has a state. Which samples a rank reads follows from the step and the rank; who resumes, at whatever world size, goes on with
the same samples.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numba
import numpy as np
import torch
from numba import types

from decontam.numba_types import read_only, writable
from pipeline.errors import UserError
from training.batch import NO_TARGET, Batch, Segments
from training.ledger import Ledger, place_streams, sources_of
from training.mixing import Mixture
from training.permutation import derive_key
from training.plan import Plan
from training.sources import PADDING, Runs, Source, open_sources
from training.streams import WEIGHTS, Stream

PADDING_ID = 0
"""Token id of padding; nothing attends to it or is predicted from it."""

_I32, _I64, _BOOL, _I64_OUT = read_only(types.int32), read_only(types.int64), read_only(types.boolean), writable(types.int64)


class StageData:
    """The samples of a stage.

    streams: with their ranges. labels: (stream, language) of the numbers in Batch.labels. samples: how many there are. length: tokens of
    one.
    """

    def __init__(self, length: int, samples: int, streams: Sequence[Stream], sources: dict[int, Source], vocab_size: int, key: int) -> None:
        self.length, self.samples, self.streams = length, samples, tuple(streams)
        self._sources, self._vocab_size = sources, vocab_size
        self._mixture = Mixture([stream.weight for stream in streams], samples, key)
        self._keys = [derive_key(key, stream.name) for stream in streams]
        labels: list[tuple[str, str]] = []
        self._labels: list[np.ndarray] = []  # of each stream, by file of its source
        for stream in streams:
            languages = sources[stream.source].languages
            names = sorted(set(languages))
            self._labels.append(np.array([len(labels) + names.index(language) for language in languages]))
            labels += [(stream.name, name) for name in names]
        self.labels = tuple(labels)

    def used(self, samples: int) -> tuple[int, ...]:
        """Chunks of each stream's source that the first `samples` samples hold: what Ledger.after takes."""
        counts = self._mixture.counts(samples).tolist()
        return tuple(count * stream.rows for count, stream in zip(counts, self.streams, strict=True))

    def batch(self, samples: np.ndarray) -> Batch:
        """The samples of these numbers (int64[B], in [0, self.samples)), in their order, as one batch.

        Raises UserError for a token id that the model's vocabulary doesn't have.
        """
        size = len(samples) * self.length
        ids, targets = np.full(size, PADDING_ID, np.int64), np.full(size, NO_TARGET, np.int64)
        places, labels = [], []
        stream_of, number = self._mixture.locate(np.asarray(samples, np.int64))
        for index in np.unique(stream_of).tolist():
            mine = np.flatnonzero(stream_of == index)
            stream, source = self.streams[index], self._sources[self.streams[index].source]
            chunks = source.order(stream.places(number[mine], self._keys[index]).ravel())
            runs = source.runs(chunks)
            begins = mine[:, None] * self.length + np.arange(stream.rows) * source.spec.length
            place = begins.ravel()[runs.row] + runs.offset
            _copy_runs(source, runs, place, ids, targets)
            self._check(source, runs, place, ids, targets)
            places.append(place)
            labels.append(self._labels[index][np.maximum(runs.file, 0)])
        place, label = np.concatenate(places), np.concatenate(labels)
        order = np.argsort(place)
        bounds = np.append(place[order], size)
        shape = (len(samples), self.length)
        return Batch(
            torch.from_numpy(ids.reshape(shape)),
            torch.from_numpy(targets.reshape(shape)),
            Segments.of(bounds, *shape),
            torch.from_numpy(np.repeat(label[order], np.diff(bounds)).reshape(shape)),
        )

    def _check(self, source: Source, runs: Runs, place: np.ndarray, ids: np.ndarray, targets: np.ndarray) -> None:
        if max(int(ids.max()), int(targets.max())) < self._vocab_size and ids.min() >= 0 and targets.min() >= NO_TARGET:
            return
        for file, first, tokens, goes_on in zip(runs.file, runs.first, runs.tokens, runs.goes_on, strict=True):
            if file == PADDING:
                continue
            read = source.files[file].ids[first : first + tokens + goes_on]
            bad = np.flatnonzero((read < 0) | (read >= self._vocab_size))
            if len(bad):
                raise UserError(
                    f"'{source.files[file].path}' has the token id {read[bad[0]]:,} at token {first + bad[0]:,}, and the model's "
                    f"vocabulary has {self._vocab_size:,}; give the model the vocabulary of the shards' tokenizer, or copy the shards again"
                )


def open_stage(plan: Plan, stage_index: int, ledger: Ledger, cache: Path) -> StageData:
    """The data of a stage, given what the stages before it have read.

    cache: folder of the sources' indices, built there when they aren't. Raises UserError as open_source and place_streams do.
    """
    stage = plan.stages[stage_index]
    sources = _open(plan, sorted(sources_of(stage, ledger)), cache)
    streams = place_streams(stage, ledger, sources)
    return StageData(stage.length, stage.samples, streams, sources, stage.model.vocab_size, derive_key(plan.seed, stage.name))


def open_validation(plan: Plan, stage_index: int, cache: Path) -> tuple[StageData, ...]:
    """The documents held out, one StageData for each of plan.validation.sources: all its chunks, in an order that never changes."""
    if plan.validation is None:
        return ()
    made = []
    for index, source in _open(plan, plan.validation.sources, cache).items():
        stream = Stream(source.spec.name, index, WEIGHTS, "fresh", 0, source.total)
        vocab_size = plan.stages[stage_index].model.vocab_size
        made.append(StageData(source.spec.length, source.total, [stream], {index: source}, vocab_size, plan.seed))
    return tuple(made)


def _open(plan: Plan, indices: Sequence[int], cache: Path) -> dict[int, Source]:
    return open_sources({index: plan.sources[index] for index in indices}, plan.tokenizer_sha256, cache, plan.seed)


def _copy_runs(source: Source, runs: Runs, place: np.ndarray, ids: np.ndarray, targets: np.ndarray) -> None:
    """Copy each run's tokens to its place in the flattened batch, and what follows each of them to the targets."""
    for file in np.unique(runs.file).tolist():
        if file == PADDING:
            continue
        mine = runs.file == file
        _copy(np.asarray(source.files[file].ids), runs.first[mine], runs.tokens[mine], runs.goes_on[mine], place[mine], ids, targets)


@numba.njit(types.void(_I32, _I64, _I64, _BOOL, _I64, _I64_OUT, _I64_OUT), cache=True, nogil=True)
def _copy(
    tokens: np.ndarray,
    firsts: np.ndarray,
    counts: np.ndarray,
    goes_on: np.ndarray,
    places: np.ndarray,
    ids: np.ndarray,
    targets: np.ndarray,
) -> None:
    for run in range(len(firsts)):
        first, count, place = firsts[run], counts[run], places[run]
        for offset in range(count):
            ids[place + offset] = tokens[first + offset]
        for offset in range(count if goes_on[run] else count - 1):
            targets[place + offset] = tokens[first + offset + 1]


def sample_numbers(positions: np.ndarray, skip_ranges: Sequence[tuple[int, int]]) -> np.ndarray:
    """int64[n]: the samples at these positions of the sequence of all that are not skipped.

    skip_ranges: [first, end) of samples that nobody reads; they may overlap.
    """
    numbers = np.array(positions, np.int64)
    for first, end in _merged(skip_ranges):  # ascending, so that what is shifted already meets the next range where it lies
        numbers[numbers >= first] += end - first
    return numbers


def samples_read(steps: int, batch_samples: int, skip_ranges: Sequence[tuple[int, int]]) -> int:
    """How many of a stage's first samples are read or skipped after so many steps."""
    return int(sample_numbers(np.array([steps * batch_samples]), skip_ranges)[0])


def steps_of(samples: int, batch_samples: int, skip_ranges: Sequence[tuple[int, int]]) -> int:
    """Whole steps that a stage of so many samples has when these are skipped."""
    skipped = sum(min(end, samples) - min(first, samples) for first, end in _merged(skip_ranges))
    return (samples - skipped) // batch_samples


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif first < end:
            merged.append((first, end))
    return merged


def micro_batches(step: int, batch_samples: int, micro_batch: int, rank: int, world: int) -> np.ndarray:
    """int64[micro-batches, micro_batch]: the positions that a rank reads in a step.

    Step t has the positions from t * batch_samples on; its u-th micro-batch gives each rank in turn `micro_batch` of them. world: ranks
    with different data (with sequence parallelism, groups of ranks). Raises UserError when they don't share the batch evenly.
    """
    if batch_samples % (world * micro_batch):
        raise UserError(
            f"a batch of {batch_samples:,} sequences can't be shared evenly by {world} ranks with micro-batches of {micro_batch}; choose "
            "batch_tokens, micro_batch or the number of ranks so that it can"
        )
    count = batch_samples // (world * micro_batch)
    first = step * batch_samples + rank * micro_batch
    return first + np.arange(count)[:, None] * (world * micro_batch) + np.arange(micro_batch)


def batches(
    data: StageData,
    steps: range,
    batch_samples: int,
    micro_batch: int,
    rank: int = 0,
    world: int = 1,
    skip_ranges: Sequence[tuple[int, int]] = (),
) -> Iterator[list[Batch]]:
    """For each step a rank's micro-batches, as micro_batches shares them out."""
    for step in steps:
        positions = micro_batches(step, batch_samples, micro_batch, rank, world)
        yield [data.batch(sample_numbers(row, skip_ranges)) for row in positions]
