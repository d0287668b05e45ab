"""Find benchmark text in documents: every common substring that is long enough, exactly, with byte offsets into the document.

For a document and an entry (one text of a benchmark item) a candidate is a common substring of the two normalised texts that can be
extended neither left nor right, and that has at least `length` characters, or at least `hangul_length` if half of it or more is Hangul. An
entry shorter than a match of its script is a candidate wherever it stands whole between two word boundaries of the document (the text's
ends, or places where normalisation left something out: a space, punctuation, a symbol). Of each document and entry the candidates are taken
longest first (then leftmost, then first in the entry), leaving out those that overlap one already taken. What is found does not depend on
how documents are batched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa

from decontam.arrow import text_buffers
from decontam.errors import DecontamError
from decontam.extend import choose_disjoint, count_hangul, find_short_items, find_substrings, rarest_seed
from decontam.hashing import MULTIPLIERS
from decontam.index import Index, hangul_reach, hangul_strides, long_strides
from decontam.normalize import Normalized, normalize_buffers
from decontam.settings import MatchSettings

CHUNK_BYTES = 1 << 20
"""Text normalised at a time: its code points (4 bytes each) then stay in a core's cache until they are probed."""

_COLUMNS: dict[str, pa.DataType] = {
    "row": pa.int64(),
    "benchmark": pa.string(),
    "split": pa.string(),
    "item": pa.string(),
    "field": pa.string(),
    "start": pa.int64(),
    "end": pa.int64(),
    "length": pa.int32(),
    "coverage": pa.float64(),
    "frequency": pa.int32(),
    "required": pa.int32(),
}

MATCH_SCHEMA = pa.schema(_COLUMNS)
"""One match. row: document, counted in the scanned column. start, end: UTF-8 byte offsets in the document's text. length: normalised
characters. coverage: share of the item's text, or of its question alone if that is more, that the match covers, 0 to 1. frequency: items
that hold the match's rarest seed (for a whole short item: items with the same text). required: characters that make a match of this
script; a match shorter than that is a whole short item."""


class Scanner:
    """Scans text columns against one index. Holds no state between calls, and releases the GIL in its loops."""

    def __init__(self, index: Index, settings: MatchSettings | None = None) -> None:
        """Raises DecontamError when `settings` differ from those the index was built with."""
        if settings is not None and settings != index.settings:
            raise DecontamError(
                f"the index was built with {index.settings}, not with {settings}; build it again or leave the settings out."
            )
        self.index = index
        self.settings = index.settings
        self._lengths = index.lengths
        self._entry_starts = np.asarray(index.starts)
        owners = self._owner(index.short.postings.astype(np.int64))
        self._short_lengths = self._lengths[owners].astype(np.uint32)
        self._core = index.entries["core"].to_numpy().astype(np.int64)
        self._text_frequency = index.entries["frequency"].to_numpy()
        self._entry_required = index.entries["required"].to_numpy()

    def scan(self, text: pa.Array | pa.ChunkedArray) -> pa.Table:
        """All matches in a string column as a table of MATCH_SCHEMA, ordered by row, start, longest first, entry.

        Raises DecontamError for a column that holds no text.
        """
        data, offsets = text_buffers(text)
        parts = []
        for first, last in _chunks(offsets):
            parts.append(self._scan_chunk(data, offsets[first : last + 1], first))
        return pa.concat_tables(parts) if parts else MATCH_SCHEMA.empty_table()

    def _scan_chunk(self, data: np.ndarray, offsets: np.ndarray, first_row: int) -> pa.Table:
        has_short = len(self.index.short.postings) > 0
        normalized = normalize_buffers(data, offsets, with_breaks=has_short)
        found = self._find(normalized)
        if not len(found):
            return MATCH_SCHEMA.empty_table()
        document, start, at, length = np.ascontiguousarray(found.T)
        entry = self._owner(at)
        order = np.lexsort((at, start, -length, entry, document))
        document, start, at, length, entry = (column[order] for column in (document, start, at, length, entry))
        group = np.zeros(len(order), np.int64)
        np.cumsum((document[1:] != document[:-1]) | (entry[1:] != entry[:-1]), out=group[1:])
        chosen = np.zeros(len(order), np.bool_)
        taken = np.zeros(int(np.diff(normalized.offsets).max()), np.uint8)
        choose_disjoint(group, start, length, taken, chosen)
        order = np.flatnonzero(chosen)
        order = order[np.lexsort((entry[order], -length[order], start[order], document[order]))]
        return self._describe(data, offsets, first_row, *(column[order] for column in (document, start, at, length, entry)))

    def _find(self, normalized: Normalized) -> np.ndarray:
        """int64[m, 4] of (document, start, pool position, length), unordered, possibly with repetitions."""
        index, settings = self.index, self.settings
        codes, offsets = normalized.codepoints, normalized.offsets
        parts = []
        for table, strides, reach in (
            (index.long, long_strides(settings), -1),
            (index.hangul, hangul_strides(settings), hangul_reach(settings)),
        ):
            # fmt: off
            substrings = partial(
                find_substrings,
                codes, offsets, index.pool, table.bloom, table.slots, table.group_offsets, table.postings, strides.document, strides.width,
                settings.length, settings.hangul_length, reach, MULTIPLIERS,
            )
            # fmt: on
            if len(table.postings):
                parts.append(_grow(substrings))
        short = index.short
        # fmt: off
        whole_items = partial(
            find_short_items,
            codes, offsets, normalized.breaks, index.pool, self._short_lengths, short.bloom, short.slots, short.group_offsets,
            short.postings, settings.short_length, MULTIPLIERS,
        )
        # fmt: on
        if len(short.postings):
            parts.append(_grow(whole_items))
        return np.concatenate(parts) if parts else np.empty((0, 4), np.int64)

    def _owner(self, positions: np.ndarray) -> np.ndarray:
        """Entry of each pool position."""
        return np.searchsorted(self._entry_starts, positions, side="right") - 1

    def _describe(
        self,
        data: np.ndarray,
        offsets: np.ndarray,
        first_row: int,
        document: np.ndarray,
        start: np.ndarray,
        at: np.ndarray,
        length: np.ndarray,
        entry: np.ndarray,
    ) -> pa.Table:
        """The table of chosen matches; only the documents that have any are normalised again, for their byte offsets."""
        first_byte = np.empty(len(document), np.int64)
        last_byte = np.empty(len(document), np.int64)
        bounds = np.flatnonzero(np.r_[True, document[1:] != document[:-1], True])
        for low, high in pairwise(bounds.tolist()):
            spans = normalize_buffers(data, offsets[document[low] : document[low] + 2], with_spans=True)
            first_byte[low:high] = np.asarray(spans.starts)[start[low:high]]
            last_byte[low:high] = np.asarray(spans.ends)[start[low:high] + length[low:high] - 1]
        inside = at - self._entry_starts[entry]
        core = self._core[entry]
        in_core = np.clip(np.minimum(inside + length, core) - inside, 0, None)
        coverage = np.maximum(length / self._lengths[entry], in_core / core)
        whole_short = (length == self._lengths[entry]) & (length < self._entry_required[entry])
        frequency = np.where(whole_short, self._text_frequency[entry], self._seed_frequency(entry, inside, length))
        hangul = np.empty(len(at), np.int64)
        count_hangul(self.index.pool, at, length, hangul)
        required = np.where(2 * hangul >= length, self.settings.hangul_length, self.settings.length)
        entries = self.index.entries
        columns = [pa.array(document + first_row)]
        columns += [entries[name].take(pa.array(entry)).cast(pa.string()) for name in ("benchmark", "split", "item", "field")]
        columns += [pa.array(values) for values in (first_byte, last_byte, length, coverage, frequency, required)]
        return pa.table([column.cast(field.type) for column, field in zip(columns, MATCH_SCHEMA, strict=True)], schema=MATCH_SCHEMA)

    def _seed_frequency(self, entry: np.ndarray, inside: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Frequency of each match's rarest seed: of the long seeds where it is long enough for them, else of the Hangul ones."""
        result = np.zeros(len(entry), np.int32)
        is_long = length >= self.settings.length
        for rows, table, strides in (
            (np.flatnonzero(is_long), self.index.long, long_strides(self.settings)),
            (np.flatnonzero(~is_long), self.index.hangul, hangul_strides(self.settings)),
        ):
            rarest = np.empty(len(rows), np.int32)
            # fmt: off
            rarest_seed(
                table.frequency, table.frequency_offsets, entry[rows], inside[rows], length[rows], strides.pool, strides.width, rarest,
            )
            # fmt: on
            result[rows] = rarest
        return result


def _chunks(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Row ranges of at most CHUNK_BYTES of text each, or of one longer document."""
    first, rows = 0, len(offsets) - 1
    while first < rows:
        last = int(np.searchsorted(offsets, offsets[first] + CHUNK_BYTES, side="right")) - 1
        last = min(max(last, first + 1), rows)
        yield first, last
        first = last


def _grow(find: Callable[[np.ndarray], int]) -> np.ndarray:
    """Run a kernel that fills rows of four and returns how many it has, again with enough room when they did not fit."""
    capacity = 1024
    while True:
        found = np.empty(4 * capacity, np.int64)
        count = find(found)
        if count <= capacity:
            return found[: 4 * count].reshape(-1, 4)
        capacity = count
