"""Verification as tasks over files: bring the texts of candidate pairs together, and compare them.

Each split is read once, and writes the texts that are compared at all, in the order of the chunks of pairs that need them; each chunk then
reads its texts from all splits. So the work grows with the corpus and with its duplicates, and with nothing squared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dedup.components import forest
from pipeline.dedup.shingles import Shingling, prepare
from pipeline.dedup.tasks import CHUNKED, NEEDS
from pipeline.dedup.verdicts import Pairs
from pipeline.dedup.verify import exact_similarities
from pipeline.documents import usable_documents
from pipeline.errors import RunFailed
from pipeline.ranges import SortedWriter, read_arrays, read_range
from pipeline.shards import write_table
from pipeline.splits import Split

VERIFY_BYTES = 64 << 20
"""Text bytes that one verification task holds: four bytes per character when prepared, so 256 MB for English."""

TEXTS = pa.schema([pa.field("task", pa.int32()), pa.field("number", pa.uint32()), pa.field("text", pa.large_string())])


@dataclass(frozen=True)
class TextsTask:
    """Write `<split>.parquet` (TEXTS): the texts of one split that verification tasks need, in the order of these tasks.

    begin: number of the split's first document. edges: the files of EdgesTask; first_tasks: of each of them, the number of the task that
    has its first chunk. paired: hash of the step that wrote them.
    """

    split: Split
    begin: int
    count: int
    edges: tuple[str, ...] = field(metadata={"fingerprint": False})
    first_tasks: tuple[int, ...]
    paired: str
    version: str = "1"

    @property
    def name(self) -> str:
        return self.split.name

    def __call__(self, folder: Path) -> dict[str, Any]:
        tasks, numbers = self._needs()
        needed = np.unique(numbers)
        texts = self._texts(needed - self.begin)
        if len(texts) != len(needed):
            raise RunFailed(
                f"{len(needed) - len(texts)} documents are gone since they were sketched; the input changed during the run, start it again"
            )
        with SortedWriter(folder / f"{self.name}.parquet", TEXTS, "task") as writer:
            for start, stop in _runs(tasks):
                text = texts.take(pa.array(np.searchsorted(needed, numbers[start:stop])))
                writer.write(pa.table([tasks[start:stop], numbers[start:stop].astype(np.uint32), text], schema=TEXTS))
        return {"texts": len(tasks)}

    def _needs(self) -> tuple[np.ndarray, np.ndarray]:
        """(tasks int32[n], numbers int64[n]) of the texts to write, sorted by task and number."""
        tasks, numbers = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
        for path, first in zip(self.edges, self.first_tasks, strict=True):
            number, chunk = read_arrays(
                [path.removesuffix(".parquet") + "-needs.parquet"], "number", self.begin, self.begin + self.count - 1, NEEDS
            )
            tasks.append((chunk + first).astype(np.int32))
            numbers.append(number.astype(np.int64))
        task, number = np.concatenate(tasks), np.concatenate(numbers)
        order = np.lexsort((number, task))
        return task[order], number[order]

    def _texts(self, rows: np.ndarray) -> pa.ChunkedArray:
        """The texts of these (ascending) rows among the usable documents of the split."""
        pieces, begin = [pa.chunked_array([], pa.large_string())], 0
        for table in usable_documents(self.split, ("text", "error", "drop_reason")) if len(rows) else ():
            low, high = np.searchsorted(rows, [begin, begin + len(table)])
            if high > low:
                pieces.append(table.column("text").take(pa.array(rows[low:high] - begin)).cast(pa.large_string()))
            begin += len(table)
            if high == len(rows):
                break
        return pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks], pa.large_string()).combine_chunks()


def _runs(values: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each run of equal values."""
    cuts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)] if len(values) else [0]
    return list(pairwise(cuts))


@dataclass(frozen=True)
class VerifyTask:
    """Write `verify-<task>.parquet`: those pairs (better, worse, similarity) of one chunk whose texts are similar enough, sorted by worse.

    For chains only a spanning forest of them is written: all that components need. texts: the files of TextsTask; collected: hash of
    them, of the edges and of the order.
    """

    edges: str = field(metadata={"fingerprint": False})
    order: str = field(metadata={"fingerprint": False})
    texts: tuple[str, ...] = field(metadata={"fingerprint": False})
    collected: str
    task: int
    chunk: int
    threshold: float
    shingling: Shingling
    chains: bool
    version: str = "2"

    @property
    def name(self) -> str:
        return f"verify-{self.task:05d}"

    def __call__(self, folder: Path) -> dict[str, Any]:
        _, worse, better = read_arrays([self.edges], "chunk", self.chunk, self.chunk, CHUNKED)
        known, text = self._texts()
        prepared = prepare(text, self.shingling)
        del text
        place = np.argsort(known)
        number = np.load(Path(self.order) / "order-number.npy", mmap_mode="r", allow_pickle=False)
        sides = [place[np.searchsorted(known[place], number[ranks])] for ranks in (worse, better)]
        similarity = exact_similarities(prepared, sides[0], sides[1], self.shingling, self.threshold)
        similar = similarity >= self.threshold
        pairs = Pairs(better[similar], worse[similar], similarity[similar])
        write_table(folder / f"{self.name}.parquet", pair_table(spanning(pairs) if self.chains else pairs))
        return {"compared": len(similar), "similar": int(similar.sum())}

    def _texts(self) -> tuple[np.ndarray, pa.ChunkedArray]:
        """(numbers uint32[n], their texts) of this task."""
        tables = [TEXTS.empty_table(), *(table for path in self.texts for table in read_range(path, "task", self.task, self.task))]
        table = pa.concat_tables(tables)
        return table.column("number").to_numpy(), table.column("text")


@dataclass(frozen=True)
class ForestTask:
    """Write `<name>.parquet`: a spanning forest of the pairs of several files, the inner nodes of the tree that merges them."""

    name: str
    pairs: tuple[str, ...] = field(metadata={"fingerprint": False})
    verified: str
    version: str = "1"

    def __call__(self, folder: Path) -> dict[str, Any]:
        parts = [read_pairs(path) for path in self.pairs]
        merged = Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("better", "worse", "similarity")))
        tree = spanning(merged)
        write_table(folder / f"{self.name}.parquet", pair_table(tree))
        return {"pairs": len(tree.better)}


def spanning(pairs: Pairs) -> Pairs:
    """Those pairs that hold the components together."""
    chosen = forest(pairs.better, pairs.worse, pairs.similarity)
    return Pairs(pairs.better[chosen], pairs.worse[chosen], pairs.similarity[chosen])


def pair_table(pairs: Pairs) -> pa.Table:
    """Pairs as a table."""
    return pa.table({"better": pairs.better, "worse": pairs.worse, "similarity": pairs.similarity})


def read_pairs(path: str) -> Pairs:
    """The pairs of a file that `pair_table` describes."""
    table = pq.read_table(path, use_threads=False)
    return Pairs(*(table.column(name).to_numpy() for name in ("better", "worse", "similarity")))
