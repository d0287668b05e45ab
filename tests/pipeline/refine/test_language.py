"""Languages of documents and paragraphs: by script where Hangul decides, by the detector elsewhere; a bad model is the user's error."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.classify.fit import fit
from pipeline.errors import UserError
from pipeline.refine import paragraphs_kernel as kernel
from pipeline.refine.detector import BuiltIn, check, english_score, normalised_code
from pipeline.refine.language import Language, identify, keep_languages
from pipeline.refine.signals import text_buffers

ENGLISH = "The committee met on Tuesday to discuss the results of the survey, and decided to publish them in full next month."


def identified(*texts: str | None, stage: Language | None = None) -> pa.Table:
    column = pa.chunked_array([pa.array(texts, pa.large_string())])
    return (stage or Language())(pa.table({"text": column}))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("재밌다", "ko"),
        ("ㅋㅋㅋㅋ 최고", "ko"),
        ("이 영화 진짜 OST가 최고 ㅠㅠ", "ko"),
        ("파이썬의 asyncio 모듈은 비동기 입출력을 다룬다.", "ko"),
        ("대한민국의 수도는 서울(Seoul)이다. 中國은 베이징이다.", "ko"),
        ("Install the package with pip install onnuri, then run onnuri doctor. 설치가 끝나면 확인합니다.", "mixed"),
        (ENGLISH, "en"),
        (ENGLISH * 200, "en"),
        (ENGLISH * 3 + " (김치)", "en"),
        ("Der Ausschuss traf sich am Dienstag, um die Ergebnisse der Umfrage zu besprechen.", "de"),
        ("委員会は火曜日に集まり、調査の結果について話し合った。", "ja"),
        ("委員会は火曜日に集まり、調査の結果について話し合った。한국", "ja"),
        ("12345 !!!", "und"),
        ("Tom", "und"),
        ("", "und"),
        ("😀😀", "und"),
    ],
)
def test_language(text: str, language: str) -> None:
    table = identified(text)
    assert table.column("lang").to_pylist() == [language]
    assert 0 <= table.column("lang_score")[0].as_py() <= 1


def test_drops_have_a_reason_and_keep_may_be_empty() -> None:
    german = "Der Ausschuss traf sich am Dienstag, um die Ergebnisse der Umfrage zu besprechen."
    assert identified("안녕하세요", german, None).column("drop_reason").to_pylist() == [None, "language:de", "language:und"]
    everything = identified("안녕하세요", german, "1", stage=Language(keep=(), min_score=0.0))
    assert everything.column("drop_reason").to_pylist() == [None, None, None]


def test_a_low_score_is_a_reason() -> None:
    table = identified("안녕하세요 여러분", ENGLISH, stage=Language(min_score=1.0))
    assert table.column("drop_reason").to_pylist() == [None, "language_score"]


def test_every_row_is_independent() -> None:
    texts = ["안녕", ENGLISH, "Guten Tag, wie geht es Ihnen heute?", ""]
    together = identified(*texts).column("lang").to_pylist()
    assert together == [identified(text).column("lang")[0].as_py() for text in texts]


def test_empty_table() -> None:
    assert len(identified()) == 0


def test_model_labels() -> None:
    labels = ("__label__en", "__label__kor_Hang", "__label__zh-Hans", "__label__xyz_Latn")
    assert [normalised_code(label) for label in labels] == ["en", "ko", "zh", "xyz"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "train.txt").write_text("__label__en the report of the year\n__label__fra le rapport de cette annee\n" * 50)
    trained = fit(folder / "train.txt", {"epoch": 20, "lr": 0.2, "dim": 8, "bucket": 1000})
    trained.save_model(str(folder / "model.bin"))
    return folder / "model.bin"


def test_a_fasttext_model_replaces_the_detector(model: Path) -> None:
    stage = Language(keep=(), min_score=0.0, model_path=str(model), model_hash=check(str(model)))
    table = identified("the report of the year", "le rapport\nde cette annee", "보고서", stage=stage)
    assert table.column("lang").to_pylist() == ["en", "fr", "ko"]


def test_check_names_what_is_wrong_with_a_model(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        check(str(tmp_path / "absent.bin"))
    text = tmp_path / "text.bin"
    text.write_text("not a model")
    with pytest.raises(UserError, match="not a usable fastText classifier"):
        check(str(text))
    truncated = tmp_path / "truncated.bin"
    truncated.write_bytes(model.read_bytes()[:200])
    with pytest.raises(UserError, match="not a usable fastText classifier"):
        check(str(truncated))


def test_check_tells_models_apart_by_content(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.bin"
    copy.write_bytes(model.read_bytes())
    assert check(str(copy)) == check(str(model))


def test_real_sentences(shared_data: Path) -> None:
    """Korean and English sentences are found, and those of languages often met beside them are not taken for them."""
    wanted = {"kor": "ko", "eng": "en", "deu": "de", "fra": "fr", "jpn": "ja", "cmn": "zh", "rus": "ru", "vie": "vi"}
    texts: list[str] = []
    expected: list[str] = []
    with gzip.open(shared_data / "labelled/lid/tatoeba_laser_112lang.jsonl.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            record = json.loads(line)
            if record["lang"] in wanted and expected.count(wanted[record["lang"]]) < 200:
                texts.append(record["text"])
                expected.append(wanted[record["lang"]])
    found = identified(*texts).column("lang").to_pylist()
    for language, at_least in (("ko", 0.99), ("en", 0.97)):
        right = sum(f == e == language for f, e in zip(found, expected, strict=True))
        assert right >= at_least * expected.count(language)
        assert right >= at_least * found.count(language)


def test_short_reviews_are_korean(shared_data: Path) -> None:
    with gzip.open(shared_data / "text/ko/movie_reviews_nsmc_raw.jsonl.gz", "rt", encoding="utf-8") as stream:
        texts = [json.loads(next(stream))["text"] for _ in range(3000)]
    hangul = [text for text in texts if sum("가" <= character <= "힣" for character in text) >= 3]
    found = identified(*hangul).column("lang").to_pylist()
    assert found.count("ko") >= 0.99 * len(found)
    assert set(found) <= {"ko", "mixed", "en"}


def test_a_document_whose_windows_are_unclear_is_looked_at_again() -> None:
    """Numbers and markup at the start, the middle and the end hide the language from the short windows but not from the wide ones."""
    noise = "| 12.5 | 33.1 | x |\n" * 20
    text = noise + ENGLISH * 4 + noise[:200] + ENGLISH * 4 + noise
    assert identified(text).column("lang").to_pylist() == ["en"]
    assert identified(text).column("lang_score")[0].as_py() >= 0.5


@pytest.mark.parametrize("text", ["I agree.", "He is dead.", "Can we go home?", "Where are you?", "I love lasagna.", "THE END"])
def test_short_english_is_kept(text: str) -> None:
    table = identified(text)
    assert (table.column("lang")[0].as_py(), table.column("drop_reason")[0].as_py()) == ("en", None)


@pytest.mark.parametrize(
    "text",
    [
        "Ik ga naar huis.",
        "Wir sind da.",
        "No lo so.",
        "Je suis ici.",
        "Han er her.",
        "Python",
        "OK",
        "COVID-19",
        "x = y + 1;",
        "www.example.com",
    ],
)
def test_other_short_texts_are_not_taken_for_english(text: str) -> None:
    table = identified(text)
    assert table.column("drop_reason")[0].as_py() is not None


def test_english_words_raise_the_score_and_other_words_lower_it() -> None:
    assert english_score("they would because then", 0.1, 0.1) > english_score("they would", 0.1, 0.1) > 0.5
    assert english_score("they would abc def ghi", 0.1, 0.1) < english_score("they would", 0.1, 0.1)
    assert english_score("they", 0.3, 0.1) > english_score("they", 0.1, 0.3)
    assert english_score("", 0.0, 0.0) == pytest.approx(english_score("", 0.5, 0.5))
    assert 0 <= english_score("zzz " * 5000, 0.0, 1.0) <= english_score("the " * 5000, 1.0, 0.0) <= 1


@functools.cache
def models() -> tuple[BuiltIn, Any]:
    """Our detector and the library's."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return BuiltIn(), LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.text(max_size=60), st.text(alphabet="abcdeé tühЖйß", max_size=300), st.just(ENGLISH)), min_size=1, max_size=20)
)
def test_the_detector_computes_what_py3langid_computes(samples: list[str]) -> None:
    """Its twin is the library itself, but for samples without any feature, of which it knows nothing."""
    built_in, reference = models()
    samples = [sample.encode("utf-8", "replace").decode() for sample in samples]
    for sample, found in zip(samples, built_in.probabilities(samples), strict=True):
        expected = dict(reference.rank(sample))
        if found.any():
            assert found == pytest.approx([expected[label] for label in built_in.labels], abs=1e-4)
        else:
            assert max(expected.values()) < 0.02


def slow_group(hangul: int, latin: int, letters: int) -> str:
    """Twin of `script_group`."""
    if not letters:
        return "none"
    if hangul / letters >= 0.05 and (hangul + latin) / letters >= 0.5:
        return "ko" if hangul / letters >= 0.3 and 3 * latin <= 5 * hangul else "mixed"
    return "latin" if latin / letters >= 0.5 else "other"


def slow_paragraphs(text: str) -> tuple[list[int], dict[str, int], dict[str, list[tuple[int, int]]]]:
    """Twin of `sort_paragraphs`: script counts, letters per group, and (start, end) of the three longest Latin and other paragraphs."""
    table = kernel.letter_table()
    scripts, groups = [0, 0, 0], dict.fromkeys(("ko", "mixed", "latin", "other"), 0)
    spans: dict[str, list[tuple[int, int]]] = {"latin": [], "other": []}
    start = 0
    for line in text.split("\n"):
        kinds = [
            int(table[ord(c)]) if ord(c) < 0x10000 else 3 * any(a <= ord(c) <= b for a, b in kernel.SUPPLEMENTARY_LETTER_RANGES)
            for c in line
        ]
        latin, hangul, letters = kinds.count(1), kinds.count(2), len(kinds) - kinds.count(0)
        if hangul / max(1, letters) >= 0.3 and 3 not in kinds:
            letters -= kinds.count(4)  # hanja
        group = slow_group(hangul, latin, letters)
        end = start + len(line.encode())
        if letters:
            groups[group] += letters
            scripts = [scripts[0] + hangul, scripts[1] + latin, scripts[2] + letters]
        if letters and group in spans:
            spans[group].append((start, end))
        start = end + 1
    longest = {group: sorted(found, key=lambda span: span[0] - span[1])[:3] for group, found in spans.items()}
    return scripts, groups, longest


_MIXTURE = st.text(alphabet="가나ㅋ한 abcé1.中ひж\n\n😀𠀀-", max_size=60)


@settings(max_examples=300, deadline=None)
@given(st.lists(_MIXTURE, max_size=6))
def test_paragraphs_are_sorted_like_their_twin(texts: list[str]) -> None:
    data, offsets = text_buffers(pa.array(["x", *texts], pa.large_string()).slice(1))
    rows = len(texts)
    scripts, groups = np.zeros((rows, 3), np.int64), np.zeros((rows, kernel.GROUPS), np.int64)
    examples = np.zeros((rows, 2, kernel.EXAMPLES, 2), np.int64)
    kernel.sort_paragraphs(data, offsets, kernel.letter_table(), scripts, groups, examples)
    for row, text in enumerate(texts):
        expected = slow_paragraphs(text)
        assert scripts[row].tolist() == expected[0]
        assert groups[row].tolist() == list(expected[1].values())
        for number, group in enumerate(("latin", "other")):
            begin = int(offsets[row])
            found = [(start - begin, end - begin) for start, end in examples[row, number].tolist() if end > start]
            assert found == expected[2][group]


@given(st.binary(max_size=60))
def test_bytes_that_are_no_utf8_stay_inside_the_document(content: bytes) -> None:
    data = np.frombuffer(content + "가".encode(), np.uint8)
    counts = []
    for tail in (b"", b"abc"):
        buffer = np.concatenate([data[: len(content)], np.frombuffer(tail, np.uint8)])
        scripts, groups = np.zeros((1, 3), np.int64), np.zeros((1, kernel.GROUPS), np.int64)
        examples = np.zeros((1, 2, kernel.EXAMPLES, 2), np.int64)
        offsets = np.array([0, len(content)], np.int64)
        kernel.sort_paragraphs(buffer, offsets, kernel.letter_table(), scripts, groups, examples)
        counts.append((scripts.tolist(), groups.tolist(), examples.tolist()))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("text", "is_korean"),
    [
        ("悠久한 歷史와 傳統에 빛나는 우리 大韓國民은 3·1運動으로 建立된 大韓民國臨時政府의 法統을 繼承하고", True),
        ("安寧하세요 これは挨拶です。東京に行きます。", False),  # kana
        ("委員會는 豫算을 決定할 權限", False),  # a quarter is Hangul: no evidence against Chinese with Korean words
        ("學而時習之不亦說乎", False),
    ],
)
def test_hanja_among_hangul_is_korean(text: str, is_korean: bool) -> None:
    found = identify(pa.chunked_array([pa.array([text], pa.large_string())]))
    assert (found.language.tolist() == ["ko"]) == is_korean
    assert not is_korean or found.score.tolist() == [1.0]


def shares(text: str | None) -> dict[str, float]:
    found = identify(pa.chunked_array([pa.array([text], pa.large_string())])).shares.to_pylist()[0]
    assert [pair["share"] for pair in found] == sorted((pair["share"] for pair in found), reverse=True)
    return {pair["lang"]: pair["share"] for pair in found}


def test_paragraph_languages_with_their_shares() -> None:
    korean, japanese = "위원회는 화요일에 모여 조사 결과를 논의했다.", "委員会は火曜日に集まり、調査の結果について話し合った。"
    found = shares(f"{korean}\n\n{ENGLISH}\n12345\n{japanese}\n{korean}")
    letters = {"ko": 2 * sum(map(str.isalpha, korean)), "en": sum(map(str.isalpha, ENGLISH)), "ja": sum(map(str.isalpha, japanese))}
    assert found == {code: pytest.approx(count / sum(letters.values())) for code, count in letters.items()}
    assert shares(korean) == {"ko": 1.0}
    assert shares(f"pip install onnuri 다음에 onnuri doctor --verbose 실행\n{korean}").keys() == {"mixed", "ko"}
    assert shares(None) == shares("") == shares("123\n!!") == {}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(_MIXTURE, st.none()), min_size=1, max_size=5))
def test_shares_sum_to_one_and_rows_are_independent(texts: list[str | None]) -> None:
    together = identify(pa.chunked_array([pa.array(texts, pa.large_string())]))
    for row, text in enumerate(texts):
        alone = identify(pa.chunked_array([pa.array([text], pa.large_string())]))
        assert (together.language[row], together.score[row]) == (alone.language[0], alone.score[0])
        assert together.shares[row].as_py() == alone.shares[0].as_py()
        total = sum(pair["share"] for pair in together.shares[row].as_py())
        assert total == pytest.approx(1.0) or (total == 0 and together.language[row] == "und")


def test_stored_columns_are_enough_to_decide_again() -> None:
    """A row without language (dropped before it was told) is not decided; an unwanted language is named before a low score."""
    table = pa.table({"lang": ["ko", "de", "en", None], "lang_score": [1.0, 0.1, 0.4, None]})
    assert keep_languages(table, ("ko", "en"), 0.5).column("drop_reason").to_pylist() == [None, "language:de", "language_score", None]
    assert keep_languages(table, (), 0.0).column("drop_reason").to_pylist() == [None] * 4
