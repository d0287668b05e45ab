"""Reading the lists that users give: hosts, words and opt-outs, one per line, kept as sorted hashes so that long lists stay small."""

from __future__ import annotations

import functools
import gzip
import io
import re
import unicodedata
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, cast

import numpy as np
import xxhash
import zstandard

from pipeline.errors import UserError
from pipeline.files import open_file
from pipeline.ingest.formats import GZIP_MAGIC, ZSTD_MAGIC
from pipeline.refine.addresses import host_and_rest, normal_host, place, words

MAX_LINE_BYTES = 16384
MAX_LIST_BYTES = 2 << 30
"""Unpacked bytes of one list file, some hundred million hosts: what exceeds it is no list but a mistake or a decompression bomb."""


@dataclass(frozen=True)
class Files:
    """List files of one kind, and the xxh3 (hex) of their unpacked content, which stands for them in fingerprints."""

    paths: tuple[str, ...] = field(default=(), metadata={"fingerprint": False})
    digest: str = ""


_COMMON_LINE = re.compile(rb"(?!www\.)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){1,8}\r?\n?")
"""A host that is already in the form of `normal_host`: lists of millions of hosts hold little else."""

NO_FILES = Files()


@dataclass(frozen=True)
class Entries:
    """What list files hold. hashes: sorted xxh3-64 of hosts or words. places: of `host/path` opt-outs; place_hosts: of their hosts."""

    hashes: np.ndarray
    places: np.ndarray
    place_hosts: np.ndarray
    digest: str

    def has(self, texts: Iterable[str]) -> np.ndarray:
        """A boolean for each text: whether it is among `hashes`."""
        return contains(self.hashes, texts)


def hash_of(text: str) -> int:
    """xxh3-64 of a host, word or place: what lists are compared by."""
    return xxhash.xxh3_64_intdigest(text.encode())


def contains(sorted_hashes: np.ndarray, texts: Iterable[str]) -> np.ndarray:
    """A boolean for each text: whether its hash is in the sorted array."""
    wanted = np.fromiter(map(hash_of, texts), np.uint64)
    if not sorted_hashes.size:
        return np.zeros(wanted.size, bool)
    found = np.searchsorted(sorted_hashes, wanted)
    return np.asarray(sorted_hashes[np.minimum(found, sorted_hashes.size - 1)] == wanted)


def listed_host(line: str) -> tuple[str, bool] | None:
    """A line of a list of hosts; `*.` or a dot before the name change nothing, because subdomains are covered anyway."""
    host = normal_host(line.removeprefix("*").removeprefix("."))
    return None if host is None or "." not in host.strip("[]").replace(":", ".") else (host, False)


def listed_place(line: str) -> tuple[str, bool] | None:
    """A line of an opt-out list: a host, or an address with a path, which is True as the second value."""
    if "/" not in line.replace("\\", "/"):
        return listed_host(line)
    host, rest = host_and_rest(line)
    if host is None or listed_host(host) is None:
        return None
    whole = place(host, rest)
    return whole, whole != host


def listed_word(line: str) -> tuple[str, bool] | None:
    """A line of a list of words."""
    word = unicodedata.normalize("NFC", line).lower()
    return (word, False) if word and words(f"x/{word}") == ["x", word] else None


READERS: dict[str, tuple[Callable[[str], tuple[str, bool] | None], str]] = {
    "block_hosts": (listed_host, "a host name such as example.com"),
    "allow_hosts": (listed_host, "a host name such as example.com"),
    "block_words": (listed_word, "one word of letters and digits"),
    "opt_out": (listed_place, "a host name or address such as example.com/blog"),
}
"""Kinds of list, the reader of their lines, and what a line must be."""


def read(kind: str, paths: tuple[str, ...]) -> Entries:
    """The entries of all list files of a kind (a key of READERS).

    Raises UserError for a file that can't be opened, unpacked or decoded, and for the first line that is no entry.
    """
    parse, wanted = READERS[kind]
    digest = xxhash.xxh3_128()
    plain, places, place_hosts = array("Q"), array("Q"), array("Q")
    for path in paths:
        digest.update(b"\0")
        for number, line in enumerate(_lines(kind, path), 1):
            digest.update(line)
            if parse is not listed_word and _COMMON_LINE.fullmatch(line):
                plain.append(xxhash.xxh3_64_intdigest(line.rstrip()))
                continue
            text = _content(kind, path, number, line)
            if not text:
                continue
            entry = parse(text)
            if entry is None:
                raise UserError(f"sites.{kind}: line {number} of '{path}' is not {wanted}: '{text[:80]}'; correct or remove it")
            name, is_place = entry
            (places if is_place else plain).append(hash_of(name))
            if is_place:
                place_hosts.append(hash_of(name.partition("/")[0].partition("?")[0]))
    return Entries(_sorted(plain), _sorted(places), _sorted(place_hosts), digest.hexdigest())


def _sorted(hashes: array[int]) -> np.ndarray:
    return np.unique(np.frombuffer(hashes, np.uint64))


def _content(kind: str, path: str, number: int, line: bytes) -> str:
    """The line without comment and blanks."""
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"sites.{kind}: line {number} of '{path}' is not UTF-8; save the list as UTF-8") from error
    text = text.strip()
    if "#" in text:  # a # inside an address is a fragment, not a comment
        at = 0 if text.startswith("#") else min((place for place in (text.find(" #"), text.find("\t#")) if place >= 0), default=len(text))
        text = text[:at].rstrip()
    return text


def _lines(kind: str, path: str) -> Iterator[bytes]:
    """The lines of a plain, gzip or zstd file."""
    size = 0
    try:
        with open_file(path) as file, unpacked(file) as stream:
            while line := stream.readline(MAX_LINE_BYTES):
                size += len(line)
                if len(line) == MAX_LINE_BYTES or size > MAX_LIST_BYTES:
                    raise UserError(
                        f"sites.{kind}: '{path}' is no list: a line is over {MAX_LINE_BYTES} bytes, or all over {MAX_LIST_BYTES}"
                    )
                yield line
    except (OSError, EOFError, zlib.error, zstandard.ZstdError, ValueError) as error:
        raise UserError(f"sites.{kind}: can't read '{path}': {_reason(error)}; check that the file is there and whole") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def unpacked(file: IO[bytes]) -> IO[bytes]:
    """A stream of what the file holds, after gzip or zstd if it begins like such a file."""
    buffered = io.BufferedReader(cast(io.RawIOBase, file)) if not isinstance(file, io.BufferedReader) else file
    head = buffered.peek(4)
    if head.startswith(GZIP_MAGIC):
        return cast(IO[bytes], gzip.GzipFile(fileobj=buffered))
    if head.startswith(ZSTD_MAGIC):
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(buffered, read_across_frames=True))
    return buffered


@functools.lru_cache(maxsize=8)
def loaded(kind: str, files: Files) -> Entries:
    """The entries of these files, read once per process. Raises UserError when they are no longer what the run started with."""
    entries = read(kind, files.paths)
    if entries.digest != files.digest:
        raise UserError(f"sites.{kind}: a file changed while the run was reading it ({', '.join(files.paths)}); start the run again")
    return entries
