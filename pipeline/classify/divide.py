"""Which labelled documents train and which score: whole groups (hosts, say) by the hash of their name, and labels weighed alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import xxhash

from pipeline.classify.config import TrainConfig
from pipeline.classify.labelled import Example, Examples, Labelled
from pipeline.errors import UserError


@dataclass(frozen=True)
class Document:
    """A labelled document on one of the two sides."""

    label: str
    example: Example


@dataclass(frozen=True)
class Sides:
    """The two sides, and how many groups each has (a document without a group is one of its own)."""

    training: list[Document]
    held_out: list[Document]
    training_groups: int
    held_out_groups: int


def resolve_split(examples: Examples, settings: TrainConfig) -> tuple[str, str]:
    """What `split_by` means for these documents, and why: `auto` is host where every label has documents of two or more.

    Raises UserError for a field, or host, that no document has.
    """
    wanted = settings.split_by
    has_groups = any(example.group for of_label in examples.values() for example in of_label)
    if wanted == "text":
        return "text", "asked for"
    if wanted != "auto":
        if not has_groups:
            what = "url or host" if wanted == "host" else f"'{wanted}'"
            raise UserError(f"no labelled document has a {what} to split by; set split_by to text or to a field that the documents have")
        return wanted, "asked for"
    if not has_groups:
        return "text", "no document has a url or host"
    for label, of_label in examples.items():
        if len({_key(example, "", 0) for example in of_label}) < 2:
            return "text", f"all documents of the label '{label}' are of {_named(of_label[0], 'host')}"
    return "host", "every label has documents of two hosts or more"


def divide_labelled(labelled: Labelled, settings: TrainConfig) -> Sides:
    """The two sides of labelled documents; `settings.split_by` as `resolve_split` gave it. With held-out files these are the one side."""
    examples = labelled.examples
    if settings.split_by == "text":
        examples = {label: [Example(example.line, example.language) for example in of_label] for label, of_label in examples.items()}
    if not labelled.held_out:
        return divide(examples, settings.held_out_share, settings.seed, "held-out", settings.split_by)
    sides = [
        [Document(label, example) for label, of_label in side.items() for example in of_label] for side in (examples, labelled.held_out)
    ]
    groups = [len({_key(document.example, "", 0) for document in side}) for side in sides]
    return Sides(sides[0], sides[1], groups[0], groups[1])


def divide(examples: Examples, share: float, seed: int, purpose: str, split_by: str) -> Sides:
    """Groups whose hash, by `seed` and `purpose`, is in the first `share` of all hashes are held out; the others train.

    A label must be on both sides. One without training documents gets back its group of the largest hash; then one without held-out
    documents gives its group of the smallest hash that leaves every label a group to train on. Raises UserError where there is none.
    A group's side does not depend on other groups but for that.
    """
    keys = {label: [_key(example, purpose, seed) for example in of_label] for label, of_label in examples.items()}
    held_out = _held_out_groups({label: set(of_keys) for label, of_keys in keys.items()}, int(share * 2**64))
    for label, of_keys in keys.items():
        if held_out.isdisjoint(of_keys):
            raise UserError(_cannot_divide(label, examples[label], split_by, purpose))
    sides: tuple[list[Document], list[Document]] = ([], [])
    for label, of_label in examples.items():
        for key, example in zip(keys[label], of_label, strict=True):
            sides[key in held_out].append(Document(label, example))
    total = len({key for of_keys in keys.values() for key in of_keys})
    return Sides(*sides, total - len(held_out), len(held_out))


def _key(example: Example, purpose: str, seed: int) -> int:
    """The hash of a document's group, which also is the group's identity."""
    name = f"{purpose}\0group\0{example.group}" if example.group else f"{purpose}\0text\0{example.line}"
    return xxhash.xxh3_64_intdigest(name.encode(), seed)


def _held_out_groups(groups: dict[str, set[int]], bound: int) -> set[int]:
    """The groups below the bound, mended so that no label is without a training group, and few without a held-out one."""
    labels_of: dict[int, list[str]] = {}
    for label in sorted(groups):
        for group in groups[label]:
            labels_of.setdefault(group, []).append(label)
    held_out = {group for group in labels_of if group < bound}
    training = {label: len(of_label - held_out) for label, of_label in groups.items()}
    for label in sorted(groups):
        if not training[label]:
            returned = max(groups[label])
            held_out.discard(returned)
            for other in labels_of[returned]:
                training[other] += 1
    for label in sorted(groups):
        if not held_out.isdisjoint(groups[label]):
            continue
        for group in sorted(groups[label]):
            if all(training[other] > 1 for other in labels_of[group]):
                held_out.add(group)
                for other in labels_of[group]:
                    training[other] -= 1
                break
    return held_out


def _named(example: Example, split_by: str) -> str:
    if not example.group:
        return "one text"
    return f"the {'host' if split_by == 'host' else split_by} '{example.group[:60]}'"


def _cannot_divide(label: str, of_label: Sequence[Example], split_by: str, purpose: str) -> str:
    task = "held out" if purpose == "held-out" else "kept for autotune's validation"
    groups = sorted({example.group for example in of_label if example.group})
    if len(groups) == 1 and all(example.group for example in of_label):
        few = f"documents of {_named(of_label[0], split_by)} only"
    elif len(of_label) == 1:
        few = "only 1 distinct document"
    else:
        few = "no group that others could train without"
    more = "give documents of more groups" if groups else "give more of them"
    off = ", set split_by to text" if split_by != "text" else ""
    off += ", leave autotune_seconds out" if purpose != "held-out" else ""
    return f"the label '{label}' has {few}, so none can be both trained on and {task}; {more}{off}, or leave the label out"


def balanced(documents: Sequence[Document], settings: TrainConfig) -> list[Document]:
    """Documents repeated or cut so that labels weigh more alike, in an order that only their content and the seed decide."""
    counts = Counter(document.label for document in documents)
    goals = dict(counts)
    if settings.balance == "limit":
        goals = dict.fromkeys(counts, min(counts.values()))
    elif settings.balance == "oversample":
        goals = {label: min(max(counts.values()), count * settings.max_repeats) for label, count in counts.items()}
    by_label: dict[str, list[Document]] = {label: [] for label in sorted(counts)}
    for document in documents:
        by_label[document.label].append(document)
    ordered: list[tuple[int, int, Document]] = []
    for label, of_label in by_label.items():
        for place in range(goals[label]):
            copy, index = divmod(place, len(of_label))
            content = f"{copy}\0{label}\0{of_label[index].example.line}".encode()
            ordered.append((xxhash.xxh3_64_intdigest(content, settings.seed), len(ordered), of_label[index]))
    return [document for _, _, document in sorted(ordered, key=lambda entry: entry[:2])]
