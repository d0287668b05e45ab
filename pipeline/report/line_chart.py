"""Line charts in SVG as pure functions of numbers, with axes and names: for standalone plots and for pages without scripts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.report.text import visible

COLOURS = 8
"""Colours for lines (Okabe and Ito's palette, which colour-blind readers can tell apart); further lines begin again."""

STYLE = """
.plot { font: 13px system-ui, "Noto Sans", "Noto Sans CJK KR", "Apple SD Gothic Neo", "Malgun Gothic", sans-serif; }
.plot .ground { fill: #fff; } .plot text { fill: #16202b; } .plot .soft { fill: #5a6775; font-size: 12px; }
.plot .title { font-weight: 600; } .plot .axis { stroke: #9aa5b1; stroke-width: 1; } .plot .grid { stroke: #dde2e8; }
.plot polyline { fill: none; stroke-width: 2; } .plot .mark { stroke: #9aa5b1; stroke-dasharray: 3 4; }
.plot .c0 { stroke: #0072b2; } .plot .c1 { stroke: #d55e00; } .plot .c2 { stroke: #009e73; } .plot .c3 { stroke: #cc79a7; }
.plot .c4 { stroke: #e69f00; } .plot .c5 { stroke: #56b4e9; } .plot .c6 { stroke: #8a7f00; } .plot .c7 { stroke: #777; }
@media (prefers-color-scheme: dark) { .plot .ground { fill: #182029; } .plot text { fill: #e6ebf0; } .plot .soft { fill: #9aa8b6; }
.plot .grid { stroke: #2b3742; } }
"""
"""What the classes of these charts need in the style sheet around them."""

HEAD, FOOT = 34, 30
"""Pixels above the plotted area, for the title, and below it, for the numbers of the x axis."""


@dataclass(frozen=True)
class Line:
    """points: (x, y), x ascending. name: at its end; empty where the title says it."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Frame:
    """Where a chart lies in its drawing, in pixels: the corner, its whole width, and the height of the plotted area."""

    left: int
    top: int
    width: int
    height: int

    @property
    def whole_height(self) -> int:
        """With title and numbers."""
        return HEAD + self.height + FOOT


def line_chart(
    frame: Frame,
    title: str,
    lines: Sequence[Line],
    ticks: Sequence[tuple[float, str]],
    say: Callable[[float], str],
    logarithmic_x: bool = False,
    marks: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Lines with their names at their ends. ticks: places of the x axis and what stands there; say: a number of the y axis as text;
    marks: vertical lines with a name, such as the beginnings of stages."""
    everything = [point for line in lines for point in line.points]
    scale = _logarithm if logarithmic_x else float
    xs, ys = [scale(x) for x, _ in everything], [y for _, y in everything]
    low_x, wide = min(xs), (max(xs) - min(xs)) or 1.0
    margin = 0.08 * ((max(ys) - min(ys)) or abs(max(ys)) or 1.0)
    low_y, high_y = min(ys) - margin, max(ys) + margin
    if min(ys) >= 0:
        low_y = max(low_y, 0.0)  # no learning rate, loss or speed is below zero
    left, right = frame.left + 60, frame.left + frame.width - 200
    above, below = frame.top + HEAD, frame.top + HEAD + frame.height

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * (scale(x) - low_x) / wide, below - (below - above) * (y - low_y) / (high_y - low_y)

    parts = [Markup('<text class="title" x="{}" y="{}">{}</text>').format(frame.left, frame.top + 15, title)]
    for step in range(5):
        value = low_y + (high_y - low_y) * step / 4
        y = below - (below - above) * step / 4
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(left, right, y, y))
        parts.append(Markup('<text class="soft" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(left - 8, y + 4, say(value)))
    for place, said in ticks:
        x = at(place, low_y)[0]
        parts.append(Markup('<text class="soft" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(x, below + 18, said))
    for place, said in marks:
        x = at(place, low_y)[0]
        parts.append(Markup('<line class="mark" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(x, x, above, below))
        parts.append(Markup('<text class="soft" x="{:.1f}" y="{}">{}</text>').format(x + 4, above + 10, visible(said, 24)))
    parts.append(Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(left, right, below, below))
    parts += _drawn(lines, at, right, below)
    return Markup("").join(parts)


def _drawn(lines: Sequence[Line], at: Callable[[float, float], tuple[float, float]], right: int, below: int) -> list[Markup]:
    """The lines themselves, each led to its name beyond `right` and above `below`."""
    parts = []
    labels = _apart([at(*line.points[-1])[1] for line in lines], 15.0, below - 8.0)
    for place, (line, label) in enumerate(zip(lines, labels, strict=True)):
        points = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in line.points)
        parts.append(Markup('<polyline class="c{}" points="{}"/>').format(place % COLOURS, points))
        if not line.name:
            continue
        end = at(*line.points[-1])
        parts.append(
            Markup('<line class="c{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
                place % COLOURS, end[0], right + 12, end[1], label
            )
        )
        parts.append(Markup('<text x="{}" y="{:.1f}">{}</text>').format(right + 16, label + 4, visible(line.name, 28)))
    return parts


def drawing(label: str, width: int, height: int, shapes: Sequence[Markup], style: str = "") -> Markup:
    """A standalone SVG of `shapes`. label: read out by screen readers; style: rules beside STYLE."""
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" aria-label="{4}" '
        'viewBox="0 0 {0} {1}" width="{0}" height="{1}"><style>{2}</style><rect class="ground" width="{0}" height="{1}"/>{3}</svg>'
    ).format(width, height, Markup(STYLE + style), Markup("").join(shapes), label)


def _logarithm(value: float) -> float:
    return math.log(max(value, 1.0))


def _apart(places: Sequence[float], least: float, most: float) -> list[float]:
    """The same places in the same order, moved where two are closer than `least`: down, and up again where that leads beyond `most`."""
    moved, before = [0.0] * len(places), -math.inf
    order = sorted(range(len(places)), key=lambda index: places[index])
    for index in order:
        before = moved[index] = max(places[index], before + least)
    after = most + least
    for index in reversed(order):
        after = moved[index] = min(moved[index], after - least)
    return moved
