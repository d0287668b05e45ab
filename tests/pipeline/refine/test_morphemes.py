"""Morpheme counts: equal to an obvious twin, bounded on hostile text, null where there is no Korean; and the presets that use them."""

from __future__ import annotations

from importlib import metadata
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.refine import morphemes
from pipeline.refine.lines import Lines
from pipeline.refine.morphemes import COLUMNS, MAX_CHARS, PIECE_CHARS, STOP_MORPHEMES, Morphemes, kiwi_version, measure_morphemes, pieces
from pipeline.refine.signals import Signals
from pipeline.refine.stages import load_preset
from pipeline.rules import apply_rules

pytest.importorskip("kiwipiepy")

ARTICLE = """한강은 강원도 태백에서 시작하여 서울을 지나 서해로 흐르는 강이다. 이 강을 따라 마을이 생겼고 사람들은 배로 곡식을 날랐다.
지금은 스물이 넘는 다리가 강의 남쪽과 북쪽을 잇는다. 봄이면 둔치에 나온 시민들이 자전거를 타거나 나무 그늘에서 쉰다.
여름에는 분수와 물놀이장이 문을 연다. 강물은 수돗물의 원천이기도 해서 상류의 댐에서는 수질을 날마다 잰다.
큰비가 내리면 물이 불어 낮은 길이 잠기므로 미리 통제한다."""

MENU = "\n".join(["회사 소개", "제품 안내", "고객 지원", "자료실", "오시는 길", "채용 정보", "공지 사항", "자주 묻는 질문"] * 5)

WORDS = (
    "학교에서",
    "했다.",
    "공부를",
    "나는",
    "2024년",
    "ㅋㅋ",
    "Python",
    "...",
    "…",
    "#한국",
    "먹었습니다!",
    "\n",
    "그리고,",
    "아름다운",
    "漢字",
)


def table_of(*texts: str | None) -> pa.Table:
    """These texts with their signals."""
    return Signals()(Lines(cut=False)(pa.table({"text": pa.array(texts, pa.large_string())})))


def verdicts(name: str, *texts: str) -> list[str | None]:
    """The reason to drop each text by a preset, None where it is kept; every text counts as Korean."""
    table = Morphemes(kiwi_version())(table_of(*texts)).append_column("lang", pa.array(["ko"] * len(texts)))
    reasons: list[str | None] = apply_rules(table, load_preset(name)).column("drop_reason").to_pylist()
    return reasons


def twin(text: str) -> dict[str, float]:
    """The definitions again, on lists of strings, as datatrove writes them; top n-grams only where one occurs twice."""
    tokens = [("".join(text[token.start : token.end].split()), token.tag) for token in morphemes._kiwi().tokenize(text)]
    tokens = [(word, tag) for word, tag in tokens if word]  # what is elided, such as 이 in 나무다, has no letters of its own
    words = [word for word, _ in tokens]
    plain = [word for word, tag in tokens if not tag.startswith("S") or tag in ("SL", "SH", "SN")]
    found: dict[str, float] = {
        "morphemes": len(plain),
        "mean_morpheme_length": sum(map(len, plain)) / max(len(plain), 1),
        "alpha_morpheme_ratio": sum(any(letter.isalpha() for letter in word) for word in words) / max(len(words), 1),
        "symbol_morpheme_ratio": (text.count("#") + text.count("...") + text.count("…")) / max(len(words), 1),
        "stop_morphemes": len(STOP_MORPHEMES & set(words)),
        "newline_morpheme_ratio": text.count("\n") / max(len(words), 1),
    }
    for n in (2, 3, 4):
        grams = [" ".join(words[start : start + n]) for start in range(len(words) - n + 1)]
        counts = {gram: grams.count(gram) for gram in grams}
        most = max(counts.values(), default=1)
        longest = max((len(gram) for gram, count in counts.items() if count == most), default=0)
        found[f"top_{n}morpheme_char_ratio"] = most * longest / max(len(text), 1) if most > 1 else 0.0
    for n in range(5, 11):
        seen, repeated, start = set(), 0, 0
        while start + n <= len(words):
            gram = tuple(words[start : start + n])
            step, chars = (n, sum(map(len, gram))) if gram in seen else (1, 0)
            seen.add(gram)
            repeated, start = repeated + chars, start + step
        found[f"dup_{n}morpheme_char_ratio"] = repeated / max(len(text), 1)
    return found


def assert_equals_twin(text: str) -> None:
    """Every column of one text is what the twin says."""
    measured = measure_morphemes([text])
    assert set(measured) == set(COLUMNS)
    expected = twin(text)
    assert {name: float(values[0]) for name, values in measured.items()} == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join))
def test_counts_equal_the_twin_on_random_korean(text: str) -> None:
    assert_equals_twin(text)


@pytest.mark.parametrize("text", [ARTICLE, MENU, ARTICLE + "\n" + ARTICLE, "", " \n ", "# ... …", "오 늘 은 날 씨 가 좋 다"])
def test_counts_equal_the_twin(text: str) -> None:
    assert_equals_twin(text)


def test_counts_equal_the_twin_on_real_text(shared_data) -> None:
    import gzip
    import json

    with gzip.open(shared_data / "text/ko/wiki_korquad_contexts.jsonl.gz", "rt", encoding="utf-8") as lines:
        for _, line in zip(range(10), lines, strict=False):
            assert_equals_twin(json.loads(line)["text"][:PIECE_CHARS])


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=300))
def test_any_unicode_gives_finite_counts(text: str) -> None:
    measured = measure_morphemes([text])
    assert all(0 <= values[0] < 1e6 for values in measured.values())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["가" * 3000, "a", "\n", " ", "나무 ", "x" * 5000, "줄\n"]), max_size=12).map("".join))
def test_pieces_are_short_and_lose_nothing(text: str) -> None:
    parts = list(pieces(text))
    assert "".join(parts) == text
    assert max(map(len, parts)) <= PIECE_CHARS
    assert all(part[-1] in "\n " or not any(blank in part for blank in "\n ") for part in parts[:-1])


def test_pieces_end_at_lines_before_blanks() -> None:
    text = "한 줄\n" + "나무 " * PIECE_CHARS
    assert next(pieces(text)) == "한 줄\n"


@pytest.mark.parametrize("run", ["가", "a", ".", "ㅋ", "1,", "가나", "http://a", "\n", "("])
def test_a_huge_document_reaches_kiwi_in_bounded_parts(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Recorder:
        def tokenize(self, piece: str) -> list[SimpleNamespace]:
            seen.append(len(piece))
            return []

    monkeypatch.setattr(morphemes, "_kiwi", Recorder)
    measure_morphemes([run * (2 * MAX_CHARS)])
    assert max(seen) <= PIECE_CHARS
    assert sum(seen) == MAX_CHARS


def test_rows_without_hangul_stay_null() -> None:
    table = Morphemes(kiwi_version())(table_of(ARTICLE, "plain English text", None, "", ARTICLE))
    assert table.column("morphemes").is_valid().to_pylist() == [True, False, False, False, True]
    assert all(table.column(name).null_count == 3 for name in COLUMNS)
    assert table.column("text").to_pylist() == [ARTICLE, "plain English text", None, "", ARTICLE]


def test_a_table_without_korean_and_an_empty_one_get_the_columns() -> None:
    for table in (table_of("only English"), table_of()):
        assert set(Morphemes(kiwi_version())(table).column_names) >= set(COLUMNS)


def test_the_same_whatever_the_batches() -> None:
    texts = [ARTICLE, MENU, "짧은 글이다.", "", ARTICLE[:100]]
    stage = Morphemes(kiwi_version())
    whole = stage(table_of(*texts))
    parts = pa.concat_tables([stage(table_of(text)) for text in texts])
    assert whole.select(COLUMNS).combine_chunks().equals(parts.select(COLUMNS).combine_chunks())
    chunked = pa.concat_tables([table_of(*texts[:2]), table_of(*texts[2:])])
    assert stage(chunked).select(COLUMNS).combine_chunks().equals(whole.select(COLUMNS).combine_chunks())


def test_without_the_package_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(UserError, match=r"onnuri\[korean\]"):
        kiwi_version()


def test_a_worker_with_another_kiwi_stops() -> None:
    with pytest.raises(UserError, match=r"the run was planned with kiwipiepy 0\.1"):
        Morphemes("kiwipiepy 0.1, model 0.1")(table_of(ARTICLE))


def test_fineweb2_keeps_an_article_and_drops_a_menu() -> None:
    assert verdicts("fineweb2-ko", ARTICLE)[0] is None
    dropped = verdicts("fineweb2-ko", MENU, ARTICLE[:40], " ".join(["무료 상담 전화 주세요."] * 40), "\n".join(ARTICLE.split()))
    assert None not in dropped


def test_fineweb2_breaks_no_morpheme_rule_without_morphemes() -> None:
    table = pa.table({name: pa.nulls(1, pa.float64()) for name in COLUMNS} | {"lang": ["ko"]})
    rules = [rule for rule in load_preset("fineweb2-ko") if rule.column in COLUMNS]
    assert len(rules) > 10
    assert pc.is_null(apply_rules(table, rules).column("drop_reason")).to_pylist() == [True]


@pytest.mark.parametrize("name", ["fineweb2-ko", "fineweb2-ko-eojeol", "onnuri-ko"])
def test_korean_presets_leave_other_languages_alone(name: str) -> None:
    assert all(rule.languages and set(rule.languages) <= {"ko", "mixed"} for rule in load_preset(name))


def test_onnuri_keeps_korean_articles_with_and_without_line_ends() -> None:
    assert verdicts("onnuri-ko", ARTICLE, ARTICLE.replace("\n", " "), ARTICLE.replace(".", "")) == [None, None, None]


@pytest.mark.parametrize(
    "noise",
    [
        MENU,
        " ".join(ARTICLE.replace(" ", "")),
        "\n".join(ARTICLE.splitlines()[:1] * 8),
        "로그인 회원가입\n이용약관\n" * 30,
        "가격 12,000원 수량 3 " * 40,
        "\n".join(["ㅋㅋㅋㅋㅋㅋ 대박 ㅠㅠㅠㅠ"] * 30),
    ],
)
def test_onnuri_drops_noise(noise: str) -> None:
    assert verdicts("onnuri-ko", noise) != [None]
