"""Scores against fastText's own and against a slow twin, whatever the model's features; and files that are no models."""

from __future__ import annotations

import functools
import gzip
import json
import random
import struct
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.classify import scorer, words_kernel
from pipeline.classify.fasttext_file import HEADER, read_model
from pipeline.classify.fit import _zeroed_allocations
from pipeline.classify.lines import normal_lines
from pipeline.classify.predict import load_model, probabilities
from pipeline.classify.scorer import Scorer, open_scorer, score
from pipeline.errors import UserError
from tests.pipeline.classify.fasttext_twin import Twin
from tests.pipeline.classify.labelled_scene import COMMON, WORDS, rows

KINDS: dict[str, dict[str, Any]] = {
    "pieces": {"minn": 2, "maxn": 4, "wordNgrams": 2, "dim": 16},
    "single characters": {"minn": 1, "maxn": 3, "wordNgrams": 1, "dim": 5},
    "words": {"minn": 0, "maxn": 0, "wordNgrams": 1, "dim": 7},
    "runs": {"minn": 0, "maxn": 0, "wordNgrams": 4, "dim": 32},
    "rare words cut": {"minn": 2, "maxn": 3, "wordNgrams": 2, "dim": 8, "minCount": 12},
    "rare words cut, words only": {"minn": 0, "maxn": 0, "wordNgrams": 1, "dim": 8, "minCount": 12},
}
TRAINED = " ".join(word for words in (*WORDS.values(), COMMON) for word in words).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each kind, all of one training text."""
    folder = tmp_path_factory.mktemp("kinds")
    records = [(row["label"], row["text"]) for row in rows(120)]
    lines = "".join(f"__label__{label} {text}\n" for label, text in records)
    (folder / "lines.txt").write_text(lines + "".join(f"__label__third {word}\n" for word in TRAINED), encoding="utf-8")
    (folder / "other.txt").write_text(lines.replace("__label__", "@"), encoding="utf-8")
    for name, parameters in KINDS.items():
        train(folder / "lines.txt", **parameters).save_model(str(folder / f"{name}.bin"))
    train(folder / "lines.txt", loss="ova", dim=8).save_model(str(folder / "ova.bin"))
    train(folder / "lines.txt", loss="hs", dim=8).save_model(str(folder / "hs.bin"))
    train(folder / "other.txt", label="@", dim=8).save_model(str(folder / "other.bin"))
    quantised = train(folder / "lines.txt", dim=8, minn=2, maxn=3)
    quantised.quantize(input=str(folder / "lines.txt"), cutoff=600, retrain=False, qnorm=True)
    quantised.save_model(str(folder / "quantised.ftz"))
    return folder


def train(lines: Path, **parameters: Any) -> Any:
    """A model whose values are random all over, so that every feature counts: training changes few of them, and starts most as zeros."""
    given = {"bucket": 5000, "epoch": 1, "minCount": 1, "thread": 1, "verbose": 0, "loss": "softmax", **parameters}
    with _zeroed_allocations():
        model = fasttext.train_supervised(str(lines), **given)
    chooser = np.random.default_rng(5)
    matrices = [chooser.normal(size=matrix.shape).astype(np.float32) for matrix in (model.get_input_matrix(), model.get_output_matrix())]
    model.set_matrices(*matrices)
    return model


def scores_of(one: Scorer, lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    found = [results[0] for _, results in score([one], pa.array(lines, pa.large_string()))]
    empty = np.zeros((0, len(one.labels)))
    return np.concatenate([empty, *(part for part, _ in found)]), np.concatenate([np.zeros(0, np.bool_), *(known for _, known in found)])


WORDS_AND_NOISE = st.one_of(
    st.sampled_from(TRAINED), st.text(min_size=1, max_size=8), st.text("가나다라마을를축구", min_size=1, max_size=5)
)
LINES = st.lists(st.lists(WORDS_AND_NOISE, max_size=12).map(" ".join), max_size=6).map(
    lambda texts: normal_lines(pa.array(texts, pa.large_string()), 1000)
)
slow = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("kind", KINDS)
@slow
@given(LINES)
def test_scores_are_fasttexts_own(folder: Path, kind: str, lines: list[str]) -> None:
    one = open_scorer(str(folder / f"{kind}.bin"), kind)
    assert one.file is not None
    found, is_known = scores_of(one, lines)
    expected = probabilities(load_model(one.path, kind), lines, one.labels)
    has_features = expected.any(axis=1)
    twin = twin_of(folder / f"{kind}.bin")
    assert is_known.tolist() == [twin.features(line) != twin.features("") for line in lines]
    assert np.abs(found - expected)[has_features].max(initial=0.0) < 1e-5


@pytest.mark.parametrize("kind", ["pieces", "single characters", "rare words cut, words only"])
@slow
@given(LINES)
def test_scores_are_those_of_the_slow_twin(folder: Path, kind: str, lines: list[str]) -> None:
    one, twin = open_scorer(str(folder / f"{kind}.bin"), kind), twin_of(folder / f"{kind}.bin")
    found, _ = scores_of(one, lines)
    assert list(one.labels) == twin.labels
    for line, ours in zip(lines, found, strict=True):
        theirs = twin.scores(line)
        assert not theirs or np.abs(np.array(theirs) + 1e-5 - ours).max() < 5e-6


@functools.cache
def twin_of(path: Path) -> Twin:
    return Twin(path)


@slow
@given(LINES)
def test_one_versus_all_is_fasttexts_own_up_to_a_step_of_its_table(folder: Path, lines: list[str]) -> None:
    one = open_scorer(str(folder / "ova.bin"), "ova")
    assert one.file is not None
    found, _ = scores_of(one, lines)
    expected = probabilities(load_model(one.path, "ova"), lines, one.labels)
    has_features = expected.any(axis=1)
    assert np.abs(found - expected)[has_features].max(initial=0.0) < 0.25 / 32 + 1e-5


@pytest.mark.parametrize("name", ["hs.bin", "quantised.ftz", "other.bin"])
def test_models_that_only_the_library_can_score(folder: Path, name: str) -> None:
    one = open_scorer(str(folder / name), name)
    assert one.file is None
    found, is_known = scores_of(one, ["축구 경기 선수", "", "atom cell theory"])
    assert is_known.tolist() == [True, False, True] and (found[::2].max(axis=1) > 0.3).all()
    assert set(one.labels) >= ({"@sport", "@science"} if name == "other.bin" else {"sport", "science"})


@pytest.mark.parametrize("name", ["words", "words.hs", "words.ftz", "pieces", "pieces.ftz"])
def test_the_end_of_line_is_nothing_known(folder: Path, tmp_path: Path, name: str) -> None:
    """fastText's dictionary has `</s>`, so it gives every line scores, even one of which it knows no word."""
    loss = "hs" if name == "words.hs" else "softmax"
    maxn = 3 if name.startswith("pieces") else 0
    more = "".join(f"__label__third rare{number}\n" for number in range(256))  # fewer rows can't be quantised
    (tmp_path / "lines.txt").write_text((folder / "lines.txt").read_text(encoding="utf-8") + more, encoding="utf-8")
    model = train(tmp_path / "lines.txt", loss=loss, minn=min(maxn, 2), maxn=maxn, wordNgrams=1, dim=8)
    if name.endswith(".ftz"):
        model.quantize(retrain=False)
    model.save_model(str(tmp_path / name))
    one = open_scorer(str(tmp_path / name), name)
    assert (one.file is None) == ("." in name) and "</s>" in model.get_words()
    _, is_known = scores_of(one, ["atom 낯선말", "낯선말 unseen", ""])
    assert is_known.tolist() == [True, maxn > 0, False]


def test_real_text_of_both_languages(shared_data: Path, tmp_path: Path) -> None:
    texts: dict[str, list[str]] = {}
    for source in ("ko/petitions", "en/digitalgov"):
        with gzip.open(shared_data / "text" / f"{source}.jsonl.gz", "rt", encoding="utf-8") as stream:
            texts[source] = [json.loads(line)["text"] for line, _ in zip(stream, range(150), strict=False)]
    lines = {source: normal_lines(pa.array(of_source, pa.large_string()), 2000) for source, of_source in texts.items()}
    labelled = [f"__label__{source} {line}\n" for source, of_source in lines.items() for line in of_source[:100]]
    (tmp_path / "lines.txt").write_text("".join(labelled), encoding="utf-8")
    for number, parameters in enumerate(({"minn": 2, "maxn": 4, "wordNgrams": 2}, {"minCount": 3, "wordNgrams": 2})):
        path = tmp_path / f"{number}.bin"
        train(tmp_path / "lines.txt", dim=32, bucket=50_000, **parameters).save_model(str(path))
        one = open_scorer(str(path), str(path))
        for of_source in lines.values():
            found, is_known = scores_of(one, of_source)
            assert is_known.all()
            assert np.abs(found - probabilities(load_model(str(path), str(path)), of_source, one.labels)).max() < 1e-5


def test_results_do_not_depend_on_how_lines_are_parted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chooser = random.Random(3)
    lines = [" ".join(chooser.choices([*TRAINED, "낯선말", "unseen"], k=chooser.randrange(30))) for _ in range(60)]
    one = open_scorer(str(folder / "pieces.bin"), "pieces")
    whole, known = scores_of(one, lines)
    monkeypatch.setattr(scorer, "_MOST_WORDS", 40)
    parted, known_again = scores_of(one, lines)
    assert whole.tobytes() == parted.tobytes() and known.tolist() == known_again.tolist()
    monkeypatch.setattr(scorer, "_MOST_SCORES", 1)
    assert scores_of(one, lines)[0].tobytes() == whole.tobytes()
    monkeypatch.setattr(scorer, "_MOST_SCORES", 1 << 20)
    monkeypatch.setattr(scorer, "_PIECE_BYTES", 1)
    assert scores_of(one, lines)[0].tobytes() == whole.tobytes()
    sliced = pa.array(["x y", *lines, "z"], pa.large_string()).slice(1, len(lines))
    assert np.concatenate([results[0][0] for _, results in score([one], sliced)]).tobytes() == whole.tobytes()


@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=300))
def test_words_survive_a_table_that_is_too_small(words: list[str]) -> None:
    line = " ".join(words).encode()
    data, offsets, slots = np.frombuffer(line, np.uint8), np.array([0, len(line)], np.int64), np.full(4, -1, np.int32)
    first, numbers = np.empty(2, np.int64), np.empty(len(words), np.int32)
    starts, sizes, hashes = np.empty(len(words), np.int64), np.empty(len(words), np.int32), np.empty(len(words), np.uint32)
    distinct = words_kernel.split_words(data, offsets, slots, first, numbers, starts, sizes, hashes)
    assert first.tolist() == [0, len(words)] and distinct <= len(words)
    assert [line[starts[number] : starts[number] + sizes[number]].decode() for number in numbers] == words


@pytest.mark.parametrize("name", ["pieces.bin", "quantised.ftz"])
def test_a_file_cut_anywhere_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for end in [*range(0, min(len(content), 400), 3), *range(400, len(content), max(1, len(content) // 100)), len(content) - 1]:
        (tmp_path / "m.bin").write_bytes(content[:end])
        with pytest.raises(UserError, match=r"is cut short|is not a fastText model|is damaged"):
            read_model(str(tmp_path / "m.bin"))


@pytest.mark.parametrize("name", ["pieces.bin", "quantised.ftz"])
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 2000), noise=st.binary(min_size=1, max_size=9))
def test_a_damaged_file_is_read_or_refused(folder: Path, tmp_path: Path, name: str, place: int, noise: bytes) -> None:
    content = bytearray((folder / name).read_bytes())
    content[place : place + len(noise)] = noise
    path = tmp_path / "m.bin"
    path.unlink(missing_ok=True)  # an earlier example may still be mapped
    path.write_bytes(content)
    try:
        model = read_model(str(path))
    except UserError:
        return
    if model is not None:
        one = Scorer(str(path), model.labels, model)
        assert np.isfinite(scores_of(one, ["축구 경기 the atom"])[0]).all()


def test_runs_are_bounded_by_their_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text without blanks is one word, and has pieces by its length."""
    made: list[int] = []
    pieces = scorer.Words.pieces

    def counted(words: scorer.Words, minn: int, maxn: int) -> tuple[np.ndarray, np.ndarray]:
        found = pieces(words, minn, maxn)
        made.append(found[1].nbytes)
        return found

    monkeypatch.setattr(scorer.Words, "pieces", counted)
    monkeypatch.setattr(scorer, "_PIECE_BYTES", 100_000)
    lines = pa.array([chr(ord("a") + number) * 1000 for number in range(20)], pa.large_string())
    list(score([open_scorer(str(folder / "pieces.bin"), "pieces")], lines))
    assert len(made) > 1 and max(made) <= 100_000 and sum(made) > 200_000


@pytest.mark.parametrize("count", [-1, -(2**63), 10**15, 3 * 10**15, 6 * 10**14])
def test_counts_that_can_not_be_are_refused(folder: Path, tmp_path: Path, count: int) -> None:
    """fastText writes beyond its memory for labels of 10^15 and more, also together: so it never sees them."""
    content = bytearray((folder / "hs.bin").read_bytes())
    *_, entries, words, labels, _, _ = HEADER.unpack_from(content)
    place = HEADER.size
    for entry in range(entries):
        place = content.index(0, place) + 1
        if entry >= words:
            struct.pack_into("<q", content, place, count)
        place += 9
    assert labels == 3
    (tmp_path / "m.bin").write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        open_scorer(str(tmp_path / "m.bin"), str(count))


def test_values_that_are_not_numbers_are_refused(folder: Path, tmp_path: Path) -> None:
    content = (folder / "words.bin").read_bytes()
    for value in (np.nan, np.inf):
        (tmp_path / "m.bin").write_bytes(content[:-8] + np.array([value], "<f4").tobytes() + content[-4:])
        with pytest.raises(UserError, match=r"holds values that are not numbers \(NaN or infinite\)"):
            read_model(str(tmp_path / "m.bin"))


@pytest.mark.parametrize("loss", ["softmax", "ova"])
def test_sums_that_are_no_numbers_are_refused(folder: Path, tmp_path: Path, loss: str) -> None:
    model = train(folder / "lines.txt", dim=4, loss=loss)
    matrices = [np.full_like(matrix, 3e38) for matrix in (model.get_input_matrix(), model.get_output_matrix())]
    matrices[1][:, ::2] = -3e38
    model.set_matrices(*matrices)
    model.save_model(str(tmp_path / "huge.bin"))
    with pytest.raises(UserError, match="gives scores that are not numbers"):
        scores_of(open_scorer(str(tmp_path / "huge.bin"), loss), ["atom cell theory energy"])


def test_the_library_never_hands_on_a_score_that_is_no_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "probabilities", lambda model, lines, labels: np.full((len(lines), len(labels)), np.nan))
    with pytest.raises(UserError, match="gives scores that are not numbers"):
        scores_of(open_scorer(str(folder / "hs.bin"), "hs.bin"), ["a"])
