from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html as lxml_html

from pipeline.ingest.licenses import creative_commons
from pipeline.ingest.page_marks import Marks, directives, header_directives, joined, page_marks

URL = "http://www.a.kr/dir/page.html?x=1"
CC = "https://creativecommons.org/licenses"


def license_of(markup: str) -> str | None:
    return page_marks(markup).license


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ('<link rel="canonical" href="https://a.kr/1">', "https://a.kr/1"),
        ("<LINK HREF='https://a.kr/1' data-x REL=canonical />", "https://a.kr/1"),
        ('<link\n rel = "alternate canonical"\n href = https://a.kr/1 >', "https://a.kr/1"),
        ('<link rel="canonical" href="/1?a=1&amp;b=2">', "http://www.a.kr/1?a=1&b=2"),
        ('<link rel="canonical" href="2.html">', "http://www.a.kr/dir/2.html"),
        ('<base href="/other/"><link rel="canonical" href="2.html">', "http://www.a.kr/other/2.html"),
        ('<link rel="canonical" href="//b.kr/1">', "http://b.kr/1"),
        ('<meta property="og:url" content="https://a.kr/og"><link rel="canonical" href="https://a.kr/1">', "https://a.kr/1"),
        ('<meta content="https://a.kr/og" property="og:url">', "https://a.kr/og"),
        ('<link rel="canonical" href="javascript:alert(1)"><meta property="og:url" content="https://a.kr/og">', "https://a.kr/og"),
        ('<link rel="canonical" href="ftp://a.kr/1">', None),
        ('<link rel="canonical" href="http://[::1">', None),
        ('<link rel="canonical" href="https://a.kr/a b">', None),
        (f'<link rel="canonical" href="https://a.kr/{"x" * 2100}">', None),
        ('<link rel="canonical" href="">', None),
        ('<!-- <link rel="canonical" href="https://a.kr/1"> -->', None),
        ('<script>"<link rel=canonical href=https://a.kr/1>"</script>', None),
        ('<style><!-- </style><link rel="canonical" href="https://a.kr/1">', "https://a.kr/1"),
        ('<linker rel="canonical" href="https://a.kr/1">', None),
        ("<p>nothing</p>", None),
    ],
)
def test_canonical_url(markup: str, expected: str | None) -> None:
    assert page_marks(f"<html><head>{markup}</head><body></body></html>", URL).canonical_url == expected


def test_a_relative_canonical_url_without_a_page_url_is_none() -> None:
    assert page_marks('<link rel="canonical" href="/1">').canonical_url is None


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ('<meta name="robots" content="NoIndex, NOARCHIVE">', "noarchive,noindex"),
        ("<META CONTENT=noarchive NAME=ROBOTS>", "noarchive"),
        ('<meta name="googlebot" content="nosnippet"><meta name="Yeti" content="noindex,nosnippet">', "noindex,nosnippet"),
        ('<meta name="robots" content="noai, noimageai">', "noai,noimageai"),
        ('<meta name="robots" content="none">', "nofollow,noindex,none"),
        ('<meta name="robots" content="index;follow max-snippet: -1">', "follow,index,max-snippet:-1"),
        ('<meta name="robots" content="unavailable_after: 25 November 2030, noarchive">', "noarchive,unavailable_after"),
        ('<meta name="tdm-reservation" content="1">', "tdm-reservation"),
        ('<meta name="tdm-reservation" content="0">', None),
        ('<meta name="description" content="noindex">', None),
        ('<meta name="robots" content="">', None),
        ('<meta name="robots" content="&#110;oindex">', "noindex"),
    ],
)
def test_robots_directives(markup: str, expected: str | None) -> None:
    assert page_marks(markup).robots_directives == expected


def test_header_directives() -> None:
    assert header_directives({"x-robots-tag": "googlebot: noindex, nofollow, otherbot: noarchive"}) == "noarchive,nofollow,noindex"
    assert header_directives({"tdm-reservation": "1", "x-robots-tag": "noai"}) == "noai,tdm-reservation"
    assert header_directives({"tdm-reservation": "0"}) is None
    assert header_directives({}) is None


def test_joined_is_sorted_and_unique() -> None:
    assert joined(["b,a", None, "", "a,c"]) == "a,b,c"
    assert joined([None, ""]) is None


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        (f'<a rel="license" href="{CC}/by-sa/4.0/">x</a>', "CC-BY-SA-4.0"),
        (f"<a href='{CC}/by-nc-nd/2.0/kr/deed.ko' rel='nofollow license'>x</a>", "CC-BY-NC-ND-2.0-KR"),
        (f"<link rel=license href={CC}/by/3.0/deed.en>", "CC-BY-3.0"),
        ('<a rel="license" href="//CreativeCommons.org/publicdomain/zero/1.0/">x</a>', "CC0-1.0"),
        ('<a rel="license" href="http://creativecommons.org/publicdomain/mark/1.0/">x</a>', "CC-PDM-1.0"),
        (f'<meta name="dcterms.license" content="{CC}/by/4.0/">', "CC-BY-4.0"),
        ('<meta name="DC.rights" content="CC BY-NC-SA 4.0">', "CC-BY-NC-SA-4.0"),
        (f'<meta property="og:license" content="{CC}/by-nd/4.0/">', "CC-BY-ND-4.0"),
        (f'<script type="application/ld+json">{{"@type":"Article","license":"{CC}/by/4.0/"}}</script>', "CC-BY-4.0"),
        (f'<script type="application/ld+json">{{"@graph":[{{"license":{{"@id":"{CC}/by/4.0/"}}}}]}}</script>', "CC-BY-4.0"),
        (f'<script type="application/ld+json">[{{"license":["{CC}/by/4.0/"]}}]</script>', "CC-BY-4.0"),
        (f'<script type="application/ld+json">{{"@type":"ImageObject","license":"{CC}/by/4.0/"}}</script>', None),
        (f'<script type="application/ld+json">{{"image":{{"license":"{CC}/by/4.0/"}}}}</script>', None),
        (f'<script type="application/ld+json">{{"license":"{CC}/by/4.0/"</script>', None),
        (f'<script>{{"license":"{CC}/by/4.0/"}}</script>', None),
        (f'<footer><p>2024 Somebody</p><a href="{CC}/by/4.0/">CC BY</a></footer>', "CC-BY-4.0"),
        (f'<a class="license-link" href="{CC}/by/4.0/">CC BY</a>', "CC-BY-4.0"),
        (f'<a href="{CC}/by/4.0/"><img src="https://licensebuttons.net/l/by/4.0/88x31.png"></a>', "CC-BY-4.0"),
        (f'<p>Except where otherwise noted, content is licensed under <a href="{CC}/by/4.0/">this</a>.</p>', "CC-BY-4.0"),
        (f'<p>이 저작물은 <a href="{CC}/by/2.0/kr/">CC BY 2.0</a> 라이선스에 따라 이용할 수 있습니다.</p>', "CC-BY-2.0-KR"),
        (f'<p>Photo by Kim, licensed under <a href="{CC}/by/2.0/">CC BY 2.0</a>, this page shows it.</p>', None),
        (f'<p>Many people choose <a href="{CC}/by/2.0/">CC BY 2.0</a> today.</p>', None),
        (f"<p>text {CC}/by/2.0/ license text</p>", None),
        (f'<!-- <a rel="license" href="{CC}/by/4.0/">x</a> -->', None),
        (f'<figure><img src="a.png"><figcaption><a rel="license" href="{CC}/by/4.0/">x</a></figcaption></figure>', None),
        (f'<figure><img src="a.png"></figure><a rel="license" href="{CC}/by/4.0/">x</a>', "CC-BY-4.0"),
        ('<a rel="license" href="https://creativecommons.org/licenses/">x</a>', None),
        ('<a rel="license" href="https://example.org/licence">x</a>', None),
        (f'<a rel="license" href="{CC}/by/4.0/">x</a><a rel="license" href="{CC}/by-sa/4.0/">x</a>', "CC-BY-4.0,CC-BY-SA-4.0"),
    ],
)
def test_creative_commons(markup: str, expected: str | None) -> None:
    assert license_of(f"<html><body><main>{markup}</main></body></html>") == expected


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        *[(f'<a href="https://www.kogl.or.kr/info/licenseType{kind}.do">안내</a>', f"KOGL-{kind}") for kind in "1234"],
        ('<a href="http://www.kogl.or.kr/open/info/license_info/by.do">출처표시</a>', "KOGL-1"),
        ('<a href="http://www.kogl.or.kr/open/info/license_info/all.do">안내</a>', "KOGL-4"),
        ('<img src="/images/common/img_opentype02.png" alt="mark">', "KOGL-2"),
        ('<img src="https://www.kogl.or.kr/open/web/images/images_2014/codetype/new_img_opentype03.png">', "KOGL-3"),
        ('<IMG SRC="/IMG_OPENTYPE04.JPG">', "KOGL-4"),
        ('<img src="/kogl.png" alt="공공누리 제3유형">', "KOGL-3"),
        ("<p>본 저작물은 공공누리 <b>제 1 유형</b>에 따라</p>", "KOGL-1"),
        ("<p>공공누리 공공저작물 자유이용허락 : 제4유형</p>", "KOGL-4"),
        ('<p>본 저작물은 "공공누리" <em>출처표시</em> 조건에 따라 이용할 수 있습니다.</p>', "KOGL-1"),
        ("<p>공공누리(출처표시+상업적 이용금지) 조건</p>", "KOGL-2"),
        ("<p>공공누리 출처표시, 변경금지</p>", "KOGL-3"),
        ('<img alt="공공저작물 자유이용허락 출처표시, 상업적이용금지, 변경금지" src="/a.gif">', "KOGL-4"),
        ("<p>&#44277;&#44277;&#45572;&#47532; 제2유형</p>", "KOGL-2"),
        ("<p>공공누리 누리집에서 안내합니다.</p>", None),
        ("<p>제1유형 당뇨병</p>", None),
        ('<a href="https://www.kogl.or.kr/index.do">공공누리</a>', None),
        ("<script>var mark = '공공누리 제1유형';</script>", None),
        ("<p>İ 공공누리 제1유형</p>", "KOGL-1"),
    ],
)
def test_kogl(markup: str, expected: str | None) -> None:
    assert license_of(markup) == expected


@given(st.sampled_from(["by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd"]), st.sampled_from(["1.0", "2.0", "2.5", "3.0", "4.0", ""]))
def test_every_creative_commons_address_and_name_gives_one_name(code: str, version: str) -> None:
    name = f"CC-{code.upper()}" + (f"-{version}" if version else "")
    assert creative_commons(f"http://creativecommons.org/licenses/{code}/{version}/deed.ko".replace("//deed", "/deed")) == {name}
    assert creative_commons(f"Text: CC {code.upper()} {version}") == {name}


@pytest.mark.parametrize(
    ("markup", "title", "date"),
    [
        ("<title>글 - 신문</title>", "글 - 신문", None),
        ("<title>좋은 글입니다 - 신문</title><h1><a href=/>좋은  글입니다</a></h1>", "좋은 글입니다", None),
        ('<meta property="og:title" content="A &amp; B"><title>x</title>', "A & B", None),
        ('<meta property="article:published_time" content="2024-03-05T01:02:03+09:00">', None, "2024-03-05"),
        ('<meta name="regDate" content="20240305"><meta name="date" content="2024.03.06">', None, "2024-03-06"),
        ('<script type="application/ld+json">{"headline":"머리","datePublished":"2024-03-05"}</script>', "머리", "2024-03-05"),
        ('<time itemprop="datePublished" datetime="2024-03-05">어제</time>', None, "2024-03-05"),
        ('<meta name="date" content="yesterday">', None, None),
        ('<meta name="date" content="2024-13-05">', None, None),
    ],
)
def test_title_and_date(markup: str, title: str | None, date: str | None) -> None:
    marks = page_marks(markup)
    assert (marks.title, marks.date) == (title, date)


def test_the_date_of_the_address_is_the_last_resort() -> None:
    assert page_marks("<p>x</p>", "http://a.kr/2024/03/05/x").date == "2024-03-05"
    assert page_marks('<meta name="date" content="2024-03-04">', "http://a.kr/2024/03/05/x").date == "2024-03-04"


ATTRIBUTE_TEXT = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\"'<>&\x00\r", exclude_categories=["Cc", "Cs"]), max_size=20
)


@given(ATTRIBUTE_TEXT, st.sampled_from(['"', "'"]), st.booleans(), st.sampled_from(["meta", "META", "Meta"]))
def test_metas_read_as_a_html_parser_reads_them(content: str, quote: str, first: bool, tag: str) -> None:
    parts = [f"content={quote}{content}{quote}", 'property="og:title"']
    markup = f"<{tag} {' '.join(parts if first else parts[::-1])}>"
    tree = lxml_html.document_fromstring(f"<html><head>{markup}</head></html>")
    expected = " ".join((tree.xpath("//meta/@content") or [""])[0].split())
    assert page_marks(markup).title == (expected or None)


SCRAPS = st.sampled_from(
    [
        *(
            "<",
            ">",
            '"',
            "'",
            "=",
            "/",
            " ",
            "\x00",
            "\ud800",
            "<!--",
            "-->",
            "<meta ",
            "<link ",
            "<script>",
            "</script",
            "<title>",
            "<h1>",
        ),
        *("name=robots ", "content=", "noindex", "rel=canonical ", "href=", "https://a.kr/", "//[", f"{CC}/by/4.0/", "공공누리", "제1유형"),
        *(
            '<script type="application/ld+json">',
            '{"license":',
            "[",
            "{",
            "]",
            "}",
            "&#xd800;",
            "&#0;",
            "İ",
            "property=og:url ",
            "kogl.or.kr/",
        ),
    ]
)


@settings(max_examples=300)
@given(st.lists(SCRAPS, max_size=60).map("".join))
def test_scraps_of_markup_never_raise_and_marks_are_well_formed(markup: str) -> None:
    marks = page_marks(markup, "http://a.kr/")
    assert marks.canonical_url is None or urlsplit(marks.canonical_url).scheme in ("http", "https")
    for value in (marks.robots_directives, marks.license):
        assert value is None or (value and value == ",".join(sorted(set(value.split(",")))))
    assert marks == page_marks(markup, "http://a.kr/")


@pytest.mark.parametrize(
    "unit",
    [
        *(
            '<meta x="',
            "<meta x='",
            "<meta ",
            "<link rel=license",
            "<!--",
            "<script>",
            "<script></script>",
            "<h1>",
            "<h1 ",
            "<title ",
            "<title>",
        ),
        *("creativecommons.org/", f'<a href="{CC}/by/4.0/">', "공공누리 ", "kogl.or.kr/", "opentype", "&#44277;", "&", "<", "</h1", '="'),
        *(
            '<script type="application/ld+json">[',
            '<script type="application/ld+json">[[</script>',
            "<meta name=robots content=no>",
            "a=",
            " ",
        ),
        *("class=", "<meta content= ", "<base href=", "<time ", "x" * 5000, "<meta x=\"<meta x='"),
    ],
)
@pytest.mark.timeout(240)
def test_cost_grows_no_faster_than_the_page(unit: str) -> None:
    """Two million characters of anything come to an end: a quadratic scan of them would take minutes, and the test would be stopped."""
    page_marks(unit * (2_000_000 // len(unit)), URL)


def test_deeply_nested_json_ld_says_nothing() -> None:
    assert page_marks('<script type="application/ld+json">' + '{"a":' * 100_000 + "</script>") == Marks()
    assert page_marks('<script type="application/ld+json">' + "9" * 10_000 + "</script>") == Marks()


def test_directives_are_lower_case_tokens() -> None:
    assert directives("NOINDEX; nofollow") == {"noindex", "nofollow"}
    assert directives("x" * 10_000 + ",noindex") == set()


def test_licences_agree_with_trafilaturas_annotations(shared_data: Path) -> None:
    """Of the pages whose annotators saw a Creative Commons licence, most are found with the same code."""
    import gzip
    import json
    import tarfile

    gold = json.loads(gzip.decompress((shared_data / "html" / "trafilatura_evaldata.json.gz").read_bytes()))
    wanted = {
        item["file"]: item["license"].upper().replace(" ", "-") for item in gold.values() if (item.get("license") or "").startswith("CC")
    }
    right = 0
    with tarfile.open(shared_data / "html" / "trafilatura_eval_pages.tar.gz") as archive:
        for member in archive:
            if member.name in wanted:
                page = archive.extractfile(member)
                assert page is not None
                found = page_marks(page.read().decode("utf-8", "replace")).license or ""
                right += any(
                    wanted[member.name].startswith(name.split("-DE")[0]) or name.startswith(wanted[member.name])
                    for name in found.split(",")
                    if name
                )
    assert right >= 0.75 * len(wanted)


@pytest.mark.parametrize(
    "hidden",
    [
        "<textarea>{}</textarea>",
        "<iframe srcdoc='{}'></iframe>",
        "<xmp>{}</xmp>",
        "<!-- {} --!>",
        "<template><div>{}</div></template>",
        "<script>document.write('{}')</script>",
    ],
)
def test_markup_to_copy_and_markup_of_other_pages_is_not_the_pages_own(hidden: str) -> None:
    inside = f"<link rel=canonical href=/x><meta name=robots content=noindex><a rel=license href={CC}/by/4.0/>공공누리 제1유형</a>"
    outside = "<p>글</p><meta name=robots content=noarchive>"
    assert page_marks(hidden.format(inside) + outside, URL) == Marks(robots_directives="noarchive")


@pytest.mark.parametrize(
    "robot", ["GPTBot", "CCBot", "ClaudeBot", "Yeti", "Daumoa", "anthropic-ai", "cohere-ai", "Bytespider", "Google-Extended", "omgili"]
)
def test_directives_of_many_robots(robot: str) -> None:
    assert page_marks(f"<meta name='{robot}' content='noindex'>").robots_directives == "noindex"


@pytest.mark.parametrize(
    ("markup", "kind"),
    [
        ("<a href='https://www.kogl.or.kr/info/license.do#04-tab'>이용조건</a>", "4"),
        ("<img src='/img/new_img_opencode2.jpg'>", "2"),
        ("<img src='/img/kogl_type03.png'>", "3"),
        ("<p>본 저작물은 공공 누리 제 4 유형에 따라 이용할 수 있습니다.</p>", "4"),
        ("<img src=a.png alt='OPEN 공공누리 공공저작물 자유이용허락 출처표시, 상업용금지 아님'>", "1"),
    ],
)
def test_kogl_as_public_sites_write_it(markup: str, kind: str) -> None:
    assert license_of(markup) == f"KOGL-{kind}"
