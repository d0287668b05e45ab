"""One request to an OpenAI-compatible endpoint: bounded in time and size, tried again where that may help, no key in any message.

Nothing is followed anywhere: a redirect is an error that says where it leads. Proxies of the environment are not used.
"""

from __future__ import annotations

import contextlib
import email.utils
import functools
import http.client
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import SplitResult, urlsplit

import orjson

from pipeline import __version__
from pipeline.errors import UserError
from pipeline.labels.config import JudgeConfig

_PATH = "/chat/completions"

MOST_RESPONSE_BYTES = 4 << 20
"""Longest response that is read; an answer of 100,000 tokens is a tenth of it."""

_BUSY = frozenset({408, 409, 425, 429})
"""Statuses under 500 that may pass: timeout, conflict, too early, too many requests."""

_EXCERPT_CHARS = 200

_MOST_TOKENS = 2**53
"""A usage above it is nonsense: JSON's numbers are exact up to here."""


@dataclass(frozen=True)
class Endpoint:
    """Where requests go. key: the bearer token, empty for none; never part of `repr`, messages or files."""

    scheme: str
    host: str
    port: int | None
    path: str
    key: str = field(default="", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{f':{self.port}' if self.port else ''}{self.path.split('?')[0]}"


@dataclass(frozen=True)
class Answer:
    """What came back: the message's text, and the tokens it cost (None where the endpoint doesn't say)."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None


class Refused(Exception):
    """This request failed and won't work when repeated: the document's fault."""


class Down(Refused):
    """Every try failed in a way that may pass: the server's fault, not the document's."""


class Unreachable(Down):
    """No try brought any answer: nobody listens there, or is silent."""


class Unusable(Exception):
    """The endpoint takes no request of this kind at all (401, 403, 404, a redirect): a wrong address, key or model."""


class _Later(Exception):
    """This try failed and the next may work. seconds: what Retry-After asks for, or None. reached: whether a server answered."""

    def __init__(self, message: str, seconds: float | None = None, reached: bool = True) -> None:
        super().__init__(message)
        self.seconds, self.reached = seconds, reached


def endpoint_of(url: str, key: str) -> Endpoint:
    """The endpoint in a URL such as https://host/v1 (`/chat/completions` is added where it is missing).

    Raises UserError for anything but http and https, for user names or passwords in the address, and for a key that no header can hold.
    """
    try:
        parts: SplitResult = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"the endpoint is not a URL ({error}); give one such as https://host/v1") from error
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch(r"[\x21-\x7e]+", url.strip()):
        raise UserError("the endpoint must be an http:// or https:// address, such as http://localhost:8000/v1")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise UserError("the endpoint holds a user name, password or fragment; give the plain address, and the key by --key-env")
    if "%" in host or port == 0:
        raise UserError("the endpoint holds an IPv6 zone or port 0, which can't be used; give an address without")
    try:
        host.encode("idna")  # what resolving does later: a label is 1 to 63 characters long
    except UnicodeError as error:
        raise UserError("the endpoint's host name has a part that is empty or longer than 63 characters; correct it") from error
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise UserError("the API key holds blanks, line ends or letters that are not ASCII; set the variable to the key alone")
    path = parts.path.rstrip("/")
    path = path if path.endswith(_PATH) else path + _PATH
    return Endpoint(parts.scheme, host, port, f"{path}?{parts.query}" if parts.query else path, key)


def ask(
    endpoint: Endpoint,
    body: dict[str, Any],
    settings: JudgeConfig,
    before_try: Callable[[], None],
    stop: threading.Event,
) -> Answer:
    """Send a request until it is answered or the tries are used up. before_try: called before each (it counts, or raises to end it);
    stop: ends a wait between two tries.

    Raises Refused for a request that failed for good (Down where the tries are used up), Unusable for an endpoint that can't be used.
    """
    payload = orjson.dumps(body)
    attempt = 0
    while True:
        before_try()
        try:
            return _once(endpoint, payload, settings.timeout_seconds)
        except _Later as error:
            if attempt == settings.retries:
                tries = f"{attempt + 1} time{'s' if attempt else ''}"
                kind = Down if error.reached else Unreachable
                raise kind(f"the endpoint {endpoint} failed {tries}: {error}") from error
            wait = settings.backoff_seconds * 2**attempt if error.seconds is None else error.seconds
            stop.wait(min(wait, settings.max_wait_seconds))
            attempt += 1


def _once(endpoint: Endpoint, payload: bytes, seconds: float) -> Answer:
    port = endpoint.port or (443 if endpoint.scheme == "https" else 80)  # without one, http.client takes a piece of an IPv6 address for it
    kind = http.client.HTTPSConnection if endpoint.scheme == "https" else http.client.HTTPConnection
    connection = kind(endpoint.host, port, timeout=seconds)
    expired = threading.Event()
    sockets: list[socket.socket] = []  # the connection forgets its socket once the server announced that it will close it

    def expire() -> None:
        """A socket's own timeout bounds each read, so a server that sends a byte now and then would never end."""
        expired.set()
        for one in sockets:
            with contextlib.suppress(OSError):  # it may be closed already
                one.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": f"onnuri/{__version__}"}
        if endpoint.key:
            headers["Authorization"] = f"Bearer {endpoint.key}"
        connection.connect()
        sockets.append(connection.sock)
        if expired.is_set():  # the timer went off before there was a socket: a slow name server or handshake
            raise TimeoutError
        connection.request("POST", endpoint.path, payload, headers)
        response = connection.getresponse()
        data = response.read(MOST_RESPONSE_BYTES + 1)
        status, retry_after, location = response.status, response.getheader("Retry-After"), response.getheader("Location")
    except ssl.SSLCertVerificationError as error:
        raise Unusable(f"the certificate of {endpoint} can't be verified ({error.verify_message}); check the address") from error
    except (OSError, http.client.HTTPException) as error:
        late = expired.is_set() or isinstance(error, TimeoutError)
        said = f"no complete answer within {seconds:g} s" if late else _clean(str(error) or type(error).__name__, endpoint)
        raise _Later(said, reached=False) from error
    finally:
        timer.cancel()
        connection.close()
    if expired.is_set():
        raise _Later(f"no complete answer within {seconds:g} s", reached=False)
    if len(data) > MOST_RESPONSE_BYTES:
        said = f"the endpoint {endpoint} sent more than {MOST_RESPONSE_BYTES >> 20} MB; that is no answer"
        raise _Later(said) if _may_pass(status) else Refused(said)
    if status != 200:
        _refuse(endpoint, status, retry_after, location, data)
    return _read(endpoint, data)


def _may_pass(status: int) -> bool:
    return status in _BUSY or status >= 500


def _refuse(endpoint: Endpoint, status: int, retry_after: str | None, location: str | None, data: bytes) -> NoReturn:
    """Raise what a status other than 200 means."""
    said = _clean(data.decode("utf-8", "replace"), endpoint)
    if _may_pass(status):
        raise _Later(f"status {status} {said}".strip(), _seconds(retry_after))
    if 300 <= status < 400:
        where = _clean(location or "", endpoint)
        raise Unusable(f"{endpoint} answers with a redirect to '{where}'; redirects are not followed, so give the address itself")
    if status in (401, 403):
        raise Unusable(f"{endpoint} refuses the API key (status {status} {said}); check the variable that --key-env names")
    if status in (404, 405):
        raise Unusable(f"{endpoint} has no such page or model (status {status} {said}); check --endpoint and --model")
    raise Refused(f"the endpoint {endpoint} refused the request: status {status} {said}".strip())


def _read(endpoint: Endpoint, data: bytes) -> Answer:
    """The answer in a response body. Raises _Later for what is no chat completion: proxies answer so when what is behind them is busy."""
    try:
        value = orjson.loads(data)
        text = value["choices"][0]["message"]["content"]
        usage = value.get("usage") or {}
        tokens = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
        said = _clean(data.decode("utf-8", "replace"), endpoint)
        raise _Later(f"the answer is no chat completion: {said or 'it is empty'}") from error
    if text is not None and not isinstance(text, str):
        raise _Later("the answer is no chat completion: its content is no text")
    prompt, completion = (count if type(count) is int and 0 <= count <= _MOST_TOKENS else None for count in tokens)
    text = _without_key(text or "", endpoint.key)
    return Answer(text.encode("utf-8", "replace").decode(), prompt or None, completion)  # no prompt has 0 tokens: that says nothing


def _clean(text: str, endpoint: Endpoint) -> str:
    """The start of what a server said, on one line, printable, and without the key (which goes before the cut)."""
    text = " ".join(_without_key(text, endpoint.key).split())[:_EXCERPT_CHARS]
    return "".join(char if char.isprintable() else " " for char in text)


def _without_key(text: str, key: str) -> str:
    return _spellings(key).sub("***", text) if key else text


@functools.lru_cache(maxsize=4)
def _spellings(key: str) -> re.Pattern[str]:
    """The key as it is, and with any of its characters escaped as JSON (`\\/`, `\\u002f`) or an address (`%2F`) may escape them."""
    return re.compile(
        "".join(
            rf"(?:{re.escape(char)}|(?i:\\u{ord(char):04x}|%{ord(char):02x}){'' if char.isalnum() else rf'|{re.escape(chr(92) + char)}'})"
            for char in key
        )
    )


def _seconds(retry_after: str | None) -> float | None:
    """Seconds that a Retry-After header (a number or an HTTP date, RFC 9110 section 10.2.3) asks for; None for one that can't be read."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
