"""The documents of a split parted into groups: which folder each belongs to, and the shards that each group fills."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.errors import UserError
from tokenizer.encode_kernel import lay_out
from tokenizer.shards import LONGEST_DOCUMENT, TOKEN, ShardWriter

MOST_GROUPS = 256
"""Groups of one split: each keeps two files open, and a process may usually have 1,024."""

NO_VALUE = "unknown"
"""What null and the empty string count as."""

_LONGEST_VALUE = 120
"""Characters of a value in a path; file systems allow 255 bytes, and the key comes before it."""


@dataclass
class Groups:
    """The shards of a split, under `root`, named after it. closing: the id that ends every document, -1 for none."""

    root: Path
    name: str
    group_by: Sequence[str]
    shard_bytes: int
    closing: int
    tokenizer_sha256: str
    _series: dict[str, _Series] = field(default_factory=dict)

    def add(self, table: pa.Table, fixed: Mapping[str, str], ids: np.ndarray, offsets: np.ndarray) -> int:
        """Write the documents of a batch to their groups; returns how many had no token and were left out.

        table: their rows, with the side-car's columns and those of group_by; fixed: what their folder says of the group, before group_by;
        ids and offsets: as an Encoder gives them. Raises UserError for a document too long for a shard, and for more than MOST_GROUPS.
        """
        lengths = np.diff(offsets)
        refuse_too_long(table, lengths, self.name)
        keys = [key for key in self.group_by if key not in fixed]
        for values, rows in grouped(table, keys):
            rows = rows[lengths[rows] > 0]
            if not len(rows):
                continue
            totals = lengths[rows] + (self.closing >= 0)
            out = np.empty(int(totals.sum()), np.int32)
            lay_out(ids, offsets, rows, self.closing, out)
            documents = table if len(rows) == len(table) else table.take(pa.array(rows))
            self._series_of({**fixed, **dict(zip(keys, values, strict=True))}).write(documents, out, totals)
        return int((lengths == 0).sum())

    def _series_of(self, group: dict[str, str]) -> _Series:
        folder = "/".join(f"{key}={path_safe(value)}" for key, value in group.items())
        if folder not in self._series:
            if len(self._series) == MOST_GROUPS:
                raise UserError(
                    f"split {self.name} has more than {MOST_GROUPS} groups of {', '.join(self.group_by)}; "
                    "name columns with fewer values in group_by"
                )
            metadata = {"tokenizer_sha256": self.tokenizer_sha256, "group": json.dumps(group, ensure_ascii=False)}
            self._series[folder] = _Series(self.root, folder, self.name, self.shard_bytes // TOKEN.itemsize, group, metadata)
        return self._series[folder]

    def close(self) -> list[dict[str, Any]]:
        """Finish all shards; the facts of each with its path, folder and values, by path."""
        return sorted((shard for series in self._series.values() for shard in series.close()), key=lambda shard: str(shard["path"]))


@dataclass
class _Series:
    """The shards of one group of a split, each filled up to `room` tokens before the next."""

    root: Path
    folder: str
    name: str
    room: int
    group: dict[str, str]
    metadata: dict[str, str]
    _shards: list[dict[str, Any]] = field(default_factory=list)
    _writer: ShardWriter | None = None

    def write(self, documents: pa.Table, tokens: np.ndarray, lengths: np.ndarray) -> None:
        ends = np.cumsum(lengths)
        row = written = 0
        while row < len(lengths):
            used = self._writer.tokens if self._writer else 0
            stop = int(np.searchsorted(ends, written + self.room - used, side="right"))
            if stop <= row and used:
                self._finish()
                continue
            stop = max(stop, row + 1)
            self._writer = self._writer or ShardWriter(self.root / self._path(), self.metadata)
            end = int(ends[stop - 1])
            self._writer.write(documents.slice(row, stop - row), tokens[written:end], lengths[row:stop])
            row, written = stop, end

    def _path(self) -> str:
        name = f"{self.name}_{len(self._shards):03d}" if self._shards else self.name
        return f"{self.folder}/{name}" if self.folder else name

    def _finish(self) -> None:
        if self._writer:
            self._shards.append({"path": self._path(), "folder": self.folder, "values": self.group, **self._writer.close()})
        self._writer = None

    def close(self) -> list[dict[str, Any]]:
        self._finish()
        return self._shards


def grouped(table: pa.Table, keys: Sequence[str]) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """The distinct values of these columns, with the rows (int64, ascending) that have them; null and empty count as NO_VALUE."""
    code = np.zeros(len(table), np.int64)
    names: list[list[str]] = []
    for key in keys:
        column: Any = pc.fill_null(table.column(key).cast(pa.string()).cast(pa.binary()), b"")
        encoded = column.combine_chunks().dictionary_encode()
        values = [value.decode("utf-8", "backslashreplace") or NO_VALUE for value in encoded.dictionary.to_pylist()]
        place = {value: index for index, value in enumerate(sorted(set(values)))}
        ranks = np.array([place[value] for value in values], np.int64)
        code = code * len(place) + ranks[encoded.indices.to_numpy(zero_copy_only=False)]
        names.append(list(place))
    found, inverse, counts = np.unique(code, return_inverse=True, return_counts=True)
    rows = np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])
    return [(_values(combined, names), mine) for combined, mine in zip(found.tolist(), rows, strict=True)]


def _values(code: int, names: Sequence[list[str]]) -> tuple[str, ...]:
    """The value of each key in a combined code, whose last digit is the last key."""
    digits = []
    for distinct in reversed(names):
        code, digit = divmod(code, len(distinct))
        digits.append(distinct[digit])
    return tuple(reversed(digits))


def path_safe(value: str) -> str:
    """A value as part of a folder's name: letters, digits, `-`, `_` and `.` stay, the rest is percent-encoded; long ones end in a hash."""
    kept = re.sub(rb"[^A-Za-z0-9\-_.]", lambda match: b"%%%02X" % match.group()[0], value.encode()).decode()
    if len(kept) <= _LONGEST_VALUE:
        return kept
    return re.sub(r"%.?$", "", kept[: _LONGEST_VALUE - 17]) + "-" + xxhash.xxh3_64_hexdigest(value.encode())


def refuse_too_long(table: pa.Table, lengths: np.ndarray, split: str) -> None:
    """Raises UserError for a document that, with its EOS, has more tokens than an index can say."""
    too_long = np.flatnonzero(lengths >= LONGEST_DOCUMENT)
    if len(too_long):
        row = int(too_long[0])
        raise UserError(
            f"the document '{table.column('id')[row]}' of split {split} has {int(lengths[row]):,} tokens, and a shard holds documents of "
            f"fewer than {LONGEST_DOCUMENT:,}; cut it into several"
        )
