"""The decoder against transformers' Llama, and documents packed together against the same documents alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from tests.training.model_scene import SHORT, TINY, gradients, llama, llama_with, loss_of, packed_batch, random_decoder
from training.batch import Segments
from training.model import INITIAL_STD, Decoder, initialise
from training.model_config import PRESETS, ModelConfig
from training.rope import frequencies

CONFIGS = {
    "tied, head_dim 80": ModelConfig(160, 2, 2, 1, 80, 96, vocab_size=89, tied=True, rope_scaling=SHORT),
    "untied, head_dim 128": ModelConfig(64, 2, 4, 2, 128, 96, vocab_size=89, rope_scaling=SHORT),
    "tied, no scaling": replace(TINY, rope_scaling=None, rope_theta=1e6),
    "untied, no grouping": replace(TINY, tied=False, kv_heads=4),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_and_gradients_are_those_of_transformers(name):
    """96 positions are three times the original length of SHORT."""
    config = CONFIGS[name]
    ours = random_decoder(config)
    theirs = llama_with(ours)
    batch = packed_batch(config, [[96], [96]])
    logits = theirs(batch.ids).logits
    assert_close(ours(batch.ids, batch.segments), logits, rtol=1e-5, atol=1e-5)

    cross_entropy(logits.flatten(0, 1), batch.targets.flatten()).backward()
    loss_of(ours, batch).backward()
    reference = {name.removeprefix("model."): grad for name, grad in gradients(theirs).items()}
    found = gradients(ours)
    assert found.keys() == reference.keys()
    for parameter, grad in found.items():
        assert_close(grad, reference[parameter], rtol=1e-5, atol=1e-6, msg=lambda text, at=parameter: f"{at}: {text}")


@pytest.mark.parametrize("config", [*CONFIGS.values(), PRESETS["2.4b"], PRESETS["7.8b"]], ids=[*CONFIGS, "2.4b", "7.8b"])
def test_frequencies_are_those_of_transformers(config):
    theirs = llama(replace(config, layers=1, vocab_size=8, intermediate_size=8)).model.rotary_emb.inv_freq
    assert_close(frequencies(config), theirs, rtol=1e-6, atol=0)


def test_all_three_bands_of_frequencies_occur():
    """Else the comparison above could not tell a wrong rule: kept, blended, and divided by the factor."""
    config = CONFIGS["untied, head_dim 128"]
    ratio = frequencies(config) / frequencies(replace(config, rope_scaling=None))
    kept, divided = ratio == 1, (ratio - 1 / SHORT.factor).abs() < 1e-6
    assert kept.any() and divided.any() and (~kept & ~divided).any()


def test_a_packed_document_reads_as_if_alone():
    model = random_decoder(TINY)
    batch = packed_batch(TINY, [[20, 31, 13], [40, 1, 23]])
    packed = model(batch.ids, batch.segments).flatten(0, 1)
    bounds = batch.segments.bounds.tolist()
    for start, end in pairwise(bounds):
        alone = model(batch.ids.flatten()[None, start:end], Segments.whole(1, end - start))[0]
        assert_close(packed[start:end], alone, rtol=1e-6, atol=1e-6)


def test_no_gradient_crosses_a_documents_border():
    model = random_decoder(replace(TINY, tied=False))
    batch = packed_batch(TINY, [[20, 31, 13]])
    embedded = []
    model.embed_tokens.register_forward_hook(lambda _, __, output: output.retain_grad() or embedded.append(output))
    logprobs, _ = model(batch.ids, batch.segments, batch.targets)
    logprobs[0, 20:51].sum().backward()
    grad = embedded[0].grad[0]
    assert (grad[:20] == 0).all() and (grad[51:] == 0).all()
    assert (grad[20:50].abs().sum(-1) > 0).all()


def test_nothing_later_is_seen():
    model = random_decoder(TINY)
    batch = packed_batch(TINY, [[64]])
    changed = batch.ids.clone()
    changed[0, 40:] = (changed[0, 40:] + 1) % TINY.vocab_size
    before, after = model(batch.ids, batch.segments), model(changed, batch.segments)
    assert torch.equal(before[:, :40], after[:, :40]) and not torch.equal(before[:, 40:], after[:, 40:])


@pytest.mark.parametrize("name", PRESETS)
def test_built_presets_have_the_exact_number_of_parameters(name):
    with torch.device("meta"):
        model = Decoder(PRESETS[name])
    published = {"2.4b": 2_405_327_360, "7.8b": 7_818_448_896, "32b": 32_003_200_000}
    assert sum(parameter.numel() for parameter in model.parameters()) == published[name] == PRESETS[name].parameters


def test_rotations_stay_in_float32_in_a_model_of_bfloat16():
    model = random_decoder(TINY)
    assert model.bfloat16().frequencies.dtype == torch.float32
    batch = packed_batch(TINY, [[64]])
    assert model(batch.ids, batch.segments).dtype == torch.float32


def test_initial_values_depend_on_seed_and_name_alone():
    deep, again, other = Decoder(replace(TINY, layers=8)), Decoder(replace(TINY, layers=8)), Decoder(replace(TINY, layers=8))
    initialise(deep, 1), initialise(again, 1), initialise(other, 2)
    first, same, third = (dict(model.named_parameters()) for model in (deep, again, other))
    for name, parameter in first.items():
        assert torch.equal(parameter, same[name])
        assert parameter.dim() == 1 or not torch.equal(parameter, third[name])
    assert torch.equal(first["norm.weight"], torch.ones(TINY.hidden_size))
    assert first["embed_tokens.weight"].std().item() == pytest.approx(INITIAL_STD, rel=0.05)
    written = torch.stack([layer.mlp.down_proj.weight for layer in deep.layers])
    assert written.std().item() == pytest.approx(INITIAL_STD / 4, rel=0.05)


def test_a_tied_head_is_the_embedding():
    model = Decoder(TINY)
    assert model.lm_head.weight is model.embed_tokens.weight
    assert "lm_head.weight" not in dict(model.named_parameters())
