"""The last steps of deduplication as tasks over files: decide on every document, and list the clusters."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dedup.candidates import NO_RANK
from pipeline.dedup.order import Order, connect
from pipeline.dedup.records import Shelf, SketchReader
from pipeline.dedup.tasks import Corpus
from pipeline.dedup.tasks_verify import read_pairs
from pipeline.dedup.verdicts import EXACT, KEPT, NEAR, REASONS, URL, Pairs, Verdicts, cluster_ids, estimates, judge, verdict_table
from pipeline.shards import write_table

INDEXED = "verdict-indexed.parquet"
"""Documents of an index that new ones were dropped for, with the size of their clusters now."""

_ESTIMATED_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class VerdictTask:
    """Write `verdict-<split>.parquet` for every split: row, id, cluster, cluster_size, similarity, verdict (see REASONS), error; and
    `verdict-<split>-ranks.npy`: uint32, the rank of each document that stays, NO_RANK for the others. For an index also
    `verdict-indexed.parquet`: its documents that new ones were dropped for, with their number there instead of row and error.

    verified: the files of VerifyTask or ForestTask in order (none for a run without near duplicates), known by the hash `decided`. grown:
    files with cluster sizes of the index's documents that changed after they were written, in order.
    """

    corpus: Corpus
    verified: tuple[str, ...] = field(metadata={"fingerprint": False})
    decided: str
    grown: tuple[str, ...] = field(metadata={"fingerprint": False})
    splits: tuple[str, ...]
    chains: bool
    name: str = "verdict"
    version: str = "3"

    def __call__(self, folder: Path) -> dict[str, Any]:
        corpus = self.corpus
        begins = corpus.array("begins")
        indexed = int(begins[corpus.indexed])
        rank, original, copy = (np.asarray(corpus.array(name)) for name in ("rank", "original", "copy"))
        errors = pq.read_table(Path(corpus.order) / "order-errors.parquet", use_threads=False)
        order = Order(rank, original, copy, errors)
        verdicts = judge(order, self._pairs(), self.chains, self._index_sizes())
        self._estimate(verdicts)
        own = np.arange(len(order.rank))
        remote = np.unique(verdicts.survivor[(verdicts.survivor != own) & (verdicts.survivor >= 0)])
        remote_ids = _ids(corpus.shelves, remote, begins)
        stays = np.where(verdicts.reason == KEPT, order.rank, NO_RANK)
        for split, shelf, begin, end in zip(
            self.splits,
            corpus.shelves[corpus.indexed :],
            begins[corpus.indexed : -1].tolist(),
            begins[corpus.indexed + 1 :].tolist(),
            strict=True,
        ):
            ids = read_ids(shelf)
            cluster = cluster_ids(verdicts.survivor[begin:end], begin, ids, remote, remote_ids)
            part = verdict_table(ids, cluster, verdicts, slice(begin, end), order.error_column(begin, end))
            write_table(folder / f"verdict-{split}.parquet", part.add_column(0, "row", pa.array(np.arange(end - begin))))
            np.save(folder / f"verdict-{split}-ranks.npy", stays[begin:end])
        if corpus.indexed:
            grown = remote < indexed
            ids, numbers = remote_ids.filter(pa.array(grown)), remote[grown]
            kept = pa.array([REASONS[KEPT]] * len(numbers), pa.string())
            columns = [numbers, ids, ids, verdicts.size[numbers], np.ones(len(numbers)), kept]
            names = ["number", "id", "cluster", "cluster_size", "similarity", "verdict"]
            write_table(folder / INDEXED, pa.table(columns, names=names))
        counts = np.bincount(verdicts.reason[indexed:], minlength=len(REASONS)).tolist()
        return {"verdicts": dict(zip(REASONS, counts, strict=True))}

    def _pairs(self) -> Iterator[Pairs]:
        """The pairs whose texts were compared and are similar; of chains, the last forests."""
        return (read_pairs(path) for path in self.verified)

    def _index_sizes(self) -> np.ndarray | None:
        """int32: the cluster sizes of the index's documents."""
        shelves = self.corpus.shelves[: self.corpus.indexed]
        tables = [pq.read_table(shelf.records, columns=["cluster_size"], use_threads=False) for shelf in shelves]
        if not tables:
            return None
        sizes = np.concatenate([table.column("cluster_size").to_numpy() for table in tables])
        for path in self.grown:
            table = pq.read_table(path, columns=["number", "cluster_size"], use_threads=False)
            sizes[table.column("number").to_numpy()] = table.column("cluster_size").to_numpy()
        return sizes

    def _estimate(self, verdicts: Verdicts) -> None:
        """Fill in the similarities that no pair gives (members of a chain, other texts of an address), from the sketches."""
        unknown = np.flatnonzero((verdicts.survivor >= 0) & np.isnan(verdicts.similarity))
        sketches = SketchReader(self.corpus.shelves, self.corpus.array("begins"))
        for begin in range(0, len(unknown), _ESTIMATED_AT_ONCE):
            here = unknown[begin : begin + _ESTIMATED_AT_ONCE]
            verdicts.similarity[here] = estimates(sketches(here)[0], sketches(verdicts.survivor[here])[0])


def _ids(shelves: tuple[Shelf, ...], numbers: np.ndarray, begins: np.ndarray) -> pa.Array:
    """large_string: the ids of these (ascending) numbers, of the whole corpus; each file is read once."""
    parts = [pa.array([], pa.large_string())]
    for shelf, begin, end in zip(shelves, begins[:-1], begins[1:], strict=True):
        low, high = np.searchsorted(numbers, [begin, end])
        if high > low:
            parts.append(read_ids(shelf).take(pa.array(numbers[low:high] - begin)).cast(pa.large_string()))
    return pa.concat_arrays(parts)


def read_ids(shelf: Shelf) -> pa.Array:
    """The ids of a split's documents."""
    column = pq.read_table(shelf.records, columns=["id"], use_threads=False).column("id")
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.string())


CLUSTERS = pa.schema(
    [
        ("id", pa.string()),
        ("cluster", pa.string()),
        ("survivor", pa.bool_()),
        ("cluster_size", pa.int32()),
        ("similarity", pa.float64()),
        ("kind", pa.string()),
        ("indexed", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class ClustersTask:
    """Write `clusters.parquet` (CLUSTERS), the members of all clusters of at least two: id, cluster (the survivor's id), survivor,
    cluster_size, similarity, kind (exact, url or near; null for the survivor), indexed (a survivor of an earlier crawl). Sorted by
    cluster, its survivor first.

    verdicts: files of VerdictTask; indexed: the one of the index's documents, if there is an index; decided: hash of that step.
    """

    verdicts: tuple[str, ...] = field(metadata={"fingerprint": False})
    indexed: str | None = field(metadata={"fingerprint": False})
    decided: str
    name: str = "clusters"
    version: str = "2"

    def __call__(self, folder: Path) -> dict[str, Any]:
        spill = folder / "spill"
        spill.mkdir()
        connection = connect(spill)
        members = clusters = 0
        try:
            connection.execute(
                "create table members (id text, cluster text, cluster_size integer, similarity double, verdict text, indexed boolean)"
            )
            for path in [*self.verdicts, *([self.indexed] if self.indexed else [])]:
                connection.register("part", pq.read_table(path, use_threads=False))
                connection.execute(
                    "insert into members select id, cluster, cluster_size, similarity, verdict, ? from part where cluster_size > 1",
                    [path == self.indexed],
                )
                connection.unregister("part")
            kinds = " ".join(f"when '{REASONS[one]}' then '{kind}'" for one, kind in ((EXACT, "exact"), (URL, "url"), (NEAR, "near")))
            rows = connection.sql(
                f"select id, cluster, verdict = '{REASONS[KEPT]}' as survivor, cluster_size, similarity, case verdict {kinds} end as kind, "
                "indexed from members order by cluster, survivor desc, id"
            )
            with pq.ParquetWriter(folder / "clusters.parquet", CLUSTERS, compression="zstd") as writer:
                for batch in rows.to_arrow_reader(1 << 17):
                    writer.write_batch(batch.cast(CLUSTERS))
                    members += len(batch)
                    clusters += batch.column("survivor").true_count
        finally:
            connection.close()
        shutil.rmtree(spill)
        return {"clusters": clusters, "members": members}
