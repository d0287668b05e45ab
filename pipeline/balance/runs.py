"""Results of small training runs: the shares of each run's mixture and the losses it ended with, from one table or two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipeline.balance.regression import FOLDS
from pipeline.errors import UserError
from pipeline.files import open_file

Reals = npt.NDArray[np.float64]

ROUNDED_SHARES = 0.01
"""How far the shares of a run may sum from 1: written with three digits, RegMix's 17 shares sum to .996 to 1.003."""

MIN_RUNS = 4 * FOLDS
"""Runs below which a held-out part has fewer than four and says nothing of ranks."""


@dataclass(frozen=True)
class Runs:
    """n runs, in an order that does not depend on the files'. shares: float64[n, domains], rows sum to 1. losses: float64[n, names]."""

    domains: tuple[str, ...]
    loss_names: tuple[str, ...]
    shares: Reals
    losses: Reals


def read_runs(mixtures: str, losses: str | None, loss_names: Sequence[str], key: str | None) -> Runs:
    """Read runs from a table of shares and one of losses, or from one table that holds both.

    mixtures, losses: CSV with a header, or Parquet. Every column of `mixtures` that is neither `key` nor among `loss_names` is a domain.
    key: the column by which rows of two tables belong together (None: the one that both have), or one to leave out of a single table.
    loss_names: losses to keep (empty: all of the second table; a single table must name them).
    Raises UserError for tables, rows and numbers that can't be such results, naming the file, row and column.
    """
    table = _read(mixtures)
    if losses is None:
        if not loss_names:
            raise UserError(
                f"nothing says which columns of '{mixtures}' are losses; name them with --loss, or give a second file of losses"
            )
        found = table.select(_existing(loss_names, table, mixtures))
        table = table.drop_columns(list(dict.fromkeys([*loss_names, *_existing([key] if key else [], table, mixtures)])))
        loss_file = mixtures
    else:
        loss_file = losses
        table, found = _matched(table, _read(losses), mixtures, losses, key)
        found = found.select(_existing(loss_names, found, losses)) if loss_names else found
    domains, names = sorted(table.column_names), sorted(found.column_names)
    shares, values = _numbers(table.select(domains), mixtures), _numbers(found.select(names), loss_file)
    _check_losses(values, names, loss_file)
    shares = _checked_shares(shares, domains, mixtures)
    order = np.lexsort(np.concatenate([values, shares], axis=1).T)
    return Runs(tuple(domains), tuple(names), np.ascontiguousarray(shares[order]), np.ascontiguousarray(values[order]))


def _read(path: str) -> pa.Table:
    try:
        with open_file(path) as stream:
            is_parquet = stream.read(4) == b"PAR1"
            stream.seek(0)
            table = pq.read_table(stream) if is_parquet else pa_csv.read_csv(stream)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"can't read '{path}' as a CSV or Parquet table: {str(error).splitlines()[0]}") from error
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise UserError(f"'{path}' has the column '{twice[0]}' twice; rename one of them")
    if not len(table):
        raise UserError(f"'{path}' has no rows; check the file")
    return table


def _existing(names: Sequence[str], table: pa.Table, path: str) -> list[str]:
    for name in names:
        if name not in table.column_names:
            raise UserError(f"'{path}' has no column '{name}'; it has {_listed(table.column_names)}")
    return list(dict.fromkeys(names))


def _matched(shares: pa.Table, losses: pa.Table, first: str, second: str, key: str | None) -> tuple[pa.Table, pa.Table]:
    """Both tables without the key, their rows in the same order."""
    common = sorted(set(shares.column_names) & set(losses.column_names))
    if key is None and len(common) != 1:
        how = f"have the columns {_listed(common)} in common" if common else "have no column in common"
        raise UserError(f"'{first}' and '{second}' {how}, so it is not clear which rows belong together; name that column with --key")
    key = key or common[0]
    left, right = (table.column(_existing([key], table, path)[0]).to_pylist() for table, path in ((shares, first), (losses, second)))
    for values, path in ((left, first), (right, second)):
        places = {value: row for row, value in enumerate(values)}
        if len(places) < len(values):
            raise UserError(f"'{path}' has more than one row with the same '{key}'; each run needs one of its own")
    if set(left) != set(right):
        lone = sorted(map(str, set(left) ^ set(right)))
        raise UserError(f"{len(lone)} runs stand in only one of '{first}' and '{second}', such as {key} {lone[0]}; leave them out of both")
    places = {value: row for row, value in enumerate(right)}
    return shares.drop_columns([key]), losses.take([places[value] for value in left]).drop_columns([key])


def _numbers(table: pa.Table, path: str) -> Reals:
    """The columns as float64[rows, columns], null as NaN."""
    if not table.column_names:
        raise UserError(f"'{path}' has no column left to use; check its columns, --loss and --key")
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise UserError(
                f"column '{name}' of '{path}' holds {column.type}, not numbers; leave it out, or name it with --key if it is an id"
            )
        columns.append(column.cast(pa.float64()).to_numpy())
    return np.stack(columns, axis=1)


def _check_losses(values: Reals, names: Sequence[str], path: str) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0].tolist()
        raise UserError(
            f"'{path}' has the loss {values[row, column]:g} in data row {row + 1}, column '{names[column]}'; leave that run out"
        )
    for column in np.flatnonzero(values.min(axis=0, initial=np.inf) >= values.max(axis=0, initial=-np.inf)).tolist():
        raise UserError(
            f"the loss '{names[column]}' of '{path}' is the same in all {len(values)} runs, so there is nothing to learn from it"
        )


def _checked_shares(shares: Reals, domains: Sequence[str], path: str) -> Reals:
    """The shares, their rows divided by their sums."""
    runs, count = shares.shape
    if runs <= count or runs < MIN_RUNS:
        raise UserError(
            f"'{path}' has {runs} runs for {count} domains; a regression needs more runs than domains and at least {MIN_RUNS}: "
            "train more small models"
        )
    bad = np.argwhere(~(shares >= 0) | ~np.isfinite(shares))
    if len(bad):
        row, column = bad[0].tolist()
        raise UserError(
            f"'{path}' has the share {shares[row, column]:g} in data row {row + 1}, column '{domains[column]}'; shares are 0 to 1"
        )
    sums = shares.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > ROUNDED_SHARES)
    if len(off):
        raise UserError(
            f"the shares in data row {off[0] + 1} of '{path}' sum to {sums[off[0]]:.4g} instead of 1; "
            "if a column is no domain, name it with --key or --loss, or leave it out"
        )
    for column in np.flatnonzero(shares.max(axis=0) <= 0).tolist():
        raise UserError(f"no run of '{path}' has a share of '{domains[column]}', so nothing tells what it does; leave the column out")
    return shares / sums[:, None]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:20]) or "none"
