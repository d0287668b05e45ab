"""The stage that acts on the benchmark text found in documents: it writes the evidence, and drops, masks or tags what is contaminated."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from decontam.normalize import normalize_batch
from pipeline.decontaminate.actions import DROP, MASK, Actions
from pipeline.decontaminate.mask import cut, moved
from pipeline.decontaminate.scan import text_hashes
from pipeline.schema import MATCH, with_columns
from pipeline.stage import decide

NOTHING_LEFT = "nothing_left_after_mask"
"""`drop_reason` of a document of which masking would leave no letter or digit."""


@dataclass(frozen=True)
class Found:
    """The matches of a split. ids: of the documents that have any. rows: where those of each document are, (first, one past the last), by
    its id and the hash of its text. Documents of one id and one text have the same matches, which are here once."""

    matches: pa.Table
    ids: pa.Array
    rows: dict[tuple[str, int], tuple[int, int]]

    def of(self, table: pa.Table) -> pa.Table:
        """The matches of a table's documents, with `row` (int64, ascending): that of the document in the table."""
        candidates = np.flatnonzero(pc.is_in(table["id"], self.ids).to_numpy())
        hashes = text_hashes(table["text"].take(pa.array(candidates)))
        keys = zip(table["id"].take(pa.array(candidates)).to_pylist(), hashes.tolist(), strict=True)
        ranges = np.array([self.rows.get(key, (0, 0)) for key in keys], np.int64).reshape(-1, 2)
        counts = ranges[:, 1] - ranges[:, 0]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        matches = self.matches.take(pa.array(np.repeat(ranges[:, 0], counts) + within))
        return matches.append_column("row", pa.array(np.repeat(candidates, counts)))


@functools.lru_cache(maxsize=1)
def load_found(path: str, fingerprint: str) -> Found:
    """The matches of one split; a worker does one split at a time. The fingerprint tells a rewritten file from a remembered one."""
    matches = pq.read_table(path, use_threads=False).combine_chunks()
    documents = matches["document"].to_numpy()
    first = np.flatnonzero(np.concatenate([[True], documents[1:] != documents[:-1]])[: len(documents)])
    begins = matches.select(["id", "text_hash"]).take(pa.array(first))
    rows: dict[tuple[str, int], tuple[int, int]] = {}
    ends = [*first[1:].tolist(), len(documents)]
    for id_, text, begin, end in zip(begins["id"].to_pylist(), begins["text_hash"].to_pylist(), first.tolist(), ends, strict=False):
        rows.setdefault((id_, text), (begin, end))
    return Found(matches, pc.unique(begins["id"]), rows)


@dataclass(frozen=True)
class Decontaminate:
    """Writes `contamination`; sets `drop_reason` to `contaminated:<benchmark>` of the longest match that says drop, or masks, or neither.

    A document that masking would leave without a letter or digit is dropped as NOTHING_LEFT; a dropped document's text and evidence stay as
    they were. found: file of the split's matches (`common.COUNTED_SCHEMA`); fingerprint: its hash.
    """

    found: str = field(metadata={"fingerprint": False})
    fingerprint: str
    actions: Actions = field(default_factory=Actions)

    name: ClassVar[str] = "decontaminate"
    version: ClassVar[str] = "3"
    reads: ClassVar[frozenset[str]] = frozenset({"id", "text"})
    writes: ClassVar[frozenset[str]] = frozenset({"contamination", "text", "text_bytes"})

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with `contamination`, offsets being those of `text` as it is afterwards, and with the action taken."""
        matches = load_found(self.found, self.fingerprint).of(table)
        codes, rows = self.actions.decide(matches), matches["row"].to_numpy()
        dropped = np.isin(rows, rows[codes == DROP])
        if self.actions.masks:
            table, matches = _mask(table, matches, (codes == MASK) & ~dropped)
        table = _drop(table, matches.filter(pa.array(codes == DROP)))
        return with_columns(table, {"contamination": evidence(matches, len(table))})


def evidence(matches: pa.Table, rows: int) -> pa.Array:
    """Matches (ordered by `row`) as the `contamination` column of a table with so many rows: list<MATCH>, empty where nothing matches."""
    counts = np.bincount(matches.column("row").to_numpy(), minlength=rows)
    offsets: Any = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    columns = [_flat(matches.column(member.name)).cast(member.type) for member in MATCH]
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(columns, fields=list(MATCH)))


def _flat(column: pa.ChunkedArray) -> Any:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _drop(table: pa.Table, matches: pa.Table) -> pa.Table:
    """Set the drop reasons; of two equally long matches the benchmark that comes first by name is the reason."""
    longest = matches.sort_by([("row", "ascending"), ("length", "descending"), ("benchmark", "ascending")])
    rows = longest.column("row").to_numpy()
    is_first = np.ones(len(rows), np.bool_)
    is_first[1:] = rows[1:] != rows[:-1]
    benchmarks: list[Any] = longest.column("benchmark").filter(pa.array(is_first)).to_pylist()
    row_of, all_rows = rows[is_first], np.arange(len(table))
    for benchmark in sorted(set(benchmarks)):
        chosen = row_of[np.array([name == benchmark for name in benchmarks], np.bool_)]
        table = decide(table, "drop_reason", pa.array(np.isin(all_rows, chosen)), f"contaminated:{benchmark}")
    return table


def _mask(table: pa.Table, matches: pa.Table, is_cut: np.ndarray) -> tuple[pa.Table, pa.Table]:
    """Cut these spans out of `text` and move the evidence to where it is now; set `drop_reason` where nothing would be left."""
    rows = matches.column("row").to_numpy()
    starts, ends = matches.column("start").to_numpy().copy(), matches.column("end").to_numpy().copy()
    cut_rows, masked_texts = np.unique(rows[is_cut]), []
    texts: list[str | None] = table.column("text").take(pa.array(cut_rows)).to_pylist()
    nothing_left: list[int] = []
    for row, text in zip(cut_rows.tolist(), texts, strict=True):
        own = slice(*np.searchsorted(rows, [row, row + 1]))
        chosen = is_cut[own]
        spans = list(zip(starts[own][chosen].tolist(), ends[own][chosen].tolist(), strict=True))
        masked, cut_starts, cut_ends = cut((text or "").encode(), spans)
        masked_texts.append(masked.decode())
        if len(normalize_batch(pa.array(masked_texts[-1:])).codepoints) == 0:
            nothing_left.append(row)
            masked_texts[-1] = text or ""
            continue
        starts[own] = moved(starts[own], cut_starts, cut_ends, is_end=False)
        ends[own] = moved(ends[own], cut_starts, cut_ends, is_end=True)
    for name, values in (("start", starts), ("end", ends)):
        matches = matches.set_column(matches.schema.get_field_index(name), name, pa.array(values))
    if masked_texts:
        is_masked = pa.array(np.isin(np.arange(len(table)), cut_rows))
        text = table.column("text").cast(pa.large_string())
        table = with_columns(table, {"text": pc.replace_with_mask(text, is_masked, pa.array(masked_texts, pa.large_string()))})
    if nothing_left:
        table = decide(table, "drop_reason", pa.array(np.isin(np.arange(len(table)), nothing_left)), NOTHING_LEFT)
    return with_columns(table, {"text_bytes": pc.binary_length(table.column("text")).cast(pa.int64())}), matches
