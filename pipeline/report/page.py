"""The report as one HTML page without scripts or anything from elsewhere, and as report.json beside it."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from pipeline.errors import RunFailed
from pipeline.report import charts, text
from pipeline.report.facts import build_report
from pipeline.segment import write_json

ROWS_SHOWN = 12
"""Reasons or labels listed before the rest is summed up in one row; report.json has them all."""

RULES_SHOWN = 20
"""Rules drawn, those that most documents break; report.json has all."""

LANGUAGES_SHOWN = 6
LEAST_SHARE_DRAWN = 0.01
"""Length histograms drawn: at most so many, of languages with at least this share of the documents."""

MEANINGS = {
    "ingest": "reads the inputs, decodes them and extracts the main text",
    "refine": "repairs text, finds the language, computes quality signals, applies rules and masks personal data",
    "dedup": "removes exact and near duplicates",
    "classify": "labels domain and quality",
    "decontaminate": "finds benchmark text",
    "balance": "chooses documents for the language and domain mixture",
    "corpus": "writes the corpus shards",
}


def write_report(run: Path) -> tuple[Path, Path]:
    """Write RUN/report.json and RUN/report.html, each complete or as before; returns both paths.

    Raises UserError for a path that is no run, and RunFailed when the files can't be written.
    """
    report = build_report(run)
    json_path, html_path = run / "report.json", run / "report.html"
    temporary = run / f".report.html.{os.getpid()}.tmp"
    try:
        write_json(json_path, report)
        temporary.write_text(render_page(report), encoding="utf-8")
        os.replace(temporary, html_path)
    except OSError as error:
        raise RunFailed(
            f"can't write the report to '{run}': {error.strerror or error}; free space or mend permissions, then write it again"
        ) from error
    return json_path, html_path


def render_page(report: dict[str, Any]) -> str:
    """The page for the content of a report.json."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        name: getattr(text, name) for name in ("count", "short_count", "size", "share", "duration", "rate", "visible", "visible_lines")
    }
    template = environment.from_string(resources.files("pipeline.report").joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        report=report,
        meanings=MEANINGS,
        funnel=_funnel(report["funnel"]),
        drops=_drops(report["funnel"]),
        labels={name: _labels(report[name]) for name in ("languages", "domains")},
        phases=_phases(report["mixture"]),
        plans=_plans(report["mixture"]["plan"]),
        histograms=_histograms(report["lengths"]),
        rules=_rules(report["rules"]),
        found=_duplicates(report["duplicates"]),
        leaked=_leaked(report["contamination"]),
        speed=_speed(report["speed"]),
        config=json.dumps(report["run"]["config"], indent=1, ensure_ascii=False),
    )


def _funnel(segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each segment with its two bars and the band to the next."""
    most_rows = max((segment["rows_in"] for segment in segments), default=0)
    most_bytes = max((segment["bytes_in"] for segment in segments), default=0)
    shown = []
    for index, segment in enumerate(segments):
        following = segments[index + 1]["rows_in"] if index + 1 < len(segments) else None
        band = charts.link(segment["kept"]["rows"] / most_rows, following / most_rows) if following is not None and most_rows else ""
        shown.append(
            segment
            | {
                "documents": _outcome_bar(segment, "rows", most_rows, 24),
                "bytes": _outcome_bar(segment, "bytes", most_bytes, 7),
                "band": band,
            }
        )
    return shown


def _outcome_bar(segment: dict[str, Any], unit: str, whole: float, height: int) -> Any:
    spoken = text.count if unit == "rows" else text.size
    parts = [
        charts.Share(segment[kind][unit], kind, f"{kind}: {spoken(segment[kind][unit])}{' documents' if unit == 'rows' else ''}")
        for kind in ("kept", "dropped", "quarantined")
    ]
    return charts.stacked_bar(parts, whole, height)


def _drops(segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reasons per segment, the rarer ones summed up, with a bar relative to the most frequent one of the run."""
    most = max((one["rows"] for segment in segments for kind in ("dropped", "quarantined") for one in segment[kind]["reasons"]), default=0)
    shown = []
    for segment in segments:
        listed = [one | {"kind": kind} for kind in ("dropped", "quarantined") for one in segment[kind]["reasons"]]
        listed.sort(key=lambda one: (-one["rows"], one["reason"]))
        rows, rest = listed[:ROWS_SHOWN], listed[ROWS_SHOWN:]
        if rest:
            summed = {key: sum(one[key] for one in rest) for key in ("rows", "bytes")}
            rows.append({"reason": f"{len(rest)} more reasons (all are in report.json)", "kind": "rest", **summed})
        for one in rows:
            one["bar"] = charts.stacked_bar([charts.Share(one["rows"], one["kind"], f"{text.count(one['rows'])} documents")], most, 10)
        if rows:
            shown.append({"segment": segment["segment"], "rows_in": segment["rows_in"], "rows": rows})
    return shown


def _labels(distribution: dict[str, Any]) -> dict[str, Any] | None:
    """Before and after side by side, with shares of bytes before, and of tokens (bytes, documents) after."""
    before, after = distribution["before"], distribution["after"]
    if not any(side and side["rows"] for side in (before, after)):
        return None
    first = {row["label"]: row for row in before["rows"]} if before else {}
    last = {row["label"]: row for row in after["rows"]} if after else {}
    unit = next((unit for unit in ("tokens", "bytes", "documents") if any(row.get(unit) for row in last.values())), "documents")
    sums = {
        "before": sum(row["bytes"] or 0 for row in first.values()),
        "after": sum(row.get(unit) or 0 for row in last.values()),
    }
    order = sorted(
        {*first, *last}, key=lambda label: (-(last.get(label, {}).get(unit) or 0), -first.get(label, {}).get("documents", 0), label)
    )
    rows = [_label_row(label, first.get(label), last.get(label), unit, sums) for label in order]
    if len(rows) > ROWS_SHOWN:
        rest = rows[ROWS_SHOWN - 1 :]
        merged = {side: _merged([row[side] for row in rest if row[side]]) for side in ("first", "last")}
        rows = [*rows[: ROWS_SHOWN - 1], _label_row(f"{len(rest)} others", merged["first"], merged["last"], unit, sums)]
    return {
        "rows": rows,
        "unit": unit,
        "sums": sums,
        "before": before["segment"] if before else None,
        "after": after["segment"] if after else None,
    }


def _label_row(label: str, first: dict[str, Any] | None, last: dict[str, Any] | None, unit: str, sums: dict[str, float]) -> dict[str, Any]:
    shares = (
        (first["bytes"] or 0) / sums["before"] if first and sums["before"] else None,
        (last.get(unit) or 0) / sums["after"] if last and sums["after"] else None,
    )
    return {"label": label, "first": first, "last": last, "bar": charts.compared_bars(*shares)}


def _merged(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not rows:
        return None
    return {key: sum(row.get(key) or 0 for row in rows) for key in ("documents", "bytes", "tokens")}


def _phases(mixture: dict[str, Any]) -> list[dict[str, Any]]:
    """The reached and the asked mixture: per phase one table of languages and one of domains, where there are any."""
    shown = []
    for phase in mixture["phases"]:
        tables = []
        for title, key in (("language", "languages"), ("domain", "domains")):
            rows = [row | {"bar": charts.compared_bars(None, row["share"], row["asked"])} for row in phase[key][:ROWS_SHOWN]]
            if rows and [row["label"] for row in rows] != ["–"]:
                tables.append({"title": title, "rows": rows})
        shown.append(phase | {"tables": tables})
    return shown


def _plans(plans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each phase could take and took: a pale bar for the share of what is available, a strong one for that of the phase."""
    shown = []
    for plan in plans:
        groups = [
            group | {"bar": charts.compared_bars(group["available_share"], group["share"], group["asked"])}
            for group in plan["groups"][:ROWS_SHOWN]
        ]
        most = max((max(band["available"], band["got"]) for band in plan["bands"]), default=0) or 1
        bands = [band | {"bar": charts.compared_bars(band["available"] / most, band["got"] / most)} for band in plan["bands"]]
        shown.append(plan | {"groups": groups, "left_out": plan["groups_total"] - len(groups), "bands": bands})
    return shown


def _histograms(lengths: dict[str, Any] | None) -> list[dict[str, Any]]:
    """One histogram per language that has a share worth drawing, all on one axis so that they can be compared."""
    if lengths is None:
        return []
    counted = [(language["lang"], {one["log2"]: one for one in language["bins"]}) for language in lengths["languages"]]
    everything = sum(one["before"] for _, bins in counted for one in bins.values())
    drawn = [(lang, bins) for lang, bins in counted if sum(one["before"] for one in bins.values()) >= LEAST_SHARE_DRAWN * everything][
        :LANGUAGES_SHOWN
    ]
    edges = [edge for _, bins in drawn for edge in bins]
    if not edges:
        return []
    axis = range(min(edges), max(edges) + 1)
    ticks = [text.size(2**edge) for edge in (axis.start, (axis.start + axis.stop) // 2, axis.stop)]
    nothing = {"before": 0, "after": 0}
    shown = []
    for lang, bins in drawn:
        before, after = (sum(one[side] for one in bins.values()) for side in ("before", "after"))
        pairs = [(bins.get(edge, nothing)["before"], bins.get(edge, nothing)["after"]) for edge in axis]
        label = f"Lengths of {lang} documents, {before:,} before and {after:,} after, from {ticks[0]} to {ticks[2]}"
        shown.append({"lang": lang, "before": before, "after": after, "chart": charts.histogram(pairs, label), "ticks": ticks})
    return shown


def _rules(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules that some document breaks, most first, each with a bar: what it decided alone, decided, and what others decided before."""
    broken = sorted((one for one in listed if one["broken"]), key=lambda one: (-one["broken"], one["rule"], one["languages"]))
    most = max((one["broken"] for one in broken), default=0)
    shown = []
    for one in broken[:RULES_SHOWN]:
        also = one["broken"] - one["alone"]
        parts = [
            charts.Share(one["alone"], "dropped", f"break only this rule: {text.count(one['alone'])}"),
            charts.Share(also, "rest", f"break others, too: {text.count(also)}"),
        ]
        shown.append(one | {"bar": charts.stacked_bar(parts, most, 10)})
    return shown


def _duplicates(duplicates: dict[str, Any] | None) -> dict[str, Any]:
    """Charts of dedup: `sizes` with bars, `similarities` and `curve`, each with the ticks of its axis, or none where there is nothing."""
    if duplicates is None:
        return {"sizes": [], "similarities": None, "curve": None}
    most = max((row["documents"] for row in duplicates["sizes"]), default=0)
    shown: dict[str, Any] = {"similarities": None, "curve": None}
    shown["sizes"] = [
        row | {"bar": charts.stacked_bar([charts.Share(row["documents"], "kept", f"{text.count(row['documents'])} documents")], most, 10)}
        for row in duplicates["sizes"]
    ]
    bins = duplicates["similarities"]
    if bins:
        ticks = [f"{value:g}" for value in (bins[0]["from"], bins[-1]["to"])]
        label = f"Similarities of {sum(one['documents'] for one in bins):,} near duplicates, from {ticks[0]} to {ticks[1]}"
        shown["similarities"] = {"chart": charts.columns([one["documents"] for one in bins], label), "ticks": ticks}
    curve = duplicates["curve"]
    if curve:
        lines = [
            (kind, [(one["similarity"], one[key]) for one in curve["points"]])
            for kind, key in (("before", "compared"), ("kept", "verified"))
        ]
        label = f"Probability that a pair is found, by similarity from 0 to 1; the threshold is {curve['threshold']:g}"
        shown["curve"] = {"chart": charts.areas(lines, curve["threshold"], label), "ticks": ["0", "0.25", "0.5", "0.75", "1"]}
    return shown


def _leaked(contamination: dict[str, Any] | None) -> dict[str, Any] | None:
    """The chart of documents by the length of their longest match, with the ticks of its axis; none where nothing was found."""
    bars = contamination["by_length"] if contamination else []
    if not any(bar["documents"] for bar in bars):
        return None
    said = ", ".join(f"{bar['documents']:,} of at least {bar['length']}" for bar in bars)
    chart = charts.columns([bar["documents"] for bar in bars], f"Documents with a match of so many characters: {said}")
    return {"chart": chart, "ticks": [f"≥ {bar['length']}" for bar in bars]}


def _speed(segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each segment with its steps and stages, longest first, and bars of their seconds relative to the longest segment."""
    most = max((segment["worker_seconds"] for segment in segments), default=0)
    shown = []
    for segment in segments:
        parts = [{"name": f"step {one['name']}", "seconds": one["seconds"]} for one in segment["steps"]]
        parts += [{"name": one["name"], "seconds": one["seconds"]} for one in segment["stages"]]
        parts = sorted((one for one in parts if one["seconds"] > 0), key=lambda one: (-one["seconds"], one["name"]))
        for one in parts:
            one["bar"] = charts.stacked_bar([charts.Share(one["seconds"], "before", text.duration(one["seconds"]))], most, 8)
        bar = charts.stacked_bar([charts.Share(segment["worker_seconds"], "kept", text.duration(segment["worker_seconds"]))], most, 10)
        shown.append(segment | {"parts": parts, "bar": bar})
    return shown
