import gzip
import struct
from itertools import pairwise
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.rows import document_id

from .ingest_samples import read, verdicts


def lines_of(*records: object) -> bytes:
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


def test_known_fields_become_columns_and_the_rest_meta(tmp_path: Path) -> None:
    table = read(tmp_path, lines_of({"text": "가나", "id": 7, "url": "http://a", "title": "t", "date": 2020, "z": 1, "b": None}), "jsonl")
    row = table.to_pylist()[0]
    assert (row["text"], row["source_id"], row["url"], row["title"], row["date"]) == ("가나", "7", "http://a", "t", None)
    assert row["meta"] == '{"b":null,"date":2020,"z":1}'
    assert row["id"] == document_id("test", "input", 0)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not valid JSON"),
        (b'["a"]', "a list, not a JSON object"),
        (b'{"body":"x"}', "no field 'text' (it has: body)"),
        (b'{"text":null}', "has null in field 'text'"),
        (b'{"text":3}', "has a number in field 'text'"),
        (b'{"text":"\xff"}', "not valid JSON"),
        (b'{"text":"\\ud800"}', "not valid JSON"),
        (b"[" * 5000, "not valid JSON"),
    ],
)
def test_a_bad_line_is_one_quarantine_row_and_reading_goes_on(tmp_path: Path, line: bytes, problem: str) -> None:
    good = lines_of({"text": "ok"})
    table = read(tmp_path, good + line + b"\n" + good, "jsonl")
    assert verdicts(table) == ["kept", "error", "kept"]
    assert problem in table["error"][1].as_py() and f"byte {len(good)} " in table["error"][1].as_py()
    assert table["excerpt"][1].as_py() is not None


def test_blank_lines_bom_crlf_and_empty_text(tmp_path: Path) -> None:
    table = read(tmp_path, b'\xef\xbb\xbf{"text":"a"}\r\n\r\n \n{"text":" \\n"}\n{"text":"last"}', "jsonl")
    assert verdicts(table) == ["kept", "empty_text", "kept"]


def test_excerpt_masks_digits_and_addresses(tmp_path: Path) -> None:
    table = read(tmp_path, b'{"mail": "hong.gildong@example.com", "tel": "010-1234-5678"}\n', "jsonl")
    excerpt = table["excerpt"][0].as_py()
    assert "hong" not in excerpt and "1234" not in excerpt and excerpt.startswith('{"mail": ')


def test_address_cut_by_the_end_of_the_excerpt_is_masked_too(tmp_path: Path) -> None:
    line = b'{"x":"' + b"y " * 92 + b'secret.person.name@example.com"}\n'
    assert "secret" not in read(tmp_path, line, "jsonl")["excerpt"][0].as_py()


def test_long_line_is_quarantined_with_a_head_only(tmp_path: Path) -> None:
    content = lines_of({"text": "가" * 1_500_000}, {"text": "short"})
    table = read(tmp_path, content, "jsonl", IngestConfig(max_document_bytes=1_000_000))
    assert verdicts(table) == ["error", "kept"]
    assert "4500011 bytes" in table["error"][0].as_py()
    assert table["position"][1].as_py() == content.index(b"\n") + 1


def test_keep_ids(tmp_path: Path) -> None:
    table = read(tmp_path, lines_of({"text": "a", "key": "mine"}, {"text": "b"}), "jsonl", id_column="key", keep_ids=True)
    assert table["id"][0].as_py() == "mine" and verdicts(table) == ["kept", "error"]


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.text(max_size=30), max_size=20),
    cuts=st.lists(st.integers(0, 700), max_size=4),
)
def test_byte_ranges_that_tile_a_file_give_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("ranges")
    content = lines_of(*({"text": text.replace("\n", " ") or "x"} for text in texts))
    whole = read(folder, content, "jsonl")
    edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    pieces = []
    for start, stop in pairwise(edges):
        pieces += read(folder, content, "jsonl", start=start, stop=stop).to_pylist()
    assert pieces == whole.to_pylist()


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_compressed_content_reads_like_plain_and_positions_agree(tmp_path: Path, compress: object) -> None:
    content = lines_of(*({"text": f"문서 {index}" * 50} for index in range(300)))
    half = content.index(b"\n", len(content) // 2) + 1
    packed = compress(content[:half]) + compress(content[half:])  # type: ignore[operator]
    assert read(tmp_path, packed, "jsonl").to_pylist() == read(tmp_path, content, "jsonl").to_pylist()


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_truncated_and_corrupt_compression_end_in_one_quarantine_row(tmp_path: Path, compress: object) -> None:
    content = b"".join(orjson.dumps({"text": str(index * 7919 % 1000003)}) + b"\n" for index in range(50_000))
    packed = bytearray(compress(content))  # type: ignore[operator]
    packed[len(packed) // 2] ^= 0xFF
    for damaged in (bytes(packed), bytes(packed[: len(packed) // 3])):
        found = verdicts(read(tmp_path, damaged, "jsonl"))
        assert found.count("error") >= 1 and found[-1] == "error" and set(found[:-1]) <= {"kept", "error"}


def test_a_bomb_is_stopped(tmp_path: Path) -> None:
    bomb = gzip.compress(b'{"text": "' + b"a" * 50_000_000 + b'"}\n')
    table = read(tmp_path, bomb, "jsonl", IngestConfig(max_document_bytes=1_000_000))
    assert verdicts(table) == ["error"] and "bomb" in table["error"][0].as_py()
    zstd_bomb = zstandard.compress(bytes(50_000_000))
    table = read(tmp_path, zstd_bomb, "jsonl", IngestConfig(max_document_bytes=1_000_000))
    assert verdicts(table) == ["error"] and "bomb" in table["error"][0].as_py()


def test_batches_are_bounded_in_bytes(tmp_path: Path) -> None:
    from pipeline.ingest.readers import read_part

    from .ingest_samples import part_of

    path = tmp_path / "input"
    path.write_bytes(lines_of(*({"text": "x" * 1000} for _ in range(100))))
    batches = list(read_part(part_of(path, "jsonl"), IngestConfig(batch_bytes=10_000)))
    assert sum(map(len, batches)) == 100 and all(pa_bytes(batch) <= 10_000 for batch in batches)


def pa_bytes(table: pa.Table) -> int:
    return int(pc.sum(pc.binary_length(table["text"])).as_py())


def test_other_fields_nested_too_deeply_to_write_cost_one_line(tmp_path: Path) -> None:
    good = lines_of({"text": "ok"})
    table = read(tmp_path, good + b'{"text":"x","m":' + b"[" * 400 + b"]" * 400 + b"}\n" + good, "jsonl")
    assert verdicts(table) == ["kept", "error", "kept"]
    assert "has other fields that can't be kept: " in table["error"][1].as_py()


def test_ids_beyond_64_bits_stay_distinct(tmp_path: Path) -> None:
    ids = ["123456789012345678901", "123456789012345678902", "-9223372036854775809", "18446744073709551615", "1.5"]
    content = b"".join(f'{{"id":{number},"text":"x","n":1}}\n'.encode() for number in ids)
    assert read(tmp_path, content, "jsonl", keep_ids=True)["id"].to_pylist() == ids


def test_a_large_id_in_a_line_nested_too_deeply_is_quarantined(tmp_path: Path) -> None:
    line = b'{"id":123456789012345678901,"text":"x","m":' + b"[" * 1020 + b"]" * 1020 + b"}\n"
    assert verdicts(read(tmp_path, line + lines_of({"text": "ok"}), "jsonl")) == ["error", "kept"]


def test_thousands_of_skippable_zstd_frames(tmp_path: Path) -> None:
    content = struct.pack("<II", 0x184D2A50, 3) + b"abc"
    table = read(tmp_path, content * 5000 + zstandard.compress(lines_of({"text": "ok"})) + content * 5000, "jsonl")
    assert verdicts(table) == ["kept"]
