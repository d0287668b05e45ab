"""Deduplicate one table in memory: `deduplicate` for polars and pyarrow users, with the kernels and the result of the whole-corpus move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from decontam.normalize import normalize_batch
from pipeline.dedup.candidates import NO_RANK, Edges, bucket_edges, bucketed, distinct
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.order import PROVENANCE, Order, order_documents
from pipeline.dedup.records import SketchSettings, band_column, signatures_of, sketch_records, sketch_settings
from pipeline.dedup.verdicts import EXACT, NEAR, REASONS, Pairs, cluster_ids, estimates, judge, no_pairs, verdict_table
from pipeline.dedup.verify import VERIFY_BYTES, chunks, exact_similarities
from pipeline.errors import UserError
from pipeline.shards import BATCH_BYTES, slices

ADDED = ("cluster", "cluster_size", "similarity", "drop_reason", "error")
_MEASURED = frozenset({"text_bytes", "date"})


def deduplicate(table: pa.Table, config: DedupConfig | None = None, text_column: str = "text", id_column: str = "id") -> pa.Table:
    """`table` with the columns of ADDED, its rows unchanged: keep those where both `drop_reason` and `error` are null.

    cluster: id of the document that stays in this one's place. cluster_size: documents that share it. similarity: Jaccard similarity to it,
    an estimate only for members of chains without a pair of their own.
    drop_reason: exact_duplicate or near_duplicate. error: for a row whose id an earlier row has; such a row takes no other part.
    Raises UserError for a column that is missing or of the wrong kind, and for a null id.
    """
    config = config or DedupConfig()
    named = _renamed(table, config, text_column, id_column)
    settings = sketch_settings(config)
    parts = [sketch_records(piece, settings) for piece in slices(named, BATCH_BYTES)] or [sketch_records(named, settings)]
    records = pa.concat_tables(parts)
    order = order_documents([records], config.priority_columns(), config.exact)
    pairs = _pairs(named.column("text"), records, order, config, settings) if config.near else no_pairs()
    verdicts = judge(order, pairs, config.chains)
    unknown = np.flatnonzero((verdicts.survivor >= 0) & np.isnan(verdicts.similarity))
    if len(unknown):
        verdicts.similarity[unknown] = estimates(signatures_of(records.column("signature")), unknown, verdicts.survivor[unknown])
    ids = pa.concat_arrays(named.column("id").chunks) if len(named) else pa.array([], pa.string())
    everyone = np.arange(len(ids))
    cluster = cluster_ids(verdicts.survivor, 0, ids, everyone, ids)
    found = verdict_table(ids, cluster, verdicts, slice(None), order.error_column())
    dropped = pc.is_in(found.column("verdict"), pa.array([REASONS[EXACT], REASONS[NEAR]]))
    found = found.append_column("drop_reason", pc.if_else(dropped, found.column("verdict"), pa.scalar(None, pa.string())))
    for name in ADDED:
        index = table.schema.get_field_index(name)
        table = table.append_column(name, found.column(name)) if index < 0 else table.set_column(index, name, found.column(name))
    return table


def _renamed(table: pa.Table, config: DedupConfig, text_column: str, id_column: str) -> pa.Table:
    """The columns that deduplication looks at, under the names of the document table."""
    for column in (text_column, id_column):
        if column not in table.column_names:
            raise UserError(f"the table has no column '{column}'; it has {', '.join(table.column_names)}")
    if table.column(id_column).null_count:
        raise UserError(f"column '{id_column}' has {table.column(id_column).null_count} null ids; give every row an id")
    kind = table.column(text_column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise UserError(f"column '{text_column}' is {kind}; give a column of strings")
    columns: dict[str, Any] = {"id": table.column(id_column).cast(pa.string()), "text": table.column(text_column).cast(pa.large_string())}
    for column, _ in config.priority_columns():
        if column in table.column_names and column not in columns:
            columns[column] = table.column(column)
        elif column not in columns and column not in _MEASURED:
            raise UserError(f"the priority names column '{column}', which the table lacks; it has {', '.join(table.column_names)}")
    for column, _ in PROVENANCE:
        if column in table.column_names and column not in columns:
            columns[column] = table.column(column)
    return pa.table(columns)


def _pairs(text: pa.ChunkedArray, records: pa.Table, order: Order, config: DedupConfig, settings: SketchSettings) -> Pairs:
    """Candidate pairs of all bands, verified."""
    signatures, filled = signatures_of(records.column("signature")), records.column("filled").to_numpy()
    numbers = np.flatnonzero((order.rank == order.original) & (filled > 0) & (order.rank != NO_RANK))
    ranks = order.rank[numbers]
    found: list[Edges] = []
    for band in range(settings.bands):
        members, starts = bucketed(records.column(band_column(band)).fill_null(0).to_numpy()[numbers], ranks)
        chosen = numbers[members]
        found.append(bucket_edges(starts, signatures[chosen], ranks[members], filled[chosen], config.threshold, config.bucket_limit))
    edges = distinct(found)
    similarity = np.zeros(len(edges.better))
    number_of_rank = np.zeros(len(order.rank), np.int64)
    number_of_rank[ranks] = numbers
    size_of_rank = np.zeros(len(order.rank), np.int64)
    size_of_rank[ranks] = records.column("text_bytes").to_numpy()[numbers]
    chunk = chunks(edges.better, edges.worse, size_of_rank, VERIFY_BYTES)
    for index in range(int(chunk.max(initial=-1)) + 1):
        here = np.flatnonzero(chunk == index)
        left, right = number_of_rank[edges.better[here]], number_of_rank[edges.worse[here]]
        needed, place = np.unique(np.concatenate((left, right)), return_inverse=True)
        texts = normalize_batch(text.take(pa.array(needed)))
        similarity[here] = exact_similarities(texts, place[: len(left)], place[len(left) :], config.shingle_bytes, config.seed)
    proven = similarity >= config.threshold
    return Pairs(edges.better[proven], edges.worse[proven], similarity[proven])
