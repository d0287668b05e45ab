"""The contamination report: per benchmark and per item how much was found, how long, in how many documents, and what was done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from decontam import MatchSettings
from pipeline.decontaminate.actions import Actions

LENGTHS = (24, 30, 40, 50, 75, 100, 150, 200)
"""Normalised characters for which `by_length` counts the documents with a match so long: how the count falls shows what is a quotation."""

MOST_FOUND = 1000
"""Items listed per benchmark: the report stays readable where a benchmark leaked as a whole."""

_FATES = ("tagged", "masked", "dropped")
_ACTIONS = ("tag", "mask", "drop")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that was looked for: name, fingerprint of its segment, number of items."""

    name: str
    fingerprint: str
    items: int


def report(matches: pa.Table, settings: MatchSettings, actions: Actions, benchmarks: tuple[Benchmark, ...]) -> dict[str, Any]:
    """The content of report.json, from a table of MATCHES_SCHEMA; every benchmark that was looked for is in it.

    A document with a masked and a tagged match of a benchmark counts as masked.
    """
    fate = pc.index_in(matches["action"], pa.array(_ACTIONS))
    matches = matches.append_column("fate", fate).append_column("is_answered", matches["answered"].cast(pa.int8()))
    documents = _grouped(matches, ["benchmark", "id"])
    items = _items(matches)
    found: dict[str, Any] = {}
    for benchmark in sorted(benchmarks, key=lambda one: one.name):
        action, policy = actions.of(benchmark.name)
        own = items.filter(pc.equal(items["benchmark"], benchmark.name))
        found[benchmark.name] = {
            "fingerprint": benchmark.fingerprint,
            "items": benchmark.items,
            "items_found": len(own),
            **_counts(documents.filter(pc.equal(documents["benchmark"], benchmark.name))),
            "action": action,
            "policy": asdict(policy),
            "found": [_item(row) for row in own.slice(0, MOST_FOUND).to_pylist()],
            "not_listed": max(0, len(own) - MOST_FOUND),
        }
    return {
        "settings": asdict(settings),
        "action": actions.action,
        "policy": asdict(actions.policy),
        "matches": len(matches),
        "documents": pc.count_distinct(matches["id"]).as_py(),
        "by_length": _by_length(_grouped(matches, ["id"])["length_max"].to_numpy()),
        "benchmarks": found,
    }


def _grouped(matches: pa.Table, keys: list[str]) -> pa.Table:
    """For each group the longest match, the highest coverage, the gravest fate, and whether any match is answered."""
    wanted = [(name, "max") for name in ("length", "item_coverage", "fate", "is_answered", "corpus_documents")]
    return matches.group_by(keys, use_threads=False).aggregate(wanted)


def _counts(documents: pa.Table) -> dict[str, Any]:
    """Of a benchmark, from one row per document."""
    longest = documents["length_max"].to_numpy()
    fates = np.bincount(documents["fate_max"].to_numpy(), minlength=len(_FATES)).tolist()
    return {
        "documents": len(documents),
        "longest": int(longest.max(initial=0)),
        "median": float(np.median(longest)) if len(longest) else 0.0,
        "answered": int(documents["is_answered_max"].to_numpy().sum()),
        **dict(zip(_FATES, fates, strict=True)),
        "by_length": _by_length(longest),
    }


def _by_length(longest: np.ndarray) -> dict[str, int]:
    """Documents with a match of at least so many characters."""
    return {str(length): int((longest >= length).sum()) for length in LENGTHS}


def _items(matches: pa.Table) -> pa.Table:
    """A row per item that was found: longest match first, then coverage, benchmark, split, item."""
    key = ["benchmark", "split", "item"]
    documents = _grouped(matches, [*key, "id"])
    names = ["length", "item_coverage", "corpus_documents"]
    for number, name in enumerate(_FATES):
        names.append(name)
        documents = documents.append_column(name, pc.equal(documents["fate_max"], number).cast(pa.int32()))
    documents = documents.append_column("answered", documents["is_answered_max"].cast(pa.int32()))
    documents = documents.rename_columns([name.removesuffix("_max") for name in documents.column_names])
    summed = [(name, "sum") for name in (*_FATES, "answered")]
    items = documents.group_by(key, use_threads=False).aggregate([*((name, "max") for name in names[:3]), *summed, ("id", "count")])
    order = [("length_max", "descending"), ("item_coverage_max", "descending"), *((name, "ascending") for name in key)]
    return items.take(pc.sort_indices(items, sort_keys=order))


def _item(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "item": row["item"],
        "split": row["split"],
        "longest": row["length_max"],
        "coverage": round(row["item_coverage_max"], 4),
        "documents": row["id_count"],
        "corpus_documents": row["corpus_documents_max"],
        "answered": row["answered_sum"],
        **{name: row[f"{name}_sum"] for name in _FATES},
    }
