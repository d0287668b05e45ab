"""What dedup did: clusters by kind, size and similarity, their hosts, passages cut, and the curve by which pairs were found."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from pipeline.dedup.config import DedupConfig
from pipeline.dedup.curve import as_json, curve
from pipeline.report.distributions import LARGEST, Tables, shown
from pipeline.report.run_folder import RunFolder
from pipeline.report.text import visible

BINS = 50
"""Bins of similarity from 0 to 1: 0.02 each, a few documents of a thousand shingles apart."""


def duplicates(tables: Tables, folder: RunFolder) -> dict[str, Any] | None:
    """Clusters and what is known about them, see docs/report.md; null without clusters.parquet."""
    if folder.file("dedup", "clusters.parquet") is None:
        return None
    totals = tables.rows(
        "duplicate clusters",
        """select count(distinct cluster) as clusters, count(*) filter (where indexed is not true) as documents,
        count(*) filter (where indexed) as earlier from clusters""",
    )
    kinds = tables.rows(
        "kinds of duplicates",
        "select kind, count(*) as documents from clusters where not survivor group by kind order by documents desc, kind",
    )
    sizes = tables.rows(
        "sizes of clusters",
        """select case when n = 2 then '2' when n <= 5 then '3–5' when n <= 10 then '6–10' when n <= 100 then '11–100'
        when n <= 1000 then '101–1000' else 'over 1000' end as size, count(*) as clusters, sum(here)::bigint as documents
        from (select coalesce(max(cluster_size), count(*)) as n, count(*) filter (where indexed is not true) as here
        from clusters group by cluster) group by 1 order by min(n)""",
    )
    largest = tables.rows(
        "largest clusters",
        f"""select c.*, d.source, d.title, d.url from (select cluster, coalesce(max(cluster_size), count(*)) as size,
        min(similarity) as lowest_similarity from clusters group by cluster order by size desc, cluster limit {LARGEST}) c
        left join (select id, source, title, url from kept_dedup) d on d.id = c.cluster order by size desc, c.cluster""",
    )
    return {
        **(totals[0] if totals else {"clusters": 0, "documents": 0, "earlier": 0}),
        "kinds": shown(kinds),
        "sizes": sizes,
        "similarities": _similarities(tables),
        "hosts": _hosts(tables),
        "largest": shown(largest),
        "passages": _passages(tables),
        "curve": _curve(folder),
    }


def _similarities(tables: Tables) -> list[dict[str, Any]]:
    """Near duplicates per bin of similarity to their survivor, from the least one that occurs to 1: [{from, to, documents}]."""
    rows = tables.rows(
        "similarities",
        f"""select least(greatest(floor(similarity * {BINS} + 1e-9)::int, 0), {BINS - 1}) as bin, count(*) as documents
        from clusters where kind = 'near' and not survivor and not isnan(similarity) group by 1 order by 1""",
    )
    found = {row["bin"]: row["documents"] for row in rows}
    return [
        {"from": place / BINS, "to": (place + 1) / BINS, "documents": found.get(place, 0)}
        for place in range(min(found, default=BINS), BINS)
    ]


def _hosts(tables: Tables) -> list[dict[str, Any]]:
    """The hosts with most duplicates, with all documents that dedup read of them."""
    rows = tables.rows(
        "hosts of duplicates",
        f"""select host, count(*) as documents, count(*) filter (where gone) as dropped,
        coalesce(sum(text_bytes) filter (where gone), 0)::bigint as bytes from (
        select host, text_bytes, false as gone from kept_dedup union all
        select host, text_bytes, true as gone from dropped where segment = 'dedup') where host is not null
        group by host having count(*) filter (where gone) > 0 order by dropped desc, host limit {LARGEST}""",
    )
    return shown(rows)


def _passages(tables: Tables) -> dict[str, Any] | None:
    """Passages cut from documents that stay, by kind and for the hosts with most bytes of them; null where none was."""
    cut = "(select id, host, unnest(cut_passages) as one from kept_dedup)"
    counted = """count(*) as passages, count(distinct id) as documents, sum(one."end" - one."start")::bigint as bytes"""
    kinds = tables.rows("cut passages", f"select one.kind as kind, {counted} from {cut} group by 1 order by bytes desc, 1")
    hosts = tables.rows(
        "hosts of cut passages",
        f"select host, {counted} from {cut} where host is not null group by 1 order by bytes desc, 1 limit {LARGEST}",
    )
    if not kinds:
        return None
    sums = {key: sum(row[key] for row in kinds) for key in ("passages", "bytes")}
    return {**sums, "kinds": shown(kinds), "hosts": shown(hosts)}


def _curve(folder: RunFolder) -> dict[str, Any] | None:
    """The curve of the run's configuration; null where that is not known, or near duplicates were not looked for."""
    configured = folder.facts.get("config")
    settings = configured.get("dedup") if isinstance(configured, dict) else None
    if not isinstance(settings, dict):
        segment = folder.segment("dedup")
        settings = segment.totals.get("config") if segment else None
    if not isinstance(settings, dict):
        return None
    try:
        config = DedupConfig.model_validate(settings)
    except ValidationError as error:
        # Written by hand or by another version: everything else can still be told.
        folder.gaps.append(
            f"the configuration of dedup can't be read, so its curve is not known ({visible(error.errors()[0]['msg'], 200)})"
        )
        return None
    return as_json(curve(config)) if config.near else None
