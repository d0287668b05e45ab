"""Pre-tokens counted, compiled: a hash table of words behind the state machine of `pretoken_kernel`.

Words are found in batches and looked up together. Importing this module loads (the first time: compiles) the kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable
from pipeline.kernels import mix
from tokenizer.pretoken_kernel import bytes_at, eight, pretoken_end

SHORT = 15
"""Bytes of a word that has its place in the table itself: nearly all English words, and Korean ones of up to five syllables."""

SLOT = 3
"""Numbers of one slot of the table, all 0 in a free one: for a short word its key (see `_key`) and its count; for a longer one its place
in the arena (upper 40 bits) with its size (lower 24), LONG with 56 bits of its hash, and its count."""

LONG = np.uint64(1 << 63)

BATCH, BATCH_BYTES = 256, 1 << 14
"""Words that are found before they are looked up together, so that the processor waits for memory once and not for each; and the bytes
of them at which a batch ends early."""

ROW, POSITION, WORDS, ARENA, TOUCHED = 0, 1, 2, 3, 4
"""`state` of a count: where to go on (document, byte), what the table holds (words, bytes in the arena), and a number without meaning."""

STATE = 5

OCCURRENCES, BYTES, LONG_OCCURRENCES, LONG_BYTES, BEYOND_BYTES = 0, 1, 2, 3, 4
"""`totals` of a count, each document as often as its weight says: counted words, their bytes, words above the limit and their bytes, and
bytes behind the limit of a document."""

TOTALS = 5

DONE, TABLE_FULL = 0, 1
"""What `count` and `add` return: TABLE_FULL asks for a larger table and the same call again, which goes on where it stopped."""

_HASH_START = np.uint64(0x9E3779B97F4A7C15)
_HASH_PRIME = np.uint64(0xD6E8FEB86659FD93)
_HALF, _SIZE_SHIFT, _ONES = np.uint64(32), np.uint64(56), np.uint64(0xFFFFFFFFFFFFFFFF)
_PLACE_SHIFT, _SIZE = np.uint64(24), np.uint64(0xFFFFFF)

_U8, _I64 = read_only(types.uint8), read_only(types.int64)
_BOOLEAN_OUT, _U8_OUT, _I64_OUT, _U64_OUT = writable(types.boolean), writable(types.uint8), writable(types.int64), writable(types.uint64)
_BYTES_AT, _I64_AT, _U64_AT = types.CPointer(types.uint8), types.CPointer(types.int64), types.CPointer(types.uint64)


@numba.njit(types.UniTuple(types.uint64, 2)(_BYTES_AT, types.int64, types.int64, types.int64), cache=True, nogil=True)
def _key(data: np.ndarray, start: int, size: int, readable: int) -> tuple[np.uint64, np.uint64]:
    """A word of 1 to SHORT bytes as two numbers: its bytes padded with zeros, its size in the last place. Different words differ.

    readable: bytes of `data`, none of which may be read behind it.
    """
    if start + 16 <= readable:
        low = eight(data, start) & _ONES >> np.uint64(64 - 8 * min(size, 8))
        high = eight(data, start + 8) & (np.uint64(1) << np.uint64(8 * max(size - 8, 0))) - np.uint64(1)
    else:
        low = high = np.uint64(0)
        for place in range(min(size, 8)):
            low |= np.uint64(data[start + place]) << np.uint64(8 * place)
        for place in range(8, size):
            high |= np.uint64(data[start + place]) << np.uint64(8 * (place - 8))
    return low, high | np.uint64(size) << _SIZE_SHIFT


@numba.njit(types.uint64(types.uint64, types.uint64, types.uint64), cache=True, nogil=True)
def _key_hash(value: np.uint64, low: np.uint64, high: np.uint64) -> np.uint64:
    value = (value ^ low) * _HASH_PRIME
    return mix(value ^ value >> _HALF ^ high)


@numba.njit(types.uint64(_BYTES_AT, types.int64, types.int64, types.int64), cache=True, nogil=True)
def _word_hash(data: np.ndarray, start: int, size: int, readable: int) -> np.uint64:
    """The hash of a word: its first bytes eight at a time, then the last 8 to 15 (or all of a short word) as their key.

    Files are partitioned by it, so it never changes.
    """
    value = _HASH_START
    while size > SHORT:
        value = (value ^ eight(data, start)) * _HASH_PRIME
        value ^= value >> _HALF
        start += 8
        size -= 8
    low, high = _key(data, start, size, readable)
    return _key_hash(value, low, high)


@numba.njit(types.void(_U8, _I64, _U64_OUT), cache=True, nogil=True)
def hash_words(data: np.ndarray, offsets: np.ndarray, hashes: np.ndarray) -> None:
    """The hash of each word."""
    text = bytes_at(data.ctypes)
    for word in range(len(hashes)):
        hashes[word] = _word_hash(text, offsets[word], offsets[word + 1] - offsets[word], len(data))


@numba.njit(types.boolean(_BYTES_AT, types.int64, _BYTES_AT, types.int64, types.int64), cache=True, nogil=True)
def _same(arena: np.ndarray, place: int, data: np.ndarray, start: int, size: int) -> bool:
    at = 0
    while at < size and arena[place + at] == data[start + at]:
        at += 1
    return at == size


@numba.njit(types.boolean(types.int64, _U64_OUT, _U8_OUT, _I64_OUT), cache=True, nogil=True)
def has_room(longest: int, slots: np.ndarray, arena: np.ndarray, state: np.ndarray) -> bool:
    """Whether a table can take one more batch of words of up to `longest` bytes, with half of its slots free after it."""
    return 2 * SLOT * (state[WORDS] + BATCH) <= len(slots) and state[ARENA] + BATCH_BYTES + longest <= len(arena)


@numba.njit(
    types.void(_U8, types.int64, _I64_OUT, _I64_OUT, _I64_OUT, _U64_OUT, _U64_OUT, _U8_OUT, _I64_OUT),
    cache=True,
    nogil=True,
)
def _count_batch(
    data: np.ndarray,
    found: int,
    starts: np.ndarray,
    sizes: np.ndarray,
    weights: np.ndarray,
    scratch: np.ndarray,
    slots: np.ndarray,
    arena: np.ndarray,
    state: np.ndarray,
) -> None:
    """Add the weights of `found` words to their counts; see SLOT for the table. Words are told apart by their bytes, hashes only find them.

    scratch: uint64[3 * BATCH].
    """
    text, letters = bytes_at(data.ctypes), bytes_at(arena.ctypes)
    mask = np.uint64(len(slots) // SLOT - 1)
    for word in range(found):
        start, size = starts[word], sizes[word]
        if size <= SHORT:
            low, high = _key(text, start, size, len(data))
            value = _key_hash(_HASH_START, low, high)
        else:
            value = _word_hash(text, start, size, len(data))
            low, high = np.uint64(size), LONG | value >> np.uint64(8)
        scratch[3 * word], scratch[3 * word + 1], scratch[3 * word + 2] = low, high, (value & mask) * np.uint64(SLOT)
    touched = np.uint64(0)
    for word in range(found):  # asks for all slots before it needs the first
        at = scratch[3 * word + 2]
        touched ^= slots[at] ^ slots[at + np.uint64(2)]
    state[TOUCHED] = np.int64(touched)
    end = np.uint64(len(slots))
    for word in range(found):
        low, high, at = scratch[3 * word], scratch[3 * word + 1], scratch[3 * word + 2]
        start, size = starts[word], sizes[word]
        while True:
            held = slots[at + np.uint64(1)]
            if held == high and (
                slots[at] == low
                if size <= SHORT
                else slots[at] & _SIZE == low and _same(letters, np.int64(slots[at] >> _PLACE_SHIFT), text, start, size)
            ):
                slots[at + np.uint64(2)] += np.uint64(weights[word])
                break
            if held == 0:
                if size > SHORT:
                    used = state[ARENA]
                    for place in range(size):
                        letters[used + place] = text[start + place]
                    low |= np.uint64(used) << _PLACE_SHIFT
                    state[ARENA] = used + size
                state[WORDS] += 1
                slots[at], slots[at + np.uint64(1)], slots[at + np.uint64(2)] = low, high, np.uint64(weights[word])
                break
            at += np.uint64(SLOT)
            if at == end:
                at = np.uint64(0)


@numba.njit(types.int64(_U8, _I64, _I64, _U8, types.int64, types.int64, _U64_OUT, _U8_OUT, _I64_OUT, _I64_OUT), cache=True, nogil=True)
def count(
    data: np.ndarray,
    offsets: np.ndarray,
    weights: np.ndarray,
    classes: np.ndarray,
    max_word_bytes: int,
    max_document_bytes: int,
    slots: np.ndarray,
    arena: np.ndarray,
    state: np.ndarray,
    totals: np.ndarray,
) -> int:
    """Count the pre-tokens of documents, beginning at `state`; returns DONE or TABLE_FULL.

    weights: int64, how often each document counts. classes: `unicode_classes.class_table`. A pre-token counts when it ends within the
    document's first `max_document_bytes`.
    """
    text, kinds = bytes_at(data.ctypes), bytes_at(classes.ctypes)
    starts, sizes, factors = np.empty(BATCH, np.int64), np.empty(BATCH, np.int64), np.empty(BATCH, np.int64)
    scratch = np.empty(3 * BATCH, np.uint64)
    rows = len(offsets) - 1
    row, position = state[ROW], state[POSITION]
    while row < rows:
        if not has_room(max_word_bytes, slots, arena, state):
            state[ROW], state[POSITION] = row, position
            return TABLE_FULL
        found = batch_bytes = 0
        while row < rows and found < BATCH and batch_bytes < BATCH_BYTES:
            weight, begin, end = weights[row], offsets[row], offsets[row + 1]
            limit = min(end, begin + max_document_bytes) if weight else begin
            position = max(position, begin)
            while position < limit and found < BATCH and batch_bytes < BATCH_BYTES:
                after = pretoken_end(text, position, end, kinds)
                if after > limit:
                    limit = position
                    break
                size = after - position
                if size > max_word_bytes:
                    totals[LONG_OCCURRENCES] += weight
                    totals[LONG_BYTES] += weight * size
                else:
                    starts[found], sizes[found], factors[found] = position, size, weight
                    batch_bytes += size
                    found += 1
                position = after
            if position >= limit:
                totals[BEYOND_BYTES] += weight * (end - position)
                row += 1
        _count_batch(data, found, starts, sizes, factors, scratch, slots, arena, state)
        for word in range(found):
            totals[OCCURRENCES] += factors[word]
            totals[BYTES] += factors[word] * sizes[word]
    return DONE


@numba.njit(types.int64(_U8, _I64, _I64, types.int64, _U64_OUT, _U8_OUT, _I64_OUT), cache=True, nogil=True)
def add(
    data: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    longest: int,
    slots: np.ndarray,
    arena: np.ndarray,
    state: np.ndarray,
) -> int:
    """Add words that were counted elsewhere, beginning at `state[ROW]`; returns DONE or TABLE_FULL. longest: bytes of the longest."""
    starts, sizes, factors = np.empty(BATCH, np.int64), np.empty(BATCH, np.int64), np.empty(BATCH, np.int64)
    scratch = np.empty(3 * BATCH, np.uint64)
    word = state[ROW]
    while word < len(counts):
        if not has_room(longest, slots, arena, state):
            state[ROW] = word
            return TABLE_FULL
        found = batch_bytes = 0
        while word < len(counts) and found < BATCH and batch_bytes < BATCH_BYTES:
            starts[found], sizes[found], factors[found] = offsets[word], offsets[word + 1] - offsets[word], counts[word]
            batch_bytes += sizes[found]
            found += 1
            word += 1
        _count_batch(data, found, starts, sizes, factors, scratch, slots, arena, state)
    return DONE


@numba.njit(types.uint64(_BYTES_AT, types.int64, types.uint64, types.uint64), cache=True, nogil=True)
def _slot_hash(arena: np.ndarray, readable: int, low: np.uint64, high: np.uint64) -> np.uint64:
    """The hash of the word in a slot."""
    if high & LONG:
        return _word_hash(arena, np.int64(low >> _PLACE_SHIFT), np.int64(low & _SIZE), readable)
    return _key_hash(_HASH_START, low, high)


@numba.njit(types.void(_U64_OUT, _U8_OUT, _U64_OUT), cache=True, nogil=True)
def move_slots(slots: np.ndarray, arena: np.ndarray, larger: np.ndarray) -> None:
    """Enter all words of a table into another one's slots, which are all 0."""
    letters = bytes_at(arena.ctypes)
    mask = np.uint64(len(larger) // SLOT - 1)
    for at in range(0, len(slots), SLOT):
        low, high = slots[at], slots[at + 1]
        if high == 0:
            continue
        slot = _slot_hash(letters, len(arena), low, high) & mask
        while larger[slot * np.uint64(SLOT) + np.uint64(1)] != 0:
            slot = (slot + np.uint64(1)) & mask
        to = slot * np.uint64(SLOT)
        larger[to], larger[to + np.uint64(1)], larger[to + np.uint64(2)] = low, high, slots[at + 2]


@numba.njit(types.void(_U64_OUT, _U8_OUT, _I64_OUT, _I64_OUT, _U64_OUT), cache=True, nogil=True)
def list_words(slots: np.ndarray, arena: np.ndarray, places: np.ndarray, sizes: np.ndarray, hashes: np.ndarray) -> None:
    """The words of a table as they lie in it: the place of the slot, the size in bytes and the hash of each."""
    letters = bytes_at(arena.ctypes)
    found = 0
    for at in range(0, len(slots), SLOT):
        low, high = slots[at], slots[at + 1]
        if high == 0:
            continue
        places[found] = at
        sizes[found] = np.int64(low & _SIZE if high & LONG else high >> _SIZE_SHIFT)
        hashes[found] = _slot_hash(letters, len(arena), low, high)
        found += 1


@numba.njit(types.void(_U64_OUT, _U8_OUT, _I64, _I64, _U8_OUT, _I64_OUT), cache=True, nogil=True)
def read_words(slots: np.ndarray, arena: np.ndarray, places: np.ndarray, offsets: np.ndarray, data: np.ndarray, counts: np.ndarray) -> None:
    """Write the bytes and counts of the words whose slots are at `places`; word i goes to data[offsets[i]:offsets[i + 1]]."""
    for word in range(len(places)):
        at, to = places[word], offsets[word]
        size = offsets[word + 1] - to
        counts[word] = np.int64(slots[at + 2])
        if slots[at + 1] & LONG:
            start = np.int64(slots[at] >> _PLACE_SHIFT)
            for place in range(size):
                data[to + place] = arena[start + place]
        else:
            for place in range(size):
                number = slots[at] if place < 8 else slots[at + 1]
                data[to + place] = np.uint8(number >> np.uint64(8 * (place & 7)) & np.uint64(255))
