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


class RefineConfig(Settings):
    """Row-local cleaning: repair, signals, language, rules, personal data."""

    preset: tuple[str, ...] = Field(
        default=("onnuri-ko", "onnuri-en"),
        description="names of shipped rule lists, applied in the given order: onnuri-ko, onnuri-en, gopher, fineweb",
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
    repair: bool = Field(default=True, description="repair Unicode, line ends and blanks in text")
    pii: bool = Field(default=True, description="replace e-mail and IP addresses, telephone, resident and card numbers in text")
    min_kept_share: float = Field(default=0.01, ge=0, le=1, description="stop the run when a smaller share of the input rows would be kept")
