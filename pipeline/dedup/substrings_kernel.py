"""The compiled passes over texts that look for repeated substrings: which windows go together, and the hash of each window.

Every pass is linear in the bytes of its documents, whatever they hold. Importing this module loads (the first time: compiles) the kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import functools

import numba
import numpy as np
from numba import types

from pipeline.kernels import mix

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_NUMBERS = types.Array(types.int64, 1, "C", readonly=True)
_HASHES = types.Array(types.uint64, 1, "C", readonly=True)

_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so multiplication loses nothing modulo 2^64
_LARGEST = np.uint64(0xFFFFFFFFFFFFFFFF)

PRIME = (1 << 61) - 1
"""Mersenne prime of the window hashes. Polynomials modulo 2^64 won't do: Thue-Morse words collide there for every base."""

BASES = (0x0B7E151628AED2A6 % PRIME, 0x1F86C6A11D0C18E9 % PRIME)
"""Two bases (digits of e and pi): two hashes of 61 bits of each window."""

_PRIME = np.uint64(PRIME)
_BITS_61, _BITS_31, _BITS_30, _ONE = np.uint64(61), np.uint64(31), np.uint64(30), np.uint64(1)
_LOW_31, _LOW_30 = np.uint64((1 << 31) - 1), np.uint64((1 << 30) - 1)
_BASE_A, _BASE_B = np.uint64(BASES[0]), np.uint64(BASES[1])


@functools.lru_cache(maxsize=8)
def gram_tables(gram: int) -> tuple[np.ndarray, np.ndarray]:
    """(uint64[256] value of each byte, uint64[256] what it counts for when it leaves a gram of so many bytes)."""
    values = np.random.Generator(np.random.PCG64(61)).integers(0, 1 << 64, 256, np.uint64, endpoint=False)
    power = np.uint64(pow(int(_BASE), gram, 1 << 64))
    return values, values * power


@functools.lru_cache(maxsize=8)
def window_tables(size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each base uint64[256]: what must be added when a byte leaves a window of `size` bytes."""
    powers = [pow(base, size, PRIME) for base in BASES]
    leaving = [np.array([-byte * power % PRIME for byte in range(256)], np.uint64) for power in powers]
    return leaving[0], leaving[1]


@numba.njit(types.uint64(types.uint64, types.uint64), cache=True, nogil=True, inline="always")
def _times(left: np.uint64, right: np.uint64) -> np.uint64:
    """left * right modulo PRIME, of numbers below it, with products of 64 bits only."""
    left_high, left_low = left >> _BITS_31, left & _LOW_31
    right_high, right_low = right >> _BITS_31, right & _LOW_31
    middle = left_low * right_high + left_high * right_low
    total = (left_high * right_high << _ONE) + (middle >> _BITS_30) + ((middle & _LOW_30) << _BITS_31) + left_low * right_low
    total = (total >> _BITS_61) + (total & _PRIME)
    return total - _PRIME if total >= _PRIME else total


@numba.njit(types.uint64(types.uint64, types.uint64), cache=True, nogil=True, inline="always")
def _plus(left: np.uint64, right: np.uint64) -> np.uint64:
    total = left + right
    return total - _PRIME if total >= _PRIME else total


@numba.njit(types.uint64(types.uint64, types.uint64, types.int64), cache=True, nogil=True, inline="always")
def _joint(first: np.uint64, last: np.uint64, windows: int) -> np.uint64:
    """One hash of a block: of its first window, its last one, and how many there are."""
    return mix(mix(mix(first) + np.uint64(windows)) + last)


@numba.njit(
    types.UniTuple(types.int64, 3)(
        _BYTES, _NUMBERS, types.int64, types.int64, types.int64, types.int64, *(_HASHES,) * 4,
        types.int64[::1], types.uint32[::1], types.uint32[::1], types.uint64[::1], types.uint64[::1], types.uint64[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def select_blocks(
    data: np.ndarray,
    offsets: np.ndarray,
    first_document: int,
    first_window: int,
    size: int,
    gram: int,
    values: np.ndarray,
    leaving: np.ndarray,
    leaving_a: np.ndarray,
    leaving_b: np.ndarray,
    documents: np.ndarray,
    starts: np.ndarray,
    windows: np.ndarray,
    anchors: np.ndarray,
    hashes_a: np.ndarray,
    hashes_b: np.ndarray,
) -> tuple[int, int, int]:
    """Cut each document's windows of `size` bytes into blocks: runs of windows that have the same anchor.

    The anchor of a window is the place of its least gram hash, the last of equal ones (winnowing: Schleimer, Wilkerson, Aiken, SIGMOD
    2003, section 3). It depends on the window's bytes alone, so equal windows have equal anchors at equal distances. Sliding minima are
    taken blockwise (van Herk 1992; Gil, Werman 1993): no text can make them slow.

    For each block: document (row), start of its first window, number of windows, hash of the anchor's gram, two hashes of all its bytes. A
    block has at most size - gram + 1 windows, so its first and its last one hold all its bytes, and their hashes stand for it.
    Begins at a window of a document; returns (blocks written, document and window to go on from); the document is len(offsets) - 1
    when all is done.
    """
    width = size - gram + 1
    capacity = len(documents)
    written = 0
    least, least_at = np.empty(width, np.uint64), np.empty(width, np.int64)  # of the grams from here to the end of their run
    coming = np.empty(width, np.uint64)
    for document in range(first_document, len(offsets) - 1):
        begin = offsets[document]
        count = offsets[document + 1] - begin - size + 1
        window = first_window if document == first_document else 0
        if window >= count:
            continue
        rolling = np.uint64(0)
        for position in range(begin + window, begin + window + gram):
            rolling = rolling * _BASE + values[data[position]]
        entering = begin + window + gram  # the next byte to enter the rolling gram
        coming[0] = mix(rolling)
        for place in range(1, width):
            rolling = rolling * _BASE + values[data[entering]] - leaving[data[entering - gram]]
            entering += 1
            coming[place] = mix(rolling)
        first, second = np.uint64(0), np.uint64(0)  # hashes of the window
        for position in range(begin + window, begin + window + size):
            byte = np.uint64(data[position])
            first, second = _plus(_times(first, _BASE_A), byte), _plus(_times(second, _BASE_B), byte)
        block_start, block_anchor, block_hash, begun_a, begun_b = window, np.int64(-1), np.uint64(0), first, second
        last_a, last_b = first, second
        while window < count:
            best, best_at = _LARGEST, np.int64(-1)
            for place in range(width - 1, -1, -1):
                if best_at < 0 or coming[place] < best:
                    best, best_at = coming[place], window + place
                least[place], least_at[place] = best, best_at
            best, best_at = _LARGEST, np.int64(-1)  # of the grams that came since
            for place in range(min(width, count - window)):
                anchor, anchor_hash = least_at[place], least[place]
                if best_at >= 0 and best <= anchor_hash:
                    anchor, anchor_hash = best_at, best
                here = window + place
                if anchor != block_anchor:
                    if block_anchor >= 0:
                        if written == capacity:
                            return written, document, block_start
                        documents[written], starts[written], windows[written] = document, block_start, here - block_start
                        anchors[written] = block_hash
                        hashes_a[written] = _joint(begun_a, last_a, here - block_start)
                        hashes_b[written] = _joint(begun_b, last_b, here - block_start)
                        written += 1
                    block_start, block_anchor, block_hash, begun_a, begun_b = here, anchor, anchor_hash, first, second
                last_a, last_b = first, second
                if here + 1 < count:
                    byte, left = np.uint64(data[entering]), data[entering - size]
                    first = _plus(_plus(_times(first, _BASE_A), byte), leaving_a[left])
                    second = _plus(_plus(_times(second, _BASE_B), byte), leaving_b[left])
                    rolling = rolling * _BASE + values[data[entering]] - leaving[data[entering - gram]]
                    entering += 1
                    coming[place] = mix(rolling)
                    if best_at < 0 or coming[place] <= best:
                        best, best_at = coming[place], here + width
            window += width
        if written == capacity:
            return written, document, block_start
        documents[written], starts[written], windows[written] = document, block_start, count - block_start
        anchors[written] = block_hash
        hashes_a[written] = _joint(begun_a, last_a, count - block_start)
        hashes_b[written] = _joint(begun_b, last_b, count - block_start)
        written += 1
    return written, len(offsets) - 1, 0


@numba.njit(
    types.void(_BYTES, _NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS, types.int64, _HASHES, _HASHES, types.uint64[::1], types.uint64[::1]),
    cache=True,
    nogil=True,
)
def hash_windows(
    data: np.ndarray,
    offsets: np.ndarray,
    documents: np.ndarray,
    starts: np.ndarray,
    counts: np.ndarray,
    size: int,
    leaving_a: np.ndarray,
    leaving_b: np.ndarray,
    hashes_a: np.ndarray,
    hashes_b: np.ndarray,
) -> None:
    """Two hashes of each window of `size` bytes: `counts[i]` windows of `documents[i]` from `starts[i]` on, in the order of the text.

    Polynomials modulo 2^61 - 1 (Karp, Rabin 1987), rolled from one window to the next where they overlap.
    """
    written = 0
    end = np.int64(-1)  # of the bytes that the two hashes stand for
    first, second = np.uint64(0), np.uint64(0)
    for block in range(len(documents)):
        begin = offsets[documents[block]] + starts[block]
        for window in range(begin, begin + counts[block]):
            if window >= end:
                first, second = np.uint64(0), np.uint64(0)
                for position in range(window, window + size):
                    byte = np.uint64(data[position])
                    first, second = _plus(_times(first, _BASE_A), byte), _plus(_times(second, _BASE_B), byte)
                end = window + size
            while end < window + size:
                byte, left = np.uint64(data[end]), data[end - size]
                first = _plus(_plus(_times(first, _BASE_A), byte), leaving_a[left])
                second = _plus(_plus(_times(second, _BASE_B), byte), leaving_b[left])
                end += 1
            hashes_a[written], hashes_b[written] = mix(first), mix(second)
            written += 1
