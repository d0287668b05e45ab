"""Summing up the counts of a whole corpus in bounded memory: what each group holds, and where its queue must be cut for a budget.

The counts stay in their files and are read twice. The first pass adds up tokens per group and per bin of the sampling key; that says in
which bin a budget ends. The second pass picks up only the documents of those bins, about one in BINS, and finds the exact place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.balance.config import PhaseConfig
from pipeline.balance.groups import Codes, Documents, coded
from pipeline.balance.plan import PhaseTargets, Supply
from pipeline.balance.sample import Counts, Keys, limit_for, whole_and_rest
from pipeline.errors import UserError
from pipeline.shards import read_batches

BIN_BITS = 12
BINS = 1 << BIN_BITS
"""Key bins per group: 4,096 of 16 bytes each; of a billion documents in one group, a quarter of a million share the bin of the cut."""

MAX_GROUPS = 2000
"""Distinct (language, domain) pairs: more would be a column of free text taken for labels (130 MB of bins per phase)."""


@dataclass(frozen=True)
class CountedBatch:
    """One batch of counts: documents of the mix's languages, and each phase's sampling keys (uint64)."""

    documents: Documents
    keys: dict[str, Keys]


@dataclass(frozen=True)
class Cut:
    """How one group is taken in one phase: every document `whole_epochs` times, those with a key below `limit` once more."""

    language: str
    domain: str
    whole_epochs: int
    limit: int
    documents: int
    tokens: int


def counts_table(documents: Documents, keys: dict[str, Keys], wanted: npt.NDArray[np.bool_]) -> pa.Table:
    """The wanted documents as the table that the count step stores; the languages are those of the mix."""
    columns: dict[str, Any] = {
        "language": _decoded(documents.mix_languages, documents.language_code),
        "domain": _decoded(documents.domains, documents.domain_code),
        "quality": documents.quality,
        "bytes": documents.text_bytes,
        "tokens": documents.tokens,
        **{f"key_{phase}": values for phase, values in keys.items()},
    }
    return pa.table(columns).filter(pa.array(wanted))


def _decoded(values: list[str], code: Codes) -> pa.Array:
    indices: Any = pa.array(code)
    return pa.array(values, pa.string()).take(indices)


def read_counts(paths: Sequence[str], phases: Sequence[str]) -> Iterator[CountedBatch]:
    """Batches of the files that the count step wrote."""
    for path in paths:
        for table in read_batches(path):
            languages, language_code = coded(table.column("language"), "")
            domains, domain_code = coded(table.column("domain"), "")
            documents = Documents(
                languages,
                languages,
                domains,
                language_code,
                domain_code,
                table.column("bytes").to_numpy(),
                table.column("tokens").to_numpy(),
                table.column("quality").to_numpy(),
            )
            yield CountedBatch(documents, {phase: table.column(f"key_{phase}").to_numpy() for phase in phases})


@dataclass
class Tally:
    """Running totals of one phase per (language, domain): documents, bytes, tokens, and documents and tokens per key bin."""

    phase: str
    languages: frozenset[str]
    min_quality: float | None
    place: dict[tuple[str, str], int] = field(default_factory=dict)
    bytes: list[int] = field(default_factory=list)
    document_bins: list[Counts] = field(default_factory=list)
    token_bins: list[Counts] = field(default_factory=list)

    @classmethod
    def of(cls, name: str, phase: PhaseConfig) -> Tally:
        return cls(name, frozenset(phase.language_shares), phase.min_quality)

    def add(self, batch: CountedBatch) -> None:
        """Add the batch's eligible documents. Raises UserError when there are more than MAX_GROUPS groups."""
        group, mask = self.groups_of(batch.documents)
        keys, tokens = batch.keys[self.phase][mask], batch.documents.tokens[mask]
        sizes = batch.documents.text_bytes[mask]
        bins = (keys >> np.uint64(64 - BIN_BITS)).astype(np.int64)
        for index in np.unique(group):
            mine = group == index
            self.bytes[index] += int(sizes[mine].sum())
            self.document_bins[index] += np.bincount(bins[mine], minlength=BINS)
            np.add.at(self.token_bins[index], bins[mine], tokens[mine])

    def supplies(self) -> list[Supply]:
        """What the phase can draw on, per language and domain."""
        return [
            Supply(language, domain, int(self.document_bins[index].sum()), self.bytes[index], int(self.token_bins[index].sum()))
            for (language, domain), index in self.place.items()
        ]

    def cutter(self, targets: PhaseTargets) -> Cutter:
        """The second pass of this phase, for these targets."""
        return Cutter(self, targets)

    def groups_of(self, documents: Documents) -> tuple[Codes, npt.NDArray[np.bool_]]:
        """The group of each eligible document, and the mask of eligible documents."""
        wanted, good = documents.eligible(self.languages, self.min_quality)
        mask = wanted & good
        pair = documents.language_code[mask] * len(documents.domains) + documents.domain_code[mask]
        distinct, where = np.unique(pair, return_inverse=True)
        indices = []
        for value in distinct.tolist():
            language, domain = divmod(value, len(documents.domains))
            indices.append(self._index(documents.mix_languages[language], documents.domains[domain]))
        return np.array(indices, np.int64)[where], mask

    def _index(self, language: str, domain: str) -> int:
        index = self.place.setdefault((language, domain), len(self.bytes))
        if index == len(self.bytes):
            if index >= MAX_GROUPS:
                raise UserError(
                    f"column domain has more than {MAX_GROUPS:,} different labels ('{domain[:40]}' among them); "
                    "balance needs a column of domain labels, not of free text: check which column is called domain"
                )
            self.bytes.append(0)
            self.document_bins.append(np.zeros(BINS, np.int64))
            self.token_bins.append(np.zeros(BINS, np.int64))
        return index


class Cutter:
    """Collects the documents near each group's cut, then names the exact limits."""

    def __init__(self, tally: Tally, targets: PhaseTargets) -> None:
        self._tally = tally
        self._rests: dict[int, tuple[int, int]] = {}
        self._boundary = np.full(len(tally.bytes), -1, np.int64)
        self._near: dict[int, list[tuple[Keys, Counts]]] = {}
        for target in targets.targets:
            index = tally.place[target.supply.language, target.supply.domain]
            whole, rest = whole_and_rest(target.tokens, target.supply.tokens)
            self._rests[index] = whole, rest
            if rest:
                self._boundary[index] = np.searchsorted(np.cumsum(tally.token_bins[index]), rest, side="right")
                self._near[index] = []

    def add(self, batch: CountedBatch) -> None:
        """Keep the batch's documents in the bin where their group is cut."""
        group, mask = self._tally.groups_of(batch.documents)
        keys, tokens = batch.keys[self._tally.phase][mask], batch.documents.tokens[mask]
        near = (keys >> np.uint64(64 - BIN_BITS)).astype(np.int64) == self._boundary[group]
        for index in np.unique(group[near]).tolist():
            mine = near & (group == index)
            self._near[index].append((keys[mine], tokens[mine]))

    def cuts(self) -> dict[tuple[str, str], Cut]:
        """One cut per target, by (language, domain), with the documents and tokens that it really takes."""
        return {pair: self._cut(pair, index) for pair, index in self._tally.place.items() if index in self._rests}

    def _cut(self, pair: tuple[str, str], index: int) -> Cut:
        whole, rest = self._rests[index]
        document_bins, token_bins = self._tally.document_bins[index], self._tally.token_bins[index]
        limit = documents = tokens = 0
        if rest:
            boundary = int(self._boundary[index])
            keys = np.concatenate([keys for keys, _ in self._near[index]])
            counts = np.concatenate([counts for _, counts in self._near[index]])
            before = int(token_bins[:boundary].sum())
            limit, documents, tokens = limit_for(keys, counts, rest - before)
            documents, tokens = documents + int(document_bins[:boundary].sum()), tokens + before
        every = int(document_bins.sum())
        return Cut(pair[0], pair[1], whole, limit, every if whole else documents, whole * int(token_bins.sum()) + tokens)
