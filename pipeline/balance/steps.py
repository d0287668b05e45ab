"""The two steps before documents are chosen: count every split in parallel, then plan once over all counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.balance.config import OTHER, BalanceConfig, PhaseConfig
from pipeline.balance.groups import describe
from pipeline.balance.plan import PhaseTargets, plan_phase
from pipeline.balance.sample import phase_seed, sampling_keys
from pipeline.balance.table import render_plan
from pipeline.balance.tally import Cut, Tally, counts_table, read_counts
from pipeline.documents import usable_documents
from pipeline.files import open_file
from pipeline.shards import write_table
from pipeline.splits import DOCUMENTS, Split

_READ = ("id", "lang", "domain", "quality")
"""Columns that the counts come from, besides `text_bytes`, or `text` where documents come without it."""


@dataclass(frozen=True)
class CountTask:
    """Writes `<split>.parquet`: language, domain, quality, bytes, tokens and sampling keys of each document in the mix's languages."""

    split: Split
    language_of: dict[str, str]
    bytes_per_token: dict[str, float]
    languages: tuple[str, ...]
    seeds: dict[str, int]

    @property
    def name(self) -> str:
        return self.split.name

    def __call__(self, folder: Path) -> dict[str, Any]:
        tables = [self._count(table) for table in _sized_documents(self.split)]
        if tables:
            write_table(folder / f"{self.name}.parquet", pa.concat_tables(tables))
        return {"documents": sum(len(table) for table in tables)}

    def _count(self, table: pa.Table) -> pa.Table:
        documents = describe(table, self.language_of, self.bytes_per_token)
        wanted, _ = documents.eligible(frozenset(self.languages), None)
        keys = {phase: sampling_keys(table.column("id"), seed) for phase, seed in self.seeds.items()}
        return counts_table(documents, keys, wanted)


def _sized_documents(split: Split) -> Iterator[pa.Table]:
    """The split's usable documents; the text itself is read only from files that don't tell its size."""
    for part in split.parts:
        sized = part.format != DOCUMENTS or "text_bytes" in _shard_columns(part.path)
        yield from usable_documents(replace(split, parts=(part,)), (*_READ, "text_bytes" if sized else "text"))


def _shard_columns(path: str) -> list[str]:
    """The columns that a shard has."""
    with open_file(path) as stream:
        return list(pq.read_schema(stream).names)


@dataclass(frozen=True)
class PlanTask:
    """Writes `plan.json` and `plan.txt`: per phase and group what is available, asked for and taken, and the limits that take it.

    counts: xxh3 of the count files, in the order of `paths`: they stand for the files' content in the fingerprint.
    """

    phases: dict[str, Any]
    on_infeasible: str
    counts: tuple[str, ...]
    paths: tuple[str, ...] = field(metadata={"fingerprint": False})

    @property
    def name(self) -> str:
        return "plan"

    def __call__(self, folder: Path) -> dict[str, Any]:
        phases = {name: PhaseConfig.model_validate(phase) for name, phase in self.phases.items()}
        tallies = {name: Tally.of(name, phase) for name, phase in phases.items()}
        for batch in read_counts(self.paths, tuple(phases)):
            for tally in tallies.values():
                tally.add(batch)
        targets = {name: plan_phase(name, phase, tallies[name].supplies(), self.on_infeasible) for name, phase in phases.items()}
        cutters = {name: tally.cutter(targets[name]) for name, tally in tallies.items()}
        for batch in read_counts(self.paths, tuple(phases)):
            for cutter in cutters.values():
                cutter.add(batch)
        plan = {"phases": {name: phase_plan(targets[name], cutters[name].cuts(), phases[name].language_shares) for name in phases}}
        (folder / "plan.json").write_text(json.dumps(plan, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "plan.txt").write_text(render_plan(plan), encoding="utf-8")
        return {"tokens": {name: phase["tokens_got"] for name, phase in plan["phases"].items()}}


def phase_plan(targets: PhaseTargets, cuts: dict[tuple[str, str], Cut], language_shares: dict[str, float]) -> dict[str, Any]:
    """One phase of plan.json. `limit` is hexadecimal: JSON readers lose digits of 64-bit numbers.

    tokens_* count repetitions, available_* don't; shares are of the whole phase; epochs = tokens_target / available_tokens.
    """
    got = sum(cut.tokens for cut in cuts.values())
    groups = []
    for target in targets.targets:
        cut = cuts[target.supply.language, target.supply.domain]
        supply = {f"available_{key}": value for key, value in asdict(target.supply).items() if key not in ("language", "domain")}
        groups.append(
            {
                "language": cut.language,
                "domain": cut.domain,
                **supply,
                "share_asked": target.share,
                "tokens_target": target.tokens,
                "epochs": target.tokens / target.supply.tokens if target.supply.tokens else 0.0,
                "whole_epochs": cut.whole_epochs,
                "limit": f"{cut.limit:016x}",
                "documents": cut.documents,
                "tokens_got": cut.tokens,
                "share_got": cut.tokens / got if got else 0.0,
            }
        )
    languages = {}
    for language, share in language_shares.items():
        mine = [group for group in groups if group["language"] == language]
        totals = {key: sum(group[key] for group in mine) for key in ("available_tokens", "documents", "tokens_got", "share_got")}
        languages[language] = {"share_asked": share, **totals}
    return {
        "tokens_asked": targets.asked,
        "tokens_planned": targets.tokens,
        "tokens_largest": targets.largest,
        "tokens_got": got,
        "notes": list(targets.notes),
        "languages": languages,
        "groups": groups,
    }


def count_tasks(splits: list[Split], config: BalanceConfig) -> list[CountTask]:
    """One count task per split, with only the settings that the counts depend on."""
    phases = config.chosen_phases
    languages = tuple(sorted({language for phase in phases.values() for language in phase.language_shares}))
    rates = {language: config.bytes_per_token[language] for language in languages}
    seeds = {name: phase_seed(config.seed, name) for name in phases}
    return [CountTask(split, config.language_of, rates, languages, seeds) for split in splits]


def label_names(config: BalanceConfig) -> list[str]:
    """Domain labels that the mix names."""
    return sorted({label for phase in config.chosen_phases.values() for label in (*phase.domains, *phase.domain_limits) if label != OTHER})
