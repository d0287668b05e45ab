"""Importance weights in a run: n-grams counted over all splits, set against those of the target texts, then looked up per document."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.balance.groups import Documents
from pipeline.balance.importance import BUCKETS, importance, log_ratio, ngram_counts, per_root, read_target
from pipeline.documents import usable_documents
from pipeline.files import find_files, is_url
from pipeline.splits import Split


@dataclass(frozen=True)
class RatioFile:
    """The log ratios of one phase's n-gram buckets, float64[BUCKETS]. fingerprint: xxh3 of the file."""

    phase: str
    path: str = field(metadata={"fingerprint": False})
    fingerprint: str

    def ratio(self) -> npt.NDArray[np.float64]:
        """The array, read once per process."""
        return _load(self.path, self.fingerprint)


@functools.lru_cache(maxsize=8)
def _load(path: str, fingerprint: str) -> npt.NDArray[np.float64]:
    ratio: npt.NDArray[np.float64] = np.load(path, allow_pickle=False)
    ratio.setflags(write=False)
    return ratio


def weighed(documents: Documents, table: pa.Table, ratios: Sequence[RatioFile]) -> Documents:
    """The documents with their log importance weights per phase: the sum of their n-grams' log ratios over the root of their number."""
    found = {file.phase: per_root(*importance(table.column("text"), file.ratio())) for file in ratios}
    return replace(documents, importance=found) if found else documents


@dataclass(frozen=True)
class NgramTask:
    """Counts the n-grams of one split's documents: `<split>.npy`, int64[BUCKETS]."""

    split: Split

    @property
    def name(self) -> str:
        return self.split.name

    def __call__(self, folder: Path) -> dict[str, Any]:
        counts = np.zeros(BUCKETS, np.int64)
        for table in usable_documents(self.split, ("id", "text")):
            counts += ngram_counts(table.column("text"))
        np.save(folder / f"{self.name}.npy", counts)
        return {"ngrams": int(counts.sum())}


@dataclass(frozen=True)
class RatioTask:
    """Writes `<phase>.npy`: the log ratios of a phase's targets to all documents. counts: xxh3 of the files of the n-gram step."""

    phase: str
    text_column: str
    counts: tuple[str, ...]
    patterns: tuple[str, ...] = field(metadata={"fingerprint": False})
    paths: tuple[str, ...] = field(metadata={"fingerprint": False})
    files: tuple[str, ...] = field(metadata={"fingerprint": False})
    remote_fingerprints: tuple[str, ...] = ()

    @classmethod
    def of(cls, phase: str, patterns: Sequence[str], text_column: str, counts: Sequence[str], paths: Sequence[str]) -> RatioTask:
        """The task for these target files. Raises UserError for a pattern that names none."""
        found = find_files(list(patterns))
        remote = tuple(file.fingerprint for file in found if is_url(file.path))
        return cls(phase, text_column, tuple(counts), tuple(patterns), tuple(paths), tuple(file.path for file in found), remote)

    @property
    def name(self) -> str:
        return self.phase

    @property
    def inputs(self) -> tuple[str, ...]:
        """Target files on disk; remote ones count by size, start and end."""
        return tuple(path for path in self.files if not is_url(path))

    def __call__(self, folder: Path) -> dict[str, Any]:
        """Raises UserError when the targets hold no text."""
        raw = np.zeros(BUCKETS, np.int64)
        for path in self.paths:
            raw += np.load(path, allow_pickle=False)
        target = read_target(list(self.patterns), self.text_column)
        np.save(folder / f"{self.phase}.npy", log_ratio(target, raw))
        return {"target_ngrams": int(target.sum()), "raw_ngrams": int(raw.sum())}
