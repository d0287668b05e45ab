"""The decontaminate move: index the benchmarks, scan every document, count what is common, act on it, and collect the evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.decontaminate import common, index
from pipeline.decontaminate.config import DecontaminateConfig
from pipeline.decontaminate.evidence import EvidenceTask
from pipeline.decontaminate.report import Benchmark
from pipeline.decontaminate.scan import ScanTask, scan
from pipeline.decontaminate.stages import Decontaminate
from pipeline.documents import DocumentReader
from pipeline.errors import RunFailed, UserError
from pipeline.segment import Segment
from pipeline.splits import Split

check = index.check


def run(segment: Segment, splits: Sequence[Split], config: DecontaminateConfig, available: frozenset[str]) -> list[Split]:
    """Do the whole move, and write matches.parquet and report.json to the segment's folder; returns the kept shards.

    What was scanned by an earlier run in the same place is not scanned again: another policy or action reads the matches only, another
    benchmark is looked for alone. available: the columns that the splits have. Raises UserError for benchmarks and indexes that can't be
    used, and for splits without text.
    """
    missing = sorted(Decontaminate.reads - available)
    if missing:
        raise UserError(f"decontaminate needs columns that its input lacks ({', '.join(missing)}); run the moves before it first")
    looked_for = index.prepare(segment, config)
    windows, seed = (config.windows, config.seed) if config.mode == "paper" else (0, 0)
    scanned = scan(segment, [ScanTask(split, looked_for.benchmarks, str(looked_for.folder), windows, seed) for split in splits])
    [receipt] = segment.step(common.STEP, [common.CommonTask(tuple(scanned))])
    actions = config.actions()

    def stages(split: Split) -> tuple[Decontaminate]:
        name = common.counted_name(split.name)
        return (Decontaminate(str(segment.step_folder(common.STEP) / name), str(receipt["outputs"][name]["xxh3"]), actions),)

    kept = segment.rows(splits, DocumentReader(), stages, columns=available | Decontaminate.writes)
    paths, shards = _shards(segment, kept)
    benchmarks = tuple(Benchmark(name, fingerprint, looked_for.items[name]) for name, fingerprint in looked_for.benchmarks)
    evidence = EvidenceTask(paths, shards, looked_for.shown, looked_for.settings, windows, seed, actions, benchmarks)
    segment.step("matches", [evidence], into=segment.directory)
    return kept


def _shards(segment: Segment, kept: Sequence[Split]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Paths of all kept and dropped shards, and of each its kind and the hash that its receipt gives."""
    paths, shards = [], []
    for split in sorted(kept, key=lambda split: split.name):
        receipt = _receipt(segment.directory / "receipts" / f"{split.name}.json")
        for kind in ("kept", "dropped"):
            facts = receipt["outputs"].get(f"{kind}/{split.name}.parquet")
            if facts:
                paths.append(str(segment.directory / kind / f"{split.name}.parquet"))
                shards.append((kind, str(facts["xxh3"])))
    return tuple(paths), tuple(shards)


def _receipt(path: Path) -> dict[str, Any]:
    try:
        receipt: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFailed(f"can't read the receipt '{path}': {error}; run again") from error
    return receipt
