"""The standard benchmarks by name: which local files are theirs, which keys hold what, and how a user gets a copy; nothing is fetched."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from decontam.benchmarks import BenchmarkFile, benchmark_names
from decontam.errors import DecontamError
from decontam.fields import FieldMap, field_map, suggestion
from decontam.readers import count_rows, find_files, is_benchmark

PathLike = str | os.PathLike[str]

OURS = Path(__file__).with_name("registry.toml")

ACTIONS = ("drop", "mask", "tag")

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

_NO_KEYS = FieldMap((), (), (), (), (), (), (), ())


@dataclass(frozen=True)
class BenchmarkSource:
    """A benchmark of the registry: data about it, never the data itself.

    id: its name here, in indexes and in reports. get: the command that copies it to `DATA/<folder>`. files: for each split the globs
    below that folder. fields: the keys of its records. action: what is advised to do with a document that holds it (drop, mask or tag).
    confirmed: whether id, keys and file names were checked against a public source; if not, `why` says what was not.
    """

    id: str
    title: str
    languages: tuple[str, ...]
    url: str
    get: str
    licence: str
    folder: str
    files: tuple[tuple[str, tuple[str, ...]], ...]
    fields: FieldMap
    action: str = "drop"
    notes: str = ""
    confirmed: bool = True
    why: str = ""


@dataclass(frozen=True)
class Copy:
    """Whether a benchmark's files are there. items: rows of all of them, None if any is missing. missing: the splits without a file."""

    source: BenchmarkSource
    files: int
    items: int | None
    missing: tuple[str, ...]


def load_registry(*paths: PathLike) -> dict[str, BenchmarkSource]:
    """The registry that comes with this library, and over it those of `paths` (TOML) in their order.

    An entry of a known id replaces the keys that it names and leaves the others; `files` and `fields` are replaced as a whole.
    Raises DecontamError, naming file and entry, for a file that cannot be read, a wrong or missing key and a value of a wrong type.
    """
    entries: dict[str, dict[str, Any]] = {}
    origin: dict[str, Path] = {}
    for path in (OURS, *map(Path, paths)):
        for name, entry in _tables(path).items():
            entries[name] = {**entries.get(name, {}), **entry}
            origin[name] = path
    return {name: _source(name, entry, f"{origin[name]}, entry '{name}',") for name, entry in entries.items()}


def resolve(
    names_or_paths: PathLike | Iterable[PathLike],
    data_folder: PathLike | None = None,
    registry: Mapping[str, BenchmarkSource] | None = None,
) -> list[BenchmarkFile]:
    """The files of each name of the registry below `data_folder`, and every other file, folder or glob as it is given.

    A name is an id (`kobest-copa`) or a folder that several share (`kobest`), in any case; write `./kobest` for a path of that name. The
    files of a name are one benchmark, called by its id. Hand the result to `read_benchmarks` or `iter_benchmarks`.
    Raises DecontamError for a name without its local copy, quoting the command that gets it; for what is neither name nor path, with the
    nearest names; and as `find_files` does for paths.
    """
    registry = load_registry() if registry is None else registry
    given = [names_or_paths] if isinstance(names_or_paths, (str, os.PathLike)) else list(names_or_paths)
    found: list[BenchmarkFile] = []
    paths: list[PathLike] = []
    for entry in given:
        sources = _named(str(entry), registry) if isinstance(entry, str) else []
        for source in sources:
            if data_folder is None:
                raise DecontamError(
                    f"'{entry}' is a benchmark of the registry; say with data (--data) where the local copies are, or write ./{entry}."
                )
            found += _files(source, Path(data_folder))
        if not sources:
            _check_path(entry, registry)
            paths.append(entry)
    if paths or not found:
        plain = find_files(paths)
        found += [BenchmarkFile(path, name) for path, name in zip(plain, benchmark_names(plain), strict=True)]
    return list(dict.fromkeys(found))


def available(data_folder: PathLike, registry: Mapping[str, BenchmarkSource] | None = None) -> list[Copy]:
    """For each benchmark of the registry, in its order, whether a copy is below `data_folder` and how many rows it has.

    Raises DecontamError for a file that is there and cannot be read.
    """
    copies = []
    for source in (load_registry() if registry is None else registry).values():
        splits = {split: _matching(source, split, Path(data_folder)) for split, _ in source.files}
        missing = tuple(split for split, files in splits.items() if not files)
        files = [path for paths in splits.values() for path in paths]
        copies.append(Copy(source, len(files), None if missing else sum(map(count_rows, files)), missing))
    return copies


def _named(name: str, registry: Mapping[str, BenchmarkSource]) -> list[BenchmarkSource]:
    name = name.casefold()
    return [registry[name]] if name in registry else [source for source in registry.values() if source.folder == name]


def _check_path(entry: PathLike, registry: Mapping[str, BenchmarkSource]) -> None:
    """Refuse a word that was meant as a name: a path that isn't there is told by `find_files`."""
    text = str(entry)
    if _ID.fullmatch(text.casefold()) and "." not in text and not Path(text).exists():
        raise DecontamError(f"'{text}' is neither a benchmark of the registry nor a path; {suggestion(text, registry)}")


def _files(source: BenchmarkSource, data_folder: Path) -> list[BenchmarkFile]:
    files = []
    for split, globs in source.files:
        paths = _matching(source, split, data_folder)
        if not paths:
            folder = data_folder / source.folder
            raise DecontamError(
                f"the local copy of '{source.id}' lacks its {split} split ({' or '.join(globs)} in {folder}); "
                f"get it with: {source.get.replace('DATA/', shlex.quote(str(data_folder)) + '/')}"
            )
        files += [BenchmarkFile(path, source.id, source.fields, split) for path in paths]
    return files


def _matching(source: BenchmarkSource, split: str, data_folder: Path) -> list[Path]:
    folder = data_folder / source.folder
    globs = dict(source.files)[split]
    return sorted({path for glob in globs for path in folder.glob(glob) if path.is_file() and is_benchmark(path)})


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    try:
        entries = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise DecontamError(f"the registry {path} cannot be read ({error}); correct the file.") from error
    for name, entry in entries.items():
        if not _ID.fullmatch(name):
            raise DecontamError(f"{path} has the entry {name[:80]!r}; call a benchmark by small letters, digits, '-', '_' and '.' alone.")
        if not isinstance(entry, dict):
            raise DecontamError(f"{path} has the key '{name}' outside of an entry; write each benchmark as a table [{name}].")
    return entries


def _source(name: str, entry: Mapping[str, Any], where: str) -> BenchmarkSource:
    known = [field.name for field in fields(BenchmarkSource) if field.name != "id"]
    for key in entry:
        if key not in known:
            raise DecontamError(f"{where} has the unknown key {key!r}; {suggestion(key, known)}")
    for key in ("title", "languages", "get", "files", "fields"):
        if key not in entry:
            raise DecontamError(f"{where} lacks the key '{key}'; docs/benchmarks.md shows a whole entry.")
    texts = {key: _text(entry.get(key, ""), f"{where} key '{key}',") for key in ("title", "url", "get", "licence", "notes", "why")}
    folder = _text(entry.get("folder", name), f"{where} key 'folder',")
    if not _ID.fullmatch(folder):
        raise DecontamError(f"{where} has the folder {folder!r}; give one name of small letters, digits, '-', '_' and '.'.")
    action = entry.get("action", "drop")
    if action not in ACTIONS:
        raise DecontamError(f"{where} has the action {action!r}; use one of {', '.join(ACTIONS)}.")
    confirmed = entry.get("confirmed", True)
    if not isinstance(confirmed, bool) or (not confirmed and not texts["why"]):
        raise DecontamError(
            f"{where} has confirmed = {confirmed!r} and why = {texts['why']!r}; give true, or false with the reason in why."
        )
    return BenchmarkSource(
        id=name,
        languages=_list(entry["languages"], f"{where} key 'languages',"),
        folder=folder,
        files=_splits(entry["files"], where),
        fields=field_map(entry["fields"], _NO_KEYS, f"{where} key 'fields'"),
        action=action,
        confirmed=confirmed,
        **texts,
    )


def _splits(value: object, where: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict) or not value:
        raise DecontamError(
            f'{where} has files = {value!r:.80}; give a table of splits and globs such as {{ test = "data/test-*.parquet" }}.'
        )
    splits = tuple((_text(split, f"{where} files,"), _list(globs, f"{where} files of {split!r},")) for split, globs in value.items())
    for _, globs in splits:
        for glob in globs:
            parts = PurePosixPath(glob).parts
            if not parts or glob.startswith(("/", "~")) or ".." in parts or "\\" in glob or any("**" in part != "**" for part in parts):
                raise DecontamError(f"{where} has the glob {glob!r}; give one that stays below the benchmark's folder.")
    return splits


def _list(value: object, where: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values:
        raise DecontamError(f"{where} is {value!r:.80}; give a text or a list of texts.")
    return tuple(_text(entry, where) for entry in values)


def _text(value: object, where: str) -> str:
    """A text without control characters: what is here is printed on terminals."""
    if not isinstance(value, str) or not value.isprintable():
        raise DecontamError(f"{where} is {value!r:.80}; give a text without line breaks and control characters.")
    return value
