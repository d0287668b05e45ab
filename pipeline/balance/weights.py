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

from pipeline.balance.config import UNKNOWN_LANGUAGE, ImportanceConfig
from pipeline.balance.groups import Documents, describe
from pipeline.balance.importance import BUCKETS, check_target, importance, log_ratio, ngram_counts, per_root, target_tables
from pipeline.documents import usable_documents
from pipeline.errors import UserError
from pipeline.files import find_files, is_url
from pipeline.splits import Split


@dataclass(frozen=True)
class RatioFile:
    """The log ratios of one phase's n-gram buckets, float64[len(languages), BUCKETS]. fingerprint: xxh3 of the file."""

    phase: str
    languages: tuple[str, ...]
    path: str = field(metadata={"fingerprint": False})
    fingerprint: str

    def ratios(self) -> npt.NDArray[np.float64]:
        """The array, read once per process."""
        return _load(self.path, self.fingerprint)


@functools.lru_cache(maxsize=8)
def _load(path: str, fingerprint: str) -> npt.NDArray[np.float64]:
    ratios: npt.NDArray[np.float64] = np.load(path, allow_pickle=False)
    ratios.setflags(write=False)
    return ratios


def weighed(documents: Documents, table: pa.Table, files: Sequence[RatioFile]) -> Documents:
    """The documents with their log importance weights per phase: the sum of their n-grams' log ratios over the root of their number.

    A document's ratios are those of its language of the mix; documents of other languages have 0.
    """
    found = {}
    for file in files:
        weights = np.zeros(len(table))
        for language, ratio in zip(file.languages, file.ratios(), strict=True):
            rows = _rows_of(documents, language)
            weights[rows] = per_root(*importance(table.column("text").take(pa.array(rows)), ratio))
        found[file.phase] = weights
    return replace(documents, importance=found) if found else documents


def _rows_of(documents: Documents, language: str) -> npt.NDArray[np.int64]:
    codes = [code for code, name in enumerate(documents.mix_languages) if name == language]
    return np.flatnonzero(np.isin(documents.language_code, codes))


@dataclass(frozen=True)
class NgramTask:
    """Counts the n-grams of one split's documents by language of the mix: `<split>.npy`, int64[len(languages), BUCKETS].

    By language: among all documents a Korean word is rare because half of them are English, which says nothing of the document.
    """

    split: Split
    language_of: dict[str, str]
    languages: tuple[str, ...]
    version: str = "2"

    @property
    def name(self) -> str:
        return self.split.name

    def __call__(self, folder: Path) -> dict[str, Any]:
        counts = np.zeros((len(self.languages), BUCKETS), np.int64)
        for table in usable_documents(self.split, ("id", "text", "lang")):
            documents = describe(table, self.language_of, {})
            for place, language in enumerate(self.languages):
                counts[place] += ngram_counts(table.column("text").take(pa.array(_rows_of(documents, language))))
        np.save(folder / f"{self.name}.npy", counts)
        return {"ngrams": int(counts.sum())}


@dataclass(frozen=True)
class RatioTask:
    """Writes `<phase>.npy`: the log ratios of a phase's targets to all documents, per language.

    counts: xxh3 of the files of the n-gram step, in the order of `paths`. language: that of targets whose record has no `lang`. A language
    without targets has the ratio 0 throughout: its documents are chosen as if no target were given.
    """

    phase: str
    text_column: str
    language: str | None
    language_of: dict[str, str]
    languages: tuple[str, ...]
    counts: tuple[str, ...]
    patterns: tuple[str, ...] = field(metadata={"fingerprint": False})
    paths: tuple[str, ...] = field(metadata={"fingerprint": False})
    files: tuple[str, ...] = field(metadata={"fingerprint": False})
    remote_fingerprints: tuple[str, ...] = ()
    version: str = "2"

    @property
    def name(self) -> str:
        return self.phase

    @property
    def inputs(self) -> tuple[str, ...]:
        """Target files on disk; remote ones count by size, start and end."""
        return tuple(path for path in self.files if not is_url(path))

    def __call__(self, folder: Path) -> dict[str, Any]:
        """Raises UserError when the targets hold no text, none in a language of the mix, or don't say in which of several they are."""
        raw = np.zeros((len(self.languages), BUCKETS), np.int64)
        for path in self.paths:
            raw += np.load(path, allow_pickle=False)
        target = np.zeros_like(raw)
        own = self.language or (self.languages[0] if len(self.languages) == 1 else None)
        for table in target_tables(self.patterns, self.text_column):
            documents = describe(table, self.language_of, {})
            unknown = _rows_of(documents, UNKNOWN_LANGUAGE)
            if len(unknown) and own is None:
                raise UserError(
                    f"a target of phase {self.phase} has no field lang and the mix has {' and '.join(self.languages)}; "
                    f"set balance.phases.{self.phase}.importance.language, or add the field"
                )
            for place, language in enumerate(self.languages):
                rows = _rows_of(documents, language)
                rows = np.union1d(rows, unknown) if language == own else rows
                target[place] += ngram_counts(table.column("text").take(pa.array(rows)))
        if not target.any() and self._has_text():
            raise UserError(
                f"no target of phase {self.phase} is in a language of the mix ({', '.join(self.languages)}); check their field lang"
            )
        check_target(target, self.patterns, self.text_column)
        ratios = [log_ratio(wanted, there) for wanted, there in zip(target, raw, strict=True)]
        np.save(folder / f"{self.phase}.npy", np.stack(ratios))
        return {"target_ngrams": int(target.sum()), "raw_ngrams": int(raw.sum())}

    def _has_text(self) -> bool:
        return any(ngram_counts(table.column("text")).any() for table in target_tables(self.patterns, self.text_column))


def ratio_task(
    phase: str,
    targets: ImportanceConfig,
    language_of: dict[str, str],
    languages: Sequence[str],
    counts: Sequence[str],
    paths: Sequence[str],
) -> RatioTask:
    """The task for a phase's target files. Raises UserError for a pattern that names none."""
    found = find_files(targets.inputs)
    remote = tuple(file.fingerprint for file in found if is_url(file.path))
    files = tuple(file.path for file in found)
    if targets.language is not None and targets.language not in languages:
        raise UserError(f"balance.phases.{phase}.importance.language is '{targets.language}'; use one of {', '.join(languages)}")
    settings = phase, targets.text_column, targets.language, language_of, tuple(languages), tuple(counts)
    return RatioTask(*settings, tuple(targets.inputs), tuple(paths), files, remote)
