"""The normalising kernel equals its definition on all of Unicode, and its spans and word boundaries lead back to the text."""

from __future__ import annotations

import random
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decontam import DecontamError, normalize_batch, normalize_text
from decontam.normalize import Workspace, normalize_buffers
from decontam.unicode_table import EXPAND, LONG, MAP, SLOW, TABLE_SIZE, TAIL, fold, nfkc, unicode_table

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


def characters(raw: bytes) -> list[tuple[int, int, int]]:
    """(code point, start, end) of each character; where UTF-8 is broken, a lead byte takes the bytes it wants if there are so many."""
    found, position = [], 0
    while position < len(raw):
        lead = raw[position]
        width = 4 if lead >= 0xF0 else 3 if lead >= 0xE0 else 2 if lead >= 0xC0 else 1
        if width > len(raw) - position or 0x80 <= lead < 0xC0:
            width, lead = 1, 0
        code = lead & (0x7F, 0x1F, 0x0F, 0x07)[width - 1]
        for byte in raw[position + 1 : position + width]:
            code = code << 6 | byte & 0x3F
        found.append((code, position, position + width))
        position += width
    return found


@dataclass
class Seen:
    """An output character of the twin."""

    text: str
    start: int
    end: int
    gap: bool


def twin(raw: bytes) -> list[Seen]:
    """One document, a character at a time: each stands alone, joins the syllable before, or is read together with what it changes."""
    table = unicode_table()
    entries = [(int(table.codes[code]) if code < TABLE_SIZE else 0, start, end) for code, start, end in characters(raw)]
    seen: list[Seen] = []
    gap = True
    piece, kept, joinable = 0, 0, ""  # where the last character begins that others may attach to, what stood before it, what it became
    at = 0
    while at < len(entries):
        entry, start, end = entries[at]
        kind, value = entry >> 24, entry & 0xFFFFFF
        at += 1
        if kind == MAP:
            piece, kept, joinable = start, len(seen), chr(value) if value else ""
            seen += [Seen(chr(value), start, end, gap)] if value else []
            gap = not value
        elif kind == EXPAND:
            piece, kept, joinable = start, len(seen), "expanded"
            for code in table.expansion[table.expansion_offsets[value] : table.expansion_offsets[value + 1]]:
                seen.append(Seen(chr(code), start, end, gap))
                gap = False
        elif kind == TAIL and joinable and len(unicodedata.normalize("NFC", joinable + chr(value))) == 1:
            joinable = seen[-1].text = unicodedata.normalize("NFC", joinable + chr(value))
            seen[-1].end = end
        elif kind == TAIL and joinable != "expanded":
            piece, kept, joinable = start, len(seen), chr(value)
            seen.append(Seen(joinable, start, end, gap))
            gap = False
        else:
            if kind == LONG:
                piece, kept = start, len(seen)
            while at < len(entries) and entries[at][0] >> 24 in (SLOW, TAIL):
                end = entries[at][2]
                at += 1
            gap = seen[kept].gap if kept < len(seen) else gap
            text = fold(raw[piece:end].decode("utf-8", "ignore"))
            seen[kept:] = [Seen(c, piece, end, gap and not index) for index, c in enumerate(text)]
            gap = not text
            piece, kept, joinable = end, len(seen), ""
    return seen


def check(raw: bytes, offsets: list[int]) -> None:
    """All choices of output against the twin."""
    data, bounds, workspace = np.frombuffer(raw, np.uint8), np.array(offsets, np.int64), Workspace()
    expected = [twin(raw[a:b]) for a, b in pairwise(offsets)]
    rows = [row for document in expected for row in document]
    for with_spans, with_breaks in ((False, False), (True, False), (False, True), (True, True)):
        result = normalize_buffers(data, bounds, with_spans, with_breaks, workspace if with_breaks else None)
        assert np.diff(result.offsets).tolist() == [len(document) for document in expected]
        assert "".join(map(chr, result.codepoints.tolist())) == "".join(row.text for row in rows)
        if with_spans:
            assert result.starts is not None and result.starts.tolist() == [row.start for row in rows]
            assert result.ends is not None and result.ends.tolist() == [row.end for row in rows]
        if with_breaks:
            assert result.breaks is not None and result.breaks.tolist() == [row.gap for row in rows]


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


EASY = list("가나 힣, ab.Z9\n") + list("é漢「ㆍ—·Ж")
mixed = st.lists(
    st.one_of(st.sampled_from(EASY), st.sampled_from(TRICKY), st.sampled_from(["𠀀", "𝐀", "가나다라 마바사", "plain words "])), max_size=30
)


@given(st.lists(mixed.map("".join), min_size=1, max_size=6), st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_spans_and_breaks_equal_the_twin(texts: list[str], skipped: int) -> None:
    raws = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, raws)]).tolist()
    check(b"".join(raws), offsets[min(skipped, len(raws)) :])


@given(st.sampled_from(["가", "a", "é", "👍", "漢 "]), st.integers(2030, 2060), mixed.map("".join), st.booleans())
@settings(max_examples=60, deadline=None)
def test_chunk_borders_change_nothing(filler: str, size: int, text: str, own_document: bool) -> None:
    """Whatever crosses the 2,048th byte of a document, or of a run of documents."""
    before = (filler * size).encode()[:size].decode("utf-8", "ignore").encode()
    raw = before + text.encode()
    check(raw, [0, len(before), len(raw)] if own_document else [0, len(raw)])


@pytest.mark.parametrize("unit", ["각e\u0301 ", "한국어", "e\u0323\u0301", "ㅠㅠ 가"])
def test_long_stretches_that_combine(unit: str) -> None:
    raw = ("가나다 " * 300 + unicodedata.normalize("NFD", unit * 1500) + "가나다 abc" * 2000).encode()
    check(raw, [0, len(raw) // 3 // 3 * 3, len(raw)] if unit == "한국어" else [0, len(raw)])


BROKEN = [
    b"\x80",
    b"\xbf",
    b"\xc3",
    b"\xe1",
    b"\xe1\x84",
    b"\xea\xb0",
    b"\xed\xa0\x80",
    b"\xf0\x9f",
    b"\xff",
    b"\xc1\x81",
    b"\xe0\x80\x80",
    b"\xf8\x80\x80\x80",
]
pieces_of_bytes = st.lists(st.one_of(st.sampled_from(BROKEN), st.sampled_from([c.encode() for c in EASY])), max_size=25)


@given(pieces_of_bytes.map(b"".join), st.sampled_from([0, 1, 2, 3, 2040, 2045, 2046, 2047]), st.lists(st.integers(0, 80), max_size=4))
@settings(max_examples=400, deadline=None)
def test_broken_utf8_equals_the_twin_wherever_it_is_cut(raw: bytes, before: int, cuts: list[int]) -> None:
    whole = b"x" * before + raw
    offsets = sorted({0, len(whole), *(min(before + cut, len(whole)) for cut in cuts)})
    check(whole, offsets if len(offsets) > 1 else [0, 0])


def test_a_workspace_is_used_again() -> None:
    workspace = Workspace()
    raw = np.frombuffer("가나다 abc".encode(), np.uint8)
    first = normalize_buffers(raw, np.array([0, len(raw)]), True, True, workspace)
    second = normalize_buffers(raw, np.array([0, 3]), True, True, workspace)
    for name in ("codepoints", "starts", "ends", "breaks"):
        assert np.shares_memory(getattr(first, name), getattr(second, name))
    assert second.codepoints.tolist() == [ord("가")]


def test_text_that_grows_is_given_more_room() -> None:
    check(("\ufdfa" * 40 + "a").encode(), [0, 120, 121])
    assert output(["\ufdfa" * 40], with_breaks=True) == [definition("\ufdfa") * 40]


@pytest.mark.parametrize(
    "text",
    ["", "a", "é", "가", "ab", "\u0301", "a\u0301", "👍", "ㅏ", "가\u11a8", " 가", "a \u0301e\u0301", "\u0301\ufdfa", "e\u0301\u1161"],
)
def test_the_shortest_documents(text: str) -> None:
    raw = text.encode()
    check(raw, [0, len(raw)])
    check(raw * 3, [0, len(raw), 2 * len(raw), 3 * len(raw)])
