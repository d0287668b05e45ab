"""Benchmark files as a table of items: which texts of each test item a document must not contain."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from decontam.errors import DecontamError
from decontam.hashing import is_hangul_array
from decontam.normalize import normalize_batch
from decontam.readers import find_files, read_rows, stem
from decontam.settings import MatchSettings

_COLUMNS: dict[str, pa.DataType] = {
    "benchmark": pa.string(),
    "split": pa.string(),
    "item": pa.string(),
    "field": pa.string(),
    "text": pa.large_string(),
    "question_chars": pa.int32(),
}

ITEM_SCHEMA = pa.schema(_COLUMNS)
"""One text of one item. field: question (with its choices), answer or passage. question_chars: how many leading characters of `text` are
the question without its choices; null where `text` is that alone."""


@dataclass(frozen=True)
class FieldMap:
    """Which keys of a record hold what; of several names the first one that the record has is taken.

    A value may be a list (the turns of a conversation, several passages): each becomes an entry of its own. Choices may be a list, a
    mapping of letters to texts, or the `{"text": [...], "label": [...]}` of Hugging Face's ARC.
    """

    item: tuple[str, ...] = ("id", "task_id", "question_id", "key")
    benchmark: tuple[str, ...] = ("benchmark",)
    split: tuple[str, ...] = ("split",)
    text: tuple[str, ...] = ("text",)
    question: tuple[str, ...] = ("question", "prompt", "instruction")
    choices: tuple[str, ...] = ("choices", "options")
    answer: tuple[str, ...] = ("answer", "solution", "canonical_solution")
    passage: tuple[str, ...] = ("passage", "context")

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
                raise DecontamError(f"field map: {field.name} is {value!r}; give a tuple of key names.")


def read_benchmarks(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    field_maps: Mapping[str, FieldMap] | None = None,
    settings: MatchSettings | None = None,
) -> pa.Table:
    """Read files, folders and globs into a table of ITEM_SCHEMA, in the order of the file names.

    Of each record: `text` if it has one, else the question followed by its choices; the answer, if long enough to be a match by itself
    and not part of that text; the passage. `field_maps` overrides the keys for a benchmark: by the benchmark's name in the record, by
    that of the file (see `benchmark_names`), or by the file's name without suffixes. An item's benchmark is that of its file unless the
    record names one, its id the row number unless the record has one, its split empty unless the record has one.

    Raises DecontamError, naming file and row, for what cannot be read, for a record with no text, for a file without usable fields, and
    for two files of one name in one folder.
    """
    settings = settings or MatchSettings()
    rows: dict[str, list[Any]] = {name: [] for name in ITEM_SCHEMA.names}
    files = find_files(paths)
    for path, name in zip(files, benchmark_names(files), strict=True):
        _read_file(path, name, field_maps or {}, rows)
    return _without_short_answers(pa.table(rows, schema=ITEM_SCHEMA), settings)


def benchmark_names(files: Sequence[Path]) -> list[str]:
    """The benchmark that each of these files is: its name without suffixes, behind as many of its folders as tell it from the others.

    gsm8k/test.jsonl and mmlu/test.jsonl are `gsm8k/test` and `mmlu/test`: under one name their items would be counted as one benchmark's.
    Raises DecontamError for files that no folder tells apart, such as a.jsonl and a.csv in one folder.
    """
    parts = [(*Path(os.path.abspath(file)).parts[1:-1], stem(file)) for file in files]
    folders = [0] * len(files)
    while True:
        names = ["/".join(part[len(part) - 1 - depth :]) for part, depth in zip(parts, folders, strict=True)]
        counts = Counter(names)
        shared = [index for index, name in enumerate(names) if counts[name] > 1]
        if not shared:
            return names
        for index in shared:
            folders[index] += 1
            if folders[index] == len(parts[index]):
                one, other = [file for file, name in zip(files, names, strict=True) if name == names[index]][:2]
                raise DecontamError(f"{one} and {other} would be one benchmark, '{stem(one)}'; rename one of them or leave it out.")


def _read_file(path: Path, name: str, field_maps: Mapping[str, FieldMap], rows: dict[str, list[Any]]) -> None:
    default = FieldMap()
    of_file = field_maps.get(name) or field_maps.get(stem(path)) or default
    number = 0
    for number, record in read_rows(path):
        benchmark = str(_first(record, default.benchmark) or name)
        keys = field_maps.get(benchmark) or of_file
        benchmark = str(_first(record, keys.benchmark) or name)
        item, split = _first(record, keys.item), _first(record, keys.split)
        texts = _texts(record, keys)
        if not any(field == "question" for field, _, _ in texts):
            wanted = ", ".join(keys.text + keys.question)
            raise DecontamError(
                f"{path}, row {number}, has no text in {wanted}; its fields are {', '.join(map(str, record)) or 'none'}: "
                "name the right one in the benchmark's field map or remove the row."
            )
        for field, text, question_chars in texts:
            identity = (benchmark, "" if split is None else str(split), str(number if item is None else item))
            for column, value in zip(ITEM_SCHEMA.names, (*identity, field, text, question_chars), strict=True):
                rows[column].append(value)
    if number == 0:
        raise DecontamError(f"{path} holds no items; remove it or check how it was made.")


def _texts(record: Mapping[str, Any], keys: FieldMap) -> list[tuple[str, str, int | None]]:
    """`(field, text, question_chars)` of one record."""
    questions = _strings(_first(record, keys.question))
    whole = _strings(_first(record, keys.text))
    if not whole:
        choices = "\n".join(_choices(_first(record, keys.choices)))
        whole = [f"{question}\n{choices}" if choices else question for question in questions]
    found: list[tuple[str, str, int | None]] = []
    for text in whole:
        head = next((question for question in questions if len(question) < len(text) and text.startswith(question)), None)
        found.append(("question", text, None if head is None or len(questions) > 1 else len(head)))
    if len(questions) > 1 and len(whole) == 1:
        # A conversation whose `text` joins the turns: one leaked turn is a leak, so each is an entry of its own.
        found = [("question", question, None) for question in questions]
    found += [("answer", answer, None) for answer in _strings(_first(record, keys.answer)) if not any(answer in text for text in whole)]
    found += [("passage", passage, None) for passage in _strings(_first(record, keys.passage))]
    return found


def _first(record: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The first value that is there and not empty."""
    for name in names:
        value = record.get(name)
        if value is not None and value not in ("", [], {}):
            return value
    return None


def _strings(value: Any) -> list[str]:
    """The texts of a value: itself, or those of its parts; numbers, truth values and blanks are no texts."""
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, Mapping):
        value = value.get("text", value.get("content", list(value.values())))
        return _strings(value)
    return [text for part in value for text in _strings(part)] if isinstance(value, (list, tuple)) else []


def _choices(value: Any) -> list[str]:
    """Choices as texts; numbers count here, since a choice of 4 is part of the item's text."""
    if isinstance(value, Mapping):
        value = value.get("text", list(value.values()))
    parts = value if isinstance(value, (list, tuple)) else [value]
    return [text for part in parts for text in ([str(part)] if isinstance(part, (int, float)) else _strings(part))]


def _without_short_answers(items: pa.Table, settings: MatchSettings) -> pa.Table:
    """Leave out answers that could not be a match by themselves: `True`, `B` or a date would be found everywhere."""
    is_answer = np.array([field == "answer" for field in items["field"].to_pylist()], np.bool_)
    normalized = normalize_batch(items["text"])
    lengths = np.diff(normalized.offsets)
    before = np.concatenate([[0], np.cumsum(is_hangul_array(normalized.codepoints))])
    hangul = before[normalized.offsets[1:]] - before[normalized.offsets[:-1]]
    enough = (lengths >= settings.length) | ((lengths >= settings.hangul_length) & (2 * hangul >= lengths))
    return items.filter(pa.array(~is_answer | enough))
