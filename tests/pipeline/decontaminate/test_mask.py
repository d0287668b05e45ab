"""Cutting spans out of text, against a twin that marks bytes one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.decontaminate.mask import cut, moved

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=6)


def twin(text: bytes, spans: list[tuple[int, int]]) -> bytes:
    """One space for every maximal run of spans that overlap or touch."""
    gone = [any(start <= place < end for start, end in spans) for place in range(len(text))]
    pieces = []
    for place, byte in enumerate(text):
        if not gone[place]:
            pieces.append(bytes([byte]))
        elif place == 0 or not gone[place - 1]:
            pieces.append(b" ")
    return b"".join(pieces)


@settings(deadline=None)
@given(st.binary(min_size=40, max_size=60), SPANS)
def test_cut_is_what_marking_every_byte_gives(text: bytes, chosen: list[tuple[int, int]]) -> None:
    spans = [(start, start + length) for start, length in chosen]
    assert cut(text, spans)[0] == twin(text, spans)


@settings(deadline=None)
@given(st.lists(st.integers(97, 122), min_size=40, max_size=60), SPANS, st.tuples(st.integers(0, 30), st.integers(1, 10)))
def test_moved_spans_hold_what_is_left_of_their_text(letters: list[int], chosen: list[tuple[int, int]], other: tuple[int, int]) -> None:
    text = bytes(letters)
    spans = [(start, start + length) for start, length in chosen]
    start, end = other[0], other[0] + other[1]
    masked, cut_starts, cut_ends = cut(text, spans)
    new_start = int(moved(np.array([start]), cut_starts, cut_ends, is_end=False)[0])
    new_end = int(moved(np.array([end]), cut_starts, cut_ends, is_end=True)[0])
    left = bytes(text[place] for place in range(start, end) if not any(low <= place < high for low, high in spans))
    assert masked[new_start:new_end].replace(b" ", b"") == left
    if (start, end) in spans:
        assert masked[new_start:new_end] == b" "
