"""Counting words on one core, beside what a user would count with: `python benchmarks/tokenizer_count.py DATA [--json]`.

DATA is the folder of development data (`text/ko`, `text/en` with JSONL files). Needs ffbpe and regex. Every way counts the same texts in
NFC, of which the slow ones get the beginning only; all counts are compared, and a difference ends the run. MB are of UTF-8, best of three.
`hash table warm` is ours on a text whose words it knows already: what a long run comes to.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ffbpe
import pyarrow as pa
import regex
from tokenizers import Regex, pre_tokenizers

from tokenizer.pretoken import WordCounter, normalized
from tokenizer.words import PATTERN, Words

FILES = ("ko/petitions", "ko/law_legalize_kr", "ko/movie_reviews_nsmc_raw", "en/books_classic", "en/peps", "en/digitalgov")
BYTES = 8_000_000  # of each file, for the fast ways
SLOW_BYTES = 600_000  # for the slow ones
REPEATS = 3


def texts_of(path: Path, limit: int) -> list[str]:
    """The first texts of a file, `limit` bytes together at most, the last one cut."""
    texts: list[str] = []
    left = limit
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = unicodedata.normalize("NFC", json.loads(line)["text"] or "")
            texts.append(text.encode()[:left].decode("utf-8", "ignore"))
            left -= len(texts[-1].encode())
            if left < 4:
                break
    return texts


def ours(texts: pa.Array) -> dict[str, int]:
    counter = WordCounter(1 << 16)
    counter.add(texts)
    return as_dict(counter.words())


def as_dict(words: Words) -> dict[str, int]:
    table = words.to_table()
    return dict(zip(table.column("word").to_pylist(), table.column("count").to_pylist(), strict=True))


def by_tokenizers(texts: list[str]) -> dict[str, int]:
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    return Counter(piece for text in texts for piece, _ in split.pre_tokenize_str(text))


def by_regex(texts: list[str]) -> dict[str, int]:
    pattern = regex.compile(PATTERN)
    found: Counter[str] = Counter()
    for text in texts:
        found.update(pattern.findall(text))
    return found


def by_ffbpe(texts: list[str]) -> Any:
    counter = ffbpe.PreTokenizer([], None, PATTERN).word_counter()
    counter.add_batch(texts)
    return counter


def rate(size: int, function: Callable[[], Any], repeats: int = REPEATS) -> float:
    """MB per CPU second of the best call."""
    best = float("inf")
    for _ in range(repeats):
        started = time.process_time()
        function()
        best = min(best, time.process_time() - started)
    return size / best / 1e6


def measured(path: Path) -> dict[str, float]:
    texts, beginning = texts_of(path, BYTES), texts_of(path, SLOW_BYTES)
    size, small = (sum(len(text.encode()) for text in some) for some in (texts, beginning))
    array = pa.array(texts, pa.large_string())
    compare(ours(array), dict(by_ffbpe(texts).words()), "ffbpe", path)
    for name, way in (("tokenizers", by_tokenizers), ("regex", by_regex)):
        compare(ours(pa.array(beginning, pa.large_string())), way(beginning), name, path)
    warm = WordCounter(1 << 16)
    warm.add(array)
    return {
        "MB": size / 1e6,
        "ours": rate(size, lambda: WordCounter(1 << 16).add(array)),
        "hash table warm": rate(size, lambda: warm.add(array)),
        "NFC check": rate(size, lambda: normalized(array)),
        "ffbpe": rate(size, lambda: by_ffbpe(texts)),
        "regex + Counter": rate(small, lambda: by_regex(beginning)),
        "tokenizers": rate(small, lambda: by_tokenizers(beginning)),
    }


def compare(mine: dict[str, int], other: dict[str, int], name: str, path: Path) -> None:
    """Exits when two ways of counting differ."""
    if mine != other:
        word = next(word for word in mine.keys() | other.keys() if mine.get(word) != other.get(word))
        raise SystemExit(f"{path}: {name} counts {word!r} {other.get(word, 0)} times, we {mine.get(word, 0)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, also for the threads of ffbpe
    rows = {name: measured(given.data / "text" / f"{name}.jsonl.gz") for name in FILES}
    if given.json:
        print(json.dumps(rows, indent=1))
        return
    peers = ("ffbpe", "regex + Counter", "tokenizers")
    print("| MB per second, one core | " + " | ".join((*next(iter(rows.values())), *(f"ours / {peer}" for peer in peers))) + " |")
    print("|---" * (1 + len(next(iter(rows.values()))) + len(peers)) + "|")
    for name, row in rows.items():
        ratios = [f"{row['ours'] / row[peer]:.0f}" for peer in peers]
        print(f"| {name} | " + " | ".join([*(f"{value:,.1f}" for value in row.values()), *ratios]) + " |")


if __name__ == "__main__":
    main()
