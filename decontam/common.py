"""How common a match's text is in the corpus that was scanned: a sentence that stands in many documents is a quotation, not a leak."""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa
from numba import types

from decontam.numba_types import read_only, writable


@numba.njit(
    types.void(
        read_only(types.int64), read_only(types.int64), read_only(types.int64), read_only(types.int64), writable(types.int32)
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _count(groups, documents, starts, ends, counts):
    """For each stretch the fewest documents that any of its places is matched in; rows by group, document, start."""
    first = 0
    while first < len(groups):
        last = first
        size = np.int64(0)
        while last < len(groups) and groups[last] == groups[first]:
            size = max(size, ends[last])
            last += 1
        covered = np.zeros(size + 1, np.int32)
        reached = np.int64(0)
        for row in range(first, last):
            if row == first or documents[row] != documents[row - 1]:
                reached = np.int64(0)
            start = max(starts[row], reached)
            if start < ends[row]:
                covered[start] += 1
                covered[ends[row]] -= 1
                reached = ends[row]
        for place in range(1, size + 1):
            covered[place] += covered[place - 1]
        for row in range(first, last):
            fewest = covered[starts[row]]
            for place in range(starts[row], ends[row]):
                fewest = min(fewest, covered[place])
            counts[row] = fewest
        first = last


def count_documents(matches: pa.Table, documents: np.ndarray) -> np.ndarray:
    """int32[m]: for each match, the number of documents that hold its rarest part, by the matches of all documents with its text.

    matches: columns benchmark, entry, item_start, item_end, of any number of documents. documents: int64[m], a number for each document.
    Takes about 60 bytes per match, and the bytes of one benchmark text at a time.
    """
    benchmarks = matches["benchmark"].combine_chunks().dictionary_encode()
    if isinstance(benchmarks, pa.ChunkedArray):
        benchmarks = benchmarks.combine_chunks()
    kinds = benchmarks.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    entries, starts, ends = (matches[name].to_numpy().astype(np.int64) for name in ("entry", "item_start", "item_end"))
    order = np.lexsort((starts, documents, entries, kinds))
    kinds, entries, starts, ends, documents = (column[order] for column in (kinds, entries, starts, ends, documents.astype(np.int64)))
    groups = np.zeros(len(order), np.int64)
    np.cumsum((kinds[1:] != kinds[:-1]) | (entries[1:] != entries[:-1]), out=groups[1:])
    counts = np.empty(len(order), np.int32)
    _count(groups, documents, starts, ends, counts)
    result = np.empty(len(order), np.int32)
    result[order] = counts
    return result
