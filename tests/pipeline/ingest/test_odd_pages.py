"""Pages as the Korean web has them: forums of jamo, hanja, price lists, screens of markup around a few words, encodings mixed in one page,
declarations of every kind; and rightly declared pages of other languages, which must not be taken for Korean."""

from __future__ import annotations

import itertools
import random

import pytest

from pipeline.ingest.charsets import codec_of, decode_bytes, meta_label
from tests.pipeline.ingest.charset_cases import PROSE

BODIES = {
    "news": """[서울=가나뉴스] 홍길동 기자 = 서울시는 12일 내년도 예산안을 발표하고 교통·복지 분야에 3조 4천억원을 투입한다고 밝혔다.
시 관계자는 "시민의 안전이 최우선"이라며 "노후 지하철 교체를 앞당기겠다"고 말했다. ▲ 버스 증차 ▲ 자전거 도로 ⓒ 무단 전재 금지""",
    "forum": "ㅋㅋㅋㅋㅋㅋ 아 진짜 웃기다 ㅠㅠㅠㅠ 님들 이거 봄?? ㄷㄷㄷ;; 헐 대박 ㅎㅎㅎ ㅇㅇ ㄴㄴ ㅂㅂ~~ 뷁 쩐다 됬어 걍 ㄱㄱ 방가방가",
    "shop": "<li>운동화 89,000원 <b>10%↓</b></li><li>원피스 29,900원</li><li>무료배송 ★★★★☆ (리뷰 132)</li><li>품절</li>" * 3,
    "mixed script": "大韓民國은 民主共和國이다. 主權은 國民에게 있고 모든 權力은 國民으로부터 나온다. 檀紀 四千二百八十一年 七月",
    "North": "우리 인민의 행복을 위하여 로동계급의 력사적 위업을 령도하시였다. 중앙위원회 리론잡지 《근로자》",
    "Korean and kana": "일본어 첫걸음: わたしはがくせいです (저는 학생입니다). おはようございます는 아침 인사다. カタカナ도 외우자!",
    "poem": "꽃이 지고 나면 잎이 보이듯이",
    "script": '<script>var m={a:"로그인이 필요합니다",b:"삭제하시겠습니까?"};' + "for(i=0;i<10;i++){x.push(i*2);}\n" * 300 + "</script>",
    "markup": "<tr><td width=10><img src=/a.gif></td><td>&nbsp;</td></tr>\n" * 400 + "<p>공지사항 회사소개 오시는길 이용약관 개인정보</p>",
    "one line in English": "<p>All rights reserved.</p>" * 40 + "Copyright (c) 2003 주식회사 가나다라",
}
LONG_COMMENT = f"<!--{'x' * 5000}-->"
HEADS = {
    "none": "",
    "euckr": "<meta charset=euckr>",
    "EUC_KR": '<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=EUC_KR">',
    "ksc5601": "<meta http-equiv=content-type content=text/html;charset=ksc5601>",
    "x-euc-kr": "<meta charset='x-euc-kr'>",
    "utf8mb4": "<meta charset=utf8mb4>",
    "unicode": '<meta http-equiv=Content-Type content="text/html; charset=unicode">',
    "utf-16": "<meta charset=utf-16>",
    "two": '<meta charset=utf-8><meta http-equiv="content-type" content="text/html; charset=euc-kr">',
    "two the other way": '<meta charset=euc-kr><meta http-equiv="content-type" content="text/html; charset=utf-8">',
    "late": f"{LONG_COMMENT}<meta charset=euc-kr>",
    "Japanese": "<meta charset=shift_jis>",
    "Chinese": "<meta charset=gb2312>",
    "Western": "<meta charset=windows-1252>",
}


def page(body: str, head: str = "") -> str:
    return f"<html><head>{head}<title>t</title></head><body>{body}</body></html>"


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_korean_pages_are_read_whatever_is_declared_and_wherever_they_come_from(body: str, encoding: str) -> None:
    failed = []
    for head, header, korean in itertools.product(HEADS, (None, "iso-8859-1", "utf-8", "EUC-KR"), (False, True)):
        text = page(BODIES[body], HEADS[head])
        found = decode_bytes(text.encode(encoding), header, True, korean)
        if found is None or found.text != text:
            failed.append((head, header, korean, found and found.charset))
    assert not failed


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_documents_that_are_not_plain_pages(encoding: str) -> None:
    declaration = f'<?xml version="1.0" encoding="{encoding.replace("cp949", "euc-kr")}"?>\n'
    for text in (
        f'{declaration}<html xmlns="http://www.w3.org/1999/xhtml"><body>{PROSE}</body></html>',
        f"{declaration}<rss><channel><title>속보</title><description><![CDATA[{PROSE}]]></description></channel></rss>",
        "<html><head><title>홈페이지에 오신 것을 환영합니다</title></head><frameset cols=9,*><frame src=a.html></frameset></html>",
    ):
        for is_html in (True, False):
            found = decode_bytes(text.encode(encoding), None, is_html)
            assert found is not None and found.text == text


@pytest.mark.parametrize("inside", ["😀", "’", "한", "♥"])
@pytest.mark.parametrize("header", [None, "euc-kr", "utf-8"])
def test_characters_in_utf8_that_a_script_put_into_a_cp949_page(inside: str, header: str | None) -> None:
    before, after = page(f"{BODIES['news']} MARK{PROSE}").encode("cp949").split(b"MARK")
    found = decode_bytes(before + inside.encode() + b" " + after, header)
    assert found is not None and found.replacement_ratio == 0.0 and found.charset == "cp949"
    assert found.text == page(f"{BODIES['news']} {inside} {PROSE}")


@pytest.mark.parametrize("menu", ["utf-8", "cp949"])
@pytest.mark.parametrize("header", [None, "euc-kr", "utf-8", "iso-8859-1"])
def test_a_menu_included_in_the_other_encoding(menu: str, header: str | None) -> None:
    text = page(f"<ul><li>로그인 책</li><li>회원가입</li><li>사이트맵</li></ul>\n<p>{PROSE * 3}</p>")
    cut = text.index("</ul>")
    rest = "cp949" if menu == "utf-8" else "utf-8"
    found = decode_bytes(text[:cut].encode(menu) + text[cut:].encode(rest), header)
    assert found is not None and found.text == text and found.charset == "cp949+utf-8"


def test_mixed_pages_are_not_made_of_damaged_ones() -> None:
    """Broken UTF-8, or UTF-8 beside noise, isn't read as CP949 piece by piece."""
    rng = random.Random(5)
    line = f"<p>{PROSE}</p>\n".encode()
    broken = bytes(byte for byte in line * 20 if rng.random() > 0.01)
    noise = b"".join(f"<p>{PROSE}</p>".encode() + bytes(rng.randrange(0x80, 0xFF) for _ in range(20)) + b"\n" for _ in range(20))
    assert decode_bytes(broken, "euc-kr") is None and decode_bytes(noise, "euc-kr") is None


FOREIGN = {
    "gbk": ("你好", "首页 新闻 体育 财经", "【促销】全场包邮！iPhone手机 ￥4999 立即购买 客服QQ：12345", "朝鲜半岛 首尔 平壤 六方会谈"),
    "big5": ("你好", "首頁 新聞 體育 購物車 會員登入", "這個問題很難回答，因為每個人的看法都不一樣。", "我們試試看！"),
    "euc_jp": ("はい", "会社概要 採用情報 東京都千代田区 株式会社日本電気", "商品一覧：革靴、鞄、財布。送料無料！"),
    "cp932": ("はい", "ﾎｰﾑ ﾆｭｰｽ 半角ｶﾀｶﾅのﾍﾟｰｼﾞ", "東京都は12日、来年度の予算案を発表した。"),
    "cp1251": ("да", "ВНИМАНИЕ! СРОЧНО! ПРОДАМ КВАРТИРУ", "Дзе Вы жывеце?", "Українська мова: їжак, ґанок"),
    "koi8-r": ("Свет погас.", "ПРОДАМ КВАРТИРУ В ЦЕНТРЕ"),
    "iso8859-2": ("Polityka go nie interesowała.", "Posiadła znajomość angielskiego.", "Árvíztűrő tükörfúrógép"),
    "cp1252": (
        "Ça ne devrait pas être dur.",
        "ÇA VA ÊTRE LA FÊTE À L'ÉCOLE",
        "€ 19,99 £ 5 ½ © ® ™ § …",
        "Þú hittir manninn við ána í gær",
        "”Ovatko nämä?” ”Kyllä.”",
        "öö on",
    ),
    "cp1254": ("Türkiye'nin başkenti, ağaç, çiğ", "ĞÜŞİÖÇ ÇŞĞ"),
    "cp1256": ("مرحبا بالعالم هذا نص", "لدي أصدقاء."),
    "cp1257": ("Ši kriaušė skaniai kvepia.",),
    "cp874": ("ใครๆ ก็ชอบเขา", "หน้าแรก ข่าว กีฬา"),
    "cp1253": ("όχι", "ΕΛΛΑΔΑ ΑΘΗΝΑ"),
    "cp1255": ("דף הבית חדשות",),
}
LABELS = {
    "euc_jp": "euc-jp",
    "cp932": "shift_jis",
    "cp874": "tis-620",
    "iso8859-2": "iso-8859-2",
    "gbk": "gbk",
    "big5": "big5",
    "koi8-r": "koi8-r",
}


@pytest.mark.parametrize("codec", FOREIGN)
@pytest.mark.parametrize("korean", [False, True])
def test_rightly_declared_pages_of_other_languages_stay_right(codec: str, korean: bool) -> None:
    """Also from hosts in .kr, also of two words, also where a menu repeats one word that is half Korean (你好 is 콱봤)."""
    label = LABELS.get(codec, codec.replace("cp", "windows-"))
    for text, times, in_page in itertools.product(FOREIGN[codec], (1, 30), (False, True)):
        whole = page(f"{text}\n" * times, f'<meta charset="{label}">') if in_page else f"{text}\n" * times
        found = decode_bytes(whole.encode(codec), None if in_page else label, in_page, korean)
        assert found is not None and found.text == whole, (text, times, in_page)


def test_declarations_behind_long_heads_and_in_comments() -> None:
    assert codec_of("utf8mb4") is None
    assert {codec_of(label) for label in ("euckr", "EUC_KR", "ksc5601", "x-euc-kr", "ks_c_5601")} == {"cp949"}
    assert meta_label(b"<!-- <meta charset=gb2312> -->\n<meta charset=shift_jis>") == "shift_jis"
    assert meta_label(f"{LONG_COMMENT}<script>{'a' * 9000}</script><meta charset=big5>".encode()) == "big5"
    assert meta_label(b"<!-- never closed <meta charset=gb2312>") is None and meta_label(b"<!--" * 20_000) is None


@pytest.mark.parametrize("byte", [b"D\xc8but", b"a\x8d", b"s\xd5s"])
@pytest.mark.parametrize("header", [None, "iso-8859-1", "utf-8", "euc-kr"])
def test_a_stray_byte_in_ascii_costs_at_most_that_byte(byte: bytes, header: str | None) -> None:
    raw = b"<html><body>" + b"plain words follow here. " * 500 + byte + b" and go on.</body></html>"
    found = decode_bytes(raw, header)
    assert found is not None and len(found.text) == len(raw)
    assert sum(character != chr(value) for character, value in zip(found.text, raw, strict=True)) <= 1
    # But a word amid few others may be anything.
    assert decode_bytes(b"<p>plain " + "펲뷁".encode("cp949") + b"</p>", "no-such-charset") is None
