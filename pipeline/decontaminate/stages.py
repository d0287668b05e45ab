"""The stage that looks for benchmark text in documents, writes the evidence, and drops, masks or tags what is contaminated."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from decontam import DecontamError, Policy, Scanner, decisive, load_index
from decontam.normalize import normalize_batch
from pipeline.decontaminate.mask import cut, moved
from pipeline.errors import RunFailed
from pipeline.schema import MATCH, with_columns
from pipeline.stage import decide

NOTHING_LEFT = "nothing_left_after_mask"
"""`drop_reason` of a document of which masking would leave no letter or digit."""


@functools.lru_cache(maxsize=2)
def load_scanner(index: str, fingerprint: str) -> Scanner:
    """The scanner of an index folder, opened once per process (`fingerprint` makes another index at the same place another scanner).

    Raises RunFailed for an index that is missing or damaged: it was written by this run.
    """
    try:
        return Scanner(load_index(index))
    except DecontamError as error:
        raise RunFailed(f"the benchmark index can't be used: {str(error).removesuffix('.')}") from error


@dataclass(frozen=True)
class Decontaminate:
    """Writes `contamination`; sets `drop_reason` to `contaminated:<benchmark>` of the longest decisive match, or masks, or neither.

    A document that masking would leave without a letter or digit is dropped as NOTHING_LEFT, its text and evidence as they were.
    index: folder of the index; fingerprint: hash of its files. action: drop, mask or tag. The rest is `decontam.Policy`.
    """

    index: str = field(metadata={"fingerprint": False})
    fingerprint: str
    action: str = "drop"
    min_coverage: float = Policy.min_coverage
    long_factor: float = Policy.long_factor
    max_frequency: int = Policy.max_frequency
    report_fields: tuple[str, ...] = Policy.report_fields

    name: ClassVar[str] = "decontaminate"
    version: ClassVar[str] = "2"
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    writes: ClassVar[frozenset[str]] = frozenset({"contamination", "text", "text_bytes"})

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with `contamination`, offsets being those of `text` as it is afterwards, and with the action taken."""
        matches = load_scanner(self.index, self.fingerprint).scan(table.column("text")).combine_chunks()
        policy = Policy(self.min_coverage, self.long_factor, self.max_frequency, self.report_fields)
        is_decisive = decisive(matches, policy)
        if self.action == "mask":
            table, matches = _mask(table, matches, np.asarray(is_decisive))
        if self.action == "drop":
            table = _drop(table, matches.filter(is_decisive))
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


def _mask(table: pa.Table, matches: pa.Table, is_decisive: np.ndarray) -> tuple[pa.Table, pa.Table]:
    """Cut the decisive spans out of `text` and move the evidence to where it is now; set `drop_reason` where nothing would be left."""
    rows = matches.column("row").to_numpy()
    starts, ends = matches.column("start").to_numpy().copy(), matches.column("end").to_numpy().copy()
    texts: list[str | None] = table.column("text").to_pylist() if is_decisive.any() else []
    nothing_left: list[int] = []
    for row in np.unique(rows[is_decisive]).tolist():
        own = slice(*np.searchsorted(rows, [row, row + 1]))
        chosen = is_decisive[own]
        spans = list(zip(starts[own][chosen].tolist(), ends[own][chosen].tolist(), strict=True))
        masked, cut_starts, cut_ends = cut((texts[row] or "").encode(), spans)
        if len(normalize_batch(pa.array([masked.decode()])).codepoints) == 0:
            nothing_left.append(row)
            continue
        texts[row] = masked.decode()
        starts[own] = moved(starts[own], cut_starts, cut_ends, is_end=False)
        ends[own] = moved(ends[own], cut_starts, cut_ends, is_end=True)
    for name, values in (("start", starts), ("end", ends)):
        matches = matches.set_column(matches.schema.get_field_index(name), name, pa.array(values))
    if texts:
        table = with_columns(table, {"text": pa.array(texts, pa.large_string())})
    if nothing_left:
        table = decide(table, "drop_reason", pa.array(np.isin(np.arange(len(table)), nothing_left)), NOTHING_LEFT)
    return with_columns(table, {"text_bytes": pc.binary_length(table.column("text")).cast(pa.int64())}), matches
