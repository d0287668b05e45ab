"""The decontaminate move: index the benchmarks, scan every document, and collect the evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from decontam import DecontamError, build_index, read_benchmarks, save_index
from decontam.benchmarks import benchmark_names
from decontam.readers import find_files, stem
from pipeline.decontaminate.config import DecontaminateConfig
from pipeline.decontaminate.evidence import EvidenceTask
from pipeline.decontaminate.stages import Decontaminate
from pipeline.documents import DocumentReader
from pipeline.errors import RunFailed, UserError
from pipeline.segment import Segment
from pipeline.splits import Split

INDEX = "index"
"""Name of the step that builds the index, of its task, and of the folder that holds it."""


@dataclass(frozen=True)
class IndexTask:
    """Reads the benchmarks and builds the index. settings: `DecontaminateConfig.index_settings`."""

    settings: dict[str, Any]
    inputs: tuple[str, ...] = field(metadata={"fingerprint": False})
    names: tuple[str, ...]
    """Each file's benchmark with the suffixes that say how the file is read: its items are the same wherever the folder lies."""

    name: str = INDEX

    def __call__(self, folder: Path) -> dict[str, Any]:
        """Write the index to `folder`/index; the receipt counts the items of each benchmark."""
        config = DecontaminateConfig(benchmarks=list(self.inputs), **self.settings)
        items = _items(config)
        try:
            save_index(build_index(items, config.match_settings()), folder / INDEX)
        except DecontamError as error:
            raise UserError(f"decontaminate.benchmarks: {_sentence(error)}") from error
        return {"items": _items_per_benchmark(items)}


def check(config: DecontaminateConfig) -> None:
    """Read every benchmark file. Raises UserError for one that is missing or can't be read, or has no usable field."""
    _items(config)


def run(segment: Segment, splits: Sequence[Split], config: DecontaminateConfig, available: frozenset[str]) -> list[Split]:
    """Index, scan, and write matches.parquet and report.json to the segment's folder; returns the kept shards.

    `available`: the columns that the splits have. Raises UserError for benchmarks that can't be read and for splits without text.
    """
    missing = sorted(Decontaminate.reads - available)
    if missing:
        raise UserError(f"decontaminate needs columns that its input lacks ({', '.join(missing)}); run the moves before it first")
    [receipt] = segment.step(INDEX, [_index_task(config)])
    content = json.dumps(sorted((name, facts["xxh3"]) for name, facts in receipt["outputs"].items()))
    stage = Decontaminate(
        index=str(segment.step_folder(INDEX) / INDEX),
        fingerprint=xxhash.xxh3_128_hexdigest(content.encode()),
        action=config.action,
        min_coverage=config.min_coverage,
        long_factor=config.long_factor,
        max_frequency=config.max_frequency,
        report_fields=tuple(config.report_fields),
    )
    kept = segment.rows(splits, DocumentReader(), (stage,), columns=available | Decontaminate.writes)
    segment.step("matches", [_evidence_task(segment, kept, config, receipt["items"])], into=segment.directory)
    return kept


def _evidence_task(segment: Segment, kept: Sequence[Split], config: DecontaminateConfig, items: dict[str, int]) -> EvidenceTask:
    """The task over all shards that the receipts of this segment list with their hashes."""
    paths, shards = [], []
    for split in sorted(kept, key=lambda split: split.name):
        receipt = _receipt(segment.directory / "receipts" / f"{split.name}.json")
        for kind in ("kept", "dropped"):
            facts = receipt["outputs"].get(f"{kind}/{split.name}.parquet")
            if facts:
                paths.append(str(segment.directory / kind / f"{split.name}.parquet"))
                shards.append((kind, str(facts["xxh3"])))
    return EvidenceTask(tuple(paths), tuple(shards), config.action == "mask", tuple(sorted(items.items())))


def _receipt(path: Path) -> dict[str, Any]:
    try:
        receipt: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFailed(f"can't read the receipt '{path}': {error}; run again") from error
    return receipt


def _index_task(config: DecontaminateConfig) -> IndexTask:
    try:
        paths = [path.absolute() for path in find_files(config.benchmarks)]
        benchmarks = benchmark_names(paths)
    except DecontamError as error:
        raise UserError(f"decontaminate.benchmarks: {_sentence(error)}") from error
    names = tuple(benchmark + path.name[len(stem(path)) :] for benchmark, path in zip(benchmarks, paths, strict=True))
    return IndexTask(config.index_settings(), tuple(map(str, paths)), names)


def _items(config: DecontaminateConfig) -> pa.Table:
    try:
        return read_benchmarks(config.benchmarks, config.field_maps(), config.match_settings())
    except DecontamError as error:
        raise UserError(f"decontaminate.benchmarks: {_sentence(error)}") from error


def _items_per_benchmark(items: pa.Table) -> dict[str, int]:
    distinct = items.select(["benchmark", "split", "item"]).group_by(["benchmark", "split", "item"], use_threads=False).aggregate([])
    counts = distinct.group_by("benchmark", use_threads=False).aggregate([([], "count_all")]).to_pylist()
    return {str(row["benchmark"]): int(row["count_all"]) for row in sorted(counts, key=lambda row: row["benchmark"])}


def _sentence(error: DecontamError) -> str:
    return str(error).removesuffix(".")
