"""A toy reader and stages for tests of the engine: importable, so that spawned workers can unpickle them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.schema import with_columns
from pipeline.splits import Part, Split
from pipeline.stage import decide

COLUMNS = frozenset({"id", "text", "words"})


def split(name: str, rows: int, poison: str = "") -> Split:
    """A split whose rows the toy reader makes up: `rows` of them, the first with the text `poison`."""
    return Split(name, (Part(path=poison, name=name, format="toy", source="toy", fingerprint=f"{rows}{poison}", size=rows),))


@dataclass(frozen=True)
class ToyReader:
    version: ClassVar[str] = "1"
    batch_rows: int = 10

    def __call__(self, split: Split) -> Iterator[pa.Table]:
        part = split.parts[0]
        for start in range(0, part.size, self.batch_rows):
            numbers = range(start, min(start + self.batch_rows, part.size))
            texts = [part.path if part.path and number == 0 else f"text {number}" for number in numbers]
            errors = ["no text in record" if number % 11 == 5 else None for number in numbers]
            ids = [f"{split.name}-{number}" for number in numbers]
            yield with_columns(pa.table({"id": ids}), {"text": texts, "error": errors})


@dataclass(frozen=True)
class DropEverySeventh:
    name: ClassVar[str] = "seventh"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    writes: ClassVar[frozenset[str]] = frozenset({"words"})
    modulus: int = 7

    def __call__(self, table: pa.Table) -> pa.Table:
        numbers = [int(text.split()[-1]) if text.split()[-1].isdigit() else 1 for text in table.column("text").to_pylist()]
        table = with_columns(table, {"words": [2] * len(table)})
        return decide(table, "drop_reason", pa.array([number % self.modulus == 0 for number in numbers]), "seventh")


@dataclass(frozen=True)
class Poisoned:
    """Does to its worker what the text of a row says."""

    name: ClassVar[str] = "poisoned"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    writes: ClassVar[frozenset[str]] = frozenset()
    marker: str = ""

    def __call__(self, table: pa.Table) -> pa.Table:
        texts = table.column("text").to_pylist()
        if "raise" in texts:
            raise IndexError("a hostile record")
        if "user" in texts:
            raise UserError("the model file is not there; give another one")
        if "kill" in texts or ("kill once" in texts and not Path(self.marker).exists()):
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if "lose" in texts:
            return table.slice(1)
        return table


@dataclass(frozen=True)
class TouchTask:
    """A step's task: writes one file and says how many bytes it has."""

    name: str
    content: str
    inputs: tuple[str, ...] = ()

    def __call__(self, folder: Path) -> dict[str, Any]:
        (folder / f"{self.name}.txt").write_text(self.content, encoding="utf-8")
        return {"bytes": len(self.content)}


def kept_ids(table: pa.Table) -> list[str]:
    ids: list[str] = pc.cast(table.column("id"), pa.string()).to_pylist()
    return ids
