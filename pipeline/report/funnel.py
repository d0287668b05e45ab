"""The run as plain text for a terminal: the funnel at the end of a run, and how far an unfinished one is."""

from __future__ import annotations

import calendar
import time
from pathlib import Path
from typing import Any

from pipeline.report.run_folder import RunFolder, SegmentFolder, number, open_run, reasons
from pipeline.report.text import count, duration, rate, share, visible

TOP_REASONS = 3
_WRAP = 100
"""Reasons below the table are cut at this many characters, the width of a terminal that shows the table in full."""


def render_funnel(run: Path) -> str:
    """A table of the segments: documents in, kept, dropped, quarantined, MB/s per worker, and below each its most frequent reasons.

    Raises UserError for a path that is no run.
    """
    folder = open_run(run)
    header = ["segment", "documents in", "kept", "", "dropped", "quarantined", "MB/s/worker"]
    rows: list[tuple[list[str], str]] = []
    for segment in folder.segments:
        totals = segment.totals
        rows_in, kept = number(totals, "rows_in"), number(totals, "kept", "rows")
        dropped, quarantined = reasons(totals, "dropped"), reasons(totals, "quarantined")
        seconds = number(totals, "worker_seconds") + sum(step["worker_seconds"] for step in segment.steps)
        cells = [
            segment.name + ("" if segment.finished else " *"),
            count(rows_in),
            count(kept),
            share(kept, rows_in),
            count(sum(one["rows"] for one in dropped)),
            count(sum(one["rows"] for one in quarantined)),
            rate(number(totals, "bytes_in") / 1e6 / seconds if seconds else None),
        ]
        rows.append((cells, _top_reasons(dropped + quarantined, rows_in)))
    widths = [max(len(line[index]) for line in [header, *(cells for cells, _ in rows)]) for index in range(len(header))]
    lines = [_line(header, widths), "  ".join("-" * width for width in widths)]
    for cells, why in rows:
        lines.append(_line(cells, widths))
        if why:
            lines.append(f"    {why}")
    if any(not segment.finished for segment in folder.segments):
        lines.append("* not finished: numbers of the splits done so far")
    lines += _result(folder)
    return "\n".join(line.rstrip() for line in lines)


def _line(cells: list[str], widths: list[int]) -> str:
    first, *others = [
        cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join([first, *others])


def _top_reasons(listed: list[dict[str, Any]], rows_in: float) -> str:
    """The most frequent reasons in one line, without the stage's name when it fits better."""
    ordered = sorted(listed, key=lambda one: (-one["rows"], one["reason"]))
    parts = [f"{visible(one['reason'], 48)} {share(one['rows'], rows_in)}" for one in ordered[:TOP_REASONS]]
    if len(ordered) > TOP_REASONS:
        parts.append(f"{len(ordered) - TOP_REASONS} more")
    return visible(", ".join(parts), _WRAP + 60)


def _result(folder: RunFolder) -> list[str]:
    """What came out and how long it took, in one line each, as far as it is known."""
    lines = []
    phases = sorted({phase for phase, _, _ in folder.corpus_shards()})
    if phases:
        shards = len(folder.corpus_shards())
        named = ", ".join(visible(one, 40) for one in phases)
        lines.append(f"corpus: {shards:,} shard{'' if shards == 1 else 's'} in {visible(folder.path, 500)}/corpus, phases {named}")
    if "seconds" in folder.facts:
        lines.append(f"run {visible(folder.facts.get('status') or 'ended', 20)} in {duration(number(folder.facts, 'seconds'))}")
    return lines


def status(run: Path) -> dict[str, Any]:
    """How far a run is: {path, status, error, segments, gaps}; a segment has segment, state, splits_done, splits, rows_in,
    kept_rows, failures and steps.

    state: finished, running, stopped (neither finished nor running), failed or waiting (not begun). What an earlier run finished into the
    same folder is not finished until this run has come past it. splits is null where it isn't known yet: a segment reads the shards that
    the one before it kept, the first one the splits that run.json counts. Raises UserError for a path that is no run.
    """
    folder = open_run(run)
    overall = folder.facts.get("status")
    listed: list[dict[str, Any]] = []
    expected = int(number(folder.facts, "splits")) or None
    reached = True
    for name in folder.moves:
        segment = folder.segment(name)
        one = _segment_status(segment, name, expected)
        if one["state"] != "failed" and (one["state"] != "finished" or (overall == "running" and _is_older(segment, folder.facts))):
            one["state"] = "waiting" if segment is None or not reached else "running" if overall in (None, "running") else "stopped"
        reached = reached and one["state"] == "finished"
        expected = one["splits"] if one["state"] == "finished" else expected
        listed.append(one)
    error = folder.facts.get("error")
    return {
        "path": str(folder.path),
        "status": overall or ("finished" if listed and all(one["state"] == "finished" for one in listed) else "unknown"),
        "error": visible(error, 1000) if error else None,
        "segments": listed,
        "gaps": folder.gaps,
    }


def _segment_status(segment: SegmentFolder | None, name: str, expected: int | None) -> dict[str, Any]:
    if segment is None:
        nothing: dict[str, Any] = {"splits_done": 0, "splits": expected, "rows_in": 0, "kept_rows": 0, "failures": [], "steps": []}
        return {"segment": name, "state": "waiting", **nothing}
    return {
        "segment": name,
        "state": "finished" if segment.finished else "failed" if segment.failures else "running",
        "splits_done": len(segment.receipts),
        "splits": int(number(segment.totals, "splits")) if segment.finished else expected,
        "rows_in": int(number(segment.totals, "rows_in")),
        "kept_rows": int(number(segment.totals, "kept", "rows")),
        "failures": [visible(failure, 1000) for failure in segment.failures],
        "steps": [step["name"] for step in segment.steps],
    }


def _is_older(segment: SegmentFolder | None, facts: dict[str, Any]) -> bool:
    """True for a manifest written before this run began: every run writes it again, also when nothing was left to do."""
    try:
        began = calendar.timegm(time.strptime(str(facts.get("created")), "%Y-%m-%dT%H:%M:%SZ"))
        return segment is not None and (segment.path / "manifest.json").stat().st_mtime < began
    except (ValueError, OSError):
        return False  # without a start time or a manifest there is nothing to compare


def render_status(facts: dict[str, Any]) -> str:
    """The result of `status` as text: one line per segment, then failures and gaps."""
    lines = [f"{visible(facts['path'], 500)}: {visible(facts['status'], 40)}"]
    width = max((len(one["segment"]) for one in facts["segments"]), default=0)
    for one in facts["segments"]:
        splits = f"{one['splits_done']:,}/{one['splits']:,}" if one["splits"] is not None else f"{one['splits_done']:,}"
        line = f"  {one['segment']:<{width}}  {one['state']:<8}"
        if one["state"] != "waiting":
            line += f"  {splits} splits, {one['rows_in']:,} documents in, {one['kept_rows']:,} kept"
        if one["state"] not in ("finished", "waiting") and one["steps"]:
            line += f" (steps begun: {', '.join(visible(step, 40) for step in one['steps'])})"
        lines.append(line)
        lines += [f"    {failure}" for failure in one["failures"]]
    if facts["error"]:
        lines.append(f"error: {facts['error']}")
    lines += [f"note: {visible(gap, 400)}" for gap in facts["gaps"]]
    return "\n".join(line.rstrip() for line in lines)
