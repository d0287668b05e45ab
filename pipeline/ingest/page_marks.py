"""What a page says about itself, read from its markup: canonical address, robots directives, licence, title and publication date.

The markup is scanned once, forward, for the few tags that carry such marks; no tree is built, so the marks are the same whichever extractor
reads the text, and time grows linearly with the page however it is built: a search that fails is never repeated from a later start.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from itertools import islice
from urllib.parse import urljoin, urlsplit

from pipeline.ingest.licenses import LICENSE_NAMES, creative_commons, folded, json_ld_marks, kogl_marks, linked_licenses, plain_text

MAX_URL_CHARACTERS = 2048
"""Longest address kept; longer ones are traps, and search engines cut there too (sitemaps.org: under 2,048)."""

_MAX_TAGS = 20_000
_MAX_ATTRIBUTES = 100
_MAX_VALUE = 4096
_HIDDEN_NAMES = ("script", "style", "template", "textarea", "iframe", "xmp", "noembed")
"""What stands in these elements isn't markup of the page: code, form fields with markup to copy, other pages."""
_HIDDEN = re.compile(rf"<!--|<({'|'.join(_HIDDEN_NAMES)})(?=[\s/>])", re.IGNORECASE)
_CLOSING = {name: re.compile(f"</{name}", re.IGNORECASE) for name in _HIDDEN_NAMES}
_COMMENT_END = re.compile("--!?>")
_TAG = re.compile(r"<(?:meta|link|base|time)(?=[\s/>])", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    rf"[\s/]*+([^\s\"'<>/=]{{1,100}})\s*+"
    rf"(?:=\s*+(?:\"([^\"]{{0,{_MAX_VALUE}}})\"|'([^']{{0,{_MAX_VALUE}}})'|([^\s\"'>]{{0,{_MAX_VALUE}}})))?+"
)
_JSON_LD = re.compile(r"type\s{0,8}=\s{0,8}[\"']?application/ld\+json", re.IGNORECASE)
_MAX_JSON_CHARACTERS = 1 << 20

_ROBOTS_NAME = re.compile(
    r"robots|[a-z0-9-]{0,40}(?:bot|spider|crawler|-ai|-web|-user)(?:-[a-z]{1,20})?"
    r"|yeti|daum(?:oa)?|slurp|bingpreview|google-extended|googleother|meta-externalagent|omgili|ia_archiver|yandex|teoma",
    re.IGNORECASE,
)
_DIRECTIVE = re.compile(
    r"(?<![\w-])(?:all|index|follow|indexifembedded|unavailable_after|no(?!vember)[a-z]{2,30}"
    r"|max-(?:snippet|image-preview|video-preview)\s{0,4}:\s{0,4}[-\w]{1,20})(?![\w-])",
    re.IGNORECASE,
)
_TDM = "tdm-reservation"

_TITLE = re.compile(r"<title(?:\s[^<>]{0,200})?>([^<]{0,4096})", re.IGNORECASE)
_HEADING = re.compile(r"<h1(?:\s[^<>]{0,1000})?>", re.IGNORECASE)
_HEADING_END = re.compile(r"</h1", re.IGNORECASE)
_MAX_HEADING_MARKUP = 2000
_MAX_HEADINGS = 5
_MIN_HEADING = 5
_TITLE_NAMES = ("og:title", "headline", "twitter:title", "dc.title", "dcterms.title", "title")
MAX_TITLE_CHARACTERS = 1000

_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-/.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")
_DATE_NAMES = (
    *("article:published_time", "og:published_time", "datepublished", "article:published", "parsely-pub-date", "sailthru.date"),
    *("dc.date.issued", "dcterms.issued", "dc.date.created", "dcterms.created", "dcterms.date", "dc.date", "dc.terms.date"),
    *("pubdate", "publishdate", "publish-date", "publish_date", "publication_date", "published", "article.published"),
    *("cxenseparse:recs:publishtime", "citation_publication_date", "citation_date", "datecreated", "date", "created", "createdate"),
    *("creation_date", "regdate"),
)
"""Names of meta tags and microdata that hold the publication date, the most reliable first."""


@dataclass(frozen=True)
class Marks:
    """What a page says about itself; None where it says nothing. `date` is `YYYY-MM-DD`, lists are sorted and comma-separated."""

    canonical_url: str | None = None
    robots_directives: str | None = None
    license: str | None = None
    title: str | None = None
    date: str | None = None


@dataclass
class _Found:
    """The marks seen so far in one page."""

    base: str | None = None
    canonical: str | None = None
    open_graph_url: str | None = None
    directives: set[str] = field(default_factory=set)
    licenses: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)


def page_marks(html: str, url: str | None = None) -> Marks:
    """The marks of a decoded page fetched from `url`, against which relative addresses are resolved. Never raises for what a page holds.

    canonical_url: `rel=canonical`, else `og:url`; absolute, http or https. robots_directives: see `directives`. license: see `licenses.py`.
    """
    markup, scripts = _visible(html)
    found = _Found()
    for name, attributes in _tags(markup):
        _look_at(name, attributes, found)
    lower, markup = folded(markup)
    found.licenses |= linked_licenses(markup, lower) | kogl_marks(markup, lower)
    for script in scripts:
        marks = json_ld_marks(script)
        found.licenses |= marks.licenses
        for name, value in (("headline", marks.headline), ("datepublished", marks.date)):
            if value:
                found.names.setdefault(name, value)
    canonical = _absolute(found.canonical, found.base, url) or _absolute(found.open_graph_url, found.base, url)
    return Marks(
        canonical_url=canonical,
        robots_directives=joined(found.directives),
        license=joined(found.licenses),
        title=_title(markup, found.names),
        date=_published(found.names, canonical or url),
    )


def directives(value: str) -> set[str]:
    """The robots directives named in a meta tag's content or an X-Robots-Tag header, whichever robot they address.

    `none` also gives what it stands for (noindex, nofollow); a date after `unavailable_after` is left out.
    """
    found = {re.sub(r"\s", "", name.lower()) for name in _DIRECTIVE.findall(value[:_MAX_VALUE])}
    return found | {"noindex", "nofollow"} if "none" in found else found


def header_directives(headers: Mapping[str, str]) -> str | None:
    """What an HTTP response's headers (lower-case names) ask of robots, as the column `robots_directives` holds it."""
    found = directives(headers.get("x-robots-tag", ""))
    if headers.get(_TDM, "").strip() == "1":
        found.add(_TDM)
    return joined(found)


def joined(values: Iterable[str | None]) -> str | None:
    """Comma-separated values as one sorted list without repetitions; None when there is nothing."""
    return ",".join(sorted({item for value in values if value for item in value.split(",")})) or None


def _visible(html: str) -> tuple[str, list[str]]:
    """The markup without comments and what is in `_HIDDEN_NAMES`, and the JSON-LD scripts. What is never closed reaches to the end."""
    pieces: list[str] = []
    scripts: list[str] = []
    at = 0
    while (start := _HIDDEN.search(html, at)) is not None:
        pieces.append(html[at : start.start()])
        name = start[1]
        if name is None:
            comment_end = _COMMENT_END.search(html, start.start() + 2)
            at = comment_end.end() if comment_end else len(html)
            continue
        closing = _CLOSING[name.lower()].search(html, start.end())
        end = closing.start() if closing else len(html)
        if name.lower() == "script":
            body = html.find(">", start.end(), end) + 1
            if body > 0 and end <= body + _MAX_JSON_CHARACTERS and _JSON_LD.search(html, start.end(), min(body, start.end() + _MAX_VALUE)):
                scripts.append(html[body:end])
        at = closing.end() if closing else end
    pieces.append(html[at:])
    return "".join(pieces), scripts


def _tags(markup: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and attributes (names lower case, entities decoded, the first of a name counts) of the first tags in `_TAG`, in order."""
    at = 0
    for _ in range(_MAX_TAGS):
        tag = _TAG.search(markup, at)
        if tag is None:
            return
        attributes, at = _attributes(markup, tag.end())
        yield tag[0][1:].lower(), attributes


def _attributes(markup: str, at: int) -> tuple[dict[str, str], int]:
    """The attributes of a tag whose name ends at `at`, and where reading stopped: a value over 4,096 characters ends the tag.

    A closing quote is looked for in 4,096 characters; where that fails, none of its kind stands there, so failures can't follow each other
    closely, and a page of unclosed quotes costs no more than any other.
    """
    attributes: dict[str, str] = {}
    for _ in range(_MAX_ATTRIBUTES):
        found = _ATTRIBUTE.match(markup, at)
        if found is None:
            return attributes, at
        value = found[2] or found[3] or found[4] or ""
        attributes.setdefault(found[1].lower(), unescape(value) if "&" in value else value)
        at = found.end()
    return attributes, at


def _look_at(tag: str, attributes: dict[str, str], found: _Found) -> None:
    if tag == "base":
        found.base = found.base or attributes.get("href")
    elif tag == "link":
        if "canonical" in attributes.get("rel", "").lower().split():
            found.canonical = found.canonical or attributes.get("href")
    elif tag == "time":
        if attributes.get("itemprop", "").lower() == "datepublished" or "pubdate" in attributes:
            found.names.setdefault("datepublished", attributes.get("datetime", ""))
        found.names.setdefault("time", attributes.get("datetime", ""))
    else:
        _look_at_meta(attributes, found)


def _look_at_meta(attributes: dict[str, str], found: _Found) -> None:
    content = attributes.get("content", "").strip()
    for key in ("name", "property", "itemprop", "http-equiv"):
        name = attributes.get(key, "").strip().lower()
        if not name or not content:
            continue
        if name == "og:url":
            found.open_graph_url = found.open_graph_url or content
        elif name == _TDM:
            found.directives |= {_TDM} if content == "1" else set()
        elif name in LICENSE_NAMES:
            found.licenses |= creative_commons(content)
        elif name == "x-robots-tag" or _ROBOTS_NAME.fullmatch(name):
            found.directives |= directives(content)
        else:
            found.names.setdefault(name, content)


def _absolute(address: str | None, base: str | None, url: str | None) -> str | None:
    """`address` as an absolute http(s) URL, resolved against `base` and `url`; None when it can't be one."""
    if not address or len(address) > MAX_URL_CHARACTERS:
        return None
    try:
        whole = urljoin(urljoin(url or "", (base or "")[:MAX_URL_CHARACTERS].strip()), address.strip())
        parts = urlsplit(whole)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # what urllib says of brackets and ports that are none
        return None
    return whole if usable and len(whole) <= MAX_URL_CHARACTERS and not re.search(r"[\s<>\x00-\x1f]", whole) else None


def _title(markup: str, names: dict[str, str]) -> str | None:
    """The title that the page gives to others (Open Graph, JSON-LD), else its `title` element; one line.

    Where one of its first headings is part of that title, the heading: the rest is the name of the site.
    """
    element = _TITLE.search(markup)
    values = (*(names.get(name, "") for name in _TITLE_NAMES), unescape(element[1]) if element else "")
    title = next((one_line for value in values if (one_line := " ".join(value.split()))), "")[:MAX_TITLE_CHARACTERS]
    places = [match.end() for match in islice(_HEADING.finditer(markup), _MAX_HEADINGS)]
    pieces = (_HEADING_END.split(markup[place : place + _MAX_HEADING_MARKUP], maxsplit=1)[0] for place in places)
    headings = (" ".join(plain_text(piece).split()) for piece in pieces)
    inside = [heading for heading in headings if len(heading) >= _MIN_HEADING and heading.lower() in title.lower()]
    return max(inside, key=len, default=title) or None


def _published(names: dict[str, str], url: str | None) -> str | None:
    """The date of the most reliable name that holds one, else of the address, else of the first `time` element."""
    for value in (*(names.get(name, "") for name in _DATE_NAMES), (url or "")[:MAX_URL_CHARACTERS], names.get("time", "")):
        match = _DATE.search(value)
        if match:
            return f"{match[1]}-{match[3]}-{match[4]}"
    return None
