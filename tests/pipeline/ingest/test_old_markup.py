import re
from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html as lxml_html

from pipeline.ingest.extract import Extract
from pipeline.ingest.old_markup import modernise
from pipeline.ingest.rows import SCHEMA
from tests.pipeline.ingest.korean_pages import FOOTER, NEWS, PAGES, old_frame, old_post

SENTENCE = "이 문장은 본문에 속하며 사람이 읽을 만한 이야기를 담고 있습니다."


def extracted(*pages: str) -> list[str]:
    table = pa.Table.from_pylist([{"text": page, "raw_kind": "html"} for page in pages], schema=SCHEMA)
    return [text or "" for text in Extract()(table).column("text").to_pylist()]


def modern(markup: str) -> str:
    tree = lxml_html.document_fromstring(markup)
    modernise(tree)
    return str(lxml_html.tostring(tree, encoding="unicode"))


def f1(expected: str, found: str) -> float:
    true, mine = Counter(re.findall(r"\w+", expected)), Counter(re.findall(r"\w+", found))
    return 2 * (true & mine).total() / max(1, true.total() + mine.total())


def test_korean_pages_keep_their_lines_and_lose_their_menus() -> None:
    texts = dict(zip(PAGES, extracted(*(page.html for page in PAGES.values())), strict=True))
    for name, page in PAGES.items():
        lines = {" ".join(line.split()).lstrip("- ") for line in texts[name].splitlines()}
        missing = [line for line in page.lines if not any(line in found for found in lines)]
        assert len(missing) <= (name == "question and answers"), (name, missing)  # its question stands in the head of the page
        assert not any(line.startswith("|") for line in lines), name
    scores = {name: f1(page.text, texts[name]) for name, page in PAGES.items()}
    assert sum(scores.values()) / len(scores) > 0.9
    assert min(score for name, score in scores.items() if name.startswith(("old", "news", "law"))) > 0.9


def test_bare_text_around_pictures_and_scripts_is_kept_line_by_line() -> None:
    between = ("<br><br>", "<br><figure><img><figcaption>설명</figcaption></figure>", "<br><div>광고</div>", "<br><script>x</script>")
    for holder in ("div class=article_body", "dd", "td", "center"):
        text = NEWS[0] + "".join(f"{gap}{line}" for gap, line in zip(between, NEWS[1:], strict=True))
        (found,) = extracted(f"<html><body><{holder}>{text}</{holder.split()[0]}></body></html>")
        assert set(NEWS) <= {line.strip() for line in found.splitlines()}, holder


def test_pages_without_an_html_tag_are_pages() -> None:
    body = f"<p>{SENTENCE * 5}</p>"
    openings = (
        "",
        "<div>",
        "<body>",
        f"<!-- {'-x' * 40} -->",
        "<font size=2>",
        f"<?xml version='1.0' encoding='utf-8' {' ' * 60}?>",
        "\n\n<center>",
    )
    assert all(SENTENCE in text for text in extracted(*(opening + body for opening in openings)))


def test_a_table_of_data_stays_a_table() -> None:
    rows = "".join(f"<tr><th>{year}년</th><td>{year * 7}명</td><td>{year * 3}곳</td></tr>" for year in range(2001, 2009))
    table = f"<table><caption>연도별 이용자</caption>{rows}</table>"
    assert table in modern(f"<html><body><div><p>{SENTENCE * 5}</p>{table}</div></body></html>")
    inside = modern(f"<html><body><table><tr><td>{SENTENCE * 5}{table}</td></tr></table></body></html>")
    assert table in inside and inside.count("<table") == 1


def test_the_foot_of_a_site_is_never_its_article() -> None:
    """A short post above a long imprint: what can't be told apart is kept whole."""
    (found,) = extracted(old_frame("시", old_post("짧은 글", "첫 줄이다<br>둘째 줄이다")))
    assert "첫 줄이다" in found and "둘째 줄이다" in found
    assert "<article" not in modern(f"<table><tr><td>{FOOTER}</td></tr></table><table><tr><td>짧은 글<br>끝</td></tr></table>")


def test_posts_of_equal_weight_all_stay() -> None:
    posts = "".join(
        f"<table><tr><td>회원{at}</td></tr><tr><td>{SENTENCE}<br>{at}번째 글의 내용이다.<br>{SENTENCE}</td></tr></table>" for at in range(5)
    )
    (found,) = extracted(f"<html><body><table><tr><td>{posts}</td></tr></table></body></html>")
    assert all(f"{at}번째 글의 내용이다." in found for at in range(5))


_TAGS = st.sampled_from(("table", "tr", "td", "th", "div", "p", "br", "b", "font", "center", "dd", "img", "ul", "li", "tbody", "form"))
_PIECES = st.one_of(
    _TAGS.map(lambda tag: f"<{tag}>"), _TAGS.map(lambda tag: f"</{tag}>"), st.text("가나다 .", min_size=1, max_size=12), st.just("<tr><td>")
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_PIECES, max_size=60))
def test_no_text_is_lost_or_moved(pieces: list[str]) -> None:
    """Whatever the markup: the same characters in the same order, but for blanks (texts are too short for a main block)."""
    tree = lxml_html.document_fromstring(f"<html><body>{''.join(pieces)[:400]}x</body></html>")
    before = "".join(tree.itertext())
    modernise(tree)
    after = "".join(tree.itertext())
    if next(tree.iter("article"), None) is None:
        assert "".join(after.split()) == "".join(before.split())
    else:
        assert "".join(after.split()) in "".join(before.split())
