"""Finding the gzip and zstd members of a crawl file from any byte of it, so that its parts can be read by different workers.

A member is found by its magic number and what its content begins with. The same bytes can lie inside another member: a crawled .warc.gz
doesn't shrink, so that the crawler's compressor stores it as it is. Stored data is interrupted by block headers every 64 KiB (deflate,
RFC 1951 section 3.2.4) or 128 KiB (zstd, RFC 8878 section 3.1.1.2), at which a chain of such false members breaks.
"""

from __future__ import annotations

import zlib
from typing import IO

import zstandard

from pipeline.ingest.formats import GZIP_MAGIC, ZSTD_MAGIC
from pipeline.ingest.streams import ByteStream, Limits, read_dictionary

_CHUNK_BYTES = 1 << 20
_PROBE_BYTES = (1 << 17) + 32
"""zstd gives nothing before a whole block is there: at most 128 KiB, after the frame's and the block's header."""
_GZIP_PROBE_BYTES = 1 << 12
_GZIP_HEADER_BYTES = _PROBE_BYTES - _GZIP_PROBE_BYTES
"""Longest gzip header that is looked through: its extra field alone may have 64 KiB, real ones have some dozen bytes."""
_CHAIN_BYTES = (1 << 17) + 64
"""A chain of members that holds for longer than stored data can is no stored data."""
_BACK_BYTES = (1 << 18, 1 << 21, 1 << 25)
"""How far before a range its first member is looked for when the one found in it may be false; 32 MiB is more than a usual record."""


def next_member(file: IO[bytes], start: int, opens: tuple[bytes, ...], limits: Limits, stop: int | None = None) -> int | None:
    """File offset of the first gzip or zstd member that begins in [start, stop) and whose content begins with one of `opens`."""
    unpacker = zstandard.ZstdDecompressor(dict_data=read_dictionary(file))
    offset, block = start, b""
    while stop is None or offset < stop:
        file.seek(offset + len(block))
        data = file.read(_CHUNK_BYTES)
        block += data
        # The last bytes wait for the next round, so that every candidate has all the bytes that its probe looks at.
        ready = max(0, len(block) - _PROBE_BYTES) if data else len(block)
        for at in _magic_offsets(block, ready if stop is None else min(ready, stop - offset)):
            if _probe(block, at, unpacker).startswith(opens) and _opens_with(ByteStream(file, limits, offset + at), opens):
                return offset + at
        if not data:
            return None
        offset, block = offset + ready, block[ready:]
    return None


def first_member(file: IO[bytes], start: int, stop: int | None, opens: tuple[bytes, ...], limits: Limits) -> int | None:
    """Where a reader that comes from byte 0 would meet the first member in [start, stop) that begins with one of `opens`.

    A found member is believed when the members after it follow each other for longer than data stored in another member can.
    If not (damage follows it, or it is such data), it is reached from a believed member before it, or from byte 0.
    """
    found = next_member(file, start, opens, limits, stop)
    if found is None or start == 0 or _break_after(file, found, limits) is None:
        return found
    for back in _BACK_BYTES:
        earlier = _believed(file, max(0, start - back), start, opens, limits)
        if earlier is not None:
            return _walk(file, earlier, start, stop, opens, limits)
    return found


def is_member(file: IO[bytes], offset: int, opens: tuple[bytes, ...], limits: Limits) -> bool:
    """Whether a search would find a member at exactly this byte; leaves the file where it was."""
    resume = file.tell()
    found = next_member(file, offset, opens, limits, offset + 1)
    file.seek(resume)
    return found is not None


def hidden_member(stream: ByteStream, file: IO[bytes], opens: tuple[bytes, ...], limits: Limits) -> int | None:
    """Offset of the first good member of a compressed file whose own first bytes are damaged, so that `stream` takes it for plain.

    None when the stream is compressed, or one of `opens` begins it or a line in its first chunk, or no member follows.
    """
    stream.fill(64)
    head = b"\n" + stream.peek(_CHUNK_BYTES)
    if stream.codec != "plain" or len(head) == 1 or any(b"\n" + mark in head for mark in opens):
        return None
    resume = file.tell()
    found = next_member(file, 1, opens, limits)
    file.seek(resume)
    return found


def is_plain(file: IO[bytes], opens: tuple[bytes, ...], limits: Limits) -> bool:
    """Whether the file is an uncompressed one, going by its first bytes and, where these say nothing, by what follows."""
    stream = ByteStream(file, limits)
    return stream.codec == "plain" and hidden_member(stream, file, opens, limits) is None


def _believed(file: IO[bytes], start: int, stop: int, opens: tuple[bytes, ...], limits: Limits) -> int | None:
    """The first member in [start, stop) whose chain holds; 0 when the range begins there."""
    if start == 0:
        return 0
    offset: int | None = start
    while offset is not None and (offset := next_member(file, offset, opens, limits, stop)) is not None:
        broken = _break_after(file, offset, limits)
        if broken is None:
            return offset
        offset = max(offset, broken) + 1  # every member between belongs to the same chain, or lies inside it
    return None


def _break_after(file: IO[bytes], offset: int, limits: Limits) -> int | None:
    """Where the chain of members that begins at `offset` breaks; None when it holds for _CHAIN_BYTES, or to the end of the file."""
    stream = ByteStream(file, limits, offset)
    while stream.fill(1):
        position, inner = stream.place()
        if inner == 0 and position >= offset + _CHAIN_BYTES:
            return None
        stream.skip_buffer()
    return stream.damage.offset if stream.damage is not None else None


def _walk(file: IO[bytes], begin: int, start: int, stop: int | None, opens: tuple[bytes, ...], limits: Limits) -> int | None:
    """Read on from `begin` as a reader of records would; the first member in [start, stop) that it would begin anew with."""
    offset: int | None = begin
    while offset is not None:
        if offset >= start:
            return offset
        stream = ByteStream(file, limits, offset, opens)
        hidden = hidden_member(stream, file, opens, limits) if offset == 0 else None
        while hidden is None and stream.damage is None:
            while stream.fill(1):
                stream.skip_buffer()
            if stream.paused_at is None:
                break
            if stop is not None and stream.paused_at >= stop:
                return None
            if stream.paused_at >= start and is_member(file, stream.paused_at, opens, limits):
                return stream.paused_at
            stream.resume()
        if hidden is None and stream.damage is None:
            return None
        offset = hidden if stream.damage is None else next_member(file, stream.damage.offset + 1, opens, limits, stop)
    return None


def _magic_offsets(block: bytes, before: int) -> list[int]:
    """Where magic numbers begin in the first `before` bytes."""
    found = []
    for magic in (GZIP_MAGIC, ZSTD_MAGIC):
        at = block.find(magic, 0, before + len(magic) - 1)
        while at >= 0:
            found.append(at)
            at = block.find(magic, at + 1, before + len(magic) - 1)
    return sorted(found)


def _probe(block: bytes, at: int, unpacker: zstandard.ZstdDecompressor) -> bytes:
    """The first uncompressed bytes of a candidate, from few bytes: magic numbers that begin no member are common in hostile files."""
    try:
        if block.startswith(GZIP_MAGIC, at):
            begin = _gzip_content(block, at)
            return zlib.decompressobj(wbits=-15).decompress(block[begin : begin + _GZIP_PROBE_BYTES], 64) if begin else b""
        with unpacker.stream_reader(block[at : at + _PROBE_BYTES]) as reader:
            return reader.read(64)
    except (zlib.error, zstandard.ZstdError):
        return b""


def _gzip_content(block: bytes, at: int) -> int | None:
    """Where the compressed data of a gzip member begins (RFC 1952 section 2.3); None for a bad header, or one of over 124 KiB."""
    flags = block[at + 3] if at + 10 <= len(block) else 0xFF
    if flags & 0xE0:
        return None
    begin = at + 10
    if flags & 4:
        begin += 2 + int.from_bytes(block[begin : begin + 2], "little")
    for flag in (8, 16):  # the file's name and a comment, each ended by NUL
        if flags & flag:
            begin = block.find(b"\0", begin, at + _GZIP_HEADER_BYTES) + 1
            if not begin:
                return None
    return begin + (2 if flags & 2 else 0)


def _opens_with(stream: ByteStream, opens: tuple[bytes, ...]) -> bool:
    """Whether the stream's first member can be read as `ByteStream` will read it; the probe may end before the damage."""
    count = max(map(len, opens))
    stream.fill(count)
    return stream.peek(count).startswith(opens)
