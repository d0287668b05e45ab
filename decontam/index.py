"""All benchmarks that are looked for: a set of segments, one per benchmark, and the tables in which they are looked up together.

    INDEX/index.json                             which segments belong to it
    INDEX/segments/<benchmark>-<fingerprint>/    one immutable version of one benchmark (`decontam.segment`)
    INDEX/merged/<fingerprint>/                  the segments' text and seeds put together, memory-mapped by the scan

Segments are never changed: adding or removing a benchmark writes a new list and merges the sorted seeds again, a second for ten million.
An index may be opened for some of its benchmarks only, so that what was scanned before is scanned again with a new benchmark alone.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from decontam.errors import DecontamError
from decontam.seeds import SeedTable, merge_seeds
from decontam.segment import FORMAT_VERSION, Segment, build_segment, folder_name, load_segment, save_segment
from decontam.settings import MatchSettings
from decontam.storage import locked, map_array, read_manifest, save_array, verify_file, write_file

MANIFEST = "index.json"
MERGED = "merged.json"


@dataclasses.dataclass(frozen=True)
class Index:
    """Segments in the order of their benchmarks' names, all of the same settings, and what a scan looks up.

    pool: the pools of all segments, one after the other. tables: the seeds in it, by name of the family. Entries are numbered through all
    segments here: `entry_bases[i]` is the first one of segment i.
    """

    settings: MatchSettings
    segments: tuple[Segment, ...]
    pool: np.ndarray
    tables: dict[str, SeedTable]

    @functools.cached_property
    def by_name(self) -> dict[str, Segment]:
        return {segment.benchmark: segment for segment in self.segments}

    @functools.cached_property
    def bases(self) -> np.ndarray:
        """int64[k + 1]: where the pool of each segment begins."""
        return np.cumsum([0, *(len(segment.pool) for segment in self.segments)])

    @functools.cached_property
    def entry_bases(self) -> np.ndarray:
        """int64[k + 1]: the first entry of each segment."""
        return np.cumsum([0, *(len(segment.lengths) for segment in self.segments)])

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """int64[n]: where each entry begins in the pool."""
        return _joined([segment.starts + base for segment, base in zip(self.segments, self.bases, strict=False)])

    @functools.cached_property
    def whole(self) -> np.ndarray:
        """int64[n]: length of the part of each entry that is looked for whole."""
        return _joined([segment.whole for segment in self.segments])

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        """int64[n]: the item of each entry, counted in its segment."""
        return _joined([segment.numbers for segment in self.segments])

    @functools.cached_property
    def groups(self) -> np.ndarray:
        """int64[n]: the first entry of the same item and field."""
        return _joined([segment.groups + base for segment, base in zip(self.segments, self.entry_bases, strict=False)])

    @functools.cached_property
    def owners(self) -> dict[str, np.ndarray]:
        """The entry of each seed, int64[s], of the families of whole texts."""
        return {family.name: self.entry_of(self.tables[family.name].postings) for family in self.settings.families if family.whole}

    def entry_of(self, positions: np.ndarray) -> np.ndarray:
        """The entry of each pool position, int64[n]."""
        return np.searchsorted(self.starts, positions, side="right") - 1

    @property
    def fingerprint(self) -> str:
        """Hash of what the segments hold: indexes with the same one give the same matches."""
        return _set_fingerprint(segment.fingerprint for segment in self.segments)

    @property
    def memory(self) -> int:
        """Bytes of all that a scan maps. The texts as they were given are not among it: they are read when something is found."""
        arrays = [self.pool, *(array for table in self.tables.values() for array in table.arrays().values())]
        return sum(array.nbytes for array in arrays) + sum(segment.facts.nbytes for segment in self.segments)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def build_index(items: pa.Table, settings: MatchSettings | None = None) -> Index:
    """Index benchmark items (`decontam.benchmarks.ITEM_SCHEMA`) in memory, one segment per benchmark.

    Raises DecontamError as `build_segment` does.
    """
    settings = settings or MatchSettings()
    return make_index(settings, build_segments(items, settings))


def build_segments(items: pa.Table, settings: MatchSettings) -> list[Segment]:
    """The segments of all benchmarks of a table of items. Raises DecontamError as `build_segment` does."""
    if "benchmark" not in items.column_names or len(items) == 0:
        return [build_segment(items, settings)]  # which says what is wrong
    names = sorted(set(items["benchmark"].to_pylist()), key=str)
    if None in names:
        raise DecontamError("a row of the items table has no benchmark; name the benchmark of every item.")
    return [build_segment(items.filter(pc.equal(items["benchmark"], name)), settings) for name in names]


def make_index(settings: MatchSettings, segments: Iterable[Segment]) -> Index:
    """An index over these segments, with tables of its own in memory.

    Raises DecontamError where they hold 2^32 characters or more.
    """
    ordered = tuple(sorted(segments, key=lambda segment: segment.benchmark))
    bases = np.cumsum([0, *(len(segment.pool) for segment in ordered)]).tolist()
    if bases[-1] >= 1 << 32:
        raise DecontamError("the benchmarks hold 2^32 characters or more; build several indexes and scan with each.")
    pool = np.concatenate([np.zeros(0, np.uint16), *(segment.pool for segment in ordered)])
    tables = {
        family.name: merge_seeds(pool, bases[:-1], [segment.seeds[family.name] for segment in ordered], family)
        for family in settings.families
    }
    return Index(settings, ordered, pool, tables)


def save_index(index: Index, folder: str | os.PathLike[str]) -> None:
    """Make `folder` this index: segments that it has already are kept, those that the index lacks are removed.

    Raises DecontamError for a folder that holds other files and no index.
    """
    path = Path(folder)
    if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST).exists() and not (path / "segments").is_dir():
        raise DecontamError(f"{path} holds other files and no index; name an empty folder or one that an index was written to.")
    path.mkdir(parents=True, exist_ok=True)
    with locked(path):
        _save(index, path)


def _save(index: Index, path: Path) -> None:
    """As `save_index`, for a folder that is locked."""
    (path / "segments").mkdir(exist_ok=True)
    for segment in index.segments:
        save_segment(segment, path / "segments" / folder_name(segment.benchmark, segment.fingerprint))
    _save_merged(index, path)
    listed = [{"benchmark": segment.benchmark, "fingerprint": segment.fingerprint} for segment in index.segments]
    manifest = {"format": FORMAT_VERSION, "settings": dataclasses.asdict(index.settings), "segments": listed}
    write_file(path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())
    keep = {folder_name(segment.benchmark, segment.fingerprint) for segment in index.segments}
    for kind, wanted in (("segments", keep), ("merged", {index.fingerprint})):
        for entry in (path / kind).iterdir():
            if entry.name not in wanted:
                shutil.rmtree(entry)


def load_index(folder: str | os.PathLike[str], benchmarks: Sequence[str] | None = None) -> Index:
    """Memory-map an index, or only some of its benchmarks.

    Raises DecontamError when there is none, when it was written by another version, when a file is damaged, for a benchmark that it lacks.
    """
    path = Path(folder)
    settings, listed = _read(path)
    if benchmarks is not None:
        unknown = sorted(set(benchmarks) - set(listed))
        if unknown:
            raise DecontamError(f"the index {path} lacks the benchmark '{unknown[0]}'; it has {', '.join(sorted(listed)) or 'none'}.")
        listed = {name: listed[name] for name in benchmarks}
    segments = []
    for name, fingerprint in sorted(listed.items()):
        segment = load_segment(path / "segments" / folder_name(name, fingerprint))
        if (segment.benchmark, segment.fingerprint, segment.settings) != (name, fingerprint, settings):
            raise DecontamError(f"the segment of '{name}' in {path} is not the one that {MANIFEST} lists; build the index again.")
        segments.append(segment)
    merged = path / "merged" / _set_fingerprint(segment.fingerprint for segment in segments)
    return _load_merged(merged, settings, segments) if merged.is_dir() else make_index(settings, segments)


def add_benchmarks(folder: str | os.PathLike[str], items: pa.Table) -> Index:
    """Add the benchmarks of a table of items to an index, in place of older versions of the same names; returns the new index.

    A benchmark's segment holds all of its items: those of the table replace earlier ones. Raises DecontamError as `load_index` and
    `build_segment` do.
    """
    _read(Path(folder))  # so that what is no index is not locked
    with locked(Path(folder)):
        index = load_index(folder)
        segments = {segment.benchmark: segment for segment in (*index.segments, *build_segments(items, index.settings))}
        changed = make_index(index.settings, segments.values())
        _save(changed, Path(folder))
    return changed


def remove_benchmarks(folder: str | os.PathLike[str], names: Iterable[str]) -> Index:
    """Take benchmarks out of an index; returns what is left. Raises DecontamError as `load_index` does."""
    removed = set(names)
    _read(Path(folder))  # so that what is no index is not locked
    with locked(Path(folder)):
        index = load_index(folder)
        unknown = sorted(removed - set(index.by_name))
        if unknown:
            raise DecontamError(f"the index {folder} lacks the benchmark '{unknown[0]}'; it has {', '.join(index.by_name) or 'none'}.")
        changed = make_index(index.settings, (segment for segment in index.segments if segment.benchmark not in removed))
        _save(changed, Path(folder))
    return changed


def _read(path: Path) -> tuple[MatchSettings, dict[str, str]]:
    """Settings, and each benchmark's fingerprint."""
    manifest = read_manifest(path / MANIFEST, "the index")
    if manifest.get("format") != FORMAT_VERSION:
        raise DecontamError(
            f"the index {path} was built with format {manifest.get('format')}, this program has {FORMAT_VERSION}; build it again."
        )
    try:
        settings = MatchSettings(**manifest["settings"])
        return settings, {str(entry["benchmark"]): str(entry["fingerprint"]) for entry in manifest["segments"]}
    except (KeyError, TypeError, ValueError) as error:
        raise DecontamError(f"{path / MANIFEST} can't be read ({error!r}); build the index again.") from error


def _set_fingerprint(fingerprints: Iterable[str]) -> str:
    return xxhash.xxh3_128_hexdigest("\n".join(sorted(fingerprints)).encode())


def _save_merged(index: Index, path: Path) -> None:
    folder = path / "merged" / index.fingerprint
    if folder.exists():
        try:
            _load_merged(folder, index.settings, index.segments)
            return
        except DecontamError:
            shutil.rmtree(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    files: dict[str, Any] = {"pool.npy": save_array(temporary / "pool.npy", index.pool)}
    for family, table in index.tables.items():
        for name, array in table.arrays().items():
            files[f"{family}.{name}.npy"] = save_array(temporary / f"{family}.{name}.npy", array)
    write_file(temporary / MERGED, json.dumps(files, indent=1).encode())
    temporary.rename(folder)


def _load_merged(folder: Path, settings: MatchSettings, segments: Sequence[Segment]) -> Index:
    """An index whose pool and tables were saved. Raises DecontamError when they are incomplete or damaged."""
    facts = read_manifest(folder / MERGED, "the folder")
    names = [field.name for field in dataclasses.fields(SeedTable)]
    try:
        for name in ("pool.npy", *(f"{family.name}.{name}.npy" for family in settings.families for name in names)):
            verify_file(folder / name, facts[name])
        tables = {
            family.name: SeedTable(*(map_array(folder / f"{family.name}.{name}.npy") for name in names)) for family in settings.families
        }
        return Index(settings, tuple(segments), map_array(folder / "pool.npy"), tables)
    except (KeyError, TypeError, OSError) as error:
        raise DecontamError(f"{folder} can't be read ({error!r}); build the index again.") from error
