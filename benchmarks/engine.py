"""What the engine costs: the same no-op pass over the same shards by plain pyarrow, by the local engine and by Ray, in one run.

    python benchmarks/engine.py                 256 MB of text in 16 shards
    python benchmarks/engine.py --megabytes 64  smaller

Prints, per way: wall seconds, MB/s of text, CPU seconds (whole process tree), and the ratio to plain pyarrow in one process. The machine's
limit is printed beside them: a copy of the same bytes in memory. Engine start-up is listed apart, because a run pays it once.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
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


def cpu_seconds() -> float:
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def timed(work: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


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
    block = np.ones(megabytes * 1_000_000 // 8, dtype=np.int64)
    target = np.zeros_like(block)
    copy = min(timed(lambda: np.copyto(target, block))[0] for _ in range(3))
    cores = len(os.sched_getaffinity(0))
    base, _ = timed(lambda: plain(splits, folder / "plain"))
    rows: list[tuple[str, float, float]] = [("plain pyarrow, 1 process", base, 0.0)]
    for workers in sorted({1, cores}):
        start, engine = timed(lambda workers=workers: warm(LocalEngine(workers), splits, folder))  # type: ignore[misc]
        seconds, _ = timed(lambda engine=engine, workers=workers: by_engine(engine, splits, folder / f"local{workers}"))  # type: ignore[misc]
        engine.close()  # type: ignore[attr-defined]
        rows.append((f"local engine, {workers} worker{'s' if workers > 1 else ''}", seconds, start))
    if ray:
        start, engine = timed(lambda: warm(RayEngine(None, cores), splits, folder))
        seconds, _ = timed(lambda: by_engine(engine, splits, folder / "ray"))  # type: ignore[arg-type]
        engine.close()  # type: ignore[attr-defined]
        rows.append((f"ray engine, {cores} CPUs", seconds, start))
    print(f"\n{'no-op pass':<28} {'seconds':>8} {'MB/s':>8} {'x plain':>8} {'start-up s':>11}")
    for name, seconds, start in rows:
        print(f"{name:<28} {seconds:>8.2f} {megabytes / seconds:>8.1f} {base / seconds:>8.2f} {start:>11.1f}")
    print(f"{'copy in memory (the limit)':<28} {copy:>8.2f} {megabytes / copy:>8.1f} {base / copy:>8.2f}")
    same = {path.read_bytes() for name in ("plain",) for path in (folder / name).glob("*.parquet")}
    others = [folder / name / "noop" / "kept" for name in (f"local{cores}", "ray") if (folder / name).exists()]
    identical = all({path.read_bytes() for path in other.glob("*.parquet")} == same for other in others)
    print(f"\nall ways wrote the same bytes: {'yes' if identical else 'NO'}; {cores} cores, CPU time of all: {cpu_seconds():.1f} s")


def warm(engine: Engine, splits: list[Split], folder: Path) -> Engine:
    """Start the workers and have them import what they need, on one small pass that isn't counted."""
    by_engine(engine, splits[: engine.workers], folder / f"warm-{engine.name}-{engine.workers}")
    return engine


if __name__ == "__main__":
    main()
