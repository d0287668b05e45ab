"""What answers a benchmark item, as text: letters, numbers and labels become the choice they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from decontam.fields import MAX_DEPTH, texts_of

# fmt: off
CLASS_LABELS = frozenset({
    "true", "false", "yes", "no", "correct", "incorrect", "positive", "negative", "neutral", "pos", "neg", "entailment", "not_entailment",
    "contradiction", "acceptable", "unacceptable", "valid", "invalid", "unknown", "maybe", "none", "null", "nan",
    "n/a", "o", "x", "참", "거짓",
    "예", "네", "아니오", "아니요", "긍정", "부정", "중립", "함의", "모순", "맞음", "틀림", "있음", "없음",
})
# fmt: on
"""Answers that name a class and so say nothing of their item: next to a question they are found by chance."""

_LETTER = re.compile(r"[(\[]?([A-Za-z])[)\].:]?")
_NUMBER = re.compile(r"[(\[]?([0-9]{1,3})(?:[)\].:]|번)?")
_ONE_DIGIT = re.compile(r"-?[0-9](\.0)?")
_LISTED = re.compile(r"(?m)^[ \t]{0,8}[(\[]?([A-Z])[)\].:][ \t]+(\S.*)$")
_LETTERS = re.compile(r"[^\W_]")
_CIRCLED = {chr(0x2460 + place): place + 1 for place in range(20)}


class Choices(NamedTuple):
    """The choices of an item in their order, blanks included, and their labels where the record names them."""

    texts: list[str]
    labels: list[str] | None

    @property
    def joined(self) -> str:
        """One choice a line, as the item's text holds them."""
        return "\n".join(text for text in self.texts if text.strip())


def read_choices(value: Any) -> Choices:
    """Choices as texts; numbers count here, since a choice of 4 is part of the item's text.

    Raises DecontamError as `texts_of` does.
    """
    labels = None
    if isinstance(value, Mapping):
        if "text" in value:
            given, value = value.get("label", value.get("labels")), value["text"]
            labels = [str(label) for label in given] if isinstance(given, (list, tuple)) and len(given) == len(value) else None
        else:
            labels, value = [str(key) for key in value], list(value.values())
    if value is None:
        return Choices([], None)
    parts = value if isinstance(value, (list, tuple)) else [value]
    return Choices([str(part) if isinstance(part, (int, float)) else "\n".join(texts_of(part)) for part in parts], labels)


def are_letters(choices: Choices) -> bool:
    """Whether the choices are only the names of choices that the question itself spells out."""
    return bool(choices.texts) and all(_LETTER.fullmatch(text.strip()) for text in choices.texts)


def resolve_answer(value: Any, choices: Choices, question: str, base: int | None) -> str | int | None:
    """The text that answers the item; the number of a choice where `base` does not say how choices are counted; None for no text.

    value: the record's answer, of which a list gives the first. base: number of the first choice, or None.
    """
    for _ in range(MAX_DEPTH):
        if isinstance(value, Mapping):
            value = value.get("text", value.get("content", value.get("value")))
        elif isinstance(value, (list, tuple)):
            value = next((part for part in value if part is not None and part != "" and part != []), None)
        else:
            break
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if choices.texts and not are_letters(choices):
        return _choice(value, choices, base)
    if not isinstance(value, str):
        return _final(str(value))
    if letter := _LETTER.fullmatch(value.strip()):
        listed = {match[1]: match[2] for match in _LISTED.finditer(question)}
        return _text(listed.get(letter[1].upper()))
    return _final(value)


def told_base(numbers: Iterable[tuple[int, int]]) -> int | None:
    """0 or 1 if the `(answer, count of choices)` of a file show that it counts so: a 0 is seen only from 0, a last number only from 1."""
    bases = {0 if number == 0 else 1 for number, count in numbers if number in (0, count)}
    return bases.pop() if len(bases) == 1 else None


def numbered(choices: Choices, number: int, base: int | None) -> str | None:
    """The choice of that number; None if there is none or it is not known how choices are counted."""
    place = -1 if base is None else number - base
    return _text(choices.texts[place]) if 0 <= place < len(choices.texts) else None


def _choice(value: str | int | float, choices: Choices, base: int | None) -> str | int | None:
    given = str(value).strip()
    if choices.labels is not None and given in choices.labels:
        return _text(choices.texts[choices.labels.index(given)])
    letter = _LETTER.fullmatch(given)
    place = ord(letter[1].upper()) - ord("A") if letter else len(choices.texts)
    if place < len(choices.texts):
        # Before a choice of that very text: `C` is the third choice far more often than the chemist's carbon.
        return numbered(choices, place, 0)
    if letter:
        return _text(given) if given in choices.texts else None
    number = _NUMBER.fullmatch(given)
    if number and base is not None:
        return numbered(choices, int(number[1]), base)
    if isinstance(value, str) and given in choices.texts:
        return _text(given)
    if given in _CIRCLED:
        return numbered(choices, _CIRCLED[given], 1)
    if number:
        return int(number[1])
    return _final(given)


def _final(answer: str) -> str | None:
    """The answer that a worked solution ends in: behind GSM8K's `####`, or in the last `\\boxed{}` of MATH; else all of it."""
    if "####" in answer:
        return _text(answer.rsplit("####", 1)[1])
    if "\\boxed{" in answer:
        return _text(_braced(answer[answer.rindex("\\boxed{") + len("\\boxed") :]))
    # One digit without choices is a class far more often than a number, and stands beside every other question by chance.
    return None if _ONE_DIGIT.fullmatch(answer.strip()) else _text(answer)


def _braced(text: str) -> str | None:
    """What stands between the brace that `text` starts with and the one that closes it."""
    depth = 0
    for brace in re.finditer(r"[{}]", text):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[1 : brace.start()]
    return None


def _text(answer: str | None) -> str | None:
    answer = (answer or "").strip()
    return None if answer.casefold() in CLASS_LABELS or not any(character.isalnum() for character in answer) else answer


def renderings(question: str, choices: Sequence[str], enough: int | None) -> list[str]:
    """The question with its choices as the web writes them where not one a line: behind A, B, C and behind 1, 2, 3 (also ①, ②).

    With no more choices than it takes to have `enough` letters and digits, which is all that a page of whole choices needs to match; with
    all of them where `enough` is None.
    """
    texts = [text for text in choices if text.strip()]
    if enough is not None:
        taken, count = 0, len(_LETTERS.findall(question))
        while taken < len(texts) and count < enough:
            count += len(_LETTERS.findall(texts[taken][:enough])) + 1
            taken += 1
        texts = texts[:taken]
    letters = "\n".join(f"{chr(ord('A') + place)}. {text}" for place, text in enumerate(texts[:26]))
    numbers = "\n".join(f"{place}. {text}" for place, text in enumerate(texts, 1))
    return [f"{question}\n{letters}", f"{question}\n{numbers}"]
