"""Slow, obvious twins of the deduplication kernels, and texts with a known amount of corruption."""

from __future__ import annotations

import random
from bisect import bisect_left
from itertools import accumulate

from decontam.normalize import normalize_text

LATIN = "abcdefghijklmnopqrstuvwxyz"
HANGUL = "".join(chr(code) for code in range(0xAC00, 0xAC00 + 2000))


def shingles(text: str, shingle_bytes: int) -> list[str]:
    """From every character the shortest run of at least `shingle_bytes` UTF-8 bytes; a shorter text as a whole."""
    plain = normalize_text(text)
    ends = list(accumulate((len(character.encode()) for character in plain), initial=0))
    found = []
    for start in range(len(plain)):
        end = bisect_left(ends, ends[start] + shingle_bytes)
        if end <= len(plain):
            found.append(plain[start:end])
    return found or ([plain] if plain else [])


def jaccard(left: str, right: str, shingle_bytes: int = 27) -> float:
    """Exact Jaccard similarity of the shingle sets; 0 where both are empty."""
    one, other = set(shingles(left, shingle_bytes)), set(shingles(right, shingle_bytes))
    return len(one & other) / len(one | other) if one | other else 0.0


def words(generator: random.Random, count: int, korean: bool) -> list[str]:
    """Random words of 2 to 8 letters, or 1 to 4 syllables."""
    alphabet, low, high = (HANGUL, 1, 4) if korean else (LATIN, 2, 8)
    return ["".join(generator.choices(alphabet, k=generator.randint(low, high))) for _ in range(count)]


def corrupted(generator: random.Random, original: list[str], changes: int, korean: bool) -> list[str]:
    """The words with so many of them replaced."""
    copy = list(original)
    for place in generator.sample(range(len(copy)), changes):
        copy[place] = words(generator, 1, korean)[0]
    return copy


def families(seed: int, count: int, length: int, changes: tuple[int, ...], korean: bool) -> list[list[str]]:
    """`count` random texts of `length` words, each followed by one corrupted copy per entry of `changes`."""
    generator = random.Random(seed)
    result = []
    for _ in range(count):
        original = words(generator, length, korean)
        copies = [corrupted(generator, original, number, korean) for number in changes]
        result.append([" ".join(one) for one in (original, *copies)])
    return result
