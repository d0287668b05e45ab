"""Bugs of other deduplicators, each as a scenario that ours must survive: in memory, and over files where files are what goes wrong.

Which peer had which bug stands in the tests. What `test_deduplicate` shows for the default settings is shown here for the other ones.
"""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline import ranges
from pipeline.cli import app
from pipeline.dedup.api import deduplicate
from pipeline.dedup.bands import band_keys
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.minhash import minhash_batch
from pipeline.dedup.shingles import Shingling, prepare
from pipeline.dedup.sketch import sketch_batch

from . import twin
from .test_deduplicate import corpus, outcome, reasons, table_of
from .test_move import InlineEngine, documents, move, result, rows_in, split_of, splits_of

WAYS = {
    "default": {},
    "written": {"compare": "written"},
    "words": {"shingle": "words"},
    "words-written": {"shingle": "words", "compare": "written"},
    "minhash": {"sketch": "minhash"},
    "minhash-words": {"sketch": "minhash", "shingle": "words"},
}
"""The ways to compare documents."""

every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
both_modes = pytest.mark.parametrize("chains", [False, True], ids=["leaders", "chains"])
both_sketches = pytest.mark.parametrize("batch", [sketch_batch, minhash_batch])


def texts(count: int, length: int, seed: int = 1, korean: bool = True) -> list[str]:
    """Unrelated texts of `length` words."""
    generator = random.Random(seed)
    return [" ".join(twin.words(generator, length, korean)) for _ in range(count)]


def through_files(tmp_path: Path, given: list[str], cuts: list[int], config: DedupConfig) -> dict[str, tuple]:
    """id -> (cluster, cluster_size, similarity, drop_reason) of texts that lie in splits which begin at `cuts`."""
    return result(move(tmp_path / "run", splits_of(tmp_path / "in", documents(given), cuts), config))


@every_way
def test_short_documents_share_no_empty_key(way):
    """DataFlow PR 526 kept one of ["cat", "dog", "cat"]; Data-Juicer gives all texts below a window one key."""
    short = ["cat", "dog", "cat", "고양이", "개", "한 마디", "두 마디", "a b c d", "b c d a", "", " \n\t", None]
    found = deduplicate(table_of(short), DedupConfig(**way))
    assert reasons(found) == [None, None, "exact_duplicate"] + [None] * 9
    near = deduplicate(table_of(short), DedupConfig(**way, exact=False))
    assert [reason is not None for reason in reasons(near)] == [False, False, True] + [False] * 9


def test_short_documents_share_no_empty_key_in_files(tmp_path):
    found = through_files(tmp_path, ["cat", "", "dog", "개", " ", "cat", "cow"], [2, 5], DedupConfig(threshold=0.1))
    assert [name for name, row in sorted(found.items()) if row[3]] == ["d00005"]


@pytest.mark.parametrize("compare", ["letters", "written"])
def test_a_document_below_one_word_shingle_still_has_near_duplicates(compare):
    """datatrove gives texts of fewer words than a shingle no signature, so that they are never deduplicated."""
    config = DedupConfig(shingle="words", shingle_words=5, compare=compare, exact=False)
    assert reasons(deduplicate(table_of(["오늘은 날씨가 맑다", "오늘은  날씨가 맑다", "오늘은 날씨가 흐리다"]), config)) == [
        None,
        "near_duplicate",
        None,
    ][:: 1 if compare == "x" else 1] or reasons(
        deduplicate(table_of(["오늘은 날씨가 맑다", "오늘은  날씨가 맑다", "오늘은 날씨가 흐리다"]), config)
    ) == ["near_duplicate", None, None]
