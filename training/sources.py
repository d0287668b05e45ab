"""Sources: the documents that a stage of training draws from, and how they are cut into chunks of one length.

The documents of a pass, one after another (or packed, see packing.py), are a row of runs; chunk c is the tokens from c * length on. An
index on disk says where each run begins, so that any chunk is found by a binary search. Passes follow one another, each in its own
shuffled order, and make one order of all chunks that the source has: the places j in [0, total).
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xxhash

from pipeline.errors import UserError
from tokenizer.shards import TOKEN, TokenFile, open_shards
from training.packing import best_fit
from training.permutation import derive_key, numbered_keys, permute

INDEX_VERSION = 1
"""Of the files of an index: another one is another fingerprint, and built anew."""

NO_LANGUAGE = "unknown"
"""Of shards whose groups don't say."""

PADDING = -1
"""Start of a run that is no document's."""


@dataclass(frozen=True)
class SourceSpec:
    """What a source is, as plain data: the plan's fingerprint covers it.

    shards: folder of `onnuri tokenizer encode`. where: values of the shard groups to take, by key (phase, lang, source, domain); an absent
    key takes all. length: tokens of a chunk. packing: `concat` cuts the concatenated documents, `best_fit` puts whole documents
    into chunks and pads. min_tokens, long_only: documents to leave out. epochs: passes over every document; None: each document as
    often as balance decided. balance_replay: with None, whether that includes what balance repeats of an earlier phase. holdout: share of
    the documents that belongs to validation, by a hash of their ids; held_out: whether this source is those, or all others.
    """

    name: str
    shards: str
    where: Mapping[str, tuple[str, ...]]
    length: int
    packing: Literal["concat", "best_fit"] = "concat"
    min_tokens: int = 0
    long_only: bool = False
    epochs: int | None = None
    balance_replay: bool = False
    holdout: float = 0.0
    held_out: bool = False


@dataclass(frozen=True)
class Runs:
    """Runs of documents' tokens in some chunks, in the order of the chunks and their tokens.

    All int64[n]: row, which of the chunks; offset, where in that chunk; file, index into the source's files, or PADDING; first, the first
    token in that file; tokens, how many. goes_on (bool[n]): the document has a next token, behind the run.
    """

    row: np.ndarray
    offset: np.ndarray
    file: np.ndarray
    first: np.ndarray
    tokens: np.ndarray
    goes_on: np.ndarray


@dataclass(frozen=True)
class Index:
    """The runs of one pass. starts (int64[n]): first token in all of the source's files in turn, or PADDING; ends (int64[n]): tokens of
    this run and all before it, the last a multiple of the chunks' length; goes_on (bool[n]): the document has tokens behind the run."""

    starts: np.ndarray
    ends: np.ndarray
    goes_on: np.ndarray

    @staticmethod
    def fields() -> tuple[str, ...]:
        return tuple(field.name for field in dataclasses.fields(Index))


@dataclass(frozen=True, eq=False)
class Source:
    """An opened source. files: the shards that it reads; indices: as passes need them, and `passes` names one for each pass; documents and
    tokens: of all passes, without padding. fingerprint: of the spec and the shards' contents."""

    spec: SourceSpec
    files: tuple[TokenFile, ...]
    fingerprint: str
    indices: tuple[Index, ...]
    passes: tuple[int, ...]
    documents: int
    tokens: int

    @cached_property
    def pass_ends(self) -> np.ndarray:
        """int64[passes]: chunks of each pass and all before it."""
        chunks = [int(index.ends[-1]) // self.spec.length for index in self.indices]
        return np.cumsum([chunks[number] for number in self.passes], dtype=np.int64)

    @property
    def total(self) -> int:
        """Chunks of all passes: places of the order."""
        return int(self.pass_ends[-1])

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Language of each file, as its group says."""
        return tuple(file.group.get("lang", NO_LANGUAGE) for file in self.files)

    @cached_property
    def _file_ends(self) -> np.ndarray:
        return np.cumsum([file.tokens for file in self.files], dtype=np.int64)

    def order(self, places: np.ndarray) -> np.ndarray:
        """int64[n]: the chunk at each place of the order, numbered through all passes. places: int64[n], in [0, total)."""
        number = np.searchsorted(self.pass_ends, places, side="right")
        begins = np.concatenate([[0], self.pass_ends])
        keys = numbered_keys(derive_key(self.fingerprint), number)
        return begins[number] + permute(places - begins[number], np.diff(begins)[number], keys)

    def runs(self, chunks: np.ndarray) -> Runs:
        """The runs of these chunks. chunks: int64[n], numbered through all passes."""
        number = np.searchsorted(self.pass_ends, chunks, side="right")
        local = chunks - np.concatenate([[0], self.pass_ends])[number]
        which = np.array(self.passes, np.int64)[number]
        parts = [self._runs(index, np.flatnonzero(which == index), local) for index in np.unique(which)]
        if len(parts) == 1:
            return parts[0]
        fields = {name: np.concatenate([getattr(part, name) for part in parts]) for name in (f.name for f in dataclasses.fields(Runs))}
        order = np.argsort(fields["row"], kind="stable")
        return Runs(**{name: values[order] for name, values in fields.items()})

    def _runs(self, number: int, rows: np.ndarray, chunks: np.ndarray) -> Runs:
        index, length = self.indices[number], self.spec.length
        begins = chunks[rows] * length
        first = np.searchsorted(index.ends, begins, side="right")
        counts = np.searchsorted(index.ends, begins + length, side="left") - first + 1
        of = np.repeat(np.arange(len(rows)), counts)  # the chunk of each run
        run = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts) + first[of]
        run_begin = np.where(run > 0, index.ends[run - 1], 0)
        begin = np.maximum(run_begin, begins[of])
        end = np.minimum(index.ends[run], begins[of] + length)
        start = np.where(index.starts[run] == PADDING, PADDING, index.starts[run] + begin - run_begin)
        file = np.where(start == PADDING, PADDING, np.searchsorted(self._file_ends, start, side="right"))
        file_begin = np.concatenate([[0], self._file_ends])[file]
        return Runs(
            row=rows[of],
            offset=begin - begins[of],
            file=file,
            first=np.where(file == PADDING, 0, start - file_begin),
            tokens=end - begin,
            goes_on=(end < index.ends[run]) & (start != PADDING) | index.goes_on[run],
        )


def open_source(spec: SourceSpec, tokenizer_sha256: str, cache: Path, seed: int) -> Source:
    """Open one source: open_sources for a single spec."""
    return open_sources({0: spec}, tokenizer_sha256, cache, seed)[0]


def open_sources(specs: Mapping[int, SourceSpec], tokenizer_sha256: str, cache: Path, seed: int) -> dict[int, Source]:
    """Open sources, by the same keys; each folder of shards is looked at once.

    An index that isn't there yet is built below `cache`, in a folder named after the source's fingerprint. That takes 17 bytes of disk per
    document and distinct pass, and for the time of building up to 120 bytes of memory per document. Raises UserError for shards that
    can't be read or are of another tokenizer, for a `where` that names what they don't have, when no document is left, and for a
    damaged index.
    """
    shards = {folder: open_shards(Path(folder), tokenizer_sha256) for folder in sorted({spec.shards for spec in specs.values()})}
    return {key: _open(spec, _selected(spec, shards[spec.shards].files), cache, seed) for key, spec in specs.items()}


def _open(spec: SourceSpec, files: tuple[TokenFile, ...], cache: Path, seed: int) -> Source:
    fingerprint = _fingerprint(spec, files, seed)
    folder = cache / fingerprint
    if not folder.exists():
        _build(spec, files, folder)
    try:
        facts = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        indices = tuple(
            Index(*(np.asarray(np.load(folder / f"{name}-{number}.npy", mmap_mode="r")) for name in Index.fields()))
            for number in range(max(facts["passes"]) + 1)
        )
        return Source(spec, files, fingerprint, indices, tuple(facts["passes"]), facts["documents"], facts["tokens"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the index of source '{spec.name}' in '{folder}' is damaged ({type(error).__name__}); remove that folder, it is built again"
        ) from error


def _fingerprint(spec: SourceSpec, files: Sequence[TokenFile], seed: int) -> str:
    """Of all that decides the order of chunks and what they hold: not of where the shards lie."""
    plain = {key: value for key, value in dataclasses.asdict(spec).items() if key != "shards"}
    plain["where"] = {key: sorted(values) for key, values in spec.where.items()}
    contents = [[file.facts[suffix]["sha256"] for suffix in sorted(file.facts)] for file in files]
    text = json.dumps([INDEX_VERSION, plain, seed, contents], sort_keys=True, ensure_ascii=False)
    return xxhash.xxh3_128_hexdigest(text.encode())


def _selected(spec: SourceSpec, files: Sequence[TokenFile]) -> tuple[TokenFile, ...]:
    """The files whose groups have the values of `where`."""
    known: dict[str, set[str]] = {}
    for file in files:
        for key, value in file.group.items():
            known.setdefault(key, set()).add(value)
    for key, values in spec.where.items():
        if key not in known:
            there = ", ".join(sorted(known)) or "no key"
            raise UserError(
                f"source '{spec.name}' selects by '{key}', and the shards in '{spec.shards}' are grouped by {there}; name one of these"
            )
        for value in values:
            if value not in known[key]:
                raise UserError(
                    f"source '{spec.name}' asks for {key} '{value}', and the shards in '{spec.shards}' have "
                    f"{', '.join(sorted(known[key]))}; name some of these"
                )
    return tuple(file for file in files if all(file.group.get(key) in values for key, values in spec.where.items()))


def _build(spec: SourceSpec, files: Sequence[TokenFile], folder: Path) -> None:
    """Write the index of a source, whole or not at all."""
    starts, lengths, times = _documents(spec, files)
    if not times.any() and spec.held_out and spec.holdout > 0:
        raise UserError(
            f"source '{spec.name}' has no document: of those in '{spec.shards}', none falls into the share of {spec.holdout:g} that is "
            "held out for validation; raise validation.share, or set validation to null"
        )
    if not times.any():
        limits = ", ".join(f"{key} {getattr(spec, key)}" for key in ("min_tokens", "long_only", "epochs", "holdout", "held_out"))
        raise UserError(
            f"source '{spec.name}' has no document: none in '{spec.shards}' is left by where {dict(spec.where)} and {limits}; ask for less"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        passes: list[int] = []
        before = 0
        for number in range(int(times.max())):
            mine = times > number  # ever fewer documents, and the same index while they are as many
            if (count := int(mine.sum())) != before:
                _save(_index(spec, starts[mine], lengths[mine]), made, passes[-1] + 1 if passes else 0)
            passes.append(passes[-1] + (count != before) if passes else 0)
            before = count
        facts = {"passes": passes, "documents": int(times.sum()), "tokens": int((times * lengths).sum())}
        (made / "index.json").write_text(json.dumps(facts), encoding="utf-8")
        os.rename(made, folder)
    except OSError:
        if not folder.exists():  # else another process was first, with the same content
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _save(index: Index, folder: Path, number: int) -> None:
    for name in Index.fields():
        np.save(folder / f"{name}-{number}.npy", getattr(index, name))


def _documents(spec: SourceSpec, files: Sequence[TokenFile]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each document that the source may take (int64[n]): its first token in all files in turn, its tokens, times to read it."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [(np.zeros(0, np.int64),) * 3]
    begin = 0
    for file in files:
        lengths = file.lengths.astype(np.int64)
        kept = np.flatnonzero(_kept(spec, file, lengths))
        found.append((begin + file.starts[kept] // TOKEN.itemsize, lengths[kept], _times(spec, file)[kept]))
        begin += file.tokens
    starts, lengths, times = (np.concatenate(column) for column in zip(*found, strict=True))
    return starts, lengths, times


def _kept(spec: SourceSpec, file: TokenFile, lengths: np.ndarray) -> np.ndarray:
    """bool[documents]: which the source's filters leave."""
    kept = lengths >= max(spec.min_tokens, 1)
    if spec.long_only:
        kept &= _column(file, "long_document").fill_null(False).to_numpy(zero_copy_only=False)
    if spec.holdout > 0:
        ids = _column(file, "id")
        if ids.null_count:
            raise UserError(f"'{file.path}' has documents without an id, by which those for validation are chosen; set validation to null")
        hashes = np.fromiter(map(xxhash.xxh3_64_intdigest, ids.cast("binary").to_pylist()), np.uint64, len(ids))
        kept &= (hashes < np.uint64(min(int(spec.holdout * 2**64), 2**64 - 1))) == spec.held_out
    elif spec.held_out:
        kept[:] = False
    return kept


def _times(spec: SourceSpec, file: TokenFile) -> np.ndarray:
    """int64[documents]: how often to read each document."""
    if spec.epochs is not None:
        return np.full(file.documents, spec.epochs, np.int64)
    epochs = _column(file, "epochs").fill_null(1).to_numpy().astype(np.int64)
    fresh = epochs - _column(file, "replay_epochs").fill_null(0).to_numpy()
    if len(fresh) and min(int(epochs.min()), int(fresh.min())) < 0:
        raise UserError(f"'{file.path}' has documents with fewer epochs than replay_epochs, or fewer than 0; encode the corpus again")
    return epochs if spec.balance_replay else fresh


def _column(file: TokenFile, name: str) -> Any:
    return file.side_car([name]).column(name).combine_chunks()


def _index(spec: SourceSpec, starts: np.ndarray, lengths: np.ndarray) -> Index:
    """The runs of a pass over these documents."""
    if spec.packing == "best_fit":
        return _packed(starts, lengths, spec.length)
    ends = np.cumsum(lengths)
    goes_on = np.zeros(len(starts), bool)
    if padding := -int(ends[-1]) % spec.length:
        starts, ends, goes_on = np.append(starts, PADDING), np.append(ends, ends[-1] + padding), np.append(goes_on, False)
    return Index(starts, ends, goes_on)


def _packed(starts: np.ndarray, lengths: np.ndarray, length: int) -> Index:
    """Runs of best fit: first the documents longer than a chunk, as many whole chunks of each as there are, then what is left and the
    others, bin after bin, with padding at each one's end."""
    whole, rest = lengths // length * length, lengths % length
    long, items = np.flatnonzero(whole), np.flatnonzero(rest)
    bins, count = best_fit(rest[items], length)
    padding = length - np.bincount(bins, rest[items], count).astype(np.int64)
    padded = np.flatnonzero(padding)
    order = np.argsort(np.concatenate([bins, padded]), kind="stable")  # stable: padding is last of its bin
    sizes = np.concatenate([rest[items], padding[padded]])[order]
    begins = np.concatenate([(starts + whole)[items], np.full(len(padded), PADDING)])[order]
    return Index(
        starts=np.concatenate([starts[long], begins]),
        ends=np.cumsum(np.concatenate([whole[long], sizes])),
        goes_on=np.concatenate([rest[long] > 0, np.zeros(len(sizes), bool)]),
    )
