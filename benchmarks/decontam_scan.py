"""Speed, false positives and recall of the decontaminator on given benchmarks and documents.

    python benchmarks/decontam_scan.py BENCHMARKS... --documents FILE... [--limit N] [--megabytes M]

Documents are JSONL(.gz/.zst) or Parquet with a `text` column. Printed: the index; per file the speed, per second of one core, of the
scan and of normalising alone, beside that of the method most reports describe (a Python set of every 50-character window, on a small
share, with the definition of the normaliser), the documents with any match, and those that a policy of each minimum coverage calls
contaminated; and, for every benchmark text that is long enough to be a match, how often a document that holds it whole, or with one
character changed at a random place, has a decisive match with that very item.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from decontam import (
    Index,
    MatchSettings,
    Policy,
    Scanner,
    build_index,
    contaminated,
    decisive,
    normalize_batch,
    normalize_text,
    read_benchmarks,
)
from decontam.readers import read_rows

COVERAGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)
PEER_BYTES = 500_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="+")
    parser.add_argument("--documents", nargs="+", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=10**9, help="documents per file")
    parser.add_argument("--megabytes", type=float, default=20.0, help="text per file")
    parser.add_argument("--parity", action="store_true", help="50 characters for every script")
    arguments = parser.parse_args()
    began = time.perf_counter()
    items = read_benchmarks(arguments.benchmarks)
    read = time.perf_counter() - began
    index = build_index(items, MatchSettings.parity() if arguments.parity else MatchSettings())
    seconds = time.perf_counter() - began - read
    print(f"{len(items)} texts, {len(index.pool):,} characters; read in {read:.1f} s, indexed in {seconds:.1f} s")
    scanner = Scanner(index)
    windows = peer_windows(items)
    print("file documents MB scan_MB/s normalise_MB/s peer_MB/s ratio matched " + " ".join(f"coverage>={share}" for share in COVERAGES))
    for path in arguments.documents:
        report_file(path, scanner, windows, arguments.limit, arguments.megabytes * 1e6)
    report_recall(items, index, scanner)


def report_file(path: Path, scanner: Scanner, windows: set[str], limit: int, max_bytes: float) -> None:
    """One line for one file of documents."""
    texts, size = read_texts(path, limit, max_bytes)
    column = pa.array(texts, pa.large_string())
    fastest = min(timed(lambda: scanner.scan(column)) for _ in range(3))
    normalising = min(timed(lambda: normalize_batch(column)) for _ in range(3))
    matches = scanner.scan(column)
    share = texts[: max(1, int(np.searchsorted(np.cumsum([len(text.encode()) for text in texts]), PEER_BYTES)))]
    peer = sum(len(text.encode()) for text in share) / timed(lambda: [peer_hit(text, windows) for text in share])
    speed = size / fastest
    counts = [len(contaminated(matches, Policy(min_coverage=coverage))) for coverage in COVERAGES]
    matched = len(set(matches["row"].to_pylist()))
    print(
        path.name,
        len(texts),
        f"{size / 1e6:.1f} {speed / 1e6:.0f} {size / normalising / 1e6:.0f} {peer / 1e6:.1f} {speed / peer:.0f}x",
        matched,
        *counts,
    )


def read_texts(path: Path, limit: int, max_bytes: float) -> tuple[list[str], int]:
    """Documents of a file until either bound is reached, and their UTF-8 bytes."""
    texts: list[str] = []
    size = 0
    for _, record in read_rows(path):
        if len(texts) >= limit or size >= max_bytes:
            break
        texts.append(record["text"])
        size += len(texts[-1].encode())
    return texts, size


def timed(call: Callable[[], object]) -> float:
    """Processor seconds: both methods run on one core, and other work on the machine should not change the ratio."""
    began = time.thread_time()
    call()
    return time.thread_time() - began


def peer_windows(items: pa.Table) -> set[str]:
    """Every 50-character window of every 20th text: lookups in the full set would be slower, so the ratio is on the safe side."""
    texts = [normalize_text(text or "") for text in items["text"].to_pylist()[::20]]
    return {text[at : at + 50] for text in texts for at in range(len(text) - 49)}


def peer_hit(text: str, windows: set[str]) -> bool:
    normalized = normalize_text(text)
    return any(normalized[at : at + 50] in windows for at in range(len(normalized) - 49))


def report_recall(items: pa.Table, index: Index, scanner: Scanner) -> None:
    """Plant every long enough text whole, and count the documents in which the planted item itself is a decisive match."""
    entries = index.entries
    long_enough = np.flatnonzero(entries["length"].to_numpy() >= entries["required"].to_numpy())
    texts = [items["text"][int(row)].as_py() for row in long_enough]
    names = [tuple(row.values()) for row in entries.select(["benchmark", "split", "item", "field"]).to_pylist()]
    fields = np.array([names[row][3] for row in long_enough])
    rng = random.Random(0)
    edited = [text[:at] + "\u4e59" + text[at + 1 :] for text in texts for at in [rng.randrange(len(text))]]
    for label, planted in (("whole", texts), ("one character changed", edited)):
        matches = scanner.scan(pa.array([f"zzqv {text} vqzz" for text in planted], pa.large_string()))
        chosen = matches.filter(decisive(matches))
        keys = zip(*(chosen[column].to_pylist() for column in ("row", "benchmark", "split", "item", "field")), strict=True)
        caught = np.zeros(len(texts), bool)
        caught[[row for row, *key in keys if tuple(key) == names[long_enough[row]]]] = True
        for field in np.unique(fields):
            print(f"planted {field}, {label}: {(fields == field).sum()} texts, recall {caught[fields == field].mean():.4f}")


if __name__ == "__main__":
    main()
