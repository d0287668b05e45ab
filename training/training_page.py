"""The page of a training, `report.html`: curves of loss, learning rate and speed, and tables of stages and streams, without scripts."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.errors import RunFailed, UserError
from pipeline.report import text
from pipeline.report.line_chart import Frame, Line, drawing, line_chart
from training.plan_json import from_json

POINTS = 400
"""Points of a curve at most: each is the mean of as many steps as that takes."""

_WIDTH, _MARGIN, _HEIGHT = 1000, 16, 220

Entry = Mapping[str, Any]


def write_page(run: Path) -> Path:
    """Write report.html of a training's folder, whole or not at all, and return its path.

    Raises UserError for a folder without a training's log, RunFailed when the page can't be written.
    """
    try:
        plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
        from_json(plan)
        entries = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError as error:
        raise UserError(f"'{run}' has no {Path(str(error.filename)).name}, so no training has run in it; give the folder of one") from None
    except (OSError, ValueError) as error:
        raise UserError(f"the plan or the log in '{run}' can't be read ({error}); run the same `onnuri train pretrain` again") from error
    try:
        page = render_page(plan, entries)
    except (KeyError, TypeError) as error:
        raise UserError(f"'{run / 'log.jsonl'}' has lines that no training wrote; take them out") from error
    path = run / "report.html"
    temporary = run / f".report.html.{os.getpid()}.tmp"
    try:
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise RunFailed(
            f"can't write '{path}': {error.strerror}; free space or mend permissions, then run `onnuri train report`"
        ) from error
    return path


def render_page(plan: Mapping[str, Any], entries: Sequence[Entry]) -> str:
    """The page of a plan (as plan.json has it) and the lines of a log."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"count": text.count, "visible": text.visible, "loss": _loss, "short": text.short_count, "percent": _percent}
    template = environment.from_string(resources.files("training").joinpath("training.html.j2").read_text(encoding="utf-8"))
    steps = [entry for entry in entries if entry["kind"] == "step"]
    validations = [entry for entry in entries if entry["kind"] == "validation"]
    events = [entry for entry in entries if entry["kind"] == "event"]
    stages = [_stage(stage, steps, validations) for stage in plan["stages"]]
    plots = Markup(curves(steps, validations)) if steps else None
    return template.render(plan=plan, stages=stages, steps=steps, events=events, plots=plots)


def _stage(stage: Mapping[str, Any], steps: Sequence[Entry], validations: Sequence[Entry]) -> dict[str, Any]:
    """What was asked of a stage, what its samples were drawn from, and where its losses ended."""
    mine = [entry for entry in steps if entry["stage"] == stage["name"]]
    measured = [entry for entry in validations if entry["stage"] == stage["name"]]
    read: dict[str, int] = {}
    for entry in mine:
        for name, facts in entry["streams"].items():
            read[name] = read.get(name, 0) + facts["tokens"]
    last = {name: facts for entry in mine for name, facts in entry["streams"].items()}
    weights = {stream["name"]: stream["weight"] for stream in stage["streams"]}
    total = sum(read.values())
    streams = [
        {
            "name": name,
            "asked": weight / sum(weights.values()),
            "got": read.get(name, 0) / total if total else None,
            "loss": last[name]["loss"] if name in last else None,
        }
        for name, weight in weights.items()
    ]
    return {
        "name": stage["name"],
        "length": stage["length"],
        "steps": stage["samples"] // stage["batch_samples"],
        "tokens": stage["samples"] * stage["length"],
        "streams": streams,
        "validation": measured[-1]["languages"] if measured else {},
    }


def curves(steps: Sequence[Entry], validations: Sequence[Entry]) -> str:
    """All curves over the tokens that were read, as one standalone SVG."""
    marks, seen = [], set()
    for entry in steps:
        if entry["stage"] not in seen:
            marks.append((entry["tokens"], entry["stage"]))
            seen.add(entry["stage"])
    losses = [Line("all", _curve(steps, lambda entry: entry["loss"]))]
    languages = sorted({name for entry in steps for name in entry["languages"]})
    if len(languages) > 1:
        losses += [Line(name, _curve(steps, _of("languages", name, "loss"))) for name in languages]
    held_out = sorted({name for entry in validations for name in entry["languages"]})
    losses += [Line(f"{name}, held out", _curve(validations, _of("languages", name, "loss"))) for name in held_out]
    charts: list[tuple[str, list[Line], Callable[[float], str]]] = [
        ("Loss, nats per token, by tokens read", losses, "{:.2f}".format),
        ("Learning rate", [Line("", _curve(steps, lambda entry: entry["learning_rate"]))], "{:.1e}".format),
        ("Norm of the gradient before clipping", [Line("", _curve(steps, lambda entry: entry["grad_norm"]))], "{:.2f}".format),
        ("Tokens per second", [Line("", _curve(steps, lambda entry: entry["tokens_per_second"]))], text.short_count),
    ]
    last = steps[-1]["tokens"]
    ticks = [(last * step / 4, text.short_count(last * step / 4)) for step in range(1, 5)]
    shapes, top = [], _MARGIN
    for title, lines, say in charts:
        drawn = [line for line in lines if line.points]
        if not drawn:
            continue
        height = _HEIGHT + 120 if len(lines) > 1 else _HEIGHT // 2
        frame = Frame(_MARGIN, top, _WIDTH - 2 * _MARGIN, height)
        first = min(point[0] for line in drawn for point in line.points)
        here = [(place, said) for place, said in ticks if place >= first]
        shapes.append(line_chart(frame, title, drawn, here, say, marks=marks if len(marks) > 1 else []))
        top += frame.whole_height + 12
    return str(drawing("Curves of the training", _WIDTH, top + _MARGIN, shapes))


def _curve(entries: Sequence[Entry], value: Callable[[Entry], float | None]) -> list[tuple[float, float]]:
    """(tokens, value) of the entries that have a finite one, as at most POINTS means of neighbours."""
    points = [(float(entry["tokens"]), found) for entry in entries if (found := value(entry)) is not None and math.isfinite(found)]
    group = -(-len(points) // POINTS) or 1
    parts = [points[begin : begin + group] for begin in range(0, len(points), group)]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]


def _of(kind: str, name: str, key: str) -> Callable[[Entry], float | None]:
    return lambda entry: entry[kind].get(name, {}).get(key)


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
