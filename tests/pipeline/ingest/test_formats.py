import gzip

import pytest
import zstandard

from pipeline.ingest.formats import detect_format

WARC = b"WARC/1.0\r\nWARC-Type: warcinfo\r\n"


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.warc", b"", "warc"),
        ("a.warc.gz", b"", "warc"),
        ("a.warc.wet.gz", b"", "warc"),
        ("a.wet", b"", "warc"),
        ("a.arc.gz", b"", "arc"),
        ("a.HTML", b"", "html"),
        ("a.htm", b"", "html"),
        ("a.txt", b"plain words", "text"),
        ("a.tar.gz", b"", "tar"),
        ("a.tgz", b"", "tar"),
        ("a.jsonl.zst", b"", "jsonl"),
        ("a.json.gz", b"", "jsonl"),
        ("a.ndjson", b"", "jsonl"),
        ("a.parquet", b"", "parquet"),
        ("sample.warc.txt", WARC, "warc"),
        ("noname", gzip.compress(WARC), "warc"),
        ("noname", zstandard.compress(WARC), "warc"),
        ("noname", b"filedesc://x.arc 0.0.0.0 20200101000000 text/plain 10\n", "arc"),
        ("noname", b"PAR1....", "parquet"),
        ("noname", b"<!DOCTYPE html><html>", "html"),
        ("noname", b"\xef\xbb\xbf  <!-- c --> <HTML>", "html"),
        ("noname", gzip.compress(b'{"text": "a"}\n'), "jsonl"),
        ("noname", b"\x89PNG\r\n", None),
        ("noname", b"", None),
        ("noname", b"\x1f\x8b\x08 not really gzip", None),
    ],
)
def test_format_by_name_and_content(name: str, head: bytes, expected: str | None) -> None:
    assert detect_format(name, head) == expected
