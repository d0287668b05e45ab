"""The settings of `refine`: which presets and rules apply, which languages stay, what is repaired and replaced."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
from pydantic import Field, field_validator

from pipeline.rules import Rule
from pipeline.schema import BY_NAME
from pipeline.settings import Settings


class RuleSettings(Settings):
    """One rule: what a good document satisfies."""

    column: str = Field(description="signal the rule looks at: any numeric column of the document table, such as words")
    op: Literal[">=", "<=", ">", "<", "==", "!="] = Field(description="how the signal must compare with the threshold")
    threshold: float = Field(description="number the signal is compared with, in the column's unit", allow_inf_nan=False)
    languages: tuple[str, ...] = Field(default=(), description="apply only to rows whose lang is one of these; empty: to every row")

    @field_validator("column")
    @classmethod
    def _numeric_column(cls, column: str) -> str:
        numeric = [name for name, known in BY_NAME.items() if pa.types.is_integer(known.type) or pa.types.is_floating(known.type)]
        if column not in numeric:
            raise ValueError(f"'{column}' is not a numeric column; choose one of {', '.join(numeric)}")
        return column

    def rule(self) -> Rule:
        """The rule as the engine applies it."""
        return Rule(self.column, self.op, self.threshold, self.languages)


class SitesConfig(Settings):
    """Which addresses may stay: lists of hosts, words and top-level domains, opt-outs, and what robots.txt says by now."""

    block_hosts: tuple[str, ...] = Field(
        default=(), description="files of host names to drop, one per line, subdomains included (# starts a comment)"
    )
    allow_hosts: tuple[str, ...] = Field(
        default=(),
        description="files of host names; when given, only these hosts and their subdomains stay, and documents without an address don't",
    )
    block_words: tuple[str, ...] = Field(
        default=(), description="files of words; an address that has one between its separators is dropped, one word per line"
    )
    block_top_domains: tuple[str, ...] = Field(default=(), description="top-level domains to drop, without the dot, such as xxx")
    opt_out: tuple[str, ...] = Field(
        default=(), description="files of addresses or hosts to leave out on request, one per line; an address covers what is below it"
    )
    robots: tuple[str, ...] = Field(
        default=(), description="tables (Parquet, JSONL, CSV) of robots.txt files: host, fetched_at, body; the latest of each host counts"
    )
    robots_agents: tuple[str, ...] = Field(
        default=("CCBot", "*"),
        description="user agents in whose name robots.txt is read: a page that any of them may not fetch is dropped",
    )
    drop_directives: tuple[str, ...] = Field(
        default=("noai", "tdm-reservation"),
        description="page directives (column robots_directives) that drop a document, such as noai, noarchive, noindex",
    )


class LinesConfig(Settings):
    """Which boilerplate lines are cut out of documents."""

    cut: bool = Field(default=True, description="cut boilerplate lines; false only measures how much there is")
    host_documents: int = Field(
        default=10, ge=0, description="cut lines that stand in this many documents of one host, where pages begin and end; 0: never"
    )


class RefineConfig(Settings):
    """Row-local cleaning: repair, signals, language, rules, personal data."""

    preset: tuple[str, ...] = Field(
        default=("onnuri-ko", "onnuri-en"),
        description="names of shipped rule lists, in order: onnuri-ko, onnuri-en, gopher, c4, fineweb, fineweb2-ko, fineweb2-ko-eojeol",
    )
    rules: tuple[RuleSettings, ...] = Field(default=(), description="further rules, applied after the presets'")
    languages: tuple[str, ...] = Field(
        default=("ko", "en", "mixed"), description="languages to keep: ISO 639-1 codes and mixed (Korean and English); empty: all"
    )
    min_language_score: float = Field(default=0.5, ge=0, le=1, description="drop documents whose language is less certain than this")
    language_model: str | None = Field(
        default=None,
        description="path of a fastText model that identifies the language of texts without Hangul; null: the built-in detector",
    )
    sites: SitesConfig = Field(default_factory=SitesConfig, description="which addresses may stay")
    lines: LinesConfig = Field(default_factory=LinesConfig, description="which boilerplate lines are cut")
    kiwi: bool = Field(
        default=False,
        description="count Korean morphemes with Kiwi, which the preset fineweb2-ko needs (0.2 MB/s per core; install onnuri[korean])",
    )
    repair: bool = Field(default=True, description="repair Unicode, line ends and blanks in text")
    pii: bool = Field(
        default=True, description="replace e-mail and IP addresses and telephone, resident, card, account, passport and licence numbers"
    )
    min_kept_share: float = Field(default=0.01, ge=0, le=1, description="stop the run when a smaller share of the input rows would be kept")
