"""The phrase lists behind `spam_words`, `ad_phrases`, `bad_words` and page furniture, laid out as arrays for the compiled search."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import yaml
from pydantic import Field

from pipeline.settings import Settings

MIN_PHRASE_BYTES = 3
"""The search selects candidates by their first three bytes (one Hangul syllable), so no phrase may be shorter."""

C4_LINE_PHRASES = (
    "javascript", "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies",
)  # fmt: skip
"""C4 discards a line that has one of these (Raffel et al. 2020, section 2.2: "Javascript"; the policy phrases: c4_utils.py of
tensorflow-datasets, which datatrove follows)."""

LOREM_IPSUM_PHRASES = ("lorem ipsum",)
"""C4 discards a page that has it (Raffel et al. 2020, section 2.2)."""


class PhraseLists(Settings):
    """The content of presets/phrases.yaml."""

    spam: tuple[str, ...] = Field(description="what gambling, adult and loan advertisements call themselves")
    ad: tuple[str, ...] = Field(description="what shops, paid posts and advertisements say")
    obscene: tuple[str, ...] = Field(
        description="words that are obscene wherever they stand; Korean ones with a particle or nothing behind"
    )
    particles: tuple[str, ...] = Field(description="what may follow a Korean obscene word: particles, plural, vocative")
    furniture: tuple[str, ...] = Field(description="what pages print around their content: menus, footers, share buttons")


_Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class PhraseTable:
    """Phrases sorted by bucket, then longest first: the arguments of the kernels in phrases_kernel after data and offsets.

    phrase_bytes: uint8, all phrases end to end; phrase_starts: int64, phrases + 1; kinds: uint8, one per phrase. Bitmaps
    (uint8, BUCKETS bits, little-endian): occupied, the buckets that hold a phrase; short, those that hold one under six bytes; pairs, the
    first six bytes of the others. buckets: int32, BUCKETS + 1 positions in the phrase order; particles: int64, sorted, 16 bits for each
    syllable.
    """

    phrase_bytes: np.ndarray
    phrase_starts: np.ndarray
    kinds: np.ndarray
    occupied: np.ndarray
    short: np.ndarray
    pairs: np.ndarray
    buckets: np.ndarray
    particles: np.ndarray

    @property
    def arrays(self) -> _Arrays:
        """The fields in the order in which the kernels take them."""
        return (self.phrase_bytes, self.phrase_starts, self.kinds, self.occupied, self.short, self.pairs, self.buckets, self.particles)


@functools.lru_cache(maxsize=1)
def shipped_phrases() -> PhraseLists:
    """The lists of presets/phrases.yaml."""
    text = resources.files("pipeline.refine").joinpath("presets/phrases.yaml").read_text(encoding="utf-8")
    return PhraseLists.model_validate(yaml.safe_load(text))


def _bitmap(bits: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    flags = np.zeros(size, np.uint8)
    flags[np.asarray(bits, np.int64)] = 1
    return np.packbits(flags, bitorder="little")


def phrase_table(phrases: dict[int, tuple[str, ...]], particles: tuple[str, ...] = ()) -> PhraseTable:
    """Lay out phrases, given by kind (`phrases_kernel.SPAM` ...), for the search.

    Raises ValueError for a phrase that is too short, not in ASCII lower case, begins with an ASCII mark or blank, or stands in two
    lists, and for a particle that is not one to MAX_PARTICLE_SYLLABLES Hangul syllables: bugs in the lists.
    """
    from pipeline.refine.phrases_kernel import BUCKETS, MAX_PARTICLE_SYLLABLES, bucket, pair  # compiles on first import

    kinds: dict[bytes, int] = {}
    for kind, listed in phrases.items():
        for phrase in listed:
            encoded = phrase.encode()
            if len(encoded) < MIN_PHRASE_BYTES or encoded != encoded.lower() or "\n" in phrase or encoded in kinds:
                raise ValueError(
                    f"phrase '{phrase}' must be at least {MIN_PHRASE_BYTES} bytes of lower-case text on one line, and listed once"
                )
            if encoded[0] < 0x80 and not encoded[:1].isalnum():
                raise ValueError(f"phrase '{phrase}' must begin with a letter or digit, where the search begins")
            kinds[encoded] = kind
    packed = []
    for particle in particles:
        if not 1 <= len(particle) <= MAX_PARTICLE_SYLLABLES or not all("가" <= syllable <= "힣" for syllable in particle):
            raise ValueError(f"particle '{particle}' must be one to {MAX_PARTICLE_SYLLABLES} Hangul syllables")
        packed.append(sum(ord(syllable) << 16 * place for place, syllable in enumerate(reversed(particle))))
    placed = sorted((bucket(*encoded[:3]), -len(encoded), encoded) for encoded in kinds)
    ordered = [encoded for _, _, encoded in placed]
    entries = np.array([entry for entry, _, _ in placed], np.int64)
    short = [entry for entry, _, encoded in placed if len(encoded) < 6]
    pairs = [pair(entry, bucket(*encoded[3:6])) for entry, _, encoded in placed if len(encoded) >= 6]
    return PhraseTable(
        phrase_bytes=np.frombuffer(b"".join(ordered), np.uint8),
        phrase_starts=np.concatenate([[0], np.cumsum([len(encoded) for encoded in ordered])]).astype(np.int64),
        kinds=np.array([kinds[encoded] for encoded in ordered], np.uint8),
        occupied=_bitmap(entries, BUCKETS),
        short=_bitmap(short, BUCKETS),
        pairs=_bitmap(pairs, BUCKETS),
        buckets=np.searchsorted(entries, np.arange(BUCKETS + 1)).astype(np.int32),
        particles=np.array(sorted(packed), np.int64),
    )


@functools.lru_cache(maxsize=1)
def signal_table() -> PhraseTable:
    """The shipped phrases that signals count: spam, ads, obscenities and C4's; made once per process."""
    from pipeline.refine.phrases_kernel import AD, C4_LINE, LOREM_IPSUM, OBSCENE, SPAM  # compiles on first import

    lists = shipped_phrases()
    kinds = {SPAM: lists.spam, AD: lists.ad, OBSCENE: lists.obscene, C4_LINE: C4_LINE_PHRASES, LOREM_IPSUM: LOREM_IPSUM_PHRASES}
    return phrase_table(kinds, lists.particles)


@functools.lru_cache(maxsize=1)
def furniture_table() -> PhraseTable:
    """The shipped phrases of page furniture, for `phrases_kernel.furniture_lines`; made once per process."""
    from pipeline.refine.phrases_kernel import FURNITURE  # compiles on first import

    return phrase_table({FURNITURE: shipped_phrases().furniture})
