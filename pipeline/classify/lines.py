"""Documents as fastText sees them: one line of lower-case words each, the same for training and prediction."""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

LABEL_PREFIX = "__label__"
"""How fastText marks a label in a line. Web text that holds it would add labels of its own, so it is taken out."""

END_OF_LINE = "</s>"
"""The word at which fastText stops reading a line. Web text that holds it would hide what follows, so it is taken out."""

_BLANKS = r"[\s\x00-\x1f\x7f\x{85}\x{a0}\x{200b}\x{2028}\x{2029}\x{feff}]+"
"""fastText parts words at ASCII blanks and NUL only; other blanks would glue words together or break the line in two."""


Letters = Literal["syllables", "jamo"]
"""What a piece of a Korean word is made of: `minn` and `maxn` count characters, and a jamo is one only in NFD."""


def normal_lines(texts: pa.Array | pa.ChunkedArray, max_chars: int, letters: Letters = "syllables") -> list[str]:
    """One line per text, without a line end: its first `max_chars` characters in NFKC, lower case, words one space apart.

    letters: jamo writes the line in NFD at the end, a Hangul syllable as its two or three jamo and é as e and its accent.
    A null or blank text gives an empty line. The cut comes first, so that a huge document costs no more than a long one.
    """
    lines: Any = pc.fill_null(texts.cast(pa.large_string()), pa.scalar("", pa.large_string()))
    lines = pc.utf8_slice_codeunits(lines, 0, max_chars)
    lines = pc.utf8_lower(pc.call_function("utf8_normalize", [lines], pc.Utf8NormalizeOptions("NFKC")))
    for mark in (LABEL_PREFIX, END_OF_LINE):
        lines = pc.replace_substring(lines, mark, " ")
    lines = pc.utf8_trim(pc.replace_substring_regex(lines, _BLANKS, " "), " ")
    if letters == "jamo":
        lines = pc.call_function("utf8_normalize", [lines], pc.Utf8NormalizeOptions("NFD"))
    found: list[str] = lines.to_pylist()
    return found
