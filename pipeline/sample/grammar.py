"""A small phrase grammar: expressions with choices and slots become sentences, with Korean particles and English articles fitted.

Notation: `a|b` chooses one alternative, `[a|b]` does so inside a phrase, `{name}` inserts another entry, `{3..9}` a whole number of
that range, and after Korean words `<은>` stands for 은/는, `<이>` for 이/가, `<을>` for 을/를, `<과>` for 과/와, `<으로>` for 으로/로,
`<이다>` for 이다/다.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Alternative = list[Any]
"""Parts one after another: a literal, a number range as a pair, a slot as `@name`, or a nested choice as a list of alternatives."""

_TOKEN = re.compile(r"\[|\]|\||\{([a-z_0-9]+)\}|\{(\d+)\.\.(\d+)\}|[^\[\]|{}]+")
_PARTICLE = re.compile(r"([가-힣0-9])<(은|이다|이|을|과|으로)>")
_AFTER_CONSONANT = {"은": "은", "이": "이", "을": "을", "과": "과", "으로": "으로", "이다": "이다"}
_AFTER_VOWEL = {"은": "는", "이": "가", "을": "를", "과": "와", "으로": "로", "이다": "다"}
_DIGIT_READING = "영일이삼사오육칠팔구"
_RIEUL = 8  # index of the final consonant ㄹ in the Unicode Hangul composition formula (Unicode Standard, 3.12)
_REDRAWS = 6  # "from Milbury to Milbury" then has a chance below one in a million for the shortest tables
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])(?!uni|use|usu|one|eu)")

Value = TypeVar("Value")


def pick(rng: random.Random, values: Sequence[Value]) -> Value:
    """One of `values`, uniformly; built on `random()`, whose sequence Python guarantees across versions."""
    return values[int(rng.random() * len(values))]


def shuffled(rng: random.Random, values: Sequence[Value]) -> list[Value]:
    """The values in random order, by one `random()` key each."""
    return [value for _, _, value in sorted((rng.random(), index, value) for index, value in enumerate(values))]


def expressions(table: str) -> list[str]:
    """The expressions of a table, one per line; an indented line continues the one before."""
    return [line for line in table.replace("\n    ", " ").split("\n") if line]


class Grammar:
    """Entries compiled once; `expand` draws one string from an expression.

    Raises ValueError when an expression is malformed or names an entry that does not exist: a mistake in the phrase tables.
    """

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._entries = {name: _parse(text) for name, text in entries.items()}
        self._compiled: dict[str, list[Alternative]] = {}

    def expand(self, expression: str, rng: random.Random) -> str:
        """One random expansion of `expression`, particles and articles fitted, its first letter upper case."""
        if expression not in self._compiled:
            self._compiled[expression] = _parse(expression)
        text = fit_particles(self._draw(self._compiled[expression], rng, set()))
        text = _ARTICLE.sub(r"\1n ", text)
        return text[:1].upper() + text[1:]

    def _draw(self, choice: list[Alternative], rng: random.Random, used: set[tuple[str, str]]) -> str:
        text = ""
        for part in pick(rng, choice):
            if isinstance(part, list):
                text += self._draw(part, rng, used)
            elif isinstance(part, tuple):
                low, high = part
                text += str(low + int(rng.random() * (high - low + 1)))
            elif part.startswith("@"):
                text += self._draw_slot(part[1:], rng, used)
            else:
                text += part
        return text

    def _draw_slot(self, name: str, rng: random.Random, used: set[tuple[str, str]]) -> str:
        """A value of the slot that this sentence has not used yet, unless chance insists."""
        if name not in self._entries:
            raise ValueError(f"phrase tables: no entry named '{name}'")
        value = ""
        for _ in range(_REDRAWS):
            value = self._draw(self._entries[name], rng, used)
            if (name, value) not in used:
                break
        used.add((name, value))
        return value


def fit_particles(text: str) -> str:
    """`text` with every `<은>`-like mark replaced by the form that fits the syllable or digit before it."""
    return _PARTICLE.sub(_fit_particle, text) if "<" in text else text


def _fit_particle(match: re.Match[str]) -> str:
    last, particle = match.group(1), match.group(2)
    syllable = _DIGIT_READING[int(last)] if last.isdigit() else last
    final = (ord(syllable) - 0xAC00) % 28
    vowel_form = final == 0 or (particle == "으로" and final == _RIEUL)
    return last + (_AFTER_VOWEL if vowel_form else _AFTER_CONSONANT)[particle]


def _parse(text: str) -> list[Alternative]:
    """`text` as a choice of alternatives, nested choices inside."""
    stack: list[list[Alternative]] = [[[]]]
    end = 0
    for match in _TOKEN.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        token = match.group(0)
        if token == "[":
            stack.append([[]])
        elif token == "]" and len(stack) > 1:
            inner = stack.pop()
            stack[-1][-1].append(inner)
        elif token == "|":
            stack[-1].append([])
        elif match.group(1):
            stack[-1][-1].append("@" + match.group(1))
        elif match.group(2):
            stack[-1][-1].append((int(match.group(2)), int(match.group(3))))
        elif token != "]":
            stack[-1][-1].append(token)
        else:
            raise ValueError(f"phrase tables: unmatched ']' in '{text[:60]}'")
    if end != len(text) or len(stack) != 1:
        raise ValueError(f"phrase tables: malformed expression '{text[:60]}'")
    return stack[0]
