"""Reading ahead: an iterator that runs in a thread of its own, so that a training step doesn't wait for its data."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.1
"""How long a full queue keeps the thread from noticing that nobody reads any more."""


def prefetch(items: Iterable[T], depth: int) -> Iterator[T]:
    """The same items in the same order, up to `depth` of them made ahead. What `items` raises is raised where it would have come.

    The thread ends with the items, with an exception, and when the iterator that this returns is closed or forgotten.
    """
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(maxsize=depth)
    abandoned = threading.Event()

    def put(kind: str, value: T | BaseException | None) -> None:
        while not abandoned.is_set():
            try:
                return ready.put((kind, value), timeout=_POLL_SECONDS)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put("item", item)
                if abandoned.is_set():
                    return
        except BaseException as error:
            put("error", error)
        else:
            put("end", None)

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if isinstance(value, BaseException) and kind == "error":
                raise value
            yield value  # type: ignore[misc]
    finally:
        abandoned.set()
        thread.join()
