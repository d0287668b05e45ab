"""Where a process of a training stands among the others, and how the processes of one machine are started.

`torchrun`, the `deepspeed` launcher and Ray Train say it in the environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT);
without those a process is alone. DeepSpeed is told what it can't know: LOCAL_SIZE, which torchrun doesn't set, and not to compile
its shared-memory operations at the start.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from pipeline.errors import RunFailed, UserError

T = TypeVar("T")


PATIENCE = timedelta(hours=1)
"""How long processes wait for one another: the first one may have to build indices or to convert a checkpoint while the others wait."""


@dataclass(frozen=True)
class World:
    """The processes of a training. rank: of this one, in 0..size - 1; local_rank: among those of its machine, which is also its GPU."""

    rank: int
    size: int
    local_rank: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0


class ToldElsewhere(Exception):
    """This process ends because the first one failed, which tells why. `code`: exit code of the command."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the first process ended with code {code}")
        self.code = code


def launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def connect() -> World:
    """Join the other processes. May be called again. Raises UserError for an incomplete environment."""
    rank, size, local_rank = (int(os.environ.get(key, default)) for key, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    cuda = torch.cuda.is_available()
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(local_rank))
    device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        _join(rank, size, "nccl" if cuda else "gloo")
    return World(rank, size, local_rank, device)


def leave() -> None:
    """Say good-bye to the other processes; without it, the end of a process may end another in the middle of its own."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _join(rank: int, size: int, backend: str) -> None:
    if size == 1:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=PATIENCE)
        return
    missing = [key for key in ("MASTER_ADDR", "MASTER_PORT") if key not in os.environ]
    if missing:
        raise UserError(f"WORLD_SIZE is {size}, but {missing[0]} is not set; start with torchrun, deepspeed or --workers")
    if os.environ["MASTER_ADDR"] in ("127.0.0.1", "localhost"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(backend, rank=rank, world_size=size, timeout=PATIENCE)


def prepare_deepspeed(world: World) -> None:
    """Import DeepSpeed, quietly, with what it wants to know in the environment. Takes seconds; later calls take none."""
    os.environ["DS_ACCELERATOR"] = world.device.type
    os.environ["LOCAL_SIZE"] = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or str(world.size)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")  # of a process that is alone; nobody listens there
    os.environ.setdefault("MASTER_PORT", "29500")
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*(all_gather_into_tensor|reduce_scatter_tensor)", category=FutureWarning)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # its compilation would take a minute and a compiler
    deepspeed.init_distributed(dist_init_required=False, verbose=False)


def on_first(world: World, work: Callable[[], Any]) -> Any:
    """What `work` returns in the first process, in every process. Where it fails there, the others end with ToldElsewhere."""
    told: list[Any] = [None, None]
    failure: Exception | None = None
    if world.first:
        try:
            told[1] = work()
        except Exception as error:
            failure = error
            told[0] = _code(error)
    if world.size > 1:
        dist.broadcast_object_list(told, src=0, device=world.device)
    if failure is not None:
        raise failure
    if told[0] is not None:
        raise ToldElsewhere(told[0])
    return told[1]


def together(world: World, error: UserError | RunFailed) -> Exception:
    """What to raise where all processes fail with the same error: that in the first, which tells it, and ToldElsewhere in the others."""
    return error if world.first else ToldElsewhere(_code(error))


def _code(error: Exception) -> int:
    return 2 if isinstance(error, UserError) else 1


def first_alone(world: World, work: Callable[[], T]) -> T:
    """`work` in the first process, and once it is done there in the others: what it writes is written once, and then only read."""
    done: list[T] = []
    on_first(world, lambda: done.append(work()))
    return done[0] if world.first else work()


def gather(world: World, value: Any) -> list[Any]:
    """Every process's value, in order of rank, in every process."""
    values: list[Any] = [value] * world.size
    if world.size > 1:
        dist.all_gather_object(values, value)
    return values


def spawn(processes: int, command: list[str]) -> int:
    """Run a command as `processes` processes of this machine that know of each other; the exit code of the first that failed, or 0.

    SIGTERM, SIGINT and SIGUSR1 are handed on, so that a training saves. When one process fails, the others are ended; when this one is
    killed, they get SIGTERM.
    """
    common = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    common.setdefault("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes))))
    started: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, _: Any) -> None:
        for process in started:
            if process.poll() is None:
                process.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        for rank in range(processes):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            environment = {**os.environ, **common, **place}
            started.append(subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=_end_with_parent))
        return _wait(started)
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
        for number, handler in before.items():
            signal.signal(number, handler)


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Linux sends this process SIGTERM once its parent is gone: nobody else would know of it, and it would keep its GPU."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


LAST_WORDS_SECONDS = 30.0
"""How long the other processes have to end by themselves when one failed."""


def _wait(started: list[subprocess.Popen[bytes]]) -> int:
    running = list(started)
    while running:
        for process in running:
            try:
                code = process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
            running.remove(process)
            if code:
                return _end(running, code)
            break
    return 0


def _end(running: list[subprocess.Popen[bytes]], code: int) -> int:
    """Let those that still run end: they fail by themselves as soon as they talk to the one that is gone."""
    codes = [code]
    for process in running:
        try:
            codes.append(process.wait(timeout=LAST_WORDS_SECONDS))
        except subprocess.TimeoutExpired:
            process.kill()
    said = [one for one in codes if one in (1, 2)]
    if not said:
        raise RunFailed(
            f"a process of the training ended with code {code}; run the same command again: it goes on from its last checkpoint"
        )
    return max(said)


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
