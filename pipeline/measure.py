"""Time and memory of one task in its worker, children included."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import time
from typing import Any

import pyarrow as pa


class Meter:
    """Starts measuring when made; `facts` gives seconds, CPU seconds and peak resident memory since then (Linux)."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()
        _reset_peak_memory()

    def facts(self) -> dict[str, Any]:
        return {
            "seconds": round(time.perf_counter() - self._wall, 6),
            "cpu_seconds": round(_cpu_seconds() - self._cpu, 6),
            "peak_memory_bytes": peak_memory_bytes(),
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        }


def _cpu_seconds() -> float:
    """CPU time of this process, its ended children, and its living ones (the extractor's helper)."""
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    total = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    ticks = os.sysconf("SC_CLK_TCK")
    for child in _children():
        try:
            with open(f"/proc/{child}/stat", encoding="ascii", errors="replace") as stream:
                fields = stream.read().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended in between: counted among the ended ones next time
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def _children() -> list[str]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as stream:
            return stream.read().split()
    except OSError:
        return []


def _reset_peak_memory() -> None:
    """Reset the kernel's high-water mark, so that a task's peak is its own (clear_refs 5, Linux)."""
    for process in ("self", *_children()):
        try:
            with open(f"/proc/{process}/clear_refs", "w", encoding="ascii") as stream:
                stream.write("5")
        except OSError:
            return  # not permitted here: the peak is then that of the whole process, an upper bound


def peak_memory_bytes() -> int:
    """Peak resident memory of this process plus that of its living children, in bytes."""
    total = 0
    for process in ("self", *_children()):
        try:
            with open(f"/proc/{process}/status", encoding="ascii", errors="replace") as stream:
                marks = [line for line in stream if line.startswith("VmHWM")]
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in marks)
    return total or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def release_memory() -> None:
    """Give what a task no longer needs back to the system: a worker lives through many tasks, and its next one has other sizes."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, so that a killed driver leaves no worker behind (Linux)."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # the parent ended before the request took effect
