"""What counting and encoding came to, as text for a terminal."""

from __future__ import annotations

from typing import Any

from pipeline.aligned import aligned

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
    lines = aligned([("group", "documents", "tokens", "MB of text", "bytes/token"), *rows])
    return "\n".join([*lines, *_skipped(manifest)])


def _numbers(counts: dict[str, Any]) -> tuple[str, ...]:
    rate = counts["bytes_per_token"]
    text = f"{counts['text_bytes'] / 1e6:,.1f}"
    return f"{counts['documents']:,}", f"{counts['tokens']:,}", text, "" if rate is None else f"{rate:.3f}"


def _skipped(manifest: dict[str, Any]) -> list[str]:
    return [f"skipped: {reason}, {rows:,} documents" for reason, rows in manifest["skipped"].items()]
