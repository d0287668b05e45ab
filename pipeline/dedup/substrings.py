"""Find every byte range of the corpus that stands somewhere before: exact substrings of at least `size` bytes, whatever the corpus' size.

The definition (after Lee et al., "Deduplicating Training Data Makes Language Models Better", ACL 2022, but one copy stays): documents are
ordered by rank. A window of `size` bytes is repeated if the same bytes stand at an earlier place, in a better document or before it in its
own; what is repeated is the union of such windows. Four steps over files find exactly that, without an index of the corpus:

1. Each split cuts its windows into blocks of the same anchor, and writes the hashes of anchor and block (`substrings_kernel`).
2. Ranges of anchors compare blocks: equal windows have equal anchors. Where all blocks of an anchor are equal, the first one is the
   original. Where they differ, each distinct block is asked for its windows.
3. Each split writes the hash of each window that it was asked for.
4. Ranges of window hashes tell which windows are repeated, and what the first of them is.

Windows are equal when two hashes of 61 bits agree; blocks, when these do for their first and last windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.dedup.passage_files import (
    FOUND,
    RUN_RECORDS,
    Columns,
    RunWriter,
    begins_of,
    concatenated,
    gather,
    load_ranks,
    parts_for,
    places_by_rank,
    read_columns,
    staying,
    take,
    write_found,
)
from pipeline.refine.signals import text_buffers
from pipeline.segment import Segment
from pipeline.splits import Split

BLOCKS_PER_CALL = 1 << 20
"""Blocks that a call of the kernel may return: a text of one letter has as many blocks as bytes."""

BLOCK = pa.schema([(name, pa.uint64()) for name in ("hash", "a", "b")] + [(name, pa.uint32()) for name in ("rank", "start", "windows")])
"""A block: hash of its anchor, two of its bytes, rank of its document, place of its first window, number of windows."""

ASKED = pa.schema([(name, pa.uint32()) for name in ("split", "rank", "start", "windows")] + [("weight", pa.int64())])
"""A block whose windows are to be hashed; weight: the blocks that equal it. 0: such an equal one, all of which is repeated, so that only
its first window is hashed, to learn what that repeats."""

WINDOW = pa.schema(
    [(name, pa.uint64()) for name in ("hash", "b")]
    + [(name, pa.uint32()) for name in ("rank", "start", "windows")]
    + [("weight", pa.int64())]
)
"""A window: two hashes, where it stands, the windows from it on that are repeated if it is, and the places that it stands for."""


def gram_bytes(size: int) -> int:
    """Bytes of the grams that anchors are chosen among: 2/3 of a window. With longer grams there are more blocks (6 per `size` bytes here,
    4 with 1/2), with shorter ones more texts share an anchor but no window: at 1/2, statutes had twice as many windows hashed in vain."""
    return max(1, 2 * size // 3)


@dataclass(frozen=True)
class BlocksTask:
    """Write `<split>.parquet` (BLOCK): the blocks of one split's documents that stay."""

    split: Split
    ranks: str = field(metadata={"fingerprint": False})
    size: int
    version: str = "1"

    @property
    def name(self) -> str:
        return self.split.name

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.ranks,)

    def __call__(self, folder: Path) -> dict[str, Any]:
        ranks = load_ranks(self.ranks)
        with RunWriter(folder / f"{self.name}.parquet", BLOCK) as writer:
            for table, places in staying(self.split, ranks, ("text",)):
                data, offsets = text_buffers(table.column("text"))
                for blocks in blocks_of(data, offsets, self.size, gram_bytes(self.size)):
                    documents = blocks.pop("document")
                    writer.add(blocks | {"rank": ranks[places[documents]]})
        return {"records": writer.records}


def blocks_of(data: np.ndarray, offsets: np.ndarray, size: int, gram: int, capacity: int = BLOCKS_PER_CALL) -> Iterator[Columns]:
    """The blocks of documents (UTF-8 bytes and rows + 1 offsets): BLOCK with `document` (row, int64) for `rank`."""
    from pipeline.dedup.substrings_kernel import gram_tables, select_blocks, window_tables

    tables = (*gram_tables(gram), *window_tables(size))
    document, window = 0, 0
    while document < len(offsets) - 1:
        documents = np.empty(capacity, np.int64)
        starts, windows = np.empty(capacity, np.uint32), np.empty(capacity, np.uint32)
        anchors, first, second = (np.empty(capacity, np.uint64) for _ in range(3))
        out: tuple[np.ndarray, ...] = (documents, starts, windows, anchors, first, second)
        written, document, window = select_blocks(data, offsets, document, window, size, gram, *tables, *out)
        named = zip(("document", "start", "windows", "hash", "a", "b"), out, strict=True)
        yield {name: values[:written].copy() for name, values in named}


@dataclass(frozen=True)
class AnchorsTask:
    """Write `anchors-<part>-found.parquet` (FOUND) and `anchors-<part>-asked.parquet` (ASKED) of one range of anchors."""

    collected: tuple[str, ...] = field(metadata={"fingerprint": False})
    part: int
    parts: int
    size: int
    version: str = "1"

    @property
    def name(self) -> str:
        return f"anchors-{self.part:04d}"

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.collected

    def __call__(self, folder: Path) -> dict[str, Any]:
        found, asked = compare_blocks(gather(self.collected, BLOCK, self.part, self.parts, at_least=2), self.size)
        write_found(folder / f"{self.name}-found.parquet", found)
        with RunWriter(folder / f"{self.name}-asked.parquet", ASKED) as writer:
            writer.add(asked)
        return {"found": len(found["rank"]), "asked": len(asked["rank"])}


def compare_blocks(blocks: Columns, size: int) -> tuple[Columns, Columns]:
    """(FOUND, ASKED) of blocks (BLOCK with `split`) among which are all of each of their anchors."""
    blocks = take(blocks, np.lexsort((_order(blocks), blocks["b"], blocks["a"], blocks["hash"])))
    anchors, groups = begins_of(blocks["hash"]), begins_of(blocks["hash"], blocks["a"], blocks["b"])
    sizes = np.diff(np.append(groups, len(blocks["hash"])))
    anchor_of = np.searchsorted(anchors, groups, side="right") - 1
    varied = (np.bincount(anchor_of, minlength=len(anchors)) > 1)[anchor_of]
    is_first = np.zeros(len(blocks["hash"]), np.bool_)
    is_first[groups] = True
    everything = blocks | {
        "end": blocks["start"] + (blocks["windows"] + np.uint32(size - 1)),
        "original": np.repeat(blocks["rank"][groups], sizes),
        "copies": np.repeat(sizes, sizes),
        "weight": np.repeat(sizes, sizes) * is_first,
    }
    varied = np.repeat(varied, sizes)
    return concatenated(FOUND, [take(everything, ~varied & ~is_first)]), concatenated(ASKED, [take(everything, varied)])


@dataclass(frozen=True)
class WindowsTask:
    """Write `<split>.parquet` (WINDOW): the windows that one split is asked for.

    number: the split's place among all.
    """

    split: Split
    number: int
    ranks: str = field(metadata={"fingerprint": False})
    asked: tuple[str, ...] = field(metadata={"fingerprint": False})
    size: int
    version: str = "1"

    @property
    def name(self) -> str:
        return self.split.name

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.ranks, *self.asked)

    def __call__(self, folder: Path) -> dict[str, Any]:
        ranks = load_ranks(self.ranks)
        asked = concatenated(ASKED, [read_columns(path, self.number, self.number) for path in self.asked])
        asked["place"] = places_by_rank(ranks, asked["rank"])
        asked = take(asked, np.lexsort((asked["start"], asked["place"])))
        with RunWriter(folder / f"{self.name}.parquet", WINDOW) as writer:
            if len(asked["place"]):
                for table, places in staying(self.split, ranks, ("text",)):
                    low, high = np.searchsorted(asked["place"], [places[0], places[-1] + 1])
                    here = take(asked, slice(low, high))
                    here["document"] = np.searchsorted(places, here["place"])
                    for windows in windows_of(*text_buffers(table.column("text")), here, self.size):
                        writer.add(windows)
        return {"records": writer.records}


def windows_of(data: np.ndarray, offsets: np.ndarray, asked: Columns, size: int) -> Iterator[Columns]:
    """The windows (WINDOW) of blocks (ASKED with `document`, the row of the texts), which are in the order of the texts."""
    from pipeline.dedup.substrings_kernel import hash_windows, window_tables

    counts = np.where(asked["weight"] > 0, asked["windows"], 1).astype(np.int64)
    ends = np.cumsum(counts)
    low = 0
    while low < len(counts):
        high = max(low + 1, int(np.searchsorted(ends, ends[low] + RUN_RECORDS)))
        blocks, count = take(asked, slice(low, high)), counts[low:high]
        begins = np.cumsum(count) - count
        hashes = np.empty(int(count.sum()), np.uint64), np.empty(int(count.sum()), np.uint64)
        starts = blocks["start"].astype(np.int64)
        hash_windows(data, offsets, blocks["document"], starts, count, size, *window_tables(size), *hashes)
        windows = take(blocks, np.repeat(np.arange(len(count)), count))
        windows["start"] = np.repeat(starts - begins, count) + np.arange(len(hashes[0]))
        windows["windows"] = np.where(windows["weight"] > 0, 1, windows["windows"])
        yield concatenated(WINDOW, [windows | {"hash": hashes[0], "b": hashes[1]}])
        low = high


def _order(places: Columns) -> np.ndarray:
    """uint64 that sort as rank and start do, with one key in the place of two."""
    return (places["rank"].astype(np.uint64) << np.uint64(32)) | places["start"]


@dataclass(frozen=True)
class RepeatsTask:
    """Write `repeats-<part>.parquet` (FOUND) of one range of window hashes."""

    collected: tuple[str, ...] = field(metadata={"fingerprint": False})
    part: int
    parts: int
    size: int
    version: str = "1"

    @property
    def name(self) -> str:
        return f"repeats-{self.part:04d}"

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.collected

    def __call__(self, folder: Path) -> dict[str, Any]:
        found = compare_windows(gather(self.collected, WINDOW, self.part, self.parts, at_least=2), self.size)
        write_found(folder / f"{self.name}.parquet", found)
        return {"found": len(found["rank"])}


def compare_windows(windows: Columns, size: int) -> Columns:
    """FOUND of windows (WINDOW with `split`): all but the first of equal ones."""
    windows = take(windows, np.lexsort((_order(windows), windows["b"], windows["hash"])))
    groups = begins_of(windows["hash"], windows["b"])
    sizes = np.diff(np.append(groups, len(windows["hash"])))
    copies = np.add.reduceat(windows["weight"], groups) if len(groups) else np.zeros(0, np.int64)
    repeated = np.ones(len(windows["hash"]), np.bool_)
    repeated[groups] = False
    everything = windows | {
        "end": windows["start"] + (windows["windows"] + np.uint32(size - 1)),
        "original": np.repeat(windows["rank"][groups], sizes),
        "copies": np.repeat(copies, sizes),
    }
    return concatenated(FOUND, [take(everything, repeated)])


def find_substrings(segment: Segment, splits: Sequence[Split], ranks: Sequence[str], size: int) -> tuple[str, ...]:
    """Files (FOUND, `split` counting `splits`) with the repeated byte ranges of at least `size` bytes, in pieces that overlap or touch."""
    receipts = segment.step("substring_blocks", [BlocksTask(split, path, size) for split, path in zip(splits, ranks, strict=True)])
    folder = segment.step_folder("substring_blocks")
    blocks, parts = tuple(str(folder / f"{split.name}.parquet") for split in splits), _parts(receipts)
    anchors = [AnchorsTask(blocks, part, parts, size) for part in range(parts)]
    segment.step("substring_anchors", anchors)
    folder = segment.step_folder("substring_anchors")
    found, asked = (tuple(str(folder / f"{task.name}-{kind}.parquet") for task in anchors) for kind in ("found", "asked"))
    numbered = enumerate(zip(splits, ranks, strict=True))
    receipts = segment.step("substring_windows", [WindowsTask(split, number, path, asked, size) for number, (split, path) in numbered])
    folder = segment.step_folder("substring_windows")
    windows, parts = tuple(str(folder / f"{split.name}.parquet") for split in splits), _parts(receipts)
    repeats = [RepeatsTask(windows, part, parts, size) for part in range(parts)]
    segment.step("substring_repeats", repeats)
    folder = segment.step_folder("substring_repeats")
    return (*found, *(str(folder / f"{task.name}.parquet") for task in repeats))


def _parts(receipts: Sequence[dict[str, Any]]) -> int:
    return parts_for(sum(int(receipt["records"]) for receipt in receipts))
