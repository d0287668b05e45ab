"""Byte-pair encoding learned from words and their counts: the merges and ids of `tokenizers.BpeTrainer`, with counts of 64 bits.

The rule (tokenizers 0.23.3, models/bpe/trainer.rs): merge the pair with the highest count, of equal ones that with the smallest left id,
then the smallest right id; every window counts (`aaa` has two of `a a`); merging goes from left to right. No string is made in two ways:
what becomes of letters that no token crosses into or out of depends on these letters alone.

How it is done. Most pairs are rare and never merged, so only those that occur at least `threshold` times have an entry in a table, in a
heap of candidates, and in a pool that lists the words they occur in. The pairs of a new token have their highest counts at once and can
only lose, so that one below the threshold may be left out until the best candidate is below it, too. Then all pairs are counted anew with
a lower threshold, and a sketch of their counts, by hash, keeps rare ones out of that table as well. Thus the tables hold what may be merged
soon, fit the processor's cache, and stay small on any corpus; in 100,000 merges that happens about four times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.errors import UserError
from tokenizer import bpe_kernel as kernel
from tokenizer.vocabulary import byte_characters
from tokenizer.words import Words

BYTE_OF_ID: np.ndarray = np.argsort([ord(character) for character in byte_characters()]).astype(np.uint8)
"""uint8[256]: the byte of ids 0 to 255, which are in the order of the characters that stand for them."""

FALL = 64
"""The threshold is the best pair's count divided by this. Lower, counting anew costs; higher, the tables: with 1.4 M words and 102,144
merges 4 takes 4.5 s, 16 takes 3.7 s, 64 takes 3.2 s, 256 takes 3.4 s."""

MOST_NUMBERS = (1 << 31) - 1
"""Places of words are int32."""

MOST_COUNTED = (1 << 63) - 1
"""Counts are int64."""

LARGEST_SKETCH = 1 << 26
"""256 MB; a small sketch lets more rare pairs into the table, and is right all the same."""

SPARE = 2
"""For each merge still to be done so many pairs are listed at most."""

LEAST_SLOTS, LEAST_POOL = 1 << 12, 1 << 16
"""Of the tables. They get room for as many new pairs as they begin with, and half as many new places in the pool as there are symbols: when
that is used up all is built anew, which is rare."""

PROGRESS_EVERY = 1000
"""Merges between two reports."""

_ID_OF_BYTE = np.argsort(BYTE_OF_ID).astype(np.int32)


@dataclass(frozen=True)
class Merges:
    """Merge k joins tokens left[k] and right[k] into token 256 + k; ids 0 to 255 are the bytes of BYTE_OF_ID.

    left, right: int32; counts: int64, how often the pair occurred when it was merged (all windows).
    """

    left: np.ndarray
    right: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.left)

    def tokens(self) -> list[bytes]:
        """The strings of ids 256 and up."""
        strings = [bytes([byte]) for byte in BYTE_OF_ID.tolist()]
        for left, right in zip(self.left.tolist(), self.right.tolist(), strict=True):
            strings.append(strings[left] + strings[right])
        return strings[256:]


class _Tokens(NamedTuple):
    """What `merge_pairs` notes of merges (left, right, counts) and of all tokens (lengths in bytes: int64)."""

    left: np.ndarray
    right: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray


class _Tables(NamedTuple):
    """Pairs that occur often enough: an open table (keys to sizes), a heap of candidates, a pool of the words they occur in."""

    keys: np.ndarray
    counts: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    heap_counts: np.ndarray
    heap_keys: np.ndarray
    pool: np.ndarray
    state: np.ndarray


def train(
    words: Words,
    merges: int,
    *,
    max_token_bytes: int | None = None,
    min_frequency: int = 0,
    seeds: Sequence[tuple[bytes, bytes]] = (),
    on_progress: Callable[[int], None] | None = None,
) -> Merges:
    """Learn up to `merges` merges, the seeds among them; fewer if no pair is left to merge.

    max_token_bytes: the most bytes of a token, at least 2 (`BpeTrainer` stays below its max_token_length, which is one more).
    min_frequency: pairs that occur less often are not merged.
    seeds: merges that come first, in order, whatever their counts: pairs of strings, each a byte or an earlier seed's result. Neither
    max_token_bytes nor min_frequency binds them.
    on_progress: called with the number of merges done, every thousand and at the end.

    Memory besides `words`: of words of two and more bytes 4 bytes per byte and 12 per word; 4 to 6 per symbol left for the pool, at most 2
    for the sketch, which go once the tables are built; 48 per merge asked; and the tables, a few tens of MB.

    Raises UserError for options out of range, for counts that aren't positive or could add up to more than 2^63 - 1, for seeds that can't
    be applied, and for words that take more than 2^31 - 1 numbers.
    """
    if merges < 0 or min_frequency < 0 or (max_token_bytes is not None and max_token_bytes < 2):
        raise UserError("BPE training needs merges >= 0, min_frequency >= 0 and max_token_bytes >= 2; correct the one that is smaller")
    if len(seeds) > merges:
        raise UserError(f"{len(seeds):,} seeds are more than the {merges:,} merges asked for; ask for more merges or give fewer seeds")
    _check_counts(words)
    symbols = _lay_out(words)
    used = len(symbols)
    merges = min(merges, len(seeds) + used)  # each takes a symbol away
    tokens = _Tokens(np.zeros(merges, np.int32), np.zeros(merges, np.int32), np.zeros(merges, np.int64), np.ones(256 + merges, np.int64))
    done = len(seeds)
    if seeds:
        _apply_seeds(symbols, tokens, seeds)
    longest = max_token_bytes or MOST_NUMBERS
    floor, bound = max(1, min_frequency), MOST_COUNTED
    while done < merges:
        used = kernel.compact(symbols, used)
        threshold, tables = _build(symbols, used, tokens.lengths, longest, merges - done, floor, bound)
        tables.state[kernel.DONE] = done
        status = kernel.STOPPED
        while status == kernel.STOPPED and done < merges:
            stop = min(merges, done - done % PROGRESS_EVERY + PROGRESS_EVERY)
            status = kernel.merge_pairs(symbols, *tokens, *tables, stop, threshold, longest)
            done = int(tables.state[kernel.DONE])
            if status == kernel.STOPPED and on_progress is not None:
                on_progress(done)
        if status == kernel.LOW and threshold == floor:
            break
        del tables  # before others are built
        bound = threshold - 1 if status == kernel.LOW else int(tokens.counts[done - 1])
    if on_progress is not None:
        on_progress(done)
    return Merges(tokens.left[:done].copy(), tokens.right[:done].copy(), tokens.counts[:done].copy())


def _power_of_two(least: int) -> int:
    """The least power of two from `least` up."""
    return 1 << max(0, least - 1).bit_length()


def _check_counts(words: Words) -> None:
    """Refuse counts with which the count of a pair could wrap."""
    if len(words) == 0:
        return
    if words.counts.min() < 1:
        place = int(words.counts.argmin())
        raise UserError(f"word {place} of the counts occurs {words.counts[place]} times; counts must be positive, so count the texts again")
    lengths = np.diff(words.offsets)
    if float(words.counts.astype(np.float64) @ lengths.astype(np.float64)) < 2.0**62:  # half the limit: far more than rounding loses
        return
    total = sum(count * length for count, length in zip(words.counts.tolist(), lengths.tolist(), strict=True))
    if total > MOST_COUNTED:
        raise UserError(f"the counted words have {total:,} bytes in all, and 2^63 - 1 is the most that can be counted; divide the counts")


def _lay_out(words: Words) -> np.ndarray:
    """The words of two and more bytes, as the kernels want them."""
    lengths = np.diff(words.offsets)
    several = lengths > 1
    size = int(lengths[several].sum()) + kernel.HEAD * int(several.sum())
    if size > MOST_NUMBERS:
        raise UserError(
            f"the counted words take {size:,} numbers in memory, and {MOST_NUMBERS:,} is the most; leave out rare words by a minimum count"
        )
    symbols = np.empty(size, np.int32)
    arrays = (np.ascontiguousarray(words.data, np.uint8), np.ascontiguousarray(words.offsets, np.int64))
    kernel.lay_out(*arrays, np.ascontiguousarray(words.counts, np.int64), _ID_OF_BYTE, symbols)
    return symbols


def _apply_seeds(symbols: np.ndarray, tokens: _Tokens, seeds: Sequence[tuple[bytes, bytes]]) -> None:
    """Note the seeds as the first merges, and merge them in all words."""
    ids = {bytes([byte]): token for token, byte in enumerate(BYTE_OF_ID.tolist())}
    for number, (left, right) in enumerate(seeds):
        for part in (left, right):
            if part not in ids:
                raise UserError(f"seed {number} joins {part!r}, neither a byte nor an earlier seed; put the seed that makes it first")
        if left + right in ids:
            raise UserError(f"seed {number} makes {left + right!r}, as an earlier one does; leave one of them out")
        ids[left + right] = 256 + number
        tokens.left[number], tokens.right[number], tokens.lengths[256 + number] = ids[left], ids[right], len(left + right)
    keys = np.full(_power_of_two(4 * len(seeds)), kernel.EMPTY, np.int64)
    ranks = np.zeros(len(keys), np.int32)
    kernel.rank_pairs(keys, ranks, tokens.left[: len(seeds)], tokens.right[: len(seeds)])
    strings = [left + right for left, right in seeds]
    themselves = _lay_out(Words.of([(string, 1) for string in strings]))
    kernel.merge_seeds(themselves, len(themselves), keys, ranks, np.zeros(len(seeds), np.int64))
    begins = np.cumsum([0, *(kernel.HEAD + len(string) for string in strings[:-1])])
    for number in np.flatnonzero(themselves[begins] > 1).tolist():
        raise UserError(f"seed {number} never makes {strings[number]!r}, since earlier seeds join its bytes otherwise; reorder them")
    kernel.merge_seeds(symbols, len(symbols), keys, ranks, tokens.counts)


def _build(symbols: np.ndarray, used: int, lengths: np.ndarray, longest: int, wanted: int, floor: int, bound: int) -> tuple[int, _Tables]:
    """Count all pairs and list those that reach a threshold: that, and the tables.

    floor: what a pair must reach to be merged at all. bound: no pair occurs more often. wanted: merges still to be done.
    """
    sketch = np.zeros(min(LARGEST_SKETCH, _power_of_two(max(1 << 10, used // 4))), np.uint32)
    kernel.fill_sketch(symbols, used, sketch)
    least = max(floor, min(bound, int(sketch.max())) // FALL)
    keys, counts, windows = _count(symbols, used, sketch, least, lengths, longest)
    del sketch
    threshold = max(least, int(counts.max()) // FALL)
    chosen = np.flatnonzero(counts >= threshold)
    if len(chosen) > SPARE * wanted:
        threshold = int(np.partition(counts[chosen], -SPARE * wanted)[-SPARE * wanted])
        chosen = chosen[counts[chosen] >= threshold]
    keys, counts, windows = keys[chosen], counts[chosen], windows[chosen]
    slots = _power_of_two(max(LEAST_SLOTS, 4 * len(chosen)))
    tables = _Tables(
        keys=np.full(slots, kernel.EMPTY, np.int64),
        counts=np.zeros(slots, np.int64),
        starts=np.zeros(slots, np.int64),
        sizes=np.zeros(slots, np.int32),
        heap_counts=np.empty(slots // 2, np.int64),
        heap_keys=np.empty(slots // 2, np.int64),
        pool=np.empty(int(windows.sum()) + max(LEAST_POOL, used // 2), np.int32),
        state=np.zeros(kernel.STATES, np.int64),
    )
    kernel.list_words(symbols, used, keys, counts, windows, *tables)
    return threshold, tables


def _count(
    symbols: np.ndarray, used: int, sketch: np.ndarray, least: int, lengths: np.ndarray, longest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A table of the pairs that may occur `least` times: pairs, their counts, their windows in distinct words."""
    word, slots, state = 0, 1 << 14, np.zeros(kernel.STATES, np.int64)
    table = np.full(slots, kernel.EMPTY, np.int64), np.zeros(slots, np.int64), np.zeros(slots, np.int64)
    while True:
        word = kernel.count_pairs(symbols, word, used, sketch, least, lengths, longest, *table, state)
        if word == used:
            return table
        slots = _power_of_two(4 * (int(state[kernel.PAIRS]) + int(symbols[word])))
        larger = np.full(slots, kernel.EMPTY, np.int64), np.zeros(slots, np.int64), np.zeros(slots, np.int64)
        kernel.move_pairs(*table, *larger)
        table = larger
