"""Range-partitioned files: every row is read by exactly one of the tasks that share a range."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from pipeline import ranges
from pipeline.ranges import Range, SortedWriter, read_arrays, read_range, write_sorted

SCHEMA = pa.schema([pa.field("key", pa.uint64()), pa.field("row", pa.uint32())])


def table_of(keys: np.ndarray) -> pa.Table:
    return pa.table([np.sort(keys), np.arange(len(keys), dtype=np.uint32)], schema=SCHEMA)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 300])
def test_parts_cover_every_number_once(parts):
    limit = 1 << 64
    bounds = [(Range(part, parts, limit).first, Range(part, parts, limit).last) for part in range(parts)]
    assert bounds[0][0] == 0 and bounds[-1][1] == limit - 1
    assert all(before[1] + 1 == after[0] for before, after in pairwise(bounds))
    covered = [number for part in range(parts) for number in range(Range(part, parts, 100).first, Range(part, parts, 100).last + 1)]
    assert covered == list(range(100))


@pytest.mark.parametrize("parts", [1, 3, 16])
def test_parts_read_all_rows_of_several_runs_once(tmp_path, monkeypatch, parts):
    monkeypatch.setattr(ranges, "MIN_ROW_GROUP", 16)
    generator = np.random.default_rng(3)
    runs = [generator.integers(0, 1 << 64, 5000, dtype=np.uint64), np.array([0, (1 << 64) - 1, 5, 5], np.uint64), np.zeros(0, np.uint64)]
    with SortedWriter(tmp_path / "a.parquet", SCHEMA, "key") as writer:
        for run in runs:
            writer.write(table_of(run))
    found = []
    for part in range(parts):
        here = Range(part, parts, 1 << 64)
        keys, rows = read_arrays([str(tmp_path / "a.parquet")] * 2, "key", here.first, here.last, SCHEMA)
        assert len(keys) == len(rows) and all(here.first <= int(key) <= here.last for key in keys)
        found.append(keys)
    assert sorted(np.concatenate(found)) == sorted(np.concatenate([*runs, *runs]))


def test_a_range_reads_only_the_row_groups_that_may_hold_it(tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "MIN_ROW_GROUP", 10)
    write_sorted(tmp_path / "a.parquet", table_of(np.arange(100_000, dtype=np.uint64)), "key")
    tables = list(read_range(str(tmp_path / "a.parquet"), "key", 5000, 5999, ["row"]))
    assert sum(len(table) for table in tables) == 1000 and len(tables) <= 4
    assert all(set(table.column_names) == {"key", "row"} for table in tables)
    assert list(read_range(str(tmp_path / "a.parquet"), "key", 200_000, 300_000)) == []
