"""The fast way to normal lines gives exactly the lines of the plain one."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.classify.lines import Letters, normal_lines
from pipeline.classify.normal import normal_texts
from pipeline.classify.normal_kernel import CHARACTERS

PIECES = [
    "__LABEL__",
    "</s>",
    "＜/s＞",
    "__label",
    "__",
    "<",
    "/s>",
    "\u200b",
    "\u00a8",
    "İ",
    "ﷺ",
    "①",
    "한",
    "ᄒ",
    "ᅡ",
    "ᆫ",
    "e",
    "\u0301",
    " ",
    "😀",
]
TEXTS = st.lists(st.none() | st.text(max_size=30) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join), max_size=6)


@pytest.mark.parametrize("letters", ["syllables", "jamo"])
@settings(deadline=None, max_examples=200)
@given(texts=TEXTS, max_chars=st.integers(1, 30))
def test_lines_are_those_of_normal_lines(letters: Letters, texts: list[str | None], max_chars: int) -> None:
    table = pa.chunked_array([pa.array(texts, pa.large_string()), pa.array(texts[:2], pa.large_string())])
    found = normal_texts(table, max_chars, letters)
    assert found.type == pa.large_string() and found.null_count == 0
    assert found.to_pylist() == normal_lines(table, max_chars, letters)
    sliced = pa.array(["x", *texts], pa.large_string()).slice(1)
    assert normal_texts(sliced, max_chars, letters).to_pylist() == normal_lines(sliced, max_chars, letters)


@pytest.mark.parametrize("letters", ["syllables", "jamo"])
def test_every_character_after_and_before_a_letter(letters: Letters) -> None:
    characters = [chr(code) for code in range(CHARACTERS + 16) if not 0xD800 <= code < 0xE000]
    for framed in ([f"가{character}A" for character in characters], [f"{character}{character}" for character in characters]):
        texts = pa.array(framed, pa.large_string())
        assert normal_texts(texts, 10, letters).to_pylist() == normal_lines(texts, 10, letters)
