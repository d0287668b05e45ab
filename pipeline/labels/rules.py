"""Labels by rule: which documents earn which label, and by what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import __version__
from pipeline.errors import UserError
from pipeline.labels.config import LabelConfig, LabelRule, url_regex
from pipeline.labels.output import SortedFile, evidence, output_folder, summary
from pipeline.labels.reading import Codes, documents, keys_of, numbers_of, smallest, texts_of
from pipeline.labels.seeds import SeedTable, seed_table, seeds_in
from pipeline.segment import write_json
from pipeline.splits import Split

NO_LABEL, SEVERAL_LABELS = -1, -2


@dataclass(frozen=True)
class _Prepared:
    """A rule with what its search for seeds needs (None: it has none)."""

    rule: LabelRule
    seeds: SeedTable | None


def label_by_rule(splits: Sequence[Split], config: LabelConfig, out: Path) -> dict[str, Any]:
    """Write the documents that a rule labels to OUT/labelled.parquet; returns the manifest.

    The documents are read twice: to choose, and to write what was chosen.
    Raises UserError for a column that no document has, and a label that no document gets.
    """
    rules = [_Prepared(rule, seed_table(rule.seeds) if rule.seeds else None) for rule in config.labels]
    columns = sorted({condition.column for rule in config.labels for condition in rule.signals})
    with output_folder(out, "classify label", splits) as folder:
        chosen, left_out = _choose(splits, config, rules, columns)
        labelled = SortedFile(folder / "labelled.parquet", folder / ".tmp")
        start = 0
        for table in documents(splits, columns):
            stop = start + len(table)
            rows = np.flatnonzero(chosen[start:stop])
            start = stop
            if len(rows) == 0:
                continue
            table = table.take(rows)
            places, fits = _rule_of(table, config, rules)
            why = pc.choose(pa.array(places), *fits) if len(fits) > 1 else fits[0]
            names = pa.array([config.labels[place].label for place in places], pa.string())
            scores = pa.nulls(len(table), pa.float64())
            labelled.write(
                table.append_column("label", names).append_column("why", why).append_column("score", scores),
                keys_of(table.column("id"), config.seed),
            )
        labelled.close()
        facts = {
            "segment": "classify label",
            "version": __version__,
            "documents": len(chosen),
            "labels": summary(folder / "labelled.parquet"),
            "evidence": evidence(folder / "labelled.parquet"),
            "left_out": left_out,
            "config": config.model_dump(mode="json"),
        }
        write_json(folder / "manifest.json", facts)
    return facts


def _choose(splits: Sequence[Split], config: LabelConfig, rules: list[_Prepared], columns: list[str]) -> tuple[np.ndarray, dict[str, int]]:
    """(bool per document: whether it is written, documents left out by reason)."""
    languages, absent = Codes([]), set(columns)
    places, keys, codes = [], [], []
    for table in documents(splits, columns):
        absent -= {name for name in absent if numbers_of(table, name).null_count < len(table)}
        places.append(_rule_of(table, config, rules)[0])
        keys.append(keys_of(table.column("id"), config.seed))
        codes.append(languages.of(table.column("lang")))
    place, key, code = np.concatenate(places), np.concatenate(keys), np.concatenate(codes)
    if absent:
        raise UserError(f"no document has a number in '{min(absent)}', which a rule looks at; name another column, or run `refine` first")
    for label in dict.fromkeys(rule.label for rule in config.labels):
        mine = [index for index, rule in enumerate(config.labels) if rule.label == label]
        if not np.isin(place, mine).any():
            several = " (some fit another label, too; first_wins decides for the first)" if (place == SEVERAL_LABELS).any() else ""
            raise UserError(f"no document gets the label '{label}'{several}; loosen its conditions, or give more input")
    width = len(languages.names)
    limits = np.repeat([rule.sample for rule in config.labels], width)
    chosen = smallest(np.where(place >= 0, place * width + code, -1), np.zeros(len(key)), key, limits)
    left_out = {
        "without label": int((place == NO_LABEL).sum()),
        "fit several labels": int((place == SEVERAL_LABELS).sum()),
        "over the sample": int((place >= 0).sum() - chosen.sum()),
    }
    return chosen, left_out


def _rule_of(table: pa.Table, config: LabelConfig, rules: list[_Prepared]) -> tuple[np.ndarray, list[pa.Array]]:
    """(int64 per row: the first rule that it fits, NO_LABEL or SEVERAL_LABELS; per rule the evidence, null where it doesn't fit)."""
    fits = [_evidence(table, prepared, config.max_chars) for prepared in rules]
    names = list(dict.fromkeys(prepared.rule.label for prepared in rules))
    label_of = np.array([names.index(prepared.rule.label) for prepared in rules])
    places = np.full(len(table), NO_LABEL, np.int64)
    for index, why in enumerate(fits):
        holds = why.is_valid().to_numpy(zero_copy_only=False)
        if not config.first_wins:
            another = (places == SEVERAL_LABELS) | ((places >= 0) & (label_of[places] != label_of[index]))
            places[holds & another] = SEVERAL_LABELS
        places[holds & (places == NO_LABEL)] = index
    return places, fits


def _evidence(table: pa.Table, prepared: _Prepared, max_chars: int) -> pa.Array:
    """For each row that fits the rule, what shows it; null for the others."""
    rule = prepared.rule
    found = []
    if rule.languages:
        found.append(_where(pc.is_in(table.column("lang"), pa.array(rule.languages)), _said("lang ", table.column("lang"))))
    if rule.sources:
        found.append(_where(pc.is_in(table.column("source"), pa.array(rule.sources)), _said("source ", table.column("source"))))
    if rule.hosts:
        found.append(_where(on_hosts(table.column("host"), frozenset(rule.hosts)), _said("host ", table.column("host"))))
    if rule.url_patterns:
        matches = [_where(pc.match_substring_regex(table.column("url"), url_regex(one)), f"url {one}") for one in rule.url_patterns]
        found.append(pc.coalesce(*matches))
    for name, values in rule.fields.items():
        texts = texts_of(table, name)
        found.append(_where(pc.is_in(texts, pa.array(values)), _said(f"{name} ", texts)))
    for condition in rule.signals:
        numbers = numbers_of(table, condition.column)
        broken = condition.rule().broken(pa.table({condition.column: numbers}))
        found.append(_where(pc.and_(pc.is_valid(numbers), pc.invert(broken)), str(condition)))
    if prepared.seeds is not None:
        held = seeds_held(table, prepared.seeds, max_chars)
        found.append(pa.array([f"seeds {', '.join(seeds)}" if len(seeds) >= rule.min_seeds else None for seeds in held], pa.string()))
    return pc.binary_join_element_wise(*found, "; ") if len(found) > 1 else found[0]


def _where(fits: pa.ChunkedArray, said: Any) -> pa.Array:
    chosen = pc.if_else(pc.fill_null(fits, False), said, pa.scalar(None, pa.string()))
    return chosen.combine_chunks() if isinstance(chosen, pa.ChunkedArray) else chosen


def _said(what: str, texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(what, texts.cast(pa.string()), "")


def on_hosts(hosts: pa.ChunkedArray, wanted: frozenset[str]) -> pa.ChunkedArray:
    """Whether each host is one of `wanted` or below one; null for null."""
    distinct = pc.unique(hosts).drop_null().to_pylist()
    return pc.is_in(hosts, pa.array([host for host in distinct if not wanted.isdisjoint(with_parents(host))], pa.string()))


def with_parents(host: str) -> list[str]:
    """A host name and those that it is below: a.b.c, b.c, c."""
    labels = host.split(".")
    return [".".join(labels[index:]) for index in range(len(labels))]


def seeds_held(table: pa.Table, seeds: SeedTable, max_chars: int) -> list[list[str]]:
    """The different seeds that each text holds, in alphabetical order."""
    held: list[list[str]] = [[] for _ in range(len(table))]
    for document, seed in zip(*(array.tolist() for array in seeds_in(table.column("text"), seeds, max_chars)), strict=True):
        held[document].append(seeds.seeds[seed])
    return [sorted(one) for one in held]
