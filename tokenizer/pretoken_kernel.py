"""Text parted into pre-tokens and counted, compiled: a state machine over UTF-8 bytes in front of a hash table of words.

The state machine makes the splits of the regular expression `pretoken.PATTERN` in one pass, without its backtracking: time is linear in
the text whatever it holds. Importing this module loads (the first time: compiles) the kernels.

Functions that are called for each character or word take pointers: numba counts references to arrays, atomically, in every function that
they are passed to, which took two thirds of the time.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from decontam.numba_types import read_only, writable
from pipeline.kernels import mix
from tokenizer import unicode_classes

LETTER, NUMBER = np.uint8(unicode_classes.LETTER), np.uint8(unicode_classes.NUMBER)
SPACE, NEWLINE = np.uint8(unicode_classes.SPACE), np.uint8(unicode_classes.NEWLINE)
SYMBOL = np.uint8(0)

MAY_CHANGE = 255
"""In the table of `may_change`: a code point that NFC may turn into another; other values are canonical combining classes."""

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
_HIGH_BITS = np.uint64(0x8080808080808080)

# Of each of eight bytes below 0x80: the bit that makes it small, and what takes it to 0x80 or above from "a" on and behind "z".
_SMALL, _FROM_A, _BEYOND_Z = np.uint64(0x2020202020202020), np.uint64(0x1F1F1F1F1F1F1F1F), np.uint64(0x0505050505050505)
_PLACES = np.uint64(0x0001020304050607)  # times 1 << 8 * i, its highest byte is i

_U8, _I64 = read_only(types.uint8), read_only(types.int64)
_BOOLEAN_OUT, _U8_OUT, _I64_OUT, _U64_OUT = writable(types.boolean), writable(types.uint8), writable(types.int64), writable(types.uint64)
_BYTES_AT, _I64_AT, _U64_AT = types.CPointer(types.uint8), types.CPointer(types.int64), types.CPointer(types.uint64)


@numba.njit(_BYTES_AT(_BYTES_AT), cache=True, nogil=True)
def _bytes_at(start):  # type: ignore[no-untyped-def]
    """`_bytes_at(array.ctypes)`: the pointer to an array, as a variable."""
    return start


@numba.njit(types.uint64(_BYTES_AT, types.int64), cache=True, nogil=True)
def _eight(data: np.ndarray, start: int) -> np.uint64:
    """Eight bytes as one number, the first lowest; the compiler makes one load of it."""
    low = np.uint64(data[start]) | np.uint64(data[start + 1]) << np.uint64(8)
    low |= np.uint64(data[start + 2]) << np.uint64(16) | np.uint64(data[start + 3]) << np.uint64(24)
    low |= np.uint64(data[start + 4]) << np.uint64(32) | np.uint64(data[start + 5]) << np.uint64(40)
    return low | np.uint64(data[start + 6]) << np.uint64(48) | np.uint64(data[start + 7]) << np.uint64(56)


@numba.njit(types.UniTuple(types.uint64, 2)(_BYTES_AT, types.int64, types.int64, types.int64), cache=True, nogil=True)
def _key(data: np.ndarray, start: int, size: int, readable: int) -> tuple[np.uint64, np.uint64]:
    """A word of 1 to SHORT bytes as two numbers: its bytes padded with zeros, its size in the last place. Different words differ.

    readable: bytes of `data`, none of which may be read behind it.
    """
    if start + 16 <= readable:
        low = _eight(data, start) & _ONES >> np.uint64(64 - 8 * min(size, 8))
        high = _eight(data, start + 8) & (np.uint64(1) << np.uint64(8 * max(size - 8, 0))) - np.uint64(1)
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
        value = (value ^ _eight(data, start)) * _HASH_PRIME
        value ^= value >> _HALF
        start += 8
        size -= 8
    low, high = _key(data, start, size, readable)
    return _key_hash(value, low, high)


@numba.njit(types.void(_U8, _I64, _U64_OUT), cache=True, nogil=True)
def hash_words(data: np.ndarray, offsets: np.ndarray, hashes: np.ndarray) -> None:
    """The hash of each word."""
    text = _bytes_at(data.ctypes)
    for word in range(len(hashes)):
        hashes[word] = _word_hash(text, offsets[word], offsets[word + 1] - offsets[word], len(data))


@numba.njit(types.UniTuple(types.int64, 2)(_BYTES_AT, types.int64), cache=True, nogil=True)
def _decode(data: np.ndarray, position: int) -> tuple[int, int]:
    """The code point at a position of valid UTF-8, and the position behind it."""
    lead = np.int64(data[position])
    if lead < 0x80:
        return lead, position + 1
    second = np.int64(data[position + 1]) & 0x3F
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | second, position + 2
    third = np.int64(data[position + 2]) & 0x3F
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | second << 6 | third, position + 3
    return (lead & 0x07) << 18 | second << 12 | third << 6 | (np.int64(data[position + 3]) & 0x3F), position + 4


@numba.njit(types.int64(_BYTES_AT, types.int64, types.int64), cache=True, nogil=True)
def _contraction(data: np.ndarray, start: int, end: int) -> int:
    """Bytes of `s|t|re|ve|m|ll|d` at `start`, in any case and with the long s, or 0."""
    if start >= end:
        return 0
    first = np.int64(data[start])
    second = np.int64(data[start + 1]) if start + 1 < end else 0
    if first == 0xC5 and second == 0xBF:  # U+017F, whose case folding is s
        return 2
    first, second = first | 0x20, second | 0x20
    if first == 0x73 or first == 0x74 or first == 0x6D or first == 0x64:  # s t m d
        return 1
    if (first == 0x72 or first == 0x76) and second == 0x65:  # re ve
        return 2
    return 2 if first == 0x6C and second == 0x6C else 0  # ll


@numba.njit(types.int64(types.uint64), cache=True, nogil=True)
def _ascii_letters(eight: np.uint64) -> int:
    """How many of eight bytes, from the lowest, are ASCII letters: a comparison of all at once, without a branch per byte."""
    small = (eight | _SMALL) & ~_HIGH_BITS
    others = (~((small + _FROM_A) & ~(small + _BEYOND_Z)) | eight) & _HIGH_BITS
    if others == 0:
        return 8
    return np.int64(((others & (~others + np.uint64(1))) >> np.uint64(7)) * _PLACES >> np.uint64(56))


@numba.njit(types.int64(_BYTES_AT, types.int64, types.int64, _BYTES_AT), cache=True, nogil=True)
def _letters_end(data: np.ndarray, after: int, end: int, classes: np.ndarray) -> int:
    """The position behind the run of letters that goes on, or not, at `after`."""
    while after < end:
        if np.int64(data[after]) < 0x80 and after + 8 <= end:
            letters = _ascii_letters(_eight(data, after))
            after += letters
            if letters == 8:
                continue
            if np.int64(data[after]) < 0x80:
                break
        code, following = _decode(data, after)
        if not classes[code] & LETTER:
            break
        after = following
    return after


@numba.njit(types.int64(_BYTES_AT, types.int64, types.int64, _BYTES_AT), cache=True, nogil=True)
def _symbols_end(data: np.ndarray, after: int, end: int, classes: np.ndarray) -> int:
    """The position behind the run of symbols at `after`, and behind the line ends that follow it."""
    while after < end:
        code, following = _decode(data, after)
        if classes[code] != SYMBOL:
            break
        after = following
    while after < end and (np.int64(data[after]) == 10 or np.int64(data[after]) == 13):
        after += 1
    return after


@numba.njit(types.int64(_BYTES_AT, types.int64, types.int64, _BYTES_AT), cache=True, nogil=True)
def _space_end(data: np.ndarray, start: int, end: int, classes: np.ndarray) -> int:
    """The end of a pre-token of white space at `start`: behind the last line end of the run, or else before the run's last character,
    which goes with what follows, if anything does and the run has more than one."""
    after = last = start
    newline = 0
    while after < end:
        code, following = _decode(data, after)
        kind = classes[code]
        if not kind & SPACE:
            break
        last, after = after, following
        if kind & NEWLINE:
            newline = after
    if newline:
        return newline
    return after if after == end or last == start else last


@numba.njit(types.int64(_BYTES_AT, types.int64, types.int64, _BYTES_AT), cache=True, nogil=True)
def _pretoken_end(data: np.ndarray, start: int, end: int, classes: np.ndarray) -> int:
    """The position behind the pre-token that begins at `start` < `end`."""
    code, after = _decode(data, start)
    kind = classes[code]
    if kind & LETTER:
        return _letters_end(data, after, end, classes)
    if kind & NUMBER:
        return after
    if code == 0x27:  # an apostrophe
        size = _contraction(data, after, end)
        if size:
            return after + size
    if after < end and not kind & NEWLINE:
        code_after, following = _decode(data, after)
        kind_after = classes[code_after]
        if kind_after & LETTER:
            return _letters_end(data, following, end, classes)
        if code == 0x20 and kind_after == SYMBOL:
            return _symbols_end(data, following, end, classes)
    if kind == SYMBOL:
        return _symbols_end(data, after, end, classes)
    return _space_end(data, start, end, classes)


@numba.njit(types.int64(_U8, _U8, _I64_OUT), cache=True, nogil=True)
def split(data: np.ndarray, classes: np.ndarray, ends: np.ndarray) -> int:
    """Fill `ends` (as long as the text) with the ends of the pre-tokens of one text; returns how many there are."""
    text, kinds = _bytes_at(data.ctypes), _bytes_at(classes.ctypes)
    start = found = 0
    while start < len(data):
        start = _pretoken_end(text, start, len(data), kinds)
        ends[found] = start
        found += 1
    return found


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
    text, letters = _bytes_at(data.ctypes), _bytes_at(arena.ctypes)
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
    text, kinds = _bytes_at(data.ctypes), _bytes_at(classes.ctypes)
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
                after = _pretoken_end(text, position, end, kinds)
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
    letters = _bytes_at(arena.ctypes)
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
    letters = _bytes_at(arena.ctypes)
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


@numba.njit(types.void(_U8, _I64, _U8, _BOOLEAN_OUT), cache=True, nogil=True)
def may_change(data: np.ndarray, offsets: np.ndarray, table: np.ndarray, flags: np.ndarray) -> None:
    """Flag the texts that aren't certainly in NFC: the quick check of Unicode Standard Annex #15, section 9.

    table: uint8 of each code point, its canonical combining class or MAY_CHANGE.
    """
    text = _bytes_at(data.ctypes)
    for row in range(len(flags)):
        position, end = offsets[row], offsets[row + 1]
        before = 0
        flag = False
        while position < end:
            if position + 8 <= end and _eight(text, position) & _HIGH_BITS == 0:
                position += 8
                before = 0
                continue
            code, position = _decode(text, position)
            value = np.int64(table[code])
            if value == MAY_CHANGE or (value != 0 and value < before):
                flag = True
                break
            before = value
        flags[row] = flag
