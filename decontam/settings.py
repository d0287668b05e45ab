"""What counts as a match: the lengths, in normalised characters, and the seed geometry that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, gcd

from decontam.errors import DecontamError

MAX_DOCUMENT_STRIDE = 8
MAX_POOL_STRIDE = 5
SMALLEST_SEED = 8
SEED_SHARE = 0.4
"""A seed spans at least this share of the match length: shorter seeds would hit everyday phrases and cost more than they save."""


@dataclass(frozen=True)
class Strides:
    """Seed geometry: every `pool`-th pool window of `width` code points is indexed, every `document`-th document window probed."""

    document: int
    pool: int
    width: int


@dataclass(frozen=True)
class MatchSettings:
    """Lengths are normalised characters (see `decontam.normalize`).

    length: shortest substring that is a match. hangul_length: the same for a substring of which at least half is Hangul; 24 Korean
    characters carry about what 50 English ones do (Korean/English length ratio 0.45 on the parallel KoMT-Bench and MT-Bench prompts).
    short_length: shortest whole item that is looked for when the item itself is shorter than a match.
    max_seed_items: a seed that more items than this share is not indexed (see `decontam.seeds`).

    Raises DecontamError for lengths that contradict each other.
    """

    length: int = 50
    hangul_length: int = 24
    short_length: int = 8
    max_seed_items: int = 200

    def __post_init__(self) -> None:
        if self.length > 10_000:
            raise DecontamError(f"length is {self.length}; use at most 10000 characters.")
        if not SMALLEST_SEED <= self.hangul_length <= self.length:
            raise DecontamError(
                f"hangul_length is {self.hangul_length} and length is {self.length}; use {SMALLEST_SEED} <= hangul_length <= length."
            )
        most = min(self.hangul_length, 64)
        if not 2 <= self.short_length <= most:
            raise DecontamError(f"short_length is {self.short_length}; use a value from 2 to {most} (hangul_length, at most 64).")
        if self.max_seed_items < 1:
            raise DecontamError(f"max_seed_items is {self.max_seed_items}; use 1 or more.")

    @classmethod
    def parity(cls) -> MatchSettings:
        """50 characters for every script, as GPT-4 and EXAONE 3.5 report, for numbers that are to be compared with theirs."""
        return cls(length=50, hangul_length=50)


def choose_strides(length: int) -> Strides:
    """Coprime strides whose seeds miss no common substring of `length` characters, with the fewest probes times indexed seeds.

    Any `width + document * pool - 1` consecutive characters hold, for coprime strides, a window of `width` that starts at a multiple
    of `document` on one side and of `pool` on the other (Chinese remainder theorem; copMEM, arXiv 1805.08816). The width is cut to a
    multiple of the document stride, so that a document window is a row of whole blocks.
    """
    best = Strides(1, 1, length)
    for document in range(1, MAX_DOCUMENT_STRIDE + 1):
        for pool in range(1, MAX_POOL_STRIDE + 1):
            width = (length - document * pool + 1) // document * document
            if gcd(document, pool) != 1 or width < max(SMALLEST_SEED, ceil(SEED_SHARE * length)):
                continue
            if (document * pool, document) > (best.document * best.pool, best.document):
                best = Strides(document, pool, width)
    return best
