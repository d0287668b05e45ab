"""Signals beside datatrove's filters: speed in the same run, and verdicts compared rule by rule: `python benchmarks/signals.py DATA`.

DATA is the folder of development data (text/, labelled/). Needs datatrove with spaCy. The comparison gives each datatrove filter one rule
at a time, once with its own words (spaCy tokens) and once with ours (split on white space), which tells rules from tokenisers.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)
from datatrove.utils.text import split_into_words

from pipeline.refine.signals import Signals
from pipeline.refine.stages import load_preset
from pipeline.rules import Rule

KOREAN = ("law_legalize_kr", "wiki_korquad_contexts", "petitions", "news_dps_sample", "blog_johngrib")
ENGLISH = ("text/en/peps", "text/en/digitalgov", "text/en/books_classic", "labelled/quality/en_dclm_human_quality")
SPEED_BYTES = 12_000_000  # of each Korean and English file, for our own speed
MAX_CHARS = 20_000  # a book is compared by its beginning
NOTHING: dict[str, Any] = {
    "dup_line_frac": None, "dup_para_frac": None, "dup_line_char_frac": None, "dup_para_char_frac": None, "top_n_grams": (),
    "dup_n_grams": (),
}  # fmt: skip
NO_QUALITY: dict[str, Any] = dict.fromkeys(
    ("min_doc_words", "max_doc_words", "min_avg_word_length", "max_avg_word_length", "max_symbol_word_ratio", "max_bullet_lines_ratio",
     "max_ellipsis_lines_ratio", "max_non_alpha_words_ratio", "min_stop_words")
)  # fmt: skip
NO_FINEWEB: dict[str, Any] = {"line_punct_thr": -1, "short_line_thr": 2, "char_duplicates_ratio": 2, "new_line_ratio": 1e9}
NO_C4: dict[str, Any] = {"min_num_sentences": -1, "filter_lorem_ipsum": False, "filter_curly_bracket": False}


def repetition(**settings: Any) -> GopherRepetitionFilter:
    return GopherRepetitionFilter(**NOTHING | settings)


def quality(**settings: Any) -> GopherQualityFilter:
    return GopherQualityFilter(**NO_QUALITY | settings)


def fineweb(**settings: Any) -> FineWebQualityFilter:
    return FineWebQualityFilter(**NO_FINEWEB | settings)


def c4(**settings: Any) -> C4QualityFilter:
    return C4QualityFilter(**NO_C4 | settings)


def single_rules() -> list[tuple[str, str, str, Any]]:
    """Preset, our signal and operator, and the datatrove filter that has only the same rule."""
    rows = [
        ("gopher", "words", ">=", quality(min_doc_words=50)),
        ("gopher", "words", "<=", quality(max_doc_words=100_000)),
        ("gopher", "mean_word_length", ">=", quality(min_avg_word_length=3)),
        ("gopher", "mean_word_length", "<=", quality(max_avg_word_length=10)),
        ("gopher", "symbol_word_ratio", "<=", quality(max_symbol_word_ratio=0.1)),
        ("gopher", "bullet_line_ratio", "<=", quality(max_bullet_lines_ratio=0.9)),
        ("gopher", "ellipsis_line_ratio", "<=", quality(max_ellipsis_lines_ratio=0.3)),
        ("gopher", "alpha_word_ratio", ">=", quality(max_non_alpha_words_ratio=0.8)),
        ("gopher", "stop_words", ">=", quality(min_stop_words=2)),
        ("gopher", "dup_line_ratio", "<=", repetition(dup_line_frac=0.3)),
        ("gopher", "dup_paragraph_ratio", "<=", repetition(dup_para_frac=0.3)),
        ("gopher", "dup_line_char_ratio", "<=", repetition(dup_line_char_frac=0.2)),
        ("gopher", "dup_paragraph_char_ratio", "<=", repetition(dup_para_char_frac=0.2)),
    ]
    rows += [
        ("gopher", f"top_{n}gram_char_ratio", "<=", repetition(top_n_grams=((n, limit),))) for n, limit in ((2, 0.2), (3, 0.18), (4, 0.16))
    ]
    rows += [
        ("gopher", f"dup_{n}gram_char_ratio", "<=", repetition(dup_n_grams=((n, limit),)))
        for n, limit in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    ]
    rows += [
        ("c4", "c4_sentences", ">=", c4(min_num_sentences=5)),
        ("c4", "lorem_ipsum", "==", c4(filter_lorem_ipsum=True)),
        ("c4", "curly_brackets", "==", c4(filter_curly_bracket=True)),
        ("fineweb", "line_end_punct_ratio", ">=", fineweb(line_punct_thr=0.12)),
        ("fineweb", "short_line_ratio", "<=", fineweb(short_line_thr=0.67)),
        ("fineweb", "dup_line_char_ratio", "<=", fineweb(char_duplicates_ratio=0.01)),
        ("fineweb", "newline_ratio", "<=", fineweb(new_line_ratio=0.3)),
    ]
    return rows


def read(path: Path, documents: int, max_chars: int | None = None) -> list[str]:
    """The first texts of a JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"][:max_chars] for line in itertools.islice(lines, documents)]


def some_bytes(texts: list[str], limit: int) -> list[str]:
    """The first texts up to so many UTF-8 bytes together."""
    sizes = itertools.accumulate(len(text.encode()) for text in texts)
    return [text for text, size in zip(texts, sizes, strict=True) if size <= limit] or texts[:1]


def measured(texts: list[str]) -> pa.Table:
    return Signals()(pa.table({"text": pa.array(texts, pa.large_string())}))


def rate(texts: list[str], function: Callable[[list[str]], Any], repeats: int) -> float:
    """MB of UTF-8 per CPU second of the best call."""
    best = float("inf")
    for _ in range(repeats):
        started = time.process_time()
        function(texts)
        best = min(best, time.process_time() - started)
    return sum(len(text.encode()) for text in texts) / best / 1e6


def dropped(filter_: Any, text: str) -> bool:
    """Whether the datatrove filter drops the text; one that stops with an error (a division by zero words) drops it too."""
    try:
        verdict = filter_.filter(Document(text=text, id="0"))
    except ZeroDivisionError:
        return True
    return verdict is not True


@contextlib.contextmanager
def words_by(split: Callable[[str, str], list[str]]) -> Iterator[None]:
    """Let datatrove's filters use these words."""
    modules = (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter)
    for module in modules:
        module.split_into_words = split
    try:
        yield
    finally:
        for module in modules:
            module.split_into_words = split_into_words


def print_speed(data: Path, english: list[str]) -> None:
    measured(["warm up"])
    print("| documents | MB/s per core |\n|---|---|")
    for language, names in (("ko", [f"text/ko/{name}" for name in KOREAN]), ("en", list(ENGLISH))):
        for name in names:
            texts = some_bytes(read(data / f"{name}.jsonl.gz", 100_000), SPEED_BYTES)
            print(f"| Signals, {language}: {name.split('/')[-1]} | {rate(texts, measured, 3):.1f} |")
    texts = some_bytes(english, 1_500_000)
    seconds = 0.0
    size = sum(len(text.encode()) for text in texts) / 1e6
    dropped(GopherQualityFilter(), "Load the tokenizer of this language, please.")
    dropped(C4QualityFilter(), "Load the sentence splitter. " * 9)
    for filter_ in (GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()):
        theirs = rate(texts, lambda texts, filter_=filter_: [dropped(filter_, text) for text in texts], 1)
        seconds += size / theirs
        print(f"| datatrove {type(filter_).__name__}, en, {len(texts)} documents | {theirs:.3f} |")
    ours = rate(texts, measured, 5)
    print(f"| datatrove, the four together, the same documents | {size / seconds:.3f} |")
    print(f"| Signals, the same documents | {ours:.1f} |")
    print(f"| ratio | {ours * seconds / size:.0f} times |\n")


def print_verdicts(texts: list[str], examples: int) -> None:
    table = measured(texts)
    spacy = {text: split_into_words(text, "eng") for text in texts}
    counts = dict.fromkeys(("gopher", "c4", "fineweb"))
    print("| rule | drops: ours | datatrove | only ours | only theirs | datatrove, white-space words | only ours | only theirs |")
    print("|---|---|---|---|---|---|---|---|")
    sums = {preset: [[False] * len(texts) for _ in range(3)] for preset in counts}
    for preset, column, op, filter_ in single_rules():
        rule = next(rule for rule in load_preset(preset) if rule.column == column and rule.op == op)
        ours = rule.broken(table).to_pylist()
        verdicts = []
        for split in (lambda text, language: spacy[text], lambda text, language: text.split()):
            with words_by(split):
                verdicts.append([dropped(filter_, text) for text in texts])
        for total, column_verdicts in zip(sums[preset], (ours, *verdicts), strict=True):
            total[:] = [a or b for a, b in zip(total, column_verdicts, strict=True)]
        print_row(f"{preset}: {rule.reason}", ours, *verdicts)
        print_examples(rule, table, texts, ours, verdicts[1], examples)
    for preset, (ours, with_spacy, with_split) in sums.items():
        print_row(f"**{preset}, any of these**", ours, with_spacy, with_split)


def print_row(name: str, ours: list[bool], *theirs: list[bool]) -> None:
    cells = [name, sum(ours)]
    for verdicts in theirs:
        pairs = list(zip(ours, verdicts, strict=True))
        cells += [sum(verdicts), sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)]
    print("| " + " | ".join(map(str, cells)) + " |")


def print_examples(rule: Rule, table: pa.Table, texts: list[str], ours: list[bool], theirs: list[bool], limit: int) -> None:
    """Where the verdicts with the same words differ: our signal and the beginning and end of the text."""
    differing = [row for row in range(len(texts)) if ours[row] != theirs[row]]
    for row in differing[:limit]:
        value = table.column(rule.column)[row].as_py()
        print(f"    {'ours' if ours[row] else 'theirs'} {rule.column}={value:.4g} {texts[row][:100]!r} ... {texts[row][-60:]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the folder of development data")
    parser.add_argument("--documents", type=int, default=400, help="documents of each English file to compare")
    parser.add_argument("--examples", type=int, default=0, help="differing documents to show per rule")
    arguments = parser.parse_args()
    english = [text for name in ENGLISH for text in read(arguments.data / f"{name}.jsonl.gz", arguments.documents, MAX_CHARS)]
    print_speed(arguments.data, english)
    print_verdicts(english, arguments.examples)


if __name__ == "__main__":
    main()
