"""`plan.json`: a resolved plan as plain data, its fingerprint, and what two plans differ in."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import xxhash
from pydantic import TypeAdapter, ValidationError

from training.plan import Plan


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data: what `plan.json` holds."""
    data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(plan)))
    return data


def from_json(data: Mapping[str, Any]) -> Plan:
    """The plan that `as_json` made this of. Raises ValueError for anything else, with the first thing that is wrong."""
    try:
        return TypeAdapter(Plan).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "all of it"
        raise ValueError(f"{where}: {first['msg']}") from error


def fingerprint(plan: Plan) -> str:
    """xxh3-128, in hexadecimal, of all that decides the course of the training."""
    text = json.dumps(_course(as_json(plan)), sort_keys=True, ensure_ascii=False)
    return xxhash.xxh3_128_hexdigest(text.encode())


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What decides the course and is not the same in two `plan.json`, such as `stages[1].schedule.peak: 0.0003 -> 0.0002`."""
    before, after = _course(old), _course(new)
    contents = zip(before.pop("contents"), after.pop("contents"), strict=False)
    others = [f"sources[{place}]: '{old['sources'][place]['name']}' has other documents" for place, (a, b) in enumerate(contents) if a != b]
    return [*_different(before, after, ""), *(others if len(old["sources"]) == len(new["sources"]) else [])]


def _course(data: Mapping[str, Any]) -> dict[str, Any]:
    """Of a `plan.json`, what decides the course: not where things lie, how they are called, or how often they are measured.

    That there is an initial model counts, and not its folder: once the first step is done, it is never read again.
    """
    sources = [{key: value for key, value in source.items() if key != "shards"} for source in data["sources"]]
    validation = data["validation"] and {"share": data["validation"]["share"]}
    kept = {key: value for key, value in data.items() if key not in ("fingerprint", "name", "tokenizer")}
    return {**kept, "initial": data["initial"] is not None, "sources": sources, "validation": validation}


def _different(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _different(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _different(before, after, f"{path}[{place}]")
    elif isinstance(old, list) and isinstance(new, list):
        yield f"{path}: {len(old)} -> {len(new)} of them"
    elif old != new:
        yield f"{path}: {_said(old)} -> {_said(new)}"


def _said(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
