"""The method of the EXAONE 3.5 report, for comparison only: a few random windows of each document are looked for, not all.

Section 2.2.2 and Appendix C of the report: N = 10 random substrings of S = 50 normalised characters of a training example; it is removed
if any of them is in the pool of all substrings of the benchmarks. A leak of m windows in a document of w is found with the probability
`sampled_recall`: 1 - (1 - m / w)^N.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from decontam.errors import DecontamError
from decontam.index import Index
from decontam.matches import MATCH_SCHEMA
from decontam.normalize import normalize_batch
from decontam.scan import Scanner, text_of


class PaperScanner:
    """Draws `windows` positions per document, with replacement, from its id and the seed alone.

    The windows are `length` of the index long, whatever their script; an index of `MatchSettings.parity()` has the report's 50. Raises
    DecontamError for fewer than one window.
    """

    def __init__(self, index: Index, windows: int = 10, seed: int = 0) -> None:
        if windows < 1:
            raise DecontamError(f"windows is {windows}; use 1 or more.")
        self.scanner = Scanner(index)
        self.windows, self.seed = windows, seed

    def scan(self, documents: pa.Table, text_column: str = "text", id_column: str = "id") -> pa.Table:
        """The windows that are in a benchmark, as a table of MATCH_SCHEMA: `start` and `end` of each, coverage of that window alone.

        Raises DecontamError for a table without the columns.
        """
        text = text_of(documents, text_column)
        if id_column not in documents.schema.names:
            raise DecontamError(f"the table has no column '{id_column}'; mode=paper draws each document's windows from its id.")
        length = self.scanner.settings.length
        normalized = normalize_batch(text, with_spans=True)
        assert normalized.starts is not None and normalized.ends is not None  # asked for
        room = np.diff(normalized.offsets) - length + 1
        rows, places = [], []
        for row, identity in enumerate(documents.column(id_column).to_pylist()):
            if room[row] > 0:
                drawn = sample_windows(str(identity), int(room[row]), self.windows, self.seed)
                rows += [row] * len(drawn)
                places += drawn
        row_of = np.array(rows, np.int64)
        first = normalized.offsets[row_of] + np.array(places, np.int64)
        pieces = normalized.codepoints[first[:, None] + np.arange(length)] if len(first) else np.zeros((0, length), np.uint32)
        texts = pa.array([piece.tobytes().decode("utf-32-le") for piece in pieces], pa.large_string())
        matches = self.scanner.scan(texts)
        whole = matches.filter(pc.equal(matches["length"], length))
        drawn_row = whole["row"].to_numpy()
        columns = {
            "row": row_of[drawn_row],
            "start": normalized.starts[first[drawn_row]].astype(np.int64),
            "end": normalized.ends[first[drawn_row] + length - 1].astype(np.int64),
        }
        for name, values in columns.items():
            whole = whole.set_column(MATCH_SCHEMA.get_field_index(name), name, pa.array(values))
        return whole.cast(MATCH_SCHEMA).sort_by([("row", "ascending"), ("start", "ascending")])


def sample_windows(identity: str, count: int, windows: int, seed: int) -> list[int]:
    """`windows` positions below `count`, ascending, each once: the low bits of numbered 64-bit hashes of the document's id."""
    return sorted({xxhash.xxh3_64_intdigest(f"{number}:{identity}".encode(), seed) % count for number in range(windows)})


def sampled_recall(windows_leaked: float, windows_in_document: float, windows: int = 10) -> float:
    """The probability that one of `windows` random windows is a leaked one: 1 - (1 - m / w)^N."""
    return float(1 - (1 - windows_leaked / windows_in_document) ** windows)
