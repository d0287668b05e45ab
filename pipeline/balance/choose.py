"""The stage that carries out a plan: how often each document appears in each phase, and why a document appears in none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipeline.balance.groups import Codes, Documents, describe
from pipeline.balance.sample import sampling_keys
from pipeline.schema import with_columns

_NOT_IN_LANGUAGE, _LOW_QUALITY, _NOT_IN_DOMAIN, _OVER_BUDGET = range(4)
"""How far a document got in a phase before it was left out; the furthest over all phases is the reason that is told."""

_LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,3}|mixed")


@dataclass(frozen=True)
class GroupChoice:
    """A group of one phase: all its documents `whole_epochs` times, those with a sampling key below `limit` once more."""

    language: str
    domain: str
    whole_epochs: int
    limit: int


@dataclass(frozen=True)
class PhaseChoice:
    """One phase of the plan. `seed` is the 64-bit seed of its sampling keys (sample.phase_seed)."""

    name: str
    seed: int
    languages: tuple[str, ...]
    min_quality: float | None
    groups: tuple[GroupChoice, ...]


@dataclass(frozen=True)
class Choose:
    """Writes tokens and the epochs of each phase; drops a document that is in no phase.

    Reasons: over_budget, low_quality, domain_not_in_mix:<label>, language_not_in_mix:<lang>. A decision needs only the row itself, so it
    is the same in any batch and any order. Also reads text_bytes, lang, domain and quality where the
    table has them.
    """

    name: ClassVar[str] = "balance"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"id", "text"})
    writes: ClassVar[frozenset[str]] = frozenset({"tokens", "epochs_general", "epochs_domain"})

    language_of: dict[str, str]
    bytes_per_token: dict[str, float]
    phases: tuple[PhaseChoice, ...]

    def __call__(self, table: pa.Table) -> pa.Table:
        documents = describe(table, self.language_of, self.bytes_per_token)
        reached = np.zeros(len(table), np.int64)
        epochs = {name: np.zeros(len(table), np.int32) for name in sorted(self.writes) if name != "tokens"}
        for phase in self.phases:
            taken, stop = _epochs(phase, documents, table.column("id"))
            epochs[f"epochs_{phase.name}"] = taken
            reached = np.maximum(reached, stop)
        in_none = np.all([values == 0 for values in epochs.values()], axis=0)
        tokens = pa.array(documents.tokens, mask=documents.tokens < 0)
        return with_columns(table, {"tokens": tokens, **epochs, "drop_reason": _reasons(documents, reached, in_none)})


def _epochs(phase: PhaseChoice, documents: Documents, ids: pa.ChunkedArray) -> tuple[np.ndarray, Codes]:
    """Epochs of each document (int32), and how far it got."""
    wanted, good = documents.eligible(frozenset(phase.languages), phase.min_quality)
    shape = len(documents.languages), len(documents.domains)
    whole, limit, placed = np.zeros(shape, np.int32), np.zeros(shape, np.uint64), np.zeros(shape, bool)
    groups = {(group.language, group.domain): group for group in phase.groups}
    for row, language in enumerate(documents.mix_languages):
        for column, domain in enumerate(documents.domains):
            if group := groups.get((language, domain)):
                whole[row, column], limit[row, column], placed[row, column] = group.whole_epochs, group.limit, True
    cell = documents.language_code, documents.domain_code
    chosen = whole[cell] + (sampling_keys(ids, phase.seed) < limit[cell]).astype(np.int32)
    reached = np.select([~wanted, ~good, ~placed[cell]], [_NOT_IN_LANGUAGE, _LOW_QUALITY, _NOT_IN_DOMAIN], _OVER_BUDGET)
    return np.where(reached == _OVER_BUDGET, chosen, np.int32(0)), reached


def _reasons(documents: Documents, reached: Codes, in_none: np.ndarray) -> pa.Array:
    """The drop_reason of each document; null for those in some phase."""
    fixed = [None, "over_budget", "low_quality"]
    languages = [f"language_not_in_mix:{name if _LANGUAGE_CODE.fullmatch(name) else 'invalid'}" for name in documents.languages]
    domains = [f"domain_not_in_mix:{name[:60]}" for name in documents.domains]
    code = np.select(
        [~in_none, reached == _OVER_BUDGET, reached == _LOW_QUALITY, reached == _NOT_IN_LANGUAGE],
        [0, 1, 2, len(fixed) + documents.language_code],
        len(fixed) + len(languages) + documents.domain_code,
    )
    return pa.array([*fixed, *languages, *domains], pa.string()).take(pa.array(code))
