"""The benchmark pool as arrays that can be searched, saved to a folder and memory-mapped again.

A folder holds one .npy file per array, `items.parquet` and `manifest.json` (format and normaliser version, settings, and size and xxh3
fingerprint of every other file). Loading refuses a folder whose files do not fit its manifest.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from decontam.errors import DecontamError
from decontam.hashing import is_hangul_array
from decontam.normalize import NORMALIZER_VERSION, normalize_batch
from decontam.seeds import SEPARATOR, SeedTable, build_seed_table
from decontam.settings import MatchSettings, Strides, choose_strides

FORMAT_VERSION = 1
TABLES = ("long", "hangul", "short")

ITEM_COLUMNS = ("benchmark", "split", "item", "field", "text")


@dataclasses.dataclass(frozen=True)
class Index:
    """Everything a scan needs. An entry is one text of one item; entry i is `pool[starts[i] : starts[i] + lengths[i]]`.

    entries: benchmark, split, item, field, then int32 length (normalised characters), core (of these, the leading ones that are the
    question alone), required (characters that make a match for a text of its script), frequency (items with this very text).
    long, hangul, short: seed tables for matches of `length`, of `hangul_length`, and for whole items shorter than a match.
    """

    settings: MatchSettings
    pool: np.ndarray
    starts: np.ndarray
    entries: pa.Table
    long: SeedTable
    hangul: SeedTable
    short: SeedTable

    @property
    def lengths(self) -> np.ndarray:
        return self.entries["length"].to_numpy().astype(np.int64)


def long_strides(settings: MatchSettings) -> Strides:
    """Seed geometry for matches of any script."""
    return choose_strides(settings.length)


def hangul_strides(settings: MatchSettings) -> Strides:
    """Seed geometry for the shorter Hangul matches."""
    return choose_strides(settings.hangul_length)


def hangul_reach(settings: MatchSettings) -> int:
    """How far from a seed Hangul may stand in a Hangul match, so that seeds without any can be skipped.

    In a match of at least `hangul_length` characters, half of them Hangul, some `hangul_length`-window holds a Hangul character, and that
    window holds a seed: Hangul then stands at most `hangul_length - width` characters from that seed. -1 (skip nothing, and index
    nothing here) where Hangul has no shorter length.
    """
    return settings.hangul_length - hangul_strides(settings).width if settings.hangul_length < settings.length else -1


def build_index(items: pa.Table, settings: MatchSettings | None = None) -> Index:
    """Index benchmark items: string columns benchmark, split, item, field, text and, optionally, int32 question_chars.

    `question_chars` counts the leading characters of `text` that are the question alone. Entries whose normalised text is shorter than
    `short_length` can match nothing and stay in `entries` for the record. Raises DecontamError for missing columns, an empty table, or a
    pool of 2^32 characters or more.
    """
    settings = settings or MatchSettings()
    missing = [name for name in ITEM_COLUMNS if name not in items.column_names]
    if missing:
        raise DecontamError(f"the items table lacks the column {missing[0]}; it needs {', '.join(ITEM_COLUMNS)}.")
    if len(items) == 0:
        raise DecontamError("the items table is empty; give at least one benchmark item.")
    normalized = normalize_batch(items["text"])
    lengths = np.diff(normalized.offsets)
    if len(normalized.codepoints) + len(lengths) + 1 >= SEPARATOR:
        raise DecontamError("the benchmarks hold 2^32 characters or more; build several indexes and scan with each.")
    starts = normalized.offsets[:-1] + np.arange(1, len(lengths) + 1)
    pool = np.full(len(normalized.codepoints) + len(lengths) + 1, SEPARATOR, np.uint32)
    pool[np.arange(len(normalized.codepoints)) + np.repeat(np.arange(1, len(lengths) + 1), lengths)] = normalized.codepoints
    hangul_before = np.concatenate([[0], np.cumsum(is_hangul_array(normalized.codepoints))])
    hangul = hangul_before[normalized.offsets[1:]] - hangul_before[normalized.offsets[:-1]]
    required = np.where((hangul * 2 >= lengths) & (lengths > 0), settings.hangul_length, settings.length)
    numbers = _item_numbers(items)
    is_short = (lengths < required) & (lengths >= settings.short_length)
    frequency = _text_frequency(pool, starts, lengths, numbers)
    entries = items.select([name for name in ITEM_COLUMNS if name != "text"])
    for name, values in (("length", lengths), ("core", _core_lengths(items, lengths)), ("required", required), ("frequency", frequency)):
        entries = entries.append_column(name, pa.array(values.astype(np.int32)))
    long, short = long_strides(settings), settings.short_length
    reach = hangul_reach(settings)
    # An entry shorter than a match has no match of that kind, so its windows are left out.
    long_lengths = np.where(lengths >= settings.length, lengths, 0)
    hangul_lengths = np.where((lengths >= settings.hangul_length) & (reach >= 0), lengths, 0)
    # Whole short items are found from their first characters: one window each. Too frequent ones are left out beforehand.
    anchored = np.where(is_short & (frequency <= settings.max_seed_items), short, 0)
    # fmt: off
    return Index(
        settings, pool, starts, entries.combine_chunks(),
        build_seed_table(pool, starts, long_lengths, numbers, long, -1, settings.max_seed_items),
        build_seed_table(pool, starts, hangul_lengths, numbers, hangul_strides(settings), reach, settings.max_seed_items),
        build_seed_table(pool, starts, anchored, numbers, Strides(short, 1, short), -1, len(lengths)),
    )
    # fmt: on


def _item_numbers(items: pa.Table) -> np.ndarray:
    """One number per distinct (benchmark, split, item)."""
    numbers: dict[tuple[str, str, str], int] = {}
    keys = zip(*(items[name].to_pylist() for name in ("benchmark", "split", "item")), strict=True)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _text_frequency(pool: np.ndarray, starts: np.ndarray, lengths: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """For every entry, the number of items that have an entry of the same normalised text."""
    holders: dict[bytes, set[int]] = {}
    digests = [xxhash.xxh3_128_digest(pool[s : s + n].data) for s, n in zip(starts.tolist(), lengths.tolist(), strict=True)]
    for digest, number in zip(digests, numbers.tolist(), strict=True):
        holders.setdefault(digest, set()).add(number)
    return np.array([len(holders[digest]) for digest in digests], np.int64)


def _core_lengths(items: pa.Table, lengths: np.ndarray) -> np.ndarray:
    """Normalised length of the leading question of each text; the whole text where none is marked."""
    if "question_chars" not in items.column_names:
        return lengths
    counts = items["question_chars"].to_pylist()
    heads = [(text or "")[: count or 0] for text, count in zip(items["text"].to_pylist(), counts, strict=True)]
    core = np.diff(normalize_batch(pa.array(heads, pa.large_string())).offsets)
    marked = np.array([count is not None for count in counts]) & (core > 0)
    return np.where(marked, np.minimum(core, lengths), lengths)


def save_index(index: Index, folder: str | os.PathLike[str]) -> None:
    """Write an index to `folder` (created; files of an older index there are replaced, the manifest last)."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    (path / "manifest.json").unlink(missing_ok=True)
    arrays = {"pool": index.pool, "starts": index.starts}
    for name in TABLES:
        arrays |= {f"{name}.{key}": array for key, array in getattr(index, name).arrays().items()}
    files: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        files[f"{name}.npy"] = _write(path / f"{name}.npy", buffer.getbuffer())
    buffer = io.BytesIO()
    pq.write_table(index.entries, buffer, compression="zstd")
    files["items.parquet"] = _write(path / "items.parquet", buffer.getbuffer())
    manifest = {**_identity(), "settings": dataclasses.asdict(index.settings), "files": files}
    _write(path / "manifest.json", json.dumps(manifest, indent=1).encode())


def _write(path: Path, content: bytes | memoryview) -> dict[str, Any]:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    return {"bytes": len(content), "xxh3_64": xxhash.xxh3_64_hexdigest(content)}


def _identity() -> dict[str, Any]:
    return {"format": FORMAT_VERSION, "normalizer": NORMALIZER_VERSION, "unicode": unicodedata.unidata_version}


def load_index(folder: str | os.PathLike[str]) -> Index:
    """Memory-map an index that `save_index` wrote.

    Raises DecontamError when there is none, when it was written by another version, or when a file is damaged.
    """
    path = Path(folder)
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        settings = MatchSettings(**manifest["settings"])
        files = {str(name): (int(entry["bytes"]), str(entry["xxh3_64"])) for name, entry in manifest["files"].items()}
    except FileNotFoundError:
        raise DecontamError(f"{path} holds no manifest.json, so it is no index; build one with build_index and save_index.") from None
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise DecontamError(f"{path / 'manifest.json'} cannot be read ({error}); build the index again.") from error
    for key, value in _identity().items():
        if manifest.get(key) != value:
            raise DecontamError(f"the index {path} was built with {key} {manifest.get(key)}, this program has {value}; build it again.")
    for name, (size, digest) in files.items():
        _verify(path, name, size, digest)
    try:
        tables = {
            table: SeedTable(**{f.name: _map(path / f"{table}.{f.name}.npy") for f in dataclasses.fields(SeedTable)}) for table in TABLES
        }
        return Index(settings, _map(path / "pool.npy"), _map(path / "starts.npy"), pq.read_table(path / "items.parquet"), **tables)
    except (OSError, ValueError) as error:
        raise DecontamError(f"the index {path} lacks a file or cannot be read ({error}); build it again.") from error


def _verify(folder: Path, name: str, size: int, digest: str) -> None:
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise DecontamError(f"the index {folder} lacks the file {name}; build it again.")
    if path.stat().st_size != size:
        raise DecontamError(f"{path} has {path.stat().st_size} bytes instead of {size}; build the index again.")
    hasher = xxhash.xxh3_64()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 24):
            hasher.update(chunk)
    if hasher.hexdigest() != digest:
        raise DecontamError(f"{path} does not have the fingerprint in the manifest, so it is damaged; build the index again.")


def _map(path: Path) -> np.ndarray:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
