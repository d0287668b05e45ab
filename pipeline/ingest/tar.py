"""Reading the members of tar archives one after the other, without unpacking anything and without trusting a header.

Python's tarfile ends silently at a damaged header in the middle of an archive and reads extended headers of any size into memory; a
member that vanishes must be a quarantine row here. Format: POSIX ustar and pax (IEEE Std 1003.1), GNU long names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.streams import ByteStream, Limits

_BLOCK = 512
_MAX_EXTENDED_BYTES = 1 << 20
_MAX_NAME_CHARACTERS = 4096
"""Longest path on Linux (PATH_MAX); a header may give a megabyte."""
_MAGIC, _MAGIC_AT = b"ustar", 257
_SEARCH_BYTES = 1 << 20
_PAX_FIELD = re.compile(rb"(\d{1,9}) ([^=\n]{1,256})=")
_OTHER_KINDS = {b"1": "hardlink", b"2": "symlink", b"3": "device", b"4": "device", b"5": "directory", b"6": "fifo", b"S": "sparse"}


@dataclass(frozen=True)
class Member:
    """A member of an archive: `index` counts members from 0; `content` is None unless it is a regular file within the size limit."""

    index: int
    name: str
    kind: str
    size: int
    content: bytes | None
    error: str | None = None


def read_members(file: IO[bytes], config: IngestConfig) -> Iterator[Member]:
    """Members of a plain, gzip or zstd tar in order; damage is a member of kind `damage` with its `error`, reading goes on behind it.

    A member over `config.max_archive_bytes` comes without content. Names are data: never opened, never joined to a path.
    """
    stream = ByteStream(file, Limits(config.max_ratio, config.max_document_bytes))
    index = 0
    named: dict[str, str] = {}
    while stream.fill(_BLOCK):
        at = stream.offset
        header = stream.peek(_BLOCK)
        if not header.strip(b"\0"):
            stream.skip_while(b"\0")
            if stream.fill(1) and not (stream.fill(_BLOCK) and _checksum_holds(stream.peek(_BLOCK))):  # two archives in one file are fine
                yield _damaged(index, f"data follows the end of the archive at byte {at}")
                index += 1
                named = {}
                _skip_to_header(stream)
            continue
        size = _number(header[124:136])
        if not _checksum_holds(header) or size is None:
            yield _damaged(index, f"no tar header at byte {at} of the archive; what lies before the next one is lost")
            index += 1
            named = {}
            stream.skip(1)
            _skip_to_header(stream)
            continue
        stream.skip(_BLOCK)
        kind = header[156:157]
        if kind in b"xgLK" and kind:
            if size > _MAX_EXTENDED_BYTES or not stream.fill(size):
                yield _damaged(index, f"the extended tar header at byte {at} is too large or cut short")
                index += 1
                named = {}
                _skip_to_header(stream)
                continue
            named |= _extended(kind, stream.peek(size))
            stream.skip(_padded(size))
            continue
        member = _take(stream, index, header, named, size, config)
        named = {}
        yield member
        index += 1
        if member.kind == "damage":
            _skip_to_header(stream)
    if stream.damage is not None:
        yield _damaged(index, f"{stream.damage.reason}; the members after it are lost")
    elif stream.fill(1) or named:
        yield _damaged(index, f"the archive ends inside a header at byte {stream.offset}")


def _damaged(index: int, error: str) -> Member:
    return Member(index, "", "damage", 0, None, error)


def _skip_to_header(stream: ByteStream) -> None:
    """Consume up to the next block that is a header by its magic and its checksum, wherever it lies; all when there is none."""
    while (found := stream.find(_MAGIC, _SEARCH_BYTES, start=_MAGIC_AT)) >= 0 or stream.fill(_SEARCH_BYTES + len(_MAGIC)):
        if found < 0:
            stream.skip(_SEARCH_BYTES - _MAGIC_AT)
            continue
        stream.skip(found - _MAGIC_AT)
        if stream.fill(_BLOCK) and _checksum_holds(stream.peek(_BLOCK)):
            return
        stream.skip(1)
    stream.skip(_SEARCH_BYTES + len(_MAGIC))


def _take(stream: ByteStream, index: int, header: bytes, named: dict[str, str], size: int, config: IngestConfig) -> Member:
    """The member whose header was consumed; `named` is what extended headers said of it."""
    kind = header[156:157]
    size = int(named.get("size", size))
    name = (named.get("path") or _name(header))[:_MAX_NAME_CHARACTERS]
    if kind == b"S":
        more = header[482]  # GNU: further blocks of the map of holes follow the header
        while more and stream.fill(_BLOCK):
            more = stream.peek(_BLOCK)[504]
            stream.skip(_BLOCK)
    if kind not in (b"0", b"\0", b"7") or "sparse" in named:
        stream.skip(_padded(size) if kind not in b"123456" else 0)
        return Member(index, name, "sparse" if "sparse" in named else _OTHER_KINDS.get(kind, "unknown"), size, None)
    if size > config.max_archive_bytes:
        if stream.codec == "plain" and stream.ahead(size, 1) is None:
            return _cut_short(stream, index, name, size)
        if stream.skip(_padded(size)) < size:
            return _cut_short(stream, index, name, size)
        return Member(index, name, "file", size, None)
    if not stream.fill(size):
        return _cut_short(stream, index, name, size)
    content = stream.peek(size)
    stream.skip(_padded(size))
    return Member(index, name, "file", size, content)


def _cut_short(stream: ByteStream, index: int, name: str, size: int) -> Member:
    reason = stream.damage.reason if stream.damage else "the archive ends"
    stream.damage = None
    return Member(index, name, "damage", size, None, f"the member is cut short: {reason}")


def _extended(kind: bytes, content: bytes) -> dict[str, str]:
    """`path`, `size` and whether it is `sparse`, as a pax or GNU header says of the next member; global headers carry nothing we use."""
    if kind == b"L":
        return {"path": content.split(b"\0", 1)[0].decode("utf-8", "replace")}
    found: dict[str, str] = {}
    at = 0
    while kind == b"x" and (field := _PAX_FIELD.match(content, at)):
        length = int(field[1])
        value = content[field.end() : at + length - 1].decode("utf-8", "replace")
        if field[2] == b"path":
            found["path"] = value
        elif field[2].startswith(b"GNU.sparse."):
            found["sparse"] = "yes"
        elif field[2] == b"size" and value.isascii() and value.isdigit() and len(value) < 19:
            found["size"] = value
        if length <= field.end() - at:
            break
        at += length
    return found


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")


def _number(field: bytes) -> int | None:
    """An octal number, or base 256 where the first bit is set (GNU); None when it is neither or negative."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        return value if value < 1 << 62 else None
    digits = field.strip(b"\0 ")
    return int(digits or b"0", 8) if re.fullmatch(rb"[0-7]{0,12}", digits) else None


def _checksum_holds(header: bytes) -> bool:
    stored = _number(header[148:156])
    return stored is not None and stored == sum(header) - sum(header[148:156]) + 8 * 32


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
