"""Mixing: exact shares, each sample of a stream once and in order."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from training.mixing import BLOCK, Mixture
from training.streams import WEIGHTS


@st.composite
def weights(draw):
    """Weights of all kinds: even, of every size down to 1 of 10**9, zero, one that takes all."""
    sized = st.integers(0, 8).flatmap(lambda digits: st.integers(10**digits, 10 ** (digits + 1)))
    parts = draw(st.lists(st.one_of(st.integers(0, 5), st.integers(0, WEIGHTS), sized), min_size=1, max_size=30))
    total = sum(parts)
    made = [part * WEIGHTS // total for part in parts] if total > WEIGHTS else parts
    rest = WEIGHTS - sum(made)
    made[draw(st.integers(0, len(made) - 1))] += rest
    return made


def slow_edges(weights, samples):
    """Counts at the edges by the rule itself, in fractions."""
    edges, counts = [[0] * len(weights)], [0] * len(weights)
    for read in [*range(BLOCK, samples, BLOCK), samples]:
        shares = [Fraction(weight * read, WEIGHTS) for weight in weights]
        counts = [max(count, share.__floor__()) for count, share in zip(counts, shares, strict=True)]
        waiting = [place for place, share in enumerate(shares) if counts[place] < share]
        waiting.sort(key=lambda place: (Fraction((counts[place] + 1) * WEIGHTS, weights[place]).__ceil__(), place))
        for place in waiting[: read - sum(counts)]:
            counts[place] += 1
        edges.append(list(counts))
    return edges


@settings(max_examples=60, deadline=None)
@given(weights(), st.integers(1, 40 * BLOCK))
@example([300_000] * 20 + [WEIGHTS - 6_000_000], 10 * BLOCK)  # less than one per block each: ahead of their shares over several edges
def test_edges_are_those_of_the_slow_twin_and_exact(weights, samples):
    mixture = Mixture(weights, samples, 1)
    expected = slow_edges(weights, samples)
    edges = [mixture.edge(block) for block in range(len(expected))]
    assert [edge.tolist() for edge in edges] == expected
    for block, edge in enumerate(edges):
        read = min(block * BLOCK, samples)
        assert edge.sum() == read
        assert all(abs(count - Fraction(weight * read, WEIGHTS)) < 1 for count, weight in zip(edge.tolist(), weights, strict=True))
        assert block == 0 or (edge >= edges[block - 1]).all()


@settings(max_examples=40, deadline=None)
@given(weights(), st.integers(1, 5 * BLOCK), st.integers(0, 2**64 - 1), st.data())
def test_each_sample_of_a_stream_once_in_order_and_counted(weights, samples, key, data):
    mixture = Mixture(weights, samples, key)
    streams, numbers = mixture.locate(np.arange(samples))
    for stream in range(len(weights)):
        mine = numbers[streams == stream]
        assert np.array_equal(mine, np.arange(len(mine)))
    for read in (data.draw(st.integers(0, samples)), samples):
        assert mixture.counts(read).tolist() == np.bincount(streams[:read], minlength=len(weights)).tolist()
    asked = np.array(data.draw(st.lists(st.integers(0, samples - 1), max_size=20)), np.int64)
    again = mixture.locate(asked)
    assert np.array_equal(again[0], streams[asked]) and np.array_equal(again[1], numbers[asked])


def test_within_a_block_the_error_stays_that_of_a_shuffle():
    """At most what a stream has in a block plus one, and in practice a few standard deviations of drawing without putting back."""
    shares = [0.5, 0.3, 0.15, 0.049, 0.001]
    samples = 50 * BLOCK
    streams, _ = Mixture([round(share * WEIGHTS) for share in shares], samples, 5).locate(np.arange(samples))
    read = np.arange(1, samples + 1)
    for stream, share in enumerate(shares):
        worst = np.abs(np.cumsum(streams == stream) - share * read).max()
        assert worst < min(share * BLOCK + 1, 1 + 2.5 * (BLOCK * share * (1 - share)) ** 0.5)


def test_blocks_are_shuffled_differently():
    streams, _ = Mixture([WEIGHTS // 2] * 2, 4 * BLOCK, 5).locate(np.arange(4 * BLOCK))
    blocks = streams.reshape(4, BLOCK)
    assert all(400 < (blocks[a] == blocks[b]).sum() < 624 for a in range(4) for b in range(a))
    other, _ = Mixture([WEIGHTS // 2] * 2, 4 * BLOCK, 6).locate(np.arange(4 * BLOCK))
    assert not np.array_equal(streams, other)


def test_shares_stay_exact_beyond_what_a_product_of_64_bits_holds():
    from training.mixing import _share

    for weight, samples in ((WEIGHTS, 10**13 + 7), (333_333_333, 10**12 - 1), (1, 10**10), (999_999_999, 2**43)):
        assert _share(weight, samples) == divmod(weight * samples, WEIGHTS)


@pytest.mark.parametrize("weights", [[WEIGHTS - 1], [WEIGHTS, 1], [WEIGHTS + 1, -1]])
def test_weights_that_do_not_add_up_are_refused(weights):
    with pytest.raises(UserError, match="the weights of a stage"):
        Mixture(weights, 10, 0)
