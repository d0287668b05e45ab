"""Mixtures that make no sense are refused with a sentence; those that do give normalised shares."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from pipeline.balance.config import BalanceConfig, PhaseConfig, PhasesConfig


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"phases": {"general": {"languages": {"ko": 0.6, "en": 0.5}}}}, "sum to 1.1"),
        ({"phases": {"general": {"languages": {}}}}, "sum to 0"),
        ({"phases": {"general": {"languages": {"../ko": 1.0}}}}, "can't name a folder"),
        ({"phases": {"general": {"languages": {"ko": -0.5, "en": 1.5}}}}, "greater than or equal to 0"),
        ({"phases": {"general": {"languages": {"ja": 1.0}}}}, "bytes_per_token has no entry"),
        ({"phases": {"general": {"domains": {"law": 0.7, "news": 0.4}}}}, "may not exceed 1"),
        ({"phases": {"general": {"domains": {"law": 0.7, "other": 0.4}}}}, "domains sum to 1.1"),
        ({"phases": {"general": {"domains": {"law": 0.5}, "domain_limits": {"law": [0, 1]}}}}, "settles already"),
        ({"phases": {"general": {"domain_limits": {"law": [0.5, 0.2]}}}}, "first number is the least"),
        ({"phases": {"general": {"domains": {"law": 0.5}, "domain_limits": {"news": [0.6, 1]}}}}, "at least 0.6"),
        ({"phases": {"general": {"max_epochs": 0.5}}}, "greater than or equal to 1"),
        ({"phases": {"general": {"tokens": 0}}}, "greater than or equal to 1"),
        ({"phases": {"general": None}}, "at least one phase"),
        ({"phases": {"general": {"langauges": {"ko": 1.0}}}}, "did you mean 'languages'"),
        ({"language_of": {"ko": "en"}}, "share of its own"),
        ({"bytes_per_token": {"ko": 0.0, "en": 4.0}}, "greater than 0"),
        ({"bytes_per_token": {"ko": float("nan"), "en": 4.0}}, "bytes_per_token"),
    ],
)
def test_a_wrong_mixture_is_refused(settings, words):
    with pytest.raises(ValidationError) as caught:
        BalanceConfig.model_validate(settings)
    assert words in str(caught.value)


def test_shares_are_normalised_and_languages_without_a_share_are_left_out():
    phase = PhaseConfig(languages={"ko": 0.6000001, "en": 0.4, "ja": 0.0}, domains={"law": 0.25})
    assert list(phase.language_shares) == ["en", "ko"] and sum(phase.language_shares.values()) == pytest.approx(1, abs=1e-15)
    assert phase.rest_share == 0.75
    assert PhaseConfig(domains={"law": 0.25, "other": 0.75}).rest_share == 0.75
    assert PhaseConfig(domains={"law": 0.25, "news": 0.75}).rest_share == 0.0
    assert PhaseConfig(domains={"law": 1.0, "other": 0.0}).rest_share == 0.0


@pytest.mark.parametrize("model", [BalanceConfig, PhasesConfig, PhaseConfig])
def test_every_key_is_described(model: type[BaseModel]):
    assert all(field.description for field in model.model_fields.values())
