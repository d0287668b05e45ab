"""Misread Korean is brought back, whole texts and single lines, once and twice misread; what other languages write stays."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.charsets import decode_bytes
from pipeline.ingest.mojibake import mended
from tests.pipeline.ingest.charset_cases import CONTENTS, PROSE


def misread(raw: bytes, wrong: str) -> str:
    """The bytes as Latin-1, or as browsers read Windows-1252 (five unassigned bytes become controls)."""
    text = raw.decode("latin-1")
    return text if wrong == "latin-1" else "".join(_windows(byte) for byte in raw)


def _windows(byte: int) -> str:
    return bytes([byte]).decode("cp1252", "ignore") or chr(byte)


@pytest.mark.parametrize("wrong", ["latin-1", "cp1252"])
@pytest.mark.parametrize("encoding", ["cp949", "utf-8"])
@pytest.mark.parametrize("content", sorted(set(CONTENTS) - {"English", "little Korean"}))
def test_whole_texts(content: str, encoding: str, wrong: str) -> None:
    text = f"{CONTENTS[content]}\n한\n\n- ■ ―\n{CONTENTS[content]}"
    broken = misread(text.encode(encoding), wrong)
    found = mended(broken)
    assert found is not None and (found.text, found.charset) == (text, encoding)
    twice = mended(misread(broken.encode("utf-8"), wrong))
    assert twice is not None and twice.text == text
    assert mended(found.text) is None
    decoded = decode_bytes(broken.encode("utf-8"))
    assert decoded is not None and decoded.text == text and decoded.charset == f"utf-8/{encoding}"


@pytest.mark.parametrize("encoding", ["cp949", "utf-8"])
def test_one_paragraph_and_one_stretch_of_a_line(encoding: str) -> None:
    broken = PROSE.encode(encoding).decode("latin-1")
    text = f"멀쩡한 문단입니다. “인용”과 café.\n{broken}\nA plain line with naïve café.\n→ 한글 {broken} ← 끝"
    found = mended(text)
    assert found is not None and found.text == text.replace(broken, PROSE)


def test_little_is_not_enough() -> None:
    assert mended("한국".encode("cp949").decode("latin-1")) is None
    assert mended("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ") is None


@pytest.mark.parametrize(
    "text",
    [
        *("Le café est fermé à midi, où êtes-vous ?", "Größe Übermaß Straße", "ÀÉÈÙ ÇÀÉÈ", "£££££ and ©©©©", "—————" * 9, "“”“”…’" * 9),
        *(
            "»»»»»»»» «««««««« °°°°°°°°",
            "Þórður og Ægir óku í Öskjuhlíð",
            "½¾¼½¾¼½¾¼½¾¼",
            "ÇÃO ÇÕES ÇÃO ÇÕES ÇÃO ÇÕES ÇÃO ÇÕES",
            "\xa0" * 40,
        ),
        *("¦¦º¹ ¹¦º¹ ¦º¦º" * 9, "ЂЃ‚ѓ„…", "¡¿¡¿¡¿¡¿ ¡¿¡¿¡¿¡¿", ""),
    ],
)
def test_signs_and_accents_stay(text: str) -> None:
    assert mended(text) is None
    assert (found := decode_bytes(text.encode())) is not None and found.text == text


@settings(max_examples=300, deadline=None)
@given(st.text("abcdeéèêàùçñöüßÀÉÇÃÕÔøåæþðœžš ’«»…—\n", max_size=80))
def test_accented_letters_in_any_order_stay(text: str) -> None:
    assert mended(text) is None


def test_real_text_of_113_languages_stays(shared_data: Path) -> None:
    texts = defaultdict(list)
    with gzip.open(shared_data / "labelled/lid/tatoeba_laser_112lang.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            texts[row["lang"]].append(row["text"])
    assert len(texts) > 100
    for language, sentences in texts.items():
        assert mended("\n".join(sentences)) is None and mended(" ".join(sentences)) is None, language


@pytest.mark.parametrize("text", ["é" * 2_000_000, "éé\n" * 300_000, "¾È³ç" * 300_000, "Ã©" * 500_000, "ì•ˆ\n" * 200_000])
def test_hostile_texts_end(text: str) -> None:
    found = mended(text)
    assert found is None or len(found.text) <= len(text)
