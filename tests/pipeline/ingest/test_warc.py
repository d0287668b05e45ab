import gzip
import io
import random
import tarfile
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.arc import read_arc
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.http_payload import fill_response
from pipeline.ingest.members import next_member
from pipeline.ingest.rows import Row
from pipeline.ingest.streams import Limits
from pipeline.ingest.warc import read_warc

from .ingest_samples import PAGE, Counting, arc_record, http, read, tar_of, verdicts, warc_gz, warc_record


def one(tmp_path: Path, block: bytes, **changes: str) -> dict[str, object]:
    row: dict[str, object] = read(tmp_path, warc_record(block, **changes), "warc").to_pylist()[0]
    return row


def test_a_response_becomes_a_document(tmp_path: Path) -> None:
    row = one(tmp_path, http(content_type="Text/HTML; charset=EUC-KR"), url="<http://a.kr/1>")
    assert (row["raw"], row["raw_kind"], row["mime"], row["charset_declared"]) == (PAGE, "html", "text/html", "EUC-KR")
    assert (row["url"], row["date"], row["http_status"], row["file"]) == ("http://a.kr/1", "2024-01-02T03:04:05Z", 200, "input")


@pytest.mark.parametrize("kind", ["warcinfo", "request", "metadata", "revisit", "continuation"])
def test_other_records_are_dropped_by_type(tmp_path: Path, kind: str) -> None:
    assert one(tmp_path, b"x", kind=kind)["drop_reason"] == f"warc_record:{kind}"


def test_policy_of_status_and_type(tmp_path: Path) -> None:
    assert one(tmp_path, http(status="404 Not Found"))["drop_reason"] == "http_status:404"
    assert one(tmp_path, http(content_type="image/png"))["drop_reason"] == "mime:image/png"
    assert one(tmp_path, http(b" \n"))["drop_reason"] == "empty_text"
    assert one(tmp_path, b"10 20\n", url="dns:a.kr", content_type="text/dns")["drop_reason"] == "warc_record:dns"
    assert one(tmp_path, http(b"no markup", content_type=""))["drop_reason"] == "mime:unknown"
    assert one(tmp_path, http(content_type=""))["raw_kind"] == "html"
    wet = one(tmp_path, "본문".encode(), kind="conversion", content_type="text/plain")
    assert wet["raw_kind"] == "text" and wet["raw"] == "본문".encode()
    assert "not an HTTP response" in str(one(tmp_path, b"garbage")["error"])


def deflate(body: bytes, window: int) -> bytes:
    packer = zlib.compressobj(wbits=window)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("extra", "body"),
    [
        ("Content-Encoding: gzip\r\n", gzip.compress(PAGE)),
        ("Content-Encoding: deflate\r\n", deflate(PAGE, 15)),
        ("Content-Encoding: deflate\r\n", deflate(PAGE, -15)),
        ("Content-Encoding: zstd\r\n", zstandard.compress(PAGE)),
        ("Content-Encoding: gzip\r\n", PAGE),
        ("Content-Encoding: br\r\n", brotli.compress(PAGE)),
        ("Content-Encoding: br\r\n", PAGE),
        ("Transfer-Encoding: chunked\r\n", b"5;x=y\r\n" + PAGE[:5] + b"\r\n%x\r\n" % (len(PAGE) - 5) + PAGE[5:] + b"\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", PAGE),
    ],
)
def test_encodings_of_the_body_are_undone(tmp_path: Path, extra: str, body: bytes) -> None:
    assert one(tmp_path, http(body, extra=extra))["raw"] == PAGE


@pytest.mark.parametrize(
    ("extra", "body"),
    [
        ("Content-Encoding: gzip\r\n", gzip.compress(PAGE * 99)[:-20]),
        ("Content-Encoding: gzip\r\n", gzip.compress(bytes(30_000_000))),
        ("Content-Encoding: zstd\r\n", zstandard.compress(bytes(30_000_000))),
        ("Content-Encoding: br\r\n", brotli.compress(PAGE * 99)[:-5]),
        ("Content-Encoding: br\r\n", brotli.compress(bytes(30_000_000))),
        ("Content-Encoding: compress\r\n", b"x"),
        ("Transfer-Encoding: chunked\r\n", b"5\r\nab"),
        ("Transfer-Encoding: chunked\r\n", b"2\r\nab\r\nzz\r\n"),
    ],
)
def test_a_broken_or_exploding_body_is_quarantined(tmp_path: Path, extra: str, body: bytes) -> None:
    row = one(tmp_path, http(body, extra=extra))
    assert row["error"] and row["raw"] is None


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_every_record_of_any_packing_is_read_with_a_distinct_id(tmp_path: Path, pack: type) -> None:
    records = [warc_record(http(PAGE + bytes([65 + index]))) for index in range(5)]
    for content in (pack(b"".join(records)), b"".join(pack(record) for record in records)):
        table = read(tmp_path, content, "warc")
        assert table["raw"].to_pylist() == [PAGE + bytes([65 + index]) for index in range(5)]
        assert len(set(table["id"].to_pylist())) == 5


def test_position_is_where_the_member_begins(tmp_path: Path) -> None:
    content = warc_gz(3)
    for row in read(tmp_path, content, "warc").to_pylist():
        assert gzip.decompress(content[row["position"] :]).startswith(b"WARC/1.0")


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 3000), max_size=5), damage=st.integers(0, 3000))
def test_ranges_that_tile_a_file_give_every_record_once(tmp_path_factory: pytest.TempPathFactory, cuts: list[int], damage: int) -> None:
    folder = tmp_path_factory.mktemp("warc")
    content = bytearray(warc_gz(12, padding=40))
    if damage < len(content):
        content[damage] ^= 0x55
    whole = read(folder, bytes(content), "warc").to_pylist()
    edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    pieces = []
    for start, stop in pairwise(edges):
        pieces += read(folder, bytes(content), "warc", start=start, stop=stop).to_pylist()
    kept = [row["id"] for row in whole if row["error"] is None]
    assert [row["id"] for row in pieces if row["error"] is None] == kept
    assert len(kept) >= 10


def test_damage_costs_one_row_and_reading_goes_on(tmp_path: Path) -> None:
    records = [warc_record(http(PAGE + str(index).encode())) for index in range(4)]
    members = [gzip.compress(record, mtime=0) for record in records]
    broken = bytearray(members[1])
    broken[30] ^= 0xFF
    cases = [
        (members[0] + bytes(broken) + members[2] + members[3], ["kept", "error", "kept", "kept"]),
        (b"".join(members)[:-9], ["kept"] * 4 + ["error"]),
        (b"".join(members)[:-40], ["kept", "kept", "kept", "error"]),
        (b"?" + b"".join(members)[1:], ["error", "kept", "kept", "kept"]),
        (b"".join(members) + b"garbage at the end", ["kept"] * 4 + ["error"]),
        (members[0] + b"garbage between" + members[1], ["kept", "error", "kept"]),
        (b"lead\r\n" + b"".join(records), ["error"] + ["kept"] * 4),
        (b"".join(records)[:-30], ["kept"] * 3 + ["error"]),
        (records[0] + b"junk\r\n" + records[1], ["kept", "error", "kept"]),
        (records[0] + records[1].replace(b"Content-Length: ", b"Content-Length: 9") + records[2], ["kept"] * 3),
        (records[0] + records[1][:-20] + records[2] + records[3], ["kept", "error", "kept"]),
        (records[0] + records[1].replace(b"Content-Length", b"Content-Size") + records[2], ["kept", "error", "kept"]),
        (gzip.compress(b"".join(records))[:-60], None),
        (b"", []),
    ]
    for content, expected in cases:
        found = verdicts(read(tmp_path, content, "warc"))
        assert found == expected if expected is not None else found.count("error") == 1, (content[:40], found)


def test_a_record_over_the_limit_is_quarantined_and_passed(tmp_path: Path) -> None:
    content = warc_record(http(b"<html>" + b"x" * 50_000)) + warc_record(http())
    table = read(tmp_path, content, "warc", IngestConfig(max_document_bytes=10_000))
    assert verdicts(table) == ["error", "kept"] and "max_document_bytes" in table["error"][0].as_py()


def test_arc_versions_and_damage(tmp_path: Path) -> None:
    block = http()
    version = b"filedesc://x.arc 0.0.0.0 20200102030405 text/plain 18\n1 0 Org\nURL IP-ad\n\n"
    first = b"http://a.kr/with space 1.2.3.4 20200102030405 text/html %d\n" % len(block) + block + b"\n"
    second = b"http://a.kr/2 1.2.3.4 20200102030405 text/html 200 - - 99 x.arc %d\n" % len(block) + block + b"\n"
    table = read(tmp_path, version + first + b"rubbish\n" + second, "arc")
    assert verdicts(table) == ["arc_record:filedesc", "kept", "error", "kept"]
    assert table["url"].to_pylist()[1::2] == ["http://a.kr/with space", "http://a.kr/2"]
    assert table["date"][1].as_py() == "2020-01-02T03:04:05Z"
    packed = b"".join(map(gzip.compress, (version, first, second)))
    assert verdicts(read(tmp_path, packed, "arc")) == ["arc_record:filedesc", "kept", "kept"]
    assert verdicts(read(tmp_path, packed[:-20], "arc")) == ["arc_record:filedesc", "kept", "error"]


def test_real_archives_broken_ones_included(tmp_path: Path, shared_data: Path) -> None:
    expected_kept = {
        "example-bad-non-chunked.warc.gz": 1,
        "example-trunc.warc": 0,
        "example-wrong-chunks.warc.gz": 1,
        "example-iana.org-chunked.warc": 1,
        "example.warc.gz": 1,
        "example.arc.gz": 1,
        "bad.arc": 0,
    }
    with tarfile.open(shared_data / "warc/warcio_test_data.tar.gz") as archive:
        for member in archive:
            stream = archive.extractfile(member)
            assert stream is not None
            table = read(tmp_path, stream.read(), "arc" if ".arc" in member.name else "warc")
            assert len(table) >= 2 and len(set(table["id"].to_pylist())) == len(table)
            if member.name in expected_kept:
                assert verdicts(table).count("kept") == expected_kept[member.name], member.name


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_mutated_archives_never_raise_and_never_lose_silently(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    plain = b"".join(warc_record(http(PAGE + bytes([65 + index]))) for index in range(3))
    arc = b"http://a.kr/ 1.2.3.4 20200102030405 text/html %d\n" % len(http()) + http() + b"\n"
    bases = {
        "warc": [plain, gzip.compress(plain), warc_gz(3), zstandard.compress(plain)],
        "arc": [arc * 3, gzip.compress(arc) * 3],
        "jsonl": [b'{"text":"a"}\n' * 9, gzip.compress(b'{"text":"a"}\n' * 9)],
        "tar": [tar_of({"a.html": PAGE, "b.warc": plain}), gzip.compress(tar_of({"a.html": PAGE}))],
        "html": [gzip.compress(PAGE)],
    }
    format_ = data.draw(st.sampled_from(sorted(bases)))
    content = bytearray(data.draw(st.sampled_from(bases[format_])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            content[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=20))
        if not content:
            break
    table = read(folder, bytes(content), format_)
    assert len(table) or format_ in ("warc", "arc", "jsonl", "tar")
    if len(table):
        assert len(set(table["id"].to_pylist())) == len(table)


def test_a_file_of_magic_numbers_is_read_a_few_times_only() -> None:
    file = Counting(b"\x1f\x8b\x08" * 100_000)
    rows = list(read_warc(file, IngestConfig()))
    assert len(rows) == 1 and rows[0].error is not None
    assert file.count < 5 * 300_000  # opening every candidate as a stream would read the file thousands of times


def test_a_search_for_members_ends_at_the_end_of_its_range() -> None:
    content = gzip.compress(warc_record(random.Random(1).randbytes(20_000_000)), 1)
    read = 0
    for start in range(1_000_000, len(content), 1_000_000):
        file = Counting(content)
        assert list(read_warc(file, IngestConfig(), start, start + 1_000_000)) == []
        read += file.count
    assert read < 3 * len(content)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("before", [-70_000, -4097, -2, 0, 1])
def test_a_member_across_the_blocks_of_the_search_is_found(compress: Callable[[bytes], bytes], before: int) -> None:
    noise = random.Random(2).randbytes(1 << 20)
    at = (1 << 20) + before
    member = compress(warc_record(http(noise[:200_000])))
    content = noise + noise[:200_000]
    content = content[:at] + member + compress(warc_record(http(b"second")))
    found = [next_member(io.BytesIO(content), 0, (b"WARC/",), Limits(200, 1 << 24), stop) for stop in (None, at + 1, at)]
    assert found == [at, at, None]


@pytest.mark.parametrize("version", [b"WARC/0.17", b"WARC/0.18", b"WARC/1.0", b"WARC/1.1"])
def test_reading_goes_on_after_a_bad_record_of_any_version(version: bytes) -> None:
    records = [warc_record(http(PAGE), url=f"http://a/{index}").replace(b"WARC/1.0", version) for index in range(4)]
    records[1] = records[1].replace(b"Content-Length: ", b"Content-Length: x")
    rows = list(read_warc(io.BytesIO(b"".join(records)), IngestConfig()))
    assert [row.error is None for row in rows] == [True, False, True, True]


def response_row(body: bytes, extra: str = "") -> Row:
    row = Row(0)
    fill_response(row, http(body, extra=extra), IngestConfig())
    return row


def test_gzip_bodies_may_have_several_members() -> None:
    header = "Content-Encoding: gzip\r\n"
    body = gzip.compress(b"<html>first ") + gzip.compress(b"second ") + gzip.compress(b"x" * 3_000_000)
    assert response_row(body, header).raw == b"<html>first second " + b"x" * 3_000_000
    assert response_row(gzip.compress(b"<html>") + b"padding", header).raw == b"<html>"
    assert "ends inside" in (response_row(body[:-9], header).error or "")
    assert "max_document_bytes" in (response_row(gzip.compress(bytes(1 << 20)) * 30, header).error or "")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "no-such"])
def test_an_empty_body_is_empty_under_any_encoding(encoding: str) -> None:
    row = response_row(b"", f"Content-Encoding: {encoding}\r\n")
    assert (row.drop_reason, row.error) == ("empty_text", None)


def test_an_endless_header_block_is_quarantined() -> None:
    row = response_row(PAGE, f"X: {'a' * 70_000}\r\n")
    assert row.drop_reason is None and "the header block is over 65536 bytes" in (row.error or "")


def rows_of(content: bytes, **limits: int) -> list[Row]:
    return list(read_warc(io.BytesIO(content), IngestConfig(**limits)))


def told(rows: list[Row]) -> list[str]:
    """Per row: the URL of a kept document, the drop reason, or `error`."""
    return ["error" if row.error else row.drop_reason or str(row.url)[-1] for row in rows]


def test_records_of_a_document_in_segments_are_dropped_by_name() -> None:
    first = warc_record(http()).replace(b"WARC-Date", b"WARC-Segment-Number: 1\r\nWARC-Date")
    rest = warc_record(b"x" * 50, kind="continuation").replace(b"WARC-Date", b"WARC-Segment-Number: 2\r\nWARC-Date")
    assert told(rows_of(first + rest + warc_record(http()))) == ["warc_record:segment", "warc_record:continuation", "1"]


def test_kinds_that_the_standard_does_not_name_are_one_reason() -> None:
    assert told(rows_of(warc_record(b"x", kind="x" * 30) + warc_record(b"x", kind="Request"))) == [
        "warc_record:other",
        "warc_record:request",
    ]


def test_a_request_that_is_called_a_response() -> None:
    request = warc_record(b"GET / HTTP/1.1\r\n\r\n", content_type="application/http; msgtype=request")
    assert told(rows_of(request)) == ["warc_record:request"]


def test_records_without_a_block_are_empty() -> None:
    assert told(rows_of(warc_record(b"") + warc_record(b"", kind="conversion"))) == ["empty_text", "empty_text"]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ((b"\r\nContent-Length: ", b"\r\nContent-Length: 117\r\nContent-Length: "), "1"),
        ((b"\r\nContent-Length: ", b"\r\nContent-Length: 7\r\nContent-Length: "), "error"),
        ((b"Content-Length: ", b"content-LENGTH:\t"), "1"),
        ((b"Content-Length: ", b"Content-Length: -"), "error"),
        ((b"Content-Length: ", "Content-Length: ١".encode()), "error"),
        ((b"Content-Length: ", b"Content-Lenght: "), "error"),
        ((b"http://a.kr/1\r\n", b"http://a.kr/\r\n  1\r\n"), "1"),
        ((b"WARC-Type", "X-제목: 값\r\nWARC-Type".encode()), "1"),
        ((b"WARC-Type", "X-제목: 값\r\nWARC-Type".encode("cp949")), "1"),
        ((b"WARC-Type", b"X: " + b"y" * 60_000 + b"\r\nWARC-Type"), "1"),
        ((b"WARC-Type", b"X: " + b"y" * 70_000 + b"\r\nWARC-Type"), "error"),
        ((b"WARC-Type", b"no colon here\r\nWARC-Type"), "1"),
        ((b"WARC/1.0\r\n", b"WARC/1.1 \n"), "1"),
        ((b"WARC/1.0", b"WARC/x.0"), "error"),
    ],
)
def test_oddities_of_the_header_block(change: tuple[bytes, bytes], verdict: str) -> None:
    record = warc_record(http(PAGE))
    assert b"Content-Length: 117\r\n" in record
    odd = record.replace(*change, 1)
    assert odd != record
    assert told(rows_of(record + odd + record)) == ["1", verdict, "1"]


def test_line_ends_without_carriage_return_and_padding() -> None:
    block = http(PAGE)
    head, _, _ = warc_record(block).partition(b"\r\n\r\n")
    bare = head.replace(b"\r\n", b"\n") + b"\n\n" + block + b"\n\n"
    for content in (bare * 3, bare + warc_record(block) + bare, bare + bytes(512) + bare + b"\r\n" * 50 + bare + bytes(3000)):
        assert told(rows_of(content)) == ["1", "1", "1"]


@pytest.mark.parametrize("by", [-30, -1, 6, 30, 5000, 10**9])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_record_with_a_wrong_length_is_measured_again(pack: Callable[[bytes], bytes], by: int) -> None:
    records = [warc_record(http(PAGE), url=f"http://a.kr/{index}") for index in range(4)]
    records[1] = records[1].replace(b"Content-Length: 117", b"Content-Length: %d" % (117 + by))
    rows = rows_of(b"".join(map(pack, records)))
    if by == 10**9 and pack is not bytes:  # over max_document_bytes: not read into memory
        assert told(rows) == ["0", "error", "2", "3"]
    else:
        assert told(rows) == ["0", "1", "2", "3"] and rows[1].raw == rows[2].raw
        assert rows[1].meta == f'{{"wrong_content_length": {117 + by}}}' and rows[2].meta is None


def test_a_record_that_was_cut_off_is_not_measured_again() -> None:
    records = [warc_record(http(PAGE), url=f"http://a.kr/{index}") for index in range(4)]
    # The crawler died within a record, and went on with the next one in the middle of a line, or at the end of the file.
    assert told(rows_of(records[0] + records[1][:-40] + records[2] + records[3])) == ["0", "error", "3"]
    assert told(rows_of(records[0] + records[1][:-40])) == ["0", "error"]
    assert told(rows_of(records[0] + records[1][:-40] + b"\n" + records[2])) == ["0", "error", "2"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_concatenated_files_of_several_versions(pack: Callable[[bytes], bytes]) -> None:
    versions = (b"WARC/0.17", b"WARC/0.18", b"WARC/1.0", b"WARC/1.1")
    content = b"".join(
        pack(warc_record(http(PAGE), url=f"http://a.kr/{index}").replace(b"WARC/1.0", v)) for index, v in enumerate(versions)
    )
    assert told(rows_of(content)) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + http(PAGE), "1"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "http_status:100"),
        (b"HTTP/2 200\r\nContent-Type: text/html\r\n\r\n" + PAGE, "1"),
        (b"http/1.0 200 \xc8\xae\xc0\xce\nContent-Type: text/html\n\n" + PAGE, "1"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html", "empty_text"),
        (b"HTTP/1.1 20 OK\r\n\r\n" + PAGE, "error"),
        (http(PAGE, extra="Content-Length: 5\r\n"), "1"),
        (http(PAGE, extra="Content-Length: 99999\r\n"), "1"),
        (http(PAGE, extra="Content-Encoding: gzip\r\n"), "1"),
        (http(gzip.compress(PAGE), extra="Content-Encoding: gzip, identity\r\nTransfer-Encoding: chunked\r\n"), "1"),
        (http(gzip.compress(brotli.compress(PAGE)), extra="Content-Encoding: br\r\nContent-Encoding: gzip\r\n"), "1"),
        (http(b"ffffff\r\n" + PAGE + b"\r\n0\r\n\r\n", extra="Transfer-Encoding: chunked\r\n"), "error"),
    ],
)
def test_oddities_of_http(block: bytes, expected: str) -> None:
    rows = rows_of(warc_record(block))
    assert told(rows) == [expected]
    assert expected != "1" or rows[0].raw == PAGE


def test_an_arc_record_with_a_wrong_length_costs_itself() -> None:
    records = [arc_record(http(PAGE), url=f"http://a.kr/{index}") for index in range(4)]
    for by in (-30, 5, 5000):
        changed = records[1].replace(b" 117\n", b" %d\n" % (117 + by))
        assert changed != records[1]
        for pack in (bytes, gzip.compress):
            content = b"".join(map(pack, [records[0], changed, *records[2:]]))
            assert told(list(read_arc(io.BytesIO(content), IngestConfig()))) == ["0", "error", "2", "3"]
