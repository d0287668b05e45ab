"""Writes the planted documents as a crawl would hold them: WARC, tar, HTML files, JSONL (.gz, .zst) and Parquet, byte for byte repeatable.

Every writer returns where each document went, as `Place`s in the order written.
"""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.sample import pages
from pipeline.sample.plants import Plant

CRAWL_DATE = "2024-03-01T00:00:00Z"
_PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")  # a 1x1 GIF
_ROWS_PER_GROUP = 40


@dataclass(frozen=True)
class Place:
    """Where a record lies: file below the sample folder (`archive!member` inside a tar), and the position that ingest gives it.

    `position`: byte offset (JSONL: of the uncompressed stream), row number (Parquet), or None where the file name says enough.
    """

    name: str
    file: str
    position: int | None
    source_id: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Oddity:
    """A record that is no document: an archive record of another type, or a broken line. `data` is what stands in the file."""

    name: str
    kind: str
    expected: str
    data: bytes
    url: str | None = None
    source_id: str | None = None


def url_of(plant: Plant) -> str:
    """The address under which a plant was "crawled": a reserved domain (RFC 2606), unique per plant."""
    path = plant.fields.get("path", "")
    return f"https://{plant.language or 'www'}.sample.example/{plant.name}{'/' + path if path else ''}"


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=6, mtime=0)


def _warc_record(kind: str, rng: random.Random, content: bytes, url: str | None, media_type: str) -> bytes:
    headers = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Record-ID: <urn:uuid:{uuid.UUID(int=rng.getrandbits(128), version=4)}>",
        f"WARC-Date: {CRAWL_DATE}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(content)}",
    ]
    if url:
        headers.insert(2, f"WARC-Target-URI: {url}")
    return "\r\n".join(headers).encode() + b"\r\n\r\n" + content + b"\r\n\r\n"


def _response(rng: random.Random, url: str, body: bytes, content_type: str, status: str = "200 OK") -> bytes:
    http = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    return _warc_record("response", rng, http, url, "application/http; msgtype=response")


def write_warc(
    folder: Path, file: str, plants: Sequence[Plant], rng: random.Random, truncate: bool = False
) -> tuple[list[Place], list[Oddity]]:
    """A record-compressed WARC: warcinfo first, some requests, a 404 and an image now and then, and the pages.

    truncate: cut the file in the middle of the last page's gzip member.
    """
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    places: list[Place] = []
    oddities: list[Oddity] = []
    stream = io.BytesIO()

    def oddity(kind: str, record: bytes, url: str | None) -> None:
        name = f"{kind}-{path.name.split('.')[0]}-{len(oddities):03d}"
        oddities.append(Oddity(name, kind, "dropped", b"", url))
        places.append(Place(name, file, stream.tell(), None, url))
        stream.write(_gzip(record))

    about = b"software: onnuri sample\r\nformat: WARC 1.0\r\n"
    oddity("archive_record", _warc_record("warcinfo", rng, about, None, "application/warc-fields"), None)
    for number, plant in enumerate(plants):
        url = url_of(plant)
        if number < 5:
            request = f"GET /{plant.name} HTTP/1.1\r\nHost: sample.example\r\n\r\n".encode()
            oddity("archive_record", _warc_record("request", rng, request, url, "application/http; msgtype=request"), url)
        if number % 40 == 10:
            gone = f"https://www.sample.example/gone/{path.name}/{number}"
            oddity("http_error", _response(rng, gone, b"<html><body><h1>Not Found</h1></body></html>", "text/html", "404 Not Found"), gone)
        if number % 40 == 20:
            picture = f"https://www.sample.example/pixel/{path.name}/{number}.gif"
            oddity("image", _response(rng, picture, _PIXEL, "image/gif"), picture)
        content_type = "text/html" + (f"; charset={plant.http_charset}" if plant.http_charset else "")
        member = _gzip(_response(rng, url, pages.render(plant, rng), content_type))
        places.append(Place(plant.name, file, stream.tell(), None, url))
        stream.write(member[: len(member) // 2] if truncate and number == len(plants) - 1 else member)
    path.write_bytes(stream.getvalue())
    return places, oddities


def write_tar(folder: Path, file: str, plants: Sequence[Plant], rng: random.Random) -> list[Place]:
    """A .tar.gz of HTML files, one per plant."""
    stream = io.BytesIO()
    places = []
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for plant in plants:
            member = f"pages/{plant.name}.html"
            body = pages.render(plant, rng)
            info = tarfile.TarInfo(member)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
            places.append(Place(plant.name, f"{file}!{member}", None))
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(_gzip(stream.getvalue()))
    return places


def write_html(folder: Path, subfolder: str, plants: Sequence[Plant], rng: random.Random) -> list[Place]:
    """One .html file per plant; `file` in a plant's fields names it."""
    (folder / subfolder).mkdir(parents=True, exist_ok=True)
    places = []
    for plant in plants:
        file = f"{subfolder}/{plant.fields.get('file', plant.name + '.html')}"
        (folder / file).write_bytes(pages.render(plant, rng))
        places.append(Place(plant.name, file, None))
    return places


def _record(plant: Plant, source_id: str) -> dict[str, object]:
    record: dict[str, object] = {"id": source_id, "url": url_of(plant), "title": plant.title, "date": CRAWL_DATE[:10], "text": plant.text}
    return {**record, **plant.fields}


def write_jsonl(folder: Path, file: str, plants: Sequence[Plant], oddities: Sequence[Oddity], ids: dict[str, str]) -> list[Place]:
    """JSON lines, compressed by the suffix (.jsonl, .gz, .zst), with one oddity after every third document while they last.

    ids: the source id of a plant, where it is not its own name.
    """
    places: list[Place] = []
    data = bytearray()
    waiting = list(oddities)
    for number, plant in enumerate(plants):
        source_id = ids.get(plant.name, plant.name)
        places.append(Place(plant.name, file, len(data), source_id, url_of(plant)))
        data += orjson.dumps(_record(plant, source_id)) + b"\n"
        if waiting and number % 3 == 2:
            odd = waiting.pop(0)
            places.append(Place(odd.name, file, len(data), odd.source_id, odd.url))
            data += odd.data + b"\n"
    for odd in waiting:
        places.append(Place(odd.name, file, len(data), odd.source_id, odd.url))
        data += odd.data + b"\n"
    content = bytes(data)
    if file.endswith(".gz"):
        content = _gzip(content)
    elif file.endswith(".zst"):
        content = zstandard.ZstdCompressor(level=6).compress(content)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(content)
    return places


def write_parquet(folder: Path, file: str, plants: Sequence[Plant]) -> list[Place]:
    """A zstd Parquet file of the same fields in row groups of 40."""
    records = [_record(plant, plant.name) for plant in plants]
    names = ("id", "url", "title", "date", "text")
    table = pa.table({name: pa.array([record[name] for record in records], pa.large_string()) for name in names})
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / file, compression="zstd", row_group_size=_ROWS_PER_GROUP)
    return [Place(plant.name, file, row, plant.name, url_of(plant)) for row, plant in enumerate(plants)]


def broken_lines(count: int) -> list[Oddity]:
    """`count` rounds of JSON lines that a reader must not choke on, each kind once per round."""
    lines: list[Oddity] = []
    for number in range(count):
        samples = (
            ("broken_not_json", "quarantined", b'{"id": "odd-%d", "text": "the line ends here' % number),
            ("broken_not_object", "quarantined", b'["a list", "and no object", %d]' % number),
            ("broken_invalid_utf8", "quarantined", b'{"id": "bytes-%d", "text": "\xb0\xa1\xff\xfe is no UTF-8"}' % number),
            ("broken_no_text", "quarantined", b'{"id": "untold-%d", "title": "a record without its text"}' % number),
            ("broken_text_number", "quarantined", b'{"id": "number-%d", "text": 20240301}' % number),
            ("empty_text", "dropped", b'{"id": "empty-%d", "text": "   "}' % number),
        )
        for kind, expected, data in samples:
            source_id = None if kind in ("broken_not_json", "broken_not_object", "broken_invalid_utf8") else data.split(b'"')[3].decode()
            lines.append(Oddity(f"{kind}-{number}", kind, expected, data, None, source_id))
    return lines
