"""Pre-tokens, the words that a tokenizer learns from: texts brought to NFC, parted as the tokenizer parts them, and counted."""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import normalizers

from tokenizer import count_kernel as table_kernel
from tokenizer import pretoken_kernel as kernel
from tokenizer.unicode_classes import CODE_POINTS, class_table
from tokenizer.words import Words

_FIRST_SLOTS, _FIRST_BYTES = 1 << 13, 1 << 16
"""Room of a new counter, for half as many words as slots; it doubles as it fills."""

_NO_LIMIT = np.iinfo(np.int64).max // 2


def normalized(texts: pa.Array) -> pa.Array:
    """A large_string array in NFC. Only texts that the quick check can't clear are normalised, by the tokenizer's own normaliser.

    That is `tokenizers`' NFC, so that counting sees what encoding will see; it takes linear time also on long stacks of combining marks,
    unlike Python's. It knows fewer combining marks than newer Unicode versions do.
    """
    data, offsets = buffers_of(texts)
    flags = np.zeros(len(texts), bool)
    kernel.may_change(data, offsets, _nfc_table(), flags)
    if not flags.any():
        return texts
    mask = pa.array(flags)
    nfc = normalizers.NFC()
    changed = [text if text is None else nfc.normalize_str(text) for text in texts.filter(mask).to_pylist()]
    return pc.replace_with_mask(texts, mask, pa.array(changed, texts.type))


@functools.cache
def _nfc_table() -> np.ndarray:
    """uint8[CODE_POINTS] for the quick check: combining classes, and MAY_CHANGE where the property NFC_Quick_Check is not Yes.

    Code points that this Python doesn't know (category Cn) may be known to the normaliser: they are MAY_CHANGE too.
    """
    table = np.zeros(CODE_POINTS, np.uint8)
    table[0x40000:0xE0000] = kernel.MAY_CHANGE  # planes without a character
    for code in (*range(0x40000), *range(0xE0000, 0xE1000)):
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Cn":
            table[code] = kernel.MAY_CHANGE
        elif category not in ("Co", "Cs"):
            table[code] = unicodedata.combining(character)
            parts = unicodedata.decomposition(character).split()
            if not parts or parts[0].startswith("<"):
                continue
            if not unicodedata.is_normalized("NFC", character):
                table[code] = kernel.MAY_CHANGE
            elif len(parts) == 2:
                table[int(parts[1], 16)] = kernel.MAY_CHANGE  # it may join what stands before it
    table[0x1161:0x1176] = table[0x11A8:0x11C3] = kernel.MAY_CHANGE  # vowels and finals of Hangul, which join by rule
    table.flags.writeable = False
    return table


def buffers_of(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a large_string array (uint8) and the rows + 1 positions in them (int64), without a copy. A null is an empty text."""
    if texts.null_count:
        texts = texts.fill_null("")
    _, offset_buffer, data_buffer = texts.buffers()
    if not len(texts):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    offsets = np.frombuffer(offset_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.zeros(0, np.uint8), offsets


def pretokens(text: str) -> list[str]:
    """The pre-tokens of one text as it stands, without normalisation: for looking at, not for bulk work."""
    data = np.frombuffer(text.encode(), np.uint8)
    ends = np.zeros(len(data), np.int64)
    found = ends[: kernel.split(data, class_table(), ends)].tolist()
    return [data[start:end].tobytes().decode() for start, end in zip([0, *found], found, strict=False)]


def word_hashes(words: Words) -> np.ndarray:
    """uint64 of each word, from its bytes alone: the same on every machine and in every version."""
    hashes = np.zeros(len(words), np.uint64)
    table_kernel.hash_words(words.data, words.offsets, hashes)
    return hashes


class WordCounter:
    """A hash table of words in arrays that grow as it fills: one pass over the text parts, looks up and counts."""

    def __init__(self, max_word_bytes: int, max_document_bytes: int | None = None) -> None:
        """max_word_bytes: longer pre-tokens are left out. max_document_bytes: only pre-tokens that end within the first so many bytes of
        a document (in NFC) count."""
        self._max_word_bytes = max_word_bytes
        self._max_document_bytes = _NO_LIMIT if max_document_bytes is None else max_document_bytes
        self._state = np.zeros(table_kernel.STATE, np.int64)
        self._totals = np.zeros(table_kernel.TOTALS, np.int64)
        self._text_bytes = 0
        self._arena = np.zeros(_FIRST_BYTES, np.uint8)
        self._slots = np.zeros(table_kernel.SLOT * _FIRST_SLOTS, np.uint64)

    def __len__(self) -> int:
        """Distinct words."""
        return int(self._state[table_kernel.WORDS])

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the table takes."""
        return self._arena.nbytes + self._slots.nbytes

    @property
    def totals(self) -> dict[str, int]:
        """What was seen since the counter was made, by name: `occurrences` and `bytes` of counted words, `long_occurrences` and
        `long_bytes` of those left out for their length, `beyond_bytes` behind the limit of a document, and `text_bytes` of the texts in
        NFC, to which the others add up. Weights count in all of them."""
        names = ("occurrences", "bytes", "long_occurrences", "long_bytes", "beyond_bytes")
        return {"text_bytes": self._text_bytes, **dict(zip(names, self._totals.tolist(), strict=True))}

    def add(self, texts: pa.Array, weights: np.ndarray | None = None) -> None:
        """Count a large_string array of any texts. weights: int64 per text, how often it counts, 0 or more (default 1)."""
        data, offsets = buffers_of(normalized(texts))
        factors = np.ones(len(texts), np.int64) if weights is None else np.ascontiguousarray(weights, np.int64)
        if len(factors) != len(texts) or (factors < 0).any():
            raise ValueError("weights must be one per text, none negative")
        self._text_bytes += int(np.diff(offsets) @ factors)
        self._begin()
        limits = self._max_word_bytes, self._max_document_bytes
        while table_kernel.count(data, offsets, factors, class_table(), *limits, *self._table(), self._state, self._totals):
            self._grow(self._max_word_bytes)

    def add_words(self, words: Words) -> None:
        """Add words that were counted before; the limits don't apply to them, and `totals` stays."""
        self._begin()
        longest = int(np.diff(words.offsets).max(initial=0))
        while table_kernel.add(words.data, words.offsets, words.counts, longest, *self._table(), self._state):
            self._grow(longest)

    def words(self) -> Words:
        """All words with their counts, in the order of their hashes (words of one hash: of their bytes)."""
        places, sizes, hashes = np.zeros(len(self), np.int64), np.zeros(len(self), np.int64), np.zeros(len(self), np.uint64)
        table_kernel.list_words(*self._table(), places, sizes, hashes)
        order = np.argsort(hashes, kind="stable")
        found = self._read(places[order], sizes[order])
        tied = hashes[order[1:]] == hashes[order[:-1]]
        if tied.any():
            order = order[_order_of_ties(found, tied)]
            found = self._read(places[order], sizes[order])
        return found

    def _read(self, places: np.ndarray, sizes: np.ndarray) -> Words:
        offsets = np.zeros(len(places) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        data, counts = np.zeros(offsets[-1], np.uint8), np.zeros(len(places), np.int64)
        table_kernel.read_words(*self._table(), places, offsets, data, counts)
        return Words(data, offsets, counts)

    def clear(self) -> None:
        """Forget the words; `totals` goes on."""
        self._state[:] = 0
        self._slots[:] = 0

    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        return self._slots, self._arena

    def _begin(self) -> None:
        self._state[table_kernel.ROW] = self._state[table_kernel.POSITION] = 0

    def _grow(self, longest: int) -> None:
        """Double the slots or enlarge the arena, whichever can't take one more batch of words of up to `longest` bytes."""
        used = int(self._state[table_kernel.ARENA])
        if used + table_kernel.BATCH_BYTES + longest > len(self._arena):
            self._arena = np.concatenate([self._arena[:used], np.zeros(max(used, table_kernel.BATCH_BYTES + longest), np.uint8)])
        if 2 * table_kernel.SLOT * (len(self) + table_kernel.BATCH) > len(self._slots):
            larger = np.zeros(2 * len(self._slots), np.uint64)
            table_kernel.move_slots(self._slots, self._arena, larger)
            self._slots = larger


def _order_of_ties(words: Words, tied: np.ndarray) -> np.ndarray:
    """Places of the words with those that have one hash in the order of their bytes. tied[i]: words i and i + 1 have the same."""
    order = np.arange(len(words))
    starts = np.flatnonzero(tied & ~np.concatenate([[False], tied[:-1]]))
    stops = np.flatnonzero(tied & ~np.concatenate([tied[1:], [False]])) + 2
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        group = order[start:stop].tolist()
        order[start:stop] = sorted(group, key=lambda word: words.data[words.offsets[word] : words.offsets[word + 1]].tobytes())
    return order
