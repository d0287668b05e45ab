"""Targets: shares hold, budgets and epoch caps hold, and what can't be had is refused with the largest budget that can."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.balance.config import PhaseConfig
from pipeline.balance.plan import Supply, human, plan_domain, plan_phase, water_fill
from pipeline.errors import UserError


def supply(language: str, domain: str, tokens: int) -> Supply:
    return Supply(language, domain, max(1, tokens // 100), tokens * 4, tokens)


def filled_by_bisection(total, weights, least, most):
    """The slow twin of water_fill: halve the interval of levels until it can't be halved."""
    low, high = 0.0, max(most / weights)
    for _ in range(200):
        middle = (low + high) / 2
        if np.clip(middle * weights, least, most).sum() < total:
            low = middle
        else:
            high = middle
    return np.clip(high * weights, least, most)


amounts = st.floats(0, 1e6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 100), amounts, amounts), min_size=1, max_size=12), st.floats(0, 1))
def test_water_fill_equals_its_twin_and_adds_up(rows, place):
    weights, one, two = (np.array(column) for column in zip(*rows, strict=True))
    least, most = np.minimum(one, two), np.maximum(one, two)
    total = least.sum() + place * (most.sum() - least.sum())
    result = water_fill(total, weights, least, most)
    assert np.all(result >= least) and np.all(result <= most)
    assert result.sum() == pytest.approx(total, rel=1e-9, abs=1e-6)
    assert result == pytest.approx(filled_by_bisection(total, weights, least, most), rel=1e-6, abs=1e-3)


def test_unimax_gives_small_domains_their_cap_and_the_others_the_same():
    phase = PhaseConfig(tokens=1000, languages={"ko": 1.0}, method="unimax", max_epochs=2)
    plan = plan_phase("general", phase, [supply("ko", "a", 50), supply("ko", "b", 400), supply("ko", "c", 9000)], "error")
    assert [target.tokens for target in plan.targets] == [100, 450, 450]


def test_temperature_lies_between_size_and_evenness():
    supplies = [supply("ko", "big", 90_000), supply("ko", "small", 10_000)]

    def share_of_small(method: str, alpha: float = 0.5) -> float:
        phase = PhaseConfig(tokens=10_000, languages={"ko": 1.0}, method=method, alpha=alpha)
        return plan_phase("general", phase, supplies, "error").targets[1].tokens / 10_000

    assert share_of_small("proportional") == pytest.approx(0.1)
    assert share_of_small("temperature") == pytest.approx(0.25, abs=1e-3)  # sqrt(1) / (sqrt(9) + sqrt(1))
    assert share_of_small("unimax") == pytest.approx(0.5)
    assert share_of_small("temperature", 1.0) == pytest.approx(0.1, abs=1e-3)


def test_limits_hold_where_the_method_would_go_past_them():
    supplies = [supply("ko", "web", 900_000), supply("ko", "law", 50_000), supply("ko", "math", 50_000)]
    phase = PhaseConfig(tokens=100_000, languages={"ko": 1.0}, domain_limits={"web": (0, 0.6), "math": (0.3, 1)})
    tokens = {target.supply.domain: target.tokens for target in plan_phase("general", phase, supplies, "error").targets}
    assert tokens["web"] == 60_000 and tokens["math"] == 30_000 and tokens["law"] == 10_000


SUPPLIES = st.dictionaries(
    st.tuples(st.sampled_from(["ko", "en"]), st.sampled_from(["a", "b", "c", "d"])), st.integers(1, 10**12), min_size=1
)


@settings(max_examples=60, deadline=None)
@given(
    SUPPLIES,
    st.floats(0.01, 0.99),
    st.floats(0.05, 0.9),
    st.sampled_from(["proportional", "temperature", "unimax"]),
    st.floats(1, 8),
    st.floats(0.0001, 1),
)
def test_every_feasible_budget_is_met_at_its_shares_and_no_larger_one(pairs, korean, domain, method, max_epochs, part):
    assume(all((language, "a") in pairs and any((language, label) in pairs for label in "bcd") for language in ("ko", "en")))
    supplies = [supply(language, label, tokens) for (language, label), tokens in pairs.items()]
    shares = {"ko": korean, "en": 1 - korean}
    base = {"languages": shares, "domains": {"a": domain}, "method": method, "max_epochs": max_epochs}
    try:
        largest = plan_phase("general", PhaseConfig(**base), supplies, "error").tokens
    except UserError:
        assume(False)
    budget = max(1, int(largest * part))
    plan = plan_phase("general", PhaseConfig(**base, tokens=budget), supplies, "error")
    total = sum(target.tokens for target in plan.targets)
    assert plan.tokens == budget and budget - 4 <= total <= budget  # each of four parts is rounded down to whole tokens
    for target in plan.targets:
        assert 0 <= target.tokens <= math.floor(target.supply.tokens * max_epochs)
    for language, share in shares.items():
        mine = [target for target in plan.targets if target.supply.language == language]
        assert sum(target.tokens for target in mine) == pytest.approx(budget * share, rel=1e-6, abs=5)
        assert mine[0].supply.domain == "a" and mine[0].tokens == pytest.approx(budget * share * domain, rel=1e-6, abs=2)
    with pytest.raises(UserError, match=f"tokens={largest},"):
        plan_phase("general", PhaseConfig(**base, tokens=largest + 1), supplies, "error")
    nearest = plan_phase("general", PhaseConfig(**base, tokens=largest + 1), supplies, "budget")
    assert nearest.tokens == largest and len(nearest.notes) == 1


def test_the_sentence_names_the_numbers_and_the_nearest_budget():
    phase = PhaseConfig(tokens=10**9, languages={"ko": 0.4, "en": 0.6})
    with pytest.raises(UserError) as caught:
        plan_phase("general", phase, [supply("en", "web", 420 * 10**6), supply("ko", "web", 10**9)], "error")
    assert str(caught.value) == (
        "phase general asks for 60% en of 1B tokens = 600M but only 420M x 1 epochs are available; the largest budget with these shares "
        "is 700M, and the nearest shares with this budget are en 42% instead of 60%, ko 58% instead of 40%: "
        "set balance.phases.general.tokens=700000000, raise max_epochs, or set balance.on_infeasible to budget or shares"
    )
    named = re.search(r"tokens=(\d+)", str(caught.value))
    assert named
    phase = phase.model_copy(update={"tokens": int(named[1])})
    plan = plan_phase("general", phase, [supply("en", "web", 420 * 10**6), supply("ko", "web", 10**9)], "error")
    assert sum(target.tokens for target in plan.targets) == 700 * 10**6


@pytest.mark.parametrize("on_infeasible", ["error", "budget", "shares"])
def test_a_language_without_documents_is_always_an_error(on_infeasible):
    with pytest.raises(UserError, match=r"there is no en document among the best 10%"):
        plan_phase("general", PhaseConfig(quality_top={"en": 0.1}), [supply("ko", "web", 100)], on_infeasible)


def test_a_named_domain_without_documents_is_an_error_or_is_shared_out_with_a_note():
    phase = PhaseConfig(languages={"ko": 1.0}, domains={"law": 0.5, "math": 0.25}, tokens=900)
    supplies = [supply("ko", "law", 1000), supply("ko", "web", 1000)]
    with pytest.raises(UserError, match=r"25% ko/math but there is no such document .the labels of ko are 'law', 'web'."):
        plan_phase("general", phase, supplies, "error")
    plan = plan_phase("general", phase, supplies, "shares")
    assert [target.tokens for target in plan.targets] == [600, 300] and "no document is ko/math" in plan.notes[0]


def test_a_label_with_a_least_share_must_be_there():
    phase = PhaseConfig(languages={"ko": 1.0}, domain_limits={"math": (0.2, 1.0)}, tokens=100)
    with pytest.raises(UserError, match="20% ko/math but there is no such document"):
        plan_phase("general", phase, [supply("ko", "web", 1000)], "error")
    assert "no document is ko/math" in plan_phase("general", phase, [supply("ko", "web", 1000)], "shares").notes[0]


def test_a_domain_with_share_zero_is_left_out():
    phase = PhaseConfig(languages={"ko": 1.0}, domains={"ads": 0.0})
    plan = plan_phase("general", phase, [supply("ko", "ads", 1000), supply("ko", "web", 500)], "error")
    assert [(target.supply.domain, target.tokens) for target in plan.targets] == [("web", 500)]


def test_limits_that_no_budget_can_meet_are_refused():
    phase = PhaseConfig(languages={"ko": 1.0}, domain_limits={"web": (0, 0.5), "law": (0, 0.3)})
    with pytest.raises(UserError, match="the most that domain_limits allow its labels is 80% in all"):
        plan_phase("general", phase, [supply("ko", "web", 1000), supply("ko", "law", 1000)], "error")


def test_counts_read_as_people_write_them():
    assert [human(count) for count in (0, 9120, 700_000_000, 1_250_000_000, 6_500_000_000_000)] == ["0", "9,120", "700M", "1.25B", "6.5T"]


def test_on_infeasible_shares_keeps_the_budget_and_changes_as_little_as_possible():
    phase = PhaseConfig(tokens=1000, languages={"ko": 0.5, "en": 0.5}, domains={"law": 0.5, "math": 0.3})
    supplies = [supply("ko", "law", 100), supply("ko", "math", 5000), supply("ko", "web", 5000), supply("en", "law", 240)]
    supplies += [supply("en", "math", 60), supply("en", "web", 40)]
    plan = plan_phase("general", phase, supplies, "shares")
    got = {(target.supply.language, target.supply.domain): target.tokens for target in plan.targets}
    assert plan.tokens == 1000 and sum(got.values()) in (999, 1000)
    assert (got["en", "law"], got["en", "math"], got["en", "web"], got["ko", "law"]) == (240, 60, 40, 100)  # all that is there
    assert got["ko", "math"] == pytest.approx(560 * 0.6, abs=1) and got["ko", "web"] == pytest.approx(560 * 0.4, abs=1)
    assert {(t.supply.language, t.supply.domain): t.share for t in plan.targets}["ko", "law"] == 0.25  # what was asked for
    assert "planned instead" in plan.notes[0] and "ko/law 10% instead of 25%" in plan.notes[0]
    with pytest.raises(UserError, match="no shares at all fill 100,000 tokens"):
        plan_phase("general", phase.model_copy(update={"tokens": 100_000}), supplies, "shares")


@settings(max_examples=80, deadline=None)
@given(SUPPLIES, st.floats(0.05, 0.95), st.floats(0.05, 0.9), st.floats(0.05, 1))
def test_the_nearest_shares_are_met_and_no_nearer_ones_exist(pairs, korean, domain, part):
    assume(all((language, "a") in pairs and any((language, label) in pairs for label in "bcd") for language in ("ko", "en")))
    supplies = [supply(language, label, tokens) for (language, label), tokens in pairs.items()]
    budget = max(1, int(sum(pairs.values()) * part))
    phase = PhaseConfig(languages={"ko": korean, "en": 1 - korean}, domains={"a": domain}, tokens=budget)
    try:
        plan = plan_phase("general", phase, supplies, "shares")
    except UserError as error:
        assert "no budget fits" in str(error)  # a share of one token or less
        return
    assert budget - 8 <= sum(target.tokens for target in plan.targets) <= budget
    for target in plan.targets:
        assert target.tokens <= target.supply.tokens
    # between languages: the least total change is what the scarce one lacks
    there = {language: sum(tokens for (code, _), tokens in pairs.items() if code == language) for language in ("ko", "en")}
    got = {language: sum(t.tokens for t in plan.targets if t.supply.language == language) for language in ("ko", "en")}
    for language, share in phase.language_shares.items():
        lacking = max(0.0, budget * share - there[language])
        given = max(0.0, budget * (1 - share) - there["en" if language == "ko" else "ko"])
        assert got[language] == pytest.approx(budget * share - lacking + given, rel=1e-6, abs=8)


def replayed(tokens, replay, on_infeasible="error", general_tokens=1000):
    supplies = [supply("ko", "law", 10_000), supply("ko", "web", 10_000), supply("en", "web", 10_000)]
    general = plan_phase("general", PhaseConfig(tokens=general_tokens, languages={"ko": 0.6, "en": 0.4}), supplies, "error")
    phase = PhaseConfig(tokens=tokens, languages={"ko": 1.0}, domains={"law": 1.0}, replay=replay)
    return general, plan_domain("domain", phase, supplies, general, on_infeasible)


def test_replay_repeats_the_general_phase_in_its_proportions():
    general, plan = replayed(2000, 0.25)
    assert sum(target.tokens for target in plan.targets) == 1500 and plan.tokens == 2000
    asked = {(target.supply.language, target.supply.domain): target.tokens for target in general.targets}
    assert {(t.supply.language, t.supply.domain): t.tokens for t in plan.replay} == {pair: tokens // 2 for pair, tokens in asked.items()}
    assert replayed(2000, 0.0)[1].replay == ()


def test_replay_of_more_than_there_is():
    with pytest.raises(
        UserError, match=r"replays 25% of 8,000 tokens but phase general has only 1,000; set balance.phases.domain.tokens=4000"
    ):
        replayed(8000, 0.25)
    _, plan = replayed(8000, 0.25, "budget")
    assert plan.tokens == 4000 and sum(target.tokens for target in plan.replay) == 1000 and "at most 4,000" in plan.notes[0]
    _, plan = replayed(None, 0.25)  # as many as possible: bounded by the replay here
    assert plan.tokens == 4000 and plan.largest == 4000


def test_limits_are_shares_of_the_language_also_where_its_share_changes():
    supplies = [supply("ko", "law", 10_000), supply("ko", "web", 10_000), supply("en", "law", 100), supply("en", "web", 200)]
    for limits in ({"web": (0.5, 1.0)}, {"web": (0.0, 0.5)}, {"web": (0.0, 0.6), "law": (0.0, 0.6)}):
        plan = plan_phase("general", PhaseConfig(tokens=1000, domain_limits=limits), supplies, "shares")
        assert 997 <= sum(target.tokens for target in plan.targets) <= 1000
        for language in ("ko", "en"):
            mine = {t.supply.domain: t.tokens for t in plan.targets if t.supply.language == language}
            for label, (least, most) in limits.items():
                assert least * sum(mine.values()) - 2 <= mine[label] <= most * sum(mine.values()) + 2


def test_a_domain_phase_speaks_of_its_own_budget_beside_its_replay():
    supplies = [supply("ko", "law", 1_000)]
    general = plan_phase("general", PhaseConfig(languages={"ko": 1.0}, max_epochs=9), supplies, "error")
    phase = PhaseConfig(tokens=10_000, languages={"ko": 1.0}, replay=0.5)
    with pytest.raises(UserError, match=r"set balance.phases.domain.tokens=2000,") as caught:
        plan_domain("domain", phase, supplies, general, "error")
    assert "beside its replay" in str(caught.value)
    assert plan_domain("domain", phase.model_copy(update={"tokens": 2000}), supplies, general, "error").tokens == 2000
