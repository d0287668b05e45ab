"""Field maps: which keys of a benchmark's records hold the question, the choices, the answer and the passage."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from decontam.errors import DecontamError

MAX_DEPTH = 16
"""Lists and objects inside one another that a text may lie in; a conversation of messages with parts needs four."""


@dataclass(frozen=True)
class FieldMap:
    """Which keys of a record hold what; of several names the first one is taken whose value is there and not empty.

    A name may lead into objects (`doc.question`) and through lists of them (`turns.content`), and may put several keys together
    (`premise + hypothesis`: joined by a line break as a text, a list as choices; all of them must be there). A key that is spelled exactly
    so goes first.

    A value may be a list (the turns of a conversation, several passages): each becomes an entry of its own. Choices may be a list, a
    mapping of labels to texts, or the `{"text": [...], "label": [...]}` of Hugging Face's ARC. answer_base: what the number of the first
    choice is where the answer is a number, 0 or 1; with None it is told from all of a file's numbers, and if they don't tell the answer
    is left out.

    Raises DecontamError for a value of another type.
    """

    item: tuple[str, ...] = ("id", "task_id", "question_id", "key", "uid", "guid")
    benchmark: tuple[str, ...] = ("benchmark",)
    split: tuple[str, ...] = ("split",)
    text: tuple[str, ...] = ("text",)
    question: tuple[str, ...] = (
        *("turns", "question.stem", "question", "prompt"),
        *("instruction + input", "instruction + instances.input", "instruction"),
    )
    choices: tuple[str, ...] = ("choices", "options", "question.choices", "A + B + C + D")
    answer: tuple[str, ...] = ("answer", "solution", "canonical_solution", "answers", "answerKey")
    passage: tuple[str, ...] = ("passage", "context", "paragraph")
    answer_base: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "answer_base":
                if value is not None and (type(value) is not int or value not in (0, 1)):
                    raise DecontamError(f"field map: answer_base is {value!r}; give 0 or 1, or leave it out.")
            elif not isinstance(value, tuple) or not all(isinstance(name, str) and name.strip() for name in value):
                raise DecontamError(f"field map: {field.name} is {value!r}; give a tuple of key names.")

    @property
    def columns(self) -> set[str]:
        """Every top-level key that a record may be asked for."""
        names = {name for field in fields(self) if field.name != "answer_base" for name in getattr(self, field.name)}
        return names | {path[0] for name in names for path in _paths(name)}


def field_map(table: object, base: FieldMap | None = None, where: str = "the field map") -> FieldMap:
    """A FieldMap from a table as TOML or JSON gives it: a name or a list of names for each key; keys left out are as in `base`.

    Raises DecontamError, starting with `where`, for a key that FieldMap doesn't have and for a value of another type.
    """
    if not isinstance(table, Mapping):
        raise DecontamError(f"{where} is {table!r:.80}; give a table of key names.")
    base = base or FieldMap()
    known = [field.name for field in fields(FieldMap)]
    changes: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise DecontamError(f"{where} has the unknown key {key!r}; {suggestion(str(key), known)}")
        names = [value] if isinstance(value, str) else value
        if key != "answer_base" and not (isinstance(names, list) and all(isinstance(name, str) and name.strip() for name in names)):
            raise DecontamError(f"{where} has {key} = {value!r:.80}; give the name of a key or a list of names.")
        changes[key] = value if key == "answer_base" else tuple(names)
    try:
        return replace(base, **changes)
    except DecontamError as error:
        raise DecontamError(f"{where.removesuffix(',')}: {error}") from None


def suggestion(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or the known names where none is near."""
    known = list(known)
    near = difflib.get_close_matches(name.casefold(), known, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(repr(entry) for entry in near)}?" if near else f"use one of {', '.join(known)}."


def first(record: Mapping[str, Any], names: Iterable[str], as_list: bool = False) -> Any:
    """The first value that is there and not empty; `as_list` says what several keys put together become."""
    for name in names:
        value = record.get(name)
        if value is None and (paths := _paths(name)):
            value = _compound(record, paths, as_list)
        if value or (value is not None and not isinstance(value, (str, list, dict))):
            return value
    return None


def has_any(record: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether the record has one of these keys, be it empty."""
    return any(name in record or any(path[0] in record for path in _paths(name)) for name in names)


def texts_of(value: Any, depth: int = 0) -> list[str]:
    """The texts of a value: itself, or those of its parts; numbers, truth values and blanks are no texts.

    Raises DecontamError for lists and objects more than MAX_DEPTH deep.
    """
    if isinstance(value, str):
        return [value] if value.strip() else []
    if depth > MAX_DEPTH:
        raise DecontamError(f"has a text that is more than {MAX_DEPTH} lists or objects deep; name its key in the field map.")
    if isinstance(value, Mapping):
        return texts_of(value.get("text", value.get("content", list(value.values()))), depth + 1)
    return [text for part in value for text in texts_of(part, depth + 1)] if isinstance(value, (list, tuple)) else []


@lru_cache(maxsize=1024)
def _paths(name: str) -> tuple[tuple[str, ...], ...]:
    """The keys of each part of a compound name; none for a plain key."""
    if "." not in name and " + " not in name:
        return ()
    return tuple(tuple(part.strip().split(".")) for part in name.split(" + "))


def _compound(record: Mapping[str, Any], paths: tuple[tuple[str, ...], ...], as_list: bool) -> Any:
    values = [_descend(record, path) for path in paths]
    if len(values) == 1 or any(value is None for value in values):
        return values[0] if len(values) == 1 else None
    return values if as_list else "\n".join(text for value in values for text in texts_of(value))


def _descend(record: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = record
    whole = ".".join(path)
    if whole in record:
        return record[whole]
    for key in path:
        if isinstance(value, (list, tuple)):
            value = [part.get(key) for part in value if isinstance(part, Mapping)]
        else:
            value = value.get(key) if isinstance(value, Mapping) else None
    return value
