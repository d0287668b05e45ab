"""What a vocabulary is made of, read from its tokenizer.json alone: tokens per kind, each language's share, the order of merges."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import UserError
from tokenizer.shares import MIXED_KIND, SHARED_KIND, is_exact
from tokenizer.vocabulary import TOKENIZER, to_bytes

if TYPE_CHECKING:
    from tokenizer.scripts import Kinds

AUDIT = "audit.json"
"""The file in a tokenizer's folder that has its audit."""

SPECIAL, BYTE = "special", "byte"

_EXAMPLES = 8
"""Tokens shown of each kind, spread evenly over its ids."""


@dataclass(frozen=True)
class Audit:
    """What was found.

    counts: tokens per kind: special, byte, each language of `split`, shared, mixed; together `size`. fragments: those of each kind
    (but bytes) that begin or end inside a character. exact: the languages' counts are the split's shares of their sum, in whole tokens.
    one_merge_per_token: there is one merge for each token that is neither special nor a byte, it makes that token, and the order of the
    merges is that of the ids. duplicates: tokens that have the id of another, and special ones that are text
    tokens as well. examples: some tokens of each kind.
    """

    size: int
    split: dict[str, float]
    counts: dict[str, int]
    fragments: dict[str, int]
    exact: bool
    merges: int
    one_merge_per_token: bool
    duplicates: int
    longest_bytes: int
    examples: dict[str, list[str]]

    def as_json(self) -> dict[str, Any]:
        """The audit as plain data."""
        return asdict(self)

    @property
    def problems(self) -> list[str]:
        """What keeps the vocabulary from being what a composed one is: empty when it passes."""
        found = {
            f"its languages don't have the shares {self._asked}": not self.exact,
            f"{self.counts[MIXED_KIND]:,} tokens mix scripts": self.counts[MIXED_KIND] > 0,
            "its merges aren't one per token in the order of ids": not self.one_merge_per_token,
            f"{self.duplicates:,} tokens are the same as another": self.duplicates > 0,
        }
        return [problem for problem, there in found.items() if there]

    @property
    def _asked(self) -> str:
        return ", ".join(f"{language} {share:.4g}" for language, share in self.split.items())


def audit(source: Path, split: Mapping[str, Fraction]) -> Audit:
    """Audit a tokenizer's folder or a tokenizer.json of any byte-level BPE tokenizer.

    Raises UserError when there is no such file, or it is of another kind of tokenizer.
    """
    path = source / TOKENIZER if source.is_dir() else source
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"there is no '{path}'; give a tokenizer's folder or its {TOKENIZER}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' can't be read as JSON ({error}); give a tokenizer's folder or its {TOKENIZER}") from error
    return audit_json(content, split, str(path))


def read_audit(folder: Path) -> Audit:
    """The audit that was made when a tokenizer was written to this folder."""
    return Audit(**json.loads((folder / AUDIT).read_text(encoding="utf-8")))


def audit_json(content: Any, split: Mapping[str, Fraction], path: str = TOKENIZER) -> Audit:
    """`audit` of a tokenizer.json that is already parsed; `path` is named in errors."""
    from tokenizer.scripts import kinds  # compiled kernels: whoever only shows an audit does without

    tokens, specials, merges, same_id = _parsed(content, path)
    ids = sorted(tokens)
    data = [tokens[token] for token in ids]
    found = kinds(data, list(split))
    names = [_name(token, value, specials, found, place) for place, (token, value) in enumerate(zip(ids, data, strict=True))]
    order = [SPECIAL, BYTE, *split, SHARED_KIND, MIXED_KIND]
    rows = {name: [place for place, other in enumerate(names) if other == name] for name in order}
    counts = {name: len(places) for name, places in rows.items()} | {SPECIAL: len(specials)}
    fragments = {name: int(found.fragments[rows[name]].sum()) for name in order if name not in (SPECIAL, BYTE)}
    made = {token: value for token, value, name in zip(ids, data, names, strict=True) if name not in (SPECIAL, BYTE)}
    return Audit(
        size=len(specials) + len([name for name in names if name != SPECIAL]),
        split={language: float(share) for language, share in split.items()},
        counts=counts,
        fragments=fragments,
        exact=is_exact([counts[language] for language in split], list(split.values())),
        merges=len(merges),
        one_merge_per_token=[left + right for left, right in merges] == list(made.values()),
        duplicates=same_id + len(set(data) & {special.encode() for special in specials.values()}),
        longest_bytes=max((len(value) for value in made.values()), default=0),
        examples={name: [_shown(data[place]) for place in _spread(rows[name])] for name in order if rows[name]},
    )


def _parsed(content: Any, path: str) -> tuple[dict[int, bytes], dict[int, str], list[tuple[bytes, bytes]], int]:
    """(bytes by id of every text token, special tokens by id, merges, tokens with the id of another) of a tokenizer.json."""
    try:
        model = content["model"]
        if model["type"] != "BPE":
            raise UserError(f"'{path}' is a tokenizer of the type {model['type']}; audit reads byte-level BPE")
        added = {int(token["id"]): str(token["content"]) for token in content.get("added_tokens") or []}
        vocab = {str(token): int(place) for token, place in model["vocab"].items()}
        merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"'{path}' isn't a {TOKENIZER} ({type(error).__name__}: {error}); give one with model.vocab and merges") from error
    try:
        tokens = {place: to_bytes(token) for token, place in vocab.items() if place not in added}
        pairs = [(to_bytes(left), to_bytes(right)) for left, right in merges]
    except KeyError as error:
        raise UserError(f"'{path}' isn't byte-level: no byte is written {error}; audit reads byte-level BPE only") from error
    except ValueError as error:
        raise UserError(f"'{path}' has a merge that isn't a pair of tokens; it is damaged") from error
    return tokens, added, pairs, len(vocab) - len(set(vocab.values()))


def _name(token: int, value: bytes, specials: Mapping[int, str], found: Kinds, place: int) -> str:
    return SPECIAL if token in specials else BYTE if len(value) == 1 else found.of(place)


def _spread(places: Sequence[int]) -> list[int]:
    """At most _EXAMPLES of the places, evenly spread."""
    return [places[index] for index in np.linspace(0, len(places) - 1, min(_EXAMPLES, len(places))).astype(int).tolist()]


def _shown(token: bytes) -> str:
    """A token for reading: as text, or its bytes where it is cut inside a character."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return token.hex(" ").upper()


def render(found: Audit) -> str:
    """The audit as a table for the terminal."""
    parts = sum(found.counts[language] for language in found.split)
    lines = [f"{'kind':<10}{'tokens':>9}  {'share':>7}  {'fragments':>9}  examples"]
    for name, count in found.counts.items():
        share = f"{count / parts:.2%}" if name in found.split and parts else ""
        cut = f"{found.fragments[name]:,}" if name in found.fragments else ""
        examples = "  ".join(json.dumps(example, ensure_ascii=False) for example in found.examples.get(name, []))
        lines.append(f"{name:<10}{count:>9,}  {share:>7}  {cut:>9}  {examples}".rstrip())
    lines.append(f"{'together':<10}{found.size:>9,}")
    lines.append(f"shares {found._asked}: {'exact' if found.exact else 'NOT exact'}; tokens of mixed scripts: {found.counts[MIXED_KIND]:,}")
    order = "one per token, in the order of ids" if found.one_merge_per_token else "NOT one per token in the order of ids"
    lines.append(f"merges: {found.merges:,}, {order}; duplicates: {found.duplicates:,}; longest token: {found.longest_bytes} bytes")
    return "\n".join(lines)
