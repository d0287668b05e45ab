"""The two steps before documents are chosen: count every split in parallel, then plan once over all counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.balance.choice import OVER_BUDGET, PhaseChoice, group_choices
from pipeline.balance.config import OTHER, BalanceConfig, PhaseConfig
from pipeline.balance.groups import describe
from pipeline.balance.plan import PhaseTargets, Target, human, plan_domain
from pipeline.balance.quality import QualityScale, ScaleSample, band_names, bands_of
from pipeline.balance.queue import Queue
from pipeline.balance.sample import phase_seed, sampling_keys
from pipeline.balance.table import render_plan
from pipeline.balance.tally import CountedBatch, Cut, Tally, counts_table, read_counts
from pipeline.balance.weights import RatioFile, weighed
from pipeline.documents import usable_documents
from pipeline.files import open_file
from pipeline.shards import write_table
from pipeline.splits import DOCUMENTS, Split

_READ = ("id", "lang", "domain", "quality", "rehydration_weight")
"""Columns that the counts come from, besides `text_bytes`, or `text` where documents come without it or targets ask for it."""

_WORTH_A_NOTE = 0.99
"""Filled share of the plan below which the plan says so."""

Pair = tuple[str, str]
"""Language of the mix and domain."""


@dataclass(frozen=True)
class CountTask:
    """Writes `<split>.parquet`: language, domain, quality, bytes, tokens, copies, importance and sampling keys of each document in the
    mix's languages."""

    split: Split
    language_of: dict[str, str]
    bytes_per_token: dict[str, float]
    languages: tuple[str, ...]
    seeds: dict[str, int]
    ratios: tuple[RatioFile, ...] = ()
    version: str = "2"

    @property
    def name(self) -> str:
        return self.split.name

    def __call__(self, folder: Path) -> dict[str, Any]:
        tables = [self._count(table) for table in sized_documents(self.split, bool(self.ratios))]
        if tables:
            write_table(folder / f"{self.name}.parquet", pa.concat_tables(tables))
        return {"documents": sum(len(table) for table in tables)}

    def _count(self, table: pa.Table) -> pa.Table:
        documents = weighed(describe(table, self.language_of, self.bytes_per_token), table, self.ratios)
        wanted = np.array([language in self.languages for language in documents.mix_languages], bool)[documents.language_code]
        keys = {phase: sampling_keys(table.column("id"), seed) for phase, seed in self.seeds.items()}
        return counts_table(documents, keys, wanted)


def sized_documents(split: Split, with_text: bool) -> Iterator[pa.Table]:
    """The split's usable documents; the text itself is read only where it is asked for, and from files that don't tell its size."""
    for part in split.parts:
        sized = part.format != DOCUMENTS or "text_bytes" in _shard_columns(part.path)
        texts = ("text",) if with_text or not sized else ()
        yield from usable_documents(replace(split, parts=(part,)), (*_READ, *(("text_bytes",) if sized else ()), *texts))


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
    seeds: dict[str, int]
    on_infeasible: str
    quality_bands: tuple[float, ...]
    long_document_tokens: int
    counts: tuple[str, ...]
    paths: tuple[str, ...] = field(metadata={"fingerprint": False})
    version: str = "3"

    @property
    def name(self) -> str:
        return "plan"

    def __call__(self, folder: Path) -> dict[str, Any]:
        phases = {name: PhaseConfig.model_validate(phase) for name, phase in self.phases.items()}
        scale = self._scale(next(iter(phases)))
        queues = {name: Queue.of(name, phase, self.seeds[name], scale) for name, phase in phases.items()}
        tallies = {name: Tally(queue) for name, queue in queues.items()}
        for batch in self._batches():
            for tally in tallies.values():
                tally.add(batch)
        targets: dict[str, PhaseTargets] = {}
        for name, phase in phases.items():
            targets[name] = plan_domain(name, phase, tallies[name].supplies(), targets.get("general"), self.on_infeasible)
        own = self._cuts({name: (tallies[name], plan.targets) for name, plan in targets.items()})
        repeated = self._cuts({name: (tallies["general"], plan.replay) for name, plan in targets.items() if plan.replay})
        plan: dict[str, Any] = {
            "quality": {"bands": band_names(self.quality_bands), "points": {name: list(points) for name, points in scale.points.items()}},
            "long_document_tokens": self.long_document_tokens,
            "phases": {name: phase_plan(targets[name], own[name], repeated.get(name, {}), phase) for name, phase in phases.items()},
        }
        self._add_bands(plan, scale, {name: phase_choice(name, plan, queues) for name in phases})
        (folder / "plan.json").write_text(json.dumps(plan, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "plan.txt").write_text(render_plan(plan), encoding="utf-8")
        return {"tokens": {name: phase["tokens_got"] for name, phase in plan["phases"].items()}}

    def _batches(self) -> Iterator[CountedBatch]:
        return read_counts(self.paths, tuple(self.phases))

    def _scale(self, phase: str) -> QualityScale:
        sample = ScaleSample()
        for batch in self._batches():
            sample.add(batch.documents, batch.keys[phase])
        return sample.scale()

    def _cuts(self, wanted: Mapping[str, tuple[Tally, Iterable[Target]]]) -> dict[str, dict[Pair, Cut]]:
        """Where the queues end, by phase; all phases search in the same passes."""
        cutters = {name: tally.cutter(tuple(targets)) for name, (tally, targets) in wanted.items()}
        searching = list(cutters.values())
        while searching:
            for batch in self._batches():
                for cutter in searching:
                    cutter.add(batch)
            searching = [cutter for cutter in searching if not cutter.settled()]
        return {name: cutter.cuts() for name, cutter in cutters.items()}

    def _add_bands(self, plan: dict[str, Any], scale: QualityScale, choices: Mapping[str, PhaseChoice]) -> None:
        """Count what each phase has and takes per language, domain and band of quality, and of long documents; replay isn't counted."""
        names = band_names(self.quality_bands)
        counted: dict[str, dict[tuple[str, str, str], list[int]]] = {name: {} for name in choices}
        long = {name: [0, 0, 0, 0] for name in choices}
        for batch in self._batches():
            documents = batch.documents
            bands = bands_of(scale.ranks(documents), self.quality_bands)
            for name, choice in choices.items():
                taken, repeated, reached = choice.epochs(documents, batch.keys)
                rows = np.flatnonzero(reached == OVER_BUDGET)  # those that have a place in the phase
                own = (taken - repeated)[rows].astype(np.int64)
                available = (documents.tokens * choice.queue.copies(documents))[rows]
                numbers = np.stack([np.ones(len(rows), np.int64), available, own > 0, documents.tokens[rows] * own], axis=1)
                cells = ((documents.language_code * len(documents.domains) + documents.domain_code) * len(names) + bands)[rows]
                found, place = np.unique(cells, return_inverse=True)
                sums = np.zeros((len(found), 4), np.int64)
                np.add.at(sums, place, numbers)
                for value, row in zip(found.tolist(), sums, strict=True):
                    pair, band = divmod(value, len(names))
                    language, domain = divmod(pair, len(documents.domains))
                    key = documents.mix_languages[language], documents.domains[domain], names[band]
                    _add(counted[name].setdefault(key, [0, 0, 0, 0]), row)
                _add(long[name], numbers[documents.tokens[rows] >= self.long_document_tokens].sum(axis=0))
        keys = ("available_documents", "available_tokens", "documents", "tokens_got")
        for name, phase in plan["phases"].items():
            ordered = sorted(counted[name].items(), key=lambda entry: (entry[0][:2], names.index(entry[0][2])))
            phase["bands"] = [
                {"language": language, "domain": domain, "band": band, **dict(zip(keys, numbers, strict=True))}
                for (language, domain, band), numbers in ordered
            ]
            phase["long"] = dict(zip(keys, long[name], strict=True))


def _add(totals: list[int], numbers: np.ndarray) -> None:
    for place, value in enumerate(numbers.tolist()):
        totals[place] += int(value)


def phase_choice(name: str, plan: Mapping[str, Any], queues: Mapping[str, Queue]) -> PhaseChoice:
    """A phase of plan.json as it is carried out."""
    facts = plan["phases"][name]
    replay = group_choices(facts["replay"]["groups"]) if facts["replay"] else ()
    return PhaseChoice(queues[name], group_choices(facts["groups"]), queues["general"] if replay else None, replay)


def queues_of(plan: Mapping[str, Any], config: BalanceConfig) -> dict[str, Queue]:
    """The queues of a plan that was made with this configuration, by phase."""
    scale = QualityScale({language: tuple(points) for language, points in plan["quality"]["points"].items()})
    return {name: Queue.of(name, phase, phase_seed(config.seed, name), scale) for name, phase in config.chosen_phases.items()}


def phase_plan(targets: PhaseTargets, cuts: Mapping[Pair, Cut], repeated: Mapping[Pair, Cut], phase: PhaseConfig) -> dict[str, Any]:
    """One phase of plan.json. `limit` is hexadecimal: JSON readers lose digits of 64-bit numbers.

    tokens_* count repetitions, available_* don't (but copies, where the phase rehydrates). Shares are of the phase without its replay;
    epochs = tokens_target / available_tokens.
    """
    got = sum(cut.tokens for cut in cuts.values())
    planned = sum(target.tokens for target in targets.targets)
    notes = list(targets.notes)
    if got < _WORTH_A_NOTE * planned:
        notes.append(f"only {human(got)} of {human(planned)} planned tokens: the next documents of the queues are larger than what is left")
    groups = []
    for target in targets.targets:
        cut = cuts[target.supply.language, target.supply.domain]
        supply = {f"available_{key}": value for key, value in asdict(target.supply).items() if key not in ("language", "domain")}
        groups.append(
            {
                **_taken(target, cut),
                **supply,
                "share_asked": target.share,
                "epochs": target.tokens / target.supply.tokens if target.supply.tokens else 0.0,
                "share_got": cut.tokens / got if got else 0.0,
            }
        )
    languages = {}
    for language, share in phase.language_shares.items():
        mine = [group for group in groups if group["language"] == language]
        totals = {key: sum(group[key] for group in mine) for key in ("available_tokens", "documents", "tokens_got", "share_got")}
        languages[language] = {"share_asked": share, **totals}
    replayed = sum(cut.tokens for cut in repeated.values())
    replay = None
    if repeated:
        listed = [_taken(target, repeated[target.supply.language, target.supply.domain]) for target in targets.replay]
        replay = {"share_asked": phase.replay, "tokens_got": replayed, "share_got": replayed / max(1, got + replayed), "groups": listed}
    return {
        "tokens_asked": targets.asked,
        "tokens_planned": targets.tokens,
        "tokens_largest": targets.largest,
        "tokens_got": got + replayed,
        "method": phase.method,
        "notes": notes,
        "languages": languages,
        "groups": groups,
        "replay": replay,
    }


def _taken(target: Target, cut: Cut) -> dict[str, Any]:
    return {
        "language": cut.language,
        "domain": cut.domain,
        "tokens_target": target.tokens,
        "whole_epochs": cut.whole_epochs,
        "limit": f"{cut.limit:016x}",
        "documents": cut.documents,
        "tokens_got": cut.tokens,
    }


def count_tasks(splits: list[Split], config: BalanceConfig, ratios: tuple[RatioFile, ...] = ()) -> list[CountTask]:
    """One count task per split, with only the settings that the counts depend on."""
    phases, languages = config.chosen_phases, mix_languages(config)
    rates = {language: config.bytes_per_token[language] for language in languages}
    seeds = {name: phase_seed(config.seed, name) for name in phases}
    return [CountTask(split, config.language_of, rates, languages, seeds, ratios) for split in splits]


def mix_languages(config: BalanceConfig) -> tuple[str, ...]:
    """The languages of the mix, over all phases, sorted."""
    return tuple(sorted({language for phase in config.chosen_phases.values() for language in phase.language_shares}))


def label_names(config: BalanceConfig) -> list[str]:
    """Domain labels that the mix names."""
    return sorted({label for phase in config.chosen_phases.values() for label in (*phase.domains, *phase.domain_limits) if label != OTHER})
