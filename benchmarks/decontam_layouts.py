"""How many multiple-choice items are found on a page, by how the page writes their choices and by how the reader spells the items out.

Each item becomes a page of its own between two lines of other text; it counts as found if a decisive match of that very item is in it.

    python benchmarks/decontam_layouts.py ../shared/data
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from decontam import Scanner, build_index, decisive, read_benchmarks
from decontam.readers import read_rows

SETS = ("mmlu_test", "kobest_copa_test", "kobest_hellaswag_test")
LABELS: dict[str, Callable[[int], str]] = {
    "one a line": lambda place: "",
    "A. ": lambda place: f"{chr(65 + place)}. ",
    "(a) ": lambda place: f"({chr(97 + place)}) ",
    "1) ": lambda place: f"{place + 1}) ",
    "①": lambda place: chr(0x2460 + place),
    "가. ": lambda place: f"{'가나다라마바사아자차'[place]}. ",
}


def main() -> None:
    folder = Path(sys.argv[1]) / "benchmarks"
    print("| set | choices | items | plain text alone | as read |\n|---|---|---|---|---|")
    for name in SETS:
        path = folder / f"{name}.jsonl.gz"
        records = [record for _, record in read_rows(path)]
        items = read_benchmarks(path)
        _, plain = np.unique(items["item"].to_numpy(zero_copy_only=False).astype(str), return_index=True)
        scanners = [Scanner(build_index(table)) for table in (items.take(np.sort(plain)), items)]
        for label, write in LABELS.items():
            pages = pa.array([_page(record, write) for record in records], pa.large_string())
            shares = [_found(scanner, pages, [str(record["id"]) for record in records]) for scanner in scanners]
            print(f"| {name} | `{label}` | {len(records)} | {shares[0]:.3f} | {shares[1]:.3f} |", flush=True)


def _page(record: dict, write: Callable[[int], str]) -> str:
    choices = "\n".join(f"{write(place)}{choice}" for place, choice in enumerate(record["choices"]))
    return f"Welcome to the quiz of the week.\n\n{record['question']}\n{choices}\n\nSee you again next week!"


def _found(scanner: Scanner, pages: pa.Array, ids: list[str]) -> float:
    matches = scanner.scan(pages)
    matches = matches.filter(decisive(matches))
    own = {row for row, item in zip(matches["row"].to_pylist(), matches["item"].to_pylist(), strict=True) if ids[row] == item}
    return len(own) / len(ids)


if __name__ == "__main__":
    main()
