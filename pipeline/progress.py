"""What a user sees while a run goes on: a progress bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

LINE_SECONDS = 10.0
"""Plain progress lines come at most this often, so that a log stays readable."""


class Progress:
    """Prints to standard error, so that results on standard output can be piped. `quiet` prints nothing."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False)
        self.bars = self.console.is_terminal and not quiet

    def say(self, line: str) -> None:
        """One plain line."""
        if not self.quiet:
            self.console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def segment(self, name: str, total: int, done: int) -> Iterator[_Bar]:
        """Follow one segment of `total` splits, of which `done` were finished by an earlier run."""
        if not self.bars:
            bar = _Bar(self, name, total, done)
            yield bar
            bar.finish()
            return
        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[facts]}"),
        )
        with RichProgress(*columns, console=self.console) as rich:
            identifier = rich.add_task(name, total=total, completed=done, facts="")

            def show(bar: _Bar) -> None:
                rich.update(identifier, completed=bar.done, facts=bar.facts())

            bar = _Bar(self, name, total, done, show)
            yield bar


class _Bar:
    def __init__(self, progress: Progress, name: str, total: int, done: int, show: Any = None) -> None:
        self.progress, self.name, self.total, self.done, self.skipped = progress, name, total, done, done
        self.rows = self.bytes = 0
        self.kept: int | None = None
        self._show, self._started, self._last = show, time.monotonic(), time.monotonic()

    def advance(self, receipt: dict[str, Any]) -> None:
        """One split more is done."""
        self.done += 1
        self.rows += receipt.get("rows_in", 0)
        self.bytes += receipt.get("bytes_in", 0)
        if isinstance(kept := receipt.get("kept"), dict):
            self.kept = (self.kept or 0) + kept["rows"]
        if self._show:
            self._show(self)
        elif self.done < self.total and time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            self.progress.say(self.line())

    def facts(self) -> str:
        """Rows and speed so far."""
        seconds = max(time.monotonic() - self._started, 1e-6)
        if not self.rows:
            return ""
        kept = "" if self.kept is None else f", {self.kept:,} kept"
        speed = f", {self.bytes / 1e6 / seconds:.1f} MB/s" if self.bytes else ""
        return f"{self.rows:,} documents{kept}{speed}"

    def line(self) -> str:
        skipped = f" ({self.skipped} already done)" if self.skipped else ""
        facts = f": {self.facts()}" if self.rows else ""
        return f"{self.name}: {self.done}/{self.total} splits{skipped}{facts}"

    def finish(self) -> None:
        self.progress.say(f"{self.line()} in {time.monotonic() - self._started:.1f} s")
