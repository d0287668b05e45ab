"""Settings of the decontaminate move: which benchmarks, what counts as a match, and what happens to a document that has one."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from decontam import DecontamError, FieldMap, MatchSettings, Policy
from pipeline.settings import Settings

_FIELDS, _MATCH, _POLICY = FieldMap(), MatchSettings(), Policy()


class BenchmarkFields(Settings):
    """Which keys of a benchmark's records hold what; of several names the first one that a record has is taken."""

    item: list[str] = Field(list(_FIELDS.item), description="The item's id; without one, its row number.")
    benchmark: list[str] = Field(list(_FIELDS.benchmark), description="The benchmark's name; without one, the file's name.")
    split: list[str] = Field(list(_FIELDS.split), description="The item's split, such as test.")
    text: list[str] = Field(list(_FIELDS.text), description="The whole text of the item, question and choices.")
    question: list[str] = Field(list(_FIELDS.question), description="The question; counts where there is no whole text.")
    choices: list[str] = Field(list(_FIELDS.choices), description="The choices; they follow the question.")
    answer: list[str] = Field(list(_FIELDS.answer), description="The answer; searched if it is long enough to be a match by itself.")
    passage: list[str] = Field(list(_FIELDS.passage), description="A passage that the question is about; see `report_fields`.")

    def field_map(self) -> FieldMap:
        """The same as the library knows it."""
        return FieldMap(**{name: tuple(names) for name, names in self.model_dump().items()})


class DecontaminateConfig(Settings):
    """Benchmark text in the corpus: where it comes from, when it counts, and what is done about it."""

    benchmarks: list[str] = Field(
        min_length=1,
        description="Benchmark files, folders or globs (JSONL, JSON, Parquet, CSV, TSV; .gz, .zst) that the corpus must not contain.",
    )
    fields: dict[str, BenchmarkFields] = Field(
        {},
        description="Keys of the records of single benchmarks, by benchmark (as the report names it) or file name, where they differ "
        "from the usual ones.",
    )
    action: Literal["drop", "mask", "tag"] = Field(
        "drop",
        description="A contaminated document is dropped, keeps its text without the benchmark's (mask; it is dropped if nothing is left), "
        "or is only marked (tag).",
    )
    length: int = Field(_MATCH.length, description="Shortest common substring that is a match, in letters and digits.")
    hangul_length: int = Field(
        _MATCH.hangul_length,
        description="The same for text that is at least half Hangul; set it to `length` to compare with GPT-4 and EXAONE 3.5.",
    )
    short_length: int = Field(
        _MATCH.short_length, description="Items shorter than a match, but this long, are looked for whole, and only tagged."
    )
    max_seed_items: int = Field(
        _MATCH.max_seed_items, description="Text that more benchmark items than this share does not start a comparison: it is a template."
    )
    min_coverage: float = Field(
        _POLICY.min_coverage, description="Share of an item that a match must cover to make the document contaminated."
    )
    long_factor: float = Field(
        _POLICY.long_factor, description="A match of this many times the required length contaminates, whatever its share of the item."
    )
    max_frequency: int = Field(
        _POLICY.max_frequency, description="A match whose text more items than this share does not contaminate, unless it is a whole item."
    )
    report_fields: list[str] = Field(
        list(_POLICY.report_fields), description="Matches of these fields (question, answer, passage) are reported and never contaminate."
    )
    min_kept_share: float = Field(0.01, ge=0, le=1, description="The run stops when decontaminate keeps a smaller share of its documents.")

    @model_validator(mode="after")
    def _check_values(self) -> DecontaminateConfig:
        """The library checks its own settings; its sentence names the key."""
        unknown = sorted(set(self.report_fields) - {"question", "answer", "passage"})
        if unknown:
            raise ValueError(f"report_fields has '{unknown[0]}'; use question, answer or passage")
        try:
            self.match_settings()
            self.policy()
        except DecontamError as error:
            raise ValueError(str(error).removesuffix(".")) from error
        return self

    def match_settings(self) -> MatchSettings:
        """What counts as a match, as the library knows it."""
        return MatchSettings(self.length, self.hangul_length, self.short_length, self.max_seed_items)

    def policy(self) -> Policy:
        """Which matches contaminate, as the library knows it."""
        return Policy(self.min_coverage, self.long_factor, self.max_frequency, tuple(self.report_fields))

    def field_maps(self) -> dict[str, FieldMap]:
        """The keys of single benchmarks, as the library knows them."""
        return {name: fields.field_map() for name, fields in self.fields.items()}

    def index_settings(self) -> dict[str, Any]:
        """Everything that the index depends on besides the benchmark files, as JSON values."""
        return self.model_dump(mode="json", include={"fields", "length", "hangul_length", "short_length", "max_seed_items"})
