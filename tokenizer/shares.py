"""The split: which languages share the vocabulary, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from pipeline.errors import UserError
from tokenizer.unicode_classes import check_languages

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
