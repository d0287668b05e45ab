"""Say which language each document and its paragraphs are in: by script where Hangul decides, else by a detector on a bounded sample.

Hangul is written in Korean only, so a share of letters is better evidence than any model, at any length. Without Hangul a model
decides: py3langid's as shipped (reasons and numbers in docs/language.md), or a fastText model of the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipeline.refine.detector import SURE_SCORE, Detector, detector
from pipeline.refine.signals import text_buffers
from pipeline.schema import LANGUAGE_SHARE, with_columns
from pipeline.stage import decide

WINDOWS = 3
"""The detector sees the start, the middle and the end of a long document, so its cost is bounded."""
WINDOW_BYTES, WIDE_WINDOW_BYTES = 128, 512
"""Short windows settle nearly every document; one scored below SURE_SCORE is looked at again through the wide ones (docs/language.md)."""


@dataclass(frozen=True)
class Identified:
    """Languages of a table's rows. language: codes (object array); score: float64; shares: as in `paragraph_langs`."""

    language: np.ndarray
    score: np.ndarray
    shares: pa.ListArray


def identify(texts: pa.ChunkedArray, model_path: str | None = None) -> Identified:
    """Language and score of every document, and the shares of its paragraphs' languages.

    The score of `ko` and `mixed` is the share of letters that are Hangul or Latin; otherwise it is the detector's.
    """
    from pipeline.refine import paragraphs_kernel as kernel

    data, offsets = text_buffers(texts)
    rows = len(offsets) - 1
    scripts = np.zeros((rows, 3), np.int64)
    groups = np.zeros((rows, kernel.GROUPS), np.int64)
    examples = np.zeros((rows, 2, kernel.EXAMPLES, 2), np.int64)
    kernel.sort_paragraphs(data, offsets, kernel.letter_table(), scripts, groups, examples)

    group = np.array([kernel.script_group(*counts) for counts in scripts.tolist()], np.int64)
    language = np.full(rows, "und", dtype=object)
    language[group == kernel.KOREAN] = "ko"
    language[group == kernel.MIXED] = "mixed"
    score = (scripts[:, 0] + scripts[:, 1]) / np.maximum(scripts[:, 2], 1)
    detect = detector(model_path)
    asked = np.flatnonzero((group == kernel.LATIN) | (group == kernel.OTHER))
    score[group == kernel.NO_LETTERS] = 0.0
    _detect_documents(detect, data, offsets, asked, language, score)
    names = _group_languages(detect, data, groups, examples, language)
    return Identified(language, score, _shares(groups, names))


def _detect_documents(
    detect: Detector, data: np.ndarray, offsets: np.ndarray, asked: np.ndarray, language: np.ndarray, score: np.ndarray
) -> None:
    """Set language and score of the asked rows, looking twice at long ones that the short windows leave unsure."""
    for window_bytes in (WINDOW_BYTES, WIDE_WINDOW_BYTES):
        spans = [_windows(int(offsets[row]), int(offsets[row + 1]), window_bytes) for row in asked.tolist()]
        for row, (code, sure) in zip(asked.tolist(), detect([_sample(data, windows) for windows in spans]), strict=True):
            language[row], score[row] = code, sure
        longer = offsets[asked + 1] - offsets[asked] > WINDOWS * window_bytes
        asked = asked[longer & (score[asked] < SURE_SCORE)]


def _windows(start: int, end: int, window_bytes: int) -> list[tuple[int, int]]:
    if end - start <= WINDOWS * window_bytes:
        return [(start, end)]
    return [(first, first + window_bytes) for first in (start, (start + end - window_bytes) // 2, end - window_bytes)]


def _sample(data: np.ndarray, windows: Sequence[tuple[int, int]]) -> str:
    return " ".join(data[start:end].tobytes().decode("utf-8", "ignore") for start, end in windows)


def _group_languages(detect: Detector, data: np.ndarray, groups: np.ndarray, examples: np.ndarray, language: np.ndarray) -> np.ndarray:
    """Rows x GROUPS codes (object array): the language of each group of paragraphs that has letters."""
    from pipeline.refine import paragraphs_kernel as kernel

    names = np.full(groups.shape, None, dtype=object)
    names[:, kernel.KOREAN], names[:, kernel.MIXED] = "ko", "mixed"
    alone = (groups > 0).sum(axis=1) == 1
    for number in (kernel.LATIN, kernel.OTHER):
        names[alone, number] = language[alone]
        asked = np.flatnonzero((groups[:, number] > 0) & ~alone)
        samples = [_paragraph_sample(data, examples[row, number - kernel.LATIN]) for row in asked.tolist()]
        names[asked, number] = [code for code, _ in detect(samples)]
    return names


def _paragraph_sample(data: np.ndarray, kept: np.ndarray) -> str:
    """The beginnings of the longest paragraphs, WINDOWS * WINDOW_BYTES together."""
    spans = [(int(start), int(end)) for start, end in kept if end > start]
    room = WINDOWS * WINDOW_BYTES // len(spans)
    return _sample(data, [(start, min(end, start + room)) for start, end in spans])


def _shares(groups: np.ndarray, names: np.ndarray) -> pa.ListArray:
    """`paragraph_langs`: languages with their share of the letters, largest first, of equal ones in alphabetical order."""
    totals = groups.sum(axis=1).tolist()
    lengths, langs, shares = [], [], []
    for letters, codes, total in zip(groups.tolist(), names.tolist(), totals, strict=True):
        by_code: dict[str, int] = {}
        for code, count in zip(codes, letters, strict=True):
            if count:
                by_code[code] = by_code.get(code, 0) + count
        ranked = sorted(by_code.items(), key=lambda pair: (-pair[1], pair[0]))
        lengths.append(len(ranked))
        langs += [code for code, _ in ranked]
        shares += [count / total for _, count in ranked]
    values = pa.StructArray.from_arrays([pa.array(langs, pa.string()), pa.array(shares, pa.float64())], fields=list(LANGUAGE_SHARE))
    return pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(np.array(lengths, np.int32), dtype=np.int32)]).astype(np.int32), values)


def keep_languages(table: pa.Table, keep: Sequence[str], min_score: float) -> pa.Table:
    """`table` with `drop_reason` set by its columns lang and lang_score: `language:xx` for one not in `keep` (empty keeps all), else
    `language_score` below min_score."""
    language = table.column("lang").to_pylist()
    if keep:
        for unwanted in sorted(set(language) - {*keep, None}):
            table = decide(table, "drop_reason", pa.array([code == unwanted for code in language], pa.bool_()), f"language:{unwanted}")
    low = pa.array([score is not None and score < min_score for score in table.column("lang_score").to_pylist()], pa.bool_())
    return decide(table, "drop_reason", low, "language_score")


@dataclass(frozen=True)
class Language:
    """The stage that writes `lang`, `lang_score`, `paragraph_langs` and drops languages not in `keep` and scores below `min_score`.

    keep: language codes, empty for all. model_path: a fastText model that replaces the built-in detector; model_hash: its content
    (`detector.check` returns it), so that a changed file changes the stage's identity.
    """

    keep: tuple[str, ...] = ("ko", "en", "mixed")
    min_score: float = 0.5
    model_path: str | None = None
    model_hash: str = ""

    name: ClassVar[str] = "language"
    version: ClassVar[str] = "3"
    reads: ClassVar[frozenset[str]] = frozenset({"text"})
    writes: ClassVar[frozenset[str]] = frozenset({"lang", "lang_score", "paragraph_langs"})

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with the columns of `writes` and, for rows to drop, the reason `language:xx` or `language_score`."""
        found = identify(table.column("text"), self.model_path)
        table = with_columns(table, {"lang": found.language, "lang_score": found.score, "paragraph_langs": found.shares})
        return keep_languages(table, self.keep, self.min_score)
