"""The phrase lists behind `spam_words` and `boilerplate_line_ratio`, laid out as arrays for the compiled search."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

import numpy as np
import yaml
from pydantic import Field

from pipeline.settings import Settings

MIN_PHRASE_BYTES = 3
"""The search selects candidates by their first three bytes (one Hangul syllable), so no phrase may be shorter."""


class PhraseLists(Settings):
    """The content of presets/phrases.yaml."""

    spam: tuple[str, ...] = Field(description="what gambling, adult and loan advertisements call themselves")
    furniture: tuple[str, ...] = Field(description="what pages print around their content: menus, footers, share buttons")


@dataclass(frozen=True)
class PhraseTable:
    """Phrases sorted by bucket, then longest first: the arguments of `phrases_kernel.count_phrases` after data and offsets.

    phrase_bytes: uint8, all phrases end to end; phrase_starts: int64, phrases + 1; is_spam: uint8, one per phrase;
    buckets: int32, BUCKETS + 1 positions in the phrase order.
    """

    phrase_bytes: np.ndarray
    phrase_starts: np.ndarray
    is_spam: np.ndarray
    buckets: np.ndarray


@functools.lru_cache(maxsize=1)
def shipped_phrases() -> PhraseLists:
    """The lists of presets/phrases.yaml."""
    text = resources.files("pipeline.refine").joinpath("presets/phrases.yaml").read_text(encoding="utf-8")
    return PhraseLists.model_validate(yaml.safe_load(text))


def phrase_table(lists: PhraseLists) -> PhraseTable:
    """Lay out the phrases for the search.

    Raises ValueError for a phrase that is too short, not in ASCII lower case, or in both lists: a bug in the list.
    """
    from pipeline.refine.phrases_kernel import BUCKETS, bucket  # compiles on first import

    kinds: dict[bytes, bool] = {}
    for phrase, spam in [(phrase, True) for phrase in lists.spam] + [(phrase, False) for phrase in lists.furniture]:
        encoded = phrase.encode()
        if len(encoded) < MIN_PHRASE_BYTES or encoded != encoded.lower() or "\n" in phrase or encoded in kinds:
            raise ValueError(f"phrase '{phrase}' must be at least {MIN_PHRASE_BYTES} bytes of lower-case text on one line, and listed once")
        kinds[encoded] = spam
    placed = sorted((bucket(*encoded[:3]), -len(encoded), encoded) for encoded in kinds)
    ordered = [encoded for _, _, encoded in placed]
    return PhraseTable(
        phrase_bytes=np.frombuffer(b"".join(ordered), np.uint8),
        phrase_starts=np.concatenate([[0], np.cumsum([len(encoded) for encoded in ordered])]).astype(np.int64),
        is_spam=np.array([kinds[encoded] for encoded in ordered], np.uint8),
        buckets=np.searchsorted([entry for entry, _, _ in placed], np.arange(BUCKETS + 1)).astype(np.int32),
    )


@functools.lru_cache(maxsize=1)
def shipped_table() -> PhraseTable:
    """`phrase_table` of the shipped lists, made once per process."""
    return phrase_table(shipped_phrases())
