"""What counts as a match: the lengths, in normalised characters, and the seed geometry that follows from them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from math import ceil, gcd

from decontam.errors import DecontamError

MAX_LENGTH = 10_000
MAX_SEED = 64
"""Widest seed. Longer matches take wider strides instead."""

SMALLEST_SEED = 8
SMALLEST_WHOLE_SEED = 14
SMALLEST_HANGUL_WHOLE_SEED = 6
"""Seeds of whole short texts: in English pages 8 letters are hit at one place of 26, 12 at one of 300."""

SEED_SHARE = 0.4
"""A seed spans at least this share of the match length. Shorter seeds allow wider strides, but stand in everyday phrases, each of which
costs a comparison: measured on books, 20 characters of 50 are hit by 50 places per megabyte, 16 by 300."""


@dataclass(frozen=True)
class Strides:
    """Seed geometry: every `pool`-th pool window of `width` characters is indexed, every `document`-th document window probed."""

    document: int
    pool: int
    width: int


@dataclass(frozen=True)
class Family:
    """One of the kinds of match that are searched with seeds of their own.

    hangul: matches with any Hangul character, else those without: a window without Hangul is indexed and probed in the one, a window with
    Hangul in reach in the other, so that no place is probed for both. whole: texts shorter than a match, found whole or not at all.
    length: every match of the family has at least so many characters.
    """

    name: str
    hangul: bool
    whole: bool
    length: int
    strides: Strides

    @property
    def reach(self) -> int:
        """How far from a seed Hangul may stand: in any `length` characters with Hangul, each seed window is at most this far from it."""
        return self.length - self.strides.width


@dataclass(frozen=True)
class MatchSettings:
    """Lengths are normalised characters (see `decontam.normalize`).

    length: shortest substring that is a match. hangul_length: the same for a substring of which at least half is Hangul; 24 Korean
    characters carry about what 50 English ones do (Korean/English length ratio 0.45 on the parallel KoMT-Bench and MT-Bench prompts).
    short_length, hangul_short_length: shortest text that is looked for whole when it is shorter than a match.
    max_seed_items: a seed that more items of a benchmark than this share is not indexed (see `decontam.seeds`).
    pool_stride: every how many-th window of the benchmarks is indexed; 2 or 3 save memory and cost speed, the result is the same.

    Raises DecontamError for lengths that contradict each other.
    """

    length: int = 50
    hangul_length: int = 24
    short_length: int = 24
    hangul_short_length: int = 12
    max_seed_items: int = 200
    pool_stride: int = 1

    def __post_init__(self) -> None:
        if self.length > MAX_LENGTH:
            raise DecontamError(f"length is {self.length}; use at most {MAX_LENGTH} characters.")
        if not SMALLEST_SEED <= self.hangul_length <= self.length:
            raise DecontamError(
                f"hangul_length is {self.hangul_length} and length is {self.length}; use {SMALLEST_SEED} <= hangul_length <= length."
            )
        for name, least, most in (
            ("hangul_short_length", 2, self.hangul_length),
            ("short_length", 4, self.length),
        ):
            if not least <= getattr(self, name) <= most:
                raise DecontamError(f"{name} is {getattr(self, name)}; use a value from {least} to {most}.")
        if self.max_seed_items < 1:
            raise DecontamError(f"max_seed_items is {self.max_seed_items}; use 1 or more.")
        if not 1 <= self.pool_stride <= 8:
            raise DecontamError(f"pool_stride is {self.pool_stride}; use a value from 1 to 8.")

    @classmethod
    def parity(cls) -> MatchSettings:
        """50 characters for every script, as GPT-4 and EXAONE 3.5 report, for numbers that are to be compared with theirs."""
        return cls(length=50, hangul_length=50)

    @functools.cached_property
    def families(self) -> tuple[Family, ...]:
        """The four kinds of match, in the order in which everything lists them."""
        hangul_short = min(self.hangul_short_length, self.short_length)  # of a text with some Hangul, but less than half
        return (
            Family("long", False, False, self.length, choose_strides(self.length, SMALLEST_SEED, self.pool_stride)),
            Family("hangul", True, False, self.hangul_length, choose_strides(self.hangul_length, SMALLEST_SEED, self.pool_stride)),
            Family("short", False, True, self.short_length, choose_strides(self.short_length, SMALLEST_WHOLE_SEED, 1)),
            Family("hangul_short", True, True, hangul_short, choose_strides(hangul_short, SMALLEST_HANGUL_WHOLE_SEED, 1)),
        )


def choose_strides(length: int, smallest: int, pool: int) -> Strides:
    """Coprime strides whose seeds miss no common substring of `length` characters, with the widest document stride.

    Any `width + document * pool - 1` consecutive characters hold, for coprime strides, a window of `width` that starts at a multiple
    of `document` on one side and of `pool` on the other (Chinese remainder theorem; copMEM, arXiv 1805.08816). Where `length` is too
    short for the pool stride that was asked for, the next smaller one that fits is taken.
    """
    narrowest = max(smallest, min(ceil(SEED_SHARE * length), MAX_SEED))
    while pool > 1 and length - pool + 1 < narrowest:
        pool -= 1
    document = max((length - narrowest + 1) // pool, 1)
    while gcd(document, pool) != 1:
        document -= 1
    return Strides(document, pool, min(length - document * pool + 1, MAX_SEED))
