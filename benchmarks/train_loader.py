"""How fast training data is read: `python benchmarks/train_loader.py [--tokens N] [--length L] [--micro-batch M]`.

A source of N tokens in documents of natural lengths (log-normal, median 400 tokens) is written to a temporary folder, indexed, and read
in one process from the page cache as a rank does in training: ids, targets, positions and pieces of documents. Beside it: the index's
speed, and the seconds from a stage that is opened anew to its first batch at a far sample, with a table of blocks as large as a training
on 9e12 tokens has.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.aligned import aligned
from tokenizer.shards import SIDE_CAR, ShardWriter
from training.loader import StageData, batches
from training.mixing import Mixture
from training.prefetch import prefetch
from training.sources import SourceSpec, open_source
from training.streams import WEIGHTS, Stream

VOCAB_SIZE = 102_400
STREAMS = 20
"""Of the large mixture: languages and domains of a real plan."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=float, default=100e6)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="of reading, for each row")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch) / "shards", Path(scratch) / "cache"
        sha256, documents = write_shards(folder, int(arguments.tokens))
        rows = [("", "tokens/s", "documents/s", "seconds")]
        for packing in ("concat", "best_fit"):
            spec = SourceSpec("web", str(folder), {}, arguments.length, packing=packing, epochs=1000, holdout=0.001)
            begun = time.perf_counter()
            source = open_source(spec, sha256, cache, 1)
            built = time.perf_counter() - begun
            rows.append((f"index, {packing}", "", f"{documents / built:,.0f}", f"{built:.2f}"))
            stream = Stream("web", 0, WEIGHTS, "fresh", 0, source.total)
            batch_samples = 64 * arguments.micro_batch
            data = StageData(arguments.length, source.total // batch_samples * batch_samples, [stream], {0: source}, VOCAB_SIZE, 1)
            steps = range(data.samples // batch_samples)
            for name, read in (("read", batches), ("read ahead in a thread", ahead)):
                speed = measure(read(data, steps, batch_samples, arguments.micro_batch), arguments.seconds)
                rows.append((f"{name}, {packing}", f"{speed:,.0f}", "", ""))
            begun = time.perf_counter()
            source = open_source(spec, sha256, cache, 1)
            data = StageData(arguments.length, data.samples, [stream], {0: source}, VOCAB_SIZE, 1)
            next(batches(data, steps[-1:], batch_samples, arguments.micro_batch))
            rows.append((f"opened again to a far step, {packing}", "", "", f"{time.perf_counter() - begun:.3f}"))
        samples = int(9e12) // arguments.length
        begun = time.perf_counter()
        mixture = Mixture([WEIGHTS // STREAMS] * STREAMS, samples, 1)
        rows.append((f"mixture of {samples:,} samples, {STREAMS} streams", "", "", f"{time.perf_counter() - begun:.2f}"))
        begun = time.perf_counter()
        mixture.locate(np.arange(samples - arguments.micro_batch, samples))
        rows.append(("a micro-batch at its end", "", "", f"{time.perf_counter() - begun:.5f}"))
    print("\n".join(aligned(rows)))


def ahead(*arguments: object) -> Iterator[object]:
    """The same steps, two of them ahead."""
    return prefetch(batches(*arguments), 2)  # type: ignore[arg-type]


def measure(steps: Iterator[list], seconds: float) -> float:
    """Tokens per second, after a first step that loads kernels and fills the page cache."""
    next(steps)
    begun, tokens = time.perf_counter(), 0
    for step in steps:
        tokens += sum(batch.ids.numel() for batch in step)
        if time.perf_counter() - begun > seconds:
            break
    return tokens / (time.perf_counter() - begun)


def write_shards(folder: Path, tokens: int) -> tuple[str, int]:
    """A folder of token shards of one group; its tokenizer's sha256 and its documents."""
    random = np.random.default_rng(0)
    stem = "phase=general/lang=ko/00000"
    writer = ShardWriter(folder / stem, {})
    documents = 0
    while writer.tokens < tokens:
        lengths = random.lognormal(6, 1.2, 1 << 14).astype(np.int64).clip(1, 200_000)
        rows = dict.fromkeys(SIDE_CAR.names, pa.nulls(len(lengths)))
        rows["id"] = pa.array([f"document-{documents + place}" for place in range(len(lengths))])
        rows["text_bytes"] = pa.array(lengths * 4)
        writer.write(pa.table(rows), random.integers(0, VOCAB_SIZE, int(lengths.sum()), np.int32), lengths)
        documents += len(lengths)
    facts = writer.close()
    group, sha256 = "phase=general/lang=ko", hashlib.sha256(b"none").hexdigest()
    manifest = {
        "segment": "encode",
        "finished": True,
        "tokenizer": {"sha256": sha256, "vocab_size": VOCAB_SIZE},
        "groups": [{"folder": group, "values": {"phase": "general", "lang": "ko"}}],
        "shards": [{"path": stem, "group": group, **facts}],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return sha256, documents


if __name__ == "__main__":
    main()
