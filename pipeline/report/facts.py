"""The report as data: everything that report.json holds, from the manifests, receipts and shards of a run directory."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from pipeline.report import distributions, refined
from pipeline.report.duplicates import duplicates
from pipeline.report.mix_plan import mix_plan
from pipeline.report.run_folder import RunFolder, SegmentFolder, number, open_run, read_json, reasons, steps_of
from pipeline.report.text import visible, without_secrets
from pipeline.report.views import connect_folder

FORMAT = 1
"""Version of report.json; raise it when a key changes its meaning."""


def build_report(run: Path) -> dict[str, Any]:
    """The content of report.json; docs/report.md describes every key. Absent parts are null or empty, and named in `gaps`.

    Counts are documents; `*_bytes` are bytes (of text, where a segment reads or keeps text); seconds are as measured in the workers.
    Raises UserError for a path that is no run.
    """
    folder = open_run(run)
    published = folder.file("decontaminate", "report.json")
    found = read_json(published, folder.gaps) if published else {}
    with contextlib.closing(connect_folder(folder)) as connection:
        tables = distributions.Tables(connection, folder)
        report: dict[str, Any] = {
            "format": FORMAT,
            "run": _run(folder),
            "headline": {},
            "funnel": [_funnel(segment) for segment in folder.segments],
            "languages": tables.languages(),
            "domains": tables.domains(),
            "mixture": {"phases": tables.mixture(_asked(folder)), "plan": mix_plan(folder)},
            "lengths": tables.lengths(),
            "pages": refined.pages(tables),
            "rules": refined.rules(tables, folder),
            "cut_lines": refined.cut_lines(tables),
            "personal": refined.personal(tables),
            "speed": [_speed(segment) for segment in folder.segments] + _corpus_speed(folder),
            "duplicates": duplicates(tables, folder),
            "contamination": tables.contamination(_nested(found, "benchmarks"), _nested(found, "by_length")),
            "quarantine": tables.quarantine(),
        }
    report["headline"] = _headline(folder, report)
    report["gaps"] = folder.gaps
    return report


def _run(folder: RunFolder) -> dict[str, Any]:
    """What run.json says, without secrets; inputs as counts per source and format."""
    facts = folder.facts
    listed = [entry for entry in facts.get("inputs") or [] if isinstance(entry, dict)] if isinstance(facts.get("inputs"), list) else []
    sources: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in listed:
        source, format_ = visible(entry.get("source"), 100), visible(entry.get("format"), 20)
        one = sources.setdefault((source, format_), {"source": source, "format": format_, "files": 0, "bytes": 0})
        one["files"] += 1
        one["bytes"] += int(number(entry, "size"))
    keys = ("version", "created", "status", "error", "engine", "workers", "seed", "limit")
    return {
        "name": visible(folder.path.resolve().name, 120),
        **{key: facts.get(key) for key in keys},
        "wall_seconds": facts.get("seconds"),
        "inputs": sorted(sources.values(), key=lambda one: (-one["bytes"], one["source"], one["format"])),
        "config": without_secrets(facts.get("config") or {}),
    }


def _headline(folder: RunFolder, report: dict[str, Any]) -> dict[str, Any]:
    """The numbers of the first row. Speed: uncompressed bytes that the first move read, per second of worker time over all segments."""
    first, last = (folder.segments[0], folder.segments[-1]) if folder.segments else (None, None)
    disk = sum(one["bytes"] for one in report["run"]["inputs"]) or None
    worker_seconds = sum(one["worker_seconds"] for one in report["speed"])
    after = report["languages"]["after"]
    return {
        "input_files": sum(one["files"] for one in report["run"]["inputs"]) or None,
        "input_bytes": disk,
        "documents_in": int(number(first.totals, "rows_in")) if first else None,
        "documents_out": int(number(last.totals, "kept", "rows")) if last else None,
        "text_bytes_out": int(number(last.totals, "kept", "bytes")) if last else None,
        "out_of": last.name if last else None,
        "tokens": sum(row["tokens"] or 0 for row in after["rows"]) or None if after else None,
        "languages": [row["label"] for row in after["rows"]] if after else [],
        "wall_seconds": folder.facts.get("seconds"),
        "worker_seconds": round(worker_seconds, 3),
        "cpu_seconds": round(sum(one["cpu_seconds"] for one in report["speed"]), 3),
        "peak_memory_bytes": max((one["peak_memory_bytes"] for one in report["speed"]), default=0),
        "bytes_in": int(number(first.totals, "bytes_in")) if first else None,
        "mb_per_second_per_core": _ratio(number(first.totals, "bytes_in") / 1e6, worker_seconds) if first else None,
    }


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


def _funnel(segment: SegmentFolder) -> dict[str, Any]:
    totals = segment.totals
    dropped, quarantined = reasons(totals, "dropped"), reasons(totals, "quarantined")
    return {
        "segment": segment.name,
        "finished": segment.finished,
        "rows_in": int(number(totals, "rows_in")),
        "bytes_in": int(number(totals, "bytes_in")),
        "kept": {"rows": int(number(totals, "kept", "rows")), "bytes": int(number(totals, "kept", "bytes"))},
        "dropped": {key: sum(one[key] for one in dropped) for key in ("rows", "bytes")} | {"reasons": dropped},
        "quarantined": {key: sum(one[key] for one in quarantined) for key in ("rows", "bytes")} | {"reasons": quarantined},
    }


def _speed(segment: SegmentFolder) -> dict[str, Any]:
    """Time and memory of one segment; its steps (whole-corpus work beside the rows) count, too."""
    totals = segment.totals
    stages = totals.get("stages")
    facts = _costs(segment.name, totals, segment.steps)
    seconds = facts["worker_seconds"]
    return {
        **facts,
        "wall_seconds": totals.get("wall_seconds"),
        "mb_per_worker_second": _ratio(number(totals, "bytes_in") / 1e6, seconds),
        "documents_per_worker_second": _ratio(number(totals, "rows_in"), seconds),
        "stages": [
            {"name": visible(name, 60), "seconds": round(number(one, "seconds"), 3), "rows_in": int(number(one, "rows_in")) or None}
            for name, one in (stages if isinstance(stages, dict) else {}).items()
        ],
    }


def _corpus_speed(folder: RunFolder) -> list[dict[str, Any]]:
    """Time and memory of writing the corpus; nothing when there are no receipts of it."""
    steps = steps_of(folder.path / "corpus", folder.gaps)
    if not steps:
        return []
    nothing: dict[str, Any] = {"wall_seconds": None, "mb_per_worker_second": None, "documents_per_worker_second": None, "stages": []}
    return [_costs("corpus", {}, steps) | nothing]


def _costs(name: str, totals: dict[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
    """What rows (`totals` of a manifest) and steps took together."""
    everything = [totals, *steps]
    return {
        "segment": name,
        "worker_seconds": round(sum(number(one, "worker_seconds") for one in everything), 3),
        "cpu_seconds": round(sum(number(one, "cpu_seconds") for one in everything), 3),
        "peak_memory_bytes": int(max(number(one, "peak_memory_bytes") for one in everything)),
        "steps": [{"name": visible(one["name"], 60), "seconds": round(one["worker_seconds"], 3), "tasks": one["tasks"]} for one in steps],
    }


def _asked(folder: RunFolder) -> dict[str, Any]:
    """The mixture that was asked for, {phase: {tokens, languages, domains}}: from run.json, or from the manifest of the corpus.

    Shares are of the phase's tokens; those of `domains` within each language. Empty when neither file says.
    """
    configured = _nested(folder.facts, "config", "balance", "phases")
    if configured:
        return {name: phase for name, phase in configured.items() if isinstance(phase, dict)}
    phases = {}
    for name, phase in _nested(folder.corpus, "phases").items():
        languages = _nested(phase, "languages")
        domains = {label: share for one in languages.values() for label, share in _shares(_nested(one, "domains")).items()}
        phases[name] = {"tokens": number(phase, "tokens_asked"), "languages": _shares(languages), "domains": domains}
    return phases


def _nested(value: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _shares(entries: dict[str, Any]) -> dict[str, float]:
    """label: share_asked, for the entries that have one."""
    return {label: number(one, "share_asked") for label, one in entries.items() if _nested(one).get("share_asked") is not None}
