"""The compiled pass that rewrites texts without invisible characters, odd line ends and trailing blanks.

It copies each document's UTF-8 bytes into a new buffer, never longer than the old one, and reports which documents changed and
which hold characters that NFC might compose. Importing this module loads (the first time: compiles) the kernel.
"""

# mypy: disable-error-code="assignment,return-value,arg-type"
# numba keeps numpy integers apart from Python ones only in width; mypy takes them for different types.

from __future__ import annotations

import numba
import numpy as np
from numba import types

STABLE, MAY_COMPOSE, REMOVED, LINE_END, BLANK, IDEOGRAPHIC_SPACE, FOLDED, JOINER = range(8)
"""What `repair.action_table` says of a character; MAY_COMPOSE is kept like STABLE, and reported."""

FIRST_EMOJI, FIRST_COMPOSED_EMOJI, LAST_EMOJI = 0x1F000, 0x1F300, 0x1FAFF
MAX_BLANK_LINES = 1

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_FOLD_TABLE = types.Array(types.uint16, 1, "C", readonly=True)


@numba.njit(types.boolean(types.int64), cache=True, nogil=True, inline="always")
def _is_joinable(character: int) -> bool:
    """Whether a zero-width joiner behind this character joins: emoji, their variation selector, and pictographic symbols."""
    return character == 0xFE0F or 0x2190 <= character <= 0x2BFF or FIRST_EMOJI <= character <= LAST_EMOJI


@numba.njit(
    types.void(_BYTES, _OFFSETS, _BYTES, _FOLD_TABLE, types.uint8[::1], types.int64[::1], types.boolean[::1], types.boolean[::1]),
    cache=True,
    nogil=True,
)
def rewrite(
    data: np.ndarray,
    offsets: np.ndarray,
    actions: np.ndarray,
    folds: np.ndarray,
    out: np.ndarray,
    out_offsets: np.ndarray,
    changed: np.ndarray,
    may_compose: np.ndarray,
) -> None:
    """Write the repaired documents to `out` (as many bytes as the documents have) and their rows + 1 positions to `out_offsets`.

    actions: uint8, one for each code point to U+FFFF; folds: uint16, what a FOLDED code point U+FF00 + i becomes. changed and
    may_compose are set per document. Time is linear in the bytes; no byte outside a document is read.
    """
    write = 0
    out_offsets[0] = 0
    for document in range(offsets.size - 1):
        position, end = offsets[document], offsets[document + 1]
        input_bytes = end - position
        row_start = write
        solid_end = write  # behind the last character that is neither blank nor line end
        line_ends = 0  # since then
        previous = 0
        rewritten = composes = False
        while position < end:
            start = position
            lead = np.int64(data[position])
            if lead < 0x80:
                character = lead
                position += 1
            elif lead < 0xE0 and position + 1 < end:
                character = (lead & 0x1F) << 6 | (np.int64(data[position + 1]) & 0x3F)
                position += 2
            elif lead < 0xF0 and position + 2 < end:
                character = (lead & 0x0F) << 12 | (np.int64(data[position + 1]) & 0x3F) << 6 | (np.int64(data[position + 2]) & 0x3F)
                position += 3
            elif position + 3 < end:
                character = 0x10000  # told apart below, where it matters
                position += 4
            else:
                character = 0xFFFD
                position += 1

            if character < 0x10000:
                action = actions[character]
            else:
                character = (
                    (lead & 0x07) << 18
                    | (np.int64(data[start + 1]) & 0x3F) << 12
                    | (np.int64(data[start + 2]) & 0x3F) << 6
                    | (np.int64(data[start + 3]) & 0x3F)
                )
                action = np.uint8(STABLE if FIRST_COMPOSED_EMOJI <= character <= LAST_EMOJI else MAY_COMPOSE)

            if action <= MAY_COMPOSE or (action == JOINER and _is_joinable(previous)):
                composes |= action == MAY_COMPOSE
                for source in range(start, position):
                    out[write] = data[source]
                    write += 1
                solid_end = write
                line_ends = 0
            elif action == LINE_END:
                if character != 10:
                    rewritten = True
                    if character == 13 and position < end and data[position] == 10:
                        position += 1
                write = solid_end
                if solid_end > row_start:
                    line_ends = min(line_ends + 1, MAX_BLANK_LINES + 1)
                    for _ in range(line_ends):
                        out[write] = 10
                        write += 1
                character = 10
            elif action == BLANK:
                for source in range(start, position):
                    out[write] = data[source]
                    write += 1
            elif action == IDEOGRAPHIC_SPACE:
                out[write] = 32
                write += 1
                character = 32
            elif action == FOLDED:
                rewritten = True
                character = np.int64(folds[character - 0xFF00])
                if character < 0x80:
                    out[write] = character
                    write += 1
                else:
                    out[write] = 0xE0 | character >> 12
                    out[write + 1] = 0x80 | (character >> 6 & 0x3F)
                    out[write + 2] = 0x80 | (character & 0x3F)
                    write += 3
                solid_end = write
                line_ends = 0
            else:
                continue  # removed: `previous` stays the last character that was kept
            previous = character
        write = solid_end
        out_offsets[document + 1] = write
        changed[document] = rewritten or write - row_start != input_bytes
        may_compose[document] = composes
