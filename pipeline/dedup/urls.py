"""Canonical addresses: one spelling for all addresses of a page, so that copies of it can be found by where they came from.

Addresses are taken apart as browsers do (WHATWG URL standard, section 4.4) and put together again without what doesn't choose the page.
Percent-encoding has one form, so that /한글 and /%ED%95%9C%EA%B8%80 are equal: characters of UTF-8 and what needs no encoding (RFC 3986,
section 2.3) are written plainly, and what is neither stays as octets (%C7%D1: CP949).
"""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import types

from decontam.arrow import text_buffers
from decontam.numba_types import read_only, writable
from pipeline.refine.addresses import normal_host

MAX_ADDRESS_BYTES = 8192
"""Longer addresses are none: servers refuse them (RFC 9110 section 4.1 asks for 8,000 octets), and the start of one isn't its page."""
MAX_PARAMETERS = 256
"""Queries of more parameters keep them in the order that they came in."""

# fmt: off
DROPPED_PARAMETERS = (
    # Google: Analytics campaigns and cross-domain links, Ads, Merchant listings
    "utm_*", "_ga", "_gl", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "gad_source", "gad_campaignid", "srsltid",
    # Meta and Instagram
    "fbclid", "fb_action_ids", "fb_action_types", "fb_source", "fb_ref", "igshid", "igsh",
    # Naver: search ads ("자동 추적 URL 파라미터" of its advertisers' help, n_match since 2023-09) and the click mark of all its ads
    "napm", "n_media", "n_query", "n_rank", "n_ad_group", "n_ad_group_type", "n_ad", "n_keyword", "n_keyword_id", "n_campaign_type",
    "n_match", "n_mall_id", "n_mall_pid",
    # Microsoft, X, TikTok, LinkedIn, Reddit and Pinterest: click marks and, of X, the page that embeds a post
    "msclkid", "twclid", "ref_src", "ref_url", "ttclid", "li_fat_id", "rdt_cid", "epik",
    # Yandex, OpenStat
    "yclid", "ysclid", "_openstat",
    # Newsletters and shops: Mailchimp, HubSpot, Marketo, Klaviyo, Vero, Olytics
    "mc_cid", "mc_eid", "_hsenc", "_hsmi", "__hssc", "__hstc", "__hsfp", "hsctatracking", "hsa_*", "mkt_tok", "_kx", "vero_id",
    "vero_conv", "oly_anon_id", "oly_enc_id",
    # Web analytics: Mapp (Webtrekk), Webtrends, Matomo, Adobe
    "wt_mc", "wt_zmc", "wt.mc_id", "mtm_*", "s_kwcid", "ef_id",
    # Sessions of PHP, Java and classic ASP
    "phpsessid", "jsessionid", "aspsessionid*",
)
# fmt: on
"""Parameters that tell who came from where, not which page it is; compared in lower case, `*` for any ending."""

DEFAULT_DOCUMENTS = ("index.html", "index.htm", "index.php")
"""What a directory's address shows under nearly every server's settings. Only these three: `default.*`, `main.*` and `home.*` are as often
pages of their own, and where a directory has both an index.html and an index.php, its address is the same as just one of them."""

_ENCODED, _UNRESERVED, _RESERVED = 0, 1, 2
_ODD, _PLAIN, _NONE = 0, 1, 2
_SPAN_FIELDS = 6


def _octet_classes() -> np.ndarray:
    classes = np.zeros(256, np.uint8)
    classes[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")] = _UNRESERVED
    classes[list(b":/?#[]@!$&'()*+,;=")] = _RESERVED
    return classes


def _joined(words: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The words' bytes in a row, and where each begins and the last ends."""
    return np.frombuffer("".join(words).encode(), np.uint8), np.cumsum([0, *map(len, words)])


_CLASSES = _octet_classes()
_HEX = np.frombuffer(b"0123456789ABCDEF", np.uint8)
_DIGITS = np.array([int(chr(octet), 16) if chr(octet) in "0123456789abcdefABCDEF" else -1 for octet in range(256)])
_WWW, _SCHEME, _SESSION = (np.frombuffer(word, np.uint8) for word in (b"www.", b"http", b"jsessionid="))
_NAMES, _NAME_STARTS = _joined(DROPPED_PARAMETERS)
_DEFAULTS, _DEFAULT_STARTS = _joined(DEFAULT_DOCUMENTS)

_BYTES, _NUMBERS, _OUT = read_only(types.uint8), read_only(types.int64), writable(types.uint8)
_SPANS = types.Array(types.int64, 2, "C")
_SLASH, _BACKSLASH, _HASH, _QUERY, _PERCENT, _DOT, _STAR = 47, 92, 35, 63, 37, 46, 42


@numba.njit(types.int64(types.int64), cache=True, nogil=True, inline="always")
def _lower(octet):
    return octet + 32 if 65 <= octet <= 90 else octet


@numba.njit(types.int64(_OUT, types.int64, types.int64), cache=True, nogil=True)
def _escaped(data, position, end):
    """The octet of the %XX at `position`, -1 where there is none."""
    if position + 2 >= end or data[position] != _PERCENT:
        return -1
    high, low = _DIGITS[data[position + 1]], _DIGITS[data[position + 2]]
    return -1 if high < 0 or low < 0 else high * 16 + low


@numba.njit(types.int64(_OUT, types.int64, types.int64, types.int64), cache=True, nogil=True)
def _encoded_character(data, position, end, lead):
    """Octets of the UTF-8 character whose percent-encoding begins at `position` with the octet `lead`; 0 where it isn't valid UTF-8."""
    if lead < 0xC2 or lead > 0xF4:
        return 0
    width = 2 + (lead >= 0xE0) + (lead >= 0xF0)
    code = lead & (0x7F >> width)
    for index in range(1, width):
        octet = _escaped(data, position + 3 * index, end)
        if octet < 0x80 or octet > 0xBF:
            return 0
        code = code << 6 | octet & 0x3F
    overlong = (width == 3 and code < 0x800) or (width == 4 and code < 0x10000)
    return 0 if overlong or 0xD800 <= code <= 0xDFFF or code > 0x10FFFF else width


@numba.njit(types.int64(_OUT, types.int64, types.int64), cache=True, nogil=True)
def _write_escape(out, k, octet):
    out[k], out[k + 1], out[k + 2] = _PERCENT, _HEX[octet >> 4], _HEX[octet & 15]
    return k + 3


@numba.njit(types.UniTuple(types.int64, 2)(_OUT, types.int64, types.int64, _OUT, types.int64), cache=True, nogil=True)
def _put(data, position, end, out, k):
    """Write the character (or octet, or escape) at `position` in its one spelling (3 bytes at most); returns the positions after it."""
    octet = np.int64(data[position])
    if octet != _PERCENT:
        if octet < 0x80 and _CLASSES[octet] == _ENCODED:
            return position + 1, _write_escape(out, k, octet)
        out[k] = octet
        return position + 1, k + 1
    octet = _escaped(data, position, end)
    if octet < 0:
        return position + 1, _write_escape(out, k, _PERCENT)
    if octet < 0x80:
        if _CLASSES[octet] != _UNRESERVED:
            return position + 3, _write_escape(out, k, octet)
        out[k] = octet
        return position + 3, k + 1
    width = _encoded_character(data, position, end, octet)
    if width == 0:
        return position + 3, _write_escape(out, k, octet)
    for index in range(width):
        out[k + index] = _escaped(data, position + 3 * index, end)
    return position + 3 * width, k + width


@numba.njit(types.boolean(_OUT, types.int64, types.int64, _BYTES, types.int64, types.int64), cache=True, nogil=True)
def _is(data, start, end, words, first, last):
    """Whether `data[start:end]` is the word, of lower-case letters, at `words[first:last]`; a `*` at its end stands for anything."""
    if last > first and words[last - 1] == _STAR:
        last -= 1
        if end - start > last - first:
            end = start + last - first
    same = end - start == last - first
    for index in range(last - first if same else 0):
        same = same and _lower(np.int64(data[start + index])) == words[first + index]
    return same


@numba.njit(types.void(_BYTES, _NUMBERS, _OUT, _NUMBERS, _SPANS), cache=True, nogil=True)
def _find_hosts(data, offsets, clean, clean_offsets, spans):
    """Copy each address to `clean` without tabs, line ends and outer white space, and note in `spans` where its parts are.

    `spans[row]` is: kind of host (_NONE: no web address, _ODD: not plain ASCII, or with a port), its start and end, port (-1: the
    scheme's own), where the path begins and where the address ends; positions in `clean`.
    """
    for row in range(len(offsets) - 1):
        spans[row, 0] = _NONE
        k = clean_offsets[row]
        if offsets[row + 1] - offsets[row] > MAX_ADDRESS_BYTES:
            continue
        for index in range(offsets[row], offsets[row + 1]):
            octet = data[index]
            if octet > 32 or (k > clean_offsets[row] and octet not in (9, 10, 13)):
                clean[k] = octet
                k += 1
        while k > clean_offsets[row] and clean[k - 1] <= 32:
            k -= 1
        position, end = clean_offsets[row], k
        if not _is(clean, position, min(position + 4, end), _SCHEME, 0, 4):
            continue
        secure = position + 4 < end and _lower(np.int64(clean[position + 4])) == 115
        position += 5 + secure
        if position > end or clean[position - 1] != 58:
            continue
        while position < end and (clean[position] in (_SLASH, _BACKSLASH)):
            position += 1
        start = position
        while position < end and clean[position] not in (_SLASH, _BACKSLASH, _QUERY, _HASH):
            position += 1
            if clean[position - 1] == 64:  # what stands before the last @ is a user's name
                start = position
        stop, dots = position, 0
        plain, inside = True, False
        for index in range(start, position):
            octet = np.int64(clean[index])
            if octet == 58 and not inside:
                stop = index
                break
            inside = octet == 91 or (inside and octet != 93)  # brackets of IPv6
            dots += octet == _DOT
            misplaced = octet == _DOT and (index == start or clean[index - 1] == _DOT)
            if misplaced or not (octet in (45, 46, 95) or 48 <= octet <= 57 or 97 <= _lower(octet) <= 122):
                plain = False
        port = np.int64(0)
        for index in range(stop + 1, position):
            digit = np.int64(clean[index]) - 48
            port = port * 10 + digit if 0 <= digit <= 9 and port < 65536 else np.int64(65536)
        if stop == start or port > 65535:
            continue
        if stop + 1 >= position or port == (443 if secure else 80):
            port = np.int64(-1)
        if plain and clean[stop - 1] == _DOT:
            stop -= 1
            dots -= 1
        if plain and dots >= 2 and _is(clean, start, start + 4, _WWW, 0, 4):
            start += 4
        spans[row, 0] = _PLAIN if plain and port < 0 else _ODD
        spans[row, 1], spans[row, 2], spans[row, 3], spans[row, 4], spans[row, 5] = start, stop, port, position, end


@numba.njit(types.int64(_OUT, types.int64, types.int64, _OUT, types.int64), cache=True, nogil=True)
def _write_path(clean, position, end, out, k):
    """Write the path `clean[position:end]`: no `.` and `..`, session, default document or slash at the end. Returns the end in `out`."""
    floor = k
    if position < end:
        out[k] = _SLASH
        k += 1
        position += 1  # a slash or backslash
    segment = k
    while position <= end:
        if position < end and clean[position] not in (_SLASH, _BACKSLASH):
            if clean[position] == 59 and _is(clean, position + 1, min(position + 12, end), _SESSION, 0, len(_SESSION)):
                while position < end and clean[position] not in (_SLASH, _BACKSLASH):
                    position += 1
                continue
            position, k = _put(clean, position, end, out, k)
            continue
        size = k - segment
        if size == 1 and out[segment] == _DOT:
            k = segment
        elif size == 2 and out[segment] == _DOT and out[segment + 1] == _DOT:
            k = max(segment - 1, floor + 1)
            while out[k - 1] != _SLASH:
                k -= 1
        elif position < end:
            out[k] = _SLASH
            k += 1
        segment = k
        position += 1
    while True:
        while k > floor and out[k - 1] == _SLASH:
            k -= 1
        start = k
        while start > floor and out[start - 1] != _SLASH:
            start -= 1
        shown = False
        for index in range(len(_DEFAULT_STARTS) - 1):
            shown = shown or (start > floor and _is(out, start, k, _DEFAULTS, _DEFAULT_STARTS[index], _DEFAULT_STARTS[index + 1]))
        if not shown:
            return k
        k = start


@numba.njit(types.boolean(_OUT, types.int64, types.int64, types.int64, types.int64), cache=True, nogil=True)
def _before(data, start, end, other, other_end):
    """Whether the name `data[start:end]` sorts before `data[other:other_end]`, by bytes."""
    while start < end and other < other_end:
        if data[start] != data[other]:
            return data[start] < data[other]
        start += 1
        other += 1
    return start >= end and other < other_end


@numba.njit(types.int64(_OUT, types.int64, types.int64, _OUT, types.int64, _OUT, _SPANS), cache=True, nogil=True)
def _write_query(clean, position, end, out, k, scratch, parts):
    """Write the query `clean[position:end]` without dropped parameters, the others by name. Returns the end in `out`.

    scratch: room for three times an address. parts[i]: a parameter's start, end of its name, and end, in `scratch`.
    """
    count, size = 0, 0
    while position < end:
        start = size
        name_end = -1
        while position < end and clean[position] != 38:
            octet = clean[position]
            if octet == 61 and name_end < 0:
                name_end = size
            if octet == 43:  # forms write a space as +
                size = _write_escape(scratch, size, 32)
                position += 1
            else:
                position, size = _put(clean, position, end, scratch, size)
        position += 1
        if name_end < 0:
            name_end = size
        dropped = size == start
        for index in range(len(_NAME_STARTS) - 1):
            dropped = dropped or _is(scratch, start, name_end, _NAMES, _NAME_STARTS[index], _NAME_STARTS[index + 1])
        if dropped:
            size = start
            continue
        parts[count, 0], parts[count, 1], parts[count, 2] = start, name_end, size
        count += 1
    for index in range(1, count if count <= MAX_PARAMETERS else 0):
        first, last, stop = parts[index]
        place = index
        while place > 0 and _before(scratch, first, last, parts[place - 1, 0], parts[place - 1, 1]):
            parts[place] = parts[place - 1]
            place -= 1
        parts[place, 0], parts[place, 1], parts[place, 2] = first, last, stop
    for index in range(count):
        first, _, stop = parts[index]
        out[k] = _QUERY if index == 0 else 38
        out[k + 1 : k + 1 + stop - first] = scratch[first:stop]
        k += 1 + stop - first
    return k


@numba.njit(types.void(_OUT, _SPANS, _BYTES, _NUMBERS, _NUMBERS, _OUT, writable(types.int64)), cache=True, nogil=True)
def _write(clean, spans, hosts, host_starts, host_of_row, out, out_offsets):
    """Write each row's canonical address to `out`. hosts: the odd ones in their normal form; host_of_row: which of them, -1 for none."""
    scratch = np.empty(3 * MAX_ADDRESS_BYTES, np.uint8)
    parts = np.empty((MAX_ADDRESS_BYTES, 3), np.int64)
    k = 0
    out_offsets[0] = 0
    for row in range(len(spans)):
        if spans[row, 0] != _NONE:
            if spans[row, 0] == _PLAIN:
                for index in range(spans[row, 1], spans[row, 2]):
                    out[k] = _lower(np.int64(clean[index]))
                    k += 1
            else:
                host = hosts[host_starts[host_of_row[row]] : host_starts[host_of_row[row] + 1]]
                out[k : k + len(host)] = host
                k += len(host)
            query, end = spans[row, 4], spans[row, 5]
            while query < end and clean[query] not in (_QUERY, _HASH):
                query += 1
            fragment = query
            while fragment < end and clean[fragment] != _HASH:
                fragment += 1
            k = _write_path(clean, spans[row, 4], query, out, k)
            k = _write_query(clean, query + 1, fragment, out, k, scratch, parts)
            if fragment + 2 < end and clean[fragment + 1] == 33:  # what follows #! chooses the page
                position = fragment
                while position < end:
                    position, k = _put(clean, position, end, out, k)
        out_offsets[row + 1] = k


def canonical_addresses(urls: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The canonical spelling of each address (string), null for a null, blank text, and what is no http(s) address of a possible host.

    Equal are addresses that differ only in: scheme, user name, leading www. and default port; case, final dot and IDN spelling of the host
    (it comes in punycode); percent-encoding, composed and decomposed letters, `+` and %20 in the query; `.` and `..` segments, default
    documents and slashes at the end of the path; order of the parameters (that of equal names counts) and DROPPED_PARAMETERS;
    fragment, but for `#!` routes. The case of path and query counts. An address of more than MAX_ADDRESS_BYTES is null.

    Memory: eight bytes per byte of address. Raises DecontamError for a column that isn't text, pa.ArrowInvalid where the results don't fit
    into 2 GiB.
    """
    data, offsets = text_buffers(urls)
    sizes = np.diff(offsets)
    clean_offsets = np.concatenate(([0], np.cumsum(np.where(sizes <= MAX_ADDRESS_BYTES, sizes, 0))))
    clean = np.empty(clean_offsets[-1], np.uint8)
    spans = np.empty((len(sizes), _SPAN_FIELDS), np.int64)
    _find_hosts(data, offsets, clean, clean_offsets, spans)
    hosts, host_of_row = _odd_hosts(clean, spans)
    host_starts = np.cumsum([0, *map(len, hosts)])
    longest = int(np.diff(host_starts).max(initial=0))
    out = np.empty(3 * len(clean) + longest * int((host_of_row >= 0).sum()), np.uint8)
    out_offsets = np.empty(len(sizes) + 1, np.int64)
    _write(clean, spans, np.frombuffer(b"".join(hosts), np.uint8), host_starts, host_of_row, out, out_offsets)
    found = out[: out_offsets[-1]]
    valid = pa.array(spans[:, 0] != _NONE).buffers()[1]
    result = pa.Array.from_buffers(pa.large_string(), len(sizes), [valid, pa.py_buffer(out_offsets), pa.py_buffer(found)])
    if (found >= 0x80).any():
        result = pc.utf8_normalize(result, "NFC")
    return result.cast(pa.string())


def _odd_hosts(clean: np.ndarray, spans: np.ndarray) -> tuple[list[bytes], np.ndarray]:
    """The odd hosts with their ports, each once and in its normal form, and int64[n]: which of them a row has (-1: none of them).

    Rows of which the host can't be one become _NONE.
    """
    numbers: dict[tuple[bytes, int], int] = {}
    hosts: list[bytes] = []
    host_of_row = np.full(len(spans), -1)
    raw = clean.data
    for row in np.flatnonzero(spans[:, 0] == _ODD).tolist():
        start, stop, port = spans[row, 1:4].tolist()
        written = bytes(raw[start:stop]), port
        if written not in numbers:
            host = normal_host(written[0].decode("utf-8", "replace"))
            numbers[written] = -1 if host is None else len(hosts)
            hosts += [] if host is None else [(host if port < 0 else f"{host}:{port}").encode()]
        host_of_row[row] = numbers[written]
        if host_of_row[row] < 0:
            spans[row, 0] = _NONE
    return hosts, host_of_row
