"""What decoded text and raw bytes say for or against an encoding that nobody can vouch for: does it read like that language?

Any bytes can be read as some text. Wrong readings give themselves away: Korean consists of a few hundred syllables, Chinese of the first
level of its character sets, Japanese has kana, and the accented letters of Western languages stand alone between ASCII letters.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np

COMMON_SYLLABLES = (
    "가각간감값강같개객거건걸검것게겠격견결경계고곳공과관광교구국군권귀규그극근글금급기긴길김까께나난날남내냐너넌넘네년노누느는늘능니닌님"
    "다단달담답당대더던데도독돌동됐되된될됩두드든들듯등디따때또라란람랑래량러런럼렇레렌려력련령례로록론료루류률르른를름리린릴림립링마막만"
    "많말망맞매머먹메며면명모목못무문물므미민밌및바박반받발방배백버번벌범법베벤변별병보복본볼봐봤부분불브블비빌빠사산살삼상새색생서석선설"
    "성세션소속손송수순술스습승시식신실심싶쓰씨아악안않알았앞애액야약양어억언얼업없었에엘여역연열였영예오온올옵와완왕왜외요용우운울움워원"
    "월위유육으은을음응의이인일임입있자작잘잡장재저적전절점접정제져조족존좀종좋죄주죽준줄중증지직진질집짜째쪽찌차찰참창찾채책처천청체초총"
    "최추축출충취치칙친카커컴케코크클키타태택터테템토통투트특티파판패페편평포표품프플피필하학한할함합항해했행향허험현협형호혼화확환활황회"
    "획후희히"
)
"""The 400 most frequent of the 11,172 syllables, counted over ten kinds of Korean text (news, law, comments, encyclopedia, manuals, ...),
each with equal weight: 94 % of running text. Of the Hangul in a wrong reading (Chinese, Japanese or Cyrillic read as CP949, CP949 read as
Johab) at most 27 % are among them where there is more than a handful."""

_FIRST_HANGUL, _HANGULS = 0xAC00, 11_172
_MIN_COMMON = 3
"""Common syllables that speak for Korean when nothing else does: two of them can come from one Chinese word."""
_SEVERAL = 8
"""Different common syllables that speak for Korean amid hanja and signs where they are two thirds of the Hangul: the particles of mixed
script. Of Chinese and Japanese read as CP949, one in six is common by chance: two thirds of twelve is no accident."""
_PLENTY = 20
"""Common syllables, half as many different, that speak for Korean whatever symbols, hanja or broken bytes stand around them. A foreign word
can be half common too, and pages repeat words: the different ones count."""
_HIGH_RUN = re.compile(rb"[\x80-\xff]{1,256}")
_PAIR = re.compile(rb"[\x81-\xfe][\x40-\xfe]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fe]")
_WESTERN_WORD = re.compile("[A-Za-z]{0,64}[À-ÖØ-öø-ɏ][A-Za-zÀ-ÖØ-öø-ɏ]{0,64}")
_ODD_SIGN = re.compile("[ˆ‰ƒ¦¨¬¯²³´¶¸¹¼½¾›†‡][A-Za-z]")
_ASCII_LETTER = re.compile("[A-Za-z]")
_MAX_WORDS = 1000
_WINDOWS_PUNCTUATION = frozenset(b"\x85\x91\x92\x93\x94\x95\x96\x97\x99\xa0")
FREQUENT_LEADS = {"gbk": ((0xA1, 0xA3), (0xB0, 0xD7)), "gb18030": ((0xA1, 0xA3), (0xB0, 0xD7)), "big5": ((0xA1, 0xC6),)}
"""First bytes of punctuation and of the frequent characters (the first level) of GB 2312 and Big5."""


@dataclass(frozen=True)
class Korean:
    """How Korean a text reads: numbers of non-ASCII characters, of Hangul syllables among them, of common syllables among these, and of
    different Hangul and common syllables."""

    other: int
    hangul: int
    common: int
    different: int
    different_common: int

    @property
    def share(self) -> float:
        """Share of Hangul syllables among the non-ASCII characters; 0 where there are none."""
        return self.hangul / self.other if self.other else 0.0

    def is_believable(self, expected: bool = False) -> bool:
        """Whether this is Korean: at least half of the Hangul are common syllables, and there is more than chance gives.

        expected: the host, the page or its declaration says Korean, so that one syllable is enough. Otherwise few syllables must be
        nearly all there is: a Chinese sentence read as CP949 is half Hangul.
        """
        if self.common * 2 < self.hangul:
            return False
        if self.common >= _PLENTY and self.different_common * 2 >= _PLENTY:
            return True
        if expected and self.common >= 1 and self.hangul >= 0.3 * self.other:
            return True
        if self.common * 3 < self.hangul * 2:
            return False
        return self.different_common >= _SEVERAL or (self.different_common >= _MIN_COMMON and self.hangul >= 0.6 * self.other)

    def is_only_hangul(self) -> bool:
        """Whether the text has many different syllables and hardly anything else: no list of rare syllables has common ones."""
        return self.different >= _PLENTY and self.hangul >= 0.9 * self.other


def korean(text: str) -> Korean:
    """Count the Hangul of a text. Compatibility and conjoining jamo are no syllables."""
    points = code_points(text)
    hangul = points[(points >= _FIRST_HANGUL) & (points < _FIRST_HANGUL + _HANGULS)]
    counts = np.bincount(hangul - _FIRST_HANGUL, minlength=_HANGULS)
    common = counts[_common_table()]
    return Korean(
        other=int(np.count_nonzero(points > 0x7F)),
        hangul=len(hangul),
        common=int(common.sum()),
        different=int(np.count_nonzero(counts)),
        different_common=int(np.count_nonzero(common)),
    )


def readable_share(text: str) -> float:
    """Share of a text's characters that are printable ASCII, line ends or common Hangul, less the NUL characters; 0 for no text."""
    points = code_points(text)
    ascii_count = int(np.count_nonzero((points >= 0x20) & (points < 0x7F) | (points == 0x0A) | (points == 0x0D) | (points == 0x09)))
    return (ascii_count + korean(text).common - text.count("\0")) / len(text) if text else 0.0


def code_points(text: str) -> np.ndarray:
    """The code points of a text as a uint32 array."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


@functools.lru_cache(maxsize=1)
def _common_table() -> np.ndarray:
    table = np.zeros(_HANGULS, np.bool_)
    table[code_points(COMMON_SYLLABLES) - _FIRST_HANGUL] = True
    table.setflags(write=False)
    return table


def is_double_byte(raw: bytes) -> bool:
    """Whether the bytes look like a double-byte encoding: they read strictly as CP949 and every run of high bytes is even.

    Runs of one repeated byte (rows of dashes, no-break spaces) say nothing.
    """
    runs = [run for run in _HIGH_RUN.findall(raw) if len(run) != run.count(run[:1]) or len(run) == 1]
    if not runs or any(len(run) % 2 for run in runs):
        return False
    return raw.decode("cp949", "replace").count("\ufffd") <= 1  # a sample may end inside a character


def has_only_signs(text: str) -> bool:
    """Whether all non-ASCII characters are punctuation and symbols: no letters, hanja or syllables of any script."""
    points = code_points(text)
    points = points[points > 0x7F]
    return bool(np.all((points < 0xC0) | (points >= 0x2010) & (points < 0x2E80) | (points >= 0x3000) & (points < 0x3040)))


def is_western(raw: bytes) -> bool:
    """Whether high bytes mostly stand alone between ASCII characters, as accented letters and quotation marks do."""
    runs = _HIGH_RUN.findall(raw)
    return 2 * sum(len(run) == run.count(run[:1]) for run in runs) >= len(runs) > 0


def has_odd_words(text: str) -> bool:
    """Whether more than a quarter of the words with a letter above ASCII are spelled as no Western language spells.

    Odd are capitals behind small letters, words of three and more letters without any ASCII (öö and Þú are words), and signs such as ³ in
    front of a letter: Johab read as Latin-1 has little else.
    """
    words = _WESTERN_WORD.findall(text)[:_MAX_WORDS]
    odd = len(_ODD_SIGN.findall(text))
    for word in words:
        regular = word.islower() or word.isupper() or word[1:].islower()
        odd += not regular or (len(word) > 2 and _ASCII_LETTER.search(word) is None)
    return odd * 4 > len(words) + len(_ODD_SIGN.findall(text))


def is_windows_punctuation(raw: bytes) -> bool:
    """Whether all high bytes are quotation marks, dashes and dots of Windows-1252, some of them alone: `it\x92s` is no Korean syllable."""
    runs = _HIGH_RUN.findall(raw)
    return any(len(run) == 1 for run in runs) and all(_WINDOWS_PUNCTUATION.issuperset(run) for run in runs)


def is_frequent_chinese(raw: bytes, codec: str) -> bool:
    """Whether three in four double bytes are punctuation or frequent characters of this Chinese encoding; True for others."""
    if codec not in FREQUENT_LEADS:
        return True
    leads = np.frombuffer(b"".join(_PAIR.findall(raw)), np.uint8)[::2]
    frequent = sum(int(np.count_nonzero((leads >= first) & (leads <= last))) for first, last in FREQUENT_LEADS[codec])
    return frequent >= 0.75 * len(leads)


def has_kana(text: str) -> bool:
    """Whether at least a tenth of the non-ASCII characters are hiragana or katakana, as in all Japanese prose."""
    other = int(np.count_nonzero(code_points(text) > 0x7F))
    return other > 0 and len(_KANA.findall(text)) * 10 >= other
