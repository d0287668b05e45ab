"""Settings of the decontaminate move: which benchmarks, what counts as a match, and what happens to a document that has one."""

from __future__ import annotations

import functools
from typing import Any, Literal

from pydantic import Field, model_validator

from decontam import DecontamError, FieldMap, MatchSettings, Policy
from decontam.policy import ShortTexts
from pipeline.decontaminate.actions import Action, Actions, Override
from pipeline.settings import Settings

_FIELDS, _MATCH, _POLICY = FieldMap(), MatchSettings(), Policy()

LENGTHS = ("length", "hangul_length", "short_length", "hangul_short_length", "max_seed_items", "pool_stride")
POLICY_KEYS = ("min_coverage", "answered_coverage", "long_factor", "max_frequency", "max_corpus_documents", "short_texts", "report_fields")


@functools.cache
def _registry_names() -> frozenset[str]:
    from decontam.registry import load_registry  # brings the kernels with it, which most commands never need

    registry = load_registry()
    return frozenset([*registry, *(source.folder for source in registry.values())])


def in_registry(name: str) -> bool:
    """Whether an entry of `benchmarks` is a name of the registry, and no path; `./name` is the path."""
    return name.casefold() in _registry_names()


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
    answer_base: Literal[0, 1] | None = Field(
        None, description="Number of the first choice where answers are numbers; null: told from the numbers of the file."
    )

    def field_map(self) -> FieldMap:
        """The same as the library knows it."""
        names: dict[str, Any] = {name: tuple(value) for name, value in self.model_dump(exclude={"answer_base"}).items()}
        return FieldMap(**names, answer_base=self.answer_base)


class PolicyOverride(Settings):
    """What differs for some benchmarks; a key that is left out is as for all."""

    action: Action | None = Field(None, description="drop, mask or tag.")
    min_coverage: float | None = Field(None, description="As `decontaminate.min_coverage`.")
    answered_coverage: float | None = Field(None, description="As `decontaminate.answered_coverage`.")
    long_factor: float | None = Field(None, description="As `decontaminate.long_factor`.")
    max_frequency: int | None = Field(None, description="As `decontaminate.max_frequency`.")
    max_corpus_documents: int | None = Field(None, description="As `decontaminate.max_corpus_documents`.")
    short_texts: ShortTexts | None = Field(None, description="As `decontaminate.short_texts`.")
    report_fields: list[str] | None = Field(None, description="As `decontaminate.report_fields`.")


class DecontaminateConfig(Settings):
    """Benchmark text in the corpus: where it comes from, when it counts, and what is done about it."""

    benchmarks: list[str] = Field(
        [],
        description="What the corpus must not contain: names of the registry (with `data`), benchmark files, folders or globs (JSONL, "
        "JSON, Parquet, CSV, TSV; .gz, .zst). Either this or `index`.",
    )
    data: str | None = Field(None, description="Folder that holds the local copies of the registry's benchmarks; nothing is downloaded.")
    fields: dict[str, BenchmarkFields] = Field(
        {},
        description="Keys of the records of single benchmarks, by benchmark (as the report names it) or file name, where they differ "
        "from the usual ones.",
    )
    index: str | None = Field(None, description="Folder of an index that `onnuri decontam build` wrote, instead of `benchmarks`.")
    only: list[str] = Field([], description="Of the benchmarks look only for these (names or globs); empty: all.")
    mode: Literal["exhaustive", "paper"] = Field(
        "exhaustive",
        description="exhaustive: every window of every document. paper: a few random windows of each, as the EXAONE 3.5 report does; it "
        "misses most of what is there and is for comparison only.",
    )
    windows: int = Field(10, ge=1, description="Windows per document, with `mode: paper`.")
    seed: int = Field(7, ge=0, description="Seed of the windows of `mode: paper`.")
    length: int | None = Field(
        None,
        description="Shortest common substring that is a match, in letters and digits. "
        f"Null here and in the next five keys: what the index has, {_MATCH.length} for a new one.",
    )
    hangul_length: int | None = Field(
        None,
        description=f"The same for text that is at least half Hangul ({_MATCH.hangul_length} for a new index); set it to `length` to "
        "compare with GPT-4 and EXAONE 3.5.",
    )
    short_length: int | None = Field(
        None, description=f"Items shorter than a match, but this long, are looked for whole ({_MATCH.short_length} for a new index)."
    )
    hangul_short_length: int | None = Field(
        None, description=f"The same for items that are at least half Hangul ({_MATCH.hangul_short_length} for a new index)."
    )
    max_seed_items: int | None = Field(
        None,
        description="Text that more benchmark items than this share does not start a comparison: it is a template "
        f"({_MATCH.max_seed_items} for a new index).",
    )
    pool_stride: int | None = Field(
        None,
        description=f"Every how many-th window of the benchmarks is indexed ({_MATCH.pool_stride} for a new index): more saves memory and "
        "costs speed, and finds the same.",
    )
    action: Action = Field(
        "drop",
        description="A contaminated document is dropped, keeps its text without the benchmark's (mask; it is dropped if nothing is left), "
        "or is only marked (tag).",
    )
    min_coverage: float = Field(
        _POLICY.min_coverage, description="Share of an item that a document must hold to be contaminated, 0 to 1; all its matches together."
    )
    answered_coverage: float = Field(
        _POLICY.answered_coverage,
        description="The same where the item's answer stands in the document, too; if smaller, it counts instead.",
    )
    long_factor: float = Field(
        _POLICY.long_factor, description="A match of this many times the required length contaminates, whatever its share of the item."
    )
    max_frequency: int = Field(
        _POLICY.max_frequency, description="A match whose text more items than this share does not contaminate, unless it is a whole item."
    )
    max_corpus_documents: int | None = Field(
        _POLICY.max_corpus_documents,
        description="A match whose rarest part stands in more documents of this corpus does not contaminate, unless the document holds the "
        "whole item; null: not asked.",
    )
    short_texts: ShortTexts = Field(
        _POLICY.short_texts,
        description="Whole items that are shorter than a match are only reported, or contaminate where the answer stands there too "
        "(answered), or always.",
    )
    report_fields: list[str] = Field(
        list(_POLICY.report_fields), description="Matches of these fields (question, answer, passage) are reported and never contaminate."
    )
    overrides: dict[str, PolicyOverride] = Field(
        {},
        description="What differs for single benchmarks, by name or glob (`mmlu/*`); of several that fit, the first counts.",
    )
    min_kept_share: float = Field(0.01, ge=0, le=1, description="The run stops when decontaminate keeps a smaller share of its documents.")

    @model_validator(mode="after")
    def _check_values(self) -> DecontaminateConfig:
        """The library checks its own settings; its sentence names the key."""
        if bool(self.benchmarks) == bool(self.index):
            what = "both are given" if self.index else "neither is given"
            raise ValueError(f"name benchmark files under benchmarks, or under index what `onnuri decontam build` wrote; {what}")
        if self.index and (self.fields or self.data):
            raise ValueError(f"{'fields' if self.fields else 'data'} says how benchmarks are read, and index has read them; leave one out")
        try:
            MatchSettings(**self.lengths())
        except DecontamError as error:
            if not self.index:  # its own lengths may fit those that are given; a difference is told when it is opened
                raise ValueError(str(error).removesuffix(".")) from error
        try:
            self.actions()
        except DecontamError as error:
            raise ValueError(str(error).removesuffix(".")) from error
        return self

    def lengths(self) -> dict[str, int]:
        """What of `decontam.MatchSettings` is given."""
        return {name: value for name in LENGTHS if (value := getattr(self, name)) is not None}

    def actions(self) -> Actions:
        """What is done about a match of each benchmark. Raises DecontamError for values out of range, naming the override."""
        overrides = []
        for pattern, entry in self.overrides.items():
            given = entry.model_dump(exclude_none=True)
            action = given.pop("action", self.action)
            try:
                overrides.append(Override(pattern, action, Policy(**self._policy(given))))
            except DecontamError as error:
                raise DecontamError(f"overrides.{pattern}: {error}") from None
        return Actions(self.action, Policy(**self._policy({})), tuple(overrides))

    def _policy(self, changes: dict[str, Any]) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in POLICY_KEYS} | changes
        return values | {"report_fields": tuple(values["report_fields"])}

    def field_maps(self) -> dict[str, FieldMap]:
        """The keys of single benchmarks, as the library knows them."""
        return {name: fields.field_map() for name, fields in self.fields.items()}
