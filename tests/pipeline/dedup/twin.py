"""Slow, obvious twins of the deduplication kernels, and texts with a known amount of corruption."""

from __future__ import annotations

import random
from bisect import bisect_left
from itertools import accumulate

from decontam.normalize import normalize_text

LATIN = "abcdefghijklmnopqrstuvwxyz"
HANGUL = "".join(chr(code) for code in range(0xAC00, 0xAC00 + 2000))


def words_of(text: str, written: bool = False) -> list[str]:
    """Its white-space separated words, without what doesn't count; a word of which nothing is left is none."""
    return [word for word in (part if written else normalize_text(part) for part in text.split()) if word]


def shingles(text: str, size: int, unit: str = "bytes", written: bool = False) -> list:
    """From every character the shortest run of at least `size` UTF-8 bytes, or from every word so many words; a shorter text as a whole."""
    words = words_of(text, written)
    if unit == "words":
        return [tuple(words[start : start + size]) for start in range(len(words) - size + 1)] or ([tuple(words)] if words else [])
    plain = "".join(words)
    ends = list(accumulate((len(character.encode()) for character in plain), initial=0))
    found = []
    for start in range(len(plain)):
        end = bisect_left(ends, ends[start] + size)
        if end <= len(plain):
            found.append(plain[start:end])
    return found or ([plain] if plain else [])


def jaccard(left: str, right: str, size: int = 27, unit: str = "bytes", written: bool = False) -> float:
    """Exact Jaccard similarity of the shingle sets; 0 where both are empty."""
    one, other = set(shingles(left, size, unit, written)), set(shingles(right, size, unit, written))
    return len(one & other) / len(one | other) if one | other else 0.0


def mix(value: int) -> int:
    """MurmurHash3's finaliser of 64 bits."""
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value = (value ^ value >> 33) * multiplier % 2**64
    return value ^ value >> 33


def probes(slot: int, slots: int, seed: int) -> list[int]:
    """The order in which an empty slot looks at the bins for a value."""
    return sorted(range(slots), key=lambda place: (mix(slot * 0xD6E8FEB86659FD93 % 2**64 ^ (place + 1 + seed)), place))


def sketch(hashes: list[int], slots: int, seed: int) -> tuple[list[int], int]:
    """One-permutation sketch of shingle hashes: (its slots, how many have a value of their own); of no hashes: zeros."""
    bins: dict[int, int] = {}
    for value in hashes:
        place = value % 2**32 * slots >> 32
        bins[place] = min(bins.get(place, value), value)
    signature = [0] * slots
    for slot in range(slots if bins else 0):
        source = slot if slot in bins else next(place for place in probes(slot, slots, seed) if place in bins)
        signature[slot] = bins[source] >> 32
    return signature, len(bins)


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
