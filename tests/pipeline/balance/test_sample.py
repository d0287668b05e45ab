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

from pipeline.balance import tally as tally_module
from pipeline.balance.config import PhaseConfig
from pipeline.balance.groups import describe
from pipeline.balance.plan import plan_phase
from pipeline.balance.quality import STEPS, ScaleSample, band_names, bands_of
from pipeline.balance.queue import Queue
from pipeline.balance.sample import estimated_tokens, limit_for, phase_seed, sampling_keys, weighted_keys
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


SEED = phase_seed(0, "general")
RATE = {"ko": 4.0, "en": 4.3}


def batches_of(rows, sizes):
    start = 0
    for size in sizes:
        table = table_of(rows[start : start + size])
        start += size
        yield CountedBatch(describe(table, {"mixed": "ko"}, RATE), {"general": sampling_keys(table.column("id"), SEED)})


def scale_of(rows, sizes):
    sample = ScaleSample()
    for batch in batches_of(rows, sizes):
        sample.add(batch.documents, batch.keys["general"])
    return sample.scale()


def cuts_of(rows, sizes, phase):
    queue = Queue.of("general", phase, SEED, scale_of(rows, sizes))
    tally = Tally(queue)
    for batch in batches_of(rows, sizes):
        tally.add(batch)
    targets = plan_phase("general", phase, tally.supplies(), "error")
    cutter = tally.cutter(targets.targets)
    passes = 0
    while not passes or not cutter.settled():
        for batch in batches_of(rows, sizes):
            cutter.add(batch)
        passes += 1
    return targets, cutter.cuts(), queue


def expected_queue(rows, queue, language, domain):
    """(place in the queue, tokens) of a group's documents in order, one by one: the slow twin."""
    members = []
    for row in rows:
        table = table_of([row])
        documents = describe(table, {"mixed": "ko"}, RATE)
        wanted, good = queue.eligible(documents)
        if documents.mix_languages[0] == language and documents.domains[0] == domain and wanted[0] and good[0]:
            place = queue.order(documents, sampling_keys(table.column("id"), SEED))[0]
            members.append((int(place), math.ceil(row["text_bytes"] / RATE[language]) * int(queue.copies(documents)[0])))
    return sorted(members)


@pytest.mark.parametrize("near", [1, 1 << 20])
@pytest.mark.parametrize("rules", [{}, {"quality_top": {"ko": 0.7}}, {"quality_tilt": 50.0}])
@pytest.mark.parametrize("part", [0.001, 0.5, 0.93])
def test_cuts_in_passes_equal_sorting_the_whole_group(part, rules, near, monkeypatch):
    monkeypatch.setattr(tally_module, "MOST_NEAR", near)
    rows = documents(1200, seed=3)
    settings = {"languages": {"ko": 0.6, "en": 0.4}, "domains": {"law": 0.2}, **rules}
    largest = cuts_of(rows, [1200], PhaseConfig(**settings))[0].largest
    targets, cuts, queue = cuts_of(rows, [1200], PhaseConfig(**settings, tokens=int(largest * part)))
    for target in targets.targets:
        cut = cuts[target.supply.language, target.supply.domain]
        members = expected_queue(rows, queue, cut.language, cut.domain)
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
    phase = PhaseConfig(languages={"ko": 0.5, "en": 0.5}, tokens=20_000, method="unimax", quality_tilt=9, quality_top={"en": 0.8})
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


def test_a_weight_of_w_is_chosen_w_times_as_often():
    keys = np.random.default_rng(5).integers(0, 2**64, 200_000, np.uint64)
    heavy = np.arange(200_000) % 2 == 0
    order = weighted_keys(keys, np.where(heavy, math.log(4.0), 0.0))
    first = np.argsort(order)[:10_000]  # so few that hardly any heavy one is used up
    assert heavy[first].mean() == pytest.approx(0.8, abs=0.02)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50, unique=True),
    st.floats(-1e9, 1e9),
)
def test_equal_weights_keep_the_order_of_the_keys_and_any_weight_is_in_range(values, log_weight):
    keys = np.array(sorted(values), np.uint64)
    order = weighted_keys(keys, np.full(len(keys), log_weight))
    assert np.all(order[1:] >= order[:-1])


def test_a_larger_weight_never_stands_further_behind():
    keys = np.random.default_rng(6).integers(0, 2**64, 1000, np.uint64)
    assert np.all(weighted_keys(keys, np.ones(1000)) <= weighted_keys(keys, np.zeros(1000)))


def test_the_scale_keeps_at_least_the_share_asked_for_and_ties_together():
    rows = [
        {**row, "lang": "ko", "quality": chance} for row, chance in zip(documents(997), np.random.default_rng(7).random(997), strict=True)
    ]
    for row in rows[:200]:
        row["quality"] = 0.5
    scale = scale_of(rows, [997])
    [batch] = batches_of(rows, [997])
    ranks = scale.ranks(batch.documents)
    assert len(scale.points["ko"]) == STEPS - 1 and list(scale.points["ko"]) == sorted(scale.points["ko"])
    for share in (0.001, 0.1, 0.25, 0.9, 1.0):
        kept = (ranks >= 1 - share - 1e-9).mean()
        assert share <= kept <= share + (201 if share not in (0.001, 0.1) else 2) / 997
    tied = ranks[batch.documents.quality == 0.5]
    assert len(set(tied.tolist())) == 1


def test_a_scale_from_a_sample_depends_on_no_order(monkeypatch):
    rows = documents(3000, seed=8)

    def sampled(rows, sizes):
        sample = ScaleSample(size=100)
        for batch in batches_of(rows, sizes):
            sample.add(batch.documents, batch.keys["general"])
        return sample.scale()

    shuffled = rows.copy()
    random.Random(2).shuffle(shuffled)
    assert sampled(rows, [3000]) == sampled(shuffled, [10, 990, 2000])
    whole = scale_of(rows, [3000])
    assert np.abs(np.array(sampled(rows, [3000]).points["ko"]) - np.array(whole.points["ko"])).max() < 0.25


def test_bands_part_ranks_and_name_themselves():
    assert band_names((0.5, 0.9)) == ["0-50 %", "50-90 %", "90-100 %", "none"]
    assert bands_of(np.array([0.0, 0.499, 0.5, 0.9, 0.999, np.nan]), (0.5, 0.9)).tolist() == [0, 0, 1, 2, 2, 3]
