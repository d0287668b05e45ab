"""The evaluation of tokenizers as one HTML page without scripts or anything from elsewhere, as a plot (SVG), and as JSON beside them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipeline.errors import RunFailed
from pipeline.report import text
from pipeline.report.line_chart import HEAD, Frame, Line, drawing, line_chart
from pipeline.report.text import visible
from pipeline.segment import write_json
from tokenizer.evaluate import Evaluation
from tokenizer.evaluation_table import number, percent

LANGUAGES_DRAWN = 6
"""Languages in the plot, those with most text; the tables have all."""

_WIDTH, _NAME_WIDTH, _GAP, _MARGIN = 960, 170, 40, 20
_LINE, _TREND_HEIGHT = 22, 260

_STYLE = """
.plot .first { fill: #0068a8; } .plot .other { fill: #a9cbe2; }
@media (prefers-color-scheme: dark) { .plot .first { fill: #56b4e9; } .plot .other { fill: #2f5a78; } }
"""


@dataclass(frozen=True)
class Trend:
    """How a measure goes with the size of the training text. points: (bytes of training text, tokens per word), ascending."""

    tokenizer: str
    language: str
    points: tuple[tuple[float, float], ...]


def write_evaluation(evaluation: Evaluation, folder: Path, trends: Sequence[Trend] = ()) -> list[Path]:
    """Write evaluation.html, evaluation.svg and evaluation.json to `folder`, each complete or as before; returns their paths.

    Raises RunFailed when they can't be written.
    """
    paths = [folder / f"evaluation.{suffix}" for suffix in ("html", "svg", "json")]
    drawn = plot(evaluation, trends)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in zip(paths, (render_page(evaluation, trends), drawn), strict=False):
            temporary = folder / f".{path.name}.{os.getpid()}.tmp"
            temporary.write_text(content, encoding="utf-8")
            os.replace(temporary, path)
        write_json(paths[2], evaluation.as_json() | {"trends": [asdict(trend) for trend in trends]})
    except OSError as error:
        raise RunFailed(
            f"can't write the evaluation to '{folder}': {error.strerror or error}; free space or mend permissions, then evaluate again"
        ) from error
    return paths


def render_page(evaluation: Evaluation, trends: Sequence[Trend] = ()) -> str:
    """The page of an evaluation."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "percent": percent, "count": text.count, "size": text.size, "visible": text.visible}
    template = environment.from_string(resources.files("tokenizer").joinpath("evaluation.html.j2").read_text(encoding="utf-8"))
    languages = []
    for language in evaluation.languages:
        whole = [row for row in evaluation.rows if row.language == language and row.genre is None]
        genres = sorted({row.genre for row in evaluation.rows if row.language == language and row.genre is not None})
        by_genre = [(genre, [evaluation.row(one.tokenizer, language, genre) for one in evaluation.tokenizers]) for genre in genres]
        languages.append({"name": language, "rows": whole, "genres": by_genre, "tops": list(whole[0].single_token_rate)})
    return template.render(evaluation=evaluation, languages=languages, plot=Markup(plot(evaluation, trends)), trends=trends)


def plot(evaluation: Evaluation, trends: Sequence[Trend] = ()) -> str:
    """A standalone SVG: for each language bars of tokens per word and of partial characters, then lines over the training size, if any.

    The first tokenizer is the strong colour.
    """
    sizes = {row.language: row.bytes for row in evaluation.rows if row.genre is None}
    languages = sorted(sorted(sizes, key=lambda language: (-sizes[language], language))[:LANGUAGES_DRAWN])
    half = (_WIDTH - 2 * _MARGIN - _GAP) // 2
    drawn = {language: [row for row in evaluation.rows if row.language == language and row.genre is None] for language in languages}
    most = [max((row.tokens_per_word or 0 for rows in drawn.values() for row in rows), default=0) or 1.0]
    most.append(max((row.partial_rate or 0 for rows in drawn.values() for row in rows), default=0) or 1.0)
    shapes, top = [], _MARGIN
    for language, rows in drawn.items():
        fertility = [(row.tokenizer, row.tokens_per_word, number(row.tokens_per_word)) for row in rows]
        partial = [(row.tokenizer, row.partial_rate, percent(row.partial_rate)) for row in rows]
        shapes.append(_bars(_MARGIN, top, half, f"{visible(language, 20)}: tokens per word", fertility, most[0]))
        shapes.append(_bars(_MARGIN + half + _GAP, top, half, f"{visible(language, 20)}: tokens of partial characters", partial, most[1]))
        top += HEAD + _LINE * len(rows) + 18
    for language in sorted({trend.language for trend in trends if trend.points}):
        lines = [Line(trend.tokenizer, trend.points) for trend in trends if trend.language == language and trend.points]
        frame = Frame(_MARGIN, top, _WIDTH - 2 * _MARGIN, _TREND_HEIGHT)
        ticks = [(size, text.size(size)) for size in sorted({x for line in lines for x, _ in line.points})]
        title = f"{visible(language, 20)}: tokens per word by bytes of training text"
        shapes.append(line_chart(frame, title, lines, ticks, "{:.2f}".format, logarithmic_x=True))
        top += frame.whole_height
    return str(drawing("Tokenizers compared", _WIDTH, top + _MARGIN, shapes, _STYLE))


def _bars(left: int, top: int, width: int, title: str, bars: Sequence[tuple[str, float | None, str]], most: float) -> Markup:
    """Horizontal bars of (name, value, value as said) from zero, `most` being the full width; the first is strong."""
    room = width - _NAME_WIDTH - 70
    parts = [Markup('<text class="title" x="{}" y="{}">{}</text>').format(left, top + 15, title)]
    for place, (name, value, said) in enumerate(bars):
        line = top + HEAD + place * _LINE
        long = room * (value or 0.0) / most
        kind = "other" if place else "first"
        parts.append(Markup('<text x="{}" y="{}">{}</text>').format(left, line + 12, visible(name, 24)))
        parts.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{:.1f}" height="{}"/>').format(kind, left + _NAME_WIDTH, line, long, _LINE - 6)
        )
        parts.append(Markup('<text class="soft" x="{:.1f}" y="{}">{}</text>').format(left + _NAME_WIDTH + long + 6, line + 12, said))
    return Markup("").join(parts)
