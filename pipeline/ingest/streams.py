"""Reading plain, gzip and zstd files as one stream of bytes that knows where each compressed member began and what broke."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import IO, Any

import zstandard

from pipeline.ingest.formats import GZIP_MAGIC, ZSTD_MAGIC, uncompressed_head
from pipeline.ingest.rows import Row

_READ_BYTES = 1 << 17
_CHUNK_BYTES = 1 << 20
_ZSTD_FEED_BYTES = 1 << 10
"""zstd has no output limit per call; 1 KiB of run-length blocks can't become more than about 43 MB (128 KiB per 3 bytes)."""
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_DICTIONARY_FRAME = 0x184D2A5D
"""First frame of a .warc.zst that carries the dictionary of the others (IIPC zstd WARC proposal)."""
_MAX_DICTIONARY_BYTES = 1 << 24
_GZIP_PROBE_BYTES = 1 << 12
"""Enough for a gzip header and the first words of the content; a header that is longer isn't found."""
_ZSTD_PROBE_BYTES = (1 << 17) + 32
"""zstd gives nothing before a whole block is there: at most 128 KiB, after the frame's and the block's header."""


@dataclass(frozen=True)
class Limits:
    """When a member is taken for a decompression bomb: it gave over `floor` bytes and over `ratio` times what it took."""

    ratio: int
    floor: int


@dataclass(frozen=True)
class Damage:
    """Why a stream ended early: `offset` is the byte in the file where the unreadable member began."""

    offset: int
    reason: str


class ByteStream:
    """The uncompressed bytes of a file from file offset `start` on, with a buffer to look ahead in.

    Never raises for bad content: it ends, and `damage` says why. `offset` is the uncompressed offset of the next unread byte.
    """

    def __init__(self, file: IO[bytes], limits: Limits, start: int = 0) -> None:
        self._file = file
        self._limits = limits
        file.seek(start)
        self._input = b""
        self._input_end = start
        self._decoder: Any = None
        self._dictionary: zstandard.ZstdCompressionDict | None = None
        self._taken = self._given = 0
        self._more(4)
        self.codec = "gzip" if self._input.startswith(GZIP_MAGIC) else "zstd" if _is_zstd(self._input) else "plain"
        self._buffer = bytearray()
        self._index = 0
        self._members: list[tuple[int, int]] = []
        self._produced = 0
        self._ended = False
        self.damage: Damage | None = None

    @property
    def offset(self) -> int:
        """Uncompressed offset, from where the stream was opened, of the next unread byte."""
        return self._produced - len(self._buffer) + self._index

    def place(self) -> tuple[int, int]:
        """(file offset, offset inside the member) of the next unread byte; call `fill(1)` before."""
        offset = self.offset
        while len(self._members) > 1 and self._members[1][0] <= offset:
            del self._members[0]
        if self.codec == "plain" or not self._members:
            return offset, 0
        begun, position = self._members[0]
        return position, offset - begun

    def damage_row(self) -> Row:
        """The quarantine row for `damage`; call at the end of the stream. Its `inner` sets it apart from records of the same member."""
        position, inner = self.place()
        reason = self.damage.reason if self.damage else "nothing is damaged"
        return Row(position=position, inner=inner, error=f"{reason}; what follows in it is lost")

    def fill(self, count: int) -> bool:
        """Have at least `count` unread bytes in the buffer; False when the stream ends before."""
        while len(self._buffer) - self._index < count:
            chunk = self.chunk()
            if not chunk:
                return False
            if self._index > _CHUNK_BYTES:
                del self._buffer[: self._index]
                self._index = 0
            self._buffer += chunk
        return True

    def peek(self, count: int, skip: int = 0) -> bytes:
        """Up to `count` unread bytes after the next `skip`, without consuming them; only what `fill` has brought is there."""
        return bytes(memoryview(self._buffer)[self._index + skip : self._index + skip + count])

    def find(self, pattern: bytes, within: int) -> int:
        """Index of `pattern` relative to the next unread byte, if it begins among the next `within` bytes, else -1."""
        searched = 0
        while True:
            have = len(self._buffer) - self._index
            start = self._index + max(0, searched - len(pattern) + 1)
            found = self._buffer.find(pattern, start, self._index + within + len(pattern))
            if found >= 0:
                return found - self._index
            if have >= within + len(pattern) or not self.fill(have + 1):
                return -1
            searched = have

    def skip(self, count: int) -> int:
        """Consume `count` bytes without keeping them; returns how many there were."""
        left = count
        while left:
            here = min(left, len(self._buffer) - self._index)
            self._index += here
            left -= here
            if left and not self.fill(1):
                break
        return count - left

    def skip_while(self, accepted: bytes) -> None:
        """Consume bytes as long as they are among `accepted`."""
        while self.fill(1):
            rest = self._buffer[self._index : self._index + 64]
            kept = rest.lstrip(accepted)
            self._index += len(rest) - len(kept)
            if kept:
                return

    def skip_to(self, pattern: bytes) -> bool:
        """Consume up to the next `pattern`; False, with everything consumed, when there is none."""
        while True:
            found = self._buffer.find(pattern, self._index)
            if found >= 0:
                self._index = found
                return True
            self._index = max(self._index, len(self._buffer) - len(pattern) + 1)
            if not self.fill(len(self._buffer) - self._index + 1):
                self._index = len(self._buffer)
                return False

    def chunk(self) -> bytes:
        """The next uncompressed bytes straight from the file, past the buffer; empty at the end."""
        if self._ended:
            return b""
        data = self._plain_chunk() if self.codec == "plain" else self._member_chunk()
        self._produced += len(data)
        self._ended = not data
        return data

    def _plain_chunk(self) -> bytes:
        data, self._input = self._input, b""
        return data + self._file.read(_CHUNK_BYTES)

    def _member_chunk(self) -> bytes:
        while True:
            if self._decoder is None and not self._open_member():
                return b""
            if not self._input and not self._more(1):
                self._end(f"the file ends inside the {self.codec} member that began at byte {self._members[-1][1]}")
                return b""
            try:
                data = self._decompress()
            except (zlib.error, zstandard.ZstdError) as error:
                self._end(f"the {self.codec} member at byte {self._members[-1][1]} can't be decompressed: {error}")
                return b""
            self._given += len(data)
            if self._given > self._limits.floor and self._given > self._limits.ratio * self._taken:
                place = f"the {self.codec} member at byte {self._members[-1][1]}"
                self._end(f"{place} grows over {self._limits.ratio} times: a decompression bomb")
                return b""
            if data:
                return data

    def _open_member(self) -> bool:
        while True:  # not recursive: a file may begin with any number of skippable frames
            self._input = self._input.lstrip(b"\0")
            self._more(8)
            if not self._input:
                return False
            if not self._input[0]:
                continue
            position = self._input_end - len(self._input)
            if self.codec != "zstd" or self._input.startswith(ZSTD_MAGIC) or not _is_zstd(self._input):
                break
            if not self._skip_frame(position):
                return False
        self._members.append((self._produced, position))
        if self.codec == "gzip" and self._input.startswith(GZIP_MAGIC):
            self._decoder = zlib.decompressobj(wbits=31)
        elif self.codec == "zstd" and self._input.startswith(ZSTD_MAGIC):
            self._decoder = zstandard.ZstdDecompressor(dict_data=self._dictionary).decompressobj()
        else:
            self._end(f"the bytes at {position} are not a {self.codec} member")
            return False
        self._taken = self._given = 0
        return True

    def _skip_frame(self, position: int) -> bool:
        """Consume a skippable frame, or take the dictionary in it; False when the dictionary is damaged."""
        magic, size = struct.unpack("<II", self._input[:8].ljust(8, b"\0"))
        self._input = self._input[8:]
        if magic == _DICTIONARY_FRAME and position == 0 and size <= _MAX_DICTIONARY_BYTES:
            self._more(size)
            content, self._input = self._input[:size], self._input[size:]
            try:
                if _is_zstd(content):
                    content = zstandard.ZstdDecompressor().decompress(content, max_output_size=_MAX_DICTIONARY_BYTES)
                self._dictionary = zstandard.ZstdCompressionDict(content)
            except zstandard.ZstdError as error:
                self._members.append((self._produced, position))
                self._end(f"the zstd dictionary at byte {position} can't be read: {error}")
                return False
            return True
        while size and (self._input or self._more(1)):
            step = min(size, len(self._input))
            self._input = self._input[step:]
            size -= step
        return True

    def _decompress(self) -> bytes:
        if self.codec == "gzip":
            before = len(self._input)
            data = self._decoder.decompress(self._input, _CHUNK_BYTES)
            self._input = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
            self._taken += before - len(self._input)
        else:
            data = self._decompress_zstd()
        if self._decoder.eof:
            self._decoder = None
        return data

    def _decompress_zstd(self) -> bytes:
        pieces: list[bytes] = []
        size = at = 0
        while at < len(self._input) and size < _CHUNK_BYTES and not self._decoder.eof:
            fed = self._input[at : at + _ZSTD_FEED_BYTES]
            piece = self._decoder.decompress(fed)
            at += len(fed) - len(self._decoder.unused_data)
            pieces.append(piece)
            size += len(piece)
        self._input = self._input[at:]
        self._taken += at
        return b"".join(pieces)

    def _more(self, count: int) -> bool:
        while len(self._input) < count:
            data = self._file.read(_READ_BYTES)
            if not data:
                return False
            self._input += data
            self._input_end += len(data)
        return True

    def _end(self, reason: str) -> None:
        self.damage = Damage(self._members[-1][1], reason)
        self._ended = True


def next_member(file: IO[bytes], start: int, opens: tuple[bytes, ...], limits: Limits, stop: int | None = None) -> int | None:
    """File offset of the first gzip or zstd member that begins in [start, stop) and whose content begins with one of `opens`."""
    offset, block = start, b""
    while stop is None or offset < stop:
        file.seek(offset + len(block))
        data = file.read(_CHUNK_BYTES)
        block += data
        # The last bytes wait for the next round, so that every candidate has all the bytes that its probe looks at.
        ready = max(0, len(block) - _ZSTD_PROBE_BYTES) if data else len(block)
        for at in _magic_offsets(block, ready if stop is None else min(ready, stop - offset)):
            if _probe(block, at).startswith(opens) and _opens_with(ByteStream(file, limits, offset + at), opens):
                return offset + at
        if not data:
            return None
        offset, block = offset + ready, block[ready:]
    return None


def _probe(block: bytes, at: int) -> bytes:
    """The first uncompressed bytes of a candidate, from few bytes: magic numbers that begin no member are common in hostile files."""
    size = _GZIP_PROBE_BYTES if block.startswith(GZIP_MAGIC, at) else _ZSTD_PROBE_BYTES
    return uncompressed_head(block[at : at + size])


def _opens_with(stream: ByteStream, opens: tuple[bytes, ...]) -> bool:
    """Whether the stream's first member can be read as `ByteStream` will read it; the probe may end before the damage."""
    count = max(map(len, opens))
    stream.fill(count)
    return stream.peek(count).startswith(opens)


def hidden_member(stream: ByteStream, file: IO[bytes], opens: tuple[bytes, ...], limits: Limits) -> int | None:
    """Offset of the first good member of a compressed file whose own first bytes are damaged, so that `stream` takes it for plain.

    None when the stream is compressed, or begins with one of `opens` after line ends, or no member follows.
    """
    stream.fill(64)
    if stream.codec != "plain" or stream.peek(64).lstrip(b"\r\n").startswith(opens) or not stream.fill(1):
        return None
    resume = file.tell()
    found = next_member(file, 1, opens, limits)
    file.seek(resume)
    return found


def _magic_offsets(block: bytes, before: int) -> list[int]:
    """Where magic numbers begin in the first `before` bytes."""
    found = []
    for magic in (GZIP_MAGIC, ZSTD_MAGIC):
        at = block.find(magic, 0, before + len(magic) - 1)
        while at >= 0:
            found.append(at)
            at = block.find(magic, at + 1, before + len(magic) - 1)
    return sorted(found)


def _is_zstd(head: bytes) -> bool:
    return head.startswith(ZSTD_MAGIC) or (len(head) >= 4 and int.from_bytes(head[:4], "little") in _SKIPPABLE)
