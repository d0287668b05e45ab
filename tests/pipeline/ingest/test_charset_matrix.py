"""The generated matrix of encodings, labels and places; damage; and what short, foreign and repeated misreadings come to."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from pipeline.ingest.charsets import codec_of, decode_bytes, meta_label
from tests.pipeline.ingest.charset_cases import (
    CONTENTS,
    ENCODINGS,
    FOREIGN_LABELS,
    KOREAN_LABELS,
    OTHER_LABELS,
    PROSE,
    Case,
    cases,
    extension_syllables,
    page,
)


def outcome(case: Case) -> str:
    found = decode_bytes(case.raw, case.header, case.is_html, case.from_korea)
    return "refused" if found is None else "right" if found.text == case.text else "wrong"


def test_no_loss_in_the_matrix() -> None:
    """Every third case (a number that no dimension is a multiple of): right where the bytes say it, never wrong anywhere."""
    failed = []
    counts: Counter[tuple[bool, str]] = Counter()
    for number, case in enumerate(cases()):
        if number % 3 == 0:
            result = outcome(case)
            counts[case.decidable, result] += 1
            if result == "wrong" or (case.decidable and result == "refused"):
                failed.append((result, case.content, case.encoding, case.label, case.place, case.is_html, case.from_korea))
    assert not failed
    assert counts[True, "right"] > 7000 and counts[False, "right"] > 50


def test_the_matrix_is_whole() -> None:
    seen = {(case.content, case.encoding, case.label, case.place) for case in cases()}
    for encoding in ENCODINGS:
        for place in ("http", "meta", "http-equiv", "xml"):
            for label in (*KOREAN_LABELS, *OTHER_LABELS, *FOREIGN_LABELS):
                assert ("prose", encoding, label, place) in seen
    assert len(extension_syllables()) == 8822


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("declared", [None, "euc-kr", "utf-8", "iso-8859-1"])
def test_a_page_cut_inside_its_last_character(encoding: str, declared: str | None) -> None:
    raw = (PROSE * 3 + "끝").encode(encoding)
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    found = decode_bytes(mark + raw[: -2 if encoding == "iso2022_kr" else -1], declared, False)
    assert found is not None and found.text.rstrip("\ufffd\x80") == PROSE * 3


@pytest.mark.parametrize("encoding", ["utf-8", "cp949", "johab", "iso2022_kr"])
@pytest.mark.parametrize("declared", [None, "euc-kr", "johab", "utf-8", "iso-8859-1"])
def test_one_stray_byte_costs_one_character(encoding: str, declared: str | None) -> None:
    text = "봄 날씨를 다룬 기사의 본문입니다. 바람이 불고 하늘이 맑아서 사람이 많이 나왔습니다.\n"
    line = text.encode(encoding)
    found = decode_bytes(line * 20 + b"\xff\n" + line * 20, declared, False)
    assert found is not None and found.text.count("\ufffd") == 1 and 0 < found.replacement_ratio < 0.001
    assert found.text.replace("\ufffd\n", "") == (line * 40).decode(encoding)


@pytest.mark.parametrize("encoding", ["cp949", "johab"])
@pytest.mark.parametrize("share", [0.0005, 0.02])
def test_the_budget_of_broken_characters(encoding: str, share: float) -> None:
    text = (PROSE + "\n") * 200
    rng = random.Random(3)
    raw = b"".join(
        line + (b"\xff " if rng.random() < share * (len(PROSE) + 1) else b"") + b"\n" for line in text.encode(encoding).split(b"\n")
    )
    found = decode_bytes(raw, "euc-kr", False)
    if share > 0.001:
        assert found is None
    else:
        assert found is not None and 0 < found.replacement_ratio <= 0.001


def test_valid_utf8_full_of_replacement_characters_is_refused() -> None:
    assert decode_bytes(("\ufffd\ufffd 글 " * 50).encode(), "euc-kr") is None
    assert decode_bytes(("글" * 2000 + "\ufffd").encode(), "euc-kr").source == "utf-8"  # type: ignore[union-attr]


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [PROSE, page(PROSE), "The cat sat on the mat.", page("한국")])
@pytest.mark.parametrize("declared", [None, "utf-16", "utf-8", "euc-kr"])
def test_wide_encodings_without_a_mark(codec: str, text: str, declared: str | None) -> None:
    found = decode_bytes(text.encode(codec), declared)
    assert found is not None and found.text == text and found.charset == codec
    marked = ("\ufeff" + text).encode(codec)
    assert (bom := decode_bytes(marked, declared)) is not None and bom.text == text and bom.source == "bom"


def test_utf16_without_mark_spaces_and_markup() -> None:
    for codec in ("utf-16-le", "utf-16-be"):
        assert (found := decode_bytes("안녕하세요여러분반갑습니다".encode(codec))) is not None and found.charset == codec


def test_a_utf8_mark_in_front_of_another_encoding() -> None:
    found = decode_bytes(b"\xef\xbb\xbf" + page(PROSE).encode("cp949"), "euc-kr")
    assert found is not None and found.text == page(PROSE) and found.charset == "cp949"


def test_a_lost_announcement_of_iso_2022_kr() -> None:
    raw = PROSE.encode("iso2022_kr").removeprefix(b"\x1b$)C")
    found = decode_bytes(raw, "iso-2022-kr", False)
    assert found is not None and found.text.lstrip("\n") == PROSE


@pytest.mark.parametrize("text", ["It’s a well–known “quote”…", "Müller’s café"])
def test_windows_punctuation_behind_a_korean_label_is_no_hangul(text: str) -> None:
    found = decode_bytes((text + " plain words follow. " * 9).encode("cp1252"), "euc-kr")
    assert found is None or found.text.startswith(text)


def test_labels_as_pages_write_them() -> None:
    assert {codec_of(label) for label in KOREAN_LABELS} == {"cp949"}
    assert codec_of("charset=EUC-KR") == codec_of("euc-kr, text/html") == "cp949"
    assert codec_of("x-mac-cyrillic") == "mac-cyrillic" and codec_of("x" * 10_000) is None
    assert meta_label(b"<meta " + b"x" * 100_000) is None and meta_label(b"<?xml version='1.0' encoding='euc-kr'?>") == "euc-kr"


def test_the_source_says_who_named_the_encoding() -> None:
    raw = page(PROSE, "euc-kr", "meta").encode("cp949")
    assert decode_bytes(raw, "uhc").source == "http"  # type: ignore[union-attr]
    assert decode_bytes(raw, "iso-8859-1").source == "meta"  # type: ignore[union-attr]
    assert decode_bytes(page(PROSE).encode("cp949"), "big5").source == "detector"  # type: ignore[union-attr]


def test_declared_foreign_pages_are_not_taken_for_korean() -> None:
    samples = {
        "cp932": "これは日本語の文章です。天気がよいので、散歩に出かけました。",
        "euc_jp": "これは日本語の文章です。天気がよいので、散歩に出かけました。",
        "gbk": "今天天气很好，我们一起去公园散步，看到了很多花。",
        "big5": "今天天氣很好，我們一起去公園散步，看到了很多花。",
        "cp1251": "Сегодня хорошая погода, и мы пошли гулять в парк.",
        "koi8-r": "Сегодня хорошая погода, и мы пошли гулять в парк.",
        "iso8859-7": "Σήμερα ο καιρός είναι καλός και πήγαμε βόλτα στο πάρκο.",
        "cp1252": "Où êtes-vous allés hier soir après le dîner, près du château ?",
    }
    for codec, text in samples.items():
        for declared in (codec, None):
            found = decode_bytes(text.encode(codec), declared)
            assert found is not None and found.text == text, (codec, declared)


def test_short_real_sentences_are_right_or_refused(shared_data: Path) -> None:
    """Undeclared sentences of other languages never come out as Korean, and Korean ones of ten syllables are right."""
    codecs = {
        "jpn": ("cp932", "euc_jp"),
        "cmn": ("gbk", "big5"),
        "rus": ("cp1251", "koi8-r"),
        "fra": ("cp1252",),
        "deu": ("cp1252",),
        "kor": ("cp949",),
    }
    seen: Counter[str] = Counter()
    with gzip.open(shared_data / "labelled/lid/tatoeba_laser_112lang.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            for codec in codecs.get(row["lang"], ()) if seen[row["lang"]] < 500 else ():
                raw = row["text"].encode(codec, "ignore")
                found = decode_bytes(raw, None, False)
                seen[row["lang"]] += 1
                if row["lang"] != "kor":
                    assert found is None or raw.isascii() or found.charset not in ("cp949", "johab"), row["text"]
                else:
                    assert found is None or found.text == raw.decode(codec)
                    seen["right"] += found is not None
    assert seen["right"] > 0.97 * seen["kor"] > 400


@pytest.mark.parametrize("content", sorted(CONTENTS))
def test_long_pages_with_little_korean_at_the_end(content: str) -> None:
    text = page("plain words " * 20_000 + "© 2020 " + "more plain words " * 20_000 + CONTENTS[content])
    for codec in ("cp949", "johab"):
        raw = text.encode(codec, "ignore")
        found = decode_bytes(raw)
        assert found is not None and found.text == raw.decode(codec)


@pytest.mark.parametrize(
    "raw", [b"\xff" * 300_000, b"\x81" * 300_001, b"\xe9\n" * 200_000, bytes(range(256)) * 2000, b"\x1b$)C" * 50_000, b"\0" * 9999]
)
@pytest.mark.parametrize("declared", [None, "euc-kr", "iso-8859-1", "utf-16", "johab"])
def test_hostile_bytes_end(raw: bytes, declared: str | None) -> None:
    found = decode_bytes(raw, declared)
    assert found is None or found.replacement_ratio <= 0.001 or found.text.count("\ufffd") == 1
