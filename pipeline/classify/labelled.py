"""Labelled documents from Parquet or JSONL: their lines, labels and languages, sampled and counted the same in every run."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.classify.config import TrainConfig
from pipeline.classify.lines import normal_lines
from pipeline.documents import DocumentReader
from pipeline.errors import UserError
from pipeline.files import File, find_files, is_url
from pipeline.ingest.decode import host_of
from pipeline.ingest.formats import detected_format
from pipeline.shards import file_facts
from pipeline.splits import Split, parts_of

UNKNOWN_LANGUAGE = "und"
"""Language of a labelled document that has no `lang` field."""

_OWN_COLUMNS = {"id": "source_id", "title": "title", "url": "url", "date": "date"}
"""Fields that the readers give a column of their own; every other field arrives in `meta`."""

MOST_LABELS = 1000
"""A field of more values is hardly a label; fastText's time per document and the confusion matrix grow with their number and its square."""


@dataclass(frozen=True)
class Example:
    """One labelled document: its normalised line, the language it says it is in, and its group (host, say); empty: its own text."""

    line: str
    language: str
    group: str = ""


Examples = dict[str, list[Example]]
"""Distinct documents per label (labels sorted), by ascending hash of their line."""


_Found = dict[str, dict[int, Example]]
"""Per label, documents by the hash of their line."""


@dataclass(frozen=True)
class Labelled:
    """Labelled documents. held_out: those of `held_out_inputs`, empty without such files. left_out: why others are not here.

    files: name, size and xxh3 of each file (a remote one: of its size, start and end), and the side it is for.
    """

    examples: Examples
    held_out: Examples
    left_out: dict[str, int]
    files: list[dict[str, Any]]


@dataclass(frozen=True)
class _Batch:
    lines: list[str]
    labels: list[str | None]
    languages: list[str]
    groups: list[str]
    unreadable: int
    blank: int


def labelled_files(settings: TrainConfig) -> list[tuple[File, str]]:
    """The files that `inputs` and `held_out_inputs` name, and their formats.

    Raises UserError for a missing one or one that isn't JSONL or Parquet.
    """
    return _files(settings.inputs) + (_files(settings.held_out_inputs) if settings.held_out_inputs else [])


def _files(patterns: Sequence[str]) -> list[tuple[File, str]]:
    found = []
    for file in find_files(patterns):
        format_ = detected_format(file)
        if format_ not in ("jsonl", "parquet"):
            is_what = f"is {format_}" if format_ else "is neither"
            raise UserError(f"labelled documents must be JSONL or Parquet, and '{file.path}' {is_what}; convert it or leave it out")
        found.append((file, format_))
    return found


def check_labelled(settings: TrainConfig) -> None:
    """Look at the start of every labelled file. Raises UserError as `read_labelled` does, without reading everything."""
    for file, format_ in labelled_files(settings):
        for _ in itertools.islice(_batches(file, format_, settings), 1):
            pass


def read_labelled(settings: TrainConfig) -> Labelled:
    """All labelled documents, each text once per label, at most `max_documents_per_label` of a label (those of smallest hash).

    A text in several groups is one document, of the group whose name sorts first. A text that is in `held_out_inputs` too is held out.

    Raises UserError, naming the file: no field of the label's name, a label that is neither text nor whole number nor true/false, no
    readable document, fewer than two labels, no document of the positive label, or, with `held_out_inputs`, a label on one side only.
    """
    left_out = {"without label": 0, "without words": 0, "repeated": 0, "over the limit": 0, "unreadable": 0, "held out too": 0}
    training_files = _files(settings.inputs)
    found = _read(training_files, settings, left_out)
    _check_labels(set(found), settings)
    held_out_files: list[tuple[File, str]] = []
    held_out: _Found = {}
    if settings.held_out_inputs:
        held_out_files = _files(settings.held_out_inputs)
        held_out = _read(held_out_files, settings, left_out)
        kept_apart = {key for of_label in held_out.values() for key in of_label}
        before = sum(map(len, found.values()))
        found = {label: {key: of_label[key] for key in of_label if key not in kept_apart} for label, of_label in found.items()}
        left_out["held out too"] = before - sum(map(len, found.values()))
        _check_sides(found, held_out, settings)
    files = [_facts(file, side) for side, of_side in (("training", training_files), ("held_out", held_out_files)) for file, _ in of_side]
    return Labelled(_ordered(found), _ordered(held_out), left_out, files)


def _read(files: Sequence[tuple[File, str]], settings: TrainConfig, left_out: dict[str, int]) -> _Found:
    """The documents of files by label and hash; `left_out` is added to."""
    found: _Found = {}
    names: dict[str, str] = {}  # one object per group name
    for file, format_ in files:
        for batch in _batches(file, format_, settings):
            left_out["unreadable"] += batch.unreadable
            left_out["without words"] += batch.blank
            for line, label, language, group in zip(batch.lines, batch.labels, batch.languages, batch.groups, strict=True):
                if label is None or not line:
                    left_out["without label" if label is None else "without words"] += 1
                    continue
                key = xxhash.xxh3_64_intdigest(line.encode(), settings.seed)
                of_label = found.setdefault(label, {})
                known = of_label.get(key)
                left_out["repeated"] += known is not None
                example = Example(line, language, names.setdefault(group, group))
                of_label[key] = example if known is None else _merged(known, example)
            left_out["over the limit"] += sum(_prune(of_label, settings.max_documents_per_label) for of_label in found.values())
    return found


def _merged(one: Example, other: Example) -> Example:
    """Two records of one text as one."""
    groups = [group for group in (one.group, other.group) if group]
    return Example(one.line, min(one.language, other.language), min(groups, default=""))


def _ordered(found: _Found) -> Examples:
    """The documents in their order; a text under several labels has the same group under each."""
    groups: dict[int, str] = {}
    for of_label in found.values():
        for key, example in of_label.items():
            if example.group:
                groups[key] = min(groups.get(key, example.group), example.group)
    ordered: Examples = {}
    for label in sorted(found):
        of_label = found[label]
        ordered[label] = [
            example if (group := groups.get(key, "")) == example.group else replace(example, group=group)
            for key, example in sorted(of_label.items())
        ]
    return ordered


def _prune(of_label: dict[int, Example], limit: int) -> int:
    """Keep the `limit` smallest hashes; which those are does not depend on the order of reading."""
    excess = sorted(of_label)[limit:] if len(of_label) > limit else []
    for key in excess:
        del of_label[key]
    return len(excess)


def _facts(file: File, side: str) -> dict[str, Any]:
    facts = {"bytes": file.size, "xxh3": file.fingerprint} if is_url(file.path) else file_facts(Path(file.path))
    return {"name": file.name, **facts, "side": side}


def _check_labels(labels: set[str], settings: TrainConfig) -> None:
    where = ", ".join(settings.inputs)
    listed = ", ".join(f"'{label}'" for label in sorted(labels)[:20])
    if not labels:
        raise UserError(f"no document in {where} has both words and a label in '{settings.label_column}'; check the files")
    if settings.positive_label is not None and settings.positive_label not in labels:
        wanted = settings.positive_label
        raise UserError(f"no document in {where} has the positive label '{wanted}'; set positive_label to one of {listed}")
    if len(labels) > MOST_LABELS:
        column = settings.label_column
        raise UserError(f"'{column}' has {len(labels):,} different labels, and a model takes {MOST_LABELS:,}; is it a label?")
    if len(labels) == 1:
        raise UserError(f"every document in {where} has the label {listed}; a model needs documents of at least two labels")


def _check_sides(training: _Found, held_out: _Found, settings: TrainConfig) -> None:
    """Every label must be on both sides. Raises UserError for one that isn't."""
    where = ", ".join(settings.held_out_inputs)
    if not held_out:
        raise UserError(f"no document in {where} has both words and a label in '{settings.label_column}', so nothing scores the model")
    for label in sorted({*training, *held_out}):
        if not training.get(label):
            how = "each of its texts is in held_out_inputs too" if label in training else "it stands only in held_out_inputs"
            raise UserError(f"the label '{label}' has no document to train on: {how}; add others to inputs, or leave the label out")
        if not held_out.get(label):
            raise UserError(f"the label '{label}' has no document in held_out_inputs ({where}); add some, or leave the label out")


def _batches(file: File, format_: str, settings: TrainConfig) -> Iterator[_Batch]:
    """The rows of one file, batch by batch; an error tells of a file whose first batch has no label at all, or no readable row."""
    parts = parts_of([file], "", {file.path: format_}, settings.text_column, "id", keep_ids=False)
    seen_label = seen_text = False
    first_error, fields = "", set[str]()
    for table in DocumentReader()(Split(os.path.basename(file.name), tuple(parts))):
        readable, error = _undecided(table, "error")
        usable, drop_reason = _undecided(readable, "drop_reason")
        first_error = first_error or error or drop_reason
        seen_text = seen_text or len(usable) > 0
        batch, names = _batch(usable, file, settings)
        batch = replace(batch, unreadable=len(table) - len(readable), blank=len(readable) - len(usable))
        fields |= names
        seen_label = seen_label or any(label is not None for label in batch.labels)
        if seen_text and not seen_label:
            _missing_label(file, fields, settings)
        yield batch
    if not seen_text:
        raise UserError(f"'{file.path}' has no readable document{f': {first_error}' if first_error else ''}; check it and text_column")


def _undecided(table: pa.Table, column: str) -> tuple[pa.Table, str]:
    """The rows that have no value in `error` or `drop_reason`, and the first value of the others."""
    if column not in table.column_names:
        return table, ""
    said = table.column(column).drop_null()
    return table.filter(pc.is_null(table.column(column))), str(said[0]) if len(said) else ""


def _missing_label(file: File, fields: set[str], settings: TrainConfig) -> None:
    if settings.label_column in fields:
        raise UserError(f"'{file.path}' has '{settings.label_column}', but no value in it; fill it in or name another label_column")
    there = ", ".join(f"'{name}'" for name in sorted(fields - {settings.text_column})[:20]) or "none besides the text"
    raise UserError(f"'{file.path}' has no label in '{settings.label_column}'; its fields are {there}: set label_column to one of them")


def _batch(table: pa.Table, file: File, settings: TrainConfig) -> tuple[_Batch, set[str]]:
    if len(table) == 0:
        return _Batch([], [], [], [], 0, 0), set()
    metas: list[dict[str, Any]] = [orjson.loads(meta) if meta else {} for meta in _values(table, "meta")]
    if settings.label_column in _OWN_COLUMNS:
        values = _values(table, _OWN_COLUMNS[settings.label_column])
    else:
        values = [meta.get(settings.label_column) for meta in metas]
    labels = [_label(value, file, position, settings) for value, position in zip(values, _values(table, "position"), strict=True)]
    languages = [str(meta.get("lang") or UNKNOWN_LANGUAGE) for meta in metas]
    fields = {name for meta in metas for name in meta}
    fields |= {name for name, column in _OWN_COLUMNS.items() if any(value is not None for value in _values(table, column))}
    lines = normal_lines(table.column("text"), settings.max_chars, settings.letters)
    return _Batch(lines, labels, languages, _groups(table, metas, settings.split_by), 0, 0), fields


def _groups(table: pa.Table, metas: list[dict[str, Any]], split_by: str) -> list[str]:
    """The group of each row, as text; empty where it has none, and everywhere if texts go by themselves."""
    if split_by == "text":
        return [""] * len(table)
    if split_by in ("auto", "host"):
        values = [host or _host(meta.get("host")) for host, meta in zip(_values(table, "host"), metas, strict=True)]
    elif split_by in _OWN_COLUMNS:
        values = _values(table, _OWN_COLUMNS[split_by])
    else:
        values = [meta.get(split_by) for meta in metas]
    return ["" if value is None else " ".join(str(value).split()) for value in values]


def _host(value: Any) -> str:
    """A record's own `host`, written as that of a `url` is, or as it stands if it can't be one; empty where there is none."""
    if value is None:
        return ""
    host = str(value).strip()
    return host_of(host if "//" in host else f"//{host}") or host


def _values(table: pa.Table, column: str) -> list[Any]:
    return table.column(column).to_pylist() if column in table.column_names else [None] * len(table)


def _label(value: Any, file: File, position: Any, settings: TrainConfig) -> str | None:
    """A label as text: whole numbers and true/false as they are written in JSON; None where there is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (bool, int)):
        return str(value).lower()
    if isinstance(value, str):
        return " ".join(value.split()) or None
    if value is None:
        return None
    shown = f"{str(value)[:40]} ({type(value).__name__})"
    raise UserError(
        f"'{file.path}': the record at position {position} has the label {shown} in '{settings.label_column}'; "
        "a label is a text, a whole number or true/false: name another label_column or convert it"
    )
