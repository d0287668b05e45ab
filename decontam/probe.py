"""The probing kernel: which windows of the documents may stand in a benchmark."""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.hashing import filter_bits, filter_word, is_hangul, window_hash
from decontam.numba_types import read_only, writable

_BATCH = 256
"""Windows that are hashed, then looked up, together. The look-ups are a loop of nothing else, so that the processor has many in flight:
measured at 13 million seeds, half the time of a loop that tests each word as it comes."""


HANGUL_BLOCK = 128
"""Characters that are known together to hold Hangul or none."""


@numba.njit(types.void(read_only(types.uint32), writable(types.uint8)), cache=True, nogil=True)
def mark_hangul(codes, blocks):
    """Set blocks[i] to whether there is any Hangul in the i-th HANGUL_BLOCK characters; text below U+1000 is passed in vector steps."""
    size = np.uint64(len(codes))
    for block in range(len(blocks)):
        first = np.uint64(block * HANGUL_BLOCK)
        last = min(first + np.uint64(HANGUL_BLOCK), size)
        union = np.uint32(0)
        for position in range(first, last):
            union |= codes[position]
        blocks[block] = 0
        if union >= 0x1000:
            for position in range(first, last):
                if is_hangul(codes[position]):
                    blocks[block] = 1
                    break


@numba.njit(
    types.int64(
        read_only(types.uint32), read_only(types.int64), read_only(types.uint8), read_only(types.uint64), types.int64, types.int64,
        types.int64, types.boolean, read_only(types.uint32), writable(types.int64), writable(types.uint64),
    ),
    cache=True, nogil=True,
)  # fmt: skip
def probe_windows(codes, offsets, blocks, words, stride, width, reach, hangul, multipliers, positions, hashes):
    """List the windows that pass the filter: position in `codes` and hash. Document i is `codes[offsets[i]:offsets[i + 1]]`.

    Of each document every `stride`-th window is probed: for a family with Hangul only where `blocks` (of `mark_hangul`) has some within
    `reach`, for one without only windows that aren't seen at once to hold any. The lists need room for one window per `stride`
    characters, and one per document. Returns how many windows there are.
    """
    size = np.uint64(len(words))
    batch = np.empty(_BATCH, np.uint64)
    where = np.empty(_BATCH, np.int64)
    found = np.empty(_BATCH, np.uint64)
    count = 0
    for document in range(len(offsets) - 1):
        begin = offsets[document]
        end = offsets[document + 1]
        last_window = end - width
        first = begin
        while first <= last_window:
            stop = min(last_window + 1, first + _BATCH * stride)
            block = max(begin, first - reach) // HANGUL_BLOCK
            last_block = (min(end, stop + width + reach) - 1) // HANGUL_BLOCK
            while block <= last_block and blocks[block] == 0:
                block += 1
            some_hangul = block <= last_block
            filled = 0
            if some_hangul or not hangul:
                for position in range(first, stop, stride):
                    if some_hangul and not hangul and (is_hangul(codes[position]) or is_hangul(codes[position + width - 1])):
                        continue
                    batch[filled] = window_hash(codes, position, width, multipliers)
                    where[filled] = position
                    filled += 1
            for index in range(filled):
                found[index] = words[filter_word(batch[index], size)]
            for index in range(filled):
                bits = filter_bits(batch[index])
                positions[count] = where[index]
                hashes[count] = batch[index]
                count += found[index] & bits == bits
            first += _BATCH * stride
    return count


@numba.njit(
    types.int64(
        read_only(types.uint32), read_only(types.int64), read_only(types.int64), read_only(types.int64), read_only(types.uint64),
        types.int64, types.int64, read_only(types.uint32), writable(types.int64), writable(types.uint64),
    ),
    cache=True, nogil=True,
)  # fmt: skip
def probe_around(codes, offsets, documents, places, words, width, reach, multipliers, positions, hashes):
    """List the windows within `reach` characters of each place (ascending, of a window in that document) that pass the filter.

    Returns the number of windows, which may exceed the room for them: the caller then calls again with more.
    """
    size = np.uint64(len(words))
    capacity = len(positions)
    count = 0
    done = np.int64(0)
    for row in range(len(places)):
        first = max(offsets[documents[row]], places[row] - reach, done)
        last = min(offsets[documents[row] + 1] - width, places[row] + reach)
        for position in range(first, last + 1):
            h = window_hash(codes, position, width, multipliers)
            bits = filter_bits(h)
            if words[filter_word(h, size)] & bits == bits:
                if count < capacity:
                    positions[count] = position
                    hashes[count] = h
                count += 1
        done = max(done, last + 1)
    return count
