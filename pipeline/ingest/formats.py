"""Telling which kind of crawl file a file is, from its name and its first bytes."""

from __future__ import annotations

import re
import zlib

import zstandard

from pipeline.files import File, open_file

GZIP_MAGIC = b"\x1f\x8b\x08"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)

_SUFFIXES = (
    ("warc", (".warc", ".wet")),
    ("arc", (".arc",)),
    ("html", (".html", ".htm", ".xhtml")),
    ("text", (".txt", ".text")),
    ("tar", (".tar", ".tgz")),
    ("jsonl", (".jsonl", ".ndjson", ".json")),
    ("parquet", (".parquet", ".pq")),
)
_COMPRESSION = (".gz", ".zst", ".zstd")
_HEAD_BYTES = 4096
_HTML = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s{0,256}(?:<!--.{0,1000}?-->\s{0,256})?<(?:!doctype\s{1,16}html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_JSON_OBJECT = re.compile(rb'\A(?:\xef\xbb\xbf)?\s{0,256}\{\s{0,256}(?:"|\})')


class UnreadableFile(Exception):
    """A file that can't be read at all: the caller makes one quarantine row of it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnreadableFile], tuple[str, str]]:
        return UnreadableFile, (self.path, self.reason)


def detect_format(name: str, head: bytes) -> str | None:
    """`warc`, `arc`, `tar`, `jsonl`, `parquet`, `html`, `text`, or None for a file this platform does not read.

    name: file name or path. head: its first bytes (64 KiB is plenty). Unmistakable content (WARC, ARC, Parquet, tar) wins
    over the name, because a crawl file is often stored as .txt or without a suffix; then the name; then HTML or JSON by their start.
    """
    content = uncompressed_head(head)
    return _by_magic(content) or _by_name(name) or _by_start(content)


def detected_format(file: File) -> str | None:
    """The format of a file by its name or first bytes; None when neither tells."""
    with open_file(file.path) as stream:
        return detect_format(file.name, stream.read(_HEAD_BYTES))


def is_skippable(head: bytes) -> bool:
    """Whether these bytes begin a skippable zstd frame (RFC 8878 section 3.1.2)."""
    return len(head) >= 4 and int.from_bytes(head[:4], "little") in _SKIPPABLE


def uncompressed_head(head: bytes) -> bytes:
    """Up to 4096 first bytes of the content of a file that may be gzip or zstd; what could be decompressed when it is damaged."""
    at = 0
    while is_skippable(head[at : at + 4]):
        at += 8 + int.from_bytes(head[at + 4 : at + 8], "little")
    head = head[at:]
    if head.startswith(GZIP_MAGIC):
        try:
            return zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
        except zlib.error:
            return b""
    if head.startswith(ZSTD_MAGIC):
        try:
            with zstandard.ZstdDecompressor().stream_reader(head) as reader:
                return reader.read(_HEAD_BYTES)
        except zstandard.ZstdError:
            return b""
    return head[:_HEAD_BYTES]


def looks_like_html(content: bytes) -> bool:
    """Whether these first bytes begin an HTML page: a doctype or one of its outer tags, after at most one comment."""
    return _HTML.search(content[:_HEAD_BYTES]) is not None


def _by_magic(content: bytes) -> str | None:
    if re.match(rb"WARC/[01]\.", content):
        return "warc"
    if content.startswith(b"filedesc://"):
        return "arc"
    if content.startswith(b"PAR1"):
        return "parquet"
    return "tar" if content[257:262] == b"ustar" else None


def _by_name(name: str) -> str | None:
    lower = name.lower()
    for suffix in _COMPRESSION:
        lower = lower.removesuffix(suffix)
    return next((format_ for format_, suffixes in _SUFFIXES if lower.endswith(suffixes)), None)


def _by_start(content: bytes) -> str | None:
    if looks_like_html(content):
        return "html"
    return "jsonl" if _JSON_OBJECT.match(content) else None
