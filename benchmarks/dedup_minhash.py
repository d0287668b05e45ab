"""How fast MinHash signatures are made beside datasketch's, and that they are the same: `python benchmarks/dedup_minhash.py DATA`.

DATA: folder with `text/*/*.jsonl.gz`. One core; times are of signatures alone, the best of three. Ours begins with prepared texts,
datasketch with the set of their shingles ready (`update_batch`, its fastest way), of as many documents as PEER_BYTES hold.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasketch import MinHash

from decontam.normalize import Normalized
from pipeline.dedup.minhash import minhash_batch
from pipeline.dedup.shingles import Shingling, prepare
from pipeline.dedup.sketch import sketch_batch

FILES = (
    "text/ko/law_legalize_kr.jsonl.gz",
    "text/ko/petitions.jsonl.gz",
    "text/en/peps.jsonl.gz",
    "text/ko/movie_reviews_nsmc_raw.jsonl.gz",
)
BYTES, PEER_BYTES = 8_000_000, 100_000
PERMUTATIONS = 128


def texts_of(path: Path) -> list[str]:
    """The first texts of a file, about BYTES of UTF-8."""
    found, size = [], 0
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            found.append(json.loads(line)["text"])
            size += len(found[-1].encode())
            if size > BYTES:
                break
    return found


def shingles_of(texts: Normalized, document: int, shingling: Shingling) -> set[bytes]:
    """The shingles of a prepared text, made the plain way."""
    span = slice(texts.offsets[document], texts.offsets[document + 1])
    characters = [chr(code) for code in texts.codepoints[span].tolist()]
    if not characters:
        return set()
    if shingling.unit == "words" and texts.breaks is not None:
        begins = [*np.flatnonzero(texts.breaks[span]).tolist(), len(characters)]
        words = ["".join(characters[start:end]) for start, end in pairwise(begins)]
        return {" ".join(words[start : start + shingling.size]).encode() for start in range(max(1, len(words) - shingling.size + 1))}
    sizes = np.cumsum([0, *(len(one.encode()) for one in characters)])
    data = "".join(characters).encode()
    ends = np.searchsorted(sizes, sizes[:-1] + shingling.size)
    whole = [(start, end) for start, end in enumerate(ends.tolist()) if end < len(sizes)] or [(0, len(characters))]
    return {data[sizes[start] : sizes[end]] for start, end in whole}


def seconds(call: Callable[..., Any], *arguments: Any) -> float:
    """The best of three calls."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        call(*arguments)
        best = min(best, time.perf_counter() - started)
    return best


def peer(texts: list[str], prepared: Normalized, ours: np.ndarray, shingling: Shingling) -> float:
    """Bytes per second of datasketch over the first texts; exits when a signature differs from ours."""
    spent, size = 0.0, 0
    for document, text in enumerate(texts):
        shingles = shingles_of(prepared, document, shingling)
        started = time.perf_counter()
        sketch = MinHash(PERMUTATIONS, seed=shingling.seed)
        sketch.update_batch(shingles)
        spent, size = spent + time.perf_counter() - started, size + len(text.encode())
        if not np.array_equal(sketch.digest(), ours[document]):
            sys.exit(f"document {document} has another signature than datasketch gives it")
        if size > PEER_BYTES:
            break
    return size / spent


def main() -> None:
    """Print MB of UTF-8 text per second and core."""
    if len(sys.argv) != 2:
        sys.exit("give the folder of the data: python benchmarks/dedup_minhash.py DATA")
    print(f"{'file':40} {'shingle':10} {'minhash':>8} {'legacy':>8} {'oph':>8} {'datasketch':>11} {'ratio':>6}   (MB/s, one core)")
    for name in FILES:
        texts = texts_of(Path(sys.argv[1]) / name)
        total = sum(len(text.encode()) for text in texts)
        for shingling in (Shingling(), Shingling("words", 5, True)):
            prepared = prepare(pa.array(texts, pa.large_string()), shingling)
            signatures = minhash_batch(prepared, PERMUTATIONS, shingling).signatures
            times = [
                seconds(minhash_batch, prepared, PERMUTATIONS, shingling),
                seconds(minhash_batch, prepared, PERMUTATIONS, shingling, "legacy"),
                seconds(sketch_batch, prepared, PERMUTATIONS, shingling),
            ]
            theirs = peer(texts, prepared, signatures, shingling)
            speeds = " ".join(f"{total / 1e6 / one:8.1f}" for one in times)
            kind = f"{shingling.size} {shingling.unit}"
            print(f"{name:40} {kind:10} {speeds} {theirs / 1e6:11.2f} {total / times[0] / theirs:6.0f}")


if __name__ == "__main__":
    main()
