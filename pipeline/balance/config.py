"""Settings of the balance move: which share of the training tokens each language and domain gets, in each of two phases."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.settings import Settings

PHASES = ("general", "domain")
"""The two pretraining phases, in the order in which training runs them; each is a folder `phase=<name>` of the corpus."""

OTHER = "other"
"""The name of a language's remaining documents: those whose domain label is not named in `domains`, or that have none."""

UNKNOWN_LANGUAGE = "und"
"""ISO 639-2 code for an undetermined language: what a document without `lang` counts as."""

SHARE_TOLERANCE = 1e-6
"""Shares written by hand must sum to 1 this closely; they are divided by their sum before use."""

BYTES_PER_TOKEN = {"ko": 4.6, "en": 4.2}
"""Measured with byte-level BPE halves of 51,200 entries per language (EXAONE 3.5's size) on held-out text: 4.63 over nine Korean sources,
from 3.6 (manuals full of code) to 6.5 (scripture), and 4.16 over three English ones. docs/balance.md says how."""

LEAST_SHARE = 1e-9
"""Smaller shares would be less than a token of a billion."""

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,19}")
_Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


def _sums_to_one(key: str, shares: dict[str, float]) -> None:
    total = sum(shares.values())
    if abs(total - 1.0) > SHARE_TOLERANCE:
        raise ValueError(f"{key} sum to {total:g}; shares must sum to 1")


class ImportanceConfig(Settings):
    """Importance weights after DSIR (Xie et al. 2023): documents that read like the target texts come first in their queues."""

    inputs: list[str] = Field(min_length=1, description="Target texts, Parquet or JSONL (.gz, .zst): files, folders, globs or URLs.")
    text_column: str = Field("text", description="Field or column that holds the text of the targets.")
    language: str | None = Field(
        None, description="Language of the mix that targets without a field `lang` are in; needed where the mix has several."
    )
    strength: float = Field(
        default=1.0,
        gt=0.0,
        le=1000.0,
        allow_inf_nan=False,
        description="Factor on the log of the weights: larger follows the targets more closely, smaller leaves more to chance.",
    )


class PhaseConfig(Settings):
    """One pretraining phase: how many tokens, and from which languages and domains."""

    tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Training tokens of this phase, repetitions included; null takes as many as shares and max_epochs allow.",
    )
    languages: dict[str, _Share] = Field(
        default={"ko": 0.5, "en": 0.5},
        description="Share of the phase's tokens for each language; the shares sum to 1. Other languages are dropped.",
    )
    domains: dict[str, _Share] = Field(
        default={},
        description="Share of each language's tokens for named domain labels; what is left up to 1 (or `other`) goes to all other labels.",
    )
    domain_limits: dict[str, tuple[_Share, _Share]] = Field(
        default={},
        description="[least, most] share of each language's tokens for a label that `domains` does not name and `method` fills.",
    )
    method: Literal["proportional", "temperature", "unimax"] = Field(
        default="proportional",
        description="How labels not named in `domains` share the rest: by size, by size to the power alpha, or evenly up to max_epochs.",
    )
    alpha: float = Field(
        default=0.5, ge=0.0, le=1.0, description="Exponent of method temperature: 1 is proportional, 0 is even; 0.3 to 0.7 is usual."
    )
    max_epochs: float = Field(
        default=1.0, ge=1.0, le=1000.0, description="Most times that a language and domain may be repeated; 1 repeats nothing."
    )
    quality_top: dict[str, _Share] = Field(
        default={},
        description="Only this best share of a language's documents by `quality` enters the phase, such as {ko: 0.4, en: 0.3}; a language "
        "that is not named enters whole. A document without a quality may enter.",
    )
    quality_tilt: float = Field(
        default=1.0,
        ge=1.0,
        le=1e6,
        description="How many times likelier a language's best document is chosen than its worst, by rank of `quality`; 1 is even.",
    )
    importance: ImportanceConfig | None = Field(
        default=None, description="Prefer documents whose words are those of target texts (DSIR); null: no preference."
    )
    rehydrate: bool = Field(
        default=False, description="Count a document as often as `rehydration_weight` says: for the copies that dedup removed."
    )
    replay: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="Share of the phase's tokens that repeats phase general, in general's proportions; the other settings describe "
        "the rest. Only for phase domain.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        _sums_to_one("languages", self.languages)
        for key, shares in (("languages", self.languages), ("domains", self.domains)):
            for name, share in shares.items():
                if 0 < share < LEAST_SHARE:
                    raise ValueError(f"{key}.{name} is {share:g}; use 0 or a share of {LEAST_SHARE:g} or more")
        for language in self.languages:
            if not _FOLDER_NAME.fullmatch(language):
                raise ValueError(f"the language '{language}' can't name a folder; use a code such as ko or en")
        if OTHER in self.domains:
            _sums_to_one("domains", self.domains)
        elif sum(self.domains.values()) > 1 + SHARE_TOLERANCE:
            raise ValueError(f"domains sum to {sum(self.domains.values()):g}; they are shares of each language and may not exceed 1")
        for label, (least, most) in self.domain_limits.items():
            if label in self.domains or label == OTHER:
                raise ValueError(f"domain_limits names '{label}', which `domains` settles already; leave it out of one of them")
            if least > most:
                raise ValueError(f"domain_limits.{label} is [{least:g}, {most:g}]; the first number is the least, the second the most")
        for language, share in self.quality_top.items():
            if language not in self.languages:
                raise ValueError(f"quality_top names '{language}', which has no share in languages; leave it out")
            if share == 0:
                raise ValueError(f"quality_top.{language} is 0, which leaves no document; use a share above 0")
        least_of_all = sum(limits[0] for limits in self.domain_limits.values())
        if least_of_all > self.rest_share + SHARE_TOLERANCE:
            raise ValueError(f"domain_limits ask for at least {least_of_all:g} in all, but `domains` leaves {self.rest_share:g}")
        return self

    @property
    def language_shares(self) -> dict[str, float]:
        """Languages with a share above 0, sorted by name, summing to 1."""
        total = sum(self.languages.values())
        return {language: share / total for language, share in sorted(self.languages.items()) if share > 0}

    @property
    def domain_shares(self) -> dict[str, float]:
        """Shares of the named labels, those at 0 included, sorted by name; without OTHER."""
        total = sum(self.domains.values()) if OTHER in self.domains else max(1.0, sum(self.domains.values()))
        return {label: share / total for label, share in sorted(self.domains.items()) if label != OTHER}

    @property
    def rest_share(self) -> float:
        """Share of each language that goes to labels which are not named; below the tolerance it is 0."""
        rest = 1.0 - sum(self.domain_shares.values())
        return rest if rest > SHARE_TOLERANCE else 0.0


class PhasesConfig(Settings):
    """The phases of the corpus; a phase that is null is not made."""

    general: PhaseConfig | None = Field(default=PhaseConfig(), description="First pretraining phase: general ability.")
    domain: PhaseConfig | None = Field(default=None, description="Second phase: domains to strengthen, with part of the first replayed.")


class BalanceConfig(Settings):
    """The training mixture: budgets and shares per phase, and how tokens are estimated before a tokenizer exists."""

    phases: PhasesConfig = Field(default=PhasesConfig(), description="Mixture of each pretraining phase: general, then domain.")
    language_of: dict[str, str] = Field(
        default={"mixed": "ko"}, description="Language of the mixture that documents of another `lang` count as."
    )
    bytes_per_token: dict[str, Annotated[float, Field(gt=0.0, le=1000.0)]] = Field(
        default=BYTES_PER_TOKEN,
        description="UTF-8 bytes of text per training token, for each language of the mixture; take it from your tokenizer's evaluation.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the order in which documents are chosen; another seed, another sample.")
    shard_bytes: int = Field(default=256 << 20, ge=1 << 20, description="Largest size of a corpus file on disk, in bytes.")
    on_infeasible: Literal["error", "budget", "shares"] = Field(
        default="error",
        description="When there are too few documents for a phase: stop and say what could be had, keep the shares and take the largest "
        "budget they allow (budget), or keep the budget and take the nearest shares it allows (shares).",
    )
    quality_bands: list[Annotated[float, Field(gt=0.0, lt=1.0)]] = Field(
        default=[0.5, 0.9],
        max_length=9,
        description="Where the plan parts each language's documents by rank of `quality`: [0.5, 0.9] is the lower half, the next 40 % and "
        "the best tenth. It only counts them.",
    )
    long_document_tokens: int = Field(
        default=32_768, ge=1, description="Documents of at least so many tokens are marked `long_document`, for context extension."
    )
    min_kept_share: float = Field(
        default=0.0, ge=0.0, le=1.0, description="Stop the run when balance keeps a smaller share of the documents; 0 never stops."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.chosen_phases:
            raise ValueError("phases.general and phases.domain are both null; describe at least one phase")
        if self.phases.general and self.phases.general.replay:
            raise ValueError("phases.general.replay is set, but only phase domain can replay; remove it")
        if self.phases.domain and self.phases.domain.replay and not self.phases.general:
            raise ValueError("phases.domain.replay repeats phase general, and phases.general is null; describe it, or set replay to 0")
        if self.quality_bands != sorted(set(self.quality_bands)):
            raise ValueError("quality_bands must ascend without repetition, such as [0.5, 0.9]")
        for name, phase in self.chosen_phases.items():
            for language in phase.language_shares:
                if language not in self.bytes_per_token:
                    raise ValueError(f"phases.{name} has the language '{language}' but bytes_per_token has no entry for it; add one")
                if self.language_of.get(language, language) != language:
                    raise ValueError(f"language_of counts '{language}' as another language, but phases.{name} gives it a share of its own")
        return self

    @property
    def chosen_phases(self) -> dict[str, PhaseConfig]:
        """The phases to make, by name, in training order."""
        phases = {name: getattr(self.phases, name) for name in PHASES}
        return {name: phase for name, phase in phases.items() if phase is not None}
