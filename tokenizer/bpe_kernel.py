"""Byte-pair merging, compiled: words as symbols in place, pairs in an open table, occurrences in one pool, candidates in a lazy heap.

Importing this module loads (the first time: compiles) the kernels. How they work together is told in `tokenizer.bpe`.

Layout of `symbols` (int32): each word is its number of symbols, its count (low half, high half), and its symbols. What a word has lost to
merges holds FREE until `compact` closes the gaps, so one cache line has all that a merge needs of a short word, and a word is known by
where it begins.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable
from pipeline.kernels import mix

HEAD = 3
"""Numbers before the symbols of a word."""

FREE = -1
"""No word begins with it, since it would have to be its number of symbols."""

EMPTY = -1
"""The key of an empty place in a table of pairs."""

STOPPED, LOW, FULL = 0, 1, 2
"""What `merge_pairs` returns: all merges asked are done; no pair of the table reaches the threshold; the new pairs found no room."""

DONE, HEAP, POOL, PAIRS, STATES = 0, 1, 2, 3, 4
"""Places in `state`: merges done, entries of the heap, used of the pool, pairs in the table; and how many there are."""

_MOST = np.uint32(0xFFFFFFFF)

_BYTES, _I64 = read_only(types.uint8), read_only(types.int64)
_I32_OUT, _I64_OUT, _U32_OUT = writable(types.int32), writable(types.int64), writable(types.uint32)


@numba.njit(types.int64(_BYTES, _I64, _I64, _I32_OUT, _I32_OUT), cache=True, nogil=True)
def lay_out(data: np.ndarray, offsets: np.ndarray, counts: np.ndarray, id_of_byte: np.ndarray, symbols: np.ndarray) -> int:
    """Write the words of two and more bytes into `symbols`; returns how much of it they took."""
    used = 0
    for word in range(len(counts)):
        size = offsets[word + 1] - offsets[word]
        if size < 2:
            continue
        symbols[used] = size
        symbols[used + 1] = np.int32(counts[word] & 0xFFFFFFFF)
        symbols[used + 2] = np.int32(counts[word] >> 32)
        for place in range(size):
            symbols[used + HEAD + place] = id_of_byte[data[offsets[word] + place]]
        used += HEAD + size
    return used


@numba.njit(types.int64(_I32_OUT, types.int64), cache=True, nogil=True, inline="always")
def _count(symbols: np.ndarray, word: int) -> int:
    return (np.int64(symbols[word + 2]) << 32) | (np.int64(symbols[word + 1]) & 0xFFFFFFFF)


@numba.njit(types.int64(_I32_OUT, types.int64), cache=True, nogil=True)
def compact(symbols: np.ndarray, used: int) -> int:
    """Close the gaps between words and drop those of one symbol; returns how much of `symbols` is left."""
    to = word = 0
    while word < used:
        size = symbols[word]
        following = word + HEAD + size
        if size > 1:
            for place in range(HEAD + size):
                symbols[to + place] = symbols[word + place]
            to += HEAD + size
        word = following
        while word < used and symbols[word] == FREE:
            word += 1
    return to


@numba.njit(types.int64(types.int64, types.int64), cache=True, nogil=True, inline="always")
def _pair(left: int, right: int) -> int:
    """The key of a pair: its ids in the two halves, so that keys are in the order of pairs."""
    return (np.int64(left) << 32) | np.int64(right)


@numba.njit(types.int64(_I64_OUT, types.int64), cache=True, nogil=True, inline="always")
def _slot(keys: np.ndarray, key: int) -> int:
    """Where a pair is in the table, or the empty place for it."""
    mask = np.uint64(len(keys) - 1)
    slot = mix(np.uint64(key)) & mask
    while keys[slot] != key and keys[slot] != EMPTY:
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)


@numba.njit(types.boolean(types.int64, types.int64, _I64_OUT, types.int64), cache=True, nogil=True, inline="always")
def _allowed(left: int, right: int, lengths: np.ndarray, longest: int) -> bool:
    return lengths[left] + lengths[right] <= longest


@numba.njit(types.void(_I32_OUT, types.int64, _U32_OUT), cache=True, nogil=True)
def fill_sketch(symbols: np.ndarray, used: int, sketch: np.ndarray) -> None:
    """Add up the occurrences of all pairs by hash, up to what 32 bits hold: no less than the count of each pair."""
    mask = np.uint64(len(sketch) - 1)
    word = 0
    while word < used:
        size, count = symbols[word], _count(symbols, word)
        for place in range(word + HEAD, word + HEAD + size - 1):
            key = _pair(symbols[place], symbols[place + 1])
            slot = mix(np.uint64(key)) & mask
            room = np.int64(_MOST - sketch[slot])
            sketch[slot] += np.uint32(min(room, count))
        word += HEAD + size


@numba.njit(
    types.int64(
        *(_I32_OUT, types.int64, types.int64, _U32_OUT, types.int64, _I64_OUT, types.int64),
        *(_I64_OUT, _I64_OUT, _I64_OUT, _I64_OUT),
    ),
    cache=True,
    nogil=True,
)
def count_pairs(
    symbols: np.ndarray,
    word: int,
    used: int,
    sketch: np.ndarray,
    least: int,
    lengths: np.ndarray,
    longest: int,
    keys: np.ndarray,
    counts: np.ndarray,
    windows: np.ndarray,
    state: np.ndarray,
) -> int:
    """Count the pairs that may, by the sketch, occur `least` times.

    Fills a table: pairs, their counts, their windows in distinct words; state[PAIRS] says how many it has. Returns the word that
    could fill more than half of it (go on from there with a larger one, see `move_pairs`), or `used`.
    """
    mask = np.uint64(len(sketch) - 1)
    enough = np.uint32(min(least, np.int64(_MOST)))
    pairs = state[PAIRS]
    while word < used:
        size = symbols[word]
        if 2 * (pairs + size) > len(keys):
            break
        count = _count(symbols, word)
        for place in range(word + HEAD, word + HEAD + size - 1):
            key = _pair(symbols[place], symbols[place + 1])
            if sketch[mix(np.uint64(key)) & mask] < enough or not _allowed(symbols[place], symbols[place + 1], lengths, longest):
                continue
            slot = _slot(keys, key)
            if keys[slot] == EMPTY:
                keys[slot] = key
                pairs += 1
            counts[slot] += count
            windows[slot] += 1
        word += HEAD + size
    state[PAIRS] = pairs
    return word


@numba.njit(types.void(_I64_OUT, _I64_OUT, _I64_OUT, _I64_OUT, _I64_OUT, _I64_OUT), cache=True, nogil=True)
def move_pairs(
    old_keys: np.ndarray, old_counts: np.ndarray, old_windows: np.ndarray, keys: np.ndarray, counts: np.ndarray, windows: np.ndarray
) -> None:
    """Fill a larger table of `count_pairs`."""
    for old in range(len(old_keys)):
        if old_keys[old] != EMPTY:
            slot = _slot(keys, old_keys[old])
            keys[slot], counts[slot], windows[slot] = old_keys[old], old_counts[old], old_windows[old]


@numba.njit(types.void(_I64_OUT, _I64_OUT, types.int64, types.int64, types.int64), cache=True, nogil=True)
def _sift_down(heap_counts: np.ndarray, heap_keys: np.ndarray, size: int, count: int, key: int) -> None:
    """Put an entry in the place of the heap's first one."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            heap_counts[other] > heap_counts[child] or (heap_counts[other] == heap_counts[child] and heap_keys[other] < heap_keys[child])
        ):
            child = other
        if heap_counts[child] < count or (heap_counts[child] == count and heap_keys[child] > key):
            break
        heap_counts[place], heap_keys[place] = heap_counts[child], heap_keys[child]
        place = child
    heap_counts[place], heap_keys[place] = count, key


@numba.njit(types.void(_I64_OUT, _I64_OUT, types.int64, types.int64, types.int64), cache=True, nogil=True)
def _push(heap_counts: np.ndarray, heap_keys: np.ndarray, size: int, count: int, key: int) -> None:
    """Add an entry to a heap of `size` entries."""
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if heap_counts[parent] > count or (heap_counts[parent] == count and heap_keys[parent] < key):
            break
        heap_counts[place], heap_keys[place] = heap_counts[parent], heap_keys[parent]
        place = parent
    heap_counts[place], heap_keys[place] = count, key


@numba.njit(
    types.void(
        *(_I32_OUT, types.int64, _I64_OUT, _I64_OUT, _I64_OUT),
        *(_I64_OUT, _I64_OUT, _I64_OUT, _I32_OUT, _I64_OUT, _I64_OUT, _I32_OUT, _I64_OUT),
    ),
    cache=True,
    nogil=True,
)
def list_words(
    symbols: np.ndarray,
    used: int,
    chosen_keys: np.ndarray,
    chosen_counts: np.ndarray,
    chosen_windows: np.ndarray,
    keys: np.ndarray,
    counts: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    heap_counts: np.ndarray,
    heap_keys: np.ndarray,
    pool: np.ndarray,
    state: np.ndarray,
) -> None:
    """Fill the table, the heap and the pool with the chosen pairs and the words they occur in, ascending."""
    at = np.int64(0)
    for index in range(len(chosen_keys)):
        slot = _slot(keys, chosen_keys[index])
        keys[slot], counts[slot], starts[slot], sizes[slot] = chosen_keys[index], chosen_counts[index], at, 0
        at += chosen_windows[index]
        _push(heap_counts, heap_keys, index, chosen_counts[index], chosen_keys[index])
    state[HEAP] = state[PAIRS] = len(chosen_keys)
    state[POOL] = at
    word = 0
    while word < used:
        size = symbols[word]
        for place in range(word + HEAD, word + HEAD + size - 1):
            slot = _slot(keys, _pair(symbols[place], symbols[place + 1]))
            if keys[slot] == EMPTY:
                continue
            end = starts[slot] + sizes[slot]
            if sizes[slot] == 0 or pool[end - 1] != word:
                pool[end] = word
                sizes[slot] += 1
        word += HEAD + size


@numba.njit(
    types.int64(
        *(_I32_OUT, _I32_OUT, _I32_OUT, _I64_OUT, _I64_OUT),
        *(_I64_OUT, _I64_OUT, _I64_OUT, _I32_OUT, _I64_OUT, _I64_OUT, _I32_OUT, _I64_OUT),
        *(types.int64, types.int64, types.int64),
    ),
    cache=True,
    nogil=True,
)
def merge_pairs(
    symbols: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    merge_counts: np.ndarray,
    lengths: np.ndarray,
    keys: np.ndarray,
    counts: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    heap_counts: np.ndarray,
    heap_keys: np.ndarray,
    pool: np.ndarray,
    state: np.ndarray,
    stop: int,
    threshold: int,
    longest: int,
) -> int:
    """Merge the most frequent pair, again and again, until `stop` merges are done; returns why it ended.

    The tables must be built anew (`compact`, `count_pairs`, `list_words`) after FULL, and with a lower threshold after LOW.
    """
    tokens = len(lengths)
    # What happens beside the merged pairs of one merge, by neighbour: token t to the left has number t, to the right tokens + t.
    changes = np.zeros(2 * tokens, np.int64)
    listed = np.zeros(2 * tokens, np.int32)
    last_word = np.full(2 * tokens, -1, np.int32)
    lists = np.zeros(2 * tokens, np.int64)
    touched = np.empty(2 * tokens, np.int32)
    sides = np.empty(1 << 12, np.int32)
    words = np.empty(1 << 12, np.int32)
    while state[DONE] < stop:
        if state[HEAP] == 0:
            return LOW
        key, count = heap_keys[0], heap_counts[0]
        slot = _slot(keys, key)
        now = counts[slot]
        if now != count and now >= threshold:
            _sift_down(heap_counts, heap_keys, state[HEAP], now, key)
            continue
        state[HEAP] -= 1
        _sift_down(heap_counts, heap_keys, state[HEAP], heap_counts[state[HEAP]], heap_keys[state[HEAP]])
        if now < threshold:
            continue
        first, second = np.int32(key >> 32), np.int32(key & 0xFFFFFFFF)
        new = np.int32(256 + state[DONE])
        left[state[DONE]], right[state[DONE]], merge_counts[state[DONE]] = first, second, count
        lengths[new] = lengths[first] + lengths[second]
        state[DONE] += 1
        events = touches = 0
        for index in range(starts[slot], starts[slot] + sizes[slot]):
            word = np.int64(pool[index])
            begin = word + HEAD
            end = begin + symbols[word]
            place = begin
            while place < end - 1 and (symbols[place] != first or symbols[place + 1] != second):
                place += 1
            if place >= end - 1:
                continue
            if events + 2 * (end - place) > len(sides):
                room = 2 * (events + 2 * (end - place))
                sides, old_sides = np.empty(room, np.int32), sides
                words, old_words = np.empty(room, np.int32), words
                sides[:events], words[:events] = old_sides[:events], old_words[:events]
            weight = _count(symbols, word)
            to = place
            after_new = False
            while place < end:
                side = -1
                symbol = symbols[place]
                if place + 1 < end and symbol == first and symbols[place + 1] == second:
                    if to > begin:
                        side = symbols[to - 1]
                    symbol = new
                    place += 2
                    merged = True
                else:
                    if after_new:
                        side = tokens + symbol
                    place += 1
                    merged = False
                symbols[to] = symbol
                to += 1
                after_new = merged
                if side >= 0:
                    if changes[side] == 0:
                        touched[touches] = side
                        touches += 1
                    changes[side] += weight
                    if last_word[side] != word:
                        last_word[side] = word
                        listed[side] += 1
                        sides[events], words[events] = side, word
                        events += 1
            for gone in range(to, end):
                symbols[gone] = FREE
            symbols[word] = to - begin
        counts[slot] = 0
        room = state[PAIRS] + touches <= len(heap_keys) and state[POOL] + events <= len(pool)
        for index in range(touches):
            side = np.int64(touched[index])
            if side == new:  # two merged pairs in a row
                lost, gained = _pair(second, first), _pair(new, new)
            elif side < tokens:
                lost, gained = _pair(side, first), _pair(side, new)
            else:
                lost, gained = _pair(second, side - tokens), _pair(new, side - tokens)
            slot = _slot(keys, lost)
            if keys[slot] != EMPTY:
                counts[slot] -= changes[side]
            lists[side] = -1
            if room and changes[side] >= threshold and _allowed(gained >> 32, gained & 0xFFFFFFFF, lengths, longest):
                slot = _slot(keys, gained)
                keys[slot], counts[slot], starts[slot], sizes[slot] = gained, changes[side], state[POOL], listed[side]
                lists[side] = state[POOL]
                state[POOL] += listed[side]
                _push(heap_counts, heap_keys, state[HEAP], changes[side], gained)
                state[HEAP] += 1
                state[PAIRS] += 1
            changes[side], listed[side], last_word[side] = 0, 0, -1
        if not room:
            return FULL
        for index in range(events):
            side = sides[index]
            if lists[side] >= 0:
                pool[lists[side]] = words[index]
                lists[side] += 1
    return STOPPED


@numba.njit(types.void(_I32_OUT, types.int64, _I64_OUT, _I32_OUT, _I64_OUT), cache=True, nogil=True)
def merge_seeds(symbols: np.ndarray, used: int, keys: np.ndarray, ranks: np.ndarray, seed_counts: np.ndarray) -> None:
    """Apply merges in the order of their ranks (merge r makes token 256 + r), word by word, and add up how often each was found.

    A merge only makes pairs of later merges, so that the least rank in a word, again and again, is all merges one after another.
    """
    word = 0
    while word < used:
        size = symbols[word]
        begin, end = word + HEAD, word + HEAD + np.int64(size)
        weight = _count(symbols, word)
        while True:
            best = np.int32(0x7FFFFFFF)
            windows = 0
            for place in range(begin, end - 1):
                slot = _slot(keys, _pair(symbols[place], symbols[place + 1]))
                if keys[slot] != EMPTY and ranks[slot] <= best:
                    windows = windows + 1 if ranks[slot] == best else 1
                    best = ranks[slot]
                    first, second = symbols[place], symbols[place + 1]
            if windows == 0:
                break
            seed_counts[best] += weight * windows
            place = to = begin
            while place < end:
                if place + 1 < end and symbols[place] == first and symbols[place + 1] == second:
                    symbols[to] = 256 + best
                    place += 2
                else:
                    symbols[to] = symbols[place]
                    place += 1
                to += 1
            for gone in range(to, end):
                symbols[gone] = FREE
            end = to
        symbols[word] = end - begin
        word += HEAD + size


@numba.njit(types.void(_I64_OUT, _I32_OUT, _I32_OUT, _I32_OUT), cache=True, nogil=True)
def rank_pairs(keys: np.ndarray, ranks: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """Fill a table for `merge_seeds`: merge i has rank i."""
    for rank in range(len(left)):
        key = _pair(left[rank], right[rank])
        slot = _slot(keys, key)
        keys[slot], ranks[slot] = key, rank
