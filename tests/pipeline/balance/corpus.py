"""Small random corpora as kept shards, for the tests of balance."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.schema import arrow_schema, conform
from pipeline.shards import file_facts
from pipeline.splits import DOCUMENTS, Part, Split

COLUMNS = frozenset({"id", "source", "file", "position", "url", "text", "text_bytes", "lang", "domain", "quality", "rehydration_weight"})


def documents(count: int, seed: int = 0, languages: Sequence[str | None] = ("ko", "en", "mixed", "ja", None)) -> list[dict[str, Any]]:
    """Rows with skewed domains and sizes; a text is `text_bytes` ASCII letters."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        size = int(chance.lognormvariate(5, 1)) + 1
        rows.append(
            {
                "id": f"{seed}-{number:06d}",
                "source": "toy",
                "file": "toy.jsonl",
                "position": number,
                "url": f"https://example.com/{number}",
                "text": "x" * size,
                "text_bytes": size,
                "lang": chance.choices(languages, [5, 4, 1, 1, 1][: len(languages)])[0],
                "domain": chance.choices(["news", "law", "science", None], [6, 3, 2, 1])[0],
                "quality": chance.choice([None, chance.random()]),
                "rehydration_weight": chance.choice([None, 1, 1, 2, 5]),
            }
        )
    return rows


def table_of(rows: list[dict[str, Any]], columns: frozenset[str] = COLUMNS) -> pa.Table:
    """The rows as a document table."""
    names = sorted(columns)
    return conform(pa.table({name: [row[name] for row in rows] for name in names}), arrow_schema(columns))


def shard(folder: Path, name: str, rows: list[dict[str, Any]], columns: frozenset[str] = COLUMNS) -> Split:
    """The rows as a kept shard on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    pq.write_table(table_of(rows, columns), path, row_group_size=100)
    facts = file_facts(path)
    return Split(name, (Part(str(path), f"kept/{name}.parquet", DOCUMENTS, "", facts["xxh3"], facts["bytes"]),))


def shards(folder: Path, rows: list[dict[str, Any]], count: int) -> list[Split]:
    """The rows dealt to `count` shards."""
    return [shard(folder, f"split-{index:02d}", rows[index::count]) for index in range(count)]
