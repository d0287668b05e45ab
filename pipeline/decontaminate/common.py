"""How common each match's text is in the corpus: the matches of all splits counted together, and written again with the counts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from decontam.common import count_documents
from pipeline.decontaminate.scan import SCAN_SCHEMA, Scanned
from pipeline.shards import write_table

STEP = "common"

COUNTED_SCHEMA = SCAN_SCHEMA.append(pa.field("corpus_documents", pa.int32()))

_COUNTED = ["document", "benchmark", "entry", "item_start", "item_end"]
_ORDER = [
    *(("document", "ascending"), ("start", "ascending"), ("length", "descending"), ("benchmark", "ascending"), ("entry", "ascending")),
    *(("item_start", "ascending"), ("end", "ascending")),
]
"""The order of `decontam.Scanner`, so that nothing tells in how many groups the benchmarks were scanned."""


@dataclass(frozen=True)
class CommonTask:
    """Write `common-<split>.parquet` (COUNTED_SCHEMA) for every split, in the order of a scan for all benchmarks at once.

    Holds about 150 bytes for each match of the corpus (1 GB for 7 million), and all columns of one split's matches. files: by split.
    """

    files: tuple[Scanned, ...]
    name: str = STEP
    version: str = "1"

    def __call__(self, folder: Path) -> dict[str, Any]:
        splits = {split: list(files) for split, files in groupby(self.files, key=lambda file: file.split)}
        counted, sizes, documents = [], [], 0
        for files in splits.values():
            matches = pa.concat_tables([file.read(_COUNTED) for file in files])
            numbers = pc.add(matches["document"], documents)
            documents = (pc.max(numbers).as_py() or documents) + 1
            counted.append(matches.set_column(0, "document", numbers))
            sizes.append(len(matches))
        together = pa.concat_tables([SCAN_SCHEMA.empty_table().select(_COUNTED), *counted])
        counts = count_documents(together, together["document"].to_numpy())
        for (split, files), count in zip(splits.items(), np.split(counts, np.cumsum(sizes)[:-1]), strict=True) if splits else ():
            matches = pa.concat_tables([file.read() for file in files]).append_column(COUNTED_SCHEMA.field("corpus_documents"), [count])
            matches = matches.take(pc.sort_indices(matches, sort_keys=_ORDER)).combine_chunks()
            write_table(folder / counted_name(split), matches)
        return {"matches": len(together)}


def counted_name(split: str) -> str:
    """The file of one split's matches."""
    return f"{STEP}-{split}.parquet"
