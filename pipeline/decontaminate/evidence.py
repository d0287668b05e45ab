"""What was found, for people: one table of all matches of a segment and a report per benchmark and item."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.decontaminate.stages import Decontaminate
from pipeline.schema import BY_NAME, MATCH
from pipeline.segment import write_json
from pipeline.shards import write_table

MATCHES_SCHEMA = pa.schema(
    [*(pa.field(name, BY_NAME[name].type) for name in ("id", "url", "source")), *MATCH, pa.field("action", pa.string())]
)
"""matches.parquet: the document, the match (offsets in the document's `text` as it was written), and what was done."""

_ORDER = ("id", "start", "benchmark", "item", "split", "field", "end")


@dataclass(frozen=True)
class EvidenceTask:
    """Collects the matches of all shards into matches.parquet and sums them up in report.json."""

    paths: tuple[str, ...] = field(metadata={"fingerprint": False})
    shards: tuple[tuple[str, str], ...]
    """Kind (kept or dropped) and content hash of the shard at each path."""

    masks: bool
    benchmarks: tuple[tuple[str, int], ...]
    """Every benchmark that was looked for, and its number of items."""

    name: str = "matches"
    inputs: tuple[str, ...] = ()

    def __call__(self, folder: Path) -> dict[str, Any]:
        """Write both files; the receipt says how many matches there are."""
        tables = [_matches_of(path, kind, self.masks) for path, (kind, _) in zip(self.paths, self.shards, strict=True)]
        matches = pa.concat_tables([MATCHES_SCHEMA.empty_table(), *tables])
        matches = matches.take(pc.sort_indices(matches, sort_keys=[(name, "ascending") for name in _ORDER])).combine_chunks()
        write_table(folder / "matches.parquet", matches)
        write_json(folder / "report.json", report(matches, dict(self.benchmarks)))
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


def report(matches: pa.Table, benchmarks: dict[str, int]) -> dict[str, Any]:
    """Per benchmark (every one that was looked for) and per item found: documents, longest match, highest coverage, documents by action."""
    found: dict[str, dict[str, Any]] = {
        name: {"items": items, "items_found": 0, "documents": 0, "longest": 0, **_actions(()), "found": []}
        for name, items in sorted(benchmarks.items())
    }
    per_benchmark: dict[str, set[tuple[str, str]]] = {}
    per_item: dict[tuple[str, str, str], dict[str, Any]] = {}
    columns = ("benchmark", "split", "item", "id", "action", "length", "coverage")
    values = [matches.column(name).to_pylist() for name in columns]
    for benchmark, split, item, document, action, length, coverage in zip(*values, strict=True):
        entry = per_item.setdefault((benchmark, split, item), {"seen": set(), "longest": 0, "coverage": 0.0})
        entry["seen"].add((document, action))
        entry["longest"], entry["coverage"] = max(entry["longest"], length), max(entry["coverage"], coverage)
        per_benchmark.setdefault(benchmark, set()).add((document, action))
    for (benchmark, split, item), entry in sorted(per_item.items()):
        listed = found[benchmark]
        listed["items_found"] += 1
        listed["longest"] = max(listed["longest"], entry["longest"])
        facts = {"longest": entry["longest"], "coverage": round(entry["coverage"], 4)}
        listed["found"].append({"item": item, "split": split, **facts, "documents": _documents(entry["seen"]), **_actions(entry["seen"])})
    for benchmark, seen in per_benchmark.items():
        found[benchmark] |= {"documents": _documents(seen), **_actions(seen)}
    return {"matches": len(matches), "documents": len(set(matches.column("id").to_pylist())), "benchmarks": found}


def _documents(seen: set[tuple[str, str]]) -> int:
    return len({document for document, _ in seen})


def _actions(seen: Any) -> dict[str, int]:
    """Documents by what was done about these matches; a document with a masked and a tagged one counts as masked."""
    done: dict[str, set[str]] = {"drop": set(), "mask": set(), "tag": set()}
    for document, action in seen:
        done[action].add(document)
    return {"dropped": len(done["drop"]), "masked": len(done["mask"]), "tagged": len(done["tag"] - done["mask"])}
