"""Licence marks in a page: Creative Commons and the Korean public licence KOGL (공공누리), as short names such as CC-BY-SA-4.0 and KOGL-1.

Creative Commons counts where the page says it of itself: a link or anchor with `rel=license`, a licence meta tag or JSON-LD field (not that
of an image), or a link to creativecommons.org in a licence context. KOGL counts by its links, its badge images and its sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from itertools import islice
from typing import Any

LICENSE_NAMES = frozenset(
    {
        *("license", "licence", "dcterms.license", "dcterms.rights", "dcterms.accessrights", "dc.license", "dc.rights"),
        *(
            "dc.rights.license",
            "dcterms:license",
            "dc:rights",
            "dc:license",
            "og:license",
            "cc:license",
            "copyright",
            "rights",
            "article:license",
        ),
    }
)
"""Names of meta tags that hold a licence."""

_CC_CODES = frozenset({"by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd", "by-nd-nc", "sa", "nc", "nd", "nc-sa", "nd-nc"})
_CC_URL = re.compile(
    r"creativecommons\.org/(?:licen[sc]es|publicdomain)/(zero|mark|[a-z]{2}(?:-[a-z]{2}){0,2})(?![a-z])"
    r"(?:/([1-4]\.\d))?(?:/(igo|scotland|[a-z]{2})(?![a-z.]))?",
    re.IGNORECASE,
)
_CC_TEXT = re.compile(r"(?<![a-z])cc[ -]?(0|by(?:[ -](?:nc|nd|sa)){0,2})(?![a-z])(?:[ -]{0,3}([1-4]\.\d))?", re.IGNORECASE)
_CC_HOST = "creativecommons.org/"
_MAX_PLACES = 1000
"""Places of one kind that are looked at in a page: marks come once or a few times, floods of them are noise or an attack."""

_BEFORE = 600
_AFTER = 300
_STATEMENT_CHARACTERS = 200
_IN_TAG = re.compile(
    r"(?:rel|property|itemprop)\s{0,4}=\s{0,4}[\"']?[^\"'>]{0,60}\blicen[sc]e|class\s{0,4}=[^>]{0,80}licen[sc]e", re.IGNORECASE
)
_BOX = re.compile(
    r"(?:class|id)\s{0,4}=\s{0,4}[\"']?[^\"'<>]{0,100}(?:licen[sc]e|copyright|footer|colophon|creative-?commons)|<footer", re.IGNORECASE
)
_BADGE = re.compile(
    r"licensebuttons\.net|creativecommons\.org/(?:l|images/public)/|alt\s{0,4}=\s{0,4}[\"'][^\"'<>]{0,40}creative\s?commons", re.IGNORECASE
)
_STATEMENT = re.compile(
    r"(?:this|these|our|all|the)\s(?:[\w-]{1,20}\s){0,3}(?:works?|sites?|website|wiki|pages?|articles?|posts?|blog|contents?|texts?|materials?)\b"
    r"|otherwise\s(?:noted|stated|indicated|specified)|(?:contents?|texts?)\s(?:is|are)\s(?:available|licen[sc]ed)"
    r"|(?:이|본)\s?(?:저작물|글|문서|사이트|블로그|웹사이트|게시물|페이지|콘텐츠)|라이선스에\s?따라|별도로\s?(?:명시|표시)"
    r"|diese[rs]?\s(?:werk|seite|text|inhalt|beitrag|artikel)|inhalte?\b|cette?\s(?:œuvre|oeuvre|page|article|texte)|esta?\s(?:obra|página|sitio|artículo)",
    re.IGNORECASE,
)
_LICENSED = re.compile(r"licen[sc]|lizenz|licencia|licença|라이[선센]스|이용허락|creative\s?commons", re.IGNORECASE)
_PICTURE = re.compile(r"(?:photo|image|picture|foto|bild|video|graphic|사진|이미지|그림)\w{0,12}", re.IGNORECASE)
_ELEMENT = re.compile(r"<[^<>]{0,2000}>")
_CUT_ELEMENT = re.compile(r"<[^<>]{0,2000}$")

_KOGL_LINK = re.compile(r"kogl\.or\.kr/[\w/.-]{0,100}?(?:licensetype0?([1-4])|license\.do#0?([1-4])-tab|license_info/(by|nc|nd|all)\.do)")
_KOGL_SHORT = {"by": "1", "nc": "2", "nd": "3", "all": "4"}
_KOGL_IMAGE = re.compile(r"(?:open|kogl)[_-]?(?:(?:mark|code|type)[_-]?){1,2}0?([1-4])(?!\d)[\w-]{0,20}\.(?:png|jpe?g|gif|svg|webp)")
_KOGL_NAME = re.compile(r"공공\s?누리|공공저작물\s?자유이용허락")
_KOGL_ENTITIES = ("&#44277;", "&#xacf5;")
"""The first syllable of 공공누리 as character references: only then is it worth decoding all of them."""
_KOGL_NUMBER = re.compile(r"제?\s{0,2}([1-4])\s{0,2}유형")
_KOGL_RAW = 600
_KOGL_WORDS = 80
_NO_COMMERCE = re.compile(r"상업적?\s{0,2}이용\s{0,2}금지|비상업")
_NO_CHANGE = re.compile(r"변경\s{0,2}금지")

_MEDIA = frozenset({"ImageObject", "VideoObject", "AudioObject", "MediaObject", "Photograph"})


def creative_commons(text: str) -> set[str]:
    """The Creative Commons licences named by addresses in `text`, or where there are none, by names such as `CC BY-SA 4.0`.

    Jurisdiction ports keep their code (`CC-BY-2.0-KR`), because their terms differ; a missing version stays missing.
    """
    found = {_cc_name(match) for match in _CC_URL.finditer(text[:20_000])} - {""}
    if found:
        return found
    names = (match.groups() for match in _CC_TEXT.finditer(text[:2000]))
    return {
        "CC0-1.0" if code == "0" else "-".join(filter(None, ["CC", code.upper().replace(" ", "-"), version])) for code, version in names
    }


def _cc_name(match: re.Match[str]) -> str:
    code, version, port = match[1].lower(), match[2], match[3]
    if code in ("zero", "mark"):
        return f"CC{'0' if code == 'zero' else '-PDM'}-1.0"
    if code not in _CC_CODES:
        return ""
    return "-".join(filter(None, ["CC", code.upper(), version, port and port.upper()]))


def linked_licenses(markup: str, lower: str) -> set[str]:
    """Creative Commons licences of links with `rel=license`, and of other links to creativecommons.org in a licence context.

    A context is one of: the link's own rel, property, itemprop or class says licence; it goes with a Creative Commons badge; in the 600
    characters of markup before it an element opens whose class or id names a licence, copyright or footer; or the text around it says of
    this work, site, page or text that it is licensed, and doesn't speak of pictures before it. Nothing inside `figure` counts: that is the
    licence of a picture, whatever the link's rel says.
    Takes what `folded` gives.
    """
    found: set[str] = set()
    at = 0
    for _ in range(_MAX_PLACES):
        at = lower.find(_CC_HOST, at)
        if at < 0:
            break
        match = _CC_URL.match(lower, at)
        if match is not None and (name := _cc_name(match)) and name not in found and _is_mark(markup, at, match.end()):
            found.add(name)
        at += len(_CC_HOST)
    return found


def _is_mark(markup: str, start: int, end: int) -> bool:
    """Whether the link target at `start` to `end` stands in a licence context."""
    opening = markup.rfind("<", max(0, start - 1000), start)
    closing = markup.find(">", end, end + 1000)
    if opening < 0 or closing < 0:
        return False
    tag = markup[opening : closing + 1]
    name = tag[1:5].lower()
    if not name.startswith(("a ", "a\n", "a\t", "link", "area")):
        return False
    before = markup[max(0, opening - _BEFORE) : opening]
    if before.rfind("<fig") > before.rfind("</fig"):
        return False
    if _IN_TAG.search(tag):
        return True
    after = markup[closing + 1 : closing + 1 + _AFTER]
    if _BADGE.search(after.partition("</a")[0]) or _BOX.search(before):
        return True
    subject = _window_text(before)[-_STATEMENT_CHARACTERS:]
    words = f"{subject} {_window_text(after)[:_STATEMENT_CHARACTERS]}"
    return bool(_LICENSED.search(words) and _STATEMENT.search(words)) and not _PICTURE.search(subject)


def folded(markup: str) -> tuple[str, str]:
    """`markup` in lower case, and itself: or both in lower case where that changes the length (İ), so that places are the same in both."""
    lower = markup.lower()
    return lower, markup if len(lower) == len(markup) else lower


def plain_text(markup: str) -> str:
    """What a piece of markup says, its tags left out."""
    return unescape(_ELEMENT.sub(" ", markup))


def _window_text(markup: str) -> str:
    """The same of a piece of a page that may end inside a tag; attributes of a tag that it begins in (`alt`) are part of what it says."""
    return plain_text(_CUT_ELEMENT.sub(" ", markup))


def kogl_marks(markup: str, lower: str) -> set[str]:
    """KOGL-1 to KOGL-4, by links to kogl.or.kr, badge images (`img_opentype01.png`), and `공공누리 제1유형` or its conditions in words.

    In words, type 1 asks for attribution (출처표시), 2 also forbids commerce (상업적 이용금지), 3 changes (변경금지), 4 both (kogl.or.kr).
    Takes what `folded` gives.
    """
    if any(entity in lower for entity in _KOGL_ENTITIES):
        markup = lower = unescape(lower)
    types = {match[1] or match[2] or _KOGL_SHORT[match[3]] for match in _KOGL_LINK.finditer(lower)}
    types |= {match[1] for match in _KOGL_IMAGE.finditer(lower)}
    for match in islice(_KOGL_NAME.finditer(markup), _MAX_PLACES):
        words = _window_text(markup[match.end() : match.end() + _KOGL_RAW]).replace("\xa0", " ")[:_KOGL_WORDS]
        number = _KOGL_NUMBER.search(words)
        if number is not None:
            types.add(number[1])
        elif "출처표시" in words:
            types.add(str(1 + bool(_NO_COMMERCE.search(words)) + 2 * bool(_NO_CHANGE.search(words))))
    return {f"KOGL-{kind}" for kind in types}


@dataclass(frozen=True)
class JsonLd:
    """What a JSON-LD script says of the page; empty where it says nothing."""

    licenses: frozenset[str] = frozenset()
    headline: str = ""
    date: str = ""


def json_ld_marks(script: str) -> JsonLd:
    """Licences, headline and publication date of the page in a JSON-LD script; those of images and other media aren't the page's.

    A script that isn't JSON says nothing.
    """
    try:
        content = json.loads(script, strict=False)
    except (ValueError, RecursionError):
        return JsonLd()
    licenses: set[str] = set()
    headline = date = ""
    for item in _items(content):
        if not isinstance(item, dict) or _MEDIA & set(_strings(item.get("@type"))):
            continue
        for value in _strings(item.get("license")):
            licenses |= creative_commons(value) | kogl_marks(value, value.lower())
        headline = headline or next(_strings(item.get("headline")), "")
        date = date or next(_strings(item.get("datePublished")), "")
    return JsonLd(frozenset(licenses), unescape(headline), date)


def _items(content: Any) -> list[Any]:
    """The top-level items of a JSON-LD document: itself, its list, or what is in `@graph` and `mainEntity`."""
    items = list(content) if isinstance(content, list) else [content]
    inner = [found for item in items if isinstance(item, dict) for key in ("@graph", "mainEntity") for found in _listed(item.get(key))]
    return [*items, *inner][:_MAX_PLACES]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _strings(value: Any) -> Iterator[str]:
    """The strings of a JSON-LD value: itself, those in a list, or the `@id`, `url` or `name` of an object."""
    for item in _listed(value):
        if isinstance(item, str):
            yield item[:2000]
        elif isinstance(item, dict):
            yield from (item[key][:2000] for key in ("@id", "url", "name") if isinstance(item.get(key), str))
