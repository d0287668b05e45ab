"""From what the two searches found to one file of cuts per split: trim, join and sort the passages, and put ids in the place of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dedup.candidates import NO_RANK
from pipeline.dedup.passage_files import (
    FOUND,
    Columns,
    RunWriter,
    concatenated,
    load_ranks,
    parts_for,
    places_by_rank,
    read_between,
    read_columns,
    staying,
    take,
)
from pipeline.ranges import Range, write_sorted
from pipeline.refine.signals import text_buffers
from pipeline.schema import CUT_PASSAGE
from pipeline.segment import Segment
from pipeline.shards import write_table
from pipeline.splits import Split

KINDS = ("paragraph", "substring")
"""Kinds of passages, by the numbers in SPAN."""

SPAN = pa.schema(
    [("place", pa.int64())] + [(name, pa.uint32()) for name in ("start", "end", "kind", "original")] + [("copies", pa.int64())]
)
"""A cut: place of its document among the usable ones of the split, bytes [start, end), KINDS, rank of the document that has it."""

RANKS = pa.schema([("rank", pa.uint32())])
NAMES = pa.schema([("rank", pa.uint32()), ("id", pa.string())])
ANSWERS = pa.schema([("split", pa.uint32()), *NAMES])

CUTS = pa.schema([("id", pa.string()), *CUT_PASSAGE])
"""The result: the cuts of one split, in the order of its documents and of their texts; those of a document don't overlap."""


@dataclass(frozen=True)
class SpansTask:
    """Write of one split `<split>-spans.parquet` (SPAN), `<split>-names.parquet` (NAMES) and `<split>-wanted.parquet` (RANKS): the cuts,
    the ids of all documents that stay, and the documents whose ids the cuts need.

    number: the split's place among all. paragraphs, substrings: files (FOUND). size: least bytes of a substring, None if not looked for.
    """

    split: Split
    number: int
    ranks: str = field(metadata={"fingerprint": False})
    paragraphs: tuple[str, ...] = field(metadata={"fingerprint": False})
    substrings: tuple[str, ...] = field(metadata={"fingerprint": False})
    size: int | None
    version: str = "1"

    @property
    def name(self) -> str:
        return self.split.name

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.ranks, *self.paragraphs, *self.substrings)

    def __call__(self, folder: Path) -> dict[str, Any]:
        ranks = load_ranks(self.ranks)
        paragraphs = self._found(self.paragraphs, ranks)
        substrings = united(self._found(self.substrings, ranks))
        spans, names = [], [NAMES.empty_table()]
        for table, places in staying(self.split, ranks, ("id", "text") if self.size else ("id",)):
            names.append(pa.table([ranks[places], table.column("id")], schema=NAMES))
            spans.append(_of_kind(0, _here(paragraphs, places)))
            if self.size:
                whole = trimmed(*text_buffers(table.column("text")), places, _here(substrings, places), self.size)
                spans.append(_of_kind(1, whole))
        known = pa.concat_tables(names).sort_by("rank")
        write_sorted(folder / f"{self.name}-names.parquet", known, "rank")
        apart = disjoint(concatenated(SPAN, spans))
        for what, schema, columns in (("spans", SPAN, apart), ("wanted", RANKS, {"rank": np.unique(apart["original"])})):
            with RunWriter(folder / f"{self.name}-{what}.parquet", schema) as writer:
                writer.add(columns)
        standing = ranks[ranks != NO_RANK]
        return {"documents": len(known), "passages": len(apart["place"]), "last_rank": int(standing.max()) if len(standing) else 0}

    def _found(self, files: tuple[str, ...], ranks: np.ndarray) -> Columns:
        """What was found in this split, with `place`, sorted by place and start."""
        found = concatenated(FOUND, [read_columns(path, self.number, self.number) for path in files])
        found["place"] = places_by_rank(ranks, found["rank"])
        return take(found, np.lexsort((found["start"], found["place"])))


def _here(found: Columns, places: np.ndarray) -> Columns:
    """The findings, sorted by place, of a table of documents."""
    low, high = np.searchsorted(found["place"], [places[0], places[-1] + 1])
    return take(found, slice(low, high))


def _of_kind(kind: int, found: Columns) -> Columns:
    return concatenated(SPAN, [found | {"kind": np.full(len(found["place"]), kind)}])


def united(found: Columns) -> Columns:
    """Findings, sorted by place and start, with those joined that overlap or touch; the first one's original and copies stay."""
    if not len(found["place"]):
        return found
    ends = np.maximum.accumulate(_absolute(found["place"], found["end"]))
    apart = np.ones(len(ends), np.bool_)
    apart[1:] = _absolute(found["place"], found["start"])[1:] > ends[:-1]
    begins = np.flatnonzero(apart)
    lasts = np.append(begins[1:], len(ends)) - 1
    return take(found, begins) | {"end": (ends[lasts] & np.int64(0xFFFFFFFF)).astype(np.uint32)}


def _absolute(places: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """int64: positions in all documents of a split, one after the other; only those of one document are close together."""
    return (places << 33) + positions.astype(np.int64)


def trimmed(data: np.ndarray, offsets: np.ndarray, places: np.ndarray, found: Columns, size: int) -> Columns:
    """Findings in these texts (of the documents at `places`), shortened to whole characters, without those left with less than `size`.

    No whole-character range of `size` bytes is lost: such a range lies within the finding that covers it, and so within whole characters.
    """
    rows = np.searchsorted(places, found["place"])
    begins, stops = offsets[rows], offsets[rows + 1]
    starts, ends = begins + found["start"], begins + found["end"]
    for _ in range(3):  # a UTF-8 character has at most three continuation bytes
        starts = starts + (_continues(data, starts) & (starts < ends))
        ends = ends - (_continues(data, ends) & (ends < stops) & (ends > starts))
    whole = found | {"start": (starts - begins).astype(np.uint32), "end": (ends - begins).astype(np.uint32)}
    return take(whole, ends - starts >= size)


def _continues(data: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Whether the bytes at these positions continue a character."""
    return (data[np.minimum(positions, len(data) - 1)] & 0xC0) == 0x80 if len(positions) else np.zeros(0, np.bool_)


def disjoint(spans: Columns) -> Columns:
    """Spans (SPAN) sorted by place and start; where two overlap, the one that begins first (then the longer) has the bytes of both."""
    spans = take(spans, np.lexsort((spans["kind"], -spans["end"].astype(np.int64), spans["start"], spans["place"])))
    if not len(spans["place"]):
        return spans
    reached = np.maximum.accumulate(_absolute(spans["place"], spans["end"]))
    begins = _absolute(spans["place"], spans["start"])
    begins[1:] = np.maximum(begins[1:], reached[:-1])
    starts = begins - (spans["place"] << 33)
    return take(spans | {"start": np.minimum(starts, spans["end"]).astype(np.uint32)}, starts < spans["end"])


@dataclass(frozen=True)
class NamesTask:
    """Write `names-<part>.parquet` (ANSWERS): ids of the documents that splits want, of one range of ranks. last_rank: the last of all."""

    wanted: tuple[str, ...] = field(metadata={"fingerprint": False})
    names: tuple[str, ...] = field(metadata={"fingerprint": False})
    part: int
    parts: int
    last_rank: int
    version: str = "1"

    @property
    def name(self) -> str:
        return f"names-{self.part:04d}"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*self.wanted, *self.names)

    def __call__(self, folder: Path) -> dict[str, Any]:
        here = Range(self.part, self.parts, self.last_rank + 1)
        tables = (read_between(path, here.first, here.last) for path in self.names)
        known = pa.concat_tables([NAMES.empty_table(), *tables]).sort_by("rank")
        ranks, ids = known.column("rank").to_numpy(), known.column("id")
        answered = 0
        with pq.ParquetWriter(folder / f"{self.name}.parquet", ANSWERS, compression="zstd") as writer:
            for number, path in enumerate(self.wanted):
                wanted = read_columns(path, here.first, here.last)["rank"]
                answer = ids.take(pa.array(np.searchsorted(ranks, wanted)))
                writer.write_table(pa.table([np.full(len(wanted), number, np.uint32), wanted, answer], schema=ANSWERS))
                answered += len(wanted)
        return {"answered": answered}


@dataclass(frozen=True)
class CutsTask:
    """Write `<split>.parquet` (CUTS): the cuts of one split with the ids of the documents. number: the split's place among all."""

    split: Split
    number: int
    ranks: str = field(metadata={"fingerprint": False})
    spans: str = field(metadata={"fingerprint": False})
    answers: tuple[str, ...] = field(metadata={"fingerprint": False})
    names: str = field(metadata={"fingerprint": False})
    version: str = "1"

    @property
    def name(self) -> str:
        return self.split.name

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.ranks, self.spans, self.names, *self.answers)

    def __call__(self, folder: Path) -> dict[str, Any]:
        spans = pq.read_table(self.spans, use_threads=False)
        own = pq.read_table(self.names, use_threads=False)
        answers = pa.concat_tables([ANSWERS.empty_table(), *(read_between(path, self.number, self.number) for path in self.answers)])
        ranks = load_ranks(self.ranks)[spans.column("place").to_numpy()]
        columns = [
            _named(ranks, own),
            spans.column("start").cast(pa.int64()),
            spans.column("end").cast(pa.int64()),
            pa.array(KINDS).take(spans.column("kind").combine_chunks()),
            _named(spans.column("original").to_numpy(), answers),
            spans.column("copies"),
        ]
        write_table(folder / f"{self.name}.parquet", pa.table(columns, schema=CUTS))
        cut_bytes = int((spans.column("end").to_numpy().astype(np.int64) - spans.column("start").to_numpy()).sum())
        return {"passages": len(spans), "cut_bytes": cut_bytes}


def _named(ranks: np.ndarray, names: pa.Table) -> pa.ChunkedArray:
    """The ids of documents with these ranks."""
    known = names.column("rank").to_numpy()
    return names.column("id").take(pa.array(places_by_rank(known, ranks)))


def merge_found(
    segment: Segment,
    splits: Sequence[Split],
    ranks: Sequence[str],
    paragraphs: tuple[str, ...],
    substrings: tuple[str, ...],
    size: int | None,
) -> dict[str, tuple[str, str]]:
    """The cuts of each split (see `find_passages`) from the findings (FOUND) of both searches; splits in the order that these count."""
    numbered = list(enumerate(zip(splits, ranks, strict=True)))
    receipts = segment.step(
        "passage_spans", [SpansTask(split, number, path, paragraphs, substrings, size) for number, (split, path) in numbered]
    )
    folder = segment.step_folder("passage_spans")
    spans, names, wanted = (
        tuple(str(folder / f"{split.name}-{kind}.parquet") for split in splits) for kind in ("spans", "names", "wanted")
    )
    parts = parts_for(sum(int(receipt["documents"]) for receipt in receipts))
    last_rank = max((int(receipt["last_rank"]) for receipt in receipts), default=0)
    lookups = [NamesTask(wanted, names, part, parts, last_rank) for part in range(parts)]
    segment.step("passage_names", lookups)
    folder = segment.step_folder("passage_names")
    answers = tuple(str(folder / f"{task.name}.parquet") for task in lookups)
    tasks = [CutsTask(split, number, path, spans[number], answers, names[number]) for number, (split, path) in numbered]
    receipts = segment.step("passages", tasks)
    folder = segment.step_folder("passages")
    files = [f"{split.name}.parquet" for split in splits]
    pairs = zip(splits, receipts, files, strict=True)
    return {split.name: (str(folder / file), str(receipt["outputs"][file]["xxh3"])) for split, receipt, file in pairs}
