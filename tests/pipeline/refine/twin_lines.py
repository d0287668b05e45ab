"""Slow, obvious twins of the kernels behind line cutting: the definitions of docs/lines.md in plain Python."""

from __future__ import annotations

import functools
import re
from itertools import pairwise

from pipeline.refine.lines import MAX_NOTICE_BYTES, shipped_notices
from pipeline.refine.lines_kernel import BESIDE, EDGE_NOTICE, NOTICE
from pipeline.refine.phrases import shipped_phrases

BLANKS = "".join(map(chr, range(33)))
_LETTER = re.compile("[0-9A-Za-z\u00c0-\u1fff\u3040-\ud7ff\uf000-\uffff]")


@functools.cache
def furniture() -> list[bytes]:
    """The phrases, longest first."""
    return sorted((phrase.encode() for phrase in shipped_phrases().furniture), key=len, reverse=True)


@functools.cache
def is_furniture(line: str) -> bool:
    """Phrases of the furniture list cover 40 % of the line's bytes; at a place the longest one counts."""
    plain = line.strip(BLANKS).encode()
    lower = bytes(byte + 32 if 65 <= byte <= 90 else byte for byte in plain)
    place = covered = 0
    while place < len(lower):
        here = next((phrase for phrase in furniture() if lower.startswith(phrase, place) and _stands(lower, place, phrase)), b"")
        covered += len(here)
        place += max(1, len(here))
    return bool(plain) and covered * 100 >= len(plain) * 40


def _stands(text: bytes, place: int, phrase: bytes) -> bool:
    def word(byte: bytes) -> bool:
        return byte.isalnum() and byte.isascii()

    end = place + len(phrase)
    if word(text[place : place + 1]) and word(text[max(0, place - 1) : place]):
        return False
    return not (word(text[end - 1 : end]) and word(text[end : end + 1]))


def code_lines(lines: list[str]) -> list[bool]:
    """Which lines are code: fenced, or indented by a tab or four characters. Blank lines are none."""
    fence, found = "", []
    for line in lines:
        plain = line.strip(BLANKS)
        indent = line[: len(line) - len(line.lstrip(BLANKS))]
        mark = plain[:1] if plain[:3] in ("```", "~~~") else ""
        found.append(bool(plain) and bool(mark or fence or "\t" in indent or len(indent) >= 4))
        if mark and not fence:
            fence = mark
        elif mark == fence:
            fence = ""
    return found


def cuts(text: str, frequent: set[str]) -> tuple[list[str], bool]:
    """(the reason of each line, "" where it stays; whether nothing would be left, in which case all stay)."""
    lines = text.split("\n")
    plain = [line.strip(BLANKS) for line in lines]
    code = code_lines(lines)
    solid = [bool(_LETTER.search(line)) for line in plain]
    marked = [bool(re.match(r"[#*+\-|>•]|[0-9]{1,3}[.)]", line)) for line in plain]
    underlined = [re.match("(=|-)..", after) is not None and not solid[place + 1] for place, after in enumerate(plain[1:])] + [False]
    heading = [line.startswith("#") or (underlined[place] and solid[place]) for place, line in enumerate(plain)]
    tag = [re.match("<[/0-9A-Za-z]", line) is not None for line in plain]
    searched = [not code[place] and 0 < len(line.encode()) <= MAX_NOTICE_BYTES and has_hint(line) for place, line in enumerate(plain)]
    kinds = [shipped_notices().trait(line, marked[place]) if searched[place] else 0 for place, line in enumerate(plain)]
    notice = [kind == NOTICE for kind in kinds]
    edge = [kind == EDGE_NOTICE and not heading[place] for place, kind in enumerate(kinds)]
    beside = [kind == BESIDE and not heading[place] for place, kind in enumerate(kinds)]
    known = [line in frequent and solid[place] and not code[place] and not tag[place] for place, line in enumerate(plain)]
    furniture_ = [is_furniture(line) for line in plain]
    weak = [furniture_[place] and not code[place] and not heading[place] for place in range(len(lines))]
    neutral = [not solid[place] and not code[place] for place in range(len(lines))]
    leads = [re.search(r"(?:[:：]|같(?:습니)?다\.?)\Z", line) is not None for line in plain]

    def choose(known: list[bool]) -> list[str]:
        strong = [notice[place] or known[place] for place in range(len(lines))]
        goes = [strong[place] or weak[place] or edge[place] or beside[place] for place in range(len(lines))]
        reasons = ["notice" if is_notice else "" for is_notice in notice]
        if sum(solid) < 3:
            return reasons

        def reason_of(place: int) -> str:
            return "notice" if notice[place] or edge[place] or beside[place] else "furniture" if weak[place] else "host"

        def cut(places: range) -> None:
            named = {place: reason_of(place) for place in places if goes[place]}
            for place in places:
                before = [named[other] for other in named if other <= place]
                reasons[place] = before[-1] if before else named[min(named)]

        def worth(places: range) -> bool:
            return any(strong[place] or edge[place] for place in places) or sum(furniture_[place] for place in places) >= 2

        stay = [place for place in range(len(lines)) if not (goes[place] or neutral[place])]
        if not stay:
            head = len(lines)
        else:
            head = stay[0]
            while head and (neutral[head - 1] or (heading[head - 1] and not notice[head - 1])):
                head -= 1
        if worth(range(head)):
            cut(range(head))
        if not stay:
            return reasons
        tail = max(stay[-1] + 1, head)
        led_by_colon, led_by_mark = leads[tail - 1], marked[tail - 1]
        while tail < len(lines) and (neutral[tail] or (not strong[tail] and (led_by_colon or (led_by_mark and marked[tail])))):
            tail += 1
        if worth(range(tail, len(lines))):
            cut(range(tail, len(lines)))
        inside = [place for place in range(head, tail) if not neutral[place]]
        able = [goes[place] and not marked[place] and not heading[place] for place in inside]
        edges = [0, *(place for place in range(1, len(able)) if able[place] != able[place - 1]), len(able)]
        for first, stop in pairwise(edges):
            led = first > 0 and leads[inside[first - 1]]
            run = inside[first:stop]
            enough = sum(not beside[place] or furniture_[place] for place in run) >= 3 or any(notice[place] for place in run)
            if able[first : first + 1] == [True] and enough and not led:
                cut(range(inside[first], inside[stop - 1] + 1))
        return reasons

    reasons = choose(known)
    sizes = [len(line.encode()) for line in lines]
    if 2 * sum(size for size, reason in zip(sizes, reasons, strict=True) if reason == "host") > sum(sizes):
        reasons = choose([False] * len(lines))
    touched = any(notice) or any(kind == EDGE_NOTICE for kind in kinds) or any(known) or any(furniture_)
    emptied = touched and not any(solid[place] and not reasons[place] for place in range(len(lines)))
    return ([""] * len(lines) if emptied else reasons), emptied


def has_hint(line: str) -> bool:
    """A hint stands in the line, an English one at the start of a word."""
    lower = line.lower()
    if "@" in lower or "©" in lower:
        return True
    return any(re.search(("(?<![0-9a-z])" if hint[0].isascii() else "") + re.escape(hint), lower) is not None for hint in hints())


def hints() -> tuple[str, ...]:
    """The hints of presets/lines.yaml, read back from the table the kernel searches."""
    table = shipped_notices().hints
    return tuple(table.phrase_bytes[start:stop].tobytes().decode() for start, stop in pairwise(table.phrase_starts.tolist()))


def without_cut(text: str, reasons: list[str]) -> str:
    """The text without the lines that have a reason; blank lines around the gaps become one, none at the ends."""
    if not any(reasons):
        return text
    kept: list[str] = []
    gap = False
    for line, reason in zip(text.split("\n"), reasons, strict=True):
        if reason:
            gap = True
            continue
        blank = not line.strip(BLANKS)
        if blank and (not kept or (gap and not kept[-1].strip(BLANKS))):
            continue
        kept.append(line)
        gap = gap and blank
    while kept and not kept[-1].strip(BLANKS):
        kept.pop()
    return "\n".join(kept)
