"""Splits: the units of work. Input paths become files, files become parts, and parts are packed into named splits.

A split's name depends only on the files it reads and its place in them, never on the order in which inputs were listed. Shards carry that
name, so the same inputs always give the same files.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from pipeline.files import File, open_file

DOCUMENTS = "documents"
"""Format of a part that is a shard of the document table, as every stage writes it."""

UNKNOWN = "unknown"
"""Format of a file in an input folder that is none of those that ingest reads: it becomes one quarantined row."""

_TINY_SHARE = 8
"""Files smaller than 1/8 of a split are packed together: one task per small HTML file would cost more than its work."""


@dataclass(frozen=True)
class Part:
    """A file, or a range of one: bytes [start, stop) of WARC, ARC or plain JSONL, row groups [start, stop) of Parquet."""

    path: str = field(metadata={"fingerprint": False})
    name: str
    format: str
    source: str
    fingerprint: str
    size: int
    start: int = 0
    stop: int | None = None
    text_column: str = "text"
    id_column: str = "id"
    keep_ids: bool = False
    """Use the value of `id_column` as the document id (stage commands on a user's own table) instead of deriving one."""


@dataclass(frozen=True)
class Split:
    """What one task reads: one part, or a pack of small ones. `name` is unique in a run and safe as a file name."""

    name: str
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Bytes on disk that this split reads."""
        return sum(part.size for part in self.parts)


def plan_splits(parts: Iterable[Part], split_bytes: int) -> list[Split]:
    """Cut large parts, pack tiny ones, and name the results; sorted by name of the first file, whatever the order of `parts`."""
    splits: list[Split] = []
    tiny: list[Part] = []
    for part in sorted(parts, key=lambda part: (part.source, part.name)):
        if part.size * _TINY_SHARE <= split_bytes:
            tiny.append(part)
            continue
        pieces = _cut(part, split_bytes)
        splits += [Split(f"{_slug(part.name)}-{_digest(part)}-{index:05d}", (piece,)) for index, piece in enumerate(pieces)]
    for pack in _pack(tiny, split_bytes):
        if len(pack) == 1:
            splits.append(Split(f"{_slug(pack[0].name)}-{_digest(pack[0])}-00000", tuple(pack)))
        else:
            splits.append(Split(f"pack-{_slug(pack[0].name)}-{_digest(*pack)}", tuple(pack)))
    return splits


def _pack(parts: Sequence[Part], split_bytes: int) -> list[list[Part]]:
    """Consecutive small parts of one format and source, together at most `split_bytes` / 8 (so that packs still spread over workers)."""
    packs: list[list[Part]] = []
    size = 0
    for part in parts:
        fits = packs and size + part.size <= split_bytes // _TINY_SHARE
        if fits and packs[-1][-1].format == part.format and packs[-1][-1].source == part.source:
            packs[-1].append(part)
            size += part.size
        else:
            packs.append([part])
            size = part.size
    return packs


def _cut(part: Part, split_bytes: int) -> list[Part]:
    if part.size <= split_bytes:
        return [part]
    if part.format == "parquet":
        return _cut_row_groups(part, split_bytes)
    count = -(-part.size // split_bytes)
    edges = [part.size * index // count for index in range(count + 1)]
    if part.format in ("warc", "arc"):
        edges = _record_edges(part, edges)
    elif part.format != "jsonl" or not part.name.lower().endswith((".jsonl", ".ndjson", ".json")):
        return [part]  # also compressed JSON lines: their positions count bytes of content, which are unknown in the middle of a file
    return [replace(part, start=start, stop=stop, size=stop - start) for start, stop in itertools.pairwise(edges)]


def _record_edges(part: Part, edges: list[int]) -> list[int]:
    """The edges for a compressed archive, whose readers find members themselves; of a plain one, where records begin.

    A file that can't be opened keeps them: its readers report the error.
    """
    from pipeline.ingest.arc import arc_edges
    from pipeline.ingest.warc import warc_edges

    try:
        with open_file(part.path) as stream:
            found = {"warc": warc_edges, "arc": arc_edges}[part.format](stream, edges[1:-1])
    except OSError:
        return edges
    return edges if found is None else [0, *sorted({edge for edge in found if 0 < edge < part.size}), part.size]


def _cut_row_groups(part: Part, split_bytes: int) -> list[Part]:
    """Runs of row groups of about `split_bytes` compressed. An unreadable footer leaves the file whole: reading it reports the error."""
    try:
        with open_file(part.path) as stream:
            metadata = pq.ParquetFile(stream).metadata
    except (pa.ArrowException, OSError):
        return [part]
    pieces, start, size = [], 0, 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        size += sum(group.column(column).total_compressed_size for column in range(group.num_columns))
        if size >= split_bytes or index == metadata.num_row_groups - 1:
            pieces.append(replace(part, start=start, stop=index + 1, size=size))
            start, size = index + 1, 0
    return pieces or [part]


def _slug(name: str) -> str:
    stem = os.path.basename(name).split(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:40].strip("_") or "file"


def _digest(*parts: Part) -> str:
    return xxhash.xxh3_64_hexdigest("\0".join(f"{part.source}\0{part.name}" for part in parts).encode())[:10]


def parts_of(files: Iterable[File], source: str, format_of: dict[str, str], text_column: str, id_column: str, keep_ids: bool) -> list[Part]:
    """One part per file; an empty `source` names each file's documents after the file (its name up to the first dot)."""
    return [
        Part(
            path=file.path,
            name=file.name,
            format=format_of[file.path],
            source=source or os.path.basename(file.name).split(".")[0],
            fingerprint=file.fingerprint,
            size=file.size,
            text_column=text_column,
            id_column=id_column,
            keep_ids=keep_ids,
        )
        for file in files
    ]
