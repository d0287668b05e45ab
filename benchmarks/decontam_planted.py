"""Benchmark texts planted in documents of their own, whole, in part and with changed characters (see decontam_precision.py)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from decontam import MatchSettings, Scanner, normalize_batch, normalize_text
from decontam.hashing import is_hangul_array

PART = 0.7


def changed(text: str, changes: int, rng: random.Random) -> str:
    """The text with so many of its letters and digits (all, if it has fewer) replaced by others of the same script."""
    places = [place for place, letter in enumerate(text) if letter.isalnum()]
    letters = list(text)
    for place in rng.sample(places, min(changes, len(places))):
        first, second = "뷁쀍" if "가" <= letters[place] <= "힣" else "qz"
        letters[place] = second if normalize_text(letters[place]) == first else first
    return "".join(letters)


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "whole": lambda text, rng: text,
    "one character changed": lambda text, rng: changed(text, 1, rng),
    "two characters changed": lambda text, rng: changed(text, 2, rng),
    "first 70 %": lambda text, rng: text[: int(PART * len(text))],
}
"""What is planted of a text."""


def planted_groups(items: pa.Table, settings: MatchSettings, limit: int) -> dict[str, pa.Table]:
    """The questions and answers that are long enough to be a match, and the short questions that have an answer, one text of each item,
    and of more than `limit` in a group so many at even distances.

    Further questions of an item, if any, are the same with its choices written in another way.
    """
    rows: dict[tuple[Any, ...], int] = {}
    for row, key in enumerate(zip(*(items[name].to_pylist() for name in ("benchmark", "split", "item", "field")), strict=True)):
        rows.setdefault(key, row)
    items = items.take(pa.array(list(rows.values())))
    normalized = normalize_batch(items["text"])
    hangul_before = np.concatenate([[0], np.cumsum(is_hangul_array(normalized.codepoints), dtype=np.int64)])
    lengths, hangul = np.diff(normalized.offsets), np.diff(hangul_before[normalized.offsets])
    long = lengths >= np.where(2 * hangul >= lengths, settings.hangul_length, settings.length)
    short = ~long & (lengths >= np.where(2 * hangul >= lengths, settings.hangul_short_length, settings.short_length))
    question, answer = (pc.equal(items["field"], field).to_numpy() for field in ("question", "answer"))
    answered = pc.is_valid(items["answer"]).to_numpy()
    groups = {"questions": question & long, "answers": answer & long, "short questions, answer below": question & short & answered}
    rows_of = {name: np.flatnonzero(chosen) for name, chosen in groups.items()}
    return {
        name: items.take(pa.array(found[np.arange(min(limit, len(found))) * len(found) // max(1, min(limit, len(found)))]))
        for name, found in rows_of.items()
    }


def own_matches(scanner: Scanner, items: pa.Table, kind: str, filler: Sequence[str]) -> pa.Table:
    """Matches of each text with its own item, `row` counting the texts: planted between two of these paragraphs, short ones above their
    answer."""
    rng = random.Random(kind)
    texts = []
    for text, answer, field in zip(*(items[name].to_pylist() for name in ("text", "answer", "field")), strict=True):
        below = f"\n{answer}" if field == "question" and answer else ""
        texts.append(f"{rng.choice(filler)}\n\n{KINDS[kind](text, rng)}{below}\n\n{rng.choice(filler)}")
    matches = scanner.scan(pa.array(texts, pa.large_string()))
    own = items.take(matches["row"])
    same = [pc.equal(matches[name], own[name]) for name in ("benchmark", "split", "item")]
    return matches.filter(pc.and_(pc.and_(same[0], same[1]), same[2]))
