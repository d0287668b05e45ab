"""Cut Korean words before particles and endings, with the analyser Kiwi, so that no token learned from them joins a stem and its particle.

It happens when a tokenizer is trained, on the table of distinct words, and never when text is encoded: the merges learned from the pieces
apply to whole words as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from pipeline.errors import UserError
from tokenizer.words import Words

CUT_BEFORE = ("J", "E", "VCP", "XSV")
"""Beginnings of Kiwi's tags before which a word is cut: particles, endings, the copula and verb-making suffixes (하다, 되다), as in
`kiwipiepy.bpe_trainer --pretokenize j e vcp xsv`."""

_BATCH = 4096
"""Words given to Kiwi at once."""


def kiwi_version() -> str:
    """The installed Kiwi and its model: other versions cut otherwise. Raises UserError where kiwipiepy isn't installed."""
    try:
        return f"kiwipiepy {metadata.version('kiwipiepy')}, model {metadata.version('kiwipiepy_model')}"
    except metadata.PackageNotFoundError as error:
        raise UserError(
            "morphemes: particles needs the package kiwipiepy, which isn't installed; install onnuri[korean] or set morphemes: none"
        ) from error


@functools.lru_cache(maxsize=1)
def _kiwi() -> Any:
    from kiwipiepy import Kiwi

    return Kiwi(num_workers=1)


def cut_places(words: Sequence[str]) -> Iterator[list[int]]:
    """For each word the characters before which it is cut, ascending.

    Words are looked at without context. A cut is made where a morpheme of CUT_BEFORE begins and stands in the word as the analysis has
    it: contractions (했 = 하 + 었) stay whole.
    """
    kiwi = _kiwi()
    for word, tokens in zip(words, kiwi.tokenize(list(words)), strict=True):
        places = []
        behind = 0  # of all morphemes so far
        for token in tokens:
            start, end = token.start, token.start + token.len
            if token.tag.startswith(CUT_BEFORE) and start > 0 and behind <= start and word[start:end] == token.form:
                places.append(start)
            behind = max(behind, end)
        yield places


def cut_morphemes(words: Words, min_count: int) -> Words:
    """The words with those that occur `min_count` times or more cut; equal pieces are one word with the sum of their counts."""
    chosen = np.flatnonzero(words.counts >= min_count).tolist()
    cuts: list[int] = []
    for first in range(0, len(chosen), _BATCH):
        places = chosen[first : first + _BATCH]
        data = [words.data[words.offsets[place] : words.offsets[place + 1]].tobytes().decode() for place in places]
        leads = [len(text) - len(text.lstrip()) for text in data]  # a blank before a word is no part of it to Kiwi
        found = cut_places([text[lead:] for text, lead in zip(data, leads, strict=True)])
        for place, text, lead, starts in zip(places, data, leads, found, strict=True):
            cuts += [int(words.offsets[place]) + len(text[: lead + start].encode()) for start in starts]
    from tokenizer.scripts import summed

    return summed([_with_cuts(words, np.array(cuts, np.int64))])


def _with_cuts(words: Words, cuts: np.ndarray) -> Words:
    """The words cut at these places of their data; pieces count as often as their word."""
    offsets = np.sort(np.concatenate([words.offsets, cuts]), kind="stable")
    sources = np.searchsorted(words.offsets, offsets[:-1], side="right") - 1
    return Words(words.data, offsets, words.counts[sources])
