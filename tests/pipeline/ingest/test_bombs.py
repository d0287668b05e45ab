"""Small files that would become large ones, or that cost a naive reader the square of their size: memory and work stay bounded."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import brotli
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.ingest.arc import read_arc
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.readers import read_part
from pipeline.ingest.rows import Row
from pipeline.ingest.streams import ByteStream, Limits
from pipeline.ingest.warc import read_warc, warc_edges

from .ingest_samples import Counting, arc_record, http, part_of, read, tar_of, verdicts, warc_record

SMALL = IngestConfig(max_document_bytes=100_000, max_archive_bytes=1_000_000, max_ratio=50, batch_bytes=1 << 20)
ZEROS = bytes(8_000_000)


def quick_brotli(body: bytes) -> bytes:
    return bytes(brotli.compress(body, quality=1))


def peak_of(rows: Callable[[], Iterator[Row]]) -> tuple[list[Row], int]:
    """The rows and how many bytes Python and its libraries' buffers held at most while they were read."""
    tracemalloc.start()
    found = list(rows())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, peak


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_member_that_explodes_is_left(pack: Callable[[bytes], bytes]) -> None:
    content = pack(warc_record(http())) + pack(warc_record(http(b"<html>" + ZEROS))) + pack(warc_record(http()))
    rows, peak = peak_of(lambda: read_warc(io.BytesIO(content), SMALL))
    assert [row.error is None for row in rows] == [True, False, True]
    assert "bomb" in (rows[1].error or "") or "over max_document_bytes" in (rows[1].error or "")
    assert peak < 100_000_000


@pytest.mark.parametrize("format_", ["jsonl", "html", "text", "tar"])
@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_whole_files_that_explode(tmp_path: Path, format_: str, pack: Callable[[bytes], bytes]) -> None:
    table = read(tmp_path, pack(ZEROS), format_, SMALL)
    assert verdicts(table) in (["error"], []), "a tar of zeros is an empty one"


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, quick_brotli, lambda body: gzip.compress(gzip.compress(body))])
def test_bodies_that_explode_also_twice(pack: Callable[[bytes], bytes]) -> None:
    name = {gzip.compress: "gzip", zstandard.compress: "zstd", quick_brotli: "br"}.get(pack, "gzip, gzip")
    content = warc_record(http(pack(ZEROS), extra=f"Content-Encoding: {name}\r\n"))
    rows, peak = peak_of(lambda: read_warc(io.BytesIO(content), SMALL))
    assert "max_document_bytes" in (rows[0].error or "") and peak < 20_000_000


def test_a_body_with_many_encodings_is_not_undone() -> None:
    rows = list(read_warc(io.BytesIO(warc_record(http(b"x", extra=f"Content-Encoding: {'gzip, ' * 40}\r\n"))), SMALL))
    assert "has 40 content encodings" in (rows[0].error or "")


@pytest.mark.parametrize("member", [gzip.compress(b""), gzip.compress(b"{"), zstandard.compress(b""), struct.pack("<II", 0x184D2A50, 0)])
def test_members_by_the_hundred_thousand(member: bytes) -> None:
    """Copying what follows a member costs the square of their number: 2 MB of them took minutes."""
    content = member * (500_000 // len(member)) + gzip.compress(b"end") * member.startswith(b"\x1f") + zstandard.compress(b"end")
    file = Counting(content)
    stream = ByteStream(file, Limits(50, 100_000))
    total = 0
    while chunk := stream.chunk():
        total += len(chunk)
    assert total >= 3 and file.count <= len(content)


def test_members_without_content_are_not_remembered() -> None:
    stream = ByteStream(io.BytesIO(gzip.compress(b"") * 100_000 + gzip.compress(b"WARC/")), Limits(50, 100_000))
    assert stream.fill(5) and stream.place() == (2_000_000, 0) and len(stream._begun) == 1


def test_a_line_over_many_members(tmp_path: Path) -> None:
    line = b'{"text":"' + b"a" * 50_000 + b'"}\n'
    content = b"".join(gzip.compress(line[at : at + 1]) for at in range(len(line)))
    assert verdicts(read(tmp_path, content, "jsonl", SMALL)) == ["kept"]


@pytest.mark.parametrize("line", [b"WARC/1.0\r\n", b"WARC/1.0\r\nContent-Length: 9999999999999\r\n\r\n", b"\n\nWARC/1.0 \r\n"])
def test_headers_by_the_ten_thousand_are_read_a_bounded_number_of_times(line: bytes) -> None:
    content = line * (100_000 // len(line))
    file = Counting(content)
    rows = list(read_warc(file, SMALL))
    assert rows and all(row.error for row in rows)
    plain = Counting(content)
    warc_edges(plain, [len(content)])
    assert plain.count < 3 * len(content) + 24 * len(rows)


def test_record_lines_by_the_ten_thousand() -> None:
    rows = list(read_arc(io.BytesIO(b"http://a 1.1.1.1 20200101000000 text/html 99999999\n" * 1000), SMALL))
    assert len(rows) == 1000 and all(row.error for row in rows)


def pax(name: str, **fields: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size = 3
        info.pax_headers = fields
        archive.addfile(info, io.BytesIO(b"abc"))
    return target.getvalue()


def header(size_field: bytes = b"", kind: bytes = b"0", name: bytes = b"a.txt", extended: bool = False) -> bytes:
    """A tar header with a right checksum."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size_field)] = size_field
    block[156:157], block[257:263] = kind, b"ustar\0"
    block[482] = extended
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "size",
    [b"77777777777\0", b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7, b"\xff" * 12, b"-1", b"99999999999", b"\x80" + b"\0" * 8 + b"\xff" * 3],
)
def test_absurd_tar_sizes_cost_one_row(tmp_path: Path, size: bytes) -> None:
    after = tar_of({"b.txt": b"after"})
    found = verdicts(read(tmp_path, header(size) + after, "tar", SMALL))
    assert found == ["error", "kept"]


def test_absurd_tar_names_and_kinds(tmp_path: Path) -> None:
    content = pax("x.txt", path="n" * 900_000 + ".txt")[:-1024]
    content += (
        header(b"0", b"1")
        + header(b"0", b"2", b"/etc/passwd")
        + header(b"77777777777", b"5")
        + header(b"3", b"Z")
        + b"abc".ljust(512, b"\0")
    )
    content += header(b"3", b"S", extended=True) + bytes(512) + b"abc".ljust(512, b"\0")
    content += pax("s.txt", **{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})[:-1024]
    table = read(tmp_path, content + tar_of({"b.txt": b"last"}), "tar", SMALL)
    kinds = [
        "mime:unknown",
        *(f"tar_member:{kind}" for kind in ("hardlink", "symlink", "directory", "unknown", "sparse", "sparse")),
        "kept",
    ]
    assert verdicts(table) == kinds
    assert max(map(len, table["file"].to_pylist())) < 5000 and table["raw"][-1].as_py() == b"last"


def test_an_endless_row_of_extended_headers(tmp_path: Path) -> None:
    content = gzip.compress((header(b"12", b"x") + b"12 path=abc\n".ljust(512, b"\0")) * 20_000)
    assert verdicts(read(tmp_path, content, "tar", IngestConfig())) == ["error"]


def test_an_archive_goes_on_after_a_lost_header(tmp_path: Path) -> None:
    content = bytearray(tar_of({f"{index}.txt": b"text %d" % index for index in range(5)}))
    content[1024] ^= 1
    for shift in (0, 7):
        damaged = bytes(content[:1100]) + b"x" * shift + bytes(content[1100:])
        assert verdicts(read(tmp_path, damaged, "tar")) == ["kept", "error", "kept", "kept", "kept"]


def test_one_value_named_very_often_in_a_parquet_file(tmp_path: Path) -> None:
    """200 kB that would be 60 GB in memory if a batch were written out."""
    values = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 30_000), pa.array(["a" * 1_000_000, "b" * 1_000_000]))
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": values, "other": values}), path, dictionary_pagesize_limit=1 << 26)
    batches = read_part(part_of(path, "parquet"), IngestConfig(batch_bytes=4_000_000))
    before = pa.total_allocated_bytes()
    for _ in range(5):
        assert 1 <= len(next(batches)) <= 2
        assert pa.total_allocated_bytes() - before < 100_000_000


@pytest.mark.parametrize("depth", [200, 1000, 100_000])
def test_deep_json_costs_its_line(tmp_path: Path, depth: int) -> None:
    good = b'{"text":"a"}\n'
    line = b'{"text":"b","n":' + b'{"n":' * depth + b"1" + b"}" * depth + b"}\n"
    found = verdicts(read(tmp_path, good + line + good, "jsonl"))
    assert found[0] == found[2] == "kept" and (depth < 250 or found[1] == "error")


@pytest.mark.parametrize("flags", [8, 16, 24, 4])
def test_a_gzip_header_without_an_end(flags: int) -> None:
    content = b"\x1f\x8b\x08" + bytes([flags]) + b"\1" * 3_000_000
    file = Counting(content)
    assert [bool(row.error) for row in read_warc(file, SMALL)] == [True]
    assert file.count < 4 * len(content)


def test_a_skippable_frame_that_claims_too_much() -> None:
    content = (
        zstandard.compress(warc_record(http()))
        + struct.pack("<II", 0x184D2A50, 0xFFFFFFFF)
        + b"x" * 100
        + zstandard.compress(warc_record(http()))
    )
    rows = list(read_warc(io.BytesIO(content), SMALL))
    assert [row.error is None for row in rows] == [True, False, True]


def test_a_dictionary_that_explodes() -> None:
    packed = zstandard.compress(bytes(40_000_000))
    content = struct.pack("<II", 0x184D2A5D, len(packed)) + packed + zstandard.compress(warc_record(http()))
    rows, peak = peak_of(lambda: read_warc(io.BytesIO(content), SMALL))
    assert [row.error is None for row in rows] == [False, True] and peak < 60_000_000


def test_deflate_bombs_of_the_lowest_ratio_pass_as_documents_of_limited_size() -> None:
    packer = zlib.compressobj(0, wbits=31)
    content = packer.compress(warc_record(http(b"<html>" + bytes(90_000)))) + packer.flush()
    assert [row.error for row in read_warc(io.BytesIO(content), SMALL)] == [None]


def test_long_arc_lines_are_no_records() -> None:
    content = arc_record(http()) + b"http://" + b"a" * 3_000_000 + b" 1.1.1.1 20200101000000 text/html 1\n" + arc_record(http())
    assert [row.error is None for row in read_arc(io.BytesIO(content), SMALL)] == [True, False, True]
