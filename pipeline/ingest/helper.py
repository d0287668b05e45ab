"""The worker's end of the extractor process: start it, send it pages, and put it right after a page that broke it."""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any, NamedTuple, cast

import orjson

from pipeline.errors import RunFailed

_LENGTH = struct.Struct("<I")
_START = """
import json, sys
start = json.loads(sys.argv[1])
sys.path[:] = start["path"]
from pipeline.ingest.extract_main import main
main(**start["options"])
"""
_LINE_FEED = "\n"
_WALL_FACTOR = 30
_START_SECONDS = 300
_SEND_BYTES = 1 << 22
_MAX_ANSWER_BYTES = 1 << 30


class Page(NamedTuple):
    """A decoded page and the address it was fetched from (empty: unknown), against which its relative addresses are resolved."""

    html: str
    url: str = ""


@dataclass(frozen=True)
class Options:
    """What an extractor process is started with; see the fields of `Extract`."""

    extractor: str
    include_tables: bool
    favor: str
    seconds: float
    memory_bytes: int


class _Gone(Exception):
    """The process ended, or was ended after giving no answer; `reason` completes "the extractor ..."."""

    def __init__(self, reason: str, retry: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry = retry


class Helper:
    """One extractor process of this worker. It ends when the worker ends, however that happens: its input closes."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.served = 0
        self._log: IO[bytes] | None = None

    def extract(self, pages: Sequence[Page]) -> list[dict[str, Any]]:
        """One answer per page: `text` and the fields of `Marks`, or `error`. Raises RunFailed when the process can't be started."""
        with self.lock:
            answers: list[dict[str, Any]] = []
            while len(answers) < len(pages):
                answers += self._pass(_prefix(pages[len(answers) :]))
            return answers

    def close(self) -> None:
        """End the process, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _pass(self, pages: Sequence[bytes]) -> list[dict[str, Any]]:
        """Answers to the first pages, ending with the one that broke the process (then it restarts on the next call).

        A crash or lack of memory may be the doing of earlier pages: the page gets a second try in a fresh process, so that its fate
        doesn't depend on its neighbours.
        """
        answers: list[dict[str, Any]] = []
        try:
            process = self._running()
            try:
                stdin = cast(IO[bytes], process.stdin)
                stdin.write(b"".join(_LENGTH.pack(len(page)) + page for page in pages))
                stdin.flush()
            except BrokenPipeError as error:
                raise self._ended() from error
            for _ in pages:
                answer = self._receive(self.options.seconds * _WALL_FACTOR + 60)
                if answer.get("memory"):
                    raise _Gone(f"ran out of its {self.options.memory_bytes} bytes of memory", retry=True)
                answers.append(answer)
                self.served += 1
        except _Gone as gone:
            fresh = self.served == 0
            self.close()
            if fresh or not gone.retry:
                answers.append({"error": gone.reason})
        return answers

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is not None:
            return self.process
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        command = [sys.executable, "-c", _START, orjson.dumps({"path": sys.path, "options": asdict(self.options)}).decode()]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self.served = 0
        try:
            self._receive(_START_SECONDS)
        except _Gone as gone:
            self._log.seek(0)
            lines = self._log.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
            self.close()
            raise RunFailed(
                f"the extractor process could not start ({gone.reason}: {lines[-1] if lines else 'no message'}); "
                f"check that {self.options.extractor} is installed (onnuri doctor) and that memory is left"
            ) from gone
        return self.process

    def _receive(self, seconds: float) -> dict[str, Any]:
        length = _LENGTH.unpack(self._read(_LENGTH.size, seconds))[0]
        if length > _MAX_ANSWER_BYTES:
            raise _Gone("gave an answer of impossible size", retry=True)
        answer: dict[str, Any] = orjson.loads(self._read(length, seconds))
        return answer

    def _read(self, count: int, seconds: float) -> bytes:
        descriptor = cast(IO[bytes], cast("subprocess.Popen[bytes]", self.process).stdout).fileno()
        content = b""
        while len(content) < count:
            if not select.select([descriptor], [], [], seconds)[0]:
                raise _Gone(f"gave no answer in {seconds:.0f} s", retry=False)
            piece = os.read(descriptor, count - len(content))
            if not piece:
                raise self._ended()
            content += piece
        return content

    def _ended(self) -> _Gone:
        code = self.process.wait() if self.process is not None else 0
        if code == -signal.SIGPROF:
            return _Gone(f"timed out after {self.options.seconds:g} s of CPU time", retry=False)
        return _Gone(f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}", retry=True)


_helpers: dict[tuple[int, Options], Helper] = {}
_helpers_lock = threading.Lock()


def helper_for(options: Options) -> Helper:
    """The helper of this process for these options: one per worker, started on first use. A forked child gets its own."""
    with _helpers_lock:
        return _helpers.setdefault((os.getpid(), options), Helper(options))


def _prefix(pages: Sequence[Page]) -> list[bytes]:
    """The first pages as UTF-8, up to 4 MiB in all and at least one: several pages per write, and bounded memory on the other side."""
    found: list[bytes] = []
    size = 0
    for page in pages:
        content = f"{page.url.partition(_LINE_FEED)[0]}{_LINE_FEED}{page.html}".encode("utf-8", "replace")
        if found and size + len(content) > _SEND_BYTES:
            break
        found.append(content)
        size += len(content)
    return found
