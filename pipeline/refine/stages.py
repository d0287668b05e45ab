"""Refine as a list of stages: repair, signals, language, rules, personal data."""

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
from pipeline.refine.language import Language, check
from pipeline.refine.pii import Pii
from pipeline.refine.repair import Repair
from pipeline.refine.signals import Signals
from pipeline.rules import Rule, apply_rules
from pipeline.settings import Settings
from pipeline.stage import Stage

PRESETS = ("onnuri-ko", "onnuri-en", "gopher", "fineweb")
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


def stages(config: RefineConfig) -> tuple[Stage, ...]:
    """The stages of `refine` in order: Repair, Signals, Language, Rules, Pii (Repair and Pii unless switched off).

    Raises UserError for an unknown preset or an unusable language model, so that both are found before the run starts.
    """
    rules = tuple(rule for name in config.preset for rule in load_preset(name)) + tuple(settings.rule() for settings in config.rules)
    model_hash = check(config.language_model) if config.language_model else ""
    language = Language(config.languages, config.min_language_score, config.language_model, model_hash)
    before: tuple[Stage, ...] = (Repair(),) if config.repair else ()
    after: tuple[Stage, ...] = (Pii(),) if config.pii else ()
    return (*before, Signals(), language, Rules(rules), *after)
