"""MinHash signatures as datasketch 2 makes them, bit for bit, so that signatures made here and there can be compared.

A shingle's hash is the first 4 bytes of the SHA-1 of its UTF-8 bytes, read as a little endian number. Slot i of a signature is the least
value that the i-th of `permutations` random permutations gives any shingle of the document (Broder, "On the resemblance and containment of
documents", 1997). How a permutation is computed is the scheme, in datasketch's names:

- affine32, its default since version 2.0: h is mixed by MurmurHash3's finaliser, then a * h + b modulo 2^32 with an odd a.
- legacy, of versions before: ((a * h + b) modulo 2^64) modulo 2^61 - 1, of which the low 32 bits are kept.

Its third scheme, affine64, has values of 64 bits; a sketch here has 32, so it is refused.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from decontam.normalize import Normalized
from decontam.numba_types import read_only, writable
from pipeline.dedup.sha1_kernel import BLOCK, LANES, sha1_first_words
from pipeline.dedup.shingles import BYTES, CODEPOINTS, OFFSETS, Shingling, word_breaks
from pipeline.dedup.sketch import Sketches
from pipeline.errors import UserError

SCHEMES = ("affine32", "legacy")

_MERSENNE = (1 << 61) - 1
_PRIME, _PRIME_BITS = np.uint64(_MERSENNE), np.uint64(61)
_MIX_1, _MIX_2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_SLACK = 4  # bytes behind a text that the SHA-1 kernel may read


def permutation_parameters(permutations: int, seed: int, scheme: str = "affine32") -> tuple[np.ndarray, np.ndarray]:
    """(a, b), uint64[permutations] each: the random numbers that datasketch draws for this seed (0 to 2^32 - 1) and scheme.

    Raises UserError for another scheme.
    """
    if scheme not in SCHEMES:
        raise UserError(f"the MinHash scheme '{scheme}' can't be made here: use affine32 or legacy, whose values have 32 bits")
    random = np.random.RandomState(seed)
    if scheme == "legacy":
        drawn = [random.randint(low, _MERSENNE, dtype=np.uint64) for _ in range(permutations) for low in (1, 0)]
        return np.array(drawn[0::2], np.uint64), np.array(drawn[1::2], np.uint64)
    a = random.randint(0, 1 << 31, permutations, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a.astype(np.uint64), random.randint(0, 1 << 32, permutations, dtype=np.uint32).astype(np.uint64)


def minhash_batch(texts: Normalized, permutations: int, shingling: Shingling, scheme: str = "affine32") -> Sketches:
    """Signatures equal to `datasketch.MinHash(permutations, seed=shingling.seed, scheme=scheme)` updated with every shingle's UTF-8 bytes.

    texts: as `shingles.prepare` gives them for this shingling; words of a shingle are joined by one space. filled: all slots, 0 for an
    empty text, whose signature is 2^32 - 1 throughout. Memory beside the result: up to 13 bytes per character of the longest text.
    Raises UserError for an unknown scheme.
    """
    count = len(texts.offsets) - 1
    longest = int(np.diff(texts.offsets).max()) if count else 0
    words, breaks = word_breaks(texts, shingling)
    a, b = permutation_parameters(permutations, shingling.seed, scheme)
    signatures, filled = np.empty((count, permutations), np.uint32), np.empty(count, np.uint16)
    data, begins = np.empty(longest * (5 if words else 4) + _SLACK, np.uint8), np.empty(longest + 1, np.int64)
    legacy = scheme == "legacy"
    _minhash(texts.codepoints, breaks, texts.offsets, words, shingling.size, legacy, a, b, data, begins, signatures, filled)
    return Sketches(signatures, filled)


@numba.njit(
    types.int64(CODEPOINTS, BYTES, types.int64, types.int64, types.boolean, writable(types.uint8), writable(types.int64)),
    cache=True,
    nogil=True,
)
def _encode(codepoints: np.ndarray, breaks: np.ndarray, start: int, stop: int, words: bool, data: np.ndarray, begins: np.ndarray) -> int:
    """Write a text as UTF-8 to `data`, with one space between words, and where its units (characters or words) begin to `begins`.

    Returns how many units there are; behind their beginnings stands the end of the text, for words one more as if a space followed.
    """
    place, units = np.uint64(0), 0
    for index in range(np.uint64(start), np.uint64(stop)):
        code = codepoints[index]
        if not words or index == start or breaks[index] != 0:
            if words and units > 0:
                data[place] = 0x20
                place += np.uint64(1)
            begins[units] = place
            units += 1
        if code < 0x80:
            data[place] = code
            place += np.uint64(1)
            continue
        tail = np.uint64(1) if code < 0x800 else np.uint64(2) if code < 0x10000 else np.uint64(3)
        lead = 0xC0 if code < 0x800 else 0xE0 if code < 0x10000 else 0xF0
        data[place] = lead | (code >> (np.uint64(6) * tail))
        place += np.uint64(1)
        while tail > 0:
            tail -= np.uint64(1)
            data[place] = 0x80 | ((code >> (np.uint64(6) * tail)) & np.uint64(0x3F))
            place += np.uint64(1)
    begins[units] = place + np.uint64(1) if words else place
    return units


@numba.njit(types.void(writable(types.uint32)), cache=True, nogil=True)
def _finalise(hashes: np.ndarray) -> None:
    """MurmurHash3's finaliser for 32 bits, on each of the hashes."""
    for lane in range(LANES):
        value = hashes[lane]
        value = np.uint32((value ^ (value >> np.uint32(16))) * _MIX_1)
        value = np.uint32((value ^ (value >> np.uint32(13))) * _MIX_2)
        hashes[lane] = value ^ (value >> np.uint32(16))


@numba.njit(
    types.void(read_only(types.uint32), read_only(types.uint32), read_only(types.uint32), writable(types.uint32)), cache=True, nogil=True
)
def _lower_affine(a: np.ndarray, b: np.ndarray, hashes: np.ndarray, least: np.ndarray) -> None:
    """Take the values that the permutations give LANES hashes into the minima of each slot: four hashes a pass, to spare loads."""
    for lane in range(0, LANES, 4):
        h0, h1, h2, h3 = hashes[lane], hashes[lane + 1], hashes[lane + 2], hashes[lane + 3]
        for slot in range(len(least)):
            factor, shift = a[slot], b[slot]
            low = min(np.uint32(factor * h0 + shift), np.uint32(factor * h1 + shift))
            high = min(np.uint32(factor * h2 + shift), np.uint32(factor * h3 + shift))
            least[slot] = min(least[slot], min(low, high))


@numba.njit(
    types.void(read_only(types.uint64), read_only(types.uint64), read_only(types.uint32), writable(types.uint32)), cache=True, nogil=True
)
def _lower_legacy(a: np.ndarray, b: np.ndarray, hashes: np.ndarray, least: np.ndarray) -> None:
    """As `_lower_affine`. Modulo the prime 2^61 - 1 a number is the sum of its low 61 bits and its high 3, less the prime at most once."""
    for lane in range(LANES):
        value = np.uint64(hashes[lane])
        for slot in range(len(least)):
            product = a[slot] * value + b[slot]
            rest = (product & _PRIME) + (product >> _PRIME_BITS)
            rest = rest - _PRIME if rest >= _PRIME else rest
            least[slot] = min(least[slot], np.uint32(rest))


@numba.njit(cache=True, nogil=True)
def _lower(
    data: Any, first: Any, last: Any, block: Any, hashes: Any, legacy: Any, a: Any, b: Any, narrow_a: Any, narrow_b: Any, least: Any
) -> None:
    """Hash LANES shingles and take them into the minima."""
    sha1_first_words(data, first, last, block, hashes)
    if legacy:
        _lower_legacy(a, b, hashes, least)
    else:
        _finalise(hashes)
        _lower_affine(narrow_a, narrow_b, hashes, least)


@numba.njit(
    types.void(
        CODEPOINTS, BYTES, OFFSETS, types.boolean, types.int64, types.boolean, read_only(types.uint64), read_only(types.uint64),
        writable(types.uint8), writable(types.int64), types.uint32[:, ::1], writable(types.uint16),
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _minhash(
    codepoints: np.ndarray, breaks: np.ndarray, offsets: np.ndarray, words: bool, size: int, legacy: bool, a: np.ndarray, b: np.ndarray,
    data: np.ndarray, begins: np.ndarray, signatures: np.ndarray, filled: np.ndarray,
) -> None:  # fmt: skip
    slots = signatures.shape[1]
    narrow_a, narrow_b = a.astype(np.uint32), b.astype(np.uint32)
    first, last = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    block, hashes = np.empty(BLOCK, np.uint32), np.empty(LANES, np.uint32)
    for document in range(len(offsets) - 1):
        least = signatures[document]
        least[:] = np.uint32(0xFFFFFFFF)
        units = _encode(codepoints, breaks, offsets[document], offsets[document + 1], words, data, begins)
        filled[document] = slots if units > 0 else 0
        unit, stop, lane = 0, 0, 0
        while unit < units:
            if words:
                stop = min(unit + size, units)
            else:
                while stop < units and begins[stop] - begins[unit] < size:
                    stop += 1
            complete = stop - unit >= size if words else begins[stop] - begins[unit] >= size
            if not complete and unit > 0:
                break
            first[lane], last[lane] = begins[unit], begins[stop] - words
            lane += 1
            unit += 1
            if lane == LANES:
                _lower(data, first, last, block, hashes, legacy, a, b, narrow_a, narrow_b, least)
                lane = 0
        if lane > 0:
            # A shingle may count twice: the minimum stays the same.
            first[lane:], last[lane:] = first[lane - 1], last[lane - 1]
            _lower(data, first, last, block, hashes, legacy, a, b, narrow_a, narrow_b, least)
