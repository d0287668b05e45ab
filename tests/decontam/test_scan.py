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
from decontam.seeds import PLACES_PER_ITEM
from decontam.settings import Family, choose_strides

SMALL = MatchSettings(length=20, hangul_length=12, short_length=5, hangul_short_length=3)


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
    shortest = rules.hangul_short_length if 2 * sum(map(is_hangul, b)) >= len(b) else rules.short_length
    if shortest <= len(b) < needed(b, rules):
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
    documents = [thue_morse(300), "a" * 200, "가" * 90, "ab" * 80]
    entries = [thue_morse(120)[7:], "a" * 30, "가" * 40, "ba" * 20, "abb" * 12]
    assert check(documents, entries)
    assert check(documents, entries, MatchSettings(pool_stride=3))
    assert check(documents, entries, MatchSettings.parity())


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_text(data: st.DataObject) -> None:
    letters = st.text(st.sampled_from("ab가나 .Ａ👍"), max_size=45)
    entries = data.draw(st.lists(letters, min_size=1, max_size=3))
    parts = data.draw(st.lists(st.one_of(letters, st.sampled_from(entries)), max_size=4))
    stride = data.draw(st.integers(1, 4))
    rules = [MatchSettings(10, 8, 4, 3, pool_stride=stride), MatchSettings(24, 16, 12, 6, pool_stride=stride), MatchSettings(16, 16, 9, 9)]
    check(["".join(parts), " ".join(parts)], entries, data.draw(st.sampled_from(rules)))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_decomposed_text(data: st.DataObject) -> None:
    """A document in NFD has the matches of the same document in NFC; spans end where the last combining character does."""
    entries = data.draw(st.lists(st.text(st.sampled_from("각난가é라 x"), min_size=8, max_size=40), min_size=1, max_size=3))
    document = " ".join(data.draw(st.lists(st.sampled_from(entries), min_size=1, max_size=3)))
    decomposed = unicodedata.normalize("NFD", document)
    scanner = Scanner(build_index(items_table(entries), MatchSettings(10, 8, 4, 3)))
    both = [scanner.scan(pa.array([text])).to_pylist() for text in (document, decomposed)]
    assert len(both[0]) == len(both[1]) > 0
    for composed, other in zip(*both, strict=True):
        pieces = [text.encode()[match["start"] : match["end"]].decode() for text, match in ((document, composed), (decomposed, other))]
        assert unicodedata.normalize("NFC", pieces[1]) == pieces[0]
        assert {**composed, "start": 0, "end": 0} == {**other, "start": 0, "end": 0}


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
    matches = Scanner(build_index(items_table(["수도는 어디인가"]), MatchSettings(hangul_short_length=4))).scan(pa.array(documents))
    assert matches["row"].to_pylist() == [0, 3]
    assert matches["length"].to_pylist() == [7, 7] and matches["required"].to_pylist() == [24, 24]


def test_batching_and_slicing_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(5)
    entries = ["".join(rng.choice("ab cd") for _ in range(60)) for _ in range(5)]
    documents = ["".join(rng.choice(entries)[: rng.randint(10, 60)] for _ in range(3)) for _ in range(30)]
    scanner = Scanner(build_index(items_table(entries), SMALL))
    whole = scanner.scan(pa.array(documents))
    assert len(whole) > 20
    monkeypatch.setattr(scan_module, "BATCH_BYTES", 1)
    monkeypatch.setattr(scan_module, "DESCRIBED_BYTES", 300)
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
    capped = Scanner(build_index(items_table(entries), MatchSettings(20, 12, 5, 3, max_seed_items=11)))
    assert len(capped.scan(pa.array([template]))) == 0


@pytest.mark.parametrize("stride", [1, 3])
def test_a_common_window_hides_no_match(stride: int) -> None:
    """Of the windows of 50 characters one is probed. Where it is a template's the others are too."""
    rng = random.Random(stride)
    template = "".join(rng.choice("abcdefghij") for _ in range(60))
    korean = "".join(chr(rng.randrange(0xAC00, 0xD7A4)) for _ in range(40))
    entries = [template + "".join(rng.choice("klmnopqrst") for _ in range(40)) + korean for _ in range(30)]
    scanner = Scanner(build_index(items_table(entries), MatchSettings(max_seed_items=5, pool_stride=stride)))
    assert len(scanner.index.tables["long"].common) > 0 and len(scanner.index.tables["hangul"].common) > 0
    for lead in range(31):
        documents = pa.array(["z" * lead + entries[7][at : at + 50] + "Z" for at in range(17, 60)])
        matches = scanner.scan(documents)
        found = {row for row, item in zip(matches["row"].to_pylist(), matches["item"].to_pylist(), strict=True) if item == "i7"}
        assert found == set(range(43))
    assert len(scanner.scan(pa.array([template, korean]))) == 0


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_what_common_means(data: st.DataObject) -> None:
    """A match is found if any of its windows (those with Hangul, if it has some) stands in few enough items and places."""
    rules = MatchSettings(10, 8, 9, 7, max_seed_items=data.draw(st.integers(1, 3)))
    letters = st.text(st.sampled_from("ab가"), min_size=8, max_size=30)
    shared = data.draw(letters)
    entries = [data.draw(letters) + shared + data.draw(letters) for _ in range(4)]
    document = data.draw(letters) + data.draw(st.sampled_from(entries))[data.draw(st.integers(0, 20)) :]
    family = {family.hangul: family for family in rules.families if not family.whole}

    def is_common(text: str, hangul: bool) -> bool:
        width = family[hangul].strides.width
        windows = {text[at : at + width] for at in range(len(text) - width + 1)}
        looked_at = [window for window in windows if any(map(is_hangul, window)) == hangul]
        places = [[sum(e.startswith(w, at) for at in range(len(e))) for e in entries] for w in looked_at]
        limit = rules.max_seed_items
        return all(sum(n > 0 for n in counts) > limit or sum(counts) > PLACES_PER_ITEM * limit for counts in places)

    matches = Scanner(build_index(items_table(entries), rules)).scan(pa.array([document])).to_pylist()
    found = {(match["item"], match["start"], match["length"]) for match in matches if match["length"] >= match["required"]}
    for number, entry in enumerate(entries):
        for start, length in brute_force(document, entry, rules):
            text = document[start : start + length]
            if length >= needed(text, rules) and not is_common(text, any(map(is_hangul, text))):
                start_byte = len(document[:start].encode())
                assert (f"i{number}", start_byte, length) in found


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
    with pytest.raises(DecontamError, match="no column 'text'"):
        scanner.scan(pa.table({"body": ["x" * 60]}))
    with pytest.raises(DecontamError, match="strings"):
        scanner.scan(pa.array([1, 2]))
    column = pa.array(["x" * 60, "y"])
    assert scanner.scan(pa.table({"text": column})).equals(scanner.scan(column))


@pytest.mark.parametrize(
    "values", [{"length": 7, "hangul_length": 7}, {"hangul_length": 51}, {"short_length": 1}, {"max_seed_items": 0}, {"length": 10**9}]
)
def test_settings_that_contradict_each_other(values: dict[str, int]) -> None:
    with pytest.raises(DecontamError, match="use"):
        MatchSettings(**values)


@given(st.integers(8, 400), st.sampled_from([5, 8, 12]), st.integers(1, 8))
def test_strides_miss_nothing(length: int, smallest: int, pool: int) -> None:
    """Every offset of a document against a pool entry leaves an aligned seed within `length` characters."""
    strides = choose_strides(length, smallest, pool)
    assert 1 <= strides.width <= length and strides.pool <= pool
    places = range(length - strides.width + 1)
    for shift in range(strides.pool):
        for lead in range(strides.document):
            assert any((at + lead) % strides.document == 0 and (at + lead + shift) % strides.pool == 0 for at in places)


def test_families_part_the_matches_by_hangul() -> None:
    families: dict[str, Family] = {family.name: family for family in MatchSettings().families}
    assert [family.length for family in families.values()] == [50, 24, 24, 12]
    assert [family.reach for family in families.values()] == [family.length - family.strides.width for family in families.values()]


def test_questions_shorter_than_a_match_are_found_before_other_choices() -> None:
    """A fifth of MMLU's questions has fewer than 50 letters: with the choices written otherwise they would be invisible."""
    question = "What is the capital city of Mongolia?"
    text = question + "\nUlaanbaatar, which lies on the Tuul river\nDarkhan, which lies in the north\nErdenet"
    table = items_table([text]).append_column("question_chars", pa.array([len(question)], pa.int32()))
    scanner = Scanner(build_index(table))
    [match] = scanner.scan(pa.array([f"1. {question} (A) Darkhan (B) Ulaanbaatar"])).to_pylist()
    assert (match["coverage"], match["length"], match["required"]) == (1.0, 30, 50)
    assert match["length"] < match["required"] and (match["item_start"], match["item_end"]) == (0, len(question) - 1)
    assert len(scanner.scan(pa.array([f"1. {question.replace('Mongolia', 'Mongolias')}"]))) == 0


def test_places_in_the_item() -> None:
    text = "먼저 읽으시오. 지구의 자전축이 기울어져 있기 때문에 계절의 변화가 생긴다고 배웠습니다. 그렇다면?"
    piece = "지구의 자전축이 기울어져 있기 때문에 계절의 변화가 생긴다고"
    [match] = Scanner(build_index(items_table([text]))).scan(pa.array([f"어제 {piece} 들었다"])).to_pylist()
    assert text.encode()[match["item_start"] : match["item_end"]].decode() == piece
    assert f"어제 {piece} 들었다".encode()[match["start"] : match["end"]].decode() == piece


def test_pieces_of_an_item_count_together() -> None:
    """One changed character in the middle leaves two pieces, each less than half of the item."""
    rng = random.Random(1)
    text = "".join(rng.choice("abcdefghij") for _ in range(140))
    document = text[:65] + "Z" + text[66:134] + "Z"
    matches = Scanner(build_index(items_table([text]))).scan(pa.array([document, text[:65], text[:60] + " Z " + text[5:65]]))
    assert matches["coverage"].to_pylist()[:2] == [65 / 140, 68 / 140]
    assert matches["item_coverage"].to_pylist() == [133 / 140, 133 / 140, 65 / 140, 65 / 140, 65 / 140]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("{question} Answer: 18 dollars.", True),
        ("The answer is 18. {question}", True),
        ("{question} Answer: 180 dollars.", False),
        ("{question} Nobody knows.", False),
        ("{question}" + " unrelated" * 40 + " 18", False),
    ],
)
def test_short_answers_count_near_the_question(document: str, expected: bool) -> None:
    question = "Janet has 18 ducks that lay 16 eggs per day in total; how much does she earn at the market?"
    table = items_table([question]).append_column("answer", pa.array(["18"], pa.large_string()))
    [match] = Scanner(build_index(table)).scan(pa.array([document.format(question=question)])).to_pylist()
    assert match["answered"] is expected


def test_long_answers_count_anywhere() -> None:
    rng = random.Random(2)
    question, answer = ("".join(rng.choice("abcdefghij") for _ in range(80)) for _ in range(2))
    table = pa.table(
        {"benchmark": ["b"] * 2, "split": [""] * 2, "item": ["1"] * 2, "field": ["question", "answer"], "text": [question, answer]}
    )
    scanner = Scanner(build_index(table))
    assert scanner.scan(pa.array([question + " filler" * 200 + " " + answer]))["answered"].to_pylist() == [True, True]
    assert scanner.scan(pa.array([question]))["answered"].to_pylist() == [False]


def test_segments_do_not_see_each_other() -> None:
    """The matches of an index are those of its benchmarks alone, put together."""
    rng = random.Random(7)
    texts = ["".join(rng.choice("abc 가나") for _ in range(70)) for _ in range(9)]
    table = items_table(texts).set_column(0, "benchmark", pa.array(["x", "y", "z"] * 3))
    documents = pa.array(["".join(rng.choice(texts)[rng.randint(0, 30) :] for _ in range(4)) for _ in range(40)])
    whole = Scanner(build_index(table, SMALL)).scan(documents)
    parts = [Scanner(build_index(table.filter(pa.array(table["benchmark"].to_numpy() == name)), SMALL)).scan(documents) for name in "xyz"]
    keys = [("row", "ascending"), ("start", "ascending"), ("length", "descending"), ("benchmark", "ascending"), ("entry", "ascending")]
    assert whole.sort_by(keys).equals(pa.concat_tables(parts).sort_by(keys)) and len(whole) > 100


def test_characters_beyond_sixteen_bits() -> None:
    text = "𐍈𐌰𐌽" * 20 + "abc"
    found = Scanner(build_index(items_table([text]))).scan(pa.array([f"x {text} y"])).to_pylist()
    assert [(match["length"], match["coverage"]) for match in found] == [(63, 1.0)]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("문제: 한라산 꼭대기의 호수 이름은?\n답: 백록담입니다.", True),
        ("한라산 꼭대기의 호수 이름은?\n백록담이에요", True),
        ("한라산 꼭대기의 호수 이름은\n백록담이다\n다음 문제", True),
        ("한라산 꼭대기의 호수 이름은 백록담이다.", False),
        ("한라산 꼭대기의 호수 이름은? 백록담이라고 들었다.", False),
        ("한라산 꼭대기의 호수 이름은? 백록담이다운 답이다.", False),
        ("한라산 꼭대기의 호수 이름은? 남백록담이다.", False),
    ],
)
def test_a_copula_may_follow_a_korean_answer(document: str, expected: bool) -> None:
    table = items_table(["한라산 꼭대기의 호수 이름은?"]).append_column("answer", pa.array(["백록담"], pa.large_string()))
    [match] = Scanner(build_index(table)).scan(pa.array([document])).to_pylist()
    assert match["answered"] is expected


def test_short_text_of_some_hangul_where_latin_may_be_shorter() -> None:
    rules = MatchSettings(length=34, hangul_length=29, short_length=6, hangul_short_length=25)
    assert check(["x i사다de사마jjda나g바 y"], ["i사다de사마jjda나g바"], rules) == 1


def test_whole_text_of_one_letter() -> None:
    assert check(["a" * 30], ["a" * 30], MatchSettings(max_seed_items=1)) == 1


def test_short_text_in_two_fields_is_found_in_both() -> None:
    text = "which planet is the largest of all"
    table = pa.table({"benchmark": ["b"] * 2, "split": [""] * 2, "item": ["1"] * 2, "field": ["passage", "question"], "text": [text, text]})
    assert Scanner(build_index(table)).scan(pa.array([text]))["field"].to_pylist() == ["passage", "question"]


def test_periodic_text_is_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    items, documents = ["ab" * 90, "a" * 80, "가나" * 70], pa.array(["ab" * 600 + "a" * 500 + "가나" * 300])
    scanner = Scanner(build_index(items_table(items)))
    whole = scanner.scan(documents)
    monkeypatch.setattr(scan_module, "_CANDIDATES", 3)
    assert scanner.scan(documents).equals(whole) and len(whole) > 10
