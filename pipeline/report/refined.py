"""What ingest and refine found in the pages: encodings, licences, cut lines, personal data, and what each rule did alone and together."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from pipeline.refine.config import RuleSettings
from pipeline.report.distributions import LABELS, LARGEST, Tables, shown
from pipeline.report.run_folder import RunFolder
from pipeline.rules import Rule
from pipeline.schema import BY_NAME

PERSONAL = tuple(name for name in BY_NAME if name.startswith("pii_"))


def pages(tables: Tables) -> dict[str, Any] | None:
    """{charsets, licenses, directives}: documents that ingest kept by encoding and by what their pages declare; null without ingest."""
    if tables.segment_with("ingest") is None:
        return None
    charsets = tables.rows(
        "encodings",
        f"""select charset, charset_source, count(*) as documents, count(*) filter (where replacement_ratio > 0) as damaged
        from kept_ingest where charset is not null group by 1, 2 order by documents desc, 1, 2 limit {LABELS}""",
    )
    found: dict[str, Any] = {"charsets": shown(charsets)}
    for key, column in (("licenses", "license"), ("directives", "robots_directives")):
        sql = f"""select {column} as label, count(*) as documents from kept_ingest where {column} is not null
            group by 1 order by documents desc, 1 limit {LABELS}"""
        found[key] = shown(tables.rows(key, sql))
    return found


def personal(tables: Tables) -> list[dict[str, Any]]:
    """Personal data replaced, per kind: how often and in how many of the documents that refine kept; kinds without a find are left out."""
    segment = tables.segment_with("refine")
    if segment is None:
        return []
    counted = ", ".join(f"sum({name})::bigint as {name}, count(*) filter (where {name} > 0) as in_{name}" for name in PERSONAL)
    rows = tables.rows("personal data", f'select {counted} from "kept_{segment}"')
    return [
        {"kind": name.removeprefix("pii_"), "replaced": int(row[name]), "documents": int(row[f"in_{name}"])}
        for row in rows
        for name in PERSONAL
        if row[name]
    ]


def cut_lines(tables: Tables) -> dict[str, Any] | None:
    """Boilerplate lines cut: how many, by reason, and the most frequent ones (masked when they were cut); null where none was."""
    segment = tables.segment_with("refine")
    if segment is None:
        return None
    cut = f'(select id, unnest(cut_lines) as one from "kept_{segment}")'
    reasons = tables.rows(
        "cut lines",
        f"""select one.reason as reason, count(*) as lines, count(distinct id) as documents from {cut}
        group by 1 order by lines desc, 1 limit {LABELS}""",
    )
    most = tables.rows(
        "lines cut most often",
        f"""select one.text as text, one.reason as reason, count(*) as lines, count(distinct id) as documents from {cut}
        group by 1, 2 order by lines desc, 1, 2 limit {LARGEST}""",
    )
    return {"lines": sum(row["lines"] for row in reasons), "reasons": shown(reasons), "most": shown(most)} if reasons else None


def rules(tables: Tables, folder: RunFolder) -> list[dict[str, Any]]:
    """Each rule of the run: how many documents break it, how many it decided as the first broken rule, how many break no other.

    Of all documents that the stage `rules` saw. Empty when the run has no manifest that names its rules.
    """
    segment = folder.segment(tables.segment_with("refine") or "")
    chain = segment.totals.get("chain") if segment else None
    known = _rules_of(chain if isinstance(chain, list) else [])
    if not known or segment is None:
        return []
    columns = ", ".join(dict.fromkeys(["lang", *(rule.column for rule in known)]))
    name = segment.name.replace("'", "''")
    seen = f"""select {columns}, null as drop_reason from "kept_{segment.name}" union all
        select {columns}, drop_reason from dropped where segment = '{name}' and drop_stage = 'rules'"""
    total = " + ".join(f"({rule.sql()})::int" for rule in known)
    counts = ", ".join(
        f"""count(*) filter (where {rule.sql()}) as broken_{index}, count(*) filter (where total = 1 and {rule.sql()}) as alone_{index}"""
        for index, rule in enumerate(known)
    )
    found = tables.rows("what each rule did", f"select {counts} from (select *, {total} as total from ({seen}))")
    decided = tables.rows(
        "what each rule decided",
        f"select drop_reason, lang, count(*) as documents from ({seen}) where drop_reason is not null group by 1, 2",
    )
    if not found:
        return []
    return [
        {
            "rule": rule.reason,
            "languages": list(rule.languages),
            "broken": found[0][f"broken_{index}"],
            "decided": sum(
                row["documents"]
                for row in decided
                if row["drop_reason"] == rule.reason and (not rule.languages or row["lang"] in rule.languages)
            ),
            "alone": found[0][f"alone_{index}"],
        }
        for index, rule in enumerate(known)
    ]


def _rules_of(chain: list[Any]) -> list[Rule]:
    """The rules in a manifest's chain; nothing when it doesn't hold any. Checked again: a manifest is a file that anybody can edit."""
    settings = next((one.get("settings") for one in chain if isinstance(one, dict) and one.get("name") == "rules"), None)
    listed = settings.get("rules") if isinstance(settings, dict) else None
    try:
        return [RuleSettings.model_validate(one).rule() for one in listed] if isinstance(listed, list) else []
    except ValidationError:
        return []
