"""Find benchmark text in documents: every common substring that is long enough, exactly, with byte offsets into the document.

For a document and an entry (one text of a benchmark item; a question with its choices is written in several ways) a candidate is a common
substring of the two normalised texts that can be extended neither left nor right, and that has at least `length` characters, or at least
`hangul_length` if half of it or more is Hangul. An entry (or its question without the choices) that is shorter than a match of its script
is a candidate wherever it stands whole between two word boundaries of the document (the text's ends, or places where normalisation left
something out: a space, punctuation, a symbol). Of each document and item the candidates in its question (answer, passages) are taken
longest first, then leftmost, then first in the benchmark, leaving out those that overlap one already taken. What is found does not depend
on how documents are batched, nor on which other benchmarks are in the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from decontam.arrow import text_buffers
from decontam.errors import DecontamError
from decontam.extend import choose_disjoint, find_substrings, find_whole, look_up
from decontam.hashing import MULTIPLIERS
from decontam.index import Index
from decontam.matches import MATCH_SCHEMA, Spans, describe
from decontam.normalize import Normalized, Workspace, normalize_buffers
from decontam.probe import HANGUL_BLOCK, mark_hangul, probe_around, probe_windows
from decontam.seeds import SeedTable
from decontam.settings import Family

_CANDIDATES = 4096
"""Windows that are looked up and compared together: one of a periodic text may stand at a thousand places of the index."""

BATCH_BYTES = 2 << 20
"""Text that is normalised and probed at a time: its characters stay in the processor's cache."""

DESCRIBED_BYTES = 16 << 20
"""Text whose matches are described together, which takes a millisecond however few they are. Until then each document with a match is held
in normalised form, at most 13 bytes for each byte of text."""

Candidates = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Document (in the batch), position and hash of the windows that may stand in some segment."""

Bounded = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Whether stretches (document in the batch, start, length) stand between word boundaries: `Spans.bounded`."""


class Scanner:
    """Scans text columns against one index. Holds no state between calls, and releases the GIL in its loops."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.settings = index.settings

    def scan(self, documents: pa.Table | pa.RecordBatch | pa.Array | pa.ChunkedArray, text_column: str = "text") -> pa.Table:
        """All matches in a table's text column, or in a string column, as a table of MATCH_SCHEMA.

        Ordered by row, start, longest first, benchmark, entry. Raises DecontamError for a table without the column and a column that
        holds no text.
        """
        data, offsets = text_buffers(text_of(documents, text_column))
        workspace = Workspace()
        stretches = _batches(offsets, DESCRIBED_BYTES)
        parts = [self._scan_stretch(data, offsets[first : last + 1], first, workspace) for first, last in stretches]
        return pa.concat_tables([MATCH_SCHEMA.empty_table(), *parts])

    def _scan_stretch(self, data: np.ndarray, offsets: np.ndarray, first_row: int, workspace: Workspace) -> pa.Table:
        spans = Spans(data, offsets)
        parts = [self._scan_batch(data, offsets, rows, spans, workspace) for rows in _batches(offsets, BATCH_BYTES)]
        found = np.concatenate(parts)
        if not len(found):
            return MATCH_SCHEMA.empty_table()
        matches = describe(self.index, _disjoint(self.index, found), spans)
        return matches.set_column(0, "row", pc.add(matches["row"], first_row))

    def _scan_batch(self, data: np.ndarray, offsets: np.ndarray, rows: tuple[int, int], spans: Spans, workspace: Workspace) -> np.ndarray:
        """int64[m, 4] of (document, start, pool position, length) in a range of the documents, as `_find` gives them."""
        first, last = rows
        normalized = normalize_buffers(data, offsets[first : last + 1], workspace=workspace)
        blocks = workspace.array("blocks", len(normalized.codepoints) // HANGUL_BLOCK + 1, np.uint8)
        mark_hangul(normalized.codepoints, blocks)
        parts = [np.empty((0, 4), np.int64)]
        for family in self.settings.families:
            candidates = self._probe(normalized, blocks, family, workspace)
            if len(candidates[0]):
                parts.append(self._find(family, candidates, normalized, lambda *found: spans.bounded(found[0] + first, *found[1:])))
        found = np.concatenate(parts)
        found[:, 0] += first
        return found

    def _probe(self, normalized: Normalized, blocks: np.ndarray, family: Family, workspace: Workspace) -> Candidates:
        table, strides = self.index.tables[family.name], family.strides
        if not len(table.postings):
            return (np.zeros(0, np.int64),) * 2 + (np.zeros(0, np.uint64),)
        room = len(normalized.codepoints) // strides.document + len(normalized.offsets)
        positions, hashes = workspace.array("positions", room, np.int64), workspace.array("hashes", room, np.uint64)
        # fmt: off
        count = probe_windows(
            normalized.codepoints, normalized.offsets, blocks, table.words, strides.document, strides.width, family.reach, family.hangul,
            MULTIPLIERS, positions, hashes,
        )
        # fmt: on
        positions, hashes = positions[:count].copy(), hashes[:count].copy()
        common = _is_in(hashes, table.common)
        if common.any():
            around, around_hashes = self._probe_around(normalized, positions[common], family, table)
            positions, rows = np.unique(np.concatenate([positions, around]), return_index=True)
            hashes = np.concatenate([hashes, around_hashes])[rows]
        return _owners(normalized, positions), positions, hashes

    def _probe_around(self, normalized: Normalized, places: np.ndarray, family: Family, table: SeedTable) -> tuple[np.ndarray, np.ndarray]:
        """Positions and hashes of the windows that a match may have besides the common one at each of these places."""
        capacity = 1024
        while True:
            positions, hashes = np.empty(capacity, np.int64), np.empty(capacity, np.uint64)
            # fmt: off
            count = probe_around(
                normalized.codepoints, normalized.offsets, _owners(normalized, places), places, table.words,
                family.strides.width, family.reach, MULTIPLIERS, positions, hashes,
            )
            # fmt: on
            if count <= capacity:
                return positions[:count], hashes[:count]
            capacity = count

    def _find(self, family: Family, candidates: Candidates, normalized: Normalized, bounded: Bounded) -> np.ndarray:
        """int64[m, 4] of (document, start, pool position, length), unordered, possibly with repetitions."""
        parts = [np.empty((0, 4), np.int64)]
        for first in range(0, len(candidates[0]), _CANDIDATES):
            documents, positions, hashes = (column[first : first + _CANDIDATES] for column in candidates)
            parts.append(self._find_some(family, documents, positions, hashes, normalized, bounded))
        return np.concatenate(parts)

    def _find_some(
        self, family: Family, documents: np.ndarray, positions: np.ndarray, hashes: np.ndarray, normalized: Normalized, bounded: Bounded
    ) -> np.ndarray:
        """As `_find`, for so few windows that what they are compared with fits the memory."""
        index, table = self.index, self.index.tables[family.name]
        candidates, seeds = _look_up(table, hashes)
        if not len(seeds):
            return np.empty((0, 4), np.int64)
        pairs = (normalized.codepoints, normalized.offsets, documents, positions, candidates, seeds, table.postings)
        if family.whole:
            found = _grow(partial(find_whole, *pairs, index.owners[family.name], index.pool, index.starts, index.whole))
            return found[bounded(found[:, 0], found[:, 1], found[:, 3])]
        return _grow(partial(find_substrings, *pairs, index.pool, family.strides.width, self.settings.length, self.settings.hangul_length))


def _owners(normalized: Normalized, positions: np.ndarray) -> np.ndarray:
    """int64[n]: the document of each position."""
    return np.searchsorted(normalized.offsets, positions, side="right") - 1


def _is_in(hashes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """bool[n]: which hashes are among `known` (ascending)."""
    if not len(known):
        return np.zeros(len(hashes), np.bool_)
    return known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes


def text_of(documents: pa.Table | pa.RecordBatch | pa.Array | pa.ChunkedArray, text_column: str) -> pa.Array | pa.ChunkedArray:
    """The text column of a table, or the column itself. Raises DecontamError for a table without it."""
    if not isinstance(documents, (pa.Table, pa.RecordBatch)):
        return documents
    if text_column not in documents.schema.names:
        raise DecontamError(f"the table has no column '{text_column}'; its columns are {', '.join(documents.schema.names) or 'none'}.")
    return documents.column(text_column)


def _disjoint(index: Index, found: np.ndarray) -> np.ndarray:
    """int64[m, 5]: the matches that are kept, with their entry, by document, start, longest first, entry."""
    document, start, at, length = np.ascontiguousarray(found.T)
    entry = index.entry_of(at)
    item = index.groups[entry]
    order = np.lexsort((at, start, -length, item, document))
    document, start, at, length, entry, item = (column[order] for column in (document, start, at, length, entry, item))
    group = np.zeros(len(order), np.int64)
    np.cumsum((document[1:] != document[:-1]) | (item[1:] != item[:-1]), out=group[1:])
    chosen = np.zeros(len(order), np.bool_)
    choose_disjoint(group, start, length, np.zeros(int((start + length).max()), np.uint8), chosen)
    order = np.flatnonzero(chosen)
    order = order[np.lexsort((entry[order], -length[order], start[order], document[order]))]
    return np.stack([column[order] for column in (document, start, at, length, entry)], axis=1)


def _batches(offsets: np.ndarray, size: int) -> Iterator[tuple[int, int]]:
    """Row ranges of at most `size` bytes of text each, or of one longer document."""
    first, rows = 0, len(offsets) - 1
    while first < rows:
        last = int(np.searchsorted(offsets, offsets[first] + size, side="right")) - 1
        last = min(max(last, first + 1), rows)
        yield first, last
        first = last


def _look_up(table: SeedTable, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a candidate's row and a seed's number, int64[k] each."""
    capacity = 256
    while True:
        candidates, seeds = np.empty(capacity + 1, np.int64), np.empty(capacity + 1, np.int64)
        count = look_up(hashes, table.shift, table.directory, table.fingerprints, candidates, seeds)
        if count <= capacity:
            return candidates[:count], seeds[:count]
        capacity = count


def _grow(find: Callable[[np.ndarray], int]) -> np.ndarray:
    """Run a kernel that fills rows of four and returns how many it has, again with enough room when they did not fit."""
    capacity = 1024
    while True:
        found = np.empty(4 * capacity, np.int64)
        count = find(found)
        if count <= capacity:
            return found[: 4 * count].reshape(-1, 4)
        capacity = count
