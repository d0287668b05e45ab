"""Reading the records of a WARC or ARC file one after the other, whole or by range, so that damage costs only what it hit.

A gzip or zstd member that begins like a record always begins one, whatever the record before it claims as its length. So a wrong length is
confined to its member, and a reader that starts at such a member sees the same records as one that comes from byte 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO

from pipeline.ingest.formats import GZIP_MAGIC, ZSTD_MAGIC, is_skippable
from pipeline.ingest.members import first_member, hidden_member, is_member, is_plain, next_member
from pipeline.ingest.rows import Row, excerpt
from pipeline.ingest.streams import ByteStream, Limits

HEAD_BYTES = 2048
"""What a quarantine row's excerpt is made of."""
PADDING = b"\r\n\0"
"""What stands between records: line ends, and the zeros that a file system leaves at the end of a file after a crash."""

_UNLIMITED = Limits(1, 1)
"""For plain files, where nothing is decompressed."""


def read_records(
    file: IO[bytes],
    opens: tuple[bytes, ...],
    read_record: Callable[[ByteStream, Row], None],
    limits: Limits,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[Row]:
    """One row per record of the range [start, stop) of a file; ranges that tile a file give each row once and in order.

    opens: what a compressed member with a record begins with. read_record: fills the row and consumes the record, or sets its `error` and
    consumes what is unreadable. In a plain file `start` and `stop` must be byte 0, its end, or one of `plain_edges`.
    """
    whole = start == 0 or is_plain(file, opens, limits)
    offset: int | None = start if whole else first_member(file, start, stop, opens, limits)
    while offset is not None and (stop is None or offset < stop):
        stream = ByteStream(file, limits, offset, opens)
        hidden = hidden_member(stream, file, opens, limits) if offset == 0 else None
        if hidden is not None:
            yield Row(
                position=0, error=f"the bytes from 0 to {hidden} are no gzip or zstd member", excerpt=excerpt(stream.peek(HEAD_BYTES))
            )
            offset = hidden
            continue
        reported = False
        while True:
            stream.skip_while(PADDING)
            if not stream.fill(1):
                if stream.paused_at is None:
                    break
                if stop is not None and stream.paused_at >= stop and is_member(file, stream.paused_at, opens, limits):
                    return
                stream.resume()
                continue
            position, inner = stream.place()
            if stop is not None and stream.codec == "plain" and position >= stop:
                return
            row = Row(position=position, inner=inner)
            read_record(stream, row)
            yield row
            reported = row.error is not None and stream.damage is not None and not stream.fill(1)
        if stream.damage is None:
            return
        if not reported:
            yield stream.damage_row()
        offset = next_member(file, stream.damage.offset + 1, opens, limits, stop)


def plain_edges(file: IO[bytes], pass_record: Callable[[ByteStream], None], wanted: list[int]) -> list[int] | None:
    """For each of the `wanted` bytes the place at or after it where a record begins: a plain file may be cut there; None for a packed file.

    The lengths of the records are followed from byte 0, because an archived archive looks like records in every other respect.
    """
    file.seek(0)
    head = file.read(4)
    if head.startswith((GZIP_MAGIC, ZSTD_MAGIC)) or is_skippable(head):
        return None
    stream = ByteStream(file, _UNLIMITED)
    edges: list[int] = []
    while len(edges) < len(wanted):
        stream.skip_while(PADDING)
        if not stream.fill(1):
            break
        position = stream.offset
        while len(edges) < len(wanted) and wanted[len(edges)] <= position:
            edges.append(position)
        pass_record(stream)
    return edges


def end_of(stream: ByteStream) -> str:
    """Why a record is cut short, for its error."""
    if stream.damage is not None:
        return stream.damage.reason
    return "the next member begins" if stream.paused_at is not None else "the file ends"


def at(row: Row) -> str:
    """Where a record begins, for messages: its byte, with the offset inside its compressed member."""
    return f"{row.position}+{row.inner}" if row.inner else str(row.position)
