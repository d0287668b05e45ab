"""A stub of an OpenAI-compatible server on loopback, with faults on demand."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]
Behaviour = Callable[[int, str], Reply | str]
"""(number of the request, its user message) -> status, headers, body; or the name of a fault: slow, drip, reset."""


def completion(content: Any, usage: dict[str, int] | None = None) -> Reply:
    """A chat completion that says `content`; usage: 100 prompt and 10 answer tokens unless given ({}: none)."""
    counted = {"prompt_tokens": 100, "completion_tokens": 10} if usage is None else usage
    body: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return 200, {}, json.dumps(body | ({"usage": counted} if counted else {})).encode()


def error(status: int, headers: dict[str, str] | None = None, body: bytes = b'{"error": "no"}') -> Reply:
    return status, headers or {}, body


class Stub:
    """What the server was asked."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour, self.lock = behaviour, threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.url = ""

    @property
    def asked(self) -> Counter[str]:
        """How often each user message came."""
        return Counter(request["messages"][-1]["content"] for request in self.requests)


@contextmanager
def stub(behaviour: Behaviour) -> Iterator[Stub]:
    """A server on a free port of 127.0.0.1 until the end of the block."""
    state = Stub(behaviour)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                number = len(state.requests)
                state.requests.append(body | {"path": self.path})
                state.headers.append(dict(self.headers))
                state.times.append(time.monotonic())
            reply = state.behaviour(number, body["messages"][-1]["content"])
            if reply == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            if reply == "slow":
                time.sleep(1.0)
                reply = completion('{"score": 1}')
            if reply == "drip":
                self._drip()
                return
            status, headers, data = reply
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _drip(self) -> None:
            self.send_response(200)
            self.end_headers()
            for _ in range(40):
                self.wfile.write(b" ")
                time.sleep(0.05)

        def handle(self) -> None:
            with suppress(OSError, ValueError):  # the client left, or the fault closed the connection
                super().handle()

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
