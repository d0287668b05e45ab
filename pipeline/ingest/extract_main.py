"""The extractor process: takes HTML pages on standard input and answers each with its main text and marks, one after the other.

It lives apart from the worker because the libraries run C code on hostile input: a page may crash it, fill its memory or never end, and
then only this process dies. Messages are a 4-byte little-endian length and that many bytes; requests hold the page's address, a line feed
and HTML, answers JSON.
"""

from __future__ import annotations

import dataclasses
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

from pipeline.ingest.old_markup import modernise
from pipeline.ingest.page_marks import page_marks

_LENGTH = struct.Struct("<I")
_Extractor = Callable[[str, bool], tuple[str | None, str | None]]
"""Takes HTML, and whether to look for a date; gives main text and date."""

_MAX_TEASER_SHARE = 0.3
"""More teasers than this, and a fallback has taken the list of other articles for the text (docs/extraction.md has the measurement)."""
_MIN_CHARACTERS = 250
"""trafilatura's own MIN_EXTRACTED_SIZE: a shorter text is what the fallbacks are there for."""
_MAX_OPENING = 50
"""Characters in which trafilatura looks for the html tag."""
_MAX_DATE = "2099-12-31"
"""htmldate's own bound is today, which would make results depend on the day of the run."""


def main(extractor: str, include_tables: bool, favor: str, seconds: float, memory_bytes: int) -> None:
    """Serve until standard input closes.

    The kernel ends the process with SIGPROF when one page has used `seconds` of CPU time: a timer of CPU time doesn't depend on the load
    of the machine, and C code can't put it off.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    extract = _resiliparse() if extractor == "resiliparse" else _trafilatura(extractor == "trafilatura-fast", include_tables, favor)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    pages: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, pages), daemon=True).start()
    _send(answers, {"ready": True})
    while True:
        url, html = pages.get()
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer = _answer(extract, url, html)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(answers, answer)


def _answer(extract: _Extractor, url: str, html: str) -> dict[str, Any]:
    """The result of one page. Every exception of the library is an answer: it is reported as that page's error, never swallowed."""
    try:
        answer: dict[str, str | None] = dataclasses.asdict(page_marks(html, url or None))
        answer["text"], date = extract(html, answer["date"] is None)
        answer["date"] = answer["date"] or date
        return {name: _clean(value) for name, value in answer.items()}
    except MemoryError:
        return {"memory": True}
    except RecursionError:
        return {"error": "its elements are nested too deeply"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def _receive(stream: IO[bytes], pages: queue.SimpleQueue[tuple[str, str]]) -> None:
    """Read ahead, so that the worker never blocks while it sends; leave when the worker is gone."""
    while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
        url, _, html = stream.read(_LENGTH.unpack(head)[0]).decode("utf-8", "replace").partition("\n")
        pages.put((url, html))
    os._exit(0)


def _send(stream: IO[bytes], answer: dict[str, Any]) -> None:
    content = orjson.dumps(answer)
    stream.write(_LENGTH.pack(len(content)) + content)
    stream.flush()


def _trafilatura(fast: bool, include_tables: bool, favor: str) -> _Extractor:
    """trafilatura, with its fallbacks to readability and justext unless `fast`; dates that no mark gives by htmldate."""
    from htmldate import find_date
    from trafilatura import bare_extraction, load_html
    from trafilatura.settings import Document

    def text_of(tree: Any, fast: bool) -> str:
        document = bare_extraction(
            tree,
            fast=fast,
            include_comments=False,
            include_tables=include_tables,
            favor_precision=favor == "precision",
            favor_recall=favor == "recall",
        )
        return (document.text if isinstance(document, Document) else None) or ""

    def extract(html: str, find: bool) -> tuple[str | None, str | None]:
        # A page that doesn't open with its html tag is taken for something else, and one block without it for nothing.
        tree = load_html(html if "html" in html[:_MAX_OPENING].lower() else f"<html>{html}")
        if tree is None:
            return None, None
        date = find_date(tree, extensive_search=False, original_date=True, max_date=_MAX_DATE) if find else None
        modernise(tree)
        text = text_of(tree, fast)
        if not fast and _teaser_share(text) > _MAX_TEASER_SHARE:
            own = text_of(tree, fast=True)
            if len(own) >= _MIN_CHARACTERS and _teaser_share(own) <= _MAX_TEASER_SHARE:
                text = own
        return text, date

    return extract


def _teaser_share(text: str) -> float:
    """Share of characters in lines that break off with an ellipsis, as the previews of other articles do."""
    return sum(len(line) for line in text.splitlines() if line.rstrip(" \xa0]»>").endswith(("…", "..."))) / max(1, len(text))


def _resiliparse() -> _Extractor:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    def extract(html: str, find: bool) -> tuple[str | None, str | None]:
        text = extract_plain_text(HTMLTree.parse(html), main_content=True, alt_texts=False, preserve_formatting=True)
        return text, None

    return extract


def _clean(text: str | None) -> str | None:
    """Text that UTF-8 can hold: HTML can name lone surrogates by character reference."""
    return None if text is None else text.encode("utf-8", "replace").decode()
