"""Languages are told by script where Hangul decides and by the detector elsewhere; a bad model is the user's error, before the run."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.classify.fit import fit
from pipeline.errors import UserError
from pipeline.refine.language import Language, check, normalised_code
from pipeline.refine.signals import Signals

ENGLISH = "The committee met on Tuesday to discuss the results of the survey, and decided to publish them in full next month."


def identified(*texts: str | None, stage: Language | None = None) -> pa.Table:
    column = pa.chunked_array([pa.array(texts, pa.large_string())])
    return (stage or Language())(Signals()(pa.table({"text": column})))


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
