"""Reading web addresses as a browser does: the host that is really visited, the words in an address, and what lies above it.

Addresses in crawls are hostile text. Hosts are told apart by the WHATWG URL standard (section 4.4: backslashes are slashes, tabs and line
ends are nothing, the host follows the last @ of the authority), so that `http://good.example@evil.example` is evil.example.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MAX_ADDRESS_CHARACTERS = 8192
"""What follows in a longer address is not looked at: servers refuse such addresses (RFC 9110 section 4.1 asks for 8,000 octets)."""
MAX_HOST_CHARACTERS = 1024
"""Longer hosts are none: DNS ends at 253 octets, and a Korean syllable has up to nine characters when percent-encoded."""
MAX_PREFIXES = 256

_LABELS = r"[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,15}"
_COMMON_HOST = rf"^https?://(?P<host>{_LABELS})(?::[0-9]{{1,5}})?(?:[/?#]|$)"
_WWW = r"^www\.([^.]+\..+)$"
_COMMON_ADDRESS = rf"^https?://{_LABELS}(?:/[a-z0-9/_.?=&+~,;!-]*)?$"
_BEFORE_WORDS = r"^https?://(?:www\.([a-z0-9-]+\.))?"
_PLAIN_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,40}):")
_WEB_SCHEMES = frozenset({"http", "https", "ftp", "ws", "wss"})
_PORT = re.compile(r":[0-9]{0,10}\Z")
_SEPARATORS = re.compile(r"[\W_]+")
_BOUNDARY = re.compile(r"[/?&]")
_IGNORED = {0x09: None, 0x0A: None, 0x0D: None}


def host_and_rest(address: str) -> tuple[str | None, str]:
    """The host of an address in the form of `normal_host`, and its path and query (`/` at least, without fragment).

    An address without a scheme is read as if it had one. The host is None where there is none, as in `mailto:` addresses.
    """
    text = address[:MAX_ADDRESS_CHARACTERS].translate(_IGNORED).strip("".join(map(chr, range(0x21))))
    text = text.partition("#")[0]
    scheme = _SCHEME.match(text)
    if scheme is not None:
        rest = text[scheme.end() :]
        if scheme[1].lower() in _WEB_SCHEMES or rest.startswith("//"):
            text = rest
        elif not rest[:1].isdigit():  # a port: `host:8080/page`
            return None, "/"
    before, mark, query = text.partition("?")
    authority, slash, path = before.replace("\\", "/").lstrip("/").partition("/")
    host = normal_host(_PORT.sub("", authority.rpartition("@")[2]))
    return host, _resolved("/" + path if slash else "/") + (mark + query if query else "")


def normal_host(host: str) -> str | None:
    """A host in lower case and punycode, without `www.` and final dot; None for what can't be a host. IPv6 keeps its brackets."""
    if len(host) > MAX_HOST_CHARACTERS:
        return None
    if not _PLAIN_HOST.fullmatch(host):
        host = unquote_to_bytes(host).decode("utf-8", "replace") if "%" in host else host
        host = unicodedata.normalize("NFKC", host).lower().strip().rstrip(".")
        if host.startswith("[") and host.endswith("]"):
            return host if re.fullmatch(r"\[[0-9a-f:.]{2,45}\]", host) else None
        if not host.isascii():
            try:
                host = host.encode("idna").decode("ascii")
            except UnicodeError:
                return None
        if not re.fullmatch(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", host):
            return None
    return host[4:] if host.startswith("www.") and "." in host[4:] else host


def _resolved(path: str) -> str:
    """The path without `.` and `..` segments."""
    if "/." not in path:
        return path
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


def hosts(addresses: pa.ChunkedArray) -> pa.ChunkedArray:
    """The hosts of a column of addresses, null where there is none. The common form goes through one regular expression in Arrow (RE2)."""
    found = pc.struct_field(pc.extract_regex(addresses, _COMMON_HOST), "host")
    found = pc.replace_substring_regex(found, _WWW, r"\1")
    unread = pc.and_(pc.is_null(found), pc.is_valid(addresses))
    if not pc.any(unread).as_py():
        return found
    slow = [host_and_rest(address)[0] for address in addresses.filter(unread).to_pylist()]
    return pc.replace_with_mask(found.combine_chunks(), unread.combine_chunks(), pa.array(slow, found.type))


def suffixes(host: str) -> list[str]:
    """The host and every domain above it: a.b.kr, b.kr, kr."""
    if host.startswith("["):
        return [host]
    labels = host.split(".")
    return [".".join(labels[first:]) for first in range(len(labels))]


def decoded(text: str) -> str:
    """Percent-encoded text as characters, in NFC: UTF-8, or else CP949, in which old Korean sites encode; at worst with U+FFFD."""
    if "%" in text:
        octets = unquote_to_bytes(text)
        try:
            text = octets.decode("utf-8")
        except UnicodeDecodeError:
            text = octets.decode("cp949", "replace")
    return unicodedata.normalize("NFC", text)


def distinct_words(addresses: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """The distinct words of a column, and for every word of every address its number among them and its row, each word in lower case.

    The common form of an address is taken apart in Arrow; the rest by `words`, one by one. Null addresses have no words.
    """
    lower = pc.utf8_lower(pc.fill_null(addresses, ""))
    common = pc.and_(pc.match_substring_regex(lower, _COMMON_ADDRESS), pc.invert(pc.match_substring_regex(lower, r"/\.|xn--")))
    common = pc.and_(common, pc.less_equal(pc.utf8_length(lower), MAX_ADDRESS_CHARACTERS))
    bare = pc.replace_substring_regex(pc.if_else(common, lower, ""), _BEFORE_WORDS, r"\1")
    lists = pc.split_pattern_regex(bare, "[^a-z0-9]+").combine_chunks()
    rows = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    rare = np.flatnonzero(~common.to_numpy()).tolist()
    found = [words(addresses[row].as_py() or "") for row in rare]
    rare_words = pa.array([word for several in found for word in several], pa.large_string())
    rows = np.concatenate([rows, np.repeat(np.array(rare, np.int64), [len(several) for several in found])])
    encoded = pa.concat_arrays([lists.flatten(), rare_words]).dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy(), rows


def words(address: str) -> list[str]:
    """What stands between the separators (all that is neither letter nor digit) of host, path and query, in lower case."""
    host, rest = host_and_rest(address)
    if host is not None and "xn--" in host:
        host = unicode_host(host)
    return [word for word in _SEPARATORS.split(decoded(f"{host or ''} {rest}").lower()) if word]


def unicode_host(host: str) -> str:
    """A punycode host as people write it; labels that are no valid punycode stay."""
    labels = []
    for label in host.split("."):
        try:
            labels.append(label.encode("ascii").decode("idna"))
        except UnicodeError:
            labels.append(label)
    return ".".join(labels)


def place(host: str, rest: str) -> str:
    """Host, path and query as one text that is equal for equal places: percent-encoding undone, no slash at the end."""
    return host + decoded(rest).rstrip("/?&")


def places_above(host: str, rest: str) -> list[str]:
    """The place itself and every one above it, cut before `/`, `?` or `&`: kr/a/b?c is below kr/a/b, kr/a and kr."""
    whole = place(host, rest)
    cuts = [match.start() for match in _BOUNDARY.finditer(whole, len(host))][:MAX_PREFIXES]
    return [whole, *(whole[:cut] for cut in cuts)]
