"""Files of an index: arrays and manifests that appear whole or not at all, and are checked before they are used."""

from __future__ import annotations

import fcntl
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from decontam.errors import DecontamError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Change a folder alone: waits for another process that does. The system takes the lock back from one that is killed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read_manifest(path: Path, what: str) -> dict[str, Any]:
    """A JSON object from a file. Raises DecontamError when there is none."""
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DecontamError(f"{what} {path.parent} lacks {path.name}, so it is no index or incomplete; build it again.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DecontamError(f"{path} can't be read ({error}); build it again.") from error
    if not isinstance(manifest, dict):
        raise DecontamError(f"{path} holds no JSON object; build it again.")
    return manifest


def save_array(path: Path, array: np.ndarray) -> dict[str, Any]:
    """Write a .npy file; returns its facts for a manifest."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return write_file(path, buffer.getbuffer())


def write_file(path: Path, content: bytes | memoryview) -> dict[str, Any]:
    """Write a file by way of a temporary name; returns its size and hash."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    return {"bytes": len(content), "xxh3_64": xxhash.xxh3_64_hexdigest(content)}


def verify_file(path: Path, facts: dict[str, Any]) -> None:
    """Raise DecontamError unless the file has the size and hash that its manifest gives."""
    if not path.is_file():
        raise DecontamError(f"{path.parent} lacks the file {path.name}; build it again.")
    if path.stat().st_size != facts["bytes"]:
        raise DecontamError(f"{path} has {path.stat().st_size} bytes instead of {facts['bytes']}; build it again.")
    hasher = xxhash.xxh3_64()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 24):
            hasher.update(chunk)
    if hasher.hexdigest() != facts["xxh3_64"]:
        raise DecontamError(f"{path} does not have the fingerprint in the manifest, so it is damaged; build it again.")


def map_array(path: Path) -> np.ndarray:
    """A .npy file as a read-only, memory-mapped array."""
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
