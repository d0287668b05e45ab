"""Deduplicate one table in memory: `deduplicate` for polars and pyarrow users, with the kernels and the result of the whole-corpus move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedup.candidates import bucket_edges, bucket_slices, bucketed, chunks, distinct
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.order import PROVENANCE, Order, numbers_of_ranks, order_documents
from pipeline.dedup.records import Sketched, shingling_of, sketch_documents, sketch_settings
from pipeline.dedup.remove import rehydration_weights
from pipeline.dedup.shingles import prepare
from pipeline.dedup.tasks_verify import VERIFY_BYTES
from pipeline.dedup.verdicts import DROPPED, Pairs, cluster_ids, estimates, judge, verdict_table
from pipeline.dedup.verify import exact_similarities
from pipeline.errors import UserError
from pipeline.shards import BATCH_BYTES, slices

ADDED = ("cluster", "cluster_size", "similarity", "rehydration_weight", "drop_reason", "error")
_MEASURED = frozenset({"text_bytes", "date"})


def deduplicate(table: pa.Table, config: DedupConfig | None = None, text_column: str = "text", id_column: str = "id") -> pa.Table:
    """`table` with the columns of ADDED, its rows unchanged: keep those where both `drop_reason` and `error` are null.

    cluster: id of the document that stays in this one's place. cluster_size: documents that share it. similarity: Jaccard similarity to it,
    an estimate only where no pair of their own tells it. rehydration_weight: of a document that stays, by `config.rehydration`.
    drop_reason: exact_duplicate, url_duplicate or near_duplicate. error: for a row whose id an earlier row has; such a row takes no other
    part. Raises UserError for a column that is missing or of the wrong kind, for a null id, and for settings that need files.
    """
    config = config or DedupConfig()
    for key in ("index", "paragraphs", "substrings"):
        if getattr(config, key) is not None:
            raise UserError(f"{key} needs files and can't be used on a table; write it as Parquet and use `onnuri dedup`")
    named = _renamed(table, config, text_column, id_column)
    settings = sketch_settings(config)
    parts = [sketch_documents(piece, settings) for piece in slices(named, BATCH_BYTES)] or [sketch_documents(named, settings)]
    sketched = Sketched(
        pa.concat_tables([part.records for part in parts]),
        np.concatenate([part.sketches for part in parts]),
        np.concatenate([part.keys for part in parts]),
    )
    order = order_documents([sketched.records], config.priority_columns(), config.exact)
    verdicts = judge(order, _pairs(named.column("text"), sketched, order, config), config.chains)
    unknown = np.flatnonzero((verdicts.survivor >= 0) & np.isnan(verdicts.similarity))
    slots = sketched.sketches["slots"]
    verdicts.similarity[unknown] = estimates(slots[unknown], slots[verdicts.survivor[unknown]])
    ids = pa.concat_arrays(named.column("id").chunks) if len(named) else pa.array([], pa.string())
    everyone = np.arange(len(ids))
    cluster = cluster_ids(verdicts.survivor, 0, ids, everyone, ids)
    found = verdict_table(ids, cluster, verdicts, slice(None), order.error_column(0, len(ids)))
    verdict = found.column("verdict")
    found = found.append_column("drop_reason", pc.if_else(pc.is_in(verdict, pa.array(DROPPED)), verdict, pa.scalar(None, pa.string())))
    found = found.append_column("rehydration_weight", rehydration_weights(found.column("cluster_size"), verdict, config.rehydration))
    for name in ADDED:
        index = table.schema.get_field_index(name)
        table = table.append_column(name, found.column(name)) if index < 0 else table.set_column(index, name, found.column(name))
    return table


def _renamed(table: pa.Table, config: DedupConfig, text_column: str, id_column: str) -> pa.Table:
    """The columns that deduplication looks at, under the names of the document table."""
    for column in (text_column, id_column, *(["url"] if config.url else [])):
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
    for column in (*_provenance(table), *(["url"] if config.url else [])):
        if column not in columns:
            columns[column] = table.column(column)
    return pa.table(columns)


def _provenance(table: pa.Table) -> Iterator[str]:
    """Those columns of PROVENANCE that are what the document table has under this name; a user's own `position` may be anything."""
    for name, wanted in PROVENANCE:
        kind = table.schema.field(name).type if name in table.column_names else pa.null()
        if pa.types.is_integer(kind) or (wanted == pa.string() and (pa.types.is_string(kind) or pa.types.is_large_string(kind))):
            yield name


def _pairs(text: pa.ChunkedArray, sketched: Sketched, order: Order, config: DedupConfig) -> Iterator[Pairs]:
    """The pairs of similar texts, in order of the worse one."""
    if not config.near:
        return
    numbers = np.flatnonzero(order.takes_part & (sketched.sketches["filled"] > 0))
    bands = sketched.keys.shape[1]
    owners = np.repeat(numbers, bands)
    members, starts = bucketed(sketched.keys[numbers].ravel(), order.rank[owners])
    owners = owners[members]
    found = []
    for first, last in bucket_slices(starts):
        here = owners[starts[first] : starts[last]]
        slots, filled = (np.ascontiguousarray(sketched.sketches[name][here]) for name in ("slots", "filled"))
        local = starts[first : last + 1] - starts[first]
        found.append(bucket_edges(local, slots, order.rank[here], filled, config.threshold, config.bucket_limit))
    edges = distinct(found)
    number = numbers_of_ranks(order.rank)
    left, right = number[edges.worse], number[edges.better]
    chunk = chunks(right, left, sketched.records.column("text_bytes").to_numpy(), VERIFY_BYTES)
    for index in range(int(chunk.max(initial=-1)) + 1):
        here = np.flatnonzero(chunk == index)
        needed, place = np.unique(np.concatenate((left[here], right[here])), return_inverse=True)
        prepared = prepare(text.take(pa.array(needed)), shingling_of(config))
        similarity = exact_similarities(prepared, place[: len(here)], place[len(here) :], shingling_of(config), config.threshold)
        similar = similarity >= config.threshold
        proven = here[similar]
        yield Pairs(edges.better[proven], edges.worse[proven], similarity[similar])
