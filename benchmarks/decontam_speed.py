"""Speed and memory of the decontaminator, beside datatrove's n-gram decontamination and a memory copy, in one run.

    python benchmarks/decontam_speed.py DATA [--megabytes 12] [--part files|strides|growth|workers]

files: every text file of DATA against all benchmarks of DATA, MB of UTF-8 per second of one core: the whole scan, the normaliser in it, a
copy of the same bytes, and datatrove (where it is installed; its own normaliser, tokenizer and 12-gram hashes, on a small share; Korean
needs kiwipiepy). strides: what an index of every 1st, 2nd ... window costs and saves. growth: the index from 1 to 30 million windows,
and how many matches the texts have with it. workers: what several processes hold of one saved index, and a Python set of its windows.
Times are the best of several, of one thread's processor time.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import multiprocessing
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pyarrow as pa

from decontam import Index, MatchSettings, Scanner, build_index, load_index, normalize_batch, read_benchmarks, save_index
from decontam.arrow import text_buffers
from decontam.normalize import Workspace, normalize_buffers
from decontam.readers import read_rows
from decontam.scan import BATCH_BYTES

FILES = (
    *("en/books_classic", "en/peps", "en/digitalgov"),
    *("ko/law_legalize_kr", "ko/news_dps_sample", "ko/petitions", "ko/docs_ms_cpp_ko", "ko/blog_johngrib", "ko/movie_reviews_nsmc_raw"),
)
PEER_BYTES = 150_000
PEER_ITEMS = 500
REPEATS = 7
GROWTH = (1, 3, 10, 30)
WORKERS = 4
SET_SHARE = 20
"""A Python set is filled with the windows of every so many-th text: of all, it would take gigabytes."""

ITEM_CHARACTERS = 1_000
POOLS = {"en/books_classic": 0.9, "ko/movie_reviews_nsmc_raw": 0.1}
"""Texts that share hardly a sentence with each other. Laws hold thousands of common formulas: time would go to describing matches."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--megabytes", type=float, default=12.0, help="text per file")
    parser.add_argument("--part", choices=("files", "strides", "growth", "workers"), help="only this part")
    arguments = parser.parse_args()
    size = arguments.megabytes * 1e6
    columns = {name: read_column(arguments.data / "text" / f"{name}.jsonl.gz", size) for name in FILES}
    items = read_benchmarks(arguments.data / "benchmarks")
    if arguments.part in (None, "files"):
        report_files(items, columns)
    if arguments.part in (None, "strides"):
        report_strides(items, columns)
    if arguments.part in (None, "growth"):
        report_growth(arguments.data, columns)
    if arguments.part in (None, "workers"):
        report_workers(items, columns)


def read_column(path: Path, size: float) -> pa.LargeStringArray:
    """The first texts of a file."""
    texts: list[str] = []
    read = 0
    for _, record in read_rows(path):
        texts.append(record["text"])
        read += len(record["text"].encode())
        if read >= size:
            break
    return pa.array(texts, pa.large_string())


def megabytes(column: pa.Array) -> float:
    _, offsets = text_buffers(column)
    return float(offsets[-1] - offsets[0]) / 1e6


def fastest(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Processor seconds of this thread: both methods run on one core, and other work should not change the ratio."""
    seconds = []
    for _ in range(repeats):
        began = time.thread_time()
        call()
        seconds.append(time.thread_time() - began)
    return min(seconds)


def describe(index: Index, seconds: float | None = None) -> str:
    windows = sum(segment.windows for segment in index.segments)
    built = "" if seconds is None else f", built in {seconds:.1f} s"
    return f"{windows / 1e6:.2f} M windows, {index.memory / 1e6:.1f} MB = {index.memory / windows:.2f} MB per million{built}"


def report_files(items: pa.Table, columns: dict[str, pa.Array]) -> None:
    began = time.perf_counter()
    index = build_index(items)
    print(f"all benchmarks: {len(items):,} texts, {len(index.segments)} segments, {describe(index, time.perf_counter() - began)}")
    scanner = Scanner(index)
    peers = {language: datatrove_filter(items, language) for language in ("en", "ko")}
    print(f"{'text':28} {'MB':>6} {'documents':>9} {'scan':>6} {'normalise':>9} {'copy':>7} {'datatrove':>9} {'ratio':>7}  MB/s")
    for name, column in columns.items():
        size = megabytes(column)
        scan = size / fastest(lambda column=column: scanner.scan(column))
        normalise = size / fastest(lambda column=column: normalise_all(column))
        copy = size / fastest(lambda column=column: text_buffers(column)[0].copy())
        peer = peers[name[:2]]
        share = column.slice(0, max(1, int(np.searchsorted(text_buffers(column)[1], PEER_BYTES))))
        share = pa.array([text[:PEER_BYTES] for text in share.to_pylist()], pa.large_string())
        speed = megabytes(share) / fastest(lambda share=share, peer=peer: [peer(text) for text in share.to_pylist()], 1) if peer else None
        beside = f"{speed:>9.2f} {scan / speed:>6.0f}x" if speed else f"{'-':>9} {'-':>7}"
        print(f"{name:28} {size:>6.1f} {len(column):>9,} {scan:>6.0f} {normalise:>9.0f} {copy:>7.0f} {beside}", flush=True)


def normalise_all(column: pa.Array) -> None:
    """Normalise as the scan does, batch by batch into the same memory."""
    data, offsets = text_buffers(column)
    workspace, first = Workspace(), 0
    while first < len(offsets) - 1:
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + BATCH_BYTES, side="right")) - 1)
        normalize_buffers(data, offsets[first : last + 1], workspace=workspace)
        first = last


def datatrove_filter(items: pa.Table, language: str) -> Callable[[str], object] | None:
    """datatrove's filter over hashes of some items; None where datatrove isn't installed. More items would only slow its look-ups down."""
    if importlib.util.find_spec("datatrove") is None:
        return None
    from datatrove.data import Document
    from datatrove.pipeline.decont.n_grams import NGramsDecontFilter
    from datatrove.utils.text import ngrams, simplify_text

    peer = NGramsDecontFilter(".", language={"en": "eng", "ko": "kor"}[language])
    hashes = {}
    for text in items["text"].to_pylist()[: PEER_ITEMS * 20 : 20]:
        words = peer.tokenizer.word_tokenize(simplify_text(text, peer.config.norm_config))
        hashes |= {peer.hash_func(" ".join(gram)): "benchmark" for gram in ngrams(words, peer.config.n_grams)}
    peer._index_hashes = hashes
    return lambda text: peer.filter(Document(text=text, id="0"))


def report_strides(items: pa.Table, columns: dict[str, pa.Array]) -> None:
    heads = f"{'document':>8} {'seed':>4} | {'document':>8} {'seed':>4} | {'MB':>6} {'MB per M':>8}"
    print(f"{'pool':>4} {heads} | MB/s of {', '.join(columns)}")
    scanners = [Scanner(build_index(items, MatchSettings(pool_stride=stride))) for stride in (1, 2, 3, 4, 5)]
    # Strides take turns, so that a slow minute of the machine falls on all of them.
    seconds = {name: [[] for _ in scanners] for name in columns}
    for _ in range(REPEATS):
        for name, column in columns.items():
            for number, scanner in enumerate(scanners):
                seconds[name][number].append(fastest(lambda scanner=scanner, column=column: scanner.scan(column), 1))
    for number, scanner in enumerate(scanners):
        long, hangul = (family.strides for family in scanner.settings.families[:2])
        speeds = " ".join(f"{megabytes(column) / min(seconds[name][number]):>5.0f}" for name, column in columns.items())
        memory, windows = scanner.index.memory, sum(segment.windows for segment in scanner.index.segments)
        geometry = f"{long.document:>8} {long.width:>4} | {hangul.document:>8} {hangul.width:>4}"
        print(f"{scanner.settings.pool_stride:>4} {geometry} | {memory / 1e6:>6.1f} {memory / windows:>8.2f} | {speeds}", flush=True)


def report_growth(data: Path, columns: dict[str, pa.Array]) -> None:
    """Pieces of books and film reviews that are not scanned as benchmark items of 1,000 characters, nine of ten of them English."""
    pools = {name: tail_of(data / "text" / f"{name}.jsonl.gz", len(columns[name])) for name in POOLS}
    scanners = []
    for millions in GROWTH:
        items = synthetic_items(pools, millions)
        began = time.perf_counter()
        index = build_index(items)
        print(f"{millions:>3} M: {len(items):,} items, {describe(index, time.perf_counter() - began)}", flush=True)
        scanners.append(Scanner(index))
    for name, column in columns.items():
        best = [float("inf")] * len(scanners)
        for _ in range(REPEATS):
            for number, scanner in enumerate(scanners):
                best[number] = min(best[number], fastest(lambda scanner=scanner, column=column: scanner.scan(column), 1))
        matches = " ".join(f"{len(scanner.scan(column)):>5,}" for scanner in scanners)
        speeds = " ".join(f"{megabytes(column) / seconds:>6.0f}" for seconds in best)
        print(f"{name:28} MB/s {speeds}   matches {matches}", flush=True)


def tail_of(path: Path, skipped: int) -> str:
    """All the text of a file behind its first documents."""
    return "\n".join(record["text"] for number, record in read_rows(path) if number > skipped)


def synthetic_items(pools: dict[str, str], millions: float) -> pa.Table:
    """Ten benchmarks of pieces drawn without overlap, until they have so many windows."""
    rng = random.Random(0)
    texts = []
    for name, share in POOLS.items():
        wanted = int(millions * 1e6 * share / (ITEM_CHARACTERS * 0.78))  # of 1,000 characters some 780 are letters
        places = range(0, len(pools[name]) - ITEM_CHARACTERS, ITEM_CHARACTERS)
        texts += [pools[name][at : at + ITEM_CHARACTERS] for at in rng.sample(places, min(wanted, len(places)))]
    names = [str(number) for number in range(len(texts))]
    benchmarks = [f"benchmark {number % 10}" for number in range(len(texts))]
    columns = {"benchmark": benchmarks, "split": [""] * len(texts), "item": names, "field": ["question"] * len(texts)}
    return pa.table({**columns, "text": pa.array(texts, pa.large_string())})


def report_workers(items: pa.Table, columns: dict[str, pa.Array]) -> None:
    """Resident and proportional (each page divided by the processes that map it) size of the index in processes that have scanned."""
    column = next(iter(columns.values()))
    with tempfile.TemporaryDirectory() as folder:
        index = build_index(items)
        save_index(index, folder)
        context = multiprocessing.get_context("spawn")
        barrier, found = context.Barrier(WORKERS), context.Queue()
        workers = [context.Process(target=_worker, args=(folder, column.to_pylist(), barrier, found)) for _ in range(WORKERS)]
        for worker in workers:
            worker.start()
        sizes = [found.get(timeout=300) for _ in workers]
        for worker in workers:
            worker.join()
    held, shared = (sum(size[kind] for size in sizes) / 1e6 for kind in (0, 1))
    print(f"{WORKERS} workers: index {index.memory / 1e6:.1f} MB; mapped by each {held / WORKERS:.1f} MB, by all together {shared:.1f} MB")
    windows = [text[at : at + 50] for text in _normalised(items, SET_SHARE) for at in range(len(text) - 49)]
    print(f"a Python set of strings: {_set_bytes(windows) / len(windows):.0f} MB per million windows of 50 ({len(windows):,} measured)")


def _worker(folder: str, texts: list[str], barrier: Barrier, found: multiprocessing.Queue[tuple[int, int]]) -> None:
    """Scan with the saved index; tell the bytes of its files in memory, resident and proportional, while all workers hold it."""
    scanner = Scanner(load_index(folder))
    scanner.scan(pa.array(texts, pa.large_string()))
    barrier.wait()
    sizes, inside = {"Rss": 0, "Pss": 0}, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            inside = folder in line
        elif inside and (key := line.split(":")[0]) in sizes:
            sizes[key] += int(line.split()[1]) * 1024
    barrier.wait()
    found.put((sizes["Rss"], sizes["Pss"]))


def _normalised(items: pa.Table, share: int) -> list[str]:
    normalized = normalize_batch(items["text"].combine_chunks().take(pa.array(range(0, len(items), share))))
    return [
        normalized.codepoints[first:last].astype("<u4").tobytes().decode("utf-32-le")
        for first, last in itertools.pairwise(normalized.offsets.tolist())
    ]


def _set_bytes(windows: list[str]) -> int:
    distinct = set(windows)
    return sys.getsizeof(distinct) + sum(map(sys.getsizeof, distinct))


if __name__ == "__main__":
    main()
