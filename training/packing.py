"""Packing: whole documents put into chunks of one length, with as little padding as best fit decreasing gives.

As in Ding et al., Fewer Truncations Improve Language Modeling (arXiv 2404.10830): the longest item first, each into the fullest chunk
that has room for it. A search tree over the room left finds that chunk in O(log length), so packing takes O(documents * log length).
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable

_I64, _I64_OUT = read_only(types.int64), writable(types.int64)


def best_fit(sizes: np.ndarray, room: int) -> tuple[np.ndarray, int]:
    """The bin of each item (int64[n]), and how many bins there are; bins are numbered as they are opened. sizes: int64[n], 1 to `room`.

    Items of one size go in their order.
    """
    order = np.argsort(-sizes, kind="stable")
    bins = np.empty(len(sizes), np.int64)
    used = _fill(np.ascontiguousarray(sizes, np.int64), order, room, bins)
    return bins, int(used)


@numba.njit(types.int64(writable(types.uint8), types.int64, types.int64), cache=True, nogil=True)
def _least(tree: np.ndarray, leaves: int, size: int) -> int:
    """The smallest leaf from `size` on that is marked, or -1."""
    node = leaves + size
    while not tree[node]:
        while node & 1:  # a right child: what is greater lies beside one of its ancestors
            node >>= 1
        if node == 0:
            return -1
        node += 1
    while node < leaves:
        node = 2 * node if tree[2 * node] else 2 * node + 1
    return node - leaves


@numba.njit(types.void(writable(types.uint8), types.int64, types.uint8), cache=True, nogil=True)
def _mark(tree: np.ndarray, node: int, value: int) -> None:
    tree[node] = value
    while node > 1:
        node >>= 1
        value = tree[2 * node] | tree[2 * node + 1]
        if tree[node] == value:
            return
        tree[node] = value


@numba.njit(types.int64(_I64, _I64, types.int64, _I64_OUT), cache=True, nogil=True)
def _fill(sizes: np.ndarray, order: np.ndarray, room: int, bins: np.ndarray) -> int:
    leaves = 1
    while leaves <= room:
        leaves *= 2
    tree = np.zeros(2 * leaves, np.uint8)  # whether there is a bin with room left of any leaf below a node
    first = np.full(room + 1, -1, np.int64)  # the bins of one room left, as a linked list
    following = np.empty(len(sizes), np.int64)
    used = 0
    for place in range(len(order)):
        item = order[place]
        left = _least(tree, leaves, sizes[item])
        if left < 0:
            chosen, left = used, room
            used += 1
        else:
            chosen = first[left]
            first[left] = following[chosen]
            if first[left] < 0:
                _mark(tree, leaves + left, 0)
        bins[item] = chosen
        left -= sizes[item]
        following[chosen] = first[left]
        first[left] = chosen
        _mark(tree, leaves + left, 1)
    return used
