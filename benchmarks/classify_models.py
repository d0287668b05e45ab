"""Trained fastText models beside a logistic regression on TF-IDF, on the same documents, split and measures.

    pip install scikit-learn                             in an environment of its own: it is no dependency of this project
    python benchmarks/classify_models.py DATA            DATA holds labelled, text and instruction
    python benchmarks/classify_models.py DATA --only quality-en petitions
    python benchmarks/classify_models.py DATA --autotune 0      without the search

Both see the lines of `normal_lines`. Ours is `onnuri classify train` with default settings; the rows "jamo" set letters to jamo with pieces
of 3 to 6, and the rows "autotune" search for at most --autotune seconds. The regression has sublinear TF-IDF over words and pairs of words,
or over pieces of 2 to 4 characters inside words (`char_wb`), min_df 2, labels weighed alike. Its C is 1 or 10, whichever does better on the
held-out documents: a choice that ours is not given.

Source as label: each file under text/ko and text/en is a label; whole authors, films, laws, folders and so on within it are held out (field
`group`), and, beside that, single documents. Quality across sources: good are encyclopaedia, law and news (ko) or books, government pages
and PEPs (en); bad are film reviews, comments and chat (ko) or chat and pages that people called bad (en). Each fold holds one good and one
bad source out wholly. Only 100 characters are shown, as otherwise length alone tells the two apart. Seconds are on one process, of fitting
and of predicting the held-out documents; reading isn't counted.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import xxhash

from pipeline.classify.card import held_out_scores
from pipeline.classify.config import TrainConfig
from pipeline.classify.divide import Document, Sides, balanced, divide_labelled, resolve_split
from pipeline.classify.labelled import read_labelled
from pipeline.classify.train import autotuned, fasttext_names, score_documents, train_documents

SEED = 7
PER_SOURCE = 500  # documents of each source, those of smallest hash: the largest has 226,433
REPEATS = 10  # other splits of a set of 233 documents
JAMO = {"letters": "jamo", "minn": 3, "maxn": 6}
KOREAN = ("wiki_korquad_contexts", "law_legalize_kr", "news_dps_sample"), ("movie_reviews_nsmc_raw", "news_comments_kocohub", "chat")
ENGLISH = ("books_classic", "digitalgov", "peps"), ("hh_rlhf", "dclm_bad")


@dataclass(frozen=True)
class Set:
    """One experiment: files, settings, whether Korean is in it, and how many splits (by seed) are averaged."""

    name: str
    settings: dict[str, Any]
    korean: bool
    seeds: Sequence[int] = field(default=(SEED,))


@dataclass(frozen=True)
class Result:
    """Measures over all held-out documents and per language, and seconds."""

    measures: dict[str, dict[str, Any]]
    train_seconds: float
    predict_seconds: float
    note: str = ""


def main() -> None:
    """Print one table per set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="names of sets")
    parser.add_argument("--methods", nargs="*", default=[], help="names of methods, such as ours or 'regression, words'")
    parser.add_argument("--autotune", type=float, default=60.0, help="seconds; 0: no such rows")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for set_ in sets(arguments.data, Path(name)):
            if not arguments.only or any(set_.name.startswith(wanted) for wanted in arguments.only):
                print_set(set_, arguments.autotune, arguments.methods, Path(name))


def sets(data: Path, folder: Path) -> Iterator[Set]:
    """The experiments; files that must be made are written to `folder`."""
    beep = str(data / "labelled/quality/ko_hate_beep_train.jsonl.gz")
    yield Set(
        "quality-en (DCLM)",
        {"inputs": [str(data / "labelled/quality/en_dclm_human_quality.jsonl.gz")], "positive_label": "1", "held_out_share": 0.3},
        False,
        range(SEED, SEED + REPEATS),
    )
    for how, split_by in (("by comment", "text"), ("by news item", "news_title")):
        yield Set(
            f"comments-ko (BEEP! hate), split {how}",
            {"inputs": [beep], "label_column": "hate", "positive_label": "none", "split_by": split_by},
            True,
        )
    yield Set("topic-en (AG News)", {"inputs": [str(data / "labelled/topic/en_agnews_test.jsonl.gz")], "label_column": "category"}, False)
    yield Set("petitions-ko", {"inputs": [str(data / "text/ko/petitions.jsonl.gz")], "label_column": "category"}, True)
    sources = write(folder / "sources.jsonl", source_records(data))
    for split_by in ("group", "text"):
        yield Set(f"source as label, split by {split_by}", {"inputs": [sources], "split_by": split_by, "max_chars": 1000}, True)
    for language, (good, bad) in {"ko": KOREAN, "en": ENGLISH}.items():
        records = quality_records(data, good, bad)
        short = {"positive_label": "good", "max_chars": 100}
        both = write(folder / f"quality-{language}.jsonl", records)
        yield Set(f"good or bad source ({language}), random split", {"inputs": [both], "split_by": "text", **short}, language == "ko")
        for left, right in zip(good, bad, strict=False):
            sides = [[record for record in records if (record["source"] in (left, right)) == out] for out in (False, True)]
            paths = [write(folder / f"{language}-{left}-{side}.jsonl", of_side) for side, of_side in zip(("in", "out"), sides, strict=True)]
            settings = {"inputs": [paths[0]], "held_out_inputs": [paths[1]], "split_by": "text", **short}
            yield Set(f"good or bad source ({language}), {left} and {right} held out", settings, language == "ko")


def source_records(data: Path) -> list[dict[str, str]]:
    """Documents of every text file, labelled by it, with the part of the source that they are from."""
    made = []
    for path in sorted([*data.glob("text/ko/*.jsonl.gz"), *data.glob("text/en/*.jsonl.gz")]):
        label = path.name.removesuffix(".jsonl.gz")
        for record in sample(path):
            made.append({"text": record["text"], "label": label, "lang": record["lang"], "group": group_of(label, record)})
    return made


def group_of(label: str, record: dict[str, Any]) -> str:
    """The part of its source that a document is from; empty where the data tells none (news articles)."""
    url = unquote(record.get("url", ""))
    folder = url.rsplit("/", 1)[0]
    part = {
        "bible_krv1961": url,
        "blog_johngrib": str(record.get("tags", "")).split(" ")[0] or folder,
        "books_classic": record.get("author"),
        "digitalgov": str(record.get("topics") or folder),
        "docs_ms_cpp_ko": folder,
        "docs_react_ko": folder,
        "law_legalize_kr": str(record.get("title")).removesuffix(" 시행령").removesuffix(" 시행규칙"),
        "movie_reviews_nsmc_raw": record.get("movie_id"),
        "news_comments_kocohub": record.get("news_title"),
        "peps": next((line for line in record["text"].split("\n") if line.startswith("Author:")), ""),
        "petitions": str(record.get("date"))[:7],
        "wiki_korquad_contexts": record.get("title"),
    }.get(label)
    return f"{label}: {part}" if part else ""


def quality_records(data: Path, good: Sequence[str], bad: Sequence[str]) -> list[dict[str, str]]:
    """Documents of good and of bad sources, as many of each as there are."""
    files = {path.name.removesuffix(".jsonl.gz"): path for path in data.glob("text/*/*.jsonl.gz")}
    files |= {"chat": data / "instruction/ko_chatbot_data.jsonl.gz", "hh_rlhf": data / "instruction/hh_rlhf_harmless_test.jsonl.gz"}
    files |= {"dclm_bad": data / "labelled/quality/en_dclm_human_quality.jsonl.gz"}
    made = []
    for source in (*good, *bad):
        for record in sample(files[source]):
            if source != "dclm_bad" or record["label"] == 0:
                text = record["text"].replace("Human:", "").replace("Assistant:", "").strip()
                made.append({"text": text, "label": "good" if source in good else "bad", "lang": record["lang"], "source": source})
    return made


def sample(path: Path) -> list[dict[str, Any]]:
    """PER_SOURCE records of a file, those whose id has the smallest hash."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return sorted(records, key=lambda record: xxhash.xxh3_64_intdigest(record["id"].encode(), SEED))[:PER_SOURCE]


def write(path: Path, records: Sequence[dict[str, Any]]) -> str:
    """Write JSONL; returns the path as text."""
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return str(path)


def print_set(set_: Set, autotune: float, methods: Sequence[str], folder: Path) -> None:
    """One Markdown table: a row per method and language."""
    variants: dict[str, Callable[[int], Result]] = {"ours": lambda seed: ours(set_, seed, {}, folder)}
    if set_.korean:
        variants["ours, jamo"] = lambda seed: ours(set_, seed, JAMO, folder)
    if autotune:
        variants["ours, autotune"] = lambda seed: ours(set_, seed, {"autotune_seconds": autotune}, folder)
    variants["regression, words"] = lambda seed: regression(set_, seed, "word", (1, 2))
    variants["regression, pieces"] = lambda seed: regression(set_, seed, "char_wb", (2, 4))
    sides, settings = documents(set_, set_.seeds[0], {})
    size = f"{len(sides.training):,} documents train, {len(sides.held_out):,} are held out"
    print(f"\n### {set_.name}\n\n{size}; split by {settings.split_by}; {len(set_.seeds)} split(s)\n")
    head = [
        "method",
        "language",
        "accuracy",
        "macro F1",
        "AUC",
        "average precision",
        "calibration error",
        "Brier",
        "train s",
        "predict s",
        "",
    ]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for name, run in variants.items():
        if methods and name not in methods:
            continue
        results = [run(seed) for seed in set_.seeds]
        for language in results[0].measures:
            found = [figures(result.measures[language]) for result in results if language in result.measures]
            numbers = [f"{np.mean(column):.3f}" if None not in column else "" for column in zip(*found, strict=True)]
            seconds = [f"{np.mean([getattr(result, key) for result in results]):.1f}" for key in ("train_seconds", "predict_seconds")]
            print(f"| {' | '.join([name, language, *numbers, *seconds, results[0].note])} |", flush=True)


def figures(facts: dict[str, Any]) -> list[float | None]:
    """The numbers of a row."""
    calibration = facts["calibration"]
    measures = [facts.get(key) for key in ("accuracy", "macro_f1", "auc", "average_precision")]
    return [*measures, calibration["expected_error"], calibration["brier"]]


def documents(set_: Set, seed: int, changed: dict[str, Any]) -> tuple[Sides, TrainConfig]:
    """Both sides of a set, as the trainer divides it."""
    settings = TrainConfig.model_validate({**set_.settings, **changed, "seed": seed})
    labelled = read_labelled(settings)
    settings = settings.model_copy(update={"split_by": resolve_split(labelled.examples, settings)[0]})
    return divide_labelled(labelled, settings), settings


def ours(set_: Set, seed: int, changed: dict[str, Any], folder: Path) -> Result:
    """The project's trainer."""
    sides, settings = documents(set_, seed, changed)
    names = fasttext_names(sorted({document.label for document in sides.training}))
    started = time.perf_counter()
    settings, search = autotuned(settings, sides.training, names, folder)
    model = train_documents(settings, balanced(sides.training, settings), names, folder).model
    trained = time.perf_counter()
    scores = score_documents(model, sides.held_out, names)
    note = f"{len(search['trials'])} trials, {search['winner']} won" if search else ""
    return Result(measured(list(names), sides.held_out, scores, settings), trained - started, time.perf_counter() - trained, note)


def regression(set_: Set, seed: int, analyzer: str, ngrams: tuple[int, int]) -> Result:
    """scikit-learn's TF-IDF and logistic regression; C by the held-out documents."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    sides, settings = documents(set_, seed, {})
    labels = sorted({document.label for document in sides.training})
    vectorizer = TfidfVectorizer(analyzer=analyzer, ngram_range=ngrams, min_df=2, sublinear_tf=True, lowercase=False, dtype=np.float32)
    started = time.perf_counter()
    features = vectorizer.fit_transform([document.example.line for document in sides.training])
    prepared = time.perf_counter() - started
    results = []
    for weight in (1.0, 10.0):
        began = time.perf_counter()
        model = LogisticRegression(C=weight, max_iter=300, class_weight="balanced")
        model.fit(features, [document.label for document in sides.training])
        fitted = time.perf_counter()
        scores = model.predict_proba(vectorizer.transform([document.example.line for document in sides.held_out]))
        predicted = time.perf_counter() - fitted
        ordered = scores[:, [list(model.classes_).index(label) for label in labels]].astype(np.float64)
        facts = measured(labels, sides.held_out, ordered, settings)
        results.append(Result(facts, prepared + fitted - began, predicted, f"C {weight:g}"))
    return max(results, key=lambda result: next(iter(result.measures.values()))["auc"])


def measured(labels: list[str], held_out: Sequence[Document], scores: np.ndarray, settings: TrainConfig) -> dict[str, dict[str, Any]]:
    """The measures of every language, or, with several, of all first."""
    found = held_out_scores(labels, held_out, scores, settings.positive_label)
    return found["languages"] if len(found["languages"]) == 1 else {"all": found["held_out"], **found["languages"]}


if __name__ == "__main__":
    main()
