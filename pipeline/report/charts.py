"""Small SVG charts as pure functions of numbers: they stretch to the width of the page and carry no text, which HTML around them has.

Fills are class names that the page's style sheet colours, for light and dark. Every chart has a `<title>`, read out by screen readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH = 1000.0
_LEAST_VISIBLE = 2.0
"""A part that is not zero gets at least this many thousandths of the width: a few quarantined records should not disappear."""


@dataclass(frozen=True)
class Share:
    """One part of a bar: a value, the class that colours it, and what it is."""

    value: float
    kind: str
    label: str


def stacked_bar(parts: Sequence[Share], whole: float, height: int = 22) -> Markup:
    """A horizontal bar of `parts` side by side, `whole` being the full width; the rest stays empty."""
    rectangles, left = [], 0.0
    for part in parts:
        width = max(_LEAST_VISIBLE, _WIDTH * part.value / whole) if whole > 0 and part.value > 0 else 0.0
        if width:
            rectangles.append(_rectangle(left, 0, width, height, part.kind, part.label))
            left += width
    scale = f"0 0 {max(_WIDTH, left):g} {height}"
    return _svg("; ".join(part.label for part in parts), scale, height, rectangles, "bar")


def link(from_share: float, to_share: float, height: int = 10) -> Markup:
    """The band between two bars: what is kept above (share of the full width) becomes the input below."""
    left, right = (_WIDTH * min(max(value, 0.0), 1.0) for value in (from_share, to_share))
    band = Markup('<polygon class="band" points="0,0 {:.1f},0 {:.1f},{} 0,{}"/>').format(left, right, height, height)
    return _svg("", f"0 0 {_WIDTH:g} {height}", height, [band], "bar")


def compared_bars(before: float | None, after: float | None, asked: float | None = None) -> Markup:
    """Two thin bars, shares of the whole (0 to 1) before and after, and a line where the asked share is."""
    marks, words = [], []
    after_top = 11 if before is not None else 5
    for top, value, kind, word in ((0, before, "before", "before"), (after_top, after, "kept", "after")):
        if value is not None:
            words.append(f"{word} {100 * value:.1f} %")
            marks.append(_rectangle(0, top, max(_LEAST_VISIBLE, _WIDTH * value) if value > 0 else 0, 9, kind, words[-1]))
    if asked is not None:
        words.append(f"asked {100 * asked:.1f} %")
        marks.append(_rectangle(min(_WIDTH * asked, _WIDTH - 5), -1, 5, 22, "asked", words[-1]))
    return _svg(", ".join(words), f"0 -1 {_WIDTH:g} 22", 22, marks, "bar")


def histogram(pairs: Sequence[tuple[float, float]], label: str, height: int = 120) -> Markup:
    """One column per pair: a wide pale bar for the first number, a narrow strong one on it for the second; each a share of its sum."""
    totals = [sum(pair[side] for pair in pairs) or 1 for side in (0, 1)]
    highest = max((pair[side] / totals[side] for pair in pairs for side in (0, 1)), default=0) or 1
    bars = []
    for index, pair in enumerate(pairs):
        for side, kind, inset in ((0, "before", 0.5), (1, "kept", 2.8)):
            tall = (height - 2) * pair[side] / totals[side] / highest
            if tall > 0:
                bars.append(_rectangle(10 * index + inset, height - max(tall, 0.7), 10 - 2 * inset, max(tall, 0.7), kind, ""))
    return _svg(label, f"0 0 {10 * max(1, len(pairs))} {height}", height, bars, "histogram")


def columns(values: Sequence[float], label: str, height: int = 120) -> Markup:
    """One column per value, in proportion to the highest."""
    highest = max(values, default=0) or 1
    heights = [max((height - 2) * value / highest, 0.7) if value > 0 else 0.0 for value in values]
    bars = [_rectangle(10 * index + 0.5, height - tall, 9, tall, "kept", "") for index, tall in enumerate(heights) if tall]
    return _svg(label, f"0 0 {10 * max(1, len(values))} {height}", height, bars, "histogram")


def areas(lines: Sequence[tuple[str, Sequence[tuple[float, float]]]], mark: float, label: str, height: int = 120) -> Markup:
    """Areas under lines of (x, y), each from 0 to 1 and ascending by x, one over the other, and an upright mark at x."""
    shapes = []
    for kind, points in lines:
        path = " ".join(f"{_WIDTH * x:.1f},{height - (height - 2) * y:.1f}" for x, y in points)
        ends = (points[0][0], points[-1][0]) if points else (0.0, 0.0)
        corners = f"{_WIDTH * ends[0]:.1f},{height} {path} {_WIDTH * ends[1]:.1f},{height}"
        shapes.append(Markup('<polygon class="{}" points="{}"/>').format(kind, corners))
    shapes.append(_rectangle(min(_WIDTH * mark, _WIDTH - 4), 0, 4, height, "asked", ""))
    return _svg(label, f"0 0 {_WIDTH:g} {height}", height, shapes, "histogram")


def _rectangle(x: float, y: float, width: float, height: float, kind: str, label: str) -> Markup:
    title = Markup("<title>{}</title>").format(label) if label else Markup("")
    return Markup('<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}">{}</rect>').format(
        kind, x, y, width, height, title
    )


def _svg(label: str, view_box: str, height: int, shapes: Sequence[Markup], kind: str) -> Markup:
    described = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    return Markup('<svg class="{}" {} viewBox="{}" height="{}" preserveAspectRatio="none">{}</svg>').format(
        escape(kind), described, view_box, height, Markup("").join(shapes)
    )
