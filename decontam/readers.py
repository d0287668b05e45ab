"""Rows of benchmark files: JSONL, JSON, Parquet, CSV and TSV, plain or compressed with gzip or zstandard."""

from __future__ import annotations

import csv
import glob
import gzip
import io
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from decontam.errors import DecontamError

FORMATS = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv")
COMPRESSIONS = (".gz", ".zst")

MAX_CELL_CHARS = 1 << 30
"""Longest CSV cell. The csv module stops at 131,072 characters, less than a long-context benchmark's passage; a stray quote that swallows
the rest of a file still ends here."""

MAX_DIGITS = 4300
"""Longest integer that Python reads from text (`sys.int_info.default_max_str_digits`); a longer one takes quadratic time."""

MAX_ROW_CHARS = 1 << 29
"""Longest line of JSONL; rows of LiveCodeBench carry their hidden tests, a hundred million characters. A compressed bomb ends here."""

MAX_JSON_CHARS = 1 << 30
"""Longest .json file, which is read at once; LongBench v2 has 465 million characters."""

PARQUET_ROWS = 1024
"""Rows of Parquet turned into Python objects at a time: enough to make the call cheap, few enough for rows of long contexts."""

_TOO_LONG = object()
"""Stands for an integer of more digits, until the row it is in is known."""

_LONG_NUMBER = re.compile(rf"[0-9]{{{MAX_DIGITS + 1}}}")

_DECODER = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) <= MAX_DIGITS else _TOO_LONG)


def file_format(path: Path) -> str:
    """The format suffix of a benchmark file, without compression; raises DecontamError for one that is not read."""
    name = path.name.lower()
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    for suffix in FORMATS:
        if name.endswith(suffix) and not (suffix == ".parquet" and path.suffix.lower() != ".parquet"):
            return suffix
    raise DecontamError(f"{path} is no benchmark file; give {', '.join(FORMATS)} (all but Parquet also as .gz or .zst).")


def stem(path: Path) -> str:
    """File name without format and compression suffix."""
    return path.name[: path.name.lower().rindex(file_format(path))]


def find_files(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files, globs and folders as a sorted list of files without repetitions; of a folder, every benchmark file below it.

    Raises DecontamError for a path that does not exist, a glob or folder without benchmark files, and a file of another format.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found: dict[str, Path] = {}
    for entry in given:
        path = Path(entry)
        if path.is_dir():
            files = [file for file in sorted(path.rglob("*")) if file.is_file() and is_benchmark(file)]
        elif path.is_file():
            file_format(path)
            files = [path]
        else:
            files = [Path(match) for match in sorted(glob.glob(str(entry), recursive=True)) if is_benchmark(Path(match))]
        if not files:
            raise DecontamError(f"{entry} names no benchmark file; give a file, folder or glob with {', '.join(FORMATS)}.")
        for file in files:
            found.setdefault(os.path.abspath(file), file)  # one file given by two spellings of its path is read once
    if not found:
        raise DecontamError("no benchmark path was given; name at least one file, folder or glob.")
    return sorted(found.values())


def is_benchmark(path: Path) -> bool:
    """Whether a file's name says that it is of a format that is read."""
    try:
        file_format(path)
    except DecontamError:
        return False
    return True


def read_rows(path: Path, columns: Collection[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """`(row number from 1, record)` of one file, read as it is asked for; blank JSONL lines are passed over but counted.

    columns: the keys that are wanted; of Parquet the others are not read. Questions and answers nested in the paragraphs of a SQuAD file
    (KorQuAD, KLUE-MRC) become rows with their paragraph's `context`. Raises DecontamError naming file and row for what cannot be read.
    """
    kind = file_format(path)
    try:
        if kind == ".parquet":
            yield from _parquet(path, columns)
        elif kind in (".csv", ".tsv"):
            with _open(path, newline="") as stream:
                yield from _delimited(path, stream, "," if kind == ".csv" else "\t")
        elif kind == ".json":
            with _open(path) as stream:
                text = stream.read(MAX_JSON_CHARS + 1)
            if len(text) > MAX_JSON_CHARS:
                raise DecontamError(f"{path} has over {MAX_JSON_CHARS} characters; make it JSONL, which is read line by line.")
            yield from enumerate(_json_records(path, text), 1)
        else:
            with _open(path) as stream:
                for number, line in enumerate(iter(lambda: stream.readline(MAX_ROW_CHARS + 1), ""), 1):
                    if len(line) > MAX_ROW_CHARS:
                        raise DecontamError(f"{path}, row {number}, has over {MAX_ROW_CHARS} characters; shorten or remove it.")
                    if line.strip():
                        yield number, _record(path, number, line)
    except UnicodeDecodeError as error:
        raise DecontamError(f"{path} is not UTF-8 (byte {error.start} of a block); convert it.") from error
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise DecontamError(f"{path} cannot be read ({error}); replace or remove the file.") from error


def _open(path: Path, newline: str | None = None) -> TextIO:
    name = path.name.lower()
    if name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline=newline)
    if name.endswith(".zst"):
        # Arrow's reader: zstandard's takes the end of a cut-off file for the end of its rows.
        return io.TextIOWrapper(pa.input_stream(path, compression="zstd"), encoding="utf-8-sig", newline=newline)
    return path.open(encoding="utf-8-sig", newline=newline)


def count_rows(path: Path) -> int:
    """How many rows a file has; Parquet says so, other files are read. Raises DecontamError as `read_rows` does."""
    return sum(1 for _ in read_rows(path, ()))


def field_names(path: Path, record: Mapping[str, Any]) -> str:
    """What a row's fields are called, for an error: also those that `read_rows` was not asked for."""
    names = list(record)
    if file_format(path) == ".parquet":
        names = pq.read_schema(path).names
    return ", ".join(names[:40]) or "none"


def _parquet(path: Path, columns: Collection[str] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows in batches; of a file that has none of the columns every row is empty."""
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        wanted = names if columns is None else [name for name in names if name in columns]
        batches = file.iter_batches(PARQUET_ROWS, columns=wanted)
        yield from enumerate((record for batch in batches for record in batch.to_pylist()), 1)


def _parse(path: Path, row: str, text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (json.JSONDecodeError, RecursionError) as error:
        if not row and isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            raise DecontamError(f"{path} holds more than one JSON value; call it .jsonl if each line is a record.") from error
        raise DecontamError(f"{path}{row} is not valid JSON ({error}); fix or remove it.") from error


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    return _checked(path, number, _parse(path, f", row {number},", line), _is_suspect(line))


def _is_suspect(text: str) -> bool:
    """Whether JSON may hold a lone surrogate, which takes an escape, or an integer of too many digits, which takes a long line."""
    return "\\u" in text or (len(text) > MAX_DIGITS and _LONG_NUMBER.search(text) is not None)


def _checked(path: Path, number: int, value: Any, suspect: bool) -> dict[str, Any]:
    """The value, if it is an object whose texts and numbers can be used: JSON escapes can spell half a character, which no UTF-8 holds."""
    if not isinstance(value, dict):
        raise DecontamError(f"{path}, row {number}, is not a JSON object; fix or remove it.")
    if not suspect:
        return value
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise DecontamError(f"{path}, row {number}, has the lone surrogate {half}, which is half a character; fix or remove it.") from error
    except TypeError as error:  # only _TOO_LONG can't be written: the rest came out of JSON
        raise DecontamError(f"{path}, row {number}, has a number of over {MAX_DIGITS} digits; put it in quotes or remove it.") from error
    except RecursionError as error:
        raise DecontamError(f"{path}, row {number}, is nested too deep; fix or remove it.") from error
    return value


def _json_records(path: Path, text: str) -> list[dict[str, Any]]:
    """A JSON list of objects, or an object of which exactly one value is such a list (`{"data": [...]}`)."""
    value = _parse(path, "", text)
    if isinstance(value, dict):
        lists = [entry for entry in value.values() if isinstance(entry, list) and entry and isinstance(entry[0], dict)]
        value = lists[0] if len(lists) == 1 else None
    if not isinstance(value, list):
        raise DecontamError(f"{path} holds no list of items; give a JSON list of objects, or an object with one such list.")
    suspect = _is_suspect(text)
    records = [_checked(path, number, entry, suspect) for number, entry in enumerate(value, 1)]
    return [row for number, record in enumerate(records, 1) for row in _squad(path, number, record)]


def _squad(path: Path, number: int, record: dict[str, Any]) -> list[dict[str, Any]]:
    """The questions of a SQuAD article, each with its paragraph's `context`; any other record as it is."""
    paragraphs = record.get("paragraphs")
    if not isinstance(paragraphs, list) or not paragraphs:
        return [record]
    rows = []
    for paragraph in paragraphs:
        questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
        if not isinstance(questions, list) or not all(isinstance(question, dict) for question in questions):
            raise DecontamError(f"{path}, entry {number}, has a paragraph without a list of questions in qas; fix or remove it.")
        rows += [{**question, "context": paragraph.get("context")} for question in questions]
    return rows


def _delimited(path: Path, stream: TextIO, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a CSV or TSV file with a header line. TSV follows the common benchmark habit of literal, unescaped quotes."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARS))  # for the whole process: the csv module knows no other way
    if delimiter == ",":
        reader = csv.DictReader(stream, strict=True)
    else:
        reader = csv.DictReader(stream, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    number = 0
    try:
        names = Counter(name for name in reader.fieldnames or () if name)
        if twice := [name for name, count in names.items() if count > 1]:
            raise DecontamError(f"{path} has two columns called {twice[0][:40]!r}; rename or remove one.")
        for number, record in enumerate(reader, 1):
            if None in record:
                raise DecontamError(f"{path}, row {number}, has more cells than the header; quote the delimiter or fix the row.")
            yield number, record
    except csv.Error as error:
        raise DecontamError(f"{path}, row {number + 1}, is not valid ({error}); fix or remove it.") from error
