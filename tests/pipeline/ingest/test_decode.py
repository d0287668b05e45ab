import tarfile
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.charsets import _damaged_utf8, codec_of, decode_bytes, hangul_share
from pipeline.ingest.decode import Decode, host_of
from pipeline.ingest.mojibake import mended
from pipeline.ingest.rows import SCHEMA
from pipeline.ingest.utf8_kernel import ESCAPES, INVALID, MISREAD, inspect

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
                    assert raw.decode("utf-8", "ignore").encode() == raw or _damaged_utf8(raw, []) is None, raw


def test_declared_utf16_without_nul_bytes_is_not_believed() -> None:
    text = f'<meta charset="utf-16">{CLEAN}'
    assert decode_bytes(text.encode("cp949")).text == text  # type: ignore[union-attr]


PIECES = [
    *(
        "가나다",
        "한국어 문서 ",
        "abc ",
        "x" * 40,
        "\n",
        "é",
        "ß",
        "½ÀÁÂ",
        "¾È³çÇÏ¼¼¿ä",
        "ì•ˆë…•",
        "…………",
        "\xa0\xa0\xa0\xa0",
        "€™",
        "\u2028",
        "😀",
        "\ufffd",
    ),
    *(
        "\x00",
        "\x07",
        "\x0b",
        "\x0e",
        "\x1b",
        "\x1b$)C",
        "\x7f",
        "\x80",
        "\x9f",
        "\ufeff",
        "中文",
        "ﾻ",
        "\u07ff",
        "\u0800",
        "\ud7a3",
        "\ue000",
    ),
]
BYTES = st.lists(
    st.one_of(st.sampled_from(PIECES).map(str.encode), st.text(max_size=9).map(str.encode), st.binary(max_size=5)), max_size=12
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(BYTES, max_size=5))
def test_the_kernel_equals_its_twin(contents: list[bytes]) -> None:
    data = np.frombuffer(b"".join(contents), np.uint8)
    offsets = np.cumsum([0, *map(len, contents)])
    flags, counts = np.full(len(contents), 99, np.uint8), np.full((len(contents), 3), -1)
    inspect(data, offsets, flags, counts)
    for content, flag, count in zip(contents, flags, counts.tolist(), strict=True):
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            assert flag & INVALID
            continue
        controls = sum(unicodedata.category(character) == "Cc" and character not in "\t\n\v\f\r\x1b" for character in text)
        assert count == [len(text), text.count("\ufffd"), controls] and not flag & INVALID
        assert bool(flag & ESCAPES) == (text.startswith("\ufeff") or any(character in text for character in "\x00\x0e\x1b"))
        assert flag & MISREAD or mended(text) is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.one_of(st.none(), BYTES), st.sampled_from([None, "euc-kr", "utf-8", "utf-16", "latin-1"])), max_size=6),
    st.booleans(),
)
def test_the_stage_is_decode_bytes_row_by_row(rows: list[tuple[bytes | None, str | None]], sliced: bool) -> None:
    records = [{"raw": raw, "charset_declared": label, "raw_kind": "text", "text": "old" if raw is None else None} for raw, label in rows]
    table = pa.Table.from_pylist([{"raw": b"in front"}, *records] if sliced else records, schema=SCHEMA)
    result = Decode()(table.slice(1) if sliced else table).to_pylist()
    assert len(result) == len(rows)
    for (raw, label), row in zip(rows, result, strict=True):
        found = decode_bytes(raw, label, False) if raw is not None else None
        if raw is None:
            assert row["text"] == "old" and row["charset"] is None and row.get("error") is None
        elif found is None:
            assert row["text"] is None and "could not be decoded" in row["error"] and row["replacement_ratio"] is None
        else:
            shown = (row["text"], row["charset"], row["charset_source"], row["replacement_ratio"])
            assert shown == (found.text, found.charset, found.source, found.replacement_ratio)


def test_valid_pages_are_not_copied() -> None:
    table = pa.Table.from_pylist([{"raw": CLEAN.encode(), "raw_kind": "text"}, {"raw": b"plain"}], schema=SCHEMA)
    text = Decode()(table)["text"].chunk(0)
    assert text.buffers()[2].address == table["raw"].chunk(0).buffers()[2].address and text.to_pylist() == [CLEAN, "plain"]
    text.validate(full=True)
