"""What a user can set about deduplication: what counts as a duplicate, which copy stays, and which passages are cut."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipeline.settings import Settings

DIRECTIONS = ("asc", "desc")


class ParagraphsConfig(Settings):
    """Paragraphs that several documents of one host share."""

    min_documents: int = Field(
        default=3, ge=2, description="Documents of one host in which a paragraph must stand to be cut from all but the best."
    )
    min_bytes: int = Field(
        default=60,
        ge=1,
        description="UTF-8 bytes of letters and digits that a paragraph must have (60 letters of English, 20 syllables of Korean): "
        "headings and shorter lines repeat by chance.",
    )


class SubstringsConfig(Settings):
    """Passages of any place and host that stand in the corpus more than once, byte for byte."""

    min_bytes: int = Field(
        default=300, ge=64, le=65536, description="UTF-8 bytes from which a repeated passage is cut from all but the best document."
    )


class DedupConfig(Settings):
    """Exact and near duplicates of the whole corpus."""

    exact: bool = Field(
        default=True,
        description="Drop documents whose normalised text (letters and digits, one case, no spaces) equals another's; a text without any "
        "is compared as written.",
    )
    url: bool = Field(
        default=False,
        description="Drop all but one document of each address, whatever their texts (scheme, www., fragment and tracking parameters don't "
        "count).",
    )
    near: bool = Field(default=True, description="Drop documents whose set of shingles is similar to that of a document that is kept.")
    threshold: float = Field(
        default=0.8, gt=0.0, le=1.0, description="Jaccard similarity of the shingle sets, from which two documents are near duplicates."
    )
    shingle: Literal["bytes", "words"] = Field(
        default="bytes",
        description="What documents are compared by: runs of characters of a length in UTF-8 bytes, or of white-space separated words.",
    )
    shingle_bytes: int = Field(
        default=27,
        ge=4,
        le=256,
        description="UTF-8 bytes of a shingle, rounded up to whole characters: 27 letters of English, 9 syllables of Korean.",
    )
    shingle_words: int = Field(default=5, ge=1, le=64, description="Words of a shingle, where shingles are of words.")
    compare: Literal["letters", "written"] = Field(
        default="letters",
        description="letters: shingles are made of letters and digits after NFKC and case folding. written: of all characters but white "
        "space, as they are.",
    )
    sketch: Literal["oph", "minhash"] = Field(
        default="oph",
        description="oph: one-permutation hashing, the fast one. minhash: the signature of datasketch.MinHash, bit for bit.",
    )
    permutations: int = Field(
        default=128,
        ge=16,
        le=1024,
        description="Slots of a document's sketch: more make similarity estimates sharper, at one byte per slot and document.",
    )
    bands: int | None = Field(
        default=None, ge=1, le=1024, description="Bands of the sketch; null: chosen for the threshold. Give `rows`, too."
    )
    rows: int | None = Field(default=None, ge=1, le=1024, description="Slots per band; null: chosen for the threshold. Give `bands`, too.")
    seed: int = Field(
        default=1,
        ge=0,
        lt=1 << 32,
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
    index: str | None = Field(
        default=None,
        description="Folder of an index of earlier crawls: their documents stay, duplicates of them go, and what stays of this crawl is "
        "added. Made where there is none.",
    )
    rehydration: dict[int, int] = Field(
        default={1: 1, 2: 2, 5: 3, 20: 2, 63: 1},
        description="Weight of a kept document by the size of its cluster: `2: 2` gives 2 from two copies on, until the next entry. "
        "Written as rehydration_weight, which balance may use (the default is FineWeb-2's table for Korean).",
    )
    paragraphs: ParagraphsConfig | None = Field(
        default=None, description="Cut paragraphs that documents of one host repeat; null: no. `{}` for the defaults."
    )
    substrings: SubstringsConfig | None = Field(
        default=None, description="Cut passages that the corpus repeats byte for byte; null: no. `{}` for the defaults."
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

    @field_validator("rehydration")
    @classmethod
    def _rehydration_begins_at_one(cls, weights: dict[int, int]) -> dict[int, int]:
        if 1 not in weights or min(weights) < 1 or min(weights.values()) < 0:
            raise ValueError("it needs an entry for size 1, sizes of at least 1 and weights of at least 0; write for example {1: 1, 2: 2}")
        return dict(sorted(weights.items()))

    @model_validator(mode="after")
    def _fits_together(self) -> DedupConfig:
        if not (self.exact or self.url or self.near or self.paragraphs or self.substrings):
            raise ValueError(
                "exact, url, near, paragraphs and substrings are all off, so there is nothing to do; set one, or dedup to null in a run"
            )
        if (self.bands is None) != (self.rows is None):
            raise ValueError("bands and rows go together; give both, or neither to have them chosen for the threshold")
        if self.bands and self.rows and self.bands * self.rows > self.permutations:
            raise ValueError(
                f"{self.bands} bands of {self.rows} rows need {self.bands * self.rows} permutations, and there are {self.permutations}; "
                "lower one, or raise permutations"
            )
        if self.chains and self.index:
            raise ValueError(
                "chains can run through documents that an index no longer knows, so chains and index exclude each other; "
                "set chains to false"
            )
        return self

    def priority_columns(self) -> list[tuple[str, bool]]:
        """`priority` as (column, descending) pairs."""
        return [(entry.split()[0], entry.split()[1] == "desc") for entry in self.priority]
