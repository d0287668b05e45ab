"""Small archives that the ingest tests build: WARC records, tar members, parts on disk."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from pathlib import Path

import pyarrow as pa
import zstandard

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.readers import read_part
from pipeline.splits import Part


class Counting(io.BytesIO):
    """A file that counts the bytes read from it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


PAGE = b"<html><head><title>t</title></head><body><p>hello there</p></body></html>"


def http(body: bytes = PAGE, status: str = "200 OK", content_type: str = "text/html", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{extra}\r\n".encode() + body


def warc_record(block: bytes, kind: str = "response", url: str = "http://a.kr/1", content_type: str = "application/http") -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-01-02T03:04:05Z\r\n"
    return head.encode() + f"Content-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n"


def warc_gz(count: int, padding: int = 0) -> bytes:
    records = [warc_record(http(PAGE + b"x" * padding + str(index).encode()), url=f"http://a.kr/{index}") for index in range(count)]
    return b"".join(gzip.compress(record, mtime=0) for record in records)


def tar_of(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def part_of(path: Path, format_: str, **changes: object) -> Part:
    values = {"path": str(path), "name": path.name, "format": format_, "source": "test", "fingerprint": "", "size": path.stat().st_size}
    return Part(**{**values, **changes})  # type: ignore[arg-type]


def read(folder: Path, content: bytes, format_: str, config: IngestConfig | None = None, **changes: object) -> pa.Table:
    path = folder / "input"
    path.write_bytes(content)
    found = list(read_part(part_of(path, format_, **changes), config or IngestConfig()))
    return pa.concat_tables(found) if found else pa.table({})


def verdicts(table: pa.Table) -> list[str]:
    """Per row: `kept`, `error`, or the drop reason."""
    if not len(table):
        return []
    pairs = zip(table["drop_reason"].to_pylist(), table["error"].to_pylist(), strict=True)
    return ["error" if error else reason or "kept" for reason, error in pairs]


def arc_record(block: bytes, url: str = "http://a.kr/1", mime: str = "text/html") -> bytes:
    return f"{url} 1.2.3.4 20200102030405 {mime} {len(block)}\n".encode() + block + b"\n"


def gzip_with_header(content: bytes, extra: bytes = b"", name: bytes = b"", comment: bytes = b"") -> bytes:
    """A gzip member with the optional parts of its header (RFC 1952 section 2.3)."""
    packer = zlib.compressobj(wbits=-15)
    flags = (4 if extra else 0) | (8 if name else 0) | (16 if comment else 0)
    head = b"\x1f\x8b\x08" + bytes([flags]) + bytes(4) + b"\0\xff"
    head += struct.pack("<H", len(extra)) + extra if extra else b""
    head += b"".join(part + b"\0" for part in (name, comment) if part)
    return head + packer.compress(content) + packer.flush() + struct.pack("<II", zlib.crc32(content), len(content))


def zstd_dictionary_file(records: list[bytes], pack_dictionary: bool = True) -> bytes:
    """A .warc.zst as the IIPC proposes: a skippable frame with the dictionary, then one frame a record."""
    dictionary = zstandard.train_dictionary(2000, [record + str(index).encode() for index in range(30) for record in records])
    packer = zstandard.ZstdCompressor(dict_data=dictionary)
    raw = dictionary.as_bytes()
    content = zstandard.compress(raw) if pack_dictionary else raw
    return struct.pack("<II", 0x184D2A5D, len(content)) + content + b"".join(packer.compress(record) for record in records)
