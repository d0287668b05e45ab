"""Choosing the encoding of a page's bytes and decoding them, with the Korean family of encodings treated as the one it is.

Order and reasons (measured in reference/curation.md 3.1): byte order mark, strict UTF-8 (many Korean pages still declare EUC-KR after they
moved to UTF-8), UTF-8 with a few broken bytes (a default header or a detector would make mojibake of the whole page), the declared
encodings, a detector, and else nothing: a page that would come out as noise is refused.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

import cchardet
import numpy as np
import webencodings

MAX_REPLACED = 0.001
"""Largest share of U+FFFD in an accepted text: 0.1 % is a few broken characters, more is the wrong encoding."""
_MIN_INTACT = 4
"""Intact non-ASCII characters per U+FFFD that make an undeclared encoding believable: Latin-1 and CP949 read as UTF-8 are mostly broken."""
_MIN_REPAIRED = 8
"""Hangul syllables that a repair must bring out: a handful can come from a run of accented capitals or quotation marks."""
_COMMON_HANGUL = re.compile("[가-힣]")
_KS_HANGUL = re.compile(rb"(?:[\xb0-\xc8][\xa1-\xfe]){2}")
"""Two of the 2,350 syllables of KS X 1001 in a row: ordinary Korean has them everywhere, Windows punctuation can't imitate them."""
_META_BYTES = 4096
"""HTML asks for the declaration in the first 1024 bytes; real pages put it up to four times later."""
_DETECT_BYTES = 1 << 17
_MIN_HANGUL = 0.3
_ALIASES = {"x-windows-949": "cp949", "cp949": "cp949", "ms949": "cp949", "uhc": "cp949", "johab": "johab", "iso-2022-kr": "iso2022_kr"}
"""Labels that WHATWG (webencodings) lacks or refuses. The decoders that stand behind them are safe here: the output is only text."""
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SEVEN_BIT = frozenset({"iso2022_kr", "iso2022_jp"})
_WESTERN = frozenset({"cp1252", "iso8859-1", "iso8859-15", "latin-1"})
_META = re.compile(rb"<meta[^>]{0,600}?charset\s{0,4}=\s{0,4}[\"']?\s{0,4}([A-Za-z0-9_.:\-]{1,40})", re.IGNORECASE)
_XML = re.compile(rb"\A\s{0,64}<\?xml[^>]{0,200}?encoding\s{0,4}=\s{0,4}[\"']([A-Za-z0-9_.:\-]{1,40})", re.IGNORECASE)
_KOREAN_PAGE = re.compile(rb"lang\s{0,4}=\s{0,4}[\"']?ko\b|<language>\s{0,8}ko\b", re.IGNORECASE)
_THREE_BYTES = re.compile("[\u0800-\ufffc\U00010000-\U0010ffff]")
_HIGH_RUN = re.compile(rb"[\x81-\xfe][\xa1-\xfe]{3}")
_MOJIBAKE_RUN = re.compile("[\u0080-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]{4}")
_CP1252_BYTE = {ord(bytes([byte]).decode("cp1252")): byte for byte in range(0x80, 0xA0) if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}


@dataclass(frozen=True)
class Decoded:
    """Text with the codec that gave it (`utf-8/cp949`: repaired mojibake), how that was chosen, and the share of U+FFFD."""

    text: str
    charset: str
    source: str
    replacement_ratio: float


def codec_of(label: str | None) -> str | None:
    """The Python codec for a charset label as pages write it; cp949 for every name of the Korean family; None when unknown."""
    if not label:
        return None
    name = label.strip(" \t\r\n\"';").lower()
    if name in _ALIASES:
        return _ALIASES[name]
    encoding = webencodings.lookup(name)
    if encoding is None or encoding.codec_info is None or encoding.name in ("replacement", "x-user-defined"):
        return None
    return str(encoding.codec_info.name)


def meta_label(raw: bytes) -> str | None:
    """The charset label of a `<meta>` tag or XML declaration in the first 4096 bytes."""
    head = raw[:_META_BYTES]
    found = _META.search(head) or _XML.search(head)
    return found[1].decode("ascii") if found else None


def decode_bytes(raw: bytes, declared: str | None = None, is_html: bool = True, korean: bool = False) -> Decoded | None:
    """Decode a page by the rule above; None when no encoding gives clean text.

    declared: label from the HTTP header or archive. korean: the host ends in .kr (or the page is known to be Korean).
    """
    for mark, codec in _BOMS:
        if raw.startswith(mark) and (found := _attempt(raw[len(mark) :], codec, "bom", "replace")):
            return found
    labels = [("http", codec_of(declared)), ("meta", codec_of(meta_label(raw)) if is_html else None)]
    candidates = [(source, codec) for source, codec in labels if codec]
    escaped = _escaped(raw, candidates)
    if escaped is not None:
        return escaped
    found = _attempt(raw, "utf-8", "utf-8", "strict")
    if found is not None:
        return _repaired(found)
    found = _damaged_utf8(raw)
    if found is not None:
        return found
    korean = korean or any(codec == "cp949" for _, codec in candidates) or _KOREAN_PAGE.search(raw[:_META_BYTES]) is not None
    # UTF-16 with its NUL bytes is already read; without them the declaration describes another file than the one that was sent.
    candidates = [candidate for candidate in candidates if not candidate[1].startswith("utf-16")]
    # Servers send ISO-8859-1 by default, whatever the page is: the page's own word goes first.
    candidates.sort(key=lambda candidate: candidate[1] in _WESTERN)
    for errors in ("strict", "replace"):
        for source, codec in candidates:
            if codec in _WESTERN and (found := _korean_attempt(raw)):
                return found
            if (found := _attempt(raw, codec, source, errors)) is not None:
                return found
    return _detected(raw, korean)


def hangul_share(text: str) -> float:
    """Share of Hangul syllables (U+AC00 to U+D7A3) among the non-ASCII characters; 0 where there are none."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    other = int(np.count_nonzero(points > 0x7F))
    return int(np.count_nonzero((points >= 0xAC00) & (points <= 0xD7A3))) / other if other else 0.0


def _attempt(raw: bytes, codec: str, source: str, errors: str) -> Decoded | None:
    try:
        text = raw.decode(codec, errors)
    except (UnicodeError, ValueError):
        return None
    replaced = text.count("\ufffd")
    # One broken character is accepted in a text of any length: a page under 1000 characters is damaged as easily as a long one.
    accepted = replaced <= max(1, MAX_REPLACED * len(text)) and _is_text(text)
    return Decoded(text, codec, source, replaced / len(text) if text else 0.0) if accepted else None


def _guess(raw: bytes, codec: str) -> Decoded | None:
    """Decode with an encoding nobody declared: a broken character over the ratio needs intact ones that speak for the encoding."""
    found = _attempt(raw, codec, "detector", "replace")
    return found if found is not None and (found.replacement_ratio <= MAX_REPLACED or _mostly_intact(found.text)) else None


def _mostly_intact(text: str) -> bool:
    replaced = text.count("\ufffd")
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return int(np.count_nonzero(points > 0x7F)) - replaced >= _MIN_INTACT * replaced


def _damaged_utf8(raw: bytes) -> Decoded | None:
    """UTF-8 with few broken bytes (a page cut off by the crawler, a stray byte of a template), whatever the server declares.

    Short CP949 can look like that too, but only as two-byte sequences, and then it is valid CP949 with Hangul in a row.
    """
    found = _attempt(raw, "utf-8", "utf-8", "replace")
    if found is None or not _mostly_intact(found.text):
        return None
    if _THREE_BYTES.search(found.text) is None and _KS_HANGUL.search(raw):
        other = _attempt(raw, "cp949", "detector", "strict")
        if other is not None and hangul_share(other.text) > _MIN_HANGUL:
            return None
    return found


def _is_text(text: str) -> bool:
    """At most 0.1 % control characters (C0 but tab, line ends and form feed; C1): binary data isn't text in any encoding."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    control = (points < 0x20) & ((points < 9) | ((points > 13) & (points != 0x1B))) | ((points >= 0x7F) & (points < 0xA0))
    return int(np.count_nonzero(control)) <= max(4, MAX_REPLACED * len(points))


def _escaped(raw: bytes, candidates: list[tuple[str, str]]) -> Decoded | None:
    """Encodings whose bytes are valid UTF-8 by accident: the seven-bit ISO 2022 family, and declared UTF-16 without a mark."""
    if b"\x1b$)C" in raw[:_META_BYTES]:
        return _attempt(raw, "iso2022_kr", "detector", "replace")
    for source, codec in candidates:
        if (codec in _SEVEN_BIT and b"\x1b" in raw) or (codec.startswith("utf-16") and b"\0" in raw[:_META_BYTES]):
            return _attempt(raw, codec, source, "replace")
    return None


def _korean_attempt(raw: bytes) -> Decoded | None:
    """Bytes declared as Western that read as Korean: the default header of a server in front of a Korean page."""
    if _HIGH_RUN.search(raw[:_DETECT_BYTES]) is None:
        return None
    found = _guess(raw, "cp949")
    return found if found is not None and hangul_share(found.text) > _MIN_HANGUL else None


def _detected(raw: bytes, korean: bool) -> Decoded | None:
    if korean:
        both = [found for codec in ("cp949", "johab") if (found := _guess(raw, codec))]
        best = max(both, key=lambda found: hangul_share(found.text), default=None)
        if best is not None and hangul_share(best.text) > _MIN_HANGUL:
            return best
    first = next((at for at in range(0, len(raw), 4096) if not raw[at : at + 4096].isascii()), 0)
    guess = cchardet.detect(raw[first : first + _DETECT_BYTES])["encoding"]
    codec = codec_of(guess)
    order = [codec] if codec not in (None, "utf-8", *_WESTERN) else []
    for name in [*order, "cp949", "johab", "utf-8", *([codec] if codec in _WESTERN else [])]:
        found = _guess(raw, str(name))
        if found is None or (name in ("cp949", "johab") and hangul_share(found.text) <= _MIN_HANGUL):
            continue
        return found
    return None


def _repaired(found: Decoded) -> Decoded:
    """Undo text that was decoded as Latin-1 or Windows-1252 and then stored as UTF-8, when Hangul comes out of it."""
    if found.text.isascii() or _MOJIBAKE_RUN.search(found.text) is None:
        return found
    try:
        raw = found.text.translate(_CP1252_BYTE).encode("latin-1")
    except UnicodeEncodeError:
        return found
    for codec in ("utf-8", "cp949"):
        repaired = _attempt(raw, codec, "detector", "strict")
        if repaired is None or hangul_share(repaired.text) <= _MIN_HANGUL:
            continue
        if len(_COMMON_HANGUL.findall(repaired.text)) >= _MIN_REPAIRED and (codec == "utf-8" or _KS_HANGUL.search(raw)):
            return Decoded(repaired.text, f"utf-8/{codec}", "detector", 0.0)
    return found
