"""What is told of a match: where it stands in document and item, how much of the item it is, how common it is, and whether the answer
stands there too."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa

from decontam.extend import count_hangul, window_frequency
from decontam.hashing import MULTIPLIERS, is_hangul
from decontam.index import Index
from decontam.normalize import Normalized, normalize_batch, normalize_buffers, normalize_text
from decontam.segment import Segment

ANSWER_REACH = 200
"""Normalised characters before and after a question within which a short answer counts."""

COPULAS = ("입니다", "이다", "이에요", "이예요", "예요", "이었습니다", "였습니다", "이었다", "였다", "이라고", "라고")
"""Endings of a short Korean answer. Where the question goes on in words (`호수 이름은 백록담이다`) that is prose, no quiz."""

_COLUMNS: dict[str, pa.DataType] = {
    "row": pa.int64(),
    "benchmark": pa.string(),
    "split": pa.string(),
    "item": pa.string(),
    "field": pa.string(),
    "entry": pa.int32(),
    "start": pa.int64(),
    "end": pa.int64(),
    "item_start": pa.int64(),
    "item_end": pa.int64(),
    "length": pa.int32(),
    "coverage": pa.float64(),
    "item_coverage": pa.float64(),
    "frequency": pa.int32(),
    "required": pa.int32(),
    "answered": pa.bool_(),
}

MATCH_SCHEMA = pa.schema(_COLUMNS)
"""One match. row: document, counted in the scanned column. entry: which of the benchmark's texts, counted in its segment. start, end: UTF-8
byte offsets in the document's text; item_start, item_end: in the item's text. length: normalised characters. coverage: share of the item's
text, or of its question alone if that is more, that the match covers, 0 to 1. item_coverage: the same for all matches of this text in this
document together. frequency: items of the benchmark that hold the match's windows, at the quartile of the rarest (for a whole short text:
items with the same text). required: characters that make a match of this script; a shorter match is a whole short text. answered: the
item's answer stands in the document too, a long one as a match anywhere, a short one between word boundaries within ANSWER_REACH
characters of this match and outside of it; a Korean one may have a copula, if a mark or a line's end follows both that and the match."""


class Spans:
    """Documents of a batch, normalised again with byte offsets and word boundaries: only those in which something was found."""

    def __init__(self, data: np.ndarray, offsets: np.ndarray) -> None:
        self._data, self._offsets = data, offsets
        self._known: dict[int, Normalized] = {}

    def of(self, document: int) -> Normalized:
        """A document's characters with starts, ends and breaks; kept, as every segment may ask for it."""
        if document not in self._known:
            self._known[document] = normalize_buffers(self._data, self._offsets[document : document + 2], with_spans=True, with_breaks=True)
        return self._known[document]

    def bounded(self, documents: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """bool[n]: whether each stretch stands between word boundaries."""
        inside = np.zeros(len(documents), np.bool_)
        for row in np.argsort(documents, kind="stable").tolist():
            breaks = self.of(int(documents[row])).breaks
            assert breaks is not None  # asked for above
            after = int(starts[row] + lengths[row])
            inside[row] = breaks[starts[row]] != 0 and (after == len(breaks) or breaks[after] != 0)
        return inside

    def stops(self, document: int, place: int) -> bool:
        """Whether a mark, a line's end or the text's end comes next after the first `place` characters (1 or more)."""
        text = self.of(document)
        assert text.starts is not None and text.ends is not None  # asked for above
        if place == len(text.codepoints):
            return True
        begin = self._offsets[document]
        gap = self._data[begin + text.ends[place - 1] : begin + text.starts[place]].tobytes().decode("utf-8", "ignore")
        return any(character in "\r\n" or unicodedata.category(character)[0] in "PS" for character in gap)


def describe(index: Index, matches: np.ndarray, spans: Spans) -> pa.Table:
    """MATCH_SCHEMA rows of matches, int64[m, 5] of (document, start, pool position, length, entry), in the same order."""
    document, start, at, length, entry = (np.ascontiguousarray(column) for column in matches.T)
    owner = np.searchsorted(index.entry_bases, entry, side="right") - 1
    parts, order = [MATCH_SCHEMA.empty_table()], [np.zeros(0, np.int64)]
    for number in np.unique(owner).tolist():
        rows = np.flatnonzero(owner == number)
        own = (document[rows], start[rows], at[rows], length[rows], entry[rows])
        parts.append(_describe_segment(index, number, spans, *own))
        order.append(rows)
    return pa.concat_tables(parts).take(pa.array(np.argsort(np.concatenate(order))))


def _describe_segment(
    index: Index, number: int, spans: Spans, document: np.ndarray, start: np.ndarray, at: np.ndarray, length: np.ndarray, entry: np.ndarray
) -> pa.Table:
    """The rows of one segment's matches."""
    segment = index.segments[number]
    inside = at - index.starts[entry]
    entry = entry - index.entry_bases[number]
    core, whole = segment.core[entry], segment.lengths[entry]
    in_core = np.clip(np.minimum(inside + length, core) - inside, 0, None)
    hangul = np.empty(len(at), np.int64)
    count_hangul(index.pool, at, length, hangul)
    required = np.where(2 * hangul >= length, segment.settings.hangul_length, segment.settings.length)
    names = segment.entries.select(["split", "item", "field"]).take(pa.array(entry))
    begins, ends = _document_spans(spans, document, start, length)
    item_begins, item_ends = _item_spans(segment, entry, inside, length)
    columns = {
        "row": document,
        "benchmark": pa.array([segment.benchmark] * len(entry), pa.string()),
        **{name: names[name] for name in names.column_names},
        "entry": entry,
        "start": begins,
        "end": ends,
        "item_start": item_begins,
        "item_end": item_ends,
        "length": length,
        "coverage": np.maximum(length / whole, in_core / core),
        "item_coverage": _together(document, entry, inside, length, whole, core),
        "frequency": np.where(length < required, segment.frequency[entry], _frequency(index, number, document, start, at, length, hangul)),
        "required": required,
        "answered": _answered(segment, spans, document, start, length, entry),
    }
    arrays = [value if isinstance(value, pa.ChunkedArray | pa.Array) else pa.array(value) for value in columns.values()]
    return pa.table([array.cast(field.type) for array, field in zip(arrays, MATCH_SCHEMA, strict=True)], schema=MATCH_SCHEMA)


def _frequency(
    index: Index, number: int, document: np.ndarray, start: np.ndarray, at: np.ndarray, length: np.ndarray, hangul: np.ndarray
) -> np.ndarray:
    """int32[m]: in how many items of the segment the windows of each stretch stand; those with Hangul are asked where there are any.

    A template is the same stretch of a document in hundreds of items, which all have the answer of the first.
    """
    frequency = np.ones(len(at), np.int32)
    _, first, same = np.unique(np.stack([document, start, length]), axis=1, return_index=True, return_inverse=True)
    for family in index.settings.families:
        rows = first[(hangul[first] > 0) == family.hangul]
        if family.whole or not len(rows):
            continue
        table = index.tables[family.name]
        places, which = np.unique(np.stack([at[rows], length[rows]]), axis=1, return_inverse=True)
        begins, lengths = np.ascontiguousarray(places)
        own = np.ones(len(begins), np.int32)
        # fmt: off
        window_frequency(
            index.pool, table.shift, table.directory, table.fingerprints, table.postings, family.strides.width, family.strides.pool,
            family.hangul, MULTIPLIERS, index.starts, index.numbers, begins, lengths, index.bases[number], index.bases[number + 1],
            index.settings.max_seed_items, own,
        )
        # fmt: on
        frequency[rows] = own[which.reshape(-1)]
    return frequency[first][same]


def _document_spans(spans: Spans, document: np.ndarray, start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    begins, ends = np.empty(len(document), np.int64), np.empty(len(document), np.int64)
    order = np.argsort(document, kind="stable")
    numbers, counts = np.unique(document, return_counts=True)
    for number, rows in zip(numbers.tolist(), np.split(order, np.cumsum(counts)[:-1]), strict=True):
        text = spans.of(number)
        assert text.starts is not None and text.ends is not None  # asked for in Spans
        begins[rows], ends[rows] = text.starts[start[rows]], text.ends[start[rows] + length[rows] - 1]
    return begins, ends


def _item_spans(segment: Segment, entry: np.ndarray, inside: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distinct, which = np.unique(entry, return_inverse=True)
    texts = normalize_batch(segment.entries["text"].take(pa.array(distinct)), with_spans=True)
    assert texts.starts is not None and texts.ends is not None  # asked for
    first = texts.offsets[which] + inside
    return texts.starts[first].astype(np.int64), texts.ends[first + length - 1].astype(np.int64)


def _together(
    document: np.ndarray, entry: np.ndarray, inside: np.ndarray, length: np.ndarray, whole: np.ndarray, core: np.ndarray
) -> np.ndarray:
    """float64[m]: share of each entry, or of its question, that all matches of its document cover: overlapping parts count once."""
    order = np.lexsort((inside, entry, document))
    group = np.zeros(len(order), np.int64)
    changed = (document[order][1:] != document[order][:-1]) | (entry[order][1:] != entry[order][:-1])
    np.cumsum(changed, out=group[1:])
    first, core_last = inside[order], core[order]
    last = first + length[order]
    room = int(whole.max()) + 1  # so that what was reached in one group lies before all of the next
    reached = np.maximum.accumulate(group * room + last) - group * room
    first[1:] = np.maximum(first[1:], reached[:-1] + (group[:-1] - group[1:]) * room)
    covered = np.bincount(group, np.maximum(0, last - first))
    in_core = np.bincount(group, np.maximum(0, np.minimum(last, core_last) - first))
    share = np.empty(len(order), np.float64)
    share[order] = np.maximum(covered[group] / whole[order], in_core[group] / core[order])
    return share


def _answered(segment: Segment, spans: Spans, document: np.ndarray, start: np.ndarray, length: np.ndarray, entry: np.ndarray) -> np.ndarray:
    """bool[m]: whether the item's answer stands in the document too."""
    numbers = segment.numbers[entry]
    fields = segment.entries["field"].take(pa.array(entry)).to_pylist()
    long_answers = {(d, n) for d, n, field in zip(document.tolist(), numbers.tolist(), fields, strict=True) if field == "answer"}
    distinct, which = np.unique(entry, return_inverse=True)
    texts = segment.entries["answer"].take(pa.array(distinct)).to_pylist()
    known = [normalize_text(text) if text else "" for text in texts]
    answers = [known[number] for number in which.tolist()]
    answered = np.zeros(len(entry), np.bool_)
    for row, (number, first, size) in enumerate(zip(document.tolist(), start.tolist(), length.tolist(), strict=True)):
        if (number, int(numbers[row])) in long_answers:
            answered[row] = True
        elif answers[row]:
            before = (max(0, first - ANSWER_REACH), first)
            after = (first + size, min(len(spans.of(number).codepoints), first + size + ANSWER_REACH))
            answered[row] = any(_has_answer(spans, number, first + size, *stretch, answers[row]) for stretch in (after, before))
    return answered


def _has_answer(spans: Spans, document: int, match_end: int, low: int, high: int, answer: str) -> bool:
    """Whether an answer stands between word boundaries in the stretch from `low` to `high` of a document, or with a copula."""
    text = spans.of(document)
    assert text.breaks is not None  # asked for in Spans
    endings = ("", *COPULAS) if is_hangul(ord(answer[-1])) else ("",)
    stretch = text.codepoints[low:high].tobytes().decode("utf-32-le")
    at = stretch.find(answer)
    while at >= 0:
        if text.breaks[low + at]:
            for ending in endings:
                end = at + len(answer) + len(ending)
                bounded = low + end == len(text.codepoints) or (low + end < len(text.codepoints) and text.breaks[low + end])
                if not bounded or not stretch.startswith(ending, at + len(answer)):
                    continue
                if not ending or (spans.stops(document, match_end) and spans.stops(document, low + end)):
                    return True
        at = stretch.find(answer, at + 1)
    return False
