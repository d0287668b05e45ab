"""Replace personal data by fixed placeholders: e-mail, Korean telephone and resident numbers, payment cards, public IPv4 addresses.

The texts come from the web and may be hostile: every pattern has bounded repetition and starts only where no neighbouring character of its
own class stands before it, so the search is linear. Values are counted, never stored.
"""

from __future__ import annotations

import calendar
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import with_columns

EMAIL, PHONE, RRN, CARD, IP = "<|email|>", "<|phone|>", "<|rrn|>", "<|card|>", "<|ip|>"

CONTEXT_CHARS = 24
"""How far before a number the words that explain it are looked for (a label and its particles; research notes use 20)."""

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,6}(?P<top>[A-Za-z]{2,24})(?![A-Za-z0-9-])"
)
_FILE_ENDINGS = frozenset({"png", "jpg", "jpeg", "gif", "webp", "svg", "css", "js", "html", "php", "pdf", "zip"})
"""`logo@2x.png` is an image, not an address."""

_RRN = re.compile(r"(?<![0-9A-Za-z-])([0-9]{2})([0-9]{2})([0-9]{2})([- ]?)([0-9])([0-9]{6})(?![0-9A-Za-z]|-[0-9])")
_CENTURY = (1800, 1900, 1900, 2000, 2000, 1900, 1900, 2000, 2000, 1800)
"""Century of birth by the seventh digit of a resident number, 0 to 9 (5 to 8: foreign residents)."""
_RRN_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_RRN_LABEL = re.compile(r"주민\s?등록|주민\s?번호|외국인\s?등록|국내거소\s?신고|생년월일")
_CORPORATION_LABEL = re.compile(r"법인")

_CARD = re.compile(
    r"(?<![0-9A-Za-z._=/-])(?:[0-9]{4}[- ][0-9]{4}[- ][0-9]{4}[- ][0-9]{4}|3[47][0-9]{2}[- ][0-9]{6}[- ][0-9]{5}|[0-9]{14,16})"
    r"(?![0-9A-Za-z]|[-.][0-9])"
)
_CARD_PREFIX = re.compile(r"4|5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720|3[47]|30[0-5]|3[689]|35[2-8]|6011|6[245]|9[4-9]")
"""Issuers: Visa, Mastercard (two ranges), American Express, Diners, JCB, Discover, UnionPay, and Korean domestic cards (94 to 99)."""

_AREA = r"(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|50[2-8])"
_PHONE = re.compile(
    r"(?<![0-9A-Za-z_=/+.-])(?:"
    r"\+?82[-. ]{0,2}(?:\(0\)|0)?(?:1[016-9]|" + _AREA + r")[-. )]{0,2}[0-9]{3,4}[-. ]?[0-9]{4}"
    r"|\(01[016-9]\)[-. ]?[0-9]{3,4}[-. ]?[0-9]{4}"
    r"|01[016-9](?:[-.)] ?| )?[0-9]{3,4}[-. ]?[0-9]{4}"
    r"|\(0" + _AREA + r"\)[-. ]?[0-9]{3,4}[-. ][0-9]{4}"
    r"|0" + _AREA + r"(?:[-.)] ?)[0-9]{3,4}[-. ][0-9]{4}"
    r")(?![0-9A-Za-z_]|[-.][0-9])"
)
_NO_PHONE = re.compile(r"82[0-9]+\Z|[01]+\Z")

_IP = re.compile(r"(?<![0-9A-Za-z._/-])[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9A-Za-z_]|[./-][0-9A-Za-z])")
_VERSION_LABEL = re.compile(
    r"(?<![A-Za-z])(?:version|ver\.?|release|build|firmware|section|chapter|figure|table|버전|릴리스|릴리즈|펌웨어|빌드|그림|표)\s{0,2}:?\s?\Z",
    re.I,
)
_IP_LABEL = re.compile(r"\bip|아이피|address|host|server|주소|서버|접속|dns", re.I)
_SMALL_OCTET = 32
"""Four numbers all below this are a section or version number unless a word before them says otherwise."""
_NOT_PUBLIC = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
"""IANA's special-purpose registry, written out so that the answer does not depend on the Python version."""


def _before(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - CONTEXT_CHARS) : match.start()]


def _is_email(match: re.Match[str]) -> bool:
    if match["top"].lower() in _FILE_ENDINGS:
        return False
    # git@host:path is an address of a repository.
    return not (match[0].startswith("git@") and match.string[match.end() : match.end() + 1] == ":")


def _is_rrn(match: re.Match[str]) -> bool:
    """A real date in the century that the seventh digit names, and nothing that says it is a corporation's number.

    Corporate registration numbers have the same shape (110111-1234567) and often look like a date: they are told by their label, or
    by satisfying their own check digit where a birth before 2000 would have to satisfy the resident one (numbers issued since October
    2020, mostly to the newborn, have random tails and satisfy neither for sure). Thirteen digits in a row are also barcodes and
    timestamps: they need a label.
    """
    year, month, day = _CENTURY[int(match[5])] + int(match[1]), int(match[2]), int(match[3])
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return False
    before = _before(match)
    if _RRN_LABEL.search(before):
        return True
    if not match[4] or _CORPORATION_LABEL.search(before):
        return False
    digits = [int(digit) for digit in match[0] if digit.isdigit()]
    resident = (11 - sum(w * d for w, d in zip(_RRN_WEIGHTS, digits, strict=False)) % 11) % 10 == digits[12]
    corporate = (10 - sum(d * (1 + place % 2) for place, d in enumerate(digits[:12])) % 10) % 10 == digits[12]
    return resident or not corporate or year >= 2000


def _is_card(match: re.Match[str]) -> bool:
    """An issuer's prefix and a valid Luhn check digit (ISO/IEC 7812)."""
    digits = [int(digit) for digit in match[0] if digit.isdigit()]
    if not _CARD_PREFIX.match("".join(map(str, digits))):
        return False
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_phone(match: re.Match[str]) -> bool:
    """Digits in a row that begin with 82 without a plus are some other number, and so is a row of noughts and ones."""
    return not _NO_PHONE.match(match[0])


def _is_public_ip(match: re.Match[str]) -> bool:
    octets = match[0].split(".")
    if any(int(octet) > 255 or (octet[0] == "0" and octet != "0") for octet in octets):
        return False
    before = _before(match)
    if _VERSION_LABEL.search(before) or (all(int(octet) < _SMALL_OCTET for octet in octets) and not _IP_LABEL.search(before)):
        return False
    address = ipaddress.IPv4Address(match[0])
    return not any(address in network for network in _NOT_PUBLIC)


@dataclass(frozen=True)
class Kind:
    """One kind of personal data.

    column: where it is counted. hint: RE2 that every text with a real one matches, to leave the others alone. pattern and is_real: where it
    may be and whether it is. placeholder: what replaces it.
    """

    column: str
    hint: str
    pattern: re.Pattern[str]
    is_real: Callable[[re.Match[str]], bool]
    placeholder: str


KINDS = (
    Kind("pii_email", r"[A-Za-z0-9._%+-]@[A-Za-z0-9]", _EMAIL, _is_email, EMAIL),
    Kind("pii_rrn", r"[0-9]{6}[- ]?[0-9]{7}", _RRN, _is_rrn, RRN),
    Kind("pii_card", r"[0-9](?:[- ]?[0-9]){13}", _CARD, _is_card, CARD),
    Kind("pii_phone", r"(?:0|82)[-. )(]{0,3}[0-9](?:[-. )(]{0,2}[0-9]){7}", _PHONE, _is_phone, PHONE),
    Kind("pii_ip", r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]", _IP, _is_public_ip, IP),
)
"""In the order of replacement: longer numbers before shorter ones."""

ANY_HINT = "|".join(kind.hint for kind in KINDS)


def replace(text: str, kind: Kind) -> tuple[str, int]:
    """`text` with personal data of one kind replaced, and how many were."""
    replaced = 0

    def substitute(match: re.Match[str]) -> str:
        nonlocal replaced
        if not kind.is_real(match):
            return match[0]
        replaced += 1
        return kind.placeholder

    return kind.pattern.sub(substitute, text), replaced


@dataclass(frozen=True)
class Pii:
    """The stage that replaces personal data in `text` and counts it in the pii_* columns; it drops nothing."""

    name: ClassVar[str] = "pii"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    writes: ClassVar[frozenset[str]] = frozenset({"text", "text_bytes", *(kind.column for kind in KINDS)})

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with `text`, `text_bytes` and the pii_* counts set. Rows that the hints clear are not touched."""
        texts = table.column("text").cast(pa.large_string())
        hinted = pc.fill_null(pc.match_substring_regex(texts, ANY_HINT), False)
        counts = {kind.column: np.zeros(len(texts), np.int64) for kind in KINDS}
        rows = np.flatnonzero(hinted.to_numpy())
        candidates = texts.filter(hinted)
        values = candidates.to_pylist()
        for kind in KINDS:
            for place in np.flatnonzero(pc.match_substring_regex(candidates, kind.hint).to_numpy()).tolist():
                values[place], counts[kind.column][rows[place]] = replace(values[place], kind)
        if any(count.any() for count in counts.values()):
            texts = pc.replace_with_mask(texts, pa.array(hinted.to_numpy()), pa.array(values, pa.large_string()))
        return with_columns(table, {"text": texts, "text_bytes": pc.fill_null(pc.binary_length(texts), 0), **counts})
