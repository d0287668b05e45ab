"""The normalising kernel equals its definition on all of Unicode, and its spans and word boundaries lead back to the text."""

from __future__ import annotations

import random
import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decontam import DecontamError, normalize_batch, normalize_text
from decontam.normalize import normalize_buffers
from decontam.unicode_table import TABLE_SIZE, nfkc, unicode_table

TRICKY = list("aZ 9é각가ᄀᆨᅡㄱㅏㅣㄳㅠㅋ㈀㉼㉠ﬁßςΣİı①Ⅲ㎏㍿Ａａｶﾞガがかﾞｶﾟǰΐ👍🏽") + [
    chr(c) for c in (0x200D, 0xFE0F, 0x301, 0x323, 0x307, 0x345, 0x3099, 0xFDFA)
]
hostile = st.lists(st.one_of(st.sampled_from(TRICKY), st.characters(exclude_categories=["Cs"])), max_size=40).map("".join)


def definition(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LN")


def output(texts: list[str], **flags: bool) -> list[str]:
    result = normalize_batch(pa.array(texts, pa.large_string()), **flags)
    whole = [chr(code) for code in result.codepoints.tolist()]
    return ["".join(whole[a:b]) for a, b in zip(result.offsets[:-1], result.offsets[1:], strict=True)]


def test_every_code_point_alone_and_in_one_long_document() -> None:
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    assert output(every) == [definition(c) for c in every]
    assert output(["".join(every)]) == [definition("".join(every))]


def test_nothing_above_the_table_matters() -> None:
    for code in range(TABLE_SIZE, 0x110000):
        assert unicodedata.category(chr(code))[0] not in "LN" and not unicodedata.combining(chr(code))


@given(st.lists(hostile, max_size=6))
@settings(max_examples=300, deadline=None)
def test_kernel_equals_definition(texts: list[str]) -> None:
    expected = [definition(text) for text in texts]
    for flags in ({}, {"with_spans": True, "with_breaks": True}):
        assert output(texts, **flags) == expected
    assert [normalize_text(text) for text in texts] == expected


def test_every_special_code_point_between_others() -> None:
    special = [chr(code) for code in np.flatnonzero(unicode_table().codes >> 24)]
    rng = random.Random(7)
    texts = ["".join(rng.choice(special if rng.random() < 0.5 else TRICKY) for _ in range(rng.randint(2, 9))) for _ in range(15_000)]
    assert output(texts) == [definition(text) for text in texts]


@given(hostile)
@settings(max_examples=300, deadline=None)
def test_spans_cover_whole_characters_in_order_and_renormalise_to_the_output(text: str) -> None:
    raw = text.encode()
    result = normalize_batch(pa.array([text]), with_spans=True)
    assert result.starts is not None and result.ends is not None
    spans = list(zip(result.starts.tolist(), result.ends.tolist(), strict=True))
    assert all(start < end <= len(raw) for start, end in spans)
    assert all(a == b or a[1] <= b[0] for a, b in pairwise(spans))
    pieces = [raw[start:end].decode() for start, end in dict.fromkeys(spans)]
    # a space between the pieces: what stood between them in the text was dropped, and kept them from composing
    assert definition(" ".join(pieces)) == "".join(chr(code) for code in result.codepoints)
    for start, end in set(spans):
        assert len(definition(raw[start:end].decode())) == spans.count((start, end))


def test_spans_point_at_the_characters_that_were_read() -> None:
    text = "Ａ½ " + unicodedata.normalize("NFD", "각é") + "ㅋㅠ!ﷺ"
    result = normalize_batch(pa.array([text]), with_spans=True)
    assert result.starts is not None and result.ends is not None
    seen = [text.encode()[a:b].decode() for a, b in zip(result.starts, result.ends, strict=True)]
    nfd = unicodedata.normalize("NFD", "각")
    assert seen[:6] == ["Ａ", "½", "½", nfd, unicodedata.normalize("NFD", "é"), "ㅋㅠ"] and set(seen[6:]) == {"ﷺ"}


def test_breaks_mark_what_was_left_out() -> None:
    result = normalize_batch(pa.array(["ab c, d가\u0301 나", "x", " y", "e\u0301f", "a \u0301b"]), with_breaks=True)
    assert result.breaks is not None
    got = [result.breaks[a:b].tolist() for a, b in zip(result.offsets[:-1], result.offsets[1:], strict=True)]
    assert got == [[1, 0, 1, 1, 0, 1], [1], [1], [1, 0], [1, 1]]


def test_spellings_of_one_text_become_one() -> None:
    assert output(["대한 민국", unicodedata.normalize("NFD", "대한민국"), "대.한\n민-국"]) == ["대한민국"] * 3
    assert output(["ＳＴＲＡＳＳＥ １", "straße1", "Straße ①"]) == ["strasse1"] * 3


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_arrow_forms(kind: pa.DataType) -> None:
    array = pa.array(["가나", None, "b c", ""], pa.string()).cast(kind)
    for form in (array, pa.chunked_array([array.slice(0, 1), array.slice(1)])):
        result = normalize_batch(form)
        assert result.offsets.tolist() == [0, 2, 2, 4, 4]
    assert normalize_batch(array.slice(2, 2)).offsets.tolist() == [0, 2, 2]
    assert normalize_batch(array.slice(0, 0)).offsets.tolist() == [0]


def test_hidden_bytes_under_a_null_are_not_text() -> None:
    valid = pa.array(["abc", "def"], pa.large_string())
    masked = pa.Array.from_buffers(pa.large_string(), 2, [pa.py_buffer(b"\x02"), *valid.buffers()[1:]])
    assert normalize_batch(masked).offsets.tolist() == [0, 0, 3]


def test_empty_inputs_and_wrong_types() -> None:
    assert len(normalize_batch(pa.chunked_array([], pa.string())).codepoints) == 0
    assert normalize_batch(pa.nulls(3)).offsets.tolist() == [0, 0, 0, 0]
    with pytest.raises(DecontamError, match="column of strings"):
        normalize_batch(pa.array([1, 2]))


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_broken_utf8_does_not_break_the_kernel(raw: bytes) -> None:
    data = np.frombuffer(raw, np.uint8)
    result = normalize_buffers(data, np.array([0, len(raw) // 2, len(raw)], np.int64), True, True)
    assert 0 <= result.offsets[1] <= result.offsets[2] == len(result.codepoints) <= 18 * len(raw)
    assert result.starts is not None and bool((result.starts <= len(raw)).all())


def test_a_stack_of_a_million_marks_is_linear() -> None:
    """Reordering 600,000 marks by insertion, as CPython does, would take hours."""
    stack = "e" + "\u0301\u0323" * 300_000
    small = "e" + "\u0301\u0323" * 100
    assert nfkc(small) == unicodedata.normalize("NFKC", small)
    assert output([stack]) == ["\u1eb9"]
