"""Which language and domain of the mix each document belongs to, and how many tokens it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.balance.config import OTHER, UNKNOWN_LANGUAGE
from pipeline.balance.sample import Counts, estimated_tokens
from pipeline.schema import BY_NAME

Codes = npt.NDArray[np.int64]

MOST_COPIES = 1_000_000
"""Most that a document counts for: times the most epochs it still fits 32 bits."""


@dataclass(frozen=True)
class Documents:
    """The columns of a batch that balance decides by, one entry per document.

    languages / domains: distinct values, indexed by language_code / domain_code. mix_languages: what each of `languages` counts as.
    tokens: estimated, -1 where the language has no bytes_per_token. quality: NaN where there is none that is finite. copies: how often the
    document counts where a phase rehydrates, 1 or more. importance: log importance weights by phase, where a phase has target texts.
    """

    languages: list[str]
    mix_languages: list[str]
    domains: list[str]
    language_code: Codes
    domain_code: Codes
    text_bytes: Counts
    tokens: Counts
    quality: npt.NDArray[np.float64]
    copies: Counts
    importance: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)


def describe(table: pa.Table, language_of: Mapping[str, str], bytes_per_token: Mapping[str, float]) -> Documents:
    """Read language, domain, quality and size from a batch of documents; absent columns count as all null."""
    languages, language_code = coded(column_of(table, "lang"), UNKNOWN_LANGUAGE)
    domains, domain_code = coded(column_of(table, "domain"), OTHER)
    mix_languages = [language_of.get(language, language) for language in languages]
    rates = np.array([bytes_per_token.get(language, np.nan) for language in mix_languages], np.float64)[language_code]
    sizes: Any = column_of(table, "text_bytes")
    if "text_bytes" not in table.column_names and "text" in table.column_names:
        sizes = pc.binary_length(table.column("text")).cast(pa.int64())
    filled: Any = pc.fill_null(sizes, 0)
    text_bytes = filled.to_numpy()
    quality: Any = pc.fill_null(column_of(table, "quality"), float("nan"))
    scores = np.where(np.isfinite(quality.to_numpy()), quality.to_numpy(), np.nan)
    copies: Any = pc.fill_null(column_of(table, "rehydration_weight"), 1)
    counted = np.clip(copies.to_numpy().astype(np.int64), 1, MOST_COPIES)
    tokens = estimated_tokens(text_bytes, rates)
    return Documents(languages, mix_languages, domains, language_code, domain_code, text_bytes, tokens, scores, counted)


def column_of(table: pa.Table, name: str) -> Any:
    """The chunked column of the document table's type, all null where the table lacks it."""
    type_: Any = BY_NAME[name].type
    return table.column(name).cast(type_) if name in table.column_names else pa.chunked_array([pa.nulls(len(table), type_)])


def coded(column: Any, absent: str) -> tuple[list[str], Codes]:
    """Distinct values and each row's index into them; null counts as `absent`."""
    filled: Any = pc.fill_null(column, absent)
    encoded = filled.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
