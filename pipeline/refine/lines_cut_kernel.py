"""The compiled passes that cut: which lines of a document go, by the traits of each, and the text that is left.

Every pass is linear in lines or bytes. Importing this module loads (the first time: compiles) the kernels.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

from pipeline.refine.lines_kernel import BESIDE, BLANK, CODE, COLON, EDGE_NOTICE, FREQUENT, FURNITURE, HEADING, MARKED, NOTICE, SOLID

KEPT, CUT_FURNITURE, CUT_NOTICE, CUT_HOST = range(4)
"""What `choose_cuts` says of a line."""

MIN_LINES = 3
"""A document of fewer lines has no frame: `추천` may be a whole film review. Only notices are cut from it."""

FRAME_RUN = 2
"""Weak furniture lines in a row that are cut at a page's start or end: a single one may be its title, or a reviewer's `추천`."""

INSIDE_RUN = 3
"""Lines in a row that are cut inside a text, frequent ones included."""

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_NUMBERS = types.Array(types.int64, 1, "C", readonly=True)
_TRAITS = types.Array(types.uint16, 1, "C", readonly=True)
_LINES = (_NUMBERS, _NUMBERS, _NUMBERS)


@numba.njit(types.boolean(types.int64, types.boolean), cache=True, nogil=True, inline="always")
def _may_go(trait: int, frequent: bool) -> bool:
    """Whether a line may be part of a frame. Weak furniture that looks like a heading may be the title."""
    if trait & CODE:
        return False
    if trait & NOTICE or (frequent and trait & FREQUENT):
        return True
    return trait & (FURNITURE | EDGE_NOTICE | BESIDE) != 0 and trait & HEADING == 0


@numba.njit(types.boolean(types.int64), cache=True, nogil=True, inline="always")
def _is_neutral(trait: int) -> bool:
    """Blank lines and lines of marks alone neither begin nor end a run of lines, nor break it."""
    return trait & (SOLID | CODE) == 0


@numba.njit(types.void(_TRAITS, types.int64, types.int64, types.boolean, types.uint8[::1]), cache=True, nogil=True)
def _mark_run(traits: np.ndarray, start: int, stop: int, frequent: bool, reasons: np.ndarray) -> None:
    """Write the reasons of lines start to stop - 1, all of which go; a line of marks alone goes for its neighbour's reason."""
    current = KEPT
    for line in range(start, stop):
        trait = traits[line]
        if trait & NOTICE or (trait & (EDGE_NOTICE | BESIDE) and trait & HEADING == 0):
            current = CUT_NOTICE
        elif trait & FURNITURE and trait & HEADING == 0:
            current = CUT_FURNITURE
        elif frequent and trait & FREQUENT:
            current = CUT_HOST
        reasons[line] = current
    for line in range(stop - 1, start - 1, -1):
        if reasons[line] == KEPT:
            reasons[line] = current
        current = reasons[line]


@numba.njit(types.boolean(_TRAITS, types.int64, types.int64, types.boolean, types.int64), cache=True, nogil=True)
def _is_run(traits: np.ndarray, start: int, stop: int, frequent: bool, members: int) -> bool:
    """Whether lines start to stop - 1 hold a notice, a line frequent on the host, or `members` lines of weak furniture."""
    found = 0
    for line in range(start, stop):
        if traits[line] & (NOTICE | EDGE_NOTICE) or (frequent and traits[line] & FREQUENT):
            return True
        found += traits[line] & FURNITURE != 0
    return found >= members


@numba.njit(types.int64(_TRAITS, types.int64, types.int64, types.boolean), cache=True, nogil=True)
def _head_end(traits: np.ndarray, begin: int, end: int, frequent: bool) -> int:
    """The line after the run of lines that may go at the document's start. A heading at the run's end belongs to what follows."""
    stop = begin
    while stop < end and (_is_neutral(traits[stop]) or _may_go(traits[stop], frequent)):
        stop += 1
    if stop < end:
        while stop > begin and (_is_neutral(traits[stop - 1]) or traits[stop - 1] & (HEADING | NOTICE) == HEADING):
            stop -= 1
    return stop


@numba.njit(types.int64(_TRAITS, types.int64, types.int64, types.boolean), cache=True, nogil=True)
def _tail_start(traits: np.ndarray, begin: int, end: int, frequent: bool) -> int:
    """The first line of the run of lines that may go at the document's end.

    Weak lines stay where the line before them says that they belong to it: it ends in a colon, or both are items of a list.
    """
    start = end
    while start > begin and (_is_neutral(traits[start - 1]) or _may_go(traits[start - 1], frequent)):
        start -= 1
    led = traits[start - 1] & (COLON | MARKED) if start > begin else 0
    while start < end:
        trait = traits[start]
        weak = trait & NOTICE == 0 and not (frequent and trait & FREQUENT)
        if not _is_neutral(trait) and not (weak and (led & COLON or led & trait & MARKED)):
            break
        start += 1
    return start


@numba.njit(types.void(_TRAITS, types.int64, types.int64, types.boolean, types.uint8[::1]), cache=True, nogil=True)
def _cut_inside(traits: np.ndarray, begin: int, end: int, frequent: bool, reasons: np.ndarray) -> None:
    """Mark the runs of INSIDE_RUN lines that may go and aren't lists, tables or headings, unless a colon leads them, and what is beside
    a notice."""
    line = begin
    led_by_colon = False
    while line < end:
        trait = traits[line]
        if _is_neutral(trait) or not _may_go(trait, frequent) or trait & (MARKED | HEADING):
            if not _is_neutral(trait):
                led_by_colon = trait & COLON != 0
            line += 1
            continue
        stop, last, members = line, line, 0
        with_notice = False
        while stop < end and (_is_neutral(traits[stop]) or (_may_go(traits[stop], frequent) and traits[stop] & (MARKED | HEADING) == 0)):
            if not _is_neutral(traits[stop]):
                members += traits[stop] & BESIDE == 0 or traits[stop] & FURNITURE != 0
                with_notice |= traits[stop] & NOTICE != 0
                last = stop
            stop += 1
        if (members >= INSIDE_RUN or with_notice) and not led_by_colon:
            _mark_run(traits, line, last + 1, frequent, reasons)
        led_by_colon = traits[last] & COLON != 0
        line = stop


@numba.njit(types.void(_TRAITS, types.int64, types.int64, types.boolean, types.uint8[::1]), cache=True, nogil=True)
def _choose(traits: np.ndarray, begin: int, end: int, frequent: bool, reasons: np.ndarray) -> None:
    """The reasons of one document's lines."""
    solid = 0
    for line in range(begin, end):
        reasons[line] = CUT_NOTICE if traits[line] & NOTICE and not traits[line] & CODE else KEPT
        solid += traits[line] & SOLID != 0
    if solid < MIN_LINES:
        return
    head = _head_end(traits, begin, end, frequent)
    if _is_run(traits, begin, head, frequent, FRAME_RUN):
        _mark_run(traits, begin, head, frequent, reasons)
    if head == end:
        return
    tail = _tail_start(traits, head, end, frequent)
    if _is_run(traits, tail, end, frequent, FRAME_RUN):
        _mark_run(traits, tail, end, frequent, reasons)
    _cut_inside(traits, head, tail, frequent, reasons)


@numba.njit(types.void(*_LINES, _TRAITS, types.uint8[::1], types.boolean[::1]), cache=True, nogil=True)
def choose_cuts(
    line_offsets: np.ndarray, starts: np.ndarray, ends: np.ndarray, traits: np.ndarray, reasons: np.ndarray, emptied: np.ndarray
) -> None:
    """Fill `reasons`, one per line, and `emptied`, one per document: every line that says anything would go, so none does.

    Notices go wherever they stand. EDGE_NOTICE, weak furniture and lines frequent on the host go in runs that touch the document's start or
    end, and in runs of INSIDE_RUN inside, where lists, headings and tables stay. BESIDE goes with such lines, and so do blank lines. Lines
    frequent on the host all stay where they are more than half of the document's bytes: that is a near copy of other pages, which dedup
    judges.
    """
    for document in range(line_offsets.size - 1):
        begin, end = line_offsets[document], line_offsets[document + 1]
        interesting = False
        frequent = False
        for line in range(begin, end):
            interesting |= traits[line] & (FURNITURE | NOTICE | EDGE_NOTICE | FREQUENT) != 0
            frequent |= traits[line] & FREQUENT != 0
            reasons[line] = KEPT
        emptied[document] = False
        if not interesting:
            continue
        _choose(traits, begin, end, frequent, reasons)
        if frequent:
            total = cut = 0
            for line in range(begin, end):
                total += ends[line] - starts[line]
                cut += (ends[line] - starts[line]) * (reasons[line] == CUT_HOST)
            if 2 * cut > total:
                _choose(traits, begin, end, False, reasons)
        left = False
        for line in range(begin, end):
            left |= reasons[line] == KEPT and traits[line] & SOLID != 0
        if not left:
            emptied[document] = True
            reasons[begin:end] = KEPT


@numba.njit(types.void(_BYTES, _NUMBERS, *_LINES, _TRAITS, _BYTES, types.uint8[::1], types.int64[::1]), cache=True, nogil=True)
def copy_kept(
    data: np.ndarray,
    offsets: np.ndarray,
    line_offsets: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    traits: np.ndarray,
    reasons: np.ndarray,
    out: np.ndarray,
    out_offsets: np.ndarray,
) -> None:
    """Write the documents without the lines that go to `out` (as many bytes as they have) and their rows + 1 positions to `out_offsets`.

    Where lines went, blank lines on both sides become one, and none is left at the document's ends. Other documents are copied as they are.
    """
    write = 0
    out_offsets[0] = 0
    for document in range(line_offsets.size - 1):
        begin, end = line_offsets[document], line_offsets[document + 1]
        cut = False
        for line in range(begin, end):
            cut |= reasons[line] != KEPT
        if not cut:
            size = offsets[document + 1] - offsets[document]
            out[write : write + size] = data[offsets[document] : offsets[document + 1]]
            write += size
            out_offsets[document + 1] = write
            continue
        row_start = solid_end = write
        after_cut = False
        after_blank = True  # nothing written yet: no blank line may come first
        for line in range(begin, end):
            if reasons[line] != KEPT:
                after_cut = True
                continue
            if traits[line] & BLANK and after_blank and (after_cut or solid_end == row_start):
                continue
            if write > row_start:
                out[write] = 10
                write += 1
            size = ends[line] - starts[line]
            out[write : write + size] = data[starts[line] : ends[line]]
            write += size
            after_blank = traits[line] & BLANK != 0
            if not after_blank:
                after_cut = False
                solid_end = write
        write = solid_end
        out_offsets[document + 1] = write
