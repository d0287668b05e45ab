"""What a user can set about deduplication: what counts as a duplicate, and which copy stays."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from pipeline.settings import Settings

DIRECTIONS = ("asc", "desc")


class DedupConfig(Settings):
    """Exact and near duplicates of the whole corpus."""

    exact: bool = Field(
        default=True,
        description="Drop documents whose normalised text (letters and digits, one case, no spaces) equals another's; a text without any "
        "is compared as written.",
    )
    near: bool = Field(default=True, description="Drop documents whose set of shingles is similar to that of a document that is kept.")
    threshold: float = Field(
        default=0.8, gt=0.0, le=1.0, description="Jaccard similarity of the shingle sets, from which two documents are near duplicates."
    )
    permutations: int = Field(
        default=128,
        ge=16,
        le=1024,
        description="Slots of a document's sketch: more make similarity estimates sharper, at 4 bytes per slot and document.",
    )
    shingle_bytes: int = Field(
        default=27,
        ge=4,
        le=256,
        description="UTF-8 bytes of a shingle, rounded up to whole characters: 27 letters of English, 9 syllables of Korean.",
    )
    seed: int = Field(
        default=1,
        ge=0,
        lt=1 << 63,
        description="Seed of the shingle hashes; another seed finds a slightly different set of near duplicates.",
    )
    priority: list[str] = Field(
        default=["text_bytes desc", "date asc", "id asc"],
        description="Which of several duplicates stays: columns with asc or desc, in order. Unknown values come last, ties go by id.",
    )
    chains: bool = Field(
        default=False,
        description="Merge chains: if A is similar to B and B to C, keep one of the three. Otherwise a document is dropped only if it is "
        "itself similar to the document that is kept in its place.",
    )
    bucket_limit: int = Field(
        default=64,
        ge=1,
        le=65536,
        description="Documents of an LSH bucket that its other documents are compared with, best by priority first.",
    )
    min_kept_share: float = Field(default=0.01, ge=0.0, le=1.0, description="Stop the run when a smaller share of the documents is kept.")

    @field_validator("priority")
    @classmethod
    def _priority_is_columns(cls, entries: list[str]) -> list[str]:
        for entry in entries:
            words = entry.split()
            if len(words) != 2 or words[1] not in DIRECTIONS:
                raise ValueError(f"'{entry}' is not a column followed by asc or desc; write for example 'text_bytes desc'")
        names = [entry.split()[0] for entry in entries]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"column '{twice[0]}' is named twice; keep the first mention")
        return entries

    @model_validator(mode="after")
    def _something_to_do(self) -> DedupConfig:
        if not self.exact and not self.near:
            raise ValueError("exact and near are both false, so there is nothing to do; set one of them, or dedup to null in a run")
        return self

    def priority_columns(self) -> list[tuple[str, bool]]:
        """`priority` as (column, descending) pairs."""
        return [(entry.split()[0], entry.split()[1] == "desc") for entry in self.priority]
