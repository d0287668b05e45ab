"""The stage that carries out a plan: how often each document appears in each phase, and why a document appears in none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipeline.balance.choice import LOW_QUALITY, NOT_IN_LANGUAGE, OVER_BUDGET, PhaseChoice
from pipeline.balance.groups import Codes, Documents, describe
from pipeline.balance.sample import sampling_keys
from pipeline.balance.weights import RatioFile, weighed
from pipeline.schema import with_columns

_LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,3}|mixed")


@dataclass(frozen=True)
class Choose:
    """Writes tokens, the epochs of each phase and what training needs to know; drops a document that is in no phase.

    Reasons: over_budget, low_quality, domain_not_in_mix:<label>, language_not_in_mix:<lang>. A decision needs only the row itself, so it
    is the same in any batch and any order. Also reads text_bytes, lang, domain, quality and rehydration_weight where the table has them.
    """

    name: ClassVar[str] = "balance"
    version: ClassVar[str] = "3"
    reads: ClassVar[frozenset[str]] = frozenset({"id", "text"})
    writes: ClassVar[frozenset[str]] = frozenset({"tokens", "epochs_general", "epochs_domain", "replay_epochs", "long_document"})

    language_of: dict[str, str]
    bytes_per_token: dict[str, float]
    long_document_tokens: int
    phases: tuple[PhaseChoice, ...]
    ratios: tuple[RatioFile, ...] = ()

    def __call__(self, table: pa.Table) -> pa.Table:
        documents = weighed(describe(table, self.language_of, self.bytes_per_token), table, self.ratios)
        keys = {phase.name: sampling_keys(table.column("id"), phase.queue.seed) for phase in self.phases}
        reached = np.zeros(len(table), np.int64)
        epochs = {name: np.zeros(len(table), np.int32) for name in ("epochs_general", "epochs_domain", "replay_epochs")}
        for phase in self.phases:
            taken, repeated, stop = phase.epochs(documents, keys)
            epochs[f"epochs_{phase.name}"] = taken
            epochs["replay_epochs"] += repeated
            reached = np.maximum(reached, stop)
        in_none = (epochs["epochs_general"] == 0) & (epochs["epochs_domain"] == 0)
        unknown = documents.tokens < 0
        facts = {
            "tokens": pa.array(documents.tokens, mask=unknown),
            "long_document": pa.array(documents.tokens >= self.long_document_tokens, mask=unknown),
        }
        return with_columns(table, {**facts, **epochs, "drop_reason": _reasons(documents, reached, in_none)})


def _reasons(documents: Documents, reached: Codes, in_none: np.ndarray) -> pa.Array:
    """The drop_reason of each document; null for those in some phase."""
    fixed = [None, "over_budget", "low_quality"]
    languages = [f"language_not_in_mix:{name if _LANGUAGE_CODE.fullmatch(name) else 'invalid'}" for name in documents.languages]
    domains = [f"domain_not_in_mix:{name[:60]}" for name in documents.domains]
    code = np.select(
        [~in_none, reached == OVER_BUDGET, reached == LOW_QUALITY, reached == NOT_IN_LANGUAGE],
        [0, 1, 2, len(fixed) + documents.language_code],
        len(fixed) + len(languages) + documents.domain_code,
    )
    return pa.array([*fixed, *languages, *domains], pa.string()).take(pa.array(code))
