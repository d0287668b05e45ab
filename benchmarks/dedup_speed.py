"""How fast documents become sketches on one core, beside peers and the machine's limit, and how exact the sketches are.

    python benchmarks/dedup_speed.py DATA [--megabytes 5] [--stage]

DATA is the folder of development data. Korean and English documents are measured apart, each in the same run and, beside peers, on the
same documents. Peers (rensa, datasketch, datatrove) are measured where they are installed, on a small share of the documents, twice:
given ready-made shingles of normalised text, which leaves out what is slow about them in Python, and from text, cut into shingles as it
stands, without normalising it at all. rensa's R-MinHash looks at all tokens (not its "rho" sketch, which looks at about 15 of them).
datatrove (whose import needs tokenizers) has shingles of its own: 5 words by its tokenizer of the language.
Speeds are megabytes of UTF-8 per second of processor time.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from decontam.arrow import text_buffers
from decontam.normalize import normalize_text
from pipeline.dedup.shingles import Shingling, prepare
from pipeline.dedup.sketch import Sketches, sketch_batch
from pipeline.dedup.verify import exact_similarities

SOURCES = {
    "Korean": ["ko/law_legalize_kr", "ko/news_dps_sample", "ko/docs_ms_cpp_ko", "ko/blog_johngrib", "ko/petitions"],
    "English": ["en/peps", "en/digitalgov", "en/books_classic"],
}
SLOTS = 128
BATCH_BYTES = 1 << 20  # as the stage cuts its documents
RENSA_BYTES, DATASKETCH_BYTES, DATATROVE_BYTES = 1_000_000, 300_000, 300_000
PAIRS, PAIR_CHARACTERS = 1500, 4000

Row = tuple[str, float, str]


def read(data: Path, name: str, limit: float) -> list[str]:
    """Texts of one file until they are `limit` bytes."""
    texts: list[str] = []
    with gzip.open(data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
        size = 0
        for line in stream:
            if size >= limit:
                break
            texts.append(json.loads(line)["text"])
            size += len(texts[-1].encode())
    return texts


def megabytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def share(texts: list[str], size: int) -> list[str]:
    """About `size` bytes of documents from all over the list."""
    shuffled = random.Random(1).sample(texts, len(texts))
    return shuffled[: max(1, int(np.searchsorted(np.cumsum([len(text.encode()) for text in shuffled]), size)))]


def seconds(call: Callable[[], object], times: int = 5) -> float:
    """The least processor time of several calls."""
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best


def batches(texts: list[str]) -> list[pa.Array]:
    """Columns of about BATCH_BYTES."""
    found: list[pa.Array] = []
    begin, size = 0, 0
    for index, text in enumerate(texts):
        size += len(text.encode())
        if size >= BATCH_BYTES or index + 1 == len(texts):
            found.append(pa.array(texts[begin : index + 1], pa.large_string()))
            begin, size = index + 1, 0
    return found


def drop(results: Iterable[object]) -> None:
    """Let go of each result before the next is made, as a pipeline does: memory is used again, and not asked of the system anew."""
    for _ in results:
        pass


def to_signatures(columns: list[pa.Array], shingling: Shingling, sketch: Callable[..., Sketches] = sketch_batch) -> None:
    for column in columns:
        sketch(prepare(column, shingling), SLOTS, shingling)


def ours(texts: list[str], whole_stage: bool) -> list[Row]:
    """Our steps: (what, MB/s, remark)."""
    size, columns = megabytes(texts), batches(texts)
    buffers = [text_buffers(column)[0] for column in columns]
    room = np.empty(max(map(len, buffers)), np.uint8)
    copy = size / seconds(lambda: [np.copyto(room[: len(data)], data) for data in buffers])
    rows: list[Row] = [("copy of the bytes", copy, "the machine's limit")]

    def add(name: str, call: Callable[[], object], times: int = 5) -> None:
        speed = size / seconds(call, times)
        rows.append((name, speed, f"1/{copy / speed:.0f} of the limit"))

    letters, words = Shingling(), Shingling("words", 5)
    prepared = [prepare(column, letters) for column in columns]
    add("normalise", lambda: drop(prepare(column, letters) for column in columns))
    add("default sketch of normalised text", lambda: drop(sketch_batch(part, SLOTS, letters) for part in prepared))
    add("text to default sketch", lambda: to_signatures(columns, letters))
    add("text to default sketch, words", lambda: to_signatures(columns, words))
    minhash = minhash_or_none()
    if minhash:
        few = share(texts, 5_000_000)
        speed = megabytes(few) / seconds(lambda: to_signatures(batches(few), letters, minhash), 2)
        rows.append(("text to minhash sketch", speed, f"1/{copy / speed:.0f} of the limit"))
    if whole_stage:
        from pipeline.dedup.api import deduplicate

        table = pa.table({"id": [str(number) for number in range(len(texts))], "text": pa.array(texts, pa.large_string())})
        add("whole stage (deduplicate)", lambda: deduplicate(table), 2)
    return rows


def minhash_or_none() -> Callable[..., Sketches] | None:
    try:
        from pipeline.dedup.minhash import minhash_batch
    except ImportError:
        return None
    return minhash_batch


def shingles(text: str) -> list[str]:
    """The default shingles, as a user of a peer would cut them: 27 letters, or 9 characters of text that isn't English."""
    width = 27 if text.isascii() else 9
    return [text[start : start + width] for start in range(max(1, len(text) - width + 1))]


def peers(texts: list[str], korean: bool) -> list[tuple[str, float, float]]:
    """(what, its MB/s, ours on the same documents)."""
    found: list[tuple[str, float, float]] = []

    def add(name: str, documents: list[str], call: Callable[[], object]) -> None:
        columns, size = batches(documents), megabytes(documents)
        found.append((name, size / seconds(call, 2), size / seconds(lambda: to_signatures(columns, Shingling()))))

    os.environ["RAYON_NUM_THREADS"] = "1"  # rensa would use all cores
    try:
        from rensa import RMinHash
    except ImportError:
        print("rensa is not installed: no comparison")
    else:
        few = share(texts, RENSA_BYTES)
        tokens = [shingles(normalize_text(text)) for text in few]

        def digests(documents: Iterable[list[str]]) -> None:
            for shingled in documents:
                sketch = RMinHash(SLOTS, 1)
                sketch.update(shingled)
                sketch.digest()

        add("rensa R-MinHash, all tokens, given", few, lambda: digests(tokens))
        add("rensa R-MinHash, all tokens, from text", few, lambda: digests(map(shingles, few)))
    try:
        from datasketch import MinHash
    except ImportError:
        print("datasketch is not installed: no comparison")
    else:
        some = share(texts, DATASKETCH_BYTES)
        encoded = [[shingle.encode() for shingle in shingles(normalize_text(text))] for text in some]
        add("datasketch MinHash.bulk, given", some, lambda: MinHash.bulk(encoded, num_perm=SLOTS))
        add(
            "datasketch MinHash.bulk, from text",
            some,
            lambda: MinHash.bulk(([shingle.encode() for shingle in shingles(text)] for text in some), num_perm=SLOTS),
        )
    found += datatrove(texts, korean)
    return found


def datatrove(texts: list[str], korean: bool) -> list[tuple[str, float, float]]:
    """What datatrove's first MinHash step computes per document, without its files."""
    try:
        from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
        from datatrove.utils.typeshelper import Languages

        step = MinhashDedupSignature("/nonexistent", MinhashConfig(), Languages.korean if korean else Languages.english)
        step.get_shingles("warm 시작 up one two three")  # loads the tokenizer
    except ImportError as error:
        print(f"datatrove can't be measured: {error}")
        return []
    few = share(texts, DATATROVE_BYTES)
    columns, size = batches(few), megabytes(few)

    def signatures() -> None:
        for text in few:
            hashed = step.get_shingles(text)
            if hashed.size:
                step.get_signature(hashed)

    return [
        ("datatrove signature step, from text", size / seconds(signatures, 1), size / seconds(lambda: to_signatures(columns, Shingling())))
    ]


def report_errors(texts: list[str], language: str) -> None:
    """Estimated minus exact similarity of documents and copies in which words were replaced."""
    generator = random.Random(2)
    pairs = []
    for text in generator.choices([text for text in texts if len(text) > PAIR_CHARACTERS // 4], k=PAIRS):
        start = generator.randrange(max(1, len(text) - PAIR_CHARACTERS))
        words = text[start : start + PAIR_CHARACTERS].split()
        replaced = generator.random() * 0.15
        pairs.append((" ".join(words), " ".join(word[::-1] + "x" if generator.random() < replaced else word for word in words)))
    column = pa.array([text for pair in pairs for text in pair], pa.large_string())
    for name, shingling in (("bytes", Shingling()), ("words", Shingling("words", 5))):
        prepared = prepare(column, shingling)
        left = np.arange(0, 2 * PAIRS, 2)
        exact = exact_similarities(prepared, left, left + 1, shingling)
        minhash = minhash_or_none()
        sketches = {"default": sketch_batch} | ({"minhash": minhash} if minhash else {})
        for sketch_name, sketch in sketches.items():
            signatures = sketch(prepared, SLOTS, shingling).signatures
            error = (signatures[0::2] == signatures[1::2]).mean(axis=1) - exact
            expected = np.sqrt((exact * (1 - exact) / SLOTS).mean())
            print(
                f"{language:8} {name:6} {sketch_name:8} mean similarity {exact.mean():.3f}  mean error {error.mean():+.5f} "
                f"(its standard error {expected / np.sqrt(PAIRS):.5f})  standard deviation {np.sqrt((error**2).mean()):.5f}, "
                f"of {SLOTS} independent slots {expected:.5f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--megabytes", type=float, default=5.0, help="of text per file")
    parser.add_argument("--stage", action="store_true", help="measure deduplicating a whole table, too")
    arguments = parser.parse_args()
    for language, names in SOURCES.items():
        texts = [text for name in names for text in read(arguments.data, name, arguments.megabytes * 1e6)]
        print(f"\n{language}: {len(texts):,} documents, {megabytes(texts):.1f} MB, {SLOTS} slots, one core")
        for name, speed, remark in ours(texts, arguments.stage):
            print(f"  {name:42} {speed:9.1f} MB/s  {remark}")
        for name, speed, our_speed in peers(texts, language == "Korean"):
            print(f"  {name:42} {speed:9.2f} MB/s  ours on the same documents {our_speed:.0f} MB/s: {our_speed / speed:.0f} times")
        report_errors(texts, language)


if __name__ == "__main__":
    main()
