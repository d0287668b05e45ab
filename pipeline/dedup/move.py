"""Deduplication of a whole corpus: which steps run over which files, and what the last one does to the documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.dedup.config import DedupConfig
from pipeline.dedup.records import sketch_settings
from pipeline.dedup.remove import WRITES, RemoveDuplicates
from pipeline.dedup.tasks import BandTask, EdgesTask, OrderTask, SketchTask
from pipeline.dedup.tasks_decide import ClustersTask, VerdictTask, VerifyTask
from pipeline.dedup.verify import VERIFY_BYTES
from pipeline.documents import DocumentReader
from pipeline.errors import UserError
from pipeline.segment import Segment
from pipeline.splits import Split

PART_DOCUMENTS = 1_000_000
"""Documents per band task: with 128 slots of 4 bytes, at most 512 MB of sketches if every document shares a bucket with another."""

ALWAYS_KNOWN = frozenset({"id", "text_bytes", "date"})
"""Priority columns that need not be in the input: `text_bytes` is measured, and a missing date comes last as an unknown one does."""


def run(segment: Segment, splits: Sequence[Split], config: DedupConfig, available: frozenset[str]) -> list[Split]:
    """Deduplicate the documents of `splits`, which have the columns `available`; returns the kept shards as splits.

    Also publishes `clusters.parquet` to the segment's folder. Raises UserError for a priority column that the documents don't have.
    """
    for column, _ in config.priority_columns():
        if column not in available | ALWAYS_KNOWN:
            raise UserError(f"dedup.priority names the column '{column}', which the documents don't have; they have {_listed(available)}")
    splits = sorted(splits, key=lambda split: split.name)
    settings = sketch_settings(config)
    receipts = segment.step("sketch", [SketchTask(split, settings) for split in splits])
    sketches = tuple(str(segment.step_folder("sketch") / f"{split.name}.parquet") for split in splits)
    segment.step("order", [OrderTask(sketches, tuple(config.priority_columns()), config.exact)])
    order = str(segment.step_folder("order") / "order.parquet")
    documents = sum(int(receipt["rows_in"]) for receipt in receipts)
    verified = _pair_up(segment, splits, config, sketches, order, documents) if config.near else ()
    names = tuple(split.name for split in splits)
    receipt = segment.step("verdict", [VerdictTask(sketches, order, verified, names, config.chains, config.permutations)])[0]
    verdicts = {name: str(segment.step_folder("verdict") / f"verdict-{name}.parquet") for name in names}
    segment.step("clusters", [ClustersTask(tuple(verdicts.values()))], into=segment.directory)

    def stages(split: Split) -> tuple[RemoveDuplicates]:
        return (RemoveDuplicates(verdicts[split.name], _hash_of(receipt, f"verdict-{split.name}.parquet")),)

    return segment.rows(splits, DocumentReader(), stages, available | frozenset(WRITES))


def _pair_up(
    segment: Segment, splits: Sequence[Split], config: DedupConfig, sketches: tuple[str, ...], order: str, documents: int
) -> tuple[str, ...]:
    """Find and verify pairs of near duplicates; returns the files of those with similar texts."""
    settings = sketch_settings(config)
    parts = max(1, -(-documents // PART_DOCUMENTS))
    tasks = [
        BandTask(sketches, order, band, part, parts, config.permutations, config.threshold, config.bucket_limit)
        for band in range(settings.bands)
        for part in range(parts)
    ]
    segment.step("bands", tasks)
    bands = tuple(str(segment.step_folder("bands") / f"{task.name}.parquet") for task in tasks)
    receipt = segment.step("edges", [EdgesTask(bands, sketches, order, VERIFY_BYTES)])[0]
    edges = str(segment.step_folder("edges") / "edges.parquet")
    chunks = range(int(receipt["chunks"]))
    checks = [VerifyTask(edges, order, tuple(splits), chunk, config.threshold, config.shingle_bytes, config.seed) for chunk in chunks]
    segment.step("verify", checks)
    return tuple(str(segment.step_folder("verify") / f"{task.name}.parquet") for task in checks)


def _hash_of(receipt: dict[str, Any], name: str) -> str:
    return str(receipt["outputs"][name]["xxh3"])


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
