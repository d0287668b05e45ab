"""What is read of real WARC and ARC files, good and broken, and how fast archives are read: ours beside fastwarc, in one run.

    python benchmarks/archives.py DATA                    DATA holds warc/: the test files of warcio, CopyCat and cc_net
    python benchmarks/archives.py DATA --megabytes 100    larger archives for the speed table

First table: records of each file by what became of them, and the records that fastwarc gives, with the error that ended its reading. Second
table: MB/s of archive content (uncompressed) in one process, HTTP bodies with their encodings undone (best of three turns, taken in
alternation), and seconds to plan the splits of a plain archive.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import io
import random
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import zstandard
from fastwarc.warc import ArchiveIterator

from pipeline.ingest.arc import read_arc
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.rows import Row, tables
from pipeline.ingest.warc import read_warc, warc_edges

TURNS = 3
CONFIG = IngestConfig()


def crawl_files(data: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of the WARC and ARC files in DATA/warc, those inside the tar archive included."""
    for path in sorted((data / "warc").iterdir()):
        if not path.name.endswith(".tar.gz"):
            yield path.name, path.read_bytes()
            continue
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member)
                if stream is not None:
                    yield member.name, stream.read()


def listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "-"


def fastwarc_result(content: bytes) -> str:
    """How many records fastwarc gives, by type, and the error that it ends with."""
    counts: collections.Counter[str] = collections.Counter()
    try:
        for record in ArchiveIterator(io.BytesIO(content)):
            record.reader.read()
            counts[str(record.record_type).rsplit(".", 1)[-1]] += 1
    except Exception as error:
        return f"{listed(counts)}; {type(error).__name__}: {str(error)[:60]}"
    return listed(counts)


def record_table(data: Path) -> None:
    print("| file | read | dropped | quarantined | fastwarc 2.0.1 |\n| --- | --- | --- | --- | --- |")
    for name, content in crawl_files(data):
        rows = list((read_arc if ".arc" in name else read_warc)(io.BytesIO(content), CONFIG))
        kept = sum(1 for row in rows if row.error is None and row.drop_reason is None)
        dropped = collections.Counter(row.drop_reason.removeprefix("warc_record:") for row in rows if row.drop_reason)
        errors = [row.error for row in rows if row.error]
        print(f"| `{name}` | {kept} | {listed(dropped)} | {'; '.join(errors) or '-'} | {fastwarc_result(content)} |")


def generated(megabytes: int) -> Iterable[bytes]:
    """WARC records about as large and as compressible as pages: 2 to 60 kB of words between tags; every fifth body is gzip."""
    noise = random.Random(3)
    words = ["".join(noise.choices("abcdefghijklmnopqrstuvwxyz", k=noise.randint(2, 9))) for _ in range(4000)]
    words += ["".join(chr(noise.randint(0xAC00, 0xD7A3)) for _ in range(noise.randint(1, 4))) for _ in range(4000)]
    size = index = 0
    while size < megabytes * 1_000_000:
        paragraphs = (" ".join(noise.choices(words, k=60)) for _ in range(noise.randint(5, 130)))
        page = f"<html><body><p>{'</p><p class=text>'.join(paragraphs)}</p></body></html>".encode()
        packed = index % 5 == 0
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{'Content-Encoding: gzip' if packed else 'Server: x'}\r\n\r\n"
        block = head.encode() + (gzip.compress(page) if packed else page)
        fields = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://site.kr/{index}\r\nWARC-Date: 2024-01-02T03:04:05Z\r\n"
        record = f"{fields}Content-Type: application/http\r\nContent-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n"
        yield record
        size += len(record)
        index += 1


def ours(path: Path) -> int:
    with path.open("rb") as file:
        return sum(len(row.raw or b"") for row in read_warc(file, CONFIG))


def ours_as_tables(path: Path) -> int:
    def rows(file: io.BufferedReader) -> Iterator[Row]:
        return read_warc(file, CONFIG)

    with path.open("rb") as file:
        return sum(table.nbytes for table in tables(rows(file), "test", path.name, CONFIG.batch_bytes))


def theirs(path: Path) -> int:
    total = 0
    for record in ArchiveIterator(path.open("rb"), parse_http=True):
        body = record.reader.read()
        total += len(gzip.decompress(body)) if body.startswith(b"\x1f\x8b") else len(body)
    return total


def speed_table(megabytes: int) -> None:
    records = list(generated(megabytes))
    content_bytes = sum(map(len, records))
    packings: dict[str, Callable[[bytes], bytes]] = {"warc": bytes, "warc.gz": gzip.compress, "warc.zst": zstandard.compress}
    ways = {"ours": ours, "ours, as Arrow tables": ours_as_tables, "fastwarc": theirs}
    print(f"\n| {len(records)} records, {content_bytes / 1e6:.0f} MB | " + " | ".join(f"{way}, MB/s" for way in ways) + " |")
    print("| --- |" + " ---: |" * len(ways))
    with tempfile.TemporaryDirectory() as folder:
        for suffix, pack in packings.items():
            path = Path(folder) / f"x.{suffix}"
            with path.open("wb") as file:
                file.writelines(map(pack, records))
            best = dict.fromkeys(ways, float("inf"))
            for _ in range(TURNS):
                for way, function in ways.items():
                    started = time.perf_counter()
                    function(path)
                    best[way] = min(best[way], time.perf_counter() - started)
            print(f"| `{suffix}` | " + " | ".join(f"{content_bytes / best[way] / 1e6:.0f}" for way in ways) + " |")
        path = Path(folder) / "x.warc"
        started = time.perf_counter()
        with path.open("rb") as file:
            edges = warc_edges(file, [content_bytes * index // 16 for index in range(1, 16)]) or []
        seconds = time.perf_counter() - started
        print(f"\nPlanning {len(edges) + 1} splits of the plain file: {seconds:.2f} s, {seconds / content_bytes * 1e9:.1f} s/GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with warc/")
    parser.add_argument("--megabytes", type=int, default=60, help="uncompressed size of the generated archives")
    arguments = parser.parse_args()
    record_table(arguments.data)
    speed_table(arguments.megabytes)


if __name__ == "__main__":
    main()
