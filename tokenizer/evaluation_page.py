"""The evaluation of tokenizers as one HTML page without scripts or anything from elsewhere, as a plot (SVG), and as JSON beside them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipeline.errors import RunFailed
from pipeline.report import text
from pipeline.report.text import visible
from pipeline.segment import write_json
from tokenizer.evaluate import Evaluation
from tokenizer.evaluation_table import number, percent

LANGUAGES_DRAWN = 6
"""Languages in the plot, those with most text; the tables have all."""

_WIDTH, _NAME_WIDTH, _GAP, _MARGIN = 960, 170, 40, 20
_LINE, _HEAD, _TREND_HEIGHT = 22, 34, 260
_COLOURS = 8
"""Colours for lines (Okabe and Ito's palette, which colour-blind readers can tell apart); further lines begin again."""

_STYLE = """
.plot { font: 13px system-ui, "Noto Sans", "Noto Sans CJK KR", "Apple SD Gothic Neo", "Malgun Gothic", sans-serif; }
.plot .ground { fill: #fff; } .plot text { fill: #16202b; } .plot .soft { fill: #5a6775; font-size: 12px; }
.plot .title { font-weight: 600; } .plot .first { fill: #0068a8; } .plot .other { fill: #a9cbe2; }
.plot .axis { stroke: #9aa5b1; stroke-width: 1; } .plot .grid { stroke: #dde2e8; } .plot polyline { fill: none; stroke-width: 2; }
.plot .c0 { stroke: #0072b2; } .plot .c1 { stroke: #d55e00; } .plot .c2 { stroke: #009e73; } .plot .c3 { stroke: #cc79a7; }
.plot .c4 { stroke: #e69f00; } .plot .c5 { stroke: #56b4e9; } .plot .c6 { stroke: #8a7f00; } .plot .c7 { stroke: #777; }
@media (prefers-color-scheme: dark) { .plot .ground { fill: #182029; } .plot text { fill: #e6ebf0; } .plot .soft { fill: #9aa8b6; }
.plot .first { fill: #56b4e9; } .plot .other { fill: #2f5a78; } .plot .grid { stroke: #2b3742; } }
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
        top += _HEAD + _LINE * len(rows) + 18
    for language in sorted({trend.language for trend in trends if trend.points}):
        lines = [trend for trend in trends if trend.language == language and trend.points]
        shapes.append(_lines(top, f"{visible(language, 20)}: tokens per word by bytes of training text", lines))
        top += _TREND_HEIGHT + _HEAD + 30
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" aria-label="Tokenizers compared" '
            'viewBox="0 0 {0} {1}" width="{0}" height="{1}"><style>{2}</style><rect class="ground" width="{0}" height="{1}"/>{3}</svg>'
        ).format(_WIDTH, top + _MARGIN, Markup(_STYLE), Markup("").join(shapes))
    )


def _bars(left: int, top: int, width: int, title: str, bars: Sequence[tuple[str, float | None, str]], most: float) -> Markup:
    """Horizontal bars of (name, value, value as said) from zero, `most` being the full width; the first is strong."""
    room = width - _NAME_WIDTH - 70
    parts = [Markup('<text class="title" x="{}" y="{}">{}</text>').format(left, top + 15, title)]
    for place, (name, value, said) in enumerate(bars):
        line = top + _HEAD + place * _LINE
        long = room * (value or 0.0) / most
        kind = "other" if place else "first"
        parts.append(Markup('<text x="{}" y="{}">{}</text>').format(left, line + 12, visible(name, 24)))
        parts.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{:.1f}" height="{}"/>').format(kind, left + _NAME_WIDTH, line, long, _LINE - 6)
        )
        parts.append(Markup('<text class="soft" x="{:.1f}" y="{}">{}</text>').format(left + _NAME_WIDTH + long + 6, line + 12, said))
    return Markup("").join(parts)


def _lines(top: int, title: str, trends: Sequence[Trend]) -> Markup:
    """Lines over a logarithmic axis of bytes, with the tokenizer's name at the end of each."""
    everything = [point for trend in trends for point in trend.points]
    xs, ys = [math.log(max(x, 1.0)) for x, _ in everything], [y for _, y in everything]
    low_x, wide = min(xs), (max(xs) - min(xs)) or 1.0
    margin = 0.08 * ((max(ys) - min(ys)) or 1.0)
    low_y, high_y = min(ys) - margin, max(ys) + margin
    left, right, above, below = _MARGIN + 50, _WIDTH - _MARGIN - 220, top + _HEAD, top + _HEAD + _TREND_HEIGHT

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * (math.log(max(x, 1.0)) - low_x) / wide, below - (below - above) * (y - low_y) / (high_y - low_y)

    parts = [Markup('<text class="title" x="{}" y="{}">{}</text>').format(_MARGIN, top + 15, title)]
    for step in range(5):
        value = low_y + (high_y - low_y) * step / 4
        y = at(1.0, value)[1]
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(left, right, y, y))
        parts.append(Markup('<text class="soft" x="{}" y="{:.1f}" text-anchor="end">{:.2f}</text>').format(left - 8, y + 4, value))
    for size in sorted({x for x, _ in everything}):
        x = at(size, low_y)[0]
        parts.append(Markup('<text class="soft" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(x, below + 18, text.size(size)))
    parts.append(Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(left, right, below, below))
    ends = _apart([at(*trend.points[-1])[1] for trend in trends], 15.0)
    for place, (trend, label) in enumerate(zip(trends, ends, strict=True)):
        points = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in trend.points)
        parts.append(Markup('<polyline class="c{}" points="{}"/>').format(place % _COLOURS, points))
        end = at(*trend.points[-1])
        parts.append(
            Markup('<line class="c{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
                place % _COLOURS, end[0], right + 12, end[1], label
            )
        )
        parts.append(Markup('<text x="{}" y="{:.1f}">{}</text>').format(right + 16, label + 4, visible(trend.tokenizer, 28)))
    return Markup("").join(parts)


def _apart(places: Sequence[float], least: float) -> list[float]:
    """The same places, moved down where two are closer than `least`, in the order of `places`."""
    moved, before = [0.0] * len(places), -math.inf
    for index in sorted(range(len(places)), key=lambda index: places[index]):
        before = moved[index] = max(places[index], before + least)
    return moved
