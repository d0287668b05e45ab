"""Keep the best share of each language's documents: scores of all splits first, then a limit per language, then the decision.

Scoring is a task per split whose receipt knows nothing of shares, so another share scores nothing again. Documents of a language are
ordered by a 64-bit rank: `quality` in steps of 2^-32, and under equal quality a hash of id and text. The limit is the rank of the last
document that stays, found exactly by counting ranks in the files four times, in memory that doesn't grow with the corpus.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from pipeline.classify.score import Score
from pipeline.documents import usable_documents
from pipeline.errors import RunFailed
from pipeline.rows import guarded
from pipeline.schema import BY_NAME, arrow_schema, with_columns
from pipeline.segment import write_json
from pipeline.shards import read_batches, row_bytes
from pipeline.splits import Split
from pipeline.stage import decide

SCORE_STEP, LIMIT_STEP = "score", "thresholds"

EVERY_OTHER = "*"
"""Key of `keep_top` that stands for each language without one of its own."""

UNKNOWN_LANGUAGE = "und"
"""Language of a document without `lang`."""

_FILE_SCHEMA = pa.schema(
    [
        pa.field("document", pa.uint64()),
        pa.field("language", pa.string()),
        pa.field("rank", pa.uint64()),
        *arrow_schema(Score.writes),
        pa.field("error", pa.string()),
    ]
)
"""One scored document. document: `document_keys`, by which its scores are found again. rank: null without a quality. error: why it could
not be scored."""

_DIGIT_BITS = 16
_DIGITS = 1 << _DIGIT_BITS


@dataclass(frozen=True)
class ScoreTask:
    """Write `<split>.parquet`: what `score` says of each usable document of a split, by ascending document key; drops nothing."""

    split: Split
    score: Score
    version: str = "2"

    @property
    def name(self) -> str:
        return self.split.name

    def __call__(self, folder: Path) -> dict[str, Any]:
        tables, size = [_FILE_SCHEMA.empty_table()], 0
        for table in usable_documents(self.split, ("id", "lang", "text", "error", "drop_reason")):
            if len(table) == 0:  # such a table may lack columns: all its rows were errors
                continue
            parted = guarded(self.score, table)
            tables += [_scored(parted.kept), _failed(parted.quarantined)]
            size += pc.sum(row_bytes(table)).as_py() or 0
        scored = pa.concat_tables(tables)
        scored = scored.take(pc.sort_indices(scored["document"])).combine_chunks()
        pq.write_table(scored, folder / f"{self.name}.parquet", compression="zstd")
        return {"rows_in": len(scored), "bytes_in": size}


def _scored(table: pa.Table) -> pa.Table:
    if len(table) == 0:
        return _FILE_SCHEMA.empty_table()
    quality = table["quality"]
    keys = document_keys(table)
    ranks = pa.array(quality_ranks(quality, keys), mask=pc.is_null(quality).to_numpy())
    given = {"document": pa.array(keys), "language": languages_of(table), "rank": ranks}
    return _filled(given | {name: table[name] for name in Score.writes if name in table.column_names}, len(table))


def _failed(table: pa.Table) -> pa.Table:
    if len(table) == 0:
        return _FILE_SCHEMA.empty_table()
    return _filled({"document": pa.array(document_keys(table)), "language": languages_of(table), "error": table["error"]}, len(table))


def _filled(columns: Mapping[str, Any], rows: int) -> pa.Table:
    return pa.table([columns.get(one.name, pa.nulls(rows, one.type)) for one in _FILE_SCHEMA], schema=_FILE_SCHEMA)


def document_keys(table: pa.Table) -> np.ndarray:
    """uint64[n]: xxh3-64 of each text's UTF-8 bytes, seeded with that of its id: equal for equal documents only, which score alike."""
    ids = _hashes(table["id"], np.zeros(len(table), np.uint64))
    return _hashes(table["text"], ids)


def _hashes(texts: pa.ChunkedArray, seeds: np.ndarray) -> np.ndarray:
    """uint64[n]: xxh3-64 of each text, read in place; of a null as of an empty one."""
    whole = pc.fill_null(texts.cast(pa.large_string()), pa.scalar("", pa.large_string())).combine_chunks()
    _, offset_buffer, data_buffer = whole.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[whole.offset : whole.offset + len(whole) + 1].tolist()
    data = memoryview(data_buffer or b"")
    digest = xxhash.xxh3_64_intdigest
    pairs = zip(offsets, offsets[1:], seeds.tolist(), strict=False)
    return np.fromiter((digest(data[start:end], seed) for start, end, seed in pairs), np.uint64, len(whole))


def quality_ranks(quality: pa.ChunkedArray, keys: np.ndarray) -> np.ndarray:
    """uint64[n]: quality in steps of 2^-32 in the upper half, half of the document's key in the lower. Of a null quality: of no use."""
    steps = np.minimum(pc.fill_null(quality, 0.0).to_numpy() * 2.0**32, 2.0**32 - 1).astype(np.uint64)
    return steps << np.uint64(32) | keys >> np.uint64(32)


def languages_of(table: pa.Table) -> pa.ChunkedArray | pa.Array:
    """`lang` of each document, UNKNOWN_LANGUAGE where it has none."""
    if "lang" not in table.column_names:
        return pa.repeat(pa.scalar(UNKNOWN_LANGUAGE), len(table))
    return pc.fill_null(table["lang"], UNKNOWN_LANGUAGE)


@dataclass(frozen=True)
class LimitTask:
    """Write `thresholds.json`: for each language its documents, those with a quality, how many stay, and the rank of the last that does.

    shares: `keep_top`, sorted. scores: xxh3 of the score files, in the order of `paths`: they stand for the files' content.
    """

    shares: tuple[tuple[str, float], ...]
    scores: tuple[str, ...]
    paths: tuple[str, ...] = field(metadata={"fingerprint": False})
    name: str = LIMIT_STEP
    version: str = "1"

    def __call__(self, folder: Path) -> dict[str, Any]:
        facts = find_limits(self.paths, dict(self.shares))
        write_json(folder / f"{LIMIT_STEP}.json", facts)
        return {"languages": {language: {key: value[key] for key in ("scored", "kept", "quality")} for language, value in facts.items()}}


def find_limits(paths: tuple[str, ...], shares: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """The content of thresholds.json, by language.

    documents, scored (with a quality), share asked for, kept (of those scored: the share, rounded to the nearest document), quality (the
    lowest that stays, rounded down to 2^-32; null where nothing or all is asked for), limit (its rank, hexadecimal: JSON readers lose
    digits of 64-bit numbers). A language of `shares` without documents is there with zeros.
    """
    documents: dict[str, int] = dict.fromkeys(sorted(set(shares) - {EVERY_OTHER}), 0)
    scored: dict[str, int] = dict.fromkeys(documents, 0)
    for language, ranks, count in _ranks(paths):
        documents[language] = documents.get(language, 0) + count
        scored[language] = scored.get(language, 0) + len(ranks)
    asked = {language: shares.get(language, shares.get(EVERY_OTHER)) for language in documents}
    wanted = {language: int(share * scored[language] + 0.5) for language, share in asked.items() if share is not None}
    limits = _ranked(paths, {language: count for language, count in wanted.items() if 0 < count < scored[language]})
    facts = {}
    for language in sorted(wanted):
        limit = limits.get(language)
        facts[language] = {
            "documents": documents[language],
            "scored": scored[language],
            "share": asked[language],
            "kept": wanted[language],
            "quality": None if limit is None else (limit >> 32) / 2**32,
            "limit": None if limit is None else f"{limit:016x}",
        }
    return facts


def _ranks(paths: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray, int]]:
    """For each batch of the score files and each language in it: the ranks of its documents with a quality, and how many it has."""
    for path in paths:
        for table in read_batches(path, ("language", "rank")):
            for language in pc.unique(table["language"]).to_pylist():
                own = table["rank"].filter(pc.equal(table["language"], language))
                yield language, own.drop_null().to_numpy(), len(own)


def _ranked(paths: tuple[str, ...], wanted: Mapping[str, int]) -> dict[str, int]:
    """The rank of each language's `wanted`-th document from the top, digit by digit: each pass over the files finds 16 bits of it."""
    found = dict.fromkeys(wanted, 0)
    left = dict(wanted)
    for shift in range(64 - _DIGIT_BITS, -1, -_DIGIT_BITS) if wanted else ():
        counts = {language: np.zeros(_DIGITS, np.int64) for language in wanted}
        for language, ranks, _ in _ranks(paths):
            if language not in wanted:
                continue
            prefixes = ranks >> np.uint64(shift)
            digits = prefixes[prefixes >> np.uint64(_DIGIT_BITS) == found[language]] & np.uint64(_DIGITS - 1)
            counts[language] += np.bincount(digits.astype(np.int64), minlength=_DIGITS)
        for language, digit_counts in counts.items():
            from_top = np.cumsum(digit_counts[::-1])
            place = int(np.searchsorted(from_top, left[language]))
            left[language] -= int(from_top[place - 1]) if place else 0
            found[language] = found[language] << _DIGIT_BITS | (_DIGITS - 1 - place)
    return found


@functools.lru_cache(maxsize=1)
def _load(path: str, fingerprint: str) -> pa.Table:
    """The scores of one split; a worker does one split at a time. The fingerprint tells a rewritten file from a remembered one."""
    return pq.read_table(path, use_threads=False).combine_chunks()


@dataclass(frozen=True)
class StoredScores:
    """Writes the score columns from a file of ScoreTask. content: the file's hash."""

    path: str = field(metadata={"fingerprint": False})
    content: str

    name: ClassVar[str] = "classify"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"id", "text"})
    writes: ClassVar[frozenset[str]] = Score.writes

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with the columns, and `error` where a document could not be scored. Raises RunFailed for one that isn't in the file."""
        stored = _load(self.path, self.content)
        keys, known = document_keys(table), stored["document"].to_numpy()
        places = np.searchsorted(known, keys)
        if len(keys) and (len(known) == 0 or not (known[np.minimum(places, len(known) - 1)] == keys).all()):
            raise RunFailed(
                f"the scores in '{self.path}' are of other documents; remove the folder '{Path(self.path).parent}' and run again"
            )
        rows = stored.take(pa.array(places))
        written = self.writes | ({"error"} if rows["error"].null_count < len(rows) else frozenset())
        return with_columns(table, {name: rows[name] for name in BY_NAME if name in written})


@dataclass(frozen=True)
class KeepTop:
    """Drops documents below the limit of their language; one without a quality stays. Copies of one id and text stay or go together.

    limits: per language the lowest rank that stays (hexadecimal), "" where none does; languages that aren't here keep all.
    """

    limits: tuple[tuple[str, str], ...]

    name: ClassVar[str] = "keep_top"
    version: ClassVar[str] = "2"
    reads: ClassVar[frozenset[str]] = frozenset({"id", "text", "quality"})
    writes: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with `drop_reason` set to `low_quality_percentile:<language>`."""
        languages, has_quality = languages_of(table), pc.is_valid(table["quality"])
        ranks = quality_ranks(table["quality"], document_keys(table))
        for language, limit in self.limits:
            below = pa.array(ranks < np.uint64(int(limit, 16))) if limit else pa.repeat(True, len(table))
            is_dropped = pc.and_(pc.and_(pc.equal(languages, language), has_quality), below)
            table = decide(table, "drop_reason", is_dropped, f"low_quality_percentile:{language}")
        return table


def keep_top_of(facts: Mapping[str, Mapping[str, Any]]) -> KeepTop:
    """The stage that carries out what thresholds.json says."""
    cut = {language: fact for language, fact in facts.items() if fact["kept"] < fact["scored"]}
    return KeepTop(tuple(sorted((language, fact["limit"] or "") for language, fact in cut.items())))
