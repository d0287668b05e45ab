"""Settings of the classify move: which models to use or to train, and which scores drop a document."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.refine.config import RuleSettings
from pipeline.settings import Settings

DEFAULT_MAX_CHARS = 2000
"""Characters of a document that a model sees: enough to tell topic and quality, and a bound on the time a hostile page can take."""

DEFAULT_TOP = 3
"""Labels that a model without a column of its own writes: enough to see what came close."""

OWN_COLUMNS = ("domain", "quality")
"""Names of the models that write a column of their own."""


class TrainConfig(Settings):
    """How to train one fastText model from labelled documents."""

    inputs: list[str] = Field(min_length=1, description="Labelled Parquet or JSONL (.gz, .zst): files, folders, globs or URLs.")
    text_column: str = Field("text", description="Field or column that holds the text.")
    label_column: str = Field("label", description="Field or column that holds the label: a text, a whole number or true/false.")
    positive_label: str | None = Field(None, description="The label of good documents; needed for a quality model, and makes it one.")
    max_chars: int = Field(DEFAULT_MAX_CHARS, ge=1, le=100_000, description="Characters of each document that the model sees.")
    max_documents_per_label: int = Field(
        100_000, ge=2, description="Labels with more documents are sampled down to this many, by hash, so that training fits in memory."
    )
    held_out_share: float = Field(0.1, gt=0, lt=1, description="Share of the groups kept from training and used to score the model.")
    held_out_inputs: list[str] = Field(
        [], description="Files that score the model, as `inputs`; then all of `inputs` trains, but for texts that are in these files too."
    )
    split_by: str = Field(
        "auto",
        min_length=1,
        description="What is on one side as a whole: a host, a text, a field's value; auto: host if each label has two, else text.",
    )
    balance: Literal["oversample", "limit", "none"] = Field(
        "oversample",
        description="Unequal labels: repeat the documents of rare ones (oversample), cut all to the rarest (limit), or leave them (none).",
    )
    max_repeats: int = Field(10, ge=1, le=1000, description="With oversample, how often one document may be seen at most per epoch.")
    dim: int = Field(32, ge=1, le=1000, description="Width of the model's vectors (fastText -dim).")
    epoch: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Passes over the training documents (fastText -epoch); null: 5 to 50, more for fewer documents and more labels.",
    )
    lr: float = Field(1.0, gt=0, le=10, description="Learning rate at the start; it falls to 0 (fastText -lr).")
    word_ngrams: int = Field(2, ge=1, le=5, description="Longest run of words that is a feature (fastText -wordNgrams).")
    min_count: int = Field(1, ge=1, description="A word must occur this often to get a vector of its own (fastText -minCount).")
    minn: int = Field(
        2, ge=0, le=10, description="Shortest piece of a word that is a feature (fastText -minn): Korean words carry particles."
    )
    maxn: int = Field(4, ge=0, le=10, description="Longest piece of a word that is a feature (fastText -maxn); 0: whole words only.")
    letters: Literal["syllables", "jamo"] = Field(
        "syllables", description="What minn and maxn count in Korean: syllables, or jamo (every text in NFD; then minn 3, maxn 6 fit)."
    )
    bucket: int = Field(200_000, ge=1000, le=50_000_000, description="Hash buckets that pieces and runs of words share (fastText -bucket).")
    seed: int = Field(7, ge=0, le=2**31 - 1, description="Seed of the split into training and held-out, the order, and the first vectors.")
    autotune_seconds: float | None = Field(
        None, gt=0, le=10_000_000, description="Look so long for better lr, epoch, dim, word_ngrams, minn, maxn and bucket; null: don't."
    )
    autotune_trials: int = Field(
        12, ge=1, le=1000, description="Settings that autotune tries at most; reached before autotune_seconds, the result is repeatable."
    )

    @model_validator(mode="after")
    def _check_pieces(self) -> TrainConfig:
        if self.maxn and self.minn > self.maxn:
            raise ValueError(f"minn is {self.minn} and maxn is {self.maxn}; use minn <= maxn, or maxn 0 for whole words only")
        return self


class ModelConfig(Settings):
    """One model: a fastText file that exists, or one to train in this run."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,31}$",
        description="What it writes: domain (with domain_score), quality, or under any other name entries of `labels`.",
    )
    path: str | None = Field(None, description="A supervised fastText model (.bin or .ftz); leave it out to train one.")
    train: TrainConfig | None = Field(None, description="Train the model from labelled documents; leave it out with a path.")
    positive_label: str | None = Field(
        None, description="Quality model given by path: the label whose probability is `quality`; default: what its model card says."
    )
    max_chars: int | None = Field(
        None, ge=1, le=100_000, description=f"Characters of a document it sees; default: what its card says, else {DEFAULT_MAX_CHARS}."
    )
    top: int | None = Field(
        None,
        ge=0,
        le=1000,
        description=f"Most likely labels that go to `labels` with their scores; default: 0 for domain and quality, else {DEFAULT_TOP}.",
    )

    @property
    def top_labels(self) -> int:
        """How many labels of a document are written to `labels`."""
        return self.top if self.top is not None else 0 if self.name in OWN_COLUMNS else DEFAULT_TOP

    @model_validator(mode="after")
    def _check_origin(self) -> ModelConfig:
        if (self.path is None) == (self.train is None):
            raise ValueError(f"the {self.name} model needs either `path` (a fastText file) or `train` (labelled documents), and not both")
        if self.train and (self.positive_label is not None or self.max_chars is not None):
            raise ValueError(f"the {self.name} model is trained, so set positive_label and max_chars under `train`")
        if self.train and self.name == "quality" and self.train.positive_label is None:
            raise ValueError("a quality model needs train.positive_label: the label of good documents")
        positive_label = self.train.positive_label if self.train else self.positive_label
        if self.name != "quality" and positive_label is not None:
            raise ValueError(f"a {self.name} model has no positive_label; leave it out, or name the model quality")
        if self.top == 0 and self.name not in OWN_COLUMNS:
            raise ValueError(f"the {self.name} model has no column of its own, and with top 0 it would write nothing; set top to 1 or more")
        return self


class ClassifyConfig(Settings):
    """Labels and scores of every document, by fastText models that this run trains or is given."""

    models: list[ModelConfig] = Field(min_length=1, description="The models, each under a name of its own.")
    domain_min_score: float = Field(
        0.0, ge=0, le=1, description="A document whose best domain is less probable than this gets `unknown_label` instead."
    )
    unknown_label: str = Field("unknown", min_length=1, description="The domain of documents without words or below domain_min_score.")
    keep_top: dict[str, float] | None = Field(
        None,
        description="Share of each language's documents to keep, the best by `quality`, 0 to 1 by `lang`; `*`: each language not named.",
    )
    rules: list[RuleSettings] = Field([], description="Conditions that documents must meet to be kept; empty: classify drops nothing.")
    min_kept_share: float = Field(0.01, ge=0, le=1, description="The run stops when classify keeps a smaller share of its documents.")

    @model_validator(mode="after")
    def _check_names(self) -> ClassifyConfig:
        names = [model.name for model in self.models]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"there are {names.count(name)} models named {name}; each name is one model's")
        return self

    @model_validator(mode="after")
    def _check_keep_top(self) -> ClassifyConfig:
        if self.keep_top is None:
            return self
        if not self.keep_top:
            raise ValueError("keep_top names no language; give shares such as {ko: 0.5, '*': 0.3}, or leave it out")
        if all(model.name != "quality" for model in self.models):
            raise ValueError("keep_top needs a quality model: add one named quality, or leave keep_top out")
        for language, share in self.keep_top.items():
            if not 0 <= share <= 1:
                raise ValueError(f"keep_top.{language} is {share:g}; give a share from 0 (none) to 1 (all)")
        return self
