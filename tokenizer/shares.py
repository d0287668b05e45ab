"""The split: which languages share the vocabulary, how, and how many merges that makes for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from pipeline.errors import UserError
from tokenizer.unicode_classes import check_languages
from tokenizer.vocabulary import BYTES

SHARED_KIND, MIXED_KIND = "shared", "mixed"
"""The kinds that are no language: tokens without a letter of any language of the split, and tokens with letters of two scripts."""

SHARED_SHARE = Fraction(1888, 101888)
"""Share of the merges that is no language's, unless the configuration says otherwise: with 256 special tokens it leaves 2 x 50,000 of a
vocabulary of 102,400. Punctuation, blanks, other scripts and cut characters need about that much (1.85 %)."""

SPARE_MERGES = 2000
"""Merges trained beyond what a list should have to give: a few of its tokens are other lists' strings, or of another kind."""

_CLOSE = Fraction(1, 10**6)
"""How far a sum of shares may be from 1: decimals of a third don't add up."""


def parse_split(text: str) -> dict[str, float]:
    """`"ko=0.5,en=0.5"` as a dictionary. Raises UserError for another form; `exact_shares` checks what it says."""
    split: dict[str, float] = {}
    for entry in text.split(","):
        language, _, share = (part.strip() for part in entry.partition("="))
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not language or value < 0:
            raise UserError(f"--split '{text}' can't be read at '{entry}'; write it like ko=0.5,en=0.5")
        if language in split:
            raise UserError(f"--split '{text}' names '{language}' twice; give each language one share")
        split[language] = value
    return split


def exact_shares(split: Mapping[str, float]) -> dict[str, Fraction]:
    """The shares as exact numbers that add up to 1, in the given order.

    Raises UserError for no language, a share that isn't above 0, shares that don't add up to 1, and languages that can't be told apart.
    """
    if not split:
        raise UserError("split names no language; write it like ko=0.5,en=0.5")
    check_languages(list(split))
    for language, share in split.items():
        if not 0 < share <= 1:
            raise UserError(f"split gives '{language}' a share of {share:g}; shares are above 0 and at most 1")
    shares = {language: Fraction(repr(share)) for language, share in split.items()}
    whole = sum(shares.values(), Fraction(0))
    if abs(whole - 1) > _CLOSE:
        raise UserError(f"the shares of split add up to {float(whole):g} and not to 1; change them so that they do")
    return {language: share / whole for language, share in shares.items()}


def is_exact(counts: Sequence[int], shares: Sequence[Fraction]) -> bool:
    """Whether some number of tokens, parted by the shares and rounded down, gives these counts. With equal shares: all are equal."""
    together = max(-((-count * share.denominator) // share.numerator) for count, share in zip(counts, shares, strict=True))
    return all(int(share * together) == count for count, share in zip(counts, shares, strict=True))


def budget_of(vocab_size: int, specials: int) -> int:
    """Merges that a vocabulary has room for. Raises UserError where there is none."""
    budget = vocab_size - specials - BYTES
    if budget < 1:
        raise UserError(
            f"a vocabulary of {vocab_size:,} has no room for merges beside {specials} special tokens and {BYTES} bytes; "
            f"use a --vocab-size above {specials + BYTES}"
        )
    return budget


def shared_default(budget: int) -> int:
    """Merges of the shared part when the configuration names no number."""
    return int(budget * SHARED_SHARE)


def merges_to_train(name: str, budget: int, split: Mapping[str, Fraction], shared_merges: int | None) -> int:
    """How many merges a list has to be asked for, so that only its words can be the reason when it gives too few tokens."""
    shared = shared_default(budget) if shared_merges is None else shared_merges
    share = split.get(name, Fraction(0))
    return min(budget + SPARE_MERGES, int(budget * share) + shared + SPARE_MERGES)
