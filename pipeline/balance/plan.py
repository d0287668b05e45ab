"""From what is there and what is asked for to a token target per language and domain: pure arithmetic, no files.

A phase is made of parts: each language's share, cut into the domains that the mix names and one part for all other labels. Within that
last part, tokens are spread over the labels by water-filling: raise one level for all until the part is full, never above a label's cap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.balance.config import OTHER, SHARE_TOLERANCE, PhaseConfig
from pipeline.errors import UserError

Reals = npt.NDArray[np.float64]

_EXACT = 1e-14
"""Relative slack for one product of binary fractions: 0.6 of 700 million is not always 420 million to the last bit."""

_CHANGES_TOLD = 4
"""Changed shares that a sentence lists."""

_LABELS_TOLD = 8
"""Labels that a sentence lists."""

_ROUNDING = 1e-9
"""Relative slack when domain_limits add up to exactly what is needed and binary fractions fall short of it."""


@dataclass(frozen=True)
class Supply:
    """What is available of one language and domain label: counts of documents, UTF-8 bytes and estimated tokens, each read once."""

    language: str
    domain: str
    documents: int
    bytes: int
    tokens: int


@dataclass(frozen=True)
class Target:
    """Tokens to take of one supply, repetitions included. `share`: of the phase, where the mix names the domain; else None."""

    supply: Supply
    tokens: int
    share: float | None


@dataclass(frozen=True)
class PhaseTargets:
    """The plan of one phase: tokens asked for (None: as many as possible), granted, possible at most, and the target per supply.

    replay: what of phase general is repeated, by its supplies; its tokens are among those granted.
    """

    phase: str
    asked: int | None
    tokens: int
    largest: int
    targets: tuple[Target, ...]
    notes: tuple[str, ...]
    replay: tuple[Target, ...] = ()


@dataclass(frozen=True)
class _Part:
    """A share of the phase that is filled from `supplies`. `least`/`most` bound each supply as a share of the whole phase.

    asked: the share before the nearest feasible one was taken.
    """

    name: str
    share: float
    asked: float
    supplies: tuple[Supply, ...]
    least: tuple[float, ...]
    most: tuple[float, ...]
    named: bool

    def bounds(self, total: int, max_epochs: float) -> tuple[Reals, Reals]:
        """Least and most tokens of each supply when the phase has `total`; a most below the least shows that it can't be done."""
        caps = np.floor(np.array([supply.tokens for supply in self.supplies], np.float64) * max_epochs)
        return np.array(self.least) * total, np.minimum(caps, np.where(np.array(self.most) < 1.0, np.array(self.most) * total, np.inf))

    def needs(self, total: int) -> int:
        return math.floor(self.share * total)

    def feasible(self, total: int, max_epochs: float) -> bool:
        least, most = self.bounds(total, max_epochs)
        slack = _ROUNDING * total if min(self.most) < 1.0 else _EXACT * most.sum()
        return bool(np.all(np.floor(least) <= most + slack) and self.share * total <= most.sum() + slack)

    def scaled(self, factor: float) -> _Part:
        """With its limits for a language that has `factor` times the share it asked for: they are shares of the language."""
        least = tuple(bound * factor for bound in self.least)
        return replace(self, least=least, most=tuple(bound * factor if bound < 1.0 else 1.0 for bound in self.most))

    @property
    def limited(self) -> bool:
        return min(self.most) < 1.0 or max(self.least) > 0.0


def plan_phase(name: str, phase: PhaseConfig, supplies: Sequence[Supply], on_infeasible: str, replay: float = 0.0) -> PhaseTargets:
    """Targets for every supply that the mix has a place for, sorted by language and domain; their sum never exceeds the budget.

    supplies: distinct (language, domain) pairs, any order. Raises UserError when a language or (if `on_infeasible` is "error") a named
    domain has no documents, and when the budget can't be had at these shares: the sentence gives the largest budget that can, and the
    nearest shares at which this one can. `on_infeasible` "budget" takes the former, "shares" the latter, each with a note.
    replay: share of the phase beside which `phase` plans the rest, for the sentences.
    """
    notes: list[str] = []
    parts = _parts(name, phase, sorted(supplies, key=lambda supply: (supply.language, supply.domain)), on_infeasible, notes)
    largest = largest_total(parts, phase.max_epochs)
    if largest < 1:
        raise UserError(
            f"phase {name} {_shortage(parts, 1, phase.max_epochs)}, so no budget fits these shares; change them or add documents"
        )
    total = largest if phase.tokens is None else phase.tokens
    beside = " beside its replay" if replay else ""
    settable = math.floor(largest / (1 - replay))
    if total > largest:
        shortage = _shortage(parts, total, phase.max_epochs)
        nearest = nearest_parts(parts, total, phase.max_epochs)
        if on_infeasible == "error":
            offer = f", and the nearest shares with this budget are {_changes(parts, nearest)}" if nearest else ""
            raise UserError(
                f"phase {name}{beside} {shortage}; the largest budget with these shares is {human(settable)}{offer}: "
                f"set balance.phases.{name}.tokens={settable}, raise max_epochs, or set balance.on_infeasible to budget or shares"
            )
        if on_infeasible == "shares":
            if not nearest:
                raise UserError(
                    f"phase {name}{beside} {shortage}, and no shares at all fill {human(total)} tokens within max_epochs and "
                    f"domain_limits; set balance.phases.{name}.tokens={settable} or raise max_epochs"
                )
            notes.append(f"the phase{beside} {shortage}; planned instead {_changes(parts, nearest)}")
            parts = nearest
        else:
            notes.append(f"asked for {human(total)} tokens{beside}, planned {human(largest)}: the phase {shortage}")
            total = largest
    targets = [target for part in parts for target in _fill(part, phase, total)]
    targets.sort(key=lambda target: (target.supply.language, target.supply.domain))
    return PhaseTargets(name, phase.tokens, total, largest, tuple(targets), tuple(notes))


def nearest_parts(parts: Sequence[_Part], total: int, max_epochs: float) -> list[_Part]:
    """The parts with the shares nearest to theirs at which `total` can be filled; none where it can't at all.

    What a part lacks goes to the other parts of its language in proportion to their shares, and what a language lacks to the other
    languages: so the sum of the absolute changes is the least possible, first between languages, then within each.
    """
    by_language: dict[str, list[_Part]] = {}
    for part in parts:
        by_language.setdefault(part.supplies[0].language, []).append(part)
    shares = np.array([sum(part.share for part in mine) for mine in by_language.values()])
    room = np.array([_room(mine, total, max_epochs) for mine in by_language.values()])
    if np.floor(room.sum()) < total:
        return []
    found: list[_Part] = []
    amounts = water_fill(float(total), shares, np.zeros(len(shares)), room)
    for mine, share, amount in zip(by_language.values(), shares.tolist(), amounts.tolist(), strict=True):
        scaled = [part.scaled(amount / (share * total)) for part in mine]
        most = np.array([float(part.bounds(total, max_epochs)[1].sum()) for part in scaled])
        least = np.minimum(np.array([sum(part.least) * total for part in scaled]), most)
        got = water_fill(amount, np.array([part.share for part in mine]), least, most)
        found += [replace(part, share=tokens / total) for part, tokens in zip(scaled, got.tolist(), strict=True)]
    return found if all(part.feasible(total, max_epochs) for part in found) else []


def _room(parts: Sequence[_Part], total: int, max_epochs: float) -> float:
    """The most tokens that the parts of one language can hold together, their limits being shares of that amount."""
    share = sum(part.share for part in parts)

    def held(amount: float) -> float:
        return sum(float(part.scaled(amount / (share * total)).bounds(total, max_epochs)[1].sum()) for part in parts)

    low, high = 0.0, sum(math.floor(supply.tokens * max_epochs) for part in parts for supply in part.supplies) * 1.0
    if held(high) >= high:
        return high
    for _ in range(100):  # held(amount) - amount is concave and begins at 0 or above: it changes its sign once
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) >= middle else (low, middle)
    return low


def _changes(asked: Sequence[_Part], granted: Sequence[_Part]) -> str:
    """The parts whose shares differ, the largest changes first: `ko/law 12.5% instead of 20%`."""
    pairs = sorted(zip(asked, granted, strict=True), key=lambda pair: -abs(pair[0].share - pair[1].share))
    moved = [(before, after) for before, after in pairs if abs(before.share - after.share) > SHARE_TOLERANCE]
    if not moved:
        return "the same to within 0.0001%"
    listed = [f"{before.name} {_percent(after.share)} instead of {_percent(before.share)}" for before, after in moved[:_CHANGES_TOLD]]
    return ", ".join(listed) + (f" and {len(moved) - _CHANGES_TOLD} more" if len(moved) > _CHANGES_TOLD else "")


def plan_domain(
    name: str, phase: PhaseConfig, supplies: Sequence[Supply], general: PhaseTargets | None, on_infeasible: str
) -> PhaseTargets:
    """`plan_phase`, for a phase of which `replay` may repeat the phase `general`, in the proportions of its targets.

    The phase's own shares then describe the rest of its tokens. Raises UserError as `plan_phase` does, and when the replay asks for more
    than phase general has (unless `on_infeasible` is "budget").
    """
    if not phase.replay or general is None:
        return plan_phase(name, phase, supplies, on_infeasible)
    most = math.floor(general.tokens / phase.replay)
    asked, notes = phase.tokens, []
    if asked is not None and asked > most:
        sentence = f"replays {_percent(phase.replay)} of {human(asked)} tokens but phase general has only {human(general.tokens)}"
        if on_infeasible != "budget":
            raise UserError(
                f"phase {name} {sentence}; set balance.phases.{name}.tokens={most}, lower replay, or set balance.on_infeasible to budget"
            )
        notes.append(f"asked for {human(asked)} tokens, planned at most {human(most)}: the phase {sentence}")
    fresh = None if asked is None else max(1, math.floor(min(asked, most) * (1 - phase.replay)))
    plan = plan_phase(name, phase.model_copy(update={"tokens": fresh}), supplies, on_infeasible, phase.replay)
    own = plan.tokens if asked is not None else min(plan.tokens, math.floor(most * (1 - phase.replay)))
    if own < plan.tokens:
        plan = plan_phase(name, phase.model_copy(update={"tokens": own}), supplies, on_infeasible)
    repeated = min(math.floor(own * phase.replay / (1 - phase.replay)), general.tokens)
    levels = np.array([target.tokens for target in general.targets], np.float64)
    tokens = _whole(levels * (repeated / max(levels.sum(), 1.0)), levels, repeated)
    replay = tuple(replace(target, tokens=int(count), share=None) for target, count in zip(general.targets, tokens, strict=True))
    largest = min(most, math.floor(plan.largest / (1 - phase.replay)))
    return PhaseTargets(name, asked, own + int(tokens.sum()), largest, plan.targets, (*notes, *plan.notes), replay)


def _parts(name: str, phase: PhaseConfig, supplies: Sequence[Supply], on_infeasible: str, notes: list[str]) -> list[_Part]:
    parts: list[_Part] = []
    for language, share in phase.language_shares.items():
        of_language = [supply for supply in supplies if supply.language == language and supply.tokens > 0]
        if not of_language:
            best = phase.quality_top.get(language)
            reason = f" among the best {_percent(best)}" if best is not None else ""
            raise UserError(
                f"phase {name} asks for {_percent(share)} {language} but there is no {language} document{reason}; "
                f"set balance.phases.{name}.languages.{language} to 0 or add documents"
            )
        found = _language_parts(phase, language, share, of_language)
        for wanted, wanted_share in _absent(phase, language, found, of_language):
            if on_infeasible == "error":
                raise UserError(
                    f"phase {name} asks for {_percent(wanted_share)} {wanted} but there is no such document (the labels of {language} are "
                    f"{_labels(of_language)}); change balance.phases.{name}.domains or domain_limits, or set balance.on_infeasible to "
                    f"shares to share it out"
                )
            notes.append(f"no document is {wanted}: its {_percent(wanted_share)} went to the other domains of {language}")
        found = [part for part in found if part.supplies]
        there = sum(part.share for part in found)
        if there <= 0:
            raise UserError(f"phase {name}: no {language} document has a domain of the mix; change balance.phases.{name}.domains")
        scaled = [replace(part, share=part.share * share / there, asked=part.share * share / there) for part in found]
        for part in scaled:
            _check_limits(name, part)
        parts += scaled
    return parts


def _labels(supplies: Sequence[Supply]) -> str:
    """The largest labels, for a sentence."""
    largest = sorted(supplies, key=lambda supply: (-supply.tokens, supply.domain))
    listed = ", ".join(f"'{supply.domain[:40]}'" for supply in largest[:_LABELS_TOLD])
    return listed + (f" and {len(largest) - _LABELS_TOLD} more" if len(largest) > _LABELS_TOLD else "")


def _absent(phase: PhaseConfig, language: str, parts: Sequence[_Part], supplies: Sequence[Supply]) -> list[tuple[str, float]]:
    """Named domains, and labels with a least share, of which the language has no document, with their shares of the phase."""
    labels = {supply.domain for supply in supplies}
    named = [(part.name, part.share) for part in parts if not part.supplies]
    limits = [(label, least) for label, (least, _) in sorted(phase.domain_limits.items()) if least > 0 and label not in labels]
    return named + [(f"{language}/{label}", phase.language_shares[language] * least) for label, least in limits]


def _language_parts(phase: PhaseConfig, language: str, share: float, supplies: Sequence[Supply]) -> list[_Part]:
    """One part per named domain with a share above 0, and one for the rest; a part may have no supplies."""
    named = phase.domain_shares
    parts = []
    for label, domain_share in named.items():
        if domain_share > 0:
            members = tuple(supply for supply in supplies if supply.domain == label)
            own = share * domain_share
            parts.append(_Part(f"{language}/{label}", own, own, members, (0.0,) * len(members), (1.0,) * len(members), True))
    if phase.rest_share > 0:
        members = tuple(supply for supply in supplies if supply.domain not in named)
        limits = [phase.domain_limits.get(supply.domain, (0.0, 1.0)) for supply in members]
        least = tuple(limit[0] * share for limit in limits)
        most = tuple(limit[1] * share if limit[1] < 1.0 else 1.0 for limit in limits)
        whole = not named
        rest = share * phase.rest_share
        parts.append(_Part(language if whole else f"{language}/{OTHER}", rest, rest, members, least, most, False))
    return parts


def _check_limits(name: str, part: _Part) -> None:
    if sum(part.least) > part.share + SHARE_TOLERANCE or sum(part.most) < part.share - SHARE_TOLERANCE:
        bound = "least" if sum(part.least) > part.share else "most"
        value = sum(part.least) if bound == "least" else sum(part.most)
        raise UserError(
            f"phase {name} gives {part.name} {_percent(part.share)} of its tokens, but the {bound} that domain_limits allow its labels "
            f"is {_percent(value)} in all; change balance.phases.{name}.domain_limits"
        )


def largest_total(parts: Sequence[_Part], max_epochs: float) -> int:
    """The largest number of tokens at which every part can be filled at its share; 0 when not even one token can."""
    low = 0
    high = min(int((sum(supply.tokens for supply in part.supplies) * max_epochs + 1) / part.share) + 1 for part in parts)
    while low < high:
        middle = (low + high + 1) // 2
        if all(part.feasible(middle, max_epochs) for part in parts):
            low = middle
        else:
            high = middle - 1
    return low


def _shortage(parts: Sequence[_Part], total: int, max_epochs: float) -> str:
    """What is missing at `total`, as words that follow the phase's name: the part that lacks the largest share of its need."""

    def filled(part: _Part) -> float:
        least, most = part.bounds(total, max_epochs)
        missing = np.maximum(least - most, 0.0).sum()
        return float(min(most.sum() / max(part.needs(total), 1), 1.0 - missing / max(part.needs(total), 1)))

    worst = min((part for part in parts if not part.feasible(total, max_epochs)), key=filled, default=parts[0])
    there = sum(supply.tokens for supply in worst.supplies)
    what = f"asks for {_percent(worst.share)} {worst.name} of {human(total)} tokens = {human(worst.needs(total))}"
    if worst.limited and there * max_epochs >= worst.needs(total):
        return f"{what}, and domain_limits with {human(there)} x {max_epochs:g} epochs don't allow that"
    return f"{what} but only {human(there)} x {max_epochs:g} epochs are available"


def _fill(part: _Part, phase: PhaseConfig, total: int) -> list[Target]:
    least, most = part.bounds(total, phase.max_epochs)
    if least.sum() > part.needs(total):  # limits that add up to the share may pass it by a rounding
        least *= part.needs(total) / least.sum()
    sizes = np.array([supply.tokens for supply in part.supplies], np.float64)
    exponent = {"proportional": 1.0, "temperature": phase.alpha, "unimax": 0.0}[phase.method]
    levels = water_fill(float(part.needs(total)), sizes**exponent, least, np.maximum(least, most))
    tokens = _whole(levels, np.floor(most), part.needs(total))
    return [Target(supply, int(count), part.asked if part.named else None) for supply, count in zip(part.supplies, tokens, strict=True)]


def _whole(levels: Reals, most: Reals, total: int) -> npt.NDArray[np.int64]:
    """Amounts as whole tokens that add up to `total` where `most` allows: rounded down, then the largest remainders get one more."""
    tokens = np.minimum(np.floor(levels), most)
    order = np.argsort(tokens - levels, kind="stable")
    order = order[tokens[order] < most[order]][: max(0, int(total - tokens.sum()))]
    tokens[order] += 1
    return tokens.astype(np.int64)


def water_fill(total: float, weights: Reals, least: Reals, most: Reals) -> Reals:
    """Amounts clip(level * weight, least, most) that add up to `total`, for the one level at which they do.

    weights: above 0; least ≤ most, all of one length. With equal weights and least 0 this is UniMax (Chung et al. 2023,
    arXiv:2304.09151); a total below sum(least) or above sum(most) gives those bounds themselves.
    """
    if total >= most.sum():
        return most.copy()
    if total <= least.sum():
        return least.copy()
    levels = np.unique(np.concatenate([least / weights, most / weights]))
    low, high = 0, len(levels) - 1
    while low < high:  # the last level whose amounts don't exceed the total
        middle = (low + high + 1) // 2
        if np.clip(levels[middle] * weights, least, most).sum() <= total:
            low = middle
        else:
            high = middle - 1
    level = levels[low]
    reached = np.clip(level * weights, least, most).sum()
    rising = (least / weights <= level) & (most / weights > level)
    return np.clip((level + (total - reached) / weights[rising].sum()) * weights, least, most)


def human(count: int) -> str:
    """A count of tokens as people write it: 700M, 1.25B, 9,120."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if count >= size:
            return f"{count / size:.4g}{letter}"
    return f"{count:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"
