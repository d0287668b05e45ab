"""What the shards say about their documents: languages, domains, lengths, contamination, quarantine examples.

Queries name the columns they need, never `text`, so a report costs a scan of small columns even when the corpus is large.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from pipeline.report.run_folder import RunFolder, number
from pipeline.report.text import visible

EXAMPLES = 20
"""Quarantined records shown, as many different errors as possible first."""

LARGEST = 10
"""Clusters and benchmark matches shown."""

LABELS = 200
"""Labels of a distribution listed, most documents first; a model has fewer, a hostile column may have more."""

_MAX_BIN = 40
"""Highest length bin: 2^40 bytes is more than a document may have."""


class Tables:
    """The views of one run, asked for the distributions of the report. A query that fails becomes a gap, not an exception."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: RunFolder) -> None:
        self._connection, self._folder = connection, folder

    def rows(self, what: str, sql: str, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of a query; `what` names the gap if it fails."""
        try:
            table: pa.Table = self._connection.sql(sql, params=values).to_arrow_table()
        except (duckdb.Error, pa.ArrowException, RuntimeError) as error:
            self._folder.gaps.append(f"{what} can't be computed ({visible(str(error).splitlines()[0], 200)})")
            return []
        return table.to_pylist()

    def segment_with(self, *candidates: str) -> str | None:
        """The first of these segments that wrote shards (any segment of a stand-alone folder counts)."""
        found = [segment.name for segment in self._folder.segments if segment.shards("kept")]
        return next((name for name in candidates if name in found), None)

    def _input_of(self, segment: str) -> str:
        """SQL of a segment's kept and dropped documents: all that it could read, with what it found out about them."""
        columns = "lang, domain, text_bytes"
        name = segment.replace("'", "''")
        return f"(select {columns} from \"kept_{segment}\" union all select {columns} from dropped where segment = '{name}')"

    def _labels(self, column: str, segment: str | None) -> dict[str, Any] | None:
        if segment is None:
            return None
        rows = self.rows(
            f"{column} before balancing",
            f"""select {column} as label, count(*) as documents, sum(text_bytes)::bigint as bytes from {self._input_of(segment)}
            where {column} is not null group by {column} order by documents desc, label limit {LABELS}""",
        )
        return {"segment": segment, "rows": [row | {"label": visible(row["label"], 60)} for row in rows]}

    def _corpus_labels(self, column: str) -> dict[str, Any] | None:
        """Documents and tokens per label in the corpus; in the last segment's kept documents as long as there is no corpus.

        A document in both phases counts once as a document, and with each of its epochs in `tokens`.
        """
        if self._folder.corpus_shards():
            sql = f"""select label, count(distinct id) as documents, null::bigint as bytes, sum(t)::bigint as tokens from
                (select {column} as label, id, tokens * coalesce(epochs, 1) as t from corpus) where label is not null
                group by label order by tokens desc, documents desc, label limit {LABELS}"""
            rows, segment = self.rows(f"{column} of the corpus", sql), "corpus"
        else:
            last = next((one.name for one in reversed(self._folder.segments) if one.finished and one.shards("kept")), None)
            if last is None:
                return None
            sql = f"""select {column} as label, count(*) as documents, sum(text_bytes)::bigint as bytes, sum(tokens)::bigint as tokens
                from "kept_{last}" where {column} is not null group by {column} order by documents desc, label limit {LABELS}"""
            rows, segment = self.rows(f"{column} after {last}", sql), last
        return {"segment": segment, "rows": [row | {"label": visible(row["label"], 60)} for row in rows]}

    def languages(self) -> dict[str, Any]:
        """{before, after}: documents and bytes per language that refine saw, documents and tokens in the corpus."""
        return {"before": self._labels("lang", self.segment_with("refine", "stage")), "after": self._corpus_labels("lang")}

    def domains(self) -> dict[str, Any]:
        """{before, after}: the same per domain, as classify labelled it."""
        return {"before": self._labels("domain", self.segment_with("classify", "stage")), "after": self._corpus_labels("domain")}

    def mixture(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """Per phase of the corpus: documents, tokens, and the reached share per language and domain beside the one that was asked for.

        asked: {phase: {tokens, languages, domains}} as configured; shares of `domains` are within each language. Tokens count every epoch
        but those that repeat an earlier phase, which are `replay_tokens`.
        """
        phases = []
        for name in sorted({phase for phase, _, _ in self._folder.corpus_shards()}, key=lambda name: (name != "general", name)):
            wanted = asked.get(name, {})
            entry: dict[str, Any] = {"phase": name, "tokens_asked": int(number(wanted, "tokens")) or None}
            for key, column in (("languages", "lang"), ("domains", "domain")):
                sql = f"""select coalesce({column}, '–') as label, count(*) as documents,
                    sum(tokens * (coalesce(epochs, 1) - coalesce(replay_epochs, 0)))::bigint as tokens,
                    sum(tokens * coalesce(replay_epochs, 0))::bigint as replay_tokens
                    from corpus where phase = $phase group by 1 order by tokens desc, label limit {LABELS}"""
                entry[key] = self._mixture_rows(f"{key} of phase {name}", sql, name, wanted.get(key))
            for key in ("documents", "tokens", "replay_tokens"):
                entry[key] = sum(row[key] or 0 for row in entry["languages"])
            phases.append(entry)
        return phases

    def _mixture_rows(self, what: str, sql: str, phase: str, wanted: Any) -> list[dict[str, Any]]:
        rows = self.rows(what, sql, {"phase": phase})
        total = sum(row["tokens"] or 0 for row in rows)
        shares = wanted if isinstance(wanted, dict) else {}
        return [
            {
                **row,
                "label": visible(row["label"], 60),
                "share": (row["tokens"] or 0) / total if total else None,
                "asked": number(shares, row["label"]) if row["label"] in shares else None,
            }
            for row in rows
        ]

    def lengths(self) -> dict[str, Any] | None:
        """Documents per bin of text length, per language: bin k holds 2^k to 2^(k+1)-1 bytes (empty text: bin 0).

        {before: segment, after: segment, languages: [{lang, bins: [{log2, before, after}]}]}, languages with most documents first.
        """
        before = self.segment_with("refine", "stage")
        last = next((one.name for one in reversed(self._folder.segments) if one.finished and one.shards("kept")), None)
        if before is None or last is None:
            return None
        counted: dict[str, dict[int, dict[str, int]]] = {}
        for side, source in (("before", self._input_of(before)), ("after", f'"kept_{last}"')):
            sql = f"""select coalesce(lang, '–') as lang, least(floor(log2(greatest(text_bytes, 1)))::int, {_MAX_BIN}) as bin, count(*) as n
                from {source} where text_bytes is not null group by 1, 2 order by 1, 2"""
            for row in self.rows(f"document lengths {side}", sql):
                bins = counted.setdefault(visible(row["lang"], 20), {})
                bins.setdefault(row["bin"], {"before": 0, "after": 0})[side] += row["n"]
        order = sorted(counted, key=lambda lang: (-sum(one["before"] for one in counted[lang].values()), lang))
        languages = [
            {
                "lang": lang,
                "bins": [
                    {"log2": k, **counted[lang].get(k, {"before": 0, "after": 0})}
                    for k in range(min(counted[lang]), max(counted[lang]) + 1)
                ],
            }
            for lang in order[:LABELS]
        ]
        return {"before": before, "after": last, "languages": languages}

    def contamination(self, looked_for: dict[str, Any], by_length: dict[str, Any]) -> dict[str, Any] | None:
        """Per benchmark what was found and done, the longest matches, and documents by length; null without matches.parquet.

        looked_for: `benchmarks` of decontaminate/report.json, which names those without a match, too, and how many items each has;
        by_length: its documents with a match of at least so many characters.
        """
        if self._folder.file("decontaminate", "matches.parquet") is None:
            return None
        benchmarks = self.rows(
            "contamination",
            """with documents as (select benchmark, id, max(length) as longest, max(coverage) as coverage, count(*) as matches,
            max(case action when 'drop' then 2 when 'mask' then 1 else 0 end) as fate, bool_or(answered) as answered
            from contamination group by benchmark, id),
            items as (select benchmark, count(distinct (split, item)) as items from contamination group by benchmark)
            select benchmark, count(*) as documents, count(*) filter (where fate = 2) as dropped,
            count(*) filter (where fate = 1) as masked, count(*) filter (where fate = 0) as tagged,
            count(*) filter (where answered) as answered, any_value(items) as items,
            sum(matches)::bigint as matches, max(longest) as longest, max(coverage) as highest_coverage
            from documents join items using (benchmark) group by benchmark order by documents desc, benchmark""",
        )
        longest = self.rows(
            "longest matches",
            f"""select benchmark, item, field, length, coverage, action, source, url, id from contamination
            order by length desc, id, benchmark, item limit {LARGEST}""",
        )
        lengths = sorted(int(length) for length in by_length if length.isascii() and length.isdigit() and len(length) < 7)
        return {
            "documents": self._one("select count(distinct id) from contamination"),
            "benchmarks": shown(_with_clean(benchmarks, looked_for)),
            "by_length": [{"length": length, "documents": int(number(by_length, str(length)))} for length in lengths],
            "longest": shown(longest),
        }

    def quarantine(self) -> dict[str, Any]:
        """Quarantined records: how many, and examples, first one of every error, then more. Excerpts were masked when written."""
        examples = self.rows(
            "quarantine examples",
            f"""select segment, source, file, position, drop_stage as stage, error, excerpt from (select *, row_number() over
            (partition by segment, drop_stage, regexp_replace(left(error, 300), '[0-9]+', 'N', 'g') order by file, position, id) as nth
            from quarantined)
            order by nth, segment, stage, left(error, 300), file, position limit {EXAMPLES}""",
        )
        total = sum(number(one, "rows") for segment in self._folder.segments for one in (segment.totals.get("quarantined") or {}).values())
        return {"rows": int(total), "examples": shown(examples)}

    def _one(self, sql: str) -> int:
        rows = self.rows("a count", sql)
        return int(next(iter(rows[0].values())) or 0) if rows else 0


def _with_clean(found: list[dict[str, Any]], looked_for: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of benchmarks that were found, each with the number of items it has, then those of which nothing was found."""
    rows = [row | {"items_total": int(number(looked_for, str(row["benchmark"]), "items")) or None} for row in found]
    counts = ("documents", "dropped", "masked", "tagged", "answered", "items", "matches")
    nothing = {**dict.fromkeys(counts, 0), "longest": None, "highest_coverage": None}
    names = {row["benchmark"] for row in found}
    clean = [name for name in sorted(looked_for) if name not in names]
    return rows + [{"benchmark": name, **nothing, "items_total": int(number(looked_for, name, "items")) or None} for name in clean]


def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their strings cut and escaped: report.json is pasted into tickets and terminals, too."""
    return [{key: visible(value, 300) if isinstance(value, str) else value for key, value in row.items()} for row in rows]
