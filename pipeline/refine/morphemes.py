"""Count Korean by morphemes instead of spaces, with the analyser Kiwi: what FineWeb2's Korean thresholds were made for.

The morphemes of each document, parted by blanks, become a text of their own, and the ordinary signals are measured on it. Definitions
follow datatrove, which FineWeb2 was filtered with; docs/rules.md says where they differ.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.refine.signals import measure
from pipeline.schema import with_columns

HANGUL_SHARE = 0.05
"""Rows with a smaller `hangul_ratio` are not Korean, and their morpheme columns stay null (the border of `mixed` in language.py)."""

PIECE_CHARS = 4096
"""Kiwi sees at most so many characters at once: its time grows with the square of a run without blanks, and its memory with the text.
Pieces end at a line feed where there is one, else at a blank, so that words are cut only in runs longer than this."""

MAX_CHARS = 1 << 20
"""Characters of a document that are looked at: four times what FineWeb2's ceiling of 100,000 morphemes needs, and a minute of work at
most."""

STOP_MORPHEMES = frozenset(
    ("의", "다", "이", "는", "에", "을", "한", "년", "하", "은", "를", "했", "고", "에서", "가", "있", "으로", "인", "월", "로", "되")
)
"""FineWeb2, configs/kor_Hang.yml: as they stand in the text, so `했` counts and not its parts 하 and 었."""

_WORD_MARKS = frozenset({"SL", "SH", "SN"})
"""Tags that begin with S but are words: Latin, Han and digits. The others are punctuation and symbols."""

_GRAMS = {
    f"{kind}_{n}morpheme_char_ratio": f"{kind}_{n}gram_char_ratio"
    for kind, sizes in (("top", (2, 3, 4)), ("dup", (5, 6, 7, 8, 9, 10)))
    for n in sizes
}
"""Our repetition columns, and the signals that they are when measured on morphemes."""

COLUMNS = (
    "morphemes", "mean_morpheme_length", "alpha_morpheme_ratio", "symbol_morpheme_ratio", "stop_morphemes", "newline_morpheme_ratio",
    *_GRAMS,
)  # fmt: skip
"""What `Morphemes` writes."""


def kiwi_version() -> str:
    """The installed Kiwi and its model, as part of a run's identity: other versions part words otherwise.

    Raises UserError where kiwipiepy isn't installed.
    """
    try:
        return f"kiwipiepy {metadata.version('kiwipiepy')}, model {metadata.version('kiwipiepy_model')}"
    except metadata.PackageNotFoundError as error:
        raise UserError(
            "refine.kiwi needs the package kiwipiepy, which isn't installed; install onnuri[korean] or set kiwi: false"
        ) from error


@functools.lru_cache(maxsize=1)
def _kiwi() -> Any:
    from kiwipiepy import Kiwi

    return Kiwi(num_workers=1)


def pieces(text: str) -> Iterator[str]:
    """The text in parts of at most PIECE_CHARS characters, up to MAX_CHARS; nothing between parts is lost."""
    start, end = 0, min(len(text), MAX_CHARS)
    while end - start > PIECE_CHARS:
        limit = start + PIECE_CHARS
        cut = text.rfind("\n", start, limit) + 1 or text.rfind(" ", start, limit) + 1 or limit
        yield text[start:cut]
        start = cut
    yield text[start:end]


@dataclass(frozen=True)
class _Parted:
    """One document as morphemes. joined: those with blanks between; marks, mark_chars: how many are punctuation, and their length."""

    joined: str
    marks: int
    mark_chars: int
    stop: int


def _part(kiwi: Any, text: str) -> _Parted:
    found: list[str] = []
    marks = mark_chars = 0
    for piece in pieces(text):
        for token in kiwi.tokenize(piece):
            # Kiwi may join letters over a blank; a blank inside would make two words of one morpheme.
            surface = "".join(piece[token.start : token.end].split())
            if surface:
                found.append(surface)
                if token.tag[0] == "S" and token.tag not in _WORD_MARKS:
                    marks += 1
                    mark_chars += len(surface)
    return _Parted(" ".join(found), marks, mark_chars, len(STOP_MORPHEMES.intersection(found)))


def measure_morphemes(texts: list[str]) -> dict[str, np.ndarray]:
    """Every column of COLUMNS for these texts: int64 or float64, one value per text; a share of nothing is 0.

    Repeated characters are divided by the characters of the text itself, blanks included, as datatrove does.
    """
    kiwi = _kiwi()
    parted = [_part(kiwi, text) for text in texts]
    chars = np.array([min(len(text), MAX_CHARS) for text in texts], np.int64)
    newlines = np.array([text.count("\n", 0, MAX_CHARS) for text in texts], np.int64)
    symbols = np.array([sum(text.count(sign, 0, MAX_CHARS) for sign in ("#", "...", "…")) for text in texts], np.int64)
    marks = np.array([one.marks for one in parted], np.int64)
    signals = measure(pa.array([one.joined for one in parted], pa.large_string()))
    every = np.asarray(signals["words"], np.int64)
    counted = every - marks
    counted_chars = np.rint(signals["mean_word_length"] * every) - np.array([one.mark_chars for one in parted], np.int64)
    joined_per_char = signals["chars"] / np.maximum(chars, 1)
    return {
        "morphemes": counted,
        "mean_morpheme_length": counted_chars / np.maximum(counted, 1),
        "alpha_morpheme_ratio": np.asarray(signals["alpha_word_ratio"], np.float64),
        "symbol_morpheme_ratio": symbols / np.maximum(every, 1),
        "stop_morphemes": np.array([one.stop for one in parted], np.int64),
        "newline_morpheme_ratio": newlines / np.maximum(every, 1),
        **{column: signals[signal] * joined_per_char for column, signal in _GRAMS.items()},
    }


@dataclass(frozen=True)
class Morphemes:
    """The stage that counts the morphemes of rows with Hangul; it decides nothing. kiwi: what `kiwi_version()` says."""

    kiwi: str

    name: ClassVar[str] = "morphemes"
    version: ClassVar[str] = "1"
    reads: ClassVar[frozenset[str]] = frozenset({"text", "hangul_ratio"})
    writes: ClassVar[frozenset[str]] = frozenset(COLUMNS)

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with the columns of COLUMNS; null where `hangul_ratio` is under HANGUL_SHARE or null.

        Raises UserError where this process has another Kiwi than the run was planned with.
        """
        installed = kiwi_version()
        if installed != self.kiwi:
            raise UserError(f"this worker has {installed}, and the run was planned with {self.kiwi}; install the same on every machine")
        korean = pc.fill_null(pc.greater_equal(table.column("hangul_ratio"), HANGUL_SHARE), False)
        selected = np.asarray(korean.combine_chunks(), bool)
        texts = table.column("text").filter(korean).fill_null("").to_pylist()
        measured = measure_morphemes(texts) if texts else {}
        columns = {}
        for name in COLUMNS:
            values = np.zeros(len(table), measured[name].dtype if texts else np.float64)
            if texts:
                values[selected] = measured[name]
            columns[name] = pa.array(values, mask=~selected)
        return with_columns(table, columns)
