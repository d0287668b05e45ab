"""What personal data looks like: per kind a pattern that finds candidates, and a check that tells the real ones.

The texts come from the web and may be hostile: every pattern has bounded repetition and starts only where no neighbouring character of its
own class stands before it, so the search is linear.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.refine import pii_addresses
from pipeline.refine.pii_labels import ADJACENT_CHARS, CONTEXT_CHARS, FAR_CHARS, account_follows, after, before, nearest

EMAIL, PHONE, RRN, CARD, IP = "<|email|>", "<|phone|>", "<|rrn|>", "<|card|>", "<|ip|>"
ACCOUNT, PASSPORT, DRIVER = "<|account|>", "<|passport|>", "<|driver|>"

_DASH = r"\-‐-―−－─ーㅡ"
"""For a character class: hyphen, U+2010 to U+2015, minus, full-width hyphen, and what Korean writers type in their place: U+2500, U+30FC,
U+3161 (the vowel eu)."""

_RRN = re.compile(
    r"(?<![0-9A-Za-z" + _DASH + r"])([0-9]{2})([0-9]{2})([0-9]{2})( ?[" + _DASH + r"] ?| ?)([0-9])([0-9]{6})"
    r"(?![0-9A-Za-z]|[" + _DASH + r"][0-9])"
)  # fmt: skip
_RRN_DOTTED = re.compile(r"(?<![0-9A-Za-z])([0-9]{2})([0-9]{2})([0-9]{2})([./_])([0-9])([0-9]{6})(?![0-9A-Za-z]|[./_][0-9])")
_CENTURY = (1800, 1900, 1900, 2000, 2000, 1900, 1900, 2000, 2000, 1800)
"""Century of birth by the seventh digit of a resident number, 0 to 9 (5 to 8: foreign residents)."""
_RRN_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_REGISTRIES = 11, 29
"""The first two digits of a corporate number, which name the court of registration (11 Seoul to 22 Jeju, 28 Gyeonggi)."""
_LATEST_BIRTH = 2024
"""Later years are not taken from thirteen digits in a row without a label: 88 as 2088 is the beginning of a Korean barcode."""
_RANDOM_TAILS = (2020, 10)
"""Year and month from which resident numbers are issued without a check digit."""

_CARD = re.compile(
    r"(?<![0-9A-Za-z._/" + _DASH + r"])(?:(?:[0-9]{4}[" + _DASH + r" ]){3}[0-9]{4}(?:[" + _DASH + r" ][0-9]{3})?"
    r"|3[0-9]{3}[" + _DASH + r" ][0-9]{6}[" + _DASH + r" ][0-9]{4,5}|[0-9]{19}|[0-9]{14,16})(?![0-9A-Za-z]|[." + _DASH + r"][0-9])"
)
_CARD_DOTTED = re.compile(r"(?<![0-9A-Za-z._=/" + _DASH + r"])(?:[0-9]{4}\.){3}[0-9]{4}(?![0-9A-Za-z]|[." + _DASH + r"][0-9])")
_CARD_LENGTHS = (
    (re.compile(r"3[47]"), 15),  # American Express
    (re.compile(r"30[0-5]|3[689]"), 14),  # Diners
    (re.compile(r"4|5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720|35[2-8]|6011|6[245]|9[4-9]"), 16),
    (re.compile(r"62"), 19),  # UnionPay, which has both
)
"""Issuers and the digits of their numbers; 16: Visa, Mastercard (two ranges), JCB, Discover, UnionPay, Korean domestic cards (94 to 99)."""

_ACCOUNT = re.compile(
    r"(?:(?<![0-9A-Za-z._=/"
    + _DASH
    + r"])|(?<=[가-힣][/-]))(?:[0-9]{2,6}(?:["
    + _DASH
    + r"][0-9]{1,8}){2,4}|[0-9]{3,6} [0-9]{2,6} [0-9]{5,8}|[0-9]{10,16})"
    r"(?![0-9A-Za-z]|[." + _DASH + r"][0-9])"
)
_NO_ACCOUNT = re.compile(
    r"(?:19|20)[0-9]{2}-(?:[01]?[0-9]-[0-3]?[0-9](?![0-9])|(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])-[0-9]{1,3}\Z)|[0-9]{3}-[0-9]{2}-[0-9]{5}\Z|(?:[0-9]{4}-){3}[0-9]{4}\Z"
    r"|0[0-9]{1,3}-[0-9]{3,4}-[0-9]{4}\Z|97[89]-"
)
"""Dates (2024-0312-001 is a paper of that day), business registration numbers, cards (which are checked as such), telephone numbers
and ISBN-13."""
_THREE_FOURS, _THREE_FOURS_BANK = (
    re.compile(r"[0-9]{4}-[0-9]{4}-[0-9]{4}\Z"),
    re.compile("토스|뱅크|은행|농협|수협|신협|우체국|새마을|계좌|통장|account|bank", re.I),
)
"""The accounts of one bank, and any three numbers of four digits: 우리 (we) or 하나 (one) before them says nothing."""
_AMOUNT = re.compile(r"\A\s?(?:[천만억]?\s?원|won|krw|usd|달러|엔|명|건|개)", re.I)

_PASSPORT = re.compile(r"(?<![0-9A-Za-z-])(?:[A-Za-z][ -]?[0-9]{8}|[A-Za-z][0-9]{3}[A-Za-z][0-9]{4})(?![0-9A-Za-z]|-[0-9A-Za-z])")
"""Korean passports: a letter and eight digits, since 2021 a letter in the fifth place."""
_REGION = "(?:서울|부산|경기|강원|충북|충남|전북|전남|경북|경남|제주|대구|인천|광주|대전|울산)"
_DRIVER = re.compile(
    r"(?:(?<![0-9A-Za-z.-])(?:[0-9]{2}[" + _DASH + r" ])?|(?<![가-힣])" + _REGION + r"[" + _DASH + r" ]?)"
    r"[0-9]{2}[" + _DASH + r" ][0-9]{6}[" + _DASH + r" ][0-9]{2}(?![0-9A-Za-z]|-[0-9])"
    r"|(?<![0-9A-Za-z.-])[12][0-9]{11}(?![0-9A-Za-z]|-[0-9])"
)
"""Region (11 to 28, in older ones its name), year, serial and check digits."""

_PASSPORT_WORD, _DRIVER_WORD = re.compile("여권|[Pp]assport|PASSPORT"), re.compile("면허|[Ll]icen|LICEN")

_AREA = r"(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|50[2-8])"
_BETWEEN = r"(?: ?[" + _DASH + r".·)] ?| )"
_BETWEEN_MOBILE = r"(?: ?[" + _DASH + r".·)_] ?| )"
_PHONE = re.compile(
    r"(?<![0-9])(?<![0-9][./_=+" + _DASH + r"])(?:"
    r"(?:\+|00)?82[" + _DASH + r". )(]{0,3}(?:\(0\)|0)?(?:1[016-9]|" + _AREA + r")[" + _DASH + r". )]{0,2}"
    r"[0-9]{3,4}" + _BETWEEN + r"?[0-9]{4}"
    r"|(?:\(01[016-9]\)|01[016-9])" + _BETWEEN_MOBILE + r"?[0-9]{3,4}" + _BETWEEN_MOBILE + r"?[0-9]{4}"
    r"|\(0" + _AREA + r"\)" + _BETWEEN + r"?[0-9]{3,4}" + _BETWEEN + r"[0-9]{4}"
    r"|0" + _AREA + _BETWEEN + r"[0-9]{3,4}" + _BETWEEN + r"[0-9]{4}"
    r"|\(?0" + _AREA + r"\) ?[0-9]{7,8}"
    r"|(?P<bare>0" + _AREA + _BETWEEN + r"?[0-9]{7,8}|\+[1-9][0-9]{9,13}"
    r"|(?:1[-. ])?[2-9][0-9]{2}(?P<mark>[-. ])[2-9][0-9]{2}(?P=mark)[0-9]{4})"
    r"|(?:1[-. ])?\([2-9][0-9]{2}\) ?[2-9][0-9]{2}[-. ][0-9]{4}"
    r"|\+[1-9][0-9]{0,2}(?: ?\(0\) ?[0-9]{1,5})?(?:[-. ]\(?[0-9]{1,10}\)?){1,5}"
    r")(?![0-9A-Za-z_]|[." + _DASH + r"][0-9]|[.-][A-Za-z])"
)  # fmt: skip
"""`bare`: digits in a row and numbers of North America, which need a label."""
_PHONE_LIKE = re.compile(r"[0-9]{2,4}[" + _DASH + r". )][0-9]{3,4}[" + _DASH + r". ][0-9]{4}")
_PHONE_AFTER = re.compile(r"\A[^0-9\n]{0,2}(?:번\s?)?(?:으로|로)\s?(?:전화|연락|문의|문자|상담|예약)")
_SPELT = r"공영일이삼사오육칠팔구"
_SPELT_START = r"(?:공일공|[oO]1[oO0]|01[oO]|010[ .·)" + _DASH + r"]{0,3}[" + _SPELT + r"])"
_SPELT_PHONE = re.compile(
    r"(?<![0-9A-Za-z가-힣])(?=" + _SPELT_START + r")..." + _BETWEEN + r"?[0-9" + _SPELT + r"]{3,4}"
    + _BETWEEN + r"?[0-9" + _SPELT + r"]{4}(?![0-9A-Za-z])"
)  # fmt: skip
"""Mobile numbers written with Korean digits or the letter O to escape the collectors of numbers."""
_MOBILE = re.compile(r"\(?01[016-9]")
_TOLL_FREE = re.compile(r"(?:1[-. ])?\(?8(?:00|33|44|55|66|77|88)")
_BUSINESS_LINE = re.compile(r"\(?0[0-9]{1,2}[^0-9]{1,3}1[568][0-9]{2}[^0-9]")
"""A nationwide number with an area code before it: 02-1588-1234."""
_GLUED = re.compile(
    r"(?:(?<![A-Za-z])(?:tel|fax|h\.?p|mobile|phone|cell|call|contact|whatsapp)[.:/_-]{0,2}|(?<![A-Za-z])[tmfpc][.:/]|[가-힣)>☎☏][./-])\Z",
    re.I,
)
"""What may touch a telephone number: TEL02-, T.02-, 문의.010-, <|email|>/010-; a letter or slash of anything else makes it part of
a code or an address."""


def _digits(match: re.Match[str]) -> list[int]:
    return [int(character) for character in match[0] if "0" <= character <= "9"]


def _is_rrn(match: re.Match[str]) -> bool:
    """A real date in the century that the seventh digit names, and nothing that says it is another number.

    Corporate registration numbers have the same shape (110111-1234567) and often look like a date: they are told by their label, or
    by satisfying their own check digit where a birth before October 2020 would have to satisfy the resident one (later numbers have
    random tails). Thirteen digits in a row are also barcodes and timestamps in milliseconds (which begin with 1 until 2033): they need
    a label, or the check digit and to be none of these. Two numbers in a table may be a date
    and an amount: they need a label or the check digit.
    """
    year, month, day = _CENTURY[int(match[5])] + int(match[1]), int(match[2]), int(match[3])
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return False
    label, _ = nearest(match.string, match.start())
    if label == "rrn":
        return True
    if label == "other" or match[4] in {".", "/", "_"}:
        return False
    digits = _digits(match)
    weighted = sum(weight * digit for weight, digit in zip(_RRN_WEIGHTS, digits, strict=False)) % 11
    resident = ((13 if 5 <= digits[6] <= 8 else 11) - weighted) % 10 == digits[12]
    if match[4] == " ":
        return resident
    corporate = (10 - sum(digit * (1 + place % 2) for place, digit in enumerate(digits[:12])) % 10) % 10 == digits[12]
    corporate = corporate and _REGISTRIES[0] <= int(match[1]) <= _REGISTRIES[1]
    if not match[4]:
        barcode = sum(digit * (1 + 2 * (place % 2)) for place, digit in enumerate(digits)) % 10 == 0
        return resident and not corporate and not barcode and digits[0] != 1 and year <= _LATEST_BIRTH
    return resident or not corporate or (year, month) >= _RANDOM_TAILS


def _is_card(match: re.Match[str]) -> bool:
    """An issuer's prefix, its length and a valid Luhn check digit (ISO/IEC 7812), and no word that says it is another number."""
    digits = _digits(match)
    text = "".join(map(str, digits))
    if not any(len(digits) == length and prefix.match(text) for prefix, length in _CARD_LENGTHS):
        return False
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    if (sum(digits[-1::-2]) + sum(doubled)) % 10:
        return False
    label, _ = nearest(match.string, match.start())
    if match.start() and match.string[match.start() - 1] == "=":  # the value of a parameter: most are some other number
        return label == "card"
    return label != "other"


def _is_account(match: re.Match[str]) -> bool:
    """Ten to sixteen digits (Korean banks use 10 to 14, virtual accounts up to 16) with a bank or transfer named beside them."""
    value = match[0]
    hyphened = re.sub("[" + _DASH + " ]", "-", value)
    digits = hyphened.replace("-", "")
    if not 10 <= len(digits) <= 16 or _NO_ACCOUNT.match(hyphened) or not digits.strip("0"):
        return False
    if _THREE_FOURS.match(hyphened) and not _THREE_FOURS_BANK.search(before(match)):
        return False
    label, distance = nearest(match.string, match.start())
    if value.isdigit():
        if _AMOUNT.match(after(match)):
            return False
        distance_allowed = CONTEXT_CHARS // 2
    else:
        distance_allowed = CONTEXT_CHARS
    if label == "account":
        return distance <= distance_allowed
    return label == "" and account_follows(match.string, match.end())


def _is_passport(match: re.Match[str]) -> bool:
    # The words alone first: lists of such codes are common, labels among them rare.
    return _PASSPORT_WORD.search(before(match, FAR_CHARS)) is not None and nearest(match.string, match.start(), FAR_CHARS)[0] == "passport"


def _is_driver(match: re.Match[str]) -> bool:
    return _DRIVER_WORD.search(before(match, FAR_CHARS)) is not None and nearest(match.string, match.start(), FAR_CHARS)[0] == "driver"


def _is_phone(match: re.Match[str]) -> bool:
    """A telephone number by its shape, or by a label where the shape alone is too common.

    Digits in a row that begin with 82 without a plus are some other number, and so is a row of noughts and ones.
    """
    value = match[0]
    text_before = before(match)
    if text_before and re.match(r"[A-Za-z_=/.+-]", text_before[-1]) and not _GLUED.search(text_before):
        return False
    digits = re.sub("[^0-9]", "", value)
    if (value.startswith("82") and value.isdigit()) or not digits.strip("01") or _TOLL_FREE.match(value):
        return False
    if _BUSINESS_LINE.match(value):
        return False
    if match["bare"] is not None:
        return _says_phone(match)
    if value.startswith("+"):
        return 10 <= len(digits) <= 15  # ITU-T E.164: at most 15
    if _MOBILE.match(value):
        return len(digits) == 11 or not value.isdigit() or _says_phone(match)
    if not re.search("[" + _DASH + ".·)]", value):
        return _says_phone(match)
    label, distance = nearest(match.string, match.start())
    return label != "other" or distance > ADJACENT_CHARS


def _says_phone(match: re.Match[str]) -> bool:
    """Whether the nearest label before is one of telephones, with no other number between but telephone numbers; or `로 전화` follows."""
    label, distance = nearest(match.string, match.start())
    between = _PHONE_LIKE.sub("", match.string[match.start() - distance : match.start()])
    if label == "phone" and not re.search("[0-9]", between):
        return True
    return label != "other" and _PHONE_AFTER.match(after(match)) is not None


@dataclass(frozen=True)
class Kind:
    """One written form of one kind of personal data; several forms may share a column and a placeholder.

    column: where it is counted. placeholder: what replaces it. hint: RE2 that every text with a real one matches, to leave the others
    alone. place: matches inside every real one, which begins at most `before` characters before and ends at most `after` behind it.
    pattern and is_real: what it looks like and whether it is. digits: a place with fewer holds none (0: not counted).
    """

    column: str
    placeholder: str
    hint: str
    place: re.Pattern[str]
    before: int
    after: int
    pattern: re.Pattern[str]
    is_real: Callable[[re.Match[str]], bool]
    digits: int = 0

    def places(self, text: str) -> list[tuple[int, int]]:
        """Where `place` matches in `text`: start and end of each."""
        return [match.span() for match in self.place.finditer(text)]

    def matches(self, text: str, places: list[tuple[int, int]] | None = None) -> Iterator[re.Match[str]]:
        """All real ones in `text`, left to right. Only the surroundings of its places (found here unless given) are read closely.

        Where a candidate isn't real the search goes on at its second character: `12 34` may hide `34 5678`.
        """
        done = 0
        for first, last in self.places(text) if places is None else places:
            start = max(done, first - self.before)
            if last <= start or (self.digits and len(_NO_DIGIT.sub("", text[first:last])) < self.digits):
                continue
            # One that begins behind the place may be cut off at the end of the window; it has a place of its own.
            while (match := self.pattern.search(text, start, last + self.after)) is not None and match.start() <= last:
                start = match.start() + 1
                if self.is_real(match):
                    yield match
                    start = done = match.end()


_LONGEST = 48
"""No number below is longer, separators and the character behind it included."""
_CHAIN_HINT = r"[0-9](?:[ " + _DASH + r"]{0,3}[0-9]){9}"
"""Ten digits with blanks and hyphens between them."""

_PHONE_CHAIN = r"[0-9](?:[" + _DASH + r"._ )(·]{0,3}[0-9]){8,40}"
_PHONE_HINT = (
    r"(?:^|[^0-9])(?:0(?:[1-7]|0 ?82)|82|\+[1-9]|1?[ .(" + _DASH + r"]{0,2}[2-9][0-9]{2}[ .)" + _DASH + r"]{1,2}[2-9])"
    r"(?:[" + _DASH + r"._ )(·]{0,3}[0-9]){6}"
)
_DOTTED = r"[0-9]{4}[./_][0-9]{4}"
_PASSPORT_SHAPE = r"[A-Za-z](?:[ -]?[0-9]{8}|[0-9]{3}[A-Za-z][0-9]{4})"
_PASSPORT_HINT = r"(?:^|[^0-9A-Za-z])" + _PASSPORT_SHAPE + r"(?:[^0-9A-Za-z]|$)"
_NO_DIGIT = re.compile("[^0-9]")
_CHAIN = re.compile(_CHAIN_HINT.removesuffix("{9}") + "{9,63}")

KINDS = (
    Kind(
        "pii_email", EMAIL, r"@[A-Za-z0-9가-힣]", re.compile("@" + pii_addresses.DOMAIN), 67, 1, pii_addresses.EMAIL, pii_addresses.is_email
    ),
    Kind(
        "pii_email",
        EMAIL,
        r"＠[A-Za-z0-9가-힣]",
        re.compile("＠" + pii_addresses.DOMAIN),
        67,
        1,
        pii_addresses.EMAIL,
        pii_addresses.is_email,
    ),
    Kind(
        "pii_email",
        EMAIL,
        pii_addresses.HIDDEN_HINT,
        re.compile(pii_addresses.HIDDEN_DOMAIN),
        41,
        1,
        pii_addresses.HIDDEN_EMAIL,
        pii_addresses.always,
    ),
    Kind("pii_rrn", RRN, _CHAIN_HINT, _CHAIN, 0, _LONGEST, _RRN, _is_rrn, 13),
    Kind("pii_card", CARD, _CHAIN_HINT, _CHAIN, 0, _LONGEST, _CARD, _is_card, 14),
    Kind("pii_rrn", RRN, _DOTTED, re.compile(_DOTTED), 2, _LONGEST, _RRN_DOTTED, _is_rrn),
    Kind("pii_card", CARD, _DOTTED, re.compile(_DOTTED), 0, _LONGEST, _CARD_DOTTED, _is_card),
    Kind("pii_driver", DRIVER, _CHAIN_HINT, _CHAIN, 3, _LONGEST, _DRIVER, _is_driver),
    Kind("pii_account", ACCOUNT, _CHAIN_HINT, _CHAIN, 0, _LONGEST, _ACCOUNT, _is_account),
    Kind("pii_phone", PHONE, _PHONE_HINT, re.compile(_PHONE_CHAIN), 2, _LONGEST, _PHONE, _is_phone),
    Kind("pii_phone", PHONE, _SPELT_START, re.compile(_SPELT_START), 0, _LONGEST, _SPELT_PHONE, pii_addresses.always),
    Kind("pii_passport", PASSPORT, _PASSPORT_HINT, re.compile("(?<![0-9A-Za-z])" + _PASSPORT_SHAPE), 0, 2, _PASSPORT, _is_passport),
    Kind(
        "pii_ip", IP, pii_addresses.IPV4_PART, re.compile(pii_addresses.IPV4_PART), 2, 4, pii_addresses.IPV4, pii_addresses.is_public_ipv4
    ),
    Kind(
        "pii_ip",
        IP,
        pii_addresses.IPV6_PART,
        re.compile(pii_addresses.IPV6_PART),
        0,
        _LONGEST,
        pii_addresses.IPV6,
        pii_addresses.is_public_ipv6,
    ),
)
"""In the order of replacement: longer numbers before shorter ones, and labelled ones before those known by shape."""
