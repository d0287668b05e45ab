"""Text parted into pre-tokens and counted, compiled: a state machine over UTF-8 bytes in front of a hash table of words.

The state machine makes the splits of the regular expression `pretoken.PATTERN` in one pass, without its backtracking: time is linear in
the text whatever it holds. Importing this module loads (the first time: compiles) the kernels.
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

LETTER, NUMBER, SPACE, NEWLINE = unicode_classes.LETTER, unicode_classes.NUMBER, unicode_classes.SPACE, unicode_classes.NEWLINE

MAY_CHANGE = 255
"""In the table of `may_change`: a code point that NFC may turn into another; other values are canonical combining classes."""

SHORT = 15
"""Bytes of a word that has its place in the table itself: nearly all English words, and Korean ones of up to five syllables."""

SLOT = 3
"""Numbers of one slot of the table, all 0 in a free one: for a short word its key (see `_key`) and its count; for a longer one its place
in the arena (upper 40 bits) with its size (lower 24), LONG with 56 bits of its hash, and its count."""

LONG = np.uint64(1 << 63)

MAX_WORD_BYTES = (1 << 24) - 1

ROW, POSITION, WORDS, ARENA = 0, 1, 2, 3
"""`state` of a count: where to go on (document, byte) and what the table holds (words, bytes of them)."""

OCCURRENCES, BYTES, LONG_OCCURRENCES, LONG_BYTES, BEYOND_BYTES = 0, 1, 2, 3, 4
"""`totals` of a count, each document as often as its weight says: counted words, their bytes, words above the limit and their bytes, and
bytes behind the limit of a document."""

TOTALS = 5

DONE, TABLE_FULL = 0, 1
"""What `count` and `add` return: TABLE_FULL asks for a larger table and the same call again, which goes on where it stopped."""

_APOSTROPHE, _BLANK = 0x27, 0x20
_LOWER = 0x20  # the bit between capital and small ASCII letters

_HASH_START = np.uint64(0x9E3779B97F4A7C15)
_HASH_PRIME = np.uint64(0xD6E8FEB86659FD93)
_PLACE_SHIFT, _SIZE = np.uint64(24), np.uint64(0xFFFFFF)
_HALF, _SIZE_SHIFT, _ONES = np.uint64(32), np.uint64(56), np.uint64(0xFFFFFFFFFFFFFFFF)
_HIGH_BITS = np.uint64(0x8080808080808080)

# Of each of eight bytes below 0x80: the bit that makes it small, and what takes it to 0x80 or above from "a" on and behind "z".
_SMALL, _FROM_A, _BEYOND_Z = np.uint64(0x2020202020202020), np.uint64(0x1F1F1F1F1F1F1F1F), np.uint64(0x0505050505050505)
_PLACES = np.uint64(0x0001020304050607)  # times 1 << 8 * i, its highest byte is i

_U8, _I64, _U64 = read_only(types.uint8), read_only(types.int64), read_only(types.uint64)
_BOOLEAN_OUT, _U8_OUT, _I64_OUT, _U64_OUT = writable(types.boolean), writable(types.uint8), writable(types.int64), writable(types.uint64)


@numba.njit(types.uint64(_U8, types.int64), cache=True, nogil=True, inline="always")
def _eight(data: np.ndarray, start: int) -> np.uint64:
    """Eight bytes as one number, the first lowest; the compiler makes one load of it."""
    at = np.uint64(start)
    return (
        np.uint64(data[at])
        | np.uint64(data[at + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[at + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[at + np.uint64(3)]) << np.uint64(24)
        | np.uint64(data[at + np.uint64(4)]) << np.uint64(32)
        | np.uint64(data[at + np.uint64(5)]) << np.uint64(40)
        | np.uint64(data[at + np.uint64(6)]) << np.uint64(48)
        | np.uint64(data[at + np.uint64(7)]) << np.uint64(56)
    )


@numba.njit(types.UniTuple(types.uint64, 2)(_U8, types.int64, types.int64), cache=True, nogil=True, inline="always")
def _key(data: np.ndarray, start: int, size: int) -> tuple[np.uint64, np.uint64]:
    """A word of 1 to SHORT bytes as two numbers: its bytes padded with zeros, its size in the last place. Different words differ."""
    if start + 16 <= len(data):
        low, high = _eight(data, start), _eight(data, start + 8)
        low &= _ONES >> np.uint64(64 - 8 * min(size, 8))
        high &= (np.uint64(1) << np.uint64(8 * max(size - 8, 0))) - np.uint64(1)
    else:
        low = high = np.uint64(0)
        for place in range(min(size, 8)):
            low |= np.uint64(data[np.uint64(start + place)]) << np.uint64(8 * place)
        for place in range(8, size):
            high |= np.uint64(data[np.uint64(start + place)]) << np.uint64(8 * (place - 8))
    return low, high | np.uint64(size) << _SIZE_SHIFT


@numba.njit(types.uint64(types.uint64, types.uint64, types.uint64), cache=True, nogil=True, inline="always")
def _key_hash(value: np.uint64, low: np.uint64, high: np.uint64) -> np.uint64:
    value = (value ^ low) * _HASH_PRIME
    return mix(value ^ value >> _HALF ^ high)


@numba.njit(types.uint64(_U8, types.int64, types.int64), cache=True, nogil=True)
def word_hash(data: np.ndarray, start: int, size: int) -> np.uint64:
    """The hash of a word: its first bytes eight at a time, then the last 8 to 15 (or all of a short word) as their key.

    Files are partitioned by it, so it never changes.
    """
    value = _HASH_START
    while size > SHORT:
        value = (value ^ _eight(data, start)) * _HASH_PRIME
        value ^= value >> _HALF
        start += 8
        size -= 8
    low, high = _key(data, start, size)
    return _key_hash(value, low, high)


@numba.njit(types.void(_U8, _I64, _U64_OUT), cache=True, nogil=True)
def hash_words(data: np.ndarray, offsets: np.ndarray, hashes: np.ndarray) -> None:
    """`word_hash` of each word."""
    for word in range(len(hashes)):
        hashes[word] = word_hash(data, offsets[word], offsets[word + 1] - offsets[word])


@numba.njit(types.UniTuple(types.int64, 2)(_U8, types.int64), cache=True, nogil=True, inline="always")
def _decode(data: np.ndarray, position: int) -> tuple[int, int]:
    """The code point at a position of valid UTF-8, and the position behind it."""
    at = np.uint64(position)
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead, position + 1
    second = np.int64(data[at + np.uint64(1)]) & 0x3F
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | second, position + 2
    third = np.int64(data[at + np.uint64(2)]) & 0x3F
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | second << 6 | third, position + 3
    return (lead & 0x07) << 18 | second << 12 | third << 6 | (np.int64(data[at + np.uint64(3)]) & 0x3F), position + 4


@numba.njit(types.int64(_U8, types.int64, types.int64), cache=True, nogil=True, inline="always")
def _contraction(data: np.ndarray, start: int, end: int) -> int:
    """Bytes of `s|t|re|ve|m|ll|d` at `start`, in any case and with the long s, or 0."""
    if start >= end:
        return 0
    first = data[np.uint64(start)]
    second = data[np.uint64(start + 1)] if start + 1 < end else np.uint8(0)
    if first == 0xC5 and second == 0xBF:  # U+017F, whose case folding is s
        return 2
    first |= np.uint8(_LOWER)
    if first == 0x73 or first == 0x74 or first == 0x6D or first == 0x64:  # s t m d
        return 1
    second |= np.uint8(_LOWER)
    if (first == 0x72 or first == 0x76) and second == 0x65:  # re ve
        return 2
    return 2 if first == 0x6C and second == 0x6C else 0  # ll


@numba.njit(types.int64(types.uint64), cache=True, nogil=True, inline="always")
def _ascii_letters(eight: np.uint64) -> int:
    """How many of eight bytes, from the lowest, are ASCII letters: a comparison of all at once, without a branch per byte."""
    small = (eight | _SMALL) & ~_HIGH_BITS
    others = ~((small + _FROM_A) & ~(small + _BEYOND_Z)) | eight
    first = others & _HIGH_BITS
    if first == 0:
        return 8
    return np.int64(((first & (~first + np.uint64(1))) >> np.uint64(7)) * _PLACES >> np.uint64(56))


@numba.njit(types.int64(_U8, types.int64, types.int64, _U8), cache=True, nogil=True, inline="always")
def _letters_end(data: np.ndarray, after: int, end: int, classes: np.ndarray) -> int:
    """The position behind the run of letters that goes on, or not, at `after`."""
    while after < end:
        if data[np.uint64(after)] < 0x80 and after + 8 <= end:
            ascii_letters = _ascii_letters(_eight(data, after))
            after += ascii_letters
            if ascii_letters == 8:
                continue
            if data[np.uint64(after)] < 0x80:
                break
        code, following = _decode(data, after)
        if not classes[np.uint64(code)] & LETTER:
            break
        after = following
    return after


@numba.njit(types.int64(_U8, types.int64, types.int64, _U8), cache=True, nogil=True, inline="always")
def pretoken_end(data: np.ndarray, start: int, end: int, classes: np.ndarray) -> int:
    """The position behind the pre-token that begins at `start` < `end`. classes: `unicode_classes.class_table`."""
    code, after = _decode(data, start)
    kind = classes[np.uint64(code)]
    if kind & NUMBER:
        return after
    if code == _APOSTROPHE:
        size = _contraction(data, after, end)
        if size:
            return after + size
    letters = kind & LETTER
    symbols = kind == 0
    if not letters and not kind & NEWLINE and after < end:
        next_code, next_after = _decode(data, after)
        next_kind = classes[np.uint64(next_code)]
        if next_kind & LETTER:
            letters = np.uint8(1)
            after = next_after
        elif code == _BLANK and next_kind == 0:
            symbols = True
            after = next_after
    if letters:
        return _letters_end(data, after, end, classes)
    if symbols:
        while after < end:
            code, following = _decode(data, after)
            if classes[np.uint64(code)] != 0:
                break
            after = following
        while after < end and (data[np.uint64(after)] == 10 or data[np.uint64(after)] == 13):
            after += 1
        return after
    last = start  # where the last white space of the run begins
    newline = after if kind & NEWLINE else 0  # behind the last CR or LF of the run
    while after < end:
        code, following = _decode(data, after)
        kind = classes[np.uint64(code)]
        if not kind & SPACE:
            break
        last = after
        after = following
        if kind & NEWLINE:
            newline = after
    if newline:
        return newline
    return after if after == end or last == start else last


@numba.njit(types.int64(_U8, types.int64, types.int64, _U8, _I64_OUT), cache=True, nogil=True)
def split(data: np.ndarray, start: int, end: int, classes: np.ndarray, ends: np.ndarray) -> int:
    """Fill `ends` (as long as the text) with the ends of the pre-tokens of one text; returns how many there are."""
    found = 0
    while start < end:
        start = pretoken_end(data, start, end, classes)
        ends[found] = start
        found += 1
    return found


@numba.njit(types.boolean(_U8_OUT, types.int64, _U8, types.int64, types.int64), cache=True, nogil=True)
def _same(arena: np.ndarray, place: int, data: np.ndarray, start: int, size: int) -> bool:
    at = 0
    while at < size and arena[np.uint64(place + at)] == data[np.uint64(start + at)]:
        at += 1
    return at == size


@numba.njit(types.boolean(_U8, types.int64, types.int64, _U64_OUT, _U8_OUT, _I64_OUT, types.int64), cache=True, nogil=True, inline="always")
def _count_word(data: np.ndarray, start: int, size: int, slots: np.ndarray, arena: np.ndarray, state: np.ndarray, weight: int) -> bool:
    """Add `weight` to a word's count; False when it is new and the table has no room for it.

    slots: a power of two of SLOT numbers, at most half of them taken. Words are told apart by their bytes, hashes only find them.
    """
    is_short = size <= SHORT
    if is_short:
        low, high = _key(data, start, size)
        value = _key_hash(_HASH_START, low, high)
    else:
        value = word_hash(data, start, size)
        low, high = np.uint64(size), LONG | value >> np.uint64(8)
    mask = np.uint64(len(slots) // SLOT - 1)
    slot = value & mask
    while True:
        at = slot * np.uint64(SLOT)
        held = slots[at + np.uint64(1)]
        if held == high:
            if is_short:
                same = slots[at] == low
            else:
                same = slots[at] & _SIZE == low and _same(arena, np.int64(slots[at] >> _PLACE_SHIFT), data, start, size)
            if same:
                slots[at + np.uint64(2)] += np.uint64(weight)
                return True
        if held == 0:
            break
        slot = (slot + np.uint64(1)) & mask
    used = state[ARENA]
    if 2 * SLOT * (state[WORDS] + 1) > len(slots) or (not is_short and used + size > len(arena)):
        return False
    if not is_short:
        for place in range(size):
            arena[np.uint64(used + place)] = data[np.uint64(start + place)]
        low |= np.uint64(used) << _PLACE_SHIFT
        state[ARENA] = used + size
    state[WORDS] += 1
    slots[at], slots[at + np.uint64(1)], slots[at + np.uint64(2)] = low, high, np.uint64(weight)
    return True


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
    """Count the pre-tokens of documents, beginning at `state`; returns DONE or TABLE_FULL. See `_count_word` for the table.

    weights: int64, how often each document counts. A pre-token counts when it ends within the document's first `max_document_bytes`.
    """
    for row in range(state[ROW], len(offsets) - 1):
        weight = weights[row]
        begin, end = offsets[row], offsets[row + 1]
        position = max(begin, state[POSITION])
        limit = min(end, begin + max_document_bytes)
        if weight == 0:
            continue
        occurrences = words_bytes = 0
        full = False
        while position < limit:
            after = pretoken_end(data, position, end, classes)
            if after > limit:
                break
            size = after - position
            if size > max_word_bytes:
                totals[LONG_OCCURRENCES] += weight
                totals[LONG_BYTES] += weight * size
            elif _count_word(data, position, size, slots, arena, state, weight):
                occurrences += 1
                words_bytes += size
            else:
                full = True
                break
            position = after
        totals[OCCURRENCES] += weight * occurrences
        totals[BYTES] += weight * words_bytes
        if full:
            state[ROW], state[POSITION] = row, position
            return TABLE_FULL
        totals[BEYOND_BYTES] += weight * (end - position)
    return DONE


@numba.njit(types.int64(_U8, _I64, _I64, _U64_OUT, _U8_OUT, _I64_OUT), cache=True, nogil=True)
def add(data: np.ndarray, offsets: np.ndarray, counts: np.ndarray, slots: np.ndarray, arena: np.ndarray, state: np.ndarray) -> int:
    """Add words that were counted elsewhere, beginning at `state[ROW]`; returns DONE or TABLE_FULL."""
    for row in range(state[ROW], len(offsets) - 1):
        if not _count_word(data, offsets[row], offsets[row + 1] - offsets[row], slots, arena, state, counts[row]):
            state[ROW] = row
            return TABLE_FULL
    return DONE


@numba.njit(types.uint64(_U8_OUT, types.uint64, types.uint64), cache=True, nogil=True)
def _slot_hash(arena: np.ndarray, low: np.uint64, high: np.uint64) -> np.uint64:
    """The hash of the word in a slot."""
    if high & LONG:
        return word_hash(arena, np.int64(low >> _PLACE_SHIFT), np.int64(low & _SIZE))
    return _key_hash(_HASH_START, low, high)


@numba.njit(types.void(_U64_OUT, _U8_OUT, _U64_OUT), cache=True, nogil=True)
def move_slots(slots: np.ndarray, arena: np.ndarray, larger: np.ndarray) -> None:
    """Enter all words of a table into another one's slots, which are all 0."""
    mask = np.uint64(len(larger) // SLOT - 1)
    for at in range(0, len(slots), SLOT):
        low, high = slots[at], slots[at + 1]
        if high == 0:
            continue
        slot = _slot_hash(arena, low, high) & mask
        while larger[slot * np.uint64(SLOT) + np.uint64(1)] != 0:
            slot = (slot + np.uint64(1)) & mask
        to = slot * np.uint64(SLOT)
        larger[to], larger[to + np.uint64(1)], larger[to + np.uint64(2)] = low, high, slots[at + 2]


@numba.njit(types.void(_U64_OUT, _U8_OUT, _I64_OUT, _I64_OUT, _U64_OUT), cache=True, nogil=True)
def list_words(slots: np.ndarray, arena: np.ndarray, places: np.ndarray, sizes: np.ndarray, hashes: np.ndarray) -> None:
    """The words of a table as they lie in it: the place of the slot, the size in bytes and the hash of each."""
    found = 0
    for at in range(0, len(slots), SLOT):
        low, high = slots[at], slots[at + 1]
        if high == 0:
            continue
        places[found] = at
        sizes[found] = np.int64(low & _SIZE if high & LONG else high >> _SIZE_SHIFT)
        hashes[found] = _slot_hash(arena, low, high)
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
    for row in range(len(flags)):
        position, end = offsets[row], offsets[row + 1]
        before = np.uint8(0)
        flag = False
        while position < end:
            if position + 8 <= end and _eight(data, position) & _HIGH_BITS == 0:
                position += 8
                before = np.uint8(0)
                continue
            code, position = _decode(data, position)
            value = table[np.uint64(code)]
            if value == MAY_CHANGE or (value != 0 and value < before):
                flag = True
                break
            before = value
        flags[row] = flag
