"""Archives cut at any byte: the parts together give the rows of the whole, in order, with the same ids and positions."""

from __future__ import annotations

import gzip
import io
import itertools
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.readers import read_part
from pipeline.ingest.warc import read_warc
from pipeline.splits import plan_splits

from .ingest_samples import PAGE, arc_record, gzip_with_header, http, part_of, read, verdicts, warc_gz, warc_record, zstd_dictionary_file


def all_rows(path: Path, format_: str, split_bytes: int | None = None, config: IngestConfig | None = None) -> list[dict[str, object]]:
    """Rows of the file at `path`, read whole or as `plan_splits` cuts it."""
    whole = part_of(path, format_)
    parts = [whole] if split_bytes is None else [part for split in plan_splits([whole], split_bytes) for part in split.parts]
    tables = [table for part in parts for table in read_part(part, config or IngestConfig())]
    return pa.concat_tables(tables).to_pylist() if tables else []


def records(count: int, size: int = 0, seed: int = 1) -> list[bytes]:
    noise = random.Random(seed)
    return [warc_record(http(PAGE + noise.randbytes(noise.randint(0, size))), url=f"http://a.kr/{index}") for index in range(count)]


def nested(packed: bool) -> bytes:
    """A record whose payload is a WARC file itself."""
    inner = warc_gz(4) if packed else b"".join(records(4))
    return warc_record(http(b"<html>" + random.Random(7).randbytes(300) + inner + b"</html>"))


def archives() -> dict[str, tuple[str, bytes]]:
    """Name -> (format, content) of small archives in every packing, broken ones among them."""
    made = records(6, 60)
    wrong = made[2].replace(b"Content-Length: ", b"Content-Length: 9", 1)
    lacking = made[3].replace(b"Content-Length", b"Content-Size", 1)
    arc = [arc_record(http(PAGE + str(index).encode()), url=f"http://a.kr/{index}") for index in range(6)]
    plain = [made[0], nested(False), *made[1:]]
    found = {
        "plain": ("warc", b"".join(plain)),
        "plain-broken": ("warc", b"".join([made[0], nested(False), wrong, b"rubbish\r\nWARC/1.0 here\r\n", lacking, *made[4:]])[:-30]),
        "plain-lead": ("warc", b"lead\r\n" + b"".join(plain) + bytes(50)),
        "one-member": ("warc", gzip.compress(b"".join(plain))),
        "gz-of-blocks": ("warc", b"".join(gzip.compress(b"".join(plain)[at : at + 333]) for at in range(0, len(b"".join(plain)), 333))),
        "header": ("warc", b"".join(gzip_with_header(record, extra=bytes(70)) for record in made)),
        "dictionary": ("warc", zstd_dictionary_file(made)),
        "skippable": ("warc", b"".join(struct.pack("<II", 0x184D2A51, 5) + b"WARC/" + zstandard.compress(record) for record in made)),
        "arc": ("arc", b"".join(arc)),
        "arc-broken": ("arc", b"".join([*arc[:2], b"rubbish\n", arc[2].replace(b" text/html ", b" text/html 9", 1), *arc[3:]])),
    }
    for name, pack in (("gz", gzip.compress), ("zst", zstandard.compress)):
        members = [pack(record) for record in plain]
        broken = [bytearray(member) for member in members]
        broken[3][30] ^= 0xFF
        broken[4][0] ^= 0xFF
        found[name] = ("warc", b"".join(members))
        found[f"{name}-stored"] = ("warc", b"".join([pack(made[0]), pack(nested(True)), pack(made[1])]))
        found[f"{name}-wrong-length"] = ("warc", b"".join(map(pack, [made[0], wrong, lacking, made[1]])))
        found[f"{name}-broken"] = ("warc", b"".join(map(bytes, broken)))
        found[f"{name}-bad-start"] = ("warc", b"?" + b"".join(members)[1:])
        found[f"{name}-cut"] = ("warc", b"".join(members)[:-20])
        found[f"{name}-rubbish"] = ("warc", b"".join(itertools.chain(*((member, b"rubbish") for member in members))))
        found[f"{name}-arc"] = ("arc", b"".join(map(pack, arc)))
    return found


@pytest.mark.parametrize("name", archives())
def test_every_split_size_gives_the_rows_of_the_whole(tmp_path: Path, name: str) -> None:
    format_, content = archives()[name]
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    whole = all_rows(path, format_)
    sizes = {len(content) // parts + 1 for parts in range(2, 40)} | {40, 90}
    assert len(whole) >= 3 and len({row["id"] for row in whole}) == len(whole)
    for size in sorted(sizes):
        assert all_rows(path, format_, size) == whole, size


@pytest.mark.parametrize("name", ["gz", "zst", "gz-stored", "gz-broken", "dictionary", "gz-arc"])
def test_a_packed_archive_may_be_cut_at_any_byte(tmp_path: Path, name: str) -> None:
    format_, content = archives()[name]
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    whole = all_rows(path, format_)
    for cut in range(1, len(content), 13):
        halves = [read(tmp_path, content, format_, start=start, stop=stop) for start, stop in ((0, cut), (cut, len(content)))]
        found = [row | {"file": "x.bin"} for half in halves for row in half.to_pylist()]
        assert [row["position"] for row in found] == [row["position"] for row in whole], cut


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_large_archive_is_read_once_by_many(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Records of up to 300 KiB that don't shrink, an archived archive among them: longer than what the search looks back or ahead."""
    made = records(20, 300_000)
    inner = b"".join(pack(record) for record in records(60, 9000, seed=5))
    made.insert(9, warc_record(http(b"<html>" + inner)))
    content = b"".join(pack(record) for record in made)
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    whole = all_rows(path, "warc")
    assert verdicts(pa.Table.from_pylist(whole, pa.schema([("drop_reason", pa.string()), ("error", pa.string())]))) == ["kept"] * 21
    assert [row["raw"] for row in whole] == [record.split(b"\r\n\r\n", 2)[2][:-4] for record in made]
    for size in (100_000, 250_000, 1_000_000):
        parts = [split.parts[0] for split in plan_splits([part_of(path, "warc")], size)]
        assert len(parts) >= min(20, len(content) // size) // 2
        assert all_rows(path, "warc", size) == whole


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_the_same_for_every_split(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(archives())))
    format_, content = archives()[name]
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path = tmp_path_factory.mktemp("damage") / "x.bin"
    path.write_bytes(bytes(damaged))
    assert all_rows(path, format_, data.draw(st.integers(60, 2000))) == all_rows(path, format_)


def test_records_over_the_limit_are_passed_alike(tmp_path: Path) -> None:
    made = records(5)
    made.insert(2, warc_record(http(b"<html>" + bytes(5000))))
    made.insert(4, warc_record(bytes(6000), kind="request"))
    for pack in (bytes, gzip.compress, zstandard.compress):
        path = tmp_path / "x.bin"
        path.write_bytes(b"".join(map(pack, made)))
        config = IngestConfig(max_document_bytes=2000, max_ratio=1000)
        whole = all_rows(path, "warc", config=config)
        assert [bool(row["error"]) for row in whole] == [False, False, True, False, False, False, False]
        assert whole[4]["drop_reason"] == "warc_record:request"
        assert all_rows(path, "warc", 300, config) == whole


def test_a_plain_archive_is_planned_without_loading_its_records() -> None:
    class Sparse(io.RawIOBase):
        """Two records of 4 GB each that exist only as their headers."""

        size, at, read_bytes = 4_000_000_000, 0, 0

        def __init__(self) -> None:
            head = warc_record(b"").replace(b"Content-Length: 0\r\n\r\n\r\n\r\n", b"Content-Length: %d\r\n\r\n" % self.size)
            self.pieces = {0: head, len(head) + self.size: b"\r\n\r\n" + head, 2 * len(head) + 2 * self.size + 4: b"\r\n\r\n"}
            self.end = 2 * (len(head) + self.size) + 8

        def read(self, count: int = -1) -> bytes:
            found = bytearray(max(0, min(count, self.end - self.at)))
            for start, piece in self.pieces.items():
                for index, byte in enumerate(piece):
                    if 0 <= start + index - self.at < len(found):
                        found[start + index - self.at] = byte
            self.at += len(found)
            self.read_bytes += len(found)
            return bytes(found)

        def seek(self, offset: int, whence: int = 0) -> int:
            self.at = offset if whence == 0 else self.end + offset
            return self.at

        def tell(self) -> int:
            return self.at

    from pipeline.ingest.warc import warc_edges

    file = Sparse()
    assert warc_edges(file, [1_000_000_000]) == [sorted(file.pieces)[1] + 4]  # type: ignore[arg-type]
    assert file.read_bytes < 20_000_000


@pytest.mark.parametrize("size", [10, 5000, 65_000])
def test_members_with_long_gzip_headers_are_found(size: int) -> None:
    members = [gzip_with_header(record, extra=bytes(size), name=b"n" * 40_000) for record in records(3)]
    rows = list(read_warc(io.BytesIO(b"".join(members)), IngestConfig(), 1, None))
    assert [row.position for row in rows] == [len(members[0]), len(members[0]) + len(members[1])]
