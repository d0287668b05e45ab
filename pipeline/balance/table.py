"""The plan as a table that people read."""

from __future__ import annotations

from typing import Any

from pipeline.balance.plan import human

_HEADER = ("language", "domain", "available", "epochs", "asked", "planned", "got", "share", "documents")


def render_plan(plan: dict[str, Any]) -> str:
    """plan.json as aligned text: per phase a line per language and domain with tokens and shares, the total, and notes."""
    return "\n".join(line for name, phase in plan["phases"].items() for line in _phase_lines(name, phase))


def _phase_lines(name: str, phase: dict[str, Any]) -> list[str]:
    rows: list[tuple[str, ...]] = [_HEADER]
    for language, totals in phase["languages"].items():
        rows.append(
            (
                language,
                "all",
                human(totals["available_tokens"]),
                "",
                _percent(totals["share_asked"]),
                "",
                human(totals["tokens_got"]),
                _percent(totals["share_got"]),
                f"{totals['documents']:,}",
            )
        )
        rows += [_group_row(group) for group in phase["groups"] if group["language"] == language]
    widths = [max(len(row[index]) for row in rows) for index in range(len(_HEADER))]
    lines = [
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width) for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    asked = human(phase["tokens_asked"]) if phase["tokens_asked"] is not None else "as many as possible"
    title = (
        f"phase {name}: {human(phase['tokens_got'])} tokens (asked for {asked}; at most {human(phase['tokens_largest'])} with these shares)"
    )
    return [title, *(line.rstrip() for line in lines), *(f"note: {note}" for note in phase["notes"]), ""]


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


def _label(label: str) -> str:
    """A label fit for one cell: no control characters, at most 32 characters."""
    return "".join(character if character.isprintable() else "?" for character in label[:32])


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}%"
