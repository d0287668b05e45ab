"""Reading ahead: the same items, errors in their place, no thread left behind."""

from __future__ import annotations

import threading

import pytest

from training.prefetch import prefetch


def alive():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.mark.parametrize("depth", [1, 3])
def test_the_same_items_in_order(depth):
    assert list(prefetch(range(50), depth)) == list(range(50))
    assert not alive()


def test_an_error_comes_where_it_happened():
    def items():
        yield 1
        yield 2
        raise RuntimeError("here")

    read = prefetch(items(), 2)
    assert (next(read), next(read)) == (1, 2)
    with pytest.raises(RuntimeError, match="here"):
        next(read)
    assert not alive()


def test_an_exception_as_an_item_is_an_item():
    error = ValueError("data")
    assert list(prefetch([error], 1)) == [error]


def test_never_further_ahead_than_the_depth_and_no_thread_after_closing():
    made = []

    def items():
        for number in range(1000):
            made.append(number)
            yield number

    read = prefetch(items(), 2)
    assert next(read) == 0
    assert len(made) <= 4  # one given, two in the queue, one in hand
    read.close()
    assert not alive() and len(made) <= 4
