"""Find the paragraphs that several documents of one host share: all but the copy in the best of them are to be cut.

A paragraph is a line of text. Two are equal if their letters and digits are, after NFKC and case folding (`decontam.normalize`), so
spacing, punctuation and capitals don't hide a copy. Two steps over files: each split writes the hashes of its paragraphs, ranges of hashes
count the documents in which each stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from decontam.normalize import NORMALIZER_VERSION, normalize_buffers
from pipeline.dedup.config import ParagraphsConfig
from pipeline.dedup.passage_files import (
    FOUND,
    Columns,
    RunWriter,
    begins_of,
    concatenated,
    gather,
    load_ranks,
    parts_for,
    staying,
    take,
    write_found,
)
from pipeline.refine.lines import host_salts
from pipeline.refine.signals import text_buffers
from pipeline.segment import Segment
from pipeline.splits import Split

PARAGRAPH = pa.schema([("hash", pa.uint64())] + [(name, pa.uint32()) for name in ("rank", "start", "end")])
"""A paragraph: hash of its host, letters and digits; rank of its document; bytes [start, end) of the text, line feed excluded."""

_LINE_FEED = 10


@dataclass(frozen=True)
class CollectParagraphsTask:
    """Write `<split>.parquet` (PARAGRAPH): the paragraphs of one split's documents that stay and have a host."""

    split: Split
    ranks: str = field(metadata={"fingerprint": False})
    min_bytes: int
    normalizer: str = NORMALIZER_VERSION
    version: str = "1"

    @property
    def name(self) -> str:
        return self.split.name

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.ranks,)

    def __call__(self, folder: Path) -> dict[str, Any]:
        ranks = load_ranks(self.ranks)
        with RunWriter(folder / f"{self.name}.parquet", PARAGRAPH) as writer:
            for table, places in staying(self.split, ranks, ("text", "host")):
                hosted = pc.not_equal(pc.fill_null(table.column("host"), ""), "")
                table, places = table.filter(hosted), places[hosted.to_numpy()]
                if len(table):
                    paragraphs = paragraphs_of(table.column("text"), table.column("host"), self.min_bytes)
                    writer.add(paragraphs | {"rank": ranks[places[paragraphs["document"]]]})
        return {"records": writer.records}


def paragraphs_of(texts: pa.ChunkedArray, hosts: pa.ChunkedArray, min_bytes: int) -> Columns:
    """The paragraphs whose letters and digits have so many UTF-8 bytes: PARAGRAPH with `document` (row) for `rank`."""
    from pipeline.dedup.paragraphs_kernel import hash_codepoints

    data, offsets = text_buffers(texts)
    feeds = np.flatnonzero(data[offsets[0] : offsets[-1]] == _LINE_FEED) + offsets[0]
    bounds = np.sort(np.concatenate([offsets, feeds + 1]), kind="stable")  # each line with its line feed
    normalized = normalize_buffers(data, bounds)
    documents = np.searchsorted(offsets, bounds[:-1], side="right") - 1
    documents = np.minimum(documents, len(offsets) - 2)
    hashes = np.empty(len(documents), np.uint64)
    hash_codepoints(normalized.codepoints, normalized.offsets, host_salts(hosts)[documents], hashes)
    codes = normalized.codepoints
    widths = (codes >= 0x80).astype(np.uint8) + (codes >= 0x800) + (codes >= 0x10000) + np.uint8(1)
    sizes = np.concatenate((np.zeros(1, np.int64), np.cumsum(widths, dtype=np.int64)))[normalized.offsets]
    chosen = np.flatnonzero(np.diff(sizes) >= min_bytes)
    starts, ends, documents = bounds[chosen], bounds[chosen + 1], documents[chosen]
    ends = ends - (data[ends - 1] == _LINE_FEED)
    begins = offsets[documents]
    return {"hash": hashes[chosen], "document": documents, "start": starts - begins, "end": ends - begins}


@dataclass(frozen=True)
class CountParagraphsTask:
    """Write `paragraphs-<part>.parquet` (FOUND): of one range of hashes all but the best copy of each paragraph in enough documents."""

    collected: tuple[str, ...] = field(metadata={"fingerprint": False})
    part: int
    parts: int
    min_documents: int
    version: str = "1"

    @property
    def name(self) -> str:
        return f"paragraphs-{self.part:04d}"

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.collected

    def __call__(self, folder: Path) -> dict[str, Any]:
        records = gather(self.collected, PARAGRAPH, self.part, self.parts, at_least=self.min_documents)
        found = compare_paragraphs(records, self.min_documents)
        write_found(folder / f"{self.name}.parquet", found)
        return {"found": len(found["rank"])}


def compare_paragraphs(paragraphs: Columns, min_documents: int) -> Columns:
    """FOUND of paragraphs (PARAGRAPH with `split`) among which are all equal ones: all but the first of those in enough documents."""
    paragraphs = take(paragraphs, np.lexsort([paragraphs[name] for name in ("start", "rank", "hash")]))
    groups = begins_of(paragraphs["hash"])
    sizes = np.diff(np.append(groups, len(paragraphs["hash"])))
    in_documents = begins_of(paragraphs["hash"], paragraphs["rank"])
    documents = np.bincount(np.searchsorted(groups, in_documents, side="right") - 1, minlength=len(groups))
    repeated = np.repeat(documents >= min_documents, sizes)
    repeated[groups] = False
    everything = paragraphs | {"original": np.repeat(paragraphs["rank"][groups], sizes), "copies": np.repeat(documents, sizes)}
    return concatenated(FOUND, [take(everything, repeated)])


def find_paragraphs(segment: Segment, splits: Sequence[Split], ranks: Sequence[str], config: ParagraphsConfig) -> tuple[str, ...]:
    """Files (FOUND, `split` counting `splits`) with the paragraphs that are to be cut."""
    tasks = [CollectParagraphsTask(split, path, config.min_bytes) for split, path in zip(splits, ranks, strict=True)]
    receipts = segment.step("paragraph_hashes", tasks)
    folder = segment.step_folder("paragraph_hashes")
    collected = tuple(str(folder / f"{split.name}.parquet") for split in splits)
    parts = parts_for(sum(int(receipt["records"]) for receipt in receipts))
    counts = [CountParagraphsTask(collected, part, parts, config.min_documents) for part in range(parts)]
    segment.step("paragraph_counts", counts)
    folder = segment.step_folder("paragraph_counts")
    return tuple(str(folder / f"{task.name}.parquet") for task in counts)
