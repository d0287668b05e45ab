"""The index that a run looks for benchmarks with: built from the benchmark files of the configuration, or given ready-made."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from decontam import DecontamError, FieldMap, Index, MatchSettings, load_index, save_index
from decontam.benchmarks import BenchmarkFile, check_findable, iter_benchmarks
from decontam.index import make_index
from decontam.readers import stem
from decontam.registry import resolve
from decontam.segment import build_segment
from pipeline.decontaminate.actions import Actions, fits, unfitting
from pipeline.decontaminate.config import DecontaminateConfig
from pipeline.errors import RunFailed, UserError
from pipeline.segment import Segment

STEP = "index"
"""Name of the step that builds the index, of its task, and of the folder that holds it."""

BenchmarkSet = tuple[tuple[str, str], ...]
"""(benchmark, fingerprint of its segment), by name."""


@dataclass(frozen=True)
class LookedFor:
    """The benchmarks of a run. folder: of the index. shown: the same for people, relative to the move's folder if it lies there."""

    folder: Path
    shown: str
    settings: MatchSettings
    fingerprints: dict[str, str]
    items: dict[str, int]

    @property
    def benchmarks(self) -> BenchmarkSet:
        return tuple(sorted(self.fingerprints.items()))


@dataclass(frozen=True)
class IndexTask:
    """Reads the benchmarks and writes their index."""

    settings: MatchSettings
    fields: dict[str, FieldMap]
    inputs: tuple[str, ...] = field(metadata={"fingerprint": False})
    known: tuple[tuple[str, FieldMap, str, str], ...]
    """Of each file benchmark, keys, split, and the suffixes that say how it is read: wherever it lies, its items are the same."""

    name: str = STEP
    version: str = "4"

    def __call__(self, folder: Path) -> dict[str, Any]:
        """Write the index to `folder`/index; the receipt counts the items of each benchmark."""
        files = [
            BenchmarkFile(Path(path), benchmark, keys, split)
            for path, (benchmark, keys, split, _) in zip(self.inputs, self.known, strict=True)
        ]
        try:
            tables = iter_benchmarks(files, self.fields, self.settings)
            segments = [build_segment(check_findable(table, self.settings), self.settings) for table in tables]
            save_index(make_index(self.settings, segments), folder / STEP)
        except DecontamError as error:
            raise UserError(f"decontaminate.benchmarks: {sentence(error)}") from error
        return {"items": {segment.benchmark: segment.items for segment in segments}}


def check(config: DecontaminateConfig) -> None:
    """Open the index, or read every benchmark file, and compare the names that the configuration uses with what is there.

    Raises UserError for an index that can't be used, a file that is missing or can't be read, and a name that fits no benchmark.
    """
    if config.index:
        _looked_for(_open_given(config), config, Path(config.index), config.index)
        return
    try:
        settings = MatchSettings(**config.lengths())
        tables = iter_benchmarks(_files(config), config.field_maps(), settings)
        names = [str(check_findable(table, settings)["benchmark"][0].as_py()) for table in tables]
    except DecontamError as error:
        raise UserError(f"decontaminate.benchmarks: {sentence(error)}") from error
    _check_names(config, names)


def prepare(segment: Segment, config: DecontaminateConfig) -> LookedFor:
    """Build the index as a step, or open the one that is given. Raises UserError as `check` does."""
    if config.index:
        return _looked_for(_open_given(config), config, Path(config.index).absolute(), str(Path(config.index).absolute()))
    [receipt] = segment.step(STEP, [_task(config)])
    folder = segment.step_folder(STEP) / STEP
    _remove_others(folder, {folder.parent / name for name in receipt["outputs"]})
    try:
        index = load_index(folder)
    except DecontamError as error:
        raise RunFailed(f"the benchmark index can't be used: {sentence(error)}; remove '{folder.parent}' and run again") from error
    return _looked_for(index, config, folder, str(folder.relative_to(segment.directory)))


@functools.lru_cache(maxsize=2)
def open_benchmarks(folder: str, benchmarks: BenchmarkSet) -> Index:
    """Some benchmarks of an index, opened once per process.

    Raises RunFailed for an index that is missing or damaged, or that has other versions of them: it was whole when the run began.
    """
    try:
        index = load_index(folder, [name for name, _ in benchmarks])
    except DecontamError as error:
        raise RunFailed(f"the benchmark index can't be used: {sentence(error)}") from error
    if tuple((segment.benchmark, segment.fingerprint) for segment in index.segments) != benchmarks:
        raise RunFailed(f"the benchmark index '{folder}' was changed while the run read it; run again")
    return index


def sentence(error: DecontamError) -> str:
    """The library's sentence, to be put behind the name of a key."""
    return str(error).removesuffix(".")


def _remove_others(folder: Path, wanted: set[Path]) -> None:
    """Remove what an earlier or a killed run left in the index, empty folders as well: the library would take it for half an index."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif not path.is_dir() and path not in wanted:
            path.unlink()


def _open_given(config: DecontaminateConfig) -> Index:
    try:
        index = load_index(str(config.index))
    except DecontamError as error:
        raise UserError(f"decontaminate.index: {sentence(error)}") from error
    built = asdict(index.settings)
    for name, value in config.lengths().items():
        if built[name] != value:
            raise UserError(
                f"decontaminate.{name} is {value}, and the index '{config.index}' was built with {built[name]}; leave {name} out, or build "
                "another index"
            )
    return index


def _looked_for(index: Index, config: DecontaminateConfig, folder: Path, shown: str) -> LookedFor:
    segments = {segment.benchmark: segment for segment in index.segments}
    _check_names(config, segments)
    if config.only:
        segments = {name: segment for name, segment in segments.items() if any(fits(pattern, name) for pattern in config.only)}
    if not segments:
        raise UserError(f"decontaminate.index: '{shown}' holds no benchmark; add some with `onnuri decontam add`")
    fingerprints = {name: segment.fingerprint for name, segment in segments.items()}
    return LookedFor(folder, shown, index.settings, fingerprints, {name: segment.items for name, segment in segments.items()})


def _check_names(config: DecontaminateConfig, names: Iterable[str]) -> None:
    known = sorted(names)
    for key, patterns in (("only", config.only), ("overrides", _patterns(config.actions()))):
        wrong = unfitting(patterns, known)
        if wrong is not None:
            raise UserError(f"decontaminate.{key} names '{wrong}', which fits no benchmark; there are {', '.join(known) or 'none'}")


def _patterns(actions: Actions) -> list[str]:
    return [override.pattern for override in actions.overrides]


def _files(config: DecontaminateConfig) -> list[BenchmarkFile]:
    return resolve(config.benchmarks, config.data)


def _task(config: DecontaminateConfig) -> IndexTask:
    try:
        files = _files(config)
    except DecontamError as error:
        raise UserError(f"decontaminate.benchmarks: {sentence(error)}") from error
    known = tuple((file.benchmark, file.fields, file.split, file.path.name[len(stem(file.path)) :]) for file in files)
    inputs = tuple(str(file.path.absolute()) for file in files)
    return IndexTask(MatchSettings(**config.lengths()), config.field_maps(), inputs, known)
