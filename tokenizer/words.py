"""Words with their counts: what counting yields and training starts from. A word is a pre-token as UTF-8 bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""The regular expression of Qwen2's tokenizer: letters in one run, each digit alone, the space with the word that follows. Every bulk
encoder knows it, and `pretoken_kernel` makes its splits."""

SCHEMA = pa.schema([("word", pa.string()), ("count", pa.int64())])
"""Columns of the files that counting writes."""


@dataclass(frozen=True)
class Words:
    """Word i is `data[offsets[i]:offsets[i + 1]]` and occurs `counts[i]` times.

    data: uint8; offsets: int64, one more than there are words; counts: int64, all positive. The words are distinct.
    """

    data: np.ndarray
    offsets: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    @staticmethod
    def of(counts: Mapping[bytes, int] | Iterable[tuple[bytes, int]]) -> Words:
        """Words from pairs of bytes and count, in their order."""
        pairs = list(counts.items() if isinstance(counts, Mapping) else counts)
        offsets = np.zeros(len(pairs) + 1, np.int64)
        np.cumsum([len(word) for word, _ in pairs], out=offsets[1:])
        data = np.frombuffer(b"".join(word for word, _ in pairs), np.uint8)
        return Words(data, offsets, np.array([count for _, count in pairs], np.int64))

    @staticmethod
    def from_table(table: pa.Table) -> Words:
        """Words from the columns `word` (string) and `count`."""
        words = table.column("word").cast(pa.large_binary()).combine_chunks()
        if isinstance(words, pa.ChunkedArray):
            words = pa.concat_arrays(words.chunks) if words.num_chunks else pa.array([], pa.large_binary())
        _, offset_buffer, data_buffer = words.buffers()
        count = len(words)
        offsets = np.frombuffer(offset_buffer, np.int64)[words.offset : words.offset + count + 1] if count else np.zeros(1, np.int64)
        data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
        counts = np.ascontiguousarray(table.column("count").to_numpy(), dtype=np.int64)
        return Words(data[offsets[0] : offsets[-1]], offsets - offsets[0], counts)

    def array(self) -> pa.Array:
        """The words as large_binary, over their own memory."""
        buffers = [None, pa.py_buffer(np.ascontiguousarray(self.offsets)), pa.py_buffer(np.ascontiguousarray(self.data))]
        return pa.Array.from_buffers(pa.large_binary(), len(self), buffers)

    def to_table(self) -> pa.Table:
        """The columns `word` and `count` of SCHEMA. The words must be valid UTF-8."""
        return pa.table({"word": self.array().cast(pa.large_string()).cast(pa.string()), "count": self.counts}, schema=SCHEMA)
