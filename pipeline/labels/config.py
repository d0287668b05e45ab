"""Settings of the three ways to label documents: rules, seed words, a judge; and what a rules file holds."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from pipeline.rules import Rule
from pipeline.settings import Settings

DEFAULT_SAMPLE = 100_000
"""Most documents of a label and language, where nothing else is said: as many of a label as `classify train` reads."""

_MOST_PATTERN_CHARS = 1000

_EMPTY = pa.array([""])


class Condition(Settings):
    """One numeric condition: a column of the document table, or a field of the input's own records, against a threshold."""

    column: str = Field(min_length=1, description="Column of the document table (words, quality ...) or field of the records (rating ...).")
    op: Literal[">=", "<=", ">", "<", "==", "!="] = Field(description="How the value must compare with the threshold.")
    threshold: float = Field(description="The number it is compared with.", allow_inf_nan=False)

    def rule(self) -> Rule:
        """The condition as a rule; a missing value, which a rule lets pass, fits no condition."""
        return Rule(self.column, self.op, self.threshold)

    def __str__(self) -> str:
        return f"{self.column}{self.op}{self.threshold:g}"


class LabelRule(Settings):
    """One way to earn a label: every key that is given must hold; of a list, one entry is enough."""

    label: str = Field(min_length=1, description="The label. Several rules may give the same one: a document needs to fit one of them.")
    languages: tuple[str, ...] = Field((), description="Only documents of these languages (`lang`); empty: of any.")
    sources: tuple[str, ...] = Field(
        (), description="Names of sources: a record's own `source`, or else its file's name up to the first dot."
    )
    hosts: tuple[str, ...] = Field((), description="Host names; each stands for its subdomains, too (go.kr: every ministry).")
    url_patterns: tuple[str, ...] = Field(
        (), description="Globs over the whole address (*/news/*: * any run, ? one character), or re: and a regular expression (RE2)."
    )
    fields: dict[str, tuple[str, ...]] = Field({}, description="Fields of the records and the texts they may hold: {category: [news]}.")
    signals: tuple[Condition, ...] = Field((), description="Numeric conditions; every one must hold, and a missing value holds for none.")
    seeds: tuple[str, ...] = Field((), description="Words to be found in the text: English ones whole, Korean ones at the start of a word.")
    min_seeds: int = Field(2, ge=1, description="How many different seeds must be found.")
    sample: int = Field(
        DEFAULT_SAMPLE, ge=1, description="Most documents per language that this rule labels, chosen by hash of the document id."
    )

    @field_validator("hosts")
    @classmethod
    def _plain_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return checked_hosts(hosts)

    @field_validator("url_patterns")
    @classmethod
    def _safe_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not pattern or len(pattern) > _MOST_PATTERN_CHARS:
                raise ValueError(f"the pattern '{pattern[:40]}' is {len(pattern)} characters long; use 1 to {_MOST_PATTERN_CHARS}")
            try:
                pc.match_substring_regex(_EMPTY, url_regex(pattern))
            except pa.ArrowInvalid as error:
                raise ValueError(f"the pattern '{pattern[:80]}' is no regular expression of RE2: {' '.join(str(error).split())}") from error
        return patterns

    @field_validator("fields")
    @classmethod
    def _plain_fields(cls, fields: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, values in fields.items():
            if not values:
                raise ValueError(f"the field '{name}' has no values; list those that fit")
        return fields

    @field_validator("seeds")
    @classmethod
    def _plain_seeds(cls, seeds: tuple[str, ...]) -> tuple[str, ...]:
        return checked_seeds(seeds)

    @model_validator(mode="after")
    def _some_condition(self) -> LabelRule:
        if not (self.languages or self.sources or self.hosts or self.url_patterns or self.fields or self.signals or self.seeds):
            raise ValueError(f"the rule of label '{self.label}' has no condition; give sources, hosts, fields, signals or seeds")
        if self.seeds and self.min_seeds > len(set(self.seeds)):
            raise ValueError(f"min_seeds is {self.min_seeds}, but the label '{self.label}' has {len(set(self.seeds))} seeds; lower it")
        return self


class LabelConfig(Settings):
    """A rules file: which documents get which label."""

    labels: tuple[LabelRule, ...] = Field(min_length=1, description="The rules, each with a label and the conditions for it.")
    first_wins: bool = Field(
        False, description="A document that fits two labels gets the one that stands first; otherwise it is counted and left out."
    )
    max_chars: int = Field(20_000, ge=1, description="Characters at the start of a document in which seeds are looked for.")
    seed: int = Field(7, ge=0, description="Seed of the hash that samples documents.")


class BootstrapConfig(Settings):
    """Labels from seed words and sources, and from models trained on those."""

    min_seeds: int = Field(2, ge=1, description="How many different seeds of the best topic a document must hold.")
    min_margin: float = Field(2.0, ge=1, description="The best topic's score must be at least this many times the second's.")
    max_chars: int = Field(5_000, ge=1, description="Characters at the start of a document in which seeds are looked for.")
    sample: int = Field(20_000, ge=1, description="Most documents per topic and language that seeds and sources label, the clearest.")
    rounds: int = Field(
        0,
        ge=0,
        le=20,
        description="Rounds of self-training: train on what is labelled, add what the model is surest of, anew each time.",
    )
    share: float = Field(
        0.2, gt=0, le=1, description="Share of the unlabelled documents of a predicted topic and language, the surest, added per round."
    )
    min_documents: int = Field(10, ge=2, description="Topics with fewer labelled documents than this take no part in self-training.")
    seed: int = Field(7, ge=0, description="Seed of the hash that samples documents, and of training.")


class JudgeConfig(Settings):
    """How to ask a judge, apart from what the command's own options say."""

    max_chars: int = Field(2_000, ge=1, le=100_000, description="Characters of a document that the judge sees.")
    max_answer_tokens: int = Field(200, ge=1, le=100_000, description="Most tokens of an answer (the bound that a request sets).")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="What the endpoint calls that bound; some take only max_completion_tokens."
    )
    timeout_seconds: float = Field(60.0, gt=0, le=3600, description="A request is given up after this long, connecting and reading.")
    retries: int = Field(5, ge=0, le=20, description="Tries after the first when the endpoint is busy, fails (429, 5xx) or is silent.")
    backoff_seconds: float = Field(1.0, ge=0, le=60, description="Wait before the first of these; doubled each time; Retry-After wins.")
    max_wait_seconds: float = Field(120.0, ge=0, le=3600, description="Longest wait before a try, whatever Retry-After asks for.")
    seed: int = Field(7, ge=0, description="Seed of the hash that samples documents and orders the questions.")


def checked_hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Host names in the form of the column `host`. Raises ValueError for what isn't one."""
    for host in hosts:
        if not host.strip(".") or any(mark in host for mark in "/:*@ "):
            raise ValueError(f"'{host}' is not a host name; give one such as go.kr, without https:// and path")
    return tuple(host.lower().strip(".").removeprefix("www.") for host in hosts)


def checked_seeds(seeds: tuple[str, ...]) -> tuple[str, ...]:
    """The seeds in lower case. Raises ValueError for one that the search can't find: under three bytes, several lines, a mark in front."""
    for seed in seeds:
        if len(seed.encode()) < 3 or seed != " ".join(seed.split()) or not seed[0].isalnum():
            raise ValueError(f"the seed '{seed}' must be three letters (or one Hangul syllable) or more on one line, no mark first")
    return tuple(seed.lower() for seed in seeds)


def url_regex(pattern: str) -> str:
    """A URL pattern as an RE2 expression for an unanchored search."""
    if pattern.startswith("re:"):
        return pattern.removeprefix("re:")
    parts = {"*": ".*", "?": "."}
    escaped = (parts.get(char) or (char if char.isalnum() or char in "_" else f"\\x{{{ord(char):x}}}") for char in pattern)
    return f"(?is)^{''.join(escaped)}$"
