"""Two engines that run the same tasks: `local`, a pool of worker processes, and `ray`, Ray Data over the list of tasks.

A task is a picklable object with a `name` that is called inside a worker and returns a small JSON-able dict. Rows never pass through here.
Results come back in the order of completion; the caller must not depend on it.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import pickle
import socket
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from pipeline.errors import RunFailed, UserError
from pipeline.measure import Meter, die_with_parent, release_memory

CONNECT_SECONDS = 10.0
"""How long a cluster's head may take to accept a connection."""

ATTEMPTS = 3
"""Times a task is tried when its worker dies (killed, out of memory): once may be chance, three times is the task."""


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what: nothing here changes a byte of the result, except `limit`."""

    engine: str = "local"
    address: str | None = None
    workers: int | None = None
    limit: int | None = None


class Task(Protocol):
    """One unit of work. `name` is unique among the tasks of a call."""

    @property
    def name(self) -> str: ...

    def __call__(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Outcome:
    """What a task came to: its result, or the sentence and traceback of its failure."""

    name: str
    result: dict[str, Any] | None
    error: str = ""
    user_error: bool = False
    trace: str = ""

    def value(self) -> dict[str, Any]:
        """The result. Raises UserError or RunFailed with the task's sentence if there is none."""
        if self.result is None:
            raise (UserError if self.user_error else RunFailed)(self.error)
        return self.result


class Engine(Protocol):
    """Runs tasks on `workers` workers and yields each outcome as it arrives."""

    name: str
    workers: int

    def map(self, tasks: Sequence[Task]) -> Iterator[Outcome]: ...

    def close(self) -> None: ...


def run_task(task: Task) -> Outcome:
    """Call a task here, with its time and memory measured; failures become an Outcome that names the task."""
    meter = Meter()
    try:
        result = task()
    except UserError as error:
        return Outcome(task.name, None, str(error), user_error=True)
    except RunFailed as error:
        return Outcome(task.name, None, str(error), trace=traceback.format_exc())
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        hint = "free space and run again: finished splits are kept" if error.errno == 28 else "mend that and run again"
        return Outcome(task.name, None, f"split {task.name}: {error.strerror or error}{where}; {hint}", trace=traceback.format_exc())
    except Exception as error:
        sentence = f"split {task.name} failed with {type(error).__name__}: {error}; this is a bug, please report it with the trace"
        return Outcome(task.name, None, sentence, trace=traceback.format_exc())
    facts = meter.facts()
    release_memory()
    return Outcome(task.name, result | facts)


class LocalEngine:
    """A pool of worker processes on this machine, started at the first call. A worker that dies costs its task one attempt, no more."""

    name = "local"

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self._idle: list[_Worker] = []

    def map(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        waiting: deque[tuple[Task, int]] = deque((task, 1) for task in tasks)
        busy: dict[Any, tuple[_Worker, Task, int]] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < self.workers:
                    task, attempt = waiting.popleft()
                    worker = self._idle.pop() if self._idle else _Worker()
                    if not worker.send(task):
                        waiting.appendleft((task, attempt))
                        continue
                    busy[worker.pipe] = (worker, task, attempt)
                for pipe in multiprocessing.connection.wait(list(busy)):
                    worker, task, attempt = busy.pop(pipe)
                    outcome = worker.receive()
                    if outcome is not None:
                        self._idle.append(worker)
                        yield outcome
                    elif attempt < ATTEMPTS:
                        waiting.append((task, attempt + 1))
                    else:
                        yield Outcome(
                            task.name,
                            None,
                            f"split {task.name}: its worker died {ATTEMPTS} times ({worker.end()}); "
                            "give it more memory or lower split_bytes, then run again",
                        )
        finally:
            for worker, _, _ in busy.values():
                worker.kill()

    def close(self) -> None:
        for worker in self._idle:
            worker.kill()
        self._idle = []


class _Worker:
    """One spawned process that runs tasks sent over a pipe until the pipe closes."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=False)
        self._process.start()
        theirs.close()

    def send(self, task: Task) -> bool:
        """False when the worker is gone."""
        try:
            self.pipe.send_bytes(pickle.dumps(task))
        except OSError:
            self.kill()
            return False
        return True

    def receive(self) -> Outcome | None:
        """The outcome of the task it was sent, or None when the worker died over it."""
        try:
            outcome: Outcome = self.pipe.recv()
        except (EOFError, OSError):
            self.kill()
            return None
        return outcome

    def end(self) -> str:
        code = self._process.exitcode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def kill(self) -> None:
        self.pipe.close()
        self._process.kill()
        self._process.join()


def _serve(pipe: multiprocessing.connection.Connection, parent: int) -> None:
    """A worker's life. It holds no state between tasks but caches of models and compiled kernels."""
    die_with_parent(parent)
    limit_threads()
    while True:
        try:
            task = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        except KeyboardInterrupt:
            return
        pipe.send(run_task(task))


def limit_threads() -> None:
    """One thread per worker: parallelism comes from workers, and more threads would only contend."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pa.set_cpu_count(1)
    pa.set_io_thread_count(2)


class RayEngine:
    """Ray Data over the list of tasks: scheduling, retries and clusters are Ray's; which tasks are done is known from what came back."""

    name = "ray"

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._start(address, workers)
        import ray

        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))

    def _start(self, address: str | None, workers: int | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
        try:
            import ray
        except ImportError as error:
            raise UserError(f"the ray engine needs the package 'ray' ({error}); install it, or use --engine local") from error
        if ray.is_initialized():
            self._owned = False
            return
        self._owned = True
        _require_answer(address)
        try:
            if address is None:
                cpus = workers or len(os.sched_getaffinity(0))
                ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            else:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = f"at '{address}'" if address else "on this machine"
            raise UserError(
                f"can't reach or start Ray {where}: {str(error).splitlines()[0]}; check the address and RAY_AUTH_MODE"
            ) from error

    def map(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        import ray

        left = {task.name: task for task in tasks}
        for attempt in range(1, ATTEMPTS + 1):
            try:
                for outcome in self._pass(list(left.values())):
                    left.pop(outcome.name, None)
                    yield outcome
            except (ray.exceptions.RayError, ray.exceptions.UserCodeException) as error:
                if attempt == ATTEMPTS:
                    raise RunFailed(
                        f"Ray failed {ATTEMPTS} times with {len(left)} splits left ({type(error).__name__}); "
                        "look at `ray status`, then run again: finished splits are kept"
                    ) from error
            if not left:
                return

    def _pass(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        if not tasks:
            return
        import ray

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # after ray.data is imported, which sets levels of its own
        rows = [{"task": pickle.dumps(task)} for task in tasks]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(_run_row, num_cpus=1)
        for row in dataset.iter_rows():
            yield Outcome(**json.loads(row["outcome"]))

    def close(self) -> None:
        if self._owned:
            import ray

            ray.shutdown()


def _require_answer(address: str | None) -> None:
    """Raises UserError at once when nothing listens at host:port; Ray itself would try for minutes."""
    host, separator, port = (address or "").removeprefix("ray://").rpartition(":")
    if not separator or not port.isdigit():
        return  # none, `auto`, or a form that Ray resolves
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers at '{address}' ({error}); check the address, or leave --address out to start Ray here"
        ) from error


def _run_row(row: dict[str, Any]) -> dict[str, Any]:
    """One row of the Ray dataset: a task in, its outcome as JSON out."""
    limit_threads()
    outcome = run_task(pickle.loads(row["task"]))
    return {"outcome": json.dumps(vars(outcome))}


def start_engine(name: str, workers: int | None, address: str | None) -> Engine:
    """The engine that a run asked for. Raises UserError for an unknown name or a Ray that can't be reached."""
    if name == "local":
        return LocalEngine(workers)
    if name == "ray":
        return RayEngine(address, workers)
    raise UserError(f"engine '{name}' is not known; use local or ray")
