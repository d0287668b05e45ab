"""What counting and encoding came to, as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.report.text import visible

MOST_GROUPS = 24
"""Groups shown on a terminal."""


def render_count(manifest: dict[str, Any]) -> str:
    """The manifest of `tokenizer count`: what was counted, and what each limit left out."""
    left = manifest["left_out"]
    lines = [
        f"{manifest['documents']:,} documents of {manifest['text_bytes'] / 1e6:,.1f} MB: {manifest['words']:,} words, "
        f"{manifest['occurrences']:,} occurrences",
        f"left out: {left['min_count']['words']:,} words below min_count ({left['min_count']['occurrences']:,} occurrences), "
        f"{left['max_word_bytes']['occurrences']:,} above max_word_bytes ({left['max_word_bytes']['bytes'] / 1e6:,.1f} MB), "
        f"{left['max_document_bytes']['bytes'] / 1e6:,.1f} MB beyond max_document_bytes",
    ]
    return "\n".join([*lines, *_skipped(manifest)])


def render_encode(manifest: dict[str, Any]) -> str:
    """The manifest of `tokenizer encode`: a line per group, and the total. Of many groups those with the most tokens are shown."""
    groups = sorted(manifest["groups"], key=lambda group: -group["tokens"])[:MOST_GROUPS]
    rows = [(group["folder"], *_numbers(group)) for group in sorted(groups, key=lambda group: group["folder"])]
    if left := len(manifest["groups"]) - len(groups):
        rows.append((f"and {left:,} smaller groups (manifest.json)", "", "", "", ""))
    rows.append(("all", *_numbers(manifest)))
    lines = _table(("group", "documents", "tokens", "MB of text", "bytes/token"), rows)
    return "\n".join([*lines, *_skipped(manifest)])


def _numbers(counts: dict[str, Any]) -> tuple[str, ...]:
    rate = counts["bytes_per_token"]
    text = f"{counts['text_bytes'] / 1e6:,.1f}"
    return f"{counts['documents']:,}", f"{counts['tokens']:,}", text, "" if rate is None else f"{rate:.3f}"


def _skipped(manifest: dict[str, Any]) -> list[str]:
    return [f"skipped: {reason}, {rows:,} documents" for reason, rows in manifest["skipped"].items()]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned lines: the first column to the left, numbers to the right."""
    shown = [[visible(cell, 120) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(heads))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in shown
    ]
