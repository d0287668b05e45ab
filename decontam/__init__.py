"""Find benchmark text in documents, exactly: every common substring of 50 normalised characters (24 in Korean) or more.

Usage:

    from decontam import Scanner, build_index, contaminated, load_index, read_benchmarks, save_index
    save_index(build_index(read_benchmarks("benchmarks/")), "benchmarks.index")
    matches = Scanner(load_index("benchmarks.index")).scan(documents)     # a table with a column `text`: one row per match
    rows = contaminated(matches)                                          # rows of the documents to drop
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported when first used: help of the commands should not wait for numba
    from decontam.benchmarks import ITEM_SCHEMA, BenchmarkFile, iter_benchmarks, read_benchmarks
    from decontam.common import count_documents
    from decontam.errors import DecontamError
    from decontam.fields import FieldMap, field_map
    from decontam.index import Index, add_benchmarks, build_index, load_index, remove_benchmarks, save_index
    from decontam.matches import MATCH_SCHEMA
    from decontam.normalize import Normalized, normalize_batch, normalize_text
    from decontam.paper import PaperScanner
    from decontam.policy import Policy, contaminated, decisive
    from decontam.registry import BenchmarkSource, available, load_registry, resolve
    from decontam.scan import Scanner
    from decontam.segment import Segment
    from decontam.settings import MatchSettings

__all__ = [
    "ITEM_SCHEMA",
    "MATCH_SCHEMA",
    "BenchmarkFile",
    "BenchmarkSource",
    "DecontamError",
    "FieldMap",
    "Index",
    "MatchSettings",
    "Normalized",
    "PaperScanner",
    "Policy",
    "Scanner",
    "Segment",
    "add_benchmarks",
    "available",
    "build_index",
    "contaminated",
    "count_documents",
    "decisive",
    "field_map",
    "iter_benchmarks",
    "load_index",
    "load_registry",
    "normalize_batch",
    "normalize_text",
    "read_benchmarks",
    "remove_benchmarks",
    "resolve",
    "save_index",
]

_HOMES = {
    "BenchmarkFile": "benchmarks",
    "ITEM_SCHEMA": "benchmarks",
    "iter_benchmarks": "benchmarks",
    "read_benchmarks": "benchmarks",
    "count_documents": "common",
    "DecontamError": "errors",
    "FieldMap": "fields",
    "field_map": "fields",
    "Index": "index",
    "add_benchmarks": "index",
    "build_index": "index",
    "load_index": "index",
    "remove_benchmarks": "index",
    "save_index": "index",
    "MATCH_SCHEMA": "matches",
    "Normalized": "normalize",
    "normalize_batch": "normalize",
    "normalize_text": "normalize",
    "PaperScanner": "paper",
    "Policy": "policy",
    "contaminated": "policy",
    "decisive": "policy",
    "BenchmarkSource": "registry",
    "available": "registry",
    "load_registry": "registry",
    "resolve": "registry",
    "Scanner": "scan",
    "Segment": "segment",
    "MatchSettings": "settings",
}
"""The module of each public name."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'decontam' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"decontam.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
