"""Tokenizers measured side by side on the same texts, by language and genre, in batches: memory is bounded by the vocabularies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline.balance.config import UNKNOWN_LANGUAGE
from pipeline.errors import UserError
from pipeline.inputs import Inputs
from pipeline.settings import Settings
from pipeline.splits import Split
from tokenizer import metrics
from tokenizer.baselines import Encoder, load_encoder
from tokenizer.texts import Skipped, plan_texts, read_texts

MOST_GROUPS = 64
"""Pairs of language and genre told apart: each keeps one count per token of every tokenizer. What comes later is counted as OTHER."""

OTHER = "other"

PARALLEL = "parallel"
"""Genre of the texts of the parallel file."""

_LANGUAGE_OF_PATH = re.compile("([a-z]{2,3})=(?=.)")
"""ISO 639 code in front of a path; `lang=ko/part.parquet`, a folder that names its column, is none."""

_WHOLE_FILES = 1 << 50
"""Bytes of a split: no file is cut, so that a limit holds for a file."""


class EvaluateConfig(Settings):
    """What is compared, and on which texts."""

    tokenizers: tuple[str, ...] = Field((), description="Folders of tokenizers, tokenizer.json files or rank files; NAME=PATH names one")
    baselines: tuple[str, ...] = Field((), description="More of the same, listed behind them: NAME=FILE.tiktoken.gz")
    texts: tuple[str, ...] = Field((), description="Files, globs or folders of Parquet or JSONL; ko=PATH for texts without a column lang")
    parallel: tuple[str, ...] = Field((), description="Parquet or JSONL that holds the same text in two languages, a column for each")
    parallel_columns: tuple[str, str] = Field(
        ("ko", "en"), description="Those columns, which name the languages; parity is first over second"
    )
    text_column: str = Field("text", description="Column that holds the text")
    id_column: str = Field("id", description="Column that holds the id")
    limit_bytes: int | None = Field(None, gt=0, description="Read about the first so many bytes of text of every file; null reads all")
    top_words: tuple[int, ...] = Field((1_000, 10_000), description="Sizes of the lists of most frequent words for the single-token rate")
    renyi_alpha: float = Field(metrics.RENYI_ALPHA, gt=0, description="Order of the Rényi efficiency")


@dataclass(frozen=True)
class TokenizerFacts:
    """What can be said of a tokenizer without a text, and its parity on the parallel one.

    syllables_common, syllables: tokens that are one Hangul syllable, of the 2,350 of KS X 1001 and of all 11,172.
    """

    tokenizer: str
    engine: str
    vocabulary: int
    special_tokens: int
    partial_tokens: int
    syllables_common: int
    syllables: int
    space_duplicates: float | None
    parity: float | None


@dataclass(frozen=True)
class Row:
    """The measures of one tokenizer on one text: a genre of a language, or, where `genre` is None, all of the language.

    single_token_rate, single_token_rate_bare: STRR of the language's most frequent words by length of that list, with and without a
    leading space; over all words where it has fewer; empty for a genre.
    """

    tokenizer: str
    language: str
    genre: str | None
    documents: int
    bytes: int
    characters: int
    words: int
    tokens: int
    tokens_per_word: float | None
    bytes_per_token: float | None
    characters_per_token: float | None
    partial_rate: float | None
    renyi_efficiency: float | None
    unused_share: float | None
    single_token_rate: dict[int, float | None]
    single_token_rate_bare: dict[int, float | None]


@dataclass(frozen=True)
class Evaluation:
    """tokenizers: in the order given. rows: by language, its genres behind it, and within that by tokenizer."""

    tokenizers: tuple[TokenizerFacts, ...]
    rows: tuple[Row, ...]
    parallel_columns: tuple[str, str]
    skipped: dict[str, int]

    @property
    def languages(self) -> list[str]:
        """The languages measured, sorted."""
        return sorted({row.language for row in self.rows})

    def as_json(self) -> dict[str, Any]:
        """The evaluation as plain data."""
        return asdict(self)

    def row(self, tokenizer: str, language: str, genre: str | None = None) -> Row | None:
        """The row of a tokenizer on a language, or on one genre of it."""
        return next((row for row in self.rows if (row.tokenizer, row.language, row.genre) == (tokenizer, language, genre)), None)


@dataclass
class _Counts:
    """Sums over the texts of a group: sizes, and for each tokenizer how often each of its ids occurred."""

    frequencies: list[np.ndarray]
    documents: int = 0
    bytes: int = 0
    characters: int = 0
    words: int = 0

    def add(self, texts: pa.Array, encoders: Sequence[Encoder]) -> None:
        size, characters, words = metrics.text_size(texts)
        self.documents += len(texts)
        self.bytes, self.characters, self.words = self.bytes + size, self.characters + characters, self.words + words
        for encoder, frequencies in zip(encoders, self.frequencies, strict=True):
            ids, _ = encoder.encode(texts)
            frequencies += np.bincount(ids, minlength=len(frequencies))

    def plus(self, other: _Counts) -> _Counts:
        frequencies = [one + more for one, more in zip(self.frequencies, other.frequencies, strict=True)]
        sums = (self.documents + other.documents, self.bytes + other.bytes, self.characters + other.characters, self.words + other.words)
        return _Counts(frequencies, *sums)


@dataclass
class Measurement:
    """Texts given in batches, measured with every encoder; `result` says how they did."""

    encoders: Sequence[Encoder]
    top_words: tuple[int, ...] = (1_000, 10_000)
    renyi_alpha: float = metrics.RENYI_ALPHA
    skipped: Skipped = field(default_factory=Skipped)
    _groups: dict[tuple[str, str], _Counts] = field(default_factory=dict)
    _words: dict[str, metrics.WordTable] = field(default_factory=dict)
    _parity: list[float | None] = field(default_factory=list)

    def add(self, texts: pa.Array, language: str, genre: str) -> None:
        """Measure a large_string array of one language and genre."""
        key = (language, genre)
        if key not in self._groups and len(self._groups) >= MOST_GROUPS:
            key = (OTHER, OTHER)
        if key not in self._groups:
            self._groups[key] = _Counts([np.zeros(encoder.vocabulary_size, np.int64) for encoder in self.encoders])
        self._groups[key].add(texts, self.encoders)
        self._words.setdefault(key[0], metrics.WordTable()).add(texts)

    def add_parallel(self, texts: dict[str, pa.Array]) -> None:
        """Measure the same text in two languages, row by row; its parity is that of the first to the second."""
        for language, side in texts.items():
            self.add(side, language, PARALLEL)
        one, other = ([len(encoder.encode(side)[0]) for encoder in self.encoders] for side in texts.values())
        self._parity = [metrics.parity(*tokens) for tokens in zip(one, other, strict=True)]

    def result(self, parallel_columns: tuple[str, str] = ("ko", "en")) -> Evaluation:
        """The measures of all texts so far."""
        tokens = [encoder.token_bytes() for encoder in self.encoders]
        partial = [metrics.partial_tokens(one) for one in tokens]
        facts = []
        for place, encoder in enumerate(self.encoders):
            common, syllables = metrics.syllable_coverage(tokens[place])
            facts.append(
                TokenizerFacts(
                    tokenizer=encoder.name,
                    engine=encoder.engine,
                    vocabulary=encoder.vocabulary_size,
                    special_tokens=int(np.sum(metrics.byte_lengths(tokens[place]) == 0)),
                    partial_tokens=int(partial[place].sum()),
                    syllables_common=common,
                    syllables=syllables,
                    space_duplicates=metrics.space_duplicates(tokens[place]),
                    parity=self._parity[place] if self._parity else None,
                )
            )
        rows: list[Row] = []
        for language in sorted(self._words):
            genres = {genre: counts for (of, genre), counts in sorted(self._groups.items()) if of == language}
            whole = next(iter(genres.values()))
            for counts in list(genres.values())[1:]:
                whole = whole.plus(counts)
            for genre, counts in [(None, whole), *genres.items()]:
                for place, encoder in enumerate(self.encoders):
                    rows.append(self._row(encoder, language, genre, counts, place, tokens[place], partial[place]))
        return Evaluation(tuple(facts), tuple(rows), parallel_columns, dict(sorted(self.skipped.rows.items())))

    def _row(
        self, encoder: Encoder, language: str, genre: str | None, counts: _Counts, place: int, tokens: list[bytes], partial: np.ndarray
    ) -> Row:
        frequencies = counts.frequencies[place]
        total = int(frequencies.sum())
        words = self._words[language].top(max(self.top_words, default=0)) if genre is None else []
        rates = [
            {most: metrics.single_token_rate(encoder, words[:most], spaced) for most in self.top_words} if words else {}
            for spaced in (True, False)
        ]
        return Row(
            tokenizer=encoder.name,
            language=language,
            genre=genre,
            documents=counts.documents,
            bytes=counts.bytes,
            characters=counts.characters,
            words=counts.words,
            tokens=total,
            tokens_per_word=metrics.tokens_per_word(total, counts.words),
            bytes_per_token=metrics.bytes_per_token(counts.bytes, total),
            characters_per_token=metrics.characters_per_token(counts.characters, total),
            partial_rate=metrics.partial_rate(frequencies, partial),
            renyi_efficiency=metrics.renyi_efficiency(frequencies, int(np.sum(metrics.byte_lengths(tokens) > 0)), self.renyi_alpha),
            unused_share=metrics.unused_share(frequencies, tokens),
            single_token_rate=rates[0],
            single_token_rate_bare=rates[1],
        )


def run_evaluation(config: EvaluateConfig) -> Evaluation:
    """Load the tokenizers, read the texts, and measure.

    Raises UserError where there is nothing to compare or to measure on, for a file that can't be used, and for parallel columns that have
    no pair.
    """
    encoders = load_encoders((*config.tokenizers, *config.baselines))
    if not config.texts and not config.parallel:
        raise UserError("onnuri tokenizer evaluate: there is nothing to measure on; give files with --texts or --parallel")
    measurement = Measurement(encoders, config.top_words, config.renyi_alpha)
    measured = 0
    for texts, language, genre in _batches(config, measurement.skipped):
        measurement.add(texts, language, genre)
        measured += len(texts)
    if config.texts and not measured:
        left_out = ", ".join(f"{rows:,} rows with {reason}" for reason, rows in sorted(measurement.skipped.rows.items()))
        raise UserError(f"{config.texts[0]} and what else was given hold no text ({left_out or 'no rows'}); give other files with --texts")
    if config.parallel:
        measurement.add_parallel(_read_parallel(config))
    return measurement.result(config.parallel_columns)


def load_encoders(given: Sequence[str]) -> list[Encoder]:
    """The tokenizers named by PATH or NAME=PATH. Raises UserError for none, for two of one name, and for a file that is none."""
    if not given:
        raise UserError(
            "onnuri tokenizer evaluate: there is no tokenizer to measure; give a folder, or a rank file with --baseline NAME=FILE"
        )
    encoders: list[Encoder] = []
    for one in given:
        name, separator, path = one.partition("=")
        encoder = load_encoder(Path(path), name) if separator and not Path(one).exists() else load_encoder(Path(one))
        if any(encoder.name == other.name for other in encoders):
            raise UserError(f"two tokenizers are called '{encoder.name}'; name one of them otherwise, as in other={path or one}")
        encoders.append(encoder)
    return encoders


def _batches(config: EvaluateConfig, skipped: Skipped) -> Iterator[tuple[pa.Array, str, str]]:
    """Texts of one language and genre each, in the order of the files' names."""
    by_language: dict[str | None, list[str]] = {}
    for one in config.texts:
        given = _LANGUAGE_OF_PATH.match(one)
        by_language.setdefault(given[1] if given else None, []).append(one[given.end() :] if given else one)
    for language, paths in by_language.items():
        for part in _files(paths, config.text_column, config.id_column):
            for table in _limited(read_texts(part, ("lang", "domain", "source"), skipped), config.limit_bytes):
                yield from _grouped(table, language)


def _files(paths: Sequence[str], text_column: str, id_column: str) -> Iterator[Split]:
    """Each file as a split of its own."""
    for split in plan_texts(Inputs(paths, text_column, id_column), _WHOLE_FILES):
        for part in split.parts:
            yield Split(split.name, (part,))


def _limited(tables: Iterator[pa.Table], limit_bytes: int | None) -> Iterator[pa.Table]:
    """Tables until their texts have `limit_bytes`; the row that reaches it is the last."""
    before = 0
    for table in tables:
        if limit_bytes is not None:
            ends = before + np.cumsum(pc.binary_length(table.column("text")).to_numpy())
            table = table.slice(0, int(np.searchsorted(ends, limit_bytes)) + 1)
            before = int(ends[-1])
        yield table
        if limit_bytes is not None and before >= limit_bytes:
            return


def _grouped(table: pa.Table, language: str | None) -> Iterator[tuple[pa.Array, str, str]]:
    """The table's texts by language (that of all its rows, if given) and genre."""
    said = pa.repeat(pa.scalar(language), len(table)) if language else pc.fill_null(table.column("lang"), UNKNOWN_LANGUAGE)
    genres = pc.fill_null(pc.coalesce(table.column("domain"), table.column("source")), OTHER)
    keyed = pa.table({"language": said, "genre": genres})
    pairs = keyed.group_by(["language", "genre"], use_threads=False).aggregate([]).to_pylist()
    for key in sorted((pair["language"], pair["genre"]) for pair in pairs):
        chosen = pc.and_(pc.equal(keyed.column("language"), key[0]), pc.equal(keyed.column("genre"), key[1]))
        yield _one_chunk(table.column("text").filter(chosen)), *key


def _read_parallel(config: EvaluateConfig) -> dict[str, pa.Array]:
    """The pairs of texts, all in memory, as one array for each language. Raises UserError where there is none."""
    columns, named = config.parallel_columns, "name its columns with --set parallel_columns=[ko,en]"
    if columns[0] == columns[1]:
        raise UserError(f"both columns of the parallel text are called '{columns[0]}'; {named}")
    sides = []
    for column in columns:
        tables = [
            table.select(["file", "position", "text"])
            for part in _files(config.parallel, column, config.id_column)
            for table in _limited(read_texts(part, ("file", "position"), Skipped()), config.limit_bytes)
        ]
        sides.append(pa.concat_tables(tables) if tables else None)
    left, right = sides
    pairs = left.join(right, ["file", "position"], join_type="inner", right_suffix="_other") if left and right else None
    if not pairs:
        raise UserError(f"'{config.parallel[0]}' has no row with text in both '{columns[0]}' and '{columns[1]}'; {named}")
    pairs = pairs.sort_by([("file", "ascending"), ("position", "ascending")])
    return {column: _one_chunk(pairs.column(name)) for column, name in zip(columns, ("text", "text_other"), strict=True)}


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined
