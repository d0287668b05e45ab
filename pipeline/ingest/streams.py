"""Reading plain, gzip and zstd files as one stream of bytes that knows where each compressed member began and what broke."""

from __future__ import annotations

import os
import re
import struct
import zlib
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from typing import IO, Any

import zstandard

from pipeline.ingest.formats import GZIP_MAGIC, ZSTD_MAGIC, is_skippable
from pipeline.ingest.rows import Row

_READ_BYTES = 1 << 17
_CHUNK_BYTES = 1 << 18
_GZIP_FEED_BYTES = 1 << 13
"""Compressed bytes per call: zlib copies what lies behind a member's end, so that large pieces cost tiny members their square."""
_ZSTD_FEED_BYTES = 1 << 10
"""zstd has no output limit per call; 1 KiB of run-length blocks can't become more than about 43 MB (128 KiB per 3 bytes)."""
_DICTIONARY_FRAME = 0x184D2A5D
"""First frame of a .warc.zst that carries the dictionary of the others (IIPC zstd WARC proposal)."""
_MAX_DICTIONARY_BYTES = 1 << 24
_PADDING = re.compile(rb"[\0\r\n]*")
"""What writers leave between and after members without meaning it."""


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

    Never raises for bad content: it ends, and `damage` says why. With `opens`, the stream of a compressed file pauses, as if it ended,
    before each further member whose content begins with one of them: `paused_at` is then the member's file offset, and `resume` goes on.
    """

    def __init__(self, file: IO[bytes], limits: Limits, start: int = 0, opens: tuple[bytes, ...] = ()) -> None:
        self._file = file
        self._limits = limits
        self._opens = opens
        self._opening_bytes = max(map(len, opens), default=0)
        self.damage: Damage | None = None
        self.paused_at: int | None = None
        self._dictionary = read_dictionary(file) if start else None
        file.seek(start)
        self._start = start
        self._input, self._at, self._input_end = b"", 0, start
        self._more(4)
        head = self._input[:4]
        self.codec = "gzip" if head.startswith(GZIP_MAGIC) else "zstd" if head == ZSTD_MAGIC or is_skippable(head) else "plain"
        self._unpacker: zstandard.ZstdDecompressor | None = None
        self._decoder: Any = None
        self._taken = self._given = 0
        self._held = b""
        self._buffer = bytearray()
        self._index = 0
        self._produced = 0
        self._begun, self._positions = array("q"), array("q")
        self._absent: dict[bytes, tuple[int, int]] = {}
        self._ended = False

    @property
    def offset(self) -> int:
        """Uncompressed offset, from where the stream was opened, of the next unread byte."""
        return self._produced - len(self._buffer) + self._index

    def place(self) -> tuple[int, int]:
        """(file offset, offset inside the member) of the next unread byte; call `fill(1)` before."""
        offset = self.offset
        if self.codec == "plain" or not self._begun:
            return self._start + offset, 0
        last = bisect_right(self._begun, offset) - 1
        return self._positions[last], offset - self._begun[last]

    def damage_row(self) -> Row:
        """The quarantine row for `damage`; call at the end of the stream. Its `inner` sets it apart from records of the same member."""
        position, inner = self.place()
        reason = self.damage.reason if self.damage else "nothing is damaged"
        return Row(position=position, inner=inner, error=f"{reason}; what follows in it is lost")

    def fill(self, count: int) -> bool:
        """Have at least `count` unread bytes in the buffer; False when the stream ends or pauses before."""
        while len(self._buffer) - self._index < count:
            chunk = self.chunk()
            if not chunk:
                return False
            self._buffer += chunk
            if self._index > _CHUNK_BYTES:
                self._forget()
        return True

    def peek(self, count: int, skip: int = 0) -> bytes:
        """Up to `count` unread bytes after the next `skip`, without consuming them; only what `fill` has brought is there."""
        return bytes(memoryview(self._buffer)[self._index + skip : self._index + skip + count])

    def ahead(self, distance: int, count: int) -> bytes | None:
        """Up to `count` bytes that follow the next `distance` unread ones; None when there are fewer than `distance`.

        A plain file is looked into where it lies; of a compressed one everything up to there is brought into the buffer.
        """
        unread = len(self._buffer) - self._index
        if self.codec == "plain" and distance > unread + _CHUNK_BYTES:
            here = self._file.tell()
            at = here - len(self._input) + distance - unread
            inside = at <= self._file.seek(0, os.SEEK_END)
            self._file.seek(at)
            found = self._file.read(count) if inside else None
            self._file.seek(here)
            return found
        self.fill(distance + count)
        return self.peek(count, distance) if len(self._buffer) - self._index >= distance else None

    def find(self, pattern: bytes, within: int, start: int = 0) -> int:
        """Index of `pattern` relative to the next unread byte, if it begins among unread bytes [start, within), else -1.

        Bytes in which the last search for the pattern found nothing are not searched again.
        """
        first, last = self._absent.get(pattern, (0, 0))
        if not first <= self.offset + start <= last:
            first = last = self.offset + start
        searched = min(within, last - self.offset)
        while True:
            have = len(self._buffer) - self._index
            found = self._buffer.find(pattern, self._index + searched, self._index + within + len(pattern) - 1)
            if found >= 0:
                return found - self._index
            searched = max(searched, min(within, have - len(pattern) + 1))
            if have >= within + len(pattern) - 1 or not self.fill(have + 1):
                self._absent[pattern] = first, self.offset + searched
                return -1

    def skip(self, count: int) -> int:
        """Consume `count` bytes without keeping them; returns how many there were."""
        left = count
        while left:
            here = min(left, len(self._buffer) - self._index)
            self._index += here
            left -= here
            if left and self.codec == "plain" and left > _CHUNK_BYTES:
                left -= self._skip_plain(left)
            if left and not self.fill(1):
                break
        return count - left

    def skip_buffer(self) -> None:
        """Consume what the buffer holds."""
        self._index = len(self._buffer)

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

    def resume(self) -> None:
        """Go on with the member that the stream paused before."""
        self.paused_at = None

    def chunk(self) -> bytes:
        """The next uncompressed bytes straight from the file, past the buffer; empty at the end or a pause."""
        if self._ended or self.paused_at is not None:
            return b""
        if self.codec == "plain":
            data, self._input = self._input[self._at :] + self._file.read(_CHUNK_BYTES), b""
            self._produced += len(data)
            self._ended = not data
            return data
        pieces, size = [], 0
        while size < _CHUNK_BYTES and not self._ended:
            if self._held:
                piece, self._held = self._held, b""
            elif self._decoder is not None:
                piece = self._step()
            else:
                self._open_member()
                if self.paused_at is not None:
                    break
                continue
            pieces.append(piece)
            size += len(piece)
            self._produced += len(piece)
        return b"".join(pieces)

    def _forget(self) -> None:
        """Give up what was consumed, with the members that lie before it."""
        del self._buffer[: self._index]
        self._index = 0
        passed = bisect_right(self._begun, self.offset) - 1
        if passed > 0:
            del self._begun[:passed], self._positions[:passed]

    def _skip_plain(self, count: int) -> int:
        """Move on in a plain file without reading, the buffer being empty; returns by how much."""
        here = self._file.tell() - len(self._input)
        moved = min(count, self._file.seek(0, os.SEEK_END) - here)
        self._file.seek(here + moved)
        self._input = b""
        self._produced += moved
        return moved

    def _open_member(self) -> None:
        """Begin the next member, or pause before it, or end the stream."""
        skipped = None
        while True:
            self._skip_padding()
            self._more(8)
            position = self._input_end - len(self._input) + self._at
            head = self._input[self._at : self._at + 8]
            if not head:
                self._ended = True
                return
            if self.codec != "zstd" or not is_skippable(head):
                break
            if not self._skip_frame(position, head):
                return
            skipped = position
        if self.codec == "gzip" and head.startswith(GZIP_MAGIC):
            self._decoder = zlib.decompressobj(wbits=31)
        elif self.codec == "zstd" and head.startswith(ZSTD_MAGIC):
            self._unpacker = self._unpacker or zstandard.ZstdDecompressor(dict_data=self._dictionary)
            self._decoder = self._unpacker.decompressobj()
        if self._decoder is None:  # a skippable frame before them has a wrong length, then: members may lie in it
            self._add_member(position if skipped is None else skipped)
            self._end(f"the bytes at {position} are not a {self.codec} member")
            return
        self._add_member(position)
        self._taken = self._given = 0
        while len(self._held) < self._opening_bytes and self._decoder is not None:
            self._held += self._step()
        if self._opens and position > self._start and self._held.startswith(self._opens):
            self.paused_at = position

    def _add_member(self, position: int) -> None:
        """Note where a member begins; an empty one before it is forgotten, as nothing can lie in it."""
        if self._begun and self._begun[-1] == self._produced:
            self._positions[-1] = position
        else:
            self._begun.append(self._produced)
            self._positions.append(position)

    def _skip_padding(self) -> None:
        while True:
            match = _PADDING.match(self._input, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._input) or not self._more(1):
                return

    def _skip_frame(self, position: int, head: bytes) -> bool:
        """Consume a skippable frame, or take the dictionary in it; False when it is damaged."""
        magic, size = struct.unpack("<II", head.ljust(8, b"\0"))
        self._at += len(head)
        if magic == _DICTIONARY_FRAME and position == 0 and len(head) == 8 and size <= _MAX_DICTIONARY_BYTES and self._more(size):
            content = self._input[self._at : self._at + size]
            self._at += size
            try:
                self._dictionary = _dictionary(content)
            except zstandard.ZstdError as error:
                self._add_member(position)
                self._end(f"the zstd dictionary at byte {position} can't be read: {error}")
                return False
            return True
        while size and self._more(1):
            step = min(size, len(self._input) - self._at)
            self._at += step
            size -= step
        if size or len(head) < 8:
            self._add_member(position)
            self._end(f"the file ends inside the skippable zstd frame that began at byte {position}")
            return False
        return True

    def _step(self) -> bytes:
        """Decompress a little of the open member; it ends the stream when it can't."""
        position = self._positions[-1]
        if not self._more(1):
            self._end(f"the file ends inside the {self.codec} member that began at byte {position}")
            return b""
        fed = self._input[self._at : self._at + (_GZIP_FEED_BYTES if self.codec == "gzip" else _ZSTD_FEED_BYTES)]
        try:
            if self.codec == "gzip":
                data: bytes = self._decoder.decompress(fed, _CHUNK_BYTES)
                left = len(self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail)
            else:
                data = self._decoder.decompress(fed)
                left = len(self._decoder.unused_data)
        except (zlib.error, zstandard.ZstdError) as error:
            self._end(f"the {self.codec} member at byte {position} can't be decompressed: {error}")
            return b""
        self._at += len(fed) - left
        self._taken += len(fed) - left
        self._given += len(data)
        if self._decoder.eof:
            self._decoder = None
        if self._given > self._limits.floor and self._given > self._limits.ratio * self._taken:
            self._end(f"the {self.codec} member at byte {position} grows over {self._limits.ratio} times: a decompression bomb")
            return b""
        return data

    def _more(self, count: int) -> bool:
        """Have at least `count` bytes of input that are not taken yet; False when the file ends before."""
        while len(self._input) - self._at < count:
            data = self._file.read(_READ_BYTES)
            if not data:
                return False
            self._input = self._input[self._at :] + data
            self._at = 0
            self._input_end += len(data)
        return True

    def _end(self, reason: str) -> None:
        self.damage = Damage(self._positions[-1], reason)
        self._ended = True
        self._decoder = None


def read_dictionary(file: IO[bytes]) -> zstandard.ZstdCompressionDict | None:
    """The dictionary in the first frame of a .warc.zst; None when there is none or it is damaged (then no frame can be read)."""
    file.seek(0)
    head = file.read(8)
    if len(head) < 8 or struct.unpack("<I", head[:4])[0] != _DICTIONARY_FRAME:
        return None
    content = file.read(min(_MAX_DICTIONARY_BYTES, struct.unpack("<I", head[4:])[0]))
    try:
        return _dictionary(content)
    except zstandard.ZstdError:
        return None


def _dictionary(content: bytes) -> zstandard.ZstdCompressionDict:
    if content.startswith(ZSTD_MAGIC):
        with zstandard.ZstdDecompressor().stream_reader(content) as reader:
            content = reader.read(_MAX_DICTIONARY_BYTES + 1)
        if len(content) > _MAX_DICTIONARY_BYTES:
            raise zstandard.ZstdError(f"it has over {_MAX_DICTIONARY_BYTES} bytes")
    found = zstandard.ZstdCompressionDict(content)
    zstandard.ZstdDecompressor(dict_data=found).decompressobj()  # only now a damaged one is found out
    return found
