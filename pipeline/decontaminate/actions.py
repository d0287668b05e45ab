"""What is done about a match: the action and the policy of its benchmark, and so the fate of its document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from decontam import Policy, decisive

Action = Literal["drop", "mask", "tag"]
TAG, MASK, DROP = range(3)
_CODES = {"tag": TAG, "mask": MASK, "drop": DROP}


@dataclass(frozen=True)
class Override:
    """The action and policy of the benchmarks that `pattern`, a name or a glob, fits."""

    pattern: str
    action: Action
    policy: Policy


@dataclass(frozen=True)
class Actions:
    """The action and policy of every benchmark: those of the first override that fits its name, else the common ones."""

    action: Action = "drop"
    policy: Policy = field(default_factory=Policy)
    overrides: tuple[Override, ...] = ()

    def of(self, benchmark: str) -> tuple[Action, Policy]:
        """(action, policy) of one benchmark."""
        override = next((one for one in self.overrides if fits(one.pattern, benchmark)), None)
        return (override.action, override.policy) if override else (self.action, self.policy)

    @property
    def masks(self) -> bool:
        """Whether any match may be cut out."""
        return "mask" in {self.action, *(override.action for override in self.overrides)}

    def decide(self, matches: pa.Table) -> np.ndarray:
        """int8[m]: TAG, MASK or DROP for each match by itself (MATCH_SCHEMA with `corpus_documents`)."""
        codes = np.full(len(matches), TAG, np.int8)
        for benchmark in pc.unique(matches["benchmark"]).to_pylist():
            action, policy = self.of(benchmark)
            own = np.flatnonzero(pc.equal(matches["benchmark"], benchmark).to_numpy())
            found = decisive(matches.take(pa.array(own)), policy).to_numpy(zero_copy_only=False)
            codes[own[found]] = _CODES[action]
        return codes


def fits(pattern: str, benchmark: str) -> bool:
    """Whether a pattern is the benchmark's name or a glob that fits it."""
    return pattern == benchmark or fnmatchcase(benchmark, pattern)


def unfitting(patterns: Iterable[str], benchmarks: Iterable[str]) -> str | None:
    """The first pattern that fits no benchmark."""
    names = list(benchmarks)
    return next((pattern for pattern in patterns if not any(fits(pattern, name) for name in names)), None)
