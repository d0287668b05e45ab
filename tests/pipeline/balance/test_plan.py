"""Targets: shares hold, budgets and epoch caps hold, and what can't be had is refused with the largest budget that can."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.balance.config import PhaseConfig
from pipeline.balance.plan import Supply, human, plan_phase, water_fill
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
    nearest = plan_phase("general", PhaseConfig(**base, tokens=largest + 1), supplies, "nearest")
    assert nearest.tokens == largest and len(nearest.notes) == 1


def test_the_sentence_names_the_numbers_and_the_nearest_budget():
    phase = PhaseConfig(tokens=10**9, languages={"ko": 0.4, "en": 0.6})
    with pytest.raises(UserError) as caught:
        plan_phase("general", phase, [supply("en", "web", 420 * 10**6), supply("ko", "web", 10**9)], "error")
    assert str(caught.value) == (
        "phase general asks for 60% en of 1B tokens = 600M but only 420M x 1 epochs are available; the largest budget with these shares "
        "is 700M: set balance.phases.general.tokens=700000000, raise max_epochs, or set balance.on_infeasible to nearest"
    )
    named = re.search(r"tokens=(\d+)", str(caught.value))
    assert named
    phase = phase.model_copy(update={"tokens": int(named[1])})
    plan = plan_phase("general", phase, [supply("en", "web", 420 * 10**6), supply("ko", "web", 10**9)], "error")
    assert sum(target.tokens for target in plan.targets) == 700 * 10**6


@pytest.mark.parametrize("on_infeasible", ["error", "nearest"])
def test_a_language_without_documents_is_always_an_error(on_infeasible):
    with pytest.raises(UserError, match=r"there is no en document of quality 0\.9 or better"):
        plan_phase("general", PhaseConfig(min_quality=0.9), [supply("ko", "web", 100)], on_infeasible)


def test_a_named_domain_without_documents_is_an_error_or_is_shared_out_with_a_note():
    phase = PhaseConfig(languages={"ko": 1.0}, domains={"law": 0.5, "math": 0.25}, tokens=900)
    supplies = [supply("ko", "law", 1000), supply("ko", "web", 1000)]
    with pytest.raises(UserError, match="25% ko/math but there is no such document"):
        plan_phase("general", phase, supplies, "error")
    plan = plan_phase("general", phase, supplies, "nearest")
    assert [target.tokens for target in plan.targets] == [600, 300] and "no document is ko/math" in plan.notes[0]


def test_a_label_with_a_least_share_must_be_there():
    phase = PhaseConfig(languages={"ko": 1.0}, domain_limits={"math": (0.2, 1.0)}, tokens=100)
    with pytest.raises(UserError, match="20% ko/math but there is no such document"):
        plan_phase("general", phase, [supply("ko", "web", 1000)], "error")
    assert "no document is ko/math" in plan_phase("general", phase, [supply("ko", "web", 1000)], "nearest").notes[0]


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
