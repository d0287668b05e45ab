"""The stage that carries out the verdicts: it marks every document with its cluster, and drops the duplicates."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.dedup.rehydration import weights
from pipeline.dedup.verdicts import DROPPED, KEPT, REASONS
from pipeline.errors import RunFailed
from pipeline.schema import with_columns

FOUND = ("cluster", "cluster_size", "similarity")
WRITES = (*FOUND, "rehydration_weight")


@lru_cache(maxsize=1)
def _verdicts(path: str, fingerprint: str) -> pa.Table:
    """The verdicts of one split; a worker does one split at a time. The fingerprint tells a rewritten file from a remembered one."""
    return pq.read_table(path).combine_chunks()


@dataclass(frozen=True)
class RemoveDuplicates:
    """Carry out the verdicts on one split (`verdict`: path of its verdict file; `fingerprint`: the file's hash).

    Sets cluster, cluster_size, similarity and, where a document stays, rehydration_weight (`rehydration`: weight from each cluster size
    on); `drop_reason` to exact_duplicate, url_duplicate or near_duplicate; `error` for an id seen before.
    Rows are found by id. An id that the split holds more than once is told apart by its place: batches are expected in the order of the
    split, and the stage remembers where the last one ended. Raises RunFailed for an id without a verdict.
    """

    name: ClassVar[str] = "remove_duplicates"
    version: ClassVar[str] = "2"
    reads: ClassVar[frozenset[str]] = frozenset({"id"})
    writes: ClassVar[frozenset[str]] = frozenset(WRITES)

    verdict: str = field(metadata={"fingerprint": False})
    fingerprint: str
    rehydration: tuple[tuple[int, int], ...]

    def __call__(self, table: pa.Table) -> pa.Table:
        verdicts = _verdicts(self.verdict, self.fingerprint)
        rows = self._rows(table.column("id").combine_chunks(), verdicts.column("id"))
        found = verdicts.take(pa.array(rows))
        columns = {name: found.column(name) for name in FOUND}
        verdict, none = found.column("verdict"), pa.scalar(None, pa.string())
        columns["drop_reason"] = pc.if_else(pc.is_in(verdict, pa.array(DROPPED)), verdict, none)
        columns["rehydration_weight"] = rehydration_weights(found.column("cluster_size"), verdict, dict(self.rehydration))
        columns["error"] = found.column("error")
        return with_columns(table, columns)

    def _rows(self, ids: pa.Array, known: pa.ChunkedArray) -> np.ndarray:
        """int64[n]: the verdict row of each id."""
        begin = getattr(self, "_next", 0)
        if begin + len(ids) <= len(known) and known.slice(begin, len(ids)).combine_chunks().equals(ids):
            rows = np.arange(begin, begin + len(ids))
        else:
            rows = _rows_by_id(ids, known, self.verdict)
        # Not a field, so no part of the settings: only a hint for ids that occur twice, and wrong at worst until the next batch.
        object.__setattr__(self, "_next", int(rows[-1]) + 1 if len(rows) else begin)
        return rows


def rehydration_weights(sizes: pa.ChunkedArray, verdict: pa.ChunkedArray, table: dict[int, int]) -> pa.Array:
    """The weight of each document that stays, null for the others."""
    stays = pc.equal(verdict, REASONS[KEPT])
    found = weights(pc.fill_null(sizes, 1).to_numpy(), table)
    return pc.if_else(stays, pa.array(found), pa.scalar(None, pa.int32()))


def _rows_by_id(ids: pa.Array, known: pa.ChunkedArray, path: str) -> np.ndarray:
    """Join by id; the k-th row of an id in the batch gets its k-th verdict."""
    wanted = pa.table({"id": ids, "place": np.arange(len(ids))})
    present = pa.table({"id": known, "row": np.arange(len(known))})
    numbered = [_with_occurrence(side) for side in (wanted, present)]
    joined = numbered[0].join(numbered[1], ["id", "occurrence"], join_type="left outer", use_threads=False).sort_by("place")
    missing = joined.filter(pc.is_null(joined.column("row")))
    if len(missing):
        raise RunFailed(
            f"document '{missing.column('id')[0].as_py()}' has no verdict in '{path}'; its split was changed after deduplication began, "
            "remove the folder of this segment and run again"
        )
    return joined.column("row").to_numpy()


def _with_occurrence(table: pa.Table) -> pa.Table:
    """Add `occurrence`: how many rows above have the same id."""
    code = table.column("id").combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.argsort(code, kind="stable")
    begins = np.flatnonzero(np.concatenate(([True], np.diff(code[order]) != 0)))[: len(code)]
    occurrence = np.empty(len(code), np.int64)
    occurrence[order] = np.arange(len(code)) - np.repeat(begins, np.diff(np.append(begins, len(code))))
    return table.append_column("occurrence", pa.array(occurrence))
