"""The plan as tables and bars that people read."""

from __future__ import annotations

from typing import Any

from pipeline.aligned import aligned
from pipeline.balance.plan import human

_HEADER = ("language", "domain", "available", "epochs", "asked", "planned", "got", "share", "documents")
_BAND_HEADER = ("language", "quality", "available", "got", "epochs", "documents")

_BAR = 40
"""Characters of a bar that stands for the largest share of its chart."""


def render_plan(plan: dict[str, Any]) -> str:
    """plan.json as aligned text: per phase a table of languages and domains, one of quality bands, a chart of shares, and notes."""
    return "\n".join(line for name, phase in plan["phases"].items() for line in _phase_lines(name, phase))


def _phase_lines(name: str, phase: dict[str, Any]) -> list[str]:
    asked = human(phase["tokens_asked"]) if phase["tokens_asked"] is not None else "as many as possible"
    most = human(phase["tokens_largest"])
    title = f"phase {name}: {human(phase['tokens_got'])} tokens (asked for {asked}; at most {most} with the shares asked for)"
    lines = [title, *aligned(_group_rows(phase), 2)]
    if replay := phase["replay"]:
        lines.append(
            f"replay: {human(replay['tokens_got'])} tokens of phase general, {_percent(replay['share_got'])} of the phase "
            f"(asked for {_percent(replay['share_asked'])})"
        )
    if phase["long"]["available_documents"]:
        long = phase["long"]
        lines.append(f"long documents: {long['documents']:,} of {long['available_documents']:,}, {human(long['tokens_got'])} tokens")
    bands = _band_rows(phase)
    if len(bands) > 1:
        lines += ["", *aligned(bands, 2)]
    return [*lines, "", *_chart(phase), *(f"note: {note}" for note in phase["notes"]), ""]


def _group_rows(phase: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [_HEADER]
    for language, totals in phase["languages"].items():
        shares = _percent(totals["share_asked"]), "", human(totals["tokens_got"]), _percent(totals["share_got"])
        rows.append((language, "all", human(totals["available_tokens"]), "", *shares, f"{totals['documents']:,}"))
        rows += [_group_row(group) for group in phase["groups"] if group["language"] == language]
    return rows


def _group_row(group: dict[str, Any]) -> tuple[str, ...]:
    return (
        "",
        _label(group["domain"]),
        human(group["available_tokens"]),
        f"{group['epochs']:.2f}",
        _percent(group["share_asked"]),
        human(group["tokens_target"]),
        human(group["tokens_got"]),
        _percent(group["share_got"]),
        f"{group['documents']:,}",
    )


def _band_rows(phase: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row per language and band of quality, over all domains; only the header where no document has a quality."""
    totals: dict[tuple[str, str], list[int]] = {}
    for row in phase["bands"]:
        sums = totals.setdefault((row["language"], row["band"]), [0, 0, 0])
        for place, key in enumerate(("available_tokens", "tokens_got", "documents")):
            sums[place] += row[key]
    rows: list[tuple[str, ...]] = [_BAND_HEADER]
    if any(band != "none" for _, band in totals):
        for (language, band), (available, got, documents) in totals.items():
            rows.append((language, band, human(available), human(got), f"{got / available:.2f}" if available else "", f"{documents:,}"))
    return rows


def _chart(phase: dict[str, Any]) -> list[str]:
    """Bars of what is available, asked for and got, per language and domain: the share of the phase's own tokens."""
    everything = sum(totals["available_tokens"] for totals in phase["languages"].values())
    rows: list[tuple[str, float, float | None, float]] = []
    for language, totals in phase["languages"].items():
        rows.append((language, totals["available_tokens"] / max(1, everything), totals["share_asked"], totals["share_got"]))
        for group in phase["groups"]:
            if group["language"] == language:
                label = f"{language}/{_label(group['domain'])}"
                rows.append((label, group["available_tokens"] / max(1, everything), group["share_asked"], group["share_got"]))
    widest = max((max(there, asked or 0.0, got) for _, there, asked, got in rows), default=0.0) or 1.0
    width = max((len(label) for label, *_ in rows), default=0)
    lines = [f"{'':<{width}}  available ░  got █  asked |"]
    for label, there, asked, got in rows:
        lines.append(f"{label:<{width}}  {_bar(there / widest, got / widest, None if asked is None else asked / widest)}".rstrip())
    return lines


def _bar(there: float, got: float, asked: float | None) -> str:
    filled, pale = round(_BAR * got), round(_BAR * there)
    cells = ["█" if place < filled else "░" if place < pale else " " for place in range(_BAR + 1)]
    if asked is not None:
        cells[min(_BAR, round(_BAR * asked))] = "|"
    return "".join(cells)


def _label(label: str) -> str:
    """A label fit for one cell: no control characters, at most 32 characters."""
    return "".join(character if character.isprintable() else "?" for character in label[:32])


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}%"
