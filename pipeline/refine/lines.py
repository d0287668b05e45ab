"""Cut boilerplate lines out of documents: notices, page frames, and lines that a host repeats. What was cut is on record.

Only lines go, never words out of a line, and when in doubt a line stays: code, headings and single weak phrases inside a text do.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from importlib import resources
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
import yaml
from pydantic import Field

from pipeline.refine.phrases import PhraseTable, furniture_table, phrase_table
from pipeline.refine.pii import mask
from pipeline.refine.signals import text_buffers
from pipeline.schema import BY_NAME, CUT_LINE, with_columns
from pipeline.settings import Settings
from pipeline.stage import decide

ONLY_BOILERPLATE = "only_boilerplate"
"""`drop_reason` of a document of which every line would be cut; its text stays as it was."""

REASONS = ("", "furniture", "notice", "host")
"""Reasons in `cut_lines`, by the numbers of `lines_cut_kernel`."""

MAX_NOTICE_BYTES = 600
"""Longer lines are text: 200 Hangul syllables hold the longest footer of a shop or newspaper (a company's full particulars)."""

SOLE_FIELD_CHARS = 80
"""A line with one of `sole_fields` may be this long: the field, its value and the firm's name."""

RECORDED_CHARS = 300
"""Characters of a cut line that `cut_lines` records."""

_SEARCHED_CHARS = 2 * RECORDED_CHARS
"""Characters that are searched for personal data before the record is shortened, so that no half of a number is left at its end."""

EDGES = " \t\r\f\v\xa0<>〈〉《》「」『』[](){}【】▶▷◀◁►※＜＞■□◆◇●○•·ㆍ|*~-–—_=+#\"'“”‘’.,;:!/\\"
"""Marks and blanks around a notice, which its patterns don't see. © and ⓒ are no marks here."""

_POLITE = "".join(chr(syllable) for syllable in range(0xAC00, 0xD7A4) if (syllable - 0xAC00) % 28 == 17)
"""The syllables that end in ㅂ: before 니다 they make the polite style (합니다, 있습니다); 아니다 and 지니다 are plain."""

_PROSE = re.compile(
    rf"(?<![{_POLITE}]니)다\Z"  # notices themselves speak politely or in nouns
    r"|\?\Z|^제\s?[0-9]{1,4}조|^[0-9]{1,3}[.)]|^[qa][.)]\s"
    r"|[\"'”’」』]\s?(?:이?라[는고]|이란|은|는|을|를|이|가|의|에)(?![가-힣]{2})"  # what is quoted is spoken of
    r"|^(?://|/\*|#|\*|;|--)\s{0,4}(?:copyright|©|spdx)"
)
"""A line, in lower case, that speaks about notices: plain style, question, article of a law, numbered item, quotation, code."""


class LinePatterns(Settings):
    """The content of presets/lines.yaml."""

    hints: tuple[str, ...] = Field(description="lower-case phrases, one of which every notice holds")
    anywhere: tuple[str, ...] = Field(description="regular expressions of whole lines that are cut wherever they stand")
    calls: tuple[str, ...] = Field(description="the same, but not for lines that begin like a list item, heading, table row or quotation")
    frame: tuple[str, ...] = Field(description="like calls, cut where pages begin and end")
    beside: tuple[str, ...] = Field(description="like frame, cut only beside other lines of a frame")
    min_fields: int = Field(description="this many different fields, one of them a registry field, make a line of a frame")
    registry_fields: tuple[str, ...] = Field(description="regular expressions of what only registered firms and newspapers print")
    fields: tuple[str, ...] = Field(description="regular expressions of what else footers are made of")
    sole_fields: tuple[str, ...] = Field(description="regular expressions of fields that make a footer of a short line by themselves")


@dataclass(frozen=True)
class Notices:
    """The shipped patterns, ready to use."""

    hints: PhraseTable
    anywhere: re.Pattern[str]
    calls: re.Pattern[str]
    frame: re.Pattern[str]
    beside: re.Pattern[str]
    min_fields: int
    registry: tuple[re.Pattern[str], ...]
    fields: tuple[re.Pattern[str], ...]
    sole: re.Pattern[str]

    def trait(self, line: str, is_marked: bool) -> int:
        """NOTICE, EDGE_NOTICE or BESIDE (`lines_kernel`) of a line, 0 if it is none; is_marked: it begins like an item or heading."""
        from pipeline.refine.lines_kernel import BESIDE, EDGE_NOTICE, NOTICE

        line = line.lower().replace("(c)", "©").strip()
        bare = line.strip(EDGES)
        if _PROSE.search(line) or _PROSE.search(bare):
            return 0
        if self.anywhere.fullmatch(bare) or (len(bare) <= SOLE_FIELD_CHARS and self.sole.search(bare)):
            return NOTICE
        registered = sum(field.search(bare) is not None for field in self.registry)
        if registered and registered + sum(field.search(bare) is not None for field in self.fields) >= self.min_fields:
            return NOTICE if registered > 1 else EDGE_NOTICE
        if is_marked:
            return 0
        if self.calls.fullmatch(bare):
            return NOTICE
        if self.frame.fullmatch(bare):
            return EDGE_NOTICE
        return BESIDE if self.beside.fullmatch(bare) else 0


@functools.lru_cache(maxsize=1)
def shipped_notices() -> Notices:
    """`Notices` of presets/lines.yaml, made once per process."""
    text = resources.files("pipeline.refine").joinpath("presets/lines.yaml").read_text(encoding="utf-8")
    patterns = LinePatterns.model_validate(yaml.safe_load(text))
    return Notices(
        phrase_table({0: patterns.hints}),
        _any_of(patterns.anywhere),
        _any_of(patterns.calls),
        _any_of(patterns.frame),
        _any_of(patterns.beside),
        patterns.min_fields,
        tuple(map(re.compile, patterns.registry_fields)),
        tuple(map(re.compile, patterns.fields)),
        _any_of(patterns.sole_fields),
    )


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


@dataclass(frozen=True)
class LineTable:
    """The lines of a batch as arrays, one entry per line, as `text.split("\\n")` parts them.

    data (uint8) and offsets (int64, rows + 1): the texts; line_offsets: int64, rows + 1, the lines of each row; starts, ends: int64, bytes
    of `data`, line feed excluded; traits: uint16, bits of `lines_kernel`.
    """

    data: np.ndarray
    offsets: np.ndarray
    line_offsets: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    traits: np.ndarray

    @property
    def spans(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which rows the lines belong to and where they stand."""
        return (self.line_offsets, self.starts, self.ends)

    def text(self, line: int, characters: int) -> str:
        """The first characters of a line."""
        stop = min(int(self.ends[line]), int(self.starts[line]) + 4 * characters)
        return self.data[self.starts[line] : stop].tobytes().decode(errors="ignore")[:characters]


def read_lines(texts: pa.Array | pa.ChunkedArray) -> LineTable:
    """The lines of a large_string column with the traits that can be seen from the line itself: all but those set later."""
    from pipeline.refine import lines_kernel, phrases_kernel  # compile on first import

    data, offsets = text_buffers(texts)
    line_offsets = np.zeros(len(offsets), np.int64)
    phrases_kernel.count_lines(data, offsets, line_offsets)
    count = int(line_offsets[-1])
    starts, ends, traits = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.uint16)
    lines_kernel.bound_lines(data, offsets, line_offsets, starts, ends)
    hints = shipped_notices().hints
    arrays = (hints.phrase_bytes, hints.phrase_starts, hints.occupied, hints.buckets)
    lines_kernel.describe_lines(data, line_offsets, starts, ends, MAX_NOTICE_BYTES, *arrays, traits)
    return LineTable(data, offsets, line_offsets, starts, ends, traits)


def host_salts(hosts: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """uint64, one per row: xxh3-64 of the host's name, 0 where there is none."""
    hosts = hosts.combine_chunks() if isinstance(hosts, pa.ChunkedArray) else hosts
    named = hosts.fill_null("").dictionary_encode()
    salts = [xxhash.xxh3_64_intdigest(host.encode()) if host else 0 for host in named.dictionary.to_pylist()]
    return np.array(salts, np.uint64)[named.indices.to_numpy()] if len(hosts) else np.zeros(0, np.uint64)


def _share_of_rows(part: np.ndarray, whole: np.ndarray, line_offsets: np.ndarray) -> np.ndarray:
    """For each row the sum of `part` over its lines by that of `whole`, as float64; 0 where there is nothing."""
    if len(line_offsets) == 1:
        return np.zeros(0)
    sums = [np.add.reduceat(values, line_offsets[:-1], dtype=np.int64) for values in (part, whole)]
    return sums[0] / np.maximum(sums[1], 1)


@functools.lru_cache(maxsize=2)
def frequent_hashes(path: str, content_hash: str) -> np.ndarray:
    """The sorted uint64 hashes of a host_lines.parquet; `content_hash` tells one version of the file from the next."""
    return pq.read_table(path, columns=["hash"], use_threads=False).column("hash").to_numpy()


@dataclass(frozen=True)
class Lines:
    """The stage that measures page furniture and cuts boilerplate lines; rows with nothing else get `only_boilerplate`.

    cut: false only measures. host_lines: path of the table of lines that are frequent on their host (`host_lines.HOST_LINES`), whose
    content `host_lines_hash` names; None: there is none.
    """

    cut: bool = True
    host_lines: str | None = field(default=None, metadata={"fingerprint": False})
    host_lines_hash: str = ""

    name: ClassVar[str] = "lines"
    version: ClassVar[str] = "2"
    writes: ClassVar[frozenset[str]] = frozenset({"text", "text_bytes", "cut_lines", "boilerplate_line_ratio", "boilerplate_byte_ratio"})

    @property
    def reads(self) -> frozenset[str]:
        """`text`, and `host` if there is a table of frequent lines."""
        return frozenset({"text", "host"} if self.host_lines else {"text"})

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with the columns of `writes` set, and `drop_reason` "only_boilerplate" where nothing else is in the text."""
        texts = table.column("text").cast(pa.large_string())
        lines = read_lines(texts)
        ratios = self._mark(lines)
        if not self.cut:
            size = pc.fill_null(pc.binary_length(texts), 0)
            return with_columns(table, {"text": texts, "text_bytes": size, **ratios, "cut_lines": _nothing_cut(len(table))})
        if self.host_lines:
            self._mark_frequent(lines, table.column("host"))
        reasons, emptied = _choose(lines)
        cut = np.flatnonzero(reasons)
        if len(cut):
            texts = _without_cut(texts, lines, reasons)
        columns = {"text": texts, "text_bytes": pc.fill_null(pc.binary_length(texts), 0), **ratios}
        table = with_columns(table, {**columns, "cut_lines": _record(lines, reasons, cut)})
        return decide(table, "drop_reason", pa.array(emptied), ONLY_BOILERPLATE) if emptied.any() else table

    def _mark(self, lines: LineTable) -> dict[str, np.ndarray]:
        """Set FURNITURE, NOTICE, EDGE_NOTICE and BESIDE; returns the boilerplate_* columns: the share of furniture in what isn't blank."""
        from pipeline.refine import lines_kernel, phrases_kernel

        marks = np.zeros(len(lines.starts), np.int8)
        phrases_kernel.furniture_lines(lines.data, lines.offsets, *furniture_table().arrays, lines.line_offsets, marks)
        furniture = marks == phrases_kernel.FURNITURE_LINE
        lines.traits[furniture] |= lines_kernel.FURNITURE
        trait = shipped_notices().trait
        for line in np.flatnonzero(lines.traits & lines_kernel.HINTED).tolist():
            lines.traits[line] |= trait(lines.text(line, MAX_NOTICE_BYTES), bool(lines.traits[line] & lines_kernel.MARKED))
        solid = marks != phrases_kernel.BLANK_LINE
        sizes = (lines.ends - lines.starts) * solid
        return {
            "boilerplate_line_ratio": _share_of_rows(furniture, solid, lines.line_offsets),
            "boilerplate_byte_ratio": _share_of_rows(sizes * furniture, sizes, lines.line_offsets),
        }

    def _mark_frequent(self, lines: LineTable, hosts: pa.ChunkedArray) -> None:
        """Set the trait FREQUENT of lines that the host's pages repeat."""
        from pipeline.refine import lines_kernel

        frequent = frequent_hashes(str(self.host_lines), self.host_lines_hash)
        if not len(frequent):
            return
        hashes = np.empty(len(lines.starts), np.uint64)
        lines_kernel.hash_lines(lines.data, *lines.spans, host_salts(hosts), hashes)
        places = np.minimum(np.searchsorted(frequent, hashes), len(frequent) - 1)
        found = (frequent[places] == hashes) & (lines.traits & lines_kernel.SOLID != 0) & (lines.traits & lines_kernel.MARKUP == 0)
        lines.traits[found] |= lines_kernel.FREQUENT


def _choose(lines: LineTable) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 reason of each line, 0 where it stays; whether a row has nothing but lines to cut, in which case all stay)."""
    from pipeline.refine.lines_cut_kernel import choose_cuts

    reasons, emptied = np.empty(len(lines.starts), np.uint8), np.zeros(len(lines.line_offsets) - 1, np.bool_)
    choose_cuts(*lines.spans, lines.traits, reasons, emptied)
    return reasons, emptied


def _without_cut(texts: pa.ChunkedArray, lines: LineTable, reasons: np.ndarray) -> pa.ChunkedArray:
    """The texts without the lines that have a reason; null stays null."""
    from pipeline.refine.lines_cut_kernel import copy_kept

    rows = len(lines.offsets) - 1
    out, out_offsets = np.empty(int(lines.offsets[-1] - lines.offsets[0]), np.uint8), np.empty(rows + 1, np.int64)
    copy_kept(lines.data, lines.offsets, *lines.spans, lines.traits, reasons, out, out_offsets)
    left = pa.LargeStringArray.from_buffers(rows, pa.py_buffer(out_offsets), pa.py_buffer(out[: out_offsets[-1]]))
    return pc.if_else(pc.is_null(texts), pa.scalar(None, pa.large_string()), left) if texts.null_count else pa.chunked_array([left])


def _nothing_cut(rows: int) -> pa.Array:
    return pa.ListArray.from_arrays(np.zeros(rows + 1, np.int32), pa.array([], CUT_LINE))


def _record(lines: LineTable, reasons: np.ndarray, cut: np.ndarray) -> pa.Array:
    """The `cut_lines` of each row: every cut line that isn't blank, with personal data masked."""
    from pipeline.refine.lines_kernel import BLANK

    cut = cut[lines.traits[cut] & BLANK == 0]
    row_ends = np.searchsorted(cut, lines.line_offsets).astype(np.int32)
    rows = np.searchsorted(lines.line_offsets, cut, side="right") - 1
    recorded = pa.StructArray.from_arrays(
        [
            pa.array((cut - lines.line_offsets[rows]).astype(np.int32)),
            pa.array(REASONS, pa.string()).take(pa.array(reasons[cut])),
            pa.array([mask(lines.text(line, _SEARCHED_CHARS).strip())[:RECORDED_CHARS] for line in cut.tolist()], pa.string()),
        ],
        fields=list(CUT_LINE),
    )
    return pa.ListArray.from_arrays(row_ends, recorded, type=BY_NAME["cut_lines"].type)
