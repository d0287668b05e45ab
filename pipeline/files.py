"""Finding and opening input files: local paths, folders and globs, and any fsspec URL, with one sentence when nothing is there."""

from __future__ import annotations

import errno
import glob
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import fsspec
import xxhash

from pipeline.errors import UserError

_SAMPLE_BYTES = 65536
"""Bytes hashed at either end of a file for its fingerprint: enough to notice a rewritten file without reading terabytes."""


RETRY_SECONDS = (1.0, 2.0, 4.0)
"""Pauses before a remote file is tried again."""


@dataclass(frozen=True)
class File:
    """An input file. `name` is its path relative to the input that matched it, unique among the files of a run."""

    path: str
    name: str
    size: int
    fingerprint: str


def is_url(path: str) -> bool:
    """True for fsspec URLs such as s3://bucket/key; local paths (also file:///...) are not URLs here."""
    return "://" in path and not path.startswith("file://")


def open_file(path: str) -> IO[bytes]:
    """Open a local path or fsspec URL for reading bytes. Raises OSError when it can't be opened or, later, read."""
    if is_url(path):
        return _RemoteFile(path)  # type: ignore[return-value]
    return open(path, "rb")


class _RemoteFile(io.RawIOBase):
    """A file behind a URL. A failing open or read is tried again; then it is an OSError, whatever the file system raised.

    So trouble on the network ends a split, which the next run repeats, and is never taken for a damaged file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._stream: Any = self._tried(lambda: fsspec.open(path, "rb").open())

    def _tried(self, work: Callable[[], Any]) -> Any:
        tries = len(RETRY_SECONDS) + 1
        for attempt in range(tries):
            try:
                return work()
            except (FileNotFoundError, PermissionError, IsADirectoryError):
                raise
            except Exception as error:
                if attempt == tries - 1:
                    reason = " ".join(str(error).split())[:200] or type(error).__name__
                    raise OSError(errno.EIO, f"the server failed {tries} times ({reason})", self._path) from error
            time.sleep(RETRY_SECONDS[attempt])

    def readinto(self, buffer: Any) -> int:
        position = self._stream.tell()

        def read() -> bytes:
            if self._stream.tell() != position:
                self._stream.seek(position)
            return bytes(self._stream.read(len(buffer)))

        data: bytes = self._tried(read)
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def close(self) -> None:
        if not self.closed:
            stream = getattr(self, "_stream", None)  # not there when the file could not be opened
            if stream is not None:
                stream.close()
        super().close()


def find_files(patterns: Iterable[str]) -> list[File]:
    """The files that these paths, folders, globs or URLs name: each once, sorted by name, with distinct names.

    Raises UserError for a pattern that matches nothing, a folder without files, and a file that can't be read.
    """
    found: dict[str, File] = {}
    for pattern in patterns:
        for file in _find(pattern.removeprefix("file://")):
            found.setdefault(file.path, file)
    return _with_distinct_names(sorted(found.values(), key=lambda file: (file.name, file.path)))


def _find(pattern: str) -> list[File]:
    if not pattern.strip():
        raise UserError("an input path is empty; give a file, a folder, a glob or a URL")
    if is_url(pattern):
        return [_describe(url, name) for url, name in _find_remote(pattern)]
    root = _fixed_folder(pattern)
    return [_describe(path, os.path.relpath(path, root)) for path in _find_local(pattern)]


def _find_local(pattern: str) -> list[str]:
    if os.path.isfile(pattern):
        return [os.path.abspath(pattern)]
    if os.path.isdir(pattern):
        paths = list(_walk(pattern))
        if not paths:
            raise UserError(f"the folder '{pattern}' has no files in it; give a folder with crawl files, or a file or glob")
    else:
        paths = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
        if not paths:
            raise UserError(f"no file matches '{pattern}'; check the path")
    return sorted(os.path.abspath(path) for path in paths)


def _walk(folder: str, above: frozenset[str] = frozenset()) -> Iterator[str]:
    """Visible regular files below a folder, links followed but for those that lead back up; no pipes, sockets or devices."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in os.scandir(folder):
        if not _visible(entry.name):
            continue
        if entry.is_dir():
            yield from _walk(entry.path, above | {real})
        elif entry.is_file() or not os.path.exists(entry.path):  # a broken link is reported when it is opened
            yield entry.path


def _find_remote(pattern: str) -> list[tuple[str, str]]:
    """Pairs of URL and name relative to the part of the pattern before its first wildcard."""
    try:
        filesystem, path = fsspec.core.url_to_fs(pattern)
        paths = filesystem.glob(path) if glob.has_magic(path) else filesystem.find(path)
    except (OSError, ImportError, ValueError) as error:
        raise UserError(f"can't list '{pattern}': {error}; check the URL and your credentials") from error
    if not paths:
        raise UserError(f"no file matches '{pattern}'; check the URL")
    folder = path.rstrip("/") if paths != [path] and not glob.has_magic(path) else path.rsplit("/", 1)[0]
    while glob.has_magic(folder):
        folder = folder.rsplit("/", 1)[0]
    names = {found: found.removeprefix(folder).lstrip("/") for found in sorted(paths) if _visible(os.path.basename(found))}
    return [(filesystem.unstrip_protocol(found), name) for found, name in names.items()]


def _visible(name: str) -> bool:
    return not name.startswith((".", "_"))


def _fixed_folder(pattern: str) -> str:
    """The folder before the first wildcard: names are relative to it, so moving the whole tree changes no id."""
    if os.path.isdir(pattern):
        return os.path.abspath(pattern)
    folder = os.path.dirname(pattern)
    while glob.has_magic(folder) and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return os.path.abspath(folder or ".")


def _describe(path: str, name: str) -> File:
    try:
        with open_file(path) as stream:
            head = stream.read(_SAMPLE_BYTES)
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _SAMPLE_BYTES))
            tail = stream.read(_SAMPLE_BYTES)
        stamp = str(os.stat(path).st_mtime_ns) if not is_url(path) else ""
    except OSError as error:
        raise UserError(f"can't read '{path}': {error.strerror or error}; check that it exists and may be read") from error
    except ValueError as error:  # fsspec's answer where a server can only send a file from its start
        raise UserError(f"can't read '{path}' in ranges ({error}); download it first, or use a server that supports ranges") from error
    fingerprint = xxhash.xxh3_64_hexdigest(b"\0".join([str(size).encode(), stamp.encode(), head, tail]))
    return File(path=path, name=printable(name), size=size, fingerprint=fingerprint)


def printable(path: str) -> str:
    """A path as text that any file can hold: bytes of its name that are not UTF-8 (an old Korean archive's, say) are written as \\xNN."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _with_distinct_names(files: list[File]) -> list[File]:
    """Where two inputs hold files of the same name, give each as many parent folders as it takes to tell them apart."""
    depth = {file.path: 0 for file in files}
    while True:
        names = {file.path: _lengthened(file, depth[file.path]) for file in files}
        seen: dict[str, list[str]] = {}
        for path, name in names.items():
            seen.setdefault(name, []).append(path)
        clashing = [path for paths in seen.values() if len(paths) > 1 for path in paths]
        if not clashing:
            return sorted((replace(file, name=names[file.path]) for file in files), key=lambda file: file.name)
        for path in clashing:
            depth[path] += 1


def _lengthened(file: File, parents: int) -> str:
    if parents == 0:
        return file.name
    parts = printable(file.path).split("/")
    return "/".join(parts[-(file.name.count("/") + 1 + parents) :])


def to_disk(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
