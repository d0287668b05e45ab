"""The line that people watch while a model trains: a bar on a terminal, now and then a plain line elsewhere. The first process's alone."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.report import text

LINE_SECONDS = 10.0
"""Plain lines come at most this often, so that a log stays readable."""


class Watch:
    """Prints to standard error. `quiet` prints nothing."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._name, self._steps, self._begun, self._first, self._last = "", 0, 0.0, 0, 0.0

    def say(self, line: str) -> None:
        """One plain line."""
        if not self._quiet:
            self._console.print(line, markup=False, soft_wrap=True)

    def begin(self, name: str, steps: int, done: int) -> None:
        """A stage of so many steps begins or goes on."""
        self.end()
        self._name, self._steps, self._first, self._begun = name, steps, done, time.monotonic()
        if self._console.is_terminal and not self._quiet:
            columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[facts]}"))
            self._bar = Progress(*columns, console=self._console)
            self._bar.add_task(name, total=steps, completed=done, facts="")
            self._bar.start()

    def step(self, done: int, line: dict[str, Any]) -> None:
        """Show a line of the log after `done` steps of the stage."""
        facts = "  ".join([*facts_of(line), f"{text.duration(self._left(done))} left"])
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=done, facts=facts)
        elif time.monotonic() - self._last >= LINE_SECONDS or done == self._steps:
            self._last = time.monotonic()
            self.say(f"{self._name}  {done:,}/{self._steps:,}  {facts}")

    def end(self) -> None:
        """The stage is over, or the training ends."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _left(self, done: int) -> float:
        return (time.monotonic() - self._begun) / max(done - self._first, 1) * (self._steps - done)


def facts_of(line: dict[str, Any]) -> list[str]:
    """The numbers of a step's line that matter, each as a few words."""
    words = [f"loss {line['loss']:.3f}" if line["loss"] is not None else "loss not finite"]
    words += [f"{language} {facts['loss']:.3f}" for language, facts in line["languages"].items() if len(line["languages"]) > 1]
    words += [f"lr {line['learning_rate']:.2e}", f"{text.short_count(line['tokens_per_second'])} tok/s"]
    if line["mfu"] is not None:
        words.append(f"MFU {line['mfu']:.1%}")
    return words
