"""Cutting spans out of text: each run of overlapping spans becomes one space, and other spans move to where their text is now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SPACE = b" "


def cut(text: bytes, spans: Sequence[tuple[int, int]]) -> tuple[bytes, np.ndarray, np.ndarray]:
    """`text` with every span (byte offsets, end exclusive) replaced by a space, spans that overlap or touch by one together.

    Also returns, for `moved`, the joined spans' starts (int64[k], ascending) and ends (int64[k]).
    """
    joined: list[list[int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    pieces, position = [], 0
    for start, end in joined:
        pieces += [text[position:start], SPACE]
        position = end
    starts, ends = (np.array([span[side] for span in joined], np.int64) for side in (0, 1))
    return b"".join([*pieces, text[position:]]), starts, ends


def moved(offsets: np.ndarray, starts: np.ndarray, ends: np.ndarray, is_end: bool) -> np.ndarray:
    """Where byte offsets of the text before `cut` are after it: int64[n].

    An offset inside a cut span goes to the space that took its place: a start to before it, an end (`is_end`) to after it.
    """
    removed = np.concatenate([[0], np.cumsum(ends - starts - len(SPACE))])
    whole = np.searchsorted(ends, offsets, side="left" if is_end else "right")
    inside = np.searchsorted(starts, offsets, side="left" if is_end else "right") > whole
    plain = offsets - removed[whole]
    edge = starts[np.minimum(whole, len(starts) - 1)] - removed[whole] + (len(SPACE) if is_end else 0) if len(starts) else plain
    return np.where(inside, edge, plain).astype(np.int64)
