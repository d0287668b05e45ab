"""Sources: the documents that a stage of training draws from, and how they are cut into chunks of one length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SourceSpec:
    """What a source is, as plain data: the plan's fingerprint covers it.

    shards: folder of `onnuri tokenizer encode`. where: values of the shard groups to take, by key (phase, lang, source, domain); an absent
    key takes all. length: tokens of a chunk. packing: `concat` cuts the concatenated documents, `best_fit` puts whole documents
    into chunks and pads. min_tokens, long_only: documents to leave out. epochs: passes over every document; None: each document as
    often as balance decided. balance_replay: with None, whether that includes what balance repeats of an earlier phase. holdout: share of
    the documents that belongs to validation, by a hash of their ids; held_out: whether this source is those, or all others.
    """

    name: str
    shards: str
    where: Mapping[str, tuple[str, ...]]
    length: int
    packing: Literal["concat", "best_fit"] = "concat"
    min_tokens: int = 0
    long_only: bool = False
    epochs: int | None = None
    balance_replay: bool = False
    holdout: float = 0.0
    held_out: bool = False
