"""The last steps of deduplication as tasks over files: compare texts where sketches can't tell, decide, and list the clusters."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from decontam.normalize import Normalized, normalize_batch
from pipeline.dedup.order import Order
from pipeline.dedup.records import gather_signatures
from pipeline.dedup.verdicts import EXACT, KEPT, NEAR, REASONS, Pairs, Verdicts, cluster_ids, estimates, judge, verdict_table
from pipeline.dedup.verify import exact_similarities
from pipeline.documents import usable_documents
from pipeline.errors import RunFailed
from pipeline.shards import write_table
from pipeline.splits import Split


@dataclass(frozen=True)
class VerifyTask:
    """Write `verify-<chunk>.parquet`: those pairs (better, worse, similarity) of one chunk whose texts are similar enough."""

    edges: str = field(metadata={"fingerprint": False})
    order: str = field(metadata={"fingerprint": False})
    splits: tuple[Split, ...]
    chunk: int
    threshold: float
    shingle_bytes: int
    seed: int

    @property
    def name(self) -> str:
        return f"verify-{self.chunk:05d}"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.edges, self.order)

    def __call__(self, folder: Path) -> dict[str, Any]:
        edges = pq.read_table(self.edges, columns=["better", "worse"], filters=pc.field("chunk") == self.chunk, use_threads=False)
        better, worse = edges.column("better").to_numpy(), edges.column("worse").to_numpy()
        ranks = np.unique(np.concatenate((better, worse)))
        texts, place = self._texts(ranks)
        left, right = place[np.searchsorted(ranks, better)], place[np.searchsorted(ranks, worse)]
        similarity = exact_similarities(texts, left, right, self.shingle_bytes, self.seed)
        similar = similarity >= self.threshold
        table = pa.table({"better": better[similar], "worse": worse[similar], "similarity": similarity[similar]})
        write_table(folder / f"{self.name}.parquet", table)
        return {"compared": len(similar), "similar": int(similar.sum())}

    def _texts(self, ranks: np.ndarray) -> tuple[Normalized, np.ndarray]:
        """The normalised texts of these (sorted) ranks in the order of their shards, and where each rank's is; each shard is read once."""
        order = pq.read_table(self.order, columns=["split", "row", "rank"], use_threads=False)
        every = order.column("rank").to_numpy()
        numbers = np.flatnonzero(np.isin(every, ranks))
        splits, rows = order.column("split").to_numpy()[numbers], order.column("row").to_numpy()[numbers]
        pieces = [piece for split in np.unique(splits) for piece in _normalized_rows(self.splits[split], rows[splits == split])]
        sizes = np.concatenate([np.zeros(0, np.int64), *(np.diff(piece.offsets) for piece in pieces)])
        if len(sizes) != len(ranks):
            raise RunFailed(
                f"{len(ranks) - len(sizes)} documents are gone since they were sketched; the input changed during the run, start it again"
            )
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
        place = np.empty(len(ranks), np.int64)
        place[np.searchsorted(ranks, every[numbers])] = np.arange(len(numbers))
        return Normalized(np.concatenate([piece.codepoints for piece in pieces]), offsets), place


def _normalized_rows(split: Split, rows: np.ndarray) -> list[Normalized]:
    """The normalised texts of these (ascending) rows among the usable documents of a split."""
    pieces, begin = [], 0
    for table in usable_documents(split, ("text", "error", "drop_reason")):
        low, high = np.searchsorted(rows, [begin, begin + len(table)])
        if high > low:
            pieces.append(normalize_batch(table.column("text").take(pa.array(rows[low:high] - begin))))
        begin += len(table)
        if high == len(rows):
            break
    return pieces


@dataclass(frozen=True)
class VerdictTask:
    """Write `verdict-<split>.parquet` for every split: row, id, cluster, cluster_size, similarity, verdict (see REASONS), error.

    verified: empty for a run without near duplicates. chains, permutations: as configured.
    """

    sketches: tuple[str, ...] = field(metadata={"fingerprint": False})
    order: str = field(metadata={"fingerprint": False})
    verified: tuple[str, ...] = field(metadata={"fingerprint": False})
    splits: tuple[str, ...]
    chains: bool
    permutations: int
    name: str = "verdict"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.order, *self.verified, *self.sketches)

    def __call__(self, folder: Path) -> dict[str, Any]:
        table = pq.read_table(self.order, use_threads=False)
        begins = np.searchsorted(table.column("split").to_numpy(), np.arange(len(self.splits) + 1))
        order = Order(table.column("rank").to_numpy(), table.column("original").to_numpy(), {})
        verdicts = judge(order, self._pairs(), self.chains)
        self._estimate(verdicts, begins)
        own = np.arange(len(order.rank))
        remote = np.unique(verdicts.survivor[(verdicts.survivor != own) & (verdicts.survivor >= 0)])
        remote_ids = self._ids(remote, begins)
        for index, split in enumerate(self.splits):
            begin, end = int(begins[index]), int(begins[index + 1])
            ids = read_ids(self.sketches[index])
            cluster = cluster_ids(verdicts.survivor[begin:end], begin, ids, remote, remote_ids)
            errors = table.column("error").slice(begin, end - begin)
            part = verdict_table(ids, cluster, verdicts, slice(begin, end), errors)
            write_table(folder / f"verdict-{split}.parquet", part.add_column(0, "row", pa.array(np.arange(end - begin))))
        counts = np.bincount(verdicts.reason, minlength=len(REASONS)).tolist()
        return {"verdicts": dict(zip(REASONS, counts, strict=True))}

    def _pairs(self) -> Pairs:
        """The pairs whose texts were compared and are similar."""
        better, worse, similarity = [np.zeros(0, np.uint32)], [np.zeros(0, np.uint32)], [np.zeros(0)]
        for path in self.verified:
            table = pq.read_table(path, use_threads=False)
            for parts, name in ((better, "better"), (worse, "worse"), (similarity, "similarity")):
                parts.append(table.column(name).to_numpy())
        return Pairs(np.concatenate(better), np.concatenate(worse), np.concatenate(similarity))

    def _estimate(self, verdicts: Verdicts, begins: np.ndarray) -> None:
        """Fill in the similarities that no pair gives (members of a chain), from the sketches."""
        unknown = np.flatnonzero((verdicts.survivor >= 0) & np.isnan(verdicts.similarity))
        if len(unknown) == 0:
            return
        needed, position = np.unique(np.concatenate((unknown, verdicts.survivor[unknown])), return_inverse=True)
        signatures, _ = gather_signatures(self.sketches, begins, needed, self.permutations)
        verdicts.similarity[unknown] = estimates(signatures, position[: len(unknown)], position[len(unknown) :])

    def _ids(self, numbers: np.ndarray, begins: np.ndarray) -> pa.Array:
        """The ids of these (ascending) numbers; each file is read once."""
        parts = [pa.array([], pa.string())]
        for path, begin, end in zip(self.sketches, begins[:-1], begins[1:], strict=True):
            low, high = np.searchsorted(numbers, [begin, end])
            if high > low:
                parts.append(read_ids(path).take(pa.array(numbers[low:high] - begin)))
        return pa.concat_arrays(parts)


def read_ids(path: str) -> pa.Array:
    """The id column of a sketch file."""
    column = pq.read_table(path, columns=["id"], use_threads=False).column("id")
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.string())


_TEXT = pa.string()
_NO_MEMBERS = pa.schema(
    [("id", _TEXT), ("cluster", _TEXT), ("cluster_size", pa.int32()), ("similarity", pa.float64()), ("verdict", _TEXT)]
).empty_table()


@dataclass(frozen=True)
class ClustersTask:
    """Write `clusters.parquet`, the members of all clusters of at least two: id, cluster (the survivor's id), survivor, cluster_size,
    similarity, and kind, exact or near (null for the survivor). Sorted by cluster, its survivor first.
    """

    verdicts: tuple[str, ...] = field(metadata={"fingerprint": False})
    name: str = "clusters"

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.verdicts

    def __call__(self, folder: Path) -> dict[str, Any]:
        columns = ["id", "cluster", "cluster_size", "similarity", "verdict"]
        parts = [pq.read_table(path, columns=columns, filters=pc.field("cluster_size") > 1, use_threads=False) for path in self.verdicts]
        members = pa.concat_tables([_NO_MEMBERS, *parts])
        verdict = members.column("verdict")
        kind = pc.case_when(
            pc.make_struct(*(pc.equal(verdict, REASONS[one]) for one in (EXACT, NEAR)), field_names=["exact", "near"]), "exact", "near"
        )
        table = pa.table(
            {
                "id": members.column("id"),
                "cluster": members.column("cluster"),
                "survivor": pc.equal(verdict, REASONS[KEPT]),
                "cluster_size": members.column("cluster_size"),
                "similarity": members.column("similarity"),
                "kind": kind.cast(pa.string()),
            }
        )
        table = table.sort_by([("cluster", "ascending"), ("survivor", "descending"), ("id", "ascending")])
        write_table(folder / "clusters.parquet", table)
        return {"clusters": int(pc.sum(table.column("survivor")).as_py() or 0), "members": len(table)}
