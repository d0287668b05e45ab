"""The plan of balance for the report: per phase what was available, asked for and got of each language, domain and band of quality."""

from __future__ import annotations

from typing import Any

from pipeline.report.run_folder import RunFolder, number, read_json
from pipeline.report.text import visible

LISTED = 200
"""Groups of a phase that are listed, those with most tokens available first."""


def mix_plan(folder: RunFolder) -> list[dict[str, Any]]:
    """One entry per phase of plan.json, in its order; empty where balance made no plan. docs/report.md says what is in it."""
    path = folder.path / "balance" / "steps" / "plan" / "plan.json"
    if not path.is_file():
        return []
    phases = read_json(path, folder.gaps).get("phases")
    return [_phase(name, phase) for name, phase in phases.items() if isinstance(phase, dict)] if isinstance(phases, dict) else []


def _phase(name: str, phase: dict[str, Any]) -> dict[str, Any]:
    groups = [_group(group) for group in _rows(phase, "groups")]
    everything = sum(group["available"] for group in groups) or 1
    for group in groups:
        group["available_share"] = group["available"] / everything
    groups.sort(key=lambda group: (-group["available"], group["language"], group["domain"]))
    replay = phase.get("replay") if isinstance(phase.get("replay"), dict) else None
    notes = phase.get("notes")
    return {
        "phase": visible(name, 40),
        "tokens_asked": int(number(phase, "tokens_asked")) or None,
        "tokens_largest": int(number(phase, "tokens_largest")),
        "tokens_got": int(number(phase, "tokens_got")),
        "method": visible(phase.get("method"), 40),
        "notes": [visible(note, 400) for note in notes] if isinstance(notes, list) else [],
        "replay_tokens": int(number(replay, "tokens_got")) if replay else 0,
        "long": {key: int(number(phase, "long", key)) for key in ("available_documents", "available_tokens", "documents", "tokens_got")},
        "groups": groups[:LISTED],
        "groups_total": len(groups),
        "bands": _bands(phase),
    }


def _group(group: dict[str, Any]) -> dict[str, Any]:
    asked = group.get("share_asked")
    return {
        "language": visible(group.get("language"), 20),
        "domain": visible(group.get("domain"), 60),
        "available": int(number(group, "available_tokens")),
        "target": int(number(group, "tokens_target")),
        "got": int(number(group, "tokens_got")),
        "epochs": number(group, "epochs"),
        "share": number(group, "share_got"),
        "asked": number(group, "share_asked") if asked is not None else None,
        "documents": int(number(group, "documents")),
    }


def _bands(phase: dict[str, Any]) -> list[dict[str, Any]]:
    """Tokens available and got per language and band of quality, over all domains; empty where no document has a quality."""
    totals: dict[tuple[str, str], dict[str, int]] = {}
    for row in _rows(phase, "bands"):
        key = visible(row.get("language"), 20), visible(row.get("band"), 20)
        entry = totals.setdefault(key, {"available": 0, "got": 0, "documents": 0})
        for name, column in (("available", "available_tokens"), ("got", "tokens_got"), ("documents", "documents")):
            entry[name] += int(number(row, column))
    if all(band == "none" for _, band in totals):
        return []
    return [{"language": language, "band": band, **counts} for (language, band), counts in totals.items()]


def _rows(phase: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = phase.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
