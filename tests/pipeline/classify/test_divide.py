"""The division: whole groups on one side, every label on both, and a side that other documents hardly touch."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.classify.config import TrainConfig
from pipeline.classify.divide import Document, balanced, divide
from pipeline.classify.labelled import Example, Examples
from pipeline.errors import UserError


@st.composite
def labelled(draw: st.DrawFn) -> Examples:
    """Documents of up to three labels in up to five groups, some without one; a text has one group under all its labels."""
    texts = {f"text {number}": draw(st.sampled_from(["", "a", "b", "c", "d"])) for number in range(draw(st.integers(2, 12)))}
    made: Examples = {}
    for label in ("x", "y", "z")[: draw(st.integers(2, 3))]:
        chosen = draw(st.lists(st.sampled_from(sorted(texts)), min_size=1, max_size=8, unique=True))
        made[label] = [Example(text, "en", texts[text]) for text in sorted(chosen)]
    return made


def group(document: Document) -> str:
    return document.example.group or f"text: {document.example.line}"


@settings(deadline=None)
@given(labelled(), st.floats(0.01, 0.99), st.integers(0, 5))
def test_groups_are_whole_and_labels_on_both_sides(examples: Examples, share: float, seed: int) -> None:
    try:
        sides = divide(examples, share, seed, "held-out", "host")
    except UserError as error:
        assert "so none can be both trained on and held out" in str(error)
        return
    training, held_out = {group(document) for document in sides.training}, {group(document) for document in sides.held_out}
    assert not training & held_out and (sides.training_groups, sides.held_out_groups) == (len(training), len(held_out))
    assert {document.label for document in sides.training} == {document.label for document in sides.held_out} == set(examples)
    everything = sorted((label, example.line) for label, of_label in examples.items() for example in of_label)
    assert sorted((document.label, document.example.line) for document in (*sides.training, *sides.held_out)) == everything


@settings(deadline=None)
@given(labelled())
def test_two_groups_of_its_own_are_enough_for_a_label(examples: Examples) -> None:
    """A label can be divided whenever it has two groups that no other label has."""
    for label in examples:
        examples[label] += [Example(f"{label} {number}", "en", f"only {label} {number}") for number in range(2)]
    sides = divide(examples, 0.5, 7, "held-out", "host")
    assert {document.label for document in sides.held_out} == set(examples)


def many(first: int, last: int) -> list[Example]:
    return [Example(f"line {number}", "en", f"host {number % 200}") for number in range(first, last)]


def test_more_documents_leave_the_sides_of_the_others() -> None:
    some = divide({"x": many(0, 1000), "y": many(1000, 2000)}, 0.1, 7, "held-out", "host")
    more = divide({"x": many(0, 3000), "y": many(3000, 6000)}, 0.1, 7, "held-out", "host")
    assert {group(document) for document in some.held_out} == {group(document) for document in more.held_out}
    assert 8 <= some.held_out_groups <= 35
    other = divide({"x": many(0, 1000), "y": many(1000, 2000)}, 0.1, 7, "validation", "host")
    assert {group(document) for document in other.held_out} != {group(document) for document in some.held_out}


def test_the_sentence_names_the_label_and_the_group() -> None:
    one_host = {"x": many(0, 100), "y": [Example("line a", "en", "h"), Example("line b", "en", "h")]}
    with pytest.raises(UserError, match=r"label 'y' has documents of the host 'h' only.*held out; .*set split_by to text"):
        divide(one_host, 0.1, 7, "held-out", "host")


@pytest.mark.parametrize(("balance", "counts"), [("oversample", (60, 20)), ("limit", (2, 2)), ("none", (60, 2))])
def test_balance(balance: str, counts: tuple[int, int]) -> None:
    documents = [Document("x", example) for example in many(0, 60)] + [Document("y", example) for example in many(60, 62)]
    chosen = TrainConfig.model_validate({"inputs": ["a"], "balance": balance})
    found = balanced(documents, chosen)
    assert tuple(sum(document.label == label for document in found) for label in "xy") == counts
    assert balanced(documents, chosen) == found and [document.label for document in found] != sorted(document.label for document in found)
