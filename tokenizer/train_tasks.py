"""The tasks of training a tokenizer: cut and sum the words, learn each list's merges, compose and write the tokenizer.

What has compiled kernels is imported by the tasks themselves: the process that plans them never needs it, and starts in half the time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import RunFailed
from pipeline.ranges import Range, read_range, write_sorted
from pipeline.shards import write_table
from tokenizer.audit import AUDIT, audit_json
from tokenizer.card import write_card
from tokenizer.count import HASHES
from tokenizer.morphemes import cut_morphemes, kiwi_version
from tokenizer.seeds import syllable_merges
from tokenizer.special_tokens import CHAT_TEMPLATE, special_tokens
from tokenizer.vocabulary import TOKENIZER
from tokenizer.words import Words

if TYPE_CHECKING:
    from tokenizer.compose import MergeList

ALL = "all"
"""The one list of a plain tokenizer."""

_RANGE_ROWS = 2_000_000
"""Words of all files that one range of hashes holds together: about 100 MB while they are summed."""


@dataclass(frozen=True)
class CutTask:
    """Writes `<name>-<list>.parquet`: hash, word and count of the pieces of one file of counts, sorted by hash.

    languages: of the split; None: nothing is cut, and the one list is ALL.
    """

    name: str
    languages: tuple[str, ...] | None
    inputs: tuple[str, ...] = field(metadata={"fingerprint": False})
    version: str = "1"

    def __call__(self, folder: Path) -> dict[str, Any]:
        rows = {}
        for name, words in self._pieces().items():
            if len(words):
                rows[name] = len(words)
                _write_hashed(folder / f"{self.name}-{name}.parquet", words)
        return {"rows": rows}

    def _pieces(self) -> dict[str, Words]:
        from tokenizer.scripts import by_language, summed

        words = summed(Words.from_table(table) for path in self.inputs for table in _row_groups(path))
        return {ALL: words} if self.languages is None else by_language(words, self.languages)


@dataclass(frozen=True)
class WordsTask:
    """Writes `<list>.parquet`: word and count over all files, the most frequent first; words below `min_count` and those beyond the
    `max_words` most frequent are left out and counted."""

    list_name: str
    rows: int
    min_count: int
    max_words: int
    inputs: tuple[str, ...] = field(metadata={"fingerprint": False})
    version: str = "1"

    @property
    def name(self) -> str:
        return self.list_name

    def __call__(self, folder: Path) -> dict[str, Any]:
        kept: list[Words] = []
        seen, rare, beyond = _Tally(), _Tally(), _Tally()
        for words in self._ranges():
            seen.add(words.counts)
            frequent = words.counts >= self.min_count
            rare.add(words.counts[~frequent])
            kept.append(_taken(words, np.flatnonzero(frequent)))
            if sum(map(len, kept)) > 2 * self.max_words:  # so that memory is bounded by what is kept
                kept = [self._most_frequent(kept, beyond)]
        words = self._most_frequent(kept, beyond)
        write_table(folder / f"{self.list_name}.parquet", words.to_table())
        taken = _Tally()
        taken.add(words.counts)
        return {
            "words": taken.words,
            "occurrences": taken.occurrences,
            "bytes": len(words.data),
            "distinct": seen.words,
            "rare": vars(rare),
            "beyond": vars(beyond),
        }

    def _ranges(self) -> Iterator[Words]:
        from tokenizer.scripts import summed

        parts = max(1, -(-self.rows // _RANGE_ROWS))
        for part in range(parts):
            bounds = Range(part, parts, HASHES)
            tables = (table for path in self.inputs for table in read_range(path, "hash", bounds.first, bounds.last, ("word", "count")))
            yield summed(Words.from_table(table) for table in tables)

    def _most_frequent(self, parts: list[Words], beyond: _Tally) -> Words:
        """At most `max_words`, by falling count, then by hash."""
        from tokenizer.pretoken import word_hashes

        words = _joined(parts)
        order = np.lexsort((word_hashes(words), -words.counts))
        beyond.add(words.counts[order[self.max_words :]])
        return _taken(words, order[: self.max_words])


@dataclass
class _Tally:
    """Distinct words and how often they occur together."""

    words: int = 0
    occurrences: int = 0

    def add(self, counts: np.ndarray) -> None:
        self.words += len(counts)
        self.occurrences += int(counts.sum())


@dataclass(frozen=True)
class MorphemeTask:
    """Writes `<name>-<list>.parquet` as CutTask does: rows `first` to `last` - 1 of a file of words, cut into morphemes.

    kiwi: what `kiwi_version()` says where the run was planned. Raises UserError where it isn't installed, RunFailed where it is another.
    """

    name: str
    list_name: str
    first: int
    last: int
    min_count: int
    kiwi: str
    inputs: tuple[str, ...] = field(metadata={"fingerprint": False})
    version: str = "1"

    def __call__(self, folder: Path) -> dict[str, Any]:
        if kiwi_version() != self.kiwi:
            raise RunFailed(
                f"this worker has {kiwi_version()}, and the run was planned with {self.kiwi}; install the same on every machine"
            )
        words = cut_morphemes(Words.from_table(_rows(self.inputs[0], self.first, self.last)), self.min_count)
        _write_hashed(folder / f"{self.name}-{self.list_name}.parquet", words)
        return {"rows": {self.list_name: len(words)}}


@dataclass(frozen=True)
class BpeTask:
    """Writes `<list>.parquet`: left, right and count of the list's merges, in order."""

    list_name: str
    merges: int
    max_token_bytes: int
    with_seeds: bool
    inputs: tuple[str, ...] = field(metadata={"fingerprint": False})
    version: str = "1"

    @property
    def name(self) -> str:
        return self.list_name

    def __call__(self, folder: Path) -> dict[str, Any]:
        from tokenizer import bpe

        tables = list(_row_groups(self.inputs[0])) if self.inputs else []
        words = Words.from_table(pa.concat_tables(tables)) if tables else Words.of([])
        seeds = syllable_merges() if self.with_seeds and len(words) else []
        merges = bpe.train(words, self.merges, max_token_bytes=self.max_token_bytes, seeds=seeds)
        table = pa.table({"left": merges.left, "right": merges.right, "count": merges.counts})
        write_table(folder / f"{self.list_name}.parquet", table)
        return {"merges": len(table), "seeds": len(seeds)}


@dataclass(frozen=True)
class ListPlan:
    """A list as ComposeTask reads it: where its merges are, how many were asked for, and how many of them are seeds."""

    name: str
    asked: int
    seeds: int
    path: str = field(metadata={"fingerprint": False})

    def read(self) -> MergeList:
        from tokenizer import bpe
        from tokenizer.compose import MergeList

        table = pq.read_table(self.path, use_threads=False)
        left, right, counts = (table.column(name).to_numpy() for name in ("left", "right", "count"))
        tokens = bpe.Merges(left, right, counts).tokens()
        return MergeList(self.name, left, right, counts, tokens, self.seeds, exhausted=len(left) < self.asked)


@dataclass(frozen=True)
class ComposeTask:
    """Writes the tokenizer's folder: tokenizer.json, its configuration, chat template, vocabulary.parquet, audit.json and README.md.

    split: (language, share as a fraction) in order; facts: what the card says of where the words come from.
    """

    lists: tuple[ListPlan, ...]
    split: tuple[tuple[str, str], ...]
    plain: bool
    vocab_size: int
    special_tokens: int
    shared_merges: int | None
    chat_template: str
    facts: dict[str, Any]
    inputs: tuple[str, ...] = field(metadata={"fingerprint": False})
    version: str = "1"

    @property
    def name(self) -> str:
        return "tokenizer"

    def __call__(self, folder: Path) -> dict[str, Any]:
        from tokenizer.compose import compose, plain
        from tokenizer.export import write_tokenizer

        specials = special_tokens(self.special_tokens)
        split = {language: Fraction(share) for language, share in self.split}
        lists = [each.read() for each in self.lists]
        if self.plain:
            composition = plain(lists[0], self.vocab_size, specials)
        else:
            composition = compose(lists, split, self.vocab_size, specials, self.shared_merges)
        write_tokenizer(folder, composition.vocabulary, list(split), self.chat_template)
        content = (folder / TOKENIZER).read_bytes()
        found = audit_json(json.loads(content), split)
        if not self.plain and found.problems:
            raise RuntimeError(f"the audit of the written vocabulary fails: {found.problems[0]} ({found.counts})")
        (folder / AUDIT).write_text(json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        sha256 = hashlib.sha256(content).hexdigest()
        write_card(folder, found, self.facts, self.chat_template == CHAT_TEMPLATE.read_text(encoding="utf-8"))
        return {"sha256": sha256, "lists": composition.lists, "audit": {k: v for k, v in found.as_json().items() if k != "examples"}}


def _row_groups(path: str) -> Iterator[pa.Table]:
    """The words of a file, a table at a time."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=["word", "count"], use_threads=False)


def _rows(path: str, first: int, last: int) -> pa.Table:
    """The words in rows `first` to `last` - 1 of a file; only the row groups that have some of them are read."""
    tables, begin = [], 0
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            if begin < last and end > first:
                table = file.read_row_group(group, columns=["word", "count"], use_threads=False)
                tables.append(table.slice(max(0, first - begin), min(end, last) - max(begin, first)))
            begin = end
    return pa.concat_tables(tables)


def _write_hashed(path: Path, words: Words) -> None:
    """Write words that are in the order of their hashes, as `summed` gives them."""
    from tokenizer.pretoken import word_hashes

    write_sorted(path, words.to_table().add_column(0, "hash", pa.array(word_hashes(words))), "hash")


def _taken(words: Words, rows: np.ndarray) -> Words:
    """The words at these places, in this order."""
    return Words.from_table(words.to_table().take(pa.array(rows, pa.int64())))


def _joined(parts: list[Words]) -> Words:
    """The words of several tables, one behind the other."""
    return Words.from_table(pa.concat_tables([part.to_table() for part in parts])) if parts else Words.of([])
