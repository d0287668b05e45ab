"""Importance of documents for a target: how much likelier the target's texts are to hold a document's n-grams than the corpus is.

Data Selection with Importance Resampling (Xie et al. 2023, arXiv:2302.03169, section 4): n-grams are hashed into buckets, target and
corpus are each a distribution over the buckets, and a document's log importance weight is the sum over its n-grams of
log p_target - log p_raw. What an n-gram is, is said in docs/mixtures.md and done in `importance_kernel`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from decontam.arrow import text_buffers
from pipeline.documents import usable_documents
from pipeline.errors import UserError
from pipeline.files import find_files
from pipeline.ingest.formats import detected_format
from pipeline.splits import Split, parts_of

Counts = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
Texts: TypeAlias = pa.Array | pa.ChunkedArray

BUCKETS = 1 << 16
"""Hash buckets. The paper's 10,000 are for English words alone; six times as many find 2 to 5 points more of a target's documents in
both languages (docs/mixtures.md) and, at 512 KB, cost no speed."""

MAX_BYTES = 10_000
"""UTF-8 bytes of a document that are read. With 2,000 to 100,000 of them the Korean figures lie within a point of each other, and the
English ones rise up to here by four (docs/mixtures.md); the bound keeps a book of 3 MB from costing as much as 300 pages."""


def ngram_counts(texts: Texts, buckets: int = BUCKETS, max_bytes: int = MAX_BYTES) -> Counts:
    """How often each bucket occurs in a column of strings: int64[buckets]. Counts of several columns may be added in any order.

    A null is an empty text. Raises DecontamError for a column that holds no text.
    """
    from pipeline.balance.importance_kernel import code_table, count_buckets

    data, offsets = text_buffers(texts)
    counts = np.zeros(buckets, np.int64)
    count_buckets(data, offsets, max_bytes, code_table(), counts)
    return counts


def log_ratio(target: Counts, raw: Counts) -> Reals:
    """log p_target - log p_raw of each bucket: float64[buckets], from int64[buckets] each.

    p_raw has one more count in each bucket (Laplace). p_target has one more per bucket too, but spread as the corpus is, not evenly: a
    target of which little is known has the ratio 0 everywhere, and a bucket that neither holds says nothing. (The paper's 1e-8 for an
    empty bucket is log p of -18: whether a document is chosen then hangs on a few n-grams that a small target happens to lack.)
    Raises ValueError for arrays of different lengths.
    """
    if len(target) != len(raw):
        raise ValueError(f"the target has {len(target)} buckets and the corpus {len(raw)}; count both with the same number")
    buckets = len(raw)
    p_raw = (raw + 1) / (raw.sum() + buckets)
    p_target = (target + buckets * p_raw) / (target.sum() + buckets)
    return np.log(p_target) - np.log(p_raw)


def importance(texts: Texts, ratio: Reals, max_bytes: int = MAX_BYTES) -> tuple[Reals, Counts]:
    """(sums, grams): per text the sum of its n-grams' log ratios, float64[n], and how many n-grams it has, int64[n]; 0 and 0 if empty.

    sums is the paper's log weight; it grows with the length of a text. Over texts of unequal length, order by sums / sqrt(grams), as
    `per_root` gives it: sums prefers long texts, and the mean per n-gram short ones (docs/mixtures.md measures all three).
    A text's sum is added in text order: it is the same in any batch. Raises DecontamError for a column that holds no text.
    """
    from pipeline.balance.importance_kernel import code_table, sum_ratios

    data, offsets = text_buffers(texts)
    sums, grams = np.zeros(len(offsets) - 1, np.float64), np.zeros(len(offsets) - 1, np.int64)
    sum_ratios(data, offsets, max_bytes, code_table(), np.ascontiguousarray(ratio, np.float64), sums, grams)
    return sums, grams


def per_root(sums: Reals, grams: Counts) -> Reals:
    """sums / sqrt(grams), float64[n]; 0 for an empty text.

    Were n-grams drawn independently from the corpus, the spread of a sum would grow as the root of their number: this is the sum in
    units of that spread.
    """
    return sums / np.sqrt(np.maximum(grams, 1))


def read_target(patterns: Sequence[str], text_column: str = "text", buckets: int = BUCKETS, max_bytes: int = MAX_BYTES) -> Counts:
    """Counts of the target's texts (int64[buckets]), each once: JSONL or Parquet files, folders, globs or URLs, with or without ids.

    Raises UserError for a file that is neither, or has no such column, and where no file holds a text.
    """
    counts = np.zeros(buckets, np.int64)
    for table in target_tables(patterns, text_column):
        counts += ngram_counts(table.column("text"), buckets, max_bytes)
    check_target(counts, patterns, text_column)
    return counts


def target_tables(patterns: Sequence[str], text_column: str) -> Iterator[pa.Table]:
    """The target's documents as the readers give them: with `text`, and with `lang` where a record says it. Raises UserError as
    `read_target` does."""
    for file in find_files(patterns):
        format_ = detected_format(file)
        if format_ not in ("jsonl", "parquet"):
            raise UserError(f"'{file.path}' is no JSONL or Parquet, which a target must be; run `onnuri ingest` on it first")
        parts = parts_of([file], "", {file.path: format_}, text_column, "id", keep_ids=False)
        yield from usable_documents(Split("target", tuple(parts)), ("text",))


def check_target(counts: Counts, patterns: Sequence[str], text_column: str) -> None:
    """Raises UserError for a target without any n-gram."""
    if not counts.any():
        raise UserError(f"no document of the target {', '.join(patterns)} has a text in '{text_column}'; check the files and that name")
