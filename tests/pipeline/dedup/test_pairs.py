"""Candidate pairs, verification and grouping: each kernel against its twin, and buckets that would hurt."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.candidates import EDGES_PER_MEMBER, Edges, bucket_edges, bucketed, distinct
from pipeline.dedup.components import connect, lead
from pipeline.dedup.verify import chunks, exact_similarities, rejection_limits

from . import twin
from .test_sketch import TEXTS, normalized


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=30), st.randoms(use_true_random=False))
def test_buckets_are_the_groups_of_equal_keys_by_rank(keys, generator):
    ranks = list(range(len(keys)))
    generator.shuffle(ranks)
    members, starts = bucketed(np.array(keys, np.uint64), np.array(ranks, np.uint32))
    found = [[ranks[place] for place in members[start:stop]] for start, stop in pairwise(starts)]
    expected = [sorted(rank for rank, other in zip(ranks, keys, strict=True) if other == key) for key in sorted(set(keys))]
    assert found == [group for group in expected if len(group) > 1]


def edges_of(signatures: np.ndarray, limit: int, threshold: float = 0.5, starts: list[int] | None = None) -> Edges:
    count = len(signatures)
    filled = np.full(count, signatures.shape[1], np.uint16)
    return bucket_edges(np.array(starts or [0, count], np.int64), signatures, np.arange(count, dtype=np.uint32), filled, threshold, limit)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 14), st.integers(0, 2**32 - 1), st.sampled_from([64, 3]))
def test_pairs_of_a_bucket_are_those_of_the_twin(count, seed, limit):
    signatures = np.random.default_rng(seed).integers(0, 2, (count, 64)).astype(np.uint32)
    edges = edges_of(signatures, limit)
    rejected_below = rejection_limits(0.5, 64)
    expected = []
    for member in range(1, count):
        others = list(range(min(member, limit))) + ([member - 1] if member > limit else [])
        alike = [(other, int((signatures[other] == signatures[member]).sum())) for other in others]
        near = [(other, member) for other, matches in alike if matches >= rejected_below[64]]
        expected += near[:EDGES_PER_MEMBER] if member >= limit else near
    assert list(zip(edges.better.tolist(), edges.worse.tolist(), strict=True)) == expected


def test_a_bad_first_member_hides_no_pair():
    """Star edges to one centre, as most implementations make, would lose the pair (1, 2) here."""
    signatures = np.zeros((3, 64), np.uint32)
    signatures[0] = 9
    edges = edges_of(signatures, limit=64, threshold=0.8)
    assert list(zip(edges.better, edges.worse, strict=True)) == [(1, 2)]


def test_a_hot_bucket_gives_few_pairs_per_member():
    count, limit = 20000, 16
    edges = edges_of(np.zeros((count, 16), np.uint32), limit)
    assert len(edges.better) <= limit * limit / 2 + EDGES_PER_MEMBER * count
    survivor, _ = lead(count, edges.better, edges.worse, np.ones(len(edges.better)))
    assert (survivor == 0).all()


def test_distinct_keeps_each_pair_once_and_sorted():
    part = Edges(np.array([1, 0], np.uint32), np.array([2, 3], np.uint32))
    merged = distinct([part, part])
    assert merged.better.tolist() == [0, 1] and merged.worse.tolist() == [3, 2]
    assert len(distinct([]).better) == 0


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.sampled_from([4, 9, 27]), st.data())
def test_exact_similarity_is_that_of_the_twin(texts, shingle_bytes, data):
    index = st.integers(0, len(texts) - 1)
    pairs = data.draw(st.lists(st.tuples(index, index), min_size=1, max_size=8))
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    found = exact_similarities(normalized(texts), left, right, shingle_bytes, 3)
    assert found.tolist() == [twin.jaccard(texts[one], texts[other], shingle_bytes) for one, other in pairs]


def test_rejection_needs_independent_slots():
    rejected_below = rejection_limits(0.8, 128)
    assert rejected_below[128] == 89  # 128 x (0.8 - 3 x 0.0354)
    assert rejected_below[1] == 0  # one shingle rules nothing out: the texts are compared
    assert (np.diff(rejected_below[1:]) >= 0).all()


def test_chunks_hold_a_bounded_amount_of_text():
    better, worse = np.array([0, 0, 0, 1, 2], np.uint32), np.array([1, 2, 3, 2, 3], np.uint32)
    sizes = np.full(4, 10)
    assert chunks(better, worse, sizes, 1000).tolist() == [0] * 5
    cut = chunks(better, worse, sizes, 30)
    assert (np.diff(cut) >= 0).all() and cut[0] == 0 and set(cut.tolist()) == set(range(cut.max() + 1)) and cut.max() > 0
    assert len(chunks(better[:0], worse[:0], sizes, 30)) == 0


EDGES = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)).filter(lambda pair: pair[0] != pair[1]), max_size=40)


@settings(max_examples=100, deadline=None)
@given(EDGES, st.randoms(use_true_random=False))
def test_components_have_their_least_rank_whatever_the_order(edges, generator):
    groups = {node: {node} for node in range(20)}
    for one, other in edges:
        merged = groups[one] | groups[other]
        for node in merged:
            groups[node] = merged
    expected = [min(groups[node]) for node in range(20)]
    for _ in range(2):
        generator.shuffle(edges)
        sides = np.array(edges, np.uint32).reshape(-1, 2)
        assert connect(20, sides[:, 0], sides[:, 1]).tolist() == expected


@settings(max_examples=100, deadline=None)
@given(EDGES, st.randoms(use_true_random=False))
def test_leaders_are_those_of_the_twin_whatever_the_order(edges, generator):
    close = {}
    for one, other in edges:
        close[min(one, other), max(one, other)] = 0.8 + ((one * other) % 3) / 10
    staying, expected = set(), []
    for node in range(20):
        choices = [(-similarity, better) for (better, worse), similarity in close.items() if worse == node and better in staying]
        expected.append(min(choices)[1] if choices else node)
        if not choices:
            staying.add(node)
    listed = list(close.items())
    generator.shuffle(listed)
    sides = np.array([pair for pair, _ in listed], np.uint32).reshape(-1, 2)
    survivor, similarity = lead(20, sides[:, 0].copy(), sides[:, 1].copy(), np.array([value for _, value in listed]))
    assert survivor.tolist() == expected
    assert similarity.tolist() == [close.get((leader, node), 1.0) for node, leader in enumerate(expected)]


def test_a_long_chain_is_one_component_but_not_one_leader():
    nodes = np.arange(50000, dtype=np.uint32)
    assert (connect(len(nodes), nodes[:-1], nodes[1:]) == 0).all()
    survivor, _ = lead(len(nodes), nodes[:-1], nodes[1:], np.ones(len(nodes) - 1))
    assert (survivor == nodes - nodes % 2).all()


@pytest.mark.parametrize("count", [0, 1])
def test_no_edges(count):
    none = np.zeros(0, np.uint32)
    assert connect(count, none, none).tolist() == lead(count, none, none, np.zeros(0))[0].tolist() == list(range(count))
