"""The scan equals a brute-force comparison of every document position with every pool position."""

from __future__ import annotations

import random
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decontam import MATCH_SCHEMA, DecontamError, MatchSettings, Scanner, build_index, normalize_text
from decontam import scan as scan_module
from decontam.settings import choose_strides

SMALL = MatchSettings(length=20, hangul_length=12, short_length=4)


def items_table(texts: list[str], field: str = "question") -> pa.Table:
    names = [f"i{number}" for number in range(len(texts))]
    return pa.table(
        {"benchmark": ["b"] * len(texts), "split": ["test"] * len(texts), "item": names, "field": [field] * len(texts), "text": texts}
    )


def is_hangul(character: str) -> bool:
    return "\uac00" <= character <= "\ud7ff" or "\u1100" <= character <= "\u11ff" or "\ua960" <= character <= "\ua97f"


def needed(text: str, rules: MatchSettings) -> int:
    return rules.hangul_length if 2 * sum(map(is_hangul, text)) >= len(text) else rules.length


def boundaries(text: str) -> set[int]:
    """Word boundaries as positions in the normalised text, one source character at a time (texts without combining characters)."""
    found, position, open_gap = {0}, 0, False
    for character in text:
        width = len(normalize_text(character))
        open_gap |= width == 0
        if width:
            if open_gap:
                found.add(position)
            position, open_gap = position + width, False
    return found | {position}


def brute_force(document: str, entry: str, rules: MatchSettings, edges: set[int] | None = None) -> list[tuple[int, int]]:
    """(start, length) of the matches of one document and one entry, in normalised characters, by comparing all pairs of positions."""
    a, b = normalize_text(document), normalize_text(entry)
    found = set()
    before = [0] * (len(b) + 1)
    for i in range(len(a) + 1):
        row = [0] * (len(b) + 1)
        for j in range(len(b) + 1):
            run = before[j]
            row_next = run + 1 if i < len(a) and j < len(b) and a[i] == b[j] else 0
            if row_next == 0 and run and run >= needed(a[i - run : i], rules):
                found.add((-run, i - run, j - run))
            if j < len(b):
                row[j + 1] = row_next
        before = row
    if rules.short_length <= len(b) < needed(b, rules):
        edges = boundaries(document) if edges is None else edges
        found |= {(-len(b), i, 0) for i in range(len(a)) if a.startswith(b, i) and {i, i + len(b)} <= edges}
    taken: list[tuple[int, int]] = []
    for negative, start, _ in sorted(found):
        if all(start - negative <= other or start >= other + size for other, size in taken):
            taken.append((start, -negative))
    return sorted(taken)


def scanned(documents: list[str], entries: list[str], rules: MatchSettings) -> dict[tuple[int, str], list[tuple[int, int]]]:
    matches = Scanner(build_index(items_table(entries), rules)).scan(pa.array(documents, pa.large_string()))
    found: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for match in matches.to_pylist():
        raw = documents[match["row"]].encode()
        start = len(normalize_text(raw[: match["start"]].decode()))
        assert len(normalize_text(raw[match["start"] : match["end"]].decode())) == match["length"]
        found.setdefault((match["row"], match["item"]), []).append((start, match["length"]))
    return {key: sorted(value) for key, value in found.items()}


def check(documents: list[str], entries: list[str], rules: MatchSettings = SMALL) -> int:
    expected = {}
    for row, document in enumerate(documents):
        for number, entry in enumerate(entries):
            if matches := brute_force(document, entry, rules):
                expected[row, f"i{number}"] = matches
    assert scanned(documents, entries, rules) == expected
    return len(expected)


def thue_morse(size: int) -> str:
    return "".join("ab"[bin(number).count("1") & 1] for number in range(size))


ALPHABETS = {
    "two letters": "ab",
    "English": "etaoin shrdlu, ",
    "Hangul": "가나다라 마바",
    "mixed scripts": "가나ab 1.",
    "emoji and full-width": "ＡａB👍🏽가 １ﬁ",
}


@pytest.mark.parametrize("name", ALPHABETS)
def test_random_text_with_planted_fragments(name: str) -> None:
    rng = random.Random(name)
    found = 0
    for _ in range(12):
        entries = ["".join(rng.choice(ALPHABETS[name]) for _ in range(rng.randint(3, 70))) for _ in range(4)]
        documents = []
        for _ in range(4):
            document = ""
            while len(document) < 150:
                entry = rng.choice(entries)
                cut = rng.randrange(len(entry))
                document += entry[cut : cut + rng.randint(5, 60)] + "".join(rng.choice(ALPHABETS[name]) for _ in range(rng.randint(0, 9)))
            documents.append(document)
        found += check(documents, entries)
    assert found > 10


def test_repetitive_text() -> None:
    rules = MatchSettings(length=20, hangul_length=12, short_length=4)
    assert check(
        [thue_morse(300), "a" * 200, "가" * 90, "ab" * 80], [thue_morse(120)[7:], "a" * 30, "가" * 40, "ba" * 20, "abb" * 12], rules
    )


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_text(data: st.DataObject) -> None:
    letters = st.text(st.sampled_from("ab가나 .Ａ👍"), max_size=45)
    entries = data.draw(st.lists(letters, min_size=1, max_size=3))
    parts = data.draw(st.lists(st.one_of(letters, st.sampled_from(entries)), max_size=4))
    check(["".join(parts), " ".join(parts)], entries, MatchSettings(length=10, hangul_length=8, short_length=3))


@pytest.mark.parametrize("lead", range(0, 9))
def test_default_lengths_at_every_alignment(lead: int) -> None:
    """A match of exactly 50 letters (24 syllables) is found and one of one less is not, wherever it lies in document and item."""
    rng = random.Random(lead)
    english = "".join(rng.choice("abcdefghij") for _ in range(140))
    korean = "".join(chr(rng.randrange(0xAC00, 0xD7A4)) for _ in range(90))
    rules = MatchSettings()
    for text, size in ((english, 50), (korean, 24)):
        for at in range(0, 20):
            prefix = "".join(rng.choice("klmnop") for _ in range(lead))
            exact, short = (f"{prefix}Z{text[at : at + n]}Z" for n in (size, size - 1))
            assert scanned([exact, short], [text], rules) == {(0, "i0"): [(lead + 1, size)]}


def test_hangul_share_decides_which_length_counts() -> None:
    half = "가나다라마바사아자차카타" + "abcdefghijkl"
    less = "가나다라마바사아자차카" + "abcdefghijklm"
    tail = "qrstuvwxyz" * 6
    assert scanned([half, less], [half + tail, less + tail], MatchSettings()) == {(0, "i0"): [(0, 24)]}
    assert scanned([half], [half + tail], MatchSettings.parity()) == {}


@pytest.mark.parametrize("lead", range(5))
def test_hangul_only_at_the_edges_of_a_match(lead: int) -> None:
    """Seeds inside such a match may hold no Hangul at all, and are indexed and probed all the same."""
    rng = random.Random(lead)
    for left in (0, 1, 6, 12, 13):
        core = "".join(map(chr, rng.sample(range(0xAC00, 0xD7A4), 13)))
        match = core[:left] + "abcdefghijklm"[:12] + core[left:]
        entry = "klmnop"[:lead] + "X" + match + "Y" + "qrstuvwxyz" * 4
        documents = ["z" * before + "V" + match + "W" for before in range(16)]
        found = scanned(documents, [entry], MatchSettings())
        assert found == {(row, "i0"): [(row + 1, len(match))] for row in range(16)}


def test_spellings_do_not_hide_a_copy() -> None:
    rng = random.Random(3)
    text = "".join(chr(rng.randrange(0xAC00, 0xD7A4)) + rng.choice(["", " "]) for _ in range(40))
    english = "Janet’s ducks lay 16 eggs per day; she eats three for breakfast every morning, and bakes muffins."
    spellings = [unicodedata.normalize("NFD", text), "\n".join(text), f"**{text}** 👍", text.replace(" ", "")]
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in english)
    documents = [f"앞말 {s} 뒷말" for s in spellings] + [english.upper(), wide, "\n> ".join(english.split())]
    matches = Scanner(build_index(items_table([text, english]))).scan(pa.array(documents))
    assert matches["coverage"].to_pylist() == [1.0] * len(documents)
    assert matches["row"].to_pylist() == list(range(len(documents)))
    for match, kind in zip(matches.to_pylist(), [text] * 4 + [english] * 3, strict=True):
        found = documents[match["row"]].encode()[match["start"] : match["end"]].decode()
        assert normalize_text(found) == normalize_text(kind)


def test_short_items_need_word_boundaries() -> None:
    documents = ["말: 수도는 어디인가? 끝", "그수도는 어디인가", "수도는 어디인가요", "수도는어디인가"]
    matches = Scanner(build_index(items_table(["수도는 어디인가"]), MatchSettings(short_length=4))).scan(pa.array(documents))
    assert matches["row"].to_pylist() == [0, 3]
    assert matches["length"].to_pylist() == [7, 7] and matches["required"].to_pylist() == [24, 24]


def test_batching_and_slicing_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(5)
    entries = ["".join(rng.choice("ab cd") for _ in range(60)) for _ in range(5)]
    documents = ["".join(rng.choice(entries)[: rng.randint(10, 60)] for _ in range(3)) for _ in range(30)]
    scanner = Scanner(build_index(items_table(entries), SMALL))
    whole = scanner.scan(pa.array(documents))
    assert len(whole) > 20
    monkeypatch.setattr(scan_module, "CHUNK_BYTES", 1)
    assert scanner.scan(pa.array(documents)).equals(whole)
    assert scanner.scan(pa.chunked_array([documents[:7], documents[7:]])).equals(whole)
    sliced = pa.array([*documents, "x"], pa.large_string()).slice(3)
    rows = [row - 3 for row in whole["row"].to_pylist() if row >= 3]
    assert scanner.scan(sliced)["row"].to_pylist() == rows


def test_frequency_counts_items_and_a_capped_seed_is_not_found() -> None:
    template = "which of the following statements about the topic is correct"
    entries = [f"{template} {number * 7919:05d}" for number in range(12)]
    scanner = Scanner(build_index(items_table(entries), SMALL))
    matches = scanner.scan(pa.array([template, entries[3]]))
    assert [f for r, f in zip(matches["row"].to_pylist(), matches["frequency"].to_pylist(), strict=True) if r == 0] == [12] * 12
    assert len(matches) == 24
    capped = Scanner(build_index(items_table(entries), MatchSettings(20, 12, 4, max_seed_items=11)))
    assert len(capped.scan(pa.array([template]))) == 0


def test_coverage_of_the_question_alone() -> None:
    question = "What is the degree of the given field extension over the rationals here?"
    text = question + "\n" + "A long list of other choices that nobody copied into the document " * 3
    table = items_table([text]).append_column("question_chars", pa.array([len(question)], pa.int32()))
    assert Scanner(build_index(table)).scan(pa.array([f"Quiz: {question}"]))["coverage"].to_pylist() == [1.0]
    assert Scanner(build_index(items_table([text]))).scan(pa.array([f"Quiz: {question}"]))["coverage"].to_pylist()[0] < 0.4


def test_repetitive_hostile_document_stays_bounded() -> None:
    entries = ["a" * 400, "ab" * 300, "ㅋ" * 200]
    scanner = Scanner(build_index(items_table(entries)))
    matches = scanner.scan(pa.array(["a" * 100_000, "ab" * 50_000, "ㅋ" * 30_000]))
    assert matches.group_by("row").aggregate([("length", "max")]).sort_by("row")["length_max"].to_pylist() == [400, 600, 200]


def test_empty_documents_and_empty_results() -> None:
    scanner = Scanner(build_index(items_table(["x" * 60])))
    for column in (pa.array([], pa.string()), pa.array([None, "", "!!"], pa.string()), pa.array(["nothing here"])):
        assert scanner.scan(column).equals(MATCH_SCHEMA.empty_table())
    assert scanner.scan(pa.array([None, "x" * 60]))["row"].to_pylist() == [1]
    with pytest.raises(DecontamError, match="built with"):
        Scanner(scanner.index, MatchSettings.parity())


@pytest.mark.parametrize(
    "values", [{"length": 7, "hangul_length": 7}, {"hangul_length": 51}, {"short_length": 1}, {"max_seed_items": 0}, {"length": 10**9}]
)
def test_settings_that_contradict_each_other(values: dict[str, int]) -> None:
    with pytest.raises(DecontamError, match="use"):
        MatchSettings(**values)


@given(st.integers(8, 400))
def test_strides_miss_nothing(length: int) -> None:
    """Every offset of a document against a pool entry leaves an aligned seed within `length` characters."""
    strides = choose_strides(length)
    assert strides.width % strides.document == 0 and strides.width <= length
    for shift in range(strides.pool):
        assert any(at % strides.document == 0 and (at + shift) % strides.pool == 0 for at in range(0, length - strides.width + 1)) and all(
            any((at + lead) % strides.document == 0 and (at + lead + shift) % strides.pool == 0 for at in range(length - strides.width + 1))
            for lead in range(strides.document)
        )
