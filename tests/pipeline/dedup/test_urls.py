"""Canonical addresses: the kernel against a twin made of urllib, what must be equal, what must not, and hostile addresses."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decontam.errors import DecontamError
from pipeline.dedup.urls import DEFAULT_DOCUMENTS, DROPPED_PARAMETERS, MAX_ADDRESS_BYTES, MAX_PARAMETERS, canonical_addresses
from pipeline.refine.addresses import normal_host

RESERVED = ":/?#[]@!$&'()*+,;="
UNRESERVED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"


def canonical(*addresses: str | None) -> list[str | None]:
    return canonical_addresses(pa.array(addresses, pa.string())).to_pylist()


def spelled(text: str) -> str:
    """One spelling of percent-encoding, run by run of escapes, as `urllib.parse` decodes and encodes it."""

    def run(match: re.Match) -> str:
        octets = unquote_to_bytes(match[0])
        decoded = octets.decode("utf-8", "surrogateescape")
        return "".join(
            character if character in UNRESERVED or "\x80" <= character < "\udc80" or character > "\udcff"
            else quote_from_bytes(character.encode("utf-8", "surrogateescape"), safe="")
            for character in decoded
        )  # fmt: skip

    def piece(match: re.Match) -> str:
        return run(match) if len(match[0]) > 1 else f"%{ord(match[0]):02X}"

    plain = re.escape(UNRESERVED + RESERVED)
    return re.sub(rf"(?:%[0-9A-Fa-f]{{2}})+|[^{plain}\u0080-\U0010ffff]", piece, text)


def is_dropped(name: str) -> bool:
    folded = "".join(character.lower() if character.isascii() else character for character in name)
    return any(folded.startswith(entry[:-1]) if entry.endswith("*") else folded == entry for entry in DROPPED_PARAMETERS)


def twin(address: str | None) -> str | None:
    """What `canonical_addresses` promises, one address at a time."""
    if address is None or len(address.encode()) > MAX_ADDRESS_BYTES:
        return None
    text = re.sub(r"[\t\n\r]", "", address).strip("".join(map(chr, range(0x21))))
    found = re.match(r"(https?):[/\\]*([^/\\?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?\Z", text, re.IGNORECASE | re.DOTALL | re.ASCII)
    if not found:
        return None
    scheme, authority, path, query, fragment = found.groups()
    parts = re.fullmatch(r"((?:\[[^\]]*(?:\]|\Z)|[^:\[])*)(?::([0-9]*))?", authority.rpartition("@")[2], re.DOTALL)
    host = normal_host(parts[1]) if parts and parts[1] else None
    if host is None or int(parts[2] or 0) > 65535:
        return None
    port = int(parts[2]) if parts[2] else {"http": 80, "https": 443}[scheme.lower()]
    if port != {"http": 80, "https": 443}[scheme.lower()]:
        host = f"{host}:{port}"
    segments: list[str] = []
    for raw in re.split(r"[/\\]", path)[1:]:
        segment = spelled(re.sub(r";jsessionid=.*", "", raw, flags=re.IGNORECASE | re.DOTALL | re.ASCII))
        if segment == "..":
            del segments[-1:]
        elif segment != ".":
            segments.append(segment)
    while segments and (segments[-1] == "" or segments[-1].lower() in DEFAULT_DOCUMENTS):
        segments.pop()
    entries = [spelled(entry.replace("+", "%20")) for entry in (query or "").split("&")]
    entries = [entry for entry in entries if entry and not is_dropped(entry.partition("=")[0])]
    if len(entries) <= MAX_PARAMETERS:
        entries.sort(key=lambda entry: entry.partition("=")[0].encode())
    result = "".join([host, *("/" + segment for segment in segments), "?" * bool(entries), "&".join(entries)])
    if fragment and fragment.startswith("!") and len(fragment) > 1:
        result += "#" + spelled(fragment)
    return unicodedata.normalize("NFC", result)


PIECES = (
    "a B 1 . .. / // \\ ? & = # #! + % %2 %41 %2F %2f %20 %zz %ED%95%9C %ed%95 %C7%D1 %ED%A0%80 %F0%9F%98%80 %C0%80 %F5 한 글 é 😀 @ : ; [ "
    "] ::1 :80 :443 :8080 :99999 www. index.html /INDEX.php ;jsessionid= ;JSESSIONID=x utm_source=1 &fbclid=x UTM_ NaPm=ct%3D PHPSESSID=1 "
    "&b=2 &a=1 &a=0 xn--bj0bj06e ( ' \" < | ^ ~ - _ %2e %2E%2e n_media n_mediax \u1112\u1161\u11ab \x00 \x7f"
)
BEGINNINGS = "http://a.kr https://www.a.kr/ HTTP://한글.kr/x http: http:// https://a.kr: ftp:// a.kr/ https://u@ http://["
PIECE = st.sampled_from([*PIECES.split(" "), " ", "\t", "\n"])
ADDRESSES = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.builds(lambda first, rest: first + "".join(rest), st.sampled_from(BEGINNINGS.split()), st.lists(PIECE, max_size=9)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(ADDRESSES, max_size=6))
def test_addresses_are_those_of_the_twin(addresses):
    assert canonical(*addresses) == [twin(address) for address in addresses]


@settings(max_examples=200, deadline=None)
@given(ADDRESSES)
def test_a_canonical_address_is_its_own(address):
    found = canonical(address)[0]
    if found is not None and not re.search(r"^www\.|:[0-9]+", found) and len(found.encode()) < MAX_ADDRESS_BYTES:
        assert canonical("http://" + found) == [found]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://www.example.com:80/", "https://EXAMPLE.com"),
        ("https://example.com:443/a/", "http://example.com/a#part"),
        ("http://user:secret@a.kr/x", "http://a.kr./x"),
        ("https://ko.wikipedia.org/wiki/한글", "https://ko.wikipedia.org/wiki/%ED%95%9C%ea%b8%80"),
        ("https://한글.한국/가", "https://xn--bj0bj06e.xn--3e0b707e/%EA%B0%80"),
        ("https://%ED%95%9C%EA%B8%80.kr/", "https://한글.kr"),
        (unicodedata.normalize("NFD", "http://a.kr/한글"), "http://a.kr/한글"),
        ("http://a.kr/%7Euser/%41", "http://a.kr/~user/A"),
        ("http://a.kr/x?b=1&a=2", "http://a.kr/x?a=2&b=1"),
        ("http://a.kr/x?", "http://a.kr/x?&&"),
        ("http://a.kr/x?q=가+나", "http://a.kr/x?q=%EA%B0%80%20나"),
        ("http://a.kr/x?id=1&utm_source=a&UTM_medium=b&fbclid=c&gclid=d", "http://a.kr/x?id=1"),
        ("http://a.kr/x?NaPm=ct%3Dx%7Cci&n_media=27758&n_query=책&n_rank=1&n_ad_group=grp&n_ad=nad&n_keyword=책", "http://a.kr/x"),
        ("http://a.kr/x?PHPSESSID=0123&id=1", "http://a.kr/x;jsessionid=AB.node1?id=1"),
        ("http://a.kr/b/index.html", "http://a.kr/b"),
        ("http://a.kr/index.php?mid=board", "http://a.kr/?mid=board"),
        ("http://a.kr/a/./b/../c", "http://a.kr\\a\\c"),
        (" http://a.kr/\tx\n", "http:a.kr/x"),
    ],
)
def test_spellings_of_one_page(one, other):
    found = canonical(one, other)
    assert found[0] is not None and found[0] == found[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a.kr/x", "http://a.kr/X"),
        ("http://a.kr/x", "http://b.a.kr/x"),
        ("http://a.kr/x", "http://a.kr:8080/x"),
        ("http://a.kr/a%2Fb", "http://a.kr/a/b"),
        ("http://a.kr/x?a=1&a=2", "http://a.kr/x?a=2&a=1"),
        ("http://a.kr/x?a=%26", "http://a.kr/x?a=&"),
        ("http://a.kr/x?q=a%2Bb", "http://a.kr/x?q=a+b"),
        ("http://a.kr/a+b", "http://a.kr/a%20b"),
        ("http://a.kr/x?ref=1", "http://a.kr/x"),
        ("http://a.kr/x?n_ads=1", "http://a.kr/x"),
        ("http://a.kr/#!/one", "http://a.kr/#!/two"),
        ("http://a.kr/%C7%D1", "http://a.kr/%C7%D2"),
        ("http://a.kr/%", "http://a.kr/%2"),
        ("http://www.com/", "http://com/"),
        ("http://good.kr@evil.kr/", "http://good.kr/"),
    ],
)
def test_other_pages(one, other):
    found = canonical(one, other)
    assert None not in found and found[0] != found[1]


NONE = (
    "a.kr/x //a.kr/x ftp://a.kr/ mailto:a@b.kr javascript:alert(1) data:text/html,x http https: http:// http:/// http://?q http://@ "
    "http://:80/ http://a..kr/ http://.kr http://a.kr:x/ http://a.kr:65536/ http://[::1/ http://[x]/"
)


@pytest.mark.parametrize(
    "address", [None, "", " \t\n", *NONE.split(), "http://a b/", "http://" + "한" * 400 + ".kr", "http://a.kr/" + "x" * MAX_ADDRESS_BYTES]
)
def test_what_is_no_web_address_is_null(address):
    assert canonical(address) == [None]


def test_hostile_addresses_are_bounded():
    """Megabytes, and the worst of what is still read: only escapes, only parameters, only dot segments."""
    worst = MAX_ADDRESS_BYTES - len("http://a.kr/?")
    falling = "&".join("b" * 30 + str(MAX_PARAMETERS - number) for number in range(200))
    rests = [
        "?" + "\x01" * worst,
        "?" + "&a" * (worst // 2),
        "?" + falling,
        "../" * (worst // 3),
        "a/" * (worst // 2),
        "index.html/" * (worst // 11),
    ]
    addresses = ["http://" + "a" * 3_000_000, "http://a.kr/" + "%ED" * 2_000_000, *("http://a.kr/" + rest for rest in rests)]
    found = canonical(*addresses)
    assert found == [twin(address) for address in addresses]
    assert found[:2] == [None, None] and max(len(one or "") for one in found) < 3 * MAX_ADDRESS_BYTES


def test_many_parameters_keep_their_order():
    names = [f"p{number}" for number in range(MAX_PARAMETERS + 1)][::-1]
    assert canonical("http://a.kr/?" + "&".join(names)) == ["a.kr?" + "&".join(names)]
    assert canonical("http://a.kr/?" + "&".join(names[1:])) == ["a.kr?" + "&".join(sorted(names[1:]))]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_any_string_column_will_do(kind):
    addresses = ["http://x.kr/", None, "https://www.x.kr", "ftp://x.kr", "http://한.kr:81/"]
    expected = [twin(address) for address in addresses]
    column = pa.array(["no", *addresses], kind)
    for given_column in (column[1:], pa.chunked_array([column[1:3], column[3:3], column[3:]])):
        found = canonical_addresses(given_column)
        assert isinstance(found, pa.Array) and found.type == pa.string() and found.to_pylist() == expected
    assert canonical_addresses(pa.array([], kind)).to_pylist() == []
    assert canonical_addresses(pa.nulls(2)).to_pylist() == [None, None]
    assert canonical_addresses(pa.chunked_array([], kind)).to_pylist() == []


def test_a_column_that_is_not_text_is_refused():
    with pytest.raises(DecontamError, match="int64"):
        canonical_addresses(pa.array([1]))
