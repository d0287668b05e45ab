"""Mutated archives, tables and pages: nothing raises, nothing vanishes, and what the damage did not touch is read.

`pytest tests/pipeline/ingest/test_fuzz.py --hypothesis-profile=fuzz` runs 10,000 of them; the suite a small sample.
"""

from __future__ import annotations

import functools
import gzip
import io
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brotli
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.ingest.readers as readers
from pipeline.errors import UserError
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.decode import Decode
from pipeline.ingest.extract import Extract
from pipeline.ingest.formats import UnreadableFile, detect_format
from pipeline.ingest.rows import Row, tables
from pipeline.splits import Part, plan_splits

from .ingest_samples import Counting, arc_record, gzip_with_header, http, part_of, tar_of, warc_record, zstd_dictionary_file

SUITE_EXAMPLES = 150
LONG_RUN = settings().max_examples > 1000
"""Whether the profile `fuzz` was asked for: then its number of examples counts."""

CONFIG = IngestConfig(max_document_bytes=100_000, max_archive_bytes=200_000, max_ratio=50, extract_seconds=5)
KOREAN = "안녕하세요. 오늘은 날씨가 좋아서 공원에 갔습니다. " * 5


def page(number: int, charset: str = "utf-8") -> bytes:
    body = f"<article><h1>글 {number}</h1><p>{KOREAN}</p><p>Second paragraph.</p><table><tr><td>표</td></tr></table></article>"
    return f"<!doctype html><html><head><meta charset={charset}><title>제목</title></head><body>{body}</body></html>".encode(charset)


def responses() -> list[bytes]:
    """HTTP responses with every encoding of the body."""
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (page(3)[:50], page(3)[50:])) + b"0\r\n\r\n"
    return [
        http(page(0)),
        http(page(1, "cp949"), content_type="text/html; charset=euc-kr"),
        http(gzip.compress(page(2), mtime=0), extra="Content-Encoding: gzip\r\n"),
        http(chunked, extra="Transfer-Encoding: chunked\r\n"),
        http(brotli.compress(page(4)), extra="Content-Encoding: br\r\n"),
        http(zstandard.compress(page(5)), extra="Content-Encoding: zstd\r\n"),
        http(KOREAN.encode(), content_type="text/plain"),
    ]


@dataclass(frozen=True)
class Base:
    """A good file. `pieces`: its bytes, one piece per record; `apart`: a record can be read whatever happened before it."""

    format: str
    pieces: tuple[bytes, ...]
    apart: bool = False


def identical(content: bytes) -> bytes:
    return content


@functools.cache
def bases() -> dict[str, Base]:
    warc = [warc_record(b"software: x\r\n", kind="warcinfo", content_type="application/warc-fields")]
    warc += [warc_record(block, url=f"http://a.kr/{index}") for index, block in enumerate(responses())]
    warc.append(warc_record(KOREAN.encode(), kind="conversion", content_type="text/plain"))
    arc = [arc_record(block, url=f"http://a.kr/{index}") for index, block in enumerate(responses())]
    lines = [orjson.dumps({"text": f"{KOREAN}{index}", "id": index, "n": [index]}) + b"\n" for index in range(6)]
    table = io.BytesIO()
    columns = {"text": [f"{KOREAN}{index}" for index in range(40)], "id": [str(index) for index in range(40)], "n": [[1.5]] * 40}
    pq.write_table(pa.table(columns), table, row_group_size=10)
    archive = tar_of(
        {"a.html": page(1), "b.warc.gz": b"".join(map(gzip.compress, warc[:3])), "c.txt": KOREAN.encode(), "d.jsonl": lines[0]}
    )
    found = {
        "dictionary": Base("warc", (zstd_dictionary_file(warc),)),
        "header": Base("warc", tuple(gzip_with_header(record, extra=b"x" * 20, name=b"name") for record in warc), True),
        "parquet": Base("parquet", (table.getvalue(),)),
        "tar": Base("tar", (archive,)),
        "tgz": Base("tar", (gzip.compress(archive, mtime=0),)),
        "page": Base("html", (page(1),)),
        "page-cp949": Base("html", (page(1, "cp949"),)),
        "page-gz": Base("html", (gzip.compress(page(1), mtime=0),)),
    }
    packings: dict[str, Callable[[bytes], bytes]] = {
        "": identical,
        ".gz": lambda part: gzip.compress(part, mtime=0),
        ".zst": zstandard.compress,
    }
    for suffix, pack in packings.items():
        found["warc" + suffix] = Base("warc", tuple(map(pack, warc)), suffix != "")
        found["arc" + suffix] = Base("arc", tuple(map(pack, arc)), suffix != "")
        found["jsonl" + suffix] = Base("jsonl", tuple(map(pack, lines)))
        found["one" + suffix] = Base("warc", (pack(b"".join(warc)),))
    return found


@dataclass(frozen=True)
class Change:
    """One mutation: what is done, where (in millionths of the file), how much, and the seed of new bytes."""

    kind: str
    place: int
    amount: int
    seed: int


changes = st.builds(
    Change,
    st.sampled_from(["flip", "delete", "insert", "duplicate", "truncate", "splice", "length", "zeros"]),
    st.integers(0, 999_999),
    st.integers(1, 300),
    st.integers(0, 1 << 16),
)


def mutated(content: bytes, change: Change, other: bytes) -> tuple[bytes, int, int]:
    """The changed bytes, with how many of its first and last bytes are as they were."""
    noise = random.Random(change.seed)
    at = len(content) * change.place // 1_000_000
    end = min(len(content), at + change.amount)
    new = b""
    if change.kind == "flip":
        end = min(len(content), at + 1)
        new = bytes([(content[at] if content else 0) ^ (1 << change.seed % 8)])
    elif change.kind == "insert":
        end, new = at, noise.randbytes(change.amount)
    elif change.kind == "zeros":
        new = bytes(change.amount)
    elif change.kind == "duplicate":
        new = content[at:end] * 2
    elif change.kind == "truncate":
        end = len(content)
    elif change.kind == "splice":
        new = other[len(other) * (change.seed % 1000) // 1000 :]
        end = len(content) if change.seed % 2 else end
    elif change.kind == "length":
        numbers = [*re.finditer(rb"[0-9]{1,12}", content)]
        if not numbers:
            return content, len(content), len(content)
        number = numbers[len(numbers) * change.place // 1_000_000]
        at, end = number.span()
        new = noise.choice([b"0", b"-1", b"99999999999999999999", b"4294967296", b"%d" % (int(number[0]) + noise.randint(-9, 9)), b""])
    return content[:at] + new + content[end:], at, len(content) - end


def read_all(path: Path, format_: str, split_bytes: int | None = None) -> tuple[list[dict[str, Any]], int]:
    """Rows after Decode, with their transient columns, and how many bytes were read from the file."""
    files: list[Counting] = []

    def opened(name: str) -> Counting:
        files.append(Counting(Path(name).read_bytes()))
        return files[-1]

    whole = part_of(path, format_)
    rows: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "open_file", opened)
        parts = [whole] if split_bytes is None else [part for split in plan_splits([whole], split_bytes) for part in split.parts]
        for part in parts:
            for table in readers.read_part(part, CONFIG):
                decoded = Decode()(table)
                assert len(decoded) == len(table)
                rows += decoded.to_pylist()
    return rows, sum(file.count for file in files)


def told(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a row says of its record, wherever the record lies."""
    return row["url"], row["text"], row["raw"], row["drop_reason"], bool(row["error"])


def check(rows: list[dict[str, Any]], read_bytes: int, size: int) -> None:
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert row["text"] is not None or row["drop_reason"] or row["error"], row
        assert not row["error"] or ("\n" not in row["error"] and len(row["error"]) < 1000)
        assert len(row["raw"] or b"") <= CONFIG.max_document_bytes
    assert read_bytes <= (len(rows) + 4) * (6 * size + 1000), "each damage may cost a search, not more"


@settings(settings() if LONG_RUN else settings(max_examples=SUITE_EXAMPLES), deadline=None)
@given(
    name=st.sampled_from(sorted(bases())),
    other=st.sampled_from(sorted(bases())),
    done=st.lists(changes, min_size=1, max_size=4),
    data=st.data(),
)
def test_whatever_is_changed(
    tmp_path_factory: pytest.TempPathFactory, name: str, other: str, done: list[Change], data: st.DataObject
) -> None:
    base = bases()[name]
    content = b"".join(base.pieces)
    before = after = len(content)
    for change in done:
        content, start, rest = mutated(content, change, b"".join(bases()[other].pieces))
        before, after = min(before, start), min(after, rest)
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(content)
    try:
        rows, read_bytes = read_all(path, base.format)
    except (UnreadableFile, UserError):
        assert base.format == "parquet"
        return
    if base.format != "parquet":  # Arrow reads a Parquet file as it likes
        check(rows, read_bytes, len(content))
        assert rows or not content.strip(b"\0\r\n \t")
    if len(base.pieces) > 1:
        good = good_rows(name)
        assert_intact_before(base, good, rows, before)
        if base.apart and not begins_plain(content):
            assert_intact_after(base, good, rows, after)
    if base.format in ("warc", "arc"):
        parted, _ = read_all(path, base.format, data.draw(st.integers(100, 3000), label="split_bytes"))
        assert parted == rows
    assert detect_format("x", content[:65536]) in (None, "warc", "arc", "tar", "jsonl", "parquet", "html", "text")


def begins_plain(content: bytes) -> bool:
    """Whether the bytes are taken for an uncompressed archive: then they are to their end, whatever follows."""
    packed = content.startswith((b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"))
    return not packed and re.search(rb"(?:\A|\n)(?:WARC/|https?://)", content) is not None


@functools.cache
def good_rows(name: str) -> list[dict[str, Any]]:
    path = Path(__file__).parent / "never written"
    base = bases()[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "open_file", lambda _: io.BytesIO(b"".join(base.pieces)))
        part = Part(str(path), "fuzzed", base.format, "test", "", 0)
        rows: list[dict[str, Any]] = [row for table in readers.read_part(part, CONFIG) for row in Decode()(table).to_pylist()]
    assert len(rows) == len(base.pieces) and not any(row["error"] for row in rows)
    return rows


def assert_intact_before(base: Base, good: list[dict[str, Any]], rows: list[dict[str, Any]], before: int) -> None:
    ends = [sum(map(len, base.pieces[: index + 1])) for index in range(len(base.pieces))]
    intact = sum(1 for end in ends if end <= before)
    assert [told(row) for row in rows[:intact]] == [told(row) for row in good[:intact]]
    assert [row["id"] for row in rows[:intact]] == [row["id"] for row in good[:intact]]


def assert_intact_after(base: Base, good: list[dict[str, Any]], rows: list[dict[str, Any]], after: int) -> None:
    starts = [sum(map(len, base.pieces[index:])) for index in range(len(base.pieces))]
    intact = sum(1 for start in starts if start <= after)
    if intact:
        assert [told(row) for row in rows[-intact:]] == [told(row) for row in good[-intact:]]


@settings(settings(max_examples=settings().max_examples // 10) if LONG_RUN else settings(max_examples=25), deadline=None)
@given(number=st.integers(0, 3), done=st.lists(changes, min_size=1, max_size=6))
def test_whatever_is_changed_in_a_page_that_is_extracted(number: int, done: list[Change]) -> None:
    content = [page(0), page(1, "cp949"), b"<div>" * 300 + page(2), page(3).replace(b"<p>", b"<p><script>x</script><!-- -->")][number]
    for change in done:
        content, _, _ = mutated(content, change, page(9) + b"<" * 50)
    row = Row(position=0, url="http://a.kr/", raw=content, raw_kind="html")
    (table,) = tables([row], "test", "page", CONFIG.batch_bytes)
    for extractor in ("trafilatura", "resiliparse"):
        found = Extract(extractor=extractor, seconds=CONFIG.extract_seconds)(Decode()(table)).to_pylist()
        assert len(found) == 1
        assert found[0]["text"] or found[0]["drop_reason"] == "no_main_text" or found[0]["error"]
