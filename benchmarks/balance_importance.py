"""Does importance find a target in a pool, and how fast: `python benchmarks/balance_importance.py DATA`.

DATA is the folder of development data (text/, labelled/). Each source in turn: its even documents are the target, its odd ones lie in a
pool with all other sources. Precision is the share of the odd ones among the first k of the pool by importance, k their number; random
order gives k / pool. Orders: the paper's sum of log ratios, the mean per n-gram, and the sum over the root of the number of n-grams.
N-grams: those of the paper (words and marks in lower case, and their pairs; regular expression, plain Python) and ours.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from pipeline.balance.importance import BUCKETS, MAX_BYTES, importance, log_ratio, ngram_counts, per_root

KOREAN = ("bible_krv1961", "blog_johngrib", "docs_ms_cpp_ko", "docs_react_ko", "law_legalize_kr", "movie_reviews_nsmc_raw",
          "news_comments_kocohub", "news_dps_sample", "petitions", "wiki_korquad_contexts")  # fmt: skip
ENGLISH = {
    "books_classic": "text/en/books_classic",
    "digitalgov": "text/en/digitalgov",
    "peps": "text/en/peps",
    "dclm_web": "labelled/quality/en_dclm_human_quality",
    "agnews": "labelled/topic/en_agnews_test",
    "articles": "labelled/dedup/minhash_articles_2500",
    "citations": "labelled/dedup/asysd_citations_labelled",
}
SOURCES = {name: ("ko", f"text/ko/{name}") for name in KOREAN} | {name: ("en", path) for name, path in ENGLISH.items()}
DOCUMENTS, SOURCE_BYTES, READ_LINES = 4000, 8_000_000, 60_000  # at most, of each source
PAPER_BUCKETS = 10_000
ORDERS = ("sum", "mean", "root")

Ratio = Callable[[np.ndarray, np.ndarray], np.ndarray]
_WORD_OR_MARKS = re.compile(r"\w+|[^\w\s]+")


@dataclass(frozen=True)
class Definition:
    """A way to count n-grams and to weigh them."""

    name: str
    buckets: int
    plain: bool
    ratio: Ratio


def paper_ratio(target: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Shares of the counts with 1e-8 added."""
    return np.log(target / target.sum() + 1e-8) - np.log(raw / raw.sum() + 1e-8)


DEFINITIONS = (
    Definition("paper's n-grams, 10,000 buckets, 1e-8", PAPER_BUCKETS, True, paper_ratio),
    Definition("paper's n-grams, 10,000 buckets, our smoothing", PAPER_BUCKETS, True, log_ratio),
    Definition("paper's n-grams, 65,536 buckets, our smoothing", BUCKETS, True, log_ratio),
    Definition("ours, 10,000 buckets, 1e-8", PAPER_BUCKETS, False, paper_ratio),
    Definition("ours, 10,000 buckets, our smoothing", PAPER_BUCKETS, False, log_ratio),
    Definition("ours, 65,536 buckets, our smoothing (default)", BUCKETS, False, log_ratio),
)


def read(path: Path) -> list[str]:
    """Texts of a source, evenly spread over its lines, within the limits above."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [text for line in itertools.islice(lines, READ_LINES) if (text := json.loads(line)["text"])]
    texts = texts[:: max(1, len(texts) // DOCUMENTS)][:DOCUMENTS]
    return texts[:: -(-sum(len(text.encode()) for text in texts) // SOURCE_BYTES)]


def plain_hashes(text: str, max_bytes: int) -> list[int]:
    """64-bit hashes of the paper's n-grams of a text."""
    words = _WORD_OR_MARKS.findall(text.encode()[:max_bytes].decode(errors="ignore").lower())
    return [xxhash.xxh3_64_intdigest(gram.encode()) for gram in itertools.chain(words, map(" ".join, itertools.pairwise(words)))]


@dataclass(frozen=True)
class Plain:
    """The paper's n-grams of some texts: hashes, and where each text's begin."""

    hashes: np.ndarray
    bounds: np.ndarray

    @classmethod
    def of(cls, texts: list[str], max_bytes: int) -> Plain:
        rows = [np.array(plain_hashes(text, max_bytes), np.uint64) for text in texts]
        return cls(np.concatenate(rows), np.concatenate([[0], np.cumsum([len(row) for row in rows])]))

    def sums(self, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        running = np.concatenate([[0.0], np.cumsum(ratio[self.hashes % np.uint64(len(ratio))])])
        return running[self.bounds[1:]] - running[self.bounds[:-1]], np.diff(self.bounds)

    def counts(self, buckets: int) -> np.ndarray:
        return np.bincount((self.hashes % np.uint64(buckets)).astype(np.int64), minlength=buckets)


@dataclass(frozen=True)
class Ours:
    """Our n-grams of some texts."""

    texts: pa.Array
    max_bytes: int

    @classmethod
    def of(cls, texts: list[str], max_bytes: int) -> Ours:
        return cls(pa.array(texts, pa.large_string()), max_bytes)

    def sums(self, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return importance(self.texts, ratio, self.max_bytes)

    def counts(self, buckets: int) -> np.ndarray:
        return ngram_counts(self.texts, buckets, self.max_bytes)


Halves = dict[str, tuple[Plain | Ours, Plain | Ours]]


def precisions(halves: Halves, definition: Definition, names: list[str], corpus: list[str]) -> dict[str, dict[str, float]]:
    """Per source of the pool `names`: precision by each order, and of random order, with p_raw counted over the sources `corpus`.

    halves: the even and the odd documents of each source.
    """
    counts = {name: [half.counts(definition.buckets) for half in halves[name]] for name in corpus}
    whole = sum(np.sum(list(counts.values()), axis=0))
    found = {}
    for name in names:
        ratio = definition.ratio(counts[name][0], whole - counts[name][0])
        pool = [(half.sums(ratio), other == name) for other in names for half in halves[other] if half is not halves[name][0]]
        sums = np.concatenate([part[0][0] for part in pool])
        grams = np.concatenate([part[0][1] for part in pool])
        is_target = np.concatenate([np.full(len(part[0][0]), part[1]) for part in pool])
        k = int(is_target.sum())
        scores = {"sum": sums, "mean": sums / np.maximum(grams, 1), "root": per_root(sums, grams)}
        best = {order: float(is_target[np.argsort(-score, kind="stable")[:k]].mean()) for order, score in scores.items()}
        found[name] = best | {"random": k / len(is_target)}
    return found


def mean_of(found: dict[str, dict[str, float]], language: str, order: str) -> float:
    return float(np.mean([values[order] for name, values in found.items() if SOURCES[name][0] == language]))


def speeds(texts: dict[str, list[str]]) -> None:
    """MB of UTF-8 read per second of one core, best of three (plain Python: once, a twentieth of the texts)."""
    print("\n| source | counting | weighing | plain Python |\n| --- | --- | --- | --- |")
    for name in ("law_legalize_kr", "petitions", "movie_reviews_nsmc_raw", "books_classic", "digitalgov"):
        column, ratio = pa.array(texts[name], pa.large_string()), np.zeros(BUCKETS)
        read_bytes = sum(min(len(text.encode()), MAX_BYTES) for text in texts[name])
        some = texts[name][::20]
        some_bytes = sum(min(len(text.encode()), MAX_BYTES) for text in some)
        rows = (
            (read_bytes, 3, lambda column=column: ngram_counts(column)),
            (read_bytes, 3, lambda column=column, ratio=ratio: importance(column, ratio)),
            (some_bytes, 1, lambda some=some: Plain.of(some, MAX_BYTES).counts(PAPER_BUCKETS)),
        )
        rates = []
        for size, repeats, work in rows:
            best = float("inf")
            for _ in range(repeats):
                started = time.process_time()
                work()
                best = min(best, time.process_time() - started)
            rates.append(size / best / 1e6)
        print(f"| {name} | {rates[0]:.0f} MB/s | {rates[1]:.0f} MB/s | {rates[2]:.1f} MB/s |")


def main() -> None:
    """Read the sources, measure every definition in both kinds of pool, then by source, by length read, and the speed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    texts = {name: read(data / f"{path}.jsonl.gz") for name, (_, path) in SOURCES.items()}
    print(f"{sum(map(len, texts.values())):,} documents, {sum(len(t.encode()) for ts in texts.values() for t in ts) / 1e6:.0f} MB")
    ours: Halves = {name: (Ours.of(rows[::2], MAX_BYTES), Ours.of(rows[1::2], MAX_BYTES)) for name, rows in texts.items()}
    plain: Halves = {name: (Plain.of(rows[::2], MAX_BYTES), Plain.of(rows[1::2], MAX_BYTES)) for name, rows in texts.items()}
    korean, english = ([name for name in SOURCES if SOURCES[name][0] == code] for code in ("ko", "en"))
    pools = {
        "both languages": [(list(SOURCES), list(SOURCES))],
        "own language, corpus of both": [(korean, list(SOURCES)), (english, list(SOURCES))],
        "own language": [(korean, korean), (english, english)],
    }
    print("\n| pool | n-grams, buckets, smoothing | " + " | ".join(f"{code} {order}" for code in ("ko", "en") for order in ORDERS) + " |")
    print("| --- |" + " --- |" * 7)
    for pool, groups in pools.items():
        for definition in DEFINITIONS:
            halves = plain if definition.plain else ours
            found = {name: values for group in groups for name, values in precisions(halves, definition, *group).items()}
            cells = " | ".join(f"{mean_of(found, code, order):.3f}" for code in ("ko", "en") for order in ORDERS)
            print(f"| {pool} | {definition.name} | {cells} |", flush=True)
    print("\n| target | paper's n-grams: sum | ours: sum | ours: mean | ours: root | random |\n| --- | --- | --- | --- | --- | --- |")
    both = list(SOURCES)
    paper, default = precisions(plain, DEFINITIONS[0], both, both), precisions(ours, DEFINITIONS[-1], both, both)
    for name, values in default.items():
        cells = " | ".join(f"{value:.3f}" for value in (paper[name]["sum"], *values.values()))
        print(f"| {SOURCES[name][0]} {name} | {cells} |")
    print("\n| bytes read | ko sum | ko root | en sum | en root |\n| --- | --- | --- | --- | --- |")
    for max_bytes in (2000, 5000, 10_000, 20_000, 50_000, 100_000):
        cut: Halves = {name: (Ours.of(rows[::2], max_bytes), Ours.of(rows[1::2], max_bytes)) for name, rows in texts.items()}
        found = precisions(cut, DEFINITIONS[-1], korean, korean) | precisions(cut, DEFINITIONS[-1], english, english)
        cells = " | ".join(f"{mean_of(found, code, order):.3f}" for code in ("ko", "en") for order in ("sum", "root"))
        print(f"| {max_bytes:,} | {cells} |", flush=True)
    speeds(texts)


if __name__ == "__main__":
    main()
