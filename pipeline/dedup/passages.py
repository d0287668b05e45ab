"""Repeated passages: find them in the documents that are left after deduplication, and the stage that cuts them out.

`paragraphs` looks among the documents of a host, `substrings` in the whole corpus; both look at the texts as they are, so that neither
depends on the other. `passage_spans` makes one list of cuts per split of what they find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.dedup.config import DedupConfig
from pipeline.dedup.paragraphs import find_paragraphs
from pipeline.dedup.passage_files import begins_of
from pipeline.dedup.passage_spans import merge_found
from pipeline.dedup.substrings import find_substrings
from pipeline.errors import RunFailed
from pipeline.refine.signals import text_buffers
from pipeline.schema import BY_NAME, CUT_PASSAGE, with_columns
from pipeline.segment import Segment
from pipeline.splits import Split
from pipeline.stage import decide

REPEATED_PASSAGES = "repeated_passages"
"""`drop_reason` of a document of which the cuts leave nothing but white space; its text stays as it was."""


def find_passages(
    segment: Segment, splits: Sequence[Split], ranks: Sequence[str], config: DedupConfig, available: frozenset[str]
) -> dict[str, tuple[str, str]]:
    """For each split path and content hash of its cuts (CUTS), by `config.paragraphs` and `config.substrings`.

    ranks: for each split the path of a .npy file, uint32, one per usable document in order: its rank, unique in the corpus, 0 the best;
    NO_RANK for a document that doesn't stay. Documents without a host have no paragraphs; `available` tells whether any can have one.
    """
    ordered = sorted(zip(splits, ranks, strict=True), key=lambda pair: pair[0].name)
    splits, ranks = [split for split, _ in ordered], [path for _, path in ordered]
    hosted = config.paragraphs is not None and "host" in available
    paragraphs = find_paragraphs(segment, splits, ranks, config.paragraphs) if hosted and config.paragraphs else ()
    size = config.substrings.min_bytes if config.substrings else None
    return merge_found(segment, splits, ranks, paragraphs, find_substrings(segment, splits, ranks, size) if size else (), size)


@lru_cache(maxsize=1)
def _cuts(path: str, fingerprint: str) -> tuple[pa.Table, pa.Array, np.ndarray]:
    """(cuts of one split, ids of its documents that have some, int64[ids + 1] where the cuts of each begin)."""
    cuts = pq.read_table(path, use_threads=False).combine_chunks()
    ids = cuts.column("id").combine_chunks()
    begins = begins_of(ids.dictionary_encode().indices.to_numpy())
    return cuts, ids.take(pa.array(begins)), np.append(begins, len(cuts))


@dataclass(frozen=True)
class CutPassages:
    """Cut the passages listed in the file `cuts` (`fingerprint`: its hash) out of the texts of one split; rows are found by id.

    Sets text, text_bytes and cut_passages. Rows that are dropped or failed already stay as they are. A document with nothing but white
    space left is dropped as REPEATED_PASSAGES, its text as it was. What a cut leaves is joined so: whole lines take a line break with them,
    and of blank lines on both sides one; where the ends of two lines would meet, a line break stays if the cut had one, else a space where
    two words would run together. Raises RunFailed for a cut beyond the end of its text.
    """

    name: ClassVar[str] = "cut_passages"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"id", "text"})
    writes: ClassVar[frozenset[str]] = frozenset({"text", "text_bytes", "cut_passages"})

    cuts: str = field(metadata={"fingerprint": False})
    fingerprint: str = ""

    def __call__(self, table: pa.Table) -> pa.Table:
        from pipeline.dedup.passages_kernel import copy_uncut

        texts = table.column("text").cast(pa.large_string())
        cuts, ids, begins = _cuts(self.cuts, self.fingerprint)
        found = pc.fill_null(pc.index_in(table.column("id").cast(ids.type), value_set=ids), -1).to_numpy()
        rows = np.flatnonzero((found >= 0) & _open(table))
        counts = np.zeros(len(table), np.int64)
        counts[rows] = np.diff(begins)[found[rows]]
        cut_offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        listed = cuts.take(pa.array(_numbers(begins, found[rows])))
        columns: dict[str, Any] = {"cut_passages": _as_lists(listed, cut_offsets)}
        emptied = np.zeros(len(table), np.bool_)
        if len(rows):
            data, offsets = text_buffers(texts)
            starts, ends = (listed.column(name).to_numpy() for name in ("start", "end"))
            self._check(table, np.diff(offsets), ends, np.repeat(np.arange(len(table)), counts))
            out, out_offsets = np.empty(int(offsets[-1] - offsets[0]), np.uint8), np.empty(len(offsets), np.int64)
            copy_uncut(data, offsets, cut_offsets, starts, ends, out, out_offsets)
            left = pa.LargeStringArray.from_buffers(len(table), pa.py_buffer(out_offsets), pa.py_buffer(out[: out_offsets[-1]]))
            emptied[rows] = pc.equal(pc.utf8_trim_whitespace(left.take(pa.array(rows))), "").to_numpy(zero_copy_only=False)
            changed = np.zeros(len(table), np.bool_)
            changed[rows] = ~emptied[rows]
            texts = pc.if_else(pa.array(changed), left, texts)
        columns |= {"text": texts, "text_bytes": pc.fill_null(pc.binary_length(texts), 0)}
        return decide(with_columns(table, columns), "drop_reason", pa.array(emptied), REPEATED_PASSAGES)

    def _check(self, table: pa.Table, sizes: np.ndarray, ends: np.ndarray, rows: np.ndarray) -> None:
        beyond = rows[ends > sizes[rows]]
        if len(beyond):
            raise RunFailed(
                f"document '{table.column('id')[int(beyond[0])].as_py()}' is shorter than a passage that '{self.cuts}' cuts; its split was "
                "changed after deduplication began, remove the folder of this segment and run again"
            )


def _open(table: pa.Table) -> np.ndarray:
    """Which rows are not decided yet."""
    undecided = np.ones(len(table), np.bool_)
    for name in ("drop_reason", "error"):
        if name in table.column_names:
            undecided &= pc.is_null(table.column(name)).to_numpy()
    return undecided


def _numbers(begins: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """int64: the numbers of the cuts of each of these documents, one document after the other."""
    sizes = np.diff(begins)[groups]
    return np.repeat(begins[groups] - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))


def _as_lists(cuts: pa.Table, offsets: np.ndarray) -> pa.Array:
    """`cut_passages` of each row."""
    arrays = [cuts.column(item.name).combine_chunks() for item in CUT_PASSAGE]
    structs = pa.StructArray.from_arrays(arrays, fields=list(CUT_PASSAGE))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), structs, type=BY_NAME["cut_passages"].type)
