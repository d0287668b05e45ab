"""The evaluation of tokenizers as aligned tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.aligned import aligned
from pipeline.report.text import count, visible
from tokenizer.evaluate import Evaluation, Row


def render(evaluation: Evaluation) -> str:
    """Aligned tables for a terminal: the vocabularies, the languages, and tokens per word by genre."""
    first, second = evaluation.parallel_columns
    blocks = [
        _aligned(
            ["tokenizer", "tokens", "special", "partial", "KS X 1001", "syllables", "twice (space)", f"parity {first}/{second}"],
            [
                [
                    visible(one.tokenizer, 30),
                    count(one.vocabulary),
                    count(one.special_tokens),
                    count(one.partial_tokens),
                    count(one.syllables_common),
                    count(one.syllables),
                    percent(one.space_duplicates),
                    number(one.parity),
                ]
                for one in evaluation.tokenizers
            ],
        )
    ]
    for language in evaluation.languages:
        whole = [row for row in evaluation.rows if row.language == language and row.genre is None]
        blocks.append(
            f"{visible(language, 20)}: {count(whole[0].documents)} texts, {whole[0].bytes / 1e6:,.1f} MB, {count(whole[0].words)} words"
        )
        blocks.append(_language_table(whole))
        blocks.append(_genre_table(evaluation, language))
    for reason, rows in evaluation.skipped.items():
        blocks.append(f"left out: {count(rows)} rows with {visible(reason, 60)}")
    return "\n\n".join(block for block in blocks if block)


def _language_table(rows: Sequence[Row]) -> str:
    tops = list(rows[0].single_token_rate)
    header = [
        "tokenizer",
        "tokens/word",
        "bytes/token",
        "chars/token",
        "partial",
        "Rényi",
        "unused",
        *(f"top {most:,} one token" for most in tops),
    ]
    cells = [
        [
            visible(row.tokenizer, 30),
            number(row.tokens_per_word),
            number(row.bytes_per_token),
            number(row.characters_per_token),
            percent(row.partial_rate),
            number(row.renyi_efficiency),
            percent(row.unused_share),
            *(percent(row.single_token_rate[most]) for most in tops),
        ]
        for row in rows
    ]
    return _aligned(header, cells)


def _genre_table(evaluation: Evaluation, language: str) -> str:
    genres = sorted({row.genre for row in evaluation.rows if row.language == language and row.genre is not None})
    names = [one.tokenizer for one in evaluation.tokenizers]
    cells = []
    for genre in genres:
        rows = [evaluation.row(name, language, genre) for name in names]
        size = next((row.bytes for row in rows if row), 0)
        cells.append([visible(genre, 30), f"{size / 1e6:,.2f}", *(number(row.tokens_per_word if row else None) for row in rows)])
    return _aligned(["tokens/word, genre", "MB", *(visible(name, 18) for name in names)], cells) if len(genres) > 1 else ""


def number(value: float | None) -> str:
    """Three decimals, – for none."""
    return "–" if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A share in percent with two decimals, – for none."""
    return "–" if value is None else f"{100 * value:.2f} %"


def _aligned(header: list[str], rows: list[list[str]]) -> str:
    """A table with a rule below its header, as wide as its columns."""
    widths = [max(len(line[place]) for line in [header, *rows]) for place in range(len(header))]
    return "\n".join(aligned([header, ["-" * width for width in widths], *rows]))
