"""How findings look: two texts side by side in a terminal, with what they share highlighted, or as plain text, or as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from decontam.review import Excerpt, Finding, Match

NARROW = 80
"""Below this many columns two texts side by side would be ribbons, so they stand one above the other."""

LONGEST_HIGHLIGHT = 600
"""Characters of one match that are shown; of a longer one the middle is left out, since both sides are equal there."""

MARKS = ("⟦", "⟧")
"""Around what is highlighted where there are no colours."""

MOST_LISTED = 5
"""Further matches of a finding that are listed below it."""

_MATCH, _OTHER = "bold reverse", "underline"
_ACTIONS = {"drop": "red", "mask": "yellow", "tag": "cyan"}

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""C0 and C1 controls, line separators, directional marks and overrides, zero-width and tag characters, lone surrogates."""

_BREAKS = re.compile("\n{3,}")


def visible(value: Any, limit: int = 200) -> str:
    r"""`value` as one line of at most `limit` characters and an ellipsis; what a terminal would obey is written out, as \x1b or \u202e."""
    text = "" if value is None else str(value)
    return _CONTROL.sub(_escaped, text[:limit]) + ("…" if len(text) > limit else "")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return named.get(match.group()) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def visible_lines(text: str) -> str:
    """As `visible`, but line breaks stay (of three or more in a row, two)."""
    return "\n".join(visible(line, len(line)) for line in _BREAKS.sub("\n\n", text.replace("\r\n", "\n")).split("\n"))


def terminal(console: Console) -> bool:
    """Whether this console shows styles; elsewhere highlights are bracketed."""
    return console.is_terminal and console.color_system is not None


def excerpt_text(excerpt: Excerpt, styled: bool) -> Text:
    """An excerpt as text whose highlights are styled or, if not `styled`, in brackets."""
    result = Text(overflow="fold", no_wrap=False)
    result.append("…" if excerpt.cut_before else "", "dim")
    spans = [(start, end, _OTHER) for start, end in excerpt.also] + [(*excerpt.highlight, _MATCH)]
    edges = sorted({0, len(excerpt.text), *(edge for start, end, _ in spans for edge in (start, end))})
    for start, end in pairwise(edges):
        style = next((style for first, last, style in reversed(spans) if first <= start and end <= last), "")
        shown = visible_lines(_shortened(excerpt.text[start:end]) if style else excerpt.text[start:end])
        result.append(shown if styled or not style else f"{MARKS[0]}{shown}{MARKS[1]}", style)
    result.append("…" if excerpt.cut_after else "", "dim")
    return result


def _shortened(text: str) -> str:
    half = LONGEST_HIGHLIGHT // 2
    left_out = len(text) - 2 * half
    return text if left_out <= half else f"{text[:half]} […{left_out:,} characters…] {text[-half:]}"


def print_finding(console: Console, finding: Finding, number: int, total: int, verdict: str | None = None) -> None:
    """One finding: what and where, the two texts (side by side from NARROW columns on), and its further matches."""
    first, styled = finding.matches[0], terminal(console)
    for line in _header(first, number, total, verdict):
        console.print(line)
    item = excerpt_text(first.item, styled)
    if first.answer is not None and first.facts["field"] == "question":
        item.append(f"\n\nanswer: {visible(first.answer, 300)}", "italic")
    document = Text(f"({first.note})", "italic") if first.document is None else excerpt_text(first.document, styled)
    if first.document is not None and first.note:
        document = Text.assemble((f"({first.note})\n", "italic"), document)
    titles = ("document", f"benchmark ({visible(first.facts['field'], 20)})")
    if console.width < NARROW:
        for title, text in zip(titles, (document, item), strict=True):
            console.print(Text(f"-- {title} --", "dim"))
            console.print(text)
    else:
        sides = Table(box=box.SIMPLE_HEAD if styled else box.ASCII2, expand=True)
        for title in titles:
            sides.add_column(Text(title), ratio=1, overflow="fold")
        sides.add_row(document, item)
        console.print(sides)
    for match in finding.matches[1 : MOST_LISTED + 1]:
        console.print(Text(f"also {_extent(match)}"))
    if len(finding.matches) > MOST_LISTED + 1:
        console.print(Text(f"and {len(finding.matches) - MOST_LISTED - 1:,} more matches of this item in this document"))
    console.print()


def _header(match: Match, number: int, total: int, verdict: str | None) -> list[Text]:
    facts = match.facts
    names = [visible(facts[name], 80) for name in ("benchmark", "split", "item", "field") if facts[name]]
    title = Text.assemble((f"[{number:,}/{total:,}] ", "dim"), (" · ".join(names), "bold"))
    if verdict is not None:
        title.append(f"  judged: {verdict.replace('_', ' ')}", "green")
    where = [visible(facts[name], 200) for name in ("id", "url", "source") if facts[name]]
    corpus = "unknown" if facts["corpus_documents"] is None else f"{facts['corpus_documents']:,}"
    numbers = Text.assemble(
        f"length {facts['length']:,} of {facts['required']:,} needed · coverage {facts['coverage']:.2f} · frequency {facts['frequency']:,}"
        f" · corpus documents {corpus} · answered {'yes' if facts['answered'] else 'no'} · ",
        (visible(facts["action"], 20), _ACTIONS.get(facts["action"], "")),
    )
    return [title, Text("document " + " · ".join(where)), numbers]


def _extent(match: Match) -> str:
    facts = match.facts
    return (
        f"{visible(facts['field'], 20)}: {facts['length']:,} characters, coverage {facts['coverage']:.2f}, bytes {facts['start']:,} to "
        f"{facts['end']:,} of the document, {visible(facts['action'], 20)}"
    )


def print_precision(console: Console, rows: list[dict[str, Any]]) -> None:
    """The result of `review_verdicts.precision` as a table."""
    cells = []
    for row in rows:
        low, high = row["interval"]
        counts = [f"{row[name]:,}" for name in ("judged", "leaks", "false_positives")]
        cells.append([visible(row["benchmark"], 60), *counts, f"{row['precision']:.3f}", f"{low:.3f} to {high:.3f}"])
    print_table(console, ("benchmark", "judged", "leaks", "false positives", "precision", "95 % interval"), cells)


def print_table(console: Console, header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> None:
    """A table of cells that are fit for a terminal; the first `left` columns are names, the others numbers."""
    table = Table(box=box.SIMPLE_HEAD if terminal(console) else box.ASCII2)
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def finding_json(finding: Finding) -> list[dict[str, Any]]:
    """One object per match: its row of matches.parquet, and the two excerpts with the highlight's (start, end) in their characters."""
    rows = []
    for match in finding.matches:
        row = dict(match.facts)
        for side, excerpt in (("document", match.document), ("item", match.item)):
            row[f"{side}_excerpt"] = None if excerpt is None else excerpt.text
            row[f"{side}_highlight"] = None if excerpt is None else list(excerpt.highlight)
        rows.append({**row, "answer": match.answer, "note": match.note})
    return rows


def to_json(value: Any) -> str:
    """JSON with Korean as it is, and with every character that a terminal would obey as an escape."""
    written = json.dumps(value, ensure_ascii=False, indent=1)
    return _CONTROL.sub(lambda match: match.group() if match.group() == "\n" else json.dumps(match.group())[1:-1], written)
