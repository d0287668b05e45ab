"""Benchmark files as a table of items: which texts of each test item a document must not contain, and what answers it."""

from __future__ import annotations

import ast
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from decontam.answers import Choices, are_letters, numbered, read_choices, renderings, resolve_answer, told_base
from decontam.errors import DecontamError
from decontam.fields import FieldMap, first, has_any, suggestion, texts_of
from decontam.hashing import is_hangul_array
from decontam.normalize import normalize_batch
from decontam.readers import field_names, find_files, read_rows, stem
from decontam.settings import MatchSettings

_COLUMNS: dict[str, pa.DataType] = {
    "benchmark": pa.string(),
    "split": pa.string(),
    "item": pa.string(),
    "field": pa.string(),
    "text": pa.large_string(),
    "question_chars": pa.int32(),
    "answer": pa.large_string(),
}

ITEM_SCHEMA = pa.schema(_COLUMNS)
"""One text of one item; several rows of an item may have one field (turns of a conversation, ways to write the choices). field: question
(with its choices), answer or passage. question_chars: how many leading characters of `text` are the question without its choices; null
where `text` is that alone, and where the question says nothing without its choices because another item asks the same. answer: of a
question, what answers it as text; null if that is no text of its own (a class such as `entailment`, a letter without its choices)."""

MAX_NAME_CHARS = 200
"""Longest name of a benchmark, split or item: they become columns, folder names and lines on a terminal."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

MAX_SPELLED_CHARS = 1 << 16
"""Longest text that is parsed as a list of choices."""

KEEP_CHARS = 1 << 26
"""Characters of text held of files that had to be read to learn what benchmarks are in them: most sets fit and are read once."""

PathLike = str | os.PathLike[str]


class BenchmarkFile(NamedTuple):
    """A file whose benchmark, field map and split are known beforehand; the records' own come before `benchmark` and `split` only
    where the field map names keys for them."""

    path: Path
    benchmark: str
    fields: FieldMap = FieldMap()
    split: str = ""


class _Text(NamedTuple):
    """A row of the table to be, with what decides whether it stays and what it needs beside it.

    item: None where the record has no id. answer: a number where it takes the whole benchmark to tell which choice that is.
    """

    row: int
    split: str
    item: str | None
    field: str
    text: str
    question_chars: int | None = None
    answer: str | int | None = None
    choices: Choices | None = None


def read_benchmarks(
    paths: PathLike | BenchmarkFile | Iterable[PathLike | BenchmarkFile],
    field_maps: Mapping[str, FieldMap] | None = None,
    settings: MatchSettings | None = None,
) -> pa.Table:
    """The tables of `iter_benchmarks` as one of ITEM_SCHEMA."""
    return pa.concat_tables(iter_benchmarks(paths, field_maps, settings))


def iter_benchmarks(
    paths: PathLike | BenchmarkFile | Iterable[PathLike | BenchmarkFile],
    field_maps: Mapping[str, FieldMap] | None = None,
    settings: MatchSettings | None = None,
) -> Iterator[pa.Table]:
    """Read files, folders and globs; one table of ITEM_SCHEMA for each benchmark, by name, its rows in the order of files and records.

    Of each record: `text` if it has one, else the question followed by its choices (both, if `text` does not hold the question); the
    answer, if long enough to be a match by itself and not part of that text; the passage. A question that is too short to be a match, or
    that several items ask, gets further rows: with its choices behind letters and behind numbers, and (if too short) alone. `field_maps`
    overrides the keys for a benchmark: by its name in the record, by that of the file (see `benchmark_names`), or by the file's name
    without suffixes.

    An item's benchmark is that of its file unless the record names one, its split empty unless the record names one. Its id is the
    record's, else the row's number, behind the file's name where a benchmark isn't named after its file. Of rows with one id the second
    and later get `@file:row` behind it: they are items of their own.

    Holds one benchmark at a time, and of a file that mixes benchmarks those still to come; files whose records may name benchmarks are
    read first, and again when their turn comes once KEEP_CHARS of them are held. Raises DecontamError, naming file and row, for what
    cannot be read and for a record without text; for two files of one name in one folder; and for a field map that fits no record.
    """
    settings = settings or MatchSettings()
    maps = field_maps or {}
    files = _known_files(paths)
    homes: dict[str, list[BenchmarkFile]] = {}
    read: dict[Path, dict[str, list[_Text]]] = {}
    used: set[str] = set()
    kept_chars = 0
    for file in files:
        if not maps and not file.fields.benchmark:
            homes.setdefault(file.benchmark, []).append(file)
            continue
        found = _read_file(file, maps, used)
        kept_chars += sum(len(text.text) for texts in found.values() for text in texts)
        if kept_chars <= KEEP_CHARS:
            read[file.path] = found
        for name in found:
            homes.setdefault(name, []).append(file)
    if unused := sorted(maps.keys() - used):
        raise DecontamError(f"there is a field map for '{unused[0]}', which is no benchmark that was read; {suggestion(unused[0], homes)}")
    for name in sorted(homes):
        parts = []
        for file in homes[name]:
            if file.path not in read:
                read[file.path] = _read_file(file, maps, used)
            parts.append(read[file.path].pop(name))
        yield _table(name, [file.path for file in homes[name]], parts, settings)


def _known_files(paths: PathLike | BenchmarkFile | Iterable[PathLike | BenchmarkFile]) -> list[BenchmarkFile]:
    """Every file once, as a BenchmarkFile, by path; one that is given as such keeps its field map when its path is given too."""
    given = [paths] if isinstance(paths, (str, os.PathLike, BenchmarkFile)) else list(paths)
    known = {os.path.abspath(file.path): file for file in given if isinstance(file, BenchmarkFile)}
    plain = [path for path in given if not isinstance(path, BenchmarkFile)]
    if plain or not known:
        found = find_files(plain)
        for path, name in zip(found, benchmark_names(found), strict=True):
            known.setdefault(os.path.abspath(path), BenchmarkFile(path, name))
    return [known[path] for path in sorted(known)]


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


def _keys_of(
    file: BenchmarkFile, number: int, record: Mapping[str, Any], maps: Mapping[str, FieldMap], used: set[str]
) -> tuple[str, FieldMap]:
    """The benchmark of a record and the field map for it, whose name is added to `used`."""
    keys = file.fields
    value = first(record, keys.benchmark)
    if maps:
        name = next((name for name in (str(value), file.benchmark, stem(file.path)) if name in maps), None)
        if name is not None:
            used.add(name)
            keys = maps[name]
            value = first(record, keys.benchmark)
    return (file.benchmark if value is None else _name(file.path, number, "benchmark", value)), keys


def _name(path: Path, number: int, what: str, value: Any) -> str:
    """A benchmark's, split's or item's name, which others print and make folders of."""
    if isinstance(value, str) and len(value) <= MAX_NAME_CHARS and value.isprintable():
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        article = "an" if what == "item id" else "a"
        raise DecontamError(f"{path}, row {number}, has {article} {what} of type {type(value).__name__}; give a text or a number.")
    name = str(value)
    if len(name) > MAX_NAME_CHARS or _CONTROL.search(name):
        raise DecontamError(
            f"{path}, row {number}, has the {what} {name[:40]!r}; use at most {MAX_NAME_CHARS} characters and no control characters."
        )
    return name


def _read_file(file: BenchmarkFile, maps: Mapping[str, FieldMap], used: set[str]) -> dict[str, list[_Text]]:
    """The texts of each benchmark in the file; the names of the field maps that it needs are added to `used`."""
    found: dict[str, list[_Text]] = {}
    wanted = file.fields.columns.union(*(keys.columns for keys in maps.values()))
    number = 0
    for number, record in read_rows(file.path, wanted):
        benchmark, keys = _keys_of(file, number, record, maps, used)
        split, item = first(record, keys.split), first(record, keys.item)
        split = file.split if split is None else _name(file.path, number, "split", split)
        item = None if item is None else _name(file.path, number, "item id", item)
        try:
            texts = _texts_of_record(record, keys, number, split, item)
        except DecontamError as error:
            raise DecontamError(f"{file.path}, row {number}, {error}") from None
        # Tasks such as summaries ask nothing beside their passage; a row that hasn't even the key is a wrong field map.
        asking = keys.text + keys.question
        if not texts or (asking and texts[0].field != "question" and not has_any(record, asking)):
            raise DecontamError(
                f"{file.path}, row {number}, has no text in {', '.join(asking or keys.passage)}; its fields are "
                f"{field_names(file.path, record)}: name the right one in the benchmark's field map or remove the row."
            )
        found.setdefault(benchmark, []).extend(texts)
    if number == 0:
        raise DecontamError(f"{file.path} holds no items; remove it or check how it was made.")
    return found


def _texts_of_record(record: Mapping[str, Any], keys: FieldMap, row: int, split: str, item: str | None) -> list[_Text]:
    """The texts of one record, questions first."""
    found = []
    questions: list[str] = []
    for name in keys.question:
        if questions := texts_of(first(record, (name,))):
            break
    whole = texts_of(first(record, keys.text))
    choices = read_choices(_spelled_list(first(record, keys.choices, as_list=True)))
    raw = first(record, keys.answer)
    if len(questions) > 1 and len(whole) == 1:
        # A conversation whose `text` joins the turns: one leaked turn is a leak, so each is an entry of its own.
        whole = questions
    joined = choices.joined
    asked = [f"{question}\n{joined}" if joined else question for question in questions]
    if not whole:
        whole = asked
    elif not all(_holds(whole, question) for question in questions):
        # `text` is not the whole item but a passage, say: without this the question would be looked for nowhere.
        whole = asked + whole
    head = questions[0] if len(questions) == 1 else ""
    for turn, text in enumerate(whole):
        # The answers of a conversation are one for each turn.
        own = raw[turn] if isinstance(raw, list) and len(raw) == len(whole) > 1 else raw
        answer = resolve_answer(own, choices, text, keys.answer_base)
        if head and len(head) < len(text) and text.startswith(head):
            found.append(_Text(row, split, item, "question", text, len(head), answer, choices))
        else:
            found.append(_Text(row, split, item, "question", text, None, answer, choices if type(answer) is int else None))
    for answer in texts_of(raw):
        if not any(answer in text for text in whole):
            found.append(_Text(row, split, item, "answer", answer))
    for passage in texts_of(first(record, keys.passage)):
        found.append(_Text(row, split, item, "passage", passage))
    return found


def _holds(texts: Sequence[str], question: str) -> bool:
    """Whether a question stands in these texts, whatever its spaces and punctuation."""
    return any(question in text for text in texts) or _letters(question) in _letters("".join(texts))


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def _spelled_list(value: Any) -> Any:
    """Choices that a CSV or a dataset's author wrote into one text, `['red', 'blue']` or a line each, as the list that they are."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("[") and text.endswith("]") and len(text) <= MAX_SPELLED_CHARS:
        for parse in (json.loads, ast.literal_eval):
            try:
                found = parse(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            # One choice is what Python makes of NumPy's `['red' 'blue']`: then the text itself says more.
            if isinstance(found, list) and len(found) > 1 and all(isinstance(part, (str, int, float)) for part in found):
                return found
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines if len(lines) > 1 else value


def _ids(paths: Sequence[Path], parts: Sequence[Sequence[_Text]]) -> list[str]:
    """An id for the item of each text: its own, else its row's number, with the file's name where that is not enough."""
    ids = []
    seen: dict[tuple[str, str], tuple[int, int]] = {}
    for place, (label, part) in enumerate(zip(benchmark_names(paths), parts, strict=True)):
        for text in part:
            row = text.row
            item = text.item or (f"{label}:{row}" if len(paths) > 1 else str(row))
            here = (place, row)
            if seen.setdefault((text.split, item), here) != here:
                item = f"{item}@{label}:{row}"
            ids.append(item)
    return ids


def _table(benchmark: str, paths: Sequence[Path], parts: Sequence[Sequence[_Text]], settings: MatchSettings) -> pa.Table:
    """The rows of ITEM_SCHEMA, without answers that could not be a match by themselves and with every way to write short questions."""
    texts = [text for part in parts for text in part]
    heads = [text.text[: text.question_chars] if text.question_chars else "" for text in texts]
    matched = (settings.length, settings.hangul_length)
    is_short = _is_short([text.text if text.field == "answer" else head for text, head in zip(texts, heads, strict=True)], *matched)
    asked: dict[str, str] = {}
    shared = {head for text, head in zip(texts, heads, strict=True) if head and asked.setdefault(head, text.text) != text.text}
    base = told_base((text.answer, len(text.choices.texts)) for text in texts if type(text.answer) is int and text.choices)
    rows: list[tuple[str, str, str, str, int | None, str | None]] = []
    for text, item, head, short in zip(texts, _ids(paths, parts), heads, is_short, strict=True):
        # `True`, `B` or a date would be found everywhere.
        if text.field == "answer" and short:
            continue
        answer, chars, ways = text.answer, text.question_chars, [text.text]
        if isinstance(answer, int):
            answer = numbered(text.choices, answer, base) if text.choices else None
        if head in shared:
            # Another item asks the same: finding these words alone is finding nothing.
            chars = None
        if head and (short or head in shared) and text.choices and not are_letters(text.choices):
            ways += renderings(head, text.choices.texts, None if head in shared else settings.length)
        rows += [(text.split, item, text.field, way, chars, answer) for way in dict.fromkeys(ways)]
        if head and short and head not in shared:
            rows.append((text.split, item, text.field, head, None, answer))
    columns = zip(*rows, strict=True) if rows else [()] * (len(ITEM_SCHEMA) - 1)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, list(ITEM_SCHEMA)[1:], strict=True)]
    return pa.table([pa.repeat(pa.scalar(benchmark, pa.string()), len(rows)), *arrays], schema=ITEM_SCHEMA)


def _is_short(texts: Sequence[str], length: int, hangul_length: int) -> list[bool]:
    """Whether each text has fewer letters and digits than that, the second counting for one that is at least half Hangul."""
    normalized = normalize_batch(pa.array(texts, pa.large_string()))
    lengths = np.diff(normalized.offsets)
    before = np.concatenate([[0], np.cumsum(is_hangul_array(normalized.codepoints), dtype=np.int64)])
    hangul = before[normalized.offsets[1:]] - before[normalized.offsets[:-1]]
    enough = (lengths >= length) | ((lengths >= hangul_length) & (2 * hangul >= lengths))
    return (~enough).tolist()


def check_findable(items: pa.Table, settings: MatchSettings) -> pa.Table:
    """One benchmark's table of ITEM_SCHEMA as it is; raises DecontamError if all of its texts are too short to be looked for.

    Then the key that was read holds a label (COPA's question is `cause` or `effect`), and another one the item.
    """
    shortest = min(settings.length, settings.short_length), min(settings.hangul_length, settings.hangul_short_length)
    texts = items["text"].to_pylist()
    if all(_is_short([text], *shortest)[0] for text in texts):  # nearly always the first says no
        name, longest = items["benchmark"][0].as_py(), max(texts, key=len)
        raise DecontamError(
            f"nothing of '{name}' can be found: all its texts are shorter than {shortest[0]} letters and digits ({shortest[1]} if half are "
            f"Hangul), such as {longest[:40]!r}; name the keys that hold the item in the benchmark's field map, or leave it out."
        )
    return items
