"""Summing up the counts of a whole corpus in bounded memory: what each group holds, and where its queue must be cut for a budget.

The counts stay in their files and are read several times. The first pass adds up tokens per group and per bin of the queue's keys; that
says in which bin a budget ends. The next picks up only the documents of those bins, about one in BINS, and finds the exact place; where
a bin holds too many (weighted keys are not even), it parts the bin first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.balance.groups import Codes, Documents, coded
from pipeline.balance.plan import Supply, Target
from pipeline.balance.queue import Queue
from pipeline.balance.sample import Counts, Keys, limit_for, whole_and_rest
from pipeline.errors import UserError
from pipeline.shards import read_batches

BIN_BITS = 12
BINS = 1 << BIN_BITS
"""Key bins per group: 4,096 of 16 bytes each; of a billion documents in one group, a quarter of a million share the bin of the cut."""

MOST_NEAR = 1 << 20
"""Documents that all searches together hold in memory; a bin with more than its group's part is parted by the next BIN_BITS of the key."""

MAX_GROUPS = 2000
"""Distinct (language, domain) pairs: more would be a column of free text taken for labels (130 MB of bins per phase)."""


@dataclass(frozen=True)
class CountedBatch:
    """One batch of counts: documents of the mix's languages, and each phase's uniform sampling keys (uint64)."""

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
        "copies": documents.copies,
        **{f"importance_{phase}": values for phase, values in documents.importance.items()},
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
            sizes, tokens, quality, copies = (table.column(name).to_numpy() for name in ("bytes", "tokens", "quality", "copies"))
            importance = {
                phase: table.column(f"importance_{phase}").to_numpy() for phase in phases if f"importance_{phase}" in table.column_names
            }
            documents = Documents(languages, languages, domains, language_code, domain_code, sizes, tokens, quality, copies, importance)
            yield CountedBatch(documents, {phase: table.column(f"key_{phase}").to_numpy() for phase in phases})


@dataclass
class Tally:
    """Running totals of one phase per (language, domain): documents, bytes, tokens, and documents and tokens per key bin.

    A document that counts several times (`Queue.copies`) has its tokens and bytes so many times here, and is one document.
    """

    queue: Queue
    place: dict[tuple[str, str], int] = field(default_factory=dict)
    bytes: list[int] = field(default_factory=list)
    document_bins: list[Counts] = field(default_factory=list)
    token_bins: list[Counts] = field(default_factory=list)

    def add(self, batch: CountedBatch) -> None:
        """Add the batch's eligible documents. Raises UserError when there are more than MAX_GROUPS groups."""
        group, keys, tokens, copies, mask = self.members(batch)
        sizes = batch.documents.text_bytes[mask] * copies
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

    def cutter(self, targets: Sequence[Target]) -> Cutter:
        """The passes that find where the queues end for these targets."""
        return Cutter(self, targets)

    def members(self, batch: CountedBatch) -> tuple[Codes, Keys, Counts, Counts, npt.NDArray[np.bool_]]:
        """Of each eligible document its group, place in the queue, tokens with copies, and copies; and the mask of eligible documents."""
        documents = batch.documents
        wanted, good = self.queue.eligible(documents)
        mask = wanted & good
        pair = documents.language_code[mask] * len(documents.domains) + documents.domain_code[mask]
        distinct, where = np.unique(pair, return_inverse=True)
        indices = []
        for value in distinct.tolist():
            language, domain = divmod(value, len(documents.domains))
            indices.append(self._index(documents.mix_languages[language], documents.domains[domain]))
        copies = self.queue.copies(documents)[mask]
        keys = self.queue.order(documents, batch.keys[self.queue.phase])[mask]
        return np.array(indices, np.int64)[where], keys, documents.tokens[mask] * copies, copies, mask

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


class _Search:
    """Where one group's queue ends: the bin of keys in which `rest` tokens are reached, narrowed pass by pass.

    The bin holds the keys whose bits above `shift` are `prefix`; `documents` and `tokens` stand before it.
    """

    def __init__(self, rest: int, document_bins: Counts, token_bins: Counts, most_near: int) -> None:
        self.rest, self.documents, self.tokens = rest, 0, 0
        self._most_near = most_near
        self.prefix, self.shift = 0, 64
        self._near: list[tuple[Keys, Counts]] | None = None
        self._narrow(document_bins, token_bins)

    def _narrow(self, document_bins: Counts, token_bins: Counts) -> None:
        filled = np.cumsum(token_bins)
        bin_ = int(np.searchsorted(filled, self.rest - self.tokens, side="right"))
        self.tokens += int(filled[bin_ - 1]) if bin_ else 0
        self.documents += int(document_bins[:bin_].sum())
        self.shift -= BIN_BITS
        self.prefix = self.prefix << BIN_BITS | bin_
        if int(document_bins[bin_]) <= self._most_near or self.shift < BIN_BITS:
            self._near = []
        else:
            self._document_bins, self._token_bins = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)

    def add(self, keys: Keys, tokens: Counts) -> None:
        near = keys >> np.uint64(self.shift) == np.uint64(self.prefix)
        if self._near is not None:
            self._near.append((keys[near], tokens[near]))
            return
        bins = (keys[near] >> np.uint64(self.shift - BIN_BITS)).astype(np.int64) & (BINS - 1)
        self._document_bins += np.bincount(bins, minlength=BINS)
        np.add.at(self._token_bins, bins, tokens[near])

    def settled(self) -> bool:
        """End a pass; whether it was the last."""
        if self._near is None:
            self._narrow(self._document_bins, self._token_bins)
            return False
        return True

    def cut(self) -> tuple[int, int, int]:
        """The limit of the keys, and the documents and tokens before it."""
        near = self._near or []
        keys, tokens = (np.concatenate([part[side] for part in near]) for side in (0, 1))
        limit, documents, taken = limit_for(keys, tokens, self.rest - self.tokens)
        return limit, documents + self.documents, taken + self.tokens


class Cutter:
    """Finds where each group's queue ends: all batches are added, then `settled` asked, until it says so."""

    def __init__(self, tally: Tally, targets: Sequence[Target]) -> None:
        self._tally = tally
        self._whole: dict[int, int] = {}
        self._searches: dict[int, _Search] = {}
        most_near = max(1, MOST_NEAR // max(1, len(targets)))
        for target in targets:
            index = tally.place[target.supply.language, target.supply.domain]
            self._whole[index], rest = whole_and_rest(target.tokens, target.supply.tokens)
            if rest:
                self._searches[index] = _Search(rest, tally.document_bins[index], tally.token_bins[index], most_near)
        self._open = set(self._searches)

    def add(self, batch: CountedBatch) -> None:
        """Look at the documents of the bins in which queues end."""
        group, keys, tokens, _, _ = self._tally.members(batch)
        for index in np.unique(group).tolist():
            if index in self._open:
                mine = group == index
                self._searches[index].add(keys[mine], tokens[mine])

    def settled(self) -> bool:
        """End a pass over all batches; whether no other is needed."""
        self._open = {index for index in self._open if not self._searches[index].settled()}
        return not self._open

    def cuts(self) -> dict[tuple[str, str], Cut]:
        """One cut per target, by (language, domain), with the documents and tokens that it really takes."""
        return {pair: self._cut(pair, index) for pair, index in self._tally.place.items() if index in self._whole}

    def _cut(self, pair: tuple[str, str], index: int) -> Cut:
        whole = self._whole[index]
        limit, documents, tokens = self._searches[index].cut() if index in self._searches else (0, 0, 0)
        every = int(self._tally.document_bins[index].sum())
        return Cut(pair[0], pair[1], whole, limit, every if whole else documents, whole * int(self._tally.token_bins[index].sum()) + tokens)
