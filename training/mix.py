"""Balance's `mix-<phase>.yaml` as sources of a stage: one for each language of the phase."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config import read_yaml
from pipeline.errors import UserError
from tokenizer.shards import Shards, open_shards


def mix_sources(stage: str, path: Path, folder: str) -> list[tuple[str, Mapping[str, tuple[str, ...]]]]:
    """Name and `where` of each source, by language. folder: the token shards of the corpus that the mix belongs to.

    Raises UserError for a file that is no mix, and for shards that don't hold the documents that it counts.
    """
    phase, rows = _read(path)
    shards = open_shards(Path(folder))
    _check(stage, phase, rows, shards, path)
    return [(language, {"phase": (phase,), "lang": (language,)}) for language in rows]


def _read(path: Path) -> tuple[str, dict[str, int]]:
    """The phase, and documents by language."""
    if not path.is_file():
        raise UserError(f"there is no mix '{path}'; check the path (balance writes a mix-<phase>.yaml for each phase into its corpus)")
    values = read_yaml(path)
    rows: Counter[str] = Counter()
    try:
        phase = str(values["phase"])
        for part in values["parts"]:
            rows[str(part["lang"])] += int(part["rows"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"'{path}' is not a mix of balance ({type(error).__name__}: {error}); give a mix-<phase>.yaml") from error
    languages = {language: count for language, count in sorted(rows.items()) if count}
    if not languages:
        raise UserError(f"the mix '{path}' has no documents; give that of a phase with some, or take the stage out")
    return phase, languages


def _check(stage: str, phase: str, rows: Mapping[str, int], shards: Shards, path: Path) -> None:
    """Encode leaves out documents without a text and counts them, so a language may have fewer than balance wrote, but not more."""
    phases = sorted({file.group["phase"] for file in shards.files if "phase" in file.group})
    if phase not in phases:
        there = ", ".join(phases) or "no phase, they are grouped by other keys"
        raise UserError(
            f"stage '{stage}' reads the mix of phase '{phase}', and the shards in '{shards.folder}' have {there}; "
            "encode that corpus, or give its shards"
        )
    found: Counter[str] = Counter()
    for file in shards.files:
        if file.group.get("phase") == phase:
            if "lang" not in file.group:
                raise UserError(f"the shards in '{shards.folder}' aren't grouped by lang, as a mix is; give `sources` instead of it")
            found[file.group["lang"]] += file.documents
    skipped = sum(_skipped(shards.manifest).values())
    for language in sorted({*rows, *found}):
        missing = rows.get(language, 0) - found[language]
        if not 0 <= missing <= skipped:
            raise UserError(
                f"'{path}' counts {rows.get(language, 0):,} documents of phase '{phase}' in '{language}', and the shards in "
                f"'{shards.folder}' have {found[language]:,}; encode that corpus again, or give the mix that belongs to the shards"
            )


def _skipped(manifest: Mapping[str, Any]) -> Mapping[str, int]:
    skipped: Mapping[str, int] = manifest.get("skipped") or {}
    return skipped
