"""How dedup grows with the corpus: `python benchmarks/dedup_scale.py FOLDER [MILLIONS...]` (default 2 5 10 20; 7 GB of disk at 20).

Sketches of synthetic documents are generated, not texts: 65 % of the documents are alone, 5 % are exact copies, 30 % belong to families of
about six whose members share 70 to 100 % of their slots with the family's. They go through the product's own tasks: order, buckets,
edges, verdict, clusters. Only the comparison of texts is replaced: a pair counts as verified if the estimate of its sketches reaches the
threshold.
`--component MILLIONS` makes one component of that many documents instead, as copies of one page with small changes and as a chain in which
each document is similar to its neighbours only, and merges chains.

Each step runs in a process of its own, one after the other; printed are its seconds and its peak memory (with the pages of memory-mapped
files that it touched).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import types

from pipeline.dedup.bands import band_keys, choose_bands
from pipeline.dedup.move import FAN_IN, PART_EDGES, PART_KEYS
from pipeline.dedup.records import SketchReader, key_table, shelf, sketch_type
from pipeline.dedup.tasks import CHUNKED, BucketTask, Corpus, EdgesTask, OrderTask
from pipeline.dedup.tasks_decide import ClustersTask, VerdictTask
from pipeline.dedup.tasks_verify import VERIFY_BYTES, ForestTask, pair_table, spanning
from pipeline.dedup.verdicts import Pairs, estimates
from pipeline.kernels import mix
from pipeline.ranges import Range, SortedWriter, read_range

THRESHOLD, SLOTS = 0.8, 128
SHELF = 500_000
ALONE, COPY = 0.65, 0.70
FAMILY = 6
BATCH = 50_000


@numba.njit(types.void(types.uint64[::1], types.float64[::1], types.uint64[::1], types.uint32[:, ::1]), cache=True)
def _sign(family: np.ndarray, share: np.ndarray, member: np.ndarray, signatures: np.ndarray) -> None:
    """Slots of a family's signature, each replaced by one of the member's own with probability 1 - share."""
    for document in range(len(family)):
        for slot in range(signatures.shape[1]):
            own = mix(member[document] * np.uint64(1000003) + np.uint64(slot))
            value = mix(family[document] * np.uint64(7919) + np.uint64(slot) + np.uint64(1))
            if (own >> np.uint64(11)) * 2.0**-53 >= share[document]:
                value = own
            signatures[document, slot] = np.uint32(value)


@numba.njit(types.void(types.int64, types.uint32[:, ::1]), cache=True)
def _chain(first: int, signatures: np.ndarray) -> None:
    """Each document replaces two slots of its predecessor: neighbours are 98 % alike, documents 13 apart no longer near."""
    slots = signatures.shape[1]
    for document in range(len(signatures)):
        number = first + document
        for slot in range(slots):
            turns = (2 * number + slots - 1 - slot) // slots  # how often this slot was replaced up to here
            signatures[document, slot] = np.uint32(mix(np.uint64(slot) * np.uint64(7919) + np.uint64(turns) * np.uint64(104729)))


def generate(folder: Path, count: int, shape: str) -> int:
    """Write the sketches of `count` documents in shelves of SHELF; returns how many families have several members."""
    bands, rows = choose_bands(THRESHOLD, SLOTS)
    families = max(1, int(count * (1 - COPY) / FAMILY))
    seen = np.zeros(families, np.uint8)
    for place, begin in enumerate(range(0, count, SHELF)):
        numbers = np.arange(begin, min(begin + SHELF, count), dtype=np.uint64)
        random = np.random.default_rng(place)
        kind = random.random(len(numbers))
        family, share = numbers + np.uint64(1 << 40), np.ones(len(numbers))
        if shape == "families":
            near = kind >= COPY
            member = random.integers(0, families, int(near.sum()))
            np.add.at(seen, member, (seen[member] < 200).astype(np.uint8))
            family[near], share[near] = member.astype(np.uint64), random.uniform(0.7, 1.0, int(near.sum()))
            copies = np.flatnonzero((kind >= ALONE) & ~near)
            family[copies] = random.integers(0, begin + 1, len(copies)).astype(np.uint64) + np.uint64(1 << 40)
        elif shape == "copies":
            family[:], share[:] = 0, 0.97
        hashes = numbers.copy()
        if shape == "families":
            hashes[copies] = family[copies] - np.uint64(1 << 40)
        write_shelf(folder, f"s{place:04d}", numbers, hashes, family, share, shape == "chain", bands, rows)
    return int((seen > 1).sum())


def write_shelf(
    folder: Path,
    name: str,
    numbers: np.ndarray,
    hashes: np.ndarray,
    family: np.ndarray,
    share: np.ndarray,
    chain: bool,
    bands: int,
    rows: int,
) -> None:
    """The three files of a shelf."""
    sketches, target, pending = np.zeros(len(numbers), sketch_type(SLOTS)), shelf(folder, name), []
    sketches["filled"] = SLOTS
    with SortedWriter(Path(target.keys), key_table(np.zeros((0, bands), np.uint64), np.zeros(0, np.uint32)).schema, "key") as keys:
        for begin in range(0, len(numbers), BATCH):
            here = slice(begin, min(begin + BATCH, len(numbers)))
            signatures = np.empty((here.stop - begin, SLOTS), np.uint32)
            if chain:
                _chain(int(numbers[begin]), signatures)
            else:
                _sign(family[here], share[here], numbers[here], signatures)
            sketches["slots"][here] = signatures.astype(np.uint8)
            pending.append(band_keys(signatures, bands, rows))
        keys.write(key_table(np.concatenate(pending), np.arange(len(numbers), dtype=np.uint32)))
    np.save(target.sketches, sketches)
    size = (2000 + (hashes * np.uint64(2654435761)) % np.uint64(4000)).astype(np.int64)
    text = [f"{number:032x}" for number in numbers.tolist()]
    table = pa.table(
        {
            "id": text,
            "source": pa.array(["synthetic"] * len(text)),
            "file": pa.array([name] * len(text)),
            "source_id": pa.nulls(len(text), pa.string()),
            "position": numbers.astype(np.int64),
            "text_bytes": size,
            "hash_high": hashes * np.uint64(0x9E3779B97F4A7C15),
            "hash_low": hashes,
            "priority_0": size,
            "priority_1": pa.nulls(len(text), pa.string()),
            "priority_2": text,
        }
    )
    pq.write_table(table, target.records, compression="zstd", row_group_size=1 << 16)


def apart(work: Callable[[], Any]) -> tuple[float, float]:
    """(seconds, peak memory in GB) of `work` in a process of its own."""
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit("a step failed; its error is above")
    return time.perf_counter() - started, usage.ru_maxrss / 1e6


def stub(corpus: Corpus, edges: Path, out: Path, chains: bool) -> None:
    """In place of the comparison of texts: pairs whose sketches' estimate reaches the threshold."""
    reader, number, parts = SketchReader(corpus.shelves, corpus.array("begins")), corpus.array("number"), []
    for table in read_range(str(edges), "chunk", 0, (1 << 31) - 1, CHUNKED.names):
        better, worse = (table.column(name).to_numpy() for name in ("better", "worse"))
        similarity = estimates(reader(number[worse])[0], reader(number[better])[0])
        similar = similarity >= THRESHOLD
        parts.append(Pairs(better[similar], worse[similar], similarity[similar]))
    empty = Pairs(np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros(0))
    pairs = Pairs(*(np.concatenate([getattr(part, name) for part in [empty, *parts]]) for name in ("better", "worse", "similarity")))
    pq.write_table(pair_table(spanning(pairs) if chains else pairs), out)


def measure(folder: Path, count: int, shape: str, chains: bool) -> None:
    """Run the steps over `count` documents and print a row."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("sketch", "order", "buckets", "edges", "verify", "verdict", "clusters"):
        (folder / name).mkdir(parents=True)
    several = generate(folder / "sketch", count, shape)
    names = [f"s{place:04d}" for place in range(-(-count // SHELF))]
    corpus = Corpus(tuple(shelf(folder / "sketch", name) for name in names), 0, "", str(folder / "order"))
    bands, _ = choose_bands(THRESHOLD, SLOTS)
    rows: dict[str, tuple[float, float]] = {}

    def run(step: str, tasks: list[Callable[[], Any]]) -> None:
        timed = [apart(task) for task in tasks]
        seconds, peak = rows.get(step, (0.0, 0.0))
        rows[step] = seconds + sum(one for one, _ in timed), max([peak, *(memory for _, memory in timed)])

    def task(step: str, one: Any) -> Callable[[], Any]:
        return lambda: one(folder / step)

    run("order", [task("order", OrderTask(corpus, (("text_bytes", True), ("date", False), ("id", False)), True))])
    parts = max(1, -(-count * bands // PART_KEYS))
    buckets = [BucketTask(corpus, Range(part, parts, 1 << 64), THRESHOLD, 64) for part in range(parts)]
    run("buckets", [task("buckets", one) for one in buckets])
    files = tuple(str(folder / "buckets" / f"{one.name}.parquet") for one in buckets)
    found = sum(pq.read_metadata(path).num_rows for path in files)
    parts = max(1, -(-found // PART_EDGES))
    edges = [EdgesTask(corpus, files, "", Range(part, parts, count), VERIFY_BYTES) for part in range(parts)]
    run("edges", [task("edges", one) for one in edges])
    paths = [folder / "edges" / f"{one.name}.parquet" for one in edges]
    pairs = sum(pq.read_metadata(path).num_rows for path in paths)
    verified = [folder / "verify" / path.name for path in paths]
    stubs = [(lambda path=path, out=out: stub(corpus, path, out, chains)) for path, out in zip(paths, verified, strict=True)]
    run("verify (stub)", stubs)
    trees, level = [str(path) for path in verified], 0
    while chains and len(trees) > FAN_IN:
        merges = [ForestTask(f"forest-{level}-{begin}", tuple(trees[begin : begin + FAN_IN]), "") for begin in range(0, len(trees), FAN_IN)]
        run("forests", [task("verify", one) for one in merges])
        trees, level = [str(folder / "verify" / f"{one.name}.parquet") for one in merges], level + 1
    run("verdict", [task("verdict", VerdictTask(corpus, tuple(trees), "", (), tuple(names), chains))])
    verdicts = tuple(str(folder / "verdict" / f"verdict-{name}.parquet") for name in names)
    run("clusters", [task("clusters", ClustersTask(verdicts, None, ""))])
    report(folder, count, shape, chains, several, found, pairs, rows)
    shutil.rmtree(folder)


def report(
    folder: Path, count: int, shape: str, chains: bool, several: int, found: int, pairs: int, rows: dict[str, tuple[float, float]]
) -> None:
    """Print what came of it."""
    kept = largest = 0
    for path in (folder / "verdict").glob("verdict-s*.parquet"):
        table = pq.read_table(path, columns=["verdict", "cluster_size"])
        kept += sum(1 for verdict in table.column("verdict").to_pylist() if verdict == "kept")
        largest = max(largest, int(np.max(table.column("cluster_size").to_numpy())))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    mode = ", chains" if chains else ""
    print(
        f"\n{count / 1e6:g} million documents ({shape}{mode}): {kept:,} stay, largest cluster {largest:,}, {several:,} families of several;"
    )
    print(f"{found:,} pairs from the bands, {pairs:,} different; {size / count:.0f} bytes of disk per document")
    print(f"{'step':<14} {'seconds':>8} {'per million':>12} {'peak GB':>8}")
    for step, (seconds, peak) in [*rows.items(), ("all", (sum(one for one, _ in rows.values()), max(one for _, one in rows.values())))]:
        print(f"{step:<14} {seconds:8.1f} {seconds / count * 1e6:12.2f} {peak:8.2f}", flush=True)


def main() -> None:
    """Print a table per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder for the files, removed at the end")
    parser.add_argument("millions", type=float, nargs="*", default=[2, 5, 10, 20])
    parser.add_argument("--component", type=float, help="one component of so many million documents instead")
    given = parser.parse_args()
    if given.folder.exists():
        parser.error(f"{given.folder} exists; name a new folder")
    if given.component:
        for shape, chains in (("copies", False), ("chain", True)):
            measure(given.folder, int(given.component * 1e6), shape, chains)
        return
    for millions in given.millions:
        measure(given.folder, int(millions * 1e6), "families", False)
    print(f"\nmemory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
