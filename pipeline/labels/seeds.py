"""Seed words laid out for the search, and which of them documents hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from decontam.arrow import text_buffers
from pipeline.refine.phrases import PhraseTable, phrase_table


@dataclass(frozen=True)
class SeedTable:
    """Distinct seeds, sorted. table: their spellings as phrases; seed_of_phrase: int32, the seed that each phrase spells."""

    seeds: tuple[str, ...]
    table: PhraseTable
    seed_of_phrase: np.ndarray


def seed_table(seeds: Iterable[str]) -> SeedTable:
    """Lay out seeds as `config.checked_seeds` returns them; an English one is found in its regular plural, too."""
    distinct = tuple(sorted(set(seeds)))
    spelled = {seed: index for index, seed in enumerate(distinct)}
    for index, seed in enumerate(distinct):
        spelled.setdefault(_plural(seed), index)
    table = phrase_table({0: tuple(spelled)})
    starts = table.phrase_starts
    written = [table.phrase_bytes[starts[phrase] : starts[phrase + 1]].tobytes().decode() for phrase in range(len(starts) - 1)]
    return SeedTable(distinct, table, np.array([spelled[spelling] for spelling in written], np.int32))


def _plural(seed: str) -> str:
    """The regular English plural of a seed that ends in an ASCII letter; other seeds as they are."""
    if not (seed[-1].isascii() and seed[-1].isalpha()):
        return seed
    if seed.endswith(("s", "x", "z", "ch", "sh")):
        return f"{seed}es"
    if seed.endswith("y") and seed[-2:-1] not in "aeiou":
        return f"{seed[:-1]}ies"
    return f"{seed}s"


def seeds_in(texts: pa.ChunkedArray, table: SeedTable, max_chars: int) -> tuple[np.ndarray, np.ndarray]:
    """(documents, seeds), int32 both: a pair for every seed within the first `max_chars` characters of a text, each once per text.

    Documents count from 0 in the order of `texts` (large_string, null is empty). Pairs are sorted by document.
    """
    from pipeline.labels.seeds_kernel import find_seeds  # compiles on first import

    data, offsets = text_buffers(pc.utf8_slice_codeunits(texts, 0, max_chars))
    begins, ends = np.ascontiguousarray(offsets[:-1]), np.ascontiguousarray(offsets[1:])
    room = int(np.minimum(-(-(ends - begins) // 3), len(table.seeds)).sum())
    documents, seeds = np.empty(room, np.int32), np.empty(room, np.int32)
    last = np.full(len(table.seeds), -1, np.int64)
    found = find_seeds(data, begins, ends, *table.table.arrays, table.seed_of_phrase, last, documents, seeds)
    return documents[:found], seeds[:found]
