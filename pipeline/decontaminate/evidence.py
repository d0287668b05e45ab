"""What was found, for people: one table of all matches of a segment, and the report on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from decontam import MatchSettings
from pipeline.decontaminate.actions import Actions
from pipeline.decontaminate.report import Benchmark, report
from pipeline.decontaminate.stages import Decontaminate
from pipeline.schema import BY_NAME, MATCH
from pipeline.segment import write_json
from pipeline.shards import write_table

MATCHES_SCHEMA = pa.schema(
    [*(pa.field(name, BY_NAME[name].type) for name in ("id", "url", "source")), *MATCH, pa.field("action", pa.string())]
)
"""matches.parquet: the document, the match (offsets in the document's `text` as it was written), and what was done."""

_ORDER = ("id", "start", "benchmark", "item", "split", "field", "entry", "item_start", "end")


@dataclass(frozen=True)
class EvidenceTask:
    """Collects the matches of all shards into matches.parquet and sums them up in report.json; holds all matches.

    index: where the index is, as the report says it. windows: of each document that were looked for (`mode: paper`), 0 for all.
    """

    paths: tuple[str, ...] = field(metadata={"fingerprint": False})
    shards: tuple[tuple[str, str], ...]
    """Kind (kept or dropped) and content hash of the shard at each path."""

    index: str
    settings: MatchSettings
    windows: int
    seed: int
    actions: Actions
    benchmarks: tuple[Benchmark, ...]
    """Every benchmark that was looked for."""

    name: str = "matches"
    inputs: tuple[str, ...] = ()
    version: str = "2"

    def __call__(self, folder: Path) -> dict[str, Any]:
        """Write both files; the receipt says how many matches there are."""
        tables = [_matches_of(path, kind, self.actions.masks) for path, (kind, _) in zip(self.paths, self.shards, strict=True)]
        matches = pa.concat_tables([MATCHES_SCHEMA.empty_table(), *tables])
        matches = matches.take(pc.sort_indices(matches, sort_keys=[(name, "ascending") for name in _ORDER])).combine_chunks()
        write_table(folder / "matches.parquet", matches)
        mode = {"mode": "paper", "windows": self.windows, "seed": self.seed} if self.windows else {"mode": "exhaustive"}
        write_json(folder / "report.json", {"index": self.index, **mode, **report(matches, self.settings, self.actions, self.benchmarks)})
        return {"matches": len(matches)}


def _matches_of(path: str, kind: str, masks: bool) -> pa.Table:
    """The matches in one shard, a row each: `drop` in a dropped document; in a kept one `mask` where the span is cut out, else `tag`."""
    file = pq.ParquetFile(path)
    wanted = [name for name in ("id", "url", "source", "contamination", "drop_stage") if name in file.schema_arrow.names]
    tables = []
    for group in range(file.metadata.num_row_groups):
        table = file.read_row_group(group, columns=wanted, use_threads=False)
        if kind == "dropped":
            table = table.filter(pc.is_in(table.column("drop_stage"), pa.array([Decontaminate.name])))
        tables.append(_flattened(table, kind, masks))
    return pa.concat_tables([MATCHES_SCHEMA.empty_table(), *tables])


def _flattened(table: pa.Table, kind: str, masks: bool) -> pa.Table:
    lists = table.column("contamination").combine_chunks()
    parents = pc.list_parent_indices(lists)
    found = pc.list_flatten(lists)
    documents = {
        name: table.column(name).take(parents) if name in table.column_names else pa.nulls(len(parents), MATCHES_SCHEMA.field(name).type)
        for name in ("id", "url", "source")
    }
    members = {member.name: pc.struct_field(found, member.name) for member in MATCH}
    width = pc.subtract(members["end"], members["start"])
    # A span that was cut out is one space now, and no match is one byte long.
    is_masked = pc.and_(pa.scalar(masks), pc.is_in(width, pa.array([1], pa.int64())))
    action = pa.array(["drop"] * len(parents)) if kind == "dropped" else pc.if_else(is_masked, "mask", "tag")
    return pa.table([*documents.values(), *members.values(), action], schema=MATCHES_SCHEMA)
