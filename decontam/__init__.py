"""Find benchmark text in documents, exactly: every common substring of 50 normalised characters (24 in Korean) or more.

Usage:

    from decontam import Scanner, build_index, contaminated, read_benchmarks, save_index
    index = build_index(read_benchmarks("benchmarks/"))
    save_index(index, "benchmarks.index")
    matches = Scanner(index).scan(documents["text"])     # one row per match: document row, item, byte offsets, coverage
    rows = contaminated(matches)                         # rows of the documents to drop
"""

from __future__ import annotations

from decontam.benchmarks import ITEM_SCHEMA, FieldMap, read_benchmarks
from decontam.errors import DecontamError
from decontam.index import Index, build_index, load_index, save_index
from decontam.normalize import Normalized, normalize_batch, normalize_text
from decontam.policy import Policy, contaminated, decisive
from decontam.scan import MATCH_SCHEMA, Scanner
from decontam.settings import MatchSettings

__all__ = [
    "ITEM_SCHEMA",
    "MATCH_SCHEMA",
    "DecontamError",
    "FieldMap",
    "Index",
    "MatchSettings",
    "Normalized",
    "Policy",
    "Scanner",
    "build_index",
    "contaminated",
    "decisive",
    "load_index",
    "normalize_batch",
    "normalize_text",
    "read_benchmarks",
    "save_index",
]
