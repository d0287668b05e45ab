"""Shingles: the overlapping pieces of a prepared text whose set stands for the document when documents are compared.

A shingle of bytes starts at every character and is the shortest run of whole characters of at least `size` UTF-8 bytes. Bytes, because
they nearly equalise the two languages: Korean text has 0.45 times the characters of its English translation, of 3 bytes each.
A shingle of words starts at every word and is `size` consecutive words with the boundaries between them ("ab c" is not "a bc").
A text shorter than one shingle is one shingle as a whole; an empty text has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import pyarrow as pa
from numba import types

from decontam.arrow import text_buffers
from decontam.normalize import Normalized, normalize_buffers
from decontam.numba_types import read_only, writable
from pipeline.errors import UserError
from pipeline.kernels import mix

BLOCK = 512
"""Characters whose shingles are hashed together: the tables for them take 25 KB, and all stays in the first-level cache."""

MAX_SIZE = 4096
"""Of a shingle: what `hash_block` numbers with 16 bits goes up to 4 (BLOCK + size)."""

BASE = np.uint64(0x9E3779B97F4A7C15)
"""Of the polynomial hash (2**64 divided by the golden ratio). Odd, so that it has an inverse modulo 2**64."""

_INVERSE = np.uint64(pow(int(BASE), -1, 1 << 64))
_ONE = np.uint64(1)
_ASCII_SPACES = np.uint64(sum(1 << code for code in (*range(0x09, 0x0E), *range(0x1C, 0x21))))

BYTES = read_only(types.uint8)
CODEPOINTS = read_only(types.uint32)
OFFSETS = read_only(types.int64)
HASHES = writable(types.uint64)


@dataclass(frozen=True)
class Shingling:
    """What documents are compared by.

    unit: "bytes" or "words". size: UTF-8 bytes, or words, of a shingle. written: compare all characters but white space as they are,
    instead of letters and digits after NFKC and case folding. seed: of the shingle hashes.
    Raises UserError for another unit and for a size below 1 or above MAX_SIZE.
    """

    unit: str = "bytes"
    size: int = 27
    written: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        if self.unit not in ("bytes", "words"):
            raise UserError(f"shingles of '{self.unit}' are unknown; use 'bytes' or 'words'")
        if not 1 <= self.size <= MAX_SIZE:
            raise UserError(f"shingles of {self.size} {self.unit} can't be made; give a size from 1 to {MAX_SIZE}")


def prepare(text: pa.Array | pa.ChunkedArray, shingling: Shingling) -> Normalized:
    """The characters that count of each text of a string column; a null is an empty text.

    By default those of `decontam.normalize`, where written all but white space. White space is what `str.split` splits at. For words,
    `breaks` is 1 where one begins: words are separated by white space alone, and one without characters that count is none.
    Raises DecontamError for a column that is not text.
    """
    data, offsets = text_buffers(text)
    words = shingling.unit == "words"
    if shingling.written:
        size = int(offsets[-1] - offsets[0])
        codepoints, breaks = np.empty(size, np.uint32), np.empty(size if words else 0, np.uint8)
        out_offsets = np.empty(len(offsets), np.int64)
        _keep_written(data, offsets, words, codepoints, breaks, out_offsets)
        length = int(out_offsets[-1])
        return Normalized(codepoints[:length], out_offsets, breaks=breaks[:length] if words else None)
    texts = normalize_buffers(data, offsets, with_spans=words)
    if not words:
        return texts
    breaks = np.empty(len(texts.codepoints), np.uint8)
    _word_starts(data, offsets, texts.offsets, np.asarray(texts.ends), breaks)
    return Normalized(texts.codepoints, texts.offsets, breaks=breaks)


def word_breaks(texts: Normalized, shingling: Shingling) -> tuple[bool, np.ndarray]:
    """(whether shingles are of words, their starts as uint8[characters], or uint8[0] for shingles of bytes): what the kernels take.

    Raises ValueError for texts that were not prepared for words.
    """
    if shingling.unit == "bytes":
        return False, np.zeros(0, np.uint8)
    if texts.breaks is None:
        raise ValueError("shingles of words need texts that were prepared for them")
    return True, texts.breaks


@numba.njit(types.uint64(BYTES, types.uint64, types.uint64, types.uint64), cache=True, nogil=True, inline="always")
def _low(data: Any, position: Any, byte: Any, shift: Any) -> Any:
    return (np.uint64(data[position + np.uint64(byte)]) & np.uint64(63)) << np.uint64(shift)


@numba.njit(types.UniTuple(types.uint64, 2)(BYTES, types.uint64, types.uint64), cache=True, nogil=True, inline="always")
def _decode(data: Any, position: Any, end: Any) -> Any:
    """`(code point, bytes)` of the character at `position`; what is cut off at the end is read byte by byte."""
    lead = np.uint64(data[position])
    if lead < 0x80:
        return lead, np.uint64(1)
    if 0xE0 <= lead < 0xF0 and position + np.uint64(2) < end:
        return (lead & np.uint64(15)) << np.uint64(12) | _low(data, position, 1, 6) | _low(data, position, 2, 0), np.uint64(3)
    if 0xC0 <= lead < 0xE0 and position + np.uint64(1) < end:
        return (lead & np.uint64(31)) << np.uint64(6) | _low(data, position, 1, 0), np.uint64(2)
    if lead >= 0xF0 and position + np.uint64(3) < end:
        high = (lead & np.uint64(7)) << np.uint64(18) | _low(data, position, 1, 12)
        return high | _low(data, position, 2, 6) | _low(data, position, 3, 0), np.uint64(4)
    return lead, np.uint64(1)


@numba.njit(types.boolean(types.uint64), cache=True, nogil=True, inline="always")
def _is_space(code: Any) -> Any:
    """As `str.isspace`: the White_Space property of Unicode and the four separators U+001C to U+001F."""
    if code <= 0x20:
        return (_ASCII_SPACES >> code) & _ONE != 0
    if code < 0x1680:
        return code == 0x85 or code == 0xA0
    wide = 0x2000 <= code <= 0x200A or code == 0x2028 or code == 0x2029 or code == 0x202F or code == 0x205F
    return code <= 0x3000 and (wide or code == 0x1680 or code == 0x3000)


@numba.njit(
    types.void(BYTES, OFFSETS, types.boolean, writable(types.uint32), writable(types.uint8), writable(types.int64)), cache=True, nogil=True
)
def _keep_written(
    data: np.ndarray, offsets: np.ndarray, words: bool, codepoints: np.ndarray, breaks: np.ndarray, out_offsets: np.ndarray
) -> None:
    """Decode all characters but white space."""
    k = np.uint64(0)
    out_offsets[0] = 0
    for document in range(len(offsets) - 1):
        position, end, boundary = np.uint64(offsets[document]), np.uint64(offsets[document + 1]), np.uint8(1)
        while position < end:
            code, width = _decode(data, position, end)
            space = _is_space(code)
            codepoints[k] = code  # the next character takes the place of white space
            if words:
                breaks[k] = boundary
                boundary = np.uint8(space)
            k += np.uint64(not space)
            position += width
        out_offsets[document + 1] = k


@numba.njit(types.void(BYTES, OFFSETS, OFFSETS, CODEPOINTS, writable(types.uint8)), cache=True, nogil=True)
def _word_starts(data: np.ndarray, offsets: np.ndarray, kept: np.ndarray, ends: np.ndarray, breaks: np.ndarray) -> None:
    """Mark each character of the output (documents at `kept`, last source bytes in `ends`) that white space stands before."""
    for document in range(len(offsets) - 1):
        begin, end = np.uint64(offsets[document]), np.uint64(offsets[document + 1])
        position, boundary = begin, np.uint8(1)
        for index in range(np.uint64(kept[document]), np.uint64(kept[document + 1])):
            # White space can also stand in the span itself, at its start, as what a mark was put on.
            while position < begin + np.uint64(ends[index]):
                code, width = _decode(data, position, end)
                position += width
                boundary |= np.uint8(_is_space(code))
            breaks[index] = boundary
            boundary = np.uint8(0)


@numba.njit(HASHES(types.uint64, types.int64), cache=True, nogil=True)
def powers(base: np.uint64, count: int) -> np.ndarray:
    """uint64[count]: the powers 0, 1, ... of `base` modulo 2**64."""
    result = np.empty(count, np.uint64)
    power = _ONE
    for index in range(count):
        result[index] = power
        power *= base
    return result


_PLACES = writable(types.uint16)
_WORKSPACE = types.Tuple((HASHES, HASHES, HASHES, _PLACES, _PLACES))


@numba.njit(_WORKSPACE(types.int64), cache=True, nogil=True)
def workspace(size: int) -> Any:
    """What `hash_block` needs for shingles of `size` bytes: tables of powers, and memory that stays in the first-level cache."""
    room = BLOCK + size
    before, following = np.empty(room, np.uint16), np.empty(4 * room + 5, np.uint16)
    return powers(BASE, room), powers(_INVERSE, room), np.empty(room + 1, np.uint64), before, following


@numba.njit(
    types.int64(CODEPOINTS, types.int64, types.int64, types.int64, types.int64, types.uint64, _WORKSPACE, HASHES, types.int64),
    cache=True,
    nogil=True,
)
def hash_block(
    codepoints: np.ndarray, start: int, first: int, stop: int, size: int, seed: np.uint64, work: Any, out: np.ndarray, at: int
) -> Any:
    """Write the hashes of the shingles of bytes that begin in the BLOCK characters from `first` of the text `codepoints[start:stop]`.

    They go to `out` (uint64, room for BLOCK) from `at` on, in text order; repeated shingles repeatedly. Returns how many there are.
    A hash is the polynomial of the shingle's code points, sum of (c_j + 1) BASE^j modulo 2**64, mixed with the seed. It is had from
    prefix sums: the terms of one character are divided by the power at which the shingle begins. The low bits of the polynomial are weak
    (bit j depends on bits up to j only), so the mixing is not optional.
    """
    weight, inverse, sums, before, following = work
    salt = mix(seed + BASE)
    begin, count, to = np.uint64(first), np.uint64(min(stop - first, BLOCK + size)), np.uint64(at)
    least, most, total = np.uint32(0xFFFFFFFF), np.uint32(0), np.uint64(0)
    sums[0] = total
    for index in range(count):
        code = codepoints[begin + index]
        least, most = min(least, code), max(most, code)
        total += (np.uint64(code) + _ONE) * weight[index]
        sums[index + _ONE] = total
    width = np.uint64(0)
    if most < 0x80:
        width = np.uint64(size)
    elif least >= 0x800 and most < 0x10000:
        width = np.uint64((size + 2) // 3)
    found = np.uint64(0)
    if width > 0:
        # Nearly all blocks of English text, and those of Korean without figures: the compiler makes vector code of this.
        if count >= width:
            found = min(np.uint64(BLOCK), count - width + _ONE)
        for index in range(found):
            out[to + index] = mix(((sums[index + width] - sums[index]) * inverse[index]) ^ salt)
    else:
        reach = np.uint64(0)
        for index in range(count):
            code = codepoints[begin + index]
            before[index] = reach
            # Bytes up to the end of this character belong to windows that end behind it; what is written too far is overwritten next.
            for byte in range(1, 5):
                following[reach + np.uint64(byte)] = index + _ONE
            reach += _ONE + np.uint64(code >= 0x80) + np.uint64(code >= 0x800) + np.uint64(code >= 0x10000)
        found = min(np.uint64(BLOCK), count)
        while found > 0 and np.uint64(before[found - _ONE]) + np.uint64(size) > reach:
            found -= _ONE
        for index in range(found):
            end = np.uint64(following[np.uint64(before[index]) + np.uint64(size)])
            out[to + index] = mix(((sums[end] - sums[index]) * inverse[index]) ^ salt)
    if found == 0 and count > 0 and first == start:
        out[to] = mix(total ^ salt)
        found = _ONE
    return np.int64(found)


@numba.njit(types.int64(CODEPOINTS, BYTES, types.int64, types.int64, types.int64, types.uint64, HASHES), cache=True, nogil=True)
def hash_word_shingles(
    codepoints: np.ndarray, breaks: np.ndarray, start: int, stop: int, words: int, seed: np.uint64, out: np.ndarray
) -> Any:
    """Write the hashes of the shingles of words of the text `codepoints[start:stop]` to `out` (uint64, room for stop - start).

    Words begin where `breaks` is 1, and at `start`. A hash is a mixed polynomial over the hashes of the words, which are mixed polynomials
    over their code points. Returns the number of shingles.
    """
    heaviest = powers(BASE, words)[words - 1]
    salt = mix(seed + BASE)
    found, word, weight = np.uint64(0), np.uint64(0), _ONE
    for index in range(np.uint64(start), np.uint64(stop)):
        if breaks[index] != 0 and index > np.uint64(start):
            out[found] = mix(word ^ salt)
            found += _ONE
            word, weight = np.uint64(0), _ONE
        word += (np.uint64(codepoints[index]) + _ONE) * weight
        weight *= BASE
    if stop > start:
        out[found] = mix(word ^ salt)
        found += _ONE
    rolled, count = np.uint64(0), np.uint64(0)
    for index in range(found):
        # The shingle that ends here is written over the word that leaves: later shingles don't need it.
        rolled = rolled * BASE + out[index]
        if index + _ONE >= np.uint64(words):
            leaving = out[count]
            out[count] = mix(rolled ^ salt)
            rolled -= leaving * heaviest
            count += _ONE
    if count == 0 and found > 0:
        out[0] = mix(rolled ^ salt)
        count = _ONE
    return np.int64(count)
