"""Shapes and costs against published numbers."""

from __future__ import annotations

import json

import pytest

from pipeline.__main__ import main
from pipeline.errors import UserError
from training.flops import H100_PEAK, PUBLISHED, attention_flops, cost, flops_per_token
from training.model_config import PRESETS, ModelConfig


@pytest.mark.parametrize(("preset", "parameters"), [("2.4b", 2_405_327_360), ("7.8b", 7_818_448_896), ("32b", 32_003_200_000)])
def test_parameters_come_out_exactly(preset, parameters):
    assert PRESETS[preset].parameters == parameters


def test_parameters_are_those_of_the_matrices():
    """Against a sum over every tensor's shape, as a checkpoint would list them."""
    for config in (*PRESETS.values(), ModelConfig(48, 3, 6, 2, 8, 100, vocab_size=97, tied=True)):
        h, inner, kv = config.hidden_size, config.heads * config.head_dim, config.kv_heads * config.head_dim
        layer = [(inner, h), (kv, h), (kv, h), (h, inner), *[(config.intermediate_size, h)] * 3, (h, 1), (h, 1)]
        shapes = [(config.vocab_size, h)] * (1 if config.tied else 2) + layer * config.layers + [(h, 1)]
        assert sum(rows * columns for rows, columns in shapes) == config.parameters


@pytest.mark.parametrize(("preset", "published"), [("2.4b", "9.36e+22"), ("7.8b", "4.21e+23"), ("32b", "1.25e+24")])
def test_the_published_table(preset, published):
    found = cost(preset, None, 4096, 0.4, H100_PEAK)
    assert f"{found.published:.2e}" == published
    assert found.six_nd == pytest.approx(found.published, rel=0.005)
    assert cost(preset, 1e12, 4096, 0.4, H100_PEAK).published is None


def test_attention_grows_with_the_sequence_and_nothing_else_does():
    for config in PRESETS.values():
        assert flops_per_token(config, 8192) - flops_per_token(config, 4096) == attention_flops(config, 4096)
        forward = 2 * 2 * config.heads * config.head_dim * 4096 * config.layers  # scores and their sum, a multiply-add as two
        assert attention_flops(config, 4096) == 3 * forward


def test_the_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "flops", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0 and [row["model"] for row in rows] == list(PUBLISHED)
    hours = rows[0]["with_attention"] / (0.4 * H100_PEAK * 3600)
    assert rows[0]["gpu_hours"] == pytest.approx(hours)
    for arguments, sentence in ((["--preset", "70b"], "no preset '70b'"), (["--mfu", "1.5"], "mfu above 0"), (["--tokens", "0"], "tokens")):
        with pytest.raises(SystemExit) as ended:
            main(["train", "flops", *arguments])
        assert ended.value.code == 2 and sentence in capsys.readouterr().err


def test_a_sequence_longer_than_the_model():
    with pytest.raises(UserError, match="has 32,768 positions"):
        cost("2.4b", None, 65_536, 0.4, H100_PEAK)
