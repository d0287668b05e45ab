"""What a reviewer looks at: the matches of a scan, grouped by document and item, each with the two texts around it.

Only excerpts are held: documents are read one batch at a time from the row groups that hold a wanted id.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import xxhash

from decontam.errors import DecontamError
from decontam.index import Index, load_index
from decontam.normalize import normalize_text

KEY = ("id", "benchmark", "split", "item")
"""A finding is one document and one item, however many matches they have."""

MATCH_COLUMNS = (
    *(*KEY, "field", "entry", "url", "source", "start", "end", "item_start", "item_end"),
    *("length", "coverage", "frequency", "required", "corpus_documents", "answered", "action"),
)
SORTS = ("length", "coverage", "documents", "sample")
_SORT_COLUMN = {"length": "length", "coverage": "coverage", "documents": "corpus_documents"}

_BATCH_ROWS = 64
"""Documents decoded at a time: of a row group of long pages only this many are in memory."""

_WIDEST = 4
"""Bytes of the widest UTF-8 character."""

_EDGE_LETTERS = 3
"""Letters at either end of a match in which the item's span may hold more than the document's."""

_MOST_COMBINING = 16
"""A cut moves past at most this many marks on one letter: real text has four, a hostile one has no end."""


@dataclass(frozen=True)
class Selection:
    """Which matches to look at (None: any) and in which order: most first, or `sample`, a fixed random order, for estimates of precision.

    limit: findings. Raises DecontamError for an unknown order.
    """

    benchmark: str | None = None
    item: str | None = None
    document: str | None = None
    action: str | None = None
    min_length: int = 0
    sort: str = "length"
    limit: int = 20

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise DecontamError(f"there is no order '{self.sort}'; use {', '.join(SORTS)}.")


@dataclass(frozen=True)
class Excerpt:
    """Part of a text around a match. highlight, also: (start, end) in characters of `text`: the match, and other matches in view.

    first_byte: UTF-8 byte of the whole text at which it begins. cut_before, cut_after: whether the text goes on there.
    """

    text: str
    highlight: tuple[int, int]
    first_byte: int = 0
    also: tuple[tuple[int, int], ...] = ()
    cut_before: bool = False
    cut_after: bool = False


@dataclass(frozen=True)
class Match:
    """One row of matches.parquet with its two excerpts; without the document's, `note` says why. `note` is empty where all is there.

    answer: what answers the item; None where the benchmark has no text for that.
    """

    facts: dict[str, Any]
    item: Excerpt
    answer: str | None = None
    document: Excerpt | None = None
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """A document and an item that have text in common. matches: longest first, at least one."""

    matches: tuple[Match, ...]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """(document id, benchmark, split, item)."""
        return key_of(self.matches[0].facts)


@dataclass(frozen=True)
class Findings:
    """The findings shown, and how many there are in all, with their number of matches."""

    shown: tuple[Finding, ...]
    total: int
    matches: int


def key_of(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """(document id, benchmark, split, item) of a row of matches.parquet or review.jsonl."""
    return str(row["id"]), str(row["benchmark"]), str(row["split"] or ""), str(row["item"])


def review_folder(path: Path) -> Path:
    """The folder that holds matches.parquet: `path`, or its decontaminate/ when `path` is a run directory.

    Raises DecontamError when neither has one.
    """
    for folder in (path, path / "decontaminate"):
        if (folder / "matches.parquet").is_file():
            return folder
    raise DecontamError(f"there is no matches.parquet in {path} or {path / 'decontaminate'}; give the output folder of a finished scan.")


def index_folder(folder: Path, given: Path | None = None) -> Path:
    """The index to take item texts from: `given`, else `index` in the scan's report.json, else where the pipeline builds its own.

    Raises DecontamError when there is none, and for a report.json that cannot be read.
    """
    if given is not None:
        return given
    path = folder / "report.json"
    try:
        report = json.loads(path.read_bytes()) if path.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise DecontamError(f"{path} cannot be read ({error}); give the index with --index.") from error
    recorded = report.get("index") if isinstance(report, dict) else None
    found = folder / recorded if isinstance(recorded, str) else folder / "steps" / "index" / "index"
    if not found.is_dir():
        raise DecontamError(f"the scan's index {found} is not there; give the folder of the index with --index.")
    return found


def review(folder: Path, selection: Selection, given_index: Path | None = None, context: int = 200) -> Findings:
    """The findings of a scan with their texts; context: characters shown on either side of a match.

    Raises DecontamError for files that are missing or cannot be read, and for a benchmark or item that the index does not hold.
    """
    rows, total, matches = select_matches(folder, selection)
    if not rows and selection.benchmark is None and selection.item is None:
        return Findings((), 0, 0)
    index = load_index(index_folder(folder, given_index))
    if not rows:
        check_known(index, selection)
    return Findings(tuple(with_texts(folder, index, rows, context)), total, matches)


def select_matches(folder: Path, selection: Selection) -> tuple[list[list[dict[str, Any]]], int, int]:
    """(rows of the first `limit` findings, a list each; number of findings; number of their matches).

    Raises DecontamError for a matches.parquet that cannot be read or lacks a column.
    """
    path = folder / "matches.parquet"
    try:
        dataset = ds.dataset(path, format="parquet")
        missing = [name for name in MATCH_COLUMNS if name not in dataset.schema.names]
        if missing:
            raise DecontamError(f"{path} lacks the column {missing[0]}, so another version wrote it; scan again.")
        wanted = pc.field("length") >= selection.min_length
        for name, value in (("benchmark", selection.benchmark), ("item", selection.item), ("action", selection.action)):
            wanted = wanted if value is None else wanted & (pc.field(name) == value)
        wanted = wanted if selection.document is None else wanted & (pc.field("id") == selection.document)
        keys = dataset.to_table(columns=[*KEY, *_SORT_COLUMN.values()], filter=wanted)
        groups = keys.group_by(list(KEY), use_threads=False).aggregate([(name, "max") for name in _SORT_COLUMN.values()])
        chosen = _first(groups, selection).select(KEY).to_pylist()
        documents = pa.array([row["id"] for row in chosen], dataset.schema.field("id").type)
        rows = dataset.to_table(columns=list(MATCH_COLUMNS), filter=wanted & pc.field("id").isin(documents)).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DecontamError(f"{path} cannot be read ({error}); scan again.") from error
    order = {key_of(row): number for number, row in enumerate(chosen)}
    found: list[list[dict[str, Any]]] = [[] for _ in chosen]
    for row in rows:
        if (number := order.get(key_of(row))) is not None:
            found[number].append(row)
    return [sorted(group, key=lambda row: (-row["length"], row["start"], row["field"])) for group in found], len(groups), len(keys)


def _first(groups: pa.Table, selection: Selection) -> pa.Table:
    by_key = [(name, "ascending") for name in KEY]
    if selection.sort == "sample":
        names = zip(*(groups[name].to_pylist() for name in KEY), strict=True)
        groups = groups.append_column(
            "order", pa.array([xxhash.xxh3_64_intdigest(json.dumps(name).encode()) for name in names], pa.uint64())
        )
        return groups.sort_by([("order", "ascending"), *by_key]).slice(0, selection.limit)
    return groups.sort_by([(f"{_SORT_COLUMN[selection.sort]}_max", "descending"), *by_key]).slice(0, selection.limit)


def check_known(index: Index, selection: Selection) -> None:
    """Raises DecontamError when the index has no such benchmark or item: an empty review would otherwise hide a slip of the keyboard."""
    known = [segment.benchmark for segment in index.segments]
    if selection.benchmark is not None and selection.benchmark not in known:
        raise DecontamError(f"the index holds no benchmark '{selection.benchmark}'; it holds {', '.join(known) or 'none'}.")
    searched = [segment for segment in index.segments if selection.benchmark in (None, segment.benchmark)]
    if selection.item is not None and not any(pc.any(pc.equal(segment.entries["item"], selection.item)).as_py() for segment in searched):
        raise DecontamError(f"the index holds no item '{selection.item}' in {selection.benchmark or 'any benchmark'}; check the id.")


def item_text(index: Index, row: dict[str, Any]) -> tuple[str, str | None]:
    """The benchmark's text that a row of matches.parquet is about, and what answers its item, if the benchmark has that as text.

    Raises DecontamError when the index does not hold them.
    """
    segment = index.by_name.get(row["benchmark"])
    if segment is None:
        raise DecontamError(
            f"the index holds no benchmark '{row['benchmark']}', so it is not the one of this scan; give that with --index."
        )
    is_there = 0 <= row["entry"] < len(segment.entries)
    found = segment.entries.slice(row["entry"], 1).to_pylist()[0] if is_there else {}
    if any(found.get(name) != row[name] for name in ("split", "item", "field")):
        raise DecontamError(
            f"the index has another text where item '{row['item']}' of {row['benchmark']} was, so it is not the one of this scan; "
            "give that with --index."
        )
    number = segment.numbers[row["entry"]]
    answers = segment.entries["answer"].filter(pa.array(segment.numbers == number)).drop_null().to_pylist()
    return found["text"], next(iter(answers), None)


def with_texts(folder: Path, index: Index, rows: Sequence[Sequence[dict[str, Any]]], context: int) -> Iterator[Finding]:
    """Each group of rows of matches.parquet as a finding with its texts."""
    spans: dict[str, dict[tuple[int, int], Excerpt | None]] = {}
    for row in (row for group in rows for row in group):
        spans.setdefault(row["id"], {})[row["start"], row["end"]] = None
    absent = set(spans)
    for document, data in document_texts(folder, spans):
        absent.discard(document)
        for start, end in spans[document]:
            spans[document][start, end] = excerpt(data, start, end, context)
    for group in rows:
        yield _finding(index, group, spans[group[0]["id"]], group[0]["id"] in absent, context)


def _finding(
    index: Index, group: Sequence[dict[str, Any]], spans: dict[tuple[int, int], Excerpt | None], absent: bool, context: int
) -> Finding:
    """One finding. spans: the excerpt of the document by (start, end), None where the text does not have that span."""
    found, texts = [], []
    for row in group:
        around = spans[row["start"], row["end"]]
        whole, answer = item_text(index, row)
        text = whole.encode()
        item = excerpt(text, row["item_start"], row["item_end"], context)
        if item is None:
            raise DecontamError(
                f"bytes {row['item_start']} to {row['item_end']} are no part of the {row['field']} of item '{row['item']}' of "
                f"{row['benchmark']}, so the index is not the one of this scan; give that with --index."
            )
        note = "masked: the matched words were cut out of the document" if row["action"] == "mask" else ""
        if around is not None and not note and not _agree(around, item):
            around = None
            spans = {**spans, (row["start"], row["end"]): None}
        if around is None:
            note = (
                "the document's text is in neither kept/ nor dropped/"
                if absent
                else "the match's offsets do not fit the document's text, or several documents share its id"
            )
        found.append(Match(row, item, answer, around, note))
        texts.append(text)
    first = found[0]
    of_text = [row for row, text in zip(group, texts, strict=True) if text == texts[0]]
    item = replace(first.item, also=_in_view(first.item, [(row["item_start"], row["item_end"]) for row in of_text]))
    fitting = [(start, end) for start, end in ((row["start"], row["end"]) for row in group) if spans[start, end] is not None]
    document = first.document and replace(first.document, also=_in_view(first.document, fitting))
    return Finding((replace(first, item=item, document=document), *found[1:]))


def _agree(document: Excerpt, item: Excerpt) -> bool:
    """Whether the document has the item's words where they match; not if another document has its id. Without the edges, where
    one character (a ligature) may stand for a letter of the match and others."""
    theirs, ours = (normalize_text(side.text[slice(*side.highlight)]) for side in (document, item))
    return ours[_EDGE_LETTERS : len(ours) - _EDGE_LETTERS] in theirs


def document_texts(folder: Path, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """`(id, UTF-8 text)` of these documents, from dropped/ and kept/, each once; ids that are in neither are left out.

    Reads the ids of row group after row group until all are found, and texts only of those that hold one.
    Raises DecontamError for a shard that cannot be read.
    """
    left = set(ids)
    for path in (*sorted((folder / "dropped").glob("*.parquet")), *sorted((folder / "kept").glob("*.parquet"))):
        if not left:
            return
        try:
            with pq.ParquetFile(path) as file:
                if {"id", "text"} <= set(file.schema_arrow.names):
                    yield from _texts_of_shard(file, left)
        except (OSError, pa.ArrowException) as error:
            raise DecontamError(f"{path} cannot be read ({error}); restore it or scan again.") from error


def _texts_of_shard(file: pq.ParquetFile, left: set[str]) -> Iterator[tuple[str, bytes]]:
    for group in range(file.num_row_groups):
        names = file.read_row_group(group, columns=["id"], use_threads=False).column("id").cast(pa.string())
        if not pc.any(pc.is_in(names, pa.array(sorted(left), pa.string()))).as_py():
            continue
        for batch in file.iter_batches(_BATCH_ROWS, [group], ["id", "text"], use_threads=False):
            names = batch.column("id").cast(pa.string())
            rows = pa.table({"id": names, "text": batch.column("text")}).filter(pc.is_in(names, pa.array(sorted(left), pa.string())))
            for row in rows.to_pylist():
                if row["id"] in left and row["text"] is not None:
                    left.discard(row["id"])
                    yield row["id"], row["text"].encode()


def excerpt(data: bytes, start: int, end: int, context: int) -> Excerpt | None:
    """The UTF-8 text `data` around its bytes `start` to `end`, with up to `context` whole characters on either side; None for bytes that
    are no part of it."""
    if not 0 <= start < end <= len(data):
        return None
    try:
        inside = data[start:end].decode()
    except UnicodeDecodeError:
        return None
    room = _WIDEST * (context + _MOST_COMBINING)
    before = data[max(0, start - room) : start].decode(errors="ignore")
    after = data[end : end + room].decode(errors="ignore")
    begin = max(0, len(before) - context)
    while begin and begin < len(before) and _continues(before[begin]):  # the letter of this mark is cut off
        begin += 1
    stop = min(len(after), context)
    while stop < min(len(after), context + _MOST_COMBINING) and _continues(after[stop]):
        stop += 1
    before, after = before[begin:], after[:stop]
    first_byte, last_byte = start - len(before.encode()), end + len(after.encode())
    highlight = (len(before), len(before) + len(inside))
    return Excerpt(before + inside + after, highlight, first_byte, (), first_byte > 0, last_byte < len(data))


def _continues(character: str) -> bool:
    """Whether a character is part of the one before it: a mark, a conjoining vowel or final consonant, a joiner."""
    return unicodedata.category(character) in ("Mn", "Me", "Mc") or "\u1160" <= character <= "\u11ff" or character == "\u200d"


def _in_view(around: Excerpt, spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The parts of byte spans of the whole text that an excerpt shows, in its characters, without its own match."""
    data = around.text.encode()
    found = set()
    for start, end in spans:
        first, last = max(0, start - around.first_byte), min(len(data), end - around.first_byte)
        if first < last:
            begin = len(data[:first].decode(errors="ignore"))
            found.add((begin, begin + len(data[first:last].decode(errors="ignore"))))
    return tuple(sorted(found - {around.highlight}))
