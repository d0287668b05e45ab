"""A generated matrix of pages: what they say, how they are encoded, what is declared about it and where, and from which host they come.

The tests and benchmarks/encodings.py walk the same cases. A case is `decidable` when the bytes or a true declaration carry the encoding;
where they don't, the right answers are the text or none, never another text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

KOREAN_LABELS = (
    *("euc-kr", "ks_c_5601-1987", "ks_c_5601-1989", "ksc_5601", "korean", "iso-ir-149", "csksc56011987", "csEUCKR"),
    *("windows-949", "x-windows-949", "cp949", "MS949", "uhc", "EUC_KR", '"euc-kr"', " euc-kr;q=1"),
)
OTHER_LABELS = (
    *("utf-8", "utf8", "UTF-16", "UTF-16LE", "UTF-16BE", "iso-2022-kr", "johab", "latin-1", "iso-8859-1", "windows-1252", "us-ascii"),
    *("no-such-charset", "", "';<>"),
)
FOREIGN_LABELS = ("gb2312", "shift_jis", "big5", "windows-1251")
"""Declared only over ordinary Korean: over two syllables such a label can't be refuted."""
PLACES = ("http", "meta", "http-equiv", "xml")
ENCODINGS = ("utf-8", "cp949", "utf-16-le", "utf-16-be", "iso2022_kr", "johab")
_MARKS = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
_SELF_EVIDENT = frozenset({"utf-8", "utf-16-le", "utf-16-be", "iso2022_kr"})

PROSE = "안녕하세요. 이 글은 우리나라의 봄 날씨를 다룬 기사의 본문입니다. 바람이 불고 하늘이 맑아서 많은 사람이 밖으로 나왔습니다."
_ENGLISH = "The harbour was quiet that morning, and the boats had not yet gone out to sea. Nobody spoke while they mended the nets. "


def extension_syllables() -> list[str]:
    """The 8,822 syllables that CP949 has and KS X 1001 (EUC-KR) lacks."""
    found = []
    for code in range(0xAC00, 0xD7A4):
        raw = chr(code).encode("cp949")
        if raw[0] < 0xA1 or raw[1] < 0xA1:
            found.append(chr(code))
    return found


CONTENTS = {
    "prose": PROSE,
    "extension": "똠방각하와 펲시콜라를 쨰려보던 뷁의 힣. " + PROSE,
    "mixed": f"GPT-4 모델을 Python 3.11 환경에서 실행했더니 latency가 30% 줄었다. {_ENGLISH}{PROSE} e-mail: a@b.kr",
    "two words": "안녕하세요 여러분",
    "little Korean": _ENGLISH * 30 + "서울특별시 강남구에서 만난 사람들 " + _ENGLISH * 30,
    "English": _ENGLISH * 3,
    "hanja and signs": f"㈜우리말은 大韓民國 憲法을 “인용”했다… {PROSE} 상표™ 100㎡ ― ‘작은따옴표’",
    "boxes and full width": f"┌──┬──┐ │가│나│ └──┴──┘ ※①② ＡＢＣ１２３！ {PROSE}",
}
"""Enough Korean to be recognised whatever is declared."""
BARE_CONTENTS = {
    "one word": "한국",
    "hanja only": "大韓民國 憲法 第一條",
    "signs in English": f"{_ENGLISH}“Nobody,” she said… {_ENGLISH}",
    "8,822 syllables": "\n".join("".join(extension_syllables()[at : at + 40]) for at in range(0, 8822, 40)),
}
"""Readable in several encodings: without a true declaration or a Korean host they may be refused."""
UNICODE_CONTENTS = {
    "decomposed": unicodedata.normalize("NFD", PROSE),
    "half width": "ﾡﾢﾣ ﾻﾻﾻ — café Übermaß 😀 " + PROSE,
}
"""Not in CP949 at all."""


@dataclass(frozen=True)
class Case:
    """One page: its bytes, its text, and what is known about it beside the bytes."""

    content: str
    encoding: str
    label: str | None
    place: str
    is_html: bool
    from_korea: bool
    raw: bytes
    text: str
    decidable: bool

    @property
    def header(self) -> str | None:
        """The label that the server sends."""
        return self.label if self.place == "http" else None


def cases() -> Iterator[Case]:
    """Every combination, in a fixed order; texts that an encoding lacks are left out."""
    for content, text in (CONTENTS | BARE_CONTENTS | UNICODE_CONTENTS).items():
        for encoding in ENCODINGS:
            if content in UNICODE_CONTENTS and not encoding.startswith("utf"):
                continue
            labels = KOREAN_LABELS + OTHER_LABELS + (FOREIGN_LABELS if content in CONTENTS else ())
            for place, label in [("none", None), *((place, label) for place in PLACES for label in labels)]:
                for is_html in (True, False):
                    if not is_html and place not in ("http", "none"):
                        continue
                    for from_korea in (False, True):
                        case = _case(content, text, encoding, label, place, is_html, from_korea)
                        if case is not None:
                            yield case


def _case(content: str, text: str, encoding: str, label: str | None, place: str, is_html: bool, from_korea: bool) -> Case | None:
    whole = page(text, label if place != "none" else None, place) if is_html else text
    try:
        raw = _MARKS.get(encoding, b"") + whole.encode(encoding)
    except UnicodeEncodeError:
        return None
    told = is_true(label, encoding) or (encoding == "cp949" and from_korea)
    decidable = content not in BARE_CONTENTS or encoding in _SELF_EVIDENT or raw.isascii() or told
    return Case(content, encoding, label, place, is_html, from_korea, raw, whole, decidable)


def is_true(label: str | None, encoding: str) -> bool:
    """Whether a label names this encoding; all names of the Korean family name CP949."""
    return (encoding == "cp949" and label in KOREAN_LABELS) or (encoding == "johab" and label == "johab")


def page(text: str, label: str | None = None, place: str = "none") -> str:
    """An HTML page around the text, with the label where it belongs. Quotes in labels stay: pages have them too."""
    quoted = (label or "").replace('"', "").replace("<", "").replace(">", "")
    xml = f'<?xml version="1.0" encoding="{quoted}"?>\n' if place == "xml" else ""
    meta = {
        "meta": f'<meta charset="{quoted}">',
        "http-equiv": f'<meta http-equiv="Content-Type" content="text/html; charset={quoted}">',
    }.get(place, "")
    return f"{xml}<html><head>{meta}<title>page</title></head>\n<body><p>{text}</p>\n</body></html>"
