import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.ingest.charsets import _damaged_utf8, codec_of, decode_bytes, hangul_share
from pipeline.ingest.decode import Decode, host_of
from pipeline.ingest.rows import SCHEMA

CLEAN = "안녕하세요. 이 문서는 한국어 웹 페이지의 본문입니다. 날씨가 맑고 바람이 붑니다."
ONLY_CP949 = CLEAN + " 똠방각하와 펲시콜라, 쨰뷁힣"
LABELS = [
    *("euc-kr", "EUC-KR", "ks_c_5601-1987", "ks_c_5601-1989", "ksc_5601", "korean"),
    *("windows-949", "x-windows-949", "cp949", "ms949", "uhc"),
]


def page(text: str, meta: str = "") -> str:
    return f"<html><head>{meta}<title>제목</title></head><body><p>{text}</p></body></html>"


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("where", ["http", "meta", "none"])
@pytest.mark.parametrize("text", [CLEAN, ONLY_CP949])
@pytest.mark.parametrize("really", ["cp949", "utf-8"])
def test_every_label_place_and_content(label: str, where: str, text: str, really: str) -> None:
    html = page(text, f'<meta http-equiv="Content-Type" content="text/html; charset={label}">' if where == "meta" else "")
    found = decode_bytes(html.encode(really), label if where == "http" else None)
    assert found is not None and found.text == html and found.replacement_ratio == 0
    expected = "utf-8" if really == "utf-8" else {"none": "detector"}.get(where, where)
    assert (found.charset, found.source) == (really, expected)


def test_korean_page_behind_a_western_default_header() -> None:
    html = page(CLEAN, '<meta charset="euc-kr">')
    assert decode_bytes(html.encode("cp949"), "ISO-8859-1").source == "meta"  # type: ignore[union-attr]
    bare = decode_bytes(page(CLEAN).encode("cp949"), "ISO-8859-1")
    assert bare is not None and bare.text == page(CLEAN) and bare.charset == "cp949"


def test_marks_and_escapes() -> None:
    assert decode_bytes(b"\xef\xbb\xbf" + CLEAN.encode(), "euc-kr").source == "bom"  # type: ignore[union-attr]
    for codec, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
        found = decode_bytes(mark + CLEAN.encode(codec))
        assert found is not None and found.text == CLEAN and found.source == "bom"
    seven = decode_bytes(CLEAN.encode("iso2022_kr"))
    assert seven is not None and seven.text == CLEAN and seven.charset == "iso2022_kr"
    johab = decode_bytes((CLEAN * 5).encode("johab"))
    assert johab is not None and johab.text == CLEAN * 5
    japanese = decode_bytes("日本語のページです".encode("iso2022_jp"), "iso-2022-jp")
    assert japanese is not None and japanese.text == "日本語のページです"


def test_few_broken_characters_are_accepted_and_many_are_not() -> None:
    raw = page(CLEAN * 40).encode("cp949")
    found = decode_bytes(raw[:-18] + b"\xff" + raw[-18:], "euc-kr")
    assert found is not None and 0 < found.replacement_ratio <= 0.001
    assert decode_bytes(bytes(range(256)) * 40, "utf-8") is None


@pytest.mark.parametrize("wrong", ["latin-1", "cp1252"])
def test_mojibake_is_repaired(wrong: str) -> None:
    text = "가나다라 마바사 한국어 웹 문서"
    broken = text.encode("cp949").decode(wrong)
    found = decode_bytes(broken.encode("utf-8"))
    assert found is not None and found.text == text and found.charset == "utf-8/cp949"


@pytest.mark.parametrize(
    "text", ["Le café est fermé à midi, où êtes-vous ?", "Größe Übermaß Straße", "ÀÉÈÙ ÇÀÉÈ", "£££££ and ©©©©", "—————", "“”“”…’" * 9]
)
def test_western_text_is_not_repaired(text: str) -> None:
    found = decode_bytes(text.encode())
    assert found is not None and found.text == text


def test_labels() -> None:
    assert {codec_of(label) for label in LABELS} == {"cp949"}
    assert codec_of("johab") == "johab" and codec_of("iso-2022-kr") == "iso2022_kr"
    assert codec_of("no-such") is None and codec_of(None) is None and codec_of("x-user-defined") is None


def test_korean_corpus(shared_data: Path) -> None:
    seen = 0
    with tarfile.open(shared_data / "html/chardet_encoding_corpus.tar.gz") as archive:
        for member in archive:
            family = {"EUC-KR": "cp949", "CP949": "cp949", "Johab": "johab", "iso-2022-kr": "iso2022_kr"}.get(member.name.split("/")[0])
            stream = archive.extractfile(member) if family else None
            if stream is None or family is None:
                continue
            raw = stream.read()
            found = decode_bytes(raw, None, not member.name.endswith(".txt"))
            assert found is not None and found.charset == family, member.name
            assert found.text == raw.decode(family, "replace")
            seen += 1
    assert seen == 21


def test_story_is_the_same_from_both_encodings(shared_data: Path) -> None:
    with tarfile.open(shared_data / "html/korean_encoding_story_pair.tar.gz") as archive:
        contents = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    found = {name: decode_bytes(raw, None, False) for name, raw in contents.items()}
    texts = [decoded.text for decoded in found.values() if decoded is not None]
    assert len(texts) == 2 and "".join(texts[0].split()) == "".join(texts[1].split())
    assert all(hangul_share(text) > 0.9 for text in texts)


def test_stage_keeps_rows_order_and_text_without_raw() -> None:
    rows = [
        {"raw": CLEAN.encode("cp949"), "raw_kind": "text", "url": "http://a.kr/", "text": None},
        {"raw": None, "text": "already text"},
        {"raw": bytes(range(256)) * 9, "raw_kind": "html"},
        {"raw": b"", "raw_kind": "text"},
    ]
    table = Decode()(pa.Table.from_pylist(rows, schema=SCHEMA))
    assert table["text"].to_pylist() == [CLEAN, "already text", None, ""]
    assert table["charset"].to_pylist() == ["cp949", None, None, "utf-8"]
    errors = table["error"].to_pylist()
    assert "could not be decoded" in errors[2] and [errors[0], errors[1], errors[3]] == [None] * 3
    for part in (Decode()(pa.Table.from_pylist(rows[1:2], schema=SCHEMA)), Decode()(SCHEMA.empty_table())):
        assert part["charset"].null_count == len(part)
    pieces = pa.concat_tables([Decode()(pa.Table.from_pylist([row], schema=SCHEMA)) for row in rows])
    assert pieces.select(["text", "charset", "error"]).to_pylist() == table.select(["text", "charset", "error"]).to_pylist()


def test_host() -> None:
    assert host_of("HTTP://user@WWW.Example.co.KR:80/a") == "example.co.kr"
    assert host_of("http://[bad/") == "" and host_of(None) == "" and host_of("dns:x") == ""


ENGLISH = "It’s a café — we’re open. "
RUSSIAN = "Это обычный русский текст без повреждений. "


@pytest.mark.parametrize("text", [CLEAN + " ", ENGLISH, RUSSIAN, "Größe und Übermaß, schöne Straße, früh für Öl. "])
@pytest.mark.parametrize("times", [1, 40])
@pytest.mark.parametrize("declared", [None, "ISO-8859-1", "euc-kr", "utf-8"])
@pytest.mark.parametrize("stray", [b"\xff", b"\xea\xb0", b"\xc3"])
def test_utf8_with_one_broken_byte_stays_utf8(text: str, times: int, declared: str | None, stray: bytes) -> None:
    raw = (text * times).encode() + stray + b" " + (text * times).encode()
    found = decode_bytes(raw, declared)
    assert found is not None and (found.charset, found.source) == ("utf-8", "utf-8")
    assert found.text == f"{text * times}\ufffd {text * times}" and found.replacement_ratio == 1 / len(found.text)


def test_a_page_cut_inside_a_character_stays_utf8() -> None:
    found = decode_bytes(CLEAN.encode()[:-2], "ISO-8859-1")
    assert found is not None and found.charset == "utf-8" and found.text == CLEAN[:-2] + "\ufffd"


def test_no_piece_of_cp949_or_latin1_is_taken_for_damaged_utf8() -> None:
    lines = [CLEAN, ONLY_CP949, "한국 표준 글자 쪽 집합 추출 층 짧은 큰 크게 최초 찾아 천천히 친구 책임 처음 축하 출처"]
    western = ["Le café est fermé à midi, où êtes-vous ?", "ÀÉÈÙ ÇÀÉÈ", "Größe Übermaß Straße «Öl»", "naïve"]
    for codec, texts in (("cp949", lines), ("cp1252", western)):
        for text in texts:
            for start in range(len(text)):
                for stop in range(start + 1, len(text) + 1):
                    raw = text[start:stop].encode(codec)
                    assert raw.decode("utf-8", "ignore").encode() == raw or _damaged_utf8(raw) is None, raw


def test_declared_utf16_without_nul_bytes_is_not_believed() -> None:
    text = f'<meta charset="utf-16">{CLEAN}'
    assert decode_bytes(text.encode("cp949")).text == text  # type: ignore[union-attr]
