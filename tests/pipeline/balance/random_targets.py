"""Random feasible mixtures of a small corpus, and how far what they give is from what they ask for."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import assume
from hypothesis import strategies as st

from pipeline.balance.choice import GroupChoice, PhaseChoice
from pipeline.balance.config import PhaseConfig
from pipeline.balance.groups import Documents, describe
from pipeline.balance.plan import plan_phase
from pipeline.balance.quality import ScaleSample
from pipeline.balance.queue import Queue
from pipeline.balance.sample import phase_seed, sampling_keys
from pipeline.balance.tally import CountedBatch, Tally
from pipeline.errors import UserError
from tests.pipeline.balance.corpus import documents, table_of

SEED = phase_seed(0, "general")


def counted_corpus(count: int, seed: int) -> CountedBatch:
    """A corpus of Korean and English documents of lognormal size in four skewed domains, as balance counts it."""
    table: pa.Table = table_of(documents(count, seed, ("ko", "en")))
    return CountedBatch(describe(table, {}, {"ko": 4.6, "en": 4.2}), {"general": sampling_keys(table.column("id"), SEED)})


@st.composite
def targets(draw: st.DrawFn) -> dict[str, Any]:
    """A phase's settings: shares, method, epochs, quality rules, and the part of the largest feasible budget that it asks for."""
    korean = draw(st.floats(0.05, 0.95))
    law, science = draw(st.floats(0.02, 0.45)), draw(st.floats(0.02, 0.45))
    return {
        "languages": {"ko": korean, "en": 1 - korean},
        "domains": draw(st.sampled_from([{}, {"law": law}, {"law": law, "science": science}])),
        "method": draw(st.sampled_from(["proportional", "temperature", "unimax"])),
        "max_epochs": draw(st.sampled_from([1.0, 1.5, 4.0])),
        "quality_top": draw(st.sampled_from([{}, {"ko": 0.5}, {"ko": 0.7, "en": 0.4}])),
        "quality_tilt": draw(st.sampled_from([1.0, 10.0])),
        "rehydrate": draw(st.booleans()),
        "part": draw(st.floats(0.02, 1.0)),
    }


def chosen(batch: CountedBatch, settings: dict[str, Any]) -> tuple[PhaseConfig, Any, np.ndarray, Queue]:
    """Plan and choose: the phase, its targets, the epochs of each document, and the queue. Raises UserError where no budget fits."""
    part = settings["part"]
    rules = {key: value for key, value in settings.items() if key != "part"}
    sample = ScaleSample()
    sample.add(batch.documents, batch.keys["general"])
    queue = Queue.of("general", PhaseConfig(**rules), SEED, sample.scale())
    tally = Tally(queue)
    tally.add(batch)
    largest = plan_phase("general", PhaseConfig(**rules), tally.supplies(), "error").tokens
    phase = PhaseConfig(**rules, tokens=max(1, int(largest * part)))
    plan = plan_phase("general", phase, tally.supplies(), "error")
    cutter = tally.cutter(plan.targets)
    cutter.add(batch)
    while not cutter.settled():
        cutter.add(batch)
    groups = tuple(GroupChoice(cut.language, cut.domain, cut.whole_epochs, cut.limit) for cut in cutter.cuts().values())
    epochs, _, _ = PhaseChoice(queue, groups).epochs(batch.documents, batch.keys)
    return phase, plan, epochs, queue


def worst_errors(batch: CountedBatch, settings: dict[str, Any]) -> list[str]:
    """What a mixture misses: a budget that is exceeded, or a share that is off by 0.5 % of the phase and by more than one document."""
    try:
        choice = chosen(batch, settings)
    except UserError:
        assume(False)
    return missed_by(batch, *choice)[0]


def missed_by(batch: CountedBatch, phase: PhaseConfig, plan: Any, epochs: np.ndarray, queue: Queue) -> tuple[list[str], list[float]]:
    """What `worst_errors` says, and of each group the share of the phase that it lacks."""
    found, lacking, documents = [], [], batch.documents
    worth = documents.tokens * queue.copies(documents)
    got: dict[tuple[str, str], int] = defaultdict(int)
    largest: dict[tuple[str, str], int] = defaultdict(int)
    for row, pair in enumerate(_pairs(documents)):
        got[pair] += int(epochs[row] * documents.tokens[row])
        largest[pair] = max(largest[pair], int(worth[row]))
    total = sum(got.values())
    if phase.tokens is None or total > phase.tokens:
        found.append(f"{total} tokens of {phase.tokens}")
    for target in plan.targets:
        pair = target.supply.language, target.supply.domain
        missed = target.tokens - got[pair]
        lacking.append(missed / plan.tokens)
        if missed < 0 or (missed > 0.005 * plan.tokens and missed >= largest[pair]):
            found.append(f"{pair}: {got[pair]} of {target.tokens}")
    for language, share in phase.language_shares.items():
        mine = sum(tokens for (code, _), tokens in got.items() if code == language)
        allowed = max(0.005 * plan.tokens, sum(size for (code, _), size in largest.items() if code == language)) + 8
        if abs(mine - share * plan.tokens) > allowed:
            found.append(f"{language}: {mine} of {share * plan.tokens:.0f}")
    return found, lacking


def _pairs(documents: Documents) -> list[tuple[str, str]]:
    codes = zip(documents.language_code.tolist(), documents.domain_code.tolist(), strict=True)
    return [(documents.mix_languages[language], documents.domains[domain]) for language, domain in codes]
