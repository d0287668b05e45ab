"""How fast sketches are made, from text to signature, on one core: `python benchmarks/dedup_sketch.py [PARQUET_OR_JSONL...]`.

Without files it uses generated text, half Korean-like, half English-like. Where datasketch is installed, its MinHash is timed on the same
shingles (of a part of the text: it is slower by orders of magnitude), and the ratio is printed.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from decontam.normalize import normalize_batch, normalize_text
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.records import sketch_records, sketch_settings
from pipeline.dedup.sketch import sketch_batch
from pipeline.files import find_files, open_file

DOCUMENTS, CHARACTERS = 4000, 2500
PEER_DOCUMENTS = 20


def generated() -> list[str]:
    """Random words of Latin letters or Hangul syllables."""
    random = np.random.default_rng(1)
    texts = []
    for document in range(DOCUMENTS):
        first, last, length = (0xAC00, 0xD7A3, CHARACTERS // 2) if document % 2 else (ord("a"), ord("z"), CHARACTERS)
        codes = random.integers(first, last + 1, length)
        codes[random.random(length) < 0.2] = ord(" ")
        texts.append("".join(map(chr, codes.tolist())))
    return texts


def read(paths: list[str]) -> list[str]:
    """The `text` of Parquet or JSONL files."""
    texts: list[str] = []
    for file in find_files(paths):
        if file.path.endswith(".parquet"):
            texts += pq.read_table(file.path, columns=["text"]).column("text").to_pylist()
            continue
        with open_file(file.path) as stream:
            texts += [json.loads(line)["text"] for line in stream]
    return texts


def seconds(function, *arguments) -> float:
    """The best of three calls."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        function(*arguments)
        best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    """Print megabytes of UTF-8 per second and core."""
    texts = read(sys.argv[1:]) if len(sys.argv) > 1 else generated()
    table = pa.table({"id": [str(number) for number in range(len(texts))], "text": pa.array(texts, pa.large_string())})
    config = DedupConfig()
    settings = sketch_settings(config)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    normalized = normalize_batch(table.column("text"))
    steps = {
        "normalise": seconds(normalize_batch, table.column("text")),
        "sketch": seconds(sketch_batch, normalized, config.permutations, config.shingle_bytes, config.seed),
        "records": seconds(sketch_records, table, settings),
    }
    print(f"{len(texts):,} documents, {megabytes:.1f} MB of UTF-8, one core, {settings.bands} bands of {settings.rows} slots")
    print(f"normalise                {megabytes / steps['normalise']:8.1f} MB/s")
    print(f"sketch                   {megabytes / steps['sketch']:8.1f} MB/s")
    print(f"text to signature        {megabytes / (steps['normalise'] + steps['sketch']):8.1f} MB/s")
    print(f"records (hash, bands)    {megabytes / steps['records']:8.1f} MB/s")
    ours = megabytes / (steps["normalise"] + steps["sketch"])
    compare(texts[:PEER_DOCUMENTS], config, ours)


def compare(texts: list[str], config: DedupConfig, ours: float) -> None:
    """datasketch's MinHash of as many slots, given the same shingles of the same normalised texts."""
    try:
        from datasketch import MinHash
    except ImportError:
        print("datasketch is not installed: no comparison")
        return
    started = time.perf_counter()
    for text in texts:
        plain = normalize_text(text)
        width = config.shingle_bytes if plain.isascii() else config.shingle_bytes // 3
        sketch = MinHash(config.permutations, seed=config.seed)
        sketch.update_batch([plain[start : start + width].encode() for start in range(max(1, len(plain) - width + 1))])
    theirs = sum(len(text.encode()) for text in texts) / 1e6 / (time.perf_counter() - started)
    print(f"datasketch MinHash       {theirs:8.1f} MB/s    (ours is {ours / theirs:.0f} times as fast)")


if __name__ == "__main__":
    main()
