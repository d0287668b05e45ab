"""Refine as a list of stages: sites, repair, lines, signals, language, morphemes, rules, personal data."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import resources
from typing import ClassVar

import pyarrow as pa
import yaml
from pydantic import Field

from pipeline.errors import UserError
from pipeline.refine.config import RefineConfig, RuleSettings
from pipeline.refine.detector import check
from pipeline.refine.language import Language
from pipeline.refine.lines import Lines
from pipeline.refine.morphemes import COLUMNS as MORPHEME_COLUMNS
from pipeline.refine.morphemes import Morphemes, kiwi_version
from pipeline.refine.pii import Pii
from pipeline.refine.repair import Repair
from pipeline.refine.signals import Signals
from pipeline.refine.sites import sites_stage
from pipeline.rules import Rule, apply_rules
from pipeline.settings import Settings
from pipeline.stage import Stage

PRESETS = ("onnuri-ko", "onnuri-en", "gopher", "c4", "fineweb", "fineweb2-ko", "fineweb2-ko-eojeol")
"""The shipped rule lists, presets/NAME.yaml."""


class PresetRule(RuleSettings):
    """A rule of a preset, with the reason for its number."""

    source: str = Field(description="where the threshold comes from: a paper, a reference implementation, or a measurement")


class Preset(Settings):
    """The content of a preset file."""

    description: str = Field(description="what the list is for")
    rules: tuple[PresetRule, ...] = Field(description="the rules, in the order in which a reason is chosen")


def load_preset(name: str) -> tuple[Rule, ...]:
    """The rules of a shipped preset. Raises UserError that names the nearest preset for an unknown name."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise UserError(f"refine.preset: unknown preset '{name}'; did you mean '{near}'? (there are {', '.join(PRESETS)})")
    text = resources.files("pipeline.refine").joinpath(f"presets/{name}.yaml").read_text(encoding="utf-8")
    return tuple(settings.rule() for settings in Preset.model_validate(yaml.safe_load(text)).rules)


@dataclass(frozen=True)
class Rules:
    """The stage that turns signals into `drop_reason`: the first rule that a row breaks names the reason."""

    rules: tuple[Rule, ...] = ()

    name: ClassVar[str] = "rules"
    version: ClassVar[str] = "1"
    writes: ClassVar[frozenset[str]] = frozenset()

    @property
    def reads(self) -> frozenset[str]:
        """The columns that the rules name."""
        with_language = {"lang"} if any(rule.languages for rule in self.rules) else set()
        return frozenset({rule.column for rule in self.rules} | with_language)

    def __call__(self, table: pa.Table) -> pa.Table:
        """`table` with `drop_reason` set where a rule is broken."""
        return apply_rules(table, self.rules)


def rules_stage(config: RefineConfig) -> Rules:
    """The rules of the configured presets, then the configured rules. Raises UserError for an unknown preset."""
    return Rules(tuple(rule for name in config.preset for rule in load_preset(name)) + tuple(settings.rule() for settings in config.rules))


def stages(config: RefineConfig, host_lines: tuple[str, str] | None = None) -> tuple[Stage, ...]:
    """The stages of `refine` in order; those that the configuration switches off are left out.

    host_lines: path and content hash of the lines that hosts repeat, once those are known (`host_lines.find_host_lines`). Raises UserError
    for an unknown preset, an unreadable list or language model, or missing Kiwi, so that all are found before the run starts.
    """
    rules = rules_stage(config)
    if not config.kiwi and (needed := sorted(rules.reads & set(MORPHEME_COLUMNS))):
        raise UserError(f"refine: the rules look at {needed[0]}, which only Kiwi can count; set refine.kiwi to true or take another preset")
    model_hash = check(config.language_model) if config.language_model else ""
    sites = sites_stage(config.sites)
    path, content = host_lines or (None, "")
    chain: list[Stage | None] = [
        sites,
        Repair() if config.repair else None,
        Lines(config.lines.cut, path, content),
        Signals(),
        Language(config.languages, config.min_language_score, config.language_model, model_hash),
        Morphemes(kiwi_version()) if config.kiwi else None,
        rules,
        Pii() if config.pii else None,
    ]
    return tuple(stage for stage in chain if stage is not None)
