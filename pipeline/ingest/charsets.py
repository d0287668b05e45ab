"""Choosing the encoding of a page's bytes and decoding them, with the Korean family of encodings treated as the one it is.

The order: byte order mark; NUL patterns and escapes of UTF-16, UTF-32 and ISO-2022; strict UTF-8 (many Korean pages still declare EUC-KR
after they moved to UTF-8); UTF-8 with a few broken bytes; bytes that read as Korean, whatever is declared; the declared encodings; a
detector, believed only where the text that it gives makes sense. What remains is refused: no page comes out as noise.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

import cchardet
import webencodings

from pipeline.ingest import evidence
from pipeline.ingest.mojibake import mended

MAX_REPLACED = 0.001
"""Largest share of U+FFFD in an accepted text: 0.1 % is a few broken characters, more is the wrong encoding."""
MAX_CONTROLS = 4
"""Control characters (C0 but tab, line ends, form feed and ESC; C1) accepted in a text of any length; in a long one 0.1 %."""
_MIN_INTACT = 4
"""Intact non-ASCII characters per U+FFFD that make an undeclared encoding believable: Latin-1 and CP949 read as UTF-8 are mostly broken."""
_KS_HANGUL = re.compile(rb"(?:[\xb0-\xc8][\xa1-\xfe]){2}")
"""Two of the 2,350 syllables of KS X 1001 in a row: ordinary Korean has them everywhere, Windows punctuation can't imitate them."""
_HEAD_BYTES = 4096
_META_BYTES = 1 << 16
"""HTML asks for the declaration in the first 1024 bytes; browsers obey it wherever it comes, behind long scripts and comments too."""
_SAMPLE_BYTES = 1 << 15
_DETECT_BYTES = 1 << 17
_MIN_READABLE = 0.2
"""Share of ASCII and common Hangul in wide text: in the wrong byte order it is near nothing, in any page with markup or spaces more."""
_MIN_CONFIDENCE = 0.6
_MIN_DETECTED = 16
"""Non-ASCII characters below which a detector's word on a non-Western encoding is a guess."""
_ALIASES = {
    **dict.fromkeys(("x-windows-949", "cp949", "ms949", "uhc", "x-uhc", "euckr", "x-euc-kr", "cp51949", "ks-c-5601"), "cp949"),
    **dict.fromkeys(("johab", "x-johab", "cp1361", "ms1361", "ksc5601-1992"), "johab"),
    **dict.fromkeys(("iso-2022-kr", "iso2022kr", "csiso2022kr"), "iso2022_kr"),
    **dict.fromkeys(("utf16", "utf-16le", "ucs-2", "iso-10646-ucs-2"), "utf-16-le"),
    **dict.fromkeys(("utf-32", "utf32", "utf-32le"), "utf-32-le"),
    **{"utf-32be": "utf-32-be", "ibm855": "cp855", "cp855": "cp855", "maccyrillic": "mac-cyrillic"},
}
"""Labels (underscores as hyphens) that WHATWG (webencodings) lacks or refuses. Their decoders are safe here: the output is only text."""
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_SEVEN_BIT = frozenset({"iso2022_kr", "iso2022_jp"})
_WESTERN = frozenset({"cp1252", "iso8859-1", "iso8859-15", "latin-1"})
_RARE_LATIN = frozenset({"iso8859-3", "iso8859-4", "iso8859-10", "iso8859-13", "iso8859-14", "iso8859-16", "cp1258"})
"""Hardly used on the web: a detector that names one for a short text has nearly always seen Windows-1252."""
_LATIN = _WESTERN | _RARE_LATIN | {"iso8859-2", "iso8859-9", "cp1250", "cp1254", "cp1257"}
_JAPANESE = frozenset({"cp932", "shift_jis", "euc_jp"})
_CHINESE_OR_JAPANESE = _JAPANESE | {"gbk", "gb18030", "big5", "big5hkscs"}
_KOREAN = frozenset({"cp949", "johab", "iso2022_kr"})
_NEUTRAL = _WESTERN | {"utf-8"}
"""What servers and templates declare without looking at the page."""
_LABEL = re.compile(r"(?:charset\s{0,4}=)?[\s\"']{0,8}([a-z0-9][a-z0-9_.:\-]{1,39})")
_META = re.compile(rb"<meta[^>]{0,600}?charset\s{0,4}=\s{0,4}[\"']?\s{0,4}([A-Za-z0-9_.:\-]{1,40})", re.IGNORECASE)
_XML = re.compile(rb"\A\s{0,64}<\?xml[^>]{0,200}?encoding\s{0,4}=\s{0,4}[\"']\s{0,4}([A-Za-z0-9_.:\-]{1,40})", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--(?:[^-]|-(?!->))*+(?:-->|\Z)")
_KOREAN_PAGE = re.compile(rb"lang\s{0,4}=\s{0,4}[\"']?ko\b|<language>\s{0,8}ko\b", re.IGNORECASE)
_THREE_BYTES = re.compile("[\u0800-\ufffc\U00010000-\U0010ffff]")
_UTF8_CHARACTER = re.compile(rb"(?:[\xe1-\xec\xee\xef][\x80-\xbf]|\xed[\x80-\x9f]|\xf0[\x90-\xbf][\x80-\xbf])[\x80-\xbf]")
_UTF8_HANGUL = re.compile(rb"(?:(?:\xea[\xb0-\xbf]|[\xeb\xec][\x80-\xbf]|\xed[\x80-\x9f])[\x80-\xbf]){2}")
_PIECE = re.compile(rb"[^<>\r\n]{1,65536}")
"""Text between tags or line ends: neither encoding has these bytes inside a character."""
_MAX_AMID = 0.05
_HIGH_WORD = re.compile(rb"[\x80-\xff][\x21-\xff]{0,255}")
_C0 = bytes(byte for byte in range(0x80) if byte == 0x7F or (byte < 0x20 and not 9 <= byte <= 13 and byte != 0x1B))
_HIGH = bytes(range(0x80, 0x100))
_C1 = re.compile(rb"\xc2[\x80-\x9f]")


@dataclass(frozen=True)
class Decoded:
    """Text with the codec that gave it (`utf-8/cp949`: repaired mojibake), how that was chosen, and the share of U+FFFD."""

    text: str
    charset: str
    source: str
    replacement_ratio: float


def codec_of(label: str | None) -> str | None:
    """The Python codec for a charset label as pages write it; cp949 for every name of the Korean family; None when unknown."""
    found = _LABEL.match(label.strip().lower()) if label else None
    if found is None:
        return None
    name = found[1]
    alias = _ALIASES.get(name.replace("_", "-"))
    if alias is not None:
        return alias
    encoding = webencodings.lookup(name) or webencodings.lookup(name.replace("_", "-"))
    if encoding is None or encoding.codec_info is None or encoding.name in ("replacement", "x-user-defined"):
        return None
    return str(encoding.codec_info.name)


def meta_label(raw: bytes) -> str | None:
    """The charset label of a `<meta>` tag or XML declaration in the first 64 KB, comments left out."""
    head = _COMMENT.sub(b"", raw[:_META_BYTES])
    found = _META.search(head) or _XML.search(head)
    return found[1].decode("ascii") if found else None


def decode_bytes(raw: bytes, declared: str | None = None, is_html: bool = True, korean: bool = False) -> Decoded | None:
    """Decode a page by the rule above; None when no encoding gives clean text.

    declared: label from the HTTP header or archive. korean: the host ends in .kr (or the page is known to be Korean).
    """
    for mark, codec in _BOMS:
        if raw.startswith(mark):
            if found := _attempt(raw[len(mark) :], codec, "bom", "replace"):
                return found
            if codec == "utf-8":  # an include file saved with a mark, in front of a page in another encoding
                raw = raw[len(mark) :]
    labels = [("http", codec_of(declared)), ("meta", codec_of(meta_label(raw)) if is_html else None)]
    candidates = [(source, codec) for source, codec in labels if codec]
    found = _wide(raw, candidates) or _escaped(raw, candidates)
    if found is not None:
        return found
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        # Valid UTF-8 can't be anything else: what breaks a limit here (controls, U+FFFD of an earlier decoding) is refused.
        mend = mended(text)
        return _checked(text, "utf-8", "utf-8") if mend is None else _checked(mend.text, f"utf-8/{mend.charset}", "detector")
    found = _damaged_utf8(raw, candidates)
    if found is not None:
        return found
    # Wide encodings with their NUL bytes are already read; without them the declaration describes another file than the one that was sent.
    candidates = [candidate for candidate in candidates if candidate[1] not in _WIDE]
    sample = _sample(raw)
    expected = any(codec in _KOREAN for _, codec in candidates) or (is_html and _KOREAN_PAGE.search(raw[:_HEAD_BYTES]) is not None)
    if korean and not expected:
        # Sites in Korea have pages for readers elsewhere, rightly declared: there one syllable read into a word or two proves nothing.
        expected = not candidates or (evidence.is_double_byte(sample) and all(codec in _NEUTRAL for _, codec in candidates))
    return (
        _korean(raw, sample, candidates, expected)
        or _mixed(raw)
        or _declared(raw, sample, candidates)
        or _detected(raw, sample, expected)
        or _attempt(raw, "ascii", "detector", "replace")  # a stray byte that no encoding explains costs that byte
    )


def hangul_share(text: str) -> float:
    """Share of Hangul syllables (U+AC00 to U+D7A3) among the non-ASCII characters; 0 where there are none."""
    return evidence.korean(text).share


def _attempt(raw: bytes, codec: str, source: str, errors: str) -> Decoded | None:
    try:
        text = raw.decode(codec, errors)
    except (UnicodeError, ValueError):
        return None
    if codec == "cp949" and 0 < text.count("\ufffd") <= _MAX_AMID * len(text):
        text = raw.decode(codec, _UTF8_AMID)
    return _checked(text, codec, source)


def _utf8_amid(error: UnicodeError) -> tuple[str, int]:
    """What stands where CP949 breaks: a character in UTF-8 (an emoji or a quotation mark that a script put in), else U+FFFD."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    found = _UTF8_CHARACTER.match(error.object, error.start)
    return ("\ufffd", error.end) if found is None else (found[0].decode(), found.end())


_UTF8_AMID = "onnuri-utf8-amid"
codecs.register_error(_UTF8_AMID, _utf8_amid)


def _checked(text: str, codec: str, source: str) -> Decoded | None:
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
    return evidence.korean(text).other - replaced >= _MIN_INTACT * replaced


def _is_text(text: str) -> bool:
    """Whether there are few control characters: binary data isn't text in any encoding."""
    data = text.encode("utf-8", "surrogatepass")
    control = len(data) - len(data.translate(None, _C0))
    if not text.isascii():
        control += len(_C1.findall(data))
    return control <= max(MAX_CONTROLS, MAX_REPLACED * len(text))


def _first_high(raw: bytes) -> int:
    """Where the block of 4096 bytes begins that holds the first non-ASCII byte; 0 where there is none."""
    return next((at for at in range(0, len(raw), 4096) if not raw[at : at + 4096].isascii()), 0)


def _sample(raw: bytes) -> bytes:
    """Bytes that stand for the page: from its first non-ASCII block on, and without its ASCII where that says little."""
    first = _first_high(raw)
    sample = raw[first : first + _SAMPLE_BYTES]
    if first + len(sample) == len(raw) or len(sample.translate(None, _HIGH)) * 8 <= len(sample) * 7:
        return sample
    return b" ".join(_HIGH_WORD.findall(raw))[:_SAMPLE_BYTES]


def _wide(raw: bytes, candidates: list[tuple[str, str]]) -> Decoded | None:
    """UTF-16 and UTF-32 without a mark: one byte in sixteen is NUL, and one of the four orders makes ASCII or Korean of them."""
    head = raw[:_HEAD_BYTES]
    if head.count(0) * 16 < max(len(head), 16):
        return None
    readable = {codec: evidence.readable_share(head.decode(codec, "replace")) for codec in _WIDE}
    best = max(_WIDE, key=readable.__getitem__)
    if readable[best] < _MIN_READABLE:
        return None
    source = next((source for source, codec in candidates if codec[:6] == best[:6]), "detector")
    return _attempt(raw, best, source, "replace")


def _escaped(raw: bytes, candidates: list[tuple[str, str]]) -> Decoded | None:
    """The seven-bit ISO 2022 family, whose bytes are valid UTF-8 by accident."""
    if b"\x1b$)C" in raw and b"\x0e" in raw:
        source = next((source for source, codec in candidates if codec == "iso2022_kr"), "detector")
        return _attempt(raw, "iso2022_kr", source, "replace")
    for source, codec in candidates:
        if codec in _SEVEN_BIT and b"\x1b" in raw:
            return _attempt(raw, codec, source, "replace")
        if codec == "iso2022_kr" and b"\x0e" in raw and raw.isascii():  # the announcement at the start was lost
            return _attempt(b"\x1b$)C\n" + raw, codec, source, "replace")
    return None


def _damaged_utf8(raw: bytes, candidates: list[tuple[str, str]]) -> Decoded | None:
    """UTF-8 with few broken bytes (a page cut off by the crawler, a stray byte of a template), whatever the server declares.

    A few words of CP949, Chinese or Japanese can look like that too, but only as two-byte sequences, and then they are valid CP949 with
    Hangul in a row, or valid in the encoding that is declared.
    """
    head = raw[: 1 << 14].decode("utf-8", "replace").count("\ufffd") - 1  # the head may end inside a character
    if head > max(1, MAX_REPLACED * len(raw)):
        return None
    found = _attempt(raw, "utf-8", "utf-8", "replace")
    if found is None or not _mostly_intact(found.text):
        return None
    if _THREE_BYTES.search(found.text) is not None:
        return found
    if any(codec in _CHINESE_OR_JAPANESE and _attempt(raw, codec, source, "strict") for source, codec in candidates):
        return None
    if _KS_HANGUL.search(raw):
        other = _attempt(raw, "cp949", "detector", "strict")
        if other is not None and evidence.korean(other.text).share > 0.3:
            return None
    return found


def _korean(raw: bytes, sample: bytes, candidates: list[tuple[str, str]], expected: bool) -> Decoded | None:
    """CP949 or Johab where the bytes read as Korean: servers and templates declare anything."""
    counts = {codec: evidence.korean(sample.decode(codec, "replace")) for codec in ("cp949", "johab")}
    codec = max(counts, key=lambda name: counts[name].common)
    if not counts[codec].is_believable(expected):
        return _bare_utf16(raw)
    source = next((source for source, declared in candidates if declared == codec), None)
    return _guess(raw, codec) if source is None else _attempt(raw, codec, source, "replace")


def _mixed(raw: bytes) -> Decoded | None:
    """A page put together of Korean parts in UTF-8 and in CP949 (a menu included from another file): each piece in its own."""
    if _UTF8_HANGUL.search(raw) is None:
        return None
    parts: dict[str, list[str]] = {"utf-8": [], "cp949": []}

    def read(match: re.Match[bytes]) -> bytes:
        piece = match[0]
        if piece.isascii():
            return piece
        codec = _codec_of_piece(piece)
        text = piece.decode(codec)
        parts[codec].append(text)
        return text.encode()

    try:
        text = _PIECE.sub(read, raw).decode()
    except UnicodeDecodeError:
        return None
    is_korean = all(evidence.korean("".join(texts)).is_believable() for texts in parts.values())
    return _checked(text, "cp949+utf-8", "detector") if is_korean else None


def _codec_of_piece(piece: bytes) -> str:
    """UTF-8 or CP949; two-byte UTF-8 is CP949 just as well (책 is Ã¥), which is then judged by its syllables."""
    try:
        text = piece.decode("utf-8")
    except UnicodeDecodeError:
        return "cp949"
    if _THREE_BYTES.search(text) is None and evidence.korean(piece.decode("cp949", "replace")).is_believable(expected=True):
        return "cp949"
    return "utf-8"


def _bare_utf16(raw: bytes) -> Decoded | None:
    """Korean in UTF-16 that has neither mark nor markup nor spaces."""
    for codec in ("utf-16-le", "utf-16-be") if len(raw) % 2 == 0 else ():
        counts = evidence.korean(raw[:_HEAD_BYTES].decode(codec, "replace"))
        if counts.is_believable() and counts.share > 0.9:
            return _attempt(raw, codec, "detector", "strict")
    return None


def _declared(raw: bytes, sample: bytes, candidates: list[tuple[str, str]]) -> Decoded | None:
    """The declared encodings, strictly and then with replaced characters, but for those that the bytes refute."""
    # Servers send ISO-8859-1 by default, whatever the page is: the page's own word goes first.
    candidates = sorted(candidates, key=lambda candidate: candidate[1] in _WESTERN)
    double_byte = evidence.is_double_byte(sample)
    refuted = set(_WESTERN) if double_byte else set()
    if double_byte and evidence.has_only_signs(sample.decode("cp949", "replace")):
        refuted.add("johab")
    if evidence.is_windows_punctuation(raw):
        refuted.add("cp949")
    for errors in ("strict", "replace"):
        for source, codec in candidates:
            if codec in refuted:
                continue
            found = _attempt(raw, codec, source, errors)
            if found is not None and not (codec in _WESTERN and evidence.has_odd_words(found.text)):
                return found
    return None


def _detected(raw: bytes, sample: bytes, expected: bool) -> Decoded | None:
    """The encoding of undeclared bytes that are no ordinary Korean, or None: a wrong guess is worse than a page less."""
    double_byte = evidence.is_double_byte(sample)
    if expected and double_byte:
        return _guess(raw, "cp949")
    first = _first_high(raw)
    guess = cchardet.detect(raw[first : first + _DETECT_BYTES])
    codec, is_sure = codec_of(guess["encoding"]), (guess["confidence"] or 0.0) >= _MIN_CONFIDENCE
    found = None if codec in (None, "utf-8") else _guess(raw, str(codec))
    if codec in _JAPANESE:
        return found if found is not None and evidence.has_kana(found.text) else None
    if evidence.korean(sample.decode("cp949", "replace")).is_only_hangul():
        return _guess(raw, "cp949")
    if double_byte and codec not in evidence.FREQUENT_LEADS:
        return None
    if found is None or not is_sure or codec in _LATIN:
        if found is None or not is_sure or (codec in _RARE_LATIN and evidence.korean(found.text).other < _MIN_DETECTED):
            found = _guess(raw, "cp1252")
        return found if found is not None and evidence.is_western(sample) and not evidence.has_odd_words(found.text) else None
    if codec in evidence.FREQUENT_LEADS:
        return found if evidence.is_frequent_chinese(sample, str(codec)) else None
    return found if evidence.korean(found.text).other >= _MIN_DETECTED else None
