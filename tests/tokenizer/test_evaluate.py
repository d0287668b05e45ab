"""Tokenizers measured side by side: rows that add up, whatever the batches; page and plot with hostile names; wrong input in a sentence."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RunFailed, UserError
from tokenizer import evaluate, texts
from tokenizer.baselines import load_encoder
from tokenizer.evaluate import PARALLEL, EvaluateConfig, Evaluation, Measurement, run_evaluation
from tokenizer.evaluation_page import Trend, plot, render_page, write_evaluation
from tokenizer.evaluation_table import render

HOSTILE = "<script>alert(1)</script>\u202e&\"'\x00"

KOREAN, ENGLISH = "나는 학교에 간다. 나는 집에", "the cat and the dog, the 2 cats"


def write_ranks(path: Path, *words: str) -> Path:
    tokens = [bytes([byte]) for byte in range(256)] + [word.encode() for word in words]
    path.write_bytes(gzip.compress(b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))))
    return path


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two tokenizers: of bytes alone, and one that has some words."""
    folder = tmp_path_factory.mktemp("ranks")
    bytes_alone = write_ranks(folder / "cl100k.tiktoken.gz")
    words = write_ranks(folder / "llama3.tiktoken.gz", "the", " the", " cat", "나는", " 나는", "학")
    return f"words={words}", f"bytes={bytes_alone}"


def write_jsonl(path: Path, *records: dict[str, object]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    """Parquet with both languages, one row without text and one without a language."""
    table = pa.table(
        {
            "id": list("abcdef"),
            "text": [KOREAN, ENGLISH, ENGLISH, None, KOREAN, "x"],
            "lang": ["ko", "en", "en", "en", "ko", None],
            "domain": ["school", "pets", None, "pets", "school", None],
            "source": ["s", "s", "t", "s", "s", None],
        }
    )
    pq.write_table(table, tmp_path / "corpus.parquet")
    return str(tmp_path / "corpus.parquet")


def test_rows_by_language_and_genre(corpus: str, ranks: tuple[str, str]) -> None:
    evaluation = run_evaluation(EvaluateConfig(tokenizers=ranks, texts=(corpus,), top_words=(1, 3)))
    assert [(row.language, row.genre) for row in evaluation.rows if row.tokenizer == "bytes"] == [
        ("en", None),
        ("en", "pets"),
        ("en", "t"),
        ("ko", None),
        ("ko", "school"),
        ("und", None),
        ("und", "other"),
    ]
    assert evaluation.skipped == {"no text": 1}
    assert [row.tokenizer for row in evaluation.rows[:2]] == ["words", "bytes"]
    korean = evaluation.row("bytes", "ko")
    assert korean is not None
    size = len(KOREAN.encode())
    assert (korean.documents, korean.bytes, korean.characters, korean.words, korean.tokens) == (2, 2 * size, 2 * len(KOREAN), 10, 2 * size)
    assert korean.tokens_per_word == pytest.approx(2 * size / 10)
    letters = sum(character >= "가" for character in KOREAN)
    assert korean.partial_rate == pytest.approx(3 * letters / size)
    better = evaluation.row("words", "ko")
    assert better is not None
    assert better.tokens == 2 * (size - 5 - 6)  # once 나는, once with its space; no two tokens make 학
    assert better.single_token_rate == {1: 1.0, 3: pytest.approx(1 / 3)}
    assert better.single_token_rate_bare == {1: 1.0, 3: pytest.approx(1 / 3)}
    english = evaluation.row("words", "en")
    assert english is not None
    assert english.single_token_rate == {1: 1.0, 3: pytest.approx(2 / 3)}  # the, and, cat
    assert english.single_token_rate_bare == {1: 1.0, 3: pytest.approx(1 / 3)}
    facts = evaluation.tokenizers[0]
    assert (facts.vocabulary, facts.special_tokens, facts.syllables_common, facts.syllables) == (262, 0, 1, 1)
    assert facts.space_duplicates == pytest.approx(2 / 262)
    assert facts.parity is None


def test_batches_make_no_difference(corpus: str, ranks: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    config = EvaluateConfig(tokenizers=ranks, texts=(corpus,))
    whole = run_evaluation(config)
    monkeypatch.setattr(texts, "BATCH_BYTES", 1)
    assert run_evaluation(config) == whole


def test_languages_sum_up_their_genres(corpus: str, ranks: tuple[str, str]) -> None:
    evaluation = run_evaluation(EvaluateConfig(tokenizers=ranks, texts=(corpus,)))
    for row in evaluation.rows:
        if row.genre is None:
            parts = [part for part in evaluation.rows if (part.tokenizer, part.language) == (row.tokenizer, row.language) and part.genre]
            assert sum(part.tokens for part in parts) == row.tokens
            assert sum(part.words for part in parts) == row.words


def test_jsonl_with_the_language_in_front(tmp_path: Path, ranks: tuple[str, str]) -> None:
    path = write_jsonl(tmp_path / "notes.jsonl", {"id": "1", "text": KOREAN}, {"id": "2", "text": ENGLISH})
    evaluation = run_evaluation(EvaluateConfig(tokenizers=ranks, texts=(f"ko={path}",)))
    assert [(row.language, row.genre) for row in evaluation.rows] == [("ko", None)] * 2 + [("ko", "notes")] * 2
    assert {row.language for row in run_evaluation(EvaluateConfig(tokenizers=ranks, texts=(path,))).rows} == {"und"}


def test_limit_is_of_every_file(tmp_path: Path, ranks: tuple[str, str]) -> None:
    paths = tuple(write_jsonl(tmp_path / f"{name}.jsonl", *({"id": str(row), "text": "abc"} for row in range(9))) for name in "ab")
    evaluation = run_evaluation(EvaluateConfig(tokenizers=ranks, texts=paths, limit_bytes=7))
    assert [(row.genre, row.documents) for row in evaluation.rows if row.tokenizer == "words"] == [(None, 6), ("a", 3), ("b", 3)]


def test_parity_on_parallel_text(tmp_path: Path, ranks: tuple[str, str]) -> None:
    """Pairs with one side missing are left out."""
    pairs = [{"id": "1", "ko": KOREAN, "en": ENGLISH}, {"id": "2", "ko": "가", "en": None}, {"id": "3", "ko": "나", "en": "I"}]
    jsonl = write_jsonl(tmp_path / "pairs.jsonl", *pairs)
    pq.write_table(pa.Table.from_pylist(pairs), tmp_path / "pairs.parquet")
    for path in (jsonl, str(tmp_path / "pairs.parquet")):
        evaluation = run_evaluation(EvaluateConfig(tokenizers=ranks, parallel=(path,)))
        assert evaluation.tokenizers[1].parity == pytest.approx(len((KOREAN + "나").encode()) / len(ENGLISH + "I"))
        assert {(row.language, row.genre, row.documents) for row in evaluation.rows if row.genre} == {
            ("ko", PARALLEL, 2),
            ("en", PARALLEL, 2),
        }
    assert "parity ko/en" in render(evaluation)


def test_more_genres_than_are_told_apart(ranks: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "MOST_GROUPS", 2)
    measurement = Measurement([load_encoder(Path(ranks[1].partition("=")[2]))])
    for place in range(5):
        measurement.add(pa.array(["a b"], pa.large_string()), "en", f"genre {place}")
    rows = measurement.result().rows
    assert [(row.language, row.genre, row.words) for row in rows if row.genre] == [
        ("en", "genre 0", 2),
        ("en", "genre 1", 2),
        ("other", "other", 6),
    ]


def test_empty_texts_have_no_measures(ranks: tuple[str, str]) -> None:
    measurement = Measurement([load_encoder(Path(ranks[1].partition("=")[2]))])
    measurement.add(pa.array(["", " "], pa.large_string()).slice(0, 1), "ko", "nothing")
    row = measurement.result().rows[0]
    assert (row.documents, row.tokens, row.words) == (1, 0, 0)
    assert row.tokens_per_word is row.bytes_per_token is row.partial_rate is row.renyi_efficiency is None
    assert row.single_token_rate == {}
    assert "–" in render(measurement.result())
    render_page(measurement.result())


def hostile(ranks: tuple[str, str]) -> Evaluation:
    paths = [Path(one.partition("=")[2]) for one in ranks]
    named = [load_encoder(paths[0]), load_encoder(paths[1])]
    object.__setattr__(named[0], "name", HOSTILE)
    measurement = Measurement(named)
    measurement.add(pa.array([f"{HOSTILE} {KOREAN}"], pa.large_string()), HOSTILE, HOSTILE)
    measurement.add(pa.array([ENGLISH], pa.large_string()), HOSTILE, "other <b>")
    measurement.skipped.rows[HOSTILE] = 1
    return measurement.result(("<ko>", "<en>"))


def test_page_and_plot_escape_what_comes_from_outside(tmp_path: Path, ranks: tuple[str, str]) -> None:
    evaluation = hostile(ranks)
    trends = [Trend(HOSTILE, HOSTILE, ((1e6, 2.5), (2e6, 2.25))), Trend("flat", HOSTILE, ((0.0, 2.5),)), Trend("none", "ko", ())]
    html, svg, data = write_evaluation(evaluation, tmp_path / "page", trends)
    page = html.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>" not in page
    assert "\u202e" not in page
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import""", page)
    drawn = ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert any(HOSTILE[:8] in (text.text or "") for text in drawn.iter("{http://www.w3.org/2000/svg}text"))
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}polyline"))) == 2
    written = json.loads(data.read_text(encoding="utf-8"))
    assert written["rows"][0]["tokenizer"] == HOSTILE
    assert written["trends"][0]["points"] == [[1e6, 2.5], [2e6, 2.25]]
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == ["evaluation.html", "evaluation.json", "evaluation.svg"]
    assert "\u202e" not in render(evaluation)


def test_plot_draws_the_languages_with_most_text(ranks: tuple[str, str]) -> None:
    measurement = Measurement([load_encoder(Path(ranks[0].partition("=")[2]))])
    for place in range(8):
        measurement.add(pa.array(["a " * (place + 1)], pa.large_string()), f"l{place}", "g")
    drawn = plot(measurement.result())
    assert "l2: tokens per word" in drawn
    assert "l1: tokens per word" not in drawn


def test_folder_that_cannot_be_written(tmp_path: Path, ranks: tuple[str, str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailed, match="can't write the evaluation to"):
        write_evaluation(hostile(ranks), tmp_path / "file")


def test_wrong_input(tmp_path: Path, ranks: tuple[str, str]) -> None:
    empty = write_jsonl(tmp_path / "empty.jsonl", {"id": "1", "body": "no text"})
    pairs = write_jsonl(tmp_path / "pairs.jsonl", {"id": "1", "ko": KOREAN})
    pq.write_table(pa.table({"id": ["1"], "body": ["x"]}), tmp_path / "other.parquet")
    for given, message in (
        ({"texts": (empty,)}, "there is no tokenizer to measure"),
        ({"tokenizers": ranks}, "nothing to measure on; give files with --texts or --parallel"),
        ({"tokenizers": ranks, "texts": (empty,)}, r"hold no text \(1 rows with no text\)"),
        ({"tokenizers": ranks, "texts": (str(tmp_path / "other.parquet"),)}, "has no column 'text'"),
        ({"tokenizers": ranks, "texts": (str(tmp_path / "absent.jsonl"),)}, "absent.jsonl"),
        ({"tokenizers": (ranks[0], ranks[0]), "texts": (empty,)}, "two tokenizers are called 'words'"),
        ({"tokenizers": ranks, "parallel": (pairs,)}, "has no row with text in both 'ko' and 'en'"),
        (
            {"tokenizers": ranks, "parallel": (pairs,), "parallel_columns": ("ko", "ko")},
            "both columns of the parallel text are called 'ko'",
        ),
        ({"tokenizers": (empty,), "texts": (empty,)}, "is no tokenizer; give a folder"),
    ):
        with pytest.raises(UserError, match=message):
            run_evaluation(EvaluateConfig.model_validate(given))
