"""Streams: which places of a source's order make up their samples."""

from __future__ import annotations

import numpy as np
import pytest

from training.streams import WEIGHTS, Stream


def stream(kind, count, rows, max_passes=1):
    return Stream("s", 0, WEIGHTS, kind, 100, count, rows, max_passes)


@pytest.mark.parametrize("rows", [1, 4])
def test_fresh_reads_the_range_on_in_its_order(rows):
    made = stream("fresh", 42, rows)
    assert made.samples == 42 // rows
    assert made.places(np.arange(made.samples), 1).tolist() == np.arange(100, 100 + made.samples * rows).reshape(-1, rows).tolist()


@pytest.mark.parametrize("rows", [1, 4])
def test_seen_reads_each_of_the_range_once_per_pass_in_other_orders(rows):
    made = stream("seen", 42, rows, 4)
    assert made.samples == 42 * 4 // rows
    read = made.places(np.arange(made.samples), 1)
    assert read.shape == (made.samples, rows)
    passes = read.reshape(4, 42)
    assert np.array_equal(np.sort(passes, 1), np.tile(np.arange(100, 142), (4, 1)))
    for place, one in enumerate(passes):
        assert all((one == other).sum() < 10 for other in (np.arange(100, 142), *passes[:place]))
    assert (made.places(np.arange(made.samples), 2) != read).sum() > 120
    assert np.array_equal(made.places(np.array([9, 2]), 1), read[[9, 2]])


def test_a_stream_without_passes_gives_nothing():
    assert stream("seen", 42, 1, 0).samples == 0
