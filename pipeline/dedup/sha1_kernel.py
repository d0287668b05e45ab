"""SHA-1 of many short byte strings at once: sixteen of them side by side in the lanes of vector registers.

FIPS 180-4, section 6.1. The compression of one 64-byte block is written once, without branches, for a lane of arrays that hold sixteen;
LLVM turns the loop over lanes into vector instructions. (SHA-1 is here to be compatible with others, not to protect anything.)
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable

LANES = 16
STATE = 5 * LANES
"""Places of a block before its 16 words: word t of lane l is `block[STATE + t * LANES + l]`, state word i is `block[i * LANES + l]`."""

BLOCK = STATE + 16 * LANES
BLOCK_BYTES = 64

_START = (np.uint32(0x67452301), np.uint32(0xEFCDAB89), np.uint32(0x98BADCFE), np.uint32(0x10325476), np.uint32(0xC3D2E1F0))
_CHOOSE, _PARITY_1 = np.uint32(0x5A827999), np.uint32(0x6ED9EBA1)
_MAJORITY, _PARITY_2 = np.uint32(0x8F1BBCDC), np.uint32(0xCA62C1D6)


@numba.njit(cache=True, nogil=True, forceinline=True)
def _rotate(value: Any, by: Any) -> Any:
    return np.uint32((value << np.uint32(by)) | (value >> np.uint32(32 - by)))


@numba.njit(cache=True, nogil=True, forceinline=True)
def _round(a: Any, b: Any, e: Any, mixed: Any, word: Any, constant: Any) -> Any:
    """One of the 80 rounds: the new `a` and the rotated `b`; the other three variables only move up by one."""
    return np.uint32(_rotate(a, 5) + mixed + e + word + constant), _rotate(b, 30)


@numba.njit(cache=True, nogil=True, forceinline=True)
def _later(w: Any) -> Any:
    """The 16 words that the next four rounds begin with: the first four go, four that are made of the others come."""
    n0 = _rotate(w[13] ^ w[8] ^ w[2] ^ w[0], 1)
    n1 = _rotate(w[14] ^ w[9] ^ w[3] ^ w[1], 1)
    n2 = _rotate(w[15] ^ w[10] ^ w[4] ^ w[2], 1)
    n3 = _rotate(n0 ^ w[11] ^ w[5] ^ w[3], 1)
    return w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12], w[13], w[14], w[15], n0, n1, n2, n3


@numba.njit(cache=True, nogil=True, forceinline=True)
def _choose(state: Any, w: Any) -> Any:
    """Four rounds that choose between c and d by b (rounds 0 to 19)."""
    a, b, c, d, e = state
    f, b = _round(a, b, e, d ^ (b & (c ^ d)), w[0], _CHOOSE)
    g, a = _round(f, a, d, c ^ (a & (b ^ c)), w[1], _CHOOSE)
    h, f = _round(g, f, c, b ^ (f & (a ^ b)), w[2], _CHOOSE)
    i, g = _round(h, g, b, a ^ (g & (f ^ a)), w[3], _CHOOSE)
    return (i, h, g, f, a), _later(w)


@numba.njit(cache=True, nogil=True, forceinline=True)
def _parity(state: Any, w: Any, constant: Any) -> Any:
    """Four rounds that add b, c and d without carry (rounds 20 to 39 and 60 to 79)."""
    a, b, c, d, e = state
    f, b = _round(a, b, e, b ^ c ^ d, w[0], constant)
    g, a = _round(f, a, d, a ^ b ^ c, w[1], constant)
    h, f = _round(g, f, c, f ^ a ^ b, w[2], constant)
    i, g = _round(h, g, b, g ^ f ^ a, w[3], constant)
    return (i, h, g, f, a), _later(w)


@numba.njit(cache=True, nogil=True, forceinline=True)
def _majority(state: Any, w: Any) -> Any:
    """Four rounds that take the majority of b, c and d (rounds 40 to 59)."""
    a, b, c, d, e = state
    f, b = _round(a, b, e, (b & c) | (d & (b | c)), w[0], _MAJORITY)
    g, a = _round(f, a, d, (a & b) | (c & (a | b)), w[1], _MAJORITY)
    h, f = _round(g, f, c, (f & a) | (b & (f | a)), w[2], _MAJORITY)
    i, g = _round(h, g, b, (g & f) | (a & (g | f)), w[3], _MAJORITY)
    return (i, h, g, f, a), _later(w)


@numba.njit(types.void(writable(types.uint32)), cache=True, nogil=True)
def compress(block: np.ndarray) -> None:
    """Take the words of `block` (uint32[BLOCK]) into its state, for all lanes.

    All in one array whose parts are constant distances apart: so LLVM sees that stores of one lane don't touch another one.
    """
    for lane in range(np.uint64(LANES)):
        first = STATE + lane
        start = (block[lane], block[LANES + lane], block[2 * LANES + lane], block[3 * LANES + lane], block[4 * LANES + lane])
        # fmt: off
        w = (
            block[first + 0 * LANES], block[first + 1 * LANES], block[first + 2 * LANES], block[first + 3 * LANES],
            block[first + 4 * LANES], block[first + 5 * LANES], block[first + 6 * LANES], block[first + 7 * LANES],
            block[first + 8 * LANES], block[first + 9 * LANES], block[first + 10 * LANES], block[first + 11 * LANES],
            block[first + 12 * LANES], block[first + 13 * LANES], block[first + 14 * LANES], block[first + 15 * LANES],
        )
        # fmt: on
        state, w = _choose(start, w)
        state, w = _choose(state, w)
        state, w = _choose(state, w)
        state, w = _choose(state, w)
        state, w = _choose(state, w)
        state, w = _parity(state, w, _PARITY_1)
        state, w = _parity(state, w, _PARITY_1)
        state, w = _parity(state, w, _PARITY_1)
        state, w = _parity(state, w, _PARITY_1)
        state, w = _parity(state, w, _PARITY_1)
        state, w = _majority(state, w)
        state, w = _majority(state, w)
        state, w = _majority(state, w)
        state, w = _majority(state, w)
        state, w = _majority(state, w)
        state, w = _parity(state, w, _PARITY_2)
        state, w = _parity(state, w, _PARITY_2)
        state, w = _parity(state, w, _PARITY_2)
        state, w = _parity(state, w, _PARITY_2)
        state, w = _parity(state, w, _PARITY_2)
        block[lane] = start[0] + state[0]
        block[LANES + lane] = start[1] + state[1]
        block[2 * LANES + lane] = start[2] + state[2]
        block[3 * LANES + lane] = start[3] + state[3]
        block[4 * LANES + lane] = start[4] + state[4]


@numba.njit(cache=True, nogil=True, forceinline=True)
def _word(data: Any, position: Any) -> Any:
    first, second = np.uint32(data[position]) << np.uint32(24), np.uint32(data[position + np.uint64(1)]) << np.uint32(16)
    third, fourth = np.uint32(data[position + np.uint64(2)]) << np.uint32(8), np.uint32(data[position + np.uint64(3)])
    return np.uint32(first | second | third | fourth)


@numba.njit(
    types.void(read_only(types.uint8), read_only(types.int64), read_only(types.int64), writable(types.uint32), writable(types.uint32)),
    cache=True,
    nogil=True,
)
def sha1_first_words(data: np.ndarray, begins: np.ndarray, ends: np.ndarray, block: np.ndarray, hashes: np.ndarray) -> None:
    """Write the first 4 bytes of SHA-1 of `data[begins[l]:ends[l]]` for each lane l, read as a little endian number, to hashes[l].

    data: uint8, with at least 3 bytes of slack behind the last end. begins, ends: int64[LANES]. block: uint32[BLOCK], scratch.
    hashes: uint32[LANES]. Strings may differ in length: one of fewer blocks than the longest begins later.
    """
    most = np.int64(0)
    for lane in range(LANES):
        most = max(most, (ends[lane] - begins[lane] + 8) // BLOCK_BYTES + 1)
    for step in range(most):
        for lane in range(LANES):
            length = ends[lane] - begins[lane]
            number = step - (most - ((length + 8) // BLOCK_BYTES + 1))  # of this lane's block
            if number < 0:
                continue
            if number == 0:
                for index in range(5):
                    block[index * LANES + lane] = _START[index]
            offset = BLOCK_BYTES * number
            position, left = np.uint64(begins[lane] + offset), length - offset
            place = STATE + lane
            for _ in range(min(left // 4, 16)):
                block[place] = _word(data, position)
                position += np.uint64(4)
                left -= 4
                place += LANES
            if place < BLOCK:
                # Behind the text a 1 bit, then zeros, in the last 8 bytes of the last block the length in bits.
                if 0 <= left < 4:
                    shift = np.uint32(24 - 8 * left)
                    text = _word(data, position) & ~np.uint32((np.uint64(1) << np.uint64(shift + 8)) - np.uint64(1))
                    block[place] = text | (np.uint32(0x80) << shift)
                    place += LANES
                while place < BLOCK:
                    block[place] = 0
                    place += LANES
                if number == (length + 8) // BLOCK_BYTES:
                    block[STATE + 14 * LANES + lane] = np.uint32(length >> 29)
                    block[STATE + 15 * LANES + lane] = np.uint32(length << 3)
        compress(block)
    for lane in range(LANES):
        value = block[lane]
        swapped = (value << np.uint32(24)) | ((value & np.uint32(0xFF00)) << np.uint32(8)) | ((value >> np.uint32(8)) & np.uint32(0xFF00))
        hashes[lane] = np.uint32(swapped | (value >> np.uint32(24)))
