"""Recall of the decontaminator on planted leaks, and that of the sampled method of the EXAONE 3.5 report beside it.

    python benchmarks/decontam_recall.py DATA [--limit N]

Every benchmark text of DATA/benchmarks that is long enough to be a match is planted at a random place of a real document of its own (pages
of DATA/text of up to 20,000 characters): whole, and as a random piece of just a match's length or more. Counted: documents in which the
planted item is matched over all that was planted; and of the others, how many are pieces that over 200 items of the benchmark share
(templates: `max_seed_items`) or that have too little Hangul for the shorter length. Then the same pages at S = 50 for every script, as the
report has it, by the exhaustive scan and by 10 random windows per document, beside the closed form 1 - (1 - m/w)^10 averaged over them.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from decontam import Index, MatchSettings, PaperScanner, Scanner, build_index, normalize_batch, read_benchmarks
from decontam.paper import sampled_recall
from decontam.readers import read_rows

LONGEST_PAGE = 20_000
WINDOWS = 10
SIZES = (1_000, 2_000, 5_000, 20_000, 10**9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=10**9, help="benchmark texts to plant")
    arguments = parser.parse_args()
    items = read_benchmarks(arguments.data / "benchmarks")
    pages = read_pages(arguments.data / "text")
    print(f"{len(items):,} benchmark texts, {len(pages):,} pages")
    for label, settings in (
        ("50 / 24 in Hangul", MatchSettings()),
        ("50 / 24, nothing too common", MatchSettings(max_seed_items=10**6)),
        ("50 for every script", MatchSettings.parity()),
    ):
        index = build_index(items, settings)
        planted = choose(index, arguments.limit)
        for kind in ("whole", "piece"):
            report(label, kind, index, planted, pages)
    report_sampled(index, planted, pages)


def read_pages(folder: Path) -> list[str]:
    """Texts of all files, cut to pages: a book is many."""
    pages: list[str] = []
    for path in sorted(folder.rglob("*.jsonl.gz")):
        own: list[str] = []
        for _, record in read_rows(path):
            text = record["text"]
            own += [text[at : at + LONGEST_PAGE] for at in range(0, len(text), LONGEST_PAGE)]
            if len(own) > 3_000:
                break
        pages += own
    return pages


@dataclass(frozen=True)
class Planted:
    """A benchmark text that is long enough to be a match."""

    item: tuple[str, str, str]
    text: str
    required: int


def choose(index: Index, limit: int) -> list[Planted]:
    """Every text that is long enough to be a match, or an even sample of them."""
    found = []
    for segment in index.segments:
        rows = np.flatnonzero(segment.lengths >= segment.required)
        chosen = segment.entries.take(pa.array(rows)).to_pylist()
        found += [
            Planted((segment.benchmark, row["split"], row["item"]), row["text"], int(required))
            for row, required in zip(chosen, segment.required[rows], strict=True)
        ]
    return found[:: max(1, len(found) // limit)]


def plant(planted: list[str], pages: list[str], seed: int) -> list[str]:
    """Each text at a random place of a random page, between spaces."""
    rng = random.Random(seed)
    documents = []
    for text in planted:
        page = rng.choice(pages)
        at = rng.randrange(len(page) + 1)
        documents.append(f"{page[:at]} {text} {page[at:]}")
    return documents


def piece_of(text: str, required: int, rng: random.Random) -> str:
    """A random piece that is still a match: what the page adds at its ends may only make it longer."""
    bounds = normalize_batch(pa.array([text]), with_spans=True)
    assert bounds.starts is not None and bounds.ends is not None
    size = len(bounds.codepoints)
    length = rng.randint(required, size)
    first = rng.randint(0, size - length)
    return text.encode()[bounds.starts[first] : bounds.ends[first + length - 1]].decode()


def report(label: str, kind: str, index: Index, planted: list[Planted], pages: list[str]) -> None:
    """Recall of the scan: a document counts where the planted item is matched by at least what was planted."""
    rng = random.Random(0)
    texts = [one.text if kind == "whole" else piece_of(one.text, one.required, rng) for one in planted]
    lengths = np.diff(normalize_batch(pa.array(texts, pa.large_string())).offsets)
    matches = Scanner(index).scan(pa.array(plant(texts, pages, 1), pa.large_string()))
    caught = hits(matches, planted, lengths)
    missed = np.flatnonzero(~caught)
    template = sum(holders(index, planted[row].item[0], texts[row]) > index.settings.max_seed_items for row in missed)
    needed = [index.settings.hangul_length if share_of_hangul(texts[row]) >= 0.5 else index.settings.length for row in missed]
    too_short = sum(int(lengths[row]) < length for row, length in zip(missed, needed, strict=True))
    others = len(missed) - template - too_short
    print(f"S = {label}, {kind}: {caught.sum():,} of {len(caught):,} found", end="; ")
    print(f"missed: {template} templates, {too_short} with too little Hangul, {others} others", flush=True)


def holders(index: Index, benchmark: str, text: str) -> int:
    """Items of a benchmark that hold a text."""
    segment = index.by_name[benchmark]
    piece = normalize_batch(pa.array([text])).codepoints.astype("<u4").tobytes().decode("utf-32-le")
    pool = np.asarray(segment.pool).astype("<u4").tobytes().decode("utf-32-le")
    found, at = set(), pool.find(piece)
    while at >= 0:
        found.add(int(segment.numbers[np.searchsorted(segment.starts, at, side="right") - 1]))
        at = pool.find(piece, at + 1)
    return len(found)


def share_of_hangul(text: str) -> float:
    codes = normalize_batch(pa.array([text])).codepoints
    return float(((codes >= 0xAC00) & (codes <= 0xD7A3)).mean()) if len(codes) else 0.0


def report_sampled(index: Index, planted: list[Planted], pages: list[str]) -> None:
    """The exhaustive scan and the sampled one on the same documents, by size of document."""
    texts = [one.text for one in planted]
    documents = plant(texts, pages, 2)
    table = pa.table({"id": [f"d{row}" for row in range(len(documents))], "text": pa.array(documents, pa.large_string())})
    sizes = np.diff(normalize_batch(table["text"]).offsets)
    leaked = np.diff(normalize_batch(pa.array(texts, pa.large_string())).offsets) - 49
    expected = np.array([sampled_recall(m, w - 49, WINDOWS) for m, w in zip(leaked, sizes, strict=True)])
    sampled = hits(PaperScanner(index, WINDOWS).scan(table), planted)
    exhaustive = hits(Scanner(index).scan(table), planted)
    print(f"{'document':>18} {'count':>7} {'exhaustive':>11} {'10 windows':>11} {'formula':>8}")
    low = 0
    for high in SIZES:
        rows = (sizes >= low) & (sizes < high)
        if rows.any():
            name = f"{low:,} to {high:,}" if high < 10**9 else f"{low:,} and more"
            line(name, *(values[rows] for values in (exhaustive, sampled, expected)))
        low = high
    line("all", exhaustive, sampled, expected)


def line(name: str, exhaustive: np.ndarray, sampled: np.ndarray, expected: np.ndarray) -> None:
    print(f"{name:>18} {len(expected):>7,} {exhaustive.mean():>11.3f} {sampled.mean():>11.3f} {expected.mean():>8.3f}")


def hits(matches: pa.Table, planted: list[Planted], lengths: np.ndarray | None = None) -> np.ndarray:
    """bool[documents]: whether the planted item is matched, by at least `lengths` characters."""
    found = np.zeros(len(planted), np.bool_)
    columns = [matches[name].to_pylist() for name in ("row", "benchmark", "split", "item", "length")]
    for row, benchmark, split, item, length in zip(*columns, strict=True):
        if (benchmark, split, item) == planted[row].item and (lengths is None or length >= lengths[row]):
            found[row] = True
    return found


if __name__ == "__main__":
    main()
