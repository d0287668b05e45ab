"""Log-probabilities in chunks against log_softmax, in values and in gradients of both results."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.training.model_scene import TINY, gradients, packed_batch, random_decoder
from training.batch import NO_TARGET
from training.head import token_logprobs

N, D, V = 12, 16, 37


def inputs(n=N, d=D, v=V, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, d, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(v, d, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(0, v, (n,), generator=generator)
    targets[::5] = NO_TARGET
    return hidden, weight, targets


def reference(hidden, weight, targets):
    """With all logits at once."""
    logits = hidden @ weight.t()
    none = targets == NO_TARGET
    logprobs = logits.log_softmax(-1).gather(1, targets.clamp(min=0)[:, None])[:, 0]
    return logprobs.masked_fill(none, 0.0), logits.logsumexp(-1).masked_fill(none, 0.0)


@pytest.mark.parametrize("chunk", [1, 3, 7, N, 100])
@pytest.mark.parametrize("scale", [1.0, 1 / 9, -3.0])
def test_values_and_gradients_of_both_results(chunk, scale):
    """The loss is scaled after, and holds the log-sum-exp as z-loss does: squared, so that its gradient differs by token."""
    found, expected = [], []
    for function, results in ((lambda *given: token_logprobs(*given, chunk), found), (reference, expected)):
        hidden, weight, targets = inputs()
        logprobs, logsumexps = function(hidden, weight, targets)
        loss = (-logprobs.sum() + 0.1 * logsumexps.square().sum()) * scale
        loss.backward()
        results += [logprobs.detach(), logsumexps.detach(), loss.detach(), hidden.grad, weight.grad]
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 12), st.lists(st.sampled_from([NO_TARGET, 0, 5, V - 1]), min_size=1, max_size=9), st.integers(0, 9)
)
def test_every_token_may_weigh_otherwise(chunk, d, targets, seed):
    """Weights per token, as fine-tuning and preferences have them."""
    hidden, weight, _ = inputs(len(targets), d, seed=seed)
    weights = torch.randn(2, len(targets), generator=torch.Generator().manual_seed(seed))
    grads = []
    for function in (lambda *given: token_logprobs(*given, chunk), reference):
        logprobs, logsumexps = function(hidden, weight, torch.tensor(targets))
        grads.append(torch.autograd.grad((weights[0] * logprobs + weights[1] * logsumexps).sum(), (hidden, weight)))
    for ours, theirs in zip(*grads, strict=True):
        assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_gradients_against_finite_differences():
    hidden, weight, targets = inputs(4, 3, 5, torch.float32)
    logprobs, _ = token_logprobs(hidden, weight, targets, 2)
    (grad,) = torch.autograd.grad(logprobs.sum(), weight)
    step = 1e-2
    with torch.no_grad():
        for row, column in ((0, 0), (2, 1), (4, 2)):
            change = torch.zeros_like(weight)
            change[row, column] = step
            above, below = (token_logprobs(hidden, weight + sign * change, targets, 2)[0].sum() for sign in (1, -1))
            assert (above - below) / (2 * step) == pytest.approx(grad[row, column].item(), abs=1e-3)


def test_a_token_without_target_has_neither_value_nor_gradient():
    hidden, weight, targets = inputs()
    logprobs, logsumexps = token_logprobs(hidden, weight, targets, 5)
    (logprobs.sum() + logsumexps.sum()).backward()
    none = targets == NO_TARGET
    assert (logprobs[none] == 0).all() and (logsumexps[none] == 0).all() and (hidden.grad[none] == 0).all()
    assert (logprobs[~none] < 0).all() and (hidden.grad[~none] != 0).any(-1).all()


def test_without_any_target_nothing_is_learned():
    hidden, weight, targets = inputs()
    logprobs, _ = token_logprobs(hidden, weight, torch.full_like(targets, NO_TARGET), 5)
    logprobs.sum().backward()
    assert logprobs.sum() == 0 and (weight.grad == 0).all() and (hidden.grad == 0).all()


def test_only_what_needs_a_gradient_gets_one():
    hidden, weight, targets = inputs()
    logprobs, _ = token_logprobs(hidden, weight.detach(), targets)
    logprobs.sum().backward()
    assert hidden.grad is not None and weight.grad is None


def test_tied_weights_get_the_gradients_of_both_uses():
    """Against the plain logits of the same model."""
    batch = packed_batch(TINY, [[20, 31, 13]])
    model = random_decoder(TINY)
    logprobs, _ = model(batch.ids, batch.segments, batch.targets)
    logprobs.sum().backward()
    found = gradients(model)
    model.zero_grad()
    plain = model(batch.ids, batch.segments).flatten(0, 1).log_softmax(-1).gather(1, batch.targets.clamp(min=0).flatten()[:, None])
    plain[batch.targets.flatten() != NO_TARGET].sum().backward()
    for name, grad in gradients(model).items():
        assert_close(found[name], grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk", [16, 50])
def test_bfloat16_is_within_a_hundredth_of_a_nat_of_float64(chunk):
    """Hidden states and weights as a trained model has them (logits of a few units) and as many entries as ours."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(64, 256, generator=generator).bfloat16()
    weight = (torch.randn(102_400, 256, generator=generator) * 0.02).bfloat16()
    targets = torch.randint(0, len(weight), (64,), generator=generator)
    logprobs, logsumexps = token_logprobs(hidden, weight, targets, chunk)
    exact, exact_logsumexps = reference(hidden.double(), weight.double(), targets)
    assert logprobs.dtype == logsumexps.dtype == torch.float32
    assert (logprobs - exact).abs().max() < 0.01
    assert (logsumexps - exact_logsumexps).abs().max() < 0.01
    assert abs((logprobs - exact).mean()) < 1e-3
