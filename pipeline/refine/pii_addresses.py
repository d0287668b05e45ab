"""What e-mail and IP addresses look like: patterns that find candidates, and checks that tell the real ones.

As in `pii_kinds`, every pattern has bounded repetition. The hints are RE2, which tells texts without any apart.
"""

from __future__ import annotations

import ipaddress
import re

from pipeline.refine.pii_labels import after, before

DOMAIN = (
    r"(?:(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,6}(?P<top>[A-Za-z]{2,24})(?![A-Za-z0-9-])"
    r"|[0-9A-Za-z-]{0,16}[가-힣][0-9A-Za-z가-힣-]{0,30}\.(?:한국|(?:co\.|or\.)?kr|com|net)(?![A-Za-z0-9-]))"
)
"""Of Latin letters, or with Hangul under the few top-level domains that sell such names."""
EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])(?:[OoDd]['’])?[A-Za-z0-9_][A-Za-z0-9._%+-]{0,63}[@＠]" + DOMAIN)
_FILE_ENDINGS = frozenset({"png", "jpg", "jpeg", "gif", "webp", "svg", "css", "js", "html", "php", "pdf", "zip"})
"""`logo@2x.png` is an image, not an address."""

_CIPHERS = ("@openssh.com", "@libssh.org")
"""Names of SSH algorithms: chacha20-poly1305@openssh.com."""

_TOP = r"(?:com|net|org|edu|gov|info|biz|kr|io|dev|me|us|uk|de|fr|jp|cn|ca|au|eu)"
_MAIL_HOST = r"(?:naver|gmail|kakao|nate|korea|empas|paran|dreamwiz|hotmail|outlook|yahoo|icloud|lycos|hanmail|daum|chol|freechal)"
_MAIL_HOST_KOREAN = r"(?:네이버|지메일|쥐메일|한메일|네이트|(?:다음|카카오)(?= ?(?:점|쩜|닷|\.)))"
_DOT = r"(?:\.| ?[\[({<] ?(?:dot|DOT|점) ?[\])}>] ?)"
_SPOKEN_DOT = r"(?:" + _DOT + r"| (?:dot|DOT|점|쩜|닷) | ?(?:점|쩜|닷) ?)"
_WORD_DOT = r" [\[({<]?(?:dot|DOT)[\])}>]? "
"""`jane at gmail dot com` is an address, `log in at gmail.com` isn't."""
_AT = r"[\[({<] ?(?:at|At|AT|골뱅이|앳|@) ?[\])}>]"
HIDDEN_DOMAIN = (
    r"(?:(?:" + _AT + r"|골뱅이) ?(?:[A-Za-z0-9][A-Za-z0-9-]{0,31}" + _DOT + r"){1,4}" + _TOP
    + r"|(?:(?:골뱅이| 앳| @) ?|@ |" + _AT + r" ?)" + _MAIL_HOST + _SPOKEN_DOT + r"(?:com|net|co\.kr|컴|넷)"
    + r"| at " + _MAIL_HOST + _WORD_DOT + r"(?:com|net)"
    + r"|(?:골뱅이|@) ?" + _MAIL_HOST_KOREAN + r"(?:" + _SPOKEN_DOT + r"(?:com|net|컴|넷))?"
    + r")(?![A-Za-z0-9-])"
)  # fmt: skip
HIDDEN_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_][A-Za-z0-9._%+-]{0,39} ?" + HIDDEN_DOMAIN)
"""Addresses written for people only. Bracketed or Korean at-signs before any domain; words for it before a large mail provider only."""

HIDDEN_HINT = (
    _AT + r" ?[0-9A-Za-z]|골뱅이 ?[0-9A-Za-z]|(?: at | 앳 ?| @ ?|@ )" + _MAIL_HOST + r"[. \[({<점쩜닷]"
    r"|(?:골뱅이|@) ?(?:네이|지메|쥐메|한메|다음|카카)"
)

IPV4 = re.compile(r"(?:(?<![0-9A-Za-z._/-])|(?<=://))[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9A-Za-z_]|[.-][0-9A-Za-z]|/[0-9])")
_VERSION_BEFORE = re.compile(
    r"(?<![A-Za-z])(?:version|ver\.?|v\.|release|build|update|firmware|section|chapter|figure|table|android|ios|macos|kernel|버전|버젼|릴리스|릴리즈"
    r"|업데이트|펌웨어|빌드|안드로이드|커널|그림|표|코드)\s{0,2}:?\s?\Z",
    re.I,
)
_VERSION_AFTER = re.compile(r"\A\s?(?:버전|버젼|빌드|릴리|version|build|release)", re.I)
_IP_LABEL = re.compile(r"\bip|://|\bping\b|아이피|address|host|server|주소|서버|접속|dns", re.I)
_SMALL_OCTET = 32
"""Four numbers all below this are a section or version number unless a word before them says otherwise."""
_NOT_PUBLIC = tuple(
    (int(network.network_address), int(network.netmask))
    for network in map(ipaddress.IPv4Network, (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    ))
)  # fmt: skip
"""IANA's special-purpose registry, written out so that the answer does not depend on the Python version."""

IPV6 = re.compile(r"(?<![0-9A-Za-z._:/-])[23][0-9A-Fa-f]{3}(?::{1,2}[0-9A-Fa-f]{1,4}){2,7}(?![0-9A-Za-z_:]|[./-][0-9A-Za-z])")
"""Global unicast addresses begin with 2 or 3 (2000::/3)."""
_NOT_PUBLIC_6 = tuple(ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
IPV4_PART, IPV6_PART = r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]", r"[23][0-9A-Fa-f]{3}::?[0-9A-Fa-f]{1,4}:"


def is_email(match: re.Match[str]) -> bool:
    if (match["top"] or "").lower() in _FILE_ENDINGS or match[0].endswith(_CIPHERS):
        return False
    # git@host:path is an address of a repository.
    return not (match[0].startswith("git@") and match.string[match.end() : match.end() + 1] in (":", "/"))


def always(match: re.Match[str]) -> bool:
    """For patterns that match nothing else."""
    return True


def is_public_ipv4(match: re.Match[str]) -> bool:
    octets = match[0].split(".")
    if octets[3] == "0" or any(int(octet) > 255 or (octet[0] == "0" and octet != "0") for octet in octets):
        return False  # a last number of 0 is a network or a version
    text_before = before(match)
    if _VERSION_BEFORE.search(text_before) or _VERSION_AFTER.match(after(match)):
        return False
    if all(int(octet) < _SMALL_OCTET for octet in octets) and not _IP_LABEL.search(text_before):
        return False
    address = int.from_bytes(map(int, octets), "big")
    return not any(address & netmask == network for network, netmask in _NOT_PUBLIC)


def is_public_ipv6(match: re.Match[str]) -> bool:
    try:
        address = ipaddress.IPv6Address(match[0])
    except ipaddress.AddressValueError:
        return False
    return not any(address in network for network in _NOT_PUBLIC_6)
