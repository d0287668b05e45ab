"""What cutting repeated passages takes from Korean and English text, how fast it is, and whether it finds what was planted.

    python benchmarks/dedup_passages.py DATA                  DATA holds text/ and labelled/
    python benchmarks/dedup_passages.py DATA --part planted   only one table: cut, steps, paragraphs, planted, peer, hostile or examples

Each source is a corpus of its own, of at most --megabytes (default 30); the longest document is the best. The times are CPU seconds of one
core, files written and read again included. The searches run on the sources as they are, whole duplicates included.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
import time
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dedup.config import ParagraphsConfig
from pipeline.dedup.paragraphs import find_paragraphs
from pipeline.dedup.passage_spans import merge_found
from pipeline.dedup.passages import CutPassages
from pipeline.dedup.substrings import find_substrings
from pipeline.engine import Outcome, run_task
from pipeline.progress import Progress
from pipeline.schema import with_columns
from pipeline.segment import Segment
from pipeline.splits import DOCUMENTS, Part, Split

SOURCES = (
    "labelled/dedup/law_versions_docs",
    *(f"text/ko/{name}" for name in ("law_legalize_kr", "docs_ms_cpp_ko", "docs_react_ko", "blog_johngrib", "petitions")),
    *(f"text/ko/{name}" for name in ("news_dps_sample", "bible_krv1961")),
    *(f"text/en/{name}" for name in ("peps", "digitalgov", "books_classic")),
)
LENGTHS = (100, 200, 300, 500)
DEFAULT = 300
SPLIT_BYTES = 16_000_000


class MeasuringEngine:
    """Runs tasks in this process and adds up the CPU seconds of each kind."""

    name, workers = "measuring", 1

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def map(self, tasks: Sequence[Any]) -> Iterator[Outcome]:
        for job in tasks:
            began = time.process_time()
            outcome = run_task(job)
            self.seconds[type(job.task).__name__] += time.process_time() - began
            yield outcome

    def close(self) -> None:
        """Nothing to close."""


def texts_of(data: Path, source: str, megabytes: float) -> list[str]:
    """The first texts of a source, until they have so many megabytes."""
    texts, size = [], 0
    with gzip.open(data / f"{source}.jsonl.gz") as stream:
        for line in stream:
            texts.append(json.loads(line)["text"])
            size += len(texts[-1].encode())
            if size >= megabytes * 1e6:
                break
    return texts


class Corpus:
    """Texts as splits on disk, all of one host, the longest document the best one; `cut` runs the searches and the stage."""

    def __init__(self, folder: Path, texts: Sequence[str]) -> None:
        self.folder, self.bytes = folder, sum(len(text.encode()) for text in texts)
        sizes = [len(text.encode()) for text in texts]
        self.ranks = np.empty(len(texts), np.uint32)
        self.ranks[sorted(range(len(texts)), key=lambda row: (-sizes[row], row))] = np.arange(len(texts))
        count = max(1, self.bytes // SPLIT_BYTES)
        self.splits, self.rank_files = [], []
        for number in range(count):
            rows = range(number, len(texts), count)
            table = with_columns(
                pa.table({"id": [str(row) for row in rows]}), {"text": [texts[row] for row in rows], "host": ["h"] * len(rows)}
            )
            path = folder / f"s{number:03d}.parquet"
            pq.write_table(table, path, compression="zstd", row_group_size=2000)
            part = Part(str(path), path.name, DOCUMENTS, "benchmark", str(number), path.stat().st_size)
            self.splits.append(Split(f"s{number:03d}", (part,)))
            np.save(folder / f"s{number:03d}.npy", self.ranks[rows.start :: count])
            self.rank_files.append(str(folder / f"s{number:03d}.npy"))

    def cut(self, size: int | None, paragraphs: ParagraphsConfig | None = None) -> tuple[list[dict[str, Any]], Counter[str]]:
        """(cuts as rows, CPU seconds by kind of task and for the stage)."""
        engine = MeasuringEngine()
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            segment = Segment(Path(folder), "dedup", engine, Progress(quiet=True), 0.0)
            of_hosts = find_paragraphs(segment, self.splits, self.rank_files, paragraphs) if paragraphs else ()
            of_all = find_substrings(segment, self.splits, self.rank_files, size) if size else ()
            files = merge_found(segment, self.splits, self.rank_files, of_hosts, of_all, size)
            rows = [row for split in self.splits for row in pq.read_table(files[split.name][0]).to_pylist()]
            for split in self.splits:
                stage = CutPassages(*files[split.name])
                tables = [pq.ParquetFile(split.parts[0].path).read_row_group(group) for group in range(groups_of(split))]
                began = time.process_time()
                for table in tables:
                    stage(table)
                engine.seconds["CutPassages"] += time.process_time() - began
        return rows, engine.seconds


def groups_of(split: Split) -> int:
    return int(pq.read_metadata(split.parts[0].path).num_row_groups)


def cut_bytes(rows: Sequence[dict[str, Any]]) -> int:
    return sum(row["end"] - row["start"] for row in rows)


def warm_up() -> None:
    """Load the kernels, so that no table pays for it."""
    with tempfile.TemporaryDirectory() as folder:
        Corpus(Path(folder), ["가나다라마바사" * 30, "가나다라마바사" * 40]).cut(100, ParagraphsConfig(min_documents=2))


def cut(data: Path, megabytes: float) -> None:
    print("\n| source | documents | MB | " + " | ".join(f"{size} bytes" for size in LENGTHS) + f" | MB/s at {DEFAULT} |")
    print("|---|---|---|" + "---|" * (len(LENGTHS) + 1))
    for source in SOURCES:
        texts = texts_of(data, source, megabytes)
        shares, speed = [], 0.0
        with tempfile.TemporaryDirectory() as folder:
            corpus = Corpus(Path(folder), texts)
            for size in LENGTHS:
                rows, seconds = corpus.cut(size)
                shares.append(f"{cut_bytes(rows) / corpus.bytes:.2%}")
                speed = corpus.bytes / 1e6 / sum(seconds.values()) if size == DEFAULT else speed
        print(f"| {source} | {len(texts):,} | {corpus.bytes / 1e6:.1f} | {' | '.join(shares)} | {speed:.0f} |", flush=True)


def steps(data: Path, megabytes: float) -> None:
    total, size = Counter[str](), 0
    for source in SOURCES:
        with tempfile.TemporaryDirectory() as folder:
            corpus = Corpus(Path(folder), texts_of(data, source, megabytes))
            total += corpus.cut(DEFAULT, ParagraphsConfig())[1]
            size += corpus.bytes
    print(f"\n| step ({size / 1e6:.0f} MB of all sources, N = {DEFAULT}, paragraphs too) | CPU s | MB/s |\n|---|---|---|")
    for name, seconds in [*total.items(), ("all", sum(total.values()))]:
        print(f"| {name} | {seconds:.2f} | {size / 1e6 / seconds:.0f} |")


def paragraphs(data: Path, megabytes: float) -> None:
    print("\n| source as one host | paragraphs cut | bytes cut | the most cut paragraphs |\n|---|---|---|---|")
    for source in SOURCES:
        texts = texts_of(data, source, megabytes)
        with tempfile.TemporaryDirectory() as folder:
            corpus = Corpus(Path(folder), texts)
            rows, _ = corpus.cut(None, ParagraphsConfig())
        print(f"| {source} | {len(rows):,} | {cut_bytes(rows) / corpus.bytes:.2%} | {most_common(texts, rows, 3)} |", flush=True)


def most_common(texts: Sequence[str], rows: Sequence[dict[str, Any]], count: int) -> str:
    """The most often cut passages (their first 40 characters) and how often they were cut."""
    raw: dict[int, bytes] = {}
    seen: Counter[str] = Counter()
    for row in rows:
        text = raw.setdefault(int(row["id"]), texts[int(row["id"])].encode())
        seen[" ".join(text[row["start"] : row["end"]].decode().split())[:40].strip()] += 1
    return ", ".join(f"`{passage.replace('|', '/').replace('`', '')}` {times:,}" for passage, times in seen.most_common(count))


def examples(data: Path, megabytes: float) -> None:
    print(f"\n| source | the most often cut substrings of at least {DEFAULT} bytes |\n|---|---|")
    for source in SOURCES:
        texts = texts_of(data, source, megabytes)
        with tempfile.TemporaryDirectory() as folder:
            rows, _ = Corpus(Path(folder), texts).cut(DEFAULT)
        print(f"| {source} | {most_common(texts, rows, 3)} |", flush=True)


def planted(data: Path, megabytes: float) -> None:
    """Passages of one source inserted into documents of another: which bytes are cut, against those that should be."""
    print("\n| documents | passages | of them under N | inserted | N | precision | recall | bytes cut of the documents |")
    print("|---|---|---|---|---|---|---|---|")
    pairs = (("text/ko/news_dps_sample", "text/ko/blog_johngrib"), ("text/en/digitalgov", "text/en/books_classic"))
    for base, donor in pairs:
        plain = [text for text in dict.fromkeys(texts_of(data, base, megabytes)) if len(text) > 200]
        with tempfile.TemporaryDirectory() as folder:  # documents that share something already would blur the truth
            known = {int(row["id"]) for row in Corpus(Path(folder), plain).cut(100)[0]}
        plain = [text for row, text in enumerate(plain) if row not in known]
        for size in (100, DEFAULT):
            print(f"| {base} | {plant(plain, texts_of(data, donor, 10), size)} |", flush=True)


def plant(plain: Sequence[str], donors: Sequence[str], size: int) -> str:
    random_ = random.Random(size)
    slots = [donor[begin : begin + 2500] for donor in donors for begin in range(0, len(donor) - 2500, 2500)]  # they don't overlap
    passages = []
    for slot in random_.sample(slots, 300):
        passages.append(slot.encode()[: random_.randint(size // 2, 5 * size)].decode(errors="ignore").strip())
    texts = [text.encode() for text in plain]
    truth: list[list[tuple[int, int, int]]] = [[] for _ in texts]  # of each document (start, end, passage)
    inserted = 0
    for number, passage in enumerate(passages):
        for row in random_.sample(range(len(texts)), random_.randint(2, 6)):
            if truth[row]:
                continue
            place = len(texts[row].decode()[: random_.randrange(len(texts[row].decode()))].encode())
            raw = passage.encode()
            texts[row] = texts[row][:place] + raw + texts[row][place:]
            truth[row].append((place, place + len(raw), number))
            inserted += 1
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus(Path(folder), [text.decode() for text in texts])
        rows, _ = corpus.cut(size)
    found = {(int(row["id"]), byte) for row in rows for byte in range(row["start"], row["end"])}
    first: dict[int, int] = {}
    for row in np.argsort(corpus.ranks).tolist():
        for _, _, number in truth[row]:
            first.setdefault(number, row)
    wanted, planted_bytes = set(), set()
    for row, spans in enumerate(truth):
        for start, end, number in spans:
            planted_bytes |= {(row, byte) for byte in range(start, end)}
            if end - start >= size and first[number] != row:
                wanted |= {(row, byte) for byte in range(start, end)}
    hit = len(found & wanted)
    short = sum(len(passage.encode()) < size for passage in passages)
    precision, recall = f"{hit / len(found):.3%}", f"{hit / len(wanted):.3%}"
    return f"{len(passages)} | {short} | {inserted:,} | {size} | {precision} | {recall} | {len(found - planted_bytes):,}"


def peer(data: Path, megabytes: float) -> None:
    """The definition as a Python dict of all windows, on what fits: the same bytes, at what cost."""
    print("\n| subset | N | | CPU s | MB/s | peak MB of Python objects | bytes cut |\n|---|---|---|---|---|---|---|")
    texts = texts_of(data, "labelled/dedup/law_versions_docs", min(megabytes, 2))
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus(Path(folder), texts)
        rows, seconds = corpus.cut(DEFAULT)
        tracemalloc.start()
        corpus.cut(DEFAULT)
        ours_peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        began = time.process_time()
        repeated = naive(texts, corpus.ranks, DEFAULT)
        spent = time.process_time() - began
        tracemalloc.start()
        naive(texts, corpus.ranks, DEFAULT)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    size = corpus.bytes / 1e6
    total = sum(seconds.values())
    print(f"| law versions, {size:.1f} MB | {DEFAULT} | ours | {total:.2f} | {size / total:.1f} | {ours_peak:.0f} | {cut_bytes(rows):,} |")
    print(f"| | {DEFAULT} | dict of windows | {spent:.2f} | {size / spent:.2f} | {peak:.0f} | {repeated:,} |")


def naive(texts: Sequence[str], ranks: np.ndarray, size: int) -> int:
    """Bytes in repeated windows, by the definition, trimmed to characters like ours."""
    seen: set[bytes] = set()
    spans: dict[int, list[list[int]]] = defaultdict(list)
    for row in np.argsort(ranks).tolist():
        raw = texts[row].encode()
        for start in range(len(raw) - size + 1):
            window = raw[start : start + size]
            if window not in seen:
                seen.add(window)
            elif spans[row] and start <= spans[row][-1][1]:
                spans[row][-1][1] = start + size
            else:
                spans[row].append([start, start + size])
    total = 0
    for row, listed in spans.items():
        raw = texts[row].encode()
        for start, end in listed:
            while start < end and raw[start] & 0xC0 == 0x80:
                start += 1
            while end > start and end < len(raw) and raw[end] & 0xC0 == 0x80:
                end -= 1
            total += end - start if end - start >= size else 0
    return total


def hostile(data: Path, megabytes: float) -> None:
    print("\n| text | MB | CPU s | MB/s | bytes cut |\n|---|---|---|---|---|")
    random_ = random.Random(1)
    frame = "".join(random_.choices("가나다라마바사아자차 ", k=1500))
    words = [f"{number}번" for number in range(1000)]
    texts = {
        "one letter": ["a" * 2_000_000],
        "a period of 7": ["가나 \n" * 250_000],
        "a page of 4 kB, 2,000 times": [frame] * 2000,
        "the same, each with another number inside": [f"{frame[:700]}{number}{frame[700:]}" for number in range(2000)],
        "random words": ["".join(random_.choices(words, k=800)) for _ in range(2000)],
    }
    for name, listed in texts.items():
        with tempfile.TemporaryDirectory() as folder:
            corpus = Corpus(Path(folder), listed)
            rows, seconds = corpus.cut(DEFAULT)
        spent, size = sum(seconds.values()), corpus.bytes / 1e6
        print(f"| {name} | {size:.1f} | {spent:.2f} | {size / spent:.1f} | {cut_bytes(rows) / corpus.bytes:.2%} |", flush=True)


PARTS = {one.__name__: one for one in (cut, steps, paragraphs, planted, peer, hostile, examples)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--megabytes", type=float, default=30.0)
    arguments = parser.parse_args()
    warm_up()
    for part in [arguments.part] if arguments.part else PARTS:
        PARTS[part](arguments.data, arguments.megabytes)


if __name__ == "__main__":
    main()
