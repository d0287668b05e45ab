"""Deduplication of a whole corpus: which steps run over which files, and what the last ones do to the documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import xxhash

from pipeline.dedup.config import DedupConfig
from pipeline.dedup.index import Index, open_index
from pipeline.dedup.passages import CutPassages, find_passages
from pipeline.dedup.records import shelf, shingling_of, sketch_settings
from pipeline.dedup.remove import WRITES, RemoveDuplicates
from pipeline.dedup.tasks import BucketTask, Corpus, EdgesTask, OrderTask, SketchTask
from pipeline.dedup.tasks_decide import INDEXED, ClustersTask, VerdictTask
from pipeline.dedup.tasks_verify import VERIFY_BYTES, ForestTask, TextsTask, VerifyTask
from pipeline.documents import DocumentReader
from pipeline.errors import UserError
from pipeline.files import is_url
from pipeline.ranges import Range
from pipeline.segment import Segment
from pipeline.splits import Split
from pipeline.stage import Stage

PART_KEYS = 16_000_000
"""Band keys per bucket task: about 500 MB while they are sorted."""

PART_EDGES = 8_000_000
"""Candidate pairs, as the bands found them, per task that lists each once: about 400 MB."""

FAN_IN = 16
"""Forests that one task merges into one."""

ALWAYS_KNOWN = frozenset({"id", "text_bytes", "date"})
"""Priority columns that need not be in the input: `text_bytes` is measured, and a missing date comes last as an unknown one does."""


def run(segment: Segment, splits: Sequence[Split], config: DedupConfig, available: frozenset[str]) -> list[Split]:
    """Deduplicate the documents of `splits`, which have the columns `available`; returns the kept shards as splits.

    Also publishes `clusters.parquet` to the segment's folder, and adds what stays to the index, if there is one. Raises UserError for a
    column that the configuration needs and the documents don't have, and for an index of other settings.
    """
    _check(config, available)
    splits = sorted(splits, key=lambda split: split.name)
    if config.index is None:
        return _run(segment, splits, config, available, None)
    if segment.directory.resolve().is_relative_to(Path(config.index).resolve()):
        raise UserError(f"the index '{config.index}' is the output folder or holds it; give the index a folder of its own")
    with open_index(Path(config.index), config) as index:
        return _run(segment, splits, config, available, index)


def _check(config: DedupConfig, available: frozenset[str]) -> None:
    for column, _ in config.priority_columns():
        if column not in available | ALWAYS_KNOWN:
            raise UserError(f"dedup.priority names the column '{column}', which the documents don't have; they have {_listed(available)}")
    if config.index and is_url(config.index):
        raise UserError(f"the index '{config.index}' is a URL; give a folder on a disk that all workers share")
    if config.url and "url" not in available:
        raise UserError(f"dedup.url needs the column 'url', which the documents don't have; they have {_listed(available)}")


def _run(segment: Segment, splits: list[Split], config: DedupConfig, available: frozenset[str], index: Index | None) -> list[Split]:
    settings = sketch_settings(config)
    receipts = segment.step("sketch", [SketchTask(split, settings) for split in splits])
    new = [shelf(segment.step_folder("sketch"), split.name) for split in splits]
    sketched = digest(receipts)
    old = index.earlier(sketched, config) if index else []
    documents = sum(int(receipt["rows_in"]) for receipt in receipts) + sum(entry.documents for entry in old)
    given = digest([{"sketches": sketched, "index": [entry.fingerprint for entry in old]}])
    corpus = Corpus((*(entry.shelf for entry in old), *new), len(old), given, str(segment.step_folder("order")))
    receipts = segment.step("order", [OrderTask(corpus, tuple(config.priority_columns()), config.exact)])
    corpus = replace(corpus, ordered=digest(receipts))
    verified, decided = (
        _pair_up(segment, [*(entry.split for entry in old), *splits], config, corpus, documents) if config.near else ((), "")
    )
    names = tuple(split.name for split in splits)
    grown = index.grown() if index else ()
    receipt = segment.step("verdict", [VerdictTask(corpus, verified, decided, grown, names, config.chains)])[0]
    folder = segment.step_folder("verdict")
    verdicts = {name: str(folder / f"verdict-{name}.parquet") for name in names}
    indexed = str(folder / INDEXED) if old else None
    segment.step("clusters", [ClustersTask(tuple(verdicts.values()), indexed, digest([receipt]))], into=segment.directory)
    cuts: dict[str, tuple[str, str]] = {}
    if config.paragraphs or config.substrings:
        cuts = find_passages(segment, splits, [str(folder / f"verdict-{name}-ranks.npy") for name in names], config, available)
    rehydration = tuple(config.rehydration.items())

    def stages(split: Split) -> tuple[Stage, ...]:
        fingerprint = str(receipt["outputs"][f"verdict-{split.name}.parquet"]["xxh3"])
        remove = RemoveDuplicates(verdicts[split.name], fingerprint, rehydration)
        return (remove, CutPassages(*cuts[split.name])) if cuts else (remove,)

    writes = {*WRITES, *(CutPassages.writes if cuts else ())} - {"drop_reason"}
    kept = segment.rows(splits, DocumentReader(), stages, available | writes)
    if index:
        index.extend(segment, splits, new, verdicts, indexed, digest([receipt]))
    return kept


def _pair_up(segment: Segment, splits: list[Split], config: DedupConfig, corpus: Corpus, documents: int) -> tuple[tuple[str, ...], str]:
    """Find and verify pairs of near duplicates; returns the files of those with similar texts, and a hash of all of them."""
    settings = sketch_settings(config)
    parts = max(1, -(-documents * settings.bands // PART_KEYS))
    buckets = [BucketTask(corpus, Range(part, parts, 1 << 64), config.threshold, config.bucket_limit) for part in range(parts)]
    receipts = segment.step("buckets", buckets)
    files = _files(segment, "buckets", buckets)
    parts = max(1, -(-sum(receipt["pairs"] for receipt in receipts) // PART_EDGES))
    found = digest(receipts)
    edges = [EdgesTask(corpus, files, found, Range(part, parts, documents), VERIFY_BYTES) for part in range(parts)]
    receipts = segment.step("edges", edges)
    paired, files = digest(receipts), _files(segment, "edges", edges)
    firsts = [0]
    for receipt in receipts:
        firsts.append(firsts[-1] + int(receipt["chunks"]))
    begins = corpus.array("begins").tolist()
    texts = [
        TextsTask(split, begin, end - begin, files, tuple(firsts[:-1]), paired)
        for split, begin, end in zip(splits, begins[:-1], begins[1:], strict=True)
    ]
    collected = digest([{"ordered": corpus.ordered, "paired": paired}, *segment.step("texts", texts)])
    of_texts = _files(segment, "texts", texts)
    shingling, order = shingling_of(config), corpus.order
    checks = [
        VerifyTask(path, order, of_texts, collected, first + chunk, chunk, config.threshold, shingling, config.chains)
        for path, first, receipt in zip(files, firsts[:-1], receipts, strict=True)
        for chunk in range(int(receipt["chunks"]))
    ]
    verified = digest(segment.step("verify", checks))
    pairs = _files(segment, "verify", checks)
    level = 0
    while config.chains and len(pairs) > FAN_IN:
        merges = [
            ForestTask(f"forest-{level}-{place:05d}", pairs[begin : begin + FAN_IN], verified)
            for place, begin in enumerate(range(0, len(pairs), FAN_IN))
        ]
        verified = digest(segment.step(f"forests-{level}", merges))
        pairs, level = _files(segment, f"forests-{level}", merges), level + 1
    return pairs, verified


def _files(segment: Segment, step: str, tasks: Sequence[Any]) -> tuple[str, ...]:
    """The file that each task of a step is named after."""
    return tuple(str(segment.step_folder(step) / f"{task.name}.parquet") for task in tasks)


def digest(receipts: Sequence[dict[str, Any]]) -> str:
    """A hash of all that some tasks wrote, from their receipts."""
    outputs = [receipt.get("outputs", receipt) for receipt in receipts]
    return xxhash.xxh3_128_hexdigest(repr([sorted(one.items(), key=str) for one in outputs]).encode())


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
