"""A small corpus on disk as the searches for passages see it: splits, ranks, and an engine without processes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dedup.candidates import NO_RANK
from pipeline.engine import Outcome, run_task
from pipeline.progress import Progress
from pipeline.schema import with_columns
from pipeline.segment import Segment
from pipeline.splits import DOCUMENTS, Part, Split


class InlineEngine:
    """Runs tasks one after the other in this process."""

    name, workers = "inline", 1

    def map(self, tasks: Sequence[Any]) -> Iterator[Outcome]:
        yield from (run_task(task) for task in tasks)

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class Document:
    """A document of the scene; rank None: it was dropped."""

    id: str
    text: str | None
    rank: int | None
    host: str | None = None


def segment(folder: Path) -> Segment:
    return Segment(folder, "dedup", InlineEngine(), Progress(quiet=True), 0.0)


def write_splits(folder: Path, documents: Sequence[Document], count: int, row_group: int = 3) -> tuple[list[Split], list[str]]:
    """(splits, paths of their ranks): the documents dealt out to `count` splits."""
    folder.mkdir(parents=True, exist_ok=True)
    splits, ranks = [], []
    for number in range(count):
        mine = documents[number::count]
        columns = {"host": [one.host for one in mine], "text": [one.text for one in mine]}
        table = with_columns(pa.table({"id": pa.array([one.id for one in mine], pa.string())}), columns)
        path = folder / f"part-{number}.parquet"
        pq.write_table(table, path, row_group_size=row_group)
        splits.append(Split(f"part-{number}", (Part(str(path), path.name, DOCUMENTS, "test", str(number), path.stat().st_size),)))
        np.save(folder / f"part-{number}.npy", np.array([NO_RANK if one.rank is None else one.rank for one in mine], np.uint32))
        ranks.append(str(folder / f"part-{number}.npy"))
    return splits, ranks


def ranked(texts: Sequence[str | None], seed: int = 0, hosts: Sequence[str | None] | None = None) -> list[Document]:
    """Documents with these texts, in an order that has nothing to do with their ranks; about one in eight was dropped."""
    random_ = random.Random(seed)
    ranks = random_.sample(range(4 * len(texts)), len(texts))
    hosts = hosts or [None] * len(texts)
    return [
        Document(f"d{place}", text, None if random_.random() < 0.12 else rank, host)
        for place, (text, rank, host) in enumerate(zip(texts, ranks, hosts, strict=True))
    ]
