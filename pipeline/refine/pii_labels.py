"""Words that say what a number is: the nearest one before it decides between a bank account and an order number.

A label is looked for in a short stretch of text before or after a number, so no search here reads more than `FAR_CHARS` characters.
"""

from __future__ import annotations

import functools
import re

CONTEXT_CHARS = 24
"""How far before a number a label may end for most kinds: a label, its particles, an owner's name (research notes use 20)."""
FAR_CHARS = 48
"""The same for kinds whose shape is rare (passport, driver): the heading of a table's column stands a row away."""
AFTER_CHARS = 20
"""How far behind an account number the bank or its holder may be named: `123-456-789012 (국민은행)`."""
ADJACENT_CHARS = 3
"""A label at most this far away stands directly at the number: a colon, a blank, a bracket."""

_BANKS = (
    r"은행|뱅크|[a-z]{0,12}bank\b|(?:nong|su|shin)hyup\b|새마을\s?금고|우체국|신협|수협|농협|축협|산림조합|저축은행|카뱅|케뱅|토뱅|"
    r"(?:국민|신한|우리|하나|기업|외환|산업|제일|SC|씨티|대구|부산|경남|광주|전북|제주|토스|케이|카카오|KB|NH|IBK|KEB|KDB)"
    r"[ \t\n:|()\[\]/,\-]{0,3}\Z"
)
"""Short names of banks are everyday words (우리: we, 하나: one), so they count only directly before the number."""

_SYLLABLES = "주외국거생여면카전연휴핸폰문상예팩직대안긴수발내제그계입송이통회후은뱅새우신농축산저토케하기씨부경광"
_FIRST = r"(?:(?<![A-Za-z])[A-Za-z]|[☎☏📞📱" + _SYLLABLES + r"])"
"""How a known label may begin: at the first letter of an English word or with one of these. Looking at one character is much faster
than trying all labels."""

_KNOWN = re.compile(
    r"(?=" + _FIRST + r")(?:"
    r"(?P<rrn>주민\s?등록|주민\s?번호|외국인\s?등록|국내\s?거소|거소\s?신고|생년월일|resident\sregistration|alien\sregistration|\bRRN\b|\bARC\b)"
    r"|(?P<passport>여권|passport)"
    r"|(?P<driver>면허|driver['’]?s?\slicen[cs]e|driving\slicen[cs]e)"
    r"|(?P<card>카드|credit\scard|debit\scard|\bcard|\bpan\b|visa|mastercard)"
    r"|(?P<phone>전화|연락|휴대|핸드폰|(?<!쿠)폰\s?번호|문의|상담|예약|팩스|직통|(?:대표|안심|긴급|수신|발신|내|제|그)\s?번호|[☎☏📞📱]"
    r"|\btel\b|\btel\.|\bfax\b|\bh\.?\s?p\b|\bphone|\bmobile|\bcell\b|\bcall\b|\btext\b|\bcontact|\bdial|\breach\b|\bring\b|\bsms\b|\bhotline|\boffice\b|\bvoicemail|\b(?:front|help)\s?desk|\bdirect\sline"
    r"|\bnumber\sis\b|\b(?:my|our|your|his|her|their)\s(?:\w{1,6}\s)?number|whatsapp|\b[tmf][.:])"
    r"|(?P<account>계좌|예금주|입금|송금|이체|통장|회비|후원금|\baccount\s?(?:no\b|number|\#|:)|\bacct\b|\ba/c\b|\biban\b|"
    + _BANKS
    + r"))",
    re.I,
)

_OTHER = re.compile(
    r"[가-힣]{1,8}(?:번호|코드)|(?:주문|상품|제품|관리|접수|등록|승인|허가|일련|고유|예약|신청) (?:번호|코드)"
    r"|운송장|송장|등기|소포|바코드|쿠폰|제품\s?키|로트|배치|품번|부품|모델|시리얼|사업자|법인(?!\s?카드)|특허|출원|상표|의안|공고|고시|사건|견적"
    r"|\b(?:order|tracking|invoice|serial|model|lots?|batch|items?|coupon|gift\scode|patent|part|case|isbn|issn|imei|sku|ref|reference)\b",
    re.I,
)
"""What is numbered but nobody's secret. Any Korean `...번호` counts unless a known word is inside it: 계좌번호 is an account."""

_WORD = re.compile("[A-Za-z가-힣☎☏📞📱]")

_NO_DIGITS = {ord(digit): "0" for digit in "123456789"}
"""The value of a digit is part of no label. Without it more texts are alike, and the cache holds no number."""

_ACCOUNT_AFTER = re.compile(
    r"\A[^0-9\n]{0,6}(?:국민|신한|우리|하나|기업|외환|산업|제일|씨티|대구|부산|경남|광주|전북|제주|농협|수협|신협|우체국|새마을|[가-힣A-Za-z]{1,6}(?:은행|뱅크)"
    r"|[A-Z][a-z]{1,12}\s[Bb]ank|예금주|계좌|입금|송금|이체)"
)


def nearest(text: str, end: int, reach: int = CONTEXT_CHARS) -> tuple[str, int]:
    """The kind of the last label in the `reach` characters before `text[end]`, and how far before `end` it stops; ("", reach) for none.

    Kinds: rrn, passport, driver, card, phone, account, other.
    """
    label, stop = _last_label(text[max(0, end - reach) : end].translate(_NO_DIGITS))
    return label, stop if label else reach


@functools.lru_cache(maxsize=4096)
def _last_label(text: str) -> tuple[str, int]:
    """`nearest` for a text that ends at the number. Lists repeat their labels, and each kind asks for the same ones: hence the cache."""
    if _WORD.search(text) is None:  # rows of numbers
        return "", 0
    known = other = None
    for known in _KNOWN.finditer(text):  # noqa: B007 the last one is wanted
        pass
    for other in _OTHER.finditer(text):  # noqa: B007
        pass
    if known is not None and (other is None or known.start() >= other.start() or known.end() >= other.end()):
        stop = other.end() if other is not None and other.start() <= known.start() < other.end() else known.end()
        return str(known.lastgroup), len(text) - max(stop, known.end())
    return ("other", len(text) - other.end()) if other is not None else ("", 0)


def account_follows(text: str, start: int) -> bool:
    """Whether a bank, an account holder or a transfer is named directly after `text[start]`."""
    return _ACCOUNT_AFTER.match(text[start : start + AFTER_CHARS]) is not None


def before(match: re.Match[str], reach: int = CONTEXT_CHARS) -> str:
    """The `reach` characters before a candidate."""
    return match.string[max(0, match.start() - reach) : match.start()]


def after(match: re.Match[str]) -> str:
    """The `CONTEXT_CHARS` characters behind a candidate."""
    return match.string[match.end() : match.end() + CONTEXT_CHARS]
