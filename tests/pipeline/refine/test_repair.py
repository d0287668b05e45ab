"""Repair removes what is invisible or odd, keeps everything else, and repairing twice changes nothing more."""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.refine import repair as module
from pipeline.refine.repair import EMPTY, Repair, repair

PIECES = [
    "가", "각", "\u1100", "\u1161", "\u11a8", "e", "\u0301", "a\u0327", "\u0340", "\uf900", "中", "①", "㎡", "…", "😀", "👩",
    "💻", "\ufe0f", "★", "\u200b", "\u200d", "\u200c", "\ufeff", "\u00ad", "\u3164", "\u115f", "\u1160", "\uffa0", "\u2060",
    "\u202e", "\x00", "\x07", "\x1f", "\x7f", "\x80", "\u3000", " ", "  ", "\t", "\u00a0", "\n", "\n\n", "\r", "\r\n", "\x0b",
    "\x0c", "\x85", "\u2028", "\u2029", "ａ", "！", "～", "ﾻ", "ￂ", "ￜ", "x = 1", "    return", "한국어 문서",
]  # fmt: skip


def one(text: str | None) -> str | None:
    return repair(pa.chunked_array([pa.array([text], pa.large_string())]))[0].as_py()


def within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(character) <= last for first, last in ranges)


def twin(text: str) -> str:
    """The definition of docs/refine.md, one step after the other."""
    text = text.replace("\r\n", "\n")
    text = "".join("\n" if within(character, module.LINE_ENDS) else character for character in text)
    text = "".join(character for character in text if not within(character, module.REMOVED)).replace("\u3000", " ")
    folds = {code: target + code - first for first, last, target in module.FOLDED for code in range(first, last + 1)}
    text = re.sub(r"[ \t\xa0]+(?=\n)|[ \t\xa0]+\Z", "", text.translate(folds))
    kept = ""
    for character in text:
        if character != "\u200d" or re.match("[\ufe0f\u2190-\u2bff\U0001f000-\U0001faff]", kept[-1:]):
            kept += character
    text = re.sub(r"[ \t\xa0]+(?=\n)|[ \t\xa0]+\Z", "", kept)
    text = re.sub(r"\n{3,}", "\n\n", text).strip("\n")
    return unicodedata.normalize("NFC", text)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_equals_twin_and_is_idempotent(text: str) -> None:
    repaired = one(text)
    assert repaired == twin(text)
    assert one(repaired) == repaired


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=40), max_size=5))
def test_any_unicode_comes_out_composed_and_rows_do_not_mix(texts: list[str]) -> None:
    repaired = repair(pa.chunked_array([pa.array(texts, pa.large_string())])).to_pylist()
    assert repaired == [one(text) for text in texts]
    assert all(unicodedata.is_normalized("NFC", text) for text in repaired)


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        pytest.param("a\r\nb\rc\x0cd", "a\nb\nc\nd", id="line ends"),
        pytest.param("def f():\n    return 1  \n\n\n\n\tx", "def f():\n    return 1\n\n\tx", id="indentation stays"),
        pytest.param("\n \n    first line", "    first line", id="leading blank lines go, indentation stays"),
        pytest.param("가\u200b나\ufeff다\u00ad라\u3164마", "가나다라마", id="invisible characters"),
        pytest.param("\u1112\u1161\u11ab글", "한글", id="decomposed Hangul"),
        pytest.param("ﾻﾻﾻ ＡＢＣ１２３！", "ㅋㅋㅋ ABC123!", id="half and full width"),
        pytest.param("① ㎡ x² ﬁ ㈜", "① ㎡ x² ﬁ ㈜", id="compatibility characters elsewhere stay"),
        pytest.param("👩\u200d💻 a\u200db", "👩\u200d💻 ab", id="joiner stays in emoji only"),
        pytest.param("가\u3000나", "가 나", id="ideographic space"),
        pytest.param("a\x80b\ufffd", "a\x80b\ufffd", id="evidence of wrong decoding stays"),
    ],
)
def test_cases(text: str, repaired: str) -> None:
    assert one(text) == repaired == twin(text)


def test_nothing_stable_composes() -> None:
    """Every character of NFC_STABLE is unchanged by NFC, has combining class 0, and is never the second of a composition."""
    seconds = set()
    for code in range(0x110000):
        decomposition = unicodedata.decomposition(chr(code))
        if decomposition and not decomposition.startswith("<"):
            seconds.update(int(part, 16) for part in decomposition.split()[1:])
    seconds.update(range(0x1161, 0x1176), range(0x11A7, 0x11C3))
    for first, last in (*module.NFC_STABLE, (0x1F300, 0x1FAFF)):
        for code in range(first, last + 1):
            character = chr(code)
            assert unicodedata.normalize("NFC", character) == character and not unicodedata.combining(character) and code not in seconds


def test_empty_and_null_texts_are_dropped_with_a_reason() -> None:
    texts = pa.chunked_array([pa.array(["글", None, "", " \n\u200b", "\x00"], pa.large_string())])
    table = Repair()(pa.table({"text": texts}))
    assert table.column("drop_reason").to_pylist() == [None, EMPTY, EMPTY, EMPTY, EMPTY]
    assert table.column("text").to_pylist() == ["글", None, "", "", ""]
    assert table.column("text_bytes").to_pylist() == [3, 0, 0, 0, 0]


def test_clean_text_keeps_its_buffer() -> None:
    column = pa.chunked_array([pa.array(["깨끗한 글", "clean text"], pa.large_string())])
    repaired = Repair()(pa.table({"text": column})).column("text")
    assert repaired.chunk(0).buffers()[2].address == column.chunk(0).buffers()[2].address


def test_empty_table() -> None:
    assert len(Repair()(pa.table({"text": pa.chunked_array([], pa.large_string())}))) == 0


@pytest.mark.parametrize("text", ["\n" * 5_000_000 + "x", " " * 5_000_000 + "\nx", " \n" * 2_000_000 + "x", "\u200b" * 2_000_000 + "x"])
def test_hostile_runs(text: str) -> None:
    assert one(text) == "x"


def test_misread_korean_is_mended_and_other_rows_stay() -> None:
    korean = "봄 날씨를 다룬 기사의 본문입니다. 바람이 불고 하늘이 맑습니다."
    broken = [
        korean.encode("cp949").decode("latin-1"),
        korean.encode().decode("latin-1"),
        f"멀쩡한 글\n{korean.encode('cp949').decode('latin-1')}",
    ]
    texts = [broken[0], "Où êtes-vous ?", None, broken[1], broken[2], "…………………… ££££££££"]
    for chunks in ([texts], [texts[:3], texts[3:]]):
        column = pa.chunked_array([pa.array(chunk, pa.large_string()) for chunk in chunks])
        table = Repair()(pa.table({"text": column}))
        expected = [korean, texts[1], None, korean, f"멀쩡한 글\n{korean}", texts[5]]
        assert table.column("text").to_pylist() == expected
        assert Repair()(table.select(["text"])).column("text").to_pylist() == expected
