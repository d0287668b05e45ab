"""The order-free choice: prefixes of one queue per group, nested, within the budget, the same for any batching and order."""

from __future__ import annotations

import math
import random

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.balance.config import PhaseConfig
from pipeline.balance.groups import describe
from pipeline.balance.plan import plan_phase
from pipeline.balance.sample import estimated_tokens, limit_for, phase_seed, sampling_keys
from pipeline.balance.tally import BINS, CountedBatch, Tally
from tests.pipeline.balance.corpus import documents, table_of


def test_keys_are_xxh3_of_the_id_under_the_seed_of_the_phase():
    seed = phase_seed(7, "general")
    assert seed == xxhash.xxh3_64(b"7/general").intdigest() != phase_seed(7, "domain")
    keys = sampling_keys(pa.array(["a", "한국어", None]), seed)
    assert keys.tolist() == [xxhash.xxh3_64(text.encode(), seed).intdigest() for text in ("a", "한국어", "")]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**7), st.sampled_from([4.0, 4.6, 0.3, float("nan")])), max_size=30))
def test_tokens_are_rounded_up_and_unknown_without_a_rate(rows):
    sizes, rates = np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float64)
    expected = [-1 if math.isnan(rate) else math.ceil(size / rate) for size, rate in rows]
    assert estimated_tokens(sizes, rates).tolist() == expected


QUEUE = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 100)), min_size=1, max_size=60)


@settings(deadline=None)
@given(QUEUE, st.floats(0, 0.999))
def test_the_limit_takes_the_longest_prefix_within_the_budget(rows, part):
    keys, tokens = np.array([row[0] for row in rows], np.uint64), np.array([row[1] for row in rows], np.int64)
    budget = int(tokens.sum() * part)
    if budget >= tokens.sum():
        return
    limit, count, taken = limit_for(keys, tokens, budget)
    queue: dict[int, int] = {}
    for key, size in sorted(rows):
        queue[key] = queue.get(key, 0) + size
    spent, expected = 0, []
    for key, size in queue.items():
        if spent + size > budget:
            break
        spent += size
        expected.append(key)
    assert [key for key in sorted(queue) if key < limit] == expected
    assert (count, taken) == (sum(key in expected for key, _ in rows), spent) and taken <= budget


def test_a_budget_that_takes_everything_has_no_limit():
    with pytest.raises(ValueError, match="no limit"):
        limit_for(np.array([1, 2], np.uint64), np.array([5, 5], np.int64), 10)


def batches_of(rows, sizes):
    seeds = {"general": phase_seed(0, "general")}
    start = 0
    for size in sizes:
        table = table_of(rows[start : start + size])
        start += size
        described = describe(table, {"mixed": "ko"}, {"ko": 4.0, "en": 4.3})
        yield CountedBatch(described, {name: sampling_keys(table.column("id"), seed) for name, seed in seeds.items()})


def cuts_of(rows, sizes, phase):
    tally = Tally.of("general", phase)
    for batch in batches_of(rows, sizes):
        tally.add(batch)
    targets = plan_phase("general", phase, tally.supplies(), "error")
    cutter = tally.cutter(targets)
    for batch in batches_of(rows, sizes):
        cutter.add(batch)
    return targets, cutter.cuts()


@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.93])
def test_cuts_in_two_passes_equal_sorting_the_whole_group(part):
    rows = documents(3000, seed=3)
    phase = PhaseConfig(languages={"ko": 0.6, "en": 0.4}, domains={"law": 0.2}, min_quality=0.2)
    largest = cuts_of(rows, [3000], phase)[0].largest
    phase = PhaseConfig(**{**phase.model_dump(), "tokens": int(largest * part)})
    targets, cuts = cuts_of(rows, [3000], phase)
    rate = {"ko": 4.0, "en": 4.3}
    for target in targets.targets:
        cut = cuts[target.supply.language, target.supply.domain]
        members = sorted(
            (xxhash.xxh3_64_intdigest(row["id"].encode(), phase_seed(0, "general")), math.ceil(row["text_bytes"] / rate[cut.language]))
            for row in rows
            if {"mixed": "ko"}.get(row["lang"], row["lang"]) == cut.language
            and (row["domain"] or "other") == cut.domain
            and (row["quality"] is None or row["quality"] >= 0.2)
        )
        spent, taken = 0, []
        for key, tokens in members:
            if spent + tokens > target.tokens:
                break
            spent += tokens
            taken.append(key)
        assert [key for key, _ in members if key < cut.limit] == taken
        assert (cut.whole_epochs, cut.documents, cut.tokens) == (0, len(taken), spent)


def test_cuts_depend_neither_on_order_nor_on_batches():
    rows = documents(2000, seed=4)
    phase = PhaseConfig(languages={"ko": 0.5, "en": 0.5}, tokens=20_000, method="unimax")
    first = cuts_of(rows, [2000], phase)[1]
    shuffled = rows.copy()
    random.Random(1).shuffle(shuffled)
    assert cuts_of(shuffled, [1, 700, 0, 1299], phase)[1] == first


def test_documents_of_equal_id_go_together():
    rows = [{**row, "id": "the same"} for row in documents(50, languages=("ko",))]
    phase = PhaseConfig(languages={"ko": 1.0}, domains={"news": 1.0}, tokens=100)
    assert cuts_of(rows, [50], phase)[1]["ko", "news"].documents == 0


def test_bins_cover_the_whole_key_range():
    assert BINS == 4096 and (np.uint64(2**64 - 1) >> np.uint64(64 - 12)) == BINS - 1
