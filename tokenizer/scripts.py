"""Scripts keep the languages apart: words are cut where one language's letters meet another's, and a token's letters say whose it is."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tokenizer.pretoken import WordCounter
from tokenizer.scripts_kernel import MIXED, NO_LETTER, cut_words, token_classes
from tokenizer.shares import MIXED_KIND, SHARED_KIND
from tokenizer.unicode_classes import CODE_POINTS, OTHER_LETTER, language_table
from tokenizer.words import Words


@dataclass(frozen=True)
class Kinds:
    """What each of n tokens is: `names[codes[i]]`, and whether it begins or ends inside a character (`fragments`, bool[n])."""

    names: tuple[str, ...]
    codes: np.ndarray
    fragments: np.ndarray

    def of(self, index: int) -> str:
        return self.names[self.codes[index]]


def kind(token: bytes, languages: Sequence[str]) -> str:
    """The language whose letters a token has, `mixed` when it has letters of two classes, `shared` when it has none of the split's.

    A character that the token's end cuts off counts for the class that at least half of the characters have which it can become
    (EB, EC and ED: Korean; C3: Latin; E1, EA and C2: none). Where whole letters stand before it they decide, and it only makes the
    token mixed when it can't become a letter of theirs. Bytes that continue a character which began outside the token say nothing.
    """
    return kinds([token], languages).of(0)


def kinds(tokens: Sequence[bytes], languages: Sequence[str]) -> Kinds:
    """`kind` of many tokens at once; the codes are uint8 places in `languages`, then of `shared` and `mixed`.

    Raises UserError for a language that is not known, or not told from another by its script.
    """
    offsets = np.zeros(len(tokens) + 1, np.int64)
    np.cumsum([len(token) for token in tokens], out=offsets[1:])
    codes, fragments = np.zeros(len(tokens), np.uint8), np.zeros(len(tokens), np.bool_)
    table = language_table(tuple(languages))
    token_classes(np.frombuffer(b"".join(tokens), np.uint8), offsets, table, _letters_below(tuple(languages)), codes, fragments)
    shared = len(languages)
    codes[codes == NO_LETTER] = shared
    codes[codes == MIXED] = shared + 1
    return Kinds((*languages, SHARED_KIND, MIXED_KIND), codes, fragments)


@functools.lru_cache(maxsize=4)
def _letters_below(languages: tuple[str, ...]) -> np.ndarray:
    """int32[languages + 1, CODE_POINTS + 1]: letters of each language, then other letters, below each code point."""
    table = language_table(languages)
    below = np.zeros((len(languages) + 1, CODE_POINTS + 1), np.int32)
    for row, letter in enumerate((*range(1, len(languages) + 1), OTHER_LETTER)):
        np.cumsum(table == letter, out=below[row, 1:])
    below.flags.writeable = False
    return below


def by_language(words: Words, languages: Sequence[str]) -> dict[str, Words]:
    """The words cut between letters of different languages (" AI가" is " AI" and "가"), as one table per language and one `shared`.

    Letters of no language of the split are one more class when it comes to cutting, and their pieces are `shared`, as are those
    without letters. Equal pieces are one word with the sum of their counts, in the order of their hashes.
    """
    table = language_table(tuple(languages))
    empty = np.zeros(0, np.int64)
    data, offsets = np.ascontiguousarray(words.data), np.ascontiguousarray(words.offsets)
    pieces = cut_words(data, offsets, table, empty, empty, np.zeros(0, np.uint8))
    starts, sources, letters = np.zeros(pieces, np.int64), np.zeros(pieces, np.int64), np.zeros(pieces, np.uint8)
    cut_words(data, offsets, table, starts, sources, letters)
    letters[letters == OTHER_LETTER] = 0
    # the pieces lie one behind the other where the words lay: the same memory, with more offsets
    laid_out = Words(data, np.append(starts, offsets[-1:]), words.counts[sources])
    table_of_pieces = pa.table({"word": laid_out.array(), "count": laid_out.counts})  # not `to_table`: that would copy
    chosen = {language: letters == place + 1 for place, language in enumerate(languages)} | {SHARED_KIND: letters == 0}
    return {name: summed([Words.from_table(table_of_pieces.filter(pa.array(rows)))]) for name, rows in chosen.items()}


def summed(parts: Iterable[Words]) -> Words:
    """All words of the parts, equal ones once with the sum of their counts, in the order of their hashes."""
    counter = WordCounter(max_word_bytes=0)
    for part in parts:
        counter.add_words(part)
    return counter.words()
