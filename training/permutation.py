"""Permutations that need no memory: any place of a shuffled order is computed from its number and a key.

A Feistel network permutes the numbers of 2n bits; what falls outside of [0, size) is permuted again until it falls inside ("cycle
walking"), which leaves a permutation of [0, size) (Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002).
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import json
from typing import Any

import numba
import numpy as np
import xxhash
from numba import types

from decontam.numba_types import read_only, writable
from pipeline.kernels import mix

ROUNDS = 6
"""Of the network. Four make it indistinguishable from random for strong round functions (Luby and Rackoff, 1988); two to spare."""

_ROUND = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(0xD6E8FEB86659FD93)
_ONE = np.uint64(1)

_I64, _U64, _I64_OUT, _U64_OUT = read_only(types.int64), read_only(types.uint64), writable(types.int64), writable(types.uint64)


def derive_key(*parts: str | int) -> int:
    """The key, of 64 bits, that belongs to these words and numbers."""
    return xxhash.xxh3_64_intdigest(json.dumps(parts, ensure_ascii=False).encode())


def numbered_keys(key: int, numbers: np.ndarray) -> np.ndarray:
    """uint64[n]: keys for the numbered permutations (passes, blocks) of one kind. numbers: int64[n]."""
    out = np.empty(len(numbers), np.uint64)
    _numbered(np.uint64(key), np.ascontiguousarray(numbers, np.int64), out)
    return out


def permute(values: np.ndarray, sizes: Any, keys: Any) -> np.ndarray:
    """int64[n]: where the permutation of [0, size) with a key takes each value. sizes, keys: one for all of them, or one for each.

    values: int64[n], each in [0, its size): others never come to an end.
    """
    out = np.empty(len(values), np.int64)
    all_sizes, all_keys = np.empty(len(values), np.int64), np.empty(len(values), np.uint64)
    all_sizes[:], all_keys[:] = sizes, keys
    _permute(np.ascontiguousarray(values, np.int64), all_sizes, all_keys, out)
    return out


@numba.njit(types.uint64(types.uint64, types.uint64), cache=True, nogil=True)
def numbered_key(key: np.uint64, number: np.uint64) -> np.uint64:
    """The kernel of numbered_keys."""
    return mix(mix(key) + number * _ROUND)


@numba.njit(types.int64(types.int64, types.int64, types.uint64), cache=True, nogil=True)
def permuted(value: int, size: int, key: np.uint64) -> int:
    """The kernel of permute."""
    half, room = _ONE, 4
    while room < size:
        half += _ONE
        room *= 4
    mask = (_ONE << half) - _ONE
    number = np.uint64(value)
    while True:
        left, right = number >> half, number & mask
        round_key = key
        for _ in range(ROUNDS):
            round_key += _ROUND
            left, right = right, left ^ (mix(round_key ^ (right * _HALF)) & mask)
        number = (left << half) | right
        if number < np.uint64(size):
            return np.int64(number)


@numba.njit(types.void(types.uint64, _I64, _U64_OUT), cache=True, nogil=True)
def _numbered(key: np.uint64, numbers: np.ndarray, out: np.ndarray) -> None:
    for place in range(len(numbers)):
        out[place] = numbered_key(key, np.uint64(numbers[place]))


@numba.njit(types.void(_I64, _I64, _U64, _I64_OUT), cache=True, nogil=True)
def _permute(values: np.ndarray, sizes: np.ndarray, keys: np.ndarray, out: np.ndarray) -> None:
    for place in range(len(values)):
        out[place] = permuted(values[place], sizes[place], keys[place])
