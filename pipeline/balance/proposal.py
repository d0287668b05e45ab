"""A mixture that the fitted models expect a low loss of, within what there is: the mean of the best of many random mixtures (RegMix)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.balance.plan import human
from pipeline.balance.regression import Model
from pipeline.errors import UserError

Reals = npt.NDArray[np.float64]

CANDIDATES, BEST = 100_000, 128
"""Random mixtures, and how many of the best are averaged, as in RegMix's code: the average depends less on the models' errors."""

UNIT = 1e-4
"""Shares are proposed in hundredths of a percent."""

_LOOSEST, _TIGHTEST = 3.0, 300.0
"""Concentrations of the Dirichlet distributions around the runs: the spread of a share of .2 is .2 at the first and .02 at the second."""

_BATCH = 10_000


@dataclass(frozen=True)
class Proposal:
    """A mixture float64[d] that sums to 1 in steps of UNIT, and the predicted mean loss of it, of the runs' mean, and of the best run."""

    mixture: Reals
    loss: float
    mean_mixture_loss: float
    best_run_loss: float


def caps_of(domains: Sequence[str], available: Mapping[str, float] | None, tokens: int | None, max_epochs: float) -> Reals:
    """The largest share of each domain, float64[d] in steps of UNIT: its tokens times `max_epochs` over the budget; 1 without limits.

    Raises UserError when tokens or a domain's availability is missing, and when all domains together don't fill the budget.
    """
    if available is None:
        return np.ones(len(domains))
    if tokens is None:
        raise UserError("--available limits shares only under a budget; give the budget with --tokens")
    missing = sorted(set(domains) - set(available))
    if missing:
        raise UserError(f"--available says nothing of '{missing[0]}', which is a domain of the runs; give the tokens of every domain")
    for name, value in available.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            raise UserError(f"--available gives '{name}' the value {value!r}; write its number of tokens")
    shares = np.array([available[name] for name in domains], np.float64) * max_epochs / tokens
    caps = np.floor(np.minimum(shares, 1.0) / UNIT + 1e-9) * UNIT
    if caps.sum() < 1 - UNIT / 2:
        most = sum(available[name] for name in domains) * max_epochs
        raise UserError(
            f"a budget of {human(tokens)} tokens is more than the domains have: {human(int(most))} with --max-epochs {max_epochs:g}; "
            "lower --tokens or raise --max-epochs"
        )
    return caps


def propose(models: Sequence[Model], shares: Reals, caps: Reals, seed: int) -> Proposal:
    """The mean of the BEST of CANDIDATES mixtures by the mean of the models' losses.

    shares: float64[n, d], the runs'. A candidate is drawn from a Dirichlet distribution around a point between two runs, so that it stays
    where the runs have been, and brought under the caps. Equal seeds give equal proposals.
    """
    random = np.random.default_rng(seed)
    best = np.empty((0, shares.shape[1])), np.empty(0)
    for _ in range(CANDIDATES // _BATCH):
        candidates = capped(_around(shares, _BATCH, random), caps)
        joined = np.concatenate([best[0], candidates]), np.concatenate([best[1], predicted(models, candidates)])
        order = np.argsort(joined[1], kind="stable")[:BEST]
        best = joined[0][order], joined[1][order]
    mixture = in_units(best[0].mean(axis=0), caps)
    of_runs = predicted(models, shares)
    losses = predicted(models, np.stack([mixture, shares.mean(axis=0)]))
    return Proposal(mixture, float(losses[0]), float(losses[1]), float(of_runs.min()))


def predicted(models: Sequence[Model], shares: Reals) -> Reals:
    """The mean of the models' losses, float64[n]."""
    return np.mean([model.predict(shares) for model in models], axis=0)


def _around(shares: Reals, count: int, random: np.random.Generator) -> Reals:
    first, second = random.integers(len(shares), size=(2, count))
    place = random.random((count, 1))
    centre = place * shares[first] + (1 - place) * shares[second]
    concentration = np.exp(random.uniform(np.log(_LOOSEST), np.log(_TIGHTEST), (count, 1)))
    drawn = random.standard_gamma(concentration * centre)
    sums = drawn.sum(axis=1, keepdims=True)
    return np.where(sums > 0, drawn / np.where(sums > 0, sums, 1.0), centre)


def capped(mixtures: Reals, caps: Reals) -> Reals:
    """The mixtures, float64[n, d], with no share above its cap; what is cut off goes to the others in proportion to their shares.

    Where those are full too, it goes to all domains in proportion to the room they have. The caps must sum to at least 1.
    """
    found = np.minimum(mixtures, caps)
    for _ in range(len(caps)):
        missing = 1.0 - found.sum(axis=1, keepdims=True)
        if missing.max() <= 1e-12:
            return found
        growing = np.where(found < caps, found, 0.0)
        total = growing.sum(axis=1, keepdims=True)
        found = np.minimum(found + growing * np.where(total > 0, missing / np.where(total > 0, total, 1.0), 0.0), caps)
    missing = np.maximum(1.0 - found.sum(axis=1, keepdims=True), 0.0)
    room = caps - found
    total = room.sum(axis=1, keepdims=True)
    return found + room * np.where(total > 0, np.minimum(missing / np.where(total > 0, total, 1.0), 1.0), 0.0)


def in_units(mixture: Reals, caps: Reals) -> Reals:
    """The mixture in steps of UNIT, summing to 1 and below the caps: rounded down, then the largest remainders get one more."""
    whole, room = round(1 / UNIT), np.round(caps / UNIT).astype(np.int64)
    exact = mixture / UNIT
    units = np.minimum(np.floor(exact + 1e-9).astype(np.int64), room)
    for index in np.argsort(units - exact, kind="stable").tolist() * 2:
        units[index] += int(units.sum() < whole and units[index] < room[index])
    return units / whole
