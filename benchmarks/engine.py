"""What the engine costs: the same no-op pass over the same shards by plain pyarrow, by the local engine and by Ray, in one run.

    python benchmarks/engine.py                 256 MB of text in 16 shards
    python benchmarks/engine.py --megabytes 64  smaller

Prints, per way: wall seconds (the best of three passes, taken in turn: machines are noisy), MB/s of text, and the ratio to plain pyarrow in
one process. The machine's limit is printed beside them: a copy of the same bytes in memory. Engine start-up, with each worker's imports, is
listed apart, because a run pays it once.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.documents import DocumentReader
from pipeline.engine import Engine, LocalEngine, RayEngine
from pipeline.progress import Progress
from pipeline.schema import arrow_schema
from pipeline.segment import Segment
from pipeline.shards import ShardWriter, read_batches
from pipeline.splits import DOCUMENTS, Part, Split

COLUMNS = frozenset({"id", "text", "text_bytes"})
TURNS = 3


def make_shards(folder: Path, megabytes: int, shards: int) -> list[Split]:
    """Shards of random words: about as compressible as prose."""
    rng = random.Random(7)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(5000)]
    words += ["".join(chr(rng.randint(0xAC00, 0xD7A3)) for _ in range(rng.randint(2, 4))) for _ in range(5000)]
    splits = []
    for index in range(shards):
        texts = []
        size = 0
        while size < megabytes * 1_000_000 // shards:
            text = " ".join(rng.choices(words, k=300))
            texts.append(text)
            size += len(text.encode())
        ids = [f"{index:04d}-{row:06d}" for row in range(len(texts))]
        table = pa.table({"id": ids, "text": pa.array(texts, pa.large_string()), "text_bytes": [len(text.encode()) for text in texts]})
        path = folder / f"shard-{index:04d}.parquet"
        writer = ShardWriter(path, arrow_schema(COLUMNS))
        writer.write(table)
        writer.close()
        splits.append(Split(path.stem, (Part(str(path), path.name, DOCUMENTS, "", str(index), path.stat().st_size),)))
    return splits


def plain(splits: list[Split], out: Path) -> None:
    """The pass without any engine: read batches, write batches."""
    pa.set_cpu_count(1)
    out.mkdir()
    for split in splits:
        writer = ShardWriter(out / f"{split.name}.parquet", arrow_schema(COLUMNS))
        for table in read_batches(split.parts[0].path):
            writer.write(table)
        writer.close()


def by_engine(engine: Engine, splits: list[Split], out: Path) -> None:
    """The same pass as a segment without stages."""
    Segment(out, "noop", engine, Progress(quiet=True), 0.0).rows(splits, DocumentReader(), (), COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--no-ray", action="store_true", help="leave the Ray engine out")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="onnuri-bench-"))
    try:
        print(f"making {arguments.megabytes} MB of text in {arguments.shards} shards")
        splits = make_shards(folder, arguments.megabytes, arguments.shards)
        report(splits, folder, arguments.megabytes, ray=not arguments.no_ray)
    finally:
        shutil.rmtree(folder)


def report(splits: list[Split], folder: Path, megabytes: int, ray: bool) -> None:
    cores = len(os.sched_getaffinity(0))
    makers: dict[str, Callable[[], Engine]] = {
        f"local engine, {workers} worker{'s' if workers > 1 else ''}": lambda workers=workers: LocalEngine(workers)  # type: ignore[misc]
        for workers in sorted({1, cores})
    }
    if ray:
        makers[f"ray engine, {cores} CPUs"] = lambda: RayEngine(None, cores)
    engines: dict[str, Engine] = {}
    start_up = {"plain pyarrow, 1 process": 0.0}
    for name, make in makers.items():
        started = time.perf_counter()
        engines[name] = make()
        by_engine(engines[name], splits[: engines[name].workers], folder / f"warm {name}")
        start_up[name] = time.perf_counter() - started
    seconds: dict[str, list[float]] = {name: [] for name in start_up}
    for turn in range(TURNS):
        seconds["plain pyarrow, 1 process"].append(timed(lambda turn=turn: plain(splits, folder / f"plain {turn}")))  # type: ignore[misc]
        for name, engine in engines.items():
            out = folder / f"{name} {turn}"
            seconds[name].append(timed(lambda engine=engine, out=out: by_engine(engine, splits, out)))  # type: ignore[misc]
    for engine in engines.values():
        engine.close()
    base = min(seconds["plain pyarrow, 1 process"])
    print(f"\n{'no-op pass':<28} {'seconds':>8} {'MB/s':>8} {'x plain':>8} {'start-up s':>11}")
    for name, measured in seconds.items():
        best = min(measured)
        print(f"{name:<28} {best:>8.2f} {megabytes / best:>8.1f} {base / best:>8.2f} {start_up[name]:>11.1f}")
    copy = memory_copy(megabytes)
    print(f"{'copy in memory (the limit)':<28} {copy:>8.2f} {megabytes / copy:>8.1f} {base / copy:>8.2f}")
    written = {path.name: path.read_bytes() for path in (folder / "plain 0").glob("*.parquet")}
    others = [folder / f"{name} {turn}" / "noop" / "kept" for name in engines for turn in range(TURNS)]
    same = all({path.name: path.read_bytes() for path in other.glob("*.parquet")} == written for other in others)
    print(f"\nall ways wrote the same bytes: {'yes' if same else 'NO'} ({len(written)} shards, {cores} cores)")


def memory_copy(megabytes: int) -> float:
    """Seconds to copy so many megabytes from one warm array to another."""
    block = np.ones(megabytes * 1_000_000 // 8, dtype=np.int64)
    target = np.zeros_like(block)
    return min(timed(lambda: np.copyto(target, block)) for _ in range(TURNS))


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
