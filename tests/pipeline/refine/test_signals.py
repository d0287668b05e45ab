"""The compiled signals equal their plain definitions, on ordinary and hostile text, and stay bounded."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.refine import phrases_kernel
from pipeline.refine import signals_kernel as kernel
from pipeline.refine.characters import ending_table, kind_table
from pipeline.refine.phrases import MIN_PHRASE_BYTES, furniture_table, phrase_table, shipped_phrases
from pipeline.refine.repetition_kernel import CHECKED_LIMIT
from pipeline.refine.signals import COLUMNS, Signals, measure, text_buffers
from pipeline.refine.stages import load_preset
from pipeline.rules import apply_rules
from pipeline.schema import BY_NAME
from tests.pipeline.refine import twin_signals

PIECES = [
    "the", "The", "be,", "(of)", "to-be", "and2", "that", "have", "withal", "a", "hello", "#", "##", "…", ".", "..", "...",
    "....", "-", "•", "한국어", "문서를", "가", "ㅋㅋㅋ", "ㅋㅋ", "ㅠ", "\u1112\u1161", "\u3164", "café", "Ωμέγα", "привет",
    "中文", "かな", "𠀀", "𝐀", "😀", "\U000e0001", "1", "２０", "!", "?", "”", "」", "。", "\ufffd", "\x00", "\x85", "\x1c",
    "\u00a0", "\u3000", "\u2028", "\u200b", "카지노사이트", "카지노사이트를", "온라인 카지노", "Free  spins", "FREE SPINS",
    "xfree spins", "로그인", "회원가입", "share", "shares", "search", "홈", " ", "  ", "\n", "\n\n", "\t", " \n", "\r", "\n- ",
    "\n• ", "\r\n", "x" * 29, "y" * 30, "z" * 127, "가" * 128, "각" * 13, "1" * 255, "q" * 1001, "www.", "WWW.a",
    "http://", "https://x", "ahttp:/",
    "s://", "ps://", "{", "/", "[1]", "[]", "[edit]", "[citation needed]", "javascript", "javascripts", "Privacy Policy", "use cookies.",
    "lorem ipsum", "Lorem  ipsum", "U.S.", "3.14", "했다.그리고",
    "했다.", "해요!", "있음ㅋㅋ", "서울에서", "바다로", "으로", "집으로", "에서",
    "2019년", "씨발", "씨발놈이", "김씨발언", "씨발점", "ㅅㅂ", "fuck", "fucks.", "무료배송", "무료배송을",
    "buy now", "‘", "’", "“", "（", "）", "a b c d e f g h i j ", "one two three four five ",
]  # fmt: skip


def as_column(*texts: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def assert_equals_twin(texts: list[str]) -> None:
    measured = measure(as_column(*texts))
    for row, text in enumerate(texts):
        expected = twin_signals.measure(text, shipped_phrases())
        assert {name: measured[name][row] for name in COLUMNS} == expected, text


@settings(max_examples=120, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), max_size=4))
def test_equals_twin_on_hostile_pieces(texts: list[str]) -> None:
    assert_equals_twin(texts)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=60), max_size=3))
def test_equals_twin_on_any_unicode(texts: list[str]) -> None:
    assert_equals_twin(texts)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "of", "가"]), max_size=60).map(" ".join))
def test_equals_twin_on_repetitive_words(text: str) -> None:
    assert_equals_twin([text])


def test_every_column_has_the_declared_type_and_no_nulls() -> None:
    table = Signals()(pa.table({"text": as_column("하나 둘", None, "")}))
    for name in COLUMNS:
        assert table.schema.field(name).type == BY_NAME[name].type
        assert table.column(name).null_count == 0
    assert table.column("words").to_pylist() == [2, 0, 0]


def test_empty_table() -> None:
    empty = pa.table({"text": pa.chunked_array([], pa.large_string())})
    assert len(Signals()(empty)) == 0


def test_rows_do_not_depend_on_their_neighbours_chunks_or_slices() -> None:
    texts = ["가나다 라마바 " * 20, "", "one two three. " * 9, "끝"]
    alone = [measure(as_column(text)) for text in texts]
    together = measure(pa.chunked_array([pa.array(["앞", *texts[:2]], pa.large_string()).slice(1), pa.array(texts[2:], pa.large_string())]))
    for name in COLUMNS:
        assert together[name].tolist() == [float(one[name][0]) for one in alone]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 10_000_000, id="one word"),
        pytest.param("\n" * 10_000_000, id="line feeds"),
        pytest.param("a " * 2_000_000, id="one repeated word"),
        pytest.param("a\n" * 2_000_000, id="one repeated line"),
        pytest.param("카지노사이" * 600_000, id="prefix of a phrase"),
        pytest.param("." * 5_000_000, id="dots"),
    ],
)
def test_hostile_sizes_stay_within_the_column_ranges(text: str) -> None:
    measured = measure(as_column(text))
    for name in COLUMNS:
        assert measured[name][0] >= 0
        if name.endswith("_ratio") and name not in ("symbol_word_ratio", "newline_ratio") and not name.startswith("top_"):
            assert measured[name][0] <= 1, name


def test_repetition_beyond_the_limit_is_judged_on_the_part_before_it() -> None:
    limit = CHECKED_LIMIT
    fresh = " ".join(f"w{number}" for number in range(limit))
    same = " ".join(["same"] * limit)
    fresh_first = measure(as_column(fresh + " " + same))
    same_first = measure(as_column(same + " " + fresh))
    assert fresh_first["dup_5gram_char_ratio"][0] == 0
    assert same_first["dup_5gram_char_ratio"][0] > 0.7
    assert fresh_first["words"][0] == 2 * limit


def test_kernel_reads_read_only_buffers_and_never_beyond_a_truncated_character() -> None:
    cut = np.frombuffer("가나".encode()[:-1], np.uint8)
    counts = np.zeros((1, kernel.COUNTS), np.int64)
    beyond = np.array([1 << 62], np.int64)
    kernel.count_characters(cut, np.array([0, cut.size], np.int64), kind_table(), ending_table(), beyond, counts)
    assert counts[0, kernel.HANGUL_LETTERS] == 1
    assert counts[0, kernel.CHARS] == 3  # the syllable, and two bytes that are none


def test_text_buffers_of_a_slice_do_not_copy() -> None:
    column = pa.array(["가", "나다", "라"], pa.large_string()).slice(1)
    data, offsets = text_buffers(column)
    assert data.ctypes.data == column.buffers()[2].address
    assert [data[first:last].tobytes().decode() for first, last in itertools.pairwise(offsets)] == ["나다", "라"]


def test_gopher_repetition_example() -> None:
    measured = measure(as_column("I like apples. " * 10 + "I like pears."))
    assert measured["top_2gram_char_ratio"][0] == pytest.approx(11 * 6 / 163)
    assert measured["dup_5gram_char_ratio"][0] == pytest.approx(97 / 163)  # five repeated 5-grams: words 3 to 27


def test_a_document_without_repetition_has_no_top_gram() -> None:
    measured = measure(as_column("하나 둘 셋 넷"))
    assert measured["top_2gram_char_ratio"][0] == 0


def test_spam_is_found_with_a_particle_and_not_inside_an_english_word() -> None:
    measured = measure(as_column("카지노사이트를 추천", "sharecropping payday loansx", "buy VIAGRA: Buy Viagra!", "사건마다 분야동향"))
    assert measured["spam_words"].tolist() == [1, 0, 2, 0]


def lines_marked(*texts: str) -> list[list[int]]:
    data, offsets = text_buffers(as_column(*texts))
    line_offsets = np.zeros(len(offsets), np.int64)
    phrases_kernel.count_lines(data, offsets, line_offsets)
    marks = np.full(line_offsets[-1], 9, np.int8)
    phrases_kernel.furniture_lines(data, offsets, *furniture_table().arrays, line_offsets, marks)
    return [marks[first:last].tolist() for first, last in itertools.pairwise(line_offsets)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), max_size=4))
def test_furniture_lines_equal_twin(texts: list[str]) -> None:
    assert lines_marked(*texts) == [twin_signals.line_marks(text, shipped_phrases().furniture) for text in texts]


def test_page_furniture_is_marked_and_prose_that_mentions_it_is_not() -> None:
    furniture = "로그인 | 회원가입\n\nCopyright ⓒ 2020 온누리. All rights reserved.\n조회수 12 댓글 3\n \t"
    prose = "화재를 본 사람은 곧바로 119에 신고하고 주변에 알려야 한다고 소방서는 말했다."
    assert lines_marked(furniture, "", prose) == [[1, -1, 1, 1, -1], [-1], [0]]


@pytest.mark.parametrize("phrase", ["ab", "Casino", "two\nlines", " casino", "% off"])
def test_a_phrase_the_search_cannot_find_is_refused(phrase: str) -> None:
    with pytest.raises(ValueError, match=f"at least {MIN_PHRASE_BYTES} bytes|must begin with"):
        phrase_table({phrases_kernel.SPAM: (phrase,)})


def test_a_phrase_of_two_kinds_is_refused() -> None:
    with pytest.raises(ValueError, match="listed once"):
        phrase_table({phrases_kernel.SPAM: ("casino",), phrases_kernel.AD: ("casino",)})


@pytest.mark.parametrize("particle", ["", "abc", "이라고도"])
def test_a_particle_the_search_cannot_find_is_refused(particle: str) -> None:
    with pytest.raises(ValueError, match="Hangul syllables"):
        phrase_table({phrases_kernel.OBSCENE: ("씨발",)}, (particle,))


def test_obscene_words_are_found_with_a_particle_and_never_inside_another_word() -> None:
    measured = measure(
        as_column(
            "씨발이 씨발, 병신들은 (좆같은", "시발점 출시발표 김씨발언 병신년에 좆대로 씹을 것", "fuck Fucking motherfucker!", "Scunthorpe"
        )
    )
    assert measured["bad_words"].tolist() == [4, 0, 3, 0]


def test_paragraphs_are_parted_by_lines_without_text() -> None:
    measured = measure(as_column("가\n나\n \n가\n나\n\n\n다\n", "가\n나\n가\n나"))
    assert measured["dup_paragraph_ratio"].tolist() == [1 / 3, 0]
    assert measured["dup_paragraph_char_ratio"].tolist() == [3 / 14, 0]
    assert measured["dup_line_ratio"].tolist() == [2 / 5, 2 / 4]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", 0),
        ("- . .", 0),
        ("One. Two! Three?", 3),
        ("No mark at the end", 1),
        ("Version 3.14 of example.com", 1),
        ("밥을 먹었다.그리고 잤다.", 2),
        ("그는 “왔다.” 하고 말했다.\n끝", 3),
        ("와！그래？", 2),
        ("Wait... what?!", 2),
    ],
)
def test_sentences(text: str, sentences: int) -> None:
    assert measure(as_column(text))["sentences"][0] == sentences


def test_c4_lines() -> None:
    retained = [
        "One two three.",
        'He said "so be it."',
        "As cited there.[12][citation needed]",
        "가나 다라 마바다。",
        "  indented but fine!  ",
    ]
    discarded = [
        "No end mark",
        "Two words.",
        "And so on...",
        "Enable Javascript to go on.",
        "See our privacy policy now.",
        "x" * 1001 + " is long.",
    ]
    measured = measure(as_column("\n".join(retained), "\n".join(discarded), "\n".join(retained + discarded)))
    assert measured["c4_line_ratio"].tolist() == [1, 0, 5 / 11]
    assert measured["c4_sentences"].tolist() == [6, 0, 6]  # the citation marks count as one: they hold letters behind the full stop


def test_josa_ratio_parts_prose_from_keywords() -> None:
    prose = "서울은 대한민국의 수도이자 가장 큰 도시이다. 한강을 끼고 있으며 북쪽에는 북한산이 솟아 있다."
    keywords = "서울 맛집 추천 강남 카페 홍대 술집 데이트 코스 가볼만한곳 여행 숙소 호텔 예약 할인"
    high, low = measure(as_column(prose, keywords))["josa_word_ratio"]
    assert high > 0.5 > 0.2 > low


def test_estimated_alpha_ratio_counts_a_mark_as_a_morpheme_and_letters_and_digits_by_the_dozen() -> None:
    hangul, latin, digits, marks = "가나다라마바" * 2, "abc" * 12, "7" * 47, "*" * 10  # 10 morphemes each
    ratios = measure(as_column(hangul, f"{hangul} {marks}", f"{hangul}{digits}", f"{hangul}\n{latin} {marks}{digits}", marks, " ", None))
    assert ratios["estimated_alpha_ratio"].tolist() == pytest.approx([1, 1 / 2, 1 / 2, 1 / 2, 0, 0, 0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_a_mark_lowers_the_estimated_alpha_ratio_and_a_syllable_raises_it(text: str) -> None:
    alone, marked, lettered = measure(as_column(text, text + "*", text + "가"))["estimated_alpha_ratio"]
    assert marked < alone or alone == 0
    assert lettered > alone or alone == 1


def eojeol_verdicts(*texts: str) -> list[str | None]:
    table = Signals()(pa.table({"text": as_column(*texts), "lang": ["ko"] * len(texts)}))
    return apply_rules(table, load_preset("fineweb2-ko-eojeol")).column("drop_reason").to_pylist()


def test_fineweb2_on_eojeol_reads_signals_alone_and_parts_prose_from_tables_menus_and_repetition() -> None:
    assert {rule.column for rule in load_preset("fineweb2-ko-eojeol")} <= set(COLUMNS)
    article = (
        "지난 여름 강가에서 열린 음악회에는 수백 명의 시민이 모였다. 저녁이 되자 바람은 선선해졌고 사람들은 돗자리에 앉았다.\n"
        "첫 곡이 끝나자 아이들이 먼저 손뼉을 쳤다. 주최 측은 내년에도 같은 자리에서 공연을 이어 가겠다고 밝혔다.\n"
        "다만 주차할 곳이 모자라 길이 막혔으므로, 시에서는 버스를 더 보내기로 했다."
    )
    table = "\n".join(f"| {word} | ({number}) | {number * 7} | {number * 13}." for number, word in enumerate(article.split()))
    menu = "\n".join(article.split()).replace(".", "")
    kept, *dropped = eojeol_verdicts(article, table, menu, article.replace(".", ""), "\n".join([article] * 3), article[:60])
    assert kept is None
    assert dropped[0] == "estimated_alpha_ratio<0.791"
    assert None not in dropped


def test_letter_spaced_and_unspaced_korean() -> None:
    measured = measure(as_column("안 녕 하 세 요 여 러 분", "띄어쓰기를하지않고이어서쓴글입니다", "우리는 내일 2시 만난다"))
    assert measured["single_syllable_ratio"].tolist() == [1, 0, 0]
    assert measured["long_eojeol_ratio"].tolist() == [0, 1, 0]


def test_real_text_equals_twin(shared_data: Path) -> None:
    for name in ("ko/wiki_korquad_contexts", "ko/news_comments_kocohub", "ko/blog_johngrib", "en/digitalgov", "en/peps"):
        with gzip.open(shared_data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"][:4000] for line in itertools.islice(lines, 12)]
        assert_equals_twin(texts)
        assert lines_marked(*texts) == [twin_signals.line_marks(text, shipped_phrases().furniture) for text in texts]
