"""All benchmarks that are looked for: a set of segments, one per benchmark, and the filters that stand in front of them.

    INDEX/index.json                             which segments belong to it
    INDEX/segments/<benchmark>-<fingerprint>/    one immutable version of one benchmark (`decontam.segment`)
    INDEX/filters/<fingerprint>/                 Bloom filters over the seeds of all segments, by family of matches

Segments are never changed: adding or removing a benchmark writes a new list and new filters, which takes a fraction of a second. An index
may be opened for some of its benchmarks only, so that what was scanned before is scanned again with a new benchmark alone.
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
from decontam.seeds import fill_filter, new_filter
from decontam.segment import FORMAT_VERSION, Segment, build_segment, folder_name, load_segment, save_segment
from decontam.settings import MatchSettings
from decontam.storage import map_array, read_manifest, save_array, verify_file, write_file

MANIFEST = "index.json"


@dataclasses.dataclass(frozen=True)
class Index:
    """Segments in the order of their benchmarks' names, all of the same settings, and their common filters, by name of the family."""

    settings: MatchSettings
    segments: tuple[Segment, ...]
    filters: dict[str, np.ndarray]

    @functools.cached_property
    def by_name(self) -> dict[str, Segment]:
        return {segment.benchmark: segment for segment in self.segments}

    @functools.cached_property
    def common(self) -> dict[str, np.ndarray]:
        """uint64[c], ascending: the hashes of the windows that are common in any segment, by name of the family."""
        return {
            family.name: np.unique(np.concatenate([np.zeros(0, np.uint64), *(s.tables[family.name].common for s in self.segments)]))
            for family in self.settings.families
        }

    @property
    def fingerprint(self) -> str:
        """Hash of what the segments hold: indexes with the same one give the same matches."""
        return _set_fingerprint(segment.fingerprint for segment in self.segments)

    @property
    def memory(self) -> int:
        """Bytes of all that is mapped."""
        return sum(segment.memory for segment in self.segments) + sum(words.nbytes for words in self.filters.values())


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
    """An index over these segments with filters of its own, built in memory."""
    ordered = tuple(sorted(segments, key=lambda segment: segment.benchmark))
    filters = {}
    for family in settings.families:
        words = new_filter(sum(len(segment.tables[family.name].postings) for segment in ordered))
        for segment in ordered:
            fill_filter(words, segment.pool, segment.tables[family.name], family.strides.width)
        filters[family.name] = words
    return Index(settings, ordered, filters)


def save_index(index: Index, folder: str | os.PathLike[str]) -> None:
    """Make `folder` this index: segments that it has already are kept, those that the index lacks are removed.

    Raises DecontamError for a folder that holds other files and no index.
    """
    path = Path(folder)
    if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST).exists() and not (path / "segments").is_dir():
        raise DecontamError(f"{path} holds other files and no index; name an empty folder or one that an index was written to.")
    (path / "segments").mkdir(parents=True, exist_ok=True)
    for segment in index.segments:
        save_segment(segment, path / "segments" / folder_name(segment.benchmark, segment.fingerprint))
    _save_filters(index, path)
    listed = [{"benchmark": segment.benchmark, "fingerprint": segment.fingerprint} for segment in index.segments]
    manifest = {"format": FORMAT_VERSION, "settings": dataclasses.asdict(index.settings), "segments": listed}
    write_file(path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())
    keep = {folder_name(segment.benchmark, segment.fingerprint) for segment in index.segments}
    for kind, wanted in (("segments", keep), ("filters", {index.fingerprint})):
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
    filters = _load_filters(path / "filters" / _set_fingerprint(segment.fingerprint for segment in segments), settings)
    return make_index(settings, segments) if filters is None else Index(settings, tuple(segments), filters)


def add_benchmarks(folder: str | os.PathLike[str], items: pa.Table) -> Index:
    """Add the benchmarks of a table of items to an index, in place of older versions of the same names; returns the new index.

    A benchmark's segment holds all of its items: those of the table replace earlier ones. Raises DecontamError as `load_index` and
    `build_segment` do.
    """
    index = load_index(folder)
    segments = {segment.benchmark: segment for segment in (*index.segments, *build_segments(items, index.settings))}
    changed = make_index(index.settings, segments.values())
    save_index(changed, folder)
    return changed


def remove_benchmarks(folder: str | os.PathLike[str], names: Iterable[str]) -> Index:
    """Take benchmarks out of an index; returns what is left. Raises DecontamError as `load_index` does."""
    removed = set(names)
    index = load_index(folder)
    unknown = sorted(removed - set(index.by_name))
    if unknown:
        raise DecontamError(f"the index {folder} lacks the benchmark '{unknown[0]}'; it has {', '.join(index.by_name) or 'none'}.")
    changed = make_index(index.settings, (segment for segment in index.segments if segment.benchmark not in removed))
    save_index(changed, folder)
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


def _save_filters(index: Index, path: Path) -> None:
    folder = path / "filters" / index.fingerprint
    if folder.exists():
        return
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    files: dict[str, Any] = {name: save_array(temporary / f"{name}.npy", words) for name, words in index.filters.items()}
    write_file(temporary / "filters.json", json.dumps(files, indent=1).encode())
    temporary.rename(folder)


def _load_filters(folder: Path, settings: MatchSettings) -> dict[str, np.ndarray] | None:
    """The saved filters of a set of segments; None where none were saved for it."""
    if not folder.is_dir():
        return None
    facts = read_manifest(folder / "filters.json", "the filter folder")
    filters = {}
    for family in settings.families:
        path = folder / f"{family.name}.npy"
        try:
            verify_file(path, facts[family.name])
            filters[family.name] = map_array(path)
        except (KeyError, TypeError, OSError) as error:
            raise DecontamError(f"{folder} can't be read ({error!r}); build the index again.") from error
    return filters
