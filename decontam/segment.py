"""One version of one benchmark, ready to be searched: its text, its items and its seeds, as arrays that are memory-mapped."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from decontam.arrow import text_buffers
from decontam.errors import DecontamError
from decontam.hashing import is_hangul_array
from decontam.normalize import NORMALIZER_VERSION, normalize_batch
from decontam.seeds import SEPARATOR, Seeds, build_seeds, window_positions
from decontam.settings import MatchSettings
from decontam.storage import map_array, read_manifest, save_array, verify_file, write_file

FORMAT_VERSION = 4
ITEM_COLUMNS = ("benchmark", "split", "item", "field", "text")
MANIFEST = "segment.json"
ITEMS = "items.parquet"
FACTS = ("length", "core", "required", "whole", "frequency", "number", "group")
"""Of each entry: normalised characters; of these, the leading ones that are the question alone; characters that make a match for a text of
its script; length of the leading part, all or core, that is shorter than a match and looked for whole (0: none); items with this very
whole part; the number of its item, ascending; and the first entry of the same item and field."""


@dataclasses.dataclass(frozen=True)
class Segment:
    """One benchmark. An entry is one text of one item; entry i is `pool[starts[i] : starts[i] + lengths[i]]`.

    fingerprint: hash of the items, the settings and the versions that made it. pool: uint16 or uint32 normalised characters. facts:
    int32[7, n], a row for each of FACTS. seeds: by name of the family. texts: gives `entries`; read when something is found.
    """

    benchmark: str
    fingerprint: str
    settings: MatchSettings
    pool: np.ndarray
    facts: np.ndarray
    seeds: dict[str, Seeds]
    texts: Callable[[], pa.Table]

    @functools.cached_property
    def entries(self) -> pa.Table:
        """split, item, field, text and answer of every entry, as they were given."""
        return self.texts()

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        return self.facts[0].astype(np.int64)

    @functools.cached_property
    def core(self) -> np.ndarray:
        return self.facts[1].astype(np.int64)

    @functools.cached_property
    def required(self) -> np.ndarray:
        return self.facts[2].astype(np.int64)

    @functools.cached_property
    def whole(self) -> np.ndarray:
        return self.facts[3].astype(np.int64)

    @functools.cached_property
    def frequency(self) -> np.ndarray:
        return self.facts[4].astype(np.int64)

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        return self.facts[5].astype(np.int64)

    @functools.cached_property
    def groups(self) -> np.ndarray:
        """int64[n]: the first entry of the same item and field, which may be written in several ways."""
        return self.facts[6].astype(np.int64)

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """int64[n]: where each entry begins in the pool."""
        return np.cumsum(self.lengths + 1) - self.lengths

    @property
    def items(self) -> int:
        """How many items there are."""
        return int(self.numbers[-1]) + 1

    @property
    def bytes(self) -> int:
        """Size of its arrays. A scan maps those of the index, which hold the same text and seeds with a directory and a filter more."""
        arrays = [self.pool, self.facts, *(array for seeds in self.seeds.values() for array in (seeds.positions, seeds.common))]
        return sum(array.nbytes for array in arrays)

    @property
    def windows(self) -> int:
        """How many windows of a match's length its texts have at stride 1, each text measured by its own script."""
        return int(np.maximum(0, self.lengths - self.required + 1).sum())


def build_segment(items: pa.Table, settings: MatchSettings) -> Segment:
    """Index the items of one benchmark: string columns benchmark (one value), split, item, field, text and, optionally, int32
    question_chars and string answer (see `decontam.benchmarks.ITEM_SCHEMA`).

    Texts too short for anything match nothing and stay in `entries` for the record. Raises DecontamError for missing columns, an empty
    table, and 2^32 characters or more.
    """
    missing = [name for name in ITEM_COLUMNS if name not in items.column_names]
    if missing:
        raise DecontamError(f"the items table lacks the column {missing[0]}; it needs {', '.join(ITEM_COLUMNS)}.")
    if len(items) == 0:
        raise DecontamError("the items table is empty; give at least one benchmark item.")
    benchmark = str(items["benchmark"][0].as_py())
    numbers = _item_numbers(items)
    order = np.argsort(numbers, kind="stable")
    items, numbers = items.take(pa.array(order)).combine_chunks(), numbers[order]
    normalized = normalize_batch(items["text"])
    lengths = np.diff(normalized.offsets)
    if len(normalized.codepoints) + len(lengths) + 1 >= 1 << 32:
        raise DecontamError(f"the benchmark {benchmark} holds 2^32 characters or more; split it into several.")
    pool = _pool(normalized.codepoints, lengths)
    starts = np.cumsum(lengths + 1) - lengths
    hangul_before = np.concatenate([[0], np.cumsum(is_hangul_array(pool), dtype=np.int64)])
    core = _core_lengths(items, lengths)
    required, whole = _required(hangul_before, starts, lengths, settings.length, settings.hangul_length), np.zeros_like(lengths)
    for part in (core, lengths):
        needed = _required(hangul_before, starts, part, settings.length, settings.hangul_length)
        least = _required(hangul_before, starts, part, settings.short_length, settings.hangul_short_length)
        whole = np.where((part < needed) & (part >= least), part, whole)
    fields = np.unique(np.array(items["field"].to_pylist(), dtype=str), return_inverse=True)[1]
    _, first, same = np.unique(numbers * (int(fields.max()) + 1) + fields, return_index=True, return_inverse=True)
    whole, frequency = _whole_texts(pool, starts, whole, numbers, first[same])
    entries = items.select(["split", "item", "field", "text"])
    answers = items["answer"] if "answer" in items.column_names else pa.nulls(len(items), pa.large_string())
    entries = entries.append_column("answer", answers.cast(pa.large_string()))
    entries = entries.combine_chunks()
    facts = np.stack([lengths, core, required, whole, frequency, numbers, first[same]]).astype(np.int32)
    searched = np.where(frequency <= settings.max_seed_items, whole, 0)
    seeds = {}
    for family in settings.families:
        positions = window_positions(pool, starts, searched if family.whole else lengths, family)
        owners = numbers[np.searchsorted(starts, positions, side="right") - 1]
        # Whole texts are asked for by `searched`: here none is common, however often a window of one letter stands in it.
        most = len(positions) + 1 if family.whole else settings.max_seed_items
        seeds[family.name] = build_seeds(pool, positions, owners, family, most)
    fingerprint = _fingerprint(benchmark, entries, core, settings)
    return Segment(benchmark, fingerprint, settings, pool, facts, seeds, lambda: entries)


def _item_numbers(items: pa.Table) -> np.ndarray:
    """One number per distinct (split, item), in the order in which they appear."""
    numbers: dict[tuple[str, str], int] = {}
    keys = zip(*(items[name].to_pylist() for name in ("split", "item")), strict=True)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _pool(codepoints: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """All texts with a separator before, between and after, in 16 bits per character where these suffice."""
    wide = len(codepoints) > 0 and int(codepoints.max()) >= SEPARATOR
    pool = np.full(len(codepoints) + len(lengths) + 1, SEPARATOR, np.uint32 if wide else np.uint16)
    pool[np.arange(len(codepoints)) + np.repeat(np.arange(1, len(lengths) + 1), lengths)] = codepoints
    return pool


def _required(hangul_before: np.ndarray, starts: np.ndarray, lengths: np.ndarray, length: int, hangul_length: int) -> np.ndarray:
    """The length for Hangul where at least half of a text is Hangul, else that for other scripts."""
    hangul = hangul_before[starts + lengths] - hangul_before[starts]
    return np.where((hangul * 2 >= lengths) & (lengths > 0), hangul_length, length)


def _core_lengths(items: pa.Table, lengths: np.ndarray) -> np.ndarray:
    """Normalised length of the leading question of each text; the whole text where none is marked."""
    if "question_chars" not in items.column_names:
        return lengths
    counts = items["question_chars"].to_pylist()
    heads = [(text or "")[: count or 0] for text, count in zip(items["text"].to_pylist(), counts, strict=True)]
    core = np.diff(normalize_batch(pa.array(heads, pa.large_string())).offsets)
    marked = np.array([count is not None for count in counts]) & (core > 0)
    return np.where(marked, np.minimum(core, lengths), lengths)


def _whole_texts(
    pool: np.ndarray, starts: np.ndarray, lengths: np.ndarray, numbers: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`lengths` of the leading parts that are looked for whole, once where a field of an item has the same one in several entries (a
    question with its choices written in several ways), and of each the number of items that have it."""
    holders: dict[bytes, set[int]] = {}
    known: set[tuple[bytes, int]] = set()
    rows = np.flatnonzero(lengths)
    spans = zip(starts[rows].tolist(), lengths[rows].tolist(), strict=True)
    digests = [xxhash.xxh3_128_digest(pool[start : start + length].data) for start, length in spans]
    first = np.zeros(len(rows), np.bool_)
    for row, (digest, number, group) in enumerate(zip(digests, numbers[rows].tolist(), groups[rows].tolist(), strict=True)):
        first[row] = (digest, group) not in known
        known.add((digest, group))
        holders.setdefault(digest, set()).add(number)
    frequency, whole = np.zeros(len(lengths), np.int64), np.zeros(len(lengths), np.int64)
    frequency[rows] = [len(holders[digest]) for digest in digests]
    whole[rows] = np.where(first, lengths[rows], 0)
    return whole, frequency


def identity() -> dict[str, Any]:
    """The versions that a segment's content depends on."""
    return {"format": FORMAT_VERSION, "normalizer": NORMALIZER_VERSION, "unicode": unicodedata.unidata_version}


def _fingerprint(benchmark: str, entries: pa.Table, core: np.ndarray, settings: MatchSettings) -> str:
    hasher = xxhash.xxh3_128(json.dumps([benchmark, identity(), dataclasses.asdict(settings)], sort_keys=True).encode())
    for name in ("split", "item", "field", "text", "answer"):
        data, offsets = text_buffers(entries[name])
        hasher.update((offsets - offsets[0]).tobytes())
        hasher.update(data[offsets[0] : offsets[-1]].tobytes())
    hasher.update(core.astype(np.int64).tobytes())
    return hasher.hexdigest()


def folder_name(benchmark: str, fingerprint: str) -> str:
    """The folder of a segment: a name comes from a file or a record, so only what is harmless in a path is taken from it."""
    readable = re.sub(r"[^0-9A-Za-z가-힣_.-]+", "_", benchmark)[:60].strip(".") or "benchmark"
    return f"{readable}-{fingerprint[:16]}"


def save_segment(segment: Segment, folder: Path) -> None:
    """Write a segment to `folder`, which appears complete or not at all; a sound one that is there already is left as it is."""
    if folder.exists():
        try:
            load_segment(folder)
            return
        except DecontamError:
            shutil.rmtree(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    files = {
        f"{name}.npy": save_array(temporary / f"{name}.npy", array) for name, array in (("pool", segment.pool), ("facts", segment.facts))
    }
    for family, seeds in segment.seeds.items():
        for name, array in (("seeds", seeds.positions), ("common", seeds.common)):
            files[f"{family}.{name}.npy"] = save_array(temporary / f"{family}.{name}.npy", array)
    buffer = io.BytesIO()
    pq.write_table(segment.entries, buffer, compression="zstd")
    files[ITEMS] = write_file(temporary / ITEMS, buffer.getbuffer())
    settings = dataclasses.asdict(segment.settings)
    manifest = {**identity(), "benchmark": segment.benchmark, "fingerprint": segment.fingerprint, "settings": settings, "files": files}
    write_file(temporary / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(temporary)  # another process wrote the same segment meanwhile


def load_segment(folder: Path) -> Segment:
    """Memory-map a segment. Raises DecontamError when it is incomplete, damaged, or was made by another version."""
    manifest = read_manifest(folder / MANIFEST, "the segment")
    for key, value in identity().items():
        if manifest.get(key) != value:
            raise DecontamError(f"the segment {folder} was built with {key} {manifest.get(key)}, this program has {value}; build it again.")
    try:
        settings = MatchSettings(**manifest["settings"])
        lists = (f"{family.name}.{kind}.npy" for family in settings.families for kind in ("seeds", "common"))
        wanted = {"pool.npy", "facts.npy", ITEMS, *lists}
        for name in sorted(wanted):
            verify_file(folder / name, manifest["files"][name])
        seeds = {
            family.name: Seeds(map_array(folder / f"{family.name}.seeds.npy"), map_array(folder / f"{family.name}.common.npy"))
            for family in settings.families
        }
        pool, facts = map_array(folder / "pool.npy"), map_array(folder / "facts.npy")
        texts = functools.partial(pq.read_table, folder / ITEMS)
        return Segment(str(manifest["benchmark"]), str(manifest["fingerprint"]), settings, pool, facts, seeds, texts)
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        if isinstance(error, DecontamError):
            raise
        raise DecontamError(f"the segment {folder} can't be read ({error!r}); build it again.") from error
