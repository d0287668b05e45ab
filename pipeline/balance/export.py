"""The deliverable: corpus files per phase and language, a manifest with their hashes, and a mix file per phase that training reads."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.balance.config import BalanceConfig
from pipeline.balance.parts import COUNTS, SCHEMA, ExportTask
from pipeline.segment import Segment, write_json
from pipeline.splits import Split

PART_GLOB = "phase=*/lang=*/part-*.parquet"
"""What the corpus consists of, relative to its folder; receipts and manifest lie beside it and don't match."""


def export(segment: Segment, kept: Sequence[Split], config: BalanceConfig) -> dict[str, Any]:
    """Write the corpus of the kept documents into `segment.directory` and return its manifest, which is also `manifest.json`.

    kept: shards with tokens and epochs_* columns, as `move.run` returns them. The manifest is removed first and written last, so a corpus
    folder that has one is complete; files of an earlier configuration are removed.
    """
    folder = segment.directory
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder / "manifest.json", *sorted(folder.glob("mix-*.yaml"))):
        path.unlink(missing_ok=True)
    phases = tuple(config.chosen_phases)
    tasks = [ExportTask(pack, config.language_of, phases, config.shard_bytes) for pack in packs(kept, config.shard_bytes)]
    receipts = segment.step("export", tasks, into=folder)
    files = {path: facts for receipt in receipts for path, facts in _files(receipt).items()}
    _remove_others(folder, frozenset(files))
    manifest = build_manifest(files, config)
    for phase in phases:
        _write_text(folder / f"mix-{phase}.yaml", mix_yaml(phase, manifest["phases"][phase]))
    write_json(folder / "manifest.json", manifest)
    return manifest


def packs(kept: Sequence[Split], shard_bytes: int) -> list[Split]:
    """Consecutive shards by name, together at most `shard_bytes` on disk (or a single larger one), named part-00000 and so on."""
    groups: list[list[Split]] = []
    size = 0
    for split in sorted(kept, key=lambda split: split.name):
        if groups and size + split.size <= shard_bytes:
            groups[-1].append(split)
            size += split.size
        else:
            groups.append([split])
            size = split.size
    return [Split(f"part-{index:05d}", tuple(part for split in group for part in split.parts)) for index, group in enumerate(groups)]


def build_manifest(files: dict[str, dict[str, Any]], config: BalanceConfig) -> dict[str, Any]:
    """Totals per phase, language and domain with asked and received shares, and every file with size, xxh3-64 and rows.

    Counts as `parts.COUNTS` has them. Shares are of tokens_with_epochs without replay_tokens, a domain's within its language; share_asked
    is null for a domain that the mix doesn't name.
    """
    phases = {}
    for name, phase in config.chosen_phases.items():
        mine = {path: facts for path, facts in sorted(files.items()) if facts["phase"] == name}
        total = _totals(mine.values())
        languages = {}
        shares = phase.language_shares
        for language in sorted({*shares, *(facts["lang"] for facts in mine.values())}):  # replay may bring others
            share = shares.get(language, 0.0)
            of_language = {path: facts for path, facts in mine.items() if facts["lang"] == language}
            counts = _totals(of_language.values())
            languages[language] = {
                **counts,
                "share_asked": share,
                "share_got": _share(counts, total),
                "domains": _domains(of_language.values(), counts, phase.domain_shares),
                "parts": [
                    {"path": path, "size": facts["size"], "xxh3": facts["xxh3"], "rows": facts["documents"], **_counts(facts)}
                    for path, facts in of_language.items()
                ],
            }
        asked = {"tokens_asked": phase.tokens, "max_epochs": phase.max_epochs, "replay_asked": phase.replay}
        phases[name] = {**total, **asked, "languages": languages}
    facts = {"bytes_per_token": config.bytes_per_token, "seed": config.seed, "long_document_tokens": config.long_document_tokens}
    return {"format": 2, "columns": SCHEMA.names, **facts, "phases": phases}


def mix_yaml(phase: str, totals: dict[str, Any]) -> str:
    """The phase as a YAML list of files, relative to the corpus folder, with what a data loader needs to know of each.

    Every scalar is written as JSON, which YAML contains, so that no path needs quoting rules of its own.
    """
    lines = [
        f"phase: {json.dumps(phase)}",
        f"tokens: {totals['tokens_with_epochs']}  # repetitions included, estimated from bytes",
        "text_column: text",
        "epochs_column: epochs  # times to read each document",
        f"replay_tokens: {totals['replay_tokens']}  # of these tokens, those that repeat an earlier phase",
        f"long_tokens: {totals['long_tokens']}  # of these tokens, those of documents with long_document, for context extension",
    ]
    parts = [(language, part) for language, facts in totals["languages"].items() for part in facts["parts"]]
    lines.append("parts:" if parts else "parts: []")
    for language, part in parts:
        lines.append(f"  - path: {json.dumps(part['path'], ensure_ascii=False)}")
        lines.append(f"    lang: {json.dumps(language)}")
        lines += [f"    {key}: {part[key]}" for key in ("rows", "tokens", "tokens_with_epochs", "most_epochs", "long_tokens")]
        lines.append(f"    xxh3: {json.dumps(part['xxh3'])}")
    return "\n".join(lines) + "\n"


def _files(receipt: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The receipt's corpus files with their size and hash."""
    return {
        path: {**facts, "size": receipt["outputs"][path]["bytes"], "xxh3": receipt["outputs"][path]["xxh3"]}
        for path, facts in receipt["files"].items()
    }


def _remove_others(folder: Path, files: frozenset[str]) -> None:
    """Remove corpus files, and folders without any, that this configuration doesn't make."""
    for path in folder.glob(PART_GLOB):
        if str(path.relative_to(folder)) not in files:
            path.unlink()
    for pattern in ("phase=*/lang=*", "phase=*"):
        for path in folder.glob(pattern):
            if not any(path.iterdir()):
                path.rmdir()


def _counts(facts: dict[str, Any]) -> dict[str, int]:
    return {key: facts[key] for key in (*COUNTS[1:], "most_epochs")}


def _totals(files: Any) -> dict[str, int]:
    listed = list(files)
    return {key: sum(facts[key] for facts in listed) for key in COUNTS}


def _share(part: dict[str, int], whole: dict[str, int]) -> float:
    own, all_own = (counts["tokens_with_epochs"] - counts["replay_tokens"] for counts in (part, whole))
    return own / all_own if all_own else 0.0


def _domains(files: Any, language: dict[str, int], asked: dict[str, float]) -> dict[str, dict[str, Any]]:
    totals: dict[str, dict[str, Any]] = {}
    for facts in files:
        for label, counts in facts["domains"].items():
            entry = totals.setdefault(label, dict.fromkeys(counts, 0))
            for key, value in counts.items():
                entry[key] += value
    return {
        label: {**counts, "share_asked": asked.get(label), "share_got": _share(counts, language)}
        for label, counts in sorted(totals.items())
    }


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
