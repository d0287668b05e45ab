"""Scores a run over the synthetic sample: was each planted document kept, dropped or quarantined as it should, and is the corpus clean?"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import UserError
from pipeline.sample.outcomes import Outcomes, Record, file_key, in_segment, read_outcomes
from pipeline.sample.pages import FURNITURE

Truth = dict[str, Any]

# Thresholds. "Must be 0" and 1.0 are promises of the platform; the others leave room for models and estimates, and say which.
FEWEST_EXACT = 0.98  # exact copies removed: copies cross formats, and an extractor may add a title to one of them
FEWEST_NEAR = 0.95  # near duplicates removed: 14 x 8 MinHash bands find 98.8 % of pairs at Jaccard 0.85
FEWEST_DEDUP_PRECISION = 0.99  # dropped by dedup that are planted copies: candidates are verified, so hardly any error is excused
FEWEST_NEAR_MISS = 0.97  # near misses kept: their similarity of 0.45 is far below any sensible threshold
FEWEST_LEAK = 1.0  # whole benchmark items are found exactly: no leak may stay
FEWEST_LEAK_PRECISION = 0.98  # dropped by decontaminate that hold an item
FEWEST_NOISE = 0.95  # spam, menus, repetition, scraps and other languages dropped: language and main text are estimates
FEWEST_QUARANTINE = 1.0  # unreadable records are never guessed at
FEWEST_CLEAN = 0.97  # clean documents that reach the corpus or the budget of balance; rules may misjudge a few
FEWEST_INTACT = 0.98  # kept documents that hold all marker sentences: extraction may lose a first or last line
FEWEST_CHARSET = 0.97  # the same for legacy and misdeclared encodings: without any label a detector decides
FEWEST_LANGUAGE = 0.98  # Korean and English are told apart by script and model
FEWEST_DOMAIN = 0.90  # the domain model is trained on a thousand short texts
MOST_FURNITURE = 0.05  # share of pages in the corpus that still show their menu

CLEAN_KINDS = ("clean", "pii", "notice", "near_miss")
NOISE_KINDS = ("spam", "repetition", "boilerplate", "too_short", "foreign")
ARCHIVE_KINDS = ("archive_record", "http_error", "image", "empty_text")
_BALANCE = ["balance"]
_WRONG_SHOWN = 50
_COUNTS = ("planted", "kept", "dropped", "quarantined", "lost", "right")


def score(run_folder: Path, sample_folder: Path) -> dict[str, Any]:
    """Compare a finished run with the truth of the sample it ran over.

    Returns JSON-able values: `passed`, `checks` (name, value, limit, at_most, passed (None: not measured), detail), `kinds` (per planted
    kind: planted, kept, dropped, quarantined, lost, right), `wrong` (the first 50 records that went astray) and `wrong_total`.
    Raises UserError when the truth or the run cannot be read.
    """
    truths = read_truth(Path(sample_folder))
    outcomes = read_outcomes(Path(run_folder))
    found = match(truths, outcomes)
    pairs = [(truth, found.get(truth["name"])) for truth in truths]
    right = _right(pairs)
    wrong = [_complaint(truth, record) for truth, record in pairs if not right[truth["name"]]]
    checks = _checks(pairs, outcomes, found, right)
    return {
        "passed": all(check["passed"] is not False for check in checks),
        "checks": checks,
        "kinds": _kinds(pairs, right),
        "wrong": wrong[:_WRONG_SHOWN],
        "wrong_total": len(wrong),
    }


def read_truth(sample_folder: Path) -> list[Truth]:
    """The lines of truth.jsonl. Raises UserError when the file is missing or a line is damaged."""
    path = sample_folder / "truth.jsonl"
    if not path.is_file():
        raise UserError(f"{path} does not exist; write the sample with 'onnuri sample {sample_folder}' and run over it")
    truths = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            truths.append(orjson.loads(line))
        except orjson.JSONDecodeError as problem:
            raise UserError(f"{path} line {number} is not JSON ({problem}); write the sample again") from problem
    return truths


def match(truths: Sequence[Truth], outcomes: Outcomes) -> dict[str, Record]:
    """The record of each truth, by the truth's name: by file and position, else by source id, else by address.

    A quarantined record may carry none of these, so that last of all a quarantined record of the same file will do. No record is
    given to two truths; a truth without a record is left out.
    """
    by_place: dict[tuple[str, int | None], list[Record]] = defaultdict(list)
    by_source_id: dict[str, list[Record]] = defaultdict(list)
    by_url: dict[str, list[Record]] = defaultdict(list)
    quarantined: dict[str, list[Record]] = defaultdict(list)
    for record in outcomes.records.values():
        key = file_key(record.file)
        by_place[key, record.position].append(record)
        by_place[key, None].append(record)
        if record.source_id:
            by_source_id[record.source_id].append(record)
        if record.url:
            by_url[record.url].append(record)
        if record.ended == "quarantined":
            quarantined[key.split("!")[0]].append(record)
    found: dict[str, Record] = {}
    claimed: set[str] = set()

    def claim(truth: Truth, candidates: Sequence[Record]) -> None:
        free = [record for record in candidates if record.id not in claimed] if truth["name"] not in found else []
        if free:
            found[truth["name"]] = free[0]
            claimed.add(free[0].id)

    for truth in truths:
        claim(truth, by_place.get((file_key(truth["file"]), truth["position"]), ()))
    for truth in truths:
        claim(truth, by_source_id.get(truth["source_id"] or "", ()))
    for truth in truths:
        claim(truth, by_url.get(truth["url"] or "", ()))
    for truth in truths:
        if truth["expected"] == "quarantined":
            claim(truth, quarantined.get(file_key(truth["file"]).split("!")[0], ()))
    return found


def _right(pairs: Sequence[tuple[Truth, Record | None]]) -> dict[str, bool]:
    """Per truth, whether its record ended as planted; of a group of duplicates any one member may be the survivor."""
    groups: dict[str, list[tuple[Truth, Record | None]]] = defaultdict(list)
    right: dict[str, bool] = {}
    for truth, record in pairs:
        if truth["group"]:
            groups[truth["group"]].append((truth, record))
        elif record is None or record.ended == "lost":
            right[truth["name"]] = False
        elif record.ended == "kept" or truth["expected"] == "kept":
            right[truth["name"]] = record.ended in truth["accept"] or _over_budget(truth, record)
        else:
            right[truth["name"]] = record.ended in truth["accept"] and (not truth["stages"] or in_segment(record, truth["stages"]))
    for members in groups.values():
        survivors = [truth["name"] for truth, record in members if not _deduplicated(record)]
        for truth, record in members:
            if _deduplicated(record):
                right[truth["name"]] = bool(survivors)
            else:
                arrived = record is not None and (record.ended == "kept" or _over_budget(truth, record))
                right[truth["name"]] = arrived and truth["name"] == survivors[0]
    return right


def _deduplicated(record: Record | None) -> bool:
    return record is not None and record.ended == "dropped" and in_segment(record, ["dedup"])


def _over_budget(truth: Truth, record: Record) -> bool:
    """A good document that only the budget of `balance` left out is no mistake."""
    good = "kept" in truth["accept"] or bool(truth["group"])
    return good and record.ended == "dropped" and in_segment(record, _BALANCE)


def _checks(
    pairs: Sequence[tuple[Truth, Record | None]], outcomes: Outcomes, found: dict[str, Record], right: dict[str, bool]
) -> list[dict[str, Any]]:
    """The table of checks, in the order of the pipeline."""
    corpus = [record for record in outcomes.records.values() if record.text is not None]
    known = {record.id for record in found.values()}
    lost = [truth["name"] for truth, record in pairs if record is None or record.ended == "lost"]
    strays = [record.id for record in corpus if record.id not in known]
    in_corpus = [(truth, record) for truth, record in pairs if record is not None and record.text is not None]
    squeezed = [(truth, record, squeeze(record.text or "")) for truth, record in in_corpus]
    secrets = [secret for truth, _ in pairs for secret in truth["secrets"]]
    raw = [record.text or "" for record in corpus]
    exposed = [secret for secret in secrets if any(secret in text for text in raw)]
    left = [line for truth, record, _ in squeezed for line in truth["cut"] if line in (record.text or "").split("\n")]
    intact = [_holds(text, truth["markers"]) for truth, _, text in squeezed if not _legacy(truth)]
    legacy = [
        record is not None and (_over_budget(truth, record) or _holds(squeeze(record.text or ""), truth["markers"]))
        for truth, record in pairs
        if truth["kind"].startswith("charset_")
    ]
    legacy += [_holds(text, truth["markers"]) for truth, _, text in squeezed if _legacy(truth) and truth["group"]]
    pages = [text for truth, _, text in squeezed if ".warc" in truth["file"] or truth["file"].endswith(".html")]
    furniture = [squeeze(entry) for entry in FURNITURE.values()]
    languages = [record.lang == truth["language"] for truth, record in in_corpus if record.lang and truth["language"]]
    domains = [record.domain == truth["domain"] for truth, record in in_corpus if record.domain and truth["domain"]]

    def of_kind(*kinds: str) -> list[bool]:
        return [right[truth["name"]] for truth, _ in pairs if truth["kind"].startswith(kinds)]

    return [
        _count("records lost", lost),
        _count("records written twice by a segment", outcomes.doubled),
        _count("corpus documents that were never planted", strays),
        _share("broken records quarantined", of_kind("broken_", "truncated", "duplicate_id"), FEWEST_QUARANTINE),
        _share("archive noise dropped", of_kind(*ARCHIVE_KINDS), 1.0),
        _share("legacy encodings read right", legacy, FEWEST_CHARSET),
        _share("kept texts whole", intact, FEWEST_INTACT),
        _share("pages with their menu in the text", [any(f in text for f in furniture) for text in pages], MOST_FURNITURE, at_most=True),
        *(_share(f"{kind} dropped", of_kind(kind), FEWEST_NOISE) for kind in NOISE_KINDS),
        _share("language right", languages, FEWEST_LANGUAGE),
        _count("personal data left in the corpus", exposed),
        _count("boilerplate lines left in the corpus", left),
        _share("pages that opt out dropped", of_kind("opted_out"), 1.0),
        *_dedup_checks(pairs, outcomes, right),
        _share("domain right", domains, FEWEST_DOMAIN),
        _share("benchmark leaks dropped", of_kind("leak_"), FEWEST_LEAK),
        _share(
            "dropped by decontaminate that were leaks",
            [t["kind"].startswith("leak_") for t, r in pairs if r and r.ended == "dropped" and in_segment(r, ["decontaminate"])],
            FEWEST_LEAK_PRECISION,
        ),
        _share("hostile pages let through", of_kind("hostile_"), 1.0),
        _share("clean documents kept", of_kind(*CLEAN_KINDS), FEWEST_CLEAN),
    ]


def _dedup_checks(pairs: Sequence[tuple[Truth, Record | None]], outcomes: Outcomes, right: dict[str, bool]) -> list[dict[str, Any]]:
    """Recall per kind of copy over its groups' surplus members, and precision over everything that dedup dropped."""
    sizes: dict[str, int] = defaultdict(int)
    dropped: dict[str, int] = defaultdict(int)
    exact_groups: set[str] = set()
    for truth, record in pairs:
        if truth["group"]:
            sizes[truth["group"]] += 1
            dropped[truth["group"]] += _deduplicated(record)
            if truth["kind"] == "exact_duplicate":
                exact_groups.add(truth["group"])
    removed = {group: min(dropped[group], size - 1) for group, size in sizes.items()}
    gone = sum(_deduplicated(record) for record in outcomes.records.values())

    def recall(name: str, groups: set[str], limit: float) -> dict[str, Any]:
        surplus = sum(sizes[group] - 1 for group in groups)
        return _ratio(name, sum(removed[group] for group in groups), surplus, limit)

    return [
        recall("exact copies removed", exact_groups, FEWEST_EXACT),
        recall("near copies removed", set(sizes) - exact_groups, FEWEST_NEAR),
        _ratio("removed by dedup that were copies", sum(removed.values()), gone, FEWEST_DEDUP_PRECISION),
        _share("near misses kept", [right[t["name"]] for t, _ in pairs if t["kind"] == "near_miss"], FEWEST_NEAR_MISS),
    ]


def _legacy(truth: Truth) -> bool:
    return truth["kind"].startswith("charset_") or truth["charset"] not in (None, "utf-8")


def _holds(squeezed: str, markers: Sequence[str]) -> bool:
    return all(squeeze(marker) in squeezed for marker in markers)


def squeeze(text: str) -> str:
    """`text` in NFC without any whitespace, so that line breaks and spacing do not count."""
    return "".join(unicodedata.normalize("NFC", text).split())


def _share(name: str, values: Sequence[bool], limit: float, at_most: bool = False) -> dict[str, Any]:
    return _ratio(name, sum(values), len(values), limit, at_most)


def _ratio(name: str, part: int, whole: int, limit: float, at_most: bool = False) -> dict[str, Any]:
    if not whole:
        return {"name": name, "value": None, "limit": limit, "at_most": at_most, "passed": None, "detail": "not measured: no such record"}
    value = part / whole
    passed = value <= limit if at_most else value >= limit
    return {"name": name, "value": value, "limit": limit, "at_most": at_most, "passed": passed, "detail": f"{part} of {whole}"}


def _count(name: str, offenders: Sequence[str]) -> dict[str, Any]:
    shown = ", ".join(sorted(set(offenders))[:3])
    return {"name": name, "value": len(offenders), "limit": 0, "at_most": True, "passed": not offenders, "detail": shown}


def _kinds(pairs: Sequence[tuple[Truth, Record | None]], right: dict[str, bool]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for truth, record in pairs:
        row = rows.setdefault(truth["kind"], {"kind": truth["kind"], **dict.fromkeys(_COUNTS, 0)})
        row["planted"] += 1
        row[record.ended if record else "lost"] += 1
        row["right"] += right[truth["name"]]
    return [rows[kind] for kind in sorted(rows)]


def _complaint(truth: Truth, record: Record | None) -> dict[str, Any]:
    return {
        "name": truth["name"],
        "kind": truth["kind"],
        "file": truth["file"],
        "expected": truth["expected"],
        "ended": record.ended if record else "lost",
        "segment": record.segment if record else None,
        "reason": record.reason if record else None,
    }


def render_score(result: dict[str, Any]) -> str:
    """The score as plain text: the checks, the planted kinds, and the first records that went astray."""
    lines = [f"{'check':<44}{'value':>9}{'limit':>9}  {'':<13}detail"]
    for check in result["checks"]:
        value = "-" if check["value"] is None else f"{check['value']:.3f}" if isinstance(check["value"], float) else str(check["value"])
        limit = ("<=" if check["at_most"] else ">=") + f" {check['limit']:g}"
        verdict = {True: "ok", False: "FAILED", None: "not measured"}[check["passed"]]
        lines.append(f"{check['name']:<44}{value:>9}{limit:>9}  {verdict:<13}{check['detail']}".rstrip())
    lines += ["", f"{'planted kind':<28}{'planted':>9}{'kept':>7}{'dropped':>9}{'quarantined':>13}{'lost':>6}{'right':>7}"]
    for row in result["kinds"]:
        numbers = f"{row['planted']:>9}{row['kept']:>7}{row['dropped']:>9}{row['quarantined']:>13}{row['lost']:>6}{row['right']:>7}"
        lines.append(f"{row['kind']:<28}{numbers}")
    if result["wrong"]:
        lines += ["", f"{result['wrong_total']} records did not end as planted; the first:"]
        for bad in result["wrong"][:10]:
            where = f" in {bad['segment']} ({bad['reason']})" if bad["segment"] else ""
            lines.append(f"  {bad['name']} from {bad['file']}: {bad['ended']}{where}, expected {bad['expected']}")
    lines += ["", "PASSED" if result["passed"] else "FAILED"]
    return "\n".join(lines)
