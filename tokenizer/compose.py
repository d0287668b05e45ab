"""Lists of merges that were trained apart become one vocabulary in which each language has exactly its share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pipeline.errors import UserError
from tokenizer.bpe import BYTE_OF_ID
from tokenizer.scripts import kinds
from tokenizer.shares import SHARED_KIND, SHARED_SHARE, budget_of, shared_default
from tokenizer.vocabulary import BYTES, Vocabulary


@dataclass(frozen=True)
class MergeList:
    """The merges of one list in the order they were learned, the first `seeds` of them given rather than learned.

    left, right: int32[n], ids 0..255 for the bytes, 256 + k for merge k. counts: int64[n]. tokens: the bytes that each merge makes.
    exhausted: its words had no further merge to give.
    """

    name: str
    left: np.ndarray
    right: np.ndarray
    counts: np.ndarray
    tokens: list[bytes]
    seeds: int = 0
    exhausted: bool = True

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Composition:
    """The vocabulary, and per list what became of its merges: `offered`, `taken`, `owned` by an earlier list, of another `kind`."""

    vocabulary: Vocabulary
    lists: dict[str, dict[str, int]]


@dataclass(frozen=True)
class _Offer:
    """What of a list can be used: positions of its tokens of its own language, and of those that are of no language."""

    source: MergeList
    own: np.ndarray
    shared: np.ndarray
    usable: np.ndarray
    shared_tokens: list[bytes]

    @staticmethod
    def of(merges: MergeList, languages: Sequence[str]) -> _Offer:
        found = kinds(merges.tokens, languages)
        own_code = found.names.index(merges.name)
        shared_code = found.names.index(SHARED_KIND)
        usable = (found.codes == own_code) | (found.codes == shared_code)
        usable &= _first_of_its_string(merges.tokens)
        _spread(usable, merges)
        shared = np.flatnonzero(usable & (found.codes == shared_code))
        own = np.flatnonzero(usable & (found.codes == own_code)) if merges.name != SHARED_KIND else np.zeros(0, np.int64)
        return _Offer(merges, own, shared, usable, [merges.tokens[place] for place in shared.tolist()])

    def least(self, wanted: int) -> int:
        """The shortest prefix of the list with `wanted` tokens of its language (all of it if there are fewer)."""
        return int(self.own[wanted - 1]) + 1 if 0 < wanted <= len(self.own) else (0 if wanted <= 0 else len(self.source))

    def most(self, wanted: int) -> int:
        """The longest such prefix."""
        return int(self.own[wanted]) if wanted < len(self.own) else len(self.source)

    def shared_in(self, prefix: int) -> list[bytes]:
        """Tokens of no language among the first `prefix` merges."""
        return self.shared_tokens[: int(np.searchsorted(self.shared, prefix))]


def _first_of_its_string(tokens: Sequence[bytes]) -> np.ndarray:
    seen: set[bytes] = set()
    first = np.ones(len(tokens), np.bool_)
    if len(set(tokens)) == len(tokens):
        return first
    for place, token in enumerate(tokens):
        first[place] = token not in seen
        seen.add(token)
    return first


def _spread(usable: np.ndarray, merges: MergeList) -> None:
    """A merge that needs an unusable token is unusable as well."""
    if usable.all():
        return
    same = {token: place for place, token in reversed(list(enumerate(merges.tokens)))}
    for place, (left, right) in enumerate(zip(merges.left.tolist(), merges.right.tolist(), strict=True)):
        for operand in (left, right):
            if operand >= BYTES and not usable[same[merges.tokens[operand - BYTES]]]:
                usable[place] = False


class _Plan:
    """How many tokens each language gets when `n` merges go to the languages together, and whether that can be had."""

    def __init__(self, languages: Sequence[_Offer], shared: _Offer, split: Mapping[str, Fraction], budget: int) -> None:
        self.languages, self.shared, self.split, self.budget = languages, shared, split, budget
        self._shared_list = set(shared.shared_tokens)

    def targets(self, n: int) -> list[int]:
        """Tokens of each language: its share of `n`, in whole tokens."""
        return [int(self.split[offer.source.name] * n) for offer in self.languages]

    def shared_target(self, n: int) -> int:
        """Tokens of no language: the rest, with what rounding leaves."""
        return self.budget - sum(self.targets(n))

    def needed(self, n: int) -> set[bytes]:
        """Tokens of no language that come with the languages' tokens whether one wants them or not."""
        found: set[bytes] = set()
        return found.union(*(o.shared_in(o.least(t)) for o, t in zip(self.languages, self.targets(n), strict=True)))

    def available(self, n: int) -> int:
        """Tokens of no language that can be had beside them."""
        extra = (o.shared_in(o.most(t)) for o, t in zip(self.languages, self.targets(n), strict=True))
        return len(self._shared_list.union(*extra))

    def fits(self, n: int) -> bool:
        """Whether what comes with the languages' tokens has room. False for all larger `n` once it is for one."""
        return len(self.needed(n)) <= self.shared_target(n)

    def fills(self, n: int) -> bool:
        """Whether the shared part can be filled. True for all larger `n` once it is for one."""
        return self.available(n) >= self.shared_target(n)


def compose(
    lists: Sequence[MergeList],
    split: Mapping[str, Fraction],
    vocab_size: int,
    specials: Sequence[str],
    shared_merges: int | None = None,
) -> Composition:
    """One vocabulary out of a list for each language of `split` and one named `shared`.

    Each list is taken in its order. A string that another list owns already is not taken again, and its id serves both. Tokens of
    another kind than their list's language or `shared`, which a hostile corpus can hold, are left out together with what needs them.
    Seeds come first, then the lists in turn by falling count. Of n tokens of languages each gets its share, rounded down; the rest is
    the shared part's, which grows when the cut characters of a small vocabulary need it and shrinks when there is no more to put there.
    Raises UserError where a language's words can't give its tokens, or the shared part can't be as small as `shared_merges`.
    """
    budget = budget_of(vocab_size, len(specials))
    named = {merges.name: merges for merges in lists}
    languages = [_Offer.of(named[language], list(split)) for language in split]
    shared = _Offer.of(named[SHARED_KIND], list(split))
    plan = _Plan(languages, shared, split, budget)
    n = _language_merges(plan, shared_merges, len(specials))
    vocabulary = _emit([*languages, shared], _prefixes(plan, n), specials)
    if len(vocabulary) != vocab_size:
        raise RuntimeError(f"the lists make {len(vocabulary)} tokens and not {vocab_size}")
    vocabulary.check()
    facts = {}
    for offer in (*languages, shared):
        name = offer.source.name
        taken = vocabulary.origin.count(name)
        facts[name] = {
            "offered": len(offer.source),
            "taken": taken,
            "of_another_kind": int((~offer.usable).sum()),
            "seeds": offer.source.seeds,
        }
    return Composition(vocabulary, facts)


def _language_merges(plan: _Plan, shared_merges: int | None, specials: int) -> int:
    """How many merges go to the languages together."""
    asked = shared_default(plan.budget) if shared_merges is None else shared_merges
    if asked >= plan.budget:
        raise UserError(f"shared_merges is {asked:,}, and the vocabulary has room for {plan.budget:,} merges in all; use a smaller number")
    n = plan.budget - asked
    if not plan.fits(n):
        if shared_merges is not None:
            raise UserError(
                f"shared_merges is {shared_merges:,}, but the languages' tokens bring {len(plan.needed(n)):,} tokens with them that are no "
                "language's (parts of characters); use at least as many, or leave the key out"
            )
        n = _last(plan.fits, 0, n)
    _require_tokens(plan, n, specials)
    if not plan.fills(n):
        n = 1 + _last(lambda value: not plan.fills(value), n, plan.budget)
        _require_tokens(plan, min(n, plan.budget), specials)
        if n > plan.budget or not plan.fits(n):
            raise UserError(
                f"the words give too few tokens of no language to fill a vocabulary of {plan.budget + specials + BYTES:,} in these shares; "
                "use a --vocab-size that is smaller or larger by one, or more text"
            )
    return n


def _last(holds: Callable[[int], bool], first: int, last: int) -> int:
    """The greatest number of first..last for which `holds`, which is true up to some number and false behind it; true at `first`."""
    while first < last:
        middle = (first + last + 1) // 2
        first, last = (middle, last) if holds(middle) else (first, middle - 1)
    return first


def _require_tokens(plan: _Plan, n: int, specials: int) -> None:
    """Raises UserError naming the language whose words give fewer tokens than it is to have."""
    for offer, target in zip(plan.languages, plan.targets(n), strict=True):
        name, has = offer.source.name, len(offer.own)
        if target <= has:
            continue
        if not offer.source.exhausted:
            raise RuntimeError(f"the list {name} was trained to {len(offer.source)} merges, which give {has} tokens of {target}")
        if not len(offer.source) or not has:
            raise UserError(
                f"the counts hold no words in the script of '{name}', which is to have {target:,} tokens; "
                f"count text of this language too, or leave it out of --split"
            )
        largest = min(int(len(each.own) / plan.split[each.source.name]) for each in plan.languages if plan.split[each.source.name])
        size = specials + BYTES + largest + int(largest * SHARED_SHARE / (1 - SHARED_SHARE))
        raise UserError(
            f"the words of '{name}' give {has:,} tokens, and the vocabulary is to have {target:,} of them; "
            f"use a --vocab-size of at most about {size:,}, count more text of this language, or give it a smaller share with --split"
        )


def _prefixes(plan: _Plan, n: int) -> list[int]:
    """How much of each list is taken, the shared one last.

    Tokens of no language that come with the languages' tokens count first, then the shared list fills up, then what else there is does.
    """
    targets = plan.targets(n)
    prefixes = [offer.least(target) for offer, target in zip(plan.languages, targets, strict=True)]
    limits = [offer.most(target) for offer, target in zip(plan.languages, targets, strict=True)]
    chosen, wanted = plan.needed(n), plan.shared_target(n)
    shared_prefix = _fill(plan.shared, 0, len(plan.shared.source), chosen, wanted)
    for index, (offer, limit) in enumerate(zip(plan.languages, limits, strict=True)):
        prefixes[index] = _fill(offer, prefixes[index], limit, chosen, wanted)
    return [*prefixes, shared_prefix]


def _fill(offer: _Offer, prefix: int, limit: int, chosen: set[bytes], wanted: int) -> int:
    """Lengthen a prefix up to `limit` while `chosen`, to which its tokens of no language are added, holds fewer than `wanted`."""
    first, last = np.searchsorted(offer.shared, (prefix, limit))
    for place, token in zip(offer.shared[first:last].tolist(), offer.shared_tokens[first:last], strict=True):
        if len(chosen) >= wanted:
            break
        chosen.add(token)
        prefix = place + 1
    return prefix


def _emit(offers: Sequence[_Offer], prefixes: Sequence[int], specials: Sequence[str]) -> Vocabulary:
    """Give ids: seeds first, then by falling count, each list in its own order."""
    owner = {bytes([byte]): place + len(specials) for place, byte in enumerate(BYTE_OF_ID.tolist())}
    left: list[int] = []
    right: list[int] = []
    origin: list[str] = []
    counts: list[int] = []
    for offer, place in _interleaved(offers, prefixes):
        merges = offer.source
        token = merges.tokens[place]
        if token in owner:
            continue
        operands = [_operand(merges, merges.left[place]), _operand(merges, merges.right[place])]
        missing = next((operand for operand in operands if operand not in owner), None)
        if missing is not None:
            raise RuntimeError(f"the list {merges.name} joins {missing!r} into {token!r} before it is a token")
        left.append(owner[operands[0]])
        right.append(owner[operands[1]])
        origin.append(merges.name)
        counts.append(int(merges.counts[place]))
        owner[token] = len(specials) + len(owner)
    merged = (np.array(left, np.int32), np.array(right, np.int32), tuple(origin), np.array(counts, np.int64))
    return Vocabulary(tuple(specials), list(owner), *merged)


def _operand(merges: MergeList, token: int) -> bytes:
    return bytes([BYTE_OF_ID[token]]) if token < BYTES else merges.tokens[token - BYTES]


def _interleaved(offers: Sequence[_Offer], prefixes: Sequence[int]) -> Iterator[tuple[_Offer, int]]:
    """Every usable merge of the prefixes: the seeds list by list, then by falling count, ties in the order of the lists."""
    keys, sources, places = [], [], []
    for source, (offer, prefix) in enumerate(zip(offers, prefixes, strict=True)):
        # No merge is more frequent than one learned before it; should counts say otherwise, the list's order holds.
        seeds = np.full(offer.source.seeds, np.iinfo(np.int64).max)
        key = np.concatenate([seeds, np.minimum.accumulate(offer.source.counts[offer.source.seeds :])])
        chosen = np.flatnonzero(offer.usable[:prefix])
        keys.append(key[chosen])
        places.append(chosen)
        sources.append(np.full(len(chosen), source))
    source_of, place_of = np.concatenate(sources), np.concatenate(places)
    for index in np.lexsort((place_of, source_of, -np.concatenate(keys))).tolist():
        yield offers[source_of[index]], int(place_of[index])


def plain(merges: MergeList, vocab_size: int, specials: Sequence[str]) -> Composition:
    """The vocabulary of one list over all words, as a common BPE trainer makes it. Raises UserError where the words give fewer merges."""
    budget = budget_of(vocab_size, len(specials))
    if len(merges) < budget:
        raise UserError(
            f"the words give {len(merges):,} merges, and a vocabulary of {vocab_size:,} needs {budget:,}; "
            f"use a --vocab-size of at most {len(merges) + len(specials) + BYTES:,}, or count more text"
        )
    tokens = [bytes([byte]) for byte in BYTE_OF_ID.tolist()] + merges.tokens[:budget]
    first = len(specials)
    origin = (merges.name,) * budget
    vocabulary = Vocabulary(
        tuple(specials), tokens, merges.left[:budget] + first, merges.right[:budget] + first, origin, merges.counts[:budget]
    )
    vocabulary.check()
    return Composition(vocabulary, {merges.name: {"offered": len(merges), "taken": budget, "of_another_kind": 0, "seeds": 0}})
