"""The extractor process: takes HTML pages on standard input and answers each with its main text, one after the other.

It lives apart from the worker because the libraries run C code on hostile input: a page may crash it, fill its memory or never end, and
then only this process dies. Messages are a 4-byte little-endian length and that many bytes; requests hold HTML, answers JSON.
"""

from __future__ import annotations

import os
import queue
import resource
import signal
import struct
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

import orjson

_LENGTH = struct.Struct("<I")


def main(extractor: str, include_tables: bool, favor: str, seconds: float, memory_bytes: int) -> None:
    """Serve until standard input closes.

    The kernel ends the process with SIGPROF when one page has used `seconds` of CPU time: a timer of CPU time doesn't depend on the load
    of the machine, and C code can't put it off.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    extract = _trafilatura(include_tables, favor) if extractor == "trafilatura" else _resiliparse()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    pages: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, pages), daemon=True).start()
    _send(answers, {"ready": True})
    while True:
        html = pages.get()
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer = _answer(extract, html)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(answers, answer)


def _answer(extract: Callable[[str], dict[str, Any]], html: str) -> dict[str, Any]:
    """The result of one page. Every exception of the library is an answer: it is reported as that page's error, never swallowed."""
    try:
        return extract(html)
    except MemoryError:
        return {"memory": True}
    except RecursionError:
        return {"error": "its elements are nested too deeply"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def _receive(stream: IO[bytes], pages: queue.SimpleQueue[str]) -> None:
    """Read ahead, so that the worker never blocks while it sends; leave when the worker is gone."""
    while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
        pages.put(stream.read(_LENGTH.unpack(head)[0]).decode("utf-8", "replace"))
    os._exit(0)


def _send(stream: IO[bytes], answer: dict[str, Any]) -> None:
    content = orjson.dumps(answer)
    stream.write(_LENGTH.pack(len(content)) + content)
    stream.flush()


def _trafilatura(include_tables: bool, favor: str) -> Callable[[str], dict[str, Any]]:
    """trafilatura without its fallbacks to other extractors (`fast`): each text has one author, at about twice the speed."""
    from trafilatura import bare_extraction, extract_metadata, load_html
    from trafilatura.settings import Document

    def extract(html: str) -> dict[str, Any]:
        tree = load_html(html)
        if tree is None:
            return {}
        metadata = extract_metadata(tree, extensive=False)
        document = bare_extraction(
            tree,
            fast=True,
            include_comments=False,
            include_tables=include_tables,
            favor_precision=favor == "precision",
            favor_recall=favor == "recall",
        )
        text = document.text if isinstance(document, Document) else None
        return {"text": _clean(text), "title": _clean(metadata.title), "date": _clean(metadata.date), "url": _clean(metadata.url)}

    return extract


def _resiliparse() -> Callable[[str], dict[str, Any]]:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    def extract(html: str) -> dict[str, Any]:
        tree = HTMLTree.parse(html)
        canonical = tree.head.query_selector("link[rel=canonical]") if tree.head else None
        url = canonical.getattr("href") if canonical else None
        text = extract_plain_text(tree, main_content=True, alt_texts=False, preserve_formatting=True)
        return {"text": _clean(text), "title": _clean(tree.title), "date": None, "url": url if url and url.startswith("http") else None}

    return extract


def _clean(text: str | None) -> str | None:
    """Text that UTF-8 can hold: HTML can name lone surrogates by character reference."""
    return None if text is None else text.encode("utf-8", "replace").decode()
